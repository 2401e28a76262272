"""What clients were told, and what they may count on because of it. Nothing is asked of the service here."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Kept:
    """A file that was acknowledged. `titles` are those that it may have: more than one while the answer to a
    change is missing. `is_in_doubt`: it was to be deleted, and nobody knows whether it was."""

    id: str
    sha256: str
    size: int
    url: str
    is_image: bool
    titles: set[str | None] = field(default_factory=lambda: {None})
    is_in_doubt: bool = False


@dataclass
class Ledger:
    """Of all clients together. `sent`, by SHA-256, is whatever may have become a file."""

    kept: dict[str, Kept] = field(default_factory=dict)
    deleted: dict[str, Kept] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)  # of `sent`: the client was told that it was not kept
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)  # answers that no client should ever get
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def complain(self, what: str) -> None:
        """Of an answer that breaks the contract."""
        with self._lock:
            self.wrong.append(what)

    def send(self, sha256: str) -> None:
        with self._lock:
            self.sent.add(sha256)

    def keep(self, file: Kept) -> None:
        with self._lock:
            self.kept[file.id] = file

    def refuse(self, sha256: str) -> None:
        with self._lock:
            self.refused.add(sha256)

    def delete(self, file: Kept) -> None:
        with self._lock:
            self.deleted[file.id] = self.kept.pop(file.id)

    def certain(self) -> list[Kept]:
        """The files that have to be there."""
        return [each for each in self.kept.values() if not each.is_in_doubt]

    def doubtful(self) -> int:
        """How many files may be there or not."""
        return sum(each.is_in_doubt for each in self.kept.values())

    def write(self, path: Path) -> None:
        """For whoever looks for the reason: a line of JSON for each file."""
        path.write_text("".join(f"{json.dumps(line)}\n" for line in self._lines()))

    def _lines(self) -> Iterator[dict[str, Any]]:
        for state, files in (("kept", self.kept), ("deleted", self.deleted)):
            for each in files.values():
                yield {
                    "state": "in doubt" if each.is_in_doubt else state,
                    "id": each.id,
                    "sha256": each.sha256,
                    "size": each.size,
                    "url": each.url,
                }
