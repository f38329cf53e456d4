"""Several members at once: in order, no more at once than agreed, and nothing begun that nobody waits for any more."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musl_repair import pipeline as pipeline_
from musl_repair.pipeline import Run, beside, pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = tuple(f"name {number}" for number in range(40))


def no_progress(_name: str) -> None:
    """Tell nobody."""


class Work:
    """Makes lengths of names, and knows what was begun, and how much of it at once."""

    def __init__(self, *, last_first: bool = False) -> None:
        """Take no time; with last_first all wait until the last name has begun."""
        self.begun: list[str] = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self._last = threading.Event() if last_first else None

    def make(self, name: str) -> int:
        """Return the length of a name."""
        with self._lock:
            self.begun.append(name)
            self._now += 1
            self.most = max(self.most, self._now)
        if self._last is not None and name == NAMES[-1]:
            self._last.set()
        if self._last is not None:
            assert self._last.wait(30)
        time.sleep(0.001)
        with self._lock:
            self._now -= 1
        return len(name)


@given(
    jobs=st.integers(1, 5),
    ahead=st.lists(st.sampled_from(NAMES)),
    small=st.frozensets(st.sampled_from(NAMES)),
    weight=st.sampled_from([0, 1 << 20, 1 << 30]),
    costs=st.lists(st.integers(0, 99 << 20), min_size=len(NAMES), max_size=len(NAMES)),
)
def test_results_come_in_order_whatever_is_begun_when(
    jobs: int, ahead: list[str], small: frozenset[str], weight: int, costs: list[int]
) -> None:
    told: list[str] = []
    cost = dict(zip(NAMES, costs, strict=True)).__getitem__
    with pipeline(jobs, told.append) as run:
        found = run(
            lambda name: name * 2, NAMES, cost=cost, weigh=lambda _: weight, ahead=ahead, small=small.__contains__
        )
        assert list(found) == [name * 2 for name in NAMES]
    assert sorted(told) == sorted(NAMES)


def test_a_name_that_is_there_twice_is_made_once() -> None:
    with pipeline(2, no_progress) as run:
        assert list(run(str.upper, ["a", "b", "a"])) == ["A", "B"]


@pytest.mark.parametrize("names", [(), NAMES[:3]], ids=["no names", "only small ones"])
def test_nothing_need_be_handed_to_a_thread(names: tuple[str, ...]) -> None:
    with pipeline(2, no_progress) as run:
        assert list(run(len, names, small=lambda _: True)) == [len(name) for name in names]


def test_one_by_one_makes_the_same() -> None:
    assert list(Run()(len, NAMES, ahead=NAMES[3:4])) == [len(name) for name in NAMES]


@pytest.mark.parametrize("jobs", [1, 3])
def test_no_more_is_done_at_once_than_there_are_jobs(jobs: int) -> None:
    work = Work()
    with pipeline(jobs, no_progress) as run:
        assert list(run(work.make, NAMES)) == [len(name) for name in NAMES]
    assert work.most == jobs


def test_large_names_are_not_in_work_all_at_once_and_hold_up_no_small_ones() -> None:
    """Of 100, 90, 80, ... MiB not more than 150 at once; what is small goes on beside the largest."""
    costs = {name: max(100 - 10 * number, 1) << 20 for number, name in enumerate(NAMES)}
    now, most, lock = 0, 0, threading.Lock()
    first_is_in_work, small_is_done = threading.Event(), threading.Event()

    def make(name: str) -> str:
        nonlocal now, most
        with lock:
            now += costs[name]
            most = max(most, now)
        if name == NAMES[0]:
            first_is_in_work.set()
            assert small_is_done.wait(30)
        elif costs[name] == 1 << 20:
            assert first_is_in_work.wait(30)
            small_is_done.set()
        time.sleep(0.001)
        with lock:
            now -= costs[name]
        return name

    with pipeline(8, no_progress) as run:
        assert list(run(make, NAMES, cost=costs.__getitem__)) == list(NAMES)
    assert 100 << 20 <= most <= 150 << 20


def test_what_is_to_be_ahead_is_begun_first() -> None:
    work = Work(last_first=True)
    with pipeline(1, no_progress) as run:
        assert list(run(work.make, NAMES, ahead=[NAMES[-1]])) == [len(name) for name in NAMES]
    assert work.begun == [NAMES[-1], *NAMES[:-1]]


def test_what_waits_for_its_turn_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first name takes until all others that may be begun are done."""
    monkeypatch.setattr(pipeline_, "_MAX_HELD", 100)
    work, first = Work(), threading.Event()

    def make(name: str) -> int:
        assert name != NAMES[0] or first.wait(30)
        return work.make(name)

    with pipeline(2, no_progress) as run:
        results = run(make, NAMES, weigh=lambda _: 50)
        threading.Timer(0.5, first.set).start()
        assert next(results) == len(NAMES[0])
        # Two results are 100 bytes; what was queued by then is done too.
        assert len(work.begun) <= 1 + 2 + 2 + 4
        assert list(results) == [len(name) for name in NAMES[1:]]


def failing(of: str) -> Callable[[str], int]:
    """Return a function that fails for one name."""

    def make(name: str) -> int:
        if name == of:
            raise ValueError(name)
        return len(name)

    return make


def test_a_failure_comes_in_its_turn() -> None:
    found = []
    with pytest.raises(ValueError, match=NAMES[7]), pipeline(3, no_progress) as run:  # noqa: PT012 - the turn matters
        for result in run(failing(NAMES[7]), NAMES, ahead=[NAMES[7]]):
            found.append(result)  # noqa: PERF402 - see above
    assert found == [len(name) for name in NAMES[:7]]


def test_nothing_new_is_begun_after_an_interrupt() -> None:
    work = Work()

    def interrupted() -> None:
        with pipeline(1, no_progress) as run:
            results = run(work.make, NAMES)
            next(results)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    begun = len(work.begun)
    time.sleep(0.05)
    assert len(work.begun) == begun < len(NAMES)


@pytest.fixture
def _heeded() -> Iterator[None]:
    """Heed interrupts, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_heeded")
def test_an_interrupt_that_another_thread_receives_is_seen_at_once() -> None:
    """The system gives a signal to any thread; the main one, which alone can act on it, sleeps on."""
    begun, over = threading.Event(), threading.Event()
    seen = []

    def make(_name: str) -> None:
        begun.wait(30)
        time.sleep(0.2)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        seen.append(over.wait(30))

    def interrupted() -> None:
        with pipeline(1, no_progress) as run:
            try:
                results = run(make, ["a"])
                begun.set()
                next(results)
            finally:
                over.set()

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert seen == [True]


def test_what_is_done_beside_is_waited_for_and_its_failure_told() -> None:
    done = []
    with beside(lambda: done.append("beside")):
        pass
    assert done == ["beside"]
    with pytest.raises(ZeroDivisionError), beside(lambda: 1 // 0):
        done.append("body")
    with pytest.raises(KeyError), beside(lambda: 1 // 0):
        raise KeyError
    assert done == ["beside", "body"]
