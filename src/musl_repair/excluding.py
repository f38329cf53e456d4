"""What the user keeps out of the wheel: patterns that keep nothing out, and rpaths to where it is instead. Pure."""

from __future__ import annotations

import posixpath
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from musl_repair.findings import Finding, finding
from musl_repair.resolve import scheme_root
from musl_repair.rpath import can_be_entry
from musl_repair.world import is_mounted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from musl_repair.graph import Resolution
    from musl_repair.options import Options

_WILDCARDS: Final = str.maketrans("", "", "*?[]!")
_SIMILARITY: Final = 0.75


def parse_way(text: str) -> tuple[str, str]:
    """Return pattern and folder of PATTERN=FOLDER, the folder relative to site-packages.

    ../pkg.libs is what a file in a package's own folder calls pkg.libs. Raises ValueError for what leaves
    site-packages, or means something else in an rpath.
    """
    pattern, separator, given = text.rpartition("=")
    folder = posixpath.normpath(posixpath.join("package", given) if given.startswith("../") else given)
    if not (separator and pattern and given) or folder == ".." or folder.startswith(("/", "../")):
        raise ValueError(
            f"{text!r} is not PATTERN=FOLDER with a folder of site-packages, as libfoo.so.*=../foo.libs is"
        )
    if not can_be_entry(folder):
        raise ValueError(f"{text!r} has a folder that an rpath cannot name: it has a ':', a '$' or a line end")
    return pattern, folder


def all_ways(
    resolution: Resolution, libraries: PurePosixPath, options: Options
) -> dict[PurePosixPath, tuple[PurePosixPath, ...]]:
    """Return file → where the excluded libraries that it needs will be, if the user says so.

    libraries is the wheel's library folder, which is in site-packages; files of other schemes do not reach it.
    """
    root = scheme_root(libraries)
    found: dict[PurePosixPath, tuple[PurePosixPath, ...]] = {}
    for path, name in resolution.excluded:
        if not is_mounted(path) or scheme_root(path) == root:
            folders = (folder for pattern, folder in options.exclude_rpath if fnmatchcase(name, pattern))
            places = (PurePosixPath(root, folder, name) for folder in folders)
            found[path] = (*found.get(path, ()), *places)
    return found


def without_ways(findings: Iterable[Finding], options: Options) -> Iterator[Finding]:
    """Yield the findings, but for those about excluded libraries that files are given an rpath to."""
    for found in findings:
        led = any(fnmatchcase(found.subject, pattern) for pattern, _ in options.exclude_rpath)
        if not (led and found.code == "library-excluded-not-found"):
            yield found


def judge_patterns(resolution: Resolution, options: Options) -> Iterator[Finding]:
    """Yield patterns that exclude nothing, with what they were perhaps meant for."""
    names = {name for elf in resolution.elfs.values() for name in elf.needed}
    names |= {name for edges in resolution.edges.values() for name in edges}
    names |= {name for _, name in resolution.excluded}
    for pattern in dict.fromkeys(options.excluded):
        if any(fnmatchcase(name, pattern) for name in names):
            continue
        # Imported here: few runs have something to guess.
        from difflib import get_close_matches

        stems = {_stem(name) for name in names}
        near = get_close_matches(_stem(pattern.translate(_WILDCARDS)), sorted(stems), cutoff=_SIMILARITY)
        meant = f"; the wheel needs {', '.join(sorted(name for name in names if _stem(name) in near))}" if near else ""
        yield finding("exclude-unmatched", pattern, f"no file needs a library of such a name{meant}")


def _stem(name: str) -> str:
    return name.partition(".so")[0]
