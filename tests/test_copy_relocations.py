"""Copy relocations: a program has a variable of its own for one of a library, and the library has to have it too.

musl 1.2.6 ldso/dynlink.c, do_relocs: `ctx = type==REL_COPY ? head->syms_next : head`.
"""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from builders import ElfFile, Symbol
from facts_by_hand import elf, program
from musl_repair.binding import Unbound, unbound_symbols
from musl_repair.elf import read_elf
from musl_repair.graph import Resolution
from musl_repair.symbols import Import

R_X86_64_64, R_X86_64_COPY = 1, 5
OBJECT = 1


@pytest.mark.parametrize(
    ("relocation", "imports"), [(R_X86_64_COPY, (Import("answer", weak=False),)), (R_X86_64_64, ())], ids=["copy", "64"]
)
def test_only_a_copy_looks_for_what_the_file_offers_itself(relocation: int, imports: tuple[Import, ...]) -> None:
    read = read_elf(ElfFile(symbols=(Symbol("answer", type=OBJECT),), relocations=((1, relocation),)).build())
    assert "answer" in read.exports
    assert read.imports == imports


@pytest.mark.parametrize("there", [True, False], ids=["in the library", "nowhere else"])
def test_copy_is_bound_by_another_file_only(there: bool) -> None:
    main, library = PurePosixPath("/<wheel>/tool"), PurePosixPath("/<wheel>/liba.so")
    tool = elf("liba.so", imports=["answer"], exports=["answer"], interpreter=program().interpreter)
    elfs = {main: tool, library: elf(exports=["answer"] if there else [])}
    resolution = Resolution({main: {"liba.so": library}, library: {}}, (), elfs)
    assert unbound_symbols(resolution) == (() if there else (Unbound(main, "answer", certain=True),))
