"""Hypothesis strategies that build wheels, archives and ELF files: sound ones, and ones with a few bytes changed."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from builders import ARCHITECTURES, TESTDATA, ElfFile, Entry, Symbol, raw_zip
from harm import Victim
from musl_repair import elfimage as image_

if TYPE_CHECKING:
    from collections.abc import Mapping

MACHINES: Final = ((64, True, 62), (32, True, 3), (64, True, 183), (32, True, 40), (64, True, 21), (64, False, 22))
"""Class, byte order and number of machines of every kind: REL and RELA, both classes, both byte orders."""
LIBRARIES: Final = (
    "libleaf.so.1",
    "libleaf-relr.so.1",
    "libonlyrelr.so.1",
    "libmid.so.2",
    "_ext.so",
    "_abs.so",
    "tool",
)

words = st.text("abcdefghij_", min_size=1, max_size=8)
symbols = st.builds(
    Symbol,
    name=words,
    bind=st.sampled_from((0, 1, 2, 10)),
    type=st.sampled_from((0, 1, 2, 6, 10)),
    section=st.sampled_from((0, 1, 0xFFF1)),
    value=st.integers(0, 0xFFFF),
)
notes = st.tuples(st.binary(max_size=7), st.integers(0, 9), st.binary(max_size=40))


@st.composite
def elf_files(draw: st.DrawFn) -> ElfFile:
    """Build a shared object of any machine, whose tables are true."""
    bits, little, machine = draw(st.sampled_from(MACHINES))
    some = tuple(draw(st.lists(symbols, max_size=6)))
    relocations = draw(st.lists(st.tuples(st.integers(0, len(some)), st.integers(0, 60)), max_size=6))
    named = [(1, name) for name in draw(st.lists(words, max_size=3))]
    named += [(tag, draw(words)) for tag in draw(st.sets(st.sampled_from((14, 15, 29))))]
    return ElfFile(
        bits=bits,
        little=little,
        machine=machine,
        symbols=some,
        relocations=tuple(relocations),
        notes=tuple(draw(st.lists(notes, max_size=3))),
        named=tuple(named),
        hashed=draw(st.booleans()) or bool(some),
        stack_flags=draw(st.sampled_from((None, 6, 7))),
    )


@st.composite
def relr_files(draw: st.DrawFn) -> bytes:
    """Build a shared object with a DT_RELR table, whose addresses are words of its own."""
    bits, little, machine = draw(st.sampled_from(MACHINES))
    order, width, form = "<" if little else ">", bits // 8, "Q" if bits == 64 else "I"
    bitmaps = draw(st.lists(st.integers(0, (1 << (bits - 1)) - 1), max_size=2))
    # The words that are relocated stand in the table's own segment, ahead of everything: the first 512 bytes.
    table = [draw(st.integers(0, 3)) * width, *(bitmap << 1 | 1 for bitmap in bitmaps)]
    packed = struct.pack(f"{order}{len(table)}{form}", *table)
    dynamic = ((image_.DT_RELRSZ, len(packed)), (image_.DT_RELRENT, width))
    file = ElfFile(
        bits=bits,
        little=little,
        machine=machine,
        tail=(image_.DT_RELR, packed),
        dynamic=dynamic,
        symbols=(Symbol("x"),),
    )
    victim = Victim(file.build())
    victim.set_header(shoff=0, shnum=0, shstrndx=0)  # which call the table something else
    return bytes(victim.data)


@st.composite
def real_libraries(draw: st.DrawFn) -> bytes:
    """Return a library of testdata."""
    return (TESTDATA / draw(st.sampled_from(ARCHITECTURES)) / draw(st.sampled_from(LIBRARIES))).read_bytes()


@st.composite
def changed(draw: st.DrawFn, source: st.SearchStrategy[bytes]) -> bytes:
    """Change a few bytes or words of what another strategy builds, or cut it."""
    data = bytearray(draw(source))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 8)))
        value = draw(
            st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from((b"\xff" * 8, bytes(8), b"\x7f" + bytes(3))))
        )
        data[at : at + len(value)] = value
    if draw(st.integers(0, 9)) == 0:
        del data[draw(st.integers(0, len(data))) :]
    return bytes(data)


file_names = st.builds(
    "/".join,
    st.lists(st.text("abcäé .-", min_size=1, max_size=5).filter(lambda part: part.strip(". ")), min_size=1, max_size=3),
)


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """Build a zip archive; every field of its headers may lie."""
    entries = draw(
        st.lists(
            st.builds(
                Entry,
                name=st.one_of(file_names, st.binary(max_size=8)),
                content=st.binary(max_size=200),
                method=st.sampled_from((0, 8, 8, 8, 12)),
                flags=st.sampled_from((None, None, 0x800, 8, 1)),
                mode=st.sampled_from((0o100644, 0o100755, 0, 0o120777)),
                crc=st.sampled_from((None, None, None, 7)),
                size=st.sampled_from((None, None, None, 0, 3, 0xFFFFFFFF)),
                offset=st.sampled_from((None, None, None, None, 0, 99)),
                extra=st.sampled_from((b"", b"", b"\1\0\x08\0" + b"\xff" * 8, b"\1")),
            ),
            max_size=5,
        )
    )
    return raw_zip(*entries)


plain = st.binary(max_size=1000).filter(lambda content: content[:4] != image_.MAGIC)


@st.composite
def wheel_files(draw: st.DrawFn) -> Mapping[str, bytes]:
    """Return files of a wheel for x86_64: modules, data, libraries with and without DT_RELR, in any folders."""
    package = draw(st.sampled_from(("pkg", "other", "ünïcode")))
    files: dict[str, bytes] = {f"{package}/__init__.py": draw(plain)}
    for number, content in enumerate(draw(st.lists(plain, max_size=4))):
        folder = draw(st.sampled_from((package, f"{package}/data", "demo-1.0.data/data/share")))
        files[f"{folder}/file-{number}.dat"] = content
    libraries = TESTDATA / "x86_64"
    for name in draw(st.lists(st.sampled_from(("_ext.so", "_abs.so", "libonlyrelr.so.1")), min_size=1, unique=True)):
        place = draw(st.sampled_from((package, f"{package}/deep/down", "demo-1.0.data/platlib/pkg2", "")))
        files[f"{place}/{name}".lstrip("/")] = (libraries / name).read_bytes()
    if draw(st.booleans()):
        files["demo-1.0.data/scripts/tool"] = (libraries / "tool").read_bytes()
    return files
