"""Processes that are kept running: one that ends is started again, until all are told to end.

Each is forked from a process that has neither threads nor connections, so that the kill of one leaves the
others and what they hold alone.
"""

import ctypes
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

logger = logging.getLogger(__name__)

_RESTART_AFTER = 1.0  # second; one that cannot start must not keep a processor busy
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG = 1  # prctl(2)


def run(jobs: Sequence[Callable[[str], None]]) -> None:
    """Call each in a process of its own, with a name that is its alone and that its successor gets too, until
    SIGTERM or SIGINT, which all are told. Returns when they have ended."""
    _Supervisor(jobs).run()


class _Supervisor:
    def __init__(self, jobs: Sequence[Callable[[str], None]]) -> None:
        place = f"{socket.gethostname()[:32]}-{secrets.token_hex(4)}"
        self._waiting = {f"{place}-{number}": job for number, job in enumerate(jobs)}
        self._running: dict[int, tuple[str, Callable[[str], None]]] = {}
        self._ending = False

    def run(self) -> None:
        before = [signal.signal(each, self._end) for each in _SIGNALS]
        try:
            while not self._ending or self._running:
                self._start()
                self._wait()
        finally:
            for each, handler in zip(_SIGNALS, before, strict=True):
                signal.signal(each, handler)

    def _end(self, signum: int, frame: FrameType | None) -> None:
        self._ending = True
        for pid in self._running:
            os.kill(pid, signal.SIGTERM)

    def _start(self) -> None:
        # Nobody is told to end between being started and being known.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            while self._waiting and not self._ending:
                name, job = self._waiting.popitem()
                self._running[_fork(name, job)] = name, job
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _wait(self) -> None:
        if not self._running:
            return
        pid, status = os.wait()
        name, job = self._running.pop(pid)
        if self._ending:
            return
        code = os.waitstatus_to_exitcode(status)
        logger.warning("Process %s (%d) ended with %d; another one takes its place.", name, pid, code)
        self._waiting[name] = job
        time.sleep(_RESTART_AFTER)


def _fork(name: str, job: Callable[[str], None]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setpgid(0, 0)  # a Ctrl-C is for the parent, which tells everybody once
        _end_with(parent)
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        job(name)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException:
        logger.exception("Process %s failed.", name)
    finally:
        logging.shutdown()
        os._exit(code)


def _end_with(parent: int) -> None:
    """Be told to end when the parent is gone, where the kernel does that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
