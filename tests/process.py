"""musl-repair as a process of its own, within limits of time and memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from builders import SYSROOTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SYSROOT: Final = SYSROOTS / "x86_64"
MEMORY: Final = 1 << 30
"""Bytes of address space: far less than what a bomb inflates to."""
SECONDS: Final = 60
"""Of the wall clock, on a busy machine; the processor's limit is a third of it."""


def environment(**more: str) -> dict[str, str]:
    """Return this environment without what steers the program."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MUSL_REPAIR_", "AUDITWHEEL_"))}
    kept.pop("SOURCE_DATE_EPOCH", None)
    return {**kept, **more}


@dataclass(frozen=True, slots=True)
class Run:
    """One call of the program: arguments behind the wheel folder, and how it is to be held."""

    folder: Path
    """Where the new wheels go."""
    arguments: Sequence[str | Path]
    sysroot: Path = SYSROOT
    variables: Mapping[str, str] = field(default_factory=dict)
    limited: bool = True

    def command(self) -> list[str]:
        """Return what is run."""
        own = [sys.executable, "-m", "musl_repair", "repair", "-j", "2", "-w", str(self.folder)]
        return [*own, "--sysroot", str(self.sysroot), *map(str, self.arguments)]

    def result(self) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            self.command(),
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
            env=environment(**self.variables),
            preexec_fn=_limit if self.limited else None,
            errors="backslashreplace",
        )


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS // 3, SECONDS // 3))


def names(folder: Path) -> list[str]:
    """Return what is in a folder, sorted; nothing where there is none."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
