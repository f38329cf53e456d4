"""The system that a wheel is repaired against, as planning sees it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from musl_repair.abi import Release, history
from musl_repair.elf import Elf
from musl_repair.findings import Finding, finding
from musl_repair.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from musl_repair.packages import Package
    from musl_repair.policy import Architecture


class Target(World, Protocol):
    """A root with musl and libraries: `Sysroot`, or in tests a few values."""

    def search_path(self, musl_arch: str) -> tuple[PurePosixPath, ...]:
        """Return the folders that its loader searches last."""
        ...

    def loaders(self) -> tuple[str, ...]:
        """Return the file names of the musl loaders that it has."""
        ...

    def digest(self, path: PurePosixPath) -> str:
        """Return the SHA-256 of a file, in hex."""
        ...

    def size(self, path: PurePosixPath) -> int:
        """Return a file's size in bytes."""
        ...

    def owner(self, path: PurePosixPath) -> Package | None:
        """Return the package that a file belongs to."""
        ...

    def license_texts(self, package: Package) -> tuple[PurePosixPath, ...]:
        """Return the files with a package's licences, sorted."""
        ...


def system_release(target: Target, architecture: Architecture) -> Release | None:
    """Return the musl release of a system without running anything from it; None where it has no musl.

    Taken from apk's database, else from the names that its libc exports (the newest release that fits).
    """
    libc = target.read(architecture.loader)
    if not isinstance(libc, Elf):
        return None
    package = target.owner(architecture.loader)
    if package is not None and (package.manager, package.name) == ("apk", "musl"):
        with suppress(ValueError):  # a version of another kind: it says less than the names
            return Release.parse(package.version)
    fitting = history(architecture.name).identify(libc.exports)
    return fitting[-1] if fitting else None


def judge_system(target: Target, architecture: Architecture) -> Iterator[Finding]:
    """Yield why a system cannot give libraries to a wheel of an architecture."""
    if system_release(target, architecture) is not None:
        return
    others = [name for name in target.loaders() if name != architecture.loader.name]
    if others:
        detail = f"the wheel is for {architecture.name}, the sysroot has {', '.join(others)}"
        yield finding("wrong-architecture", "the sysroot", detail)
    else:
        there = isinstance(target.read(architecture.loader), Elf)
        detail = (
            f"the release of its {architecture.loader} cannot be told" if there else f"it has no {architecture.loader}"
        )
        yield finding("sysroot-without-musl", "the sysroot", detail)
