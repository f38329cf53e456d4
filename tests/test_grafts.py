"""Names of grafts: equal names mean equal bytes, and no name is libc's."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musl_repair.grafts import Graft, graft_name
from musl_repair.loader import is_reserved

A, B, C = "a" * 64, "b" * 64, "c" * 64


def name_of(
    filename: str = "libfoo.so.1",
    sha256: str = A,
    closure: tuple[str, ...] = (A, B),
    *,
    rpath: str = "$ORIGIN",
    lowered: bool = False,
) -> str:
    return graft_name(filename, sha256, closure, rpath=rpath, lowered=lowered)


def test_equal_inputs_give_equal_names() -> None:
    assert name_of() == name_of()


def test_the_closure_is_a_set() -> None:
    assert name_of(closure=(A, B, C)) == name_of(closure=(C, A, B, A))


def test_each_input_changes_the_name() -> None:
    names = [
        name_of(),
        name_of("libfoo.so.2"),
        name_of(sha256=C),
        name_of(closure=(A,)),
        name_of(closure=(A, C)),
        name_of(rpath=""),
        name_of(lowered=True),
    ]
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


def test_a_hash_is_replaced_by_the_one_that_the_content_gives() -> None:
    assert name_of("libfoo-0cd532bd.so.1") == name_of("libfoo.so.1")


@given(
    st.from_regex(r"lib(c|pthread|rt|m|dl|util|xnet)?[a-z0-9._+-]{0,12}", fullmatch=True),
    st.sampled_from([A, B, C]),
    st.booleans(),
)
def test_no_name_is_libc_s(filename: str, sha256: str, lowered: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    name = name_of(filename, sha256, lowered=lowered)
    assert not is_reserved(name)
    assert "/" not in name


def test_a_graft_is_named_as_its_member() -> None:
    graft = Graft(PurePosixPath("/usr/lib/libfoo.so.1.2"), "demo.libs/libfoo-12345678.so.1.2", A, 1, None)
    assert graft.name == "libfoo-12345678.so.1.2"
