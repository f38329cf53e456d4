"""The image: built from the local Alpine image, it repairs a real wheel with itself as the sysroot."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from alpine.root import PROJECT, folder_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.alpine, pytest.mark.podman]

IMAGE = "localhost/musl-repair-test"


@pytest.fixture(scope="session")
def podman() -> Callable[..., str]:
    """Return a function that runs podman with the tools' settings and images."""
    work, tools = folder_of("MUSL_REPAIR_ALPINE"), folder_of("MUSL_REPAIR_ALPINE_TOOLS")
    if work is None or tools is None:
        pytest.skip("MUSL_REPAIR_ALPINE_TOOLS is not set: no podman.sh to run podman with")

    def run(*arguments: str | Path) -> str:
        command = ["bash", str(tools / "podman.sh"), str(work), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_image_repairs_a_wheel_with_itself_as_the_sysroot(
    podman: Callable[..., str], wheels: dict[str, Path], repaired: dict[str, Path], tmp_path: Path
) -> None:
    file = PROJECT / "Dockerfile.alpine"
    podman("build", "-q", "--build-arg", "BASE=localhost/alpine:3.23", "-f", file, "-t", IMAGE, PROJECT)
    shutil.copy2(wheels["pycurl"], tmp_path)
    said = podman("run", "--rm", "--volume", f"{tmp_path}:/io", IMAGE, wheels["pycurl"].name)
    assert said.strip() == f"wheelhouse/{repaired['pycurl'].name}"
    assert (tmp_path / said.strip()).read_bytes() == repaired["pycurl"].read_bytes()
    assert "Usage: musl-repair" in podman("run", "--rm", IMAGE, "--help")
