"""An edited ELF file against its source: all that a loader maps, relocates, looks up and runs is still the same.

Who edited does not matter. Source: System V ABI chapters 4 and 5; musl 1.2.6 ldso/dynlink.c map_library, do_relocs.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections import Counter
from typing import TYPE_CHECKING, Final

from musl_repair import elfimage as image_
from musl_repair.errors import ElfError
from musl_repair.relocations import REL_MACHINES, RELOCATIONS
from musl_repair.relr import relr_addresses
from musl_repair.symbols import columns, hash_table_size
from musl_repair.unmoved import layout_differences, section_differences

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
_SHN_UNDEF: Final = 0
_SHN_LORESERVE: Final = 0xFF00
_MAX_VERSIONS: Final = 0x8000
"""As many as DT_VERSYM has indices for."""


def differences(source: Opened, edited: Opened, *, lowered: bool, page_size: int) -> Iterator[str]:
    """Yield, in words, all that an edit changed and should not have; lowered: DT_RELR was to be replaced.

    page_size is the largest page that the file may be mapped with.

    Raises ElfError where one of the files contradicts itself.
    """
    old, new = source.image, edited.image
    try:
        yield from _symbols(source, edited)
        yield from _relocations(old, new, lowered=lowered)
        yield from _dynamic(old, new, lowered=lowered)
        yield from layout_differences(source, edited, page_size, _tables)
        yield from section_differences(source, edited, lowered=lowered)
        yield from _symbol_sections(source, edited)
    except struct.error as error:
        raise ElfError(f"a table is cut off ({error})") from error


def _symbols(source: Opened, edited: Opened) -> Iterator[str]:
    """Compare the dynamic symbols with their versions, and the tables that they are found by."""
    old, new, count = source.image, edited.image, source.symbols
    if edited.symbols != count:
        yield f"{count} dynamic symbols became {edited.symbols}"
        return
    if not count:
        return
    if not (_same_names(old, new, count) and _same_symbols(old, new, count)):
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
    if list(_versions(old)) != list(_versions(new)):
        yield "the tables of symbol versions changed"


def _bytes(image: Image, tag: int, size: int) -> bytes:
    address = image.tag(tag)
    return b"" if address is None else bytes(image.at(address, size))


def _same_symbols(old: Image, new: Image, count: int) -> bool:
    """Whether the symbols are the same but for their sections' numbers, and lie at the same places in the names."""
    size = count * old.layout.sym.size
    same = _bytes(old, image_.DT_SYMTAB, size) == _bytes(new, image_.DT_SYMTAB, size)
    return same or _without_sections(old, count) == _without_sections(new, count)


def _without_sections(image: Image, count: int) -> tuple[bytearray, list[int]]:
    """Return the symbols without the numbers of their sections, and what these numbers say of the definitions."""
    table = bytearray(_bytes(image, image_.DT_SYMTAB, count * image.layout.sym.size))
    numbers = columns(image.layout, memoryview(bytes(table))).sections.tolist()
    size, place = image.layout.sym.size, 6 if image.layout.bits == 64 else 14
    table[place::size] = table[place + 1 :: size] = bytes(len(numbers))
    return table, list(map(_definition, numbers))


def _definition(section: int) -> int:
    """Return what a symbol's section number says of it, whatever numbers the sections have: which it is, if special."""
    return section if section == _SHN_UNDEF or section >= _SHN_LORESERVE else 1


def _same_names(old: Image, new: Image, count: int) -> bool:
    """Whether all symbols' old offsets into the string table mean the same names in the new one.

    Editors add to the table, and patchelf overwrites the search path that was there before, which is no symbol's name.
    """
    before = bytearray(_bytes(old, image_.DT_STRTAB, old.tag(image_.DT_STRSZ) or 0))
    after = bytearray(_bytes(new, image_.DT_STRTAB, new.tag(image_.DT_STRSZ) or 0)[: len(before)])
    if after == before:
        return True
    address, size = old.tag(image_.DT_SYMTAB), count * old.layout.sym.size
    names = set() if address is None else set(columns(old.layout, old.at(address, size)).names.tolist())
    for start in (old.tag(tag) for tag in (image_.DT_RPATH, image_.DT_RUNPATH)):
        # A search path that is the end of a longer string, or has a name for its end, is compared name by name.
        if start is not None and before[start - 1 : start] == b"\0":
            end = before.find(b"\0", start)
            if names.isdisjoint(range(start, end)):
                before[start:end] = after[start:end] = bytes(end - start)
    return after == before


def _symbol_values(image: Image, count: int) -> Iterator[tuple[bytes, ...]]:
    """Yield (name, the rest) of each symbol; of the section index only what it says of the definition."""
    strings = _bytes(image, image_.DT_STRTAB, image.tag(image_.DT_STRSZ) or 0)
    table = _bytes(image, image_.DT_SYMTAB, count * image.layout.sym.size)
    for fields in image.layout.sym.iter_unpack(table):
        if image.layout.bits == 64:
            name, info, other, section, value, size = fields
        else:
            name, value, size, info, other, section = fields
        rest = info, other, _definition(section), value, size
        yield strings[name : strings.find(b"\0", name)], repr(rest).encode()


def _versions(image: Image) -> Iterator[tuple[int, ...]]:
    """Yield what DT_VERDEF and DT_VERNEED say, but for names, some of which a plan changes."""
    for _, fields in _chain(image, image_.DT_VERDEF, struct.Struct(image.layout.order + "HHHHI4xI")):
        yield fields[:-1]
    need = struct.Struct(image.layout.order + "IHH4xI")
    left = _MAX_VERSIONS
    for view, (version, count, first, _) in _chain(
        image, image_.DT_VERNEED, struct.Struct(image.layout.order + "HH4xII")
    ):
        yield version, count
        at = first
        for _ in range(min(count, left)):
            *values, step = need.unpack_from(view, at)
            yield tuple(values)
            at += step
        left -= min(count, left)


def _chain(image: Image, tag: int, form: struct.Struct) -> Iterator[tuple[memoryview, tuple[int, ...]]]:
    """Yield the entries of a table of versions, and what stands behind each; their last field leads to the next."""
    address = image.tag(tag)
    if address is None:
        return
    view = image.at(address)
    for _ in range(_MAX_VERSIONS):
        fields = form.unpack_from(view)
        yield view, fields
        if not fields[-1]:
            break
        view = view[fields[-1] :]


def _symbol_sections(source: Opened, edited: Opened) -> Iterator[str]:
    """See that the symbols belong to the sections that they did, whatever number these have now."""
    before, after = source.sections.names, edited.sections.names
    if not (source.symbols and before and after) or edited.symbols != source.symbols:
        return
    was, now = (_section_numbers(file) for file in (source, edited))
    if before == after and was == now:
        return
    wrong = {
        (one, other)
        for one, other in set(zip(was, now, strict=True))
        if one < len(before) and (other >= len(after) or before[one] != after[other])
    }
    if wrong:
        number = next(index for index, pair in enumerate(zip(was, now, strict=True)) if pair in wrong)
        yield f"the dynamic symbol {number} is in another section"


def _section_numbers(file: Opened) -> list[int]:
    """Return the section number of each symbol."""
    address, size = file.image.tag(image_.DT_SYMTAB), file.symbols * file.image.layout.sym.size
    return [] if address is None else columns(file.image.layout, file.image.at(address, size)).sections.tolist()


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
    if _is_written_out(old, new):
        return
    expected = Counter(_entries(old)) + Counter(_expanded(old))
    found = Counter(_entries(new))
    if expected != found:
        missing, added = expected - found, found - expected
        yield f"lowering DT_RELR lost {missing.total()} relocations and made {added.total()} others"


def _is_written_out(old: Image, new: Image) -> bool:
    """Whether the new table is the old one behind what DT_RELR stands for, in its order: no need to count then."""
    relative = RELOCATIONS[old.header.machine].relative
    rela = old.header.machine not in REL_MACHINES
    table, size = (image_.DT_RELA, image_.DT_RELASZ) if rela else (image_.DT_REL, image_.DT_RELSZ)
    plt = old.tag(image_.DT_JMPREL) or 0
    address, length = old.tag(table) or 0, old.tag(size) or 0
    if address < plt + (old.tag(image_.DT_PLTRELSZ) or 0) and plt < address + length:
        return False
    addresses = relr_addresses(old)
    columns = [addresses, array(addresses.typecode, [relative]) * len(addresses)]
    if rela:
        columns.append(_words_at(old, addresses))
    if len(columns[-1]) != len(addresses):
        return False
    entries = array(addresses.typecode, bytes(addresses.itemsize * len(columns) * len(addresses)))
    for number, column in enumerate(columns):
        entries[number :: len(columns)] = column
    if old.layout.little != (sys.byteorder == "little"):
        entries.byteswap()
    return entries.tobytes() + _bytes(old, table, length) == _bytes(new, table, new.tag(size) or 0)


def _words_at(image: Image, addresses: array[int]) -> array[int]:
    """Return the words at these addresses, segment by segment; not all where they are aligned in different ways."""
    words, width = array(addresses.typecode), addresses.itemsize
    for segment in (segment for segment in image.segments if segment.type == image_.PT_LOAD):
        end = segment.vaddr + segment.filesz
        places = [address - segment.vaddr for address in addresses if segment.vaddr <= address < end]
        starts = {place % width for place in places}
        if len(starts) != 1:
            continue
        (start,) = starts
        content, size = array(addresses.typecode), segment.filesz - start
        content.frombytes(image.data[segment.offset + start : segment.offset + start + size - size % width])
        if image.layout.little != (sys.byteorder == "little"):
            content.byteswap()
        words.extend(content[place // width] for place in places)
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


def _tables(file: Opened) -> Iterator[tuple[int, int]]:
    """Yield the address ranges of headers and tables, which an editor may move and whose old place it may fill."""
    image, count = file.image, file.symbols
    loads = [s for s in image.segments if s.type == image_.PT_LOAD]
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
