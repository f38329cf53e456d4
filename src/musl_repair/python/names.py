"""Which names each CPython exports to the modules that it loads, and which of them are in the stable ABI.

`names.json` lists what libpython exports, by minor version; tools/add_python.py adds a build. The data change only
with this package, so they are read once, when first asked for. The stable ABI is `abi3info`'s (PEP 384).
"""

from __future__ import annotations

import json
from functools import cache
from pkgutil import get_data
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from musl_repair.python.interpreter import Interpreter

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORMAT: Final = 1


class _Names(NamedTuple):
    """What names.json says."""

    exporters: Mapping[str, frozenset[int]]
    """Name → the minor versions of which some build exports it."""
    free_threaded: Mapping[int, frozenset[str]]
    """Minor version → what the headers declare for free-threaded builds only."""
    minors: tuple[int, ...]


def api_names(names: frozenset[str]) -> frozenset[str]:
    """Return those of the names that an interpreter has to provide: by their prefix, or because some CPython does."""
    return frozenset([name for name in names if name.startswith(("Py", "_Py"))]) | (names & _names().exporters.keys())


def exporters(name: str) -> tuple[Interpreter, ...]:
    """Return the interpreters that export a name, sorted; free-threaded ones only where they alone do."""
    names = _names()
    found = [Interpreter(minor) for minor in names.exporters.get(name, ())]
    found += [Interpreter(minor, free_threaded=True) for minor, own in names.free_threaded.items() if name in own]
    return tuple(sorted(found))


def exports(interpreter: Interpreter, name: str) -> bool:
    """Whether any build that the data know of exports the name; false for every name of a version without data.

    Of free-threaded builds it is not certain: they are taken to export what the others do, and what their headers
    declare besides.
    """
    names = _names()
    if interpreter.free_threaded and name in names.free_threaded.get(interpreter.minor, ()):
        return True
    return interpreter.minor in names.exporters.get(name, ())


def known_minors() -> tuple[int, ...]:
    """Return the minor versions of CPython 3 that the data know, sorted."""
    return _names().minors


def stable_since(name: str) -> int | None:
    """Return the minor version with which a name became part of the stable ABI; None where it is not in it."""
    return _stable_abi().get(name)


@cache
def _names() -> _Names:
    # Not by importlib.resources, which takes longer to find a file than we take to read it.
    data: Mapping[str, Any] = json.loads(cast("bytes", get_data("musl_repair.python", "names.json")))
    if data["format"] != _FORMAT:
        raise ValueError(f"names.json has format {data['format']}; this musl-repair reads format {_FORMAT}")
    exporters: dict[str, frozenset[int]] = {}
    for spans, names in data["exports"].items():
        exporters.update(dict.fromkeys(names.split(), minors_of(spans)))
    free_threaded = {int(minor): frozenset(names.split()) for minor, names in data["free_threaded"].items()}
    return _Names(exporters, free_threaded, tuple(sorted(map(int, data["builds"]))))


def minors_of(spans: str) -> frozenset[int]:
    """Read minor versions as names.json writes them: `6-8,11` is 3.6, 3.7, 3.8 and 3.11."""
    minors: set[int] = set()
    for span in spans.split(","):
        first, _, last = span.partition("-")
        minors.update(range(int(first), int(last or first) + 1))
    return frozenset(minors)


@cache
def _stable_abi() -> Mapping[str, int]:
    # Imported here: it takes longer than all the rest of a check, and only wheels with an abi3 tag ask for it.
    from abi3info import DATAS, FUNCTIONS

    return {row.symbol.name: row.added.minor for row in (*FUNCTIONS.values(), *DATAS.values())}
