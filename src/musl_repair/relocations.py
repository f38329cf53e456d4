"""Relocation numbers of each machine, grouped as musl's loader groups them.

Source: the processor supplements of the System V ABI, and musl 1.2.6 arch/*/reloc.h for which of them it handles.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.errors import ElfError

if TYPE_CHECKING:
    from collections.abc import Mapping

EM_386: Final = 3
EM_S390: Final = 22
EM_PPC64: Final = 21
EM_ARM: Final = 40
EM_X86_64: Final = 62
EM_AARCH64: Final = 183
EM_RISCV: Final = 243
EM_LOONGARCH: Final = 258

REL_MACHINES: Final = frozenset({EM_386, EM_ARM})
"""Machines whose relocations keep the addend in the word in place (REL); all others have it in the table (RELA)."""


class Relocations(NamedTuple):
    """What one machine's relocation numbers mean to musl."""

    relative: int
    irelative: int
    copy: int
    initial_exec: frozenset[int]
    tlsdesc: frozenset[int]
    names: Mapping[int, str]
    """Every number that some release of musl applies; R_*_NONE is among them."""

    def name(self, number: int) -> str:
        """Return the ABI's name of a relocation type, or its number where musl does not know it."""
        if number == self.irelative:
            return "IRELATIVE"
        return self.names.get(number, f"type {number}")


def _relocations(  # one row of the table below, so that a row reads as the ABI's own list
    prefix: str, irelative: int, initial_exec: str, tlsdesc: str, /, **numbers: int
) -> Relocations:
    by_name = {"NONE": 0, **{name.removeprefix("_"): number for name, number in numbers.items()}}
    return Relocations(
        relative=by_name["RELATIVE"],
        irelative=irelative,
        copy=by_name["COPY"],
        initial_exec=frozenset(by_name[name] for name in initial_exec.split()),
        tlsdesc=frozenset(by_name[name] for name in tlsdesc.split()),
        names=MappingProxyType({number: f"{prefix}_{name}" for name, number in by_name.items()}),
    )


RELOCATIONS: Final[Mapping[int, Relocations]] = MappingProxyType(
    {
        EM_X86_64: _relocations(
            "R_X86_64", 37, "TPOFF64", "TLSDESC",
            _64=1, PC32=2, COPY=5, GLOB_DAT=6, JUMP_SLOT=7, RELATIVE=8,
            DTPMOD64=16, DTPOFF64=17, TPOFF64=18, TLSDESC=36,
        ),
        EM_386: _relocations(
            "R_386", 42, "TLS_TPOFF TLS_TPOFF32", "TLS_DESC",
            _32=1, PC32=2, COPY=5, GLOB_DAT=6, JMP_SLOT=7, RELATIVE=8,
            TLS_TPOFF=14, TLS_DTPMOD32=35, TLS_DTPOFF32=36, TLS_TPOFF32=37, TLS_DESC=41,
        ),
        EM_AARCH64: _relocations(
            "R_AARCH64", 1032, "TLS_TPREL64", "TLSDESC",
            ABS64=257, COPY=1024, GLOB_DAT=1025, JUMP_SLOT=1026, RELATIVE=1027,
            TLS_DTPMOD64=1028, TLS_DTPREL64=1029, TLS_TPREL64=1030, TLSDESC=1031,
        ),
        EM_ARM: _relocations(
            "R_ARM", 160, "TLS_TPOFF32", "TLS_DESC",
            ABS32=2, TLS_DESC=13, TLS_DTPMOD32=17, TLS_DTPOFF32=18, TLS_TPOFF32=19,
            COPY=20, GLOB_DAT=21, JUMP_SLOT=22, RELATIVE=23,
        ),
        EM_PPC64: _relocations(
            "R_PPC64", 248, "TPREL64", "",
            COPY=19, GLOB_DAT=20, JMP_SLOT=21, RELATIVE=22, ADDR64=38, UADDR64=43,
            DTPMOD64=68, TPREL64=73, DTPREL64=78,
        ),
        EM_S390: _relocations(
            "R_390", 61, "TLS_TPOFF", "",
            COPY=9, GLOB_DAT=10, JMP_SLOT=11, RELATIVE=12, _64=22,
            TLS_DTPMOD=54, TLS_DTPOFF=55, TLS_TPOFF=56,
        ),
        EM_RISCV: _relocations(
            "R_RISCV", 58, "TLS_TPREL64", "TLSDESC",
            _64=2, RELATIVE=3, COPY=4, JUMP_SLOT=5,
            TLS_DTPMOD64=7, TLS_DTPREL64=9, TLS_TPREL64=11, TLSDESC=12,
        ),
        EM_LOONGARCH: _relocations(
            "R_LARCH", 12, "TLS_TPREL64", "TLS_DESC64",
            _64=2, RELATIVE=3, COPY=4, JUMP_SLOT=5,
            TLS_DTPMOD64=7, TLS_DTPREL64=9, TLS_TPREL64=11, TLS_DESC64=14,
        ),
    }
)  # fmt: skip


def relative_relocation(machine: int) -> int:
    """Return a machine's relocation that adds where the file is loaded. Raises ElfError where it is not known."""
    known = RELOCATIONS.get(machine)
    if known is None:
        raise ElfError(f"no relative relocation is known for machine {machine}")
    return known.relative
