"""Values that tests are made of: where testdata is, wheels, zip archives down to the byte, and small ELF files."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TESTDATA = Path(__file__).resolve().parents[1] / "testdata"
ARCHITECTURES = ("aarch64", "armv7l", "i686", "loongarch64", "ppc64le", "riscv64", "s390x", "x86_64")
SYSROOTS = TESTDATA / "sysroots"
DEMO = "demo-1.0-cp310-abi3-linux_x86_64.whl"
DEMO_WHEEL = TESTDATA / "wheels" / DEMO
TODAY = (2026, 1, 1, 0, 0, 0)

# Wheels


def record_row(name: str, content: bytes) -> tuple[str, str, str]:
    """Return the true row of RECORD for a file."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return name, f"sha256={digest}", str(len(content))


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as RECORD has them."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def wheel_members(files: Mapping[str, bytes], filename: str = DEMO) -> dict[str, bytes]:
    """Return the members of a whole wheel of this name: the files and a dist-info that is true.

    A file of the dist-info that is among the files is taken as it is; so a RECORD can lie.
    """
    name, version, *_, python, abi, platform = filename.removesuffix(".whl").split("-")
    folder = f"{name}-{version}.dist-info"
    tags = [f"Tag: {p}-{a}-{s}\n" for p in python.split(".") for a in abi.split(".") for s in platform.split(".")]
    members = {
        f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{folder}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: false\n{''.join(tags)}".encode(),
        **files,
    }
    record = f"{folder}/RECORD"
    rows = [record_row(path, content) for path, content in members.items() if path != record]
    return {**members, record: files.get(record, csv_text([*rows, (record, "", "")]).encode())}


def zip_bytes(members: Mapping[str, bytes]) -> bytes:
    """Return an ordinary archive, as `zipfile` writes it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, TODAY)
            info.external_attr = (0o100755 if name.endswith(".so") else 0o100644) << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def write_wheel(folder: Path, files: Mapping[str, bytes], filename: str = DEMO) -> Path:
    """Write a whole wheel with these files and a true dist-info."""
    path = folder / filename
    path.write_bytes(zip_bytes(wheel_members(files, filename)))
    return path


# Zip archives whose every field can lie


END = b"\3\0"
"""The last block of a deflate stream, with nothing in it."""


def block(content: bytes) -> bytes:
    """Return a stored block of a deflate stream that is not the last one."""
    return struct.pack("<BHH", 0, len(content), len(content) ^ 0xFFFF) + content


@dataclass(frozen=True, slots=True)
class Entry:
    """One member as it is to be written; what is None is true. Sizes and CRC stand in both headers."""

    name: str | bytes
    content: bytes = b"content"
    method: int = 8
    flags: int | None = None
    local_flags: int | None = None
    mode: int = 0o100644
    system: int = 3
    crc: int | None = None
    size: int | None = None
    stored_size: int | None = None
    stored: bytes | None = None
    local_name: bytes | None = None
    local_method: int | None = None
    offset: int | None = None
    extra: bytes = b""

    def name_bytes(self) -> bytes:
        """Return the name as the central directory has it."""
        return self.name.encode() if isinstance(self.name, str) else self.name

    def data(self, flush: int = zlib.Z_FINISH) -> bytes:
        """Return what stands between the headers; another flush leaves the deflate stream without end."""
        if self.stored is not None:
            return self.stored
        if self.method != 8:
            return self.content
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        return compressor.compress(self.content) + compressor.flush(flush)

    def headers(self, offset: int) -> tuple[bytes, bytes]:
        """Return the local header with its name, and the record of the central directory."""
        name = self.name_bytes()
        local_name = name if self.local_name is None else self.local_name
        flags = (0 if name.isascii() else 0x800) if self.flags is None else self.flags
        local_flags = flags if self.local_flags is None else self.local_flags
        local_method = self.method if self.local_method is None else self.local_method
        sums = struct.pack(
            "<III",
            zlib.crc32(self.content) if self.crc is None else self.crc,
            len(self.data()) if self.stored_size is None else self.stored_size,
            len(self.content) if self.size is None else self.size,
        )
        when = struct.pack("<HH", 0, (2026 - 1980) << 9 | 1 << 5 | 1)
        local = struct.pack("<4sHHH", b"PK\3\4", 20, local_flags, local_method) + when + sums
        central = struct.pack("<4sBBHHH", b"PK\1\2", 20, self.system, 20, flags, self.method) + when + sums
        at = offset if self.offset is None else self.offset
        rest = struct.pack("<HHHHHII", len(name), len(self.extra), 0, 0, 0, self.mode << 16, at)
        return local + struct.pack("<HH", len(local_name), 0) + local_name, central + rest + name + self.extra


def raw_zip(*entries: Entry) -> bytes:
    """Return an archive of these entries, true or not."""
    out, directory = b"", b""
    for entry in entries:
        local, central = entry.headers(len(out))
        out += local + entry.data()
        directory += central
    count = len(entries)
    return out + directory + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(directory), len(out), 0)


# ELF files


@dataclass(frozen=True, slots=True)
class Symbol:
    """One dynamic symbol; bind, type and section are ELF's numbers, section 0 is "undefined"."""

    name: str
    bind: int = 1
    type: int = 2
    section: int = 1
    value: int = 0x40
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfFile:
    """A shared object for things that the fixtures do not have: loaded at 0, addresses are file offsets."""

    bits: int = 64
    little: bool = True
    machine: int = 62
    type: int = 3
    symbols: tuple[Symbol, ...] = ()
    relocations: tuple[tuple[int, int], ...] = ()
    """(symbol, type); symbol 1 is the first of symbols."""
    version_needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[tuple[bytes, int, bytes], ...] = ()
    named: tuple[tuple[int, str], ...] = ()
    """Dynamic entries that name a string."""
    dynamic: tuple[tuple[int, int], ...] = ()
    """More dynamic entries; they stand last, so they win."""
    hashed: bool = True
    tail: tuple[int, bytes] | None = None
    """A dynamic entry and the table that it points at, the last bytes that are loaded."""
    stack_flags: int | None = None

    def build(self) -> bytes:
        """Return the file, with section headers that are true."""
        return _ElfWriter(self).file()


class _ElfWriter:
    def __init__(self, source: ElfFile) -> None:
        self.source = source
        self.order = "<" if source.little else ">"
        self.wide = source.bits == 64
        self.strings = b"\0"
        self.sections: list[tuple[str, tuple[int, ...]]] = []
        self.entries: list[tuple[int, int]] = []
        self.out = b"\0" * 0x200  # the ELF header and the program headers

    def pack(self, form: str, *values: int) -> bytes:
        return struct.pack(self.order + form.replace("W", "Q" if self.wide else "I"), *values)

    def string(self, text: str) -> int:
        at = len(self.strings)
        self.strings += os.fsencode(text) + b"\0"
        return at

    def add(self, name: str, kind: int, content: bytes, *, link: int = 0, info: int = 0, size: int = 0) -> int:
        """Place a section; return its address."""
        self.out += b"\0" * (-len(self.out) % 8)
        at, align = len(self.out), 4 if kind == 7 else 8
        self.out += content
        self.sections.append((name, (kind, 2, at, at, len(content), link, info, align, size)))
        return at

    def symbol(self, symbol: Symbol) -> bytes:
        name, info = self.string(symbol.name), symbol.bind << 4 | symbol.type
        if self.wide:
            return self.pack("IBBHQQ", name, info, 0, symbol.section, symbol.value, 8)
        return self.pack("IIIBBH", name, symbol.value, 8, info, 0, symbol.section)

    def tables(self) -> None:
        """Place what the dynamic entries point at: section 1 is .dynsym, 2 .dynstr."""
        source = self.source
        count = len(source.symbols) + 1
        symbol_size = 24 if self.wide else 16
        symbols = bytes(symbol_size) + b"".join(map(self.symbol, source.symbols))
        self.entries += [(tag, self.string(text)) for tag, text in source.named]
        needs = self.needs()
        self.entries += [(6, self.add(".dynsym", 11, symbols, link=2, info=1, size=symbol_size)), (11, symbol_size)]
        self.entries += [(5, self.add(".dynstr", 3, self.strings)), (10, len(self.strings))]
        if source.hashed:
            # One bucket, one chain. On s390x the words are those of the machine.
            words = (1, count, 1 if count > 1 else 0, 0, *range(2, count), 0)[: 3 + count]
            form = "Q" if source.machine == 22 else "I"
            self.entries.append((4, self.add(".hash", 5, self.pack(f"{len(words)}{form}", *words), link=1, size=4)))
        if needs:
            versions = self.pack(f"{count}H", 0, *(symbol.version for symbol in source.symbols))
            self.entries.append((0x6FFFFFF0, self.add(".gnu.version", 0x6FFFFFFF, versions, link=1, size=2)))
            files = len(source.version_needs)
            self.entries.append((0x6FFFFFFE, self.add(".gnu.version_r", 0x6FFFFFFE, needs, link=2, info=files)))
            self.entries.append((0x6FFFFFFF, files))
        self.relocations()

    def relocations(self) -> None:
        if not self.source.relocations:
            return
        shift, explicit = 32 if self.wide else 8, self.source.machine not in (3, 40)
        form = "WWW" if explicit else "WW"
        table = b"".join(
            self.pack(form, *(0x100, symbol << shift | kind, 0)[: len(form)])
            for symbol, kind in self.source.relocations
        )
        size = struct.calcsize(self.order + form.replace("W", "Q" if self.wide else "I"))
        name, kind, tags = (".rela.dyn", 4, (7, 8, 9)) if explicit else (".rel.dyn", 9, (17, 18, 19))
        at = self.add(name, kind, table, link=1, size=size)
        self.entries += zip(tags, (at, len(table), size), strict=True)

    def needs(self) -> bytes:
        out, left = b"", len(self.source.version_needs)
        index = 2
        for library, versions in self.source.version_needs.items():
            left -= 1
            following = 16 + 16 * len(versions) if left else 0
            out += self.pack("HHIII", 1, len(versions), self.string(library), 16, following)
            for place, version in enumerate(versions, 1):
                step = 16 if place < len(versions) else 0
                out += self.pack("IHHII", 0, 0, index, self.string(version), step)
                index += 1
        return out

    def note(self, owner: bytes, kind: int, content: bytes) -> bytes:
        name = owner + b"\0" * (4 - len(owner) % 4)
        header = self.pack("III", len(owner) + 1, len(content), kind)
        return header + name + content + b"\0" * (-len(content) % 4)

    def file(self) -> bytes:
        source = self.source
        self.tables()
        notes = b"".join(self.note(*note) for note in source.notes)
        note_at = self.add(".note", 7, notes)
        if source.tail is not None:
            # Its address is known only when the dynamic section, whose size is known, is in place.
            size = (len(self.entries) + len(source.dynamic) + 2) * (16 if self.wide else 8)
            start = len(self.out) + -len(self.out) % 8
            self.entries.append((source.tail[0], start + size))
        entries = [*self.entries, *source.dynamic, (0, 0)]
        dynamic = b"".join(self.pack("WW", *entry) for entry in entries)
        dynamic_at = self.add(".dynamic", 6, dynamic, link=2, size=16 if self.wide else 8)
        if source.tail is not None:
            self.add(".tail", 1, source.tail[1])
        end = len(self.out)
        segments = [(1, 7, 0, end, 0x1000), (2, 6, dynamic_at, len(dynamic), 8), (4, 4, note_at, len(notes), 4)]
        if source.stack_flags is not None:
            segments.append((0x6474E551, source.stack_flags, 0, 0, 0))
        headers = b"".join(map(self.segment, segments))
        table = self.section_headers()
        header = self.header(len(segments), len(self.sections) + 2)
        return header + headers + self.out[len(header) + len(headers) :] + table

    def segment(self, fields: tuple[int, ...]) -> bytes:
        kind, flags, at, size, align = fields
        if self.wide:
            return self.pack("IIQQQQQQ", kind, flags, at, at, at, size, size, align)
        return self.pack("IIIIIIII", kind, at, at, at, size, size, flags, align)

    def section_headers(self) -> bytes:
        """Place .shstrtab, and return the section headers, which follow it."""
        names = b"\0" + b"".join(name.encode() + b"\0" for name, _ in self.sections) + b".shstrtab\0"
        form = "IIWWWWIIWW"
        table = self.pack(form, *[0] * 10)
        for name, fields in self.sections:
            table += self.pack(form, names.index(b"\0" + name.encode() + b"\0") + 1, *fields)
        table += self.pack(form, names.index(b".shstrtab\0"), 3, 0, 0, len(self.out), len(names), 0, 0, 1, 0)
        self.out += names + b"\0" * (-(len(self.out) + len(names)) % 8)
        return table

    def header(self, segments: int, sections: int) -> bytes:
        # OS ABI 3 is GNU: IFUNC symbols are an extension of it.
        ident = b"\x7fELF" + bytes([2 if self.wide else 1, 1 if self.source.little else 2, 1, 3]) + bytes(8)
        ehsize, phentsize, shentsize = (64, 56, 64) if self.wide else (52, 32, 40)
        rest = (self.source.type, self.source.machine, 1, 0, ehsize, len(self.out), 0)
        counts = (ehsize, phentsize, segments, shentsize, sections, sections - 1)
        return ident + self.pack("HHIWWWI", *rest) + self.pack("HHHHHH", *counts)
