"""One ELF file and its patch → the edited file and its facts: stripped, edited by patchelf, mended, lowered, proved."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from musl_repair.elf import Elf, read_elf
from musl_repair.errors import ElfError, PatchError
from musl_repair.mend import mend
from musl_repair.programs import call_once
from musl_repair.proof import prove
from musl_repair.relr import lower_relr
from musl_repair.sections import Opened

if TYPE_CHECKING:
    from musl_repair.elfimage import Content
    from musl_repair.patchelf import Patchelf
    from musl_repair.patches import Patch
    from musl_repair.programs import Call
    from musl_repair.strip import Strip


class Editors(NamedTuple):
    """The programs that edit ELF files; None for one that there is no use for."""

    patchelf: Patchelf | None
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
    editor = str(editors.patchelf) if patch.edits else "relr lowering"
    try:
        opened = edited = Opened(source)
        mended = False
        if patch.edits and editors.patchelf is not None:
            edited = Opened(editors.patchelf.edit(source, patch, editors.call, page_size=page_size))
            content = mend(opened, edited)
            mended = content is not edited.image.data
            edited = Opened(content) if mended else edited
        if patch.lower_relr:
            edited = Opened(lower_relr(edited.image.data))
    except ElfError as error:
        raise PatchError(f"{patch.member}: {editor} left a broken file: {error}") from error
    elf = prove(before, opened, edited, patch, page_size=page_size, editor=editor, mended=mended)
    return Edited(edited.image.data, elf)


def _stripped(source: Content, before: Elf, patch: Patch, strip: Strip, call: Call) -> Edited:
    """Strip a file, whose facts are to stay those that it had."""
    content = strip.strip(source, patch.member, call)
    found = read_elf(content)
    if found._replace(page_size=before.page_size) != before:
        raise PatchError(f"{patch.member}: {strip} changed more than symbols and debug information")
    return Edited(content, found)
