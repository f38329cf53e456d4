"""What patchelf leaves wrong and no loader minds, put right: notes' alignment and segments, sections of symbols.

patchelf 0.19 gives a note section that it moves the alignment of an address in big-endian files, 8 instead of 4, and
readelf and gdb read 4-byte notes wrongly with it. patchelf 0.11 does so in all 64-bit files, and leaves the program
headers pointing at where the notes were. patchelf 0.14.5 to 0.18 sorts the sections and leaves the dynamic symbols
with the old numbers. Source: what those versions do to testdata; System V ABI chapter 5.
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import TYPE_CHECKING, Final

from musl_repair.elfimage import DT_SYMTAB, PT_NOTE, SHF_ALLOC, SHT_NOTE, Segment
from musl_repair.errors import ElfError
from musl_repair.symbols import columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from musl_repair.elfimage import Content, Image
    from musl_repair.sections import Opened, Section, Sections

_PT_GNU_PROPERTY: Final = 0x6474E553


def mend(source: Opened, edited: Opened) -> Content:
    """Return an edited file with notes and symbols described as in its source; its own bytes where they are so.

    Raises ElfError for broken files.
    """
    try:
        changes = [*_notes_mended(source, edited), *_symbols_mended(source, edited)]
    except struct.error as error:
        raise ElfError(f"a table is cut off ({error})") from error
    if not changes:
        return edited.image.data
    data = bytearray(edited.image.data)
    for offset, content in changes:
        data[offset : offset + len(content)] = content
    return data


def _notes_mended(source: Opened, edited: Opened) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, bytes) of the headers that describe a note otherwise than those of the source."""
    was, indices = _notes(source.sections), _notes_by_name(edited.sections)
    now = {name: edited.sections.all[index] for name, index in indices.items()}
    for name in was.keys() & now.keys():
        align = was[name].align
        if now[name].align != align and now[name].vaddr % max(align, 1) == 0:
            yield edited.sections.packed(indices[name], now[name]._replace(align=align))
    image = edited.image
    for index, segment in enumerate(image.segments):
        moved = _moved(segment, was, now) if segment.type in (PT_NOTE, _PT_GNU_PROPERTY) else segment
        if moved != segment:
            yield image.header.phoff + index * image.layout.phdr.size, _packed(image, moved)


def _symbols_mended(source: Opened, edited: Opened) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, bytes) of each dynamic symbol's section number that leads to another section than it did."""
    (first, old_size), (start, size) = _symbols(source), _symbols(edited)
    old, new = source.image, edited.image
    if old.layout is not new.layout:
        raise ElfError("it has another class or byte order than before")
    if start + size > len(new.data):
        raise ElfError("the dynamic symbols are outside the file")
    many = min(size, old_size)
    was = columns(old.layout, old.data[first : first + many]).sections.tolist()
    now = columns(new.layout, new.data[start : start + many]).sections.tolist()
    numbers = _numbers(source.sections.names, edited.sections.names)
    if was == now and all(old == new for old, new in numbers.items()):
        return
    place, half = start + (6 if new.layout.bits == 64 else 14), new.layout.half
    for index, (number, found) in enumerate(zip(was, now, strict=True)):
        wanted = numbers.get(number, found)
        if wanted != found:
            yield place + index * new.layout.sym.size, half.pack(wanted)


def _numbers(before: tuple[bytes, ...], after: tuple[bytes, ...]) -> dict[int, int]:
    """Return old number → new number of the sections of these names, without those that share their name."""
    times = Counter(before)
    numbers = {name: index for index, name in reversed(tuple(enumerate(after)))}
    return {old: numbers[name] for old, name in enumerate(before) if old and times[name] == 1 and name in numbers}


def _symbols(file: Opened) -> tuple[int, int]:
    """Return offset and size of the dynamic symbol table."""
    address = file.image.tag(DT_SYMTAB)
    return (0, 0) if address is None else (file.image.offset(address), file.symbols * file.image.layout.sym.size)


def _notes_by_name(sections: Sections) -> dict[bytes, int]:
    """Return name → index of the note sections that are loaded, without those that share their name."""
    notes = [i for i, section in enumerate(sections.all) if section.type == SHT_NOTE and section.flags & SHF_ALLOC]
    names = [sections.name(index) for index in notes]
    return {name: index for name, index in zip(names, notes, strict=True) if names.count(name) == 1}


def _notes(sections: Sections) -> dict[bytes, Section]:
    return {name: sections.all[index] for name, index in _notes_by_name(sections).items()}


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


def _packed(image: Image, segment: Segment) -> bytes:
    try:
        return image.layout.pack_segment(segment)
    except struct.error as error:
        raise ElfError(f"the notes are at no address ({error})") from error
