"""The dynamic symbols of an ELF file: what it offers, what its relocations look for, and the tables that lead there.

Source: System V ABI chapter 5, the GNU hash table; musl 1.2.6 ldso/dynlink.c decode_dyn, find_sym, do_relocs. Tables
are read as columns and lists, not symbol by symbol: large libraries have millions of relocations.
"""

from __future__ import annotations

import struct
import sys
from array import array
from itertools import chain
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from musl_repair import elfimage as image_
from musl_repair.errors import ElfError
from musl_repair.relocations import EM_S390

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from musl_repair.elfimage import Image, Layout
    from musl_repair.relocations import Relocations

_SHN_UNDEF: Final = 0
_STB_LOCAL: Final = 0
_STB_WEAK: Final = 2
_STT_TLS: Final = 6
_STT_GNU_IFUNC: Final = 10

# musl ldso/dynlink.c: OK_TYPES are NOTYPE, OBJECT, FUNC, COMMON, TLS; OK_BINDS are GLOBAL, WEAK, GNU_UNIQUE.
_FINDABLE_TYPES: Final = frozenset({0, 1, 2, 5, _STT_TLS})
_FINDABLE_BINDINGS: Final = frozenset({1, 2, 10})

_NO, _WITH_VALUE, _ANY_VALUE, _IFUNC = range(4)
_VERSYM_HIDDEN: Final = 0x8000
_MAX_SHARING: Final = 16
"""How often the bytes of a string table are read: names share their ends, but not like this."""
_ROOM: Final = 0x10000
_RUN: Final = 256
"""How many numbers are compared at once."""
_AT_ONCE: Final = 64
"""How many strings are looked for before it is seen how long they were."""


def _kind(info: int) -> int:
    """Return what st_info says of a symbol that is defined: a lookup finds it, and with which values."""
    kind, binding = info & 15, info >> 4
    if binding not in _FINDABLE_BINDINGS:
        return _NO
    if kind == _STT_GNU_IFUNC:
        return _IFUNC
    if kind not in _FINDABLE_TYPES:
        return _NO
    return _ANY_VALUE if kind == _STT_TLS else _WITH_VALUE


_KINDS: Final = bytes(map(_kind, range(256)))


class Import(NamedTuple):
    """A symbol that musl has to find elsewhere when it applies the file's relocations."""

    name: str
    weak: bool


class References(NamedTuple):
    """What the relocations of a file, but those of RELR, refer to."""

    symbols: frozenset[int]
    """The indices of all symbols; 0 stands for none."""
    types: frozenset[int]
    """The relocation types."""
    columns: tuple[tuple[array[int], array[int]], ...]
    """Types and symbols of all that is different, and more, side by side."""

    def by(self, types: Collection[int]) -> frozenset[int]:
        """Return the indices of the symbols that relocations of these types refer to."""
        if self.types.isdisjoint(types):
            return frozenset()
        rows = (zip(*pair, strict=True) for pair in self.columns)
        return frozenset([symbol for kind, symbol in chain.from_iterable(rows) if kind in types])


class Columns(NamedTuple):
    """The symbol table, one view of its bytes for each field that matters: no symbol becomes an object of its own."""

    names: memoryview[int]
    infos: memoryview[int]
    sections: memoryview[int]
    values: memoryview[int]


def columns(layout: Layout, table: memoryview) -> Columns:
    """Return the columns of a table of whole symbols."""
    halves, words = _cast(table, "H", layout), _cast(table, "I", layout)
    if layout.bits == 64:
        return Columns(words[0::6], table[4::24], halves[3::12], _cast(table, "Q", layout)[1::3])
    return Columns(words[0::4], table[12::16], halves[7::8], words[1::4])


def _cast(view: memoryview, code: Literal["H", "I", "Q"], layout: Layout) -> memoryview[int]:
    """Return bytes as numbers of the file's byte order."""
    if layout.little == (sys.byteorder == "little"):
        return view.cast(code)
    numbers = array(code, bytes(view))
    numbers.byteswap()
    return memoryview(numbers).cast("B").cast(code)


class Strings:
    """The dynamic string table."""

    def __init__(self, image: Image) -> None:
        """Take the table of an image. Raises ElfError where it is outside the file."""
        self._image = image
        address, size = image.tag(image_.DT_STRTAB), image.tag(image_.DT_STRSZ)
        self._table = b"" if address is None else bytes(image.at(address, size))
        self._text = self._table.decode("ascii") if self._table.isascii() else None
        self._left = _MAX_SHARING * len(self._table) + _ROOM

    def at(self, offset: int) -> str:
        """Return the string at an offset of the table; ElfError where the table has none there."""
        return self.all_at((offset,))[0]

    def all_at(self, offsets: Sequence[int]) -> list[str]:
        """Return the strings at these offsets; ElfError where the table has none at one of them."""
        ends: list[int] = []
        for first in range(0, len(offsets), _AT_ONCE):
            ends += self._ends(offsets[first : first + _AT_ONCE])
        if self._text is not None:
            text = self._text
            return [text[offset:end] for offset, end in zip(offsets, ends, strict=True)]
        # Names are bytes to the loader; surrogateescape carries the rare one that is not UTF-8 there and back.
        table = self._table
        return [table[offset:end].decode("utf-8", "surrogateescape") for offset, end in zip(offsets, ends, strict=True)]

    def _ends(self, offsets: Sequence[int]) -> list[int]:
        """Return where the strings at these offsets, not more than _AT_ONCE, end."""
        find = self._table.find
        ends = [find(b"\0", offset) for offset in offsets]
        if -1 in ends:
            raise ElfError(self._fault(offsets[ends.index(-1)]))
        # Else a small file whose every symbol has the same endless name takes hours, and all memory.
        self._left -= sum(ends) - sum(offsets)
        if self._left < 0:
            raise ElfError("more names share one place in the string table than any linker makes")
        return ends

    def _fault(self, offset: int) -> str:
        if offset >= len(self._table):
            return f"string {offset:#x} is outside the string table of {len(self._table):#x} bytes"
        return f"string {offset:#x} has no end"

    def tagged(self, tag: int) -> str | None:
        """Return the string that a dynamic entry names, or None without such an entry."""
        offset = self._image.tag(tag)
        return None if offset is None else self.at(offset)


class Symbols:
    """The dynamic symbol table, as far as hash tables and relocations reach it."""

    def __init__(self, image: Image, strings: Strings, references: References) -> None:
        """Take the table up to the last symbol that hash tables or references reach."""
        self._strings = strings
        self._references = references
        address = image.tag(image_.DT_SYMTAB)
        table = image.data[:0] if address is None else image.at(address)
        self._first, count, self.hashed = _hashed_range(image)
        size = image.layout.sym.size
        if count * size > len(table):
            raise ElfError(f"the hash table promises {count} symbols, more than the file has")
        reached = max(count, max(references.symbols, default=0) + 1)
        self._columns = columns(image.layout, table[: min(reached, len(table) // size) * size])
        versym = image.tag(image_.DT_VERSYM)
        versions = [] if versym is None else _cast(image.at(versym, 2 * count), "H", image.layout).tolist()
        self._offered, self._ifuncs = self._findable(count, versions)

    def _findable(self, count: int, versions: Sequence[int]) -> tuple[frozenset[int], list[int]]:
        """Return the indices of the symbols that a lookup in this file finds, and of the IFUNCs that it does not."""
        infos, sections, values = (column[self._first : count].tolist() for column in self._columns[1:])
        kinds = bytes(infos).translate(_KINDS)
        rows = zip(range(self._first, count), kinds, sections, values, strict=True)
        found = [
            index
            for index, kind, section, value in rows
            if section != _SHN_UNDEF and (kind == _ANY_VALUE or (kind == _WITH_VALUE and value))
        ]
        ifuncs: list[int] = []
        if _IFUNC in kinds:
            places = zip(range(self._first, count), kinds, sections, strict=True)
            ifuncs = [index for index, kind, section in places if kind == _IFUNC and section != _SHN_UNDEF]
        # musl's lookups pass definitions over that have a non-default version.
        if max(versions, default=0) & _VERSYM_HIDDEN:
            found = [index for index in found if not versions[index] & _VERSYM_HIDDEN]
            ifuncs = [index for index in ifuncs if not versions[index] & _VERSYM_HIDDEN]
        return frozenset(found), ifuncs

    def _names(self, indices: Iterable[int]) -> list[str]:
        names = self._columns.names
        return self._strings.all_at([names[index] for index in indices])

    def offered(self) -> tuple[frozenset[str], tuple[str, ...]]:
        """Return the names that a lookup in this file finds, and the IFUNCs that it does not."""
        return frozenset(self._names(self._offered)), tuple(sorted(self._names(self._ifuncs)))

    def imports(self, exports: frozenset[str], machine: Relocations | None) -> tuple[Import, ...]:
        """Return the symbols that relocations refer to by name and that the file does not offer itself.

        A copy relocation's symbol is looked up in all files but its own (do_relocs), so it is one of them.
        """
        copied = frozenset() if machine is None else self._references.by({machine.copy})
        # As bytes, not as a view: one item of a view takes three times as long.
        infos, sections = bytes(self._columns.infos), self._columns.sections
        # What is offered is in exports: its name need not be read again.
        others = self._references.symbols - (self._offered - copied if copied else self._offered)
        looked_up = [index for index in others if index and infos[index] >> 4 != _STB_LOCAL]
        found: dict[str, bool] = {}
        for index, name in zip(looked_up, self._names(looked_up), strict=True):
            if name not in exports or index in copied:
                weak = infos[index] >> 4 == _STB_WEAK and sections[index] == _SHN_UNDEF
                found[name] = weak and found.get(name, True)
        names = sorted(found)
        return tuple(map(Import, names, map(found.__getitem__, names)))

    def initial_exec(self, machine: Relocations | None) -> tuple[str, ...]:
        """Return the symbols of relocations that need a fixed offset from the thread pointer."""
        if machine is None:
            return ()
        indices = self._references.by(machine.initial_exec)
        own = [""] if 0 in indices else []
        return tuple(sorted({*own, *self._names(indices - {0})}))


def symbol_count(image: Image) -> int:
    """Return how many dynamic symbols a file has, as far as hash tables and relocations reach."""
    _, hashed, _ = _hashed_range(image)
    last = max((max(_distinct(symbols), default=0) for _, symbols in _relocations(image)), default=0)
    return max(hashed, last + 1 if last else 0)


def hash_table_size(image: Image, tag: int, count: int) -> int:
    """Return the size in bytes of DT_GNU_HASH or DT_HASH (tag) for so many symbols; 0 without such a table."""
    address = image.tag(tag)
    if address is None:
        return 0
    if tag == image_.DT_GNU_HASH:
        buckets, first, bloom, _ = struct.unpack_from(image.layout.order + "IIII", image.at(address))
        return int(16 + bloom * image.layout.word.size + 4 * (buckets + max(count - first, 0)))
    return _sysv_size(image, address)


def _sysv_size(image: Image, address: int) -> int:
    """Return the size of DT_HASH in bytes; 0 for one that cannot be, and that nobody reads beside DT_GNU_HASH."""
    for form in dict.fromkeys((_sysv_word(image), "I")):  # zig's linker writes words of 32 bits on s390x too
        word = struct.Struct(image.layout.order + form)
        try:
            buckets, chains = (value for (value,) in word.iter_unpack(image.at(address, 2 * word.size)))
            return len(image.at(address, (2 + buckets + chains) * word.size))
        except ElfError:
            if image.tag(image_.DT_GNU_HASH) is None:
                raise
    return 0


def _sysv_word(image: Image) -> str:
    """Return the format of DT_HASH's words: the machine's own on s390x (musl arch/s390x/bits/link.h)."""
    return "Q" if image.header.machine == EM_S390 and image.layout.bits == 64 else "I"


def _hashed_range(image: Image) -> tuple[int, int, bool]:
    """Return (first, end) of the symbols that the hash table reaches, and whether there is a table at all.

    Where both tables exist musl uses the GNU one.
    """
    gnu, sysv = image.tag(image_.DT_GNU_HASH), image.tag(image_.DT_HASH)
    if gnu is not None:
        return (*_gnu_range(image, gnu), True)
    if sysv is not None:
        _, chains = struct.unpack_from(image.layout.order + 2 * _sysv_word(image), image.at(sysv))
        return 1, chains, True
    return 0, 0, False


def _gnu_range(image: Image, address: int) -> tuple[int, int]:
    view, layout = image.at(address), image.layout
    buckets, first, bloom, _ = struct.unpack_from(layout.order + "IIII", view)
    start = 16 + bloom * layout.word.size
    last = max(struct.unpack_from(f"{layout.order}{_count(buckets, view)}I", view, start), default=0)
    if last < first:
        return first, first
    chain = start + 4 * buckets
    while not layout.uint32.unpack_from(view, chain + 4 * (last - first))[0] & 1:
        last += 1
    return first, last + 1


def _count(number: int, view: memoryview) -> int:
    if 4 * number > len(view):
        raise ElfError(f"a hash table of {number} buckets does not fit into its segment")
    return number


def references(image: Image) -> References:
    """Return what all relocations but those of RELR refer to."""
    columns = tuple(_relocations(image))
    symbols = frozenset(chain.from_iterable(_distinct(symbols) for _, symbols in columns))
    types = frozenset(chain.from_iterable(_distinct(types) for types, _ in columns))
    return References(symbols, types, columns)


def _relocations(image: Image) -> Iterator[tuple[array[int], array[int]]]:
    """Yield types and symbols of each table's relocations; of 32-bit files each pair of them once."""
    # do_relocs: 2+(dyn[DT_PLTREL]==DT_RELA)
    plt_words = 3 if image.tag(image_.DT_PLTREL) == image_.DT_RELA else 2
    tables = (
        (image_.DT_REL, image_.DT_RELSZ, 2),
        (image_.DT_RELA, image_.DT_RELASZ, 3),
        (image_.DT_JMPREL, image_.DT_PLTRELSZ, plt_words),
    )
    for address_tag, size_tag, words in tables:
        address, size = image.tag(address_tag), image.tag(size_tag) or 0
        if address is None or not size:
            continue
        numbers = _numbers(image, address, size - size % (words * image.layout.word.size))
        if image.layout.bits == 32:
            infos = _distinct(numbers[1::words])
            yield array("I", [info & 0xFF for info in infos]), array("I", [info >> 8 for info in infos])
        else:
            # The upper half of r_info is the symbol. Apart from it the types make small sets, and long runs.
            lower, upper = (2, 3) if image.layout.little else (3, 2)
            yield numbers[lower :: 2 * words], numbers[upper :: 2 * words]


def _numbers(image: Image, address: int, size: int) -> array[int]:
    """Return so many bytes as numbers of 32 bits."""
    # An array, not struct tuples: the tables of large libraries have millions of entries.
    numbers = array("I")
    numbers.frombytes(image.at(address, size))
    if image.layout.little != (sys.byteorder == "little"):
        numbers.byteswap()
    return numbers


def _distinct(column: array[int]) -> set[int]:
    """Return the different numbers of a column, which are mostly long runs of one: relative relocations."""
    if len(column) <= _RUN:
        return set(column)
    found: set[int] = set()
    run = array(column.typecode)
    for start in range(0, len(column), _RUN):
        piece = column[start : start + _RUN]
        if run[:1] != piece[:1]:
            run = piece[:1] * _RUN
        found.update(piece[:1] if piece == run[: len(piece)] else piece)
    return found
