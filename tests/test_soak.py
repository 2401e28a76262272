"""What the soak makes of what it found: it has to see what is wrong."""

import json
from uuid import UUID

from tests.long.fault_proxy import Fault
from tests.soak import verdict
from tests.soak.faults import SHARE, Chance
from tests.soak.ledger import Kept, Ledger
from tests.soak.memory import MIB, Sample, growths
from tests.soak.verdict import Check

A, B = UUID(int=1), UUID(int=2)


def ledger() -> Ledger:
    """One file of each fate."""
    told = Ledger()
    for name in ("kept", "deleted", "doubtful"):
        told.send(f"hash of {name}")
        told.keep(Kept(name, f"hash of {name}", 1, "", False))
    told.kept["doubtful"].is_in_doubt = True
    told.delete(told.kept["deleted"])
    told.send("hash of refused")
    told.refuse("hash of refused")
    return told


def failed(checks: list[Check]) -> list[str]:
    return [check.what for check in checks if not check.holds]


def test_a_file_in_doubt_may_be_there_or_not() -> None:
    rows = {"kept": "hash of kept"}
    assert failed(verdict.rows_as_told(ledger(), rows)) == []
    assert failed(verdict.rows_as_told(ledger(), rows | {"doubtful": "hash of doubtful"})) == []


def test_an_acknowledged_file_that_is_lost_or_another_one_is_seen() -> None:
    for rows in ({}, {"kept": "hash of doubtful"}):
        assert failed(verdict.rows_as_told(ledger(), rows)) == ["every acknowledged file has its row"]


def test_rows_that_should_not_be_there_are_seen() -> None:
    rows = {"kept": "hash of kept", "deleted": "hash of deleted", "x": "hash of refused", "y": "of nobody"}
    assert failed(verdict.rows_as_told(ledger(), rows)) == [
        "nothing that was acknowledged as deleted has one",
        "nothing that was refused has one",
        "every row is of something that was sent",
    ]


def test_objects_and_rows_are_held_against_each_other() -> None:
    assert failed(verdict.objects_as_rows({"a", "b"}, {"a", "b"}, 0)) == []
    assert len(failed(verdict.objects_as_rows({"a", "b"}, {"b", "c"}, 1))) == 3


def test_the_audit_log_has_to_add_up_file_by_file() -> None:
    assert verdict.audited([A, B], [A], {B}).holds
    for uploads, deletions, rows in [([A], [A], {A}), ([A, A], [], {A}), ([A], [B], {A}), ([A], [], set())]:
        assert not verdict.audited(uploads, deletions, rows).holds


def test_a_traceback_of_the_store_is_expected_and_any_other_is_not() -> None:
    lines = [
        {"level": "ERROR", "traceback": "Traceback (…):\n  …\nfiles.errors.StorageUnavailable: no\n"},
        {"level": "ERROR", "traceback": "Traceback (…):\n  …\nKeyError: 'x'\n"},
        {"level": "WARNING"},
    ]
    log = "\n".join(map(json.dumps, lines))
    assert verdict.tracebacks(log) == ["KeyError: 'x'"]
    assert len(verdict.tracebacks(f"{log}\nTraceback (most recent call last):\n  …\nValueError")) == 2


def life(pid: int, seconds: int, growth: int) -> list[Sample]:
    """A process that grows by so many bytes a second, and holds more for every other second."""
    return [Sample(pid, age, 100 * MIB + age * growth + age % 2 * 30 * MIB) for age in range(seconds)]


def test_a_process_that_grows_is_seen_and_one_that_is_busy_is_not() -> None:
    assert verdict.memory(growths(life(1, 300, 0))).holds
    assert not verdict.memory(growths(life(1, 300, 0) + life(2, 300, MIB // 2))).holds


def test_a_process_that_was_killed_young_says_nothing_of_memory() -> None:
    assert growths(life(1, 39, MIB)) == []
    assert not verdict.memory([]).holds


def test_one_connection_in_twenty_fails_and_the_seed_says_which() -> None:
    chance, again = Chance(7), Chance(7)
    chosen = [chance() for _ in range(200_000)]
    assert chosen == [again() for _ in chosen]
    faults = len(chosen) - chosen.count(Fault())
    assert 0.9 * SHARE < faults / len(chosen) < 1.1 * SHARE
