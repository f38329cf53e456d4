"""Wheels and folders of installed packages → the vendored libraries in them, and how large all is.

Source: auditwheel and delocate for where vendored files stand; the specification of installed projects (RECORD).
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from musl_repair.archive import Archive
from musl_repair.elf import Elf, read_elf
from musl_repair.elfimage import MAGIC
from musl_repair.errors import ElfError, WheelError
from musl_repair.python.suffixes import is_module
from musl_repair.wheel import read_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from musl_repair.central import Limits
    from musl_repair.elfimage import Content

LEFTOVER: Final = ".musl-repair-link"
"""How the names end that linking gives to files for a moment: a process that was killed may leave one."""

_LIBRARY: Final = re.compile(r"lib.+\.so(\.[\w.+-]+)?")
_RECORD: Final = ".dist-info/RECORD"


@dataclass(frozen=True, slots=True)
class Copy:
    """One vendored file; size in bytes."""

    holder: str
    """The wheel or installed project that it is in."""
    member: str
    """Its archive name, or where it is in site-packages."""
    size: int
    sha256: str
    """In hex."""
    elf: Elf | None = field(compare=False)
    """None where it contradicts itself."""
    place: tuple[str, str]
    """Equal for two names of one file on disk: device and inode, as musl compares them; a wheel and a member."""
    file: Path | None = None
    """The installed file; None in a wheel."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A wheel, or an installed project."""

    name: str
    size: int
    """Bytes of all its files when installed."""
    copies: tuple[Copy, ...]
    """Sorted by member."""


def read_wheel_holder(path: Path, limits: Limits | None = None) -> Holder:
    """Read a wheel. Raises MuslRepairError for what is not one."""
    with Archive(path, limits) as archive:
        read_wheel(path.name, archive)
        copies = [
            copy
            for name in sorted(archive.members)
            if _may_be_vendored(name) and archive.head(name, len(MAGIC)) == MAGIC
            if (copy := _copy(path.name, name, archive.read(name), (str(path), name))) is not None
        ]
        return Holder(path.name, sum(member.size for member in archive.members.values()), tuple(copies))


def wheels_in(folder: Path) -> tuple[Path, ...]:
    """Return the wheels that stand in a folder, sorted."""
    return tuple(sorted(path for path in folder.glob("*.whl") if path.is_file()))


def read_site_packages(root: Path) -> tuple[Holder, ...]:
    """Read a folder of installed projects, sorted by name. Raises WheelError where it cannot be read, or holds none.

    A file belongs to the project whose RECORD lists it. Others belong to the folder that they are in at the top, which
    counts where there are libraries in it.
    """
    try:
        files = dict(_files(root))
        owners = _owners(root, files)
        if not owners:
            raise WheelError(f"{root} holds no installed project: it has no .dist-info folder with a RECORD")
        sizes: Counter[str] = Counter()
        copies: dict[str, list[Copy]] = {}
        for member, size in files.items():
            holder = owners.get(member) or member.partition("/")[0]
            sizes[holder] += size
            copies.setdefault(holder, []).extend(_installed_copy(root, holder, member))
    except OSError as error:
        raise WheelError(f"cannot read {error.filename}: {error.strerror}") from error
    projects = set(owners.values())
    return tuple(
        Holder(name, sizes[name], tuple(copies[name])) for name in sorted(sizes) if name in projects or copies[name]
    )


def _files(root: Path) -> Iterator[tuple[str, int]]:
    """Yield the names and sizes of all regular files under a folder, sorted; no symbolic link is followed."""
    for folder, folders, names in os.walk(root, onerror=_raise):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)  # noqa: PTH118 - a Path for each of 100 000 files takes seconds
            found = os.lstat(path)
            if stat.S_ISREG(found.st_mode) and not name.endswith(LEFTOVER):
                yield os.path.relpath(path, root), found.st_size


def _raise(error: OSError) -> None:
    raise error


def _owners(root: Path, files: Iterable[str]) -> dict[str, str]:
    """Return member → project, as RECORD files say. Raises WheelError for one that cannot be understood."""
    owners: dict[str, str] = {}
    for record in files:
        if record.endswith(_RECORD) and record.count("/") == 1:
            text = (root / record).read_text("utf-8", "surrogateescape")
            rows = csv.reader(io.StringIO(text.replace("\0", "")))
            try:
                owners |= {row[0]: record.removesuffix(_RECORD) for row in rows if row}
            except csv.Error as error:
                raise WheelError(f"{root / record} has a line that is not path,hash,size: {error}") from error
    return owners


def _installed_copy(root: Path, holder: str, member: str) -> Iterator[Copy]:
    if not _may_be_vendored(member):
        return
    path = root / member
    with path.open("rb") as file:
        content = file.read(len(MAGIC))
        if content != MAGIC:
            return
        content += file.read()
        found = os.fstat(file.fileno())
    copy = _copy(holder, member, content, (str(found.st_dev), str(found.st_ino)), path)
    if copy is not None:
        yield copy


def _may_be_vendored(member: str) -> bool:
    """Whether a name is one of a vendored file: in a folder *.libs, or that of a library wherever it is."""
    path = PurePosixPath(member)
    return _in_libs(path) or (_LIBRARY.fullmatch(path.name) is not None and not member.endswith("/"))


def _in_libs(path: PurePosixPath) -> bool:
    return any(part.endswith(".libs") for part in path.parts[:-1])


def _copy(
    holder: str, member: str, content: Content, place: tuple[str, str], file: Path | None = None
) -> Copy | None:  # fmt: skip
    """Return an ELF file as a vendored one; None for an extension module, whatever its name is."""
    elf = _elf(content)
    if elf is not None and is_module(elf.exports) and not _in_libs(PurePosixPath(member)):
        return None
    return Copy(holder, member, len(content), hashlib.sha256(content).hexdigest(), elf, place, file)


def _elf(content: Content) -> Elf | None:
    try:
        return read_elf(content)
    except ElfError:
        return None
