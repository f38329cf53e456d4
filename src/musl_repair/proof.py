"""Edited files are what the plan says, and otherwise what they were: read back and compared, whoever edited.

What another program wrote, our own code reads. Headers that mend.py put right, somebody else's code reads too:
pyelftools. What rewrite.py wrote is compared table by table, lowered relocations one by one (unharmed.py).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from musl_repair.elf import Elf, VersionNeed, elf_of
from musl_repair.errors import ElfError, PatchError
from musl_repair.relocations import relative_relocation
from musl_repair.unharmed import differences

if TYPE_CHECKING:
    from musl_repair.patches import Patch
    from musl_repair.sections import Opened

_STRINGS: Final = {
    "DT_NEEDED": "needed",
    "DT_SONAME": "soname",
    "DT_RPATH": "rpath",
    "DT_RUNPATH": "runpath",
}


def expected_elf(source: Elf, patch: Patch) -> Elf:
    """Return the facts that a file has to have after its patch."""
    renames = dict(patch.renames)
    kept = tuple(renames.get(name, name) for name in source.needed if name not in patch.dropped)
    needed = (*patch.added, *kept)
    # Editors keep the library names of symbol versions true to DT_NEEDED; musl reads neither.
    versions = tuple(
        VersionNeed(renames.get(need.library, need.library), need.version) for need in source.version_needs
    )
    result = source._replace(needed=needed, version_needs=versions)
    if patch.soname is not None:
        result = result._replace(soname=patch.soname)
    if patch.rpath is not None:
        result = result._replace(dt_rpath=patch.rpath or None, dt_runpath=None)
    if patch.lower_relr:
        relative = relative_relocation(source.machine)
        types = tuple(sorted({*source.relocation_types, relative}))
        result = result._replace(relr=False, relocation_types=types)
    return result


def prove(
    before: Elf, source: Opened, edited: Opened, patch: Patch, *, page_size: int, editor: str, mended: bool = False
) -> Elf:
    """Compare an edited file with its source, and return its facts: what was planned is there, all else as before.

    before are the facts of source. page_size is the largest page of its architecture: the file must still be mappable
    with it if it was before. mended: mend.py changed what stands in headers.
    Raises PatchError, naming file, difference and editor, where the file is not what the plan says.
    """
    try:
        wanted = expected_elf(before, patch)
        # What the tables of symbols and relocations say is not read again: bytes are compared instead.
        found = elf_of(edited.image, wanted)
        harm = list(differences(source, edited, lowered=patch.lower_relr, page_size=page_size))
    except ElfError as error:
        fault = _own_fault(source, page_size)
        said = f"{editor} left a broken file: {error}" if fault is None else f"it cannot be edited: {fault}"
        raise PatchError(f"{patch.member}: {said}") from error
    if found.page_size < min(before.page_size, page_size):
        raise PatchError(
            f"{patch.member}: {editor} left segments that {min(before.page_size, page_size)}-byte pages cannot map"
        )
    if harm:
        raise PatchError(f"{patch.member}: {editor} harmed the file: {'; '.join(harm)}")
    _compare(wanted._replace(page_size=found.page_size), found, patch.member, editor)
    if mended:
        _read_again(found, edited, patch.member, editor)
    return found


def _own_fault(source: Opened, page_size: int) -> str | None:
    """Return how a file contradicted itself before any edit; None where it did not."""
    try:
        list(differences(source, source, lowered=False, page_size=page_size))
    except ElfError as error:
        return str(error)
    return None


def _compare(wanted: Elf, found: Elf, member: str, editor: str) -> None:
    if wanted == found:
        return
    different = [name for name in Elf._fields if getattr(wanted, name) != getattr(found, name)]
    details = "; ".join(
        f"{name} should be {getattr(wanted, name)!r:.200}, is {getattr(found, name)!r:.200}" for name in different
    )
    raise PatchError(f"{member}: {editor} changed the file in another way than planned: {details}")


def _read_again(found: Elf, edited: Opened, member: str, editor: str) -> None:
    """Compare with what pyelftools reads, by way of the section headers where the file has them."""
    # Imported here: few runs need it.
    from elftools.elf.elffile import ELFFile

    read: dict[str, list[str]] = {name: [] for name in _STRINGS.values()}
    try:
        elf = ELFFile(io.BytesIO(edited.image.data))
        # By type, not by name: pyelftools would read the names of all sections first.
        section: Any = next(elf.iter_sections("SHT_DYNAMIC"), None)
        dynamic: Any = section or next(elf.iter_segments("PT_DYNAMIC"))
        for tag in dynamic.iter_tags():
            attribute = _STRINGS.get(tag.entry.d_tag)
            if attribute is not None:
                read[attribute].append(getattr(tag, attribute))
    except Exception as error:  # pyelftools raises whatever its parser meets
        raise PatchError(f"{member}: {editor} left a file that pyelftools cannot read: {error}") from error
    own = {
        "needed": list(found.needed),
        "soname": [found.soname] if found.soname is not None else [],
        "rpath": [found.dt_rpath] if found.dt_rpath is not None else [],
        "runpath": [found.dt_runpath] if found.dt_runpath is not None else [],
    }
    if read != own:
        raise PatchError(f"{member}: {editor} left section headers that disagree: {read} against {own}")
