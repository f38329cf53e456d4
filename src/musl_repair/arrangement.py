"""Where a wheel's own files are in the new wheel, and where its library folder is. Pure."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.errors import WheelError
from musl_repair.facts import new_name
from musl_repair.findings import Finding, finding
from musl_repair.loader import NAME_MAX, is_reserved
from musl_repair.resolve import file_name, is_excluded, is_libpython, scheme_root
from musl_repair.wheel import MOUNT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import PurePosixPath

    from musl_repair.elf import Elf
    from musl_repair.facts import Facts
    from musl_repair.options import Options
    from musl_repair.policy import Architecture
    from musl_repair.sysroot import Unusable

_SCRIPTS: Final = "/<scripts>"
_LONGEST_SCHEME: Final = "-headers"


class Move(NamedTuple):
    """A program that goes from .data/scripts into the library folder; a script takes its place."""

    member: str
    moved: str


class Arrangement(NamedTuple):
    """A wheel, or the files of one of its install schemes, laid out for the repair."""

    facts: Facts
    architecture: Architecture
    folder: str
    """The archive name of the library folder: of all files, that of site-packages."""
    moves: tuple[Move, ...]
    """Sorted."""
    members: Mapping[PurePosixPath, str]
    """Loader path → archive name in the new wheel, of the wheel's own ELF files; sorted."""
    dropped: tuple[str, ...] = ()
    """Archive names of what the new wheel does not have; sorted."""
    root: str = ""
    """The folder of the install scheme whose files these are; "" for all of them."""

    def schemes(self) -> tuple[Arrangement, ...]:
        """Return the layout of each install scheme's files, with a library folder of their own.

        How far one scheme's folder is from another's, only the installer knows.
        """
        return tuple(self._scheme(root) for root in sorted(set(map(scheme_root, self.members))))

    def _scheme(self, root: str) -> Arrangement:
        members = {path: name for path, name in self.members.items() if scheme_root(path) == root}
        return self._replace(folder=self._folder(root), root=root, members=MappingProxyType(members))

    def _folder(self, root: str) -> str:
        """Return a scheme's library folder. Beside scripts there is none: programs that need libraries are moved.

        Its name tells the scheme: with --target, pip installs data where packages go, and leaves out a folder that is
        there already.
        """
        if root in (str(MOUNT), _SCRIPTS):
            return self.folder
        wheel, scheme = self.facts.wheel, root[2:-1]
        suffix = self.folder.rpartition("/")[2].removeprefix(wheel.name.distribution)
        return f"{wheel.data}/{scheme}/{wheel.name.distribution}-{scheme}{suffix}"

    def place(self, filename: str) -> PurePosixPath:
        """Return where a file of the library folder is installed."""
        return self.facts.wheel.install_path(f"{self.folder}/{filename}")

    def digest(self, path: PurePosixPath) -> str:
        """Return the SHA-256 of the content of one of the wheel's own ELF files, in hex."""
        member = self.members[path]
        sources = {move.moved: move.member for move in self.moves}
        return self.facts.readings[sources.get(member, member)].sha256

    def files(self) -> dict[PurePosixPath, Elf | Unusable]:
        """Return all files by loader path, moved programs at their new place."""
        files = self.facts.files()
        for move in self.moves:
            del files[self.facts.path(move.member)]
            files[self.facts.path(move.moved)] = self.facts.elfs[move.member]
        return {path: file for path, file in files.items() if self.root in ("", scheme_root(path))}


def data_folder_names(facts: Facts) -> dict[str, str]:
    """Return the folders that pip takes for .data → the name that every installer knows."""
    return dict.fromkeys(facts.wheel.data_folders, facts.wheel.data)


def judge_renaming(facts: Facts, folders: Mapping[str, str]) -> Iterator[Finding]:
    """Yield files that come to have one name when folders at the top are renamed."""
    taken: dict[str, str] = {}
    for name in sorted(facts.members):
        new = new_name(name, folders)
        if taken.setdefault(new, name) != name:
            yield finding("member-collision", name, f"it would become {new}, as would {taken[new]}")


def is_in_root(facts: Facts, names: Iterable[str]) -> bool:
    """Whether one of these members goes where Root-Is-Purelib says: it is not in .data."""
    return any(not name.startswith(f"{facts.wheel.data}/") for name in names)


def arrange(facts: Facts, elfs: Mapping[str, Elf], architecture: Architecture, options: Options) -> Arrangement:
    """Lay a wheel out; elfs are its ELF files that something may run or load."""
    folder = _library_folder(facts, elfs, options)
    moves = tuple(sorted(_programs(facts, elfs, folder, architecture, options)))
    moved = dict(moves)
    members = {facts.path(moved.get(name, name)): moved.get(name, name) for name in elfs}
    return Arrangement(facts, architecture, folder, moves, MappingProxyType(dict(sorted(members.items()))))


def _library_folder(facts: Facts, elfs: Mapping[str, Elf], options: Options) -> str:
    """Return the library folder's archive name: beside the packages, in the scheme that the ELF files are in."""
    folder = facts.wheel.name.distribution + options.lib_suffix
    if len(folder.encode()) + len(_LONGEST_SCHEME) > NAME_MAX:
        raise WheelError(f"the library folder {folder!r} has a name that is too long: choose a shorter --lib-sdir")
    platlib = f"{facts.wheel.data}/platlib/"
    pure_root = facts.wheel.root_is_purelib and not is_in_root(facts, elfs)
    return platlib + folder if pure_root and any(name.startswith(platlib) for name in elfs) else folder


def _programs(
    facts: Facts, elfs: Mapping[str, Elf], folder: str, architecture: Architecture, options: Options
) -> Iterator[Move]:
    """Yield the programs in .data/scripts that need a library: only beside the others can they find one.

    How far the scripts' folder is from site-packages, only the installer knows.
    """
    for name, elf in elfs.items():
        path = facts.path(name)
        if scheme_root(path) == _SCRIPTS and any(_is_wanted(need, architecture, options) for need in elf.needed):
            yield Move(name, f"{folder}/{path.name}")


def _is_wanted(needed: str, architecture: Architecture, options: Options) -> bool:
    name = file_name(needed)
    is_musl = is_reserved(name) or name == architecture.loader.name
    excluded = is_excluded(needed, options.excluded) or is_excluded(name, options.excluded)
    return not is_musl and not is_libpython(name) and not excluded
