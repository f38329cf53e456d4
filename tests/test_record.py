"""RECORD: what is wrong with one, and what is written, against `installer` (pip and uv: test_installers.py)."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from typing import TYPE_CHECKING, Final

import pytest
from installer.records import RecordEntry, parse_record_file
from installer.sources import WheelFile

from builders import DEMO, SYSROOTS, TESTDATA, csv_text, record_row, wheel_members, zip_bytes
from musl_repair.errors import RefusedError
from musl_repair.findings import Severity, errors_in
from musl_repair.options import Options
from musl_repair.record import Row, list_faults, new_record, new_row, read_record, row_fault
from musl_repair.repair import Tools, check_wheel, repair_wheel
from musl_repair.sysroot import Sysroot

if TYPE_CHECKING:
    from pathlib import Path

    from musl_repair.findings import Finding

INFO: Final = "demo-1.0.dist-info"
RECORD: Final = f"{INFO}/RECORD"
EXT: Final = "demo/_ext.so"
FILES: Final = {
    "demo/__init__.py": b"x = 1\n",
    "demo/a name, with comma.txt": b"text",
    "demo/ünï.txt": b"unicode",
    EXT: (TESTDATA / "x86_64" / "libleaf.so.1").read_bytes(),
}
DONE: Final = "demo-1.0-cp310-abi3-musllinux_1_2_x86_64.whl"
MEMBERS: Final = wheel_members(FILES, DONE)
"""Under the name DONE there is nothing to do but for RECORD; under DEMO there is another tag to be given."""
ROWS: Final = [record_row(name, content) for name, content in MEMBERS.items() if name != RECORD]
OWN: Final = (RECORD, "", "")


def text_of(*rows: tuple[str, ...]) -> bytes:
    return csv_text(rows).encode()


def with_row(name: str, digest: str, size: str | None = None) -> bytes:
    """Return a RECORD in which one file has another hash, and another size."""
    changed = [(row[0], digest, row[2] if size is None else size) if row[0] == name else row for row in ROWS]
    return text_of(*changed, OWN)


def sha256(name: str) -> bytes:
    return hashlib.sha256(MEMBERS[name]).digest()


INIT: Final = "demo/__init__.py"
PLAIN: Final = base64.urlsafe_b64encode(sha256(INIT)).decode().rstrip("=")

MD5: Final = hashlib.md5(MEMBERS[INIT], usedforsecurity=False).digest()

UNCONFIRMED: Final = {
    "no hash": with_row(INIT, "", ""),
    "a size and no hash": with_row(INIT, ""),
    "no hash of an ELF file": with_row(EXT, "", ""),
    "a hash as Python 2's bytes were printed": with_row(INIT, f"sha256=b'{PLAIN}'"),
    "a hash in ordinary base64": with_row(INIT, "sha256=ab+/" + PLAIN[4:]),
    "a hash in hexadecimal": with_row(INIT, f"sha256={sha256(INIT).hex()}"),
    "a true but weak hash": with_row(INIT, f"md5={base64.b64encode(MD5).decode()}"),
    "a hash by no algorithm": with_row(INIT, "sha257=" + PLAIN),
    "an algorithm in capitals": with_row(INIT, "SHA256=" + PLAIN),
    "another hash": with_row(INIT, "sha256=" + "A" * 43),
    "another hash of an ELF file": with_row(EXT, "sha256=" + PLAIN),
    "another size": with_row(INIT, "sha256=" + PLAIN, "7"),
    "a size that is no number": with_row(INIT, "sha256=" + PLAIN, "6 bytes"),
    "two rows, the first of them false": text_of((INIT, "sha256=" + "A" * 43, "6"), *ROWS, OWN),
    "two rows, the second of them false": text_of(*ROWS, (INIT, "sha256=" + "A" * 43, "6"), OWN),
    "a file that is not there": text_of(*ROWS, record_row("demo/gone.py", b""), OWN),
    "a climbing path": text_of(*ROWS, record_row("../gone.py", b""), OWN),
    "a row of two fields": text_of(*ROWS, ("demo", ""), OWN),
    "a row of four fields": text_of(*ROWS, ("demo", "", "", ""), OWN),
    "a line of spaces": text_of(*ROWS, ("  ",), OWN),
    "no path": text_of(*ROWS, ("", "", ""), OWN),
    "tabs": text_of(*ROWS, OWN).replace(b",", b"\t"),
    "an open quote": b'"demo/x,,\n' + text_of(*ROWS, OWN),
    "a byte-order mark": b"\xef\xbb\xbf" + text_of(*ROWS, OWN),
    "what is not UTF-8": text_of(*ROWS, OWN) + b"demo/\xff,,\n",
    "an enormous field": text_of(*ROWS, OWN) + b"x" * 200_000 + b",,\n",
}
"""RECORDs that do not confirm what all files are, or that were made for others."""

MISSHAPEN: Final = {
    "padding": with_row(INIT, f"sha256={PLAIN}="),
    "padding of an ELF file's hash": with_row(EXT, "sha256=" + base64.urlsafe_b64encode(sha256(EXT)).decode()),
    "a row of a folder": text_of(("demo/", "", ""), *ROWS, OWN),
    "a row of a folder without its slash": text_of(("demo", "", ""), *ROWS, OWN),
    "the same row twice": text_of(*ROWS, *ROWS, OWN),
    "its own row twice": text_of(OWN, *ROWS, OWN),
    "blank lines": text_of(*ROWS, OWN).replace(b"\n", b"\n\n"),
    "a hash of itself": text_of(*ROWS, (RECORD, "sha256=" + PLAIN, "7")),
    "no row of itself": text_of(*ROWS),
    "no row of a file": text_of(*(row for row in ROWS if row[0] != INIT), OWN),
    "no row of an ELF file": text_of(*(row for row in ROWS if row[0] != EXT), OWN),
    "no row at all": b"",
}
"""RECORDs that say nothing false of any file."""

GOOD: Final = {
    "the truth": text_of(*ROWS, OWN),
    "Windows' line ends": text_of(*ROWS, OWN).replace(b"\n", b"\r\n"),
    "an old Mac's line ends": text_of(*ROWS, OWN).replace(b"\n", b"\r"),
    "itself first": text_of(OWN, *ROWS),
    "no size": with_row(INIT, f"sha256={PLAIN}", ""),
    "a SHA-512": with_row(
        INIT, "sha512=" + base64.urlsafe_b64encode(hashlib.sha512(b"x = 1\n").digest()).decode().rstrip("=")
    ),
}


def wheel_of(folder: Path, record: bytes, name: str = DEMO) -> Path:
    """Write the wheel with this RECORD."""
    path = folder / name
    path.write_bytes(zip_bytes({**MEMBERS, RECORD: record}))
    return path


def repaired(wheel: Path, *, verify: bool) -> tuple[Path, tuple[Finding, ...]]:
    options = Options(verify_input=verify)
    done = repair_wheel(wheel, wheel.parent / "out", Sysroot(SYSROOTS / "x86_64"), options, Tools())
    assert done.output is not None
    return done.output, done.plan.findings


def assert_record_is_of_all_files(wheel: Path) -> None:
    """See that RECORD has exactly the files, as `installer` wants them, and in the order of the archive."""
    with WheelFile.open(wheel) as source:
        source.validate_record()
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        text = archive.read(RECORD).decode()
        expected = [record_row(name, archive.read(name)) for name in names[:-1]]
    assert text == csv_text([*expected, OWN])


@pytest.mark.parametrize("record", UNCONFIRMED.values(), ids=list(UNCONFIRMED))
def test_refused_with_the_option_that_helps_is_a_record_with(record: bytes, tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path, record)
    with pytest.raises(RefusedError) as caught:
        repaired(wheel, verify=True)
    errors = errors_in(caught.value.findings)
    assert {found.code for found in errors} == {"record-mismatch"}
    assert all("--no-verify-input" in found.remedy for found in errors)
    assert list(tmp_path.iterdir()) == [wheel]
    done = wheel.rename(tmp_path / DONE)
    assert {found.code for found in errors_in(check_wheel(done).findings)} == {"record-mismatch"}


@pytest.mark.parametrize("record", UNCONFIRMED.values(), ids=list(UNCONFIRMED))
def test_written_anew_if_nobody_is_to_believe_it_is_a_record_with(record: bytes, tmp_path: Path) -> None:
    output, findings = repaired(wheel_of(tmp_path, record), verify=False)
    assert_record_is_of_all_files(output)
    assert {(found.code, found.severity) for found in findings} == {("record-mismatch", Severity.NOTE)}


@pytest.mark.parametrize("verify", [True, False], ids=["verified", "not verified"])
@pytest.mark.parametrize("record", MISSHAPEN.values(), ids=list(MISSHAPEN))
def test_written_anew_is_a_record_with(record: bytes, tmp_path: Path, *, verify: bool) -> None:
    output, findings = repaired(wheel_of(tmp_path, record), verify=verify)
    assert_record_is_of_all_files(output)
    assert {(found.code, found.severity) for found in findings} == {("record-mismatch", Severity.NOTE)}


@pytest.mark.parametrize("record", MISSHAPEN.values(), ids=list(MISSHAPEN))
def test_written_anew_though_nothing_else_is_to_do_is_a_record_with(record: bytes, tmp_path: Path) -> None:
    output, _ = repaired(wheel_of(tmp_path, record, DONE), verify=True)
    assert_record_is_of_all_files(output)


@pytest.mark.parametrize("record", GOOD.values(), ids=list(GOOD))
def test_nothing_is_said_of_a_record_with(record: bytes, tmp_path: Path) -> None:
    output, findings = repaired(wheel_of(tmp_path, record), verify=True)
    assert_record_is_of_all_files(output)
    assert findings == ()
    done = wheel_of(tmp_path, record, DONE)
    output, _ = repaired(done, verify=True)
    assert output.read_bytes() == done.read_bytes()


@pytest.mark.parametrize("record", [*GOOD.values(), *MISSHAPEN.values()], ids=[*GOOD, *MISSHAPEN])
def test_installer_finds_fault_with_a_record_only_where_we_do(record: bytes, tmp_path: Path) -> None:
    """Not the reverse: installer lets folders and rows that are there twice pass."""
    wheel = wheel_of(tmp_path, record, DONE)
    with WheelFile.open(wheel) as source:
        try:
            source.validate_record()
            faulty = False
        except source.validation_error as error:
            faulty = "hash / size of demo/__init__.py is not included" not in str(error)  # no size, which may be absent
    found = [one for one in check_wheel(wheel).findings if one.code == "record-mismatch"]
    assert bool(found) >= faulty


def test_a_pure_wheel_that_is_let_through_gets_a_true_record_too(tmp_path: Path) -> None:
    members = wheel_members({INIT: b"x = 1\n"}, "demo-1.0-py3-none-any.whl")
    wheel = tmp_path / "demo-1.0-py3-none-any.whl"
    wheel.write_bytes(zip_bytes({**members, RECORD: b""}))
    options = Options(allow_pure=True, verify_input=False)
    output = repair_wheel(wheel, tmp_path / "out", Sysroot(SYSROOTS / "x86_64"), options, Tools()).output
    assert output is not None
    with WheelFile.open(output) as source:
        source.validate_record()


# Rows


@pytest.mark.parametrize("content", [b"", b"x" * 1000, bytes(range(256))], ids=["empty", "long", "binary"])
def test_installer_accepts_the_row_of(content: bytes) -> None:
    row = new_row("demo/file", hashlib.sha256(content).hexdigest(), len(content))
    assert row == record_row("demo/file", content)
    entry = RecordEntry.from_elements(*row)
    assert (entry.path, entry.size) == ("demo/file", len(content))
    assert entry.validate_stream(io.BytesIO(content))
    assert not entry.validate_stream(io.BytesIO(content + b"!"))


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512", "blake2b", "sha3_256"])
def test_a_strong_hash_has_no_fault(algorithm: str) -> None:
    digest = hashlib.new(algorithm, b"content", usedforsecurity=False).digest()
    value = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert row_fault(Row("demo/file", f"{algorithm}={value}", "7"), digest, 7) is None


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "shake_128", "shake_256", "crc32", "", "SHA256 ", "sha256\0"])
def test_a_weak_or_unknown_hash_is_a_fault(algorithm: str) -> None:
    fault = row_fault(Row("demo/file", f"{algorithm}=abc", "7"), b"", 7)
    assert fault is not None
    assert fault.fault == f"RECORD has a hash of kind {algorithm!r}, which wheels may not use"


ODD: Final = ['with "quotes".txt', "with,comma.txt", "ünï.txt", "with space.txt", " ", '"']


def test_csv_and_installer_read_the_rows_that_are_written() -> None:
    rows = [Row(f"demo/{name}", "sha256=a", "1") for name in ODD]
    text = new_record(RECORD, rows).decode()
    expected = [tuple(row) for row in rows] + [OWN]
    assert list(parse_record_file(text.splitlines())) == expected
    assert [tuple(row) for row in csv.reader(io.StringIO(text))] == expected
    assert [tuple(row) for row in read_record(RECORD, text.encode()).rows.values()] == expected


def test_lines_that_are_none_are_one_fault_and_rows_that_are_doubled_one_for_each_file() -> None:
    record = read_record(RECORD, b"x\n" * 1000 + b"a,sha256=x,1\n" * 1000 + b"b,,\nb,sha256=y,1\n" * 2 + b"\n" * 1000)
    assert [(fault.member, fault.fault) for fault in record.faults] == [
        (RECORD, "its line 1 is not path,hash,size, nor are 999 others"),
        (RECORD, "it has blank lines"),
        ("a", "RECORD lists it twice"),
        ("b", "RECORD lists it twice, with another hash or size"),
    ]


def test_a_record_of_many_rows_that_are_nowhere_is_read_at_once() -> None:
    """As fast as sorting: the folders of a name of 32,000 parts are not looked at one by one."""
    members = ["a/" * 32_000 + "file", *(f"demo/{number}" for number in range(20_000))]
    rows = {path: Row(path, "", "") for path in (f"gone/{number}" for number in range(20_000))}
    faults = list(list_faults(read_record(RECORD, b"")._replace(rows=rows), dict.fromkeys(members), RECORD, ()))
    assert len(faults) == 40_001
