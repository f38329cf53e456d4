"""The wheel's own rules, against `packaging` and `installer`."""

from __future__ import annotations

from email import message_from_string
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

import pytest
from installer.records import parse_record_file
from installer.sources import WheelFile
from packaging.tags import parse_tag
from packaging.utils import parse_wheel_filename

from builders import ARCHITECTURES, DEMO, TESTDATA, wheel_members, write_wheel, zip_bytes
from musl_repair.archive import Archive
from musl_repair.errors import WheelError
from musl_repair.metadata import read_headers
from musl_repair.record import Record
from musl_repair.wheel import MOUNT, Wheel, WheelName, expanded, new_wheel_file, parse_name, read_wheel

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
        assert expected.read_dist_info("WHEEL") == wheel.headers.text
        rows = parse_record_file(expected.read_dist_info("RECORD").splitlines())
        assert list(rows) == [tuple(row) for row in wheel.record.rows.values()]


def test_the_names_of_what_is_in_dist_info() -> None:
    wheel = wheel_with("")
    assert wheel.record_name == "demo-1.0.dist-info/RECORD"
    assert wheel.signatures == ("demo-1.0.dist-info/RECORD.jws", "demo-1.0.dist-info/RECORD.p7s")
    assert wheel.data == "demo-1.0.data"


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
    assert read(path).headers.values("Wheel-Version") == ("1.9",)


# The WHEEL file of a new wheel


def wheel_with(text: str, filename: str = DEMO) -> Wheel:
    return Wheel(parse_name(filename), INFO, read_headers(text), Record({}, ()))


def renewed(text: str, filename: str, *, platlib: bool = False) -> str:
    return new_wheel_file(wheel_with(text), parse_name(filename), platlib=platlib).text


OLD: Final = (
    "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: false\nTag: cp39-cp39-linux_x86_64\nTag: py3-none-any\n"
)


@pytest.mark.parametrize("filename", NAMES)
def test_packaging_expands_the_tags_of_a_retagged_wheel_file_as_those_of(filename: str) -> None:
    new = read_headers(renewed(OLD, filename))
    assert parse_tag("-".join(filename.removesuffix(".whl").split("-")[-3:])) == {
        tag for line in new.values("Tag") for tag in parse_tag(line)
    }
    assert [new.values(key) for key in ("Wheel-Version", "Generator", "Root-Is-Purelib")] == [
        ("1.0",),
        ("tests",),
        ("false",),
    ]
    build = parse_name(filename).build
    assert new.values("Build") == ((build,) if build else ())


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_tags_take_the_place_of_the_old_ones_and_all_else_stays(end: str) -> None:
    old = end.join(["Wheel-Version: 1.0", "Tag: a-b-c", "tag: d-e-f", "Build: 1", "X-Extra:  kept ", "", ""])
    new = renewed(old, "demo-1.0-1-cp312-cp312-any.whl")
    assert new == end.join(["Wheel-Version: 1.0", "Tag: cp312-cp312-any", "Build: 1", "X-Extra:  kept ", "", ""])


@pytest.mark.parametrize("text", ["Wheel-Version: 1.0", "Wheel-Version: 1.0\n", "Wheel-Version: 1.0\n\n"])
def test_a_wheel_file_without_tags_gets_them_behind_the_other_fields(text: str) -> None:
    assert renewed(text, "demo-1.0-py3-none-any.whl").rstrip("\n") == "Wheel-Version: 1.0\nTag: py3-none-any"


def test_the_build_number_is_that_of_the_name() -> None:
    assert read_headers(renewed(OLD + "Build: 7\n", "demo-1.0-2-py3-none-any.whl")).values("Build") == ("2",)
    assert read_headers(renewed(OLD + "Build: 7\n", "demo-1.0-py3-none-any.whl")).values("Build") == ()


@pytest.mark.parametrize("filename", NAMES)
def test_a_new_wheel_file_stays_as_it_is(filename: str) -> None:
    once = renewed("Wheel-Version: 1.0\nTag: x-y-z\n", filename)
    assert once == new_wheel_file(wheel_with(once, filename), parse_name(filename), platlib=True).text


@pytest.mark.parametrize(
    ("lines", "platlib", "expected"),
    [
        (["Root-Is-Purelib: true"], True, ["Root-Is-Purelib: false"]),
        (["root-is-purelib: True", "Root-Is-Purelib: false"], True, ["Root-Is-Purelib: false"]),
        (["Root-Is-Purelib: true"], False, ["Root-Is-Purelib: true"]),
        (["Root-Is-Purelib: false", "Root-Is-Purelib: true"], False, ["Root-Is-Purelib: false"]),
        (["Root-Is-Purelib: false"], True, ["Root-Is-Purelib: false"]),
        ([], True, []),
    ],
)
def test_one_line_says_whether_the_root_is_pure(lines: list[str], expected: list[str], *, platlib: bool) -> None:
    """As pip reads it: the first line counts, in any case, and none means that it is not."""
    pips = pytest.importorskip("pip._internal.operations.install.wheel", reason="there is no pip to ask")
    old = "\n".join(["Wheel-Version: 1.0", *lines, "Tag: cp310-abi3-linux_x86_64", ""])
    new = new_wheel_file(wheel_with(old), parse_name(DEMO), platlib=platlib)
    assert new.text == "\n".join(["Wheel-Version: 1.0", *expected, "Tag: cp310-abi3-linux_x86_64", ""])
    was_pure = pips.wheel_root_is_purelib(message_from_string(old))
    assert new.leaves_purelib == (was_pure and platlib)
    assert pips.wheel_root_is_purelib(message_from_string(new.text)) == (was_pure and not platlib)


def test_fields_of_the_format_come_to_stand_on_one_line_each_by_their_own_names() -> None:
    """Installer takes a folded Wheel-Version for another version, and uv finds no wheel-version."""
    old = "wheel-version:\n 1.0\nX-Other:\n folded\nRoot-Is-Purelib:\n true\ntag:\n\tpy3-none-any\nbuild: 1\n"
    new = renewed(old, "demo-1.0-1-py3-none-any.whl")
    assert new == "Wheel-Version: 1.0\nX-Other:\n folded\nRoot-Is-Purelib: true\nTag: py3-none-any\nBuild: 1\n"


@pytest.mark.parametrize(
    ("tags", "expands", "corrects"),
    [
        (["Tag: py2-none-any", "Tag: py3-none-any"], False, False),
        (["Tag: py3-none-any", "Tag: py2-none-any"], False, False),
        (["Tag: py2.py3-none-any"], True, False),
        (["Tag:", " py2.py3-none-any"], True, False),
        (["Tag: py2.py3-none-any", "Tag: py3-none-any"], True, False),
        (["Tag: py3-none-any"], False, True),
        ([], False, True),
    ],
)
def test_what_becomes_of_the_tags_is_told(tags: list[str], *, expands: bool, corrects: bool) -> None:
    filename = "demo-1.0-py2.py3-none-any.whl"
    wheel = wheel_with("\n".join(["Wheel-Version: 1.0", *tags, ""]), filename)
    new = new_wheel_file(wheel, wheel.name, platlib=False)
    assert (new.expands, new.corrects) == (expands, corrects)
    assert sorted(read_headers(new.text).values("Tag")) == ["py2-none-any", "py3-none-any"]


@pytest.mark.parametrize(
    "tag", ["py2.py3-none-any", "cp310-abi3-musllinux_1_2_x86_64.manylinux2014_x86_64", "a.b-c.d-e.f"]
)
def test_packaging_expands_a_compressed_set_as_we_do(tag: str) -> None:
    assert set(map(str, parse_tag(tag))) == set(expanded(tag))


def test_what_is_no_set_of_tags_is_not_expanded() -> None:
    assert list(expanded("none")) == ["none"]
    enormous = "-".join([".".join("ab" * 5000)] * 3)
    assert list(expanded(enormous)) == [enormous]
    large = "-".join([".".join("ab" * 8)] * 3)
    assert len(wheel_with(f"Tag: {large}\n" * 10_000).tags) < 20_000


# The .data folder


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (["demo-1.0.data/scripts/tool"], ()),
        (["demo-1.0-1.data/scripts/tool", "demo-1.0.data/data/x"], ("demo-1.0-1.data",)),
        (["Demo-1.0.data/purelib/x.py", "other.data/headers/x.h"], ("Demo-1.0.data", "other.data")),
        (["other.data/scripts/tool", "other.data/bin/tool"], ()),
        (["other.data/tool"], ()),
        (["other.data/scripts/"], ()),
        (["demo-1.0.DATA/scripts/tool", "demo/demo.data/scripts/tool"], ()),
    ],
    ids=[
        "the right name",
        "a build number",
        "another case, and another project",
        "what is no scheme",
        "a file that is in no scheme",
        "no file",
        "what pip does not take for one",
    ],
)
def test_folders_that_pip_takes_for_data(members: list[str], expected: tuple[str, ...], tmp_path: Path) -> None:
    path = write_wheel(tmp_path, dict.fromkeys(members, b""))
    assert read(path).data_folders == expected


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
        ("demo-1.0-1.data/platlib/x.so", MOUNT / "x.so"),
        ("demo-1.0-1.data/scripts/tool", PurePosixPath("/<scripts>/tool")),
    ],
)
def test_a_member_is_installed(member: str, expected: PurePosixPath) -> None:
    wheel = wheel_with("")._replace(data_folders=("demo-1.0-1.data",))
    assert expected == wheel.install_path(member)
