"""DT_RELR as entries of DT_RELA or DT_REL, which musl before 1.2.4 applies too: the new table, and what leads to it.

Source: System V ABI chapter 5, "Relative Relocation Table"; musl 1.2.6 ldso/dynlink.c do_relocs.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair import elfimage as image_
from musl_repair.errors import ElfError
from musl_repair.relocations import REL_MACHINES, relative_relocation
from musl_repair.relr import in_order, relr_addresses, relr_runs, relr_table, relr_words, word_array

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from musl_repair.elfimage import Image
    from musl_repair.relr import Run
    from musl_repair.sections import Section, Sections
    from musl_repair.segment import Place

_RELR_TAGS: Final = frozenset({image_.DT_RELR, image_.DT_RELRSZ, image_.DT_RELRENT})


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
    3, image_.DT_RELA, image_.DT_RELASZ, image_.DT_RELAENT, image_.DT_RELACOUNT, image_.SHT_RELA, b".rela.dyn"
)


class _Part(NamedTuple):
    """A part of the old table, and how far from the start of the new table its copy is."""

    vaddr: int
    size: int
    start: int


class Lowering(NamedTuple):
    """The table that takes the place of DT_RELR and of the relocation table beside it."""

    content: bytes
    """So many relative relocations, then the parts of the old table."""
    form: _Form
    entry: int
    """Bytes of one relocation."""
    relatives: int
    parts: tuple[_Part, ...]
    relr: tuple[int, int]
    """Address and size of DT_RELR."""

    def entries(self, dynamic: Iterable[tuple[int, int]], vaddr: int) -> Iterator[tuple[int, int]]:
        """Yield the dynamic entries, (tag, value), with those of the new table at vaddr, in place of DT_RELR's."""
        form, before = self.form, tuple(dynamic)
        new = {form.table: vaddr, form.size: len(self.content), form.entry: self.entry}
        known = {tag for tag, _ in before}
        missing = [item for item in new.items() if item[0] not in known]
        for tag, value in before:
            if tag in _RELR_TAGS:
                yield from missing[:1]
                del missing[:1]
            elif tag == form.relatives:
                yield tag, value + self.relatives
            else:
                yield tag, new.get(tag, value)
        yield from missing

    def write_sections(self, sections: Sections, place: Place) -> None:
        """Make the section headers of the old tables true again: readelf, strip and patchelf go by them."""
        relr = next((i for i, s in enumerate(sections.all) if s.type == image_.SHT_RELR), None)
        changed = self._moved_sections(sections, place)
        if not changed:
            # lld keeps an empty .rela.dyn; and of two sections of that name patchelf would take the first.
            index = sections.find(self.form.name)
            if index is None and relr is not None:
                index, relr = relr, None
                sections.rename(index, self.form.name)
            if index is not None:
                changed[index] = self._new_section(sections, index, place)
        if relr is not None:
            # Its cleared bytes stay a section, because GNU strip does not renumber .dynsym's st_shndx when one goes,
            # and get another name, because GNU strip derives the type of a section from that.
            sections.rename(relr, b".cleared")
            changed[relr] = sections.all[relr]._replace(type=image_.SHT_PROGBITS, entry=0)
        for index, section in changed.items():
            sections.replace(index, section)

    def _moved_sections(self, sections: Sections, place: Place) -> dict[int, Section]:
        """Return the sections of the old table, moved to their copies; the first one has the new relocations, too."""
        moved: dict[int, Section] = {}
        for index, section in enumerate(sections.all):
            for part in self.parts:
                inside = section.vaddr - part.vaddr
                if section.type == self.form.section and 0 <= inside < part.size and section.size:
                    start = part.start + inside if moved else 0
                    end = part.start + min(inside + section.size, part.size)
                    at = {"vaddr": place.vaddr + start, "offset": place.offset + start}
                    moved[index] = section._replace(**at, size=end - start)
        return moved

    def _new_section(self, sections: Sections, index: int, place: Place) -> Section:
        return sections.all[index]._replace(
            type=self.form.section,
            vaddr=place.vaddr,
            offset=place.offset,
            size=len(self.content),
            link=next((i for i, s in enumerate(sections.all) if s.type == image_.SHT_DYNSYM), 0),
            info=0,
            entry=self.entry,
        )

    def left(self) -> Iterator[tuple[int, int]]:
        """Yield address and size of the tables that nothing leads to any more."""
        yield from ((part.vaddr, part.size) for part in self.parts)
        yield self.relr


def lowering_of(image: Image) -> Lowering:
    """Return the lowering of a file that has DT_RELR. Raises ElfError for tables that contradict the rest of it."""
    form = _REL if image.header.machine in REL_MACHINES else _RELA
    runs = relr_runs(image)
    addresses = relr_addresses(image, runs)
    relative = _relative_entries(image, form, addresses, runs)
    parts = _old_parts(image, form, len(relative))
    content = b"".join((relative, *(image.at(part.vaddr, part.size) for part in parts)))
    return Lowering(content, form, form.words * addresses.itemsize, len(addresses), parts, relr_table(image))


def _relative_entries(image: Image, form: _Form, addresses: array[int], runs: tuple[Run, ...]) -> bytes:
    relative = relative_relocation(image.header.machine)
    entries = word_array(image)
    entries.frombytes(bytes(len(addresses) * form.words * image.layout.word.size))
    entries[0 :: form.words] = addresses
    # The symbol's number above the type is 0, so that both classes have the type alone.
    entries[1 :: form.words] = array(entries.typecode, (relative,)) * len(addresses)
    if form is _RELA:
        entries[2 :: form.words] = relr_words(image, runs)
    return in_order(image, entries).tobytes()


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
