"""Architectures and tags: what is for which machine, and what a tag says."""

from __future__ import annotations

import pytest

from facts_by_hand import architecture, elf, glibc_elf
from musl_repair.abi import architectures, newest_release
from musl_repair.errors import PlatformError
from musl_repair.policy import (
    ARCHITECTURES,
    MuslTag,
    architecture_of,
    describe_target,
    is_glibc_linked,
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
        ("ppc64le", "ld-musl-powerpc64le.so.1"),
        ("s390x", "ld-musl-s390x.so.1"),
        ("riscv64", "ld-musl-riscv64.so.1"),
        ("loongarch64", "ld-musl-loongarch64.so.1"),
    ],
)
def test_each_architecture_has_its_loader(name: str, loader: str) -> None:
    assert str(architecture(name).loader) == f"/lib/{loader}"


def test_history_and_relocations_know_the_same_architectures() -> None:
    assert sorted(NAMES) == list(architectures())
    assert {one.machine for one in ARCHITECTURES} == set(RELOCATIONS)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_for_one_architecture(name: str) -> None:
    fitting = [one.name for one in ARCHITECTURES if one.fits(elf(arch=name))]
    assert fitting == [name]
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
    ],
    ids=["musl", "names alone", "musl's loader", "libstdc++'s versions", "what ld writes for DT_RELR", "look-alikes"],
)
def test_not_everything_is_glibc(file: object) -> None:
    assert not is_glibc_linked(file)  # type: ignore[arg-type] # parametrize has no types


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
