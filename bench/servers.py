"""The servers of docs/servers.md, by the commands that stand there: what a page of files costs each, and what
50 slow uploads do to a client that asks for pages.

They take turns, so that what disturbs the machine disturbs all. Requests per second are those of 16 clients.
The cost is processor time of all processes of a server, which others on the machine disturb least.
`make bench-servers` runs it with all that it needs.
"""

import argparse
import asyncio
import contextlib
import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # this folder has a module called requests

from bench.requests import _progress, _rate, _wait, cases  # noqa: E402

SLOW = 50  # clients
SPEED = 20_000  # bytes a second of each
PIECE = 2000  # bytes sent at once
PAGE = cases()[0]


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"  # this process asks for no data of its own
    import django

    django.setup()
    from tests.e2e import server
    from tests.long.test_servers import COMMANDS, PRODUCTION

    given = _arguments()
    if given.slow:
        asyncio.run(_upload_slowly(given.slow, given.token))
        return
    with tempfile.TemporaryDirectory(prefix="coffer-bench-") as scratch, contextlib.ExitStack() as servers:
        folder = Path(scratch)
        settings = {**PRODUCTION, "RATE_LIMIT_USER": "0", "LOG_LEVEL": "ERROR"}
        environ = server.environment(folder, server.free_port(), settings)
        _progress(f"making a database of {given.rows:,} files")
        fill = ["bench/requests.py", "--fill", str(given.rows)]
        for arguments in (["manage.py", "migrate", "-v0"], fill):
            subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environ, check=True)
        token = server.create_token(environ)
        ports, processes = {}, {}
        for name, command in COMMANDS.items():
            if given.only and not any(each in name for each in given.only):
                continue
            ports[name] = server.free_port()
            processes[name] = servers.enter_context(
                _running(command, environ | {"PORT": str(ports[name])}, ports[name])
            )
        found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for number in range(given.rounds + 1):
            _progress(f"round {number} of {given.rounds}" if number else "warming up")
            for name, port in ports.items():
                _progress(f"  {name}")
                for key, value in _turn(folder, processes[name], port, token, given.seconds).items():
                    if number:
                        found[name][key].append(value)
    first, *_ = found.values()
    print("\n| | requests/s | cost, ms | cost, ratio | p99 alone, ms | p99 beside 50 slow, ms | ratio |")
    print("|---|---|---|---|---|---|---|")
    for name, values in found.items():
        rate, cost, alone, beside = (median(values[key]) for key in ("rate", "cost", "alone", "beside"))
        shares = [b / a for a, b in zip(values["alone"], values["beside"], strict=True)]
        print(
            f"| {name} | {rate:.0f} | {cost:.1f} | {cost / median(first['cost']):.2f} "
            f"| {alone:.0f} | {beside:.0f} | {median(shares):.2f} |"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000, help="files in the database (default: 100000)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each server (default: 5)")
    parser.add_argument("--seconds", type=int, default=5, help="that a measurement lasts (default: 5)")
    parser.add_argument("--only", nargs="*", help="words of which one is in a server's name")
    parser.add_argument("--slow", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--token", help=argparse.SUPPRESS)
    return parser.parse_args()


@contextlib.contextmanager
def _running(command: str, environ: dict[str, str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        ["sh", "-c", f"exec {command}"],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(process, port)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _turn(
    folder: Path, process: subprocess.Popen[bytes], port: int, token: str, seconds: int
) -> dict[str, float]:
    before = _processor_time(process.pid)
    rate = _rate(folder, PAGE, port, token, seconds)
    cost = (_processor_time(process.pid) - before) / (rate * seconds)
    alone = _p99(port, token, seconds)
    slow = subprocess.Popen(
        [sys.executable, __file__, "--slow", str(port), "--token", token],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert slow.stdin
    assert slow.stdout
    slow.stdout.readline()  # they have begun
    try:
        beside = _p99(port, token, seconds)
    finally:
        slow.stdin.close()
        slow.wait()
        slow.stdout.close()
    return {"rate": rate, "cost": cost * 1000, "alone": alone, "beside": beside}


def _p99(port: int, token: str, seconds: int) -> float:
    """Of one client that asks again as soon as it is answered, in milliseconds; a failure takes its time."""
    headers = {"Content-Type": PAGE.content_type, "Authorization": f"Bearer {token}"}
    taken = []
    end = time.monotonic() + seconds
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as client:
        while time.monotonic() < end or len(taken) < 2:
            began = time.monotonic()
            try:
                client.request("POST", "/graphql", PAGE.body, headers)
                client.getresponse().read()
            except (OSError, http.client.HTTPException):
                client.close()
            taken.append(time.monotonic() - began)
    return quantiles(taken, n=100)[98] * 1000


def _processor_time(pid: int) -> float:
    """Seconds, of a process and all that it has started."""
    from tests.e2e import server

    ticks = 0
    for each in server._tree(pid):
        ticks += sum(map(int, Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


async def _upload_slowly(port: int, token: str) -> None:
    """Until standard input ends."""
    from tests.e2e import server

    form = server.one_file(bytes(50_000_000), "slow.bin")
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), over.set)

    async def upload() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(form.head(token))
        for at in range(0, len(form.body), PIECE):
            writer.write(form.body[at : at + PIECE])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), PIECE / SPEED)
            if over.is_set():
                break
        writer.close()

    uploads = [asyncio.create_task(upload()) for _ in range(SLOW)]
    await asyncio.sleep(1)
    print("begun", flush=True)
    await over.wait()
    await asyncio.wait(uploads)


if __name__ == "__main__":
    main()
