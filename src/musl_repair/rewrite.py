"""One ELF file and its patch → the edited file: dynamic entries, strings, and DT_RELR lowered, in one new segment.

Nothing that is mapped moves but the tables that grow: string table, dynamic section, relocations, program headers.
Source: System V ABI chapters 4 and 5; musl 1.2.6 ldso/dynlink.c map_library, decode_dyn.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from musl_repair import elfimage as image_
from musl_repair.dynamic import StringTable, patched_entries, renamed_versions
from musl_repair.elfimage import read_image
from musl_repair.errors import ElfError
from musl_repair.lowering import lowering_of
from musl_repair.relr import has_relr
from musl_repair.sections import Sections
from musl_repair.segment import Grown, append_segment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from musl_repair.elfimage import Content, Image
    from musl_repair.lowering import Lowering
    from musl_repair.patches import Patch
    from musl_repair.segment import Place

_STRINGS: Final = "strings"
_DYNAMIC: Final = "dynamic"
_RELOCATIONS: Final = "relocations"
_NAMES: Final = frozenset({image_.DT_NEEDED, image_.DT_SONAME, image_.DT_RPATH})
"""What a patch adds to the dynamic section."""


def rewrite(data: Content, patch: Patch) -> Content:
    """Return a file edited as its patch says, stripping apart; its own bytes where there is nothing to do.

    Raises ElfError for tables that contradict the rest of the file, and where it has no room for a segment.
    """
    image = read_image(data)
    lowers = patch.lower_relr and has_relr(image)
    if not (patch.edits or lowers) or not image.dynamic:
        return data
    try:
        return _Rewriting(image, patch, lowering_of(image) if lowers else None).result()
    except struct.error as error:
        raise ElfError(f"a table is cut off ({error})") from error


class _Rewriting:
    """One file that is being edited: first what is to be written, then where, and then it is written."""

    def __init__(self, image: Image, patch: Patch, lowering: Lowering | None) -> None:
        self._image = image
        self._lowering = lowering
        self._strings = StringTable(image)
        self._entries = patched_entries(image, patch, self._strings)
        self._names = tuple(renamed_versions(image, patch, self._strings))
        if self._strings.grown and image.tag(image_.DT_STRTAB) is None:
            raise ElfError("it has no dynamic string table")
        self._dynamic = next(s for s in image.segments if s.type == image_.PT_DYNAMIC)
        self._slots = self._dynamic.filesz // image.layout.dyn.size
        if len(image.dynamic) > self._slots:
            raise ElfError("it has more dynamic entries than its dynamic section has room for")
        self._blocks = self._new_blocks()

    def result(self) -> bytearray:
        """Return the edited file."""
        grown = self._grown()
        places = dict(zip(self._blocks, grown.places, strict=True))
        self._write_dynamic(grown.data, places)
        for offset, value in self._names:
            self._image.layout.uint32.pack_into(grown.data, offset, value)
        sections = Sections(self._image, grown.data)
        self._write_sections(sections, places)
        self._clear(grown.data, sections, places)
        if self._lowering is not None and has_relr(read_image(grown.data)):
            raise ElfError("the DT_RELR table lies where other tables do")
        return grown.data

    def _grown(self) -> Grown:
        if not self._blocks:
            return Grown(bytearray(self._image.data), ())
        moved = [*self._blocks].index(_DYNAMIC) if _DYNAMIC in self._blocks else None
        return append_segment(self._image, tuple(self._blocks.values()), dynamic=moved)

    def _new_blocks(self) -> dict[str, bytes]:
        """Return what goes into a new segment; the dynamic section only if it has no room where it is."""
        # In the order of their section headers, as linkers write them: GNU strip cuts off what is not in that order.
        blocks = {}
        if self._strings.grown:
            blocks[_STRINGS] = self._strings.content
        if self._lowering is not None:
            blocks[_RELOCATIONS] = self._lowering.content
        size = self._image.layout.dyn.size * (len(self._placed({})) + 1)  # with the DT_NULL at the end
        if not self._has_room(size):
            blocks[_DYNAMIC] = bytes(size)
        return blocks

    def _has_room(self, size: int) -> bool:
        """Whether a dynamic section of so many bytes fits where it is; what linkers leave for that is zero."""
        used = self._dynamic.offset + len(self._image.dynamic) * self._image.layout.dyn.size
        return size <= self._dynamic.filesz and not any(self._image.data[used : self._dynamic.offset + size])

    def _placed(self, places: Mapping[str, Place]) -> list[tuple[int, int]]:
        """Return the dynamic entries, where tables are that are in the new segment included."""
        entries = self._entries
        if _STRINGS in places:
            new = {image_.DT_STRTAB: places[_STRINGS].vaddr, image_.DT_STRSZ: len(self._blocks[_STRINGS])}
            entries = [(tag, new.get(tag, value)) for tag, value in entries]
        if self._lowering is not None:
            vaddr = places[_RELOCATIONS].vaddr if _RELOCATIONS in places else 0
            entries = list(self._lowering.entries(entries, vaddr))
        return entries

    def _write_dynamic(self, data: bytearray, places: Mapping[str, Place]) -> None:
        entries, room = self._placed(places), len(self._image.dynamic)
        if _DYNAMIC in places:
            self._write_entries(data, places[_DYNAMIC].offset, entries, len(entries) + 1)
            # Code that asks for _DYNAMIC, as the linker placed it, finds there what has room: all that are no names.
            names = [index for index, (tag, _) in enumerate(entries) if tag in _NAMES][: len(entries) - room]
            entries = [entry for index, entry in enumerate(entries) if index not in names][:room]
        # The first DT_NULL may be what lies behind a section that is full; it stays.
        self._write_entries(data, self._image.dynamic_offset, entries, self._slots)

    def _write_entries(self, data: bytearray, offset: int, entries: list[tuple[int, int]], slots: int) -> None:
        form = self._image.layout.dyn
        # Behind the first DT_NULL there may be anything; what was an entry, and is none now, is another DT_NULL.
        ends = [(image_.DT_NULL, 0)] * max(len(self._image.dynamic) - len(entries), 1)
        for index, fields in enumerate([*entries, *ends][:slots]):
            form.pack_into(data, offset + index * form.size, *fields)

    def _write_sections(self, sections: Sections, places: Mapping[str, Place]) -> None:
        """Make the headers of sections that moved true again: readelf, strip and patchelf go by them."""
        for name, index in self._sections(sections).items():
            if name in places:
                vaddr, offset = places[name].vaddr, places[name].offset
                moved = sections.all[index]._replace(vaddr=vaddr, offset=offset, size=len(self._blocks[name]))
                sections.replace(index, moved)
        if self._lowering is not None:
            self._lowering.write_sections(sections, places[_RELOCATIONS])

    def _sections(self, sections: Sections) -> dict[str, int]:
        """Return the indices of the sections of the string table and of the dynamic section, where there are any."""
        wanted = {
            (image_.SHT_STRTAB, self._image.tag(image_.DT_STRTAB), self._image.tag(image_.DT_STRSZ)): _STRINGS,
            (image_.SHT_DYNAMIC, self._dynamic.vaddr, self._dynamic.filesz): _DYNAMIC,
        }
        found = ((wanted.get((s.type, s.vaddr, s.size)), index) for index, s in enumerate(sections.all))
        return {name: index for name, index in found if name is not None}

    def _clear(self, data: bytearray, sections: Sections, places: Mapping[str, Place]) -> None:
        """Fill with zeros what nothing leads to any more: it is gone when the file is compressed."""
        old = self._sections(sections)
        if _STRINGS in places and _STRINGS in old and sections.alone(old[_STRINGS]):
            section = sections.all[old[_STRINGS]]
            data[section.offset : section.offset + section.size] = bytes(section.size)
        for vaddr, size in self._lowering.left() if self._lowering is not None else ():
            offset = self._image.offset(vaddr)
            data[offset : offset + size] = bytes(size)
