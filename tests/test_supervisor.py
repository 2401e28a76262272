"""Processes that are kept running, tried with real ones."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.server import ENDS_WITHIN, wait_for

# Each process notes its number under its name, and when it is told to end; `failing` fails the first time.
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from files import supervisor

supervisor._RESTART_AFTER = 0.01
folder = Path(sys.argv[1])

def note(what):
    (folder / f"{what}.{os.getpid()}").touch()

def told(*_):
    note("told")
    sys.exit(0)

def job(name):
    signal.signal(signal.SIGTERM, told)
    note(name.rpartition("-")[2])
    while True:
        time.sleep(0.05)

def failing(name):
    number = name.rpartition("-")[2]
    if not list(folder.glob(f"{number}.*")):
        note(number)
        raise ValueError("a test")
    job(name)

supervisor.run([job, failing if "failing" in sys.argv else job])
note("ended")
"""

type Start = Callable[..., subprocess.Popen[bytes]]


def noted(folder: Path, what: str) -> list[int]:
    return sorted(int(each.suffix[1:]) for each in folder.glob(f"{what}.*"))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(*more: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path), *more])
        started.append(process)
        wait_for("both to run", lambda: bool(noted(tmp_path, "0") and noted(tmp_path, "1")))
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait(ENDS_WITHIN)
    children = [*noted(tmp_path, "0"), *noted(tmp_path, "1")]
    wait_for("the children to end", lambda: not any(map(is_running, children)))


def test_one_that_is_killed_is_replaced_by_one_of_its_name_and_the_others_stay(start: Start, tmp_path):
    start()
    (first,), (second,) = noted(tmp_path, "0"), noted(tmp_path, "1")
    os.kill(first, signal.SIGKILL)
    wait_for("another one", lambda: len(noted(tmp_path, "0")) == 2)
    assert noted(tmp_path, "1") == [second]
    assert is_running(second)


def test_one_that_fails_is_started_again(start: Start, tmp_path):
    start("failing")
    wait_for("another one", lambda: len(noted(tmp_path, "1")) == 2)


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_all_are_told_to_end_and_waited_for(start: Start, tmp_path, by):
    process = start()
    process.send_signal(by)
    assert process.wait(ENDS_WITHIN) == 0
    assert noted(tmp_path, "told") == sorted(noted(tmp_path, "0") + noted(tmp_path, "1"))
    assert noted(tmp_path, "ended") == [process.pid]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_when_it_is_killed_all_are_told_to_end(start: Start, tmp_path):
    process = start()
    process.kill()
    wait_for("both to be told", lambda: len(noted(tmp_path, "told")) == 2)
