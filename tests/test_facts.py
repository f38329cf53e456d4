"""All that is known of a wheel before anything is decided: ELF files, and where RECORD is not true."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

import pytest
from installer.sources import WheelFile

from builders import (
    ARCHITECTURES,
    DEMO,
    DEMO_WHEEL,
    TESTDATA,
    Entry,
    csv_text,
    raw_zip,
    record_row,
    wheel_members,
    write_wheel,
    zip_bytes,
)
from musl_repair.archive import Archive
from musl_repair.elf import read_elf
from musl_repair.errors import ArchiveError, MuslRepairError, WheelError
from musl_repair.facts import Facts, Known, read_facts
from musl_repair.pipeline import pipeline
from musl_repair.record import RecordFault
from musl_repair.sysroot import Unusable
from musl_repair.wheel import MOUNT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LIBRARY: Final = (TESTDATA / "x86_64" / "libmid.so.2").read_bytes()
OTHER: Final = (TESTDATA / "x86_64" / "libleaf.so.1").read_bytes()
RELOCATABLE: Final = LIBRARY[:16] + b"\1\0" + LIBRARY[18:]
INFO: Final = "demo-1.0.dist-info"
RECORD: Final = f"{INFO}/RECORD"
FILES: Final = {"demo/__init__.py": b"x = 1\n", "demo/_ext.so": LIBRARY}


def facts(path: Path) -> Facts:
    with Archive(path) as archive:
        return read_facts(DEMO, archive)


def lying(folder: Path, files: Mapping[str, bytes], **rows: tuple[str, str, str] | None) -> Path:
    """Write a wheel whose RECORD has other rows for some files, named by their last part; None leaves one out."""
    members = wheel_members(files)
    true = [record_row(name, content) for name, content in members.items() if name != RECORD]
    told = [rows.get(row[0].rsplit("/", 1)[-1].partition(".")[0], row) for row in true]
    text = csv_text([*(row for row in told if row is not None), (RECORD, "", "")])
    return write_wheel(folder, {**files, RECORD: text.encode()})


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_demo_wheel_has_its_two_elf_files_and_a_true_record_for(arch: str) -> None:
    path = TESTDATA / "wheels" / f"demo-1.0-cp310-abi3-linux_{arch}.whl"
    with Archive(path) as archive:
        found = read_facts(path.name, archive)
    with zipfile.ZipFile(path) as expected:
        names = [name for name in expected.namelist() if expected.read(name)[:4] == b"\x7fELF"]
        contents = {name: expected.read(name) for name in names}
        sizes = {info.filename: info.file_size for info in expected.infolist()}
    assert list(contents) == list(found.elfs) == ["demo/_ext.abi3.so", "demo-1.0.data/scripts/demo-tool"]
    assert {name: read_elf(content) for name, content in contents.items()} == found.elfs
    assert sizes == {name: found.size(name) for name in found.members}
    assert {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()} == {
        name: found.readings[name].sha256 for name in names
    }
    assert found.record_faults == ()
    with WheelFile.open(path) as source:
        source.validate_record()


def test_files_are_where_they_are_installed_and_say_what_they_are(tmp_path: Path) -> None:
    files = {
        "demo/_ext.so": LIBRARY,
        "demo/text.so": b"not ELF",
        "demo/object.o": RELOCATABLE,
        "demo-1.0.data/platlib/demo/_plat.so": OTHER,
        "demo-1.0.data/purelib/demo/_pure.so": OTHER,
        "demo-1.0.data/scripts/tool": LIBRARY,
        "demo-1.0.data/data/lib/libx.so": LIBRARY,
    }
    installed = facts(write_wheel(tmp_path, files)).files()
    library, other = read_elf(LIBRARY), read_elf(OTHER)
    assert {path: what for path, what in installed.items() if INFO not in path.parts} == {
        MOUNT / "demo/_ext.so": library,
        MOUNT / "demo/text.so": Unusable("not an ELF file"),
        MOUNT / "demo/object.o": Unusable("not a shared object"),
        MOUNT / "demo/_plat.so": other,
        MOUNT / "demo/_pure.so": other,
        PurePosixPath("/<scripts>/tool"): library,
        PurePosixPath("/<data>/lib/libx.so"): library,
    }


def test_folders_are_no_files(tmp_path: Path) -> None:
    path = tmp_path / DEMO
    path.write_bytes(zip_bytes({"demo/": b"", **wheel_members(FILES)}))
    found = facts(path)
    assert "demo/" not in found.members
    assert found.record_faults == ()
    assert found.size("demo/") is None


# RECORD. Where installer refuses a wheel for it, we must know a fault; where it accepts, none.

TRUE: Final = record_row("demo/__init__.py", FILES["demo/__init__.py"])


def row_by(algorithm: str) -> tuple[str, str, str]:
    digest = hashlib.new(algorithm, FILES["demo/__init__.py"], usedforsecurity=False).digest()
    value = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return TRUE[0], f"{algorithm}={value}", TRUE[2]


RECORDS: Final[Mapping[str, tuple[tuple[str, str, str], str | None]]] = {
    "the truth": (TRUE, None),
    "the truth with SHA-512": (row_by("sha512"), None),
    "the truth with BLAKE2": (row_by("blake2b"), None),
    "another hash": ((TRUE[0], "sha256=" + "A" * 43, TRUE[2]), "RECORD has another hash than the file"),
    "another SHA-512": ((TRUE[0], "sha512=" + "A" * 86, TRUE[2]), "RECORD has another hash than the file"),
    "no hash": ((TRUE[0], "", TRUE[2]), "RECORD has no hash for it"),
    "another size": ((TRUE[0], TRUE[1], "7"), "RECORD says 7 bytes, the file has 6"),
    "a hash that does not exist": (
        (TRUE[0], "sha257=abc", TRUE[2]),
        "RECORD has a hash of kind 'sha257', which wheels may not use",
    ),
}


@pytest.mark.parametrize(("row", "fault"), RECORDS.values(), ids=list(RECORDS))
def test_installer_and_we_agree_on_a_record_that_says(
    row: tuple[str, str, str], fault: str | None, tmp_path: Path
) -> None:
    path = lying(tmp_path, FILES, __init__=row)
    expected = () if fault is None else (RecordFault("demo/__init__.py", fault),)
    assert expected == facts(path).record_faults
    assert bool(expected) == refused_by_installer(path)


def refused_by_installer(path: Path) -> bool:
    with WheelFile.open(path) as source:
        try:
            source.validate_record()
        except source.validation_error as error:
            return "demo/__init__.py" in str(error)
    return False


@pytest.mark.parametrize("algorithm", ["md5", "sha1"])
def test_a_weak_hash_is_a_fault_also_where_it_is_true(algorithm: str, tmp_path: Path) -> None:
    """PEP 427: "md5 and sha1 are not permitted". installer lets them pass."""
    (found,) = facts(lying(tmp_path, FILES, __init__=row_by(algorithm))).record_faults
    assert found.fault == f"RECORD has a hash of kind {algorithm!r}, which wheels may not use"


@pytest.mark.parametrize("algorithm", ["shake_128", "shake_256"])
def test_a_hash_of_no_fixed_length_is_a_fault(algorithm: str, tmp_path: Path) -> None:
    row = (TRUE[0], f"{algorithm}=abc", TRUE[2])
    (found,) = facts(lying(tmp_path, FILES, __init__=row)).record_faults
    assert found.fault == f"RECORD has a hash of kind {algorithm!r}, which wheels may not use"


def test_a_missing_size_is_no_fault(tmp_path: Path) -> None:
    """PEP 376 lets the size be absent."""
    assert facts(lying(tmp_path, FILES, __init__=(TRUE[0], TRUE[1], ""))).record_faults == ()


def test_a_lie_about_an_elf_file_is_a_fault_too(tmp_path: Path) -> None:
    row = record_row("demo/_ext.so", OTHER)
    (found,) = facts(lying(tmp_path, FILES, _ext=row)).record_faults
    assert found == RecordFault("demo/_ext.so", "RECORD has another hash than the file")


def test_a_file_that_record_does_not_list_is_a_fault_that_can_be_mended(tmp_path: Path) -> None:
    path = lying(tmp_path, FILES, __init__=None)
    assert facts(path).record_faults == (
        RecordFault("demo/__init__.py", "is in the wheel but not in RECORD", mendable=True),
    )
    assert refused_by_installer(path)


def test_a_row_without_file_is_a_fault(tmp_path: Path) -> None:
    members = wheel_members(FILES)
    del members["demo/__init__.py"]
    path = tmp_path / DEMO
    path.write_bytes(zip_bytes(members))
    assert facts(path).record_faults == (RecordFault("demo/__init__.py", "is listed in RECORD but not there"),)


def test_faults_are_sorted_by_file(tmp_path: Path) -> None:
    files = {f"demo/{name}.py": b"" for name in ("c", "a", "b")}
    lies = {name: (f"demo/{name}.py", "sha256=x", "") for name in ("c", "a", "b")}
    found = facts(lying(tmp_path, files, **lies)).record_faults
    assert [fault.member for fault in found] == ["demo/a.py", "demo/b.py", "demo/c.py"]


def test_signatures_and_record_itself_need_no_row(tmp_path: Path) -> None:
    members = wheel_members(FILES)
    path = tmp_path / DEMO
    path.write_bytes(zip_bytes({**members, f"{INFO}/RECORD.jws": b"{}", f"{INFO}/RECORD.p7s": b""}))
    found = facts(path)
    assert found.record_faults == ()
    with WheelFile.open(path) as source:
        source.validate_record()


# Broken files


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (LIBRARY[:1000], "behind the end of the file"),
        (b"\x7fELF", "ELF header is cut off"),
        (b"\x7fELF = 'not an ELF file'\n", "does not exist"),
    ],
    ids=["cut", "four bytes", "text"],
)
def test_a_broken_elf_file_is_a_fact(content: bytes, why: str, tmp_path: Path) -> None:
    """It may be data: that is for others to judge."""
    found = facts(write_wheel(tmp_path, {"demo/_ext.so": content}))
    reading = found.readings["demo/_ext.so"]
    assert (reading.elf, reading.sha256, reading.fault) == (None, hashlib.sha256(content).hexdigest(), None)
    assert why in (reading.broken or "")
    assert "demo/_ext.so" not in found.elfs
    unusable = found.files()[found.path("demo/_ext.so")]
    assert isinstance(unusable, Unusable)
    assert unusable.reason == f"not a sound ELF file: {reading.broken}"


def test_what_begins_with_other_bytes_is_not_broken(tmp_path: Path) -> None:
    found = facts(write_wheel(tmp_path, {"demo/x.so": b"\x7fELE"}))
    assert found.readings["demo/x.so"].broken is None


# Errors name the file


NOISE: Final = hashlib.shake_256(b"noise").digest(200_000)
LARGE: Final = {
    "demo/long.bin": bytes(17 << 20),
    "demo/noise.bin": NOISE,
    "demo/text.bin": b"text" * 100_000,
}
"""What is read in each way: too long to be held, nothing to inflate, and neither."""


def wheel_of(*entries: Entry) -> bytes:
    """Return a wheel of FILES and LARGE; entries take the place of those of their name."""
    instead = {entry.name: entry for entry in entries}
    members = wheel_members({**FILES, **LARGE})
    return raw_zip(*(instead.get(name) or Entry(name, content) for name, content in members.items()))


@pytest.mark.parametrize("name", [*FILES, *LARGE])
def test_a_corrupt_member_is_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / DEMO
    path.write_bytes(wheel_of(Entry(name, {**FILES, **LARGE}[name], crc=1)))
    with pytest.raises(ArchiveError, match=rf"member {name} is corrupt"):
        facts(path)


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("method", [0, 8], ids=["stored", "deflated"])
def test_a_large_file_is_compared_with_record_too(method: int, name: str, tmp_path: Path) -> None:
    path = tmp_path / DEMO
    content = LARGE[name]
    path.write_bytes(wheel_of(Entry(name, content, method)))
    assert facts(path).record_faults == ()
    path.write_bytes(wheel_of(Entry(name, content[:-1] + b"x", method)))
    assert facts(path).record_faults == (RecordFault(name, "RECORD has another hash than the file"),)


@pytest.mark.parametrize("behind", [b"", NOISE, bytes(17 << 20)], ids=["short", "noise", "long"])
@pytest.mark.parametrize("method", [0, 8], ids=["stored", "deflated"])
def test_an_elf_file_is_one_however_it_is_read(method: int, behind: bytes, tmp_path: Path) -> None:
    path = tmp_path / DEMO
    library = LIBRARY + behind
    members = wheel_members({"demo/_ext.so": library})
    path.write_bytes(raw_zip(*(Entry(name, content, method) for name, content in members.items())))
    found = facts(path)
    assert found.elfs == {"demo/_ext.so": read_elf(library)}
    assert found.readings["demo/_ext.so"].sha256 == hashlib.sha256(library).hexdigest()


def test_the_name_of_the_wheel_is_given_and_not_that_of_the_file(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, FILES)
    renamed = path.rename(tmp_path / "download.tmp")
    with Archive(renamed) as archive:
        assert str(read_facts(DEMO, archive).wheel.name) == DEMO
        with pytest.raises(WheelError, match="is not the name of a wheel"):
            read_facts("download.tmp", archive)


# What is known already, and several at once


def test_several_readers_at_once_find_the_same() -> None:
    with Archive(DEMO_WHEEL) as archive, pipeline(4, lambda _name: None) as run:
        assert read_facts(DEMO, archive) == read_facts(DEMO, archive, run=run)


def test_what_is_known_is_taken_for_raw_copies_only(tmp_path: Path) -> None:
    """A member with another content or another row is read, whatever is known of its name."""
    old = facts(write_wheel(tmp_path, {**FILES, "demo/_two.so": LIBRARY}))
    path = lying(
        tmp_path,
        {**FILES, "demo/_two.so": OTHER},
        __init__=(TRUE[0], "sha256=x", ""),
        _two=record_row("demo/_two.so", OTHER),
    )
    with Archive(path) as archive:
        new = read_facts(DEMO, archive, known=Known(readings=old.readings))
        assert read_facts(DEMO, archive) == new
    assert new.readings["demo/_ext.so"] is old.readings["demo/_ext.so"]
    assert new.elfs["demo/_two.so"] == read_elf(OTHER)
    assert [fault.member for fault in new.record_faults] == ["demo/__init__.py"]


def test_no_changed_byte_of_a_wheel_gives_another_error_than_ours(tmp_path: Path) -> None:
    """Every 3rd byte of a small wheel is changed: what is read then agrees with zipfile, or it is refused."""
    path = tmp_path / DEMO
    path.write_bytes(zip_bytes(wheel_members({"demo/_ext.so": LIBRARY})))
    data = path.read_bytes()
    refused = read = 0
    for at in range(0, len(data), 3):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x81]) + data[at + 1 :])
        try:
            found = facts(path)
        except MuslRepairError:
            refused += 1
            continue
        read += 1
        with zipfile.ZipFile(path) as expected:
            assert [name for name in expected.namelist() if not name.endswith("/")] == list(found.members)
    assert refused > read > 0
