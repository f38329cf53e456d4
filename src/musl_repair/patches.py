"""Resolution → patches: which edits make each file find what it needs inside the wheel. Pure."""

from __future__ import annotations

import posixpath
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from musl_repair.resolve import file_name, inside_entries, is_libpython
from musl_repair.rpath import can_be_entry, expand_entry, is_split

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import PurePosixPath

    from musl_repair.elf import Elf


class Patch(NamedTuple):
    """The edits of one ELF file. None, empty and False mean: leave as it is."""

    member: str
    """The archive name of the result."""
    soname: str | None = None
    rpath: str | None = None
    """The new DT_RPATH; "" removes DT_RPATH and DT_RUNPATH."""
    renames: tuple[tuple[str, str], ...] = ()
    """(needed name, new needed name), sorted."""
    dropped: tuple[str, ...] = ()
    """Needed names that are removed, sorted."""
    added: tuple[str, ...] = ()
    """Needed names that are put before all others, sorted."""
    lower_relr: bool = False
    strip: bool = False

    @property
    def edits(self) -> bool:
        """Whether the dynamic section changes in any other way than by lowering DT_RELR."""
        return bool(self.soname or self.renames or self.dropped or self.added) or self.rpath is not None

    @property
    def changes(self) -> bool:
        """Whether anything changes."""
        return self.edits or self.lower_relr or self.strip


class Edits(NamedTuple):
    """What is to become of one ELF file's needs."""

    edges: Mapping[str, PurePosixPath]
    """Needed name → the file that answers it; names that the file does not need are added."""
    places: Mapping[PurePosixPath, PurePosixPath] = MappingProxyType({})
    """External library → where its graft is installed."""
    added: tuple[PurePosixPath, ...] = ()
    """Where polyfills for it are installed."""
    ways: tuple[PurePosixPath, ...] = ()
    """Where excluded libraries will be."""
    respelt: Mapping[str, str] = MappingProxyType({})
    """Needed name → the name in its place, of what has no edge."""
    lower_relr: bool = False

    @property
    def targets(self) -> dict[str, PurePosixPath]:
        """Needed name → where what answers it is installed."""
        return {name: self.places.get(target, target) for name, target in self.edges.items()}

    def rpath(self, path: PurePosixPath, kept: Iterable[str]) -> str:
        """Return the rpath of the file when it is installed at path, with these entries of its own."""
        return rpath_to([*self.targets.values(), *self.added, *self.ways], path, kept)


def wheel_patch(member: str, elf: Elf, path: PurePosixPath, edits: Edits, *, old_loaders: bool) -> Patch:
    """Return the edits of a file of the wheel, installed at path.

    old_loaders: whether the tag promises a musl that does not read DT_RUNPATH.
    """
    rpath = edits.rpath(path, inside_entries(elf, path))
    changed = rpath != (elf.rpath or "") or (old_loaders and elf.dt_runpath is not None)
    return _patch(member, elf, edits, rpath if changed else None)


def graft_patch(member: str, elf: Elf, path: PurePosixPath, edits: Edits) -> Patch:
    """Return the edits of a graft, installed at path: nothing of the search path that it came with is kept."""
    rpath = edits.rpath(path, ())
    changed = rpath != (elf.rpath or "") or elf.dt_runpath is not None
    patch = _patch(member, elf, edits, rpath if changed else None)
    return patch._replace(soname=path.name if elf.soname != path.name else None)


def _patch(member: str, elf: Elf, edits: Edits, rpath: str | None) -> Patch:
    return Patch(
        member=member,
        rpath=rpath,
        renames=_renames(elf, edits),
        dropped=_dropped(elf),
        added=_added(elf, edits),
        lower_relr=edits.lower_relr,
    )


def rpath_to(targets: Iterable[PurePosixPath], path: PurePosixPath, kept: Iterable[str]) -> str:
    """Return the rpath with which the file at path finds all targets: the kept entries, then what they lack.

    In the order of the targets, as they were searched for.
    """
    entries = list(kept)
    covered = {posixpath.normpath(expand_entry(entry, path.parent)) for entry in entries}
    for folder in dict.fromkeys(str(target.parent) for target in targets):
        if folder not in covered:
            relative = posixpath.relpath(folder, path.parent)
            entries.append("$ORIGIN" if relative == "." else f"$ORIGIN/{relative}")
    return ":".join(entries)


def leads(origin: PurePosixPath, folder: PurePosixPath) -> bool:
    """Whether a file in the one folder can have an rpath entry for the other."""
    return not is_split(origin) and can_be_entry(posixpath.relpath(folder, origin))


def _renames(elf: Elf, edits: Edits) -> tuple[tuple[str, str], ...]:
    names = {**edits.respelt, **{name: target.name for name, target in edits.targets.items()}}
    return tuple((name, new) for name, new in sorted(names.items()) if name in elf.needed and new != name)


def _added(elf: Elf, edits: Edits) -> tuple[str, ...]:
    """Return the names of polyfills and of what is included, but for what the file needs under another name."""
    needed = {target.name for name, target in edits.targets.items() if name in elf.needed}
    included = {target.name for target in edits.targets.values()} - needed
    return tuple(sorted({place.name for place in edits.added} | included))


def _dropped(elf: Elf) -> tuple[str, ...]:
    return tuple(sorted(name for name in elf.needed if is_libpython(file_name(name))))
