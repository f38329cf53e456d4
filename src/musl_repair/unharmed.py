"""An edited ELF file against its source: all that a loader maps, relocates, looks up and runs is still the same.

Who edited does not matter. Source: System V ABI chapters 4 and 5; musl 1.2.6 ldso/dynlink.c map_library, do_relocs.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from itertools import islice
from math import gcd
from operator import le
from typing import TYPE_CHECKING, Final

from musl_repair import elfimage as image_
from musl_repair.errors import ElfError
from musl_repair.relocations import REL_MACHINES, relative_relocation
from musl_repair.relr import relr_addresses
from musl_repair.symbols import hash_table_size
from musl_repair.unmoved import layout_differences, section_differences
from musl_repair.unrenamed import symbol_differences, symbol_section_differences, version_libraries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from musl_repair.elfimage import Image
    from musl_repair.sections import Opened

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


def differences(source: Opened, edited: Opened, *, lowered: bool, page_size: int) -> Iterator[str]:
    """Yield, in words, all that an edit changed and should not have; lowered: DT_RELR was to be replaced.

    page_size is the largest page that the file may be mapped with.

    Raises ElfError where one of the files contradicts itself.
    """
    old, new = source.image, edited.image
    if old.layout is not new.layout:
        yield "the class or the byte order of the file changed"
        return
    try:
        yield from symbol_differences(source, edited)
        yield from _relocations(old, new, lowered=lowered)
        yield from _dynamic(old, new, lowered=lowered)
        yield from layout_differences(source, edited, page_size, _tables)
        yield from section_differences(source, edited, lowered=lowered)
        yield from symbol_section_differences(source, edited)
    except struct.error as error:
        raise ElfError(f"a table is cut off ({error})") from error


def _relocations(old: Image, new: Image, *, lowered: bool) -> Iterator[str]:
    """Compare every relocation: place, type, symbol and addend, with DT_RELR written out where it was lowered."""
    grown = "DT_REL" if old.header.machine in REL_MACHINES else "DT_RELA"
    for address, size, what in (
        (image_.DT_REL, image_.DT_RELSZ, "DT_REL"),
        (image_.DT_RELA, image_.DT_RELASZ, "DT_RELA"),
        (image_.DT_JMPREL, image_.DT_PLTRELSZ, "DT_JMPREL"),
    ):
        before, after = old.table(address, old.tag(size) or 0), new.table(address, new.tag(size) or 0)
        if not (lowered and what == grown) and not image_.same_bytes(before, after):
            yield f"the relocations of {what} changed"
    if lowered:
        yield from _lowered(old, new)
    elif relr_addresses(old) != relr_addresses(new):
        yield "the relocations of DT_RELR changed"


def _lowered(old: Image, new: Image) -> Iterator[str]:
    if new.tag(image_.DT_RELR) is not None:
        yield "DT_RELR is still there"
    if _is_written_out(old, new):
        return
    expected = Counter(_entries(old)) + Counter(_expanded(old))
    found = Counter(_entries(new))
    if expected != found:
        missing, added = expected - found, found - expected
        yield f"lowering DT_RELR lost {missing.total()} relocations and made {added.total()} others"


def _is_written_out(old: Image, new: Image) -> bool:
    """Whether the new table is the old one behind what DT_RELR stands for, in its order: no need to count then."""
    relative = relative_relocation(old.header.machine)
    rela = old.header.machine not in REL_MACHINES
    table, size = (image_.DT_RELA, image_.DT_RELASZ) if rela else (image_.DT_REL, image_.DT_RELSZ)
    plt = old.tag(image_.DT_JMPREL) or 0
    address, length = old.tag(table) or 0, old.tag(size) or 0
    if address < plt + (old.tag(image_.DT_PLTRELSZ) or 0) and plt < address + length:
        return False
    addresses, found = relr_addresses(old), new.tagged(table, new.tag(size) or 0)
    columns = 3 if rela else 2
    start = columns * len(addresses) * addresses.itemsize
    if len(found) < start or found[start:] != old.tagged(table, length):
        return False
    entries = _words(old, found[:start])
    types = array(entries.typecode, [relative]) * len(addresses)
    if entries[0::columns] != addresses or entries[1::columns] != types:
        return False
    return not rela or entries[2::columns] == _words_at(old, addresses)


def _words(image: Image, content: bytes | memoryview) -> array[int]:
    words = array("Q" if image.layout.bits == 64 else "I")
    words.frombytes(content)
    if image.layout.little != (sys.byteorder == "little"):
        words.byteswap()
    return words


def _words_at(image: Image, addresses: array[int]) -> array[int]:
    """Return the words at these addresses; not all where they are in no order, or aligned in different ways."""
    words, width = array(addresses.typecode), addresses.itemsize
    if not all(map(le, addresses, islice(addresses, 1, None))):
        return words
    for segment in (segment for segment in image.segments if segment.type == image_.PT_LOAD):
        last = segment.vaddr + segment.filesz - width
        some = addresses[bisect_left(addresses, segment.vaddr) : bisect_right(addresses, last)]
        places = [address - some[0] for address in some]
        if some and gcd(width, *places) == width:
            start = segment.offset + some[0] - segment.vaddr
            content = _words(image, image.data[start : start + places[-1] + width])
            words.extend(array(words.typecode, [content[place // width] for place in places]))
    return words


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
    relative = relative_relocation(image.header.machine)
    if image.header.machine in REL_MACHINES:
        yield from ((address, relative) for address in relr_addresses(image))
        return
    signed = struct.Struct(image.layout.order + ("q" if image.layout.bits == 64 else "i"))
    for address in relr_addresses(image):
        yield address, relative, *signed.unpack(image.at(address, signed.size))


def _dynamic(old: Image, new: Image, *, lowered: bool) -> Iterator[str]:
    """Compare the dynamic entries whose value is no place of a table: flags, init and fini, sizes."""
    free = _MOVABLE | _LOWERED if lowered else _MOVABLE
    before = [entry for entry in old.dynamic if entry[0] not in free]
    after = [entry for entry in new.dynamic if entry[0] not in free]
    if before != after and Counter(before) != Counter(after):
        lost = ", ".join(f"{tag:#x}={value:#x}" for tag, value in Counter(before) - Counter(after))
        made = ", ".join(f"{tag:#x}={value:#x}" for tag, value in Counter(after) - Counter(before))
        yield f"dynamic entries were lost ({lost or 'none'}) or added ({made or 'none'})"
    optional = {image_.DT_RPATH, image_.DT_RUNPATH, image_.DT_SONAME, image_.DT_NEEDED}
    optional |= {image_.DT_RELR, image_.DT_RELA, image_.DT_REL} if lowered else set()
    for tag in sorted((_MOVABLE - optional) & {tag for tag, _ in old.dynamic}):
        if new.tag(tag) is None:
            yield f"the dynamic entry {tag:#x} is gone"


def _tables(file: Opened) -> Iterator[tuple[int, int]]:
    """Yield the address ranges of headers and tables, which an editor may move and whose old place it may fill."""
    image, count = file.image, file.symbols
    loads = image.loads
    for start, size in (
        (0, 16 + image.layout.ehdr.size),
        (image.header.phoff, image.header.phnum * image.layout.phdr.size),
    ):
        for s in loads:
            if s.offset <= start < s.offset + s.filesz:
                yield s.vaddr + start - s.offset, s.vaddr + start - s.offset + size
    yield from version_libraries(image)
    for segment in image.segments:
        if segment.type in (image_.PT_DYNAMIC, image_.PT_INTERP, image_.PT_NOTE):
            yield segment.vaddr, segment.vaddr + segment.filesz
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
