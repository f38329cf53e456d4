"""Zip archives: members as they are stored, their content, and what is not safe to read.

Source: APPNOTE.TXT 6.3.10 (zip); `zipfile` reads the central directory, the rest is read here and checked against it.
"""

from __future__ import annotations

import os
import struct
import unicodedata
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from musl_repair.codec import crc32, inflate, inflate_chunks
from musl_repair.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

Date = tuple[int, int, int, int, int, int]

STORED: Final = 0
DEFLATED: Final = 8
_ENCRYPTED: Final = 0x1
_UTF8: Final = 0x800
_LOCAL: Final = struct.Struct("<4sHHHHHIIIHH")
_CHUNK: Final = 1 << 20
_HEAD: Final = 512
"""Of a member's stored bytes: enough for the first few of its content."""
_MAX_RATIO: Final = 1032
"""Deflate's best: 258 bytes of content in two bits."""
_UNIX: Final = 3
_S_IFMT: Final = 0o170000
_S_IFREG: Final = 0o100000
_S_IFDIR: Final = 0o040000


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an archive as the central directory describes it; sizes in bytes."""

    name: str
    size: int
    stored_size: int
    crc: int
    method: int
    date: Date
    system: int
    attributes: int
    offset: int

    @property
    def mode(self) -> int:
        """Unix mode bits with the file type, 0 where the archive has none."""
        return self.attributes >> 16

    @property
    def is_dir(self) -> bool:
        """Whether the member only names a folder."""
        return self.name.endswith("/")


class Archive:
    """An open zip archive: name → Member in the order of the file. Immutable; close it after use."""

    def __init__(self, path: Path) -> None:
        """Open and check an archive. Raises ArchiveError, naming the member where one is at fault."""
        self.path: Final = path
        try:
            # Open for the lifetime of the Archive, and closed by close().
            self._file: Final[BinaryIO] = path.open("rb")
        except OSError as error:
            raise ArchiveError(f"cannot read {path}: {error.strerror}") from error
        try:
            infos, self._directory = _read_directory(self._file)
            self.members: Final = {info.filename: _member(info) for info in _checked(infos, self._directory)}
        except (ArchiveError, zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
            self._file.close()
            raise ArchiveError(f"{path} is not a usable zip archive: {error}") from error

    def __enter__(self) -> Archive:
        """Return the archive itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; reading afterwards is a programming error."""
        self._file.close()

    def read(self, name: str) -> bytes:
        """Return a member's content, its size and CRC checked. Raises ArchiveError where they are wrong."""
        member = self.members[name]
        stored = b"".join(self.raw(member))
        try:
            content = stored if member.method == STORED else inflate(stored, member.size)
        except ArchiveError as error:
            raise self._corrupt(name, error) from error
        if crc32(content) != member.crc:
            raise self._corrupt(name, "its CRC does not match")
        return bytes(content)

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield a member's content in pieces; size and CRC are checked by the end. Raises as `read` does."""
        member = self.members[name]
        pieces = self.raw(member) if member.method == STORED else inflate_chunks(self.raw(member), member.size)
        crc = 0
        try:
            for piece in pieces:
                crc = crc32(piece, crc)
                yield piece
        except ArchiveError as error:
            raise self._corrupt(name, error) from error
        if crc != member.crc:
            raise self._corrupt(name, "its CRC does not match")

    def head(self, name: str, size: int) -> bytes:
        """Return the first bytes of a member, at most size, unchecked."""
        member = self.members[name]
        stored = os.pread(self._file.fileno(), min(member.stored_size, _HEAD), self._data_offset(member))
        if member.method == STORED:
            return stored[:size]
        try:
            return next(inflate_chunks([stored], member.size), b"")[:size]
        except ArchiveError as error:
            raise self._corrupt(name, error) from error

    def _corrupt(self, name: str, why: object) -> ArchiveError:
        return ArchiveError(f"{self.path}: member {name} is corrupt: {why}")

    def raw(self, member: Member) -> Iterator[bytes]:
        """Yield a member's bytes as they are stored, in chunks of at most 1 MiB."""
        at, left = self._data_offset(member), member.stored_size
        while left:
            chunk = os.pread(self._file.fileno(), min(left, _CHUNK), at)
            if not chunk:
                raise ArchiveError(f"{self.path}: member {member.name} is cut off")
            yield chunk
            at, left = at + len(chunk), left - len(chunk)

    def _data_offset(self, member: Member) -> int:
        header = os.pread(self._file.fileno(), _LOCAL.size, member.offset)
        if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
            raise ArchiveError(f"{self.path}: member {member.name} has no local header")
        _, _, flags, method, _, _, _, _, _, name_size, extra_size = _LOCAL.unpack(header)
        name = os.pread(self._file.fileno(), name_size, member.offset + _LOCAL.size)
        if name.decode("utf-8" if flags & _UTF8 else "cp437", "replace") != member.name:
            raise ArchiveError(f"{self.path}: member {member.name} has another name in its local header")
        if method != member.method or flags & _ENCRYPTED:
            raise ArchiveError(f"{self.path}: member {member.name} has other flags in its local header")
        start: int = member.offset + _LOCAL.size + name_size + extra_size
        if start + member.stored_size > self._directory:
            raise ArchiveError(f"{self.path}: member {member.name} runs into the central directory")
        return start


def _read_directory(file: BinaryIO) -> tuple[list[zipfile.ZipInfo], int]:
    # The ZipFile does not own the file: it is closed by Archive, not here.
    archive = zipfile.ZipFile(file)
    return archive.infolist(), archive.start_dir


def _member(info: zipfile.ZipInfo) -> Member:
    return Member(
        name=info.filename,
        size=info.file_size,
        stored_size=info.compress_size,
        crc=info.CRC,
        method=info.compress_type,
        date=info.date_time,
        system=info.create_system,
        attributes=info.external_attr,
        offset=info.header_offset,
    )


def _checked(infos: list[zipfile.ZipInfo], directory: int) -> list[zipfile.ZipInfo]:
    """Return the entries; raises ArchiveError for the first that is not safe or not readable.

    directory is the offset of the central directory, which all members stand before.
    """
    seen: dict[str, str] = {}
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        name = info.orig_filename
        fault = _name_fault(name) or _kind_fault(info)
        if fault:
            raise ArchiveError(f"member {name!r} {fault}")
        if info.header_offset < end:
            raise ArchiveError(f"member {name!r} overlaps the one before it")
        end = info.header_offset + _LOCAL.size + info.compress_size
        if end > directory:
            raise ArchiveError(f"member {name!r} runs into the central directory")
        other = seen.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other is not name:
            how = "is there twice" if other == name else f"differs from {other!r} only in case or Unicode form"
            raise ArchiveError(f"member {name!r} {how}")
    return infos


def _name_fault(name: str) -> str | None:
    parts = name.removesuffix("/").split("/")
    if "\0" in name or "\\" in name or name != name.strip("\r\n"):
        return "has a NUL, a backslash or a line end in its name"
    if name.startswith("/") or name[1:2] == ":":
        return "has an absolute name"
    if any(part in ("", ".", "..") for part in parts):
        return "has an empty, '.' or '..' part in its name"
    return None


def _kind_fault(info: zipfile.ZipInfo) -> str | None:
    if info.flag_bits & _ENCRYPTED:
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
