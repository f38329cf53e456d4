"""Several members at once, in threads, and the results in the order of the names: never more in memory than agreed."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from threading import Event
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

_Made = TypeVar("_Made")

_QUEUED: Final = 4
"""How many names are kept ready for threads that are done."""
_LITTLE: Final = 8 << 20
"""Bytes that may be in work whatever the largest name takes."""
_LOOKED_AT: Final = 64
"""How many names are looked at for some that there is memory for."""
_MAX_HELD: Final = 24 << 20
"""Bytes of results that may wait for their turn before nothing new is begun."""
_MOST_THREADS: Final = 256
"""More than there are processors for; what a user asks for has no bound of its own."""
_BEAT: Final = 0.1
"""Seconds. A signal that arrives in another thread does not wake the main one, which alone can act on it."""


def _no_bytes(_subject: object) -> int:
    return 0


def _never(_name: str) -> bool:
    return False


def _tell_nobody(_name: str) -> None:
    pass


@contextmanager
def pipeline(jobs: int, progress: Callable[[str], None]) -> Iterator[Run]:
    """Give a `Run` that works on so many names at once; progress is called with each when its work begins.

    Where the system gives fewer threads (RLIMIT_NPROC, memory) it is fewer, and one by one where it gives none. What
    has not begun when the work ends, or is interrupted, never begins.
    """
    pool, jobs = _started_pool(min(jobs, _MOST_THREADS))
    try:
        yield Run(pool, jobs, progress)
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _started_pool(jobs: int) -> tuple[ThreadPoolExecutor | None, int]:
    """Return a pool all of whose threads run already, and how many they are: later no start can fail.

    Where not all can be had it takes half of what can: programs are processes, and writing takes a thread as well.
    """
    while jobs:
        pool, all_there, started = ThreadPoolExecutor(jobs), Event(), 0
        try:
            for started in range(jobs):  # noqa: B007 - how many were started before one was not
                pool.submit(all_there.wait)  # each waits, so that the next one gets a thread of its own
        except RuntimeError:  # "can't start new thread"
            jobs = started // 2
        else:
            return pool, jobs
        finally:
            all_there.set()
        pool.shutdown()
    return None, 1


@contextmanager
def beside(work: Callable[[], object]) -> Iterator[None]:
    """Do some work in a thread while the body runs, and wait for it. What either raises is raised; the body's first.

    Where there is no thread to be had it is done when the body has run.
    """
    pool, _ = _started_pool(1)
    if pool is None:
        yield
        work()
        return
    with pool:
        done = pool.submit(work)
        yield
    done.result()


class _Queue:
    """Names that wait to be begun, and what their work takes in memory."""

    def __init__(self, names: Iterable[str], cost: Callable[[str], int]) -> None:
        self._costs: Final = {name: cost(name) for name in names}
        self._left: Final = dict.fromkeys(self._costs)
        self._most: Final = max([_LITTLE, *(cost * 3 // 2 for cost in self._costs.values())])

    def take(self, count: int, at_work: Iterable[str]) -> list[str]:
        """Return the first so many names, without those that there is no memory for beside those at work."""
        free = self._most - sum(map(self._costs.__getitem__, at_work))
        taken: list[str] = []
        for name in islice(self._left, _LOOKED_AT if count else 0):
            if self._costs[name] <= free and len(taken) < count:
                free -= self._costs[name]
                taken.append(name)
        for name in taken:
            del self._left[name]
        return taken


class Run(NamedTuple):
    """A way to do something for all names and keep their order: one by one, or with a pool jobs of them at once."""

    pool: ThreadPoolExecutor | None = None
    jobs: int = 1
    progress: Callable[[str], None] = _tell_nobody

    def __call__(
        self,
        make: Callable[[str], _Made],
        names: Iterable[str],
        *,
        cost: Callable[[str], int] = _no_bytes,
        weigh: Callable[[_Made], int] = _no_bytes,
        ahead: Iterable[str] = (),
        small: Callable[[str], bool] = _never,
    ) -> Iterator[_Made]:
        """Begin at once, and yield make(name) for every name, in order and once.

        cost returns the bytes that are in work for a name: half as many more as for the largest are at once, however
        many jobs there are. weigh returns the bytes that a result keeps in memory. ahead are names to begin with: what
        takes longest, so that it does not keep one thread busy at the end, with nothing left for the others. small says
        what takes less time to do than to hand to another thread.
        """
        pool = self.pool
        ordered = tuple(dict.fromkeys(names))
        if pool is None:
            return self._one_by_one(make, ordered)
        queue = _Queue((name for name in (*ahead, *ordered) if not small(name)), cost)
        work = _Work(self, pool, make, queue, weigh)
        work.begin()
        return work.results(ordered, small)

    def _one_by_one(self, make: Callable[[str], _Made], names: Iterable[str]) -> Iterator[_Made]:
        for name in names:
            self.progress(name)
            yield make(name)


class _Work(Generic[_Made]):
    """What has been begun of one call, and what is to come."""

    def __init__(
        self,
        run: Run,
        pool: ThreadPoolExecutor,
        make: Callable[[str], _Made],
        queue: _Queue,
        weigh: Callable[[_Made], int],
    ) -> None:
        self._run, self._pool, self._make = run, pool, make
        self._queue, self._weigh = queue, weigh
        self._begun: dict[str, Future[_Made]] = {}

    def begin(self) -> bool:
        """Begin what there is room for; whether there was anything."""
        at_work = [name for name, future in self._begun.items() if not future.done()]
        new = self._queue.take(self._room(), at_work)
        for name in new:
            self._run.progress(name)
            self._begun[name] = self._pool.submit(self._make, name)
        return bool(new)

    def results(self, ordered: Iterable[str], small: Callable[[str], bool]) -> Iterator[_Made]:
        """Yield the results in this order, and make what is small where its turn comes."""
        for name in ordered:
            if small(name):
                self._run.progress(name)
                yield self._make(name)
                continue
            self.begin()
            while name not in self._begun or not self._begun[name].done():
                if not self.begin():
                    going = [future for future in self._begun.values() if not future.done()]
                    wait(going, timeout=_BEAT, return_when=FIRST_COMPLETED)
            yield self._begun.pop(name).result()

    def _room(self) -> int:
        """Return how many more names may be begun now: one at least where nothing goes on."""
        jobs, begun = self._run.jobs, self._begun.values()
        done = [future for future in begun if future.done()]
        if len(done) == len(begun):
            return jobs
        held = sum(self._weigh(future.result()) for future in done if future.exception() is None)
        return max(jobs + _QUEUED - (len(begun) - len(done)), 0) if held < _MAX_HELD else 0
