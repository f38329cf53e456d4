"""All files that a loader can see: a wheel, mounted in folders of its own, and a system behind it."""

from __future__ import annotations

import posixpath
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, Protocol

from musl_repair.sysroot import HOST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from musl_repair.elf import Elf
    from musl_repair.sysroot import Unusable

_HOST_NAME: Final = HOST.name


class World(Protocol):
    """All files that there are, as the loader would see them."""

    def read(self, path: PurePosixPath) -> Elf | Unusable | None:
        """Return what is at a path; None for nothing."""
        ...

    def real(self, path: PurePosixPath) -> PurePosixPath:
        """Return the path with its links resolved: the same file has the same real path."""
        ...

    def is_empty(self, folder: PurePosixPath) -> bool:
        """Whether a folder is not there, or has no file, so that there is no need to look for one in it."""
        ...


class Mounted:
    """A world with a wheel in it: the wheel's files, and those of a system behind it unless it is to stand alone."""

    def __init__(self, files: Mapping[PurePosixPath, Elf | Unusable], system: World | None = None) -> None:
        """Take the installed files of a wheel; folders in angle brackets are the wheel's, all else is the system's."""
        self._files: Final = files
        self._folders: Final = frozenset(path.parent for path in files)
        self._system: Final = system
        self._shortest: Final[dict[PurePosixPath, PurePosixPath]] = {}

    def read(self, path: PurePosixPath) -> Elf | Unusable | None:
        """Return what is at a path. No ".." leads out of a wheel's folder: where the others are, nobody knows."""
        if is_mounted(path):
            shortest = self._normal(path)
            return self._files.get(shortest) if shortest.parts[:2] == path.parts[:2] else None
        return None if self._system is None else self._system.read(path)

    def is_empty(self, folder: PurePosixPath) -> bool:
        """Whether a folder is not there, or has no file."""
        if is_mounted(folder):
            shortest = self._normal(folder)
            return shortest not in self._folders or shortest.parts[:2] != folder.parts[:2]
        return self._system is None or self._system.is_empty(folder)

    def _normal(self, path: PurePosixPath) -> PurePosixPath:
        if ".." not in path.parts:
            return path
        shortest = self._shortest.get(path)
        if shortest is None:
            shortest = self._shortest[path] = PurePosixPath(posixpath.normpath(path))
        return shortest

    def real(self, path: PurePosixPath) -> PurePosixPath:
        """Return the path in its shortest form: a wheel has no links, a system may."""
        if is_mounted(path):
            return self._normal(path)
        return path if self._system is None else self._system.real(path)


def is_mounted(path: PurePosixPath) -> bool:
    """Whether a path as it was opened begins in a folder of the wheel."""
    parts = path.parts
    return len(parts) > 1 and parts[1].startswith("<") and parts[1] != _HOST_NAME
