"""pip, uv and installer, each of which puts a wheel for x86_64 and musl 1.2 into a folder, whatever runs here."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.sources import WheelFile

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLATFORMS: Final = ("musllinux_1_2_x86_64", "musllinux_1_1_x86_64", "linux_x86_64")
_OWN: Final = {"INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "RECORD", ".lock"}
"""Files that installers write for themselves."""


@dataclass(frozen=True)
class Installed:
    """What an installer did."""

    error: str
    """What it said when it refused the wheel; "" where it did not."""
    files: Mapping[str, bytes]
    """All files by their place: bin/ and include/ are those of an environment, the others are in site-packages."""


def install_with(name: str, wheel: Path, folder: Path) -> Installed:
    """Install a wheel into a folder that is not there yet."""
    error = _by_installer(wheel, folder) if name == "installer" else _by_program(name, wheel, folder)
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return Installed(error, {place: path.read_bytes() for place, path in found.items() if path.name not in _OWN})


def _by_program(name: str, wheel: Path, folder: Path) -> str:
    commands = {
        "pip": [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"),
            *("--disable-pip-version-check", "--target", folder, "--only-binary=:all:", "--python-version=3.12"),
            *(f"--platform={platform}" for platform in _PLATFORMS),
        ],
        "uv": [
            *(_uv(), "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-cache", "--no-config"),
            *("--python", sys.executable, "--target", folder, "--python-version=3.12"),
            "--python-platform=x86_64-unknown-linux-musl",
        ],
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    command = [str(part) for part in (*commands[name], wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
    return done.stderr if done.returncode else ""


def _uv() -> Path:
    """Return the uv of this environment: the test extra installs it."""
    path = Path(sys.executable).with_name("uv")
    if not path.is_file():
        pytest.skip("uv is not installed beside this Python (the test extra has it)")
    return path


def _by_installer(wheel: Path, folder: Path) -> str:
    places = {"purelib": "", "platlib": "", "scripts": "bin", "data": "", "headers": "include"}
    schemes = {scheme: str(folder / place) for scheme, place in places.items()}
    destination = SchemeDictionaryDestination(schemes, interpreter=sys.executable, script_kind="posix")
    try:
        with WheelFile.open(wheel) as source:
            source.validate_record()
            install(source, destination, {})
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""
