"""What has to hold when load, kills and faults are over: pure judgements of what was found."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from tests.soak.ledger import Ledger
from tests.soak.memory import MIB, Growth

# Of one process between two thirds of its life: what arenas of the C library differ by under load. In five
# minutes a leak of 100 KB a request goes beyond it.
MAX_GROWTH = 32 * MIB
_SHOWN = 5  # examples of what is wrong

# What the log shows of a store that fails; nothing else may end in a traceback.
EXPECTED = (
    "files.errors.StorageUnavailable",
    "botocore.exceptions.",
    "urllib3.exceptions.",
)


@dataclass(frozen=True)
class Check:
    """One line of the table. `wrong` is empty if it holds."""

    what: str
    figure: str
    wrong: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.wrong

    def line(self) -> str:
        return f"{'yes' if self.holds else 'NO':4}{self.what:66}{self.figure}"

    def examples(self) -> list[str]:
        left = len(self.wrong) - _SHOWN
        return [*self.wrong[:_SHOWN], *([f"and {left} more"] if left > 0 else [])]


def nothing_wrong(what: str, wrong: Iterable[str], figure: str = "") -> Check:
    found = tuple(wrong)
    return Check(what, figure or str(len(found)), found)


def rows_as_told(ledger: Ledger, rows: Mapping[str, str]) -> list[Check]:
    """`rows` has the SHA-256 of each row by its global id."""
    certain = {file.id: file.sha256 for file in ledger.certain()}
    known = set(rows.values())
    return [
        nothing_wrong(
            "every acknowledged file has its row",
            [id_ for id_, sha256 in certain.items() if rows.get(id_) != sha256],
            f"{len(certain)} files, {ledger.doubtful()} in doubt",
        ),
        nothing_wrong(
            "nothing that was acknowledged as deleted has one",
            ledger.deleted.keys() & rows.keys(),
            f"{len(ledger.deleted)} files",
        ),
        nothing_wrong(
            "nothing that was refused has one", ledger.refused & known, f"{len(ledger.refused)} files"
        ),
        nothing_wrong(
            "every row is of something that was sent",
            known - ledger.sent,
            f"{len(rows)} rows, {len(rows.keys() - ledger.kept.keys())} whose answer was lost",
        ),
    ]


def objects_as_rows(objects: set[str], keys: set[str], unfinished: int) -> list[Check]:
    """After `reconcile`."""
    return [
        nothing_wrong("no object without row", objects - keys, f"{len(objects)} objects"),
        nothing_wrong("no row without object", keys - objects, f"{len(keys)} rows and renditions"),
        Check("no unfinished upload", str(unfinished), ("uploads in parts are left",) if unfinished else ()),
    ]


def audited(uploads: Iterable[UUID], deletions: Iterable[UUID], rows: set[UUID]) -> Check:
    """An entry is written in the transaction of its change: however that was interrupted, both are there or
    neither is."""
    kept, gone = list(uploads), list(deletions)
    wrong = [f"recorded twice: {each}" for each in {*_doubles(kept), *_doubles(gone)}]
    wrong += [f"row and record differ: {each}" for each in (set(kept) - set(gone)) ^ rows]
    wrong += [f"deleted and never uploaded: {each}" for each in set(gone) - set(kept)]
    figure = f"{len(kept)} - {len(gone)} = {len(rows)}"
    return nothing_wrong("uploads less deletions of the audit log are the rows", wrong, figure)


def _doubles(ids: list[UUID]) -> set[UUID]:
    return {each for each, count in Counter(ids).items() if count > 1}


def memory(growths: list[Growth]) -> Check:
    if not growths:
        return Check("memory is flat", "no process lived long enough", ("nothing was measured",))
    figures = ", ".join(
        f"{each.before / MIB:.0f} to {each.after / MIB:.0f} in {each.age:.0f} s" for each in growths[:3]
    )
    wrong = [
        f"process {each.pid} grew by {each.size / MIB:.0f} MiB" for each in growths if each.size > MAX_GROWTH
    ]
    return nothing_wrong(f"memory is flat (MiB; at most {MAX_GROWTH // MIB} more)", wrong, figures)


def tracebacks(log: str) -> list[str]:
    """The last line of each traceback that no failure of the store explains; `log` has a JSON object a line,
    and as plain text what did not come to be logged."""
    found = []
    for line in log.splitlines():
        if line.startswith("{"):
            traceback = json.loads(line).get("traceback", "").strip()
            found += traceback.splitlines()[-1:]
        elif line.startswith("Traceback (most recent call last):"):
            found.append("a traceback that was not logged")
    return [line for line in found if not line.startswith(EXPECTED)]
