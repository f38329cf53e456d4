"""Search paths in files, as musl reads them: entries, $ORIGIN, and what makes it drop them all.

Source: musl 1.2.6 ldso/dynlink.c fixup_rpath, decode_dyn, path_open.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

_ORIGINS: Final = ("$ORIGIN", "${ORIGIN}")


def rpath_entries(rpath: str | None) -> tuple[str, ...]:
    """Split an rpath; ':' and line ends separate, empty entries are skipped (path_open)."""
    return tuple(entry for entry in (rpath or "").replace("\n", ":").split(":") if entry)


def is_valid_entry(entry: str) -> bool:
    """Whether an rpath entry has no token but $ORIGIN; fixup_rpath drops the whole rpath for any other."""
    for origin in _ORIGINS:
        entry = entry.replace(origin, "")
    return "$" not in entry


def expand_entry(entry: str, origin: PurePosixPath) -> PurePosixPath:
    """Return the folder that an rpath entry stands for; ".." is left in it, as the kernel resolves it."""
    for token in _ORIGINS:
        entry = entry.replace(token, str(origin))
    return PurePosixPath(entry)


def expand_rpath(rpath: str | None, origin: PurePosixPath) -> tuple[PurePosixPath, ...]:
    """Return the folders of an rpath, none if it has an unknown token. origin is the file's folder as opened."""
    entries = rpath_entries(rpath)
    if not all(is_valid_entry(entry) for entry in entries):
        return ()
    return tuple(expand_entry(entry, origin) for entry in entries)
