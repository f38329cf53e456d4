"""Which file musl's loader would open for each DT_NEEDED, and where it looked.

Source: musl 1.2.6 ldso/dynlink.c: load_library, path_open, load_deps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, overload

from musl_repair.policy import Architecture, describe_target, is_glibc_linked
from musl_repair.rpath import expand_rpath
from musl_repair.sysroot import Unusable
from musl_repair.world import is_mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from musl_repair.elf import Elf
    from musl_repair.world import World

_RESERVED: Final = tuple(f"lib{name}." for name in ("c", "pthread", "rt", "m", "dl", "util", "xnet"))
NAME_MAX: Final = 255
"""Bytes in the name of a file on Linux (limits.h); load_library gives up on a longer one."""
_MAX_KEPT: Final = 1 << 15
"""How many places that were looked in are remembered; what is in one wheel or system has some hundreds."""
_MAX_WAYS: Final = 1 << 10
"""Ways to files, besides one to each, that are looked at together; what is in one wheel or system has some dozens."""


class Scope(NamedTuple):
    """What the loader goes by besides the files."""

    loader: PurePosixPath
    """musl's own file: a need of exactly this name is libc."""
    search_path: tuple[PurePosixPath, ...]
    """Where it looks last."""
    library_path: tuple[PurePosixPath, ...] = ()
    """LD_LIBRARY_PATH: where it looks first."""
    accepts: Callable[[Elf], str | None] | None = None
    """None: as musl, which takes the first file that opens. Else the files are going to be repaired: says why a
    candidate is passed over, or None, and what is needed by a path that leads nowhere is looked for by its file name.
    """
    rpaths: Mapping[PurePosixPath, tuple[PurePosixPath, ...]] = MappingProxyType({})
    """The folders that count for files in place of those of their rpath."""
    shortens: bool = False
    """Whether a wheel's folders are opened by their shortest paths: it has no links, so the files are the same."""


class Attempt(NamedTuple):
    """One place where a library was looked for; outcome "" is success."""

    path: PurePosixPath
    outcome: str


class Need(NamedTuple):
    """One DT_NEEDED entry and what became of it."""

    needed_by: PurePosixPath
    name: str
    found: PurePosixPath | None
    is_libc: bool = False
    searched: Sequence[Attempt] = ()
    refused: tuple[Attempt, ...] = ()
    """Those of searched where something was that was not taken."""

    @property
    def key(self) -> tuple[str, PurePosixPath]:
        """What needs are sorted by, and told apart by."""
        return self.name, self.needed_by

    @property
    def missing(self) -> bool:
        """Whether the loader would fail here."""
        return self.found is None and not self.is_libc


def is_reserved(name: str) -> bool:
    """Whether musl takes a needed name for libc itself, whatever file of that name there is.

    load_library: only names without a slash, and all behind the first dot is ignored.
    """
    return "/" not in name and name.startswith(_RESERVED)


def is_libc(elf: Elf) -> bool:
    """Whether a file is a libc: load_library replaces what defines both of these names by the running one."""
    return "__libc_start_main" in elf.exports and "stdin" in elf.exports


def refusal(architecture: Architecture) -> Callable[[Elf], str | None]:
    """Return a judge of candidates for an architecture: musl itself checks neither machine nor C library."""

    def judge(candidate: Elf) -> str | None:
        if not architecture.fits(candidate):
            return f"for another architecture ({describe_target(candidate)})"
        if is_glibc_linked(candidate):
            return "linked against glibc"
        return None

    return judge


def load(root: PurePosixPath, world: World, scope: Scope) -> tuple[Need, ...]:
    """Return every need of a file that is dlopened, and of all that is loaded with it, breadth first.

    The file is taken as the first that the process loads; nothing outside is preloaded.
    """
    return Loader(world, scope).load(root)


class Loader:
    """Loads file after file, each as `load` does, and does not search twice for the same in the same folders."""

    def __init__(self, world: World, scope: Scope) -> None:
        """Take a world that does not change, and what the loader goes by."""
        self.world: Final = world
        self.scope: Final = scope
        self._own: dict[tuple[str, PurePosixPath], _Folders] = {}
        self._trails: dict[tuple[PurePosixPath, ...], _Trail] = {}
        self._left = _MAX_KEPT

    def load(self, root: PurePosixPath) -> tuple[Need, ...]:
        """Return every need of a file, and of all that is loaded with it, as if nothing else was loaded before."""
        elf = self.elf(root)
        if elf is None:
            return ()
        trail = self.trail(root, None)
        known = trail.loads.get(elf.needed)
        if known is None or self.world.real(root) in known.files:
            known = _Load(self).load(root, trail)
            # What needs the first file itself is not the same with another file in its place.
            if self.world.real(root) not in known.files and self._has_room(len(known.own) + len(known.others)):
                trail.loads[elf.needed] = known
        return (*(need._replace(needed_by=root) for need in known.own), *known.others)

    def load_at_once(self, roots: Sequence[PurePosixPath]) -> tuple[Need, ...] | None:
        """Return every need of files, and of all that is loaded with them, where it does not matter what is first.

        It does not where a name leads to the same from wherever it is needed: then no library ever takes the place of
        another of its name, and each load of `load` is a part of this one. None where it may matter.
        """
        queue = [(root, self.trail(root, None)) for root in roots]
        ways, most = set(queue), 2 * len(queue) + _MAX_WAYS
        answers: dict[str, tuple[PurePosixPath | None, bool]] = {}
        names: dict[PurePosixPath, set[str]] = {}
        needs = []
        for path, trail in queue:
            elf = self.elf(path)
            for name in () if elf is None else elf.needed:
                wanted = self.spelling(name)
                found = self.answer(wanted, trail)
                if answers.setdefault(wanted, found.outcome) != found.outcome:
                    return None
                needs.append(Need(path, name, found.path, found.is_libc, found.searched, found.refused))
                if found.path is not None and found.real is not None:
                    names.setdefault(found.real, set()).add(found.path.name)
                    if (way := (found.path, self.trail(found.path, trail))) not in ways:
                        ways.add(way)
                        queue.append(way)
            if len(ways) > most:
                return None
        for root in roots:
            names.get(self.world.real(root), set()).add(root.name)
        return tuple(needs) if _are_unambiguous(names, answers) else None

    def elf(self, path: PurePosixPath) -> Elf | None:
        """Return the facts of a file that can be loaded; None for anything else."""
        answer = self.world.read(path)
        return None if isinstance(answer, Unusable) else answer

    def trail(self, path: PurePosixPath, loaded_by: _Trail | None) -> _Trail:
        """Return where what a file needs is searched for."""
        folders = self._folders_of(path)
        # To look into the same folders twice in a row brings nothing new.
        if loaded_by is not None and folders.named in ((), loaded_by.own.named):
            return loaded_by
        trails = self._trails if loaded_by is None else loaded_by.longer
        trail = trails.get(folders.named)
        if trail is None:
            trail = _Trail(folders, loaded_by)
            if self._has_room(1):
                trails[folders.named] = trail
        return trail

    def _folders_of(self, path: PurePosixPath) -> _Folders:
        """Return the folders of a file's rpath; a relative one depends on the working directory: nobody knows it."""
        if path in self.scope.rpaths:
            return self._folders(self.scope.rpaths[path])
        elf = self.elf(path)
        key = (elf.rpath or "" if elf is not None else ""), path.parent
        folders = self._own.get(key)
        if folders is None:
            expanded = dict.fromkeys(expand_rpath(*key))
            folders = self._folders(tuple(folder for folder in expanded if folder.is_absolute()))
            if self._has_room(len(folders.named)):
                self._own[key] = folders
        return folders

    def _folders(self, named: tuple[PurePosixPath, ...]) -> _Folders:
        real = {folder: self.world.real(folder) for folder in named if not self.world.is_empty(folder)}
        spelt = {folder: at for folder, at in real.items() if self.scope.shortens and is_mounted(folder)}
        present: dict[PurePosixPath, PurePosixPath] = {}
        for folder, at in real.items():
            present.setdefault(at, spelt.get(folder, folder))  # of two ways to one folder the first counts
        return _Folders(tuple(dict.fromkeys(spelt.get(at, at) for at in named)), tuple(present.values()))

    def spelling(self, name: str) -> str:
        """Return what is looked for when a name is needed: most often that."""
        if self.scope.accepts is None or is_reserved(name):
            return name
        file_name = name.rpartition("/")[2]
        if file_name == self.scope.loader.name:
            return str(self.scope.loader)
        found = self.open([PurePosixPath(name)] if name.startswith("/") else [])
        return file_name if found.path is None and not found.is_libc else name

    def answer(self, name: str, trail: _Trail) -> _Found:
        """Return what a name leads to as long as no library of this name is loaded."""
        if is_reserved(name) or name == str(self.scope.loader):
            return _LIBC
        if "/" in name:
            # load_library opens a name with a slash as it is; a relative one depends on the working directory.
            path = PurePosixPath(name)
            found = self.open([path] if path.is_absolute() else [])
            return found._replace(searched=_Searched(path.name, found, [path.parent] if path.is_absolute() else []))
        known = trail.found.get(name)
        if known is not None:
            return known
        first, last = self.scope.library_path, self.scope.search_path
        found = self.open(folder / name for folder in chain(first, trail.present(), last))
        found = found._replace(searched=_Searched(name, found, first, trail, last))
        if self._has_room(1 + len(found.refused)):
            trail.found[name] = found
        return found

    def _has_room(self, number: int) -> bool:
        """Whether so much more may be kept: a wheel can be made to have no end of folders, each searched once."""
        self._left -= number
        return self._left >= 0

    def open(self, candidates: Iterable[PurePosixPath]) -> _Found:
        """Return the first of these files that is taken."""
        refused: list[Attempt] = []
        accepts = self.scope.accepts
        for path in candidates:
            answer = self.world.read(path)
            if answer is None:
                continue
            if isinstance(answer, Unusable):
                refused.append(Attempt(path, answer.reason))
                if accepts is None:
                    return _Found(None, None, tuple(refused), path)
                continue
            fault = accepts(answer) if accepts is not None else None
            if fault is not None:
                refused.append(Attempt(path, fault))
            elif is_libc(answer):
                return _Found(None, None, tuple(refused), path, is_libc=True)
            else:
                return _Found(path, self.world.real(path), tuple(refused), path)
        return _Found(None, None, tuple(refused))


def _are_unambiguous(
    names: Mapping[PurePosixPath, set[str]], answers: Mapping[str, tuple[PurePosixPath | None, bool]]
) -> bool:
    """Whether each file is what all the names lead to by which it is opened: its short name is one of them."""
    return all(answers.get(name, (path, False)) == (path, False) for path, own in names.items() for name in own)


class _Found(NamedTuple):
    """The result of one search: a file, musl itself, or neither."""

    path: PurePosixPath | None
    real: PurePosixPath | None
    refused: tuple[Attempt, ...] = ()
    """Where something was that was not taken."""
    last: PurePosixPath | None = None
    """Where the search ended; None where it came to the end of all folders."""
    searched: Sequence[Attempt] = ()
    is_libc: bool = False

    @property
    def outcome(self) -> tuple[PurePosixPath | None, bool]:
        """What was found, wherever it was looked for."""
        return self.real, self.is_libc


_LIBC: Final = _Found(None, None, is_libc=True)


class _Searched(Sequence[Attempt]):
    """All places where a name was looked for, in order; a wheel may name so many that they are made when asked for."""

    def __init__(self, name: str, found: _Found, *folders: Iterable[PurePosixPath]) -> None:
        self._name, self._found, self._folders = name, found, folders

    def __iter__(self) -> Iterator[Attempt]:
        refused, last = dict(self._found.refused), self._found.last
        seen = set()
        for folder in chain.from_iterable(self._folders):
            path = folder / self._name
            if path in seen:
                continue
            seen.add(path)
            yield Attempt(path, refused.get(path, "" if path == last else "no such file"))
            if path == last:
                return

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @overload
    def __getitem__(self, index: int) -> Attempt: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Attempt, ...]: ...

    def __getitem__(self, index: int | slice) -> Attempt | tuple[Attempt, ...]:
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(self._name)


class _Loaded(NamedTuple):
    """What one load came to."""

    own: tuple[Need, ...]
    """The needs of the first file, then those of what was loaded with it."""
    others: tuple[Need, ...]
    files: frozenset[PurePosixPath]
    """The real files that needs were answered by."""


class _Folders(NamedTuple):
    """The folders of one rpath: those that it names, each once, and of these the ones that have files."""

    named: tuple[PurePosixPath, ...]
    present: tuple[PurePosixPath, ...]


class _Trail:
    """The rpath folders that count for the needs of a file: its own, then those of whoever loaded it, and so on."""

    def __init__(self, own: _Folders, loaded_by: _Trail | None) -> None:
        self.own: Final = own
        self._loaded_by: Final = loaded_by
        self.found: Final[dict[str, _Found]] = {}
        """What was searched for here."""
        self.longer: Final[dict[tuple[PurePosixPath, ...], _Trail]] = {}
        """By the folders that come first, the trails of what was loaded from here."""
        self.loads: Final[dict[tuple[str, ...], _Loaded]] = {}
        """By what it needs, what a first file came to that was loaded from here."""

    def __iter__(self) -> Iterator[PurePosixPath]:
        for trail in self._chain():
            yield from trail.own.named

    def present(self) -> Iterator[PurePosixPath]:
        """Yield those of the folders that have files."""
        for trail in self._chain():
            yield from trail.own.present

    def _chain(self) -> Iterator[_Trail]:
        at: _Trail | None = self
        while at is not None:
            yield at
            at = at._loaded_by


class _Load:
    """One dlopen: what is loaded so far, under which names, and who loaded it."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._loaded: dict[PurePosixPath, PurePosixPath] = {}
        self._names: dict[str, PurePosixPath] = {}
        self._named: set[PurePosixPath] = set()
        self._answers: set[PurePosixPath] = set()
        self._trails: dict[PurePosixPath, _Trail] = {}

    def load(self, root: PurePosixPath, trail: _Trail) -> _Loaded:
        self._loaded[self._loader.world.real(root)] = root
        self._trails[root] = trail
        queue, needs = [root], []
        for path in queue:
            elf = self._loader.elf(path)
            for name in () if elf is None else elf.needed:
                need = self._need(path, name, self._trails[path])
                needs.append(need)
                if need.found is not None and need.found not in self._trails:
                    self._trails[need.found] = self._loader.trail(need.found, self._trails[path])
                    queue.append(need.found)
        own = tuple(need for need in needs if need.needed_by is root)
        return _Loaded(own, tuple(needs[len(own) :]), frozenset(self._answers))

    def _need(self, needed_by: PurePosixPath, name: str, trail: _Trail) -> Need:
        wanted = self._loader.spelling(name)
        if wanted in self._names and not is_reserved(wanted):
            return Need(needed_by, name, self._names[wanted])
        answer = self._loader.answer(wanted, trail)
        if answer.path is None or answer.real is None:
            return Need(needed_by, name, None, answer.is_libc, answer.searched, answer.refused)
        self._answers.add(answer.real)
        # Device and inode decide whether it is the same library. The first search that finds it gives it its short
        # name: that of the path by which it was loaded, and it never gets another.
        found = self._loaded.setdefault(answer.real, answer.path)
        if "/" not in wanted and found not in self._named:
            self._named.add(self._names.setdefault(found.name, found))
        return Need(needed_by, name, found, searched=answer.searched, refused=answer.refused)
