"""Bytes to `Elf`: what one file says about itself, as far as musl's loader listens.

Source: System V ABI chapters 4 and 5, the GNU hash table and note conventions, musl 1.2.6 ldso/dynlink.c.
"""

from __future__ import annotations

import struct
import sys
from array import array
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from musl_repair import elfimage as image_
from musl_repair.elfimage import Image, Layout, read_image
from musl_repair.errors import ElfError
from musl_repair.notes import Notes, read_notes
from musl_repair.relocations import EM_S390, RELOCATIONS, Relocations

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SHN_UNDEF: Final = 0
_STB_LOCAL: Final = 0
_STB_WEAK: Final = 2
_STT_TLS: Final = 6
_STT_GNU_IFUNC: Final = 10

# musl ldso/dynlink.c: OK_TYPES are NOTYPE, OBJECT, FUNC, COMMON, TLS; OK_BINDS are GLOBAL, WEAK, GNU_UNIQUE.
_FINDABLE_TYPES: Final = frozenset({0, 1, 2, 5, 6})
_FINDABLE_BINDINGS: Final = frozenset({1, 2, 10})

_VERSYM_HIDDEN: Final = 0x8000
_DF_BIND_NOW: Final = 8
_DF_STATIC_TLS: Final = 0x10
_DF_1_NOW: Final = 1
_LARGEST_PAGE: Final = 0x10000

_MAX_VERSION_NEEDS: Final = 0x8000
"""As many as DT_VERSYM has indices for."""
_MAX_SHARING: Final = 16
"""How often the bytes of a string table are read: names share their ends, but not like this."""


class Import(NamedTuple):
    """A symbol that musl has to find elsewhere when it applies the file's relocations."""

    name: str
    weak: bool


class VersionNeed(NamedTuple):
    """A symbol version that the file was linked with: musl ignores it, but it tells where the file comes from."""

    library: str
    version: str


@dataclass(frozen=True, slots=True)
class Elf:
    """Facts of one ELF file; every tuple is sorted or in file order."""

    machine: int
    bits: int
    little: bool
    type: int
    flags: int
    dynamic: bool = True
    interpreter: str | None = None
    soname: str | None = None
    needed: tuple[str, ...] = ()
    dt_rpath: str | None = None
    dt_runpath: str | None = None
    imports: tuple[Import, ...] = ()
    """Symbols that relocations look for in other files: what the file does not offer, or copies. Sorted."""
    exports: frozenset[str] = frozenset()
    """Names that musl's lookup can find in the file."""
    ifuncs: tuple[str, ...] = ()
    """Symbols of type GNU_IFUNC, which musl's lookup never finds; sorted."""
    initial_exec: tuple[str, ...] = ()
    """Symbols of thread-pointer relocations; "" stands for the file's own unnamed TLS block. Sorted."""
    relocation_types: tuple[int, ...] = ()
    version_needs: tuple[VersionNeed, ...] = ()
    relr: bool = False
    static_tls: bool = False
    textrel: bool = False
    bind_now: bool = False
    pie: bool = False
    """DF_1_PIE: the file is a program, though of type DYN."""
    hashed: bool = True
    """False for a dynamic file without any hash table, which musl cannot look symbols up in."""
    exec_stack: bool = False
    page_size: int = _LARGEST_PAGE
    """The largest page size, up to 64 KiB, that the segments can be mapped with; 0 where not even 4 KiB works."""
    build_id: str | None = None
    isa_needed: int = 0
    """GNU_PROPERTY_X86_ISA_1_NEEDED bits."""
    dlopen_notes: tuple[str, ...] = ()
    """JSON texts of .note.dlopen, in file order."""

    @property
    def rpath(self) -> str | None:
        """The search path that musl uses: DT_RUNPATH where there is one, else DT_RPATH."""
        return self.dt_rpath if self.dt_runpath is None else self.dt_runpath

    @property
    def relocates_itself(self) -> bool:
        """Whether the file is a static program: no loader touches it."""
        return self.pie and self.interpreter is None

    @property
    def loadable(self) -> bool:
        """Whether musl's map_library takes the file at all: dynamic, and of type DYN or EXEC."""
        return self.dynamic and self.type in (image_.ET_DYN, image_.ET_EXEC)


class _Columns(NamedTuple):
    """The symbol table, one view of its bytes for each field that matters: no symbol becomes an object of its own."""

    names: memoryview[int]
    infos: memoryview[int]
    sections: memoryview[int]
    values: memoryview[int]


def _columns(layout: Layout, table: memoryview) -> _Columns:
    """Return the columns of a table of whole symbols."""
    halves, words = _cast(table, "H", layout), _cast(table, "I", layout)
    if layout.bits == 64:
        return _Columns(words[0::6], table[4::24], halves[3::12], _cast(table, "Q", layout)[1::3])
    return _Columns(words[0::4], table[12::16], halves[7::8], words[1::4])


def _cast(view: memoryview, code: Literal["H", "I", "Q"], layout: Layout) -> memoryview[int]:
    """Return bytes as numbers of the file's byte order."""
    if layout.little == (sys.byteorder == "little"):
        return view.cast(code)
    numbers = array(code, bytes(view))
    numbers.byteswap()
    return memoryview(numbers).cast("B").cast(code)


def read_elf(data: bytes | memoryview) -> Elf:
    """Read the facts of an ELF file. Raises ElfError for what is not ELF or contradicts itself."""
    try:
        return _read(read_image(data))
    except (struct.error, IndexError, OverflowError) as error:
        raise ElfError(f"a table is cut off ({error})") from error


def _read(image: Image) -> Elf:
    header, layout = image.header, image.layout
    notes = read_notes(image)
    static = Elf(
        machine=header.machine,
        bits=layout.bits,
        little=layout.little,
        type=header.type,
        flags=header.flags,
        dynamic=bool(image.dynamic),
        interpreter=_interpreter(image),
        exec_stack=any(s.type == image_.PT_GNU_STACK and s.flags & image_.PF_X for s in image.segments),
        page_size=_page_size(image),
        build_id=notes.build_id,
        isa_needed=notes.isa_needed,
        dlopen_notes=notes.dlopen,
    )
    return _with_dynamic(image, static, notes) if image.dynamic else static


def _with_dynamic(image: Image, static: Elf, notes: Notes) -> Elf:
    strings = _Strings(image)
    references = _references(image)
    symbols = _Symbols(image, strings, max(references, default=(0, 0))[0] + 1)
    flags, flags_1 = image.tag(image_.DT_FLAGS) or 0, image.tag(image_.DT_FLAGS_1) or 0
    machine = RELOCATIONS.get(static.machine)
    exports, ifuncs = symbols.offered()
    return Elf(
        machine=static.machine,
        bits=static.bits,
        little=static.little,
        type=static.type,
        flags=static.flags,
        dynamic=True,
        interpreter=static.interpreter,
        soname=strings.tagged(image_.DT_SONAME),
        needed=tuple(strings.at(value) for value in image.tags(image_.DT_NEEDED)),
        dt_rpath=strings.tagged(image_.DT_RPATH),
        dt_runpath=strings.tagged(image_.DT_RUNPATH),
        imports=symbols.imports(references, exports, machine),
        exports=exports,
        ifuncs=ifuncs,
        initial_exec=symbols.initial_exec(references, machine),
        relocation_types=tuple(sorted({kind for _, kind in references})),
        version_needs=tuple(_version_needs(image, strings)),
        relr=bool(image.tag(image_.DT_RELRSZ)) and image.tag(image_.DT_RELR) is not None,
        static_tls=bool(flags & _DF_STATIC_TLS),
        textrel=image.tag(image_.DT_TEXTREL) is not None,
        bind_now=bool(flags & _DF_BIND_NOW or flags_1 & _DF_1_NOW) or image.tag(image_.DT_BIND_NOW) is not None,
        pie=bool(flags_1 & image_.DF_1_PIE),
        hashed=symbols.hashed,
        exec_stack=static.exec_stack,
        page_size=static.page_size,
        build_id=notes.build_id,
        isa_needed=notes.isa_needed,
        dlopen_notes=notes.dlopen,
    )


def _interpreter(image: Image) -> str | None:
    for segment in image.segments:
        if segment.type == image_.PT_INTERP:
            end = segment.offset + segment.filesz
            if end > len(image.data):
                raise ElfError("the interpreter's name is outside the file")
            return _text(bytes(image.data[segment.offset : end]).split(b"\0", 1)[0])
    return None


def _page_size(image: Image) -> int:
    """Return the largest page that keeps file and memory congruent and writable pages apart.

    musl maps whole pages of the running kernel's size and checks nothing (ldso/dynlink.c, map_library).
    """
    loads = [s for s in image.segments if s.type == image_.PT_LOAD and s.memsz]
    size = _LARGEST_PAGE
    while size >= 0x1000 and not _fits(loads, size):
        size //= 2
    return size if size >= 0x1000 else 0


def _fits(loads: list[image_.Segment], page: int) -> bool:
    if any((s.vaddr - s.offset) % page for s in loads if s.filesz):
        return False
    ordered = sorted(loads, key=lambda s: s.vaddr)
    return all(
        (one.vaddr + one.memsz - 1) // page < two.vaddr // page
        for one, two in pairwise(ordered)
        if one.flags != two.flags
    )


def _text(name: bytes) -> str:
    # Names are bytes to the loader; surrogateescape carries the rare one that is not UTF-8 there and back.
    return name.decode("utf-8", "surrogateescape")


class _Strings:
    """The dynamic string table."""

    def __init__(self, image: Image) -> None:
        self._image = image
        address, size = image.tag(image_.DT_STRTAB), image.tag(image_.DT_STRSZ)
        self._table = b"" if address is None else bytes(image.at(address, size))
        self._left = _MAX_SHARING * len(self._table) + _LARGEST_PAGE

    def at(self, offset: int) -> str:
        """Return the string at an offset of the table; ElfError where the table has none there."""
        return next(self.all_at((offset,)))

    def all_at(self, offsets: Iterable[int]) -> Iterator[str]:
        """Yield the strings at these offsets; ElfError at the first where the table has none."""
        table, find = self._table, self._table.find
        for offset in offsets:
            end = find(b"\0", offset)
            if end < 0:
                raise ElfError(self._fault(offset))
            # Else a small file whose every symbol has the same endless name fills the memory.
            self._left -= end - offset
            if self._left < 0:
                raise ElfError("more names share one place in the string table than any linker makes")
            # As _text, written out: this loop sees the name of every symbol of every library.
            yield table[offset:end].decode("utf-8", "surrogateescape")

    def _fault(self, offset: int) -> str:
        if offset >= len(self._table):
            return f"string {offset:#x} is outside the string table of {len(self._table):#x} bytes"
        return f"string {offset:#x} has no end"

    def tagged(self, tag: int) -> str | None:
        """Return the string that a dynamic entry names, or None without such an entry."""
        offset = self._image.tag(tag)
        return None if offset is None else self.at(offset)


class _Symbols:
    """The dynamic symbol table, as far as hash tables and relocations reach it."""

    def __init__(self, image: Image, strings: _Strings, referenced: int) -> None:
        """Take the table up to the last symbol that hash tables reach, or that is before the index referenced."""
        self._strings = strings
        self._layout = image.layout
        address = image.tag(image_.DT_SYMTAB)
        table = image.data[:0] if address is None else image.at(address)
        self._first, self._count, self.hashed = _hashed_range(image)
        size = self._layout.sym.size
        if self._count * size > len(table):
            raise ElfError(f"the hash table promises {self._count} symbols, more than the file has")
        self._columns = _columns(self._layout, table[: min(max(self._count, referenced), len(table) // size) * size])
        versym = image.tag(image_.DT_VERSYM)
        self._versions = b"" if versym is None else bytes(image.at(versym, 2 * self._count))
        self._offered, self._ifuncs = self._findable()

    def _hidden(self) -> frozenset[int]:
        """Return the indices of definitions with a non-default version: musl's lookups pass them over."""
        versions = struct.iter_unpack(self._layout.half.format, self._versions)
        return frozenset(index for index, (version,) in enumerate(versions) if version & _VERSYM_HIDDEN)

    def _findable(self) -> tuple[frozenset[int], list[int]]:
        """Return the indices of the symbols that a lookup in this file finds, and of the IFUNCs that it does not."""
        hidden = self._hidden()
        columns = (column[self._first : self._count] for column in self._columns[1:])
        found, ifuncs = [], []
        for index, info, section, value in zip(range(self._first, self._count), *columns, strict=True):
            kind = info & 15
            if section == _SHN_UNDEF or info >> 4 not in _FINDABLE_BINDINGS or index in hidden:
                continue
            if kind == _STT_GNU_IFUNC:
                ifuncs.append(index)
            elif kind in _FINDABLE_TYPES and (value or kind == _STT_TLS):
                found.append(index)
        return frozenset(found), ifuncs

    def _names(self, indices: Iterable[int]) -> Iterator[str]:
        names = self._columns.names
        return self._strings.all_at(names[index] for index in indices)

    def offered(self) -> tuple[frozenset[str], tuple[str, ...]]:
        """Return the names that a lookup in this file finds, and the IFUNCs that it does not."""
        return frozenset(self._names(self._offered)), tuple(sorted(self._names(self._ifuncs)))

    def imports(
        self, references: set[tuple[int, int]], exports: frozenset[str], machine: Relocations | None
    ) -> tuple[Import, ...]:
        """Return the symbols that relocations refer to by name and that the file does not offer itself.

        A copy relocation's symbol is looked up in all files but its own (do_relocs), so it is one of them.
        """
        copied = {index for index, kind in references if machine is not None and kind == machine.copy}
        infos, sections = self._columns.infos, self._columns.sections
        # What is offered is in exports: its name need not be read again.
        others = {index for index, _ in references} - (self._offered - copied)
        looked_up = [index for index in others if index and infos[index] >> 4 != _STB_LOCAL]
        found: dict[str, bool] = {}
        for index, name in zip(looked_up, self._names(looked_up), strict=True):
            if index in copied or name not in exports:
                weak = sections[index] == _SHN_UNDEF and infos[index] >> 4 == _STB_WEAK
                found[name] = weak and found.get(name, True)
        return tuple(Import(name, weak) for name, weak in sorted(found.items()))

    def initial_exec(self, references: set[tuple[int, int]], machine: Relocations | None) -> tuple[str, ...]:
        """Return the symbols of relocations that need a fixed offset from the thread pointer."""
        if machine is None:
            return ()
        indices = {index for index, kind in references if kind in machine.initial_exec}
        own = [""] if 0 in indices else []
        return tuple(sorted({*own, *self._names(indices - {0})}))


def symbol_count(image: Image) -> int:
    """Return how many dynamic symbols a file has, as far as hash tables and relocations reach."""
    _, hashed, _ = _hashed_range(image)
    # The symbol's index is in the upper bits.
    last = max(_infos(image), default=0) >> _index_shift(image)
    return max(hashed, last + 1 if last else 0)


def hash_table_size(image: Image, tag: int, count: int) -> int:
    """Return the size in bytes of DT_GNU_HASH or DT_HASH (tag) for so many symbols; 0 without such a table."""
    address = image.tag(tag)
    if address is None:
        return 0
    if tag == image_.DT_GNU_HASH:
        buckets, first, bloom, _ = struct.unpack_from(image.layout.order + "IIII", image.at(address))
        return int(16 + bloom * image.layout.word.size + 4 * (buckets + max(count - first, 0)))
    word = struct.Struct(image.layout.order + _sysv_word(image))
    buckets, chains = (value for (value,) in word.iter_unpack(image.at(address, 2 * word.size)))
    return int((2 + buckets + chains) * word.size)


def _sysv_word(image: Image) -> str:
    """Return the format of DT_HASH's words: the machine's own on s390x (musl arch/s390x/bits/link.h)."""
    return "Q" if image.header.machine == EM_S390 and image.layout.bits == 64 else "I"


def _hashed_range(image: Image) -> tuple[int, int, bool]:
    """Return (first, end) of the symbols that the hash table reaches, and whether there is a table at all.

    Where both tables exist musl uses the GNU one.
    """
    gnu, sysv = image.tag(image_.DT_GNU_HASH), image.tag(image_.DT_HASH)
    if gnu is not None:
        return (*_gnu_range(image, gnu), True)
    if sysv is not None:
        _, chains = struct.unpack_from(image.layout.order + 2 * _sysv_word(image), image.at(sysv))
        return 1, chains, True
    return 0, 0, False


def _gnu_range(image: Image, address: int) -> tuple[int, int]:
    view, layout = image.at(address), image.layout
    buckets, first, bloom, _ = struct.unpack_from(layout.order + "IIII", view)
    start = 16 + bloom * layout.word.size
    last = max(struct.unpack_from(f"{layout.order}{_count(buckets, view)}I", view, start), default=0)
    if last < first:
        return first, first
    chain = start + 4 * buckets
    while not layout.uint32.unpack_from(view, chain + 4 * (last - first))[0] & 1:
        last += 1
    return first, last + 1


def _count(number: int, view: memoryview) -> int:
    if 4 * number > len(view):
        raise ElfError(f"a hash table of {number} buckets does not fit into its segment")
    return number


def _references(image: Image) -> set[tuple[int, int]]:
    """Return the distinct (symbol index, relocation type) of all relocations but those of RELR."""
    shift = _index_shift(image)
    mask = (1 << shift) - 1
    return {(info >> shift, info & mask) for info in _infos(image)}


def _index_shift(image: Image) -> int:
    return 32 if image.layout.bits == 64 else 8


def _infos(image: Image) -> set[int]:
    plt_words = 2 if image.tag(image_.DT_PLTREL) == image_.DT_REL else 3
    tables = (
        (image_.DT_REL, image_.DT_RELSZ, 2),
        (image_.DT_RELA, image_.DT_RELASZ, 3),
        (image_.DT_JMPREL, image_.DT_PLTRELSZ, plt_words),
    )
    infos: set[int] = set()
    for address_tag, size_tag, words in tables:
        address, size = image.tag(address_tag), image.tag(size_tag) or 0
        if address is not None and size:
            infos.update(_words(image, address, size - size % (words * image.layout.word.size))[1::words])
    return infos


def _words(image: Image, address: int, size: int) -> array[int]:
    # An array, not struct tuples: the tables of large libraries have millions of entries.
    words = array("Q" if image.layout.bits == 64 else "I")
    words.frombytes(image.at(address, size))
    if image.layout.little != (sys.byteorder == "little"):
        words.byteswap()
    return words


def _version_needs(image: Image, strings: _Strings) -> Iterator[VersionNeed]:
    address, count = image.tag(image_.DT_VERNEED), image.tag(image_.DT_VERNEEDNUM) or 0
    if address is None or not count:
        return
    view, order = image.at(address), image.layout.order
    offset, left = 0, _MAX_VERSION_NEEDS
    for _ in range(count):
        _, entries, file, first, following = struct.unpack_from(order + "HHIII", view, offset)
        library, entry = strings.at(file), offset + first
        for _ in range(entries):
            _, _, _, name, step = struct.unpack_from(order + "IHHII", view, entry)
            yield VersionNeed(library, strings.at(name))
            left -= 1
            if not left:
                raise ElfError(f"{_MAX_VERSION_NEEDS} version needs or more")
            if not step:
                break
            entry += step
        if not following:
            break
        offset += following
