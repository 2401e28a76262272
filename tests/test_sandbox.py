"""Decoding in workers: what comes back is what the function says, and nothing that a worker does spoils more
than its own call."""

import ctypes
import errno
import io
import itertools
import os
import pickle
import platform
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson
import pytest
from PIL import AvifImagePlugin, Image

from files import fence, images, rendering, sandbox, sandbox_wire
from files.errors import FileError, ImageTooLarge, InvalidImage, StorageUnavailable
from files.sandbox import Sandbox
from files.sandbox_wire import SandboxError
from tests import hostile

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF")
MANY_PIXELS = 50_000_000
MIB = 1024 * 1024
ROOT = Path(sandbox.__file__).parents[1]
ENDS_WITHIN = 10  # seconds
HERE = "tests.test_sandbox"
EMPTY = b""

needs_seccomp = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"},
    reason="the filter of system calls is for Linux on these processors",
)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="macOS does not bound addresses")
needs_landlock = pytest.mark.skipif(not fence.landlock_version(), reason="the kernel has no Landlock")


# --- what is called in workers ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    name: str | None


@dataclass(frozen=True, slots=True)
class Picture:
    content: bytes
    points: list[Point]


def own_pid(file: IO[bytes]) -> int:
    return os.getpid()


def length(file: IO[bytes]) -> int:
    return len(file.read())


def twice(file: IO[bytes], sizes: tuple[int, ...], *, end: bytes) -> list[bytes]:
    content = file.read()
    return [content[:size] + end for size in sizes]


def point(file: IO[bytes], given: Point) -> Point | None:
    return None if given.x == 0 else Point(given.x + 1, given.name)


def picture(file: IO[bytes], given: Picture) -> Picture:
    return Picture(file.read() + given.content, [*given.points, Point(3, None)])


def sleeps(file: IO[bytes]) -> None:
    time.sleep(60)


def hangs_outside_python(file: IO[bytes]) -> None:
    """No other Python code runs in this process while it counts."""
    sum(itertools.repeat(1, 10**14))


def bloats(file: IO[bytes], size: int = 3 * 1024 * MIB) -> int:
    return len(b"\1" * size)


def bloats_like_a_decoder(file: IO[bytes]) -> None:
    try:
        bloats(file)
    except MemoryError as error:
        raise InvalidImage(reason="it is damaged") from error


def peak_of_bloating(file: IO[bytes]) -> int:
    """How much memory it had when it got no more, in bytes."""
    pieces = []
    try:
        while True:
            pieces.append(b"\1" * MIB)
    except MemoryError:
        pieces.clear()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak_of_an_image(file: IO[bytes]) -> int:
    found = images.inspect(file, formats=FORMATS, max_pixels=MANY_PIXELS)
    assert found is not None
    assert found.width * found.height > 45_000_000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def ends(file: IO[bytes], code: int) -> None:
    os._exit(code)


def ends_by(file: IO[bytes], number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def has_a_defect(file: IO[bytes]) -> None:
    raise KeyError("what nobody foresaw")


def answers(file: IO[bytes], raw: bytes) -> Point | None:
    """As a worker that was taken over might, past all that it should go through."""
    os.write(0, raw)
    os._exit(0)


def answers_a_set(file: IO[bytes]) -> set[int]:
    return {1}


def declares_a_tuple(file: IO[bytes]) -> tuple[int, ...]:
    return (1,)


def writes(file: IO[bytes]) -> None:
    os.write(file.fileno(), b"changed")


def empties(file: IO[bytes]) -> None:
    os.ftruncate(file.fileno(), 0)


def reopens_and_writes(file: IO[bytes]) -> None:
    with Path(f"/dev/fd/{file.fileno()}").open("r+b") as again:
        again.write(b"changed")


def environment(file: IO[bytes]) -> list[str]:
    return sorted(os.environ)


def descriptors(file: IO[bytes]) -> list[int]:
    found = []
    for number in range(1024):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.append(number)
    return found


def limits(file: IO[bytes]) -> list[int]:
    kinds = (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_AS)
    hard = [limit for _, limit in map(resource.getrlimit, kinds)]
    return [*hard, os.nice(0), AvifImagePlugin.DEFAULT_MAX_THREADS]


def opens(file: IO[bytes], path: str) -> bytes:
    return Path(path).read_bytes()


def makes(file: IO[bytes], path: str) -> None:
    Path(path).touch()


def runs(file: IO[bytes], path: str) -> None:
    os.execv(path, [path])


def connects(file: IO[bytes], port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=5).close()


def signals(file: IO[bytes], pid: int) -> None:
    os.kill(pid, signal.SIGTERM)


def signals_its_thread(file: IO[bytes]) -> None:
    signal.pthread_kill(threading.get_ident(), 0)
    os.kill(os.getpid(), 0)


def forks(file: IO[bytes]) -> None:
    if os.fork() == 0:
        time.sleep(60)


def starts(file: IO[bytes]) -> None:
    subprocess.run([sys.executable, "-c", ""], check=True)


def makes_a_socket(file: IO[bytes], family: int, kind: int) -> None:
    socket.socket(family, kind).close()


def calls(file: IO[bytes], number: int) -> int:
    """A system call without arguments; the number of its error."""
    library = ctypes.CDLL(None, use_errno=True)
    assert library.syscall(ctypes.c_long(number), *[ctypes.c_long(0)] * 6) == -1
    return ctypes.get_errno()


def counts_in_threads(file: IO[bytes]) -> int:
    with ThreadPoolExecutor(4) as threads:
        return sum(threads.map(len, ["ab"] * 8))


def imports_late(file: IO[bytes]) -> str:
    from wsgiref.simple_server import ServerHandler

    return ServerHandler.__name__


# --- helpers ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    """For tests that leave their worker as they found it."""
    pool = Sandbox(HERE, "files.images", "files.rendering", workers=2)
    yield pool
    pool.close()


@pytest.fixture
def pools() -> Iterator[Callable[..., Sandbox]]:
    """A sandbox of the test's own."""
    made: list[Sandbox] = []

    def make(*modules: str, **options: float) -> Sandbox:
        made.append(Sandbox(HERE, *modules, **{"workers": 1, **options}))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.close()


def nothing() -> IO[bytes]:
    return io.BytesIO(EMPTY)


def on_disk(folder: Path, content: bytes) -> IO[bytes]:
    file = (folder / "staged").open("w+b")
    file.write(content)  # and left in the buffer
    return file


def encoded(format_: str, size: tuple[int, int] = (90, 60)) -> bytes:
    target = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(target, format_)
    return target.getvalue()


def outcome(call: Callable[[], object]) -> object:
    """What is returned or raised, made comparable."""
    try:
        return call()
    except FileError as error:
        return type(error), vars(error), str(error)


def is_running(pid: int) -> bool:
    """Not when it is dead and only nobody has asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + ENDS_WITHIN
    while is_running(pid):
        assert time.monotonic() < deadline, "a worker lives on"
        time.sleep(0.01)


@pytest.fixture
def services() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Processes that run the lines they are given, with a sandbox of one worker called `pool`."""
    started: list[subprocess.Popen[str]] = []
    head = (
        "import os, sys, threading, time\n"
        "from files.sandbox import Sandbox\n"
        f"from {HERE} import *\n"
        f"pool = Sandbox('{HERE}', workers=1, seconds=60)\n"
    )

    def start(lines: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-c", head + lines]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()
        for pipe in (each.stdin, each.stdout):
            assert pipe is not None
            pipe.close()


def line(service: subprocess.Popen[str]) -> list[int]:
    assert service.stdout is not None
    return [int(word) for word in service.stdout.readline().split()]


# --- answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lies_on_disk", [False, True])
@pytest.mark.parametrize("format_", FORMATS)
def test_an_image_is_what_it_is_in_this_process(
    format_: str, lies_on_disk: bool, shared: Sandbox, tmp_path: Path
) -> None:
    content = encoded(format_)
    with on_disk(tmp_path, content) if lies_on_disk else io.BytesIO(content) as file:
        facts = shared.run(images.inspect, file, formats=FORMATS, max_pixels=MANY_PIXELS)
        fitted = shared.run(rendering.fit, file, formats=FORMATS, box=(40, 40))
    assert facts is not None
    assert facts == images.inspect(io.BytesIO(content), formats=FORMATS, max_pixels=MANY_PIXELS)
    assert fitted == rendering.fit(io.BytesIO(content), formats=FORMATS, box=(40, 40))


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"only text", None),
        (encoded("PNG")[:-40], InvalidImage),
        (encoded("JPEG", (100, 101)), ImageTooLarge),
    ],
)
def test_what_is_no_good_image_is_told_as_in_this_process(
    content: bytes, expected: type[FileError] | None, shared: Sandbox
) -> None:
    options = {"formats": FORMATS, "max_pixels": 10_000}
    there = outcome(lambda: shared.run(images.inspect, io.BytesIO(content), **options))  # type: ignore[arg-type]
    here = outcome(lambda: images.inspect(io.BytesIO(content), **options))  # type: ignore[arg-type]
    assert there == here
    assert (there and there[0]) == expected  # type: ignore[index]


def test_the_ready_made_sandbox_inspects_images() -> None:
    found = sandbox.run(images.inspect, io.BytesIO(encoded("PNG")), formats=FORMATS, max_pixels=MANY_PIXELS)
    assert found is not None
    assert (found.format, found.width, found.height) == ("PNG", 90, 60)


def test_bytes_and_dataclasses_go_both_ways(shared: Sandbox) -> None:
    content = os.urandom(2 * MIB)
    parts = shared.run(twice, io.BytesIO(content), (2 * MIB, 0, 3), end=b"\0")
    assert parts == [content + b"\0", b"\0", content[:3] + b"\0"]
    assert shared.run(point, nothing(), Point(1, None)) == Point(2, None)
    assert shared.run(point, nothing(), Point(7, "ä")) == Point(8, "ä")
    assert shared.run(point, nothing(), Point(0, "ä")) is None
    given = Picture(b"\0", [Point(1, "a")])
    assert shared.run(picture, io.BytesIO(b"\xff"), given) == Picture(
        b"\xff\0", [Point(1, "a"), Point(3, None)]
    )


def test_a_file_is_read_from_its_start_and_its_position_kept(shared: Sandbox, tmp_path: Path) -> None:
    with on_disk(tmp_path, b"0123456789") as file:
        file.seek(4)
        assert shared.run(length, file) == 10
        assert file.read() == b"456789"


@pytest.mark.parametrize(
    "function",
    [writes, empties, pytest.param(reopens_and_writes, marks=needs_landlock)],
    ids=lambda each: each.__name__,
)
def test_the_file_cannot_be_changed_by_a_worker(
    function: Callable[[IO[bytes]], None], shared: Sandbox, tmp_path: Path
) -> None:
    with on_disk(tmp_path, b"as it came") as file:
        with pytest.raises(SandboxError, match=r"OSError|PermissionError"):
            shared.run(function, file)
        file.seek(0)
        assert file.read() == b"as it came"


def test_threads_get_their_own_answers(pools) -> None:
    pool = pools(workers=2)
    sizes = [1000 + number for number in range(64)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda size: pool.run(length, io.BytesIO(bytes(size))), sizes))
        pids = set(threads.map(lambda _: pool.run(own_pid, nothing()), range(16)))
    assert found == sizes
    assert len(pids) <= 2
    assert os.getpid() not in pids


def test_calls_that_find_all_workers_stuck_are_to_be_tried_again(pools) -> None:
    pool = pools(workers=2, seconds=2, patience=0.1)
    with ThreadPoolExecutor(4) as threads:
        stuck = [threads.submit(pool.run, hangs_outside_python, nothing()) for _ in range(2)]
        while len(pool._all) < 2 or pool._idle:
            time.sleep(0.01)
        others = [threads.submit(pool.run, own_pid, nothing()) for _ in range(2)]
        refused = [other.exception() for other in others]
        assert [type(each) for each in refused] == [StorageUnavailable] * 2
        assert all(each.retryable and each.retry_after > 0 for each in refused)  # type: ignore[union-attr]
        assert [type(each.exception()) for each in stuck] == [InvalidImage] * 2
    assert len({pool.run(own_pid, nothing()) for _ in range(2)}) == 1
    assert len(pool._all) == 1


def test_a_call_that_finds_no_free_worker_in_time_is_to_be_tried_again(pools) -> None:
    pool = pools(patience=0.01)
    with pool._worker(), pytest.raises(StorageUnavailable):
        pool.run(own_pid, nothing())
    assert pool.run(own_pid, nothing())


# --- what may be called ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function", [io.BytesIO.read, os.path.exists, lambda file: None, images.ImageFacts.__init__]
)
def test_only_functions_of_the_modules_can_be_called(
    function: Callable[..., object], shared: Sandbox
) -> None:
    with pytest.raises(ValueError, match=r"is not a function of tests\.test_sandbox or files\.images"):
        shared.run(function, nothing())


def test_the_ready_made_sandbox_calls_nothing_but_images() -> None:
    with pytest.raises(ValueError, match=r"is not a function of files\.images"):
        sandbox.run(own_pid, nothing())


@pytest.mark.parametrize("function, error", [(answers_a_set, SandboxError), (declares_a_tuple, TypeError)])
def test_only_types_that_can_be_checked_come_back(
    function: Callable[[IO[bytes]], object], error: type[Exception], shared: Sandbox
) -> None:
    with pytest.raises(error):
        shared.run(function, nothing())


def test_a_defect_is_shown_with_its_traceback_and_costs_no_worker(pools) -> None:
    pool = pools()
    before = pool.run(own_pid, nothing())
    with pytest.raises(SandboxError, match=r"in has_a_defect[\s\S]*KeyError: 'what nobody foresaw'"):
        pool.run(has_a_defect, nothing())
    assert pool.run(own_pid, nothing()) == before


# --- bounds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [sleeps, hangs_outside_python], ids=lambda each: each.__name__)
def test_what_takes_too_long_is_killed_and_the_next_call_works(
    function: Callable[[IO[bytes]], None], pools
) -> None:
    pool = pools(seconds=0.5)
    before = pool.run(own_pid, nothing())
    with pytest.raises(InvalidImage) as raised:
        pool.run(function, nothing())
    assert raised.value.reason == "it takes too long to decode"
    assert not is_running(before)
    assert pool.run(own_pid, nothing()) != before


@pytest.mark.parametrize("function", [bloats, bloats_like_a_decoder], ids=lambda each: each.__name__)
def test_what_takes_too_much_memory_is_refused_and_the_next_call_works(
    function: Callable[[IO[bytes]], object], shared: Sandbox
) -> None:
    with pytest.raises(InvalidImage) as raised:
        shared.run(function, nothing())
    assert raised.value.reason == "it takes too much memory to decode"
    assert shared.run(own_pid, nothing())


def test_the_bound_on_memory_is_what_comes_on_top(pools) -> None:
    pool = pools(memory=64 * MIB)
    assert pool.run(bloats, nothing(), 48 * MIB) == 48 * MIB
    with pytest.raises(InvalidImage, match="memory"):
        pool.run(bloats, nothing(), 80 * MIB)


@on_linux
def test_no_worker_has_a_gigabyte(services) -> None:
    # Not from here: a process begins with the peak of the one that starts it.
    (peak,) = line(services("print(pool.run(peak_of_bloating, nothing()), flush=True)\n"))
    assert 900 * MIB < peak < 1024 * MIB


@on_linux
@pytest.mark.parametrize("name", hostile.LARGEST)
def test_the_largest_images_need_less_than_there_is(name: str, services) -> None:
    assert len(hostile.LARGEST[name].make()) < MIB
    image = f"io.BytesIO(hostile.LARGEST[{name!r}].make())"
    (peak,) = line(services(f"print(pool.run(peak_of_an_image, {image}), flush=True)\n"))
    assert peak < 1024 * MIB


@pytest.mark.parametrize(
    "function, argument, reason",
    [
        (ends, 0, "its decoder crashed"),
        (ends, 1, "its decoder crashed"),
        (ends_by, signal.SIGSEGV, "its decoder crashed"),
        (ends_by, signal.SIGABRT, "its decoder crashed"),
        (ends_by, signal.SIGKILL, "it takes too much memory to decode"),
    ],
)
def test_what_ends_its_worker_is_refused_and_the_next_call_works(
    function: Callable[[IO[bytes], int], None], argument: int, reason: str, shared: Sandbox
) -> None:
    with pytest.raises(InvalidImage) as raised:
        shared.run(function, nothing(), argument)
    assert raised.value.reason == reason
    assert shared.run(length, io.BytesIO(b"abc")) == 3


def framed(head: object, rest: bytes = b"") -> bytes:
    data = head if isinstance(head, bytes) else orjson.dumps(head)
    return struct.pack(">I", len(data)) + data + rest


POINT: dict[str, Any] = {"x": 1, "name": "a"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0\0",
        b"\xff\xff\xff\xff",
        framed(b"no JSON"),
        framed(b"[" * 60_000),
        framed(pickle.dumps(Point(1, "a"))),
        framed(b" " * 70_000 + b'["value",null,[]]'),
        framed({"kind": "value"}),
        framed(["value", POINT]),
        framed(["value", [1, "a"], []]),
        framed(["value", {**POINT, "x": True}, []]),
        framed(["value", {**POINT, "x": "1"}, []]),
        framed(["value", {**POINT, "x": None}, []]),
        framed(["value", {**POINT, "name": 1}, []]),
        framed(["value", {**POINT, "more": 1}, []]),
        framed(["value", {"x": 1}, []]),
        framed(["value", POINT, 1]),
        framed(["value", POINT, ["1"]]),
        framed(["value", POINT, [-1]]),
        framed(["value", POINT, [10**12]]),
        framed(["value", POINT, [40 * MIB, 40 * MIB]]),
        framed(["value", POINT, [5]], b"four"),
        framed(["failure", 5, []]),
        framed([["value"], POINT, []]),
        framed(["SystemExit", {}, []]),
        framed(["FileError", {}, []]),
        framed(["InvalidImage", {"reason": 5}, []]),
        framed(["InvalidImage", {"reason": "a", "args": "b"}, []]),
        framed(["InvalidImage", None, []]),
    ],
    ids=lambda raw: repr(raw[4:40]),
)
def test_an_answer_is_believed_only_in_the_form_of_one(raw: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.sendall(raw)
        with pytest.raises((ValueError, EOFError)):
            sandbox_wire.answer(ours, Point | None, time.monotonic() + ENDS_WITHIN)


def test_an_answer_that_only_drips_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(framed(["value", POINT, []]))
        with pytest.raises(TimeoutError):
            sandbox_wire.answer(ours, Point | None, time.monotonic())


def test_a_worker_that_was_taken_over_can_answer_but_not_choose_the_type(pools) -> None:
    assert pools().run(answers, nothing(), framed(["value", POINT, []])) == Point(**POINT)
    with pytest.raises(InvalidImage, match="it is odd"):
        pools().run(answers, nothing(), framed(["InvalidImage", {"reason": "it is odd"}, []]))
    with pytest.raises(InvalidImage, match="its decoder crashed"):
        pools().run(answers, nothing(), framed(["value", 5, []]))


# --- the lives of workers --------------------------------------------------------------------------


def test_a_worker_is_kept_for_the_next_call_also_by_another_thread(pools) -> None:
    pool, found = pools(), []
    starter = threading.Thread(target=lambda: found.append(pool.run(own_pid, nothing())))
    starter.start()
    starter.join()
    assert pool.run(own_pid, nothing()) == found[0]


def test_no_worker_runs_before_it_is_needed_nor_after_the_end(pools) -> None:
    pool = pools()
    assert not pool._all
    pid = pool.run(own_pid, nothing())
    assert is_running(pid)
    pool.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    assert not is_running(pid)


def test_a_worker_that_was_killed_meanwhile_is_no_fault_of_the_next_image(pools) -> None:
    pool = pools()
    pid = pool.run(own_pid, nothing())
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)
    assert pool.run(length, io.BytesIO(b"abc")) == 3


@pytest.mark.parametrize("limit, calls", [("_MAX_CALLS", 2), ("_MAX_RESIDENT", 1)])
def test_a_worn_worker_is_replaced(limit: str, calls: int, pools, monkeypatch) -> None:
    monkeypatch.setattr(sandbox, limit, calls)
    pool = pools()
    pids = [pool.run(own_pid, nothing()) for _ in range(4)]
    assert [pids.index(pid) for pid in pids] == [number - number % calls for number in range(4)]
    assert not is_running(pids[0])


def test_a_worker_that_cannot_start_is_to_be_tried_again(pools) -> None:
    with pytest.raises(StorageUnavailable):
        pools("tests.there_is_no_such_module").run(own_pid, nothing())


def test_a_worker_leaves_the_end_of_the_service_to_the_service(pools) -> None:
    pool = pools()
    pid = pool.run(own_pid, nothing())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    assert pool.run(own_pid, nothing()) == pid
    assert os.getsid(pid) != os.getsid(0)


@pytest.mark.parametrize("now", ["", "pool.run(hangs_outside_python, nothing())"], ids=["idle", "busy"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_the_service(how: int, now: str, services) -> None:
    service = services(
        "pid = pool.run(own_pid, nothing())\n"
        "cpu = lambda: sum(map(int, open(f'/proc/{pid}/stat').read().split()[13:15]))\n"
        "before = cpu()\n"
        f"threading.Thread(target=lambda: {now or None}, daemon=True).start()\n"
        f"while {bool(now)} and cpu() < before + 3: time.sleep(0.01)\n"
        "print(pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    (pid,) = line(service)
    assert is_running(pid)
    os.kill(service.pid, how)
    service.wait(ENDS_WITHIN)
    wait_until_gone(pid)


def test_a_worker_that_the_service_forgets_ends_by_itself(pools) -> None:
    """As when the service is stopped for a while: then the kernel keeps the time."""
    pool = pools()
    pid = pool.run(own_pid, nothing())
    (worker,) = pool._all
    request = pickle.dumps((HERE, "hangs_outside_python", 0.1, EMPTY, (), {}))
    worker._connection.sendall(struct.pack(">I", len(request)) + request)
    wait_until_gone(pid)
    assert worker._process.wait(ENDS_WITHIN) == -signal.SIGALRM


def test_a_service_that_ends_leaves_no_worker_and_no_warning(services) -> None:
    service = services("print(pool.run(own_pid, nothing()), flush=True)\n")
    (pid,) = line(service)
    assert service.wait(ENDS_WITHIN) == 0
    assert not is_running(pid)


def test_after_a_fork_each_process_has_its_own_workers(services) -> None:
    service = services(
        "import warnings\n"
        "warnings.simplefilter('ignore', DeprecationWarning)\n"  # about a fork beside threads
        "first = pool.run(own_pid, nothing())\n"
        "threading.Thread(target=pool.run, args=(sleeps, nothing()), daemon=True).start()\n"
        "while pool._idle: time.sleep(0.01)\n"
        "if os.fork() == 0:\n"
        "    sys.stdin.readline()\n"
        "    print(pool.run(own_pid, nothing()), flush=True)\n"
        "    sys.stdin.read()\n"
        "    sys.exit()\n"
        "print(first, flush=True)\n"
        "time.sleep(60)\n"
    )
    (first,) = line(service)
    service.kill()
    service.wait(ENDS_WITHIN)
    wait_until_gone(first)  # though the other process was a copy of the one that it worked for
    assert service.stdin is not None
    service.stdin.write("\n")
    service.stdin.flush()
    (second,) = line(service)
    assert second != first
    service.stdin.close()  # which ends that process
    wait_until_gone(second)


# --- what a worker has -----------------------------------------------------------------------------


def test_a_worker_has_nothing_of_the_service(pools, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hidden")
    with (tmp_path / "other").open("wb") as other, on_disk(tmp_path, b"abc") as file:
        os.set_inheritable(other.fileno(), True)
        pool = pools()
        assert {"SECRET_KEY", "PATH"}.isdisjoint(pool.run(environment, nothing()))
        assert pool.run(descriptors, nothing()) == [0, 1, 2]
        assert pool.run(descriptors, file) == [0, 1, 2, 3]


def test_a_worker_is_limited(shared: Sandbox) -> None:
    core, written, files, memory, niceness, threads = shared.run(limits, nothing())
    assert (core, written) == (0, 0)
    assert files <= 16
    assert 960 * MIB < memory < 1536 * MIB  # of addresses, of which it has used 30 MiB when it is shut in
    assert niceness >= 5
    assert threads in {1, 2}
    # The kernel without memory ends it before the service.
    pid = shared.run(own_pid, nothing())
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "1000"


def test_code_can_still_be_loaded(shared: Sandbox) -> None:
    assert shared.run(imports_late, nothing()) == "ServerHandler"


@needs_landlock
@pytest.mark.parametrize(
    "function, path",
    [
        (opens, "/etc/hostname"),
        (opens, "/proc/self/environ"),
        (opens, str(ROOT / "manage.py")),
        (runs, sys.executable),
    ],
)
def test_a_worker_reads_and_runs_nothing_else(
    function: Callable[[IO[bytes], str], object], path: str, shared: Sandbox
) -> None:
    with pytest.raises(SandboxError, match="PermissionError"):
        shared.run(function, nothing(), path)


@needs_landlock
def test_a_worker_makes_no_files(shared: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="PermissionError"):
        shared.run(makes, nothing(), str(tmp_path / "new"))
    assert not list(tmp_path.iterdir())


@needs_seccomp
@pytest.mark.parametrize(
    "family, kind",
    [
        (socket.AF_INET, socket.SOCK_STREAM),
        (socket.AF_INET, socket.SOCK_DGRAM),
        (socket.AF_INET6, socket.SOCK_DGRAM),
        (socket.AF_UNIX, socket.SOCK_STREAM),
    ],
)
def test_a_worker_makes_no_socket_of_any_kind(family: int, kind: int, shared: Sandbox) -> None:
    with pytest.raises(SandboxError, match="PermissionError"):
        shared.run(makes_a_socket, nothing(), family, kind)


@needs_seccomp
@pytest.mark.parametrize("function", [forks, starts], ids=lambda each: each.__name__)
def test_a_worker_starts_no_process(function: Callable[[IO[bytes]], None], shared: Sandbox) -> None:
    """One that it had started would be bound by no deadline, and have so much memory again."""
    with pytest.raises(SandboxError, match="PermissionError"):
        shared.run(function, nothing())


@needs_seccomp
def test_a_worker_has_its_threads_and_may_signal_itself(shared: Sandbox) -> None:
    assert shared.run(counts_in_threads, nothing()) == 16
    shared.run(signals_its_thread, nothing())


@needs_seccomp
@pytest.mark.parametrize(
    "number, expected",
    [
        pytest.param(425, errno.EPERM, id="io_uring_setup"),
        pytest.param(434, errno.EPERM, id="pidfd_open"),
        pytest.param(435, errno.ENOSYS, id="clone3"),
        pytest.param(0x40000000 + 39, errno.EPERM, id="getpid of x32"),
    ],
)
def test_a_worker_finds_no_way_round_the_filter(number: int, expected: int, shared: Sandbox) -> None:
    assert shared.run(calls, nothing(), number) == expected


@needs_seccomp
def test_a_worker_connects_to_nothing(shared: Sandbox) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(SandboxError, match="PermissionError"),
    ):
        shared.run(connects, nothing(), server.getsockname()[1])


@needs_seccomp
def test_a_worker_signals_nobody(shared: Sandbox, services) -> None:
    service = services("sys.stdin.read()\n")
    with pytest.raises(SandboxError, match="PermissionError"):
        shared.run(signals, nothing(), service.pid)
    assert service.poll() is None
