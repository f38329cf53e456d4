"""What patchelf leaves wrong and no loader minds, put right: notes' alignment and segments, sections of symbols.

patchelf 0.19 gives a note section that it moves the alignment of an address in big-endian files, 8 instead of 4, and
readelf and gdb read 4-byte notes wrongly with it. patchelf 0.11 does so in all 64-bit files, and leaves the program
headers pointing at where the notes were. patchelf 0.14.5 to 0.18 sorts the sections and leaves the dynamic symbols
with the old numbers. Source: what those versions do to testdata; System V ABI chapter 5.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from musl_repair.elf import symbol_count
from musl_repair.elfimage import DT_SYMTAB, PT_NOTE, SHF_ALLOC, SHT_NOTE, Image, Segment, read_image
from musl_repair.errors import ElfError
from musl_repair.segment import Section, Sections

if TYPE_CHECKING:
    from collections.abc import Mapping

_PT_GNU_PROPERTY: Final = 0x6474E553


def mend_notes(source: bytes, edited: bytes) -> bytes:
    """Return an edited file with its notes described as those of its source are. Raises ElfError for broken files."""
    old, new = read_image(source), read_image(edited)
    data = bytearray(edited)
    sections = Sections(new, data)
    before, indices = _notes(Sections(old, bytearray())), _notes_by_index(sections)
    for name, section in before.items():
        index = indices.get(name)
        if index is not None and sections.all[index].vaddr % max(section.align, 1) == 0:
            sections.replace(index, sections.all[index]._replace(align=section.align))
    after = {name: sections.all[index] for name, index in indices.items()}
    for index, segment in enumerate(new.segments):
        if segment.type in (PT_NOTE, _PT_GNU_PROPERTY):
            _write_segment(new, data, index, _moved(segment, before, after))
    return bytes(data)


def mend_symbols(source: bytes, edited: bytes) -> bytes:
    """Return an edited file whose dynamic symbols name the sections that they did, whatever number these have now.

    Raises ElfError for broken files.
    """
    old, new, data = read_image(source), read_image(edited), bytearray(edited)
    before, after = Sections(old, bytearray()), Sections(new, data)
    names = [before.name(index) for index in range(len(before.all))]
    numbers = {after.name(index): index for index in reversed(range(len(after.all)))}
    try:
        (first, old_size), (start, size) = _symbols(old), _symbols(new)
    except struct.error as error:
        raise ElfError(f"a table is cut off ({error})") from error
    if start + size > len(data):
        raise ElfError("the dynamic symbols are outside the file")
    layout, place = old.layout, 6 if old.layout.bits == 64 else 14
    for at in range(0, min(size, old_size), layout.sym.size):
        (number,) = layout.half.unpack_from(source, first + at + place)
        if 0 < number < len(names) and names.count(names[number]) == 1 and names[number] in numbers:
            layout.half.pack_into(data, start + at + place, numbers[names[number]])
    return bytes(data)


def _symbols(image: Image) -> tuple[int, int]:
    """Return offset and size of the dynamic symbol table."""
    address = image.tag(DT_SYMTAB)
    return (0, 0) if address is None else (image.offset(address), symbol_count(image) * image.layout.sym.size)


def _notes_by_index(sections: Sections) -> dict[bytes, int]:
    """Return name → index of the note sections that are loaded, without those that share their name."""
    notes = [i for i, section in enumerate(sections.all) if section.type == SHT_NOTE and section.flags & SHF_ALLOC]
    names = [sections.name(index) for index in notes]
    return {name: index for name, index in zip(names, notes, strict=True) if names.count(name) == 1}


def _notes(sections: Sections) -> dict[bytes, Section]:
    return {name: sections.all[index] for name, index in _notes_by_index(sections).items()}


def _moved(segment: Segment, before: Mapping[bytes, Section], after: Mapping[bytes, Section]) -> Segment:
    """Return a segment that still stands where its sections were at where they are now, if they are together."""
    if any(_holds(segment, new) for new in after.values()):
        return segment
    inside = [name for name, old in before.items() if name in after and _holds(segment, old)]
    distances = {(after[name].offset - before[name].offset, after[name].vaddr - before[name].vaddr) for name in inside}
    if len(distances) != 1:
        return segment
    ((offset, vaddr),) = distances
    return segment._replace(offset=segment.offset + offset, vaddr=segment.vaddr + vaddr, paddr=segment.paddr + vaddr)


def _holds(segment: Segment, section: Section) -> bool:
    end = segment.offset + segment.filesz
    return segment.offset <= section.offset and section.offset + section.size <= end


def _write_segment(image: Image, data: bytearray, index: int, segment: Segment) -> None:
    start = image.header.phoff + index * image.layout.phdr.size
    try:
        data[start : start + image.layout.phdr.size] = image.layout.pack_segment(segment)
    except struct.error as error:
        raise ElfError(f"the notes are at no address ({error})") from error
