"""Which ELF files of a wheel are code, and which are data that musl on the wheel's machine could never load. Pure.

Source: the ELF types that map_library (musl 1.2.6 ldso/dynlink.c) takes; CPython's importlib and PyPy's, for what a
module's file is called.
"""

from __future__ import annotations

import re
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.elfimage import ET_CORE, ET_DYN, ET_EXEC, ET_REL
from musl_repair.graph import is_extension
from musl_repair.policy import ARCHITECTURES, Architecture, architecture_of, describe_target, machine_name
from musl_repair.resolve import scheme_root
from musl_repair.wheel import MOUNT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import PurePosixPath

    from musl_repair.elf import Elf
    from musl_repair.facts import Facts
    from musl_repair.wheel import WheelName

BROKEN: Final = "cut off or broken"
"""How the reason begins for a file that contradicts itself."""
_SCRIPTS: Final = "/<scripts>"
_TYPES: Final = {ET_REL: "an object file", ET_CORE: "a core dump"}
_MODULE: Final = re.compile(r"[^.]+\.(cpython|pypy)-?(\d+)\w*-(?:pp\d+-)?(\w+)-linux-\w+\.so")
_TAGS: Final = {"cpython": "cp", "pypy": "pp"}


class ElfFiles(NamedTuple):
    """The ELF files of a wheel, by archive name in the order of the archive."""

    architecture: Architecture | None
    """The one that the wheel is for; None where there is no code, or no known architecture fits it."""
    code: Mapping[str, Elf]
    """What something may load or run."""
    data: Mapping[str, str]
    """What musl on the wheel's machine could never load and nothing asks it to, with the reason."""
    broken: Mapping[str, str]
    """What something would load or run, but cannot, with the reason."""

    def needing(self, needed: Mapping[str, Elf]) -> ElfFiles:
        """Return them with files among the code that other files need, whatever they are for."""
        data = {name: reason for name, reason in self.data.items() if name not in needed}
        return self._replace(code=MappingProxyType({**self.code, **needed}), data=MappingProxyType(data))


def sort_files(facts: Facts) -> ElfFiles:
    """Tell a wheel's code from its data.

    Data is what musl on the wheel's machine cannot load (for another machine, no shared object or program, cut off) and
    what is neither installed as a program nor called as a module that the wheel's interpreters import. What a file of
    the wheel needs is code too: only the loader's search knows that.
    """
    machine = _machine(facts)
    code: dict[str, Elf] = {}
    data: dict[str, str] = {}
    broken: dict[str, str] = {}
    for name, reading in facts.readings.items():
        elf, fault = reading.elf, reading.broken
        reason = f"{BROKEN}: {fault}" if elf is None else _never_loaded(elf, machine)
        if elf is None and fault is None:
            continue
        if reason is not None and not _is_asked_for(facts, name, elf, machine.architecture):
            data[name] = reason
        elif elf is not None and elf.type in (ET_DYN, ET_EXEC):
            code[name] = elf
        else:
            broken[name] = str(reason)
    architecture = machine.architecture if code else None
    return ElfFiles(architecture, MappingProxyType(code), MappingProxyType(data), MappingProxyType(broken))


class _Machine(NamedTuple):
    """What a wheel is for; no architecture where none is known."""

    architecture: Architecture | None
    is_named: bool = False
    """Whether the wheel's tags name a machine, known or not."""


def _machine(facts: Facts) -> _Machine:
    """Return the machine that a wheel is for: that which its tags name, else that of most of its files."""
    name, elfs = facts.wheel.name, facts.elfs.values()
    machines = {machine for platform in name.platforms if (machine := machine_name(platform)) is not None}
    named = [architecture for architecture in ARCHITECTURES if architecture.name in machines]
    most = _most_common(elf for elf in elfs if elf.type in (ET_DYN, ET_EXEC))
    if not named:
        return _Machine(most, bool(machines))
    fitting = {one: sum(one.fits(elf) for elf in elfs) for one in named}
    best = max(named, key=lambda one: (fitting[one], one.name))
    if not fitting[best]:
        # Data alone do not make the tag wrong, but libraries and modules do, if all are for another machine.
        return _Machine(_most_common(elf for elf in elfs if elf.loadable) or best, is_named=True)
    return _Machine(best, is_named=True)


def _most_common(elfs: Iterable[Elf]) -> Architecture | None:
    known = [architecture for elf in elfs if (architecture := architecture_of(elf)) is not None]
    counts = Counter(architecture.name for architecture in known)
    return max(known, key=lambda one: (counts[one.name], one.name), default=None)


def _never_loaded(elf: Elf, machine: _Machine) -> str | None:
    """Return why musl on a machine cannot load a file, nor its kernel start it; None where they may."""
    if elf.type not in (ET_DYN, ET_EXEC):
        return _TYPES.get(elf.type, f"of ELF type {elf.type}")
    architecture = machine.architecture
    if architecture is None:
        # What the tags of an unknown machine promise cannot be told from what they do not.
        return None if machine.is_named else f"for {describe_target(elf)}"
    return None if architecture.fits(elf) else f"for {describe_target(elf)}"


def _is_asked_for(facts: Facts, name: str, elf: Elf | None, architecture: Architecture | None) -> bool:
    """Whether a file's place or name says that it is a program or a module."""
    path = facts.path(name)
    if scheme_root(path) == _SCRIPTS:
        return True
    return scheme_root(path) == str(MOUNT) and _is_module(path, elf, architecture, facts.wheel.name)


def _is_module(path: PurePosixPath, elf: Elf | None, architecture: Architecture | None, name: WheelName) -> bool:
    """Whether a wheel's interpreters would import a file, by its name.

    A name with neither interpreter nor ABI, such as _x.so, is a library's as well: it counts if the file has the
    function that every module has.
    """
    stem, _, suffix = path.name.partition(".")
    if suffix == "so":
        return elf is not None and is_extension(elf)
    if suffix == "abi3.so":
        return bool(stem)
    match = _MODULE.fullmatch(path.name)
    if match is None:
        return False
    kind, version, machine = match.groups()
    pythons = name.python.split(".")
    imported = f"{_TAGS[kind]}{version}" in pythons or "abi3" in name.abi or any(tag[:2] == "py" for tag in pythons)
    known = architecture is None or machine in (architecture.name, _triplet_name(architecture))
    return imported and known


def _triplet_name(architecture: Architecture) -> str:
    """Return the machine's name in the platform triplets of interpreters."""
    return architecture.musl_name.removesuffix("hf")
