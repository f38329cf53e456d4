"""Append one read-only segment to an ELF file: the grown program header table, and new tables behind it.

And the section headers, that have to follow when a table moves. Source: System V ABI chapters 4 and 5; for what is
asked beyond it, musl 1.2.6 ldso/dynlink.c map_library, Linux fs/binfmt_elf.c, and the behaviour of strip and patchelf.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair import elfimage as image_
from musl_repair.elfimage import Image, Segment
from musl_repair.errors import ElfError
from musl_repair.relocations import EM_AARCH64, EM_LOONGARCH, EM_PPC64

if TYPE_CHECKING:
    from collections.abc import Sequence

_PAGE: Final = 0x1000
_LARGE_PAGE: Final = 0x10000
_LARGE_PAGE_MACHINES: Final = frozenset({EM_AARCH64, EM_PPC64, EM_LOONGARCH})
_ALIGNMENT: Final = 8
"""Where each block starts: enough for any table of words, of both classes."""
_MAX_SEGMENTS: Final = 0xFFFF - 1
"""0xffff is PN_XNUM: the number is elsewhere."""
_SPARE_HEADERS: Final = 8
"""For how many headers there is room in the segment, at the cost of what follows: patchelf adds one with each run, and
moves the sections that are in their way, but does not make the segment longer."""
_MAX_PADDING: Final = 0x4000000
"""How far a program may grow by its own .bss, in bytes."""


class Section(NamedTuple):
    """One section header, its fields in the order of the file."""

    name: int
    type: int
    flags: int
    vaddr: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry: int


class Place(NamedTuple):
    """Where a block of the new segment went."""

    offset: int
    vaddr: int


@dataclass(frozen=True, slots=True)
class Grown:
    """A file with its new segment: data is the caller's own, to write into."""

    data: bytearray
    places: tuple[Place, ...]
    """One for each block, in the order given."""


class Sections:
    """The section headers of an image, to be changed in data, its copy; none where the table is missing or broken.

    No loader reads them, so what is broken is left to the tools that do.
    """

    def __init__(self, image: Image, data: bytearray) -> None:
        """Read headers and names from the image: they stay what they were before any change."""
        header, self._format = image.header, image.layout.shdr
        end = header.shoff + header.shnum * self._format.size
        sound = header.shoff and header.shentsize == self._format.size and end <= len(image.data)
        table = image.data[header.shoff : end] if sound else b""
        self.all: Final = tuple(Section(*fields) for fields in self._format.iter_unpack(table))
        self._data, self._start = data, header.shoff
        names = self.all[header.shstrndx] if header.shstrndx < len(self.all) else None
        self._first_name = names.offset if names else 0
        self._names = bytes(image.data[names.offset : names.offset + names.size]) if names else b""

    def name(self, index: int) -> bytes:
        """Return the name of a section; empty where the file has none for it."""
        offset = self.all[index].name
        end = self._names.find(b"\0", offset)
        return self._names[offset:end] if end >= 0 else b""

    def find(self, name: bytes) -> int | None:
        """Return the index of the first section of that name."""
        return next((index for index in range(len(self.all)) if self.name(index) == name), None)

    def rename(self, index: int, name: bytes) -> None:
        """Write a name that is no longer over the old one, unless other sections have parts of it for their names."""
        old, first = self.name(index), self.all[index].name
        start = self._first_name + first
        sharing = sum(first <= section.name < first + len(old) for section in self.all)
        if len(name) <= len(old) and sharing == 1 and self._data[start - 1] == 0:
            self._data[start : start + len(old)] = name.ljust(len(old), b"\0")

    def replace(self, index: int, section: Section) -> None:
        """Write one header."""
        self._format.pack_into(self._data, self._start + index * self._format.size, *section)


def page_size(image: Image) -> int:
    """Return the largest page that a segment has to fit: what its machine runs with, or the file promises."""
    promised = max((s.align for s in image.segments if s.type == image_.PT_LOAD), default=0)
    own = _LARGE_PAGE if image.header.machine in _LARGE_PAGE_MACHINES else _PAGE
    return _LARGE_PAGE if promised > own else own


def append_segment(image: Image, blocks: Sequence[bytes]) -> Grown:
    """Return the file with one more PT_LOAD at its end, that holds the program header table and then the blocks.

    Only the ELF header and the program headers know of it yet; the old header table is filled with zeros.
    Raises ElfError where the file has no room for it.
    """
    ends, starts = [image.layout.phdr.size * (len(image.segments) + 1)], []
    for block in blocks:
        starts.append(_up(ends[-1], _ALIGNMENT))
        ends.append(starts[-1] + len(block))
    total = max(ends[-1], ends[0] + _SPARE_HEADERS * image.layout.phdr.size)
    start = _place(image, total)
    added = Segment(image_.PT_LOAD, image_.PF_R, start.offset, start.vaddr, start.vaddr, total, total, page_size(image))
    data = bytearray(image.data)
    data.extend(bytes(start.offset + total - len(data)))
    _write_headers(image, data, added)
    places = tuple(Place(start.offset + inside, start.vaddr + inside) for inside in starts)
    for place, block in zip(places, blocks, strict=True):
        data[place.offset : place.offset + len(block)] = block
    return Grown(data, places)


def _place(image: Image, size: int) -> Place:
    """Find the first address behind all segments, on a page of its own, congruent to the end of the file."""
    loads = [s for s in image.segments if s.type == image_.PT_LOAD]
    page, end = page_size(image), _up(len(image.data), _ALIGNMENT)
    # One page stays free between: GNU strip and objcopy move the start of a segment with program headers, but
    # without the ELF header, down by up to a page, without regard for the segment below.
    free = _up(max((s.vaddr + s.memsz for s in loads), default=0), page) + page
    if loads and _is_program(image):
        # Linux before 5.18 gives AT_PHDR as the address of the first segment plus e_phoff, so where a program
        # starts, offset and address have to keep the distance that they have in the first segment.
        distance = loads[0].vaddr - loads[0].offset
        vaddr = max(free, _up(end + distance, _ALIGNMENT))
        place = Place(vaddr - distance, vaddr)
    else:
        place = Place(end, free + end % page)
    if place.vaddr + size >= 1 << image.layout.bits or place.offset - end > _MAX_PADDING:
        raise ElfError(f"no room for a segment at address {place.vaddr:#x}, behind all others")
    if len(image.segments) >= _MAX_SEGMENTS:
        raise ElfError(f"no room for one more program header: there are {len(image.segments)}")
    return place


def _is_program(image: Image) -> bool:
    """Tell whether the kernel may start the file: a library has neither interpreter nor the PIE flag."""
    pie = (image.tag(image_.DT_FLAGS_1) or 0) & image_.DF_1_PIE
    return bool(pie) or any(s.type == image_.PT_INTERP for s in image.segments)


def _write_headers(image: Image, data: bytearray, added: Segment) -> None:
    layout, header = image.layout, image.header
    last = max((i for i, s in enumerate(image.segments) if s.type == image_.PT_LOAD), default=-1)
    segments = [*image.segments[: last + 1], added, *image.segments[last + 1 :]]
    size = len(segments) * layout.phdr.size
    # GNU strip expects the program headers at the very start of their segment. llvm-strip aligns only the first of
    # two segments with one offset, and that is PT_PHDR: so it carries the alignment of its PT_LOAD.
    own = added._replace(type=image_.PT_PHDR, filesz=size, memsz=size)
    table = b"".join(layout.pack_segment(own if s.type == image_.PT_PHDR else s) for s in segments)
    old = size - layout.phdr.size
    data[header.phoff : header.phoff + old] = bytes(old)
    data[added.offset : added.offset + size] = table
    layout.ehdr.pack_into(data, 16, *header._replace(phoff=added.offset, phnum=len(segments)))


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
