"""cibuildwheel for real: it builds a small project on podman, musl-repair repairs the wheel, and the result imports."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from alpine.root import PROJECT, done, folder_of, musl_repair

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.alpine, pytest.mark.podman, pytest.mark.network]

SOURCES = PROJECT / "testdata" / "projects" / "cibw"
RESULT = "zlibsum-1.0-cp311-cp311-musllinux_1_2_x86_64.whl"


@pytest.fixture
def tools() -> Path:
    """Return the folder with cibuildwheel.sh."""
    folder = folder_of("MUSL_REPAIR_ALPINE_TOOLS")
    if folder is None:
        pytest.skip("MUSL_REPAIR_ALPINE_TOOLS is not set: no cibuildwheel.sh to run cibuildwheel with")
    return folder


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """Return our own wheel."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(tmp_path), str(PROJECT)]
    subprocess.run(command, check=True)
    return next(tmp_path.glob("musl_repair-*.whl"))


def test_cibuildwheel_repairs_with_musl_repair_and_the_result_imports(tools: Path, ours: Path, tmp_path: Path) -> None:
    work = folder_of("MUSL_REPAIR_ALPINE")
    assert work is not None
    project = shutil.copytree(SOURCES, tmp_path / "project")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CIBW_")},
        "CIBW_BEFORE_BUILD": f"pip install --only-binary :all: /host{ours}",
        "CIBW_REPAIR_WHEEL_COMMAND_LINUX": "musl-repair -w {dest_dir} {wheel}",
        "CIBW_TEST_COMMAND": "python {project}/check_import.py",
    }
    command = ["bash", str(tools / "cibuildwheel.sh"), str(work), str(project)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    said = done(ran)
    print(said, ran.stderr)  # pytest -s shows it, and so does a failure
    assert f"{RESULT.replace('musllinux_1_2', 'linux')}: 1 vendored" in said + ran.stderr
    assert "/zlibsum.libs/libz-" in said
    assert [path.name for path in (work / "cibw-out").iterdir()] == [RESULT]
    assert "nothing found" in done(musl_repair("check", work / "cibw-out" / RESULT))
