"""Where things are in an ELF file: header, program headers, dynamic entries, and what an address maps to.

Source: System V ABI, chapters 4 and 5; everything is found as musl's loader finds it, never through section headers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.errors import ElfError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC: Final = b"\x7fELF"

ET_REL: Final = 1
ET_EXEC: Final = 2
ET_DYN: Final = 3
ET_CORE: Final = 4

PT_LOAD: Final = 1
PT_DYNAMIC: Final = 2
PT_INTERP: Final = 3
PT_NOTE: Final = 4
PT_PHDR: Final = 6
PT_TLS: Final = 7
PT_GNU_EH_FRAME: Final = 0x6474E550
PT_GNU_STACK: Final = 0x6474E551
PT_GNU_RELRO: Final = 0x6474E552

PF_X: Final = 1
PF_W: Final = 2
PF_R: Final = 4

DT_NULL: Final = 0
DT_NEEDED: Final = 1
DT_PLTRELSZ: Final = 2
DT_HASH: Final = 4
DT_STRTAB: Final = 5
DT_SYMTAB: Final = 6
DT_RELA: Final = 7
DT_RELASZ: Final = 8
DT_RELAENT: Final = 9
DT_STRSZ: Final = 10
DT_SONAME: Final = 14
DT_RPATH: Final = 15
DT_REL: Final = 17
DT_RELSZ: Final = 18
DT_RELENT: Final = 19
DT_PLTREL: Final = 20
DT_TEXTREL: Final = 22
DT_JMPREL: Final = 23
DT_BIND_NOW: Final = 24
DT_RUNPATH: Final = 29
DT_FLAGS: Final = 30
DT_RELRSZ: Final = 35
DT_RELR: Final = 36
DT_RELRENT: Final = 37
DT_GNU_HASH: Final = 0x6FFFFEF5
DT_VERSYM: Final = 0x6FFFFFF0
DT_RELACOUNT: Final = 0x6FFFFFF9
DT_RELCOUNT: Final = 0x6FFFFFFA
DT_FLAGS_1: Final = 0x6FFFFFFB
DT_VERDEF: Final = 0x6FFFFFFC
DT_VERNEED: Final = 0x6FFFFFFE
DT_VERNEEDNUM: Final = 0x6FFFFFFF

_OS_TAGS: Final = range(0x6000000D, 0x80000000)
"""DT_LOOS to DT_HIPROC: what systems and processors have tags for."""

DF_1_PIE: Final = 0x8000000

SHT_NULL: Final = 0
SHT_PROGBITS: Final = 1
SHT_STRTAB: Final = 3
SHT_RELA: Final = 4
SHT_DYNAMIC: Final = 6
SHT_NOTE: Final = 7
SHT_NOBITS: Final = 8
SHT_REL: Final = 9
SHT_DYNSYM: Final = 11
SHT_RELR: Final = 19

SHF_ALLOC: Final = 2

_FIRST_COUNTS: Final = frozenset({DT_GNU_HASH, DT_VERSYM})
"""Entries that musl looks for from the start (search_vec); of all others the last one counts (decode_vec)."""
_MAX_DYNAMIC: Final = 4096
"""More dynamic entries than any linker writes: a file with more is made to be slow, not to be loaded."""


Content = bytes | bytearray | memoryview
"""What the bytes of a file come in. Only who has made a bytearray writes into it."""


class Segment(NamedTuple):
    """One program header, its fields in the order of the 64-bit form."""

    type: int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    align: int


class Header(NamedTuple):
    """The ELF header behind e_ident."""

    type: int
    machine: int
    version: int
    entry: int
    phoff: int
    shoff: int
    flags: int
    ehsize: int
    phentsize: int
    phnum: int
    shentsize: int
    shnum: int
    shstrndx: int


class Layout:
    """The structures of one class and byte order, as `struct` formats: all sizes in bytes."""

    def __init__(self, bits: int, *, little: bool) -> None:
        """Set up the formats; bits is 32 or 64."""
        order, word = "<" if little else ">", "Q" if bits == 64 else "I"
        self.bits: Final = bits
        self.little: Final = little
        self.word: Final = struct.Struct(order + word)
        self.ehdr: Final = struct.Struct(f"{order}HHI{word * 3}IHHHHHH")
        self.phdr: Final = struct.Struct(order + ("IIQQQQQQ" if bits == 64 else "IIIIIIII"))
        self.shdr: Final = struct.Struct(f"{order}II{word * 4}II{word * 2}")
        self.sym: Final = struct.Struct(order + ("IBBHQQ" if bits == 64 else "IIIBBH"))
        self.dyn: Final = struct.Struct(order + word * 2)
        self.rel: Final = struct.Struct(order + word * 2)
        self.rela: Final = struct.Struct(order + ("QQq" if bits == 64 else "IIi"))
        self.uint32: Final = struct.Struct(order + "I")
        self.half: Final = struct.Struct(order + "H")
        self.order: Final = order

    def segment(self, fields: tuple[int, ...]) -> Segment:
        """Return an unpacked program header with its fields in the order of `Segment`."""
        if self.bits == 64:
            return Segment(*fields)
        kind, offset, vaddr, paddr, filesz, memsz, flags, align = fields
        return Segment(kind, flags, offset, vaddr, paddr, filesz, memsz, align)

    def pack_segment(self, segment: Segment) -> bytes:
        """Return the program header as it stands in the file."""
        if self.bits == 64:
            return self.phdr.pack(*segment)
        kind, flags, offset, vaddr, paddr, filesz, memsz, align = segment
        return self.phdr.pack(kind, offset, vaddr, paddr, filesz, memsz, flags, align)


_LAYOUTS: Final = {(bits, order): Layout(32 * bits, little=order == 1) for bits in (1, 2) for order in (1, 2)}


@dataclass(frozen=True, slots=True)
class Image:
    """One ELF file's bytes and the way through them. Addresses are virtual, offsets are of the file."""

    data: memoryview
    layout: Layout
    header: Header
    segments: tuple[Segment, ...]
    dynamic_offset: int
    dynamic: tuple[tuple[int, int], ...]
    """(tag, value) in file order, without the closing DT_NULL; empty for a file that is not dynamic."""
    loads: tuple[Segment, ...] = field(init=False, repr=False)
    """The segments that are mapped, in file order."""
    _used: dict[int, int] = field(init=False, repr=False)
    _places: tuple[tuple[int, int, int], ...] = field(init=False, repr=False)
    """Of each segment with content in the file: first address, end, and offset."""

    def __post_init__(self) -> None:
        """Keep at hand what is asked for again and again: the last value of each tag, and what is mapped where."""
        loads = tuple([segment for segment in self.segments if segment.type == PT_LOAD])
        places = tuple([(segment.vaddr, segment.vaddr + segment.filesz, segment.offset) for segment in loads])
        object.__setattr__(self, "loads", loads)
        first = {tag: value for tag, value in reversed(self.dynamic) if tag in _FIRST_COUNTS}
        object.__setattr__(self, "_used", dict(self.dynamic) | first)
        object.__setattr__(self, "_places", places)

    def tag(self, tag: int) -> int | None:
        """Return the value of the entry with this tag that musl uses, mostly the last one, or None."""
        return self._used.get(tag)

    def tags(self, tag: int) -> tuple[int, ...]:
        """Return the values of all entries with this tag, in file order."""
        return tuple(value for key, value in self.dynamic if key == tag)

    def at(self, vaddr: int, size: int | None = None) -> memoryview:
        """Return size bytes at a virtual address; with None all to the end of its segment's file content.

        Raises ElfError where no loaded segment has them in the file.
        """
        for first, end, offset in self._places:
            if first <= vaddr < end:
                start, stop = offset + vaddr - first, offset + end - first
                if size is None:
                    return self.data[start:stop]
                if size > stop - start:
                    break
                return self.data[start : start + size]
        if size == 0:
            return self.data[:0]
        raise ElfError(f"{size if size is not None else 'some'} bytes at address {vaddr:#x} are outside the file")

    def table(self, tag: int, size: int) -> memoryview:
        """Return size bytes where the entry with this tag says; none without such an entry. Raises as `at` does."""
        address = self.tag(tag)
        return self.data[:0] if address is None else self.at(address, size)

    def tagged(self, tag: int, size: int) -> bytes:
        """Return a copy of what `table` returns."""
        return bytes(self.table(tag, size))

    def offset(self, vaddr: int) -> int:
        """Return the file offset of an address; raises ElfError where it has none."""
        for first, end, offset in self._places:
            if first <= vaddr < end:
                return offset + vaddr - first
        raise ElfError(f"address {vaddr:#x} is outside the file")


def same_bytes(one: memoryview, other: memoryview) -> bool:
    """Whether two views have the same bytes.

    By words of eight, and without a copy: views compare number by number, and musl's memcmp goes byte by byte as well.
    """
    size = len(one)
    words = size - size % 8
    if size != len(other) or one[:words].cast("Q") != other[:words].cast("Q"):
        return False
    return words == size or bytes(one[words:]) == bytes(other[words:])


def is_elf(data: Content) -> bool:
    """Tell whether these bytes begin an ELF file."""
    return bytes(data[:4]) == MAGIC


def read_image(data: Content) -> Image:
    """Read header, program headers and dynamic entries.

    Raises ElfError for what is not ELF, and for tables that lie outside the file.
    """
    view = memoryview(data)
    layout = _read_layout(view)
    header = _read_header(view, layout)
    segments = _read_segments(view, layout, header)
    offset, dynamic = _read_dynamic(view, layout, segments)
    return Image(view, layout, header, segments, offset, dynamic)


def _read_layout(view: memoryview) -> Layout:
    if not is_elf(view):
        raise ElfError("not an ELF file")
    if len(view) < 16:
        raise ElfError("ELF header is cut off")
    layout = _LAYOUTS.get((view[4], view[5]))
    if layout is None:
        raise ElfError(f"ELF class {view[4]} or byte order {view[5]} does not exist")
    return layout


def _read_header(view: memoryview, layout: Layout) -> Header:
    try:
        header = Header(*layout.ehdr.unpack_from(view, 16))
    except struct.error:
        raise ElfError("ELF header is cut off") from None
    if header.phnum and header.phentsize != layout.phdr.size:
        raise ElfError(f"program headers of {header.phentsize} bytes, not {layout.phdr.size}")
    return header


def _read_segments(view: memoryview, layout: Layout, header: Header) -> tuple[Segment, ...]:
    end = header.phoff + header.phnum * layout.phdr.size
    if header.phnum and end > len(view):
        raise ElfError(f"program headers end at {end:#x}, behind the end of the file at {len(view):#x}")
    table = view[header.phoff : end] if header.phnum else view[:0]
    segments = tuple(map(layout.segment, layout.phdr.iter_unpack(table)))
    for segment in segments:
        if segment.type == PT_LOAD and segment.offset + segment.filesz > len(view):
            raise ElfError(
                f"a segment ends at {segment.offset + segment.filesz:#x}, behind the end of the file at {len(view):#x}"
            )
    return segments


def _mapping(segment: Segment, segments: tuple[Segment, ...]) -> Segment | None:
    """Return the segment that maps another's offset to its address; None where it is not mapped so."""
    loads = (s for s in segments if s.type == PT_LOAD and 0 <= segment.vaddr - s.vaddr < s.filesz)
    load = next(loads, None)
    return load if load is not None and segment.vaddr - load.vaddr == segment.offset - load.offset else None


def _read_dynamic(
    view: memoryview, layout: Layout, segments: tuple[Segment, ...]
) -> tuple[int, tuple[tuple[int, int], ...]]:
    found = [segment for segment in segments if segment.type == PT_DYNAMIC]
    # A file with debug information only has none of what its segments map.
    if not any(segment.filesz or _mapping(segment, segments) for segment in found):
        return 0, ()
    if len(found) > 1:
        raise ElfError(f"there are {len(found)} dynamic sections")
    load = _mapping(found[0], segments)
    if load is None:
        # musl goes by the address, those who read the file by the offset.
        raise ElfError("the dynamic section is not where its address is mapped")
    return found[0].offset, tuple(_entries(view, layout, found[0], load))


def _entries(view: memoryview, layout: Layout, section: Segment, load: Segment) -> Iterator[tuple[int, int]]:
    """Yield dynamic entries as loaders read them: to the first DT_NULL, however long the section says that it is.

    ld --spare-dynamic-tags=0 makes sections without a DT_NULL: what lies behind is the global offset table, whose first
    words are the address of the section, and zeros. No loader takes that address for a tag.
    """
    start, size, end = section.offset, layout.dyn.size, load.offset + load.filesz
    slots, number = section.filesz // size, (end - start) // size
    table = view[start : start + min(number, _MAX_DYNAMIC + 1) * size]
    for index, (tag, value) in enumerate(layout.dyn.iter_unpack(table)):
        if tag == DT_NULL:
            return
        if index < slots or tag <= DT_RELRENT or tag in _OS_TAGS:
            yield tag, value
    if number > _MAX_DYNAMIC:
        raise ElfError(f"more than {_MAX_DYNAMIC} dynamic entries")
    # What a segment has in memory and not in the file is zero.
    if load.memsz == load.filesz or any(view[start + number * size : end]):
        raise ElfError("the dynamic section has no end")
