"""What a user can ask of a repair."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from pathlib import PurePosixPath

_SUFFIX: Final = re.compile(r"[A-Za-z0-9._+~-]{0,64}")
_MEANINGS: Final = (".data", ".dist-info", ".egg-info")
"""How folders end that installers and importlib.metadata take for something else."""


def parse_suffix(text: str) -> str:
    """Return how the name of the library folder ends. Raises ValueError for what is not good in one."""
    if _SUFFIX.fullmatch(text) is None or ".." in text or text.endswith("."):
        raise ValueError(f"{text!r} is not the end of a folder's name: at most 64 letters, digits, or of . _ + ~ -")
    if text.lower().endswith(_MEANINGS):
        raise ValueError(f"a folder *{text} means something else to installers; .libs is usual")
    return text


class Options(NamedTuple):
    """The choices that a plan depends on."""

    platform: str = "auto"
    """auto, musllinux_X_Y or musllinux_X_Y_ARCH."""
    exclude: tuple[str, ...] = ()
    """Shell patterns of needed names that are not vendored."""
    exclude_rpath: tuple[tuple[str, str], ...] = ()
    """(pattern, folder of site-packages): not vendored either, and files that need it get an rpath to the folder."""
    no_mangle: tuple[str, ...] = ()
    """Shell patterns of needed names, or of file names, that vendored libraries keep."""
    include: tuple[str, ...] = ()
    """[FILE-PATTERN=]NAME_OR_PATH: libraries that files load by dlopen; a path is an absolute loader path."""
    dlopen: str = ""
    """The lowest priority of .note.dlopen whose libraries are vendored: required, recommended, suggested; "": none."""
    dedupe: bool = False
    """Keep one of several copies of a library in the wheel."""
    lib_suffix: str = ".libs"
    """Vendored libraries go into the folder <distribution><lib_suffix>."""
    lower_relr: bool = True
    polyfill: bool = False
    """Let the wheel carry small functions that are newer than its tag."""
    patcher: Literal["builtin", "patchelf"] = "builtin"
    """What edits the ELF files: musl-repair itself, or the program patchelf."""
    strip: bool = False
    """Strip all ELF files of the wheel, and all that is vendored, first."""
    update_tags: bool = True
    """False: file name and WHEEL keep the tags that they have."""
    sbom: bool = True
    """Describe what is vendored in a bill of materials (PEP 770)."""
    licenses: bool = True
    """Give the wheel the licence texts that the system has of what is vendored."""
    library_path: tuple[PurePosixPath, ...] = ()
    """Loader paths of more folders to look in."""
    accepted: frozenset[str] = frozenset()
    """Codes of findings that the user does not want to hear of."""
    strict: bool = False
    """Refuse a wheel with warnings too."""
    verify_input: bool = True
    """Refuse a wheel whose RECORD does not confirm what its files are; else it is only written anew."""
    allow_pure: bool = False
    """Let a wheel without ELF files through, unchanged."""

    @property
    def excluded(self) -> tuple[str, ...]:
        """All patterns of needed names that are not vendored."""
        return (*self.exclude, *(pattern for pattern, _ in self.exclude_rpath))
