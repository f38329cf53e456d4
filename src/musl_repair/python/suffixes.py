"""Which file names CPython looks for on musl when it imports a module.

Source: Python/dynload_shlib.c (_PyImport_DynLoadFiletab, which becomes importlib.machinery.EXTENSION_SUFFIXES),
configure.ac and Misc/platform_triplet.c (SOABI, PLATFORM_TRIPLET), PEP 3149, PEP 803.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from musl_repair.python.interpreter import Interpreter

_TRIPLETS: Final = {
    "i686": ("i386", ""),
    "armv6l": ("arm", "eabihf"),
    "armv7l": ("arm", "eabihf"),
    "ppc64le": ("powerpc64le", ""),
}
"""Wheel tag's architecture → CPython's name of the processor, and what follows the C library's; else it is the same."""
_MUSL_SINCE: Final = 11
_PYMALLOC_FLAG_UNTIL: Final = 7
_STABLE_FREE_THREADED_SINCE: Final = 15
_TAGGED: Final = re.compile(r"([^/]+?)(\.(?:cpython-|pypy|graalpy|abi\d)[^./]*\.so|(?:\.[\w-]+)?\.pyd)")
_INIT: Final = ("PyInit_", "PyInitU_", "PyModExport_", "PyModExportU_")


class Lookup(Enum):
    """What importlib makes of a file's name."""

    FOUND = "some interpreter looks for it"
    IGNORED = "no interpreter looks for it"
    NO_MODULE = "the name is not one of a module for certain interpreters"


def suffixes(interpreter: Interpreter, architecture: str) -> tuple[str, ...]:
    """Return the suffixes that an interpreter on musl looks for, in its order; architecture is a wheel tag's.

    Up to 3.10 configure took musl for glibc; Alpine's own packages of these versions say musl, so both are there.
    """
    cpu, tail = _TRIPLETS.get(architecture, (architecture, ""))
    libcs = ("musl",) if interpreter.minor >= _MUSL_SINCE else ("gnu", "musl")
    triplets = [f"{cpu}-linux-{libc}{tail}" for libc in libcs]
    own = [f".{_soabi(interpreter)}-{triplet}.so" for triplet in triplets]
    stable = [f".{abi}{tag}.so" for abi in _stable(interpreter) for tag in _stable_tags(interpreter, triplets)]
    return (*own, *stable, ".so")


def _soabi(interpreter: Interpreter) -> str:
    flags = "m" if interpreter.minor <= _PYMALLOC_FLAG_UNTIL else "t" if interpreter.free_threaded else ""
    return f"cpython-3{interpreter.minor}{flags}"


def _stable(interpreter: Interpreter) -> tuple[str, ...]:
    """Free-threaded 3.13 and 3.14 look for .abi3.so as well, though they cannot use it (python/cpython GH-146637)."""
    if interpreter.minor < _STABLE_FREE_THREADED_SINCE:
        return ("abi3",)
    return ("abi3t",) if interpreter.free_threaded else ("abi3", "abi3t")


def _stable_tags(interpreter: Interpreter, triplets: Iterable[str]) -> tuple[str, ...]:
    """Since 3.15 the stable ABI's files may name the platform (python/cpython GH-122931)."""
    return (*(f"-{one}" for one in triplets), "") if interpreter.minor >= _STABLE_FREE_THREADED_SINCE else ("",)


def module_of(member: str) -> str | None:
    """Return which module a file is one of several for, as a path without suffix: the stem of a name with a tag.

    None for every other name. A file that is called x.so may be a module or not; if it is one, it is looked for.
    """
    folder, slash, name = member.rpartition("/")
    match = _TAGGED.fullmatch(name)
    return None if match is None else f"{folder}{slash}{match[1]}"


def looks_for(interpreter: Interpreter, member: str, architecture: str) -> bool:
    """Whether an interpreter looks for a file, or would if it were a module."""
    module = module_of(member)
    return module is None or member.removeprefix(module) in suffixes(interpreter, architecture)


def look_up(member: str, interpreters: Iterable[Interpreter], architecture: str) -> Lookup:
    """Return what the interpreters make of a file's name."""
    if module_of(member) is None:
        return Lookup.NO_MODULE
    found = any(looks_for(one, member, architecture) for one in interpreters)
    return Lookup.FOUND if found else Lookup.IGNORED


def is_module(exports: Iterable[str]) -> bool:
    """Whether a file that exports these names is an extension module of CPython."""
    # One search in all names: libraries have tens of thousands, and none of these.
    names = "\n" + "\n".join(exports)
    return any(f"\n{prefix}" in names for prefix in _INIT)
