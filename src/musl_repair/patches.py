"""Resolution → patches: which edits make each file find what it needs inside the wheel. Pure."""

from __future__ import annotations

import posixpath
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.resolve import file_name, inside_entries, is_libpython
from musl_repair.rpath import expand_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import PurePosixPath

    from musl_repair.elf import Elf


_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


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


def wheel_patch(
    member: str,
    elf: Elf,
    path: PurePosixPath,
    edges: Mapping[str, PurePosixPath],
    places: Mapping[PurePosixPath, PurePosixPath],
    *,
    added: tuple[PurePosixPath, ...] = (),
    ways: tuple[PurePosixPath, ...] = (),
    respelt: Mapping[str, str] = _NOTHING,
    lower_relr: bool,
    old_loaders: bool,
) -> Patch:
    """Return the edits of a file of the wheel, installed at path.

    edges are its needs; places maps each external library to where its graft is installed; added is where polyfills
    for it are, ways where excluded libraries will be. Names in edges that the file does not need are added. respelt
    are new names of what has no edge.
    old_loaders: whether the tag promises a musl that does not read DT_RUNPATH.
    """
    targets = [places.get(target, target) for target in edges.values()]
    rpath = rpath_to([*targets, *added, *ways], path, inside_entries(elf, path))
    changed = rpath != (elf.rpath or "") or (old_loaders and elf.dt_runpath is not None)
    return Patch(
        member=member,
        rpath=rpath if changed else None,
        renames=_renames(elf, edges, places, respelt),
        dropped=_dropped(elf),
        added=_added(elf, edges, places, added),
        lower_relr=lower_relr,
    )


def graft_patch(
    member: str,
    elf: Elf,
    path: PurePosixPath,
    edges: Mapping[str, PurePosixPath],
    places: Mapping[PurePosixPath, PurePosixPath],
    *,
    added: tuple[PurePosixPath, ...] = (),
    ways: tuple[PurePosixPath, ...] = (),
    respelt: Mapping[str, str] = _NOTHING,
    lower_relr: bool,
) -> Patch:
    """Return the edits of a graft, installed at path: nothing of the search path that it came with is kept."""
    rpath = rpath_to([*(places.get(target, target) for target in edges.values()), *added, *ways], path, ())
    return Patch(
        member=member,
        soname=path.name if elf.soname != path.name else None,
        rpath=rpath if rpath != (elf.rpath or "") or elf.dt_runpath is not None else None,
        renames=_renames(elf, edges, places, respelt),
        dropped=_dropped(elf),
        added=_added(elf, edges, places, added),
        lower_relr=lower_relr,
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


def _renames(
    elf: Elf,
    edges: Mapping[str, PurePosixPath],
    places: Mapping[PurePosixPath, PurePosixPath],
    respelt: Mapping[str, str],
) -> tuple[tuple[str, str], ...]:
    names = {**respelt, **{name: places.get(target, target).name for name, target in edges.items()}}
    return tuple((name, new) for name, new in sorted(names.items()) if name in elf.needed and new != name)


def _added(
    elf: Elf,
    edges: Mapping[str, PurePosixPath],
    places: Mapping[PurePosixPath, PurePosixPath],
    polyfills: Iterable[PurePosixPath],
) -> tuple[str, ...]:
    """Return the names of polyfills and of what is included, but for what the file needs under another name."""
    needed = {places.get(target, target).name for name, target in edges.items() if name in elf.needed}
    included = {places.get(target, target).name for target in edges.values()} - needed
    return tuple(sorted({place.name for place in polyfills} | included))


def _dropped(elf: Elf) -> tuple[str, ...]:
    return tuple(sorted(name for name in elf.needed if is_libpython(file_name(name))))
