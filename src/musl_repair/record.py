"""RECORD: what it says of a wheel's files, all that is wrong with it, and its text written anew.

Source: the binary distribution format, and the specification of installed projects (path,hash,size).
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.findings import Severity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

_HASHES: Final = frozenset(hashlib.algorithms_guaranteed - {"md5", "sha1", "shake_128", "shake_256"})
"""What every Python has, without the weak ones and those of no fixed length."""
_BASE64: Final = re.compile(r"[A-Za-z0-9_-]+=*")


class Row(NamedTuple):
    """One line of RECORD; hash and size are "" for RECORD itself."""

    path: str
    hash: str
    size: str

    def says_the_same(self, other: Row) -> bool:
        """Whether two rows agree; padding is no difference."""
        return (self.path, self.hash.rstrip("="), self.size) == (other.path, other.hash.rstrip("="), other.size)


class RecordFault(NamedTuple):
    """One thing that is wrong with RECORD, and the member that it is about."""

    member: str
    fault: str
    mendable: bool = False
    """Whether no file is other than RECORD says, so that a new RECORD is all that is needed."""
    severity: Severity = Severity.ERROR
    """What it is in a wheel as it stands."""


class Record(NamedTuple):
    """A RECORD, read."""

    rows: Mapping[str, Row]
    """Path → its row; of several the last, which is the one that pip and installer take."""
    faults: tuple[RecordFault, ...]
    """What is wrong with it whatever the files are."""


def read_record(name: str, content: bytes | bytearray) -> Record:
    """Read a RECORD as far as that is possible; name is its archive name."""
    text, faults = _text(name, content)
    rows: dict[str, Row] = {}
    agree: dict[str, bool] = {}
    wrong: list[int] = []
    blank = False
    # Any line end: the names that have one in them are refused in the archive.
    reader = csv.reader(io.StringIO(text, newline=None))
    try:
        for fields in reader:
            if len(fields) != 3 or not fields[0]:
                blank = blank or not fields
                wrong += [reader.line_num] if fields else []
                continue
            row = Row(*fields)
            if row.path in rows:
                agree[row.path] = agree.get(row.path, True) and row.says_the_same(rows[row.path])
            rows[row.path] = row
    except csv.Error as error:
        faults.append(RecordFault(name, f"its line {reader.line_num} is not path,hash,size: {error}"))
    return Record(rows, (*faults, *_line_faults(name, wrong, blank=blank), *map(_doubled, agree, agree.values())))


def _line_faults(name: str, wrong: list[int], *, blank: bool) -> Iterator[RecordFault]:
    if wrong:
        more = f", nor are {len(wrong) - 1} others" if len(wrong) > 1 else ""
        yield RecordFault(name, f"its line {wrong[0]} is not path,hash,size{more}")
    if blank:
        # uv takes such a wheel; pip ends in an IndexError, and installer refuses it.
        yield RecordFault(name, "it has blank lines", mendable=True)


def _text(name: str, content: bytes | bytearray) -> tuple[str, list[RecordFault]]:
    try:
        return content.decode("utf-8"), []
    except UnicodeDecodeError as error:
        return content.decode("utf-8", "backslashreplace"), [RecordFault(name, f"it is not UTF-8: {error}")]


def _doubled(path: str, same: bool) -> RecordFault:
    if same:
        return RecordFault(path, "RECORD lists it twice", mendable=True, severity=Severity.NOTE)
    return RecordFault(path, "RECORD lists it twice, with another hash or size")


def list_faults(
    record: Record, members: Collection[str], name: str, signatures: Collection[str]
) -> Iterator[RecordFault]:
    """Yield where the paths of RECORD, whose archive name is given, are not the files of an archive.

    members are all archive names, those of folders too; signatures need not be listed.
    """
    ordered = sorted(members)
    for path, row in record.rows.items():
        if path not in members and not _is_folder(path, ordered):
            yield RecordFault(path, "is listed in RECORD but not there")
        elif path not in members or path.endswith("/"):
            yield RecordFault(path, "is a folder, and RECORD lists files", mendable=True, severity=Severity.WARNING)
        elif path == name and (row.hash or row.size):
            yield RecordFault(name, "it has a hash or size of itself", mendable=True, severity=Severity.WARNING)
    for member in members:
        if member not in record.rows and member not in signatures and not member.endswith("/"):
            severity = Severity.WARNING if member == name else Severity.ERROR
            yield RecordFault(member, "is in the wheel but not in RECORD", mendable=True, severity=severity)


def _is_folder(path: str, ordered: list[str]) -> bool:
    """Whether a path is a folder that one of the members, which are sorted, is in."""
    folder = path.rstrip("/") + "/"
    at = bisect_left(ordered, folder)
    return at < len(ordered) and ordered[at].startswith(folder)


def row_fault(row: Row, digest: bytes, size: int) -> RecordFault | None:
    """Return what a row says wrong of a file; digest is by the row's algorithm (`algorithm_of`)."""
    fault = _hash_fault(row)
    if fault is None and digest_field(algorithm_of(row), digest) != row.hash.rstrip("="):
        fault = "RECORD has another hash than the file"
    if fault is None and row.size not in ("", str(size)):
        said = f"says {row.size} bytes" if row.size.isdecimal() else f"has a size that is no number ({row.size})"
        fault = f"RECORD {said}, the file has {size}"
    if fault is not None:
        return RecordFault(row.path, fault)
    if row.hash.endswith("="):
        # pip and uv do not look at it; installer's validate_record does.
        return RecordFault(row.path, "its hash in RECORD is padded", mendable=True, severity=Severity.WARNING)
    return None


def algorithm_of(row: Row | None) -> str:
    """Return the algorithm that a row's hash is compared by; sha256 where it cannot be."""
    return "sha256" if row is None or _hash_fault(row) is not None else row.hash.partition("=")[0]


def _hash_fault(row: Row) -> str | None:
    """Return why a row's hash cannot be compared, or None."""
    algorithm, _, digest = row.hash.partition("=")
    if not row.hash:
        return "RECORD has no hash for it"
    if algorithm not in _HASHES:
        return f"RECORD has a hash of kind {algorithm!r}, which wheels may not use"
    if _BASE64.fullmatch(digest) is None:
        return f"RECORD has a hash that is not in urlsafe base64: {digest}"
    return None


def digest_field(algorithm: str, digest: bytes) -> str:
    """Return the hash field of RECORD: algorithm=digest, urlsafe base64 without padding."""
    return f"{algorithm}={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def new_row(name: str, sha256: str, size: int) -> Row:
    """Return the row of RECORD for a file; sha256 in hex, size in bytes."""
    return Row(name, digest_field("sha256", bytes.fromhex(sha256)), str(size))


def new_record(name: str, rows: Iterable[Row]) -> bytes:
    """Return a RECORD with these rows, in their order, and that of itself, whose archive name is given, at the end."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([*rows, Row(name, "", "")])
    return out.getvalue().encode()
