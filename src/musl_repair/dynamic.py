"""The dynamic entries and strings that a patch asks for: needed names, soname, rpath. Pure.

Source: System V ABI chapter 5; the LSB's symbol versions; musl 1.2.6 ldso/dynlink.c decode_dyn, load_deps.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair import elfimage as image_
from musl_repair.errors import ElfError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from musl_repair.elfimage import Image
    from musl_repair.patches import Patch

_SEARCH_PATHS: Final = frozenset({image_.DT_RPATH, image_.DT_RUNPATH})
_MAX_NEEDS: Final = 0x8000
"""As many libraries as DT_VERSYM has indices for, at the least one for each."""

_Entry = tuple[int, int]


class StringTable:
    """The dynamic string table, and what is added behind it: all that leads into it stays true."""

    def __init__(self, image: Image) -> None:
        """Take the table of an image. Raises ElfError where it is outside the file, or of no known size."""
        size = image.tag(image_.DT_STRSZ)
        if size is None and image.tag(image_.DT_STRTAB) is not None:
            raise ElfError("it does not say how long its dynamic string table is")
        self.old: Final = image.tagged(image_.DT_STRTAB, size or 0)
        self._width = image.layout.word.size
        self._added: list[bytes] = []
        self._places: dict[bytes, int] = {}
        self._size = len(self.old)

    @property
    def content(self) -> bytes:
        """The whole table as it is now, of whole words: GNU strip loses the gap before a table that follows it."""
        return b"".join((self.old, *self._added, bytes(-self._size % self._width)))

    @property
    def grown(self) -> bool:
        """Whether anything was added."""
        return bool(self._added)

    def at(self, offset: int) -> str:
        """Return the string at an offset of the old table."""
        return self.old[offset : self.old.find(b"\0", offset)].decode("utf-8", "surrogateescape")

    def place(self, text: str) -> int:
        """Return the offset of a string, which is added if there is none."""
        string = text.encode("utf-8", "surrogateescape")
        if string not in self._places:
            # Between two NULs: an editor that writes over a string that is the end of another harms both.
            found = self.old.find(b"\0" + string + b"\0")
            self._places[string] = found + 1 if found >= 0 else self._add(string)
        return self._places[string]

    def _add(self, string: bytes) -> int:
        if not self._added and not self.old.endswith(b"\0"):
            self._append(b"\0")
        place = self._size
        self._append(string + b"\0")
        return place

    def _append(self, content: bytes) -> None:
        self._added.append(content)
        self._size += len(content)


def patched_entries(image: Image, patch: Patch, strings: StringTable) -> list[_Entry]:
    """Return the dynamic entries, (tag, value), that a patch asks for, in the order of the file; new needs come first.

    Strings that they lack are added to the table.
    """
    entries = [(image_.DT_NEEDED, strings.place(name)) for name in patch.added]
    entries += _renamed(image.dynamic, patch, strings)
    if patch.soname is not None:
        entries = _with(entries, frozenset({image_.DT_SONAME}), (image_.DT_SONAME, strings.place(patch.soname)))
    if patch.rpath is not None:
        new = (image_.DT_RPATH, strings.place(patch.rpath)) if patch.rpath else None
        # DT_RPATH, not DT_RUNPATH: musl reads the latter only since 1.1.6 and treats both alike since then.
        entries = _with(entries, _SEARCH_PATHS, new)
    return entries


def _renamed(dynamic: Iterable[_Entry], patch: Patch, strings: StringTable) -> Iterator[_Entry]:
    renames = dict(patch.renames)
    for tag, value in dynamic:
        name = strings.at(value) if tag == image_.DT_NEEDED else None
        if name not in patch.dropped:
            yield tag, strings.place(renames[name]) if name in renames else value


def _with(entries: list[_Entry], tags: frozenset[int], new: _Entry | None) -> list[_Entry]:
    """Return entries with a new one in place of all with these tags: where the first was, or behind the needs."""
    kept = [entry for entry in entries if entry[0] not in tags]
    if new is None:
        return kept
    needs = sum(tag == image_.DT_NEEDED for tag, _ in entries)
    at = next((index for index, entry in enumerate(entries) if entry[0] in tags), needs)
    return [*kept[:at], new, *kept[at:]]


class Word(NamedTuple):
    """A 32-bit number of the file that changes, and its offset."""

    offset: int
    value: int


def renamed_versions(image: Image, patch: Patch, strings: StringTable) -> Iterator[Word]:
    """Yield the names of libraries in DT_VERNEED that change with the needs: musl reads none, other tools do."""
    address, renames = image.tag(image_.DT_VERNEED), dict(patch.renames)
    if address is None or not renames:
        return
    need = struct.Struct(image.layout.order + "HHIII")
    at = image.offset(address)
    for _ in range(min(image.tag(image_.DT_VERNEEDNUM) or 0, _MAX_NEEDS)):
        _, _, file, _, step = need.unpack_from(image.data, at)
        name = strings.at(file)
        if name in renames:
            yield Word(at + 4, strings.place(renames[name]))
        if not step:
            break
        at += step
