"""What the benchmarks make of what they measured."""

from functools import partial

import pytest

from bench.table import Bar, Row, compared, markdown, percentile, plain, take_turns


def test_a_ratio_at_its_bar_meets_it_and_one_above_does_not() -> None:
    bar = Bar(0.36)
    assert bar.is_met_by(0.36)
    assert not bar.is_met_by(0.37)


def test_a_bar_can_ask_for_at_least_so_much() -> None:
    bar = Bar(1.0, at_least=True)
    assert bar.is_met_by(1.0)
    assert not bar.is_met_by(0.99)
    assert str(bar) == ">= 1.0x"


def test_a_row_is_judged_by_the_figure_that_it_shows() -> None:
    row = Row("written", "1.001 MiB", "1 MiB", 1.001, Bar(1.0))
    assert row.cells()[3:] == ("1.00", "<= 1.0x", "yes")
    assert not row.is_missed


def test_a_row_with_a_bar_in_megabytes_has_no_ratio() -> None:
    row = Row("memory", "32.1 MB", "", 32.1, Bar(32, "MB"))
    assert row.cells()[3:] == ("", "<= 32 MB", "no")
    assert row.is_missed


def test_a_row_without_a_bar_is_never_missed() -> None:
    row = compared("uploads", 3.0, 2.0, by="Yoga", show=str)
    assert row.cells() == ("uploads", "3.0", "Yoga: 2.0", "1.50", "", "")
    assert not row.is_missed


def test_nothing_is_compared_with_what_was_not_measured() -> None:
    with pytest.raises(ValueError, match="Yoga measured 0"):
        compared("uploads", 3.0, 0, by="Yoga", show=str)


def test_the_table_has_a_line_for_each_row_in_both_of_its_forms() -> None:
    rows = [compared("uploads", 1.8, 4.9, by="Apollo", show=lambda value: f"{value} s", bar=Bar(0.36))]
    assert markdown(rows).splitlines()[2:] == ["| uploads | 1.8 s | Apollo: 4.9 s | 0.37 | <= 0.36x | no |"]
    assert plain(rows).splitlines()[1] == "uploads  1.8 s     Apollo: 4.9 s  0.37   <= 0.36x  no"


def test_the_ways_take_turns_and_the_round_that_warms_up_does_not_count() -> None:
    turns: list[str] = []

    def way(name: str) -> int:
        turns.append(name)
        return len(turns)

    found = take_turns({"a": partial(way, "a"), "b": partial(way, "b")}, rounds=2)
    assert turns == list("ababab")
    assert found == {"a": [3, 5], "b": [4, 6]}


def test_no_round_begins_late_but_one_is_always_measured() -> None:
    said: list[str] = []
    found = take_turns({"a": lambda: 1}, rounds=9, is_late=lambda: True, say=said.append)
    assert found == {"a": [1]}
    assert said[-1] == "the time is up after 1 rounds"


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(1, 201)]
    assert percentile(values, 0.99) == 198
    assert percentile([7.0], 0.99) == 7
