"""Installed files of the same content → one file with several names. The only module that changes an environment.

musl loads one of them once: it compares device and inode (musl 1.2.6 ldso/dynlink.c, load_library).
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.vendored import LEFTOVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from musl_repair.sizes import Variant

_PIECE: Final = 1 << 20


class Skipped(NamedTuple):
    """A file that was left as it is."""

    file: Path
    reason: str
    failed: bool
    """Whether the system refused; else linking it would have changed more than where its bytes are."""


@dataclass(frozen=True, slots=True)
class Linked:
    """What linking did."""

    files: tuple[Path, ...] = ()
    """Those that are another file's name now, in order."""
    freed: int = 0
    """Bytes. A file that has other names somewhere (in the cache of uv, say) frees nothing."""
    skipped: tuple[Skipped, ...] = ()


class _Name(NamedTuple):
    """A file's name, and what was found there."""

    file: Path
    found: os.stat_result

    @property
    def inode(self) -> tuple[int, int]:
        return self.found.st_dev, self.found.st_ino

    @property
    def kind(self) -> tuple[int, ...]:
        """What all names of a file have in common, content and times aside; the file system first."""
        return self.found.st_dev, self.found.st_mode, self.found.st_uid, self.found.st_gid


def link_variants(variants: Iterable[Variant]) -> Linked:
    """Replace the installed copies of each variant by hard links to one of them.

    Content, mode, owner and names stay, so every RECORD stays true. Each name leads to a whole file at any moment, and
    what was not reached by an interrupted run is left to the next.
    """
    linked: list[_Name] = []
    skipped: list[Skipped] = []
    freed = 0
    for variant in variants:
        looked = [_look(copy.file) for copy in variant.copies if copy.file is not None]
        names = [name for name in looked if isinstance(name, _Name)]
        skipped += [name for name in looked if isinstance(name, Skipped)]
        left = Counter({name.inode: name.found.st_nlink for name in names})
        for kept, spare in _pairs(names):
            refusal = _refusal(kept, spare) or _link(kept, spare)
            if refusal is not None:
                skipped.append(refusal)
                continue
            linked.append(spare)
            left[spare.inode] -= 1
            freed += 0 if left[spare.inode] else spare.found.st_size
    return Linked(tuple(name.file for name in linked), freed, tuple(skipped))


def _look(file: Path) -> _Name | Skipped:
    try:
        found = file.lstat()
    except OSError as error:
        return Skipped(file, f"it cannot be read: {error.strerror}", failed=True)
    return _Name(file, found) if stat.S_ISREG(found.st_mode) else Skipped(file, "it is no file any more", failed=True)


def _pairs(names: list[_Name]) -> Iterator[tuple[_Name, _Name]]:
    """Yield which file stays for which: the one with the most names here, so that a second run goes on as the first.

    Of files that differ in mode or owner one of each kind stays; they are a pair that is to be refused.
    """
    counts = Counter(name.inode for name in names)
    kinds: dict[tuple[int, ...], _Name] = {}
    for name in sorted(names, key=lambda name: -counts[name.inode]):
        kept = kinds.get(name.kind)
        if kept is None:
            kinds[name.kind] = name
            if len(kinds) > 1:
                yield next(iter(kinds.values())), name
        elif kept.inode != name.inode:
            yield kept, name


def _refusal(kept: _Name, name: _Name) -> Skipped | None:
    """Tell why a file is not to be replaced."""
    if name.found.st_dev != kept.found.st_dev:
        return Skipped(name.file, f"it is on another file system than {kept.file}", failed=False)
    if name.kind != kept.kind:
        return Skipped(name.file, f"it has another mode or owner than {kept.file}", failed=False)
    return None


def _link(kept: _Name, name: _Name) -> Skipped | None:
    """Make a name lead to the file that is kept: never nowhere, and never to a part of a file."""
    temporary = name.file.with_name(f".{name.file.name}{LEFTOVER}")
    try:
        if not _same_content(kept.file, name.file):
            return Skipped(name.file, "it has changed meanwhile", failed=True)
        temporary.unlink(missing_ok=True)
        try:
            os.link(kept.file, temporary, follow_symlinks=False)
            temporary.replace(name.file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        return Skipped(name.file, f"cannot link it to {kept.file}: {error.strerror}", failed=True)
    return None


def _same_content(one: Path, other: Path) -> bool:
    with one.open("rb") as first, other.open("rb") as second:
        while True:
            piece = first.read(_PIECE)
            if piece != second.read(_PIECE):
                return False
            if not piece:
                return True
