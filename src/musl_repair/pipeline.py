"""Several members at once, in threads, and the results in the order of the names: never more in memory than agreed."""

from __future__ import annotations

from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_Made = TypeVar("_Made")

_MAX_WAITING: Final = 64
"""How many names may be in work, or done before their turn."""
_MAX_HELD: Final = 16 << 20
"""Bytes of results that may wait for their turn before nothing new is begun."""


def no_bytes(_result: object) -> int:
    """Return the weight of a result that takes next to no memory."""
    return 0


class Run(Protocol):
    """A way to do something for all names and keep their order."""

    def __call__(
        self, make: Callable[[str], _Made], names: Iterable[str], weigh: Callable[[_Made], int] = no_bytes, /
    ) -> Iterator[_Made]:
        """Yield make(name) for every name, in order; weigh returns the bytes that a result keeps in memory."""
        ...


def one_by_one(
    make: Callable[[str], _Made], names: Iterable[str], _weigh: Callable[[_Made], int] = no_bytes, /
) -> Iterator[_Made]:
    """Yield make(name) for every name."""
    return map(make, names)


@contextmanager
def pipeline(jobs: int, progress: Callable[[str], None]) -> Iterator[Run]:
    """Give a `Run` that works on so many names at once; progress is called with each when its work begins.

    What has not begun when the work ends, or is interrupted, never begins.
    """
    pool = ThreadPoolExecutor(jobs)
    try:
        yield _Pipeline(pool, jobs, progress)
    finally:
        pool.shutdown(cancel_futures=True)


class _Pipeline(NamedTuple):
    pool: ThreadPoolExecutor
    jobs: int
    progress: Callable[[str], None]

    def __call__(
        self, make: Callable[[str], _Made], names: Iterable[str], weigh: Callable[[_Made], int] = no_bytes, /
    ) -> Iterator[_Made]:
        """Yield make(name) for every name, in order.

        A large member does not hold up those behind it: they are worked on, within the limits, until it is done.
        """
        waiting: deque[Future[_Made]] = deque()
        left = iter(names)
        while True:
            new = tuple(islice(left, self._room(waiting, weigh)))
            for name in new:
                self.progress(name)
                waiting.append(self.pool.submit(make, name))
            if not waiting:
                return
            if not new and not waiting[0].done():
                wait([future for future in waiting if not future.done()], return_when=FIRST_COMPLETED)
            while waiting and waiting[0].done():
                yield waiting.popleft().result()

    def _room(self, waiting: deque[Future[_Made]], weigh: Callable[[_Made], int]) -> int:
        """Return how many more names may be begun now; one more than there are threads, so that none has to wait."""
        done = [future for future in waiting if future.done()]
        held = sum(weigh(future.result()) for future in done if future.exception() is None)
        room = min(self.jobs + 1 - (len(waiting) - len(done)), _MAX_WAITING - len(waiting))
        return max(room, 0) if held < _MAX_HELD or not waiting else 0
