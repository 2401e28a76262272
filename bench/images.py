"""Renditions against plain Pillow, sharp and pyvips: milliseconds, ratios and memory, all in one run.

Each engine is a process of its own that is told to do one job after another; they take turns, so that what
disturbs the machine disturbs all of them. Coffer's jobs are calls of `files.rendering.render_many`, which is
what the service calls, here in the process itself; its sandbox has a line of its own. All write the same
formats, as large, at the same quality: JPEG progressive, with halved colours and its own Huffman tables.

`make bench-images` runs it with all that it needs.
"""

import argparse
import io
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

ENGINES = ("coffer", "pillow", "sharp", "pyvips")
SANDBOX = "sandbox"
FORMATS = ("JPEG", "PNG", "WEBP")
QUALITY = {"jpeg": 80, "webp": 78}  # Coffer's own, for all


@dataclass(frozen=True)
class Case:
    """One row: a picture to be made as large as `sides` (pixels). A bar is the most that is allowed, as a
    part of what another engine takes."""

    name: str
    source: str
    sides: tuple[int, ...]
    format: str
    bar: tuple[str, float] | None = None

    def job(self, folder: Path) -> dict[str, object]:
        return {"path": str(folder / self.source), "sides": self.sides, "format": self.format}


CASES = (
    Case("JPEG 12 MP to 300", "12mp.jpeg", (300,), "jpeg", ("sharp", 0.85)),
    Case("JPEG 48 MP to 300", "48mp.jpeg", (300,), "jpeg"),
    Case("PNG 12 MP to 300", "12mp.png", (300,), "png", ("pillow", 1.0)),
    Case("WebP 12 MP to 300", "12mp.webp", (300,), "webp", ("pillow", 1.0)),
    Case("JPEG 12 MP to WebP 1600", "12mp.jpeg", (1600,), "webp"),
    Case("JPEG 12 MP to WebP 320, 800, 1600", "12mp.jpeg", (320, 800, 1600), "webp"),
)
MEMORY_BAR = 40.0  # MB, for a JPEG of 12 MP to 300


type Job = Callable[..., int]  # of path, sides (pixels) and format: bytes that were made


# --- what is measured ------------------------------------------------------------------------------


def coffer() -> Job:
    from files import rendering
    from files.variations import Format, Variation

    def job(path: str, sides: list[int], format: str) -> int:
        wanted = [Variation(width=side, height=side, format=Format(format)) for side in sides]
        with Path(path).open("rb") as file:
            made = rendering.render_many(file, formats=FORMATS, variations=wanted)
        return sum(len(each.content) for each in made)

    return job


def sandboxed() -> Job:
    """The same, called as the service calls it."""
    from files import rendering, sandbox
    from files.variations import Format, Variation

    def job(path: str, sides: list[int], format: str) -> int:
        wanted = [Variation(width=side, height=side, format=Format(format)) for side in sides]
        with Path(path).open("rb") as file:
            made = sandbox.run(rendering.render_many, file, formats=FORMATS, variations=wanted)
        return sum(len(each.content) for each in made)

    return job


def pillow() -> Job:
    """As Pillow's documentation has one write it, with Coffer's filter and encoders."""
    from PIL import Image, ImageOps

    options: dict[str, dict[str, Any]] = {
        "jpeg": {"quality": QUALITY["jpeg"], "progressive": True, "optimize": True},
        "png": {},
        "webp": {"quality": QUALITY["webp"], "method": 4},
    }

    def job(path: str, sides: list[int], format: str) -> int:
        size = 0
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
        for side in (min(side, max(image.size)) for side in sides):
            target = io.BytesIO()
            ImageOps.contain(image, (side, side), Image.Resampling.LANCZOS).save(
                target, format.upper(), **options[format]
            )
            size += target.tell()
        return size

    return job


def vips() -> Job:
    import pyvips

    encoders = {
        "jpeg": lambda image: image.jpegsave_buffer(
            Q=QUALITY["jpeg"], interlace=True, optimize_coding=True, keep="none"
        ),
        "png": lambda image: image.pngsave_buffer(keep="none"),
        "webp": lambda image: image.webpsave_buffer(Q=QUALITY["webp"], effort=4, keep="none"),
    }
    pyvips.cache_set_max(0)

    def job(path: str, sides: list[int], format: str) -> int:
        return sum(
            len(encoders[format](pyvips.Image.thumbnail(path, side, height=side, size="down")))
            for side in sides
        )

    return job


WORKERS: dict[str, Callable[[], Job]] = {
    "coffer": coffer,
    SANDBOX: sandboxed,
    "pillow": pillow,
    "pyvips": vips,
}


def work(engine: str) -> None:
    """Do the jobs that come in, and say what each cost."""
    job = WORKERS[engine]()
    for line in sys.stdin:
        arguments = json.loads(line)
        cpu, start = time.process_time(), time.perf_counter()
        size = job(**arguments)
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"wall": wall * 1000, "cpu": cpu * 1000, "peak": peak, "bytes": size}), flush=True)


# --- pictures --------------------------------------------------------------------------------------


def make_pictures(folder: Path) -> None:
    """The same ones each time. Photographs have detail of every size, the finer the fainter, edges, and
    colours that change slowly; decoders and encoders take as long as there is of it. Plain gradients would
    cost them nothing, and noise ten times as much as any photograph."""
    from PIL import Image

    small = picture(400, 300)
    for format in ("jpeg", "png", "webp"):
        small.save(folder / f"small.{format}", quality=90)
    large = picture(4000, 3000)
    large.save(folder / "12mp.jpeg", quality=90)
    large.save(folder / "12mp.png")
    large.save(folder / "12mp.webp", quality=85, method=2)
    large.resize((8000, 6000), Image.Resampling.BICUBIC).save(folder / "48mp.jpeg", quality=90)


def picture(width: int, height: int) -> "Image.Image":
    from PIL import Image, ImageChops, ImageDraw

    chance = random.Random(2026)

    def clouds(octaves: list[tuple[int, float]]) -> Image.Image:
        """Noise of grains of so many pixels, each so strong, laid over each other."""
        total = Image.new("L", (width, height), 128)
        for grain, strength in octaves:
            size = max(2, width // grain), max(2, height // grain)
            noise = Image.frombytes("L", size, chance.randbytes(size[0] * size[1]))
            faint = noise.point([round(128 + (value - 128) * strength) for value in range(256)])
            total = ImageChops.add(total, faint.resize((width, height), Image.Resampling.BICUBIC), 1, -128)
        return total

    fine = [(64, 0.2), (16, 0.12), (6, 0.1), (3, 0.07), (1, 0.03)]
    light = clouds([(width // 4, 0.5), (width // 16, 0.3), *fine])
    draw = ImageDraw.Draw(light)
    for _ in range(60):
        x, y, length = chance.randrange(width), chance.randrange(height), width // 8
        end = x + chance.randint(-length, length), y + chance.randint(-length, length)
        draw.line((x, y, *end), fill=chance.randrange(256), width=width // 500 + 1)
    colors = [clouds([(width // 3, 0.3), (width // 20, 0.1)]) for _ in range(2)]
    return Image.merge("YCbCr", (light, *colors)).convert("RGB")


# --- who measures ----------------------------------------------------------------------------------


class Worker:
    def __init__(self, engine: str) -> None:
        command = [sys.executable, __file__, "--worker", engine]
        if engine == "sharp":
            command = ["node", str(HERE / "sharp.mjs")]
        environment = os.environ | {"VIPS_CONCURRENCY": "1"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=HERE
        )

    def run(self, job: dict[str, object]) -> dict[str, float]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit("An engine ended before its job was done.")
        found: dict[str, float] = json.loads(line)
        return found

    def end(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@contextmanager
def worker(engine: str, running: list[Worker]) -> Iterator[Worker]:
    started = Worker(engine)
    running.append(started)
    try:
        yield started
    finally:
        running.remove(started)
        started.end()


def measure_time(
    folder: Path, rounds: int, until: float, running: list[Worker]
) -> dict[tuple[str, str], dict[str, float]]:
    """Medians by case and engine, in milliseconds, of at most so many rounds; the first one warms up."""
    taken: dict[tuple[str, str], list[dict[str, float]]] = {}
    with ExitStack() as ending:
        workers = {each: ending.enter_context(worker(each, running)) for each in (*ENGINES, SANDBOX)}
        for done in range(rounds + 1):
            progress(f"round {done} of {rounds}" if done else "warming up")
            for case, engine in product(CASES, workers):
                if engine != SANDBOX or case is CASES[0]:
                    cost = workers[engine].run(case.job(folder))
                    if done:
                        taken.setdefault((case.name, engine), []).append(cost)
            if 0 < done < rounds and time.monotonic() > until:
                progress(f"the time is up after {done} rounds")
                break
    return {
        key: {what: statistics.median(cost[what] for cost in costs) for what in ("wall", "cpu")}
        for key, costs in taken.items()
    }


def measure_memory(folder: Path, running: list[Worker]) -> dict[tuple[str, str], float]:
    """Peaks by case and engine, in MB: of a process that does nothing but this, less its peak after the same
    with a picture of 400 x 300, by which all libraries are loaded. A process begins with the peak of the one
    that starts it, so this one has to stay small and imports none of them."""
    peaks = {}
    for case in CASES:
        progress(f"memory: {case.name}")
        for engine in ENGINES:
            with worker(engine, running) as fresh:
                small = {**case.job(folder), "path": str(folder / f"small.{Path(case.source).suffix[1:]}")}
                before = fresh.run(small)["peak"]
                peaks[case.name, engine] = fresh.run(case.job(folder))["peak"] - before
    return peaks


def report(
    times: dict[tuple[str, str], dict[str, float]], peaks: dict[tuple[str, str], float], file: IO[str]
) -> None:
    titles = ("Coffer", "plain Pillow", "sharp, 1 thread", "pyvips, 1 thread")
    print(
        "\nMilliseconds of CPU time (medians), which is what the clock shows of one thread on a machine with"
        "\nnothing else to do. Ratios are Coffer's part of it, by CPU time / by the clock.\n",
        file=file,
    )
    row(file, "", *titles, "to sharp", "to Pillow", "bar")
    row(file, *["---"] * 8)
    for case in CASES:
        costs = {engine: times[case.name, engine] for engine in ENGINES}

        def ratio(engine: str, costs: dict[str, dict[str, float]] = costs) -> str:
            parts = (costs["coffer"][what] / costs[engine][what] for what in ("cpu", "wall"))
            return " / ".join(f"{part:.2f}" for part in parts)

        bar = f"{case.bar[0]} <= {case.bar[1]}" if case.bar else ""
        figures = (f"{costs[engine]['cpu']:.1f}" for engine in ENGINES)
        row(file, case.name, *figures, ratio("sharp"), ratio("pillow"), bar)
    first = CASES[0].name
    plain, boxed = times[first, "coffer"]["wall"], times[first, SANDBOX]["wall"]
    print(f"\n{first} by the clock: {plain:.1f} ms, in the sandbox {boxed:.1f} ms", file=file)
    print("\nPeak memory, MB above a job with a small picture\n", file=file)
    row(file, "", *titles, "bar")
    row(file, *["---"] * 6)
    for case in CASES:
        bar = f"< {MEMORY_BAR:.0f}" if case is CASES[0] else ""
        row(file, case.name, *(f"{peaks[case.name, engine]:.0f}" for engine in ENGINES), bar)


def figures(
    case: Case, times: dict[tuple[str, str], dict[str, float]], peaks: dict[tuple[str, str], float]
) -> dict[str, object]:
    """One row as plain values; bench.pictures makes rows of the common table of them."""
    engines = {
        each: {"cpu": times[case.name, each]["cpu"], "peak": peaks[case.name, each]} for each in ENGINES
    }
    return {"name": case.name, "bar": case.bar, "engines": engines}


def row(file: IO[str], *cells: str) -> None:
    print("| " + " | ".join(cells) + " |", file=file)


def _kill(running: list[Worker]) -> None:
    for each in list(running):
        each.process.kill()


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="times that each job is done (default: 15)")
    parser.add_argument(
        "--seconds", type=float, default=300, help="begin no further round after so long (default: 300)"
    )
    parser.add_argument("--json", action="store_true", help="print the figures for another program")
    parser.add_argument("--worker", choices=[*WORKERS, "pictures"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker == "pictures":
        make_pictures(arguments.folder)
        return
    if arguments.worker:
        work(arguments.worker)
        return
    until = time.monotonic() + arguments.seconds
    running: list[Worker] = []
    # Twice the time is more than the last round and the memory can take: something hangs.
    stop = threading.Timer(2 * arguments.seconds, _kill, (running,))
    stop.daemon = True
    stop.start()
    with tempfile.TemporaryDirectory() as folder:
        progress("making the pictures")
        subprocess.run([sys.executable, __file__, "--worker", "pictures", "--folder", folder], check=True)
        times = measure_time(Path(folder), arguments.rounds, until, running)
        peaks = measure_memory(Path(folder), running)
    stop.cancel()
    if arguments.json:
        json.dump([figures(case, times, peaks) for case in CASES], sys.stdout)
    else:
        report(times, peaks, sys.stdout)


if __name__ == "__main__":
    main()
