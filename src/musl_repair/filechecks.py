"""Single ELF files → findings: what musl's loader, or the machine, will not do for them. Pure.

Source: musl 1.2.6 ldso/dynlink.c (do_relocs, find_sym, decode_dyn, map_library) and arch/*/reloc.h.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Final

from musl_repair.abi import Feature, feature_since
from musl_repair.codefiles import BROKEN
from musl_repair.findings import Finding, Severity, finding
from musl_repair.graph import is_program
from musl_repair.policy import Architecture, describe_target, glibc_evidence
from musl_repair.relocations import RELOCATIONS
from musl_repair.resolve import file_name, is_libpython, scheme_root
from musl_repair.rpath import expand_entry, has_origin, is_split, is_valid_entry, rpath_entries
from musl_repair.world import is_mounted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import PurePosixPath

    from musl_repair.codefiles import ElfFiles
    from musl_repair.elf import Elf
    from musl_repair.graph import Resolution

_LIBRARY: Final = re.compile(r"\.so(\.[^/]*)?$")
_ISA_NAMES: Final = {1: "x86-64-v2", 2: "x86-64-v3", 3: "x86-64-v4"}
"""Bits of GNU_PROPERTY_X86_ISA_1_NEEDED above the baseline (x86-64 psABI)."""


def judge_targets(files: ElfFiles) -> Iterator[Finding]:
    """Yield code that is for another machine, or another C library, than the wheel."""
    architecture = files.architecture
    for name, elf in files.code.items():
        if architecture is None or not architecture.fits(elf):
            rest = "no musllinux tag names it" if architecture is None else f"the wheel is for {architecture.name}"
            yield finding("wrong-architecture", name, f"the file is for {describe_target(elf)}; {rest}")
        elif evidence := glibc_evidence(elf):
            yield finding("glibc-linked", name, f"it asks for {', '.join(evidence)}")


def judge_data(files: ElfFiles, wheel: str) -> Iterator[Finding]:
    """Yield ELF files that cannot be loaded: one note for all that are data, errors for what something asks for."""
    for name, reason in files.broken.items():
        yield finding("broken-elf", name, f"it is {reason}", severity=Severity.ERROR)
    by_reason: dict[str, list[str]] = {}
    for name, reason in files.data.items():
        if reason.startswith(BROKEN) and _LIBRARY.search(name):
            yield finding("broken-elf", name, f"it is {reason}")
        else:
            by_reason.setdefault(reason, []).append(name)
    if by_reason:
        number = sum(map(len, by_reason.values()))
        are = "ELF files are" if number > 1 else "ELF file is"
        lines = [f"- {reason}: {', '.join(names)}" for reason, names in sorted(by_reason.items())]
        said = [
            f"{number} {are} data: musl cannot load {'them' if number > 1 else 'it'} on the wheel's machine",
            *lines,
        ]
        yield finding("elf-data", wheel, *said)


def judge_files(
    resolution: Resolution, names: Mapping[PurePosixPath, str], architecture: Architecture
) -> Iterator[Finding]:
    """Yield what is wrong with single files, whatever becomes of their search paths."""
    loaded = _loaded_by_dlopen(resolution)
    for path, elf in resolution.elfs.items():
        name = names.get(path, str(path))
        # The relocations of a file for another machine have other numbers; it is wrong as a whole already.
        if architecture.fits(elf):
            yield from _judge_machine(name, elf, architecture)
            if not elf.relocates_itself:
                yield from _judge_relocations(name, elf, architecture)
                yield from _judge_tls(name, elf) if path in loaded else ()
        yield from (
            finding("libpython-linked", name, f"it needs {needed}")
            for needed in elf.needed
            if is_libpython(file_name(needed))
        )
        if elf.exec_stack:
            yield finding("executable-stack", name, "PT_GNU_STACK has the executable flag")


def _loaded_by_dlopen(resolution: Resolution) -> frozenset[PurePosixPath]:
    """Return the files that are loaded when the process runs already: the closures of all roots but programs."""
    tops = [path for path in resolution.roots if not is_program(resolution.elfs[path])]
    return frozenset(path for top in tops for path in resolution.closures[top])


def _judge_tls(name: str, elf: Elf) -> Iterator[Finding]:
    """do_relocs: "initial-exec TLS resolves to dynamic definition". The flag alone harms nobody: it is not read."""
    if elf.initial_exec:
        variables = ", ".join(symbol or "a variable of its own" for symbol in elf.initial_exec)
        yield finding("initial-exec-tls", name, f"thread-pointer relocations against {variables}")
    elif elf.static_tls:
        detail = "DF_STATIC_TLS is set, but no relocation asks for it"
        yield finding("initial-exec-tls", name, detail, severity=Severity.NOTE)


def _judge_relocations(name: str, elf: Elf, architecture: Architecture) -> Iterator[Finding]:
    machine = RELOCATIONS[architecture.machine]
    yield from _judge_ifuncs(name, elf, calls=machine.irelative in elf.relocation_types)
    tlsdesc = machine.tlsdesc if feature_since(Feature.TLSDESC, architecture.name) is not None else frozenset()
    known = (machine.names.keys() - machine.tlsdesc) | tlsdesc | {machine.irelative}
    unknown = [machine.name(number) for number in elf.relocation_types if number not in known]
    if unknown:
        yield finding("unsupported-relocation", name, ", ".join(unknown))


def _judge_ifuncs(name: str, elf: Elf, *, calls: bool) -> Iterator[Finding]:
    """do_relocs: "unsupported relocation type"; find_sym: OK_TYPES. What no relocation refers to is not looked up.

    calls: the file has relocations that call such functions. What other files look up in vain is symbol-not-found.
    """
    wanted = {symbol for symbol, weak in elf.imports if not weak}
    used = [ifunc for ifunc in elf.ifuncs if ifunc in wanted]
    if used or calls:
        yield finding("ifunc", name, ", ".join([*used, *(["IRELATIVE relocations"] if calls else [])]))
    elif elf.ifuncs:
        detail = f"it exports {', '.join(elf.ifuncs)}, which musl does not find; nothing in the file refers to it"
        yield finding(
            "ifunc", name, detail, remedy="nothing to do as long as nobody looks it up", severity=Severity.NOTE
        )


def _judge_machine(name: str, elf: Elf, architecture: Architecture) -> Iterator[Finding]:
    levels = [level for bit, level in _ISA_NAMES.items() if elf.isa_needed >> bit & 1]
    if levels:
        yield finding("isa-level", name, f"it is marked as needing {levels[-1]}")
    if elf.page_size < architecture.max_page:
        can = f"pages of at most {elf.page_size} bytes" if elf.page_size else "no page size"
        detail = f"its segments fit {can}; kernels for {architecture.name} use up to {architecture.max_page}"
        yield finding("page-alignment", name, detail, severity=None if elf.page_size else Severity.ERROR)


def judge_rpaths(resolution: Resolution, names: Mapping[PurePosixPath, str]) -> Iterator[Finding]:
    """Yield search paths that a repair would have mended."""
    for path, elf in resolution.elfs.items():
        if not is_mounted(path):
            continue
        root, name = scheme_root(path), names.get(path, str(path))
        for entry in rpath_entries(elf.rpath):
            folder = posixpath.normpath(expand_entry(entry, path.parent))
            if not is_valid_entry(entry):
                yield finding("rpath-token", name, f"the entry {entry}")
            elif folder != root and not folder.startswith(f"{root}/"):
                yield finding("rpath-outside-wheel", name, f"the entry {entry}")


def judge_origins(resolution: Resolution, names: Mapping[PurePosixPath, str]) -> Iterator[Finding]:
    """Yield files that do not find what they need because musl splits what $ORIGIN stands for."""
    lost: dict[PurePosixPath, list[str]] = {}
    for need in resolution.missing:
        lost.setdefault(need.needed_by, []).append(need.name)
    for path, needed in lost.items():
        rpath = resolution.elfs[path].rpath
        if is_mounted(path) and is_split(path.parent) and has_origin(rpath):
            detail = f"it needs {', '.join(needed)}, and its rpath is {rpath}"
            yield finding("folder-breaks-rpath", names.get(path, str(path)), detail)
