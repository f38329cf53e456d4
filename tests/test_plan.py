"""Plans: everything that a repair is going to do, from the facts of a wheel and of a system."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facts_by_hand import (
    architecture,
    elf,
    glibc_elf,
    of_code,
    paths,
    program,
    repaired,
    system,
    wheel_facts,
)
from musl_repair.arrangement import Move
from musl_repair.check import Leniency, judge_wheel
from musl_repair.errors import PlatformError, WheelError
from musl_repair.findings import Severity, errors_in
from musl_repair.loader import Scope, is_reserved, load
from musl_repair.options import Options
from musl_repair.packages import Package
from musl_repair.patches import Patch
from musl_repair.plan import Plan, make_plan
from musl_repair.record import RecordFault
from musl_repair.sysroot import DEFAULT_PATH, Unusable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facts_by_hand import System
    from musl_repair.elf import Elf
    from musl_repair.facts import Facts
    from musl_repair.wheel import WheelFile

EXT = "demo/_ext.so"
MUSL = "libc.musl-x86_64.so.1"
LENIENT = Leniency(excluded=("libcuda*",))

SYSTEM: Final = system(
    {
        "/usr/lib/libfoo.so.1.2": elf("libbar.so.2", MUSL, soname="libfoo.so.1"),
        "/usr/lib/libbar.so.2": elf(MUSL, soname="libbar.so.2", relr=True),
    },
    links={"/usr/lib/libfoo.so.1": "/usr/lib/libfoo.so.1.2"},
    packages={"/usr/lib/libfoo.so.1.2": Package("foo-libs", "1.2-r0")},
)


def plan_of(elfs: Mapping[str, Elf], target: System = SYSTEM, options: Options | None = None) -> Plan:
    return make_plan(wheel_facts(elfs), target, options or Options())


def plan_named(platform: str, elfs: Mapping[str, Elf], options: Options | None = None) -> Plan:
    facts = wheel_facts(elfs, name=f"demo-1.0-cp312-cp312-{platform}.whl")
    return make_plan(facts, SYSTEM, options or Options())


def codes(plan: Plan) -> list[str]:
    return [found.code for found in plan.findings]


# What the interpreter is asked for


@pytest.mark.parametrize(
    "name",
    [
        "demo-1.0-cp311-cp311-linux_x86_64.whl",
        "demo-1.0-cp38-abi3-linux_x86_64.whl",
        "demo-1.0-pp310-pypy310_pp73-linux_x86_64.whl",
    ],
    ids=["cp311", "abi3", "PyPy"],
)
def test_a_plan_says_of_the_interpreter_what_check_says_of_the_wheel(name: str) -> None:
    files = {
        "demo/_ext.cpython-312-x86_64-linux-musl.so": elf(
            imports=["PyErr_GetRaisedException"], exports=["PyInit__ext"]
        ),
        "demo/_two.abi3.so": elf(imports=["PyUnicode_AsUTF8", "PyFooBarBaz"], exports=["PyInit__two"]),
    }
    facts = wheel_facts(files, name=name)
    plan = make_plan(facts, SYSTEM, Options())
    assert plan.findings
    assert {found for found in judge_wheel(facts).findings if found.code != "duplicate-library"} == {
        found for found in plan.findings if found.code != "duplicate-library"
    }


# A whole plan


def test_a_wheel_with_a_library_of_the_system() -> None:
    plan = plan_of({EXT: elf("libfoo.so.1", MUSL, rpath="/usr/lib")})
    bar, foo = plan.grafts
    assert str(plan.result) == "demo-1.0-cp312-cp312-musllinux_1_2_x86_64.whl"
    assert (foo.source, foo.owner) == (PurePosixPath("/usr/lib/libfoo.so.1.2"), Package("foo-libs", "1.2-r0"))
    assert foo.sha256 == SYSTEM.digest(PurePosixPath("/usr/lib/libfoo.so.1"))
    assert foo.size == SYSTEM.size(PurePosixPath("/usr/lib/libfoo.so.1"))
    assert foo.name.startswith("libfoo-")
    assert foo.name.endswith(".so.1.2")
    assert bar.owner is None
    assert plan.patches == (
        Patch(bar.member, soname=bar.name, lower_relr=True),
        Patch(foo.member, soname=foo.name, rpath="$ORIGIN", renames=(("libbar.so.2", bar.name),)),
        Patch(EXT, rpath="$ORIGIN/../demo.libs", renames=(("libfoo.so.1", foo.name),)),
    )
    assert plan.members == {
        PurePosixPath("/<wheel>/demo/_ext.so"): EXT,
        PurePosixPath("/usr/lib/libfoo.so.1.2"): foo.member,
        PurePosixPath("/usr/lib/libbar.so.2"): bar.member,
    }
    assert (plan.moves, plan.findings, plan.rewrites_record, plan.changes) == ((), (), False, True)


def test_a_finished_wheel_changes_nothing() -> None:
    plan = plan_named("musllinux_1_2_x86_64", {EXT: elf(MUSL)})
    assert (plan.changes, plan.patches, plan.findings) == (False, (), ())


def test_a_wheel_that_only_lacks_its_tag_changes() -> None:
    plan = plan_of({EXT: elf(MUSL)})
    assert (plan.changes, plan.patches) == (True, ())


def test_a_record_that_is_wrong_in_its_form_is_written_anew() -> None:
    fault = RecordFault("demo/__init__.py", "is in the wheel but not in RECORD", mendable=True)
    facts = wheel_facts({EXT: elf(MUSL)}, name="demo-1.0-cp312-cp312-musllinux_1_2_x86_64.whl", record_faults=[fault])
    plan = make_plan(facts, SYSTEM, Options())
    assert (plan.rewrites_record, plan.changes) == (True, True)
    assert [(found.code, found.severity) for found in plan.findings] == [("record-mismatch", Severity.NOTE)]


def test_links_to_one_file_give_one_graft() -> None:
    target = system(
        {"/usr/lib/libfoo.so.1.2": elf()},
        links={"/usr/lib/libfoo.so.1": "/usr/lib/libfoo.so.1.2", "/lib/libfoo.so": "/usr/lib/libfoo.so.1.2"},
    )
    plan = plan_of({EXT: elf("libfoo.so.1", "libfoo.so"), "demo/other.so": elf("libfoo.so.1.2")}, target)
    (graft,) = plan.grafts
    renames = {patch.member: patch.renames for patch in plan.patches}
    assert renames[EXT] == (("libfoo.so", graft.name), ("libfoo.so.1", graft.name))
    assert renames["demo/other.so"] == (("libfoo.so.1.2", graft.name),)


def test_a_library_named_like_libc_gets_another_name() -> None:
    target = system({"/usr/lib/libm.custom.so": elf()}, links={"/usr/lib/libfoo.so": "/usr/lib/libm.custom.so"})
    (graft,) = plan_of({EXT: elf("libfoo.so")}, target).grafts
    assert not is_reserved(graft.name)


def test_a_library_folder_has_a_name_that_a_file_system_takes() -> None:
    with pytest.raises(WheelError, match="name that is too long: choose a shorter --lib-sdir"):
        plan_of({EXT: elf("libfoo.so.1")}, options=Options(lib_suffix="." + "x" * 243))


def test_cycles_among_grafts() -> None:
    target = system({"/usr/lib/liba.so": elf("libb.so"), "/usr/lib/libb.so": elf("liba.so")})
    plan = plan_of({EXT: elf("liba.so")}, target)
    one, two = plan.grafts
    assert [patch.renames for patch in plan.patches if patch.soname] == [
        (("libb.so", two.name),),
        (("liba.so", one.name),),
    ]


def test_a_mapping_says_where_the_libraries_are_put() -> None:
    plan = plan_of({EXT: elf("libfoo.so.1")}, options=Options(lib_suffix="_libs"))
    assert {graft.member.rpartition("/")[0] for graft in plan.grafts} == {"demo_libs"}


def test_the_user_s_folders_come_before_the_system_s() -> None:
    target = system({"/usr/lib/liba.so": elf(), "/opt/liba.so": elf(relr=True)})
    plan = plan_of({EXT: elf("liba.so")}, target, Options(library_path=paths(["/opt"])))
    assert [graft.source for graft in plan.grafts] == [PurePosixPath("/opt/liba.so")]


def test_what_is_excluded_stays_outside() -> None:
    plan = plan_of({EXT: elf("libfoo.so.1", "libnone.so")}, options=Options(exclude=("libbar.*", "libnone.*")))
    assert [graft.source.name for graft in plan.grafts] == ["libfoo.so.1.2"]
    assert errors_in(plan.findings) == ()


def test_libpython_is_dropped_with_a_note() -> None:
    plan = plan_of({EXT: elf("libpython3.12.so.1.0")})
    assert plan.patches == (Patch(EXT, dropped=("libpython3.12.so.1.0",)),)
    (note,) = plan.findings
    assert (note.code, note.severity, note.subject) == ("libpython-linked", Severity.NOTE, EXT)


# Lowering


@pytest.mark.parametrize(
    ("platform", "lower", "lowered"),
    [
        ("musllinux_1_2", True, True),
        ("musllinux_1_2", False, False),
        ("musllinux_1_3", True, False),
        ("musllinux_1_1", True, True),
    ],
    ids=["by default", "unless it is turned off", "not where every musl reads it", "for old musl too"],
)
def test_relr_is_lowered(platform: str, *, lower: bool, lowered: bool) -> None:
    files = {EXT: elf("libbar.so.2", relr=True), "demo/b.so": elf(relr=True)}
    plan = plan_of(files, options=Options(platform=platform, lower_relr=lower))
    assert len(plan.patches) == (3 if lowered else 2)
    assert {patch.lower_relr for patch in plan.patches} == {lowered}


def test_relr_that_is_kept_is_what_the_tag_gets_a_warning_for() -> None:
    plan = plan_of({EXT: elf(relr=True)}, options=Options(lower_relr=False))
    assert errors_in(plan.findings) == ()
    assert of_code(plan.findings, "relr-before-1.2.4")


def test_runpath_becomes_rpath_where_the_tag_promises_a_musl_that_does_not_read_it() -> None:
    files = {EXT: elf("libin.so", runpath="$ORIGIN"), "demo/libin.so": elf()}
    assert plan_of(files, options=Options(platform="musllinux_1_2")).patches == ()
    assert plan_of(files, options=Options(platform="musllinux_1_1")).patches == (Patch(EXT, rpath="$ORIGIN"),)


# Polyfills


def test_a_polyfill_keeps_what_the_tag_promises() -> None:
    files = {EXT: elf(MUSL, imports=["reallocarray", "printf"]), "demo/b.so": elf(imports=["printf"])}
    plan = plan_of(files, options=Options(polyfill=True, platform="musllinux_1_1"))
    (graft,) = plan.grafts
    assert graft.content is not None
    assert (graft.size, graft.owner) == (len(graft.content), None)
    assert plan.patches == (Patch(EXT, rpath="$ORIGIN/../demo.libs", added=(graft.name,)),)
    assert errors_in(plan.findings) == ()


def test_a_graft_can_need_a_polyfill() -> None:
    target = system({"/usr/lib/liba.so": elf(imports=["reallocarray"])})
    plain = plan_of({EXT: elf("liba.so")}, target)
    filled = plan_of({EXT: elf("liba.so")}, target, Options(polyfill=True))
    (polyfill,) = (graft for graft in filled.grafts if graft.content is not None)
    (graft,) = (graft for graft in filled.grafts if graft.content is None)
    (patch,) = (patch for patch in filled.patches if patch.member == graft.member)
    assert (patch.added, patch.rpath) == ((polyfill.name,), "$ORIGIN")
    assert graft.name not in {other.name for other in plain.grafts}


@pytest.mark.parametrize(
    "options",
    [Options(), Options(polyfill=True, platform="musllinux_1_3")],
    ids=["unless they are wanted", "where every promised musl has the function"],
)
def test_no_polyfill_is_added(options: Options) -> None:
    plan = plan_of({EXT: elf(imports=["reallocarray"])}, options=options)
    assert (plan.grafts, plan.patches) == ((), ())


def test_a_polyfill_cannot_be_reached_from_scripts() -> None:
    files = {EXT: elf()}
    files["demo-1.0.data/scripts/tool"] = program()._replace(imports=elf(imports=["reallocarray"]).imports)
    (found,) = errors_in(plan_of(files, options=Options(polyfill=True, platform="musllinux_1_1")).findings)
    assert (found.code, found.subject) == ("elf-outside-site-packages", "demo-1.0.data/scripts/tool")


def test_each_scheme_gets_the_polyfills_that_its_files_need() -> None:
    files = {EXT: elf(imports=["reallocarray"]), "demo-1.0.data/data/lib/liba.so": elf(imports=["qsort_r"])}
    files["demo-1.0.data/headers/b.so"] = elf()
    plan = plan_of(files, options=Options(polyfill=True, platform="musllinux_1_1"))
    assert errors_in(plan.findings) == ()
    outside, inside = plan.grafts
    assert inside.source.name == "reallocarray.so"
    assert outside.source.name == "qsort_r.so"
    assert inside.member == f"demo.libs/{inside.name}"
    assert outside.member == f"demo-1.0.data/data/demo-data.libs/{outside.name}"
    assert plan.patches == (
        Patch("demo-1.0.data/data/lib/liba.so", rpath="$ORIGIN/../demo-data.libs", added=(outside.name,)),
        Patch(EXT, rpath="$ORIGIN/../demo.libs", added=(inside.name,)),
    )


# Needs that are paths


def test_needs_that_are_paths_become_file_names() -> None:
    needs = ("/usr/lib/libfoo.so.1", "build/libin.so", "/lib/libc.so", "/lib/libpython3.12.so.1.0", "x/libcuda.so.1")
    files = {EXT: elf(*needs), "demo/lib/libin.so": elf()}
    plan = plan_of(files, options=Options(exclude=("libcuda*",)))
    foo = next(graft for graft in plan.grafts if graft.name.startswith("libfoo"))
    (patch,) = (patch for patch in plan.patches if patch.member == EXT)
    assert dict(patch.renames) == {
        "/usr/lib/libfoo.so.1": foo.name,
        "build/libin.so": "libin.so",
        "/lib/libc.so": "libc.so",
        "x/libcuda.so.1": "libcuda.so.1",
    }
    assert patch.dropped == ("/lib/libpython3.12.so.1.0",)
    assert errors_in(plan.findings) == ()
    left = [found.code for found in judge_wheel(repaired(wheel_facts(files), plan), LENIENT).findings]
    assert left == ["library-excluded-not-found"]


def test_a_program_that_needs_musl_by_a_path_stays() -> None:
    plan = plan_of({"demo-1.0.data/scripts/tool": program("/lib/libc.so", "/opt/ld-musl-x86_64.so.1")})
    assert plan.moves == ()
    assert [dict(patch.renames) for patch in plan.patches] == [
        {"/lib/libc.so": "libc.so", "/opt/ld-musl-x86_64.so.1": "libc.so"}
    ]


def test_a_name_that_is_kept_is_that_of_a_path_too() -> None:
    target = system({"/opt/libfoo.so": elf(MUSL)})
    plan = plan_of({EXT: elf("/opt/libfoo.so")}, target, Options(no_mangle=("libfoo.so",)))
    assert [graft.member for graft in plan.grafts] == ["demo.libs/libfoo.so"]
    assert [dict(patch.renames) for patch in plan.patches if patch.member == EXT] == [{"/opt/libfoo.so": "libfoo.so"}]


# Folders that no rpath can name


@pytest.mark.parametrize(
    ("at", "library", "expected"),
    [
        ("demo/a:b/_ext.so", "demo/libin.so", True),
        ("demo/a\nb/_ext.so", "demo/libin.so", True),
        ("demo/_ext.so", "demo/a:b/libin.so", True),
        ("demo/_ext.so", "demo/a$b/libin.so", True),
        ("demo/a$b/_ext.so", "demo/libin.so", False),
        ("demo/a$b/_ext.so", "demo/a$b/libin.so", False),
        ("demo/a:b/_ext.so", "demo/a:b/libin.so", True),
    ],
)
def test_a_folder_that_an_rpath_cannot_name_is_an_error(at: str, library: str, *, expected: bool) -> None:
    found = errors_in(plan_of({at: elf("libin.so"), library: elf()}).findings)
    assert [(one.code, one.subject) for one in found] == ([("folder-breaks-rpath", at)] if expected else [])


def test_a_file_in_such_a_folder_that_needs_nothing_is_in_order() -> None:
    assert plan_of({"demo/a:b/_ext.so": elf(MUSL, rpath="$ORIGIN/../lib")}).findings == ()


# Stripping


def test_every_file_is_stripped_that_is_or_comes_into_the_wheel() -> None:
    plan = plan_of({EXT: elf("libfoo.so.1"), "demo/b.so": elf(MUSL)}, options=Options(strip=True))
    assert len(plan.patches) == 4
    assert {patch.strip for patch in plan.patches} == {True}
    assert [patch for patch in plan.patches if patch.member == "demo/b.so"] == [Patch("demo/b.so", strip=True)]


# Tags


@pytest.mark.parametrize("platform", ["musllinux_1_2", "musllinux_1_2_x86_64"])
def test_a_tag_can_be_asked_for(platform: str) -> None:
    assert plan_of({EXT: elf(MUSL)}, options=Options(platform=platform)).result.platform == "musllinux_1_2_x86_64"


def test_auto_is_the_higher_of_system_and_need() -> None:
    old = system(musl="1.1.24")
    assert plan_of({EXT: elf()}, old).result.platform == "musllinux_1_1_x86_64"
    assert plan_of({EXT: elf(imports=["reallocarray"])}, old).result.platform == "musllinux_1_2_x86_64"
    assert plan_of({EXT: elf()}).result.platform == "musllinux_1_2_x86_64"


@pytest.mark.parametrize("platform", ["musllinux_1_1_x86_64", "musllinux_1_1_x86_64.musllinux_1_2_x86_64"])
def test_a_tagged_wheel_keeps_its_tags_unless_it_gets_libraries(platform: str) -> None:
    assert plan_named(platform, {EXT: elf(MUSL)}).result.platform == platform
    assert plan_named(platform, {EXT: elf("libfoo.so.1")}).result.platform == "musllinux_1_2_x86_64"
    asked = plan_named(platform, {EXT: elf(MUSL)}, Options(platform="musllinux_1_2"))
    assert asked.result.platform == "musllinux_1_2_x86_64"


@pytest.mark.parametrize(
    ("platform", "file", "result", "dropped"),
    [
        ("win_amd64.linux_x86_64", elf(MUSL), "musllinux_1_2_x86_64", ["win_amd64"]),
        ("manylinux_2_17_x86_64.linux_x86_64", elf(MUSL), "musllinux_1_2_x86_64", ["manylinux_2_17_x86_64"]),
        ("manylinux_2_17_x86_64", elf(MUSL), "musllinux_1_2_x86_64", ["manylinux_2_17_x86_64"]),
        ("musllinux_1_1_aarch64.musllinux_1_1_x86_64", elf(MUSL), "musllinux_1_1_x86_64", ["musllinux_1_1_aarch64"]),
        ("manylinux1_x86_64.musllinux_1_1_x86_64", elf(), "manylinux1_x86_64.musllinux_1_1_x86_64", []),
        ("manylinux1_x86_64.linux_x86_64", elf(), "manylinux1_x86_64.musllinux_1_2_x86_64", []),
        ("manylinux1_x86_64", elf("libfoo.so.1"), "musllinux_1_2_x86_64", []),
    ],
    ids=[
        "another system",
        "another C library",
        "another C library alone",
        "another machine",
        "what needs no libc",
        "what needs no libc, and was built here",
        "what gets libraries of musl",
    ],
)
def test_tags_that_cannot_be_true_are_left_out_with_a_note(
    platform: str, file: Elf, result: str, dropped: list[str]
) -> None:
    plan = plan_named(platform, {EXT: file})
    assert plan.result.platform == result
    found = of_code(plan.findings, "tag-mismatch")
    assert [one.severity for one in found] == [Severity.NOTE] * len(dropped)
    assert [one.detail.split(",")[0] for one in found] == [f"the file name says {tag}" for tag in dropped]


def test_a_tag_for_what_else_is_in_the_wheel_stays() -> None:
    name = "demo-1.0-py3-none-win_amd64.musllinux_1_1_x86_64.whl"
    plan = make_plan(wheel_facts({EXT: elf(MUSL)}, name=name, systems={"demo/x.dll": "Windows"}), SYSTEM, Options())
    assert (str(plan.result), plan.changes, plan.findings) == (name, False, ())


@pytest.mark.parametrize("platform", ["linux_aarch64.win_amd64", "musllinux_1_2_aarch64"])
def test_where_no_tag_can_be_true_the_wheel_is_refused(platform: str) -> None:
    plan = plan_named(platform, {EXT: elf(MUSL)})
    assert {found.code for found in errors_in(plan.findings)} == {"tag-mismatch"}


def test_tags_that_are_to_stay_and_cannot_be_true_are_refused() -> None:
    (found,) = errors_in(
        plan_named("manylinux1_x86_64.musllinux_1_2_x86_64", {EXT: elf(MUSL)}, Options(update_tags=False)).findings
    )
    assert (found.code, found.detail.split(",")[0]) == ("tag-mismatch", "the file name says manylinux1_x86_64")
    assert "--no-update-tags" in found.remedy


@pytest.mark.parametrize("platform", ["manylinux_2_28_x86_64", "musllinux_1_2_aarch64", "linux_x86_64"])
def test_what_cannot_be_asked_for_raises(platform: str) -> None:
    with pytest.raises(PlatformError):
        plan_of({EXT: elf(MUSL)}, options=Options(platform=platform))


def test_a_tag_that_is_too_low_is_refused_with_file_and_symbol() -> None:
    plan = plan_of({EXT: elf(imports=["reallocarray"])}, options=Options(platform="musllinux_1_1"))
    (found,) = errors_in(plan.findings)
    assert (found.code, found.subject) == ("tag-too-low", "musllinux_1_1_x86_64")
    assert found.detail == f"reallocarray is there since musl 1.2.2; needed by {EXT}"


def test_a_graft_s_needs_count_and_are_told_with_its_source() -> None:
    target = system({"/usr/lib/liba.so": elf(imports=["reallocarray"])})
    plan = plan_of({EXT: elf("liba.so")}, target, Options(platform="musllinux_1_1"))
    (found,) = errors_in(plan.findings)
    assert "reallocarray" in found.detail
    assert "/usr/lib/liba.so" in found.detail


def test_a_patch_release_that_is_needed_is_a_warning() -> None:
    plan = plan_of({EXT: elf(imports=["reallocarray"])})
    (found,) = plan.findings
    assert (found.code, found.severity) == ("tag-promises-too-much", Severity.WARNING)


@pytest.mark.parametrize(
    "elfs",
    [
        {EXT: elf(weak=["reallocarray"])},
        {EXT: elf("libin.so", imports=["reallocarray"]), "demo/libin.so": elf(exports=["reallocarray"])},
        {EXT: elf(imports=["printf", "stat64"])},
    ],
    ids=["weak symbols", "what the wheel has itself", "what old musl has"],
)
def test_these_need_no_newer_musl(elfs: dict[str, Elf]) -> None:
    plan = plan_of(elfs, options=Options(platform="musllinux_1_1"))
    assert of_code(plan.findings, "tag-too-low") == []


def test_findings_that_the_user_accepts_are_not_told() -> None:
    options = Options(accepted=frozenset({"tag-promises-too-much"}))
    assert plan_of({EXT: elf(imports=["reallocarray"])}, options=options).findings == ()


def test_tags_can_be_left_as_they_are() -> None:
    plan = plan_of({EXT: elf("libfoo.so.1")}, options=Options(update_tags=False))
    assert plan.result == plan.wheel
    assert len(plan.grafts) == 2


# Where things go


@pytest.mark.parametrize(
    ("member", "pure", "folder"),
    [
        (EXT, False, "demo.libs"),
        (EXT, True, "demo.libs"),
        ("_ext.so", False, "demo.libs"),
        ("demo-1.0.data/platlib/demo/_ext.so", True, "demo-1.0.data/platlib/demo.libs"),
        ("demo-1.0.data/platlib/demo/_ext.so", False, "demo.libs"),
        ("demo-1.0.data/purelib/demo/_ext.so", False, "demo.libs"),
    ],
)
def test_the_library_folder_is_beside_the_packages(member: str, folder: str, *, pure: bool) -> None:
    plan = make_plan(wheel_facts({member: elf("libfoo.so.1")}, pure=pure), SYSTEM, Options())
    assert {graft.member.rpartition("/")[0] for graft in plan.grafts} == {folder}
    (rpath,) = (patch.rpath for patch in plan.patches if patch.member == member)
    assert rpath == ("$ORIGIN/demo.libs" if member == "_ext.so" else "$ORIGIN/../demo.libs")


def test_site_packages_is_one_folder_however_files_get_there() -> None:
    files = {EXT: elf("liba.so"), "demo-1.0.data/platlib/x/liba.so": elf("libb.so")}
    files["demo-1.0.data/purelib/y/libb.so"] = elf()
    plan = plan_of(files)
    assert errors_in(plan.findings) == ()
    assert {patch.member: patch.rpath for patch in plan.patches} == {
        EXT: "$ORIGIN/../x",
        "demo-1.0.data/platlib/x/liba.so": "$ORIGIN/../y",
    }


def test_a_program_that_needs_a_library_moves_beside_it() -> None:
    tool = "demo-1.0.data/scripts/tool"
    plan = plan_of({tool: program("libfoo.so.1", MUSL)})
    assert plan.moves == (Move(tool, "demo.libs/tool"),)
    (patch,) = (patch for patch in plan.patches if patch.member == "demo.libs/tool")
    assert patch.rpath == "$ORIGIN"
    assert PurePosixPath("/<scripts>/tool") not in plan.members
    assert plan.members[PurePosixPath("/<wheel>/demo.libs/tool")] == "demo.libs/tool"
    assert errors_in(plan.findings) == ()


def test_a_program_can_need_a_library_of_the_wheel() -> None:
    plan = plan_of({"demo-1.0.data/scripts/tool": program("libin.so"), "demo/lib/libin.so": elf()})
    (patch,) = plan.patches
    assert (patch.member, patch.rpath) == ("demo.libs/tool", "$ORIGIN/../demo/lib")


@pytest.mark.parametrize("needed", [(), (MUSL, "libm.so.6"), ("/lib/ld-musl-x86_64.so.1",), ("libcuda.so.1",)])
def test_a_program_that_needs_none_stays(needed: tuple[str, ...]) -> None:
    plan = plan_of({"demo-1.0.data/scripts/tool": program(*needed)}, options=Options(exclude=("libcuda.*",)))
    assert (plan.moves, plan.patches, errors_in(plan.findings)) == ((), (), ())


@pytest.mark.parametrize("scheme", ["data", "headers"])
def test_the_libraries_of_another_scheme_are_in_that_scheme(scheme: str) -> None:
    member = f"demo-1.0.data/{scheme}/lib/liba.so"
    plan = plan_of({member: elf("libbar.so.2")})
    (graft,) = plan.grafts
    assert graft.member == f"demo-1.0.data/{scheme}/demo-{scheme}.libs/{graft.name}"
    rpath = f"$ORIGIN/../demo-{scheme}.libs"
    assert plan.patches[-1] == Patch(member, rpath=rpath, renames=(("libbar.so.2", graft.name),))
    assert plan.needs[member] == {"libbar.so.2": graft.member}
    assert plan.findings == ()


def test_what_two_schemes_need_is_in_both() -> None:
    """The copies have the same bytes, and so the same name."""
    member = "demo-1.0.data/data/lib/liba.so"
    plan = plan_of({EXT: elf("libfoo.so.1"), member: elf("libfoo.so.1")})
    names = {graft.name for graft in plan.grafts}
    folders = ("demo-1.0.data/data/demo-data.libs", "demo.libs")
    assert [graft.member for graft in plan.grafts] == [f"{at}/{name}" for at in folders for name in sorted(names)]
    assert {patch.member: patch.rpath for patch in plan.patches if not patch.soname} == {
        EXT: "$ORIGIN/../demo.libs",
        member: "$ORIGIN/../demo-data.libs",
    }
    foo = next(graft for graft in plan.grafts if graft.name.startswith("libfoo") and graft.member.startswith("demo.l"))
    assert plan.needs[EXT] == {"libfoo.so.1": foo.member}
    assert plan.needs[member] == {"libfoo.so.1": f"demo-1.0.data/data/demo-data.libs/{foo.name}"}
    assert (
        judge_wheel(repaired(wheel_facts({EXT: elf("libfoo.so.1"), member: elf("libfoo.so.1")}), plan)).findings == ()
    )


def test_copies_that_find_other_libraries_have_other_names() -> None:
    target = system({"/usr/lib/libfoo.so": elf("libin.so")})
    member, inside = "demo-1.0.data/data/lib/liba.so", "demo-1.0.data/data/x/libin.so"
    needs = elf("libfoo.so", "libin.so")
    plan = plan_of({EXT: needs, member: needs, "demo/libin.so": elf(), inside: elf()}, target)
    assert errors_in(plan.findings) == ()
    one, two = plan.grafts
    assert {plan.needs[one.member]["libin.so"], plan.needs[two.member]["libin.so"]} == {"demo/libin.so", inside}
    assert one.name != two.name
    assert {patch.rpath for patch in plan.patches if patch.soname} == {"$ORIGIN/../x", "$ORIGIN/../demo"}


def test_a_library_of_one_scheme_does_not_stand_for_a_need_of_another() -> None:
    foo, member = elf(MUSL)._replace(build_id="b1"), "demo-1.0.data/data/lib/liba.so"
    target = system({"/usr/lib/libfoo.so.1": foo})
    plan = plan_of({"demo.libs/libfoo-old.so.1": foo, member: elf("libfoo.so.1")}, target)
    (graft,) = plan.grafts
    assert (graft.source.name, errors_in(plan.findings)) == ("libfoo.so.1", ())
    assert graft.member.startswith("demo-1.0.data/data/demo-data.libs/")


def test_a_graft_of_an_earlier_repair_is_taken_in_its_own_scheme_only() -> None:
    member = "demo-1.0.data/data/lib/liba.so"
    first = plan_of({EXT: elf("libbar.so.2")})
    facts = repaired(wheel_facts({EXT: elf("libbar.so.2")}), first)
    again = wheel_facts({**facts.elfs, "demo/new.so": elf("libbar.so.2"), member: elf("libbar.so.2")})
    plan = make_plan(again, SYSTEM, Options())
    (graft,) = plan.grafts
    assert graft.member.startswith("demo-1.0.data/data/demo-data.libs/")
    assert plan.needs["demo/new.so"] == {"libbar.so.2": first.grafts[0].member}
    assert plan.needs[member] == {"libbar.so.2": graft.member}
    assert errors_in(plan.findings) == ()


def test_files_of_one_scheme_reach_each_other() -> None:
    files = {
        "demo-1.0.data/data/bin/tool": program("liba.so", rpath="$ORIGIN/../lib"),
        "demo-1.0.data/data/lib/liba.so": elf(),
    }
    plan = plan_of(files)
    assert (plan.patches, plan.findings) == ((), ())


def test_a_member_that_is_there_already_is_a_collision() -> None:
    (graft,) = plan_of({EXT: elf("libbar.so.2")}).grafts
    facts = wheel_facts({EXT: elf("libbar.so.2")}, others=[graft.member])
    assert [found.subject for found in of_code(make_plan(facts, SYSTEM, Options()).findings, "member-collision")] == [
        graft.member
    ]


def test_a_program_that_moves_onto_a_file_is_a_collision() -> None:
    facts = wheel_facts({"demo-1.0.data/scripts/tool": program("libbar.so.2")}, others=["demo.libs/tool"])
    assert "member-collision" in codes(make_plan(facts, SYSTEM, Options()))


# The form of a wheel


def wheel_file_of(plan: Plan) -> WheelFile:
    assert plan.wheel_file is not None
    return plan.wheel_file


@pytest.mark.parametrize(
    ("member", "pure", "leaves"),
    [
        (EXT, True, True),
        (EXT, False, False),
        ("demo-1.0.data/platlib/demo/_ext.so", True, False),
        ("demo-1.0.data/scripts/tool", True, True),
    ],
    ids=["in the root", "in a root that is not pure", "in platlib", "a program that moves into the root"],
)
def test_a_root_with_elf_files_is_not_pure(member: str, *, pure: bool, leaves: bool) -> None:
    interpreter = str(architecture().loader) if "scripts" in member else None
    facts = wheel_facts({member: elf("libfoo.so.1", interpreter=interpreter)}, pure=pure)
    plan = make_plan(facts, SYSTEM, Options())
    assert wheel_file_of(plan).leaves_purelib == leaves
    assert of_code(judge_wheel(repaired(facts, plan)).findings, "elf-in-purelib") == []
    assert of_code(plan.findings, "elf-in-purelib") == []


def test_elf_files_in_purelib_stay_there_with_a_warning() -> None:
    plan = make_plan(wheel_facts({"demo-1.0.data/purelib/demo/_ext.so": elf()}), SYSTEM, Options())
    assert not wheel_file_of(plan).leaves_purelib
    assert codes(plan) == ["elf-in-purelib"]


@pytest.mark.parametrize(
    ("tags", "expands", "corrects"),
    [
        (["cp311.cp312-abi3-musllinux_1_2_x86_64"], True, False),
        (["cp312-abi3-musllinux_1_2_x86_64"], False, True),
        ([], False, True),
    ],
)
def test_what_is_done_to_the_tags_of_wheel_is_told(tags: list[str], *, expands: bool, corrects: bool) -> None:
    name = "demo-1.0-cp311.cp312-abi3-musllinux_1_2_x86_64.whl"
    plan = make_plan(wheel_facts({EXT: elf(MUSL)}, name=name, tags=tags), SYSTEM, Options())
    assert (wheel_file_of(plan).expands, wheel_file_of(plan).corrects, plan.findings) == (expands, corrects, ())


def test_a_data_folder_of_another_name_is_renamed() -> None:
    files = {"demo-1.0-1.data/scripts/tool": program("libfoo.so.1"), "demo-1.0-1.data/platlib/demo/_ext.so": elf(MUSL)}
    others = ["demo-1.0.data/scripts/hello", "demo-1.0-1.data/data/share/x"]
    facts = wheel_facts(files, others=others, data_folders=("demo-1.0-1.data",))
    plan = make_plan(facts, SYSTEM, Options())
    assert (plan.renames, plan.findings) == ({"demo-1.0-1.data": "demo-1.0.data"}, ())
    assert plan.moves == (Move("demo-1.0.data/scripts/tool", "demo.libs/tool"),)
    assert set(plan.members.values()) >= {"demo-1.0.data/platlib/demo/_ext.so", "demo.libs/tool"}
    assert all(not patch.member.startswith("demo-1.0-1.data") for patch in plan.patches)
    assert plan.changes


def test_programs_of_one_content_are_moved_both() -> None:
    scripts = [f"demo-1.0.data/scripts/{name}" for name in ("one", "two")]
    plan = plan_of(dict.fromkeys(scripts, program("libfoo.so.1")))
    assert [move.moved for move in plan.moves] == ["demo.libs/one", "demo.libs/two"]


def test_files_of_two_data_folders_that_would_be_one_are_a_collision() -> None:
    others = ["demo-1.0.data/scripts/tool", "demo-1.0-1.data/scripts/tool", "demo-1.0-1.data/scripts/Tool"]
    facts = wheel_facts({EXT: elf(MUSL)}, others=others, data_folders=("demo-1.0-1.data",))
    (found,) = errors_in(make_plan(facts, SYSTEM, Options()).findings)
    assert (found.code, found.subject) == ("member-collision", "demo-1.0.data/scripts/tool")
    assert "demo-1.0-1.data/scripts/tool" in found.detail


def test_a_data_folder_that_pip_refuses_is_left_alone_with_a_warning() -> None:
    facts = wheel_facts({EXT: elf(MUSL)}, others=["other.data/bin/tool"])
    plan = make_plan(facts, SYSTEM, Options())
    assert ([(found.code, found.severity) for found in plan.findings], plan.renames) == (
        [("data-folder", Severity.WARNING)],
        {},
    )


# Refusals


def test_a_wheel_without_elf_files_is_refused() -> None:
    with pytest.raises(WheelError, match="has no ELF file that musl could load"):
        plan_of({})
    with pytest.raises(WheelError):
        plan_of({"demo/object.o": elf(file_type=1)})


def test_a_wheel_without_elf_files_can_be_let_through_as_it_is() -> None:
    facts = wheel_facts({}, name="demo-1.0-py3-none-any.whl")
    plan = make_plan(facts, SYSTEM, Options(allow_pure=True))
    assert (plan.architecture, plan.changes, plan.result) == (None, False, facts.wheel.name)


@pytest.mark.parametrize(
    ("platform", "system"),
    [
        ("win_amd64", "Windows"),
        ("win32.win_amd64", "Windows"),
        ("macosx_11_0_arm64.win_amd64", "Windows and macOS"),
        ("android_24_x86_64", "Android"),
        ("pyodide_2025_0_wasm32", "WebAssembly"),
    ],
)
@pytest.mark.parametrize("elfs", [{}, {EXT: elf(MUSL)}], ids=["without ELF files", "with one"])
def test_a_wheel_for_other_systems_is_refused_as_that(platform: str, system: str, elfs: dict[str, Elf]) -> None:
    with pytest.raises(WheelError, match=f"is a wheel for {system}, by its tags"):
        plan_named(platform, elfs, Options(allow_pure=True))


def test_mixed_architectures_are_refused_as_a_whole() -> None:
    arm = elf(arch="aarch64", exports=["PyInit_arm"])
    plan = plan_of({EXT: elf("libfoo.so.1"), "demo/b.so": elf(), "demo/arm.so": arm})
    (found,) = errors_in(plan.findings)
    assert (found.code, found.subject) == ("wrong-architecture", "demo/arm.so")
    assert found.detail == "the file is for aarch64; the wheel is for x86_64"
    assert not plan.changes


def test_an_architecture_without_a_tag_is_refused() -> None:
    (found,) = errors_in(plan_named("linux_mips64", {EXT: elf()._replace(machine=8)}).findings)
    assert found.code == "wrong-architecture"
    assert found.detail.endswith("no musllinux tag names it")


def test_armv6l_has_a_tag_of_its_own() -> None:
    """Its musl is that of armv7l: Alpine calls the port armhf, and so is the loader called."""
    name = "demo-1.0-cp312-cp312-linux_armv6l.whl"
    facts = wheel_facts({EXT: elf("libfoo.so.1", imports=["statx"], arch="armv7l")}, name=name)
    target = system({"/usr/lib/libfoo.so.1": elf(arch="armv7l")}, arch="armv7l")
    plan = make_plan(facts, target, Options(polyfill=True))
    assert str(plan.result) == "demo-1.0-cp312-cp312-musllinux_1_2_armv6l.whl"
    assert plan.architecture == architecture("armv6l")
    assert [str(graft.source) for graft in plan.grafts] == [
        "/usr/lib/libfoo.so.1",
        "/<musl-repair>/polyfill/armv6l/statx.so",
    ]
    assert codes(plan) == ["tag-not-on-pypi"]


def test_versions_of_libgcc_are_not_glibc_s() -> None:
    """On aarch64 and others libgcc_s defines GLIBC_2.0 for __register_frame_info, on musl too."""
    gcc = elf("libc.so", soname="libgcc_s.so.1")
    cxx = elf("libgcc_s.so.1", versions=[("libgcc_s.so.1", "GCC_3.0"), ("libgcc_s.so.1", "GLIBC_2.0")])
    # A library of that kind is taken from the system as well.
    target = system({"/usr/lib/libgcc_s.so.1": gcc, "/usr/lib/libstdc++.so.6": cxx})
    plan = plan_of({EXT: elf("libstdc++.so.6", versions=[("libgcc_s.so.1", "GLIBC_2.0")])}, target)
    assert plan.findings == ()
    assert [str(graft.source) for graft in plan.grafts] == ["/usr/lib/libgcc_s.so.1", "/usr/lib/libstdc++.so.6"]


def test_glibc_is_refused_by_file() -> None:
    found = of_code(plan_of({EXT: glibc_elf("ld-linux-x86-64.so.2"), "demo/b.so": elf()}).findings, "glibc-linked")
    assert [(one.subject, one.detail) for one in found] == [
        (EXT, "it asks for ld-linux-x86-64.so.2, GLIBC_2.2.5, GLIBC_2.34")
    ]


def test_all_that_is_missing_is_told_at_once() -> None:
    files = {EXT: elf("libnone.so", "libfoo.so.1"), "demo/b.so": elf("libnone.so", "libno.so.2", rpath="/opt")}
    found = {one.subject: one.detail for one in errors_in(plan_of(files).findings)}
    assert found == {
        "libnone.so": f"needed by {EXT}, demo/b.so\nlooked in /lib, /usr/local/lib, /usr/lib, /opt",
        "libno.so.2": "needed by demo/b.so\nlooked in /opt, /lib, /usr/local/lib, /usr/lib",
    }


def test_what_a_library_of_the_system_misses_is_told_with_it() -> None:
    (found,) = errors_in(plan_of({EXT: elf("liba.so")}, system({"/usr/lib/liba.so": elf("libnone.so")})).findings)
    assert found.subject == "libnone.so"
    assert found.detail.startswith("needed by /usr/lib/liba.so\n")


def test_files_that_were_passed_over_are_told() -> None:
    target = system(
        {"/lib/liba.so": Unusable("not an ELF file"), "/usr/lib/liba.so": elf(arch="i686"), "/opt/liba.so": glibc_elf()}
    )
    (found,) = errors_in(plan_of({EXT: elf("liba.so", rpath="/opt")}, target).findings)
    assert found.detail.splitlines() == [
        f"needed by {EXT}",
        "looked in /usr/local/lib",
        "/opt/liba.so is there, but linked against glibc",
        "/lib/liba.so is there, but not an ELF file",
        "/usr/lib/liba.so is there, but for another architecture (i686)",
    ]


def test_a_system_without_musl_is_an_error_as_soon_as_something_comes_from_it() -> None:
    debian = system({"/usr/lib/liba.so": elf()}, musl=None)
    assert "sysroot-without-musl" in codes(plan_of({EXT: elf("liba.so")}, debian))
    assert "sysroot-without-musl" in codes(plan_of({EXT: elf("libnone.so")}, debian))
    plan = plan_of({EXT: elf("libin.so"), "demo/libin.so": elf()}, debian)
    assert (plan.findings, plan.result.platform) == ((), "musllinux_1_1_x86_64")


def test_a_system_of_another_architecture_is_named_as_such() -> None:
    plan = plan_of({EXT: elf("liba.so")}, system({"/usr/lib/liba.so": elf(arch="aarch64")}, arch="aarch64"))
    (found,) = of_code(plan.findings, "wrong-architecture")
    assert (found.subject, found.detail) == (
        "the sysroot",
        "the wheel is for x86_64, the sysroot has ld-musl-aarch64.so.1",
    )


def test_a_tag_of_another_machine_is_refused() -> None:
    (found,) = errors_in(plan_named("linux_aarch64", {EXT: elf(MUSL)}).findings)
    assert found.code == "tag-mismatch"


def test_what_record_says_wrongly_is_refused() -> None:
    facts = wheel_facts({EXT: elf(MUSL)}, record_faults=[RecordFault("demo/__init__.py", "another hash")])
    (found,) = errors_in(make_plan(facts, SYSTEM, Options()).findings)
    assert (found.code, found.subject, found.detail) == ("record-mismatch", "demo/__init__.py", "another hash")
    assert "--no-verify-input" in found.remedy
    plan = make_plan(facts, SYSTEM, Options(verify_input=False))
    assert (plan.rewrites_record, errors_in(plan.findings)) == (True, ())


def test_problems_of_all_kinds_come_together_and_sorted() -> None:
    files = {EXT: elf("libnone.so", imports=["reallocarray"]), "demo/glibc.so": glibc_elf()}
    files["demo/a:b/liba.so"] = elf("libbar.so.2")
    plan = plan_of(files, options=Options(platform="musllinux_1_1"))
    expected = ["folder-breaks-rpath", "glibc-linked", "library-not-found", "tag-too-low"]
    assert [found.code for found in errors_in(plan.findings)] == expected


# Equal names mean equal bytes


def edits_by_name(plan: Plan) -> dict[str, tuple[str, Patch]]:
    patches = {patch.member: patch for patch in plan.patches}
    return {graft.member: (graft.sha256, patches.get(graft.member, Patch(graft.member))) for graft in plan.grafts}


def test_a_graft_s_name_changes_with_how_the_libraries_that_it_needs_are_edited() -> None:
    """Libfoo has no DT_RELR, but what it needs has: lowered, that has another name, so libfoo other bytes."""
    facts = wheel_facts({EXT: elf("libfoo.so.1")})
    lowered = edits_by_name(make_plan(facts, SYSTEM, Options()))
    kept = edits_by_name(make_plan(facts, SYSTEM, Options(lower_relr=False)))
    assert {name: lowered[name] for name in lowered.keys() & kept} == {
        name: kept[name] for name in lowered.keys() & kept
    }


# Laws

unhurried = settings(deadline=None)
"""How long an example takes is the machine's business."""

LIBRARIES: Final = ("liba.so.1", "libb.so.2", "libc1.so", "libd.so")
WHEEL_FILES: Final = (
    "demo/_ext.so",
    "demo/sub/_deep.so",
    "_top.so",
    "demo/libin.so",
    "demo-1.0.data/platlib/demo/_plat.so",
    "demo-1.0.data/purelib/pure/libpure.so",
    "demo-1.0.data/scripts/tool",
    "demo-1.0-1.data/scripts/other-tool",
    "demo-1.0-1.data/platlib/demo/_other.so",
)
NAMES: Final = (*LIBRARIES, MUSL, "libm.custom.so", "libin.so", "libpure.so", "libpython3.12.so.1.0", "/opt/libd.so")
PLATFORMS: Final = (
    "linux_x86_64",
    "musllinux_1_1_x86_64",
    "musllinux_1_2_x86_64",
    "any",
    "manylinux_2_17_x86_64.musllinux_1_1_x86_64",
    "win_amd64.linux_x86_64",
)
RPATHS: Final = (
    None,
    "",
    "$ORIGIN",
    "$ORIGIN/..:/usr/lib",
    "/opt",
    "$LIB:$ORIGIN",
    "$ORIGIN/../demo.libs",
    "x:.",
    "$ORIGIN/../..\n$ORIGIN/sub",
)


@st.composite
def some_elf(draw: st.DrawFn, names: tuple[str, ...] = NAMES, *, interpreter: str | None = None) -> Elf:
    return elf(
        *draw(st.lists(st.sampled_from(names), max_size=4, unique=True)),
        rpath=draw(st.sampled_from(RPATHS)),
        runpath=draw(st.sampled_from((None, None, *RPATHS))),
        soname=draw(st.sampled_from((None, "libsoname.so"))),
        imports=draw(st.lists(st.sampled_from(("printf", "reallocarray", "qsort_r", "PyLong_Type")), max_size=2)),
        relr=draw(st.booleans()),
        interpreter=interpreter,
    )


@st.composite
def some_wheel(draw: st.DrawFn) -> Facts:
    names = draw(st.lists(st.sampled_from(WHEEL_FILES), min_size=1, max_size=4, unique=True))
    loader = str(architecture().loader)
    elfs = {name: draw(some_elf(interpreter=loader if name.endswith("tool") else None)) for name in names}
    platform = draw(st.sampled_from(PLATFORMS))
    tags = draw(st.sampled_from((None, (), (f"cp312-cp312-{platform}",), ("cp311-cp311-linux_x86_64",))))
    return wheel_facts(
        elfs,
        name=f"demo-1.0-cp312-cp312-{platform}.whl",
        pure=draw(st.booleans()),
        tags=tags,
        data_folders=("demo-1.0-1.data",) if any(name.startswith("demo-1.0-1.data") for name in names) else (),
    )


@st.composite
def some_system(draw: st.DrawFn) -> System:
    """Draw a system that has all libraries in one folder or another, some of them behind links."""
    files: dict[str, Elf | Unusable] = {"/opt/libd.so": draw(some_elf(LIBRARIES))}
    links = {}
    for name in LIBRARIES:
        folder = draw(st.sampled_from(("/lib", "/usr/local/lib", "/usr/lib")))
        version = draw(st.sampled_from(("", ".5", ".5.6")))
        files[f"{folder}/{name}{version}"] = draw(some_elf((*LIBRARIES, MUSL, "libpython3.12.so.1.0")))
        if version:
            links[f"{folder}/{name}"] = f"{folder}/{name}{version}"
    return system(files, musl=draw(st.sampled_from(("1.1.24", "1.2.5"))), links=links)


some_options = st.builds(
    Options,
    platform=st.sampled_from(("auto", "musllinux_1_2")),
    lower_relr=st.booleans(),
    polyfill=st.booleans(),
    strip=st.booleans(),
    update_tags=st.booleans(),
)


@unhurried
@given(some_wheel(), some_system(), some_options, st.permutations(WHEEL_FILES))
def test_a_plan_does_not_depend_on_the_order_of_anything(
    facts: Facts, target: System, options: Options, order: list[str]
) -> None:
    members = sorted(facts.readings, key=lambda name: order.index(name) if name in order else -1)
    other = replace(facts, readings={name: facts.readings[name] for name in members})
    turned = replace(
        target, files=dict(reversed([*target.files.items()])), links=dict(reversed([*target.links.items()]))
    )
    one, two = make_plan(facts, target, options), make_plan(other, turned, options)
    assert one == make_plan(facts, target, options)
    assert one == two
    assert list(one.members) == list(two.members)


@unhurried
@given(some_wheel(), some_system(), some_options)
def test_a_repaired_wheel_is_right(facts: Facts, target: System, options: Options) -> None:
    """With nothing but the wheel and musl, or the plan has said why not."""
    plan = make_plan(facts, target, options)
    if errors_in(plan.findings):
        return
    result = repaired(facts, plan)
    wrong = errors_in(judge_wheel(result).findings)
    assert {found.code for found in wrong} <= ({"relr-before-1.2.4"} if not options.lower_relr else set())
    assert of_code(judge_wheel(result).findings, "rpath-token") == []
    assert of_code(judge_wheel(result).findings, "rpath-outside-wheel") == []


@unhurried
@given(some_wheel(), some_system(), some_options)
def test_a_repair_of_a_repaired_wheel_changes_nothing(facts: Facts, target: System, options: Options) -> None:
    plan = make_plan(facts, target, options)
    if errors_in(plan.findings):
        return
    # Whether there is anything left to strip is only known to who strips.
    again = make_plan(repaired(facts, plan), target, options._replace(strip=False))
    assert (again.patches, again.grafts, again.moves, again.wheel) == ((), (), (), again.result)
    assert not again.changes


@unhurried
@given(some_wheel(), some_system(), some_options)
def test_in_a_repaired_wheel_each_need_leads_where_it_was_planned(
    facts: Facts, target: System, options: Options
) -> None:
    plan = make_plan(facts, target, options)
    if errors_in(plan.findings):
        return
    result = repaired(facts, plan)
    scope = Scope(architecture().loader, DEFAULT_PATH)
    world = system({str(path): answer for path, answer in result.files().items()})
    place = {path: result.path(member) for path, member in plan.members.items()}
    added = {patch.member: patch.added for patch in plan.patches}
    polyfills = {graft.name: result.path(graft.member) for graft in plan.grafts}
    for path, member in plan.members.items():
        needs = [need for need in load(place[path], world, scope) if need.needed_by == place[path]]
        found = {world.real(need.found) for need in needs if need.found is not None}
        planned = {place[at] for at in plan.resolution.edges[path].values()}
        assert found == planned | {polyfills[name] for name in added.get(member, ())}


@unhurried
@given(some_wheel(), some_system(), st.tuples(some_options, some_options), some_wheel())
def test_grafts_of_equal_names_have_equal_bytes(
    facts: Facts, target: System, options: tuple[Options, Options], other: Facts
) -> None:
    plans = [make_plan(wheel, target, option) for wheel, option in zip((facts, other), options, strict=True)]
    seen: dict[str, tuple[str, Patch]] = {}
    for member, edit in chain.from_iterable(edits_by_name(plan).items() for plan in plans):
        name = member.rpartition("/")[2]
        edit = (edit[0], edit[1]._replace(member=name))
        assert seen.setdefault(name, edit) == edit
