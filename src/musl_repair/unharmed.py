"""An edited ELF file against its source: all that a loader maps, relocates, looks up and runs is still the same.

Who edited does not matter. Source: System V ABI chapters 4 and 5; musl 1.2.6 ldso/dynlink.c map_library, do_relocs.
"""

from __future__ import annotations

import struct
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from musl_repair import elfimage as image_
from musl_repair.elf import hash_table_size, symbol_count
from musl_repair.elfimage import Image, Segment, read_image
from musl_repair.errors import ElfError
from musl_repair.relocations import REL_MACHINES, RELOCATIONS
from musl_repair.relr import relr_addresses
from musl_repair.segment import Sections

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOVABLE: Final = frozenset(
    {
        image_.DT_NEEDED, image_.DT_SONAME, image_.DT_RPATH, image_.DT_RUNPATH, image_.DT_STRTAB, image_.DT_STRSZ,
        image_.DT_SYMTAB, image_.DT_HASH, image_.DT_GNU_HASH, image_.DT_RELA, image_.DT_REL, image_.DT_JMPREL,
        image_.DT_VERSYM, image_.DT_VERNEED, image_.DT_VERDEF, image_.DT_RELR,
    }
)  # fmt: skip
"""Entries whose value is a place, or a name that the plan decides on; what they lead to is compared instead."""
_LOWERED: Final = frozenset(
    {
        image_.DT_RELASZ, image_.DT_RELSZ, image_.DT_RELACOUNT, image_.DT_RELCOUNT, image_.DT_RELAENT,
        image_.DT_RELENT, image_.DT_RELRSZ, image_.DT_RELRENT,
    }
)  # fmt: skip
"""Entries that change when DT_RELR is lowered."""
_TABLES: Final = frozenset({2, 3, 4, 5, 6, 7, 9, 11, 19, 0x6FFFFFF6, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF})
"""Section types of the loader's tables, which an editor may move: symbols, strings, hashes, relocations, notes, ..."""
_SHT_NOBITS: Final = 8
_LOWEST: Final = 0x10000
"""vm.mmap_min_addr of usual kernels: a program that begins below cannot be mapped."""


def differences(source: bytes, edited: bytes, *, lowered: bool) -> Iterator[str]:
    """Yield, in words, all that an edit changed and should not have; lowered: DT_RELR was to be replaced.

    Raises ElfError where one of the files contradicts itself.
    """
    old, new = read_image(source), read_image(edited)
    try:
        yield from _symbols(old, new)
        yield from _relocations(old, new, lowered=lowered)
        yield from _dynamic(old, new, lowered=lowered)
        yield from _segments(old, new)
        yield from _contents(old, new)
        yield from _sections(old, new)
    except struct.error as error:
        raise ElfError(f"a table is cut off ({error})") from error


def _symbols(old: Image, new: Image) -> Iterator[str]:
    """Compare the dynamic symbols with their versions, and the tables that they are found by."""
    count = symbol_count(old)
    if symbol_count(new) != count:
        yield f"{count} dynamic symbols became {symbol_count(new)}"
        return
    if not count:
        return
    size = count * old.layout.sym.size
    if _bytes(old, image_.DT_SYMTAB, size) != _bytes(new, image_.DT_SYMTAB, size) or not _same_names(old, new):
        before, after = list(_symbol_values(old, count)), list(_symbol_values(new, count))
        changed = [one for one, other in zip(before, after, strict=True) if one != other]
        if changed:
            yield f"{len(changed)} dynamic symbols changed, the first is {changed[0][0].decode(errors='replace')!r}"
    for tag, what in ((image_.DT_GNU_HASH, "GNU hash table"), (image_.DT_HASH, "hash table")):
        size = hash_table_size(old, tag, count)
        if (old.tag(tag) is None) != (new.tag(tag) is None) or _bytes(old, tag, size) != _bytes(new, tag, size):
            yield f"the {what} changed"
    if _bytes(old, image_.DT_VERSYM, 2 * count) != _bytes(new, image_.DT_VERSYM, 2 * count):
        yield "the versions of the dynamic symbols changed"


def _bytes(image: Image, tag: int, size: int) -> bytes:
    address = image.tag(tag)
    return b"" if address is None else bytes(image.at(address, size))


def _same_names(old: Image, new: Image) -> bool:
    """Whether the new string table begins with the whole old one, so that all old offsets mean the same names."""
    before = _bytes(old, image_.DT_STRTAB, old.tag(image_.DT_STRSZ) or 0)
    return _bytes(new, image_.DT_STRTAB, new.tag(image_.DT_STRSZ) or 0).startswith(before)


def _symbol_values(image: Image, count: int) -> Iterator[tuple[bytes, ...]]:
    """Yield (name, the rest) of each symbol; of the section index only what it says of the definition."""
    strings = _bytes(image, image_.DT_STRTAB, image.tag(image_.DT_STRSZ) or 0)
    table = _bytes(image, image_.DT_SYMTAB, count * image.layout.sym.size)
    for fields in image.layout.sym.iter_unpack(table):
        if image.layout.bits == 64:
            name, info, other, section, value, size = fields
        else:
            name, value, size, info, other, section = fields
        defined = section if section == 0 or section >= 0xFF00 else 1
        yield strings[name : strings.find(b"\0", name)], repr((info, other, defined, value, size)).encode()


def _relocations(old: Image, new: Image, *, lowered: bool) -> Iterator[str]:
    """Compare every relocation: place, type, symbol and addend, with DT_RELR written out where it was lowered."""
    for address, size, what in (
        (image_.DT_REL, image_.DT_RELSZ, "DT_REL"),
        (image_.DT_RELA, image_.DT_RELASZ, "DT_RELA"),
        (image_.DT_JMPREL, image_.DT_PLTRELSZ, "DT_JMPREL"),
    ):
        before, after = _bytes(old, address, old.tag(size) or 0), _bytes(new, address, new.tag(size) or 0)
        if before != after and not (lowered and what != "DT_JMPREL"):
            yield f"the relocations of {what} changed"
    if lowered:
        yield from _lowered(old, new)
    elif relr_addresses(old) != relr_addresses(new):
        yield "the relocations of DT_RELR changed"


def _lowered(old: Image, new: Image) -> Iterator[str]:
    if new.tag(image_.DT_RELR) is not None:
        yield "DT_RELR is still there"
    expected = Counter(_entries(old)) + Counter(_expanded(old))
    found = Counter(_entries(new))
    if expected != found:
        missing, added = expected - found, found - expected
        yield f"lowering DT_RELR lost {missing.total()} relocations and made {added.total()} others"


def _entries(image: Image) -> Iterator[tuple[int, ...]]:
    """Yield the entries of DT_REL and DT_RELA, those apart that DT_JMPREL names too: some linkers overlap the two."""
    plt = image.tag(image_.DT_JMPREL) or 0
    behind = plt + (image.tag(image_.DT_PLTRELSZ) or 0)
    for tag, size_tag, form in (
        (image_.DT_REL, image_.DT_RELSZ, image.layout.rel),
        (image_.DT_RELA, image_.DT_RELASZ, image.layout.rela),
    ):
        address, size = image.tag(tag), image.tag(size_tag) or 0
        if address is None:
            continue
        entries = form.iter_unpack(image.at(address, size - size % form.size))
        if not (address < behind and plt < address + size):
            yield from entries
        else:
            places = range(address, address + size, form.size)
            yield from (entry for at, entry in zip(places, entries, strict=True) if not plt <= at < behind)


def _expanded(image: Image) -> Iterator[tuple[int, ...]]:
    """Yield the relocations that DT_RELR stands for, in the form of the machine's other table."""
    relative = RELOCATIONS[image.header.machine].relative
    if image.header.machine in REL_MACHINES:
        yield from ((address, relative) for address in relr_addresses(image))
        return
    signed = struct.Struct(image.layout.order + ("q" if image.layout.bits == 64 else "i"))
    for address in relr_addresses(image):
        yield address, relative, *signed.unpack(image.at(address, signed.size))


def _dynamic(old: Image, new: Image, *, lowered: bool) -> Iterator[str]:
    """Compare the dynamic entries whose value is no place of a table: flags, init and fini, sizes."""
    free = _MOVABLE | _LOWERED if lowered else _MOVABLE
    before = Counter(entry for entry in old.dynamic if entry[0] not in free)
    after = Counter(entry for entry in new.dynamic if entry[0] not in free)
    if before != after:
        lost = ", ".join(f"{tag:#x}={value:#x}" for tag, value in (before - after))
        made = ", ".join(f"{tag:#x}={value:#x}" for tag, value in (after - before))
        yield f"dynamic entries were lost ({lost or 'none'}) or added ({made or 'none'})"
    optional = {image_.DT_RPATH, image_.DT_RUNPATH, image_.DT_SONAME, image_.DT_NEEDED}
    optional |= {image_.DT_RELR, image_.DT_RELA, image_.DT_REL} if lowered else set()
    for tag in sorted((_MOVABLE - optional) & {tag for tag, _ in old.dynamic}):
        if new.tag(tag) is None:
            yield f"the dynamic entry {tag:#x} is gone"


def _segments(old: Image, new: Image) -> Iterator[str]:
    """Compare what the program headers promise, and see that the loader can keep it."""
    yield from (fault for fault in _layout_faults(new) if fault not in set(_layout_faults(old)))
    for kind, what in (
        (image_.PT_TLS, "thread-local storage"),
        (image_.PT_GNU_STACK, "stack"),
        (image_.PT_GNU_RELRO, "relro"),
        (image_.PT_GNU_EH_FRAME, "exception table"),
    ):
        if _ranges(old, kind) != _ranges(new, kind):
            yield f"the {what} segment changed"
    if old.header.entry != new.header.entry or old.header.type != new.header.type:
        yield "the entry point or the type of the file changed"
    lowest, was = (min((s.vaddr for s in _loads(image)), default=0) for image in (new, old))
    if new.header.type == image_.ET_EXEC and lowest < min(was, _LOWEST):
        yield f"the program begins at {lowest:#x} now, below what kernels map"


def _ranges(image: Image, kind: int) -> list[tuple[int, int, int]]:
    return [(s.vaddr, s.memsz, s.flags) for s in image.segments if s.type == kind]


def _loads(image: Image) -> list[Segment]:
    return [s for s in image.segments if s.type == image_.PT_LOAD]


def _layout_faults(image: Image) -> Iterator[str]:
    loads = _loads(image)
    for one, two in pairwise(loads):
        if two.vaddr < one.vaddr:
            yield "the load segments are not in the order of their addresses"
        elif two.vaddr < one.vaddr + one.memsz:
            yield "load segments overlap in memory"
    if any(s.filesz > s.memsz for s in loads):
        yield "a load segment is larger in the file than in memory"
    table = image.header.phoff, image.header.phoff + image.header.phnum * image.layout.phdr.size
    if not any(s.offset <= table[0] and table[1] <= s.offset + s.filesz for s in loads):
        yield "the program headers are in no load segment"
    for segment in image.segments:
        if segment.type == image_.PT_PHDR and not _maps(loads, segment, image.header.phoff):
            yield "PT_PHDR is not where the program headers are"
        if segment.type == image_.PT_DYNAMIC and not _maps(loads, segment, segment.offset):
            yield "PT_DYNAMIC is not where the dynamic section is"


def _maps(loads: list[Segment], segment: Segment, offset: int) -> bool:
    """Whether the segment's address is what a load segment maps the offset to."""
    return segment.offset == offset and any(
        s.vaddr <= segment.vaddr
        and segment.vaddr + segment.memsz <= s.vaddr + s.memsz
        and segment.vaddr - s.vaddr == offset - s.offset
        for s in loads
    )


def _contents(old: Image, new: Image) -> Iterator[str]:
    """Compare every byte that is mapped, the loader's own tables apart: code, constants, data, init and fini arrays."""
    for start, end in sorted(_content(old)):
        if not _same(old, new, start, end - start):
            yield f"mapped bytes between {start:#x} and {end:#x} changed"


def _content(image: Image) -> Iterator[tuple[int, int]]:
    """Yield the address ranges of what is neither table nor padding; without section headers, of what may be."""
    sections = [s for s in Sections(image, bytearray()).all if s.flags & image_.SHF_ALLOC]
    interpreters = {s.vaddr for s in image.segments if s.type == image_.PT_INTERP}
    for section in sections:
        if section.type not in _TABLES and section.type != _SHT_NOBITS and section.vaddr not in interpreters:
            yield section.vaddr, section.vaddr + section.size
    if sections:
        return
    tables = sorted(_tables(image))
    for segment in _loads(image):
        at, end = segment.vaddr, segment.vaddr + segment.filesz
        for start, stop in [*((a, b) for a, b in tables if a < end and b > at), (end, end)]:
            if start > at:
                yield at, min(start, end)
            at = max(at, stop)


def _same(old: Image, new: Image, vaddr: int, size: int) -> bool:
    try:
        return old.at(vaddr, size) == new.at(vaddr, size)
    except ElfError:
        return False


def _tables(image: Image) -> Iterator[tuple[int, int]]:
    """Yield the address ranges of headers and tables, which an editor may move and whose old place it may fill."""
    loads = _loads(image)
    for start, size in (
        (0, 16 + image.layout.ehdr.size),
        (image.header.phoff, image.header.phnum * image.layout.phdr.size),
    ):
        for s in loads:
            if s.offset <= start < s.offset + s.filesz:
                yield s.vaddr + start - s.offset, s.vaddr + start - s.offset + size
    for segment in image.segments:
        if segment.type in (image_.PT_DYNAMIC, image_.PT_INTERP, image_.PT_NOTE):
            yield segment.vaddr, segment.vaddr + segment.filesz
    count = symbol_count(image)
    for tag, size in (
        (image_.DT_STRTAB, image.tag(image_.DT_STRSZ) or 0),
        (image_.DT_SYMTAB, count * image.layout.sym.size),
        (image_.DT_GNU_HASH, hash_table_size(image, image_.DT_GNU_HASH, count)),
        (image_.DT_HASH, hash_table_size(image, image_.DT_HASH, count)),
        (image_.DT_VERSYM, 2 * count),
        (image_.DT_REL, image.tag(image_.DT_RELSZ) or 0),
        (image_.DT_RELA, image.tag(image_.DT_RELASZ) or 0),
        (image_.DT_JMPREL, image.tag(image_.DT_PLTRELSZ) or 0),
        (image_.DT_RELR, image.tag(image_.DT_RELRSZ) or 0),
    ):
        address = image.tag(tag)
        if address is not None:
            yield address, address + size


def _sections(old: Image, new: Image) -> Iterator[str]:
    """See that the section headers describe the file still: readelf, strip and the next editor go by them."""
    yield from (fault for fault in _section_faults(new) if fault not in set(_section_faults(old)))
    if len(Sections(new, bytearray()).all) < len(Sections(old, bytearray()).all):
        yield "section headers were lost"


def _section_faults(image: Image) -> Iterator[str]:
    loads = _loads(image)
    places = {}
    for index, section in enumerate(Sections(image, bytearray()).all):
        if section.type == _SHT_NOBITS or not section.size:
            continue
        if section.offset + section.size > len(image.data):
            yield f"section {index} is outside the file"
        elif section.flags & image_.SHF_ALLOC:
            places[section.vaddr] = section
            inside = (s for s in loads if s.vaddr <= section.vaddr < s.vaddr + s.filesz)
            if not any(section.vaddr - s.vaddr == section.offset - s.offset for s in inside):
                yield f"section {index} is not where the program headers map it"
    if places:
        for tag in (image_.DT_STRTAB, image_.DT_SYMTAB):
            address = image.tag(tag)
            if address is not None and address not in places:
                yield f"no section is at the address of the dynamic entry {tag:#x}"
