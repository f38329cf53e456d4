"""The same library in several places: which copy stands for the others. Pure.

Copies are the same where their content is, or where one build (build-id) left both and they still export and import the
same. musl tells libraries apart by device and inode (load_library), so every copy is loaded for itself.
"""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING

from musl_repair.graph import Resolution, is_extension, is_program
from musl_repair.resolve import scheme_root
from musl_repair.wheelchecks import judge_copies
from musl_repair.world import is_mounted

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Mapping
    from pathlib import PurePosixPath

    from musl_repair.arrangement import Arrangement
    from musl_repair.elf import Elf
    from musl_repair.findings import Finding
    from musl_repair.grafts import Graft
    from musl_repair.target import Target


def find_copies(
    arrangement: Arrangement, resolution: Resolution, target: Target, *, merges: bool
) -> dict[PurePosixPath, PurePosixPath]:
    """Return copy → the file that stands for it.

    A library of the system gives way to one in the wheel's library folder, or to a copy of itself in the system.
    merges: a library of the wheel gives way to another one of the wheel.
    """
    groups = _groups(arrangement, resolution, target)
    judge = _Judge(arrangement, resolution, merges=merges)
    aliases: dict[PurePosixPath, PurePosixPath] = {}
    while (found := judge.merged(groups, aliases)) != aliases:
        aliases = found
    return aliases


def _groups(arrangement: Arrangement, resolution: Resolution, target: Target) -> list[list[PurePosixPath]]:
    """Return the libraries that are the same as another, the one to keep first."""
    elfs = resolution.elfs
    alike = Counter(elf for elf in elfs.values() if elf.build_id is None)
    groups: dict[Hashable, list[PurePosixPath]] = {}
    for path, elf in elfs.items():
        if elf.build_id is not None:
            groups.setdefault((elf.build_id, elf.exports, elf.imports), []).append(path)
        elif alike[elf] > 1:
            groups.setdefault(_digest(path, arrangement, target), []).append(path)
    users = Counter(at for edges in resolution.edges.values() for at in set(edges.values()))
    folder = arrangement.place("")

    def rank(path: PurePosixPath) -> tuple[bool, bool, int, bool, PurePosixPath]:
        return not is_mounted(path), path not in resolution.asked, -users[path], path.parent != folder, path

    # Few files are the same as another: to see what is an extension module takes a look at all of its names.
    same = [filter(lambda path: _is_library(elfs[path]), group) for group in groups.values() if len(group) > 1]
    return [group for group in (sorted(paths, key=rank) for paths in same) if len(group) > 1]


def _is_library(elf: Elf) -> bool:
    return not is_program(elf) and not is_extension(elf)


def _digest(path: PurePosixPath, arrangement: Arrangement, target: Target) -> str:
    return arrangement.digest(path) if path in arrangement.members else target.digest(path)


class _Judge:
    """Who may stand for whom."""

    def __init__(self, arrangement: Arrangement, resolution: Resolution, *, merges: bool) -> None:
        self._resolution = resolution
        self._merges = merges
        self._folder = arrangement.place("")
        self._needed = {at for edges in resolution.edges.values() for at in edges.values()}

    def merged(
        self, groups: list[list[PurePosixPath]], aliases: Mapping[PurePosixPath, PurePosixPath]
    ) -> dict[PurePosixPath, PurePosixPath]:
        """Return copy → keeper as far as it is known that what they need is the same by these aliases."""
        found = {}
        for group in groups:
            keepers: list[PurePosixPath] = []
            for path in group:
                keeper = next((one for one in keepers if self._gives_way(path, one, aliases)), None)
                if keeper is None:
                    keepers.append(path)
                else:
                    found[path] = keeper
        return found

    def _gives_way(
        self, path: PurePosixPath, keeper: PurePosixPath, aliases: Mapping[PurePosixPath, PurePosixPath]
    ) -> bool:
        if path in self._resolution.asked and keeper.name not in self._resolution.asked[path]:
            return False  # dlopen would not find it.
        if is_mounted(keeper) and not is_mounted(path):
            # What the wheel's copy needs has other names by now.
            return keeper.parent == self._folder
        if is_mounted(path) and not (self._merges and self._is_spare(path, keeper)):
            return False
        return self._needs(path, aliases) == self._needs(keeper, aliases)

    def _is_spare(self, path: PurePosixPath, keeper: PurePosixPath) -> bool:
        """Whether a copy in the wheel can go: other files need it, or it was a link to the keeper once.

        Python may load others by their paths.
        """
        one, other = sorted((path.name, keeper.name), key=len)
        was_link = path.parent == keeper.parent and other.startswith(f"{one}.")
        return scheme_root(path) == scheme_root(keeper) and (path in self._needed or was_link)

    def _needs(self, path: PurePosixPath, aliases: Mapping[PurePosixPath, PurePosixPath]) -> frozenset[PurePosixPath]:
        return frozenset(aliases.get(at, at) for at in self._resolution.edges[path].values())


def merge(resolution: Resolution, aliases: Mapping[PurePosixPath, PurePosixPath]) -> Resolution:
    """Return a resolution without copies, and without what only they need from the system."""
    if not aliases:
        return resolution
    edges = {
        path: {name: aliases.get(at, at) for name, at in names.items()}
        for path, names in resolution.edges.items()
        if path not in aliases
    }
    queue = [path for path in edges if is_mounted(path)]
    reached = set(queue)
    for path in queue:
        new = set(edges[path].values()) - reached
        reached |= new
        queue.extend(sorted(new))
    return Resolution(
        {path: names for path, names in edges.items() if path in reached},
        tuple(need for need in resolution.missing if need.needed_by in reached),
        {path: elf for path, elf in resolution.elfs.items() if path in reached},
        tuple(one for one in resolution.excluded if one[0] in reached),
        _renamed(resolution.asked, aliases),
        resolution.respelt,
    )


def _renamed(
    asked: Mapping[PurePosixPath, tuple[str, ...]], aliases: Mapping[PurePosixPath, PurePosixPath]
) -> dict[PurePosixPath, tuple[str, ...]]:
    found: dict[PurePosixPath, tuple[str, ...]] = {}
    for path, names in asked.items():
        keeper = aliases.get(path, path)
        found[keeper] = tuple(sorted({*found.get(keeper, ()), *names}))
    return found


def without(arrangement: Arrangement, spares: Collection[PurePosixPath]) -> Arrangement:
    """Return the layout of a wheel that does not have some of its libraries any more."""
    members = {path: member for path, member in arrangement.members.items() if path not in spares}
    dropped = tuple(sorted(set(arrangement.members.values()) - set(members.values())))
    return arrangement._replace(members=MappingProxyType(members), dropped=dropped)


def judge_remaining(findings: tuple[Finding, ...], arrangement: Arrangement) -> tuple[Finding, ...]:
    """Return the findings with those about copies as they are without what is dropped."""
    if not arrangement.dropped:
        return findings
    facts, moved = arrangement.facts, {move.moved: move.member for move in arrangement.moves}
    names = (moved.get(member, member) for member in arrangement.members.values())
    others = (found for found in findings if found.code != "duplicate-library")
    return (*others, *judge_copies(facts, {name: facts.elfs[name] for name in names}))


def find_earlier(
    grafts: Mapping[PurePosixPath, Graft],
    kept: Collection[PurePosixPath],
    arrangement: Arrangement,
    elfs: Mapping[PurePosixPath, Elf],
) -> dict[PurePosixPath, PurePosixPath]:
    """Return library of the system → the graft that an earlier repair made of it.

    A name with a hash stands for all that decides the bytes (one that is kept does not); that the file still has the
    same symbols is looked at as well.
    """
    found = {}
    for path, graft in grafts.items():
        earlier = arrangement.facts.elfs.get(graft.member)
        if (
            earlier is not None
            and path not in kept
            and _same_symbols(earlier, elfs[path])
            and earlier.soname == graft.name
        ):
            found[path] = arrangement.place(graft.name)
    return found


def _same_symbols(one: Elf, other: Elf) -> bool:
    return (one.exports, one.imports, one.build_id) == (other.exports, other.imports, other.build_id)
