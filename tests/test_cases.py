"""Wheels with one thing wrong each, made by testdata/build.py, and exactly what `check` finds."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Final

import pytest
from click.testing import CliRunner

from builders import TESTDATA
from machines import machines
from musl_repair.cli import cli
from musl_repair.findings import RULES
from musl_repair.repair import check_wheel

if TYPE_CHECKING:
    from pathlib import Path

CASES: Final = TESTDATA / "cases"
EXT: Final = "_ext.cpython-312-x86_64-linux-musl.so"
ARM_EXT: Final = "_ext.cpython-312-aarch64-linux-musl.so"

EXPECTED: Final[dict[str, set[tuple[str, str, str]]]] = {
    "api_newer": {("symbol-not-found", "error", "PyErr_GetRaisedException")},
    "api_pypy": {("python-not-judged", "note", "pp310")},
    "api_stable": {("outside-stable-abi", "warning", "api_stable/_ext.abi3.so")},
    "atomics": {("tag-promises-too-much", "warning", "musllinux_1_2_aarch64")},
    "broken": {("broken-elf", "warning", "broken/libcut.so")},
    "clash": {("libc-symbol-clash", "warning", "clash.libs/libcrypt.so.2")},
    "clean": set(),
    "data": {("elf-data", "note", "data-1.0-cp312-cp312-musllinux_1_2_x86_64.whl")},
    "data_folder": {("data-folder", "warning", "data_folder-1.0-1.data")},
    # musl splits what $ORIGIN stands for.
    "colon": {
        ("folder-breaks-rpath", "error", f"colon/a:b/{EXT}"),
        ("library-not-found", "error", "libextra.so.1"),
    },
    "expansion": {("tag-mismatch", "error", "expansion-1.0-cp312-cp312-musllinux_1_2_x86_64.whl")},
    "fallocate": {("tag-promises-too-much", "warning", "musllinux_1_2_x86_64")},
    "fortify": {("symbol-not-found", "error", "__memcpy_chk")},
    "glibc": {("glibc-linked", "error", f"glibc/{EXT}")},
    "grafted": set(),
    # musl's lookup does not see the symbol either.
    "ifunc": {("ifunc", "error", f"ifunc/{EXT}"), ("symbol-not-found", "error", "ifunc_chosen")},
    "ifunc_unused": {("ifunc", "note", f"ifunc_unused/{EXT}")},
    "isa": {("isa-level", "error", f"isa/{EXT}")},
    "libpython": {("libpython-linked", "note", f"libpython/{EXT}")},
    "machine": {("wrong-architecture", "error", "machine/_two.abi3.so")},
    "missing": {("library-not-found", "error", "libextra.so.1")},
    "outside": {("rpath-outside-wheel", "warning", f"outside/{EXT}")},
    "pages": {("page-alignment", "warning", f"pages/{ARM_EXT}")},
    "pypi": {("tag-not-on-pypi", "note", "musllinux_1_2_loongarch64")},
    "purelib": {("elf-in-purelib", "warning", f"purelib/{EXT}")},
    "purelib_data": {("elf-in-purelib", "warning", f"purelib_data-1.0.data/purelib/purelib_data/{EXT}")},
    "reallocarray": {("tag-promises-too-much", "warning", "musllinux_1_2_x86_64")},
    "reallocarray_low": {("tag-too-low", "error", "musllinux_1_1_x86_64")},
    "record": {("record-mismatch", "error", "record/__init__.py")},
    "relr": {("relr-before-1.2.4", "error", "relr.libs/libonlyrelr.so.1")},
    # The library that defines the function is there, and nothing ever loads it.
    "reserved": {("reserved-name", "error", "reserved.libs/libutil.so.9"), ("symbol-not-found", "warning", "util")},
    "size": {("unsupported-relocation", "error", f"size/{EXT}")},
    "stack": {("executable-stack", "note", f"stack/{EXT}")},
    "statx": {("tag-promises-too-much", "warning", "musllinux_1_2_x86_64")},
    "suffix": {("extension-suffix", "error", f"suffix/{EXT.replace('musl', 'gnu')}")},
    "tag": {("tag-mismatch", "error", "tag-1.0-cp312-cp312-musllinux_1_2_aarch64.whl")},
    "tls": {("initial-exec-tls", "error", f"tls/{EXT}")},
    # musl drops the whole rpath for its one token, and the library's folder with it.
    "token": {("library-not-found", "error", "libextra.so.1"), ("rpath-token", "warning", f"token/{EXT}")},
    "twice": {("duplicate-library", "note", "twice.libs/libextra.so.1")},
    "undefined": {("symbol-not-found", "error", "nobody_has_this")},
    "weak": set(),
    "windows": {("tag-mismatch", "error", "windows-1.0-cp312-cp312-musllinux_1_2_x86_64.win_amd64.whl")},
}
"""Case → (code, severity, subject) of every finding."""

NOT_OF_A_WHEEL_ALONE: Final = {
    "library-excluded-not-found",  # of an option
    "sysroot-without-musl",  # of a sysroot
    "elf-outside-site-packages",  # of what a repair would have to add
    "member-collision",
    "exclude-unmatched",  # of an option
    "include-unmatched",
    "kept-name",
    "dlopen-note-unreadable",  # of planning
}
"""Codes that need more than the wheel; the tests of plan and check have them."""


def wheel_of(case: str) -> Path:
    return next(CASES.glob(f"{case}-1.0-*.whl"))


@pytest.mark.parametrize("case", EXPECTED)
def test_finds_exactly_what_is_wrong(case: str) -> None:
    findings = check_wheel(wheel_of(case)).findings
    assert {(found.code, found.severity.value, found.subject) for found in findings} == EXPECTED[case]


def test_every_case_is_expected() -> None:
    assert {path.name.partition("-")[0] for path in CASES.iterdir()} == set(EXPECTED)


def test_every_code_that_a_wheel_alone_can_have_has_a_case() -> None:
    seen = {code for findings in EXPECTED.values() for code, _, _ in findings}
    assert seen | NOT_OF_A_WHEEL_ALONE == set(RULES)


@pytest.mark.parametrize("case", EXPECTED)
def test_fails_for_errors_and_with_strict_for_warnings(case: str) -> None:
    severities = {severity for _, severity, _ in EXPECTED[case]}
    codes = [
        CliRunner().invoke(cli, ["check", *options, str(wheel_of(case))], standalone_mode=False).return_value
        for options in ([], ["--strict"])
    ]
    assert codes == [int("error" in severities), int(bool({"error", "warning"} & severities))]


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("ifunc", "ifunc_chosen: symbol not found"),
        ("ifunc_unused", ""),
        ("size", "unsupported relocation type 33"),
        ("undefined", "nobody_has_this: symbol not found"),
        ("clean", ""),
    ],
)
def test_the_real_loader_says_the_same(case: str, said: str, tmp_path: Path) -> None:
    musls = machines("x86_64")
    if not musls:
        pytest.skip("no musl of x86_64 that runs here")
    with zipfile.ZipFile(wheel_of(case)) as wheel:
        module = wheel.extract(f"{case}/{EXT}", tmp_path)
    for machine in musls:
        done = machine.run("--list", module)
        assert (said in done.stderr, bool(done.stderr), done.returncode != 0) == (True, bool(said), bool(said)), machine


# reallocarray came with musl 1.2.2: no musl 1.1 has it


def test_check_refuses_musllinux_1_1_for_reallocarray_and_names_file_and_symbol() -> None:
    wheel = wheel_of("reallocarray_low")
    result = CliRunner().invoke(cli, ["check", str(wheel)], standalone_mode=False)
    assert result.return_value == 1
    assert "tag-too-low" in result.output
    assert f"reallocarray is there since musl 1.2.2; needed by reallocarray_low/{EXT}" in result.output


def test_repair_refuses_musllinux_1_1_for_reallocarray_and_names_file_and_symbol(tmp_path: Path) -> None:
    wheel, sysroot = wheel_of("reallocarray"), TESTDATA / "sysroots" / "x86_64"
    options = ["--plat", "musllinux_1_1", "--sysroot", str(sysroot), "-w", str(tmp_path)]
    result = CliRunner().invoke(cli, ["repair", *options, str(wheel)], standalone_mode=False)
    assert result.return_value == 1
    assert "tag-too-low" in result.stderr
    assert f"reallocarray is there since musl 1.2.2; needed by reallocarray/{EXT}" in result.stderr
    assert "musllinux_1_2" in result.stderr
    assert list(tmp_path.iterdir()) == []
