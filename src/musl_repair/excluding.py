"""What the user keeps out of the wheel: patterns that keep nothing out, and rpaths to where it is instead. Pure."""

from __future__ import annotations

import difflib
import posixpath
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from musl_repair.findings import Finding, finding
from musl_repair.resolve import scheme_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from musl_repair.elf import Elf
    from musl_repair.graph import Resolution
    from musl_repair.options import Options

_WILDCARDS: Final = str.maketrans("", "", "*?[]!")


def parse_way(text: str) -> tuple[str, str]:
    """Return pattern and folder of PATTERN=FOLDER, the folder relative to site-packages.

    ../pkg.libs is what a file in a package's own folder calls pkg.libs. Raises ValueError for what leaves
    site-packages.
    """
    pattern, separator, given = text.rpartition("=")
    folder = posixpath.normpath(posixpath.join("package", given) if given.startswith("../") else given)
    if not (separator and pattern and given) or folder == ".." or folder.startswith(("/", "../")):
        raise ValueError(f"{text!r} is not PATTERN=FOLDER with a folder of site-packages, as libfoo.so.*=../foo.libs is")
    return pattern, folder


def ways(elf: Elf, path: PurePosixPath, options: Options) -> tuple[PurePosixPath, ...]:
    """Return where the libraries that a file needs and the user gives an rpath to will be."""
    return tuple(
        scheme_root(path) / folder / name
        for name in elf.needed
        for pattern, folder in options.exclude_rpath
        if fnmatchcase(name, pattern)
    )


def is_led_to(name: str, options: Options) -> bool:
    """Whether files that need an excluded library are given an rpath to it."""
    return any(fnmatchcase(name, pattern) for pattern, _ in options.exclude_rpath)


def judge_patterns(resolution: Resolution, options: Options) -> Iterator[Finding]:
    """Yield patterns that exclude nothing, with what they were perhaps meant for."""
    names = {name for elf in resolution.elfs.values() for name in elf.needed}
    names |= {name for edges in resolution.edges.values() for name in edges}
    for pattern in dict.fromkeys(options.excluded):
        if any(fnmatchcase(name, pattern) for name in names):
            continue
        near = difflib.get_close_matches(pattern.translate(_WILDCARDS), sorted(names))
        meant = f"; the wheel needs {', '.join(near)}" if near else ""
        yield finding("exclude-unmatched", pattern, f"no file needs a library of such a name{meant}")
