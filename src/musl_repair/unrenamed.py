"""The dynamic symbols of an edited ELF file against its source: names, values, versions, sections, hash tables.

Source: System V ABI chapter 5, the GNU hash table and symbol versions; musl 1.2.6 ldso/dynlink.c find_sym.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from musl_repair import elfimage as image_
from musl_repair.symbols import columns, hash_table_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from musl_repair.elfimage import Image
    from musl_repair.sections import Opened

_SHN_UNDEF: Final = 0
_SHN_LORESERVE: Final = 0xFF00
_MAX_VERSIONS: Final = 0x8000
"""As many as DT_VERSYM has indices for."""


def symbol_differences(source: Opened, edited: Opened) -> Iterator[str]:
    """Yield, in words, what changed in the dynamic symbols, their versions, and the tables that they are found by.

    Raises ElfError or struct.error where one of the files contradicts itself.
    """
    old, new, count = source.image, edited.image, source.symbols
    if edited.symbols != count:
        yield f"{count} dynamic symbols became {edited.symbols}"
        return
    tags = (image_.DT_SYMTAB, image_.DT_STRTAB, image_.DT_STRSZ)
    if any((old.tag(tag) is None) != (new.tag(tag) is None) for tag in tags):
        yield "the table of the dynamic symbols, or of their names, or its size is gone"
        return
    if count and not (_same_names(old, new, count) and _same_symbols(old, new, count)):
        before, after = list(_symbol_values(old, count)), list(_symbol_values(new, count))
        changed = [one for one, other in zip(before, after, strict=True) if one != other]
        if changed:
            yield f"{len(changed)} dynamic symbols changed, the first is {changed[0][0].decode(errors='replace')!r}"
    for tag, what in ((image_.DT_GNU_HASH, "GNU hash table"), (image_.DT_HASH, "hash table")):
        size = hash_table_size(old, tag, count)
        if (old.tag(tag) is None) != (new.tag(tag) is None) or not _same_table(old, new, tag, size):
            yield f"the {what} changed"
    if not _same_table(old, new, image_.DT_VERSYM, 2 * count):
        yield "the versions of the dynamic symbols changed"
    if list(_versions(old)) != list(_versions(new)):
        yield "the tables of symbol versions changed"


def _same_symbols(old: Image, new: Image, count: int) -> bool:
    """Whether the symbols are the same but for their sections' numbers, and lie at the same places in the names."""
    same = _same_table(old, new, image_.DT_SYMTAB, count * old.layout.sym.size)
    return same or _without_sections(old, count) == _without_sections(new, count)


def _same_table(old: Image, new: Image, tag: int, size: int) -> bool:
    return image_.same_bytes(old.table(tag, size), new.table(tag, size))


def _without_sections(image: Image, count: int) -> tuple[bytearray, list[int]]:
    """Return the symbols without the numbers of their sections, and what these numbers say of the definitions."""
    table = bytearray(image.tagged(image_.DT_SYMTAB, count * image.layout.sym.size))
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
    before = _strings(old)
    after = _strings(new)[: len(before)]
    if image_.same_bytes(before, after):
        return True
    at = 0
    for start, end in sorted(_free_strings(old, bytes(before), count)):
        if not image_.same_bytes(before[at:start], after[at:start]):
            return False
        at = end
    return image_.same_bytes(before[at:], after[at:])


def _free_strings(image: Image, strings: bytes, count: int) -> Iterator[tuple[int, int]]:
    """Yield where the search paths stand that no symbol's name has a part of."""
    table = image.table(image_.DT_SYMTAB, count * image.layout.sym.size)
    names = set(columns(image.layout, table).names.tolist())
    for start in {image.tag(image_.DT_RPATH), image.tag(image_.DT_RUNPATH)}:
        # A search path that is the end of a longer string, or has a name for its end, is compared name by name.
        if start is not None and strings[start - 1 : start] == b"\0":
            end = strings.find(b"\0", start)
            if end > start and names.isdisjoint(range(start, end)):
                yield start, end


def _strings(image: Image) -> memoryview:
    """Return the string table; where its size is missing, which musl does not read, all that may be of it."""
    address = image.tag(image_.DT_STRTAB)
    return image.data[:0] if address is None else image.at(address, image.tag(image_.DT_STRSZ))


def _symbol_values(image: Image, count: int) -> Iterator[tuple[bytes, ...]]:
    """Yield (name, the rest) of each symbol; of the section index only what it says of the definition."""
    strings = bytes(_strings(image))
    table = image.tagged(image_.DT_SYMTAB, count * image.layout.sym.size)
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


def version_libraries(image: Image) -> Iterator[tuple[int, int]]:
    """Yield the address ranges of the names of libraries in DT_VERNEED, which follow those in DT_NEEDED."""
    at = image.tag(image_.DT_VERNEED) or 0
    for _, fields in _chain(image, image_.DT_VERNEED, struct.Struct(image.layout.order + "HHIII")):
        yield at + 4, at + 8
        at += fields[-1]


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


def symbol_section_differences(source: Opened, edited: Opened) -> Iterator[str]:
    """See that the symbols belong to the sections that they did, whatever number these have now."""
    before, after = source.sections.names, edited.sections.names
    if not (source.symbols and before and after) or edited.symbols != source.symbols:
        return
    was, now = (_section_numbers(file) for file in (source, edited))
    if (before == after and was == now) or len(was) != len(now):  # the latter is told of as a table that is gone
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
