"""What each ELF file of a wheel needs and where it comes from, before anything is changed.

This is musl's own search (loader.py) over the wheel's files and a target system, with the wheel's search paths
extended first: by the folders of the wheel that have what is needed, and by the user's (--ldpaths).
"""

from __future__ import annotations

import posixpath
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.elf import Elf
from musl_repair.graph import Resolution
from musl_repair.loader import Loader, Need, Scope, is_reserved, refusal
from musl_repair.rpath import expand_entry, is_valid_entry, rpath_entries
from musl_repair.world import Mounted, World

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from musl_repair.policy import Architecture
    from musl_repair.sysroot import Unusable

_LIBPYTHON: Final = "libpython"
_LIBC: Final = "libc.so"
"""A name that is libc's on every musl."""


def is_libpython(name: str) -> bool:
    """Whether a needed name is the interpreter's own library."""
    return name.startswith(_LIBPYTHON)


def file_name(name: str) -> str:
    """Return a needed name without folders."""
    return name.rpartition("/")[2]


def is_excluded(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the user's patterns (shell wildcards) keeps a needed name out of the wheel."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def inside_entries(elf: Elf, path: PurePosixPath) -> tuple[str, ...]:
    """Return the rpath entries of an installed file that stay in its scheme's folder, as they are spelled, each once.

    Entries with an unknown token are left out: musl would drop the whole rpath for them.
    """
    root = scheme_root(path)
    kept: dict[str, None] = {}
    for entry in rpath_entries(elf.rpath):
        folder = posixpath.normpath(expand_entry(entry, path.parent))
        if is_valid_entry(entry) and (folder == root or folder.startswith(f"{root}/")):
            kept[entry] = None
    return tuple(kept)


def scheme_root(path: PurePosixPath) -> str:
    """Return the folder that a path's install scheme begins at: paths relative to each other are known below it."""
    return "/" + "".join(path.parts[1:2])


class _Searching:
    """The world as planning sees it: needs come and go as the user wants."""

    def __init__(self, world: World, search: Search) -> None:
        self._world = world
        self._search = search
        self._seen: dict[PurePosixPath, Elf | Unusable | None] = {}

    def read(self, path: PurePosixPath) -> Elf | Unusable | None:
        if path not in self._seen:
            self._seen[path] = self._changed(path, self._world.read(path))
        return self._seen[path]

    def real(self, path: PurePosixPath) -> PurePosixPath:
        return self._world.real(path)

    def is_empty(self, folder: PurePosixPath) -> bool:
        return self._world.is_empty(folder)

    def _changed(self, path: PurePosixPath, answer: Elf | Unusable | None) -> Elf | Unusable | None:
        if not isinstance(answer, Elf):
            return answer
        needed = tuple(name for name in self._search.needed(path, answer) if self._search.looks_for(name))
        return answer if needed == answer.needed else answer._replace(needed=needed)


class Search(NamedTuple):
    """How needs are looked for."""

    search_path: tuple[PurePosixPath, ...]
    """Where the loader looks last."""
    library_path: tuple[PurePosixPath, ...] = ()
    """Folders that the user names, looked in after the wheel's own."""
    excluded: tuple[str, ...] = ()
    """Patterns of needed names that are not looked for."""
    may_repair: bool = True
    """True: search paths are going to be made right, and unfit candidates are passed over. False: exactly as musl."""
    included: Callable[[PurePosixPath, Elf], tuple[str, ...]] | None = None
    """Says what dlopen asks for in a file: it comes to need that, if it does not already."""

    def needed(self, path: PurePosixPath, elf: Elf) -> tuple[str, ...]:
        """Return what a file is going to need, before anything is excluded."""
        new = (name for name in self.asked(path, elf) if PurePosixPath(name).name not in elf.needed)
        return (*new, *elf.needed)

    def asked(self, path: PurePosixPath, elf: Elf) -> tuple[str, ...]:
        """Return what dlopen asks for in a file, names and absolute paths."""
        return () if self.included is None else self.included(path, elf)

    def looks_for(self, name: str) -> bool:
        """Whether a needed name is looked for: the interpreter provides its own library, the user what is excluded."""
        return not is_libpython(self.spelling(name)) and not self.excludes(name)

    def excludes(self, name: str) -> bool:
        """Whether a pattern of the user's fits a needed name, or the file name of one that is a path."""
        return is_excluded(name, self.excluded) or is_excluded(self.spelling(name), self.excluded)

    def left_of(self, name: str) -> str:
        """Return what is left of a need that is excluded: what a pattern fits."""
        return name if is_excluded(name, self.excluded) else self.spelling(name)

    def spelling(self, name: str) -> str:
        """Return what a need can become: the file name of a path, if it may be repaired."""
        return file_name(name) if self.may_repair else name


def resolve(
    files: Mapping[PurePosixPath, Elf | Unusable], system: World | None, architecture: Architecture, search: Search
) -> Resolution:
    """Resolve every need of every loadable file of a wheel (files, by loader path) against wheel and system.

    Each file of the architecture is taken as one that is loaded first. When planning a repair, a need that is answered
    on one way to a library and not on another counts as answered: the repaired library finds it on every way. Without a
    repair it counts as missing if it is so on a way that begins at a file which something else than the wheel's files
    loads.
    """
    elfs = {path: elf for path, elf in sorted(files.items()) if isinstance(elf, Elf) and architecture.fits(elf)}
    mounted = Mounted(files, system)
    world = _Searching(mounted, search)
    edges: dict[PurePosixPath, dict[str, PurePosixPath]] = {path: {} for path in elfs}
    failed: dict[PurePosixPath, list[Need]] = {}
    respelt: dict[PurePosixPath, dict[str, str]] = {}
    loads = _loads(elfs, world, architecture, search)
    for path, need in loads.needs:
        needed_by = world.real(need.needed_by)
        if need.found is not None:
            found = world.real(need.found)
            edges.setdefault(needed_by, {}).setdefault(need.name, found)
            edges.setdefault(found, {})
        elif need.missing:
            failed.setdefault(path, []).append(need._replace(needed_by=needed_by))
        elif not (is_reserved(need.name) or need.name == str(architecture.loader)):
            respelt.setdefault(needed_by, {})[need.name] = _LIBC
    facts = {path: answer for path in edges if isinstance(answer := mounted.read(path), Elf)}
    anyway = search.may_repair or not failed or loads.at_once
    first = frozenset(failed if anyway else Resolution(edges, (), facts).roots)
    missing = [
        need
        for path, needs in failed.items()
        if path in first
        for need in needs
        if not search.may_repair or need.name not in edges[need.needed_by]
    ]
    excluded: list[tuple[PurePosixPath, str]] = []
    for path, elf in facts.items():
        for name in filter(search.excludes, elf.needed):
            excluded.append((path, search.left_of(name)))
            if search.left_of(name) != name:
                respelt.setdefault(path, {})[name] = search.left_of(name)
    asked = _asked(edges, facts, search)
    return Resolution(edges, _each_once(missing), facts, tuple(sorted(excluded)), asked, respelt)


class _Loads(NamedTuple):
    """The loads of some files, each as the first."""

    needs: Iterable[tuple[PurePosixPath, Need]]
    """Every need, with a file whose load has it."""
    at_once: bool
    """Whether what is first makes no difference."""


def _loads(elfs: Mapping[PurePosixPath, Elf], world: World, architecture: Architecture, search: Search) -> _Loads:
    """Load each file as the first."""
    accepts = refusal(architecture) if search.may_repair else None
    rpaths = {} if accepts is None else _extended(elfs, search, accepts)
    scope = Scope(architecture.loader, search.search_path, accepts=accepts, rpaths=rpaths, shortens=True)
    loader = Loader(world, scope)
    at_once = loader.load_at_once(tuple(elfs))
    if at_once is not None:
        return _Loads(((need.needed_by, need) for need in at_once), at_once=True)
    return _Loads(((path, need) for path in elfs for need in loader.load(path)), at_once=False)


def _asked(
    edges: Mapping[PurePosixPath, Mapping[str, PurePosixPath]], elfs: Mapping[PurePosixPath, Elf], search: Search
) -> dict[PurePosixPath, tuple[str, ...]]:
    """Return library → the names that dlopen asks for it by."""
    found: dict[PurePosixPath, set[str]] = {}
    for path, elf in elfs.items():
        for wanted in search.asked(path, elf):
            name = PurePosixPath(wanted).name
            at = edges[path].get(wanted) or edges[path].get(name)
            if at is not None:
                found.setdefault(at, set()).add(name)
    return {path: tuple(sorted(names)) for path, names in found.items()}


def _each_once(needs: Iterable[Need]) -> tuple[Need, ...]:
    """Return the first need of each name and file, sorted."""
    found: dict[tuple[str, PurePosixPath], Need] = {}
    for need in needs:
        found.setdefault(need.key, need)
    return tuple(found[key] for key in sorted(found))


def _extended(
    elfs: Mapping[PurePosixPath, Elf], search: Search, accepts: Callable[[Elf], str | None]
) -> dict[PurePosixPath, tuple[PurePosixPath, ...]]:
    """Return file → where planning looks for what it needs; found once for all files of a folder that are alike."""
    by_name: dict[str, list[PurePosixPath]] = {}
    for path, elf in elfs.items():
        if accepts(elf) is None:
            by_name.setdefault(path.name, []).append(path)
    wanted = {path: elf._replace(needed=search.needed(path, elf)) for path, elf in elfs.items()}
    found: dict[Hashable, tuple[PurePosixPath, ...]] = {}
    extended = {}
    for path, elf in wanted.items():
        alike = path.parent, scheme_root(path), elf.rpath, elf.needed
        if alike not in found:
            found[alike] = _extended_rpath(path, wanted, by_name, search.library_path)
        extended[path] = found[alike]
    return extended


def _extended_rpath(
    path: PurePosixPath,
    elfs: Mapping[PurePosixPath, Elf],
    by_name: Mapping[str, list[PurePosixPath]],
    library_path: tuple[PurePosixPath, ...],
) -> tuple[PurePosixPath, ...]:
    """Return where planning looks first for what a file of the wheel needs.

    In this order: its own entries inside the wheel, other folders of the wheel that have a needed name, the user's
    folders, and last the entries that lead out of the wheel, which the repaired file will not have.
    """
    elf = elfs[path]
    inside = [expand_entry(entry, path.parent) for entry in inside_entries(elf, path)]
    own = set(map(posixpath.normpath, inside))
    outside = [
        folder
        for entry in rpath_entries(elf.rpath)
        if is_valid_entry(entry) and posixpath.normpath(folder := expand_entry(entry, path.parent)) not in own
    ]
    found = [
        folder
        for name in map(file_name, elf.needed)
        if not is_reserved(name) and not any(str(at.parent) in own for at in by_name.get(name, ()))
        for folder in _folders_with(by_name.get(name, ()), path)
    ]
    folders = dict.fromkeys([*inside, *found, *library_path, *outside])
    return tuple(folder for folder in folders if folder.is_absolute())


def _folders_with(candidates: Iterable[PurePosixPath], path: PurePosixPath) -> tuple[PurePosixPath, ...]:
    """Return the folder of the one of these files that is nearest to path, or nothing."""
    folders = [candidate.parent for candidate in candidates if scheme_root(candidate) == scheme_root(path)]
    nearest = sorted(
        folders, key=lambda folder: (len(PurePosixPath(posixpath.relpath(folder, path.parent)).parts), folder)
    )
    return tuple(nearest[:1])
