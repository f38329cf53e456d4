"""The wheel's own rules, against `packaging` and `installer`."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

import pytest
from installer.records import RecordEntry, parse_record_file
from installer.sources import WheelFile
from packaging.tags import parse_tag
from packaging.utils import parse_wheel_filename

from builders import ARCHITECTURES, DEMO, TESTDATA, csv_text, record_row, wheel_members, write_wheel, zip_bytes
from musl_repair import wheel as rules
from musl_repair.archive import Archive
from musl_repair.errors import WheelError
from musl_repair.overlay import make_fresh, write_archive
from musl_repair.wheel import MOUNT, Row, Wheel, WheelName, install_path, new_record, parse_name, read_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

INFO: Final = "demo-1.0.dist-info"
NAMES: Final = (
    DEMO,
    "demo-1.0-1-cp312-cp312-linux_x86_64.whl",
    "demo-1.0-2build-cp312-cp312-linux_x86_64.whl",
    "Demo_Pkg-1.0.post1-py2.py3-none-any.whl",
    "demo-1!2.0a1+local.7-cp39.cp310-abi3-musllinux_1_1_x86_64.musllinux_1_2_x86_64.whl",
    "demo.pkg-1.0-3-cp310.cp311-cp310.abi3-linux_x86_64.linux_i686.whl",
    "ünïcode-1.0-py3-none-any.whl",
)


def read(path: Path) -> Wheel:
    with Archive(path) as archive:
        return read_wheel(path.name, archive)


# Names


@pytest.mark.parametrize("filename", NAMES)
def test_packaging_reads_the_same_in(filename: str) -> None:
    name = parse_name(filename)
    _, version, build, tags = parse_wheel_filename(filename)
    assert filename == str(name)
    assert str(version) == name.version
    assert "".join(map(str, build)) == name.build
    assert {str(tag) for tag in tags} == set(name.tags())
    assert len(tags) == len(name.tags())


def test_a_name_is_in_parts_as_they_were_spelled() -> None:
    expected = WheelName("Demo_Pkg", "1.0", "7x", "cp39.cp310", "abi3", "linux_x86_64.linux_i686")
    assert expected == parse_name("Demo_Pkg-1.0-7x-cp39.cp310-abi3-linux_x86_64.linux_i686.whl")
    assert expected.platforms == ("linux_x86_64", "linux_i686")


def test_tags_are_in_the_order_of_the_name() -> None:
    assert parse_name("d-1-cp312.cp311-abi3-linux_i686.any.whl").tags() == (
        "cp312-abi3-linux_i686",
        "cp312-abi3-any",
        "cp311-abi3-linux_i686",
        "cp311-abi3-any",
    )


@pytest.mark.parametrize(
    "filename",
    [
        "demo-1.0.tar.gz",
        "demo.whl",
        "demo-1.0-cp312-cp312.whl",
        "demo-1.0-1-2-cp312-cp312-any.whl",
        "demo-one-cp312-cp312-any.whl",
        "demo-1.0-x1-cp312-cp312-any.whl",
        "de mo-1.0-cp312-cp312-any.whl",
        "demo__x-1.0-cp312-cp312-any.whl",
        "../demo-1.0-cp312-cp312-any.whl",
        "demo-1.0-cp312-cp312-linux/x86_64.whl",
        "demo-1.0-cp312-cp312-.whl",
        "",
    ],
)
def test_what_is_no_wheel_name_is_refused(filename: str) -> None:
    with pytest.raises(WheelError, match="is not the name of a wheel"):
        parse_name(filename)


# dist-info


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_installer_reads_the_same_in_the_demo_wheel_of(arch: str) -> None:
    path = TESTDATA / "wheels" / f"demo-1.0-cp310-abi3-linux_{arch}.whl"
    wheel = read(path)
    with WheelFile.open(path) as expected:
        assert expected.dist_info_dir == wheel.dist_info
        assert expected.data_dir == wheel.data
        assert expected.read_dist_info("WHEEL") == wheel.metadata
        rows = parse_record_file(expected.read_dist_info("RECORD").splitlines())
        assert list(rows) == [tuple(row) for row in wheel.record]


def test_the_names_of_what_is_in_dist_info() -> None:
    wheel = Wheel(parse_name(DEMO), INFO, "", ())
    assert wheel.record_name == "demo-1.0.dist-info/RECORD"
    assert wheel.signatures == ("demo-1.0.dist-info/RECORD.jws", "demo-1.0.dist-info/RECORD.p7s")
    assert wheel.data == "demo-1.0.data"


def test_fields_of_the_wheel_file_are_found_in_any_case_and_in_order() -> None:
    text = "Wheel-Version: 1.0\nTAG: a-b-c\nGenerator:  one two \ntag: d-e-f\n"
    wheel = Wheel(parse_name(DEMO), INFO, text, ())
    assert wheel.field("Tag") == ("a-b-c", "d-e-f")
    assert wheel.field("generator") == ("one two",)
    assert wheel.field("Build") == ()


@pytest.mark.parametrize(
    ("filename", "folder"),
    [
        ("demo_pkg-1.0-py3-none-any.whl", "Demo.Pkg-1.0"),
        ("Demo_Pkg-1.0-py3-none-any.whl", "demo_pkg-1.0.0"),
        ("demo-1.0.0-py3-none-any.whl", "demo-1.0"),
    ],
    ids=["another spelling of the name", "and of the version", "a shorter version"],
)
def test_a_dist_info_folder_may_be_spelled_otherwise(filename: str, folder: str, tmp_path: Path) -> None:
    spelled = filename.partition("-py3")[0]
    members = wheel_members({"demo.py": b""}, filename)
    path = tmp_path / filename
    renamed = {name.replace(f"{spelled}.dist-info", f"{folder}.dist-info"): data for name, data in members.items()}
    path.write_bytes(zip_bytes(renamed))
    assert read(path).dist_info == f"{folder}.dist-info"


WRONG_MEMBERS: Final[Mapping[str, tuple[dict[str, bytes | None], str]]] = {
    "no dist-info": ({f"{INFO}/{file}": None for file in ("WHEEL", "METADATA", "RECORD")}, "this one has none"),
    "two dist-infos": ({"other-1.0.dist-info/WHEEL": b""}, f"has {INFO} and other-1.0.dist-info"),
    "no WHEEL": ({f"{INFO}/WHEEL": None}, "has no demo-1.0.dist-info/WHEEL"),
    "no METADATA": ({f"{INFO}/METADATA": None}, "has no demo-1.0.dist-info/METADATA"),
    "no RECORD": ({f"{INFO}/RECORD": None}, "has no demo-1.0.dist-info/RECORD"),
    "a WHEEL that is not UTF-8": ({f"{INFO}/WHEEL": b"Wheel-Version: 1.0\nGenerator: \xff\n"}, "WHEEL is not UTF-8"),
    "a METADATA that is not UTF-8": ({f"{INFO}/METADATA": b"Name: d\xe9mo\n"}, "METADATA is not UTF-8"),
    "a RECORD that is not UTF-8": ({f"{INFO}/RECORD": b"d\xe9mo.py,,\n"}, "RECORD is not UTF-8"),
    "a line of RECORD with two fields": ({f"{INFO}/RECORD": b"demo.py,sha256=x\n"}, "not path,hash,size"),
    "a line of RECORD with four fields": ({f"{INFO}/RECORD": b"demo.py,sha256=x,1,2\n"}, "not path,hash,size"),
    "no version of the format": ({f"{INFO}/WHEEL": b"Generator: tests\n"}, "Wheel-Version missing is not 1.x"),
    "version 2 of the format": ({f"{INFO}/WHEEL": b"Wheel-Version: 2.0\n"}, "Wheel-Version 2.0 is not 1.x"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG_MEMBERS.values(), ids=list(WRONG_MEMBERS))
def test_a_wheel_is_refused_that_has(changes: dict[str, bytes | None], message: str, tmp_path: Path) -> None:
    members = {**wheel_members({"demo.py": b""}), **changes}
    path = tmp_path / DEMO
    path.write_bytes(zip_bytes({name: content for name, content in members.items() if content is not None}))
    with pytest.raises(WheelError) as caught:
        read(path)
    assert message in str(caught.value)
    assert "demo-1.0" in str(caught.value) or "RECORD" in str(caught.value)


@pytest.mark.parametrize(
    "filename",
    ["other-1.0-cp310-abi3-linux_x86_64.whl", "demo-1.1-cp310-abi3-linux_x86_64.whl"],
    ids=["name", "version"],
)
def test_a_dist_info_folder_of_another_is_refused(filename: str, tmp_path: Path) -> None:
    path = tmp_path / filename
    path.write_bytes(zip_bytes(wheel_members({"demo.py": b""}, DEMO)))
    with pytest.raises(WheelError, match=f"{INFO} is that of another project or version"):
        read(path)


def test_a_version_1_9_of_the_format_is_read(tmp_path: Path) -> None:
    """The format: a minor version that is newer is to be read."""
    path = write_wheel(tmp_path, {f"{INFO}/WHEEL": b"Wheel-Version: 1.9\n"})
    assert read(path).field("Wheel-Version") == ("1.9",)


# Tags in the WHEEL file


@pytest.mark.parametrize("filename", NAMES)
def test_packaging_expands_the_tags_of_a_retagged_wheel_file_as_those_of(filename: str) -> None:
    old = (
        "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: false\nTag: cp39-cp39-linux_x86_64\nTag: py3-none-any\n"
    )
    name = parse_name(filename)
    new = Wheel(name, INFO, rules.retagged_metadata(old, name), ())
    assert parse_tag("-".join(filename.removesuffix(".whl").split("-")[-3:])) == {
        tag for line in new.field("Tag") for tag in parse_tag(line)
    }
    assert [new.field(key) for key in ("Wheel-Version", "Generator", "Root-Is-Purelib")] == [
        ("1.0",),
        ("tests",),
        ("false",),
    ]
    assert new.field("Build") == ((name.build,) if name.build else ())


def test_tags_take_the_place_of_the_old_ones() -> None:
    old = "Wheel-Version: 1.0\r\nTag: a-b-c\r\ntag: d-e-f\r\nBuild: 1\r\nExtra: kept\r\n"
    new = rules.retagged_metadata(old, parse_name("demo-1.0-1-cp312-cp312-any.whl"))
    assert new == "Wheel-Version: 1.0\nTag: cp312-cp312-any\nBuild: 1\nExtra: kept\n"


def test_a_wheel_file_without_tags_gets_them_at_its_end() -> None:
    new = rules.retagged_metadata("Wheel-Version: 1.0\n\n", parse_name("demo-1.0-py3-none-any.whl"))
    assert new == "Wheel-Version: 1.0\nTag: py3-none-any\n"


@pytest.mark.parametrize("filename", NAMES)
def test_retagging_twice_is_retagging_once(filename: str) -> None:
    name = parse_name(filename)
    once = rules.retagged_metadata("Wheel-Version: 1.0\nTag: x-y-z\n", name)
    assert once == rules.retagged_metadata(once, name)


# RECORD


@pytest.mark.parametrize("content", [b"", b"x" * 1000, bytes(range(256))], ids=["empty", "long", "binary"])
def test_installer_accepts_the_row_of(content: bytes) -> None:
    row = rules.record_row("demo/file", content)
    entry = RecordEntry.from_elements(*row)
    assert (entry.path, entry.size) == ("demo/file", len(content))
    assert entry.validate_stream(io.BytesIO(content))
    assert not entry.validate_stream(io.BytesIO(content + b"!"))


def hashed(algorithm: str, content: bytes = b"content") -> Row:
    digest = hashlib.new(algorithm, content, usedforsecurity=False).digest()
    return Row("demo/file", f"{algorithm}={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}", str(len(content)))


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512", "blake2b", "sha3_256"])
def test_a_strong_hash_has_no_fault(algorithm: str) -> None:
    assert rules.hash_fault(hashed(algorithm)) is None


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "shake_128", "shake_256", "crc32", "", "SHA256 ", "sha256\0"])
def test_a_weak_or_unknown_hash_is_a_fault(algorithm: str) -> None:
    fault = rules.hash_fault(Row("demo/file", f"{algorithm}=abc", "7"))
    assert fault == f"RECORD has a hash of kind {algorithm!r}, which wheels may not use"


def test_a_row_without_hash_is_a_fault() -> None:
    assert rules.hash_fault(Row("demo/file", "", "")) == "RECORD has no hash for it"


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("7", None),
        ("", None),
        ("8", "RECORD says 8 bytes, the file has 7"),
        ("x", "RECORD says x bytes, the file has 7"),
    ],
    ids=["true", "left out", "false", "no number"],
)
def test_a_size_is_compared_where_there_is_one(size: str, expected: str | None) -> None:
    assert expected == rules.size_fault(Row("demo/file", "sha256=abc", size), 7)


ODD: Final = {
    'demo/with "quotes".txt': b"quotes",
    "demo/with,comma.txt": b"comma",
    "demo/ünï.txt": b"unicode",
    "demo/with space.txt": b"space",
    "demo/old.txt": b"old",
    "demo/gone.txt": b"gone",
}


def test_installer_accepts_a_wheel_whose_record_was_rewritten(tmp_path: Path) -> None:
    """One file changed, one dropped, two added; names that csv has to quote among those that stay."""
    path = write_wheel(tmp_path, {**ODD, f"{INFO}/RECORD.jws": b"{}"})
    changed = {"demo/old.txt": b"new", "demo/b-added.so": b"\x7fELF", "demo/a,added.so": b"\x7fELF2"}
    with Archive(path) as archive:
        wheel = read_wheel(path.name, archive)
        dropped = {"demo/gone.txt", *wheel.signatures}
        kept = [name for name in archive.members if name not in {*changed, *dropped, wheel.record_name}]
        text = new_record(wheel, kept, {name: rules.record_row(name, content) for name, content in changed.items()})
        fresh = {**changed, wheel.record_name: text.encode()}
        entries = [make_fresh(name, data, mode=0o100644, date=(2026, 1, 1, 0, 0, 0)) for name, data in fresh.items()]
        new = tmp_path / "new" / DEMO
        new.parent.mkdir()
        with new.open("wb") as out:
            write_archive(out, archive, [*(archive.members[name] for name in kept), *entries])
    with WheelFile.open(new) as read_again:
        read_again.validate_record(validate_contents=True)
    with zipfile.ZipFile(new) as archive_again:
        files = set(archive_again.namelist())
    rows = list(csv.reader(io.StringIO(text)))
    assert files == {path for path, _, _ in rows}
    assert [rows[-1][0], rows[-3][0], rows[-2][0]] == [f"{INFO}/RECORD", "demo/a,added.so", "demo/b-added.so"]


def test_rows_keep_their_order_and_record_itself_is_last() -> None:
    rows = [
        Row("z", "sha256=z", "1"),
        Row(f"{INFO}/RECORD", "", ""),
        Row("a", "sha512=a", "2"),
        Row("m", "sha256=m", ""),
    ]
    wheel = Wheel(parse_name(DEMO), INFO, "", tuple(rows))
    text = new_record(wheel, ["z", "a", "m", f"{INFO}/RECORD"], {"a": Row("a", "sha256=new", "3")})
    assert text == f"z,sha256=z,1\na,sha256=new,3\nm,sha256=m,\n{INFO}/RECORD,,\n"


def test_a_record_with_windows_line_ends_and_blank_lines_is_read(tmp_path: Path) -> None:
    members = wheel_members({"demo.py": b"pass\n"})
    text = members[f"{INFO}/RECORD"].decode().replace("\n", "\r\n\r\n")
    path = write_wheel(tmp_path, {"demo.py": b"pass\n", f"{INFO}/RECORD": text.encode()})
    assert read(path).record[-2:] == (Row(*record_row("demo.py", b"pass\n")), Row(f"{INFO}/RECORD", "", ""))


def test_installer_parses_rows_as_we_do(tmp_path: Path) -> None:
    text = csv_text([*(record_row(name, content) for name, content in ODD.items()), (f"{INFO}/RECORD", "", "")])
    path = write_wheel(tmp_path, {**ODD, f"{INFO}/RECORD": text.encode()})
    assert list(parse_record_file(text.splitlines())) == [tuple(row) for row in read(path).record]


# Where members are installed


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("demo/_ext.so", MOUNT / "demo/_ext.so"),
        ("top.so", MOUNT / "top.so"),
        ("demo-1.0.data/platlib/demo/_ext.so", MOUNT / "demo/_ext.so"),
        ("demo-1.0.data/purelib/demo/_ext.so", MOUNT / "demo/_ext.so"),
        ("demo-1.0.data/scripts/tool", PurePosixPath("/<scripts>/tool")),
        ("demo-1.0.data/data/lib/libx.so", PurePosixPath("/<data>/lib/libx.so")),
        ("demo-1.0.data/headers/demo.h", PurePosixPath("/<headers>/demo.h")),
        ("demo-1.0.dist-info/RECORD", MOUNT / "demo-1.0.dist-info/RECORD"),
        ("demo-1.0.data", MOUNT / "demo-1.0.data"),
        ("demo-1.0.data2/platlib/x.so", MOUNT / "demo-1.0.data2/platlib/x.so"),
        ("other-1.0.data/platlib/x.so", MOUNT / "other-1.0.data/platlib/x.so"),
        ("demo/demo-1.0.data/platlib/x.so", MOUNT / "demo/demo-1.0.data/platlib/x.so"),
    ],
)
def test_a_member_is_installed(member: str, expected: PurePosixPath) -> None:
    assert expected == install_path("demo-1.0.data", member)
