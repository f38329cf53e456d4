"""Wheels and sysroots made to do harm: a clear error that names the member, within bounds, and nothing is written."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import stat
import struct
import subprocess
import zipfile
from typing import TYPE_CHECKING, Final

import pytest

from builders import DEMO, DEMO_WHEEL, TESTDATA, ElfFile, Entry, Symbol, csv_text, raw_zip, record_row, wheel_members
from harm import Victim
from musl_repair import elfimage as image_
from process import SYSROOT, Run, names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

pytestmark = pytest.mark.process

REPAIRED: Final = DEMO.replace("linux_", "musllinux_1_2_")
EXTENSION: Final = "demo/_ext.abi3.so"
FOLDER: Final = "demo-1.0.dist-info"


def contents(wheel: Path = DEMO_WHEEL) -> dict[str, bytes]:
    """Return the members of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def true_entries(**changes: bytes) -> list[Entry]:
    """Return the demo wheel's members as they can be harmed; the extension may be another."""
    files = contents()
    code = {name: content for name, content in files.items() if not name.startswith(FOLDER)}
    code[EXTENSION] = changes.get("extension", code[EXTENSION])
    return [Entry(name, content) for name, content in wheel_members(code).items()]


def refused(run: Run, *words: str) -> str:
    """Return what a run that has to fail says; it must have written nothing, and told what is at fault."""
    before = names(run.folder)
    done = run.result()
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert names(run.folder) == before
    return done.stderr


def written(folder: Path, data: bytes, name: str = DEMO) -> Path:
    """Write a wheel."""
    path = folder / name
    path.write_bytes(data)
    return path


# Archives

BOMB: Final = bytes(40 << 20)

MEMBERS: Final[Mapping[str, tuple[tuple[Entry, ...], tuple[str, ...]]]] = {
    "absolute name": ((Entry("/etc/passwd"),), ("/etc/passwd", "absolute name")),
    "drive letter": ((Entry("C:/evil"),), ("C:/evil", "absolute name")),
    "climbing name": ((Entry("../../evil"),), ("../../evil", "'..'")),
    "climbing inside": ((Entry("demo/../../evil"),), ("demo/../../evil", "'..'")),
    "dot": ((Entry("demo/./evil"),), ("demo/./evil", "'.'")),
    "empty part": ((Entry("demo//evil"),), ("demo//evil", "empty")),
    "backslash": ((Entry("demo\\..\\evil"),), ("evil", "backslash")),
    "NUL": ((Entry("demo/evil\0.so"),), ("evil", "control character")),
    "line end": ((Entry("demo/evil\n"),), ("evil", "control character")),
    "line end inside": ((Entry("demo/ev\nil"),), ("ev\\nil", "control character")),
    "name twice": ((Entry("demo/__init__.py"),), ("demo/__init__.py", "twice")),
    "file that is a folder": ((Entry("demo/py.typed/evil"),), ("demo/py.typed/evil", "which is a file")),
    "symbolic link": ((Entry("demo/evil", b"/etc", mode=0o120777),), ("demo/evil", "link or a device")),
    "character device": ((Entry("demo/evil", b"", mode=0o020666),), ("demo/evil", "link or a device")),
    "block device": ((Entry("demo/evil", b"", mode=0o060666),), ("demo/evil", "link or a device")),
    "FIFO": ((Entry("demo/evil", b"", mode=0o010644),), ("demo/evil", "link or a device")),
    "socket": ((Entry("demo/evil", b"", mode=0o140644),), ("demo/evil", "link or a device")),
    "encrypted": ((Entry("demo/evil", flags=1),), ("demo/evil", "encrypted")),
    "unknown compression": ((Entry("demo/evil", method=99),), ("demo/evil", "method 99")),
    "bzip2": ((Entry("demo/evil", method=12),), ("demo/evil", "method 12")),
    "local name": ((Entry("demo/evil", local_name=b"demo/good"),), ("demo/evil", "another name in its local")),
    "local method": ((Entry("demo/evil", local_method=0),), ("demo/evil", "other flags in its local")),
    "local encryption": ((Entry("demo/evil", local_flags=1),), ("demo/evil", "other flags in its local")),
    "overlap": ((Entry("demo/evil", offset=7),), ("demo/", "overlaps")),
    "data of another": ((Entry("demo/a", offset=0),), ("demo/", "overlaps")),
    "data in the directory": ((Entry("demo/evil", stored_size=9999),), ("demo/evil", "runs into the central")),
    "place behind the end": ((Entry("demo/evil", offset=0x7FFFFFF0),), ("demo/evil", "runs into the central")),
    "stored with two sizes": ((Entry("demo/evil", method=0, size=99),), ("demo/evil", "two sizes")),
    "CRC": ((Entry("demo/evil", crc=1),), ("demo/evil", "CRC does not match")),
    "CRC, stored": ((Entry("demo/evil", method=0, crc=1),), ("demo/evil", "CRC does not match")),
    "more than promised": ((Entry("demo/evil", BOMB, size=10),), ("demo/evil", "corrupt")),
    "less than promised": ((Entry("demo/evil", b"little", size=60),), ("demo/evil", "corrupt")),
    "not deflated": ((Entry("demo/evil", stored=b"\xff" * 90),), ("demo/evil", "corrupt")),
    "more than can be": ((Entry("demo/evil", size=0x7FFFFFFF),), ("demo/evil", "cannot have")),
    "name that is not UTF-8": ((Entry(b"demo/\xff\xfe", flags=0x800),), ("not a usable zip archive", "utf-8")),
}


@pytest.mark.parametrize("what", list(MEMBERS))
def test_hostile_member(what: str, tmp_path: Path) -> None:
    entries, words = MEMBERS[what]
    wheel = written(tmp_path, raw_zip(*true_entries(), *entries))
    refused(Run(tmp_path / "out", [wheel]), DEMO, *words)


def local_field(at: int, value: bytes) -> Callable[[bytes], bytes]:
    """Change a field of the first local header."""
    return lambda data: data[:at] + value + data[at + len(value) :]


def bomb(count: int) -> bytes:
    """Return a wheel whose members are all zeros, 40 MiB each."""
    entries = [Entry(f"demo/zeros-{number}.bin", BOMB) for number in range(count)]
    return raw_zip(*true_entries(), *entries)


def overlapping_bomb() -> bytes:
    """Return a wheel in which many members share one data."""
    shared = [Entry(f"demo/{number}", BOMB, offset=0) for number in range(50)]
    return raw_zip(*shared)


def zip64_bomb() -> bytes:
    """Return a wheel with a member of 2**64 - 1 bytes."""
    extra = struct.pack("<HHQ", 1, 8, 2**64 - 1)
    return raw_zip(*true_entries(), Entry("demo/evil", size=0xFFFFFFFF, extra=extra))


ARCHIVES: Final[Mapping[str, tuple[Callable[[], bytes], tuple[str, ...]]]] = {
    "empty file": (lambda: b"", ("no end record",)),
    "not a zip": (lambda: b"not a zip" * 99, ("no end record",)),
    "empty archive": (lambda: raw_zip(), ("one .dist-info folder",)),
    "cut off": (lambda: DEMO_WHEEL.read_bytes()[:-1], ("no end record",)),
    "cut in half": (lambda: DEMO_WHEEL.read_bytes()[:3000], ("no end record",)),
    "cut behind 22 bytes": (lambda: DEMO_WHEEL.read_bytes()[:22], ("no end record",)),
    "data before": (lambda: b"#!/bin/sh\n" + DEMO_WHEEL.read_bytes(), ("10 bytes of other data before",)),
    "data behind": (lambda: DEMO_WHEEL.read_bytes() + b"evil", ("data behind its end",)),
    "two archives": (lambda: 2 * DEMO_WHEEL.read_bytes(), ("other data before",)),
    "wrong count": (lambda: _end_field(8, 3), ("counts",)),
    "directory elsewhere": (lambda: _end_field(16, 7), ("zip archive",)),
    "directory of another size": (lambda: _end_field(12, 7), ("zip archive",)),
    "enormous directory": (lambda: _end_field(12, 0x7FFFFFFF), ("its directory has 2147483647 bytes",)),
    "local CRC": (lambda: local_field(14, b"\1\2\3\4")(raw_zip(*true_entries())), ("member demo", "another CRC")),
    "local size": (lambda: local_field(22, b"\1\2\3\4")(raw_zip(*true_entries())), ("member demo", "or size")),
    "local magic": (lambda: local_field(0, b"EVIL")(raw_zip(*true_entries())), ("member demo", "no local")),
    "local extra": (lambda: local_field(28, b"\xff\xff")(raw_zip(*true_entries())), ("member demo", "runs into")),
    "bomb by ratio": (lambda: bomb(16), ("demo/zeros-0.bin", "times its own size", "--max-inflated")),
    "overlapping bomb": (overlapping_bomb, ("demo/", "overlaps")),
    "zip64 bomb": (zip64_bomb, ("demo/evil", "cannot have")),
}


def _end_field(at: int, value: int) -> bytes:
    """Change a field of the end record."""
    data = bytearray(DEMO_WHEEL.read_bytes())
    struct.pack_into("<H" if at < 12 else "<I", data, len(data) - 22 + at, value)
    if at == 8:
        struct.pack_into("<H", data, len(data) - 22 + 10, value)
    return bytes(data)


@pytest.mark.parametrize("what", list(ARCHIVES))
def test_hostile_archive(what: str, tmp_path: Path) -> None:
    make, words = ARCHIVES[what]
    wheel = written(tmp_path, make())
    refused(Run(tmp_path / "out", [wheel]), DEMO, *words)


def test_limit_on_the_total_can_be_lowered_and_raised(tmp_path: Path) -> None:
    wheel = written(tmp_path, bomb(1))
    said = refused(Run(tmp_path / "out", [wheel, "--max-inflated", "20M"]), "zeros-0.bin", "more than 20971520")
    assert "raise --max-inflated" in said
    refused(Run(tmp_path / "out", [wheel], variables={"MUSL_REPAIR_MAX_INFLATED": "100M"}), "times its own size")
    done = Run(tmp_path / "out", [wheel, "--max-inflated", "1G"]).result()
    assert (done.returncode, names(tmp_path / "out")) == (0, [REPAIRED]), done.stderr


@pytest.mark.parametrize("size", ["", "8X", "-1", "G", "1.5G"])
def test_limit_that_is_no_size_is_wrong_usage(size: str, tmp_path: Path) -> None:
    done = Run(tmp_path / "out", [DEMO_WHEEL, f"--max-inflated={size}"]).result()
    assert done.returncode == 2
    assert "is not a number of bytes" in done.stderr


def fifo(path: Path) -> None:
    """Make a pipe that nobody writes into."""
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    """Make a socket's place."""
    here = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


FILES: Final[Mapping[str, tuple[Callable[[Path], object], str]]] = {
    "nothing": (lambda _: None, "No such file"),
    "folder": (lambda path: path.mkdir(), "directory"),
    "FIFO": (fifo, "not a regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "endless device": (lambda path: path.symlink_to("/dev/urandom"), "not a regular file"),
    "socket": (unix_socket, "No such device"),
    "link to itself": (lambda path: path.symlink_to(path), "symbolic links"),
    "dangling link": (lambda path: path.symlink_to(path.parent / "nothing"), "No such file"),
}


@pytest.mark.parametrize("what", list(FILES))
def test_what_is_no_file(what: str, tmp_path: Path) -> None:
    make, words = FILES[what]
    wheel = tmp_path / DEMO
    make(wheel)
    refused(Run(tmp_path / "out", [wheel]), DEMO, words)


# A corrupt member that the repair does not touch


def test_corrupt_member_that_stays_as_it_is_is_found_whatever_record_says(tmp_path: Path) -> None:
    content = b"answer = 42\n"
    entries = [Entry("demo/untouched.txt", content, crc=7)]
    wheel = written(tmp_path, raw_zip(*true_entries(), *entries))
    refused(Run(tmp_path / "out", [wheel]), "demo/untouched.txt", "CRC does not match")
    refused(Run(tmp_path / "out", [wheel], variables={"MUSL_REPAIR_VERIFY_INPUT": "1"}), "demo/untouched.txt")
    refused(Run(tmp_path / "out", [wheel, "--no-verify-input"]), "demo/untouched.txt", "CRC does not match")


# Wheels


def metadata_entries(changes: Mapping[str, bytes | None]) -> bytes:
    """Return a demo wheel with other dist-info files; None leaves one out."""
    files = {**contents(), **{name: content for name, content in changes.items() if content is not None}}
    record = f"{FOLDER}/RECORD"
    kept = {name: content for name, content in files.items() if changes.get(name, b"") is not None and name != record}
    if changes.get(record, b"") is not None:
        rows = [record_row(name, content) for name, content in kept.items()]
        kept[record] = changes.get(record) or csv_text([*rows, (record, "", "")]).encode()
    return raw_zip(*(Entry(name, content) for name, content in kept.items()))


def lying_record(change: Callable[[list[tuple[str, str, str]]], object]) -> bytes:
    """Return a demo wheel whose RECORD was changed."""
    files = {name: content for name, content in contents().items() if name != f"{FOLDER}/RECORD"}
    rows = [record_row(name, content) for name, content in files.items()]
    change(rows)
    return metadata_entries({f"{FOLDER}/RECORD": csv_text([*rows, (f"{FOLDER}/RECORD", "", "")]).encode()})


def replaced(at: int, field: int, value: str) -> Callable[[list[tuple[str, str, str]]], object]:
    """Change a field of a row."""

    def change(rows: list[tuple[str, str, str]]) -> None:
        row = list(rows[at])
        row[field] = value
        rows[at] = (row[0], row[1], row[2])

    return change


OTHER_HASH: Final = record_row("", b"other content")[1]
WEAK_HASH: Final = f"md5={hashlib.md5(b'', usedforsecurity=False).hexdigest()}"

WHEELS: Final[Mapping[str, tuple[Callable[[], bytes], tuple[str, ...]]]] = {
    "no dist-info": (lambda: raw_zip(Entry("demo/__init__.py")), ("one .dist-info folder", "none")),
    "two dist-infos": (lambda: metadata_entries({"evil-1.0.dist-info/WHEEL": b"x"}), ("evil-1.0.dist-info",)),
    "dist-info of another": (
        lambda: raw_zip(*(Entry(e.name_bytes().replace(b"demo-", b"evil-"), e.content) for e in true_entries())),
        ("evil-1.0.dist-info", "another project"),
    ),
    "no WHEEL": (lambda: metadata_entries({f"{FOLDER}/WHEEL": None}), (f"no {FOLDER}/WHEEL",)),
    "no METADATA": (lambda: metadata_entries({f"{FOLDER}/METADATA": None}), (f"no {FOLDER}/METADATA",)),
    "no RECORD": (lambda: metadata_entries({f"{FOLDER}/RECORD": None}), (f"no {FOLDER}/RECORD",)),
    "WHEEL not UTF-8": (lambda: metadata_entries({f"{FOLDER}/WHEEL": b"\xff"}), (f"{FOLDER}/WHEEL is not UTF-8",)),
    "METADATA not UTF-8": (
        lambda: metadata_entries({f"{FOLDER}/METADATA": b"\xff"}),
        (f"{FOLDER}/METADATA is not UTF-8",),
    ),
    "RECORD not UTF-8": (
        lambda: metadata_entries({f"{FOLDER}/RECORD": b"\xff"}),
        (f"{FOLDER}/RECORD: it is not UTF-8",),
    ),
    "WHEEL empty": (lambda: metadata_entries({f"{FOLDER}/WHEEL": b""}), ("Wheel-Version missing",)),
    "WHEEL of the future": (
        lambda: metadata_entries({f"{FOLDER}/WHEEL": b"Wheel-Version: 2.0\n"}),
        ("Wheel-Version 2.0",),
    ),
    "METADATA of another project": (
        lambda: metadata_entries({f"{FOLDER}/METADATA": b"Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n"}),
        (f"{FOLDER}/METADATA", "evil"),
    ),
    "METADATA of another version": (
        lambda: metadata_entries({f"{FOLDER}/METADATA": b"Metadata-Version: 2.1\nName: demo\nVersion: 2.0\n"}),
        (f"{FOLDER}/METADATA", "2.0"),
    ),
    "METADATA empty": (lambda: metadata_entries({f"{FOLDER}/METADATA": b""}), (f"{FOLDER}/METADATA",)),
    "RECORD with another hash": (lambda: lying_record(replaced(0, 1, OTHER_HASH)), ("demo/__init__.py", "hash")),
    "RECORD with another size": (lambda: lying_record(replaced(0, 2, "7")), ("demo/__init__.py", "7 bytes")),
    "RECORD with a weak hash": (lambda: lying_record(replaced(0, 1, WEAK_HASH)), ("demo/__init__.py", "md5")),
    "RECORD with no hash": (lambda: lying_record(replaced(0, 1, "")), ("demo/__init__.py", "no hash")),
    "RECORD with what is not there": (lambda: lying_record(replaced(0, 0, "demo/evil.py")), ("demo/evil.py",)),
    "RECORD with a climbing path": (lambda: lying_record(replaced(0, 0, "../../evil")), ("../../evil",)),
    "RECORD with four fields": (lambda: metadata_entries({f"{FOLDER}/RECORD": b"a,b,c,d\n"}), ("RECORD",)),
    "RECORD that is no CSV": (lambda: metadata_entries({f"{FOLDER}/RECORD": b'"a,b\n\0'}), ("RECORD",)),
    "RECORD with an enormous field": (
        lambda: metadata_entries({f"{FOLDER}/RECORD": b"x" * 200_000 + b",,\n"}),
        ("RECORD",),
    ),
}


@pytest.mark.parametrize("what", list(WHEELS))
def test_hostile_wheel(what: str, tmp_path: Path) -> None:
    make, words = WHEELS[what]
    wheel = written(tmp_path, make())
    refused(Run(tmp_path / "out", [wheel]), "demo-1.0", *words)


@pytest.mark.parametrize(
    "name",
    [
        "demo.whl",
        "demo-1.0.whl",
        "demo-1.0-py3-none.whl",
        "demo-1.0-py3-none-any-more-and-more.whl",
        "demo-not a version-cp310-abi3-linux_x86_64.whl",
        "-1.0-cp310-abi3-linux_x86_64.whl",
        "demo-1.0-cp310-abi3-linux_x86_64.zip",
        "demo-1.0-x-cp310-abi3-linux_x86_64.whl",
        "..-1.0-cp310-abi3-linux_x86_64.whl",
        "demo-1.0--abi3-linux_x86_64.whl",
    ],
)
def test_bad_name(name: str, tmp_path: Path) -> None:
    wheel = written(tmp_path, DEMO_WHEEL.read_bytes(), name)
    refused(Run(tmp_path / "out", [wheel]), name)


@pytest.mark.parametrize("tag", ["linux_pdp11", "linux_", "linux_aarch64", "musllinux_1_2_riscv64"])
def test_platform_of_another_machine(tag: str, tmp_path: Path) -> None:
    name = DEMO.replace("linux_x86_64", tag)
    wheel = written(tmp_path, DEMO_WHEEL.read_bytes(), name)
    refused(Run(tmp_path / "out", [wheel]), name)


def test_names_that_look_like_options_stay_names(tmp_path: Path) -> None:
    """A member or a library that is called like an option never becomes one."""
    files = contents()
    code = {name: content for name, content in files.items() if not name.startswith(FOLDER)}
    code["demo/-rf.so"] = code["--set-rpath.so"] = code["-.so"] = files[EXTENSION]
    wheel = tmp_path / DEMO
    wheel.write_bytes(raw_zip(*(Entry(name, content) for name, content in wheel_members(code).items())))
    done = Run(tmp_path / "out", [wheel]).result()
    assert (done.returncode, names(tmp_path / "out")) == (0, [REPAIRED]), done.stderr


# ELF files


def libmid() -> Victim:
    """Return a library to harm."""
    return Victim((TESTDATA / "x86_64" / "libleaf.so.1").read_bytes())


def harmed(harm: Callable[[Victim], object]) -> Callable[[], bytes]:
    """Return the library after harm."""

    def make() -> bytes:
        victim = libmid()
        harm(victim)
        return bytes(victim.data)

    return make


def endless_notes() -> bytes:
    """Return a library with a segment full of the smallest notes."""
    return ElfFile(notes=((b"", 0, b""),) * 200_000).build()


def many_names() -> bytes:
    """Return a library whose symbols all have one long name."""
    return ElfFile(symbols=tuple(Symbol("x" * 50_000) for _ in range(200))).build()


def cyclic_versions() -> bytes:
    """Return a library whose version needs lead back to themselves."""
    source = ElfFile(symbols=(Symbol("x"),), version_needs={"a": ("V1",), "b": ("V2",)})
    victim = Victim(source.build())
    at = victim.offset(image_.DT_VERNEED)
    struct.pack_into("<HHIII", victim.data, at, 1, 0xFFFF, 1, 16, 0xFFFFFFF0)
    struct.pack_into("<I", victim.data, at + 16 + 12, 0xFFFFFFF0)
    return bytes(victim.data)


def gnu_chain_without_end() -> bytes:
    """Return a library whose GNU hash chain never ends."""
    table = struct.pack("<IIIIQI", 1, 1, 1, 0, 0, 1) + bytes(4 * 4000)
    return ElfFile(hashed=False, symbols=(Symbol("x"),), tail=(image_.DT_GNU_HASH, table)).build()


def dynamic_without_end() -> bytes:
    """Return a library with no DT_NULL before the end of the segment."""
    entry = struct.pack("<QQ", 0x7777, 1)
    return ElfFile(dynamic=((0x7777, 1),)).build().replace(entry + bytes(16), entry * 2)


ABSURD: Final = 0xFFFFFFFF

ELFS: Final[Mapping[str, Callable[[], bytes]]] = {
    "magic alone": lambda: b"\x7fELF",
    "header cut": lambda: bytes(libmid().data[:40]),
    "program headers cut": lambda: bytes(libmid().data[:100]),
    "file cut": lambda: bytes(libmid().data[:0x900]),
    "class that does not exist": harmed(lambda v: v.data.__setitem__(4, 7)),
    "byte order that does not exist": harmed(lambda v: v.data.__setitem__(5, 9)),
    "wrong class": harmed(lambda v: v.data.__setitem__(4, 1)),
    "wrong byte order": harmed(lambda v: v.data.__setitem__(5, 2)),
    "program headers of another size": harmed(lambda v: v.set_header(phentsize=1)),
    "program headers outside": harmed(lambda v: v.set_header(phoff=1 << 60)),
    "many program headers": harmed(lambda v: v.set_header(phnum=0xFFFF)),
    "segment outside": harmed(lambda v: v.set_segment(v.index(image_.PT_LOAD), filesz=1 << 60)),
    "dynamic section outside": harmed(lambda v: v.set_segment(v.index(image_.PT_DYNAMIC), offset=1 << 60)),
    "dynamic section without end": dynamic_without_end,
    "strings outside": harmed(lambda v: v.set_value(image_.DT_STRTAB, 1 << 60)),
    "strings larger than the file": harmed(lambda v: v.set_value(image_.DT_STRSZ, 1 << 60)),
    "string outside the table": harmed(lambda v: v.set_value(image_.DT_NEEDED, 1 << 40)),
    "soname outside the table": harmed(lambda v: v.set_value(image_.DT_SONAME, 1 << 40)),
    "symbols outside": harmed(lambda v: v.set_value(image_.DT_SYMTAB, 1 << 60)),
    "hash table outside": harmed(lambda v: v.set_value(image_.DT_GNU_HASH, 1 << 60)),
    "absurd number of buckets": harmed(lambda v: struct.pack_into("<I", v.data, v.offset(image_.DT_GNU_HASH), ABSURD)),
    "absurd bloom filter": harmed(lambda v: struct.pack_into("<I", v.data, v.offset(image_.DT_GNU_HASH, 8), ABSURD)),
    "relocations outside": harmed(lambda v: v.set_value(image_.DT_RELA, 1 << 60)),
    "absurd number of relocations": harmed(lambda v: v.set_value(image_.DT_RELASZ, 1 << 60)),
    "relocation of a symbol that is not there": harmed(lambda v: v.set_relocation(0, 1, lambda _: 0x7FFFFFFF00000001)),
    "hash chain without end": gnu_chain_without_end,
    "versions in a circle": cyclic_versions,
}  # fmt: skip


@pytest.mark.parametrize("what", list(ELFS))
def test_hostile_elf_file(what: str, tmp_path: Path) -> None:
    wheel = written(tmp_path, raw_zip(*true_entries(extension=ELFS[what]())))
    refused(Run(tmp_path / "out", [wheel]), EXTENSION)


def both_paths() -> bytes:
    """Return a library with DT_RPATH and DT_RUNPATH."""
    return ElfFile(named=((image_.DT_RPATH, "/evil"), (image_.DT_RUNPATH, "$ORIGIN"), (1, "libmid.so.2"))).build()


def relr_bomb() -> bytes:
    """Return a library whose DT_RELR relocates more words than it has."""
    table = struct.pack("<Q", 0) + b"\xff" * (8 * 2000)
    return ElfFile(tail=(image_.DT_RELR, table), dynamic=((image_.DT_RELRSZ, len(table)), (37, 8))).build()


ODD_ELFS: Final[Mapping[str, Callable[[], bytes]]] = {
    "zero-size segments": harmed(lambda v: v.set_segment(v.index(image_.PT_NOTE), filesz=0, memsz=0)),
    "no section headers": harmed(lambda v: v.set_header(shoff=0, shnum=0, shstrndx=0)),
    "section headers outside": harmed(lambda v: v.set_header(shoff=1 << 60)),
    "section names outside": harmed(lambda v: v.set_header(shstrndx=0xFFF0)),
    "no hash table": lambda: ElfFile(hashed=False, symbols=(Symbol("x"),)).build(),
    "both paths": both_paths,
    "notes without end": endless_notes,
    "note of another size": harmed(lambda v: v.flip(v.section(b".note.gnu.build-id")[1].offset + 7, 0x7F)),
    "relr bomb": relr_bomb,
    "one long name for all symbols": many_names,
    "no program headers": harmed(lambda v: v.set_header(phnum=0)),
    "not dynamic": harmed(lambda v: v.set_segment(v.index(image_.PT_DYNAMIC), type=0)),
    "relocatable": harmed(lambda v: v.set_header(type=1)),
    "core": harmed(lambda v: v.set_header(type=4)),
    "dynamic section longer than it says": harmed(lambda v: v.set_segment(v.index(image_.PT_DYNAMIC), filesz=0x20)),
    "segments overlap": harmed(lambda v: v.set_segment(v.index(image_.PT_LOAD, 1), memsz=0x100000)),
    "rpath that climbs": lambda: ElfFile(named=((image_.DT_RPATH, "$ORIGIN/../../../../etc"), (1, "libc.so"))).build(),
    "needed that climbs": lambda: ElfFile(named=((1, "../../../../etc/passwd"),)).build(),
    "needed that is an option": lambda: ElfFile(named=((1, "--version"), (1, "-rf"))).build(),
    "needed without name": lambda: ElfFile(named=((1, ""),)).build(),
    "needed with an escape sequence": lambda: ElfFile(named=((1, "\x1b[31mlib\n.so"),)).build(),
    "soname with a slash": lambda: ElfFile(named=((image_.DT_SONAME, "/etc/passwd"), (1, "libmid.so.2"))).build(),
}  # fmt: skip


@pytest.mark.parametrize("what", list(ODD_ELFS))
def test_odd_elf_file_is_repaired_or_refused(what: str, tmp_path: Path) -> None:
    """What no rule forbids: an answer, in bounds, and a whole wheel or none."""
    wheel = written(tmp_path, raw_zip(*true_entries(extension=ODD_ELFS[what]())))
    done = Run(tmp_path / "out", [wheel]).result()
    assert "Traceback" not in done.stderr, done.stderr
    assert "\x1b" not in done.stderr
    assert done.returncode in (0, 1), done.stderr
    assert names(tmp_path / "out") == ([] if done.returncode else [REPAIRED])
    if done.returncode == 1:
        assert EXTENSION in done.stderr or "not to be found" in done.stderr, done.stderr


# Sysroots


@pytest.fixture
def sysroot(tmp_path: Path) -> Path:
    """Return a copy of the demo sysroot, to be made hostile."""
    return shutil.copytree(SYSROOT, tmp_path / "sysroot", symlinks=True)


MID: Final = "usr/lib/libmid.so.2"


def put(sysroot: Path, make: Callable[[Path], object]) -> None:
    """Put something else in the place of the library that the wheel needs."""
    (sysroot / MID).unlink()
    make(sysroot / MID)


def climbing_link(path: Path) -> None:
    """Make a link to a good library outside of the root."""
    outside = path.parents[3] / "outside.so"
    shutil.copy2(TESTDATA / "x86_64" / "libmid.so.2", outside)
    path.symlink_to("../../../outside.so")


def absolute_link(path: Path) -> None:
    """Make an absolute link to a good library outside of the root."""
    path.symlink_to(TESTDATA / "x86_64" / "libmid.so.2")


def loop_of_two(path: Path) -> None:
    """Make two links to each other."""
    path.symlink_to("other")
    (path.parent / "other").symlink_to(path.name)


PLACES: Final[Mapping[str, Callable[[Path], object]]] = {
    "link that climbs out": climbing_link,
    "absolute link that leads out": absolute_link,
    "link to itself": lambda path: path.symlink_to(path.name),
    "loop of two": loop_of_two,
    "dangling link": lambda path: path.symlink_to("nothing"),
    "FIFO": fifo,
    "socket": unix_socket,
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "linker script": lambda path: path.write_text("/* GNU ld script */\nINPUT(libmid.so.2.1.0)\n"),
    "folder": lambda path: path.mkdir(),
    "empty file": lambda path: path.write_bytes(b""),
    "broken library": lambda path: path.write_bytes((TESTDATA / "x86_64/libmid.so.2").read_bytes()[:999]),
    "library of another machine": lambda path: shutil.copy2(TESTDATA / "aarch64/libmid.so.2", path),
    "library of another class": lambda path: shutil.copy2(TESTDATA / "i686/libmid.so.2", path),
    "program that is no library": lambda path: path.write_bytes(b"#!/bin/sh\nexit 1\n"),
}


@pytest.mark.parametrize("what", list(PLACES))
def test_hostile_sysroot(what: str, sysroot: Path, tmp_path: Path) -> None:
    put(sysroot, PLACES[what])
    refused(Run(tmp_path / "out", [DEMO_WHEEL], sysroot), "libmid.so.2")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK], ids=["character", "block"])
def test_device_in_the_sysroot(kind: int, sysroot: Path, tmp_path: Path) -> None:
    try:
        put(sysroot, lambda path: os.mknod(path, kind | 0o666, os.makedev(1, 5)))
    except PermissionError:
        pytest.skip("this container may not make devices")
    refused(Run(tmp_path / "out", [DEMO_WHEEL], sysroot), "libmid.so.2")


def test_chain_of_too_many_links(sysroot: Path, tmp_path: Path) -> None:
    def chain(path: Path) -> None:
        for number in range(60):
            (path.parent / f"link-{number}").symlink_to(f"link-{number + 1}")
        (path.parent / "link-60").symlink_to("libmid.so.2.1.0")
        path.symlink_to("link-0")

    put(sysroot, chain)
    refused(Run(tmp_path / "out", [DEMO_WHEEL], sysroot), "libmid.so.2")


@pytest.mark.parametrize("name", ["usr/lib", "lib"])
def test_folder_that_links_to_itself(name: str, sysroot: Path, tmp_path: Path) -> None:
    shutil.rmtree(sysroot / name)
    (sysroot / name).symlink_to(name.rpartition("/")[2])
    refused(Run(tmp_path / "out", [DEMO_WHEEL], sysroot), "musl" if name == "lib" else "libmid.so.2")


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("lib/apk/db/installed", b"\xff\xfe\0" * 999),
        ("lib/apk/db/installed", b"P:x\nV:1\nF:../../..\nR:evil\n"),
        ("etc/ld-musl-x86_64.path", b"relative:../..:/\xff:/lib:/usr/lib\n\0"),
        ("etc/ld-musl-x86_64.path", b"/lib\0:/usr/lib"),
        *(
            ("lib/apk/db/installed", b"P:musl\nV:%s\nF:lib\nR:ld-musl-x86_64.so.1\n" % version)
            for version in (b"edge", b"1.3-r0", b"", b"9" * 5000 + b".2.3")
        ),
        *(
            (
                "lib/apk/db/installed",
                b"P:musl\nV:1.2.5\nF:lib\nR:ld-musl-x86_64.so.1\n\nP:%s\nV:%s\nF:lib\nR:libleaf.so.1.0.0\n" % package,
            )
            for package in ((b"", b"1"), (b"/", b"1"), (b"..", b"1"), (b"x", b""), (b"x", b"../.."), (b"x", b"/\x1b"))
        ),
    ],
    ids=lambda value: str(value)[:90],
)
def test_hostile_text_in_the_sysroot(place: str, content: bytes, sysroot: Path, tmp_path: Path) -> None:
    (sysroot / place).parent.mkdir(parents=True, exist_ok=True)
    (sysroot / place).write_bytes(content)
    done = Run(tmp_path / "out", [DEMO_WHEEL], sysroot).result()
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1)
    assert names(tmp_path / "out") == ([] if done.returncode else [REPAIRED])


@pytest.mark.parametrize("place", ["lib/apk/db/installed", "etc/ld-musl-x86_64.path", "lib/ld-musl-x86_64.so.1"])
def test_fifo_in_the_place_of_what_the_sysroot_tells(place: str, sysroot: Path, tmp_path: Path) -> None:
    (sysroot / place).unlink(missing_ok=True)
    (sysroot / place).parent.mkdir(parents=True, exist_ok=True)
    fifo(sysroot / place)
    done = Run(tmp_path / "out", [DEMO_WHEEL], sysroot).result()
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1)
    assert names(tmp_path / "out") == ([] if done.returncode else [REPAIRED])


@pytest.mark.skipif(os.geteuid() != 0, reason="changes to another user, which root alone can")
def test_unreadable_library(sysroot: Path, tmp_path: Path) -> None:
    (sysroot / "usr/lib/libmid.so.2.1.0").chmod(0)
    run = Run(tmp_path / "out", [DEMO_WHEEL], sysroot)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *run.command()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    if "Permission denied" in done.stderr and "libmid" not in done.stderr:
        pytest.skip("another user cannot reach this checkout")
    assert done.returncode == 1
    assert "libmid.so.2" in done.stderr
    assert "Traceback" not in done.stderr
