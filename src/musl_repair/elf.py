"""Bytes to `Elf`: what one file says about itself, as far as musl's loader listens.

Source: System V ABI chapters 4 and 5, the GNU hash table and note conventions, musl 1.2.6 ldso/dynlink.c.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair import elfimage as image_
from musl_repair.elfimage import Content, Image, read_image
from musl_repair.errors import ElfError
from musl_repair.notes import Notes, read_notes
from musl_repair.relocations import RELOCATIONS
from musl_repair.symbols import Import, Strings, Symbols, references

if TYPE_CHECKING:
    from collections.abc import Iterator

_DF_BIND_NOW: Final = 8
_DF_STATIC_TLS: Final = 0x10
_DF_1_NOW: Final = 1
_LARGEST_PAGE: Final = 0x10000

_MAX_VERSION_NEEDS: Final = 0x8000
"""As many as DT_VERSYM has indices for."""


class VersionNeed(NamedTuple):
    """A symbol version that the file was linked with: musl ignores it, but it tells where the file comes from."""

    library: str
    version: str


class Elf(NamedTuple):
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
    def target(self) -> tuple[int, int, bool]:
        """Machine, class and byte order: files that are loaded together have the same."""
        return self.machine, self.bits, self.little

    @property
    def rpath(self) -> str | None:
        """The search path that musl uses: DT_RUNPATH where there is one, else DT_RPATH."""
        return self.dt_rpath if self.dt_runpath is None else self.dt_runpath

    @property
    def relocates_itself(self) -> bool:
        """Whether the file is a static program that runs at any address: no loader touches it."""
        return self.pie and self.interpreter is None

    @property
    def is_static(self) -> bool:
        """Whether the file is a static program, at a fixed address or not."""
        fixed = self.type == image_.ET_EXEC and not self.dynamic and self.interpreter is None
        return fixed or self.relocates_itself

    @property
    def loadable(self) -> bool:
        """Whether musl's map_library takes the file at all: dynamic, and of type DYN or EXEC."""
        return self.dynamic and self.type in (image_.ET_DYN, image_.ET_EXEC)


def read_elf(data: Content) -> Elf:
    """Read the facts of an ELF file. Raises ElfError for what is not ELF or contradicts itself."""
    return elf_of(read_image(data))


def elf_of(image: Image, tables: Elf | None = None) -> Elf:
    """Return the facts of an ELF file that is read in part. Raises ElfError where it contradicts itself.

    tables are the facts of a file whose symbols and relocations this one has as well: they are not read then.
    """
    try:
        return _read(image, tables)
    except (struct.error, IndexError, OverflowError) as error:
        raise ElfError(f"a table is cut off ({error})") from error


def _read(image: Image, tables: Elf | None) -> Elf:
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
    # What relocations mean is known of these machines only: those of MIPS have another form, say.
    knows = image.dynamic and header.machine in RELOCATIONS
    return _with_dynamic(image, static, notes, tables) if knows else static


class _Tables(NamedTuple):
    """What the tables of symbols and relocations say: fields of `Elf`."""

    imports: tuple[Import, ...]
    exports: frozenset[str]
    ifuncs: tuple[str, ...]
    initial_exec: tuple[str, ...]
    relocation_types: tuple[int, ...]
    hashed: bool


def _read_tables(image: Image, strings: Strings, machine: int) -> _Tables:
    relocations, known = references(image), RELOCATIONS.get(machine)
    symbols = Symbols(image, strings, relocations)
    exports, ifuncs = symbols.offered()
    return _Tables(
        symbols.imports(exports, known),
        exports,
        ifuncs,
        symbols.initial_exec(known),
        tuple(sorted(relocations.types)),
        symbols.hashed,
    )


def _with_dynamic(image: Image, static: Elf, notes: Notes, tables: Elf | None) -> Elf:
    strings = Strings(image)
    read = _read_tables(image, strings, static.machine) if tables is None else tables
    flags, flags_1 = image.tag(image_.DT_FLAGS) or 0, image.tag(image_.DT_FLAGS_1) or 0
    return Elf(
        machine=static.machine,
        bits=static.bits,
        little=static.little,
        type=static.type,
        flags=static.flags,
        dynamic=True,
        interpreter=static.interpreter,
        soname=strings.tagged(image_.DT_SONAME),
        needed=tuple(strings.all_at(image.tags(image_.DT_NEEDED))),
        dt_rpath=strings.tagged(image_.DT_RPATH),
        dt_runpath=strings.tagged(image_.DT_RUNPATH),
        imports=read.imports,
        exports=read.exports,
        ifuncs=read.ifuncs,
        initial_exec=read.initial_exec,
        relocation_types=read.relocation_types,
        version_needs=tuple(_version_needs(image, strings)),
        relr=bool(image.tag(image_.DT_RELRSZ)) and image.tag(image_.DT_RELR) is not None,
        static_tls=bool(flags & _DF_STATIC_TLS),
        textrel=image.tag(image_.DT_TEXTREL) is not None,
        bind_now=bool(flags & _DF_BIND_NOW or flags_1 & _DF_1_NOW) or image.tag(image_.DT_BIND_NOW) is not None,
        pie=bool(flags_1 & image_.DF_1_PIE),
        hashed=read.hashed,
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
            return bytes(image.data[segment.offset : end]).split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
    return None


def _page_size(image: Image) -> int:
    """Return the largest page that keeps file and memory congruent and writable pages apart.

    musl maps whole pages of the running kernel's size and checks nothing (ldso/dynlink.c, map_library).
    """
    loads = [s for s in image.loads if s.memsz]
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


def _version_needs(image: Image, strings: Strings) -> Iterator[VersionNeed]:
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
