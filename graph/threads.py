"""Many threads, few of which run at once.

Python lets one thread run at a time, and every thread that wants its turn costs those that have it: with 32
requests at work in a process each took 40 % more of the processor than with two, nearly all of it in asking
and telling whose turn it is. But most threads of a file service wait, for clients that send and read slowly
and for storages far away, and for those there have to be many.

So a job counts as one that runs for its first moments alone. One that takes longer most likely waits, and
another may begin, as the scheduler of Go has it with threads in system calls.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, override

_WAITS_FROM = 0.02  # seconds after which a job counts as waiting; most requests take less
_LOOK_EVERY = 0.01  # seconds, where jobs stand in line


@dataclass(eq=False, slots=True)
class _Job:
    future: Future[Any]
    call: Callable[[], Any]
    begun: float = 0.0  # by time.monotonic
    counts: bool = False  # as one that runs

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.call()
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class Threads(Executor):
    """At most `most` threads, started when they are needed. Of the jobs that began within the last moments
    at most `at_once` are under way; further ones stand in line, first come, first served."""

    def __init__(self, most: int, *, at_once: int) -> None:
        self._most = most
        self._at_once = at_once
        self._lock = threading.Lock()  # of all that follows
        self._line: deque[_Job] = deque()
        self._under_way: set[_Job] = set()
        self._running = 0  # those of them that count
        self._started = self._idle = 0
        self._is_closed = False
        self._for_idle: SimpleQueue[_Job | None] = SimpleQueue()
        self._somebody_stands = threading.Event()
        self._watch: threading.Thread | None = None

    @override
    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        job = _Job(Future(), partial(fn, *args, **kwargs))
        with self._lock:
            if self._is_closed:
                raise RuntimeError("These threads take no more jobs: they were shut down.")
            self._line.append(job)
            self._let_in()
        return job.future

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more jobs. Those in line are still done, unless they are cancelled."""
        with self._lock:
            self._is_closed = True
            left = [*self._line, *self._under_way]
            if cancel_futures:
                self._line.clear()
            for _ in range(self._idle):
                self._for_idle.put(None)
            self._started -= self._idle
            self._idle = 0
            self._somebody_stands.set()
        for job in left:
            if cancel_futures:
                job.future.cancel()
            if wait and not job.future.cancelled():
                job.future.exception()

    def _let_in(self) -> None:
        """As many as may run now. For who has the lock, as the methods below are too."""
        while self._line and self._running < self._at_once:
            if self._idle:
                self._idle -= 1
                self._for_idle.put(self._first())
            elif self._started < self._most:
                self._started += 1
                name = f"request-{self._started}"
                threading.Thread(target=self._work, args=[self._first()], name=name, daemon=True).start()
            else:
                break
        if self._line and not self._somebody_stands.is_set():
            self._somebody_stands.set()
            if self._watch is None:
                self._watch = threading.Thread(target=self._look, name="request-watch", daemon=True)
                self._watch.start()

    def _first(self) -> _Job:
        job = self._line.popleft()
        job.begun, job.counts = time.monotonic(), True
        self._under_way.add(job)
        self._running += 1
        return job

    def _work(self, job: _Job | None) -> None:
        while job is not None:
            job.run()
            with self._lock:
                self._under_way.discard(job)
                self._running -= job.counts
                # The same thread goes on where it may: to wake another one costs both.
                job = self._first() if self._line and self._running < self._at_once else None
                if job is None and self._is_closed:
                    self._started -= 1
                    return
                self._idle += job is None
            if job is None:
                job = self._for_idle.get()

    def _look(self) -> None:
        """Let in who stands in line when those who run turn out to wait."""
        while True:
            self._somebody_stands.wait()
            time.sleep(_LOOK_EVERY)
            with self._lock:
                before = time.monotonic() - _WAITS_FROM
                for job in self._under_way:
                    if job.counts and job.begun < before:
                        job.counts = False
                        self._running -= 1
                self._let_in()
                if not self._line:
                    if self._is_closed:
                        return
                    self._somebody_stands.clear()
