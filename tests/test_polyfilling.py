"""`--polyfill`: wheels that carry the functions which are newer than their tag."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from builders import TESTDATA
from musl_repair.check import Leniency
from musl_repair.cli import cli
from musl_repair.repair import check_wheel

if TYPE_CHECKING:
    from pathlib import Path

CASES = TESTDATA / "cases"


def repaired(case: str, folder: Path, *options: str) -> Path:
    """Repair a case into a folder and return the new wheel."""
    wheel = next(CASES.glob(f"{case}-*.whl"))
    sysroot = TESTDATA / "sysroots" / wheel.stem.rpartition("musllinux_1_2_")[2]
    arguments = ["repair", "-w", str(folder), "--sysroot", str(sysroot), *options, str(wheel)]
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert done.return_value == 0, done.output
    return folder / wheel.name


def libraries(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return [name for name in archive.namelist() if "libpolyfill-" in name]


@pytest.mark.parametrize(
    ("case", "function"), [("statx", "statx"), ("reallocarray", "reallocarray"), ("atomics", "__getauxval")]
)
def test_wheel_gets_the_function_that_is_newer_than_its_tag(case: str, function: str, tmp_path: Path) -> None:
    before = check_wheel(next(CASES.glob(f"{case}-*.whl")))
    wheel = repaired(case, tmp_path, "--polyfill")
    assert [found.code for found in before.findings] == ["tag-promises-too-much"]
    assert "--polyfill" in before.findings[0].remedy
    assert function in before.findings[0].remedy
    assert [name.partition(".libs/libpolyfill-")[2].rpartition("-")[0] for name in libraries(wheel)] == [function]
    assert check_wheel(wheel, Leniency()).findings == ()


def test_wheel_gets_no_function_without_being_asked(tmp_path: Path) -> None:
    assert libraries(repaired("statx", tmp_path)) == []


def test_wheel_that_needs_no_function_gets_none(tmp_path: Path) -> None:
    wheel = next(CASES.glob("clean-*.whl"))
    assert repaired("clean", tmp_path, "--polyfill").read_bytes() == wheel.read_bytes()


def test_wheel_whose_tag_is_too_low_is_right_with_the_function(tmp_path: Path) -> None:
    wheel = next(CASES.glob("reallocarray_low-*.whl"))
    arguments = ["repair", "-w", str(tmp_path), "--sysroot", str(TESTDATA / "sysroots" / "x86_64"), str(wheel)]
    low = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert (low.return_value, "tag-too-low" in low.output) == (1, True)
    filled = CliRunner().invoke(cli, [*arguments, "--polyfill"], standalone_mode=False)
    assert filled.return_value == 0, filled.output
    assert [found.code for found in check_wheel(tmp_path / wheel.name).findings] == []


def test_a_second_repair_changes_nothing(tmp_path: Path) -> None:
    first = repaired("statx", tmp_path / "first", "--polyfill")
    sysroot = str(TESTDATA / "sysroots" / "x86_64")
    done = CliRunner().invoke(
        cli,
        ["repair", "-w", str(tmp_path / "second"), "--sysroot", sysroot, "--polyfill", str(first)],
        standalone_mode=False,
    )
    assert done.return_value == 0, done.output
    assert (tmp_path / "second" / first.name).read_bytes() == first.read_bytes()


def test_plan_names_the_graft_and_who_comes_to_need_it(tmp_path: Path) -> None:
    wheel = next(CASES.glob("statx-*.whl"))
    sysroot = str(TESTDATA / "sysroots" / "x86_64")
    arguments = ["repair", "--dry-run", "--json", "--polyfill", "-w", str(tmp_path), "--sysroot", sysroot, str(wheel)]
    (plan,) = json.loads(CliRunner().invoke(cli, arguments).stdout)["wheels"]
    (graft,) = plan["grafts"]
    added = [(patch["member"].endswith(".so"), patch["added"]) for patch in plan["patches"]]
    assert graft["source"] == "/<musl-repair>/polyfill/x86_64/statx.so"
    assert added == [(True, [graft["member"].rpartition("/")[2]])]
    assert list(tmp_path.iterdir()) == []
