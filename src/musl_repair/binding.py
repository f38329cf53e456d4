"""Which symbols of which file nothing in the wheel provides, so that they have to come from musl or the interpreter.

Source: musl 1.2.6 ldso/dynlink.c: dlopen loads a file and its needs breadth first and binds everything at once, looking
in the main program and libc first, then in what was loaded with the file (do_relocs, find_sym).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from musl_repair.graph import is_program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePosixPath

    from musl_repair.elf import Elf
    from musl_repair.graph import Resolution


class Unbound(NamedTuple):
    """A strong symbol that no library which is loaded with a file defines."""

    path: PurePosixPath
    name: str
    certain: bool
    """False where a library is missing or excluded that may define it after all."""


def is_python_name(name: str) -> bool:
    """Whether a name is one of CPython's C API, which the interpreter exports: Py* and _Py*."""
    return name.startswith(("Py", "_Py"))


def unbound_symbols(resolution: Resolution) -> tuple[Unbound, ...]:
    """Return every strong symbol of every file that, on some way of loading it, no loaded library defines; sorted."""
    broken = {need.needed_by for need in resolution.missing} | {path for path, _ in resolution.excluded}
    elfs = resolution.elfs
    closures = resolution.closures
    # Not in the file itself: of its imports it offers only what a copy relocation looks for elsewhere.
    strong = {path: frozenset([name for name, weak in elf.imports if not weak]) for path, elf in elfs.items()}
    definers = _definers(frozenset().union(*strong.values()), elfs)
    own = {path: _without(names, definers, closures[path] - {path}) for path, names in strong.items()}
    python = frozenset(filter(is_python_name, frozenset().union(*own.values())))
    plain = {path: names - python for path, names in own.items()}
    found: dict[tuple[PurePosixPath, bool], set[str]] = {}
    for root in resolution.roots:
        loaded = closures[root]
        certain = broken.isdisjoint(loaded)
        wanted = own if is_program(elfs[root]) else plain
        for path in loaded & elfs.keys():
            names = _without(wanted[path], definers, loaded - closures[path])
            found.setdefault((path, certain), set()).update(names)
    return tuple(sorted(Unbound(path, name, certain) for (path, certain), names in found.items() for name in names))


def _definers(names: frozenset[str], elfs: Mapping[PurePosixPath, Elf]) -> dict[str, set[PurePosixPath]]:
    """Return name → the files that define it."""
    found: dict[str, set[PurePosixPath]] = {}
    for path, elf in elfs.items():
        for name in names & elf.exports:
            found.setdefault(name, set()).add(path)
    return found


def _without(
    names: frozenset[str], definers: Mapping[str, set[PurePosixPath]], files: frozenset[PurePosixPath]
) -> frozenset[str]:
    """Return the names that none of these files defines."""
    if not files:
        return names
    return frozenset([name for name in names if name not in definers or definers[name].isdisjoint(files)])


def clashes(resolution: Resolution, libc: frozenset[str]) -> dict[PurePosixPath, dict[str, tuple[PurePosixPath, ...]]]:
    """Return library → name → users, where a library defines a name that another imports and that libc has too.

    libc is in the global scope, which is searched first: the library's own definition is never used.
    """
    found: dict[PurePosixPath, dict[str, tuple[PurePosixPath, ...]]] = {}
    offered = {path: elf.exports & libc for path, elf in resolution.elfs.items()}
    for path, elf in sorted(resolution.elfs.items()):
        for library in filter(offered.get, resolution.edges[path].values()):
            for name in sorted(offered[library].intersection(name for name, _ in elf.imports)):
                users = found.setdefault(library, {})
                users[name] = (*users.get(name, ()), path)
    return found
