"""Few of many threads run at once, and who waits keeps nobody from running."""

import threading
import time
from collections.abc import Iterator

import pytest

from graph import threads
from graph.threads import Threads

PATIENCE = 30  # seconds


@pytest.fixture
def two() -> Iterator[Threads]:
    """At most eight threads, two of which run."""
    made = Threads(8, at_once=2)
    yield made
    made.shutdown(wait=False)


def test_a_job_answers_what_it_returns_or_raises(two: Threads) -> None:
    assert two.submit(divmod, 17, 5).result(PATIENCE) == (3, 2)
    with pytest.raises(ZeroDivisionError):
        two.submit(divmod, 1, 0).result(PATIENCE)


def test_no_more_run_at_once_than_may(two: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_WAITS_FROM", PATIENCE)
    lock, under_way, most = threading.Lock(), 0, 0

    def job() -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.005)
        with lock:
            under_way -= 1

    for each in [two.submit(job) for _ in range(40)]:
        each.result(PATIENCE)
    assert most == 2


def test_those_that_wait_let_others_run_as_far_as_there_are_threads(two: Threads) -> None:
    end, arrived = threading.Event(), threading.Semaphore(0)

    def wait() -> str:
        arrived.release()
        assert end.wait(PATIENCE)
        return threading.current_thread().name

    waiting = [two.submit(wait) for _ in range(7)]
    for _ in waiting:
        assert arrived.acquire(timeout=PATIENCE)
    assert two.submit(str, 8).result(PATIENCE) == "8"  # by the last thread
    waiting += [two.submit(wait) for _ in range(2)]
    assert arrived.acquire(timeout=PATIENCE)
    assert not arrived.acquire(timeout=0.1)  # there is no ninth
    end.set()
    assert len({each.result(PATIENCE) for each in waiting}) == 8


def test_jobs_begin_in_the_order_in_which_they_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_WAITS_FROM", PATIENCE)
    one = Threads(4, at_once=1)
    begin, begun = threading.Event(), list[int]()
    one.submit(begin.wait, PATIENCE)
    jobs = [one.submit(begun.append, number) for number in range(20)]
    begin.set()
    for each in jobs:
        each.result(PATIENCE)
    assert begun == list(range(20))
    one.shutdown(wait=False)


def test_an_idle_thread_is_used_again(two: Threads) -> None:
    names = {two.submit(lambda: threading.current_thread().name).result(PATIENCE) for _ in range(50)}
    assert len(names) <= 2


def test_shut_down_they_do_what_stands_in_line_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_WAITS_FROM", 0.01)
    before = set(threading.enumerate())
    made = Threads(3, at_once=1)
    begin = threading.Event()
    jobs = [made.submit(begin.wait, PATIENCE) for _ in range(5)]
    own = set(threading.enumerate()) - before
    made.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="shut down"):
        made.submit(str)
    begin.set()
    assert all(each.result(PATIENCE) for each in jobs)
    for each in own | (set(threading.enumerate()) - before):
        each.join(PATIENCE)
        assert not each.is_alive()


def test_shut_down_idle_ones_end_and_others_do_what_stands_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Threads(3, at_once=3)
    together = threading.Barrier(3)
    for each in [made.submit(together.wait, PATIENCE) for _ in range(3)]:
        each.result(PATIENCE)  # three threads, all idle
    made._at_once = 1
    monkeypatch.setattr(threads, "_WAITS_FROM", PATIENCE)
    begin = threading.Event()
    made.submit(begin.wait, PATIENCE)
    jobs = [made.submit(str, number) for number in range(3)]
    made.shutdown(wait=False)
    begin.set()
    assert [each.result(PATIENCE) for each in jobs] == ["0", "1", "2"]


def test_shut_down_they_wait_for_the_last_job_or_cancel_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_WAITS_FROM", PATIENCE)
    made = Threads(3, at_once=1)
    done: list[int] = []

    def slow() -> None:
        time.sleep(0.1)
        done.append(1)

    first, second = made.submit(slow), made.submit(slow)
    made.shutdown(cancel_futures=True)
    assert (done, first.done(), second.cancelled()) == ([1], True, True)


def test_shut_down_they_wait_for_jobs_that_wait_too(two: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_WAITS_FROM", 0.0)
    jobs = [two.submit(time.sleep, 0.3) for _ in range(4)]
    two.shutdown()
    assert all(each.done() for each in jobs)
