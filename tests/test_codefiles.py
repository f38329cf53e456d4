"""Which ELF files of a wheel are code, and which are data: by machine, by kind, by place and by name."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import pytest
from click.testing import CliRunner

from builders import write_wheel
from facts_by_hand import architecture, elf, of_code, program, system, wheel_facts
from musl_repair.check import judge_wheel
from musl_repair.cli import cli
from musl_repair.codefiles import ElfFiles, sort_files
from musl_repair.elfimage import ET_CORE, ET_EXEC, ET_REL
from musl_repair.errors import WheelError
from musl_repair.findings import Severity, errors_in
from musl_repair.lddtree import wheel_trees
from musl_repair.options import Options
from musl_repair.plan import make_plan
from musl_repair.repair import check_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from musl_repair.elf import Elf
    from musl_repair.findings import Finding

EXT: Final = "demo/_ext.cpython-312-x86_64-linux-musl.so"
MUSL: Final = "libc.musl-x86_64.so.1"
CODE: Final = {EXT: elf(MUSL, exports=["PyInit__ext"])}
ARM: Final = elf(arch="aarch64")
STRANGER: Final = elf()._replace(machine=83, bits=32)
OBJECT: Final = elf(file_type=ET_REL)._replace(dynamic=False)


def named(platform: str = "linux_x86_64", python: str = "cp312-cp312") -> str:
    return f"demo-1.0-{python}-{platform}.whl"


def files_of(
    elfs: Mapping[str, Elf],
    broken: Mapping[str, str] | None = None,
    name: str = "demo-1.0-cp312-cp312-linux_x86_64.whl",
) -> ElfFiles:
    return sort_files(wheel_facts(elfs, name=name, broken=broken))


# Kinds


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (ARM, "for aarch64"),
        (elf(arch="i686"), "for i686"),
        (STRANGER, "for ELF machine 83, 32 bit, little endian, flags 0x0"),
        (elf(arch="aarch64", file_type=ET_EXEC), "for aarch64"),
        (OBJECT, "an object file"),
        (elf(file_type=ET_CORE)._replace(dynamic=False), "a core dump"),
        (elf(file_type=0xFE00)._replace(dynamic=False), "of ELF type 65024"),
    ],
    ids=["machine", "class", "unknown machine", "program", "object file", "core dump", "other type"],
)
@pytest.mark.parametrize("member", ["demo/fw.elf", "demo/libfw.so", "demo-1.0.data/data/fw", "fw.so.1"])
def test_what_musl_never_loads_on_the_wheel_s_machine_is_data(member: str, file: Elf, reason: str) -> None:
    found = files_of({**CODE, member: file})
    assert (found.architecture, dict(found.code), found.data, found.broken) == (
        architecture(),
        CODE,
        {member: reason},
        {},
    )


@pytest.mark.parametrize(
    "file",
    [elf(), elf(MUSL), program(MUSL), elf(file_type=ET_EXEC)._replace(dynamic=False)],
    ids=["a library", "one that only ctypes loads", "a program", "a static program"],
)
def test_files_of_the_wheel_s_machine_are_code(file: Elf) -> None:
    assert files_of({**CODE, "demo/file": file}).code.keys() == {EXT, "demo/file"}


@pytest.mark.parametrize("member", ["demo/fw.elf", "demo/x.py", "demo/_x.so", "demo/lib.so.2", "demo-1.0.data/data/x"])
def test_what_cannot_be_read_is_data(member: str) -> None:
    found = files_of(CODE, {member: "ELF header is cut off"})
    assert (found.data, found.broken) == ({member: "cut off or broken: ELF header is cut off"}, {})


# Places and names


@pytest.mark.parametrize("file", [ARM, STRANGER, program(arch="i686")])
def test_what_is_installed_as_a_program_is_code(file: Elf) -> None:
    assert "demo-1.0.data/scripts/tool" in files_of({**CODE, "demo-1.0.data/scripts/tool": file}).code


@pytest.mark.parametrize("member", ["demo-1.0.data/scripts/tool", EXT, "demo/_x.abi3.so"])
def test_a_program_or_module_that_cannot_be_loaded_is_broken(member: str) -> None:
    others = {"demo/lib.so": elf()}
    assert files_of(others, {member: "no sense"}).broken == {member: "cut off or broken: no sense"}
    assert files_of({**others, member: OBJECT}).broken == {member: "an object file"}


@pytest.mark.parametrize(
    ("member", "name", "expected"),
    [
        ("demo/_x.cpython-312-x86_64-linux-musl.so", named(), True),
        ("_x.cpython-312-x86_64-linux-musl.so", named(), True),
        ("demo-1.0.data/platlib/_x.cpython-312-x86_64-linux-gnu.so", named(), True),
        ("demo-1.0.data/data/_x.cpython-312-x86_64-linux-gnu.so", named(), False),
        ("demo/_x.cpython-312d-x86_64-linux-musl.so", named(), True),
        ("demo/_x.cpython-313t-x86_64-linux-musl.so", named(python="cp313-cp313t"), True),
        ("demo/_x.cpython-311-x86_64-linux-musl.so", named(), False),
        ("demo/_x.cpython-311-x86_64-linux-musl.so", named(python="cp311.cp312-none"), True),
        ("demo/_x.cpython-311-x86_64-linux-musl.so", named(python="cp39-abi3"), True),
        ("demo/_x.cpython-311-x86_64-linux-musl.so", named(python="py3-none"), True),
        ("demo/_x.cpython-312-aarch64-linux-musl.so", named(), False),
        ("demo/_x.pypy311-pp73-x86_64-linux-gnu.so", named(python="pp311-pypy311_pp73"), True),
        ("demo/_x.pypy311-pp73-x86_64-linux-gnu.so", named(), False),
        ("demo/_x.abi3.so", named(), True),
        ("demo/.abi3.so", named(), False),
        ("demo/_x.so", named(), False),
        ("demo/_x.so.1", named(), False),
        ("demo/_x.abi3.so.orig", named(), False),
    ],
)
def test_what_is_called_as_a_module_of_the_wheel_s_interpreters_is_code(
    member: str, name: str, *, expected: bool
) -> None:
    files = {"demo/lib.so": elf(), member: STRANGER}
    assert (member in files_of(files, name=name).code) == expected


@pytest.mark.parametrize(
    ("arch", "triplet"),
    [
        ("i686", "i386-linux-musl"),
        ("armv7l", "arm-linux-musleabihf"),
        ("armv6l", "arm-linux-musleabihf"),
        ("ppc64le", "powerpc64le-linux-musl"),
        ("s390x", "s390x-linux-musl"),
        ("i686", "i686-linux-gnu"),
    ],
)
def test_modules_are_called_by_the_platform_triplets_of_interpreters(arch: str, triplet: str) -> None:
    member = f"demo/_x.cpython-312-{triplet}.so"
    files = {"demo/lib.so": elf(arch=arch), member: STRANGER}
    assert member in files_of(files, name=named(f"linux_{arch}")).code


def test_a_plain_name_is_a_module_s_if_the_file_has_what_a_module_has() -> None:
    module = elf(arch="aarch64", exports=["PyInit__x"])
    assert files_of({**CODE, "demo/_x.so": module}).code.keys() == {EXT, "demo/_x.so"}
    assert files_of({**CODE, "demo/_x.so": ARM}).data.keys() == {"demo/_x.so"}


# The wheel's machine


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("linux_aarch64", "aarch64"),
        ("manylinux_2_17_aarch64.musllinux_1_1_aarch64", "aarch64"),
        ("linux_x86_64", "x86_64"),
        ("linux_x86_64.linux_aarch64", "x86_64"),
        ("any", "x86_64"),
        ("win_amd64", "x86_64"),
        ("linux_riscv64", "x86_64"),
        ("linux_pdp11", "x86_64"),
    ],
)
def test_the_tags_name_the_machine_or_most_files_do(platform: str, expected: str) -> None:
    files = {"a.so": elf(), "b.so": elf(), "c.so": elf(arch="aarch64"), "d": STRANGER}
    assert files_of(files, name=named(platform)).architecture == architecture(expected)


@pytest.mark.parametrize(
    ("platform", "arch"), [("linux_armv6l", "armv6l"), ("linux_armv7l", "armv7l"), ("any", "armv7l")]
)
def test_the_tag_alone_tells_armv6l_from_armv7l(platform: str, arch: str) -> None:
    files = {"demo/lib.so": elf(arch="armv7l")}
    assert files_of(files, name=named(platform)).architecture == architecture(arch)


def test_firmware_is_no_reason_to_doubt_the_tag() -> None:
    """A static program for another machine, which no loader loads, in a wheel whose module is pure Python."""
    firmware = elf(arch="armv7l", file_type=ET_EXEC)._replace(dynamic=False)
    found = files_of({"demo/fw.elf": firmware})
    assert (found.architecture, found.data) == (None, {"demo/fw.elf": "for armv7l"})


def test_files_of_an_unknown_machine_are_data_unless_the_tags_name_one() -> None:
    files = {"demo/fw.elf": STRANGER}
    assert files_of(files, name=named("any")).data.keys() == {"demo/fw.elf"}
    found = files_of(files, name=named("linux_avr"))
    assert (found.architecture, list(found.code)) == (None, ["demo/fw.elf"])


# What is said and done


DATA: Final = {"demo/a.elf": ARM, "demo/b.o": OBJECT, "demo/c.elf": ARM}


def test_one_note_lists_all_data() -> None:
    facts = wheel_facts({**CODE, **DATA}, name=named("musllinux_1_2_x86_64"), broken={"demo/x.py": "not much"})
    expected = [
        "4 ELF files are data: musl cannot load them on the wheel's machine",
        "- an object file: demo/b.o",
        "- cut off or broken: not much: demo/x.py",
        "- for aarch64: demo/a.elf, demo/c.elf",
    ]
    for findings in (judge_wheel(facts).findings, make_plan(facts, system(), Options()).findings):
        (note,) = findings
        assert note[:3] == ("elf-data", Severity.NOTE, str(facts.wheel.name))
        assert note.detail.splitlines() == expected


@pytest.mark.parametrize(
    ("member", "severity"),
    [
        ("demo/lib.so", Severity.WARNING),
        ("demo/lib.so.1.2", Severity.WARNING),
        ("demo/_x.so", Severity.WARNING),
        ("demo/_x.abi3.so", Severity.ERROR),
        ("demo-1.0.data/scripts/tool", Severity.ERROR),
    ],
)
def test_a_broken_library_is_a_warning_and_a_broken_module_an_error(member: str, severity: Severity) -> None:
    facts = wheel_facts(CODE, name=named("musllinux_1_2_x86_64"), broken={member: "cut"})
    for findings in (judge_wheel(facts).findings, make_plan(facts, system(), Options()).findings):
        assert [found[:4] for found in findings] == [("broken-elf", severity, member, "it is cut off or broken: cut")]


def errors(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(found.code, found.subject) for found in errors_in(findings)]


def test_a_file_for_another_machine_that_musl_would_load_is_an_error() -> None:
    files = {EXT: elf("libin.so", rpath="$ORIGIN"), "demo/libin.so": ARM}
    judgement = judge_wheel(wheel_facts(files, name=named("musllinux_1_2_x86_64")))
    assert errors(judgement.findings) == [("wrong-architecture", "demo/libin.so")]
    assert of_code(judgement.findings, "elf-data") == []


def test_a_repair_passes_over_data_and_finds_the_library_elsewhere() -> None:
    files = {EXT: elf("libin.so", rpath="$ORIGIN"), "demo/libin.so": ARM}
    facts = wheel_facts(files, broken={"demo/libother.so": "cut"})
    plan = make_plan(facts, system({"/usr/lib/libin.so": elf(MUSL)}), Options())
    assert [str(graft.source) for graft in plan.grafts] == ["/usr/lib/libin.so"]
    assert {found.code for found in plan.findings} == {"elf-data", "broken-elf"}
    assert set(plan.members.values()) == {EXT, plan.grafts[0].member}


def test_what_is_needed_and_broken_is_missing() -> None:
    facts = wheel_facts({EXT: elf("libin.so", rpath="$ORIGIN")}, broken={"demo/libin.so": "cut"})
    for findings in (judge_wheel(facts).findings, make_plan(facts, system(), Options()).findings):
        (missing,) = of_code(findings, "library-not-found")
        assert "/<wheel>/demo/libin.so is there, but not a sound ELF file: cut" in missing.detail


def test_data_have_no_needs_and_get_no_edits() -> None:
    data = elf("libnone.so", "libelse.so", arch="aarch64", rpath="/opt", relr=True)
    facts = wheel_facts({**CODE, "demo/data.so": data, "demo/data.copy.so": data})
    plan = make_plan(facts, system(), Options(strip=True))
    assert [patch.member for patch in plan.patches] == [EXT]
    assert {found.code for found in plan.findings} == {"elf-data"}


def test_a_wheel_with_nothing_but_data_has_nothing_to_repair() -> None:
    facts = wheel_facts({"demo/fw.elf": STRANGER}, name=named("any", "py3-none"))
    with pytest.raises(WheelError, match="no ELF file that musl could load"):
        make_plan(facts, system(), Options())
    plan = make_plan(facts, system(), Options(allow_pure=True))
    assert (plan.changes, [found.code for found in plan.findings]) == (False, ["elf-data"])
    assert wheel_trees(facts) == ()


@pytest.mark.process
@pytest.mark.parametrize("option", ["-static", "-static-pie"])
def test_a_static_program_needs_nothing(option: str, tmp_path: Path) -> None:
    """Nothing is loaded for it: it runs as it is."""
    compiler = shutil.which("gcc")
    if compiler is None or os.uname().machine != "x86_64":
        pytest.skip("no gcc for x86_64 is installed")
    source, tool = tmp_path / "tool.c", tmp_path / "tool"
    # exit_group(42)
    source.write_text('void _start(void) { __asm__("mov $231, %eax; mov $42, %edi; syscall"); }\n')
    subprocess.run([compiler, option, "-nostdlib", "-o", tool, source], check=True)
    assert subprocess.run([tool], check=False).returncode == 42
    line = "  statically linked: nothing is loaded for it"
    said = CliRunner().invoke(cli, ["lddtree", str(tool)], standalone_mode=False)
    assert (said.return_value, said.stdout.splitlines()[1:]) == (0, [line])
    wheel = write_wheel(tmp_path, {"demo-1.0.data/scripts/tool": tool.read_bytes()}, named("musllinux_1_2_x86_64"))
    said = CliRunner().invoke(cli, ["lddtree", str(wheel)], standalone_mode=False)
    assert (said.return_value, said.stdout.splitlines()) == (0, ["/<scripts>/tool", line])
    assert check_wheel(wheel).findings == ()


def test_data_are_no_trees() -> None:
    facts = wheel_facts({**CODE, "demo/data.so": elf("libnone.so", arch="aarch64")})
    assert [str(tree.root) for tree in wheel_trees(facts)] == [f"/<wheel>/{EXT}"]
