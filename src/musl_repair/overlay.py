"""A new archive over an old one: raw copies of what stays, new members, and a whole file under its name or none.

Source: APPNOTE.TXT 6.3.10 (zip); rename(2) and fsync(2) for what is seen after a crash.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from musl_repair.codec import compress, crc32
from musl_repair.errors import OutputError
from musl_repair.pipeline import beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from musl_repair.archive import Archive, Date, Member
    from musl_repair.elfimage import Content

_DEFLATED: Final = 8
_UNIX: Final = 3
_UTF8: Final = 0x800
_LOCAL: Final = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL: Final = struct.Struct("<4sBBHHHHHIIIHHHHHII")
_END: Final = struct.Struct("<4sHHHHIIH")
_END64: Final = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR64: Final = struct.Struct("<4sIQI")
_MAX32: Final = 0xFFFFFFFF
_MAX16: Final = 0xFFFF
_EARLIEST: Final[Date] = (1980, 1, 1, 0, 0, 0)
"""The first date that the format can express."""


class Fresh(NamedTuple):
    """A member to be written whose content is not the archive's own; stored is the compressed content."""

    name: str
    size: int
    crc: int
    method: int
    date: Date
    mode: int
    stored: bytes | bytearray


def make_fresh(name: str, content: Content, *, mode: int, date: Date, level: int = 6) -> Fresh:
    """Return a member with this content, deflated; mode is the permission bits with the file type."""
    return Fresh(name, len(content), crc32(content), _DEFLATED, date, mode, compress(content, level))


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
            source.copy_raw(entry, out)
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
    year, month, day, hour, minute, second = max(entry.date, _EARLIEST)
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

    Whoever looks at target sees the old state or the whole new file, whatever happens in between: it gets its name
    when it is verified and on the disk, both. The temporary name does not end as the target's does, so that no glob
    for wheels finds it.
    """
    _refuse_what_is_no_file(target)
    temporary = target.with_name(f".musl-repair-{os.urandom(8).hex()}.tmp")
    try:
        with _create(temporary) as out:
            write(out)
            out.flush()
            # What is read back is in memory still: it need not be on the disk before.
            with beside(partial(os.fsync, out.fileno())):
                verify(temporary)
        temporary.replace(target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror}") from error
    finally:
        _remove(temporary)
    _sync_folder(target.parent)


def _refuse_what_is_no_file(target: Path) -> None:
    """Raise OutputError where a rename would destroy a device, say: root may (`--html /dev/stdout`)."""
    if not target.name:  # "." or ""
        raise OutputError(f"cannot write {target}: it is a folder")
    try:
        mode = target.stat().st_mode
    except OSError:  # there is none, or a link that leads nowhere
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # for a folder the rename says it
        raise OutputError(f"cannot write {target}: it is not a regular file")


def _create(temporary: Path) -> BinaryIO:
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        # Mode 666 is cut by the umask, as for any file that a user makes; O_EXCL: two runs never share a file.
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OutputError(f"cannot write into {temporary.parent}: {error.strerror}") from error
    return os.fdopen(descriptor, "wb")


def _remove(temporary: Path) -> None:
    """Remove the file if it is there, also when the user interrupts just now."""
    with contextlib.suppress(OSError):  # it was not made, or cannot be removed: what went wrong is known already
        try:
            temporary.unlink()
        except KeyboardInterrupt:
            temporary.unlink()
            raise


def _sync_folder(folder: Path) -> None:
    # Some file systems cannot sync a folder; the file itself is safe by then.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
