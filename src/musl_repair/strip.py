"""Strip symbols and debug information, before anything else is done to a file.

Source: strip(1), llvm-strip(1). After patchelf it would be too late: strip moves what patchelf has put at the end.
"""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.errors import PatchError
from musl_repair.programs import folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from musl_repair.elfimage import Content
    from musl_repair.policy import Architecture
    from musl_repair.programs import Call

_TRIPLES: Final = {
    "x86_64": ("x86_64-linux-musl", "x86_64-linux-gnu", "x86_64-alpine-linux-musl"),
    "i686": ("i686-linux-musl", "i686-linux-gnu", "i586-alpine-linux-musl"),
    "aarch64": ("aarch64-linux-musl", "aarch64-linux-gnu", "aarch64-alpine-linux-musl"),
    "armv7l": ("arm-linux-musleabihf", "arm-linux-gnueabihf", "armv7-alpine-linux-musleabihf"),
    "armv6l": ("arm-linux-musleabihf", "arm-linux-gnueabihf", "armv6-alpine-linux-musleabihf"),
    "ppc64le": ("powerpc64le-linux-musl", "powerpc64le-linux-gnu", "powerpc64le-alpine-linux-musl"),
    "s390x": ("s390x-linux-musl", "s390x-linux-gnu", "s390x-alpine-linux-musl"),
    "riscv64": ("riscv64-linux-musl", "riscv64-linux-gnu", "riscv64-alpine-linux-musl"),
    "loongarch64": ("loongarch64-linux-musl", "loongarch64-linux-gnu", "loongarch64-alpine-linux-musl"),
}
"""Prefixes that cross binutils are installed with."""


class Strip(NamedTuple):
    """A program that strips files of one architecture."""

    path: Path

    def __str__(self) -> str:
        """Return its name, for messages."""
        return str(self.path)

    def strip(self, content: Content, member: str, call: Call) -> bytes:
        """Return a file without what is not needed to load it. Raises PatchError where the program fails."""
        with folder() as work:
            source, target = work / "in.so", work / "out.so"
            source.write_bytes(content)
            try:
                call([self.path, "-s", "-o", target, source], ())
                return target.read_bytes()
            except (PatchError, OSError) as error:
                raise PatchError(f"{member}: {error}") from error


def find_strip(architecture: Architecture, search_path: str | None = None, machine: str | None = None) -> Strip:
    """Return a strip that knows an architecture: the machine's own, llvm's, or cross binutils'.

    machine is the one that the program runs on. Raises PatchError where there is none.
    """
    own = (machine or platform.machine()) == architecture.name
    found = next(filter(None, map(_finder(search_path), _names(architecture, own=own))), None)
    if found is None:
        raise PatchError(
            f"there is no strip for {architecture.name}: install llvm (llvm-strip) or "
            f"binutils for {_TRIPLES[architecture.name][1]}, or repair without --strip"
        )
    return Strip(Path(found).absolute())


def _finder(search_path: str | None) -> Callable[[str], str | None]:
    return lambda name: shutil.which(name, path=search_path)


def _names(architecture: Architecture, *, own: bool) -> Iterator[str]:
    if own:
        yield "strip"
    yield "llvm-strip"
    yield from (f"{triple}-strip" for triple in _TRIPLES[architecture.name])
