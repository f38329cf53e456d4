"""A line on a terminal that says what is being done, for work that takes more than half a second."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TextIO

from musl_repair.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress, TaskID

DELAY: Final = 0.5
"""Seconds before anything is shown."""


@contextmanager
def showing(
    wheel: str, at: int, count: int, stream: TextIO, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[str], None]]:
    """Give a function to be called with the name of each file that is worked on, for wheel at of count.

    What it shows is gone when the work is done. Where the stream is no terminal it shows nothing.
    """
    line = _Line(f"{wheel} ({at} of {count})" if count > 1 else wheel, at, count, stream, clock)
    try:
        yield line.tell if stream.isatty() else _silent
    finally:
        line.close()


def _silent(_name: str) -> None:
    pass


class _Line:
    def __init__(self, title: str, at: int, count: int, stream: TextIO, clock: Callable[[], float]) -> None:
        self._title, self._at, self._count = title, at, count
        self._stream, self._clock, self._begun = stream, clock, clock()
        self._shown: tuple[Progress, TaskID] | None = None

    def tell(self, name: str) -> None:
        if self._shown is None and self._clock() - self._begun >= DELAY:
            self._shown = self._show()
        if self._shown is not None:
            progress, task = self._shown
            text = f"{self._title}: {name.rpartition('/')[2]}"
            progress.update(task, description=printable(text, progress.console.encoding))

    def close(self) -> None:
        if self._shown is not None:
            with suppress(OSError):  # the terminal may be gone
                self._shown[0].stop()

    def _show(self) -> tuple[Progress, TaskID]:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        from musl_repair.console import console_for

        console = console_for(self._stream)
        spinner = SpinnerColumn("dots" if console.encoding.startswith("utf") else "line")
        columns = (spinner, BarColumn(20), TextColumn("{task.description}", markup=False))
        progress = Progress(
            *columns,
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=console.is_dumb_terminal,
        )
        # Of several wheels the bar says how many are done; of one, only that something is going on.
        task = progress.add_task("", total=self._count if self._count > 1 else None, completed=self._at - 1)
        try:
            progress.start()
        except RuntimeError:  # the system gives no thread to draw with
            progress.live.auto_refresh = False
            progress.stop()
        return progress, task
