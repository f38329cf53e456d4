"""Files as bytes, edited and proved as a repair does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from musl_repair import mend, proof
from musl_repair.errors import ElfError, PatchError
from musl_repair.patches import Patch
from musl_repair.rewrite import rewrite
from musl_repair.sections import Opened

if TYPE_CHECKING:
    from musl_repair.elf import Elf
    from musl_repair.elfimage import Content


def lower_relr(data: bytes) -> bytes:
    """Return a file with DT_RELR lowered and nothing else done to it; the same object where there is none."""
    lowered = rewrite(data, Patch("lowered", lower_relr=True))
    return data if lowered is data else bytes(lowered)


def put_right(source: Content, edited: Content) -> Content:
    """Return an edited file put right; the same object where nothing is wrong."""
    opened = Opened(edited)
    content = mend.mend(Opened(source), opened)
    return edited if content is opened.image.data else content


def prove(
    before: Elf, source: Content, content: Content, patch: Patch, *, page_size: int, editor: str, mended: bool = False
) -> Elf:
    """Return the facts of an edited file. Raises PatchError where it is not what the patch says."""
    try:
        opened, edited = Opened(source), Opened(content)
    except ElfError as error:
        raise PatchError(f"{patch.member}: {editor} left a broken file: {error}") from error
    return proof.prove(before, opened, edited, patch, page_size=page_size, editor=editor, mended=mended)
