"""Wheels that others published: pinned, and downloaded with pip when a test that is marked `network` asks for them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PINS: Final = {
    "cffi": "2.1.1",
    "h5py": "3.16.0",
    "lxml": "6.1.3",
    "orjson": "3.13.0",
    "psycopg2-binary": "2.9.13",
    "zstandard": "0.25.0",
}
_TARGET: Final = ("--platform", "musllinux_1_2_x86_64", "--python-version", "3.11", "--implementation", "cp")


def download(folder: Path, projects: Iterable[str] = PINS) -> dict[str, Path]:
    """Download the pinned wheels of these projects for CPython 3.11 on musllinux_1_2_x86_64, and return the files."""
    wanted = list(projects)
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
    pins = [f"{project}=={PINS[project]}" for project in wanted]
    done = subprocess.run(
        [*command, "--only-binary=:all:", *_TARGET, "--abi", "cp311", "-d", folder, *pins],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {project: next(folder.glob(f"{project.replace('-', '_')}-*.whl")) for project in wanted}
