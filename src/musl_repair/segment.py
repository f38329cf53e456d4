"""Append one read-only segment to an ELF file: the grown program header table, and new tables behind it.

Source: System V ABI chapters 4 and 5; for what is asked beyond it, musl 1.2.6 ldso/dynlink.c map_library, Linux
fs/binfmt_elf.c, and the behaviour of strip and patchelf.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair import elfimage as image_
from musl_repair.elfimage import Image, Segment
from musl_repair.errors import ElfError
from musl_repair.relocations import EM_AARCH64, EM_LOONGARCH, EM_PPC64

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PAGE: Final = 0x1000
_LARGE_PAGE: Final = 0x10000
_LARGE_PAGE_MACHINES: Final = frozenset({EM_AARCH64, EM_PPC64, EM_LOONGARCH})
_ALIGNMENT: Final = 8
"""Where the segment starts: enough for any table of words, of both classes."""
_MAX_SEGMENTS: Final = 0xFFFF - 1
"""0xffff is PN_XNUM: the number is elsewhere."""
_SPARE_HEADERS: Final = 8
"""For how many headers there is room in the segment, at the cost of what follows: patchelf adds one with each run, and
moves the sections that are in their way, but does not make the segment longer."""
_MAX_PADDING: Final = 0x4000000
"""How far a program may grow by its own .bss, in bytes."""


class Place(NamedTuple):
    """Where a block of the new segment went."""

    offset: int
    vaddr: int


class Grown(NamedTuple):
    """A file with its new segment: data is the caller's own, to write into."""

    data: bytearray
    places: tuple[Place, ...]
    """One for each block, in the order given."""


def page_size(image: Image) -> int:
    """Return the largest page that a segment has to fit: what its machine runs with, or the file promises."""
    promised = max((s.align for s in image.segments if s.type == image_.PT_LOAD), default=0)
    own = _LARGE_PAGE if image.header.machine in _LARGE_PAGE_MACHINES else _PAGE
    return _LARGE_PAGE if promised > own else own


def append_segment(image: Image, blocks: Sequence[bytes], *, dynamic: int | None = None) -> Grown:
    """Return the file with one more PT_LOAD at its end, that holds the program header table and then the blocks.

    A block begins at a whole word. Where others are of whole words, there is no gap, which GNU strip would lose.

    Only the ELF header and the program headers know of it yet; the old header table is filled with zeros. dynamic is
    the number of the block that PT_DYNAMIC leads to from now on; None leaves it where it is.
    Raises ElfError where the file has no room for the segment.
    """
    ends, starts = [image.layout.phdr.size * (len(image.segments) + 1)], []
    for block in blocks:
        starts.append(_up(ends[-1], image.layout.word.size))
        ends.append(starts[-1] + len(block))
    total = max(ends[-1], ends[0] + _SPARE_HEADERS * image.layout.phdr.size)
    start = _place(image, total)
    # A dynamic section is written to: musl puts the place of what debuggers look for into DT_DEBUG of programs.
    rights = image_.PF_R if dynamic is None else image_.PF_R | image_.PF_W
    added = Segment(image_.PT_LOAD, rights, start.offset, start.vaddr, start.vaddr, total, total, page_size(image))
    data = bytearray(start.offset + total)
    memoryview(data)[: len(image.data)] = image.data  # a bytearray itself would copy it first
    places = tuple(Place(start.offset + inside, start.vaddr + inside) for inside in starts)
    moved = {} if dynamic is None else {image_.PT_DYNAMIC: (places[dynamic], len(blocks[dynamic]))}
    _write_headers(image, data, added, moved)
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


def _write_headers(image: Image, data: bytearray, added: Segment, moved: Mapping[int, tuple[Place, int]]) -> None:
    """Write both headers; moved are places and sizes of segments that are elsewhere now, by type."""
    layout, header = image.layout, image.header
    last = max((i for i, s in enumerate(image.segments) if s.type == image_.PT_LOAD), default=-1)
    old = [_moved(s, *moved[s.type]) if s.type in moved else s for s in image.segments]
    segments = [*old[: last + 1], added, *old[last + 1 :]]
    size = len(segments) * layout.phdr.size
    # GNU strip expects the program headers at the very start of their segment. llvm-strip aligns only the first of
    # two segments with one offset, and that is PT_PHDR: so it carries the alignment of its PT_LOAD.
    own = added._replace(type=image_.PT_PHDR, filesz=size, memsz=size)
    table = b"".join(layout.pack_segment(own if s.type == image_.PT_PHDR else s) for s in segments)
    old_size = size - layout.phdr.size
    data[header.phoff : header.phoff + old_size] = bytes(old_size)
    data[added.offset : added.offset + size] = table
    header = header._replace(phoff=added.offset, phnum=len(segments))
    if header.shoff + header.shnum * header.shentsize > len(image.data):
        # A file that was cut off behind its segments. What is there now is no section header.
        header = header._replace(shoff=0, shnum=0, shstrndx=0)
    layout.ehdr.pack_into(data, 16, *header)


def _moved(segment: Segment, place: Place, size: int) -> Segment:
    return segment._replace(offset=place.offset, vaddr=place.vaddr, paddr=place.vaddr, filesz=size, memsz=size)


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
