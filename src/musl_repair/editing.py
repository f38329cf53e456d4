"""One ELF file and its patch → the edited file and its facts: stripped, edited here or by patchelf, lowered, proved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.elf import Elf, read_elf
from musl_repair.errors import ElfError, PatchError
from musl_repair.mend import mend
from musl_repair.patches import Patch
from musl_repair.programs import call_once
from musl_repair.proof import prove
from musl_repair.rewrite import rewrite
from musl_repair.sections import Opened

if TYPE_CHECKING:
    from musl_repair.elfimage import Content
    from musl_repair.patchelf import Patchelf
    from musl_repair.programs import Call
    from musl_repair.strip import Strip


_OWN: Final = "the built-in editor"


class Editors(NamedTuple):
    """The programs that edit ELF files; None for one that there is no use for."""

    patchelf: Patchelf | None = None
    """None: rewrite.py makes its edits."""
    strip: Strip | None = None
    call: Call = call_once
    """How they are run."""


class Edited(NamedTuple):
    """An edited file and its facts."""

    content: Content
    elf: Elf


def edit(source: Content, before: Elf, patch: Patch, editors: Editors, *, page_size: int) -> Edited:
    """Edit a file, whose facts are before, as its patch says.

    page_size is the largest page of its architecture, in bytes. Raises PatchError where an editor fails, or leaves a
    file that is not what the patch says or in anything else not what it was.
    """
    if patch.strip and editors.strip is not None:
        source, before = _stripped(source, before, patch, editors.strip, editors.call)
    try:
        opened = Opened(source)
    except ElfError as error:
        raise PatchError(f"{patch.member}: {error}") from error
    if editors.patchelf is None or not patch.edits:
        result = _rewritten(opened, patch)
    else:
        editor = str(editors.patchelf)
        content = editors.patchelf.edit(source, patch, editors.call, page_size=page_size)
        result = _put_right(opened, content, patch, editor)
    elf = prove(before, opened, result.file, patch, page_size=page_size, editor=result.editor, mended=result.mended)
    return Edited(result.file.image.data, elf)


class _Result(NamedTuple):
    """What an editor made, to be proved."""

    file: Opened
    editor: str
    mended: bool = False


def _rewritten(opened: Opened, patch: Patch) -> _Result:
    try:
        return _Result(Opened(rewrite(opened.image.data, patch)), _OWN)
    except ElfError as error:
        # patchelf cannot lower DT_RELR either.
        advice = "; try --patcher patchelf" if patch.edits and not patch.lower_relr else ""
        raise PatchError(f"{patch.member}: {_OWN} cannot edit it: {error}{advice}") from error


def _put_right(opened: Opened, content: Content, patch: Patch, editor: str) -> _Result:
    """Do what patchelf cannot; lowering comes after it, because it goes by section headers."""
    try:
        edited = Opened(content)
        content = mend(opened, edited)
        mended = content is not edited.image.data
        if patch.lower_relr:
            content = rewrite(content, Patch(patch.member, lower_relr=True))
        return _Result(Opened(content) if content is not edited.image.data else edited, editor, mended)
    except ElfError as error:
        raise PatchError(f"{patch.member}: {editor} left a broken file: {error}") from error


def _stripped(source: Content, before: Elf, patch: Patch, strip: Strip, call: Call) -> Edited:
    """Strip a file, whose facts are to stay those that it had."""
    content = strip.strip(source, patch.member, call)
    found = read_elf(content)
    if found._replace(page_size=before.page_size) != before:
        raise PatchError(f"{patch.member}: {strip} changed more than symbols and debug information")
    return Edited(content, found)
