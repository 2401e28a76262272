"""One soak: the load, what disturbs it, what is said meanwhile, and the table at the end."""

import random
import sys
import threading
import time
from dataclasses import dataclass, field

from tests.soak import aftermath
from tests.soak.clients import CLIENTS, Client
from tests.soak.faults import Chance
from tests.soak.ledger import Ledger
from tests.soak.memory import MIB, Watch
from tests.soak.stack import Stack
from tests.soak.verdict import Check

_KILL_EVERY = 10.0  # seconds
_SAY_EVERY = 5.0
_LOOK_EVERY = 1.0


@dataclass
class Soak:
    """One run of it."""

    stack: Stack
    seed: int
    seconds: float
    ledger: Ledger = field(default_factory=Ledger)
    watch: Watch = field(default_factory=Watch)
    faults: int = 0

    def run(self) -> list[Check]:
        self._load()
        found = aftermath.judge(self.stack, self.ledger, self.watch, say)
        self.ledger.write(self.stack.folder / "ledger.jsonl")
        self.watch.write(self.stack.folder / "memory.csv")
        return found

    def _load(self) -> None:
        ended = threading.Event()
        clients = [
            Client(number, self.seed, self.stack.urls, self.stack.token, self.ledger)
            for number in range(CLIENTS)
        ]
        threads = [threading.Thread(target=client.run, args=(ended,)) for client in clients]
        self.stack.proxy.inflict_some(Chance(self.seed))
        for thread in threads:
            thread.start()
        try:
            self._disturb()
        finally:
            self.faults = self.stack.proxy.faulted
            self.stack.proxy.heal()
            ended.set()
            for thread in threads:
                thread.join()

    def _disturb(self) -> None:
        """Kill, start again, and say how it goes, until the time is up."""
        chance = random.Random(f"kills {self.seed}")
        began = time.monotonic()
        kill_at, say_at = began + _KILL_EVERY, began + _SAY_EVERY
        while (now := time.monotonic()) < began + self.seconds:
            self.stack.keep_running()
            self.watch.look(self.stack.workers())
            if now >= kill_at:
                self.stack.kill_one(chance)
                kill_at += _KILL_EVERY
            if now >= say_at:
                self._say(now - began)
                say_at += _SAY_EVERY
            time.sleep(_LOOK_EVERY)

    def _say(self, seconds: float) -> None:
        counts = self.ledger.counts
        resident = [sample.resident / MIB for sample in self.watch.samples[-4:]]
        say(
            f"{seconds:4.0f} s  {counts.total()} requests, {len(self.ledger.kept)} files, "
            f"{len(self.ledger.deleted)} deleted, {counts['no answer']} without answer, "
            f"{counts['told to try again']} told to try again, {len(self.stack.kills)} kills, "
            f"{self.stack.proxy.faulted} faults, at most {max(resident, default=0):.0f} MiB, "
            f"{len(self.ledger.wrong)} wrong"
        )


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def report(soak: Soak, checks: list[Check]) -> None:
    counts = ", ".join(f"{count} {what}" for what, count in soak.ledger.counts.most_common())
    print(f"\n{soak.seconds:.0f} s with seed {soak.seed}: {counts}.")
    print(
        f"{len(soak.stack.kills)} kills ({', '.join(soak.stack.kills)}); {soak.faults} faults of the store.\n"
    )
    for check in checks:
        print(check.line())
        for example in check.examples():
            print(f"      {example}")
