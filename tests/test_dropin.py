"""auditwheel's command lines work with the program's name exchanged. docs/auditwheel.md has the differences."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from builders import DEMO, DEMO_WHEEL, SYSROOTS, write_wheel
from musl_repair.cli import main
from musl_repair.cli_repair import repair

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.patchelf

SYSROOT = SYSROOTS / "x86_64"
REPAIRED = "demo-1.0-cp310-abi3-musllinux_1_2_x86_64.whl"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "auditwheel.md"
AUDITWHEELS = frozenset(
    {
        "--allow-pure-python-wheel",
        "--disable-isa-ext-check",
        "--exclude",
        "--help",
        "--ldpaths",
        "--lib-sdir",
        "--no-update-tags",
        "--only-plat",
        "--patcher",
        "--plat",
        "--strip",
        "--verbose",
        "--version",
        "--wheel-dir",
        "--zip-compression-level",
    }
)
"""The long options of auditwheel 6.8.2, `auditwheel --help` and `auditwheel repair --help`."""


class Result(NamedTuple):
    """What a run of the program left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def auditwheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """Return a function that runs a command line of auditwheel in a folder with demo's wheel, as on an Alpine.

    MUSL_REPAIR_SYSROOT stands for the machine: auditwheel has no such option.
    """
    for name in list(os.environ):
        if name.startswith(("MUSL_REPAIR_", "AUDITWHEEL_", "GITHUB_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MUSL_REPAIR_SYSROOT", str(SYSROOT))
    shutil.copy2(DEMO_WHEEL, tmp_path)
    monkeypatch.chdir(tmp_path)

    def call(line: str, **variables: str) -> Result:
        program, *arguments = shlex.split(line)
        assert program == "auditwheel"
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        out, err = capfd.readouterr()
        assert isinstance(stopped.value.code, int)
        return Result(stopped.value.code, out, err)

    return call


def members(path: str | Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize(
    ("line", "output"),
    [
        (f"auditwheel repair {DEMO}", f"wheelhouse/{REPAIRED}"),
        (f"auditwheel repair -w out {DEMO}", f"out/{REPAIRED}"),
        (f"auditwheel repair -wout {DEMO}", f"out/{REPAIRED}"),
        (f"auditwheel repair --wheel-dir=deep/out/ {DEMO}", f"deep/out/{REPAIRED}"),
        (f"auditwheel repair {DEMO} -w out", f"out/{REPAIRED}"),
        (f"auditwheel repair {DEMO} --plat musllinux_1_2_x86_64 -w out", f"out/{REPAIRED}"),
        (f"auditwheel repair --plat musllinux_1_2 {DEMO}", f"wheelhouse/{REPAIRED}"),
        (f"auditwheel repair --plat=auto {DEMO}", f"wheelhouse/{REPAIRED}"),
        (f"auditwheel repair --plat musllinux_1_1_x86_64 {DEMO}", f"wheelhouse/{REPAIRED.replace('1_2', '1_1')}"),
        (f"auditwheel repair --only-plat --plat musllinux_1_2_x86_64 {DEMO}", f"wheelhouse/{REPAIRED}"),
        (f"auditwheel -v repair {DEMO}", f"wheelhouse/{REPAIRED}"),
        (f"auditwheel -vv repair -w out {DEMO}", f"out/{REPAIRED}"),
        (f"auditwheel --verbose repair -w out {DEMO}", f"out/{REPAIRED}"),
        (f"auditwheel repair --strip {DEMO}", f"wheelhouse/{REPAIRED}"),
        (f"auditwheel repair --patcher patchelf {DEMO}", f"wheelhouse/{REPAIRED}"),
        (f"auditwheel repair --disable-isa-ext-check {DEMO}", f"wheelhouse/{REPAIRED}"),
        (f"auditwheel repair --exclude libx.so --exclude 'liby.so.*' {DEMO}", f"wheelhouse/{REPAIRED}"),
        (f"auditwheel repair --no-update-tags {DEMO}", f"wheelhouse/{DEMO}"),
        (
            f"auditwheel -v repair -L _libs -z 9 --strip --only-plat --plat musllinux_1_2_x86_64 "
            f"--exclude libx.so --ldpaths /usr/lib --disable-isa-ext-check -w out {DEMO}",
            f"out/{REPAIRED}",
        ),
    ],
)
def test_line_works_with_the_name_exchanged(line: str, output: str, auditwheel: Callable[..., Result]) -> None:
    result = auditwheel(line)
    assert (result.code, result.out) == (0, f"{output}\n"), result.err
    assert len([name for name in members(output) if re.fullmatch(r"demo[._]libs/lib.*-[0-9a-f]{8}\.so.*", name)]) == 2


def test_program_has_every_option_of_auditwheels() -> None:
    ours = {name for parameter in repair.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {*ours, "--help", "--version"} >= AUDITWHEELS


def test_page_has_a_row_for_every_option_of_auditwheels() -> None:
    rows = re.findall(r"^\| `([^|]*)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"--[a-z-]+", row)} >= AUDITWHEELS - {"--help"}


def test_version_has_auditwheels_letter(auditwheel: Callable[..., Result]) -> None:
    assert auditwheel("auditwheel -V").out == auditwheel("auditwheel --version").out


def test_lib_sdir_names_the_folder(auditwheel: Callable[..., Result]) -> None:
    for line in (f"auditwheel repair -L _lib {DEMO}", f"auditwheel repair --lib-sdir _lib {DEMO}"):
        assert auditwheel(line).code == 0
        assert [name for name in members(f"wheelhouse/{REPAIRED}") if name.startswith("demo_lib/libmid-")]


def test_exclude_keeps_a_library_out(auditwheel: Callable[..., Result]) -> None:
    assert auditwheel(f"auditwheel repair --exclude 'libmid.so.*' {DEMO}").code == 0
    assert not [name for name in members(f"wheelhouse/{REPAIRED}") if "libmid" in name]


def test_no_update_tags_keeps_name_and_wheel_file(auditwheel: Callable[..., Result]) -> None:
    assert auditwheel(f"auditwheel repair --no-update-tags {DEMO}").code == 0
    before, after = (members(path)["demo-1.0.dist-info/WHEEL"] for path in (DEMO, f"wheelhouse/{DEMO}"))
    assert [line for line in after.splitlines() if line.startswith(b"Tag:")] == [
        line for line in before.splitlines() if line.startswith(b"Tag:")
    ]


def test_verbosity_counts_before_and_behind_the_command(auditwheel: Callable[..., Result]) -> None:
    before = auditwheel(f"auditwheel -v repair {DEMO}")
    assert before == auditwheel(f"auditwheel repair -v {DEMO}") == auditwheel(f"auditwheel -v {DEMO}")
    assert "demo/_ext.abi3.so needs libmid.so.2: /usr/lib/libmid.so.2.1.0" in before.err


def test_platform_may_come_from_the_environment(auditwheel: Callable[..., Result]) -> None:
    assert auditwheel(f"auditwheel repair {DEMO}", AUDITWHEEL_PLAT="musllinux_1_1_x86_64").out == (
        f"wheelhouse/{REPAIRED.replace('1_2', '1_1')}\n"
    )


def test_compression_level_may_come_from_the_environment(auditwheel: Callable[..., Result]) -> None:
    sizes = []
    for level in ("0", "9"):
        assert auditwheel(f"auditwheel repair {DEMO}", AUDITWHEEL_ZIP_COMPRESSION_LEVEL=level).code == 0
        sizes.append(Path("wheelhouse", REPAIRED).stat().st_size)
    assert sizes[0] > sizes[1]


def test_patcher_may_come_from_the_environment(auditwheel: Callable[..., Result]) -> None:
    assert auditwheel(f"auditwheel repair {DEMO}", AUDITWHEEL_PATCHER="patchelf").code == 0


def test_other_patchers_are_wrong_usage(auditwheel: Callable[..., Result]) -> None:
    result = auditwheel(f"auditwheel repair --patcher lief-patchelf {DEMO}")
    assert result.code == 2
    assert "'lief-patchelf' is not one of 'builtin', 'patchelf'" in result.err


@pytest.mark.parametrize("by_option", [True, False], ids=["--ldpaths", "AUDITWHEEL_LD_LIBRARY_PATH"])
def test_folders_of_this_machine_are_searched_too(
    by_option: bool, auditwheel: Callable[..., Result], tmp_path: Path
) -> None:
    root, folder = tmp_path / "root", tmp_path / "built"
    shutil.copytree(SYSROOT, root, symlinks=True)
    folder.mkdir()
    shutil.copy2(root / "usr/lib/libmid.so.2.1.0", folder / "libmid.so.2")
    for path in (root / "usr" / "lib").glob("libmid*"):
        path.unlink()
    assert auditwheel(f"auditwheel repair {DEMO}", MUSL_REPAIR_SYSROOT=str(root)).code == 1
    if by_option:
        result = auditwheel(f"auditwheel repair --ldpaths {folder} {DEMO}")
    else:
        result = auditwheel(f"auditwheel repair {DEMO}", AUDITWHEEL_LD_LIBRARY_PATH=str(folder))
    assert (result.code, result.out) == (0, f"wheelhouse/{REPAIRED}\n"), result.err


def test_pure_wheels_need_the_option(auditwheel: Callable[..., Result], tmp_path: Path) -> None:
    pure = write_wheel(tmp_path, {"pure.py": b""}, "pure-1.0-py3-none-any.whl")
    assert auditwheel(f"auditwheel repair {pure.name}").code == 1
    assert auditwheel(f"auditwheel repair --allow-pure-python-wheel {pure.name}") == Result(
        0, f"wheelhouse/{pure.name}\n", f"{pure.name}: nothing to do\n"
    )
    assert Path("wheelhouse", pure.name).read_bytes() == pure.read_bytes()


def test_show_and_lddtree_are_there(auditwheel: Callable[..., Result]) -> None:
    assert auditwheel(f"auditwheel show {DEMO}").code == 0
    assert auditwheel(f"auditwheel -v show --json {DEMO}").code == 0
    assert auditwheel(f"auditwheel lddtree {SYSROOT}/usr/lib/libmid.so.2").code == 0
