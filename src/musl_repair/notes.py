"""The notes of an ELF file that say something about loading it: build-id, ISA level, dlopen metadata.

Source: System V ABI chapter 5 (note section); the x86-64 psABI and the Linux extensions to gABI
(.note.gnu.property); the ELF dlopen metadata specification.
"""

from __future__ import annotations

import struct
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.elfimage import PT_NOTE
from musl_repair.relocations import EM_386, EM_X86_64

if TYPE_CHECKING:
    from collections.abc import Iterator

    from musl_repair.elfimage import Image

_NT_GNU_BUILD_ID: Final = 3
_NT_GNU_PROPERTY_TYPE_0: Final = 5
_NT_FDO_DLOPEN: Final = 0x407C0C0A
_GNU_PROPERTY_X86_ISA_1_NEEDED: Final = 0xC0008002

_MAX_NOTES: Final = 4096
"""More than any linker writes: segments that overlap could have no end of them."""


class Notes(NamedTuple):
    """What the notes say; dlopen holds the JSON texts in file order."""

    build_id: str | None = None
    isa_needed: int = 0
    dlopen: tuple[str, ...] = ()


def read_notes(image: Image) -> Notes:
    """Read the note segments. A note that does not fit ends its segment, too many end the reading: no loader cares."""
    build_id, isa, dlopen = None, 0, []
    for owner, kind, content in all_notes(image):
        if owner == b"GNU" and kind == _NT_GNU_BUILD_ID:
            build_id = build_id or content.hex()
        elif owner == b"GNU" and kind == _NT_GNU_PROPERTY_TYPE_0:
            isa |= _isa_needed(image, content)
        elif owner == b"FDO" and kind == _NT_FDO_DLOPEN:
            dlopen.append(content.rstrip(b"\0").decode("utf-8", "replace"))
    return Notes(build_id, isa, tuple(dlopen))


def all_notes(image: Image) -> Iterator[tuple[bytes, int, bytes]]:
    """Yield (owner, type, content) of the notes in file order, as far as they fit and are not too many."""
    return islice(_notes(image), _MAX_NOTES)


def _notes(image: Image) -> Iterator[tuple[bytes, int, bytes]]:
    header = struct.Struct(image.layout.order + "III")
    for segment in image.segments:
        if segment.type != PT_NOTE:
            continue
        view = image.data[segment.offset : segment.offset + segment.filesz]
        align = 8 if segment.align == 8 else 4
        at = 0
        while at + header.size <= len(view):
            name_size, size, kind = header.unpack_from(view, at)
            start = _aligned(at + header.size + name_size, align)
            if start + size > len(view):
                break
            name = bytes(view[at + header.size : at + header.size + name_size])
            yield name.rstrip(b"\0"), kind, bytes(view[start : start + size])
            at = _aligned(start + size, align)


def _isa_needed(image: Image, content: bytes) -> int:
    if image.header.machine not in (EM_386, EM_X86_64):
        return 0
    at, needed = 0, 0
    while at + 8 <= len(content):
        kind, size = struct.unpack_from(image.layout.order + "II", content, at)
        if kind == _GNU_PROPERTY_X86_ISA_1_NEEDED and size == 4 and at + 12 <= len(content):
            needed |= image.layout.uint32.unpack_from(content, at + 8)[0]
        at += 8 + _aligned(size, image.layout.word.size)
    return needed


def _aligned(number: int, align: int) -> int:
    return -(-number // align) * align
