"""What elf.py reads of a file, against pyelftools and readelf; and that no file, however broken, harms the reader."""

from __future__ import annotations

import io
import re
import struct
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
from elftools.elf import enums
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection

from builders import ARCHITECTURES, SYSROOTS, TESTDATA, ElfFile, Symbol
from musl_repair import elfimage as image_
from musl_repair.elf import Elf, VersionNeed, read_elf
from musl_repair.elfimage import is_elf, read_image, same_bytes
from musl_repair.errors import ElfError
from musl_repair.relocations import (
    EM_386,
    EM_AARCH64,
    EM_ARM,
    EM_LOONGARCH,
    EM_PPC64,
    EM_S390,
    EM_X86_64,
    RELOCATIONS,
)
from musl_repair.symbols import Import

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Readelf = Callable[..., str]

FIXTURES: Final = tuple(
    path
    for folder in (*(TESTDATA / arch for arch in ARCHITECTURES), *(SYSROOTS / arch for arch in ARCHITECTURES))
    for path in sorted(folder.rglob("*"))
    if path.is_file() and not path.is_symlink() and path.name != "installed"
)
CLASSES: Final = {
    "64-bit little-endian": ElfFile(),
    "64-bit big-endian": ElfFile(little=False, machine=EM_S390),
    "32-bit little-endian": ElfFile(bits=32, machine=EM_386),
    "32-bit big-endian": ElfFile(bits=32, little=False, machine=EM_ARM),
}
LINKS: Final = {1: "needed", 14: "soname", 15: "dt_rpath", 29: "dt_runpath"}


def fixture_id(path: Path) -> str:
    return f"{path.name} of {path.relative_to(TESTDATA).as_posix().rsplit('/', 1)[0]}"


def with_fields(source: ElfFile, **changes: Any) -> ElfFile:
    """Return the file of another class and byte order with these fields."""
    return ElfFile(bits=source.bits, little=source.little, machine=source.machine, **changes)


@pytest.fixture(params=list(CLASSES.values()), ids=list(CLASSES))
def kind(request: pytest.FixtureRequest) -> ElfFile:
    """Give an empty file of each class and byte order."""
    found: ElfFile = request.param
    return found


# The second reader: pyelftools, by way of the section headers, which read_elf never looks at


def dynamic_by_pyelftools(elf: Any) -> dict[str, Any]:
    tags = [entry.entry for entry in elf.get_section_by_name(".dynamic").iter_tags()]
    strings = elf.get_section_by_name(".dynstr")
    values = {entry.d_tag: entry.d_val for entry in tags}

    def text(tag: str) -> str | None:
        return strings.get_string(values[tag]) if tag in values else None

    return {
        "soname": text("DT_SONAME"),
        "needed": tuple(strings.get_string(entry.d_val) for entry in tags if entry.d_tag == "DT_NEEDED"),
        "dt_rpath": text("DT_RPATH"),
        "dt_runpath": text("DT_RUNPATH"),
        "textrel": "DT_TEXTREL" in values,
        "static_tls": bool(values.get("DT_FLAGS", 0) & enums.ENUM_DT_FLAGS["DF_STATIC_TLS"]),
        "bind_now": bool(values.get("DT_FLAGS_1", 0) & enums.ENUM_DT_FLAGS_1["DF_1_NOW"]),
        "relr": "DT_RELR" in values,
        "hashed": "DT_HASH" in values or "DT_GNU_HASH" in values,
    }


def symbols_by_pyelftools(elf: Any) -> dict[str, Any]:
    symbols = elf.get_section_by_name(".dynsym")
    versions = elf.get_section_by_name(".gnu.version")
    imports, kinds = {}, set()
    for section in elf.iter_sections():
        if isinstance(section, RelocationSection):
            for relocation in section.iter_relocations():
                kinds.add(relocation["r_info_type"])
                symbol = symbols.get_symbol(relocation["r_info_sym"])
                if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name:
                    imports[symbol.name] = symbol["st_info"]["bind"] == "STB_WEAK"
    defined = [
        (index, symbol)
        for index, symbol in enumerate(symbols.iter_symbols())
        if symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["bind"] != "STB_LOCAL"
    ]
    # pyelftools calls the number of STT_GNU_IFUNC by its generic name.
    ifuncs = {symbol.name for _, symbol in defined if symbol["st_info"]["type"] == "STT_LOOS"}
    # "VER_NDX_…" or a number, in which the highest bit says "hidden".
    hidden = {
        symbol.name
        for index, symbol in defined
        if versions and str(versions.get_symbol(index)["ndx"]).isdigit() and versions.get_symbol(index)["ndx"] >> 15
    }
    return {
        "imports": tuple(Import(name, weak) for name, weak in sorted(imports.items())),
        "exports": frozenset(symbol.name for _, symbol in defined) - ifuncs - hidden,
        "ifuncs": tuple(sorted(ifuncs)),
        "relocation_types": tuple(sorted(kinds)),
    }


def by_pyelftools(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        elf: Any = ELFFile(file)
        notes = [note for section in elf.iter_sections("SHT_NOTE") for note in section.iter_notes()]
        build_ids = [note.n_desc for note in notes if note["n_type"] == "NT_GNU_BUILD_ID"]
        needs = elf.get_section_by_name(".gnu.version_r")
        pairs = [] if needs is None else [(of.name, one.name) for of, ones in needs.iter_versions() for one in ones]
        interpreters = [s.get_interp_name() for s in elf.iter_segments("PT_INTERP")]
        return {
            "machine": enums.ENUM_E_MACHINE[elf["e_machine"]],
            "bits": elf.elfclass,
            "little": elf.little_endian,
            "type": enums.ENUM_E_TYPE[elf["e_type"]],
            "flags": elf["e_flags"],
            "dynamic": True,
            "interpreter": interpreters[0] if interpreters else None,
            "build_id": build_ids[0] if build_ids else None,
            "version_needs": tuple(VersionNeed(*pair) for pair in pairs),
            **dynamic_by_pyelftools(elf),
            **symbols_by_pyelftools(elf),
        }


def fields_of(elf: Elf, like: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(elf, name) for name in like}


@pytest.mark.parametrize("path", FIXTURES, ids=fixture_id)
def test_pyelftools_reads_the_same_in(path: Path) -> None:
    expected = by_pyelftools(path)
    assert expected == fields_of(read_elf(path.read_bytes()), expected)


# The third reader: readelf, by name where elf.py has numbers


def lines_with(text: str, pattern: str) -> list[str]:
    return re.findall(pattern, text, re.MULTILINE)


@pytest.mark.parametrize("path", FIXTURES, ids=fixture_id)
def test_readelf_reads_the_same_in(path: Path, readelf: Readelf) -> None:
    elf = read_elf(path.read_bytes())
    text = readelf("-hldrn", path)
    names = {elf_name.split()[2] for elf_name in lines_with(text, r"^[0-9a-f]+ +[0-9a-f]+ +R_\w+.*$")}
    # readelf lists what DT_RELR stands for as bare offsets; so types are of the other tables in both.
    expected = {
        "needed": lines_with(text, r"\(NEEDED\).*\[(.*)\]"),
        "soname": lines_with(text, r"\(SONAME\).*\[(.*)\]"),
        "interpreter": lines_with(text, r"\[Requesting program interpreter: (.*)\]"),
        "build_id": lines_with(text, r"Build ID: ([0-9a-f]+)"),
        "relr": bool(lines_with(text, r"\((RELR)\)")),
        "relocations": {name.replace("_JMP_", "_JUMP_") for name in names},
    }
    table = RELOCATIONS[elf.machine]
    assert expected == {
        "needed": list(elf.needed),
        "soname": [] if elf.soname is None else [elf.soname],
        "interpreter": [] if elf.interpreter is None else [elf.interpreter],
        "build_id": [elf.build_id],
        "relr": elf.relr,
        # i686: the psABI writes R_386_JMP_SLOT, readelf R_386_JUMP_SLOT.
        "relocations": {table.name(number).replace("_JMP_", "_JUMP_") for number in elf.relocation_types},
    }


@pytest.mark.parametrize("path", FIXTURES, ids=fixture_id)
def test_readelf_finds_the_same_symbols_by_the_hash_table_of(path: Path, readelf: Readelf) -> None:
    text = re.sub(r" \[<localentry>: \d+\]", "", readelf("-sD", path))  # ppc64le
    rows = lines_with(text, r"^ *\d+: [0-9a-f]+ +\d+ \w+ +(?:GLOBAL|WEAK) +\w+ +(?!UND)\S+ (\S+)")
    assert frozenset(rows) == read_elf(path.read_bytes()).exports


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_thread_local_storage_is_reached_in_the_dynamic_model_in_the_fixtures_of(arch: str, readelf: Readelf) -> None:
    path = TESTDATA / arch / "libleaf.so.1"
    tls = {name for name in re.findall(r"R_\w+", readelf("-r", path)) if re.search("DTP|DTV|TLS", name)}
    elf = read_elf(path.read_bytes())
    table = RELOCATIONS[elf.machine]
    assert tls == {name for name in map(table.name, elf.relocation_types) if re.search("DTP|DTV|TLS", name)}
    assert tls
    assert elf.initial_exec == ()


@pytest.mark.parametrize(
    ("machine", "names"),
    [
        (EM_X86_64, enums.ENUM_RELOC_TYPE_x64),
        (EM_386, enums.ENUM_RELOC_TYPE_i386),
        (EM_AARCH64, enums.ENUM_RELOC_TYPE_AARCH64),
        (EM_ARM, enums.ENUM_RELOC_TYPE_ARM),
        (EM_PPC64, enums.ENUM_RELOC_TYPE_PPC64),
        (EM_S390, enums.ENUM_RELOC_TYPE_S390X),
        (EM_LOONGARCH, enums.ENUM_RELOC_TYPE_LOONGARCH),
    ],
    ids=["x86_64", "i686", "aarch64", "armv7l", "ppc64le", "s390x", "loongarch64"],
)
def test_relocations_have_the_numbers_that_pyelftools_gives_their_names(machine: int, names: Mapping[str, int]) -> None:
    # pyelftools follows an early draft here; the released ABI, binutils (see the fixtures above) and musl do not.
    drafted = {"R_AARCH64_NONE", "R_AARCH64_TLS_DTPMOD64", "R_AARCH64_TLS_DTPREL64"}
    known = names.keys() - drafted
    numbers = {name: number for number, name in RELOCATIONS[machine].names.items() if name in known}
    assert numbers == {name: names[name] for name in numbers}
    # The ABIs have more than one spelling for a few of them; most must have been compared.
    assert len(numbers) > len(RELOCATIONS[machine].names) / 2


# What the fixtures do not have: files made by hand, which both readers must understand as they were meant

RICH: Final[Mapping[str, Any]] = {
    "symbols": (
        Symbol("wanted", section=0, value=0),
        Symbol("optional", bind=2, section=0, value=0),
        Symbol("chosen_at_load", type=10),
        Symbol("superseded", version=0x8002),
        Symbol("offered", version=3),
        Symbol("weakly_offered", bind=2, type=1),
        Symbol("nowhere", type=1, value=0, section=0),
        Symbol("unreferenced", section=0, value=0),
    ),
    "relocations": ((1, 6), (2, 6), (5, 7), (4, 7)),
    "version_needs": {"libc.so.6": ("GLIBC_2.17", "GLIBC_2.34"), "libm.so.6": ("GLIBC_2.29",)},
    "notes": ((b"GNU", 3, bytes.fromhex("c0ffee")),),
    "named": ((1, "libc.so.6"), (1, "libm.so.6"), (14, "librich.so.1"), (15, "/old"), (29, "$ORIGIN/../lib")),
    "dynamic": ((22, 0), (30, 0x10), (0x6FFFFFFB, 1)),
}


def test_pyelftools_reads_the_same_in_a_file_with_everything(kind: ElfFile, tmp_path: Path) -> None:
    path = tmp_path / "librich.so.1"
    path.write_bytes(with_fields(kind, **RICH).build())
    expected = by_pyelftools(path)
    # musl never finds a definition of a version that is not the default: the file's own use of it is an import.
    expected["imports"] = tuple(sorted([*expected["imports"], Import("superseded", weak=False)]))
    assert expected == fields_of(read_elf(path.read_bytes()), expected)


def test_readelf_reads_the_same_in_a_file_with_everything(kind: ElfFile, tmp_path: Path, readelf: Readelf) -> None:
    path = tmp_path / "librich.so.1"
    path.write_bytes(with_fields(kind, **RICH).build())
    elf, text = read_elf(path.read_bytes()), readelf("-dnsV", path)
    assert elf.ifuncs == tuple(lines_with(text, r" IFUNC +GLOBAL DEFAULT +\d+ (\w+)"))
    assert elf.dt_rpath == lines_with(text, r"Library rpath: \[(.*)\]")[0]
    assert elf.rpath == lines_with(text, r"Library runpath: \[(.*)\]")[0]
    assert elf.textrel == ("(TEXTREL)" in text)
    assert elf.static_tls == ("STATIC_TLS" in text)
    assert elf.bind_now == ("Flags: NOW" in text)
    versions = re.findall(r"File: (\S+)|Name: (\S+)", text)
    files = [file for file, _ in versions if file]
    assert [need.version for need in elf.version_needs] == [version for _, version in versions if version]
    assert list(dict.fromkeys(need.library for need in elf.version_needs)) == files


@pytest.mark.parametrize(
    ("machine", "bits", "number"),
    [(EM_X86_64, 64, 18), (EM_386, 32, 14), (EM_AARCH64, 64, 1030), (EM_ARM, 32, 19), (EM_PPC64, 64, 73)],
)
def test_a_relocation_that_readelf_calls_tpoff_is_initial_exec(
    machine: int, bits: int, number: int, tmp_path: Path, readelf: Readelf
) -> None:
    path = tmp_path / "libtls.so"
    source = ElfFile(
        bits=bits, machine=machine, symbols=(Symbol("variable", type=6),), relocations=((1, number), (0, number))
    )
    path.write_bytes(source.build())
    assert lines_with(readelf("-r", path), r"R_\w+_(?:TPOFF|TLS_TPOFF|TLS_TPREL|TPREL)\w*") != []
    assert read_elf(path.read_bytes()).initial_exec == ("", "variable")


@pytest.mark.parametrize("place", [0, 1, 255, 256, 700, 1023, 1024, 1999])
def test_one_relocation_among_many_that_are_alike_is_seen(place: int, kind: ElfFile) -> None:
    relocations = [(0, 8)] * 1000 + [(2, 7)] * 1000
    relocations[place] = (1, 6)
    symbols = (Symbol("one", section=0), Symbol("many", section=0))
    elf = read_elf(with_fields(kind, symbols=symbols, relocations=tuple(relocations)).build())
    assert elf.imports == (Import("many", weak=False), Import("one", weak=False))
    assert elf.relocation_types == (6, 7, 8)


def test_a_copied_symbol_is_an_import_though_the_file_defines_it(tmp_path: Path, readelf: Readelf) -> None:
    """Musl looks a copy's source up in all files but this one (ldso/dynlink.c, do_relocs: head->next)."""
    path = tmp_path / "program"
    symbols = (Symbol("copied", type=1), Symbol("own", type=1))
    path.write_bytes(ElfFile(type=2, symbols=symbols, relocations=((1, 5), (2, 6))).build())
    assert lines_with(readelf("-r", path), r"R_X86_64_COPY +[0-9a-f]+ (\w+)") == ["copied"]
    assert read_elf(path.read_bytes()).imports == (Import("copied", weak=False),)


@pytest.mark.parametrize(("bits", "words"), [(1, "baseline"), (2, "v2"), (4, "v3"), (8, "v4")])
def test_the_isa_note_says_what_readelf_says(bits: int, words: str, tmp_path: Path, readelf: Readelf) -> None:
    path = tmp_path / "libisa.so"
    content = struct.pack("<IIII", 0xC0008002, 4, bits, 0)
    # The note must be aligned as 64-bit properties are, which a name of four bytes does.
    path.write_bytes(ElfFile(notes=((b"GNU", 5, content),)).build())
    assert f"x86 ISA needed: x86-64-{words}" in readelf("-n", path)
    assert read_elf(path.read_bytes()).isa_needed == bits


def test_dlopen_notes_are_json_texts_in_file_order(kind: ElfFile) -> None:
    texts = ('[{"soname":["libone.so.1"]}]', '[{"soname":["libtwo.so.2"],"priority":"required"}]')
    notes = tuple((b"FDO", 0x407C0C0A, text.encode() + b"\0") for text in texts)
    data = with_fields(kind, notes=notes).build()
    section: Any = ELFFile(io.BytesIO(data)).get_section_by_name(".note")
    seen = [note["n_descdata"].rstrip(b"\0").decode() for note in section.iter_notes()]
    assert texts == tuple(seen) == read_elf(data).dlopen_notes


@pytest.mark.parametrize(
    ("flags", "executable"), [(None, False), (6, False), (7, True)], ids=["no header", "RW", "RWE"]
)
def test_an_executable_stack_is_seen(flags: int | None, executable: bool, kind: ElfFile) -> None:
    assert read_elf(with_fields(kind, stack_flags=flags).build()).exec_stack is executable


def test_a_file_without_hash_table_says_so(kind: ElfFile) -> None:
    elf = read_elf(with_fields(kind, hashed=False, symbols=(Symbol("unfindable"),)).build())
    assert (elf.hashed, elf.exports) == (False, frozenset())


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_page_size_is_what_all_segments_of_readelf_allow(arch: str, readelf: Readelf) -> None:
    for path in sorted((TESTDATA / arch).iterdir()):
        rows = lines_with(readelf("-l", path), r"^  LOAD +(0x\w+) (0x\w+) 0x\w+ 0x\w+ 0x\w+ [RWE ]+(0x\w+)")
        aligns = {int(align, 16) for _, _, align in (tuple(row) for row in rows)}
        page = read_elf(path.read_bytes()).page_size
        # The linker lays a file out for the page size that it writes down as alignment: that much must be possible.
        assert page >= min(min(aligns), 0x10000)
        assert {0} == {(int(row[1], 16) - int(row[0], 16)) % page for row in rows}


def test_names_that_are_not_utf8_come_back_as_they_were() -> None:
    data = ElfFile(named=((1, "libNAME.so"),)).build().replace(b"NAME", b"n\xe4\xff\xe9")
    assert read_elf(data).needed[0].encode("utf-8", "surrogateescape") == b"libn\xe4\xff\xe9.so"


def test_the_last_of_two_sonames_counts_and_every_needed_entry() -> None:
    """It is so in musl: decode_vec overwrites, load_deps goes through all entries."""
    elf = read_elf(ElfFile(named=((14, "first.so"), (1, "liba.so"), (14, "last.so"), (1, "libb.so"))).build())
    assert (elf.soname, elf.needed) == ("last.so", ("liba.so", "libb.so"))


@pytest.mark.parametrize(
    ("type_", "loadable"), [(1, False), (2, True), (3, True), (4, False)], ids=["REL", "EXEC", "DYN", "CORE"]
)
def test_only_dynamic_files_of_two_types_are_loadable(type_: int, loadable: bool, kind: ElfFile) -> None:
    assert read_elf(with_fields(kind, type=type_).build()).loadable is loadable


def test_a_file_that_is_not_dynamic_is_read_and_not_loadable() -> None:
    header = struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 0, 0, 0, 64, 56, 0, 64, 0, 0)
    elf = read_elf(b"\x7fELF\2\1\1" + bytes(9) + header)
    assert (elf.dynamic, elf.loadable, elf.needed, elf.bits) == (False, False, (), 64)


# Broken files: an ElfError or a value, nothing else, and soon


def outcome(data: bytes) -> Elf | None:
    """Read a file; None stands for an ElfError. Any other exception fails the test."""
    try:
        return read_elf(data)
    except ElfError:
        return None


def needed_bytes(path: Path) -> int:
    """Return where what a loader looks at ends, by pyelftools."""
    with path.open("rb") as file:
        return max(s["p_offset"] + s["p_filesz"] for s in ELFFile(file).iter_segments() if s["p_filesz"])


@pytest.mark.parametrize("arch", ["x86_64", "i686", "s390x"])
def test_a_file_cut_off_anywhere_before_its_last_segment_ends_is_refused(arch: str) -> None:
    path = TESTDATA / arch / "libonlyrelr.so.1"
    data, end = path.read_bytes(), needed_bytes(path)
    assert {None} == {outcome(data[:length]) for length in range(end)}


@pytest.mark.parametrize("arch", ["x86_64", "i686", "s390x"])
def test_a_file_cut_off_behind_its_last_segment_says_the_same(arch: str) -> None:
    path = TESTDATA / arch / "libonlyrelr.so.1"
    data, end = path.read_bytes(), needed_bytes(path)
    assert {read_elf(data)} == {outcome(data[:length]) for length in range(end, len(data))}


@pytest.mark.parametrize("name", ["tool", "libleaf.so.1"])
def test_a_larger_file_cut_off_is_refused(name: str) -> None:
    path = TESTDATA / "x86_64" / name
    data, end = path.read_bytes(), needed_bytes(path)
    assert {None} == {outcome(data[:length]) for length in range(0, end, 13)}


def loaded_tables(path: Path) -> Iterator[int]:
    """Yield the offsets of all bytes of headers, and of the dynamic section and what its entries point at."""
    names = {
        ".interp",
        ".dynamic",
        ".dynsym",
        ".dynstr",
        ".hash",
        ".gnu.hash",
        ".note.gnu.build-id",
        ".rela.plt",
        ".rel.plt",
    }
    with path.open("rb") as file:
        elf = ELFFile(file)
        yield from range(elf["e_phoff"] + elf["e_phnum"] * elf["e_phentsize"])
        for section in elf.iter_sections():
            if section.name in names:
                yield from range(section["sh_offset"], section["sh_offset"] + section["sh_size"])


@pytest.mark.parametrize("name", ["x86_64/_ext.so", "i686/tool", "s390x/tool"])
def test_a_file_with_any_byte_changed_is_read_or_refused_soon(name: str) -> None:
    path = TESTDATA / name
    data = path.read_bytes()
    slowest, refused = 0.0, 0
    for at in loaded_tables(path):
        for value in {0, 0x7F, 0xFF, data[at] ^ 1, data[at] ^ 0x80} - {data[at]}:
            begin = time.process_time()
            refused += outcome(data[:at] + bytes([value]) + data[at + 1 :]) is None
            slowest = max(slowest, time.process_time() - begin)
    assert refused > 100
    assert slowest < 2


@pytest.mark.parametrize("name", ["x86_64/_ext.so", "i686/tool", "s390x/tool"])
def test_a_file_with_any_word_changed_is_read_or_refused_soon(name: str) -> None:
    path = TESTDATA / name
    data = path.read_bytes()
    words = [bytes(4), b"\xff" * 4, b"\x7f" + b"\xff" * 3, b"\xff" * 3 + b"\x7f", b"\1\0\0\0", b"\0\0\0\1"]
    slowest, refused = 0.0, 0
    for at in {at - at % 4 for at in loaded_tables(path)}:
        for word in words:
            begin = time.process_time()
            refused += outcome(data[:at] + word + data[at + 4 :]) is None
            slowest = max(slowest, time.process_time() - begin)
    assert refused > 100
    assert slowest < 2


def test_what_is_not_elf_is_refused() -> None:
    for data in (b"", b"\x7fEL", b"#!/bin/sh\n", b"GROUP ( libfoo.so.1 )\n", bytes(100)):
        assert not is_elf(data)
        with pytest.raises(ElfError, match="not an ELF file"):
            read_elf(data)


@pytest.mark.parametrize(("class_", "order"), [(0, 1), (3, 1), (2, 0), (2, 3), (255, 255)])
def test_an_unknown_class_or_byte_order_is_refused(class_: int, order: int) -> None:
    data = bytearray(ElfFile().build())
    data[4:6] = bytes([class_, order])
    with pytest.raises(ElfError, match=f"class {class_} or byte order {order} does not exist"):
        read_elf(bytes(data))


@pytest.mark.parametrize("tag", LINKS, ids=LINKS.values())
def test_a_string_outside_the_table_is_refused(tag: int, kind: ElfFile) -> None:
    with pytest.raises(ElfError, match="string 0x100000 is outside the string table"):
        read_elf(with_fields(kind, dynamic=((tag, 1 << 20),)).build())


def test_a_string_that_does_not_end_in_the_table_is_refused(kind: ElfFile) -> None:
    # ".dynstr" is "\0libendless.so\0"; DT_STRSZ says that it is shorter.
    with pytest.raises(ElfError, match="string 0x1 has no end"):
        read_elf(with_fields(kind, named=((1, "libendless.so"),), dynamic=((10, 5),)).build())


def test_a_symbol_whose_name_is_outside_the_table_is_refused(kind: ElfFile) -> None:
    source = with_fields(kind, symbols=(Symbol("name"),), dynamic=((10, 1),))
    with pytest.raises(ElfError, match="outside the string table"):
        read_elf(source.build())


def gnu_hash(kind: ElfFile, *, buckets: int = 1, first: int = 1, bloom: int = 1, bucket: int = 1, chain: int) -> bytes:
    order, word = ("<" if kind.little else ">"), ("Q" if kind.bits == 64 else "I")
    return struct.pack(f"{order}IIII{word}I", buckets, first, bloom, 0, 0, bucket) + bytes(chain)


@pytest.mark.parametrize(
    "table",
    [
        {"chain": 4096},
        {"chain": 8, "buckets": 0xFFFFFFFF},
        {"chain": 8, "bloom": 0xFFFFFFFF},
        {"chain": 8, "bucket": 0xFFFFFFFF},
        {"chain": 8, "buckets": 3},
        {"chain": 0},
    ],
    ids=[
        "a chain without end",
        "too many buckets",
        "too large a bloom filter",
        "a bucket outside",
        "cut off",
        "no chain",
    ],
)
def test_a_gnu_hash_table_is_refused_that_has(table: dict[str, int], kind: ElfFile) -> None:
    source = with_fields(kind, symbols=(Symbol("name"),), tail=(0x6FFFFEF5, gnu_hash(kind, **table)))
    assert outcome(source.build()) is None


def test_a_gnu_hash_table_whose_chain_ends_is_read(kind: ElfFile) -> None:
    """The refusals above are because of what is wrong with the table, not because of how it is made."""
    end = struct.pack("<I" if kind.little else ">I", 1)
    source = with_fields(kind, symbols=(Symbol("name"),), tail=(0x6FFFFEF5, gnu_hash(kind, chain=0) + end))
    assert read_elf(source.build()).exports == {"name"}


@pytest.mark.parametrize("count", [0xFFFFFFFF, 1000], ids=["4294967295", "1000"])
def test_a_hash_table_that_promises_more_symbols_than_there_are_is_refused(count: int, kind: ElfFile) -> None:
    form = "QQ" if kind.machine == EM_S390 else "II"
    table = struct.pack(("<" if kind.little else ">") + form, 1, count)
    with pytest.raises(ElfError, match=f"promises {count} symbols"):
        read_elf(with_fields(kind, tail=(4, table)).build())


@pytest.mark.parametrize(
    ("tag", "value"),
    [(5, 0x7FFFFFF0), (6, 0x7FFFFFF0), (4, 0x7FFFFFF0), (10, 0x7FFFFFF0), (8, 0x7FFFFFF0), (0x6FFFFFF0, 0x7FFFFFF0)],
    ids=["string table", "symbol table", "hash table", "size of strings", "size of relocations", "versions"],
)
def test_a_table_outside_the_file_is_refused(tag: int, value: int, kind: ElfFile) -> None:
    rela = 7 if kind.machine not in (EM_386, EM_ARM) else 17
    value_tag = {8: 8 if rela == 7 else 18}.get(tag, tag)
    source = with_fields(kind, symbols=(Symbol("name"),), relocations=((1, 6),), dynamic=((value_tag, value),))
    assert outcome(source.build()) is None


def test_a_relocation_against_a_symbol_outside_the_table_is_refused(kind: ElfFile) -> None:
    assert outcome(with_fields(kind, relocations=((0xFFFFF, 6),)).build()) is None


def test_a_dynamic_section_without_end_is_refused(kind: ElfFile) -> None:
    data = bytearray(with_fields(kind, dynamic=((0x7777, 1),)).build())
    order, word = ("<" if kind.little else ">"), ("Q" if kind.bits == 64 else "I")
    last = struct.pack(order + 2 * word, 0x7777, 1)
    end = data.index(last) + len(last)
    data[end : end + len(last)] = last
    with pytest.raises(ElfError, match="the dynamic section has no end"):
        read_elf(bytes(data))


def test_more_dynamic_entries_than_any_linker_writes_are_refused(kind: ElfFile) -> None:
    with pytest.raises(ElfError, match="dynamic entries"):
        read_elf(with_fields(kind, dynamic=((0x7777, 1),) * 5000).build())


def test_version_needs_that_are_entangled_are_refused_soon(kind: ElfFile) -> None:
    """Each record of 16 bytes is a file with 65535 versions, and one of all files before it: 50 million in all."""
    order = "<" if kind.little else ">"
    records = struct.pack(order + "HHIII", 1, 0xFFFF, 0, 16, 16) * 10_000 + struct.pack(order + "HHIII", 1, 0, 0, 16, 0)
    begin = time.process_time()
    # A string of 15 bytes, so that the one at 16, where each record says that its version is, is empty.
    source = with_fields(
        kind, named=((14, "fifteen-letters"),), dynamic=((0x6FFFFFFF, 10_000),), tail=(0x6FFFFFFE, records)
    )
    with pytest.raises(ElfError, match="32768 version needs or more"):
        read_elf(source.build())
    assert time.process_time() - begin < 2


def test_many_symbols_with_one_endless_name_are_refused(kind: ElfFile) -> None:
    """Each name costs memory: a file of 10 MB, half of it names and half of it one name, could take a TB."""
    name = "n" * 60_000
    data = bytearray(with_fields(kind, symbols=(Symbol(name), *[Symbol("")] * 100)).build())
    section: Any = ELFFile(io.BytesIO(data)).get_section_by_name(".dynsym")
    start, size = section["sh_offset"], section["sh_entsize"]
    for at in range(start + size, start + section["sh_size"], size):
        data[at : at + 4] = struct.pack("<I" if kind.little else ">I", 1)
    changed: Any = ELFFile(io.BytesIO(data)).get_section_by_name(".dynsym")
    assert [symbol.name for symbol in changed.iter_symbols()] == ["", *[name] * 101]
    assert outcome(bytes(data)) is None


def test_an_endless_name_is_not_looked_for_again_and_again(kind: ElfFile) -> None:
    """A gigabyte of comparisons for each thousand symbols would be a way to keep a service busy."""
    data = bytearray(with_fields(kind, symbols=(Symbol("n" * 2_000_000), *[Symbol("")] * 20_000)).build())
    section: Any = ELFFile(io.BytesIO(data)).get_section_by_name(".dynsym")
    start, size = section["sh_offset"], section["sh_entsize"]
    for at in range(start + size, start + section["sh_size"], size):
        data[at : at + 4] = struct.pack("<I" if kind.little else ">I", 1)
    begin = time.process_time()
    with pytest.raises(ElfError, match="share one place"):
        read_elf(bytes(data))
    assert time.process_time() - begin < 1


def test_notes_that_a_thousand_segments_share_do_not_keep_the_reader() -> None:
    data = bytearray(ElfFile(notes=((b"GNU", 3, b"\xab" * 20), *[(b"GNU", 99, b"")] * 20_000)).build())
    headers = bytes(data[64 : 64 + 3 * 56])
    struct.pack_into("<Q", data, 32, len(data))  # e_phoff
    struct.pack_into("<H", data, 56, 1003)  # e_phnum
    begin = time.process_time()
    assert read_elf(bytes(data) + headers + headers[2 * 56 :] * 1000).build_id == "ab" * 20
    assert time.process_time() - begin < 2


# Bytes


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 23, 24])
def test_the_same_bytes_are_the_same_wherever_they_stand(size: int) -> None:
    content = bytes(range(100))
    one, other = memoryview(content)[3 : 3 + size], memoryview(b"?" + content)[4 : 4 + size]
    assert same_bytes(one, other)
    assert not same_bytes(one, memoryview(content)[3 : 4 + size])
    assert not same_bytes(memoryview(content)[3 : 4 + size], one)


@pytest.mark.parametrize("size", [1, 8, 23, 24])
def test_a_single_other_byte_is_noticed(size: int) -> None:
    content = bytearray(size)
    for place in range(size):
        content[place] = 1
        assert not same_bytes(memoryview(content), memoryview(bytes(size)))
        content[place] = 0


# Where musl and the section headers could mean different tables


def test_two_dynamic_sections_are_an_error() -> None:
    """Musl goes by the last PT_DYNAMIC, other tools by the first."""
    data = bytearray(ElfFile(stack_flags=6).build())
    image = read_image(bytes(data))
    index = next(i for i, s in enumerate(image.segments) if s.type == image_.PT_GNU_STACK)
    dynamic = next(s for s in image.segments if s.type == image_.PT_DYNAMIC)
    image.layout.phdr.pack_into(data, image.header.phoff + index * image.layout.phdr.size, *dynamic)
    with pytest.raises(ElfError, match="2 dynamic sections"):
        read_elf(bytes(data))


def test_a_dynamic_section_that_is_mapped_elsewhere_is_an_error() -> None:
    data = bytearray(ElfFile().build())
    image = read_image(bytes(data))
    index, dynamic = next((i, s) for i, s in enumerate(image.segments) if s.type == image_.PT_DYNAMIC)
    moved = dynamic._replace(vaddr=dynamic.vaddr - 16)
    image.layout.phdr.pack_into(data, image.header.phoff + index * image.layout.phdr.size, *moved)
    with pytest.raises(ElfError, match="not where its address is mapped"):
        read_elf(bytes(data))


def with_dynamic_size(content: bytes, size: int) -> bytes:
    """Return a file whose PT_DYNAMIC says another size."""
    data, image = bytearray(content), read_image(content)
    index, dynamic = next((i, s) for i, s in enumerate(image.segments) if s.type == image_.PT_DYNAMIC)
    table = data[image.header.phoff :]
    header = image.layout.pack_segment(dynamic._replace(filesz=size))
    table[index * len(header) : (index + 1) * len(header)] = header
    return bytes(data[: image.header.phoff] + table)


@pytest.mark.parametrize("path", FIXTURES, ids=fixture_id)
def test_the_dynamic_section_ends_at_its_first_null_whatever_its_size(path: Path) -> None:
    """Musl does not ask how long it is; test_architectures.py shows it."""
    content = path.read_bytes()
    image, facts = read_image(content), read_elf(content)
    for size in (0, (len(image.dynamic) - 1) * image.layout.dyn.size, len(image.dynamic) * image.layout.dyn.size):
        assert read_elf(with_dynamic_size(content, size)) == facts


def test_a_file_that_has_nothing_where_its_dynamic_section_would_be_is_not_dynamic() -> None:
    """As files are that have debug information only."""
    data = bytearray(with_dynamic_size(ElfFile().build(), 0))
    image = read_image(bytes(data))
    image.layout.phdr.pack_into(data, image.header.phoff, *image.segments[0]._replace(filesz=0))
    assert not read_elf(bytes(data)).dynamic


def test_an_address_behind_a_dynamic_section_is_no_tag() -> None:
    """What lies behind a section without DT_NULL is the global offset table: the section's own address, and zeros."""
    content = ElfFile(dynamic=((0x3E20, 0),)).build()
    image = read_image(content)
    size = len(image.dynamic) * image.layout.dyn.size
    assert image.dynamic[-1] == (0x3E20, 0)
    assert read_image(with_dynamic_size(content, size)).dynamic == image.dynamic
    assert read_image(with_dynamic_size(content, size - image.layout.dyn.size)).dynamic == image.dynamic[:-1]


def test_a_dynamic_section_may_end_in_memory_that_is_zero() -> None:
    content = ElfFile().build()
    image = read_image(content)
    load, *_ = image.segments
    end = image.dynamic_offset + len(image.dynamic) * image.layout.dyn.size
    for memsz, reads in ((end + 16, True), (end, False)):
        data = bytearray(content)
        image.layout.phdr.pack_into(data, image.header.phoff, *load._replace(filesz=end, memsz=memsz))
        if reads:
            assert read_image(bytes(data)).dynamic == image.dynamic
        else:
            with pytest.raises(ElfError, match="the dynamic section has no end"):
                read_image(bytes(data))


def test_of_hash_tables_and_versions_the_first_counts_of_all_else_the_last() -> None:
    """search_vec and decode_vec."""
    twice = ((image_.DT_GNU_HASH, 1), (image_.DT_GNU_HASH, 2), (image_.DT_VERSYM, 3), (image_.DT_VERSYM, 4))
    image = read_image(ElfFile(dynamic=(*twice, (image_.DT_FLAGS, 5), (image_.DT_FLAGS, 6))).build())
    assert [image.tag(tag) for tag in (image_.DT_GNU_HASH, image_.DT_VERSYM, image_.DT_FLAGS)] == [1, 3, 6]
