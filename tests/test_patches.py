"""Patches: which edits make a file find what it needs inside of the wheel."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from facts_by_hand import elf, paths
from musl_repair.patches import Edits, Patch, graft_patch, rpath_to, wheel_patch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from musl_repair.elf import Elf

EXT = PurePosixPath("/<wheel>/demo/_ext.so")
SYSTEM = PurePosixPath("/usr/lib/libfoo.so.1.2")
PLACES = {SYSTEM: PurePosixPath("/<wheel>/demo.libs/libfoo-12345678.so.1.2")}
NEW = "libfoo-12345678.so.1.2"


def patch_of(
    file: Elf, edges: Mapping[str, PurePosixPath] | None = None, *, lower_relr: bool = False, old_loaders: bool = False
) -> Patch:
    edits = Edits(edges or {}, PLACES, lower_relr=lower_relr)
    return wheel_patch("m", file, EXT, edits, old_loaders=old_loaders)


@pytest.mark.parametrize(
    ("patch", "edits", "changes"),
    [
        (Patch("m"), False, False),
        (Patch("m", lower_relr=True), False, True),
        (Patch("m", soname="x"), True, True),
        (Patch("m", rpath="$ORIGIN"), True, True),
        (Patch("m", rpath=""), True, True),
        (Patch("m", renames=(("a", "b"),)), True, True),
        (Patch("m", dropped=("a",)), True, True),
    ],
    ids=["nothing", "lowering", "soname", "rpath", "no rpath", "renames", "dropped"],
)
def test_what_is_a_change(patch: Patch, *, edits: bool, changes: bool) -> None:
    assert (patch.edits, patch.changes) == (edits, changes)


def test_a_file_that_needs_nothing_is_left_alone() -> None:
    assert patch_of(elf("libc.musl-x86_64.so.1")) == Patch("m")


def test_a_system_library_is_renamed_and_pointed_at() -> None:
    file = elf("libfoo.so.1", "libc.so", rpath="/usr/lib", soname="_ext.so")
    expected = Patch("m", rpath="$ORIGIN/../demo.libs", renames=(("libfoo.so.1", NEW),))
    assert patch_of(file, {"libfoo.so.1": SYSTEM}) == expected


def test_all_names_of_a_library_are_renamed_in_order() -> None:
    patch = patch_of(elf("libfoo.so.1", "libfoo.so"), {"libfoo.so.1": SYSTEM, "libfoo.so": SYSTEM})
    assert patch.renames == (("libfoo.so", NEW), ("libfoo.so.1", NEW))


def test_a_name_that_is_right_already_stays() -> None:
    assert patch_of(elf(NEW), {NEW: SYSTEM}).renames == ()


def test_a_library_of_the_wheel_keeps_its_name() -> None:
    patch = patch_of(elf("libin.so"), {"libin.so": PurePosixPath("/<wheel>/demo/lib/libin.so")})
    assert patch == Patch("m", rpath="$ORIGIN/lib")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("$ORIGIN/../demo.libs", None),
        ("${ORIGIN}/../demo.libs/", None),
        ("$ORIGIN:$ORIGIN/../demo.libs", None),
        ("$ORIGIN", "$ORIGIN:$ORIGIN/../demo.libs"),
        ("$ORIGIN:/usr/lib", "$ORIGIN:$ORIGIN/../demo.libs"),
        ("/usr/lib:$ORIGIN/../demo.libs", "$ORIGIN/../demo.libs"),
        ("$ORIGIN/../demo.libs:$LIB", "$ORIGIN/../demo.libs"),
        ("$ORIGIN/../..:$ORIGIN/../../x", "$ORIGIN/../demo.libs"),
        ("lib:.", "$ORIGIN/../demo.libs"),
        (None, "$ORIGIN/../demo.libs"),
    ],
)
def test_entries_inside_the_wheel_stay_first_and_others_go(before: str | None, after: str | None) -> None:
    assert patch_of(elf("libfoo.so.1", rpath=before), {"libfoo.so.1": SYSTEM}).rpath == after


def test_an_rpath_that_leads_out_of_the_wheel_is_removed_even_without_needs() -> None:
    assert patch_of(elf("libc.so", rpath="/usr/lib:/opt")) == Patch("m", rpath="")
    assert patch_of(elf("libc.so", runpath="/usr/lib")) == Patch("m", rpath="")


def test_runpath_is_as_good_as_rpath_where_every_promised_musl_reads_it() -> None:
    file = elf("libin.so", runpath="$ORIGIN")
    edges = {"libin.so": EXT.with_name("libin.so")}
    assert patch_of(file, edges) == Patch("m")
    assert patch_of(file, edges, old_loaders=True) == Patch("m", rpath="$ORIGIN")


def test_libpython_is_no_longer_needed() -> None:
    file = elf("libpython3.so", "libc.so", "libpython3.12.so.1.0")
    assert patch_of(file) == Patch("m", dropped=("libpython3.12.so.1.0", "libpython3.so"))


def test_lowering_is_passed_on() -> None:
    assert patch_of(elf(relr=True), lower_relr=True) == Patch("m", lower_relr=True)


# Grafts


def graft_of(file: Elf, edges: Mapping[str, PurePosixPath] | None = None, *, lower_relr: bool = False) -> Patch:
    return graft_patch("m", file, PLACES[SYSTEM], Edits(edges or {}, PLACES, lower_relr=lower_relr))


def test_a_graft_gets_its_name_as_soname() -> None:
    assert graft_of(elf(soname="libfoo.so.1")) == Patch("m", soname=NEW)
    assert graft_of(elf()) == Patch("m", soname=NEW)
    assert graft_of(elf(soname=NEW)) == Patch("m")


@pytest.mark.parametrize("file", [elf(rpath="$ORIGIN:/usr/lib", soname=NEW), elf(runpath="$ORIGIN", soname=NEW)])
def test_nothing_of_a_graft_s_search_path_is_kept(file: Elf) -> None:
    assert graft_of(file) == Patch("m", rpath="")


def test_grafts_find_each_other_beside_them() -> None:
    patch = graft_of(elf("libfoo.so.1", soname=NEW), {"libfoo.so.1": SYSTEM})
    assert patch == Patch("m", rpath="$ORIGIN", renames=(("libfoo.so.1", NEW),))


def test_a_graft_s_runpath_becomes_an_rpath() -> None:
    assert graft_of(elf("libfoo.so.1", runpath="$ORIGIN", soname=NEW), {"libfoo.so.1": SYSTEM}).rpath == "$ORIGIN"
    assert graft_of(elf("libfoo.so.1", rpath="$ORIGIN", soname=NEW), {"libfoo.so.1": SYSTEM}).rpath is None


def test_a_graft_can_need_a_library_of_the_wheel_and_no_libpython() -> None:
    patch = graft_of(
        elf("libin.so", "libpython3.12.so.1.0", soname=NEW),
        {"libin.so": PurePosixPath("/<wheel>/demo/libin.so")},
        lower_relr=True,
    )
    assert patch == Patch("m", rpath="$ORIGIN/../demo", dropped=("libpython3.12.so.1.0",), lower_relr=True)


# Search paths


@pytest.mark.parametrize(
    ("targets", "kept", "expected"),
    [
        ([], (), ""),
        (["/<wheel>/demo/liba.so"], (), "$ORIGIN"),
        (["/<wheel>/liba.so"], (), "$ORIGIN/.."),
        (["/<wheel>/demo/x/liba.so", "/<wheel>/demo/x/libb.so"], (), "$ORIGIN/x"),
        (["/<wheel>/demo.libs/liba.so"], ("$ORIGIN/../demo.libs/.",), "$ORIGIN/../demo.libs/."),
        (["/<wheel>/demo/liba.so"], ("$ORIGIN/x",), "$ORIGIN/x:$ORIGIN"),
    ],
)
def test_an_rpath_leads_to_all_targets(targets: list[str], kept: tuple[str, ...], expected: str) -> None:
    assert rpath_to(paths(targets), EXT, kept) == expected


def test_folders_are_looked_in_in_the_order_of_the_needs() -> None:
    """Planning searched them in that order: a second file of the same name in another folder must not come first."""
    assert rpath_to(paths(["/<wheel>/z/liba.so", "/<wheel>/b/libb.so"]), EXT, ()) == "$ORIGIN/../z:$ORIGIN/../b"
