"""Polyfills: functions that musl gained, as libraries for a wheel that is to run on a musl older than they are.

A library is one function of ours, built by tools/build_polyfill.py. musl looks for a name in its own exports first
(ldso/dynlink.c: libc comes ahead of what a library needs), so on a musl that has the function the copy is never called.
functions.json says what is offered, how it differs from musl's own, and what is never offered and why.

A library for each function, not one for all: with an older musl a library with all of them would also answer for names
that a wheel finds elsewhere (its own `qsort_r` with the arguments in BSD's order, say) or leaves weak.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from musl_repair.abi import Release, history, read_data

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Library", "Polyfill", "is_polyfill", "libraries", "offered", "refused"]

_FORMAT = 1
_FILENAME = re.compile(r"libpolyfill-\w+-[0-9a-f]{8}\.so")


class Polyfill(NamedTuple):
    """One function that a wheel can carry, on one architecture."""

    name: str
    since: Release
    """The first release of musl that has the function itself."""
    needs: Release
    """The first release of musl that the polyfill runs on."""
    differs: str
    """What is not as in musl's own; empty where nothing is."""
    source: str
    """Where its behaviour is written down."""


class Library(NamedTuple):
    """One file for a wheel: it provides the function to every file that needs it by this name."""

    function: str
    name: str
    """The file name, which holds a hash of the content: equal names mean equal bytes."""
    content: bytes


def offered(arch: str) -> Mapping[str, Polyfill]:
    """Return the functions that a wheel can carry, by name, in order; raises PlatformError as abi.history does.

    They are those that musl did not have from its first release on the architecture on.
    """
    known, offers = history(arch), {}
    for name, row in sorted(_data()["offered"].items()):
        since = known.since(name)
        if since is not None and since > known.first:
            needs = max(known.first, Release.parse(row["needs"])) if "needs" in row else known.first
            offers[name] = Polyfill(name, since, needs, row["differs"], row["source"])
    return MappingProxyType(offers)


def refused(arch: str) -> Mapping[str, str]:
    """Return the names that musl gained on the architecture and that are never offered, with the reason.

    Raises PlatformError as abi.history does.
    """
    known, offers = history(arch), offered(arch)
    reasons = {}
    for name in sorted(known.exports(known.newest) - offers.keys()):
        since = known.since(name)
        if since is not None and since > known.first:
            reasons[name] = _reason(name, since)
    return MappingProxyType(reasons)


def libraries(arch: str, names: Iterable[str]) -> tuple[Library, ...]:
    """Return the libraries that provide these functions, in order of the names.

    Raises KeyError for a function that is not offered on the architecture, PlatformError as abi.history does.
    """
    offers = offered(arch)
    return tuple(_library(arch, offers[name].name) for name in sorted(set(names)))


def is_polyfill(filename: str) -> bool:
    """Whether a file name is that of a polyfill, of this or another release of the program."""
    return _FILENAME.fullmatch(filename) is not None


def _library(arch: str, function: str) -> Library:
    content = read_data(__name__, f"{arch}/{function}.so")
    # Not `libmusl-…`: before 1.1.16 musl took a name for libc's whose part before the dot begins one of libc's names,
    # and it is as well to be far from `libm`.
    return Library(function, f"libpolyfill-{function}-{hashlib.sha256(content).hexdigest()[:8]}.so", content)


def _reason(name: str, since: Release) -> str:
    """Return the first reason that speaks of the name; raises KeyError where functions.json has none."""
    for row in _data()["never"]:
        if (
            name in row.get("names", ())
            or ("pattern" in row and re.fullmatch(row["pattern"], name) is not None)
            or ("before" in row and since < Release.parse(row["before"]))
        ):
            return str(row["reason"])
    raise KeyError(name)


@cache
def _data() -> Mapping[str, Any]:
    data = json.loads(read_data(__name__, "functions.json"))
    if data["format"] != _FORMAT:
        raise ValueError(f"functions.json has format {data['format']}; this musl-repair reads format {_FORMAT}")
    return MappingProxyType(data)
