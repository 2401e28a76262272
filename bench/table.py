"""What benchmarks found, as the rows of one table. Measures nothing."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

HEADINGS = ("what", "measured", "peer or floor", "ratio", "bar", "met")


@dataclass(frozen=True)
class Bar:
    """What a value has to keep to: at most `limit`, or at least. The unit is "x" for a ratio."""

    limit: float
    unit: str = "x"
    at_least: bool = False

    def is_met_by(self, value: float) -> bool:
        """By the value as the table shows it, so that no row contradicts itself."""
        shown = float(self.show(value).removesuffix(self._suffix))
        return shown >= self.limit if self.at_least else shown <= self.limit

    def show(self, value: float) -> str:
        return f"{value:.2f}{self._suffix}" if self.unit == "x" else f"{value:.1f}{self._suffix}"

    def __str__(self) -> str:
        limit = f"{self.limit:g}" if self.unit != "x" or self.limit % 1 else f"{self.limit:.1f}"
        return f"{'>=' if self.at_least else '<='} {limit}{self._suffix}"

    @property
    def _suffix(self) -> str:
        return self.unit if self.unit == "x" else f" {self.unit}"


@dataclass(frozen=True)
class Row:
    """One line: `value` is what is held against the bar, and `measured` and `floor` are what it comes from.
    Without a bar it is there for comparison."""

    what: str
    measured: str
    floor: str
    value: float | None = None
    bar: Bar | None = None

    @property
    def is_missed(self) -> bool:
        return self.bar is not None and self.value is not None and not self.bar.is_met_by(self.value)

    def cells(self) -> tuple[str, ...]:
        if self.value is None:
            return self.what, self.measured, self.floor, "", "", ""
        ratio = f"{self.value:.2f}" if self.bar is None or self.bar.unit == "x" else ""
        met = "" if self.bar is None else "no" if self.is_missed else "yes"
        return self.what, self.measured, self.floor, ratio, str(self.bar or ""), met


def compared(
    what: str,
    ours: float,
    theirs: float,
    *,
    by: str,
    show: Callable[[float], str],
    bar: Bar | None = None,
) -> Row:
    """A row whose value is our part of what `by` took or did."""
    if theirs <= 0:
        raise ValueError(f"{what}: {by} measured {theirs}, which nothing can be compared with")
    return Row(what, show(ours), f"{by}: {show(theirs)}", ours / theirs, bar)


def markdown(rows: Iterable[Row]) -> str:
    lines = [HEADINGS, tuple("---" for _ in HEADINGS), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plain(rows: Iterable[Row]) -> str:
    """The same in columns, for a terminal."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def take_turns[T](
    ways: Mapping[str, Callable[[], T]],
    *,
    rounds: int,
    warm_up: bool = True,
    is_late: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, list[T]]:
    """What each of the ways found, in each round: they go by turns, so that what disturbs the machine
    disturbs all. A round that warms up does not count; after the first that counts, none begins late."""
    found: dict[str, list[T]] = {name: [] for name in ways}
    for number in range(0 if warm_up else 1, rounds + 1):
        if number > 1 and is_late():
            say(f"the time is up after {number - 1} rounds")
            break
        say(f"round {number} of {rounds}" if number else "warming up")
        for name, way in ways.items():
            result = way()
            if number:
                found[name].append(result)
    return found


def percentile(values: Iterable[float], part: float) -> float:
    """The value that so large a part (0 to 1) of them does not exceed, by nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]
