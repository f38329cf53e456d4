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
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from alpine.root import WHEELS, Alpine, done, musl_repair
from builders import TESTDATA, ElfFile, Symbol
from musl_repair.abi import Distribution, distributions, history
from musl_repair.binding import unbound_symbols
from musl_repair.check import judge_wheel
from musl_repair.elf import Elf, read_elf
from musl_repair.elfimage import MAGIC
from musl_repair.errors import ElfError
from musl_repair.graph import Resolution, is_program
from musl_repair.lddtree import Tree, file_tree, wheel_trees
from musl_repair.policy import ARCHITECTURES
from musl_repair.python.names import api_names
from musl_repair.reading import read_wheel_file
from musl_repair.relocations import RELOCATIONS
from musl_repair.sysroot import Sysroot
from musl_repair.world import Mounted
from published import PINS, download

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

pytestmark = pytest.mark.alpine

KNOWN: Final = {
    "usr/lib/libfreetype.so.6": "libfreetype.so.6",
    "usr/lib/libfreetype.so.6.20.6": "libfreetype.so.6",
    "usr/lib/libharfbuzz.so.0": "libharfbuzz.so.0",
    "usr/lib/libharfbuzz.so.0.61450.0": "libharfbuzz.so.0",
}
"""Differences that are right, file → the name under which the loader opens it again: the two libraries need each other.

load_library compares device and inode with all files but the first (`for (p=head->next; p; p=p->next)`), which is the
program. With --list that is FILE, so a ring leads to a second copy of it; what dlopen loads is never the first, and its
second copy is recognised. We model dlopen.
"""
MOST_OF: Final = {"test data": 10, "cases": 25, "extensions": 100, "root": 300}
"""How many files there are at least, so that nobody agrees on nothing."""
LOADER: Final = "/lib/ld-musl-x86_64.so.1"
X86_64: Final = next(one for one in ARCHITECTURES if one.name == "x86_64")

# Asks the loader about each of $@.
_LIST: Final = f'for file; do echo "== $file"; {LOADER} --list "$file" 2>&1; echo "-- $?"; done'

_DT_NEEDED: Final = 1
_DT_RPATH: Final = 15
_DT_RUNPATH: Final = 29

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
    other: frozenset[str] = frozenset()
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
    loaded: list[tuple[str, PurePosixPath]] = []
    missing: list[tuple[PurePosixPath, str]] = []
    unbound: set[tuple[PurePosixPath, str]] = set()
    other: set[str] = set()
    for line in text.splitlines():
        if match := _LOADED.fullmatch(line):
            loaded.append((match[1], PurePosixPath(match[2])))
        elif match := _MISSING.fullmatch(line):
            missing.append((PurePosixPath(match[3]), match[1]))
        elif match := _UNBOUND.fullmatch(line):
            unbound.add((PurePosixPath(match[1]), match[2]))
        elif line.startswith("-- "):
            code = "-- 127" if missing or unbound or other else "-- 0"
            other |= {line} - {code}
        elif not line.startswith(f"\t{LOADER} "):
            other.add(line)
    return Said(tuple(loaded), tuple(missing), frozenset(unbound), frozenset(other))


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
    unsupported = frozenset(
        f"Error relocating {path}: unsupported relocation type {number}"
        for path, elf in elfs.items()
        for number in elf.relocation_types
        if number not in RELOCATIONS[elf.machine].names
    )
    return Said(tuple(loaded.values()), missing, unbound(tree, elfs, libc), unsupported)


def unbound(tree: Tree, elfs: Mapping[PurePosixPath, Elf], libc: Distribution) -> frozenset[tuple[PurePosixPath, str]]:
    """Return the symbols of a file and its libraries that no library and no libc has.

    binding.py leaves out the names of CPython's C API, for there is an interpreter where it counts: not here.
    """
    edges: dict[PurePosixPath, dict[str, PurePosixPath]] = {tree.root: {}}
    for need in tree.needs:
        if need.found is not None:
            edges.setdefault(need.needed_by, {})[need.name] = need.found
            edges.setdefault(need.found, {})
    missed = {(symbol.path, symbol.name) for symbol in unbound_symbols(Resolution(edges, (), elfs))}
    if not is_program(elfs[tree.root]):
        strong = {path: frozenset(name for name, weak in elf.imports if not weak) for path, elf in elfs.items()}
        missed |= {(path, name) for path, names in strong.items() for name in api_names(names)}
    # A library that is a root of its own for binding.py finds here what was loaded before it.
    return frozenset(
        (path, name)
        for path, name in missed
        if not libc.resolves("x86_64", name)
        and not any(name in elf.exports for other, elf in elfs.items() if other != path)
    )


def is_subject(path: Path) -> bool:
    """Whether a file is an ELF file for x86_64 that the loader takes as a program."""
    if not path.is_file() or path.stat().st_size < len(MAGIC):
        return False
    try:
        elf = read_elf(path.read_bytes())
    except ElfError:
        return False
    return elf.loadable and X86_64.fits(elf)


def subjects(loader: Loader, folder: Path) -> set[PurePosixPath]:
    """Return the ELF files of a folder, and the links to some, as the loader sees them."""
    found = set()
    for path in folder.rglob("*"):
        place = loader.system.place(path)
        if isinstance(loader.system.read(place), Elf) and is_subject(loader.system.file(place)):
            found.add(place)
    return found


def disagreements(loader: Loader, paths: Iterable[PurePosixPath]) -> dict[str, tuple[object, object]]:
    """Return where loader and prediction differ: file and aspect → (what it says, what we say)."""
    answers, found = loader.answers(sorted(paths)), {}
    for path, said in answers.items():
        ours = loader.predicts(path)
        for aspect in ("loaded", "missing", "unbound", "other"):
            if (theirs := getattr(said, aspect)) != (mine := getattr(ours, aspect)):
                found[f"{path}: {aspect}"] = (theirs, mine)
    return found


# The loaders


def distribution(name: str) -> Distribution:
    return next(one for one in distributions() if str(one) == name)


@pytest.fixture(scope="module")
def current(alpine: Alpine) -> Loader:
    """Return musl 1.2.5: the root's own loader, run in the root."""
    version = re.match(r"\d+\.\d+", (alpine.root / "etc" / "alpine-release").read_text())
    assert version is not None

    def ask(files: Sequence[str]) -> str:
        return done(alpine.run("sh", "-c", _LIST, "sh", *files))

    return Loader(distribution(f"Alpine {version[0]}"), Sysroot(alpine.root), ask)


@pytest.fixture(scope="module")
def bare(old_loader: Path) -> Loader:
    """Return musl 1.2.3: Debian's, whose folders (/etc/ld-musl-x86_64.path) hold nothing but libc."""
    debian = Path("/etc/debian_version")
    if not debian.exists() or not debian.read_text().startswith("12."):
        pytest.skip(f"{old_loader} is not Debian 12's")
    return Loader(distribution("Debian 12"), Sysroot(Path("/")), lambda files: ask_here(files, ()))


@pytest.fixture(scope="module")
def old(alpine: Alpine, bare: Loader) -> Loader:
    """Return Debian's musl with the root's folders in LD_LIBRARY_PATH."""
    path = tuple(PurePosixPath(alpine.root / name) for name in ("usr/lib", "lib"))
    return replace(bare, ask=lambda files: ask_here(files, path), library_path=path)


def ask_here(files: Sequence[str], library_path: tuple[PurePosixPath, ...]) -> str:
    """Ask this host's loader."""
    environment = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": ":".join(map(str, library_path))}
    command = ["sh", "-c", _LIST, "sh", *files]
    return done(subprocess.run(command, capture_output=True, text=True, check=False, env=environment))


@pytest.fixture(params=["current", "old", "bare"])
def loader(request: pytest.FixtureRequest) -> Loader:
    """Return each of the loaders."""
    made = request.getfixturevalue(request.param)
    assert isinstance(made, Loader)
    return made


# The files


def test_agrees_on_the_test_data(loader: Loader, alpine: Alpine) -> None:
    copies = alpine.work / "testdata"
    for name in ("x86_64", "sysroots/x86_64"):
        if not (copies / name).exists():
            shutil.copytree(TESTDATA / name, copies / name, symlinks=True)
    paths = subjects(loader, copies)
    assert len(paths) >= MOST_OF["test data"]
    assert disagreements(loader, paths) == {}


def test_agrees_on_the_whole_root(loader: Loader, alpine: Alpine) -> None:
    paths = {
        path
        for folder in alpine.root.iterdir()
        if folder.name not in ("dev", "proc", "sys", "tmp")
        for path in subjects(loader, folder)
    }
    extensions = {path for path in paths if "lib-dynload" in path.parts}
    assert len(extensions) >= MOST_OF["extensions"]
    assert len(paths) >= MOST_OF["root"]
    found = disagreements(loader, paths)
    # On the host, a file in LD_LIBRARY_PATH or nowhere: without that path there is no second copy to be found.
    known = {} if loader.library_path == () and loader.system.root == Path("/") else KNOWN
    assert set(found) == {f"{loader.system.place(alpine.root / name)}: loaded" for name in known}
    for name in known:
        path = loader.system.place(alpine.root / name)
        theirs, ours = found[f"{path}: loaded"]
        assert isinstance(theirs, tuple)
        assert isinstance(ours, tuple)
        again = [(need, at) for need, at in theirs if (need, at) not in ours]
        assert again == [(known[name], PurePosixPath(path.parent / known[name]))]


# Folders made at random: what no system has, and what libraries inherit from each other


def lay_out(folder: Path, seen: PurePosixPath, random: Random) -> None:
    """Fill three folders with libraries that need each other, and add a program that needs some of them.

    seen is the folder as the loader sees it. Nobody needs the program: KNOWN says what the loader would do.
    """
    names = [f"lib{letter}.so" for letter in "pqrstu"]
    needs = [*names, *names, "libm.so.6", "libc.so", "libnone.so", f"{seen}/a/libp.so"]
    entries = ["$ORIGIN", "${ORIGIN}/../a", "$ORIGIN/../b/.", "$ORIGIN/../c", f"{seen}/b", "relative", "", "/usr/$LIB"]
    for place in [folder / part / name for part in "abc" for name in names if random.random() < 0.6]:
        place.parent.mkdir(parents=True, exist_ok=True)
        kind = random.random()
        others = sorted(place.parent.glob("*.so"))
        if kind < 0.04:
            place.mkdir()
        elif kind < 0.08:
            place.write_text("no ELF file\n")
        elif kind < 0.16 and others:
            place.symlink_to(random.choice(others).name)
        else:
            place.write_bytes(library(random, needs, entries))
    program = folder / "a" / "program"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_bytes(library(random, needs, entries[:-1]))


def library(random: Random, needs: list[str], entries: list[str]) -> bytes:
    named = [(_DT_NEEDED, name) for name in random.sample(needs, random.randrange(4))]
    tags: tuple[tuple[int, ...], ...] = ((), (_DT_RPATH,), (_DT_RUNPATH,), (_DT_RPATH, _DT_RUNPATH))
    for tag in random.choice(tags):
        separators = [random.choice(":\n") for _ in range(3)]
        chosen = random.choices(entries, k=3)
        named.append((tag, "".join(part for pair in zip(chosen, separators, strict=True) for part in pair)[:-1]))
    return ElfFile(symbols=(Symbol("unused"),), named=tuple(named)).build()


@pytest.mark.parametrize("seed", range(3))
def test_agrees_on_folders_made_at_random(loader: Loader, alpine: Alpine, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - the same folders in every run
    top = Path(tempfile.mkdtemp(dir=alpine.work))
    for number in range(100):
        lay_out(top / str(number), loader.system.place(top / str(number)), random)
    programs = {loader.system.place(path) for path in top.glob("*/a/program")}
    assert len(programs) == 100
    assert disagreements(loader, programs) == {}


# Real wheels


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return wheels as others published them."""
    return download(tmp_path_factory.mktemp("published"))


def unpacked(wheel: Path, folder: Path) -> Path:
    """Install a wheel's files into a new folder, and return it."""
    target = folder / wheel.stem
    facts = read_wheel_file(wheel)
    with zipfile.ZipFile(wheel) as archive:
        for name in facts.members:
            place = target / facts.path(name).relative_to("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(archive.read(name))
    return target


def assert_agreement(loader: Loader, alpine: Alpine, wheels: Iterable[Path], folder: str) -> None:
    """Assert that loader and prediction agree on every file of these wheels."""
    for wheel in wheels:
        paths = subjects(loader, unpacked(wheel, alpine.work / folder))
        assert paths, wheel.name
        assert disagreements(loader, paths) == {}


def test_agrees_on_the_cases(loader: Loader, alpine: Alpine) -> None:
    """What is wrong with the wheels of testdata/cases is wrong to the loader."""
    cases = sorted((TESTDATA / "cases").glob("*_x86_64.whl"))
    assert len(cases) >= MOST_OF["cases"]
    assert_agreement(loader, alpine, cases, "agree-cases")


def test_agrees_on_wheels_before_repair(loader: Loader, alpine: Alpine, wheels: dict[str, Path]) -> None:
    assert_agreement(loader, alpine, wheels.values(), "agree-before")


def test_agrees_on_repaired_wheels(loader: Loader, alpine: Alpine, repaired: dict[str, Path]) -> None:
    assert_agreement(loader, alpine, repaired.values(), "agree-after")


@pytest.mark.network
def test_agrees_on_published_wheels(loader: Loader, alpine: Alpine, published: dict[str, Path]) -> None:
    assert_agreement(loader, alpine, published.values(), "agree-published")


@pytest.mark.network
def test_agrees_on_published_wheels_after_repair(
    loader: Loader, alpine: Alpine, published: dict[str, Path], tmp_path: Path
) -> None:
    done(musl_repair("--sysroot", alpine.root, "-w", tmp_path, *published.values()))
    again = [next(tmp_path.glob(f"{wheel.name.partition('-')[0]}-*.whl")) for wheel in published.values()]
    assert_agreement(loader, alpine, again, "agree-published-after")


# check itself, which sees nothing but the wheel and musl: as Debian's loader does


def assert_check_agrees(bare: Loader, wheel: Path, folder: Path) -> None:
    """Assert that the trees and the findings of a wheel are what the loader reports of the installed files."""
    facts = read_wheel_file(wheel)
    mounted = {path: answer for path, answer in facts.files().items() if isinstance(answer, Elf)}
    world, target = Mounted(mounted), unpacked(wheel, folder)
    trees = {PurePosixPath(f"{target}{tree.root}"): tree for tree in wheel_trees(facts)}
    said = bare.answers(trees)
    for path, tree in trees.items():
        read = {at: world.read(at) for at in (tree.root, *(need.found for need in tree.needs if need.found))}
        elfs = {at: answer for at, answer in read.items() if isinstance(answer, Elf)}
        assert without(target, said[path]) == expected(tree, elfs, bare.distribution)
    found = judge_wheel(facts).findings
    missing = {name for answer in said.values() for _, name in answer.missing}
    assert {one.subject for one in found if one.code == "library-not-found"} == missing
    symbols = {
        name
        for path, answer in said.items()
        for _, name in answer.unbound
        if not answer.missing and not (api_names(frozenset({name})) and not is_program(mounted[trees[path].root]))
    }
    assert {one.subject for one in found if one.code == "symbol-not-found"} == {
        name for name in symbols if history("x86_64").since(name) is None
    }


def without(folder: Path, said: Said) -> Said:
    """Return what a loader said of files in a folder as if that were the root."""

    def bare_path(path: PurePosixPath) -> PurePosixPath:
        return PurePosixPath("/") / path.relative_to(folder) if path.is_relative_to(folder) else path

    return Said(
        tuple((name, bare_path(path)) for name, path in said.loaded),
        tuple((bare_path(path), name) for path, name in said.missing),
        frozenset((bare_path(path), name) for path, name in said.unbound),
        said.other,
    )


@pytest.mark.parametrize("project", WHEELS)
def test_check_agrees_on_wheels(
    bare: Loader, wheels: dict[str, Path], repaired: dict[str, Path], tmp_path: Path, project: str
) -> None:
    assert_check_agrees(bare, wheels[project], tmp_path / "before")
    assert_check_agrees(bare, repaired[project], tmp_path / "after")


@pytest.mark.network
@pytest.mark.parametrize("project", PINS)
def test_check_agrees_on_published_wheels(
    bare: Loader, published: dict[str, Path], tmp_path: Path, project: str
) -> None:
    assert_check_agrees(bare, published[project], tmp_path)
