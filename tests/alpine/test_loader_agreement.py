"""What we predict is what musl's real loader reports: which file answers each name, and which symbols fail.

`ld-musl-x86_64.so.1 --list FILE` of the Alpine root (1.2.5, in the root) and of this host (Debian's 1.2.3) is asked
about every ELF file of the test data, of the whole root, and of real wheels. It loads FILE as the main program, so the
interpreter's own symbols are missing too. Source of what it prints, and when: musl 1.2.5 ldso/dynlink.c, load_library,
load_direct_deps, do_relocs, __dls3.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import pytest
from alpine.root import Alpine, done, musl_repair
from builders import TESTDATA
from published import download

from musl_repair.abi import Distribution, distributions
from musl_repair.binding import is_python_name, unbound_symbols
from musl_repair.elf import Elf, read_elf
from musl_repair.elfimage import MAGIC
from musl_repair.errors import ElfError
from musl_repair.lddtree import Tree, file_tree, wheel_trees
from musl_repair.loader import Need
from musl_repair.policy import ARCHITECTURES
from musl_repair.reading import read_wheel_file
from musl_repair.resolve import Resolution, is_program
from musl_repair.sysroot import Sysroot
from musl_repair.wheel import MOUNT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

pytestmark = pytest.mark.alpine

PUBLISHED: Final = ("psycopg2-binary", "h5py", "cffi", "lxml", "orjson", "zstandard")
LOADER: Final = "/lib/ld-musl-x86_64.so.1"
X86_64: Final = next(one for one in ARCHITECTURES if one.name == "x86_64")

# Asks the loader about each of $@.
_LIST: Final = f'for file; do echo "== $file"; {LOADER} --list "$file" 2>&1; echo "-- $?"; done'

_LOADED: Final = re.compile(r"\t(.*) => (.*) \(0x[0-9a-f]+\)")
_MISSING: Final = re.compile(r"Error loading shared library (.*): (.*) \(needed by (.*)\)")
_UNBOUND: Final = re.compile(r"Error relocating (.*): (.*): symbol not found")


@dataclass(frozen=True, slots=True)
class Said:
    """What a loader says of a file, or what we say that it will say."""

    loaded: tuple[tuple[str, PurePosixPath], ...]
    """Each library that is opened, under the name that it was needed by, in order; libc once for each of its names."""
    missing: tuple[tuple[PurePosixPath, str], ...]
    """(file, needed name), in order."""
    unbound: frozenset[tuple[PurePosixPath, str]]
    """(file, symbol)."""
    other: tuple[str, ...] = ()
    """Any other complaint."""


@dataclass(frozen=True, slots=True)
class Loader:
    """A real loader, and the same one as we model it."""

    distribution: Distribution
    system: Sysroot
    """What it sees."""
    ask: Callable[[Sequence[str]], str]
    library_path: tuple[PurePosixPath, ...] = ()
    """Its LD_LIBRARY_PATH."""

    def answers(self, paths: Iterable[PurePosixPath]) -> dict[PurePosixPath, Said]:
        """Return what the real loader says of each file."""
        blocks = re.split(r"^== (.*)\n", self.ask([*map(str, paths)]), flags=re.MULTILINE)
        return {PurePosixPath(path): heard(text) for path, text in zip(blocks[1::2], blocks[2::2], strict=True)}

    def predicts(self, path: PurePosixPath) -> Said:
        """Return what we say that it says of a file."""
        tree = file_tree(self.system, path, self.library_path)
        read = {at: self.system.read(at) for at in (path, *(need.found for need in tree.needs if need.found))}
        return expected(tree, {at: elf for at, elf in read.items() if isinstance(elf, Elf)}, self.distribution)


def heard(text: str) -> Said:
    """Read what the loader printed of one file: its libraries on stdout, its complaints on stderr."""
    loaded, missing, unbound, other = [], [], set(), []
    for line in text.splitlines():
        if match := _LOADED.fullmatch(line):
            loaded.append((match[1], PurePosixPath(match[2])))
        elif match := _MISSING.fullmatch(line):
            missing.append((PurePosixPath(match[3]), match[1]))
        elif match := _UNBOUND.fullmatch(line):
            unbound.add((PurePosixPath(match[1]), match[2]))
        elif line.startswith("-- "):
            code = "-- 127" if missing or unbound or other else "-- 0"
            other += [] if line == code else [line]
        elif not line.startswith(f"\t{LOADER} "):
            other.append(line)
    return Said(tuple(loaded), tuple(missing), frozenset(unbound), tuple(other))


def expected(tree: Tree, elfs: Mapping[PurePosixPath, Elf], libc: Distribution) -> Said:
    """Return what the loader has to say where our tree and our bindings are right."""
    loaded: dict[PurePosixPath | str, tuple[str, PurePosixPath]] = {}
    for need in tree.needs:
        if need.is_libc and need.name != LOADER:
            # Each of libc's own names is reported once; a libc that was found as a file is loaded again as libc.so.
            own = need.name if not need.searched else "libc.so"
            loaded.setdefault(own.partition(".")[0], (own, PurePosixPath(LOADER)))
        elif need.found is not None and need.found != tree.root:
            loaded.setdefault(need.found, (need.name, need.found))
    missing = tuple((need.needed_by, need.name) for need in tree.needs if need.missing)
    return Said(tuple(loaded.values()), missing, unbound(tree, elfs, libc))


def unbound(
    tree: Tree, elfs: Mapping[PurePosixPath, Elf], libc: Distribution
) -> frozenset[tuple[PurePosixPath, str]]:
    """Return the symbols of a file and its libraries that no library and no libc has.

    binding.py leaves out the names of CPython's C API, for there is an interpreter where it counts: not here.
    """
    edges: dict[PurePosixPath, dict[str, PurePosixPath]] = {tree.root: {}}
    for need in tree.needs:
        if need.found is not None:
            edges.setdefault(need.needed_by, {})[need.name] = need.found
            edges.setdefault(need.found, {})
    resolution = Resolution(edges, (), elfs)
    there = {name for elf in elfs.values() for name in elf.exports}
    found = {(symbol.path, symbol.name) for symbol in unbound_symbols(resolution) if symbol.name not in there}
    if not is_program(elfs[tree.root]):
        found |= {
            (path, symbol.name)
            for path, elf in elfs.items()
            for symbol in elf.imports
            if is_python_name(symbol.name) and not symbol.weak and symbol.name not in there
        }
    return frozenset((path, name) for path, name in found if not libc.resolves("x86_64", name))


def is_subject(path: Path) -> bool:
    """Whether a file, or a link to one, is an ELF file for x86_64 that the loader can load as a program."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return False
        file.seek(0)
        try:
            elf = read_elf(file.read())
        except ElfError:
            return False
    return elf.loadable and X86_64.fits(elf)


def disagreements(loader: Loader, paths: Iterable[PurePosixPath]) -> dict[str, tuple[object, object]]:
    """Return where loader and prediction differ: file and aspect → (what it says, what we say)."""
    found: dict[str, tuple[object, object]] = {}
    for path, said in loader.answers(sorted(paths)).items():
        ours = loader.predicts(path)
        for aspect in ("loaded", "missing", "unbound", "other"):
            if (theirs := getattr(said, aspect)) != (mine := getattr(ours, aspect)):
                found[f"{path}: {aspect}"] = (theirs, mine)
    return found
