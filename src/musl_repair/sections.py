"""The section headers of an ELF file, which no loader reads, but readelf, strip and patchelf go by.

Source: System V ABI chapter 4.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.elfimage import SHT_NOBITS, read_image
from musl_repair.symbols import symbol_count

if TYPE_CHECKING:
    from musl_repair.elfimage import Content, Image


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


class Sections:
    """The section headers of an image, to be changed in data, its copy; none where the table is missing or broken.

    No loader reads them, so what is broken is left to the tools that do.
    """

    def __init__(self, image: Image, data: bytearray | None = None) -> None:
        """Read headers and names from the image: they stay what they were before any change of data."""
        header, self._format = image.header, image.layout.shdr
        end = header.shoff + header.shnum * self._format.size
        sound = header.shoff and header.shentsize == self._format.size and end <= len(image.data)
        table = image.data[header.shoff : end] if sound else b""
        self.all: Final = tuple(Section(*fields) for fields in self._format.iter_unpack(table))
        self._data, self._start = bytearray() if data is None else data, header.shoff
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

    def packed(self, index: int, section: Section) -> tuple[int, bytes]:
        """Return where in the file a header stands, and its bytes."""
        return self._start + index * self._format.size, self._format.pack(*section)

    def alone(self, index: int) -> bool:
        """Whether no other section has bytes of this one."""
        own = self.all[index]
        others = (s for other, s in enumerate(self.all) if other != index and s.type != SHT_NOBITS and s.size)
        return not any(s.offset < own.offset + own.size and own.offset < s.offset + s.size for s in others)

    @cached_property
    def names(self) -> tuple[bytes, ...]:
        """The names of all sections in their order."""
        return tuple(map(self.name, range(len(self.all))))


class Opened:
    """An ELF file with what is asked for several times when it is compared with another."""

    def __init__(self, data: Content) -> None:
        """Read headers and section headers. Raises ElfError for what is not ELF, or has its tables outside of it."""
        self.image: Final = read_image(data)
        self.sections: Final = Sections(self.image)

    @cached_property
    def symbols(self) -> int:
        """How many dynamic symbols hash tables and relocations reach. Raises ElfError, struct.error where cut off."""
        return symbol_count(self.image)
