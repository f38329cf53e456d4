"""Which file musl's loader would open for each DT_NEEDED, and where it looked.

Source: musl 1.2.6 ldso/dynlink.c: load_library, path_open, load_deps.
"""

from __future__ import annotations

from itertools import chain
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.policy import Architecture, describe_target, is_glibc_linked
from musl_repair.rpath import expand_rpath
from musl_repair.sysroot import Unusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from musl_repair.elf import Elf
    from musl_repair.world import World

_RESERVED: Final = tuple(f"lib{name}." for name in ("c", "pthread", "rt", "m", "dl", "util", "xnet"))
_MAX_KEPT: Final = 1 << 15
"""How many places that were looked in are remembered; what is in one wheel or system has some hundreds."""


class Scope(NamedTuple):
    """What the loader goes by besides the files."""

    loader: PurePosixPath
    """musl's own file: a need of exactly this name is libc."""
    search_path: tuple[PurePosixPath, ...]
    """Where it looks last."""
    library_path: tuple[PurePosixPath, ...] = ()
    """LD_LIBRARY_PATH: where it looks first."""
    accepts: Callable[[Elf], str | None] | None = None
    """None: as musl, which takes the first file that opens. Else says why a candidate is passed over, or None."""


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
    searched: tuple[Attempt, ...] = ()

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
        self._own: dict[tuple[str, PurePosixPath], tuple[PurePosixPath, ...]] = {}
        self._trails: dict[tuple[PurePosixPath, ...], _Trail] = {}
        self._left = _MAX_KEPT

    def load(self, root: PurePosixPath) -> tuple[Need, ...]:
        """Return every need of a file, and of all that is loaded with it, as if nothing else was loaded before."""
        elf = self.world.read(root)
        if elf is None or isinstance(elf, Unusable):
            return ()
        trail = self.trail(root, None)
        known = trail.loads.get(elf.needed)
        if known is None or self.world.real(root) in known.files:
            known = _Load(self).load(root, trail)
            places = sum(1 + len(need.searched) for need in (*known.own, *known.others))
            # What needs the first file itself is not the same with another file in its place.
            if self.world.real(root) not in known.files and self._has_room(places):
                trail.loads[elf.needed] = known
        return (*(need._replace(needed_by=root) for need in known.own), *known.others)

    def trail(self, path: PurePosixPath, loaded_by: _Trail | None) -> _Trail:
        """Return where what a file needs is searched for."""
        elf = self.world.read(path)
        rpath = None if elf is None or isinstance(elf, Unusable) else elf.rpath
        if rpath is None and loaded_by is not None:
            return loaded_by
        own = self._folders(rpath or "", path.parent)
        trails = self._trails if loaded_by is None else loaded_by.longer
        trail = trails.get(own)
        if trail is None:
            trail = _Trail(own, loaded_by)
            if self._has_room(1):
                trails[own] = trail
        return trail

    def _folders(self, rpath: str, origin: PurePosixPath) -> tuple[PurePosixPath, ...]:
        """Return the folders of an rpath; a relative one depends on the working directory, and leads nowhere known."""
        key = rpath, origin
        folders = self._own.get(key)
        if folders is None:
            expanded = expand_rpath(rpath, origin)
            folders = tuple(folder for folder in expanded if folder.is_absolute())
            if self._has_room(len(folders)):
                self._own[key] = folders
        return folders

    def search(self, name: str, trail: _Trail) -> _Found:
        """Look for a name without a slash: LD_LIBRARY_PATH, the rpaths, the system."""
        found = trail.found.get(name)
        if found is None:
            folders = chain(self.scope.library_path, trail.folders(), self.scope.search_path)
            found = self.open(folder / name for folder in folders)
            if self._has_room(1 + len(found.searched)):
                trail.found[name] = found
        return found

    def _has_room(self, number: int) -> bool:
        """Whether so much more may be kept: a wheel can be made to have no end of folders, each searched once."""
        self._left -= number
        return self._left >= 0

    def open(self, candidates: Iterable[PurePosixPath]) -> _Found:
        """Return the first of these files that is taken, and the trace."""
        trace: dict[PurePosixPath, str] = {}
        accepts = self.scope.accepts
        for path in candidates:
            if path in trace:
                continue
            answer = self.world.read(path)
            if answer is None:
                trace[path] = "no such file"
                continue
            if isinstance(answer, Unusable):
                trace[path] = answer.reason
                if accepts is None:
                    break
                continue
            fault = accepts(answer) if accepts is not None else None
            trace[path] = fault or ""
            if fault is None:
                if is_libc(answer):
                    return _Found(None, None, _attempts(trace), is_libc=True)
                return _Found(path, self.world.real(path), _attempts(trace))
        return _Found(None, None, _attempts(trace))


class _Found(NamedTuple):
    """The result of one search: a file, musl itself, or neither."""

    path: PurePosixPath | None
    real: PurePosixPath | None
    searched: tuple[Attempt, ...]
    is_libc: bool = False


class _Loaded(NamedTuple):
    """What one load came to."""

    own: tuple[Need, ...]
    """The needs of the first file, then those of what was loaded with it."""
    others: tuple[Need, ...]
    files: frozenset[PurePosixPath]
    """The real files that needs were answered by."""


class _Trail:
    """The rpath folders that count for the needs of a file: its own, then those of whoever loaded it, and so on."""

    def __init__(self, own: tuple[PurePosixPath, ...], loaded_by: _Trail | None) -> None:
        self._own: Final = own
        self._loaded_by: Final = loaded_by
        self.found: Final[dict[str, _Found]] = {}
        """What was searched for here."""
        self.longer: Final[dict[tuple[PurePosixPath, ...], _Trail]] = {}
        """By the folders that come first, the trails of what was loaded from here."""
        self.loads: Final[dict[tuple[str, ...], _Loaded]] = {}
        """By what it needs, what a first file came to that was loaded from here."""

    def folders(self) -> Iterator[PurePosixPath]:
        """Yield the folders in the order of the search."""
        at: _Trail | None = self
        while at is not None:
            yield from at._own
            at = at._loaded_by


class _Load:
    """One dlopen: what is loaded so far, under which names, and who loaded it."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._libc = str(loader.scope.loader)
        self._loaded: dict[PurePosixPath, PurePosixPath] = {}
        self._names: dict[str, PurePosixPath] = {}
        self._named: set[PurePosixPath] = set()
        self._answers: set[PurePosixPath] = set()
        self._trails: dict[PurePosixPath, _Trail] = {}

    def load(self, root: PurePosixPath, trail: _Trail) -> _Loaded:
        world = self._loader.world
        self._loaded[world.real(root)] = root
        self._trails[root] = trail
        queue, needs = [root], []
        for path in queue:
            elf = world.read(path)
            for name in () if elf is None or isinstance(elf, Unusable) else elf.needed:
                need = self._need(path, name, self._trails[path])
                needs.append(need)
                if need.found is not None and need.found not in self._trails:
                    self._trails[need.found] = self._loader.trail(need.found, self._trails[path])
                    queue.append(need.found)
        own = tuple(need for need in needs if need.needed_by is root)
        return _Loaded(own, tuple(needs[len(own) :]), frozenset(self._answers))

    def _need(self, needed_by: PurePosixPath, name: str, trail: _Trail) -> Need:
        if is_reserved(name) or name == self._libc:
            return Need(needed_by, name, None, is_libc=True)
        if name in self._names:
            return Need(needed_by, name, self._names[name])
        if "/" in name:
            # load_library opens a name with a slash as it is; a relative one depends on the working directory.
            answer = self._loader.open([PurePosixPath(name)] if name.startswith("/") else [])
        else:
            answer = self._loader.search(name, trail)
        if answer.path is None or answer.real is None:
            return Need(needed_by, name, None, answer.is_libc, answer.searched)
        self._answers.add(answer.real)
        # Device and inode decide whether it is the same library. The first search that finds it gives it its short
        # name: that of the path by which it was loaded, and it never gets another.
        found = self._loaded.setdefault(answer.real, answer.path)
        if "/" not in name and found not in self._named:
            self._named.add(self._names.setdefault(found.name, found))
        return Need(needed_by, name, found, searched=answer.searched)


def _attempts(trace: Mapping[PurePosixPath, str]) -> tuple[Attempt, ...]:
    return tuple(Attempt(path, outcome) for path, outcome in trace.items())
