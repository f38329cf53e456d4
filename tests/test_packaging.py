"""The distributions of this project: `python -m build` makes both, and each has all that belongs to it."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from musl_repair import __version__

pytestmark = pytest.mark.network  # build installs the build backend

PROJECT = Path(__file__).resolve().parents[1]
SOURCES = PROJECT / "src"
IGNORED = frozenset({"__pycache__"})


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(PROJECT)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def files(folder: Path) -> set[str]:
    """Return the files below a folder of the project, as the project's root names them."""
    found = (path for path in folder.rglob("*") if path.is_file() and not IGNORED.intersection(path.parts))
    return {path.relative_to(PROJECT).as_posix() for path in found}


def test_wheel_has_every_file_of_the_package(distributions: tuple[Path, Path]) -> None:
    _, wheel = distributions
    assert wheel.name == f"musl_repair-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        found = {f"src/{name}" for name in archive.namelist() if ".dist-info/" not in name}
        metadata = archive.read(f"musl_repair-{__version__}.dist-info/METADATA").decode()
        scripts = archive.read(f"musl_repair-{__version__}.dist-info/entry_points.txt").decode()
    assert found == files(SOURCES)
    assert {"src/musl_repair/data/report.schema.json", "src/musl_repair/polyfill/x86_64/qsort_r.so"} <= found
    assert "src/musl_repair/py.typed" in found
    assert "\nLicense-Expression: MIT\n" in metadata
    assert "musl-repair = musl_repair.__main__:main" in scripts


def test_sdist_has_the_tests_and_what_they_need(distributions: tuple[Path, Path]) -> None:
    sdist, _ = distributions
    with tarfile.open(sdist) as archive:
        found = {member.name.partition("/")[2] for member in archive.getmembers() if not member.isdir()}
    wanted = set().union(*(files(PROJECT / name) for name in ("src", "tests", "docs")))
    wanted |= {name for name in files(PROJECT / "testdata") if not name.endswith((".whl", "/libabs.so.1"))}
    wanted |= {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "Dockerfile.alpine",
        "action.yml",
        "mkdocs.yml",
    }
    assert wanted - found == set()
    assert "testdata/wheels/demo-1.0-cp310-abi3-linux_x86_64.whl" in found


def test_installed_wheel_finds_its_data(distributions: tuple[Path, Path], tmp_path: Path) -> None:
    _, wheel = distributions
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path), str(wheel)]
    subprocess.run(command, check=True)
    code = (
        "import musl_repair, sys; from musl_repair.cli import main; print(musl_repair.__file__); main(['abi', 'statx'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert said.stdout.startswith(f"{tmp_path}/musl_repair/__init__.py\nstatx\n  since 1.2.5")
