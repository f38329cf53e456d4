"""Zip archives: members as they are stored, raw copies of them, and whole new files or none.

Source: APPNOTE.TXT 6.3.10 (zip); `zipfile` reads the central directory, the rest is read here and checked against it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import struct
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from musl_repair.errors import ArchiveError, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

Date = tuple[int, int, int, int, int, int]

STORED: Final = 0
DEFLATED: Final = 8
_ENCRYPTED: Final = 0x1
_UTF8: Final = 0x800
_LOCAL: Final = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL: Final = struct.Struct("<4sBBHHHHHIIIHHHHHII")
_END: Final = struct.Struct("<4sHHHHIIH")
_END64: Final = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR64: Final = struct.Struct("<4sIQI")
_MAX32: Final = 0xFFFFFFFF
_MAX16: Final = 0xFFFF
_CHUNK: Final = 1 << 20
_MAX_RATIO: Final = 1032
"""Deflate's best: 258 bytes of content in two bits."""
_UNIX: Final = 3
_S_IFMT: Final = 0o170000
_S_IFREG: Final = 0o100000
_S_IFDIR: Final = 0o040000
EARLIEST: Final[Date] = (1980, 1, 1, 0, 0, 0)
"""The first date that the format can express."""


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


@dataclass(frozen=True, slots=True)
class Fresh:
    """A member to be written whose content is not the archive's own; stored is the compressed content."""

    name: str
    size: int
    crc: int
    method: int
    date: Date
    mode: int
    stored: bytes


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
        content = stored if member.method == STORED else _inflate(stored, member)
        if len(content) != member.size or zlib.crc32(content) != member.crc:
            raise ArchiveError(f"{self.path}: member {name} is corrupt (size or CRC does not match)")
        return content

    def head(self, name: str, size: int) -> bytes:
        """Return the first bytes of a member, at most size, unchecked."""
        member = self.members[name]
        chunk = next(self.raw(member), b"")
        if member.method == STORED:
            return chunk[:size]
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(chunk, size)
        except zlib.error as error:
            raise ArchiveError(f"{self.path}: member {name} is corrupt: {error}") from error

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


def _inflate(stored: bytes, member: Member) -> bytes:
    try:
        # One byte more than promised is enough to know that the promise is broken.
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(stored, member.size + 1)
    except zlib.error as error:
        raise ArchiveError(f"member {member.name} is corrupt: {error}") from error


def make_fresh(name: str, content: bytes, *, mode: int, date: Date, level: int = 6) -> Fresh:
    """Return a member with this content, deflated; mode is the permission bits with the file type."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    stored = compressor.compress(content) + compressor.flush()
    return Fresh(name, len(content), zlib.crc32(content), DEFLATED, date, mode, stored)


def write_archive(out: BinaryIO, source: Archive, entries: Iterable[Member | Fresh]) -> None:
    """Write an archive of raw copies (Member, from source) and Fresh members, in this order."""
    directory: list[bytes] = []
    offset = 0
    for entry in entries:
        local, central = _headers(entry, offset)
        out.write(local)
        if isinstance(entry, Fresh):
            out.write(entry.stored)
        else:
            out.writelines(source.raw(entry))
        directory.append(central)
        offset += len(local) + _stored_size(entry)
    records = b"".join(directory)
    out.write(records + _end(len(directory), len(records), offset))


def _stored_size(entry: Member | Fresh) -> int:
    return len(entry.stored) if isinstance(entry, Fresh) else entry.stored_size


def _headers(entry: Member | Fresh, offset: int) -> tuple[bytes, bytes]:
    """Return the local header and the central directory's record of a member at this offset."""
    system, attributes = (_UNIX, entry.mode << 16) if isinstance(entry, Fresh) else (entry.system, entry.attributes)
    name = entry.name.encode("utf-8")
    flags = 0 if entry.name.isascii() else _UTF8
    stored, size = _stored_size(entry), entry.size
    year, month, day, hour, minute, second = max(entry.date, EARLIEST)
    date, time = (year - 1980) << 9 | month << 5 | day, hour << 11 | minute << 5 | second // 2
    wide = stored >= _MAX32 or size >= _MAX32
    local_extra = struct.pack("<HHQQ", 1, 16, size, stored) if wide else b""
    wide_values = ([size, stored] if wide else []) + ([offset] if offset >= _MAX32 else [])
    extra = struct.pack(f"<HH{len(wide_values)}Q", 1, 8 * len(wide_values), *wide_values) if wide_values else b""
    if wide:
        stored = size = _MAX32
    common = (flags, entry.method, time, date, entry.crc, stored, size, len(name))
    local = _LOCAL.pack(b"PK\3\4", 45 if wide else 20, *common, len(local_extra))
    made_by, needed = (45, 45) if wide_values else (20, 20)
    central = _CENTRAL.pack(
        b"PK\1\2", made_by, system, needed, *common, len(extra), 0, 0, 0, attributes, min(offset, _MAX32)
    )
    return local + name + local_extra, central + name + extra


def _end(count: int, size: int, offset: int) -> bytes:
    end = _END.pack(b"PK\5\6", 0, 0, min(count, _MAX16), min(count, _MAX16), min(size, _MAX32), min(offset, _MAX32), 0)
    if count < _MAX16 and size < _MAX32 and offset < _MAX32:
        return end
    end64 = _END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    return end64 + _LOCATOR64.pack(b"PK\6\7", 0, offset + size, 1) + end


def replace_file(target: Path, write: Callable[[BinaryIO], None], verify: Callable[[Path], None]) -> None:
    """Write a file beside its target under a temporary name, verify it there, and give it its name.

    Whoever looks at target sees the old state or the whole new file, whatever happens in between. The temporary
    name does not end as the target's does, so that no glob for wheels finds it.
    """
    temporary = target.with_name(f".musl-repair-{secrets.token_hex(8)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Mode 666 is cut by the umask, as for any file that a user makes; O_EXCL: two runs never share a file.
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OutputError(f"cannot write into {target.parent}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as out:
            write(out)
            out.flush()
            os.fsync(out.fileno())
        verify(temporary)
        temporary.replace(target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    # Some file systems cannot sync a folder; the file itself is safe by then.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
