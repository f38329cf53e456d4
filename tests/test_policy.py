"""Architectures and tags: what is for which machine, and what a tag says."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from builders import ElfFile, Symbol
from facts_by_hand import architecture, elf, glibc_elf
from musl_repair.abi import architectures, history, newest_release
from musl_repair.elf import read_elf
from musl_repair.elfimage import ET_EXEC
from musl_repair.errors import PlatformError
from musl_repair.loader import is_reserved
from musl_repair.policy import (
    ARCHITECTURES,
    MuslTag,
    architecture_of,
    describe_target,
    is_glibc_linked,
    is_musl_linked,
    machine_name,
    parse_tag,
    requested_tag,
)
from musl_repair.relocations import RELOCATIONS

NAMES = tuple(one.name for one in ARCHITECTURES)


@pytest.mark.parametrize(
    ("name", "loader"),
    [
        ("x86_64", "ld-musl-x86_64.so.1"),
        ("i686", "ld-musl-i386.so.1"),
        ("aarch64", "ld-musl-aarch64.so.1"),
        ("armv7l", "ld-musl-armhf.so.1"),
        ("armv6l", "ld-musl-armhf.so.1"),
        ("ppc64le", "ld-musl-powerpc64le.so.1"),
        ("s390x", "ld-musl-s390x.so.1"),
        ("riscv64", "ld-musl-riscv64.so.1"),
        ("loongarch64", "ld-musl-loongarch64.so.1"),
    ],
)
def test_each_architecture_has_its_loader(name: str, loader: str) -> None:
    assert str(architecture(name).loader) == f"/lib/{loader}"


def test_history_and_relocations_know_the_same_architectures() -> None:
    assert sorted(set(NAMES) - {"armv6l"}) == list(architectures())
    assert history("armv6l").exports_now() == history("armv7l").exports_now()
    assert {one.machine for one in ARCHITECTURES} == set(RELOCATIONS)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"armv6l"}))
def test_a_file_is_for_one_architecture(name: str) -> None:
    """But for armv6l: what of ARM's instructions a file has, its header does not say."""
    fitting = [one.name for one in ARCHITECTURES if one.fits(elf(arch=name))]
    assert fitting == ([name, "armv6l"] if name == "armv7l" else [name])
    assert architecture_of(elf(arch=name)) == architecture(name)
    assert describe_target(elf(arch=name)) == name


@pytest.mark.parametrize("name", ["aarch64", "ppc64le", "loongarch64"])
def test_some_kernels_have_pages_of_64_kib(name: str) -> None:
    assert architecture(name).max_page == 0x10000


@pytest.mark.parametrize(
    ("arch", "flags"),
    [("armv7l", 0x5000200), ("ppc64le", 1), ("riscv64", 1), ("riscv64", 3), ("riscv64", 7)],
    ids=["soft-float arm", "ELFv1 ppc64", "soft-float riscv", "single-float riscv", "quad-float riscv"],
)
def test_the_abi_is_part_of_an_architecture(arch: str, flags: int) -> None:
    stranger = elf(arch=arch)._replace(flags=flags)
    assert architecture_of(stranger) is None
    assert describe_target(stranger) == (
        f"ELF machine {stranger.machine}, {stranger.bits} bit, little endian, flags {flags:#x}"
    )


@pytest.mark.parametrize(
    ("arch", "flags"),
    [("armv7l", 0x5000400), ("armv7l", 0x5000000), ("ppc64le", 0), ("ppc64le", 2), ("riscv64", 5), ("riscv64", 4)],
)
def test_flags_that_say_nothing_else_do_no_harm(arch: str, flags: int) -> None:
    assert architecture_of(elf(arch=arch)._replace(flags=flags)) == architecture(arch)


def test_machine_class_and_byte_order_all_count() -> None:
    file = elf()
    assert architecture_of(file._replace(bits=32)) is None
    big = file._replace(little=False)
    assert architecture_of(big) is None
    assert describe_target(big) == "ELF machine 62, 64 bit, big endian, flags 0x0"
    assert architecture_of(file._replace(machine=8)) is None


# glibc


@pytest.mark.parametrize(
    "file",
    [
        glibc_elf(),
        elf("ld-linux-x86-64.so.2"),
        elf("libfoo.so", "ld-linux-aarch64.so.1"),
        elf("ld64.so.2"),
        elf(versions=[("libm.so.6", "GLIBC_2.29")]),
        elf(versions=[("libc.so.6", "GLIBC_ABI_DT_RELR"), ("libc.so.6", "GLIBC_2.17")]),
        elf(versions=[("libc.so.6", "GLIBC_PRIVATE")]),
        elf("libresolv.so.2"),
        elf("ld.so.1"),
        elf(versions=[("ld-linux-x86-64.so.2", "GLIBC_2.3")]),
        elf(interpreter="/lib64/ld-linux-x86-64.so.2", file_type=ET_EXEC),
        elf(interpreter="/lib/ld64.so.1", file_type=ET_EXEC, arch="s390x"),
    ],
)
def test_glibc_is_recognised(file: object) -> None:
    assert is_glibc_linked(file)  # type: ignore[arg-type] # parametrize has no types


@pytest.mark.parametrize(
    "file",
    [
        elf("libc.musl-x86_64.so.1"),
        elf("libc.so.6"),
        elf("ld-musl-x86_64.so.1"),
        elf(versions=[("libgcc_s.so.1", "GCC_3.0"), ("libstdc++.so.6", "GLIBCXX_3.4")]),
        elf(versions=[("libc.so.6", "GLIBC_ABI_DT_RELR")]),
        elf(versions=[("libfoo.so", "GLIBCISH_1")]),
        elf(versions=[("libgcc_s.so.1", "GLIBC_2.0")], arch="aarch64"),
        elf(versions=[("libgcc_s-1234abcd.so.1", "GLIBC_2.0")], arch="i686"),
        elf(versions=[("libcrypt.so.1", "GLIBC_2.2.5")]),
        elf("libld-linux.so.2", "ld-linux", "ld64.so"),
        elf(interpreter="/lib64/ld-linux-x86-64.so.2"),
        elf(interpreter="/lib/ld-musl-x86_64.so.1", file_type=ET_EXEC),
    ],
    ids=[
        "musl",
        "names alone",
        "musl's loader",
        "libstdc++'s versions",
        "what ld writes for DT_RELR",
        "look-alikes",
        "libgcc_s of many architectures",
        "libgcc_s, vendored",
        "libxcrypt",
        "other names",
        "a library's interpreter",
        "a program of musl",
    ],
)
def test_not_everything_is_glibc(file: object) -> None:
    assert not is_glibc_linked(file)  # type: ignore[arg-type] # parametrize has no types


def libraries_of_glibc() -> list[str]:
    """Return the names that Debian's package of glibc installs libraries under, without gconv's and the like."""
    (files, *_) = [*Path("/var/lib/dpkg/info").glob("libc6:*.list"), None]
    if files is None:
        pytest.skip("no Debian with glibc: its database of packages says what belongs to it")
    names = {Path(line).name for line in files.read_text().splitlines() if "/lib/" in line and "/gconv/" not in line}
    return sorted(name for name in names if ".so" in name and name != "ld.so")


def test_all_libraries_of_glibc_are_known() -> None:
    names = [name for name in libraries_of_glibc() if not name.endswith((".cache", ".conf"))]
    assert "libc.so.6" in names
    assert [name for name in names if not is_glibc_linked(elf(versions=[(name, "GLIBC_2.17")]))] == []
    # What musl does not take for itself, and no other project has, counts without a version.
    alone = [name for name in names if not is_reserved(name) and name != "libnsl.so.1"]
    assert [name for name in alone if not is_glibc_linked(elf(name))] == []


# Tags


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("musllinux_1_2_x86_64", MuslTag(1, 2, "x86_64")),
        ("musllinux_1_10_ppc64le", MuslTag(1, 10, "ppc64le")),
        ("musllinux_1_2", None),
        ("musllinux_1_x86_64", None),
        ("musllinux_1_2_", None),
        ("manylinux_2_17_x86_64", None),
        ("linux_x86_64", None),
        ("any", None),
        ("xmusllinux_1_2_x86_64", None),
        ("musllinux_1_2_x86_64 ", None),
        ("musllinux_1_2_x86-64", None),
        ("", None),
    ],
)
def test_tags_are_parsed(platform: str, expected: MuslTag | None) -> None:
    assert parse_tag(platform) == expected


def test_a_tag_reads_as_it_was_written() -> None:
    assert str(parse_tag("musllinux_1_2_armv7l")) == "musllinux_1_2_armv7l"


def test_tags_are_ordered_by_what_they_promise() -> None:
    assert MuslTag(1, 2, "x86_64") < MuslTag(1, 10, "x86_64") < MuslTag(2, 0, "x86_64")


@pytest.mark.parametrize(
    ("platform", "machine"),
    [
        ("linux_x86_64", "x86_64"),
        ("linux_armv6l", "armv6l"),
        ("linux_armv8l", "armv7l"),
        ("linux_i586", "i686"),
        ("linux_", ""),
        ("manylinux1_i686", "i686"),
        ("manylinux2014_aarch64", "aarch64"),
        ("manylinux_2_17_armv7l", "armv7l"),
        ("musllinux_1_2_riscv64", "riscv64"),
        ("any", None),
        ("win_amd64", None),
        ("macosx_11_0_arm64", None),
        ("musllinux_1_x86_64", None),
    ],
)
def test_tags_of_linux_name_a_machine(platform: str, machine: str | None) -> None:
    assert machine_name(platform) == machine


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("auto", None),
        ("musllinux_1_2", MuslTag(1, 2, "x86_64")),
        ("musllinux_1_1_x86_64", MuslTag(1, 1, "x86_64")),
        ("musllinux_1_0", MuslTag(1, 0, "x86_64")),
        ("musllinux_1_3", MuslTag(1, 3, "x86_64")),
        ("musllinux_2_0", MuslTag(2, 0, "x86_64")),
    ],
)
def test_requests(platform: str, expected: MuslTag | None) -> None:
    assert requested_tag(platform, "x86_64") == expected


@pytest.mark.parametrize(
    "platform", ["manylinux_2_28", "manylinux2014_x86_64", "linux_x86_64", "musllinux", "musllinux_1", "", "AUTO"]
)
def test_what_is_no_musllinux_tag_cannot_be_asked_for(platform: str) -> None:
    with pytest.raises(PlatformError, match=r"ask for auto, musllinux_X_Y or musllinux_X_Y_ARCH"):
        requested_tag(platform, "x86_64")


@pytest.mark.parametrize("version", ["9999_2", "1_9999", "1_4", "2_1", "3_0", "0_9", "999999999_999999999"])
def test_a_musl_that_cannot_be_cannot_be_asked_for(version: str) -> None:
    """The newest is 1.2: the next one is 1.3 or 2.0."""
    assert newest_release()[:2] == (1, 2)
    with pytest.raises(PlatformError, match="asks for a musl that does not exist"):
        requested_tag(f"musllinux_{version}", "x86_64")


def test_another_machine_s_tag_cannot_be_asked_for() -> None:
    with pytest.raises(PlatformError, match="the wheel is for i686, musllinux_1_2_x86_64 asks for x86_64"):
        requested_tag("musllinux_1_2_x86_64", "i686")


@pytest.mark.process
@pytest.mark.skipif(
    (platform.libc_ver()[0], platform.machine()) != ("glibc", "x86_64"), reason="there is no glibc for x86_64 here"
)
@pytest.mark.parametrize("needed", ["libc.musl-x86_64.so.1", "libc.so", "libc.so.6", ""])
def test_glibc_loads_what_is_not_linked_against_musl(needed: str, tmp_path: Path) -> None:
    path = tmp_path / "some.so"
    path.write_bytes(ElfFile(symbols=(Symbol("f"),), named=((1, needed),) if needed else ()).build())
    loads = [sys.executable, "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", str(path)]
    done = subprocess.run(loads, capture_output=True, check=False)
    assert is_musl_linked(read_elf(path.read_bytes())) == (done.returncode != 0)
