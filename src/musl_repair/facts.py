"""A wheel's archive → all that is known of it before anything is decided: dist-info, ELF files, RECORD's faults."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.elf import Elf, read_elf
from musl_repair.elfimage import MAGIC
from musl_repair.errors import ElfError
from musl_repair.pipeline import Run
from musl_repair.record import RecordFault, algorithm_of, list_faults, row_fault
from musl_repair.sysroot import Unusable
from musl_repair.wheel import Wheel, read_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import PurePosixPath

    from musl_repair.archive import Archive, Member
    from musl_repair.elfimage import Content
    from musl_repair.record import Row

_SMALL: Final = 1 << 16
"""Bytes; to hand a smaller file to another thread takes longer than to read it."""
_MACH: Final = tuple(magic[::step] for magic in (b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf") for step in (1, -1))
"""Mach-O, both classes in both byte orders."""
_UNIVERSAL: Final = b"\xca\xfe\xba\xbe\0\0\0\x20"
"""A Mach-O file of several architectures, and their number; Java classes begin alike, with a version of 45 or more."""
_LARGE: Final = 16 << 20
"""Bytes; a file that is no ELF file is only held whole, as it is stored and inflated, up to here."""


class Reading(NamedTuple):
    """What reading one member brought."""

    member: Member
    row: Row | None
    """Its row of RECORD; None where it has none."""
    elf: Elf | None
    """None for what is no ELF file, and for a broken one."""
    sha256: str
    """Of its content, in hex."""
    fault: RecordFault | None
    """What its row of RECORD gets wrong."""
    system: str = ""
    """The other system whose program or library it is: Windows, macOS, WebAssembly; "" for none."""
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
    """Sorted."""
    renames: Mapping[str, str] = field(default_factory=dict)
    """Folder at the top of the archive → the name that it has here."""
    elfs: Mapping[str, Elf] = field(init=False)
    """Archive name → facts of every ELF file that can be read, in the order of the archive."""
    _paths: Mapping[str, PurePosixPath] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Derive the ELF files from the readings, and where all are installed."""
        elfs = {name: reading.elf for name, reading in self.readings.items() if reading.elf is not None}
        object.__setattr__(self, "elfs", MappingProxyType(elfs))
        object.__setattr__(self, "_paths", {name: self.wheel.install_path(name) for name in self.readings})

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
        return self.wheel.install_path(name) if known is None else known

    def renamed(self, folders: Mapping[str, str]) -> Facts:
        """Return the facts with other names for folders at the top; `Reading.member` keeps the name in the archive.

        Of two files that come to have one name, one is lost.
        """
        if not folders:
            return self
        readings = {new_name(name, folders): reading for name, reading in self.readings.items()}
        wheel = self.wheel._replace(data_folders=tuple(one for one in self.wheel.data_folders if one not in folders))
        return replace(self, wheel=wheel, readings=MappingProxyType(readings), renames=folders)

    def systems(self) -> frozenset[str]:
        """Return the other systems that the wheel has programs or libraries for."""
        return frozenset(reading.system for reading in self.readings.values() if reading.system)

    def files(self) -> dict[PurePosixPath, Elf | Unusable]:
        """Return all installed files by loader path; what no loader could open is `Unusable`."""
        return {self._paths[name]: _file(reading) for name, reading in self.readings.items()}


def new_name(name: str, folders: Mapping[str, str]) -> str:
    """Return what a member is called where folders at the top have new names."""
    folder, slash, inside = name.partition("/")
    return f"{folders.get(folder, folder)}{slash}{inside}"


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


def read_facts(filename: str, archive: Archive, *, run: Run | None = None, known: Known | None = None) -> Facts:
    """Read a wheel. filename is the wheel's name, which the archive on disk need not have.

    Every member is inflated once, and its CRC and its row of RECORD compared. Raises WheelError or ArchiveError, naming
    the member that is at fault. A broken ELF file is none: it may be data.
    """
    wheel = read_wheel(filename, archive)
    exempt = {wheel.record_name, *wheel.signatures}
    rows = {path: row for path, row in wheel.record.rows.items() if path not in exempt}
    members = archive.members
    found = (Run() if run is None else run)(
        partial(_read, archive, rows, known or Known()),
        [member.name for member in members.values() if not member.is_dir],
        cost=lambda name: _cost(members[name]),
        small=lambda name: members[name].size <= _SMALL,
    )
    readings = {reading.member.name: reading for reading in found}
    faults = [
        *wheel.record.faults,
        *list_faults(wheel.record, members, wheel.record_name, wheel.signatures),
        *(reading.fault for reading in readings.values() if reading.fault is not None),
    ]
    return Facts(wheel, MappingProxyType(readings), tuple(sorted(faults)))


def _read(archive: Archive, rows: Mapping[str, Row], known: Known, name: str) -> Reading:
    member, row = archive.members[name], rows.get(name)
    earlier = known.readings.get(name)
    if earlier is not None and earlier.holds_for(member, row):
        return earlier
    # What is read whole in any case needs no look at its head.
    head = b"" if _is_quicker_whole(member) else archive.head(name, len(_UNIVERSAL))
    streamed = bool(head) and not head.startswith(MAGIC)
    content = b"" if streamed else archive.read(name)
    sha256, fault = _compare(row, archive.chunks(name) if streamed else [content], member.size)
    head = head or bytes(content[: len(_UNIVERSAL)])
    reading = Reading(member, row, None, sha256, fault, _system(head))
    if not head.startswith(MAGIC):
        return reading
    try:
        return reading._replace(elf=known.elfs.get(sha256) or read_elf(content))
    except ElfError as error:
        return reading._replace(broken=str(error))


def _cost(member: Member) -> int:
    """Return how many bytes reading takes in memory. By the name it is guessed what is no ELF file, and streamed."""
    held = ".so" in member.name or _is_quicker_whole(member)
    return member.size + member.stored_size if held else 0


def _is_quicker_whole(member: Member) -> bool:
    """Whether a file is best inflated at once: not where that takes much memory, or there is nothing to inflate."""
    if member.size <= _SMALL:
        return True
    return member.stored_size < member.size and member.stored_size + member.size <= _LARGE


def _compare(row: Row | None, content: Iterable[Content], size: int) -> tuple[str, RecordFault | None]:
    """Return a file's SHA-256, in hex, and what its row says wrong; None where there is no row."""
    hashers = [hashlib.sha256()]
    if algorithm_of(row) != "sha256":
        hashers.append(hashlib.new(algorithm_of(row), usedforsecurity=False))
    for piece in content:
        for hasher in hashers:
            hasher.update(piece)
    fault = None if row is None else row_fault(row, hashers[-1].digest(), size)
    return hashers[0].hexdigest(), fault


def _system(head: bytes) -> str:
    """Return whose program or library a file is by its first bytes."""
    if head.startswith(b"MZ"):
        return "Windows"
    if head.startswith(_MACH) or (head.startswith(_UNIVERSAL[:4]) and _UNIVERSAL[:4] < head[:8] < _UNIVERSAL):
        return "macOS"
    return "WebAssembly" if head.startswith(b"\0asm") else ""
