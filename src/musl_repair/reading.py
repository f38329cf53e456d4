"""A wheel's path → its facts: the one step that every command begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from musl_repair.archive import Archive
from musl_repair.facts import Facts, read_facts

if TYPE_CHECKING:
    from pathlib import Path

    from musl_repair.central import Limits


def read_wheel_file(wheel: Path, limits: Limits | None = None) -> Facts:
    """Read a wheel. Raises MuslRepairError for what is not one, or inflates beyond the limits."""
    with Archive(wheel, limits) as archive:
        return read_facts(wheel.name, archive)
