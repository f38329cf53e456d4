"""Fixtures of the tests on the real Alpine root (root.py says how it is found); without it all of them are skipped."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from alpine.root import OLD_LOADER, WHEELS, Alpine, done, folder_of, musl_repair

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True, scope="session")
def _needs_alpine() -> None:
    if folder_of("MUSL_REPAIR_ALPINE") is None:
        pytest.skip("MUSL_REPAIR_ALPINE is not set: no Alpine root to test with")


@pytest.fixture(scope="session")
def alpine() -> Iterator[Alpine]:
    """Return the root, with a folder in its /tmp for this session."""
    base = folder_of("MUSL_REPAIR_ALPINE")
    root = (base or Path("/nowhere")) / "alpine"
    if not root.is_dir():
        pytest.fail(f"MUSL_REPAIR_ALPINE has no alpine/: {base}")
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("entering the Alpine root needs root rights and unshare")
    with tempfile.TemporaryDirectory(prefix="musl-repair-", dir=root / "tmp") as work:
        yield Alpine(root, Path(work))


@pytest.fixture(scope="session")
def wheels() -> dict[str, Path]:
    """Return the unrepaired wheels that were built in the root, by project."""
    tools = folder_of("MUSL_REPAIR_ALPINE_TOOLS")
    folder = folder_of("MUSL_REPAIR_ALPINE_WHEELS") or (tools and tools / "wheels")
    if folder is None:
        pytest.skip("neither MUSL_REPAIR_ALPINE_WHEELS nor MUSL_REPAIR_ALPINE_TOOLS is set: no wheels to repair")
    return {name: next(folder.glob(f"{name}-*.whl")) for name in WHEELS}


@pytest.fixture(scope="session")
def repaired(alpine: Alpine, wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the wheels as repaired on this host against the root, by project."""
    folder = tmp_path_factory.mktemp("repaired")
    done(musl_repair("--sysroot", alpine.root, "-w", folder, *wheels.values()))
    return {name: next(folder.glob(f"{name}-*.whl")) for name in wheels}


@pytest.fixture(scope="session")
def site(alpine: Alpine, repaired: dict[str, Path]) -> Path:
    """Return a clean folder into which the root's pip installed the repaired wheels."""
    target, copies = alpine.work / "site", alpine.work / "wheels"
    copies.mkdir()
    inside = [alpine.inside(Path(shutil.copy2(wheel, copies))) for wheel in repaired.values()]
    done(alpine.run("python", "-m", "pip", "install", "-q", "--target", alpine.inside(target), *inside))
    return target


@pytest.fixture(scope="session")
def old_loader() -> Path:
    """Return the host's musl loader, one that does not read DT_RELR."""
    if not OLD_LOADER.exists():
        pytest.skip("no musl on this host (Debian: apt-get install musl)")
    said = subprocess.run([OLD_LOADER], capture_output=True, text=True, check=False).stderr
    match = re.search(r"Version (\d+)\.(\d+)\.(\d+)", said)
    if match is None or tuple(map(int, match.groups())) >= (1, 2, 4):
        pytest.skip(f"the musl of this host reads DT_RELR: {said.splitlines()[1:2]}")
    return OLD_LOADER


@pytest.fixture(scope="session")
def new_loader(alpine: Alpine) -> Path:
    """Return the root's own loader, which reads DT_RELR."""
    return alpine.root / "lib" / "ld-musl-x86_64.so.1"
