"""Fixtures for all tests. No test starts a process unless it says that it does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

PROCESS_MARKERS = ("patchelf", "abi3audit", "alpine", "podman", "network", "qemu", "process")


def pytest_sessionstart() -> None:
    """Make the absolute links of testdata where they are missing: an sdist cannot have them (PEP 721)."""
    for root in (Path(__file__).resolve().parents[1] / "testdata" / "sysroots").iterdir():
        link = root / "usr" / "lib" / "libabs.so.1"
        if not link.is_symlink():
            link.symlink_to("/usr/lib/real/libabs.so.1.0")


@pytest.fixture(autouse=True)
def no_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test fail that starts a process without a marker, or the `readelf` fixture, that announces it."""
    allowed = any(request.node.get_closest_marker(name) for name in PROCESS_MARKERS)
    if allowed or "readelf" in request.fixturenames:
        return

    def refuse(*arguments: object, **_: object) -> NoReturn:
        pytest.fail(f"started a process without a marker that allows it: {arguments}")

    monkeypatch.setattr(subprocess, "Popen", refuse)


@pytest.fixture
def readelf() -> Callable[..., str]:
    """Return a function that runs binutils' readelf on a file: options first, then the file."""
    program = shutil.which("readelf")
    if program is None:
        pytest.skip("readelf (binutils) is not installed")

    def run(options: str, path: Path) -> str:
        result = subprocess.run([program, options, "-W", path], capture_output=True, text=True, check=True, env={})
        assert result.stderr == ""
        return result.stdout

    return run


@pytest.fixture
def alpine_root() -> Path:
    """Return the real Alpine root, for tests that look at its files."""
    folder = os.environ.get("MUSL_REPAIR_ALPINE")
    if folder is None:
        pytest.skip("MUSL_REPAIR_ALPINE is not set: no Alpine root whose files could be tried")
    return Path(folder) / "alpine"
