"""The one place that runs other programs: patchelf, and strip when it is asked for. Nothing of a wheel is ever run."""

from __future__ import annotations

import mmap
import os
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.errors import PatchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TIMEOUT: Final = 600
"""Seconds; patchelf needs a few for the largest libraries there are."""


def call(command: Sequence[str | Path], descriptors: tuple[int, ...] = ()) -> str:
    """Run a program and return what it printed. Raises PatchError with its own words where it fails.

    Files in the command are ones that we made and named: absolute, so that none can be taken for an option.
    """
    try:
        done = subprocess.run(  # noqa: S603 - the program is the user's choice or part of this installation
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            check=False,
            timeout=_TIMEOUT,
            pass_fds=descriptors,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PatchError(f"{command[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        raise PatchError(f"{command[0]} failed: {done.stderr.strip() or f'exit status {done.returncode}'}")
    return done.stdout


class Loan(NamedTuple):
    """A file for another program to work on."""

    path: Path
    descriptors: tuple[int, ...]
    """What the program needs to open the file."""

    def content(self) -> memoryview:
        """Return what is in the file now. It is mapped, not read: copies of large files take long."""
        with self.path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


@contextmanager
def file_with(content: bytes | bytearray | memoryview) -> Iterator[Loan]:
    """Give a file with this content.

    In memory where the system can: quick, and gone with the process however it ends. Else a temporary file.
    """
    try:
        descriptor = os.memfd_create("musl-repair", 0)
    except (AttributeError, OSError):  # not Linux, or forbidden
        with tempfile.NamedTemporaryFile(prefix="musl-repair-") as file:
            file.write(content)
            file.flush()
            yield Loan(Path(file.name), ())
        return
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as out:
            out.write(content)
        yield Loan(Path(f"/proc/self/fd/{descriptor}"), (descriptor,))
    finally:
        os.close(descriptor)


@contextmanager
def folder() -> Iterator[Path]:
    """Give a temporary folder, for programs that write a file beside the one that they read."""
    with tempfile.TemporaryDirectory(prefix="musl-repair-") as name:
        yield Path(name)
