"""Wheels unpacked, and each of their files loaded by a real musl as an import loads it, without a Python.

The names of Python's C API come from a library that is made for the wheel: they can be bound to, not called. So the
loader, relocations and constructors are real, and a constructor that calls the C API dies.
"""

from __future__ import annotations

import re
import signal
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from builders import ElfFile, Symbol
from musl_repair.elf import Elf, read_elf

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from machines import Machine

LOAD: Final = Path(__file__).with_name("load.c")
"""The program that loads a file: machines.build_probe makes it."""
_C_API: Final = re.compile(r"_?Py[A-Z_]\w*")
"""CPython's names, and nobody else's: what musl lacks has to stay missing."""
_ZEROS: Final = 0x100
"""Where a library of builders.py has a hundred bytes of nothing, behind its program headers."""


class Outcome(NamedTuple):
    """What became of loading one file; failure is empty where it was loaded."""

    loaded: frozenset[str] = frozenset()
    """The wheel's files that are in the process then."""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A wheel in a folder, with the library that stands for its interpreter."""

    folder: Path
    elfs: Mapping[str, Elf]
    """By the names that the wheel has for them."""
    api: Path

    @property
    def order(self) -> tuple[str, ...]:
        """All files, and last those that others need: these come with the others, whose rpaths find what they need."""
        needed = {name.rpartition("/")[2] for elf in self.elfs.values() for name in elf.needed}
        return tuple(sorted(self.elfs, key=lambda name: (name.rpartition("/")[2] in needed, name)))

    @property
    def has_relr(self) -> bool:
        """Whether a musl before 1.2.4 leaves pointers in it as they are in the file."""
        return any(elf.relr for elf in self.elfs.values())


def unpack(wheel: Path, folder: Path) -> Unpacked:
    """Unpack a wheel into a new folder, beside which the library goes."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    contents = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    elfs = {
        path.relative_to(folder).as_posix(): read_elf(content)
        for path, content in contents.items()
        if content.startswith(b"\x7fELF")
    }
    api = folder.with_name(f"{folder.name}-api.so")
    api.write_bytes(_c_api(elfs.values()))
    return Unpacked(folder, elfs, api)


def _c_api(elfs: Iterable[Elf]) -> bytes:
    """Return a library that defines all names of the C API that these files ask for, functions and data alike."""
    files = list(elfs)
    names = sorted({one.name for elf in files for one in elf.imports if _C_API.fullmatch(one.name)})
    first = files[0]
    symbols = tuple(Symbol(name, type=0, value=_ZEROS) for name in names)
    return ElfFile(bits=first.bits, little=first.little, machine=first.machine, symbols=symbols).build()


def load_all(machine: Machine, program: Path, wheel: Unpacked) -> dict[str, Outcome]:
    """Load the files of a wheel, each in a process of its own, but for those that have come with another."""
    found: dict[str, Outcome] = {}
    loaded: set[str] = set()
    for name in wheel.order:
        if name not in loaded:
            found[name] = _load(machine, program, wheel, name)
            loaded |= found[name].loaded
    return found


def _load(machine: Machine, program: Path, wheel: Unpacked, name: str) -> Outcome:
    done = machine.run(program, wheel.api, wheel.folder / name)
    if done.returncode < 0:
        return Outcome(failure=signal.Signals(-done.returncode).name)
    if done.returncode:
        return Outcome(failure=f"{done.stdout}{done.stderr}".strip() or f"exit status {done.returncode}")
    start = f"{wheel.folder}/"
    resolved = (str(Path(line).resolve()) for line in done.stdout.splitlines() if line.startswith(start))
    return Outcome(frozenset(path.removeprefix(start) for path in resolved))
