"""Notes that patchelf moved: described as those of the source are, whatever it left."""

from __future__ import annotations

import pytest

from builders import ARCHITECTURES, TESTDATA
from harm import HARMS, Victim
from musl_repair.elf import read_elf
from musl_repair.elfimage import DT_SYMTAB, PT_LOAD, PT_NOTE, SHT_NOTE, read_image
from musl_repair.errors import ElfError
from musl_repair.sections import Sections
from proving import put_right


def note_section(data: bytes) -> tuple[int, Sections]:
    """Return the index of the build-id's section, and all sections of a copy."""
    sections = Sections(read_image(data), bytearray(data))
    return next(i for i, section in enumerate(sections.all) if section.type == SHT_NOTE), sections


def moved(source: bytes, *, segments: bool) -> bytes:
    """Return the file with its note at the end, aligned to 8, the old place overwritten; maybe segments follow."""
    end = -(-len(source) // 8) * 8
    index, before = note_section(source)
    old = before.all[index]
    data = bytearray(source.ljust(end, b"\0") + source[old.offset : old.offset + old.size])
    data[old.offset : old.offset + old.size] = b"X" * old.size
    image = read_image(source)
    Sections(image, data).replace(index, old._replace(offset=end, vaddr=0x40000 + end, align=8))
    for number, segment in enumerate(image.segments):
        if segments and segment.type == PT_NOTE:
            start = image.header.phoff + number * image.layout.phdr.size
            new = segment._replace(offset=end, vaddr=0x40000 + end, paddr=0x40000 + end)
            data[start : start + image.layout.phdr.size] = image.layout.pack_segment(new)
    return bytes(data)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("segments", [True, False], ids=["segments followed", "segments stayed"])
def test_moved_note_gets_its_alignment_and_its_segment(architecture: str, segments: bool) -> None:
    source = (TESTDATA / architecture / "libmid.so.2").read_bytes()
    edited = moved(source, segments=segments)
    result = bytes(put_right(source, edited))
    assert read_elf(source).build_id
    assert read_elf(result) == read_elf(source)
    index, sections = note_section(result)
    section = sections.all[index]
    assert section.align == 4
    notes = [segment for segment in read_image(result).segments if segment.type == PT_NOTE]
    assert [(note.offset, note.vaddr, note.align) for note in notes] == [(section.offset, section.vaddr, 4)]
    assert put_right(source, result) == result


@pytest.mark.parametrize("name", ["libleaf.so.1", "_ext.so", "tool", "tool-fixed"])
def test_file_with_sound_notes_stays_as_it_is(name: str) -> None:
    source = (TESTDATA / "x86_64" / name).read_bytes()
    assert put_right(source, source) == source


def test_file_without_section_headers_stays_as_it_is() -> None:
    source = (TESTDATA / "x86_64" / "libmid.so.2").read_bytes()
    image = read_image(source)
    data = bytearray(source)
    image.layout.ehdr.pack_into(data, 16, *image.header._replace(shoff=0, shnum=0, shstrndx=0))
    assert put_right(source, bytes(data)) == bytes(data)
    assert put_right(bytes(data), bytes(data)) == bytes(data)


def test_file_that_is_no_longer_elf_is_an_error() -> None:
    source = (TESTDATA / "x86_64" / "libmid.so.2").read_bytes()
    with pytest.raises(ElfError):
        put_right(source, b"")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_symbols_get_the_numbers_that_their_sections_have_now(architecture: str) -> None:
    source = (TESTDATA / architecture / "libleaf.so.1").read_bytes()
    victim = Victim(source)
    HARMS["symbol: in another section"](victim)
    assert bytes(victim.data) != source
    assert put_right(source, bytes(victim.data)) == source
    assert put_right(source, source) == source


def test_symbols_follow_sections_that_were_sorted() -> None:
    source = (TESTDATA / "x86_64" / "libleaf.so.1").read_bytes()
    victim = Victim(source)
    (text, one), (data, other) = victim.section(b".text"), victim.section(b".data")
    victim.sections.replace(text, other)
    victim.sections.replace(data, one)
    result = bytes(put_right(source, bytes(victim.data)))
    sections = Sections(read_image(result))
    after = Victim(result)
    (number,) = after.image.layout.half.unpack_from(result, after.offset(6, after.symbol(b"leaf_sum") * 24 + 6))
    assert (number, sections.name(number)) == (data, b".text")


def broken(victim: Victim, how: str) -> None:
    """Break what leads to the symbols."""
    last = max(victim.image.segments, key=lambda segment: segment.vaddr if segment.type == PT_LOAD else 0)
    if how == "no address":
        victim.set_value(DT_SYMTAB, 1 << 40)
    elif how == "behind the end":
        victim.set_value(DT_SYMTAB, last.vaddr + last.filesz - 8)
        del victim.data[last.offset + last.filesz :]
        victim.set_header(shoff=0, shnum=0, shstrndx=0)
    else:
        table = victim.section(b".gnu.hash")[1]
        buckets = table.offset + 16 + 8 * int.from_bytes(victim.data[table.offset + 8 : table.offset + 12], "little")
        victim.data[buckets : table.offset + table.size] = b"\x7e" * (table.offset + table.size - buckets)


@pytest.mark.parametrize("how", ["no address", "behind the end", "hash chain without end"])
def test_symbols_of_a_broken_file_are_an_error(how: str) -> None:
    source = (TESTDATA / "x86_64" / "libleaf.so.1").read_bytes()
    victim = Victim(source)
    broken(victim, how)
    with pytest.raises(ElfError):
        put_right(source, bytes(victim.data))


def test_notes_that_moved_to_no_address_are_an_error() -> None:
    source = (TESTDATA / "i686" / "libmid.so.2").read_bytes()
    edited = moved(source, segments=False)
    index, sections = note_section(edited)
    victim = Victim(edited)
    victim.set_segment(victim.index(PT_NOTE), vaddr=0)
    data = victim.data
    Sections(read_image(edited), data).replace(index, sections.all[index]._replace(vaddr=4, align=4))
    with pytest.raises(ElfError, match="at no address"):
        put_right(source, bytes(data))
