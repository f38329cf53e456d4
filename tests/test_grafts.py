"""Names of grafts: equal names mean equal bytes, and no name is libc's."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musl_repair.grafts import Graft, Recipe, graft_name
from musl_repair.loader import is_reserved

A, B, C = "a" * 64, "b" * 64, "c" * 64


FOO = Recipe("libfoo.so.1", A, needs=(("libbar.so", "libbar.so.2", B),), rpath="$ORIGIN", lowered=False)
BAR = Recipe("libbar.so.2", B, needs=(), rpath="", lowered=False)
BAZ = Recipe("libbaz.so", C, needs=(), rpath="", lowered=False)


def name_of(filename: str, sha256: str = A) -> str:
    return graft_name(FOO._replace(filename=filename, sha256=sha256), [FOO, BAR])


def test_equal_inputs_give_equal_names() -> None:
    assert name_of("libfoo.so.1") == name_of("libfoo.so.1")


def test_the_closure_is_a_set() -> None:
    assert graft_name(FOO, [FOO, BAR, BAZ]) == graft_name(FOO, [BAZ, FOO, BAR, FOO])


def test_each_input_changes_the_name() -> None:
    changed = [
        FOO,
        FOO._replace(filename="libfoo.so.2"),
        FOO._replace(sha256=C),
        FOO._replace(needs=()),
        FOO._replace(rpath=""),
        FOO._replace(needs=(("libbar.so", "libbar.so.2", C),)),
        FOO._replace(lowered=True),
        FOO._replace(stripped=True),
    ]
    closures = [
        [FOO],
        [FOO, BAZ],
        [FOO, BAR, BAZ],
        [FOO, BAR._replace(filename="libbar.so.3")],
        [FOO, BAR._replace(lowered=True)],
        [FOO, BAR._replace(rpath="$ORIGIN")],
    ]
    names = [graft_name(graft, [FOO, BAR]) for graft in changed] + [graft_name(FOO, closure) for closure in closures]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("libfoo.so", r"libfoo-H\.so"),
        ("libfoo.so.1", r"libfoo-H\.so\.1"),
        ("libfoo.so.1.2.3", r"libfoo-H\.so\.1\.2\.3"),
        ("libfoo-1.2.so.0", r"libfoo-1\.2-H\.so\.0"),
        ("libfoo.2.so", r"libfoo\.2-H\.so"),
        ("libfoo", r"libfoo-H"),
        ("libstdc++.so.6.0.34", r"libstdc\+\+-H\.so\.6\.0\.34"),
        ("libgcc_s-0cd532bd.so.1", r"libgcc_s-H\.so\.1"),
        ("libfoo-1.2-0cd532bd.so.0", r"libfoo-1\.2-H\.so\.0"),
        ("libfoo-0cd532bd", r"libfoo-H"),
        ("libfoo-0CD532BD.so", r"libfoo-0CD532BD-H\.so"),
        ("libfoo-0cd532b.so", r"libfoo-0cd532b-H\.so"),
        ("libc.so.6", r"libc-H\.so\.6"),
        ("libm.custom.so", r"libm-H\.custom\.so"),
        ("libdl.2.so.2", r"libdl-H\.2\.so\.2"),
    ],
)
def test_the_hash_stands_before_the_suffix(filename: str, expected: str) -> None:
    assert re.fullmatch(expected.replace("H", "[0-9a-f]{8}"), name_of(filename))


@pytest.mark.parametrize(
    "filename", ["lib" + "x" * 249 + ".so", "libc." + "x" * 250, "lib.so." + "\u20ac" * 80, "x" * 255]
)
def test_a_name_fits_into_255_bytes(filename: str) -> None:
    name = name_of(filename)
    assert re.search("-[0-9a-f]{8}", name)
    assert 252 < len(name.encode()) <= 255
    assert not is_reserved(name)
    assert name != name_of(filename, B)


def test_a_name_that_just_fits_is_whole() -> None:
    assert re.fullmatch(r"lib(x{240})-[0-9a-f]{8}\.so", name_of("lib" + "x" * 240 + ".so"))


def test_names_that_differ_in_what_is_no_character_stay_apart() -> None:
    one, two = name_of("lib\udcff.so"), name_of("lib\udcfe.so")
    assert one != two
    assert one.partition("-")[0] == two.partition("-")[0] == "lib_"


@given(
    st.from_regex(r"lib(c|pthread|rt|m|dl|util|xnet)?[a-z0-9._+-]{0,12}", fullmatch=True),
    st.sampled_from([A, B, C]),
)
def test_no_name_is_libc_s(filename: str, sha256: str) -> None:
    name = name_of(filename, sha256)
    assert not is_reserved(name)
    assert "/" not in name


def test_a_graft_is_named_as_its_member() -> None:
    graft = Graft(PurePosixPath("/usr/lib/libfoo.so.1.2"), "demo.libs/libfoo-12345678.so.1.2", A, 1, None)
    assert graft.name == "libfoo-12345678.so.1.2"
