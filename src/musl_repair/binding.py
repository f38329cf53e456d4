"""Which symbols of which file nothing in the wheel provides, so that they have to come from musl or the interpreter.

Source: musl 1.2.6 ldso/dynlink.c: dlopen loads a file and its needs breadth first and binds everything at once, looking
in the main program and libc first, then in what was loaded with the file (do_relocs, find_sym).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.resolve import is_program, roots

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import PurePosixPath

    from musl_repair.resolve import Resolution

_C_API: Final = re.compile(r"_?Py[A-Z_]?\w*")


class Unbound(NamedTuple):
    """A strong symbol that no library which is loaded with a file defines."""

    path: PurePosixPath
    name: str
    certain: bool
    """False where a library is missing or excluded that may define it after all."""


def is_python_name(name: str) -> bool:
    """Whether a name is one of CPython's C API, which the interpreter exports: Py* and _Py*."""
    return _C_API.fullmatch(name) is not None


def unbound_symbols(resolution: Resolution) -> tuple[Unbound, ...]:
    """Return every strong symbol of every file that, on some way of loading it, no loaded library defines; sorted."""
    broken = {need.needed_by for need in resolution.missing} | {path for path, _ in resolution.excluded}
    binding = _Binding(resolution)
    found: set[Unbound] = set()
    for root in roots(resolution):
        certain = broken.isdisjoint(resolution.closure(root))
        found.update(Unbound(path, name, certain) for path, name in binding.unbound(root))
    return tuple(sorted(found))


class _Binding:
    """Lookups, and what is known of each file's own closure already."""

    def __init__(self, resolution: Resolution) -> None:
        self._resolution = resolution
        self._own: dict[PurePosixPath, tuple[str, ...]] = {}

    def unbound(self, root: PurePosixPath) -> Iterable[tuple[PurePosixPath, str]]:
        loaded = self._resolution.closure(root)
        elfs = self._resolution.elfs
        has_api = not is_program(elfs[root])
        for path in loaded:
            others = [elfs[other].exports for other in loaded - self._resolution.closure(path) if other in elfs]
            for name in self._leftover(path):
                if not (has_api and is_python_name(name)) and not any(name in exports for exports in others):
                    yield path, name

    def _leftover(self, path: PurePosixPath) -> tuple[str, ...]:
        """Return the strong symbols that the file and its own needs do not define."""
        if path not in self._own:
            elfs = self._resolution.elfs
            exports = [elfs[other].exports for other in self._resolution.closure(path) if other in elfs]
            imports = elfs[path].imports if path in elfs else ()
            self._own[path] = tuple(
                symbol.name
                for symbol in imports
                if not symbol.weak and not any(symbol.name in names for names in exports)
            )
        return self._own[path]


def clashes(resolution: Resolution, libc: Iterable[str]) -> dict[PurePosixPath, dict[str, tuple[PurePosixPath, ...]]]:
    """Return library → name → users, where a library defines a name that another imports and that libc has too.

    libc is in the global scope, which is searched first: the library's own definition is never used.
    """
    names = frozenset(libc)
    found: dict[PurePosixPath, dict[str, tuple[PurePosixPath, ...]]] = {}
    offered = {path: elf.exports & names for path, elf in resolution.elfs.items()}
    for path, elf in sorted(resolution.elfs.items()):
        libraries = [other for other in resolution.edges[path].values() if offered.get(other)]
        for symbol in elf.imports:
            for library in libraries:
                if symbol.name in offered[library]:
                    users = found.setdefault(library, {})
                    users[symbol.name] = (*users.get(symbol.name, ()), path)
    return found
