"""Which file musl's loader would open for each DT_NEEDED, and where it looked.

Source: musl 1.2.6 ldso/dynlink.c: load_library, path_open, fixup_rpath, decode_dyn, load_deps.
"""

from __future__ import annotations

import posixpath
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from musl_repair.policy import describe_target, is_glibc_linked
from musl_repair.sysroot import HOST, Unusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from musl_repair.elf import Elf

_RESERVED: Final = tuple(f"lib{name}." for name in ("c", "pthread", "rt", "m", "dl", "util", "xnet"))
_ORIGINS: Final = ("$ORIGIN", "${ORIGIN}")


class World(Protocol):
    """All files that there are, as the loader would see them."""

    def read(self, path: PurePosixPath) -> Elf | Unusable | None:
        """Return what is at a path; None for nothing."""
        ...

    def real(self, path: PurePosixPath) -> PurePosixPath:
        """Return the path with its links resolved: the same file has the same real path."""
        ...


class Mounted:
    """A world with a wheel in it: the wheel's files, and those of a system behind it unless it is to stand alone."""

    def __init__(self, files: Mapping[PurePosixPath, Elf | Unusable], system: World | None = None) -> None:
        """Take the installed files of a wheel; folders in angle brackets are the wheel's, all else is the system's."""
        self._files: Final = files
        self._system: Final = system
        self._shortest: Final[dict[PurePosixPath, PurePosixPath]] = {}

    def read(self, path: PurePosixPath) -> Elf | Unusable | None:
        """Return what is at a path. No ".." leads out of a wheel's folder: where the others are, nobody knows."""
        if is_mounted(path):
            shortest = self._normal(path)
            return self._files.get(shortest) if shortest.parts[:2] == path.parts[:2] else None
        return None if self._system is None else self._system.read(path)

    def _normal(self, path: PurePosixPath) -> PurePosixPath:
        shortest = self._shortest.get(path)
        if shortest is None:
            shortest = self._shortest[path] = PurePosixPath(posixpath.normpath(path))
        return shortest

    def real(self, path: PurePosixPath) -> PurePosixPath:
        """Return the path in its shortest form: a wheel has no links, a system may."""
        known = self._shortest.get(path)
        if known is not None:
            return known
        if is_mounted(path):
            return self._normal(path)
        return path if self._system is None else self._system.real(path)


def is_mounted(path: PurePosixPath) -> bool:
    """Whether a path as it was opened begins in a folder of the wheel."""
    return len(path.parts) > 1 and path.parts[1].startswith("<") and path.parts[1] != HOST.name


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


@lru_cache(maxsize=1024)  # many files of a wheel lie in one folder and have one rpath
def expand_rpath(rpath: str | None, origin: PurePosixPath) -> tuple[PurePosixPath, ...]:
    """Return the folders of an rpath, none if it has an unknown token. origin is the file's folder as opened."""
    entries = rpath_entries(rpath)
    if not all(is_valid_entry(entry) for entry in entries):
        return ()
    return tuple(expand_entry(entry, origin) for entry in entries)


def refusal(target: Elf) -> Callable[[Elf], str | None]:
    """Return a judge of candidates for a target: musl itself checks neither machine nor C library."""

    def judge(candidate: Elf) -> str | None:
        if (candidate.machine, candidate.bits, candidate.little) != (
            target.machine,
            target.bits,
            target.little,
        ):
            return f"for another architecture ({describe_target(candidate)})"
        if is_glibc_linked(candidate):
            return "linked against glibc"
        return None

    return judge


def load(root: PurePosixPath, world: World, scope: Scope) -> tuple[Need, ...]:
    """Return every need of a file that is dlopened, and of all that is loaded with it, breadth first.

    The file is taken as the first that the process loads; nothing outside is preloaded.
    """
    run = _Load(world, scope)
    return run.closure(root)


class _Load:
    """One dlopen: what is loaded so far, under which names, and who loaded it."""

    def __init__(self, world: World, scope: Scope) -> None:
        self._world = world
        self._scope = scope
        self._loaded: dict[PurePosixPath, PurePosixPath] = {}
        self._names: dict[str, PurePosixPath] = {}
        self._named: set[PurePosixPath] = set()
        self._chain: dict[PurePosixPath, PurePosixPath | None] = {}

    def closure(self, root: PurePosixPath) -> tuple[Need, ...]:
        queue, needs = [root], []
        self._loaded[self._world.real(root)] = root
        self._chain[root] = None
        for path in queue:
            elf = self._world.read(path)
            for name in () if elf is None or isinstance(elf, Unusable) else elf.needed:
                need = self._need(path, name)
                needs.append(need)
                if need.found is not None and need.found not in self._chain:
                    self._chain[need.found] = path
                    queue.append(need.found)
        return tuple(needs)

    def _need(self, needed_by: PurePosixPath, name: str) -> Need:
        if is_reserved(name) or name == str(self._scope.loader):
            return Need(needed_by, name, None, is_libc=True)
        if "/" in name:
            # load_library opens a name with a slash as it is; a relative one depends on the working directory.
            candidates: Iterable[PurePosixPath] = [PurePosixPath(name)] if name.startswith("/") else []
        elif name in self._names:
            return Need(needed_by, name, self._names[name])
        else:
            candidates = (folder / name for folder in self._folders(needed_by))
        found, is_libc_file, searched = self._open(candidates)
        if found is None:
            return Need(needed_by, name, None, is_libc_file, searched)
        # Device and inode decide whether it is the same library. The first search that finds it gives it its short
        # name: that of the path by which it was loaded, and it never gets another.
        found = self._loaded.setdefault(self._world.real(found), found)
        if "/" not in name and found not in self._named:
            self._named.add(self._names.setdefault(found.name, found))
        return Need(needed_by, name, found, searched=searched)

    def _folders(self, needed_by: PurePosixPath) -> Iterable[PurePosixPath]:
        yield from self._scope.library_path
        at: PurePosixPath | None = needed_by
        while at is not None:
            elf = self._world.read(at)
            if elf is not None and not isinstance(elf, Unusable):
                # A relative entry depends on the working directory: it leads nowhere that is known.
                yield from filter(PurePosixPath.is_absolute, expand_rpath(elf.rpath, at.parent))
            at = self._chain[at]
        yield from self._scope.search_path

    def _open(self, candidates: Iterable[PurePosixPath]) -> tuple[PurePosixPath | None, bool, tuple[Attempt, ...]]:
        """Return (file, False), (None, True) for musl itself, or (None, False), and the trace."""
        trace: dict[PurePosixPath, str] = {}
        accepts = self._scope.accepts
        for path in candidates:
            if path in trace:
                continue
            answer = self._world.read(path)
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
                libc = is_libc(answer)
                return None if libc else path, libc, _attempts(trace)
        return None, False, _attempts(trace)


def _attempts(trace: Mapping[PurePosixPath, str]) -> tuple[Attempt, ...]:
    return tuple(Attempt(path, outcome) for path, outcome in trace.items())
