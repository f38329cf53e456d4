"""A wheel's path → its facts: the one step that every command begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from musl_repair.archive import Archive
from musl_repair.facts import Facts, read_facts

if TYPE_CHECKING:
    from pathlib import Path


def read_wheel_file(wheel: Path) -> Facts:
    """Read a wheel. Raises MuslRepairError for what is not one."""
    with Archive(wheel) as archive:
        return read_facts(wheel.name, archive)
