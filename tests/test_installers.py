"""What pip, uv and installer make of wheels that are odd in their form, before and after a repair."""

from __future__ import annotations

import email
import zipfile
from typing import TYPE_CHECKING, Final

import pytest
from packaging.tags import parse_tag
from packaging.utils import parse_wheel_filename

from builders import DEMO, DEMO_WHEEL, SYSROOTS, TESTDATA, csv_text, record_row, wheel_members, zip_bytes
from installers import install_with
from musl_repair.errors import ArchiveError
from musl_repair.options import Options
from musl_repair.repair import Tools, check_wheel, repair_wheel
from musl_repair.sysroot import Sysroot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

pytestmark = pytest.mark.process

INFO: Final = "demo-1.0.dist-info"
WHEEL: Final = f"{INFO}/WHEEL"
RECORD: Final = f"{INFO}/RECORD"
LIBRARY: Final = (TESTDATA / "x86_64" / "libleaf.so.1").read_bytes()
FILES: Final = {"demo/__init__.py": b"x = 1\n", "demo/_ext.so": LIBRARY}


@pytest.fixture(params=["pip", "uv", "installer"])
def name(request: pytest.FixtureRequest) -> str:
    """Return the name of each installer."""
    return str(request.param)


def written(folder: Path, members: Mapping[str, bytes], filename: str) -> Path:
    path = folder / filename
    path.write_bytes(zip_bytes(members))
    return path


def repaired(wheel: Path, options: Options | None = None) -> Path:
    sysroot = Sysroot(SYSROOTS / "x86_64")
    output = repair_wheel(wheel, wheel.parent / "repaired", sysroot, options or Options(), Tools()).output
    assert output is not None
    return output


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# Folders that pip takes for .data


def demo_with(folder: str, filename: str) -> dict[str, bytes]:
    """Return the demo wheel's members with another .data folder, under another file name."""
    old = {name: content for name, content in contents(DEMO_WHEEL).items() if name != RECORD}
    return wheel_members({name.replace("demo-1.0.data", folder): data for name, data in old.items()}, filename)


@pytest.mark.parametrize(
    ("folder", "filename"),
    [
        ("demo-1.0-1.data", DEMO.replace("1.0-", "1.0-1-")),
        ("Demo-1.0.data", DEMO),
        ("demo.data", DEMO),
    ],
    ids=["setuptools' with a build number", "another case", "no version"],
)
def test_every_installer_finds_the_programs_after_the_repair(
    folder: str, filename: str, name: str, tmp_path: Path
) -> None:
    wheel = written(tmp_path, demo_with(folder, filename), filename)
    before = install_with(name, wheel, tmp_path / "before")
    assert before.error == ""
    assert ("bin/demo-tool" in before.files) == (name == "pip")

    output = repaired(wheel)
    after = install_with(name, output, tmp_path / "after")
    assert after.error == ""
    assert {"bin/demo-tool", "bin/demo-hello", "demo.libs/demo-tool", "demo/_ext.abi3.so"} <= after.files.keys()
    assert not [place for place in after.files if ".data/" in place]
    assert after.files["demo.libs/demo-tool"].startswith(b"\x7fELF")
    assert after.files["bin/demo-tool"].startswith(b"#!")


@pytest.mark.parametrize("filename", [DEMO, DEMO.replace("1.0-", "1.0-1-")])
def test_the_repaired_wheel_is_the_one_that_the_right_name_gives(filename: str, tmp_path: Path) -> None:
    wrong = written(tmp_path, demo_with("demo-1.0-1.data", filename), filename)
    (tmp_path / "right").mkdir()
    right = written(tmp_path / "right", demo_with("demo-1.0.data", filename), filename)
    assert contents(repaired(wrong)) == contents(repaired(right))


def test_two_data_folders_become_one(name: str, tmp_path: Path) -> None:
    files = {**FILES, "demo-1.0.data/scripts/one": b"#!python\n", "demo-1.0-1.data/scripts/two": b"#!python\n"}
    wheel = written(tmp_path, wheel_members({**files, "demo-1.0-1.data/": b""}), DEMO)
    installed = install_with(name, repaired(wheel), tmp_path / "after")
    assert installed.error == ""
    assert {place for place in installed.files if place.startswith("bin/")} == {"bin/one", "bin/two"}


@pytest.mark.parametrize("folder", ["demo-1.0-1.data", "other.data"])
def test_check_finds_the_folder(folder: str, tmp_path: Path) -> None:
    wheel = written(tmp_path, wheel_members({**FILES, f"{folder}/scripts/tool": b"#!python\n"}), DEMO)
    (found,) = (one for one in check_wheel(wheel).findings if one.code == "data-folder")
    assert found.subject == folder
    assert [one for one in check_wheel(repaired(wheel)).findings if one.code == "data-folder"] == []


def test_pip_refuses_a_folder_with_something_else_in_it_as_check_says(tmp_path: Path) -> None:
    wheel = written(tmp_path, wheel_members({**FILES, "other.data/bin/tool": b"#!python\n"}), DEMO)
    assert "other.data/bin/tool" in install_with("pip", wheel, tmp_path / "site").error
    (found,) = (one for one in check_wheel(wheel).findings if one.code == "data-folder")
    assert found.detail.startswith("pip refuses the wheel")


# WHEEL

TEXT: Final = "Wheel-Version: 1.0\nGenerator: tests\nX-Other: a\n b\nRoot-Is-Purelib: true\nTag: {tag}\n"
TWO: Final = "demo-1.0-cp310.cp312-abi3-linux_x86_64.whl"
WHEELS: Final = {
    "one tag to a line": TEXT.format(tag="cp310-abi3-linux_x86_64\nTag: cp312-abi3-linux_x86_64"),
    "a compressed set": TEXT.format(tag="cp310.cp312-abi3-linux_x86_64"),
    "a folded one": TEXT.format(tag="\n cp310.cp312-abi3-linux_x86_64"),
    "CRLF": TEXT.format(tag="cp310-abi3-linux_x86_64").replace("\n", "\r\n"),
    "no line end": TEXT.format(tag="cp310-abi3-linux_x86_64").rstrip("\n"),
    "a tag twice": TEXT.format(tag="cp310-abi3-linux_x86_64\nTag: cp310-abi3-linux_x86_64"),
    "no tag": TEXT.replace("Tag: {tag}\n", ""),
    "two answers": TEXT.format(tag="cp310-abi3-linux_x86_64\nRoot-Is-Purelib: false"),
    "names in small letters": TEXT.format(tag="cp310-abi3-linux_x86_64").replace("Wheel-V", "wheel-v"),
    "a folded version": TEXT.format(tag="cp310-abi3-linux_x86_64").replace(": 1.0", ":\n 1.0"),
}
REFUSED: Final = {"names in small letters": "uv", "a folded version": "installer"}
"""Who refuses the wheel as it was."""


@pytest.mark.parametrize("what", WHEELS)
def test_every_installer_takes_a_repaired_wheel_that_had(what: str, name: str, tmp_path: Path) -> None:
    wheel = written(tmp_path, wheel_members({**FILES, WHEEL: WHEELS[what].encode()}, TWO), TWO)
    assert bool(install_with(name, wheel, tmp_path / "before").error) == (REFUSED.get(what) == name)
    output = repaired(wheel)
    assert install_with(name, output, tmp_path / "after").error == ""
    text = contents(output)[WHEEL].decode()
    fields = email.message_from_string(text)
    *_, tags = parse_wheel_filename(output.name)
    assert {tag for line in fields.get_all("Tag", []) for tag in parse_tag(line)} == tags
    assert len(fields.get_all("Tag", [])) == len(tags) == 2
    assert fields.get_all("Root-Is-Purelib") == ["false"]
    assert ("X-Other: a\r\n b\r\n" if "\r" in WHEELS[what] else "X-Other: a\n b\n") in text


# RECORD


def record_of(members: Mapping[str, bytes]) -> list[tuple[str, str, str]]:
    return [*(record_row(name, content) for name, content in members.items() if name != RECORD), (RECORD, "", "")]


RECORDS: Final[Mapping[str, Callable[[str], str]]] = {
    "blank lines": lambda text: text.replace("\n", "\n\n"),
    "a line of spaces": lambda text: f"{text}   \n",
    "a row of two fields": lambda text: f"demo/x,\n{text}",
    "no hash": lambda text: text.replace(record_row("", FILES["demo/__init__.py"])[1], ""),
    "a row of a folder": lambda text: f"demo/,,\n{text}",
    "every row twice": lambda text: text + text,
}
BEFORE: Final = {
    "blank lines": {"pip", "installer"},
    "a line of spaces": {"uv", "installer"},
    "a row of two fields": {"uv", "installer"},
    "no hash": {"installer"},
}
"""Who refuses the wheel as it was; installer is asked to validate."""


@pytest.mark.parametrize("what", RECORDS)
def test_every_installer_takes_a_repaired_wheel_whose_record_had(what: str, name: str, tmp_path: Path) -> None:
    members = wheel_members(FILES)
    text = RECORDS[what](csv_text(record_of(members)))
    wheel = written(tmp_path, {**members, RECORD: text.encode()}, DEMO)
    assert bool(install_with(name, wheel, tmp_path / "before").error) == (name in BEFORE.get(what, ()))
    after = install_with(name, repaired(wheel, Options(verify_input=False)), tmp_path / "after")
    assert after.error == ""
    assert FILES.keys() <= after.files.keys()


# Names


@pytest.mark.parametrize("character", ["\n", "\r", "\t", "\x1b", "\x7f", "\x85"], ids=ascii)
def test_uv_refuses_the_control_characters_that_we_refuse(character: str, tmp_path: Path) -> None:
    wheel = written(tmp_path, wheel_members({**FILES, f"demo/a{character}b.txt": b""}), DEMO)
    assert "unacceptable filename" in install_with("uv", wheel, tmp_path / "site").error
    with pytest.raises(ArchiveError, match="has a control character in its name"):
        check_wheel(wheel)


def test_every_installer_takes_other_characters_as_we_do(name: str, tmp_path: Path) -> None:
    wheel = written(tmp_path, wheel_members({**FILES, 'demo/ünï, "x".txt': b""}), DEMO)
    after = install_with(name, repaired(wheel), tmp_path / "site")
    assert (after.error, 'demo/ünï, "x".txt' in after.files) == ("", True)


# Tags


@pytest.mark.parametrize("name", ["pip", "uv"])
@pytest.mark.parametrize("tags", ["win_amd64.linux_x86_64", "manylinux_2_17_x86_64.linux_x86_64", "linux_x86_64"])
def test_pip_and_uv_take_what_a_repair_has_tagged(name: str, tags: str, tmp_path: Path) -> None:
    filename = DEMO.replace("linux_x86_64", tags)
    output = repaired(written(tmp_path, contents(DEMO_WHEEL), filename))
    assert output.name == DEMO.replace("linux_x86_64", "musllinux_1_2_x86_64")
    assert install_with(name, output, tmp_path / "site").error == ""
