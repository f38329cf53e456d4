"""Add a build of CPython to the names that musl-repair knows, from nothing but its libpython.

    python tools/add_python.py 3.16.0 "Debian, x86_64" path/to/libpython3.16.so.1.0
    python tools/add_python.py 3.16.0 "Debian, x86_64" path/to/libpython3.16.so.1.0 --headers path/to/include/python3.16

(in an environment where this checkout is installed: `pip install --editable .`)

The names of a minor version are those of all its builds together: patch releases add private names, and a build for
one architecture, or with a JIT compiler, exports more than another. A static `python`, which exports the same, will do.
The order of builds does not matter: the result is the same bytes.

--headers takes the headers of the version, and notes what they declare for free-threaded builds (Py_GIL_DISABLED):
there is seldom a libpython of such a build at hand.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musl_repair.elf import read_elf
from musl_repair.python.names import minors_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

DATA = Path(__file__).resolve().parents[1] / "src" / "musl_repair" / "python" / "names.json"
EMPTY: Mapping[str, Any] = {
    "format": 1,
    "note": "Names that CPython 3 exports to the modules that it loads: the dynamic symbols of libpython, by minor "
    "version. exports: minor versions → names, of any of the builds. free_threaded: what the headers declare only for "
    "builds without the GIL. Written by tools/add_python.py.",
    "builds": {},
    "exports": {},
    "free_threaded": {},
}
# What the linker defines in a program, and every program has.
NOT_PYTHON = frozenset({"_init", "_fini", "_start", "_start_c", "__bss_start", "_edata", "_end"})
_VERSION = re.compile(r"3\.(\d+)\.\d+\w*")
_CONDITION = re.compile(r"\s*#\s*(if\w*|el\w*|endif)\b(.*)")
_DECLARED = re.compile(r"PyAPI_(?:FUNC|DATA)\s*\([^)]*\)\s*\**\s*(_?Py\w+)")


def exported(libpython: Path) -> frozenset[str]:
    """Return the names that a libpython, or a program with CPython in it, exports."""
    return read_elf(libpython.read_bytes()).exports - NOT_PYTHON


def declared_without_gil(headers: Iterable[Path]) -> frozenset[str]:
    """Return the names that headers declare where a condition asks for Py_GIL_DISABLED, either way."""
    return frozenset(name for path in sorted(headers) for name in _declared(path.read_text("utf-8")))


def _declared(text: str) -> Iterator[str]:
    conditions: list[str] = []
    for line in text.replace("\\\n", " ").splitlines():
        directive = _CONDITION.match(line)
        if directive is None:
            if any("Py_GIL_DISABLED" in condition for condition in conditions):
                yield from _DECLARED.findall(line)
        elif directive[1] == "endif":
            conditions.pop()
        elif directive[1].startswith("if"):
            conditions.append(directive[2])
        else:
            conditions[-1] += directive[2]


def add(
    data: Mapping[str, Any], version: str, build: str, names: frozenset[str], without_gil: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Return the data with one build more. Raises ValueError for what is not a version."""
    match = _VERSION.fullmatch(version)
    if match is None:
        raise ValueError(f"not a release of CPython 3: {version!r}; expected something like 3.14.2")
    minor = match[1]
    exporters = {name: set(minors_of(spans)) for spans, listed in data["exports"].items() for name in listed.split()}
    for name in names:
        exporters.setdefault(name, set()).add(int(minor))
    groups: dict[str, list[str]] = {}
    for name in sorted(exporters):
        groups.setdefault(spans_of(exporters[name]), []).append(name)
    builds = {**data["builds"], minor: sorted({*data["builds"].get(minor, ()), f"{version}, {build}"})}
    free = {key: set(listed.split()) for key, listed in data["free_threaded"].items()}
    free.setdefault(minor, set()).update(without_gil)
    # What a build with the GIL exports as well is no news.
    free = {key: {name for name in free[key] if int(key) not in exporters.get(name, ())} for key in free}
    return {
        **data,
        "builds": dict(sorted(builds.items(), key=lambda item: int(item[0]))),
        "exports": {spans: " ".join(groups[spans]) for spans in sorted(groups)},
        "free_threaded": {key: " ".join(sorted(free[key])) for key in sorted(free, key=int) if free[key]},
    }


def spans_of(minors: Iterable[int]) -> str:
    """Write minor versions as names.json has them; `minors_of` reads it."""
    spans: list[list[int]] = []
    for minor in sorted(minors):
        if spans and minor == spans[-1][1] + 1:
            spans[-1][1] = minor
        else:
            spans.append([minor, minor])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in spans)


def main(arguments: Sequence[str] | None = None) -> int:
    """Add the build that the command line names."""
    parser = argparse.ArgumentParser(description="add a build of CPython to the names that musl-repair knows")
    parser.add_argument("version", help="3.14.2")
    parser.add_argument("build", help="who built it and for which architecture: 'Debian, x86_64'")
    parser.add_argument("libpython", type=Path)
    parser.add_argument("--headers", type=Path, help="the folder of Python.h")
    parser.add_argument("--data", type=Path, default=DATA, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    data = json.loads(options.data.read_text("utf-8")) if options.data.exists() else EMPTY
    without_gil = declared_without_gil(options.headers.rglob("*.h")) if options.headers else frozenset()
    data = add(data, options.version, options.build, exported(options.libpython), without_gil)
    options.data.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
