"""What an edited ELF file maps, and what its section headers say, against its source: nothing else than before.

Source: System V ABI chapters 4 and 5; musl 1.2.6 ldso/dynlink.c map_library, Linux fs/binfmt_elf.c.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Final

from musl_repair import elfimage as image_
from musl_repair.errors import ElfError
from musl_repair.notes import all_notes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from musl_repair.elfimage import Image, Segment
    from musl_repair.sections import Opened, Section

_SHT_HASH: Final = 5
_SHT_GNU_HASH: Final = 0x6FFFFFF6
_SHT_SYMTAB: Final = 2
_TABLES: Final = frozenset(
    {
        image_.SHT_DYNSYM, image_.SHT_STRTAB, image_.SHT_RELA, _SHT_HASH, image_.SHT_DYNAMIC, image_.SHT_NOTE,
        image_.SHT_REL, image_.SHT_RELR, _SHT_GNU_HASH, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF,
    }
)  # fmt: skip
"""Section types of the loader's tables, which an editor may move: symbols, strings, hashes, relocations, notes, ..."""
_RESIZED: Final = frozenset({image_.SHT_STRTAB, image_.SHT_DYNAMIC})
"""Those of them that an editor may make longer."""
_COUNTED: Final = frozenset({image_.SHT_DYNSYM, 0x6FFFFFFD, 0x6FFFFFFE})
"""Those whose sh_info is a number of entries: local symbols, versions."""
_NUMBERED: Final = frozenset({_SHT_SYMTAB, image_.SHT_STRTAB})
"""Types of sections that are not loaded and that follow the numbers and names of sections."""
_LOWERED: Final = frozenset({image_.SHT_REL, image_.SHT_RELA, image_.SHT_RELR})
"""Section types that change when DT_RELR is lowered."""
_TABLE_TYPES: Final = (
    (image_.DT_SYMTAB, image_.SHT_DYNSYM),
    (image_.DT_GNU_HASH, _SHT_GNU_HASH),
    (image_.DT_HASH, _SHT_HASH),
)
_LOWEST: Final = 0x10000
"""vm.mmap_min_addr of usual kernels: a program that begins below cannot be mapped."""
_PT_GNU_PROPERTY: Final = 0x6474E553
_FREE: Final = frozenset(
    {0, image_.PT_LOAD, image_.PT_DYNAMIC, image_.PT_INTERP, image_.PT_NOTE, image_.PT_PHDR, _PT_GNU_PROPERTY}
)
"""Program headers that an editor may write anew; what they lead to is compared instead."""
_KINDS: Final = {
    image_.PT_TLS: "thread-local storage",
    image_.PT_GNU_STACK: "stack",
    image_.PT_GNU_RELRO: "relro",
    image_.PT_GNU_EH_FRAME: "exception table",
}


def layout_differences(
    source: Opened, edited: Opened, page_size: int, tables: Callable[[Opened], Iterator[tuple[int, int]]]
) -> Iterator[str]:
    """Yield, in words, all that is mapped or described otherwise; tables gives the loader's tables' address ranges.

    Where the source itself has a fault, the same fault in the edited file is none.
    """
    old, new = source.image, edited.image
    faults = [*_layout_faults(new, page_size), *_section_faults(edited)]
    before = [*_layout_faults(old, page_size), *_section_faults(source)] if faults else []
    yield from sorted(set(faults) - set(before))
    yield from _headers(old, new)
    yield from _segments(old, new)
    content = _content(source, tables)
    yield from _mapping(old, new, [*content, *_empty(old)])
    notes, found = list(all_notes(old)), list(all_notes(new))
    if notes != found and Counter(notes) != Counter(found):
        yield "the notes changed"
    for start, end in content:
        if not _same(old, new, start, end - start):
            yield f"mapped bytes between {start:#x} and {end:#x} changed"


def _headers(old: Image, new: Image) -> Iterator[str]:
    if old.data[4:16] != new.data[4:16]:
        yield "the ELF identification changed"
    before, after = old.header, new.header
    if (before.entry, before.type, before.machine, before.flags) != (
        after.entry, after.type, after.machine, after.flags,
    ):  # fmt: skip
        yield "the entry point, the type, the machine or the flags of the file changed"
    lowest, was = (min((s.vaddr for s in image.loads), default=0) for image in (new, old))
    if after.type == image_.ET_EXEC and lowest < min(was, _LOWEST):
        yield f"the program begins at {lowest:#x} now, below what kernels map"


def _segments(old: Image, new: Image) -> Iterator[str]:
    """Compare the program headers that no edit needs to touch."""
    kinds = {s.type for image in (old, new) for s in image.segments} - _FREE
    for kind in sorted(kinds):
        if _promises(old, kind) != _promises(new, kind):
            yield f"the {_KINDS.get(kind, f'{kind:#x}')} segment changed"


def _promises(image: Image, kind: int) -> list[tuple[int, ...]]:
    found = [s for s in image.segments if s.type == kind]
    if kind != image_.PT_TLS:
        return [(s.vaddr, s.memsz, s.flags) for s in found]
    return [(s.vaddr, s.memsz, s.flags, s.filesz, s.align) for s in found]


# The program headers


def _layout_faults(image: Image, page_size: int) -> Iterator[str]:
    loads = image.loads
    for one, two in pairwise(loads):
        if two.vaddr < one.vaddr:
            yield "the load segments are not in the order of their addresses"
        elif two.vaddr < one.vaddr + one.memsz:
            yield "load segments overlap in memory"
    if any(s.filesz > s.memsz for s in loads):
        yield "a load segment is larger in the file than in memory"
    if _share_a_page(loads, page_size):
        yield "the page of one load segment covers another"
    yield from _place_faults(image, loads)


def _place_faults(image: Image, loads: tuple[Segment, ...]) -> Iterator[str]:
    """See that the program headers, and what else is pointed at, are mapped where they say."""
    table = image.header.phoff, image.header.phoff + image.header.phnum * image.layout.phdr.size
    if not any(s.offset <= table[0] and table[1] <= s.offset + s.filesz for s in loads):
        yield "the program headers are in no load segment"
    kinds = [s.type for s in image.segments]
    if image_.PT_PHDR in kinds and image_.PT_LOAD in kinds[: kinds.index(image_.PT_PHDR)]:
        yield "PT_PHDR stands behind a load segment"
    for segment in image.segments:
        if segment.type == image_.PT_PHDR and not _maps(loads, segment, image.header.phoff):
            yield "PT_PHDR is not where the program headers are"
        elif segment.type not in (0, image_.PT_LOAD) and segment.filesz and not _maps(loads, segment, segment.offset):
            yield f"segment {segment.type:#x} is not where its bytes are mapped"


def _share_a_page(loads: tuple[Segment, ...], page: int) -> bool:
    """Whether mapping a segment, in whole pages, covers bytes of the one before with others."""
    for one, two in pairwise(sorted(loads, key=lambda s: s.vaddr)):
        if one.memsz and two.memsz and (one.vaddr + one.memsz - 1) // page >= two.vaddr // page:
            other_place = one.vaddr - one.offset != two.vaddr - two.offset
            if other_place or one.memsz > one.filesz:
                return True
    return False


def _maps(loads: tuple[Segment, ...], segment: Segment, offset: int) -> bool:
    """Whether the segment's address is what a load segment maps the offset to."""
    return segment.offset == offset and any(
        s.vaddr <= segment.vaddr
        and segment.vaddr + segment.memsz <= s.vaddr + s.memsz
        and segment.vaddr - s.vaddr == offset - s.offset
        for s in loads
    )


def _mapping(old: Image, new: Image, ranges: Iterable[tuple[int, int]]) -> Iterator[str]:
    """See that this memory of the source is there, with the same rights, and empty where it was empty."""
    loads, before = new.loads, old.loads
    for at, end in ranges:
        rights = next((s.flags for s in before if s.vaddr <= at < s.vaddr + s.memsz), 0)
        while at < end:
            reached = [s.vaddr + s.memsz for s in loads if s.vaddr <= at < s.vaddr + s.memsz and s.flags == rights]
            if not reached:
                yield f"address {at:#x} is no longer mapped as it was"
                break
            at = max(reached)
    for start, end in _empty(old):
        for s in loads:
            first, last = max(start, s.vaddr), min(end, s.vaddr + s.filesz)
            if first < last and any(new.data[s.offset + first - s.vaddr : s.offset + last - s.vaddr]):
                yield f"bytes between {first:#x} and {last:#x}, that were empty, have content"


def _empty(image: Image) -> Iterator[tuple[int, int]]:
    """Yield the address ranges that are not in the file, and begin as zeros."""
    return ((s.vaddr + s.filesz, s.vaddr + s.memsz) for s in image.loads if s.memsz > s.filesz)


# What is mapped


def _content(file: Opened, tables: Callable[[Opened], Iterator[tuple[int, int]]]) -> list[tuple[int, int]]:
    """Return the address ranges in the file that are not the loader's tables: code, constants, data, init arrays."""
    image, sections = file.image, file.sections.all
    # A table of sections that has none of these says nothing of what is mapped.
    told = any(_is_content(section) and section.flags & image_.SHF_ALLOC for section in sections)
    return sorted(_section_ranges(image, sections) if told else _ranges_between(image, sorted(tables(file))))


def _section_ranges(image: Image, sections: tuple[Section, ...]) -> Iterator[tuple[int, int]]:
    """Yield the address ranges of what is neither table nor padding."""
    interpreters = {s.vaddr for s in image.segments if s.type == image_.PT_INTERP}
    for section in sections:
        if _is_content(section) and section.flags & image_.SHF_ALLOC and section.vaddr not in interpreters:
            yield section.vaddr, section.vaddr + section.size


def _is_content(section: Section) -> bool:
    return section.type not in _TABLES and section.type != image_.SHT_NOBITS


def _ranges_between(image: Image, tables: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the address ranges that are in no table, padding among them."""
    for segment in image.loads:
        at, end = segment.vaddr, segment.vaddr + segment.filesz
        for start, stop in [*((a, b) for a, b in tables if a < end and b > at), (end, end)]:
            if start > at:
                yield at, min(start, end)
            at = max(at, stop)


def _same(old: Image, new: Image, vaddr: int, size: int) -> bool:
    try:
        one, other = old.at(vaddr, size), new.at(vaddr, size)
    except ElfError:
        return False
    return image_.same_bytes(one, other)


# The section headers


def _section_faults(file: Opened) -> Iterator[str]:
    image, sections = file.image, file.sections.all
    # Where each load segment begins and ends, and how far from its place in the file.
    loads = [(s.vaddr, s.vaddr + s.filesz, s.vaddr - s.offset) for s in image.loads]
    for section in sections:
        if section.type == image_.SHT_NOBITS or not section.size:
            continue
        at, offset = section.vaddr, section.offset
        if offset + section.size > len(image.data):
            yield f"a section of type {section.type:#x} is outside the file"
        elif section.flags & image_.SHF_ALLOC and at - offset not in [
            distance for start, end, distance in loads if start <= at < end
        ]:
            yield f"the section at {at:#x} is not where the program headers map it"
    if sections:
        yield from _missing_tables(image, sections)


def _missing_tables(image: Image, sections: tuple[Section, ...]) -> Iterator[str]:
    places = {(section.vaddr, section.type) for section in sections if section.flags & image_.SHF_ALLOC}
    for tag, kind in _TABLE_TYPES:
        address = image.tag(tag)
        if address is not None and (address, kind) not in places:
            yield f"no section is at the address of the dynamic entry {tag:#x}"
    strings = image.tag(image_.DT_STRTAB), image.tag(image_.DT_STRSZ)
    if strings not in {(section.vaddr, section.size) for section in sections if section.type == image_.SHT_STRTAB}:
        yield "no section has the place and the size of the dynamic string table"
    dynamic = {(section.vaddr, section.size) for section in sections if section.type == image_.SHT_DYNAMIC}
    if any((s.vaddr, s.filesz) not in dynamic for s in image.segments if s.type == image_.PT_DYNAMIC):
        yield "no section has the place and the size of PT_DYNAMIC"


def section_differences(source: Opened, edited: Opened, *, lowered: bool) -> Iterator[str]:
    """Yield what the section headers of an edited file say otherwise: readelf, strip and the next editor go by them."""
    before, after = source.sections.all, edited.sections.all
    if not before:
        return
    if len(after) < len(before):
        yield "section headers were lost"
    described, found = (list(_descriptions(file, lowered=lowered)) for file in (source, edited))
    lost = Counter(described) - Counter(found) if described != found else ()
    for name, *_ in sorted(lost):
        yield f"the section header of {_words(name)} changed"
    for name in _changed_contents(source, edited):
        yield f"the content of the section {_words(name)} changed"


def _changed_contents(source: Opened, edited: Opened) -> Iterator[bytes]:
    """Yield the names of sections that no loader maps and whose content the edited file has nowhere."""
    pairs = zip_longest(_unloaded(source), _unloaded(edited))
    # Most often each is where it was; to hash it would take longer than to compare it.
    moved = [
        (one, other)
        for one, other in pairs
        if not (one and other and one[0] == other[0] and image_.same_bytes(one[1], other[1]))
    ]
    before = Counter(_digest(*one) for one, _ in moved if one)
    after = Counter(_digest(*other) for _, other in moved if other)
    yield from (name for name, _ in sorted((before - after).elements()))


def _digest(name: bytes, content: memoryview) -> tuple[bytes, bytes]:
    return name, hashlib.sha256(content).digest()


def _words(name: bytes) -> str:
    return name.decode("utf-8", "replace") or "no name"


def _descriptions(file: Opened, *, lowered: bool) -> Iterator[tuple[bytes, tuple[object, ...]]]:
    """Yield name and fields of each section: of what may move, only what does not depend on where it is."""
    interpreters = {s.vaddr for s in file.image.segments if s.type == image_.PT_INTERP}
    for name, section in zip(file.sections.names, file.sections.all, strict=True):
        if lowered and section.type in _LOWERED:
            continue
        own = (section.type, section.flags)
        if section.type in _NUMBERED or section.vaddr in interpreters:
            yield name, own
        elif section.type in _TABLES:
            names = file.sections.names
            linked = names[section.link] if section.link < len(names) else b"nowhere"
            size = () if section.type in _RESIZED else (section.size,)
            count = (section.info,) if section.type in _COUNTED else ()
            yield name, (*own, section.entry, linked, *size, *count)
        elif section.flags & image_.SHF_ALLOC:
            yield name, (*own, section.vaddr, section.size, section.entry)
        else:
            yield name, (*own, section.size)


def _unloaded(file: Opened) -> Iterator[tuple[bytes, memoryview]]:
    """Yield name and content of the sections that no loader maps: comments, attributes, what is for debuggers."""
    for name, section in zip(file.sections.names, file.sections.all, strict=True):
        if _is_content(section) and section.type not in _NUMBERED and not section.flags & image_.SHF_ALLOC:
            yield name, file.image.data[section.offset : section.offset + section.size]
