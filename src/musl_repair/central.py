"""The central directory of a zip archive: what it promises, and what of that is not safe to read.

Source: APPNOTE.TXT 6.3.10 (zip). `zipfile` reads the directory; what it is lenient about is refused here.
"""

from __future__ import annotations

import os
import re
import struct
import zipfile
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from musl_repair.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterable

STORED: Final = 0
DEFLATED: Final = 8
ENCRYPTED: Final = 0x1
LOCAL_SIZE: Final = 30
"""Bytes of a local header without name and extra field."""
_CONTROL: Final = re.compile("[\0-\x1f\x7f-\x9f]")
"""Unicode's category Cc."""
_MAX_RATIO: Final = 1032
"""Deflate's best: 258 bytes of content in two bits."""
_UNIX: Final = 3
_S_IFMT: Final = 0o170000
_S_IFREG: Final = 0o100000
_S_IFDIR: Final = 0o040000
_END: Final = struct.Struct("<4sHHHHIIH")
_END64: Final = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR64: Final = struct.Struct("<4sIQI")
_MAX_COMMENT: Final = 0xFFFF
_MAX16: Final = 0xFFFF
_MAX32: Final = 0xFFFFFFFF
_MAX_DIRECTORY: Final = 32 << 20
"""Bytes: room for a quarter of a million members, more than any wheel has."""


class Limits(NamedTuple):
    """How far an archive may inflate: a small one that inflates to much is made to fill memories and disks."""

    size: int = 8 << 30
    """Bytes, all members together."""
    ratio: int = 100
    """How many times its own size an archive may inflate to, where that is more than a sixteenth of size."""

    def fault(self, sizes: Iterable[int], stored: int) -> str | None:
        """Return what is wrong with members of these sizes in an archive of so many bytes."""
        total = sum(sizes)
        if total > self.size:
            return f"its members inflate to {total} bytes, more than {self.size}"
        if total > self.size // 16 and total > self.ratio * stored:
            return f"its members inflate to {total} bytes, {total // max(stored, 1)} times its own size"
        return None


class Directory(NamedTuple):
    """The entries of a central directory, and the offset that it begins at."""

    entries: tuple[zipfile.ZipInfo, ...]
    start: int


class _End(NamedTuple):
    """The record at the end of an archive: where it (zip64: its own) stands, and what it says of the directory."""

    offset: int
    members: int
    size: int


def read_directory(file: BinaryIO, limits: Limits) -> Directory:
    """Read and check a central directory. Raises ArchiveError, naming the member where one is at fault."""
    length = os.fstat(file.fileno()).st_size
    try:
        end = _read_end(file, length)
        # The ZipFile does not own the file: it is closed by whoever opened it.
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, struct.error) as error:
        raise ArchiveError(str(error)) from error
    directory = Directory(tuple(archive.infolist()), archive.start_dir)
    _check_members(directory)
    _check_end(directory, end)
    fault = limits.fault((info.file_size for info in directory.entries), length)
    if fault is not None:
        largest = max(directory.entries, key=lambda info: info.file_size)
        raise ArchiveError(f"{fault}, most of it {largest.filename!r}; if that is right, raise --max-inflated")
    return directory


def _read_end(file: BinaryIO, length: int) -> _End:
    """Find the record that ends the archive, and with it the file."""
    tail = os.pread(file.fileno(), _END.size + _MAX_COMMENT, max(0, length - _END.size - _MAX_COMMENT))
    at = (
        len(tail) - _END.size if tail[-_END.size :][:4] == b"PK\5\6" and tail[-2:] == b"\0\0" else tail.rfind(b"PK\5\6")
    )
    if at < 0 or at + _END.size > len(tail):
        raise ArchiveError("it has no end record: it is cut off, or no zip file")
    _, _, _, _, count, size, start, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != len(tail):
        raise ArchiveError("there are data behind its end")
    offset = length - len(tail) + at
    if _MAX32 in (size, start) or count == _MAX16:
        offset, count, size = _read_wide_end(file, offset)
    if size > _MAX_DIRECTORY:
        raise ArchiveError(f"its directory has {size} bytes, more than that of any wheel")
    return _End(offset, count, size)


def _read_wide_end(file: BinaryIO, offset: int) -> tuple[int, int, int]:
    """Return where the zip64 end record before the end record stands, and what it says of number and size."""
    locator = os.pread(file.fileno(), _LOCATOR64.size, max(0, offset - _LOCATOR64.size))
    magic, _, at, _ = _LOCATOR64.unpack(locator)
    if magic != b"PK\6\7" or at != offset - _LOCATOR64.size - _END64.size:
        raise ArchiveError("its zip64 end record is not before its end record")
    magic, *_, count, size, _ = _END64.unpack(os.pread(file.fileno(), _END64.size, at))
    if magic != b"PK\6\6":
        raise ArchiveError("it has no zip64 end record")
    return at, count, size


def _check_end(directory: Directory, end: _End) -> None:
    """See that the archive is all that there is in the file, and as long as it says."""
    if directory.start + end.size != end.offset:
        raise ArchiveError("its directory is not where its end record says")
    if len(directory.entries) != end.members:
        raise ArchiveError(f"its end record counts {end.members} members, its directory {len(directory.entries)}")
    first = min((info.header_offset for info in directory.entries), default=directory.start)
    if first != 0:
        raise ArchiveError(f"there are {first} bytes of other data before its first member")


def _check_members(directory: Directory) -> None:
    """Raise ArchiveError for the first member that is not safe or not readable."""
    seen: set[str] = set()
    end = 0
    for info in sorted(directory.entries, key=lambda info: info.header_offset):
        name = info.orig_filename
        fault = _name_fault(name) or _kind_fault(info)
        if fault:
            raise ArchiveError(f"member {name!r} {fault}")
        if info.header_offset < end:
            raise ArchiveError(f"member {name!r} overlaps the one before it")
        end = info.header_offset + LOCAL_SIZE + info.compress_size
        if end > directory.start:
            raise ArchiveError(f"member {name!r} runs into the central directory")
        # Names that differ in case, or in their Unicode form, are different files wherever there is musl.
        if name in seen:
            raise ArchiveError(f"member {name!r} is there twice")
        seen.add(name)
    _check_folders(seen)


def _check_folders(names: set[str]) -> None:
    """See that no member is a file and the folder of another."""
    # No name has a NUL: in this order all that lies in a folder comes right behind its name.
    for name, following in pairwise(sorted(names, key=lambda name: name.replace("/", "\0"))):
        if following.startswith(f"{name}/"):
            raise ArchiveError(f"member {following!r} lies in {name!r}, which is a file")


def _name_fault(name: str) -> str | None:
    parts = name.removesuffix("/").split("/")
    if "\\" in name:
        return "has a backslash in its name"
    if _CONTROL.search(name):
        # uv refuses such a wheel; installer takes some of them for the end of a line of RECORD.
        return "has a control character in its name"
    if name.startswith("/") or name[1:2] == ":":
        return "has an absolute name"
    if any(part in ("", ".", "..") for part in parts):
        return "has an empty, '.' or '..' part in its name"
    return None


def _kind_fault(info: zipfile.ZipInfo) -> str | None:
    if info.flag_bits & ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in (STORED, DEFLATED):
        return f"is compressed with method {info.compress_type}; wheels use 0 (stored) and 8 (deflated)"
    if info.compress_type == DEFLATED and info.file_size > _MAX_RATIO * info.compress_size:
        return f"cannot have the {info.file_size} bytes that it promises"
    if info.filename != info.orig_filename:
        return f"is also called {info.filename!r}"
    kind = info.external_attr >> 16 & _S_IFMT
    if info.create_system == _UNIX and kind not in (0, _S_IFREG, _S_IFDIR):
        return "is a link or a device, which a wheel cannot have"
    if info.compress_type == STORED and info.file_size != info.compress_size:
        return "is stored but has two sizes"
    return None
