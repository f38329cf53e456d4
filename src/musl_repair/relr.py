"""DT_RELR to DT_RELA or DT_REL, so that musl before 1.2.4, which does not know DT_RELR, loads the file: bytes to bytes.

Source: System V ABI chapter 5, "Relative Relocation Table"; musl 1.2.6 ldso/dynlink.c do_relr_relocs, do_relocs.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from itertools import compress, islice
from operator import le
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from musl_repair import elfimage as image_
from musl_repair.elfimage import Content, Image, read_image
from musl_repair.errors import ElfError
from musl_repair.relocations import REL_MACHINES, RELOCATIONS
from musl_repair.sections import Section, Sections
from musl_repair.segment import Place, append_segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_RELR_TAGS: Final = frozenset({image_.DT_RELR, image_.DT_RELRSZ, image_.DT_RELRENT})
_DIGITS: Final = bytes.maketrans(b"01", b"\0\1")


_Data = TypeVar("_Data", bound=Content)


class _Form(NamedTuple):
    """How a machine writes relocations: with the addend in the table (RELA), or in place (REL)."""

    words: int
    table: int
    size: int
    entry: int
    relatives: int
    section: int
    name: bytes


_REL: Final = _Form(
    2, image_.DT_REL, image_.DT_RELSZ, image_.DT_RELENT, image_.DT_RELCOUNT, image_.SHT_REL, b".rel.dyn"
)
_RELA: Final = _Form(
    3,
    image_.DT_RELA,
    image_.DT_RELASZ,
    image_.DT_RELAENT,
    image_.DT_RELACOUNT,
    image_.SHT_RELA,
    b".rela.dyn",
)


class _Part(NamedTuple):
    """A part of the old table, and how far from the start of the new table its copy is."""

    vaddr: int
    size: int
    start: int


class _Table(NamedTuple):
    """The new table: so many relative relocations, then the parts of the old table."""

    form: _Form
    place: Place
    size: int
    relatives: int
    parts: tuple[_Part, ...]


def has_relr(image: Image) -> bool:
    """Tell whether the file has relocations that musl before 1.2.4 does not apply."""
    return image.tag(image_.DT_RELR) is not None and bool(image.tag(image_.DT_RELRSZ))


def lower_relr(data: _Data) -> _Data | bytes:
    """Return the file with the relocations of its DT_RELR table ahead of those in its DT_RELA or DT_REL table.

    A file without DT_RELR comes back as it is. Raises ElfError for tables that contradict the rest of the file.
    """
    image = read_image(data)
    if not has_relr(image):
        return data
    form = _REL if image.header.machine in REL_MACHINES else _RELA
    addresses = relr_addresses(image)
    relative = _relative_entries(image, form, addresses)
    parts = _old_parts(image, form, len(relative))
    content = b"".join((relative, *(image.at(part.vaddr, part.size) for part in parts)))
    grown = append_segment(image, (content,))
    table = _Table(form, grown.places[0], len(content), len(addresses), parts)
    _write_dynamic(image, grown.data, table)
    _write_sections(image, grown.data, table)
    _clear(image, grown.data, ((part.vaddr, part.size) for part in parts))
    _clear(image, grown.data, [_relr(image)])
    lowered = bytes(grown.data)
    if has_relr(read_image(lowered)):
        raise ElfError("the DT_RELR table lies where other tables do")
    return lowered


def relr_addresses(image: Image) -> array[int]:
    """Return the addresses that the DT_RELR table relocates, in its order; none without such a table.

    Raises ElfError for a malformed table, and for an address whose word is not in the file.
    """
    addresses = _array(image)
    if not has_relr(image):
        return addresses
    width = image.layout.word.size
    room = sum(s.filesz for s in image.segments if s.type == image_.PT_LOAD) // width
    try:
        for some in _decoded(_relr_words(image), width):
            addresses.extend(some)
            if len(addresses) > room:
                raise ElfError(f"the DT_RELR table relocates more words than the {room} that the file has")
    except OverflowError:
        raise ElfError("the DT_RELR table goes beyond the last address") from None
    for _ in _runs(image, addresses):
        pass
    return addresses


def _decoded(words: Iterable[int], width: int) -> Iterator[Iterable[int]]:
    # gABI: an even entry is the address of one word to relocate. An odd one is a bitmap: its bits above the lowest
    # stand for the 63 (31) words behind what the entry before it covers.
    span = 8 * width - 1
    following = -1
    for word in words:
        if not word & 1:
            following = word + width
            yield (word,)
        elif following < 0:
            raise ElfError("the DT_RELR table begins with a bitmap, not with an address")
        else:
            digits = f"{word >> 1:0{span}b}".encode()[::-1].translate(_DIGITS)
            yield compress(range(following, following + span * width, width), digits)
            following += span * width


def _relr(image: Image) -> tuple[int, int]:
    return image.tag(image_.DT_RELR) or 0, image.tag(image_.DT_RELRSZ) or 0


def _relr_words(image: Image) -> array[int]:
    address, size = _relr(image)
    width = image.layout.word.size
    entry = image.tag(image_.DT_RELRENT)
    if entry not in (None, width):
        raise ElfError(f"DT_RELRENT is {entry}, not {width}")
    if size % width:
        raise ElfError(f"DT_RELRSZ is {size}, not a multiple of {width}")
    words = _array(image)
    words.frombytes(image.at(address, size))
    return _swapped(image, words)


def _array(image: Image) -> array[int]:
    return array("Q" if image.layout.bits == 64 else "I")


def _swapped(image: Image, words: array[int]) -> array[int]:
    if image.layout.little != (sys.byteorder == "little"):
        words.byteswap()
    return words


def _runs(image: Image, addresses: array[int]) -> Iterator[tuple[array[int], int]]:
    """Yield the addresses in runs that lie in one segment, and how far from an address its file offset is.

    Raises ElfError for the first address whose word the file does not have.
    """
    width, at = image.layout.word.size, 0
    # As tables have them. In others a run ends where an address is in another segment.
    ordered = all(map(le, addresses, islice(addresses, 1, None)))
    while at < len(addresses):
        segment = next((s for s in image.segments if _holds(s, addresses[at], width)), None)
        if segment is None:
            raise ElfError(f"DT_RELR relocates address {addresses[at]:#x}, which is not in the file")
        last = segment.vaddr + segment.filesz - width
        end = bisect_right(addresses, last, at) if ordered else at + 1
        while not ordered and end < len(addresses) and segment.vaddr <= addresses[end] <= last:
            end += 1
        yield addresses[at:end], segment.offset - segment.vaddr
        at = end


def _words_at(image: Image, addresses: array[int]) -> array[int]:
    """Return the words at these addresses."""
    width, found = image.layout.word.size, _array(image)
    for run, shift in _runs(image, addresses):
        first = min(run)
        span = image.data[first + shift : max(run) + shift + width]
        places = [address - first for address in run]
        if {place % width for place in places} == {0}:
            words = _array(image)
            words.frombytes(span)
            found.extend(map(_swapped(image, words).__getitem__, [place // width for place in places]))
        else:
            found.extend(image.layout.word.unpack_from(span, place)[0] for place in places)
    return found


def _holds(segment: image_.Segment, address: int, size: int) -> bool:
    return segment.type == image_.PT_LOAD and 0 <= address - segment.vaddr <= segment.filesz - size


def _relative_entries(image: Image, form: _Form, addresses: array[int]) -> bytes:
    machine = RELOCATIONS.get(image.header.machine)
    if machine is None:
        raise ElfError(f"no relative relocation is known for machine {image.header.machine}")
    entries = _array(image)
    entries.frombytes(bytes(len(addresses) * form.words * image.layout.word.size))
    entries[0 :: form.words] = addresses
    # The symbol's number above the type is 0, so that both classes have the type alone.
    entries[1 :: form.words] = array(entries.typecode, (machine.relative,)) * len(addresses)
    if form is _RELA:
        entries[2 :: form.words] = _words_at(image, addresses)
    return _swapped(image, entries).tobytes()


def _old_parts(image: Image, form: _Form, start: int) -> tuple[_Part, ...]:
    """Return what of the old table is copied behind start: all but DT_JMPREL where that lies inside.

    musl would apply such entries twice, as it did before; in a table of its own each is applied once.
    """
    address, size = image.tag(form.table), image.tag(form.size) or 0
    if address is None or not size:
        return ()
    entry = form.words * image.layout.word.size
    if size % entry or image.tag(form.entry) not in (None, entry):
        raise ElfError(f"a relocation table of {size} bytes, in entries of {image.tag(form.entry)}, not {entry}")
    end = address + size
    plt, plt_size = image.tag(image_.DT_JMPREL), image.tag(image_.DT_PLTRELSZ) or 0
    first, last = end, end
    if plt is not None and image.tag(image_.DT_PLTREL) == form.table and plt < end and address < plt + plt_size:
        first, last = max(plt, address), min(plt + plt_size, end)
    if (first - address) % entry or (last - address) % entry:
        raise ElfError("DT_JMPREL begins or ends inside an entry of the other relocation table")
    parts = (
        _Part(address, first - address, start),
        _Part(last, end - last, start + first - address),
    )
    return tuple(part for part in parts if part.size)


def _write_dynamic(image: Image, data: bytearray, table: _Table) -> None:
    form = table.form
    new = {
        form.table: table.place.vaddr,
        form.size: table.size,
        form.entry: form.words * image.layout.word.size,
    }
    missing = [item for item in new.items() if image.tag(item[0]) is None]
    entries: list[tuple[int, int]] = []
    for tag, value in image.dynamic:
        if tag in _RELR_TAGS:
            entries.extend(missing[:1])
            del missing[:1]
        elif tag == form.relatives:
            entries.append((tag, value + table.relatives))
        else:
            entries.append((tag, new.get(tag, value)))
    if missing:
        raise ElfError("the dynamic section has no room for the entries of a relocation table")
    entries.extend([(image_.DT_NULL, 0)] * (len(image.dynamic) - len(entries)))
    for index, fields in enumerate(entries):
        image.layout.dyn.pack_into(data, image.dynamic_offset + index * image.layout.dyn.size, *fields)


def _write_sections(image: Image, data: bytearray, table: _Table) -> None:
    """Make the section headers of the old tables true again: readelf, strip and patchelf go by them."""
    sections = Sections(image, data)
    relr = next((i for i, s in enumerate(sections.all) if s.type == image_.SHT_RELR), None)
    changed = _moved_sections(sections, table)
    if not changed:
        # lld keeps an empty .rela.dyn; and of two sections of that name patchelf would take the first.
        index = sections.find(table.form.name)
        if index is None and relr is not None:
            index, relr = relr, None
            sections.rename(index, table.form.name)
        if index is not None:
            changed[index] = _new_section(image, sections, index, table)
    if relr is not None:
        # Its cleared bytes stay a section, because GNU strip does not renumber .dynsym's st_shndx when one goes, and
        # get another name, because GNU strip derives the type of a section from that.
        sections.rename(relr, b".cleared")
        changed[relr] = sections.all[relr]._replace(type=image_.SHT_PROGBITS, entry=0)
    for index, section in changed.items():
        sections.replace(index, section)


def _moved_sections(sections: Sections, table: _Table) -> dict[int, Section]:
    """Return the sections of the old table, moved to their copies; the first one has the new relocations, too."""
    moved: dict[int, Section] = {}
    for index, section in enumerate(sections.all):
        for part in table.parts:
            inside = section.vaddr - part.vaddr
            if section.type == table.form.section and 0 <= inside < part.size and section.size:
                start = part.start + inside if moved else 0
                end = part.start + min(inside + section.size, part.size)
                place = table.place.vaddr + start, table.place.offset + start
                moved[index] = section._replace(vaddr=place[0], offset=place[1], size=end - start)
    return moved


def _new_section(image: Image, sections: Sections, index: int, table: _Table) -> Section:
    return sections.all[index]._replace(
        type=table.form.section,
        vaddr=table.place.vaddr,
        offset=table.place.offset,
        size=table.size,
        link=next((i for i, s in enumerate(sections.all) if s.type == image_.SHT_DYNSYM), 0),
        info=0,
        entry=table.form.words * image.layout.word.size,
    )


def _clear(image: Image, data: bytearray, ranges: Iterable[tuple[int, int]]) -> None:
    for vaddr, size in ranges:
        offset = image.offset(vaddr)
        data[offset : offset + size] = bytes(size)
