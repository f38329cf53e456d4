"""The exception tree: one root, and a class for each part that can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from musl_repair.findings import Severity

if TYPE_CHECKING:
    from musl_repair.findings import Finding


class MuslRepairError(Exception):
    """The root of all errors of this package: the wheel cannot be, or is not, right."""


class ArchiveError(MuslRepairError):
    """A file is not a zip archive that can be read, or not one that is safe to read."""


class WheelError(MuslRepairError):
    """An archive is not a wheel: its name, dist-info, WHEEL or RECORD is missing or wrong."""


class ElfError(MuslRepairError):
    """A file is not ELF, or an ELF file that contradicts itself."""


class SysrootError(MuslRepairError):
    """The target root is missing, unreadable or without musl."""


class PlatformError(MuslRepairError):
    """A platform tag was asked for that cannot be given."""


class PatchError(MuslRepairError):
    """An edit of an ELF file failed, or left a file that is not what was planned."""


class ResourceError(MuslRepairError):
    """The system gives less than the work takes (memory, say), or fails to read or write."""


class UnforeseenError(MuslRepairError):
    """A bug in musl-repair: its cause is an exception that nobody foresaw."""


class OutputError(MuslRepairError):
    """The new wheel cannot be written where it was asked for."""


class RefusedError(MuslRepairError):
    """A wheel cannot be repaired: its findings say why. Nothing was written."""

    def __init__(self, wheel: str, findings: tuple[Finding, ...], *, strict: bool = False) -> None:
        """Keep the findings; the message counts the errors, and where the user is strict the warnings too."""
        failing = (Severity.ERROR, Severity.WARNING) if strict else (Severity.ERROR,)
        count = sum(found.severity in failing for found in findings)
        super().__init__(f"cannot repair {wheel}: {count} problem{'s' if count != 1 else ''}")
        self.wheel = wheel
        self.findings = findings
