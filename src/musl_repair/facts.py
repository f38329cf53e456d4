"""A wheel's archive → all that is known of it before anything is decided: dist-info, ELF files, RECORD's faults."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from musl_repair.elf import Elf, read_elf
from musl_repair.elfimage import MAGIC
from musl_repair.errors import ElfError
from musl_repair.sysroot import Unusable
from musl_repair.wheel import Row, Wheel, install_path, read_wheel, row_fault

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePosixPath

    from musl_repair.archive import Archive, Member


class RecordFault(NamedTuple):
    """One disagreement of RECORD with the archive."""

    member: str
    fault: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read of a wheel."""

    wheel: Wheel
    members: tuple[str, ...]
    """All archive names, folders left out, in the order of the archive."""
    elfs: Mapping[str, Elf]
    """Archive name → facts of every ELF file, in the order of the archive."""
    sha256: Mapping[str, str]
    """Archive name → SHA-256 in hex of every ELF file's content."""
    sizes: Mapping[str, int]
    """Archive name → size in bytes of every ELF file."""
    record_faults: tuple[RecordFault, ...]
    """Rows of RECORD that are not true, sorted; files that it does not list are in `unlisted`."""
    unlisted: tuple[str, ...]

    def path(self, name: str) -> PurePosixPath:
        """Return where a member is installed, as the loader sees it."""
        return install_path(self.wheel.data, name)

    def files(self) -> dict[PurePosixPath, Elf | Unusable]:
        """Return all installed files by loader path; what no loader could open is `Unusable`."""
        return {self.path(name): self._file(name) for name in self.members}

    def _file(self, name: str) -> Elf | Unusable:
        elf = self.elfs.get(name)
        if elf is None:
            return Unusable("not an ELF file")
        return elf if elf.loadable else Unusable("not a shared object")


def read_facts(filename: str, archive: Archive) -> Facts:
    """Read a wheel. filename is the wheel's name, which the archive on disk need not have.

    Raises WheelError, ArchiveError or ElfError, naming the member that is at fault.
    """
    wheel = read_wheel(filename, archive)
    rows = {row.path: row for row in wheel.record}
    elfs, digests, sizes = {}, {}, {}
    faults = [RecordFault(path, "is listed in RECORD but not there") for path in rows if path not in archive.members]
    files = [member for member in archive.members.values() if not member.is_dir]
    exempt = {wheel.record_name, *wheel.signatures}
    for member in files:
        is_elf = archive.head(member.name, 4) == MAGIC
        content = archive.read(member.name)
        if is_elf:
            elfs[member.name] = _elf(member, content)
            digests[member.name] = hashlib.sha256(content).hexdigest()
            sizes[member.name] = member.size
        fault = None if member.name in exempt else _fault(rows.get(member.name), content)
        if fault is not None:
            faults.append(RecordFault(member.name, fault))
    names = tuple(member.name for member in files)
    return Facts(
        wheel=wheel,
        members=names,
        elfs=MappingProxyType(elfs),
        sha256=MappingProxyType(digests),
        sizes=MappingProxyType(sizes),
        record_faults=tuple(sorted(faults)),
        unlisted=tuple(name for name in names if name not in rows and name not in exempt),
    )


def _elf(member: Member, content: bytes) -> Elf:
    try:
        return read_elf(content)
    except ElfError as error:
        raise ElfError(f"{member.name}: {error}") from error


def _fault(row: Row | None, content: bytes) -> str | None:
    if row is None:
        return None
    if not row.hash:
        return "RECORD has no hash for it"
    return row_fault(row, content)
