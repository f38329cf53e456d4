"""Search paths in files, as musl reads them: entries, $ORIGIN, and what makes it drop them all.

Source: musl 1.2.6 ldso/dynlink.c fixup_rpath, decode_dyn, path_open.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final

_ORIGIN: Final = re.compile(r"\$(?:ORIGIN|\{ORIGIN\})")
_SEPARATOR: Final = re.compile(r"[:\n]")


def rpath_entries(rpath: str | None) -> tuple[str, ...]:
    """Split an rpath; ':' and line ends separate, empty entries are skipped (path_open)."""
    return tuple(entry for entry in _SEPARATOR.split(rpath or "") if entry)


def is_valid_entry(entry: str) -> bool:
    """Whether an rpath entry has no token but $ORIGIN; fixup_rpath drops the whole rpath for any other."""
    return "$" not in _ORIGIN.sub("", entry)


def has_origin(rpath: str | None) -> bool:
    """Whether an rpath depends on where its file is."""
    return _ORIGIN.search(rpath or "") is not None


def expand_entry(entry: str, origin: PurePosixPath) -> PurePosixPath:
    """Return the folder that an rpath entry stands for; ".." is left in it, as the kernel resolves it."""
    return PurePosixPath(_ORIGIN.sub(lambda _: str(origin), entry))


def expand_rpath(rpath: str | None, origin: PurePosixPath) -> tuple[PurePosixPath, ...]:
    """Return the folders of an rpath, none if it has an unknown token. origin is the file's folder as opened.

    fixup_rpath puts the origin in before path_open splits the rpath: a separator in the origin splits it too.
    """
    if not is_valid_entry(rpath or ""):
        return ()
    return tuple(map(PurePosixPath, rpath_entries(_ORIGIN.sub(lambda _: str(origin), rpath or ""))))


def is_split(folder: PurePosixPath) -> bool:
    """Whether musl takes a folder that $ORIGIN stands for as several: its path has a separator in it."""
    return _SEPARATOR.search(str(folder)) is not None


def can_be_entry(folder: str) -> bool:
    """Whether an rpath can name a folder, given relative to $ORIGIN: nothing in it means anything to musl."""
    return _SEPARATOR.search(folder) is None and "$" not in folder
