"""The one place that runs other programs: patchelf and strip, when asked for. Nothing of a wheel is ever run."""

from __future__ import annotations

import contextlib
import mmap
import os
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from musl_repair.errors import PatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

_TIMEOUT: Final = 600
"""Seconds; patchelf needs a few for the largest libraries there are."""
_BEAT: Final = 0.1
"""Seconds after which a thread that waits for its program looks whether the work goes on."""

Call: TypeAlias = "Callable[[Sequence[str | Path], tuple[int, ...]], str]"
"""Runs a program, with the descriptors that it needs, and returns what it printed; raises PatchError where it fails.

Files in the command are ones that we made and named: absolute, so that none can be taken for an option.
"""


class Programs:
    """The programs of one piece of work, in any number of threads: when it ends, they are ended, and none is started.

    Each thread ends its own program, within a tenth of a second: no other one need know which are running.
    """

    def __init__(self) -> None:
        """Begin the work."""
        self._over: Final = threading.Event()

    def __enter__(self) -> Programs:
        """Return the programs themselves."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the work, whatever the reason. Threads that wait for a program get a PatchError."""
        self._over.set()

    def call(self, command: Sequence[str | Path], descriptors: tuple[int, ...] = ()) -> str:
        """Run a program as `Call` says."""
        if self._over.is_set():
            raise PatchError(f"{command[0]} was not started: the work has ended")
        try:
            with subprocess.Popen(  # noqa: S603 - the program is the user's choice or part of this installation
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="backslashreplace",
                pass_fds=descriptors,
            ) as process:
                try:
                    said, complained = self._outputs(process, command[0])
                finally:
                    process.kill()  # which does nothing where it has ended
        except OSError as error:
            raise PatchError(f"{command[0]} cannot be run: {error}") from error
        if process.returncode != 0:
            why = "; ".join(complained.split("\n")).strip("; ") or f"exit status {process.returncode}"
            raise PatchError(f"{command[0]} failed: {why}")
        return said

    def _outputs(self, process: subprocess.Popen[str], program: str | Path) -> tuple[str, str]:
        """Return what a program wrote on its two outputs once it has ended."""
        for _ in range(round(_TIMEOUT / _BEAT)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.communicate(timeout=_BEAT)
            if self._over.is_set():
                raise PatchError(f"{program} was ended: the work has ended")
        raise PatchError(f"{program} did not end within {_TIMEOUT} seconds")


def call_once(command: Sequence[str | Path], descriptors: tuple[int, ...] = ()) -> str:
    """Run a program that belongs to no piece of work, as `Call` says."""
    with Programs() as programs:
        return programs.call(command, descriptors)


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
        import tempfile  # here and below: few runs need it, and it brings much with it

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
    import tempfile

    with tempfile.TemporaryDirectory(prefix="musl-repair-") as name:
        yield Path(name)
