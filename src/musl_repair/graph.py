"""Who needs whom: the needs of a wheel, resolved, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from musl_repair.python.suffixes import is_module

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import PurePosixPath

    from musl_repair.elf import Elf
    from musl_repair.loader import Need


@dataclass(frozen=True, slots=True)
class Resolution:
    """The needs of a wheel. Paths are loader paths; that of a file behind links is the real file's."""

    edges: Mapping[PurePosixPath, Mapping[str, PurePosixPath]]
    """File → needed name → file that answers it, for the wheel's files and all that they pull in from the system."""
    missing: tuple[Need, ...]
    """Needs that nothing answers, sorted by name and file."""
    elfs: Mapping[PurePosixPath, Elf]
    """The facts of every file in edges."""
    excluded: tuple[tuple[PurePosixPath, str], ...] = ()
    """(file, needed name) of what the user excluded; sorted."""
    asked: Mapping[PurePosixPath, tuple[str, ...]] = field(default_factory=dict)
    """Library → the names that dlopen asks for it by, of what the user includes; sorted."""
    respelt: Mapping[PurePosixPath, Mapping[str, str]] = field(default_factory=dict)
    """File → needed name → the name to be written in its place, of what no file in edges answers.

    That is musl by way of a file that it might not find, and what the user excluded, by a path."""
    closures: Mapping[PurePosixPath, frozenset[PurePosixPath]] = field(init=False, repr=False)
    """File → all files that come with it, itself among them."""
    roots: tuple[PurePosixPath, ...] = field(init=False, repr=False)
    """The files that something other than a file of the wheel loads, sorted.

    These are the programs, the extension modules, and all that no other file needs; of files that only need each
    other in a ring, the first.
    """

    def __post_init__(self) -> None:
        """Derive what follows from the edges, once."""
        object.__setattr__(self, "closures", MappingProxyType(_closures(self.edges)))
        object.__setattr__(self, "roots", _roots(self))


def joined(parts: Iterable[Resolution]) -> Resolution:
    """Return the needs of all parts; where they answer one file's needs otherwise, the last counts."""
    parts = tuple(parts)
    if len(parts) == 1:
        return parts[0]
    return Resolution(
        {path: names for part in parts for path, names in part.edges.items()},
        tuple(sorted({need.key: need for part in parts for need in part.missing}.values(), key=lambda need: need.key)),
        {path: elf for part in parts for path, elf in part.elfs.items()},
        tuple(sorted({one for part in parts for one in part.excluded})),
        {path: names for part in parts for path, names in part.asked.items()},
        {path: names for part in parts for path, names in part.respelt.items()},
    )


def _closures(
    edges: Mapping[PurePosixPath, Mapping[str, PurePosixPath]],
) -> dict[PurePosixPath, frozenset[PurePosixPath]]:
    closures: dict[PurePosixPath, frozenset[PurePosixPath]] = {}
    # Last come the libraries that many of the others need.
    for path in reversed(tuple(edges)):
        found, queue = {path}, [path]
        for at in queue:
            for target in edges.get(at, {}).values():
                if target in closures:
                    found |= closures[target]
                elif target not in found:
                    found.add(target)
                    queue.append(target)
        closures[path] = frozenset(found)
    return closures


def _roots(resolution: Resolution) -> tuple[PurePosixPath, ...]:
    needed = {target for path, names in resolution.edges.items() for target in names.values() if target != path}
    tops = [path for path, elf in resolution.elfs.items() if path not in needed or is_program(elf) or is_extension(elf)]
    reached = {path for top in tops for path in resolution.closures[top]}
    for path in sorted(resolution.elfs):
        if path not in reached:
            tops.append(path)
            reached |= resolution.closures[path]
    return tuple(sorted(tops))


def is_program(elf: Elf) -> bool:
    """Whether a file is started by the kernel, not loaded by dlopen."""
    return elf.interpreter is not None


def is_extension(elf: Elf) -> bool:
    """Whether a file is an extension module of CPython."""
    return is_module(elf.exports)
