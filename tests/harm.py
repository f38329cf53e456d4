"""Ways to harm an ELF file: what an editor with a bug could do to it, one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from musl_repair import elfimage as image_
from musl_repair.elfimage import Segment, read_image
from musl_repair.relocations import REL_MACHINES
from musl_repair.sections import Section, Sections

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_INIT_ARRAY: Final = 25
_INIT_ARRAYSZ: Final = 27
_PLTGOT: Final = 3
_NOBITS: Final = 8


class NotHereError(Exception):
    """The file has nothing that could be harmed in this way."""


class Victim:
    """One file in the hands of a bad editor; places are found anew in `image`, which is the file as it was."""

    def __init__(self, data: bytes) -> None:
        """Take a sound file."""
        self.image = read_image(data)
        self.data = bytearray(data)
        self.sections = Sections(self.image, self.data)

    # Dynamic entries

    def value(self, tag: int) -> int:
        """Return the value of a dynamic entry."""
        value = self.image.tag(tag)
        if value is None:
            raise NotHereError(f"no dynamic entry {tag:#x}")
        return value

    def set_entries(self, *entries: tuple[int, int]) -> None:
        """Write other dynamic entries; what is left over is DT_NULL."""
        size, room = self.image.layout.dyn.size, len(self.image.dynamic) + 1
        padded = [*entries, *[(0, 0)] * (room - len(entries))]
        for index, fields in enumerate(padded):
            self.image.layout.dyn.pack_into(self.data, self.image.dynamic_offset + index * size, *fields)

    def set_value(self, tag: int, value: int) -> None:
        """Give the entries of a tag another value."""
        self.value(tag)
        self.set_entries(*((key, value if key == tag else old) for key, old in self.image.dynamic))

    def drop_entry(self, tag: int) -> None:
        """Lose the entries of a tag."""
        self.value(tag)
        self.set_entries(*(entry for entry in self.image.dynamic if entry[0] != tag))

    # Bytes by address

    def offset(self, tag: int, inside: int = 0) -> int:
        """Return the file offset of a place in the table that a dynamic entry points at."""
        return self.image.offset(self.value(tag) + inside)

    def flip(self, offset: int, mask: int = 1) -> None:
        """Change bits of one byte of the file."""
        self.data[offset] ^= mask

    # Symbols

    def symbol(self, name: bytes) -> int:
        """Return the number of a dynamic symbol."""
        strings, size = self.offset(image_.DT_STRTAB), self.image.layout.sym.size
        start = self.offset(image_.DT_SYMTAB)
        for number in range(1, 64):
            place = strings + self.image.layout.uint32.unpack_from(self.data, start + number * size)[0]
            if self.data[place : place + len(name) + 1] == name + b"\0":
                return number
        raise NotHereError(name)

    def set_symbol(self, called: bytes, /, **changes: Callable[[int], int]) -> None:
        """Change fields of a symbol: name, info, other, section, value, size."""
        layout = self.image.layout
        at = self.offset(image_.DT_SYMTAB, self.symbol(called) * layout.sym.size)
        wide = ("name", "info", "other", "section", "value", "size")
        order = wide if layout.bits == 64 else ("name", "value", "size", "info", "other", "section")
        fields = dict(zip(order, layout.sym.unpack_from(self.data, at), strict=True))
        for field, change in changes.items():
            fields[field] = change(fields[field])
        layout.sym.pack_into(self.data, at, *(fields[field] for field in order))

    # Relocations

    def table(self) -> tuple[int, int]:
        """Return the offset of the main relocation table, and the number of its entries."""
        rel = self.image.header.machine in REL_MACHINES
        tags = (image_.DT_REL, image_.DT_RELSZ) if rel else (image_.DT_RELA, image_.DT_RELASZ)
        form = self.image.layout.rel if rel else self.image.layout.rela
        return self.offset(tags[0]), self.value(tags[1]) // form.size

    def set_relocation(self, index: int, field: int, change: Callable[[int], int], *, plt: bool = False) -> None:
        """Change a field of a relocation: 0 place, 1 symbol and type, 2 addend (REL: the word in place)."""
        rel = self.image.header.machine in REL_MACHINES
        form = self.image.layout.rel if rel else self.image.layout.rela
        start = self.offset(image_.DT_JMPREL) if plt else self.table()[0]
        fields = list(form.unpack_from(self.data, start + index * form.size))
        if field < len(fields):
            fields[field] = change(fields[field])
            form.pack_into(self.data, start + index * form.size, *fields)
        else:
            self.flip(self.image.offset(fields[0]), 4)

    def symbolic(self) -> int:
        """Return the index of a relocation that has a symbol."""
        start, count = self.table()
        rel = self.image.header.machine in REL_MACHINES
        form = self.image.layout.rel if rel else self.image.layout.rela
        shift = 32 if self.image.layout.bits == 64 else 8
        for index in range(count):
            if form.unpack_from(self.data, start + index * form.size)[1] >> shift:
                return index
        raise NotHereError("a relocation with a symbol")

    # Program headers

    def index(self, kind: int, which: int = 0) -> int:
        """Return the index of a program header of a kind."""
        found = [index for index, segment in enumerate(self.image.segments) if segment.type == kind]
        if which >= len(found):
            raise NotHereError(f"program header {kind:#x}")
        return found[which]

    def set_segment(self, index: int, **changes: int) -> None:
        """Change fields of a program header."""
        self.write_segment(index, self.image.segments[index]._replace(**changes))

    def write_segment(self, index: int, segment: Segment) -> None:
        """Write a program header."""
        start = self.image.header.phoff + index * self.image.layout.phdr.size
        self.data[start : start + self.image.layout.phdr.size] = self.image.layout.pack_segment(segment)

    def set_header(self, **changes: int) -> None:
        """Change fields of the ELF header."""
        self.image.layout.ehdr.pack_into(self.data, 16, *self.image.header._replace(**changes))

    # Sections

    def section(self, name: bytes) -> tuple[int, Section]:
        """Return index and header of a section."""
        index = self.sections.find(name)
        if index is None:
            raise NotHereError(name)
        return index, self.sections.all[index]

    def set_section(self, called: bytes, /, **changes: int) -> None:
        """Change fields of a section header."""
        index, section = self.section(called)
        self.sections.replace(index, section._replace(**changes))


def _swap_loads(victim: Victim) -> None:
    one, two = victim.index(image_.PT_LOAD, 1), victim.index(image_.PT_LOAD, 2)
    victim.write_segment(one, victim.image.segments[two])
    victim.write_segment(two, victim.image.segments[one])


def _load(victim: Victim, which: int) -> tuple[int, Segment]:
    index = victim.index(image_.PT_LOAD, which)
    return index, victim.image.segments[index]


def _phdr_last(victim: Victim) -> None:
    first, last = victim.index(image_.PT_PHDR), len(victim.image.segments) - 1
    victim.write_segment(first, victim.image.segments[last])
    victim.write_segment(last, victim.image.segments[first])


def _overlap(victim: Victim) -> None:
    index, segment = _load(victim, 1)
    following = _load(victim, 2)[1]
    victim.set_segment(index, memsz=following.vaddr - segment.vaddr + 64)


def _share_a_page(victim: Victim) -> None:
    index, segment = _load(victim, 1)
    following = _load(victim, 2)[1]
    victim.set_segment(index, memsz=following.vaddr - segment.vaddr - 1)


def _not_congruent(victim: Victim) -> None:
    """Move the bytes of a segment in the file, and the header with them, by less than a page."""
    index, segment = _load(victim, 2)
    end = -(-len(victim.data) // 0x1000) * 0x1000 + segment.offset % 0x1000 + 0x10
    content = bytes(victim.data[segment.offset : segment.offset + segment.filesz])
    victim.data.extend(bytes(end - len(victim.data)) + content)
    victim.set_segment(index, offset=end)


def _headers_outside(victim: Victim) -> None:
    size = victim.image.header.phnum * victim.image.layout.phdr.size
    table = bytes(victim.data[victim.image.header.phoff : victim.image.header.phoff + size])
    end = -(-len(victim.data) // 8) * 8
    victim.data.extend(bytes(end - len(victim.data)) + table)
    victim.set_header(phoff=end)


def _second(field: str, change: int) -> Callable[[Victim], None]:
    """Change a field of the second PT_LOAD, which is code."""

    def harm(victim: Victim) -> None:
        index, segment = _load(victim, 1)
        victim.set_segment(index, **{field: getattr(segment, field) + change})

    return harm


def _bss(field: str, change: int) -> Callable[[Victim], None]:
    """Change a field of the last PT_LOAD that has room without content."""

    def harm(victim: Victim) -> None:
        found = [i for i, s in enumerate(victim.image.segments) if s.type == image_.PT_LOAD and s.memsz > s.filesz]
        segment = victim.image.segments[found[-1]]
        victim.set_segment(found[-1], **{field: getattr(segment, field) + change})

    return harm


def _dirty_bss(victim: Victim) -> None:
    found = [i for i, s in enumerate(victim.image.segments) if s.type == image_.PT_LOAD and s.memsz > s.filesz]
    segment = victim.image.segments[found[-1]]
    more = segment.memsz - segment.filesz
    end = segment.offset + segment.filesz
    victim.data[end : end + more] = b"\1" * more
    victim.set_segment(found[-1], filesz=segment.memsz)


def _segment(kind: int, **changes: int) -> Callable[[Victim], None]:
    return lambda victim: victim.set_segment(victim.index(kind), **changes)


def _grow(kind: int, field: str, change: int) -> Callable[[Victim], None]:
    def harm(victim: Victim) -> None:
        index = victim.index(kind)
        victim.set_segment(index, **{field: getattr(victim.image.segments[index], field) + change})

    return harm


def _section(called: bytes, /, **changes: int) -> Callable[[Victim], None]:
    return lambda victim: victim.set_section(called, **changes)


def _shift_section(name: bytes, field: str, change: int) -> Callable[[Victim], None]:
    def harm(victim: Victim) -> None:
        section = victim.section(name)[1]
        victim.set_section(name, **{field: getattr(section, field) + change})

    return harm


def _byte(name: bytes, inside: int = 0, mask: int = 0x40) -> Callable[[Victim], None]:
    def harm(victim: Victim) -> None:
        section = victim.section(name)[1]
        if section.type == _NOBITS:
            raise NotHereError(name)
        victim.flip(section.offset + inside, mask)

    return harm


def _last_byte(name: bytes) -> Callable[[Victim], None]:
    def harm(victim: Victim) -> None:
        section = victim.section(name)[1]
        victim.flip(section.offset + section.size - 1)

    return harm


def _string(text: bytes) -> Callable[[Victim], None]:
    """Change a letter of a string in the dynamic string table."""

    def harm(victim: Victim) -> None:
        start, size = victim.offset(image_.DT_STRTAB), victim.value(image_.DT_STRSZ)
        at = bytes(victim.data[start : start + size]).find(b"\0" + text + b"\0")
        if at < 0:
            raise NotHereError(text)
        victim.flip(start + at + 2)

    return harm


def _named(tag: int) -> Callable[[Victim], None]:
    """Change a letter of the string that a dynamic entry names."""
    return lambda victim: victim.flip(victim.offset(image_.DT_STRTAB) + victim.value(tag) + 1)


def _hash(tag: int, word: int) -> Callable[[Victim], None]:
    return lambda victim: victim.flip(victim.offset(tag, 4 * word), 3)


def _gnu_chain(victim: Victim) -> None:
    index, section = victim.section(b".gnu.hash")
    assert index
    victim.flip(section.offset + section.size - 8, 0x20)


def _shrink_table(victim: Victim) -> None:
    rel = victim.image.header.machine in REL_MACHINES
    tag, form = (image_.DT_RELSZ, victim.image.layout.rel) if rel else (image_.DT_RELASZ, victim.image.layout.rela)
    victim.set_value(tag, victim.value(tag) - form.size)


def _double_relocation(victim: Victim) -> None:
    """Let one relocation stand where its neighbour stood."""
    start, _ = victim.table()
    rel = victim.image.header.machine in REL_MACHINES
    size = (victim.image.layout.rel if rel else victim.image.layout.rela).size
    victim.data[start : start + size] = victim.data[start + size : start + 2 * size]


def _relative_count(victim: Victim) -> None:
    tag = image_.DT_RELCOUNT if victim.image.header.machine in REL_MACHINES else image_.DT_RELACOUNT
    victim.set_value(tag, victim.value(tag) + 1)


def _add_entry(tag: int, value: int, instead: int) -> Callable[[Victim], None]:
    """Write a dynamic entry in the place of another."""

    def harm(victim: Victim) -> None:
        victim.value(instead)
        victim.set_entries(*((tag, value) if key == instead else (key, old) for key, old in victim.image.dynamic))

    return harm


def _two_needed(victim: Victim) -> None:
    names = [value for key, value in victim.image.dynamic if key == image_.DT_NEEDED]
    entries = [(image_.DT_NEEDED, names[0]), *victim.image.dynamic]
    victim.set_entries(*entries)  # takes the place of DT_NULL: padding follows or the segment ends


def _lose_section_headers(victim: Victim) -> None:
    victim.set_header(shoff=0, shnum=0, shstrndx=0)


def _lose_one_section_header(victim: Victim) -> None:
    victim.set_header(shnum=victim.image.header.shnum - 1, shstrndx=0)


def _swap_init(victim: Victim) -> None:
    victim.set_value(_INIT_ARRAY, victim.value(_INIT_ARRAY) + victim.image.layout.word.size)


HARMS: Final[Mapping[str, Callable[[Victim], None]]] = {
    # Symbols
    "symbol: name": lambda v: v.set_symbol(b"leaf_sum", name=lambda n: n + 1),
    "symbol: letter of its name": _string(b"leaf_sum"),
    "symbol: letter of an imported name": _string(b"malloc"),
    "symbol: value": lambda v: v.set_symbol(b"leaf_sum", value=lambda n: n + 4),
    "symbol: size": lambda v: v.set_symbol(b"leaf_sum", size=lambda n: n + 4),
    "symbol: binding": lambda v: v.set_symbol(b"leaf_sum", info=lambda n: n & 15 | 2 << 4),
    "symbol: type": lambda v: v.set_symbol(b"leaf_sum", info=lambda n: n & 0xF0 | 1),
    "symbol: visibility": lambda v: v.set_symbol(b"leaf_sum", other=lambda n: n | 2),
    "symbol: defined no more": lambda v: v.set_symbol(b"leaf_sum", section=lambda _: 0),
    "symbol: import becomes weak": lambda v: v.set_symbol(b"malloc", info=lambda n: n & 15 | 2 << 4),
    "symbol: import becomes a definition": lambda v: v.set_symbol(b"malloc", section=lambda _: 1),
    "symbol: in another section": lambda v: v.set_symbol(b"leaf_sum", section=lambda n: n + 1),
    "symbol: table moved by one": lambda v: v.set_value(
        image_.DT_SYMTAB, v.value(image_.DT_SYMTAB) + v.image.layout.sym.size
    ),
    "symbol: string table cut": lambda v: v.set_value(image_.DT_STRSZ, 40),
    "symbol: string table moved": lambda v: v.set_value(image_.DT_STRTAB, v.value(image_.DT_STRTAB) + 1),
    "symbol: string table elsewhere": lambda v: v.set_value(image_.DT_STRTAB, v.value(image_.DT_SYMTAB)),
    # Hash tables
    "hash: GNU bloom filter": _hash(image_.DT_GNU_HASH, 4),
    "hash: GNU bucket count": _hash(image_.DT_GNU_HASH, 0),
    "hash: GNU chain": _gnu_chain,
    "hash: GNU table gone": lambda v: v.drop_entry(image_.DT_GNU_HASH),
    "hash: bucket": _hash(image_.DT_HASH, 2),
    "hash: chain": lambda v: v.flip(v.section(b".hash")[1].offset + v.section(b".hash")[1].size - 4, 3),
    "hash: table gone": lambda v: v.drop_entry(image_.DT_HASH),
    # Relocations
    "relocation: place": lambda v: v.set_relocation(0, 0, lambda n: n + v.image.layout.word.size),
    "relocation: place is odd": lambda v: v.set_relocation(0, 0, lambda n: n + 1),
    "relocation: type": lambda v: v.set_relocation(v.symbolic(), 1, lambda n: n ^ 1),
    "relocation: relative no more": lambda v: v.set_relocation(0, 1, lambda n: n ^ 1),
    "relocation: symbol": lambda v: v.set_relocation(
        v.symbolic(), 1, lambda n: n ^ (1 << (32 if v.image.layout.bits == 64 else 8))
    ),
    "relocation: addend": lambda v: v.set_relocation(0, 2, lambda n: n + 8),
    "relocation: addend of a symbol": lambda v: v.set_relocation(v.symbolic(), 2, lambda n: n + 8),
    "relocation: last one lost": _shrink_table,
    "relocation: one twice, one lost": _double_relocation,
    "relocation: number of relative ones": _relative_count,
    "relocation: PLT place": lambda v: v.set_relocation(0, 0, lambda n: n + v.image.layout.word.size, plt=True),
    "relocation: PLT type": lambda v: v.set_relocation(0, 1, lambda n: n ^ 1, plt=True),
    "relocation: PLT size": lambda v: v.set_value(image_.DT_PLTRELSZ, 0),
    "relocation: PLT kind": lambda v: v.set_value(
        image_.DT_PLTREL, image_.DT_RELA ^ image_.DT_REL ^ v.value(image_.DT_PLTREL)
    ),
    "relr: emptied": lambda v: v.set_value(image_.DT_RELRSZ, 0),
    "relr: table gone": lambda v: v.drop_entry(image_.DT_RELR),
    "relr: one bit": lambda v: v.flip(v.offset(image_.DT_RELR, 2 * v.image.layout.word.size + 3), 2),
    "relr: one word less": lambda v: v.set_value(
        image_.DT_RELRSZ, v.value(image_.DT_RELRSZ) - v.image.layout.word.size
    ),
    "relr: word in place": lambda v: v.flip(v.section(b".data.rel.ro")[1].offset, 4),
    # Init and fini
    "init: array moved": _swap_init,
    "init: array emptied": lambda v: v.set_value(_INIT_ARRAYSZ, 0),
    "init: array gone": lambda v: v.drop_entry(_INIT_ARRAY),
    "init: array becomes fini array": _add_entry(26, 0x1000, _INIT_ARRAY),
    "init: word of the array": _byte(b".init_array"),
    "init: a DT_INIT that was not there": _add_entry(12, 0x1000, image_.DT_FLAGS_1),
    "init: a DT_FINI that was not there": _add_entry(13, 0x1000, image_.DT_FLAGS_1),
    # Thread-local storage
    "tls: size": _grow(image_.PT_TLS, "memsz", 8),
    "tls: size in the file": _grow(image_.PT_TLS, "filesz", -4),
    "tls: alignment": _grow(image_.PT_TLS, "align", 60),
    "tls: address": _grow(image_.PT_TLS, "vaddr", 4),
    "tls: place in the file": _grow(image_.PT_TLS, "offset", 4),
    "tls: content": _byte(b".tdata"),
    "tls: segment gone": _segment(image_.PT_TLS, type=0),
    # Notes
    "note: build-id": _last_byte(b".note.gnu.build-id"),
    "note: owner": _byte(b".note.gnu.build-id", 12),
    "note: type": _byte(b".note.gnu.build-id", 8, 1),
    "note: segment elsewhere": _grow(image_.PT_NOTE, "offset", 4),
    "note: segment address": _grow(image_.PT_NOTE, "vaddr", 4),
    "note: segment gone": _segment(image_.PT_NOTE, type=0),
    "note: segment empty": _segment(image_.PT_NOTE, filesz=0, memsz=0),
    # Program headers
    "segments: not in order": _swap_loads,
    "segments: not congruent": _not_congruent,
    "segments: overlap": _overlap,
    "segments: code and data in one page": _share_a_page,
    "segments: code at another address": _second("vaddr", 0x10000),
    "segments: code from elsewhere in the file": _second("offset", -0x20),
    "segments: code cut": _second("filesz", -16),
    "segments: code cut in memory": _second("memsz", -16),
    "segments: larger in the file than in memory": _second("filesz", 64),
    "segments: code not executable": _second("flags", -image_.PF_X),
    "segments: code writable": _second("flags", image_.PF_W),
    "segments: data not writable": lambda v: v.set_segment(_load(v, 2)[0], flags=image_.PF_R),
    "segments: data executable": lambda v: v.set_segment(_load(v, 2)[0], flags=7),
    "segments: behind the end of the file": _second("offset", 0x100000),
    "segments: code gone": lambda v: v.set_segment(_load(v, 1)[0], type=0),
    "segments: data gone": lambda v: v.set_segment(_load(v, 2)[0], type=0),
    "segments: bss cut": _bss("memsz", -8),
    "segments: bss has content": _dirty_bss,
    "segments: headers in none": _headers_outside,
    "segments: PHDR elsewhere": _grow(image_.PT_PHDR, "vaddr", 8),
    "segments: PHDR at another offset": _grow(image_.PT_PHDR, "offset", 8),
    "segments: PHDR outside": _grow(image_.PT_PHDR, "vaddr", 0x1000000),
    "segments: PHDR last": _phdr_last,
    "segments: DYNAMIC elsewhere": _grow(image_.PT_DYNAMIC, "vaddr", 8),
    "segments: DYNAMIC at another offset": _grow(image_.PT_DYNAMIC, "offset", 8),
    "segments: DYNAMIC gone": _segment(image_.PT_DYNAMIC, type=0),
    "segments: relro larger": _grow(image_.PT_GNU_RELRO, "memsz", 0x1000),
    "segments: relro gone": _segment(image_.PT_GNU_RELRO, type=0),
    "segments: executable stack": _segment(image_.PT_GNU_STACK, flags=7),
    "segments: stack gone": _segment(image_.PT_GNU_STACK, type=0),
    # The ELF header
    "header: type": lambda v: v.set_header(type=image_.ET_EXEC),
    "header: machine": lambda v: v.set_header(machine=v.image.header.machine + 1),
    "header: entry": lambda v: v.set_header(entry=v.image.header.entry + 4),
    "header: flags": lambda v: v.set_header(flags=v.image.header.flags ^ 2),
    "header: program headers cut": lambda v: v.set_header(phnum=v.image.header.phnum - 3),
    "header: other byte order": lambda v: v.flip(5, 3),
    "header: other class": lambda v: v.flip(4, 3),
    "header: other ABI": lambda v: v.flip(7, 9),
    "header: not ELF": lambda v: v.flip(1),
    "header: file cut": lambda v: v.data.__delitem__(slice(0x900, None)),
    # Dynamic entries
    "dynamic: needed lost": lambda v: v.drop_entry(image_.DT_NEEDED),
    "dynamic: needed changed": _named(image_.DT_NEEDED),
    "dynamic: needed twice": _two_needed,
    "dynamic: soname lost": lambda v: v.drop_entry(image_.DT_SONAME),
    "dynamic: soname changed": _named(image_.DT_SONAME),
    "dynamic: flags lost": lambda v: v.drop_entry(image_.DT_FLAGS),
    "dynamic: flags changed": lambda v: v.set_value(image_.DT_FLAGS, 2),
    "dynamic: flags_1 changed": lambda v: v.set_value(image_.DT_FLAGS_1, 0x9),
    "dynamic: text relocations": _add_entry(image_.DT_TEXTREL, 0, image_.DT_FLAGS_1),
    "dynamic: PLT's GOT": lambda v: v.set_value(_PLTGOT, v.value(_PLTGOT) + 8),
    "dynamic: symbol size": lambda v: v.set_value(11, 99),
    "dynamic: rpath that nobody asked for": _add_entry(image_.DT_RPATH, 1, image_.DT_FLAGS_1),
    "dynamic: symbols lost": lambda v: v.drop_entry(image_.DT_SYMTAB),
    "dynamic: strings lost": lambda v: v.drop_entry(image_.DT_STRTAB),
    "dynamic: size of strings lost": lambda v: v.drop_entry(image_.DT_STRSZ),
    # Section headers
    "sections: all lost": _lose_section_headers,
    "sections: one lost": _lose_one_section_header,
    "sections: code elsewhere": _shift_section(b".text", "offset", 8),
    "sections: code at another address": _shift_section(b".text", "vaddr", 8),
    "sections: code of another size": _shift_section(b".text", "size", -4),
    "sections: code of another type": _section(b".text", type=8),
    "sections: code of other flags": _section(b".text", flags=2),
    "sections: outside the file": _section(b".comment", offset=0x7FFFFF),
    "sections: symbols elsewhere": _shift_section(b".dynsym", "vaddr", 8),
    "sections: symbols of another type": _section(b".dynsym", type=1),
    "sections: symbols of another size": _shift_section(b".dynsym", "size", -8),
    "sections: symbols with the strings of another": _section(b".dynsym", link=2),
    "sections: symbols with the names of sections": lambda v: v.set_section(b".dynsym", link=v.image.header.shstrndx),
    "sections: symbols without a size of their entries": _section(b".dynsym", entry=0),
    "sections: symbols with another number of local ones": _shift_section(b".dynsym", "info", 1),
    "sections: strings of another size": _shift_section(b".dynstr", "size", -20),
    "sections: dynamic section elsewhere": _shift_section(b".dynamic", "offset", 8),
    "sections: dynamic section of another type": _section(b".dynamic", type=1),
    "sections: dynamic section of another size": _shift_section(b".dynamic", "size", -16),
    "sections: dynamic section without strings": _section(b".dynamic", link=0),
    "sections: dynamic section with strings that are not there": _section(b".dynamic", link=9999),
    "sections: dynamic section without a size of its entries": _section(b".dynamic", entry=0),
    "sections: names elsewhere": _shift_section(b".shstrtab", "offset", 3),
    "sections: names from another table": lambda v: v.set_header(shstrndx=1),
    "sections: a name": lambda v: v.set_section(b".text", name=v.section(b".text")[1].name + 1),
    "sections: table elsewhere": lambda v: v.set_header(shoff=v.image.header.shoff + 8),
    # Content
    "content: code": _byte(b".text", 5),
    "content: end of code": _last_byte(b".text"),
    "content: PLT": _byte(b".plt", 3),
    "content: constants": _byte(b".rodata", 7),
    "content: data": _byte(b".data", 9),
    "content: GOT": _byte(b".got", 1),
    "content: data behind it all": _last_byte(b".data"),
    "content: pointers": _last_byte(b".data.rel.ro"),
    "content: comment": _byte(b".comment", 3),
}  # fmt: skip
"""What is harmed → how; the word before the colon is the kind of harm."""
