"""Polyfills: the table, the committed binaries, and their behaviour beside musl's own.

The programs of tests/polyfill, one for each function, are compiled here and run under every musl that is at hand (see
tests/polyfill/harness.h): the one of the Alpine root, this host's, and those below the folders that
MUSL_REPAIR_FOREIGN_MUSL lists, of other architectures by qemu-user-static.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from musl_repair import policy
from musl_repair.abi import Release, history
from musl_repair.elf import Elf, read_elf
from musl_repair.errors import PlatformError
from musl_repair.loader import is_reserved
from musl_repair.polyfill import Polyfill, _reason, libraries, offered, refused

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT: Final = Path(__file__).resolve().parents[1]
SOURCES: Final = PROJECT / "src" / "musl_repair" / "polyfill"
PROGRAMS: Final = Path(__file__).resolve().parent / "polyfill"
ARCHITECTURES: Final = tuple(one.name for one in policy.ARCHITECTURES)
EVERY: Final = [(arch, name) for arch in ARCHITECTURES for name in offered(arch)]
FUNCTIONS: Final = sorted({name for _, name in EVERY})
TRIPLES: Final = {
    "x86_64": ("x86_64-linux-musl",),
    "i686": ("x86-linux-musl", "-mcpu=i686"),
    "aarch64": ("aarch64-linux-musl",),
    "loongarch64": ("loongarch64-linux-musl",),
}
"""What is run; the other architectures have the same sources."""
QEMU: Final = {"x86_64": "x86_64", "i686": "i386", "aarch64": "aarch64", "loongarch64": "loongarch64"}


def library_of(arch: str, name: str) -> Elf:
    (library,) = libraries(arch, [name])
    return read_elf(library.content)


# The table.


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_all_that_musl_gained_is_either_offered_or_refused_with_a_reason(arch: str) -> None:
    known = history(arch)
    gained = {name for name in known.exports(known.newest) if known.since(name) != known.first}
    assert gained == offered(arch).keys() | refused(arch).keys()
    assert not offered(arch).keys() & refused(arch).keys()
    assert all(refused(arch).values())


def test_the_reasons_fit_the_names() -> None:
    reasons = refused("x86_64")
    assert "pthread_atfork" in reasons["_Fork"]
    assert "posix_spawn does not know" in reasons["posix_spawn_file_actions_addchdir_np"]
    assert "1.1.15" in reasons["execvpe"]
    assert "time_t" in refused("i686")["__clock_gettime64"]


def test_a_name_without_a_reason_is_a_mistake_of_the_table() -> None:
    with pytest.raises(KeyError, match="new_in_2"):
        _reason("new_in_2", Release(2, 0, 0))


def test_what_a_polyfill_says_of_itself() -> None:
    expected = Polyfill("secure_getenv", Release(1, 1, 24), Release(1, 1, 0), "", "secure_getenv(3)")
    assert expected == offered("x86_64")["secure_getenv"]
    assert Release(1, 1, 7) == offered("aarch64")["secure_getenv"].needs
    assert "secure_getenv" not in offered("loongarch64")


def test_only_what_the_architecture_lacked_at_first_is_offered() -> None:
    assert list(offered("loongarch64")) == ["__getauxval", "posix_getdents", "renameat2"]
    assert list(offered("x86_64")) == FUNCTIONS


def test_an_unknown_architecture_is_an_error() -> None:
    with pytest.raises(PlatformError):
        offered("vax")
    with pytest.raises(PlatformError):
        refused("vax")


def test_libraries_come_in_order_once_each_under_the_hash_of_their_content() -> None:
    found = libraries("x86_64", ["statx", "qsort_r", "statx"])
    assert [library.function for library in found] == ["qsort_r", "statx"]
    for function, name, content in found:
        assert name == f"libpolyfill-{function}-{hashlib.sha256(content).hexdigest()[:8]}.so"


def test_a_function_that_is_not_offered_has_no_library() -> None:
    with pytest.raises(KeyError, match="_Fork"):
        libraries("x86_64", ["_Fork"])
    with pytest.raises(KeyError, match="statx"):
        libraries("loongarch64", ["statx"])


def test_there_is_a_source_and_a_test_program_for_each_function_and_no_other() -> None:
    assert sorted(path.stem for path in SOURCES.glob("*.c")) == FUNCTIONS
    assert sorted(path.stem for path in PROGRAMS.glob("*.c")) == FUNCTIONS


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_there_is_a_binary_for_each_offer_and_no_other(arch: str) -> None:
    assert sorted(offered(arch)) == sorted(path.stem for path in (SOURCES / arch).iterdir())


# The binaries.


@pytest.mark.parametrize(("arch", "name"), EVERY)
def test_a_library_provides_the_one_function_and_needs_only_what_its_first_musl_has(arch: str, name: str) -> None:
    polyfill, elf, known = offered(arch)[name], library_of(arch, name), history(arch)
    assert frozenset({name}) == elf.exports
    assert elf.needed == ("libc.so",)
    for symbol in elf.imports:
        since = known.since(symbol.name)
        assert since is not None
        assert since <= polyfill.needs
    first = max((known.since(symbol.name) or known.first for symbol in elf.imports), default=known.first)
    assert max(first, known.first) == polyfill.needs
    assert polyfill.needs < polyfill.since


@pytest.mark.parametrize(("arch", "name"), EVERY)
def test_a_library_is_small_and_asks_nothing_special_of_the_loader(arch: str, name: str) -> None:
    (library,) = libraries(arch, [name])
    elf = read_elf(library.content)
    target = next(known for known in policy.ARCHITECTURES if known.name == arch)
    assert target.fits(elf)
    assert elf.page_size >= target.max_page
    assert elf.bind_now
    assert elf.hashed
    assert not elf.exec_stack
    assert not elf.initial_exec
    assert not elf.relr
    assert not elf.static_tls
    assert not elf.textrel
    assert elf.soname is None
    assert elf.rpath is None
    assert not is_reserved(library.name)
    assert len(library.content) < 4096


@pytest.mark.parametrize(("arch", "name"), EVERY)
def test_readelf_finds_a_library_sound(arch: str, name: str, readelf: Callable[..., str]) -> None:
    text = readelf("-lSd", SOURCES / arch / f"{name}.so")
    tags = set(re.findall(r"\((\w+)\)", text))
    assert "GNU_HASH" in tags
    assert (arch != "s390x") == ("HASH" in tags)
    assert not tags & {"RELR", "TEXTREL", "INIT", "INIT_ARRAY", "SONAME", "RPATH", "RUNPATH", "VERNEED"}
    assert not re.search(r"^ +TLS ", text, re.MULTILINE)
    loads = re.findall(r"^ +LOAD .* (0x\w+)$", text, re.MULTILINE)
    wide = arch in {"aarch64", "ppc64le", "loongarch64"}
    assert ["0x10000" if wide else "0x1000"] * 2 == loads


# The behaviour. A musl is a loader, which is its libc too.


@dataclass(frozen=True, slots=True)
class Musl:
    arch: str
    release: Release
    command: tuple[str, ...]
    exports: frozenset[str]

    @property
    def native(self) -> bool:
        return len(self.command) == 1

    @property
    def loader(self) -> Path:
        return Path(self.command[-1])


@pytest.fixture(scope="session")
def musls() -> list[Musl]:
    """Return every musl that is at hand, by the environment."""
    found = []
    if "MUSL_REPAIR_ALPINE" in os.environ:
        root = Path(os.environ["MUSL_REPAIR_ALPINE"]).resolve() / "alpine"
        loaders = [root / "lib/ld-musl-x86_64.so.1", Path("/lib/ld-musl-x86_64.so.1")]
        for folder in filter(None, os.environ.get("MUSL_REPAIR_FOREIGN_MUSL", "").split(os.pathsep)):
            loaders += sorted(Path(folder).resolve().rglob("ld-musl-*.so.1"))
        for loader in loaders:
            if loader.is_file():
                found += _commands(loader)
    return found


def _commands(loader: Path) -> list[Musl]:
    """Return the ways to run a loader: at once where the processor can, and by qemu, if that is installed."""
    elf = read_elf(loader.read_bytes())
    arch = policy.architecture_of(elf)
    if arch is None or arch.name not in TRIPLES:
        return []
    fitting = history(arch.name).identify(elf.exports)
    qemu = shutil.which(f"qemu-{QEMU[arch.name]}-static") if arch.name != "x86_64" else None
    ways: list[tuple[str, ...]] = [(str(loader),)] if arch.name in {"x86_64", "i686"} else []
    ways += [(qemu, str(loader))] if qemu else []
    return [Musl(arch.name, fitting[-1], way, elf.exports) for way in ways]


@pytest.fixture(scope="session")
def zig(tmp_path_factory: pytest.TempPathFactory) -> Zig:
    if "MUSL_REPAIR_ALPINE" not in os.environ:
        pytest.skip("MUSL_REPAIR_ALPINE is not set: no Alpine root to test with")
    if find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed (dependency group build)")
    return Zig(tmp_path_factory.mktemp("programs"))


@dataclass(frozen=True, slots=True)
class Zig:
    """The compiler of the test programs, each made once."""

    work: Path

    def make(self, arch: str, output: str, *arguments: str | Path) -> Path:
        path = self.work / arch / output
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            cache = {"ZIG_GLOBAL_CACHE_DIR": str(self.work / "zig"), "ZIG_LOCAL_CACHE_DIR": str(self.work / "zig")}
            triple, *flags = TRIPLES[arch]
            options = ("-target", triple, *flags, "-O1", "-Wall", "-Wextra", "-Werror", "-fno-sanitize=all")
            command = [sys.executable, "-m", "ziglang", "cc", *options, *map(str, arguments), "-o", str(path)]
            subprocess.run(command, check=True, env={**os.environ, **cache})
        return path


def record(musl: Musl, program: Path, name: str, folder: Path, *mode: str) -> tuple[bool, str]:
    """Run a test program in a new folder; return whether libc's own was compared, and what was recorded."""
    folder.mkdir()
    library = SOURCES / musl.arch / f"{name}.so"
    command = [*musl.command, str(program), str(library), name, *mode]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, f"{musl}: {done.stdout[:4000]}{done.stderr}"
    verdict, _, rest = done.stdout.partition("\n")
    return verdict == "compared with libc", rest


@pytest.mark.alpine
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_does_as_musls_own_under_every_musl(name: str, zig: Zig, musls: list[Musl], tmp_path: Path) -> None:
    records: dict[tuple[str, bool], set[str]] = {}
    for number, musl in enumerate(musls):
        if name in offered(musl.arch):
            program = zig.make(musl.arch, name, "-dynamic", PROGRAMS / f"{name}.c")
            compared, text = record(musl, program, name, tmp_path / str(number))
            assert (name in musl.exports) == compared, musl
            records.setdefault((musl.arch, musl.native), set()).add(text)
    assert ("x86_64", True) in records
    assert {key: len(texts) for key, texts in records.items()} == dict.fromkeys(records, 1)


@pytest.mark.alpine
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_does_as_musls_own_on_a_kernel_without_the_system_call(
    name: str, zig: Zig, musls: list[Musl], tmp_path: Path
) -> None:
    records: dict[str, set[str]] = {}
    for number, musl in enumerate(musls):
        if musl.native and name in offered(musl.arch):
            program = zig.make(musl.arch, name, "-dynamic", PROGRAMS / f"{name}.c")
            _, text = record(musl, program, name, tmp_path / str(number), "old-kernel")
            records.setdefault(musl.arch, set()).add(text)
    assert {key: len(texts) for key, texts in records.items()} == dict.fromkeys(records, 1)


BOUND: Final = """
extern void {name}(void);
__attribute__((visibility("default"))) void *bound(void) {{ return (void *){name}; }}
"""
WHOSE: Final = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
int main(int count, char **arguments)
{
	(void)count;
	void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return puts(dlerror()), 1;
	void *(*bound)(void) = (void *(*)(void))dlsym(library, "bound");
	Dl_info where;
	if (!bound || !dladdr(bound(), &where))
		return puts("no address"), 1;
	puts(where.dli_fname);
	return 0;
}
"""


@pytest.mark.alpine
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_copy_is_used_only_where_musl_has_none(name: str, zig: Zig, musls: list[Musl], tmp_path: Path) -> None:
    (tmp_path / "bound.c").write_text(BOUND.format(name=name))
    (tmp_path / "whose.c").write_text(WHOSE)
    seen = set()
    for musl in musls:
        if name not in offered(musl.arch):
            continue
        (library,) = libraries(musl.arch, [name])
        folder = tmp_path / musl.arch
        folder.mkdir(exist_ok=True)
        (folder / library.name).write_bytes(library.content)
        user = zig.make(
            *(musl.arch, f"{name}-user.so", "-shared", "-fno-builtin", "-nostdlib", "-Wl,-rpath,$ORIGIN"),
            *(tmp_path / "bound.c", folder / library.name),
        )
        program = zig.make(musl.arch, "whose", "-dynamic", tmp_path / "whose.c")
        shutil.copy(user, folder)
        command = [*musl.command, str(program), str(folder / user.name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{musl}: {done.stdout}{done.stderr}"
        own = name in musl.exports
        assert (library.name if not own else musl.loader.name) == Path(done.stdout.strip()).name
        seen.add(own)
    assert seen


@pytest.mark.alpine
def test_without_the_copy_an_older_musl_cannot_load_the_user(zig: Zig, musls: list[Musl], tmp_path: Path) -> None:
    (tmp_path / "bound.c").write_text(BOUND.format(name="statx"))
    (tmp_path / "whose.c").write_text(WHOSE)
    old = [musl for musl in musls if "statx" not in musl.exports]
    if not old:
        pytest.skip("no musl before 1.2.5 at hand")
    for musl in old:
        user = zig.make(musl.arch, "alone.so", "-shared", "-nostdlib", "-fno-builtin", tmp_path / "bound.c")
        program = zig.make(musl.arch, "whose", "-dynamic", tmp_path / "whose.c")
        done = subprocess.run([*musl.command, str(program), str(user)], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "statx: symbol not found" in done.stdout


@pytest.mark.alpine
@pytest.mark.usefixtures("zig")
def test_the_binaries_are_what_the_recipe_makes() -> None:
    command = [sys.executable, str(PROJECT / "tools" / "build_polyfill.py"), "--check"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
