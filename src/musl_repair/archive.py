"""Zip archives: members as they are stored, their content, and what is not safe to read.

Source: APPNOTE.TXT 6.3.10 (zip). The central directory is read by central.py, the rest here, and checked against it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from musl_repair.central import ENCRYPTED, STORED, Limits, read_directory
from musl_repair.codec import crc32, inflate, inflate_chunks
from musl_repair.errors import ArchiveError

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

Date = tuple[int, int, int, int, int, int]

_STREAMED: Final = 0x8
"""CRC and sizes stand behind the data, and only there."""
_UTF8: Final = 0x800
_LOCAL: Final = struct.Struct("<4sHHHHHIIIHH")
_MAX32: Final = 0xFFFFFFFF
_CHUNK: Final = 1 << 18
_SMALL: Final = 1 << 16
"""Bytes up to which a member is written with what stands around it: asking the kernel to copy it costs more."""
_ROOM: Final = 64
"""Bytes that are read with a local header, for an extra field: most have none, or a short one."""
_HEAD: Final = 512
"""Of a member's stored bytes: mostly enough for the first few of its content."""


class Member(NamedTuple):
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

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        """Open and check an archive. Raises ArchiveError, naming the member where one is at fault."""
        self.path: Final = path
        try:
            # Open for the lifetime of the Archive, and closed by close().
            self._file: Final[BinaryIO] = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 - see above
        except OSError as error:
            raise ArchiveError(f"cannot read {path}: {error.strerror}") from error
        try:
            infos, self._directory = read_directory(self._file, limits or Limits())
            self.members: Final = {info.filename: _member(info) for info in infos}
        except (ArchiveError, OSError) as error:
            self._file.close()
            raise ArchiveError(f"{path} is not a usable zip archive: {error}") from error
        self._state = _state_of(self._file)
        self._sums: dict[str, int] = {}
        """Member → CRC of what was read of it as it is stored."""

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

    def read(self, name: str) -> bytes | bytearray:
        """Return a member's content, its size and CRC checked. Raises ArchiveError where they are wrong."""
        member = self.members[name]
        stored = os.pread(self._file.fileno(), member.stored_size, self._data_offset(member))
        if len(stored) < member.stored_size:  # cut off, or more than the two GiB that Linux reads at once
            stored = b"".join(map(bytes, self._raw(member)))
        try:
            content: bytes | bytearray = stored if member.method == STORED else inflate(stored, member.size)
        except ArchiveError as error:
            raise self._corrupt(name, error) from error
        if crc32(content) != member.crc:
            raise self._corrupt(name, "its CRC does not match")
        self._sums[name] = crc32(stored)
        return content

    def chunks(self, name: str) -> Iterator[bytes | memoryview]:
        """Yield a member's content in pieces; size and CRC are checked by the end. Raises as `read` does.

        A piece is good until the next one is asked for.
        """
        member = self.members[name]
        raw = self._summed(member)
        pieces = raw if member.method == STORED else inflate_chunks(raw, member.size)
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
            with contextlib.suppress(ArchiveError):  # what was read is not enough
                return _first(size, inflate_chunks([stored], member.size))
            return _first(size, inflate_chunks(self._raw(member), member.size))
        except ArchiveError as error:
            raise self._corrupt(name, error) from error

    def _corrupt(self, name: str, why: object) -> ArchiveError:
        return ArchiveError(f"{self.path}: member {name} is corrupt: {why}")

    def _cut_off(self, member: Member) -> ArchiveError:
        return ArchiveError(f"{self.path}: member {member.name} is cut off")

    def copy_raw(self, member: Member, out: BinaryIO) -> None:
        """Append a member's bytes, as they are stored, to a file; within the kernel where that is possible.

        Raises ArchiveError where they are not those that were read before, as far as they pass through here; of all
        others `check_unchanged` knows afterwards.
        """
        if member.stored_size > _SMALL and self._copied(member, out):
            return
        found = 0
        for piece in self._raw(member):
            found = crc32(piece, found)
            out.write(piece)
        self._compare(member, found)

    def copy(self, out: BinaryIO) -> None:
        """Append the whole file to another one. Raises ArchiveError where it is not what was read before."""
        out.writelines(_pieces(self._file.fileno(), 0, os.fstat(self._file.fileno()).st_size))
        self.check_unchanged()

    def check_unchanged(self) -> None:
        """Raise ArchiveError where the file is not what it was when it was opened.

        Every write moves the time of the last change, which nobody can set back. What else moves it (a rename, a new
        mode) leaves the bytes as they are, so they are compared before anything is said.
        """
        if _state_of(self._file) == self._state:
            return
        for name, member in self.members.items():
            if name in self._sums:
                self._compare(member, _sum(self._raw(member)))
            elif not member.is_dir:
                raise self._changed(f"it is written to, and member {name} was not verified")

    def _compare(self, member: Member, found: int) -> None:
        if found != self._sums.get(member.name, found):
            raise self._changed(f"member {member.name} has other bytes now")

    def _changed(self, how: str) -> ArchiveError:
        return ArchiveError(f"{self.path} changed during the repair: {how}; repair it again when it is finished")

    def _copied(self, member: Member, out: BinaryIO) -> bool:
        """Let the kernel copy a member; False where it cannot, before anything is written."""
        at, left = self._data_offset(member), member.stored_size
        out.flush()
        try:
            while left:
                copied = os.copy_file_range(self._file.fileno(), out.fileno(), left, at)
                if not copied:
                    # The end of the file, or a file system that claims to copy and does not.
                    if left == member.stored_size:
                        return False
                    raise self._cut_off(member)
                at, left = at + copied, left - copied
        except (AttributeError, OSError) as error:  # not Linux, no descriptor, or file systems that cannot
            if left == member.stored_size and getattr(error, "errno", None) != errno.ENOSPC:
                return False
            raise
        out.seek(0, os.SEEK_END)
        return True

    def _raw(self, member: Member) -> Iterator[memoryview]:
        """Yield a member's bytes as they are stored, in pieces; each is good until the next one is asked for."""
        left = member.stored_size
        for piece in _pieces(self._file.fileno(), self._data_offset(member), left):
            yield piece
            left -= len(piece)
        if left:
            raise self._cut_off(member)

    def _summed(self, member: Member) -> Iterator[memoryview]:
        """Yield the same, and remember the CRC of all of it."""
        found = 0
        for piece in self._raw(member):
            found = crc32(piece, found)
            yield piece
        self._sums[member.name] = found

    def _data_offset(self, member: Member) -> int:
        name_end = _LOCAL.size + len(member.name.encode("utf-8", "replace"))
        # With the extra field that a zip64 member has, so that most often one read is enough.
        header = os.pread(self._file.fileno(), name_end + _ROOM, member.offset)
        if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
            raise ArchiveError(f"{self.path}: member {member.name} has no local header")
        _, _, flags, method, _, _, crc, stored, size, name_size, extra_size = _LOCAL.unpack_from(header)
        if len(header) < _LOCAL.size + name_size + extra_size:
            header = os.pread(self._file.fileno(), _LOCAL.size + name_size + extra_size, member.offset)
        behind = header[_LOCAL.size : _LOCAL.size + name_size + extra_size]
        name, extra = behind[:name_size], behind[name_size:]
        if name.decode("utf-8" if flags & _UTF8 else "cp437", "replace") != member.name:
            raise ArchiveError(f"{self.path}: member {member.name} has another name in its local header")
        if method != member.method or flags & ENCRYPTED:
            raise ArchiveError(f"{self.path}: member {member.name} has other flags in its local header")
        local = (crc, *_wide_sizes(extra, stored, size))
        if local != (member.crc, member.stored_size, member.size) and not (flags & _STREAMED and local == (0, 0, 0)):
            raise ArchiveError(f"{self.path}: member {member.name} has another CRC or size in its local header")
        start: int = member.offset + _LOCAL.size + name_size + extra_size
        if start + member.stored_size > self._directory:
            raise ArchiveError(f"{self.path}: member {member.name} runs into the central directory")
        return start


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting, as opening a FIFO does for a writer; OSError where it is no regular file."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is a directory" if stat.S_ISDIR(mode) else "it is not a regular file")


def _pieces(descriptor: int, at: int, size: int) -> Iterator[memoryview]:
    """Yield so many bytes of a file, or what there is of them; each piece is good until the next one is asked for."""
    # One buffer for all pieces: musl's malloc takes fresh pages from the kernel for each object of some size.
    buffer = memoryview(bytearray(min(size, _CHUNK)))
    while size and (read := os.preadv(descriptor, [buffer[:size]], at)):
        yield buffer[:read]
        at, size = at + read, size - read


def _sum(pieces: Iterable[memoryview]) -> int:
    """Return the CRC of what comes in pieces."""
    found = 0
    for piece in pieces:
        found = crc32(piece, found)
    return found


def _state_of(file: BinaryIO) -> tuple[int, int, int]:
    """Return what a write changes: size in bytes, times of content and of inode in nanoseconds (inode(7))."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _first(size: int, pieces: Iterable[bytes | memoryview]) -> bytes:
    """Return the first bytes of what comes in pieces."""
    found = b""
    for piece in pieces:
        found += piece[: size - len(found)]
        if len(found) == size:
            break
    return found


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


def _wide_sizes(extra: bytes, stored: int, size: int) -> tuple[int, int]:
    """Return the sizes of a local header, from its zip64 field where they do not fit."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1 and length >= 16 and at + 20 <= len(extra) and _MAX32 in (stored, size):
            size, stored = struct.unpack_from("<QQ", extra, at + 4)
            break
        at += 4 + length
    return stored, size
