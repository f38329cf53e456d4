"""Published C++ and Rust wheels of each architecture, repaired by the program and loaded by a real musl, file by file.

Once as they are, with what somebody else vendored and left unfit for musl before 1.2.4; and once made into what they
were before that, so that the libraries come out of a system.
"""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

from loading import LOAD, Outcome, load_all, unpack
from machines import build_probe, machines
from musl_repair.policy import ARCHITECTURES
from process import Run
from published import VENDORED, Published, fetch
from unrepair import find_patchelf, plain_name, unrepair

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = [pytest.mark.network, pytest.mark.qemu]

GCC = ("libgcc_s.so", "libstdc++.so")


@pytest.fixture(scope="module", params=VENDORED, ids=lambda wheel: f"{wheel.architecture}-{wheel.requirement}")
def published(request: pytest.FixtureRequest) -> Published:
    """Return each wheel whose architecture has a musl that runs here."""
    found: Published = request.param
    if not machines(found.architecture):
        pytest.skip(
            f"no musl of {found.architecture} that runs here: MUSL_REPAIR_FOREIGN, qemu-user-static (.ci/foreign)"
        )
    return found


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path | None]:
    """Return a function that makes, for an architecture, the program that loads a file."""
    return cache(lambda architecture: build_probe(architecture, tmp_path_factory.mktemp(architecture), LOAD))


@pytest.fixture(scope="module")
def program(published: Published, programs: Callable[[str], Path | None]) -> Path:
    """Return the program of the wheel's architecture."""
    made = programs(published.architecture)
    if made is None:
        pytest.skip("ziglang (the extra 'build') is not installed")
    return made


@pytest.fixture(scope="module")
def wheel(published: Published, program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file, downloaded when there is something to load it with."""
    assert program.exists()
    return fetch(published, tmp_path_factory.mktemp("published"))


def repaired(wheel: Path, folder: Path, sysroot: Path) -> Path:
    """Return the wheel that `musl-repair repair` makes."""
    run = Run(folder, [wheel], sysroot, limited=False).result()
    assert run.returncode == 0, run.stderr
    return Path(run.stdout.strip())


def failures(outcomes: Mapping[str, Outcome]) -> dict[str, str]:
    """Return the words of each failure, by file."""
    return {name: outcome.failure for name, outcome in outcomes.items() if outcome.failure}


def loaded(outcomes: Mapping[str, Outcome]) -> set[str]:
    """Return all files that some process had."""
    return set().union(*(outcome.loaded for outcome in outcomes.values()))


def plain(names: Mapping[str, object]) -> list[str]:
    """Return the names of files without their hashes and folders, sorted."""
    return sorted(plain_name(PurePosixPath(name).name) for name in names)


def test_what_others_vendored_is_loaded_after_the_repair_and_before_it_only_without_relr(
    published: Published, wheel: Path, program: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    before = unpack(wheel, tmp_path / "before")
    after = unpack(repaired(wheel, tmp_path / "out", empty), tmp_path / "after")
    assert any(name.startswith(GCC) for name in plain(before.elfs))
    for machine in machines(published.architecture):
        crashed = "SIGSEGV" in failures(load_all(machine, program, before)).values()
        assert crashed == (before.has_relr and not machine.reads_relr), machine
        found = load_all(machine, program, after)
        assert failures(found) == {}, machine
        assert loaded(found) == set(after.elfs)


@pytest.mark.patchelf
def test_what_comes_from_a_system_is_vendored_and_loaded(
    published: Published, wheel: Path, program: Path, tmp_path: Path
) -> None:
    unrepaired, libraries = unrepair(wheel, tmp_path / "unrepaired", find_patchelf())
    root = tmp_path / "root"
    shutil.copytree(libraries, root / "usr" / "lib")
    (libc,) = (one.loader for one in ARCHITECTURES if one.name == published.architecture)
    (root / "lib").mkdir()
    shutil.copy2(machines(published.architecture)[0].command[-1], root / libc.relative_to("/"))
    before = unpack(unrepaired, tmp_path / "before")
    after = unpack(repaired(unrepaired, tmp_path / "out", root), tmp_path / "after")
    assert plain(after.elfs) == plain(unpack(wheel, tmp_path / "published").elfs)
    for machine in machines(published.architecture):
        words = failures(load_all(machine, program, before)).values()
        assert any(text.startswith("Error loading shared library") for text in words), machine
        found = load_all(machine, program, after)
        assert failures(found) == {}, machine
        assert loaded(found) == set(after.elfs)
