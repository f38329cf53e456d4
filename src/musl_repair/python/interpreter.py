"""The CPythons that a wheel can be for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Interpreter(NamedTuple):
    """A build of CPython 3; ordered by version, the free-threaded build after the one with the GIL."""

    minor: int
    free_threaded: bool = False

    def __str__(self) -> str:
        """Return the name for people."""
        return f"{'free-threaded ' if self.free_threaded else ''}CPython 3.{self.minor}"


def in_words(interpreters: Iterable[Interpreter]) -> str:
    """Return them as runs of versions: "CPython 3.8 to 3.10, 3.12; free-threaded CPython 3.13"."""
    minors: dict[bool, list[int]] = {}
    for one in sorted(interpreters, key=lambda one: (one.free_threaded, one.minor)):
        minors.setdefault(one.free_threaded, []).append(one.minor)
    return "; ".join(f"{'free-threaded ' if free else ''}CPython {versions(row)}" for free, row in minors.items())


def versions(minors: Sequence[int]) -> str:
    """Return minor versions, which are sorted, as runs: "3.8 to 3.10, 3.12"."""
    runs: list[list[int]] = []
    for minor in minors:
        if runs and minor == runs[-1][-1] + 1:
            runs[-1].append(minor)
        else:
            runs.append([minor])
    return ", ".join(f"3.{run[0]}" if len(run) == 1 else f"3.{run[0]} to 3.{run[-1]}" for run in runs)
