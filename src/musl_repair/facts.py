"""A wheel's archive → all that is known of it before anything is decided: dist-info, ELF files, RECORD's faults."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.elf import Elf, read_elf
from musl_repair.elfimage import MAGIC
from musl_repair.errors import ElfError
from musl_repair.pipeline import Run
from musl_repair.sysroot import Unusable
from musl_repair.wheel import Row, Wheel, digest_field, hash_fault, install_path, read_wheel, size_fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import PurePosixPath

    from musl_repair.archive import Archive, Member
    from musl_repair.elfimage import Content

_SMALL: Final = 1 << 16
"""Bytes; to hand a smaller file to another thread takes longer than to read it."""
_LARGE: Final = 16 << 20
"""Bytes; a file that is no ELF file is only held whole, as it is stored and inflated, up to here."""


class RecordFault(NamedTuple):
    """One disagreement of RECORD with the archive."""

    member: str
    fault: str


class Reading(NamedTuple):
    """What reading one member brought."""

    member: Member
    row: Row | None
    """Its row of RECORD; None where it has none."""
    elf: Elf | None
    """None for what is no ELF file, and for a broken one."""
    sha256: str
    """Of an ELF file's content, in hex; "" for other files."""
    fault: str | None
    """What RECORD gets wrong about it."""
    broken: str | None = None
    """Why a file cannot be read that begins as an ELF file."""

    def holds_for(self, member: Member, row: Row | None) -> bool:
        """Whether another archive's member is a raw copy of this one, and RECORD says the same of it."""
        same = (self.member.name, self.member.size, self.member.stored_size, self.member.crc, self.member.method)
        return row == self.row and same == (
            member.name, member.size, member.stored_size, member.crc, member.method,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read of a wheel."""

    wheel: Wheel
    readings: Mapping[str, Reading]
    """Archive name → what was read, folders left out, in the order of the archive."""
    record_faults: tuple[RecordFault, ...]
    """Rows of RECORD that are not true, sorted; files that it does not list are in `unlisted`."""
    unlisted: tuple[str, ...]
    elfs: Mapping[str, Elf] = field(init=False)
    """Archive name → facts of every ELF file that can be read, in the order of the archive."""
    _paths: Mapping[str, PurePosixPath] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Derive the ELF files from the readings, and where all are installed."""
        elfs = {name: reading.elf for name, reading in self.readings.items() if reading.elf is not None}
        object.__setattr__(self, "elfs", MappingProxyType(elfs))
        object.__setattr__(self, "_paths", {name: install_path(self.wheel.data, name) for name in self.readings})

    @property
    def members(self) -> tuple[str, ...]:
        """All archive names, folders left out, in the order of the archive."""
        return tuple(self.readings)

    def size(self, name: str) -> int | None:
        """Return a member's size in bytes, None where there is no such member."""
        reading = self.readings.get(name)
        return None if reading is None else reading.member.size

    def path(self, name: str) -> PurePosixPath:
        """Return where a member is installed, as the loader sees it."""
        known = self._paths.get(name)
        return install_path(self.wheel.data, name) if known is None else known

    def files(self) -> dict[PurePosixPath, Elf | Unusable]:
        """Return all installed files by loader path; what no loader could open is `Unusable`."""
        return {self._paths[name]: _file(reading) for name, reading in self.readings.items()}


def _file(reading: Reading) -> Elf | Unusable:
    if reading.broken is not None:
        return Unusable(f"not a sound ELF file: {reading.broken}")
    if reading.elf is None:
        return Unusable("not an ELF file")
    return reading.elf if reading.elf.loadable else Unusable("not a shared object")


class Known(NamedTuple):
    """What need not be read again: earlier readings of raw copies, and ELF files by the SHA-256 of their content."""

    readings: Mapping[str, Reading] = MappingProxyType({})
    elfs: Mapping[str, Elf] = MappingProxyType({})


def read_facts(
    filename: str, archive: Archive, *, run: Run | None = None, known: Known | None = None, verify: bool = True
) -> Facts:
    """Read a wheel. filename is the wheel's name, which the archive on disk need not have.

    Every member is inflated once, and its CRC and its row of RECORD compared; without verify only ELF files are.
    Raises WheelError or ArchiveError, naming the member that is at fault. A broken ELF file is none: it may be data.
    """
    wheel = read_wheel(filename, archive)
    rows = {row.path: row for row in wheel.record}
    names = [member.name for member in archive.members.values() if not member.is_dir]
    exempt = {wheel.record_name, *wheel.signatures}
    read = partial(_read, archive, {**rows, **dict.fromkeys(exempt)}, known or Known(), verify)
    members = archive.members
    found = (Run() if run is None else run)(
        read,
        names,
        cost=lambda name: _cost(members[name]),
        small=lambda name: members[name].size <= _SMALL,
    )
    readings = {reading.member.name: reading for reading in found}
    faults = [RecordFault(path, "is listed in RECORD but not there") for path in rows if path not in archive.members]
    faults += [RecordFault(name, reading.fault) for name, reading in readings.items() if reading.fault is not None]
    return Facts(
        wheel=wheel,
        readings=MappingProxyType(readings),
        record_faults=tuple(sorted(faults)),
        unlisted=tuple(name for name in names if name not in rows and name not in exempt),
    )


def _read(archive: Archive, rows: Mapping[str, Row | None], known: Known, verify: bool, name: str) -> Reading:
    member, row = archive.members[name], rows.get(name)
    earlier = known.readings.get(name)
    if earlier is not None and earlier.holds_for(member, row):
        return earlier
    # What is read whole in any case needs no look at its head.
    if not (verify and _is_quicker_whole(member)) and archive.head(name, len(MAGIC)) != MAGIC:
        fault = _fault(row, archive.chunks(name), member.size) if verify else None
        return Reading(member, row, None, "", fault)
    content = archive.read(name)
    sha256 = hashlib.sha256(content).digest()
    fault = _fault(row, [content], member.size, sha256)
    if content[: len(MAGIC)] != MAGIC:
        return Reading(member, row, None, "", fault)
    elf = known.elfs.get(sha256.hex())
    if elf is not None:
        return Reading(member, row, elf, sha256.hex(), fault)
    try:
        return Reading(member, row, read_elf(content), sha256.hex(), fault)
    except ElfError as error:
        return Reading(member, row, None, sha256.hex(), fault, broken=str(error))


def _cost(member: Member) -> int:
    """Return how many bytes reading takes in memory. By the name it is guessed what is no ELF file, and streamed."""
    held = ".so" in member.name or _is_quicker_whole(member)
    return member.size + member.stored_size if held else 0


def _is_quicker_whole(member: Member) -> bool:
    """Whether a file is best inflated at once: not where that takes much memory, or there is nothing to inflate."""
    if member.size <= _SMALL:
        return True
    return member.stored_size < member.size and member.stored_size + member.size <= _LARGE


def _fault(row: Row | None, content: Iterable[Content], size: int, sha256: bytes | None = None) -> str | None:
    """Return what a row says wrong; all of the content is read, also where there is no row. sha256 if it is known."""
    wrong = None if row is None else hash_fault(row)
    algorithm = "sha256" if row is None or wrong is not None else row.hash.partition("=")[0]
    if algorithm != "sha256" or sha256 is None:
        hasher = hashlib.new(algorithm, usedforsecurity=False)
        for piece in content:
            hasher.update(piece)
        sha256 = hasher.digest()
    if row is None or wrong is not None:
        return wrong
    if digest_field(algorithm, sha256) != row.hash.rstrip("="):
        return "RECORD has another hash than the file"
    return size_fault(row, size)
