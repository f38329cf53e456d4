"""Which symbols of which file nothing in the wheel provides, so that they have to come from musl or the interpreter.

Source: musl 1.2.6 ldso/dynlink.c: dlopen loads a file and its needs breadth first and binds everything at once, looking
in the main program and libc first, then in what was loaded with the file (do_relocs, find_sym).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from musl_repair.graph import is_program
from musl_repair.python.names import api_names

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


class Wanted(NamedTuple):
    """The strong symbols that a file leaves to the interpreter: no library which is loaded with it defines them."""

    path: PurePosixPath
    root: PurePosixPath
    """The file that the interpreter loads, and the other with it."""
    names: frozenset[str]


def unbound_symbols(resolution: Resolution) -> tuple[Unbound, ...]:
    """Return every strong symbol of every file that, on some way of loading it, no loaded library defines; sorted.

    Names of the interpreter are left out (`wanted_of_python` has them), but where a program needs them: it has none.
    """
    broken = _broken(resolution)
    elfs = resolution.elfs
    closures = resolution.closures
    # Not in the file itself: of its imports it offers only what a copy relocation looks for elsewhere.
    strong = {path: _strong(elf) for path, elf in elfs.items()}
    definers = _definers(frozenset().union(*strong.values()), elfs)
    own = {path: _without(names, definers, closures[path] - {path}) for path, names in strong.items()}
    python = api_names(frozenset().union(*own.values()))
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


def wanted_of_python(resolution: Resolution) -> tuple[Wanted, ...]:
    """Return what files ask of the interpreter which loads them, where that is certain; in order of the roots."""
    elfs, closures, broken = resolution.elfs, resolution.closures, _broken(resolution)
    own = {path: api_names(_strong(elf)) for path, elf in elfs.items()}
    definers = _definers(frozenset().union(*own.values()), elfs)
    asking = {path: _without(names, definers, closures[path] - {path}) for path, names in own.items() if names}
    return tuple(
        Wanted(path, root, _without(asking[path], definers, closures[root] - closures[path]))
        for root in resolution.roots
        if not is_program(elfs[root]) and broken.isdisjoint(closures[root])
        for path in sorted(closures[root] & asking.keys())
    )


def _broken(resolution: Resolution) -> frozenset[PurePosixPath]:
    """Return the files of which a need is not answered: that library may define anything."""
    return frozenset(need.needed_by for need in resolution.missing) | {path for path, _ in resolution.excluded}


def _strong(elf: Elf) -> frozenset[str]:
    return frozenset([name for name, weak in elf.imports if not weak])


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
