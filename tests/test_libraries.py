"""Libraries that the user says more about: names that stay, exclusions, what dlopen loads, copies."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import pytest
from click.testing import CliRunner, Result

from builders import DEMO_WHEEL, SYSROOTS, TESTDATA, ElfFile, write_wheel
from facts_by_hand import elf, of_code, paths, program, repaired, system, wheel_facts
from musl_repair.check import judge_wheel
from musl_repair.cli import cli
from musl_repair.dlopening import Wish, judge_notes, read_wishes
from musl_repair.elf import read_elf
from musl_repair.errors import MuslRepairError
from musl_repair.excluding import parse_way
from musl_repair.findings import errors_in
from musl_repair.including import Request, parse_request
from musl_repair.options import Options
from musl_repair.plan import Plan, make_plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facts_by_hand import System
    from musl_repair.elf import Elf
    from musl_repair.patches import Patch

EXT: Final = "demo/_ext.so"
FOO: Final = PurePosixPath("/usr/lib/libfoo.so.1.2")
SYSTEM: Final = system(
    {str(FOO): elf("libbar.so.2", soname="libfoo.so.1"), "/usr/lib/libbar.so.2": elf(soname="libbar.so.2")},
    links={"/usr/lib/libfoo.so.1": str(FOO)},
)


def plan_of(elfs: Mapping[str, Elf], options: Options, target: System = SYSTEM) -> Plan:
    """Return a plan that was found to lead to a wheel in which nothing is left to do."""
    facts = wheel_facts(elfs)
    plan = make_plan(facts, target, options)
    if not errors_in(plan.findings):
        result = repaired(facts, plan)
        again = make_plan(result, target, options)
        assert (again.changes, again.patches, again.grafts, again.dropped) == (False, (), (), ())
        assert errors_in(judge_wheel(result).findings) == () or options.excluded
    return plan


def patch_of(plan: Plan, member: str = EXT) -> Patch:
    return next(patch for patch in plan.patches if patch.member == member)


def said(plan: Plan, code: str) -> list[tuple[str, str]]:
    return [(found.subject, found.detail) for found in of_code(plan.findings, code)]


def names(plan: Plan) -> list[str]:
    return [graft.name for graft in plan.grafts]


# Names that stay


def test_a_graft_keeps_the_name_that_it_is_needed_by() -> None:
    plan = plan_of({EXT: elf("libfoo.so.1")}, Options(no_mangle=("libfoo*",)))
    bar, foo = plan.grafts
    assert foo.member == "demo.libs/libfoo.so.1"
    assert (patch_of(plan).renames, patch_of(plan).rpath) == ((), "$ORIGIN/../demo.libs")
    assert patch_of(plan, foo.member).soname is None
    assert bar.name != "libbar.so.2"
    assert said(plan, "kept-name") == [
        ("libfoo.so.1", f"{FOO} is vendored under this name, which others can have as well")
    ]


def test_a_pattern_can_fit_the_file_alone() -> None:
    plan = plan_of({EXT: elf("libfoo.so.1")}, Options(no_mangle=("libfoo.so.1.2",)))
    assert names(plan)[1:] == ["libfoo.so.1.2"]
    assert patch_of(plan).renames == (("libfoo.so.1", "libfoo.so.1.2"),)


def test_names_that_musl_reserves_do_not_stay() -> None:
    target = system({"/usr/lib/libm.custom.so": elf()}, links={"/usr/lib/libx.so": "/usr/lib/libm.custom.so"})
    plan = plan_of({EXT: elf("libx.so")}, Options(no_mangle=("libm.*",)), target)
    assert names(plan) != ["libm.custom.so"]
    assert said(plan, "kept-name") == []


def test_a_name_that_stays_changes_those_of_its_users() -> None:
    hashed = plan_of({EXT: elf("libfoo.so.1")}, Options())
    kept = plan_of({EXT: elf("libfoo.so.1")}, Options(no_mangle=("libbar.so.2",)))
    assert names(kept)[0] == "libbar.so.2"
    assert names(kept)[1] != names(hashed)[1]


def test_two_libraries_cannot_keep_one_name() -> None:
    target = system({"/usr/lib/liba.so": elf(exports=["a"]), "/opt/liba.so": elf(exports=["b"])})
    files = {EXT: elf("liba.so"), "demo/_two.so": elf("liba.so", rpath="/opt")}
    plan = plan_of(files, Options(no_mangle=("*",)), target)
    assert said(plan, "member-collision") == [
        ("demo.libs/liba.so", "more than one file is to have this name: /opt/liba.so, /usr/lib/liba.so")
    ]


# What is excluded


def test_a_pattern_that_fits_nothing_names_near_misses() -> None:
    plan = plan_of({EXT: elf("libfoo.so.1")}, Options(exclude=("libfo.so.*", "zzz", "libbar*")))
    assert said(plan, "exclude-unmatched") == [
        ("libfo.so.*", "no file needs a library of such a name; the wheel needs libfoo.so.1"),
        ("zzz", "no file needs a library of such a name"),
    ]


def test_an_rpath_leads_to_what_is_excluded() -> None:
    options = Options(exclude_rpath=(("libbar.so.*", "bar.libs"),))
    plan = plan_of({EXT: elf("libfoo.so.1"), "demo/sub/_two.so": elf("libbar.so.2")}, options)
    assert len(plan.grafts) == 1
    assert patch_of(plan, plan.grafts[0].member).rpath == "$ORIGIN/../bar.libs"
    assert patch_of(plan, "demo/sub/_two.so").rpath == "$ORIGIN/../../bar.libs"
    assert patch_of(plan).rpath == "$ORIGIN/../demo.libs"
    assert plan.findings == ()


def test_an_exclusion_without_an_rpath_is_told() -> None:
    options = Options(exclude=("libfoo.so.1",), exclude_rpath=(("libbar.so.2", "bar.libs"),))
    plan = plan_of({EXT: elf("libfoo.so.1", "libbar.so.2")}, options)
    assert [subject for subject, _ in said(plan, "library-excluded-not-found")] == ["libfoo.so.1"]


def test_a_file_elsewhere_gets_no_rpath_to_site_packages() -> None:
    options = Options(exclude_rpath=(("libbar.so.2", "bar.libs"),))
    plan = plan_of({"demo-1.0.data/data/lib/libx.so": elf("libbar.so.2")}, options)
    assert plan.patches == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lib*=../pkg.libs", ("lib*", "pkg.libs")),
        ("lib*=pkg.libs", ("lib*", "pkg.libs")),
        ("lib*=../pkg/lib/", ("lib*", "pkg/lib")),
        ("a=b=pkg", ("a=b", "pkg")),
    ],
    ids=["from a package's folder", "from site-packages", "deeper", "the last sign of equality counts"],
)
def test_ways(text: str, expected: tuple[str, str]) -> None:
    assert parse_way(text) == expected


@pytest.mark.parametrize("text", ["lib*", "=pkg", "lib*=", "lib*=../../x", "lib*=/opt", "lib*=pkg/../../x"])
def test_ways_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not PATTERN=FOLDER"):
        parse_way(text)


@pytest.mark.parametrize("folder", ["a:b", "$LIB", "a/$ORIGIN", "a\nb"])
def test_ways_that_an_rpath_cannot_name(folder: str) -> None:
    with pytest.raises(ValueError, match="has a folder that an rpath cannot name"):
        parse_way(f"libx.so={folder}")


# What dlopen loads


def test_what_is_included_is_needed_by_the_files_that_import_dlopen() -> None:
    files = {EXT: elf(imports=["dlopen"]), "demo/_two.so": elf(exports=["PyInit__two"])}
    plan = plan_of(files, Options(include=("libfoo.so.1",)))
    assert names(plan)[1:] == ["libfoo.so.1"]
    assert patch_of(plan).added == ("libfoo.so.1",)
    assert patch_of(plan).rpath == "$ORIGIN/../demo.libs"
    assert [patch.member for patch in plan.patches if patch.added] == [EXT]


def test_where_no_file_imports_dlopen_the_extension_modules_need_it() -> None:
    files = {EXT: elf(exports=["PyInit__ext"]), "demo/libx.so": elf()}
    plan = plan_of(files, Options(include=("libfoo.so.1",)))
    assert [patch.member for patch in plan.patches if patch.added] == [EXT]


def test_a_pattern_says_which_files_need_it_and_a_path_where_it_is() -> None:
    target = system({"/opt/foo/libfoo.so": elf()})
    files = {EXT: elf(imports=["dlopen"]), "demo/_two.so": elf()}
    plan = plan_of(files, Options(include=("demo/_t*=/opt/foo/libfoo.so",)), target)
    assert names(plan) == ["libfoo.so"]
    assert {patch.member: patch.added for patch in plan.patches if patch.added} == {"demo/_two.so": ("libfoo.so",)}


def test_a_library_of_the_wheel_can_be_included() -> None:
    files = {EXT: elf(imports=["dlopen"]), "demo/lib/libx.so": elf()}
    plan = plan_of(files, Options(include=("libx.so",)))
    assert (patch_of(plan).added, patch_of(plan).rpath, plan.grafts) == (("libx.so",), "$ORIGIN/lib", ())


def test_what_is_needed_already_is_not_added_but_keeps_its_name() -> None:
    plan = plan_of({EXT: elf("libfoo.so.1", imports=["dlopen"])}, Options(include=("libfoo.so.1",)))
    assert (patch_of(plan).added, patch_of(plan).renames) == ((), ())
    assert names(plan)[1:] == ["libfoo.so.1"]


def test_what_an_earlier_repair_gave_a_hash_is_vendored_again_under_its_name() -> None:
    """Also where the wheel's copy is known to be the same: dlopen does not ask for its name."""
    built = elf(soname="liba.so")._replace(build_id="abc")
    files = {EXT: elf("liba-aa.so", imports=["dlopen"], rpath="$ORIGIN/../demo.libs"), "demo.libs/liba-aa.so": built}
    plan = plan_of(files, Options(include=("liba.so",)), system({"/usr/lib/liba.so": built}))
    assert (names(plan), patch_of(plan).added) == (["liba.so"], ("liba.so",))


def test_an_included_library_that_is_nowhere_is_missing() -> None:
    plan = plan_of({EXT: elf(imports=["dlopen"])}, Options(include=("libgone.so", "/opt/libgone.so.2")))
    assert [subject for subject, _ in said(plan, "library-not-found")] == ["/opt/libgone.so.2", "libgone.so"]


def test_a_library_that_is_asked_for_by_two_names_is_an_error() -> None:
    plan = plan_of({EXT: elf(imports=["dlopen"])}, Options(include=("libfoo.so.1", "libfoo.so.1.2")))
    assert [found.subject for found in errors_in(plan.findings)] == ["libfoo.so.1.2"]
    assert said(plan, "kept-name")[0] == (
        "libfoo.so.1.2",
        f"{FOO} is vendored as libfoo.so.1, and dlopen would not find it as libfoo.so.1.2",
    )


def test_without_a_file_for_it_nothing_is_included() -> None:
    files = {EXT: elf()}
    plan = plan_of(files, Options(include=("libfoo.so.1", "demo/_ex.so=libfoo.so.1", "zzz=libfoo.so.1")))
    assert plan.grafts == ()
    assert said(plan, "include-unmatched") == [
        ("libfoo.so.1", "no ELF file of the wheel matches demo/_ex.so; there is demo/_ext.so"),
        ("libfoo.so.1", "no ELF file of the wheel matches zzz"),
        ("libfoo.so.1", "no file of the wheel imports dlopen, and none is an extension module"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("libx.so", Request(None, "libx.so")), ("a=b/*=/x/libx.so", Request("a=b/*", "/x/libx.so"))],
)
def test_requests(text: str, expected: Request) -> None:
    assert parse_request(text) == expected


# Notes on dlopen


def noted(*wishes: object, needed: tuple[str, ...] = ()) -> Elf:
    return elf(*needed)._replace(dlopen_notes=(json.dumps(wishes),))


def test_wishes_are_read_in_order_with_their_defaults() -> None:
    file = noted({"soname": ["libz.so.1"], "feature": "zip", "description": "a\n b\x1b[1m"}, {"soname": ["b", "c"]})
    assert read_wishes(file) == (
        Wish(("libz.so.1",), "recommended", "zip", "a b\x1b[1m"),
        Wish(("b", "c"), "recommended"),
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "a note is not JSON"),
        ("[" * 100_000, "a note is not JSON"),
        ("{}", "a note is not an array"),
        ("[1]", "an entry of a note is not an object"),
        ("[{}]", "an entry of a note has no list of sonames"),
        ('[{"soname": []}]', "an entry of a note has no list of sonames"),
        ('[{"soname": ["../x"]}]', "an entry of a note has no list of sonames"),
        ('[{"soname": [1]}]', "an entry of a note has no list of sonames"),
        ('[{"soname": ["x"], "priority": "high"}]', "has a priority other than required, recommended, suggested"),
        ('[{"soname": ["x"], "priority": []}]', "has a priority other than required, recommended, suggested"),
        ('[{"soname": ["x"], "feature": 1}]', "has a feature or a description that is no text"),
    ],
)
def test_notes_that_say_nothing_are_told(text: str, fault: str) -> None:
    file, path = elf()._replace(dlopen_notes=(text,)), PurePosixPath("/x")
    assert read_wishes(file) == ()
    (found,) = judge_notes({path: file}, {path: "x"})
    assert (found.code, found.subject) == ("dlopen-note-unreadable", "x")
    assert fault in found.detail


WISHES: Final = noted(
    {"soname": ["libgone.so", "libfoo.so.1"], "priority": "required"},
    {"soname": ["libbar.so.2"], "priority": "suggested"},
)


@pytest.mark.parametrize(
    ("priority", "added"),
    [
        ("", ()),
        ("required", ("libfoo.so.1",)),
        ("recommended", ("libfoo.so.1",)),
        ("suggested", ("libbar.so.2", "libfoo.so.1")),
    ],
)
def test_wishes_of_a_priority_are_vendored(priority: str, added: tuple[str, ...]) -> None:
    plan = plan_of({EXT: WISHES}, Options(dlopen=priority))
    assert tuple(name for patch in plan.patches if patch.member == EXT for name in patch.added) == added
    assert [wished.member for wished in plan.wishes] == [EXT, EXT]


def test_wishes_of_what_is_vendored_count_too() -> None:
    target = system({"/usr/lib/liba.so": WISHES, str(FOO): elf()}, links={"/usr/lib/libfoo.so.1": str(FOO)})
    plan = plan_of({EXT: elf("liba.so")}, Options(dlopen="required"), target)
    (member,) = (graft.member for graft in plan.grafts if graft.name.startswith("liba-"))
    assert patch_of(plan, member).added == ("libfoo.so.1",)


def test_a_wish_is_no_need_where_one_of_its_names_is_excluded_or_needed() -> None:
    needing = WISHES._replace(needed=("libfoo.so.1",))
    assert patch_of(plan_of({EXT: needing}, Options(dlopen="required"))).added == ()
    assert plan_of({EXT: WISHES}, Options(dlopen="required", exclude=("libgone*",))).grafts == ()


def test_a_wish_that_nothing_answers_is_a_missing_library() -> None:
    file = noted({"soname": ["libgone.so", "libgone.so.1"]})
    assert [subject for subject, _ in said(plan_of({EXT: file}, Options(dlopen="suggested")), "library-not-found")] == [
        "libgone.so"
    ]


# Copies


def test_copies_in_the_system_give_one_graft() -> None:
    target = system({"/usr/lib/liba.so": elf(exports=["a"]), "/usr/lib/liba.so.1": elf(exports=["a"])})
    plan = plan_of({EXT: elf("liba.so", "liba.so.1")}, Options(), target)
    (graft,) = plan.grafts
    assert patch_of(plan).renames == (("liba.so", graft.name), ("liba.so.1", graft.name))


def test_of_copies_the_one_stays_that_dlopen_asks_for() -> None:
    copies = {name: elf(exports=["a"]) for name in ("/usr/lib/liba.so.1", "/usr/lib/liba.so.2", "/opt/liba.so.2")}
    options = Options(include=("liba.so.2", "/opt/liba.so.2"))
    plan = plan_of({EXT: elf("liba.so.1", imports=["dlopen"])}, options, system(copies))
    assert (names(plan), patch_of(plan).added) == (["liba.so.2"], ())
    assert patch_of(plan).renames == (("liba.so.1", "liba.so.2"),)


def test_copies_that_need_copies_give_one_graft_each() -> None:
    files = {f"/usr/lib/lib{name}": elf(exports=["x"]) for name in ("x.so", "x.so.1")}
    built = elf("libx.so")._replace(build_id="abc")
    files |= {"/usr/lib/liba.so": built, "/usr/lib/liba.so.1": built._replace(needed=("libx.so.1",))}
    assert len(plan_of({EXT: elf("liba.so", "liba.so.1")}, Options(), system(files)).grafts) == 2


def test_libraries_of_one_build_with_other_symbols_or_needs_are_two() -> None:
    built = elf()._replace(build_id="abc")
    files = {
        "/usr/lib/liba.so": built,
        "/usr/lib/libb.so": built._replace(exports=frozenset({"b"})),
        "/usr/lib/libc-c.so": built._replace(needed=("liba.so",)),
    }
    assert len(plan_of({EXT: elf("liba.so", "libb.so", "libc-c.so")}, Options(), system(files)).grafts) == 3


def test_a_library_that_the_wheel_has_under_a_hashed_name_is_not_vendored_again() -> None:
    built = elf("libbar.so.2", soname="libfoo.so.1")._replace(build_id="abc")
    target = replace(SYSTEM, files={**SYSTEM.files, FOO: built})
    ours = built._replace(needed=("libbar-aa.so.2",), soname="libfoo-aa.so.1", dt_rpath="$ORIGIN")
    libraries = {"demo.libs/libfoo-aa.so.1": ours, "demo.libs/libbar-aa.so.2": elf()}
    plan = plan_of({EXT: elf("libfoo.so.1"), **libraries}, Options(), target)
    assert plan.grafts == ()
    assert patch_of(plan).renames == (("libfoo.so.1", "libfoo-aa.so.1"),)
    assert patch_of(plan).rpath == "$ORIGIN/../demo.libs"


def test_a_library_elsewhere_in_the_wheel_does_not_stand_for_the_system_s() -> None:
    built = elf()._replace(build_id="abc")
    plan = plan_of({EXT: elf("liba.so"), "demo/libother.so": built}, Options(), system({"/usr/lib/liba.so": built}))
    assert len(plan.grafts) == 1


def test_what_an_earlier_repair_vendored_is_used_by_what_came_later() -> None:
    facts = wheel_facts({EXT: elf("libfoo.so.1")})
    once = repaired(facts, make_plan(facts, SYSTEM, Options()))
    plan = plan_of({**once.elfs, "demo/_two.so": elf("libfoo.so.1")}, Options())
    assert (plan.grafts, plan.findings) == ((), ())
    assert [patch.member for patch in plan.patches] == ["demo/_two.so"]


def test_a_polyfill_of_an_earlier_repair_is_used_by_what_came_later() -> None:
    options = Options(polyfill=True, platform="musllinux_1_1")
    facts = wheel_facts({EXT: elf(imports=["reallocarray"])})
    once = repaired(facts, make_plan(facts, SYSTEM, options))
    plan = plan_of({**once.elfs, "demo/_two.so": elf(imports=["reallocarray"])}, options)
    assert plan.grafts == ()
    assert [(patch.member, len(patch.added)) for patch in plan.patches] == [("demo/_two.so", 1)]


COPIES: Final = {
    EXT: elf("libx.so.1", rpath="$ORIGIN/lib", exports=["PyInit__ext"]),
    "demo/_two.so": elf("libx.so", rpath="$ORIGIN/lib", exports=["PyInit__two"]),
    "demo/_three.so": elf("libx.so.1", rpath="$ORIGIN/lib", exports=["PyInit__three"]),
    "demo/lib/libx.so": elf(exports=["x"]),
    "demo/lib/libx.so.1": elf(exports=["x"]),
    "demo/lib/libx.so.1.0": elf(exports=["x"]),
}


def test_copies_of_the_wheel_are_merged_where_that_is_wanted() -> None:
    plan = plan_of(COPIES, Options(dedupe=True))
    assert plan.dropped == ("demo/lib/libx.so", "demo/lib/libx.so.1.0")
    assert [(patch.member, patch.renames) for patch in plan.patches] == [
        ("demo/_two.so", (("libx.so", "libx.so.1"),)),
    ]
    assert plan.findings == ()


def test_copies_of_the_wheel_stay_where_it_is_not() -> None:
    plan = plan_of(COPIES, Options())
    assert (plan.dropped, plan.patches) == ((), ())
    assert [subject for subject, _ in said(plan, "duplicate-library")] == ["demo/lib/libx.so"]


def test_copies_of_extension_modules_programs_and_other_schemes_stay() -> None:
    module, tool = elf(exports=["PyInit__x"]), program()
    files = {"demo/_x.so": module, "demo/sub/_x.so": module, "demo/a": tool, "demo/b": tool}
    files |= {"demo/libx.so": elf(), "demo-1.0.data/data/libx.so": elf()}
    plan = plan_of(files, Options(dedupe=True))
    assert plan.dropped == ()
    # The two of libx.so are no copies too many: neither scheme finds what is in the other.
    assert len(said(plan, "duplicate-library")) == 2


def test_a_copy_elsewhere_that_python_may_load_by_its_path_stays() -> None:
    plan = plan_of({"demo/a/libx.so": elf(), "demo/b/libx.so": elf()}, Options(dedupe=True))
    assert plan.dropped == ()


def test_copies_of_one_build_are_merged_only_where_their_needs_are() -> None:
    built = elf("liby.so", rpath="$ORIGIN")._replace(build_id="abc")
    files = {f"demo/{folder}/libx.so": built for folder in "ab"}
    files |= {f"demo/_{f}.so": elf("libx.so", rpath=f"$ORIGIN/{f}", exports=[f"PyInit__{f}"]) for f in "ab"}
    files |= {f"demo/{folder}/liby.so": elf(exports=[folder]) for folder in "ab"}
    assert plan_of(files, Options(dedupe=True)).dropped == ()
    files |= {f"demo/{folder}/liby.so": elf(exports=["y"]) for folder in "ab"}
    assert plan_of(files, Options(dedupe=True)).dropped == ("demo/b/libx.so", "demo/b/liby.so")


def test_the_user_s_folder_is_looked_in_for_wishes() -> None:
    target = system({"/opt/libfoo.so.1": elf()})
    plan = plan_of({EXT: WISHES}, Options(dlopen="required", library_path=paths(["/opt"])), target)
    assert names(plan) == ["libfoo.so.1"]


# End to end


def run(*arguments: str | Path, wheel: Path, out: Path) -> Result:
    """Repair a wheel against the demo sysroot."""
    root = ["--sysroot", str(SYSROOTS / "x86_64"), "-w", str(out)]
    return CliRunner().invoke(cli, ["repair", *root, *map(str, arguments), str(wheel)], standalone_mode=False)


def contents(folder: Path) -> dict[str, bytes]:
    (wheel,) = folder.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_end_to_end_usage_errors(tmp_path: Path) -> None:
    result = run("--exclude-rpath", "libx", wheel=DEMO_WHEEL, out=tmp_path)
    assert "is not PATTERN=FOLDER" in str(result.exception)
    assert not isinstance(result.exception, MuslRepairError)


def test_end_to_end_a_name_stays(tmp_path: Path) -> None:
    result = run("--no-mangle", "libmid.so.*", wheel=DEMO_WHEEL, out=tmp_path)
    assert "kept-name" in result.stderr
    files = contents(tmp_path)
    assert read_elf(files["demo.libs/libmid.so.2"]).soname == "libmid.so.2"
    assert "libmid.so.2" in read_elf(files["demo/_ext.abi3.so"]).needed


def test_end_to_end_an_rpath_to_another_package(tmp_path: Path) -> None:
    result = run(
        "--exclude-rpath", "libleaf.so.1=../leaf.libs", "--exclude", "libmidd*", wheel=DEMO_WHEEL, out=tmp_path
    )
    assert "exclude-unmatched" in result.stderr
    assert "libmid.so.2" in result.stderr
    files = contents(tmp_path)
    (mid,) = (read_elf(content) for name, content in files.items() if name.startswith("demo.libs/libmid"))
    assert mid.rpath == "$ORIGIN/../leaf.libs"


def test_end_to_end_a_library_is_included(tmp_path: Path) -> None:
    extension = {"demo/_ext.so": (TESTDATA / "x86_64" / "_ext.so").read_bytes()}
    wheel = write_wheel(tmp_path, extension)
    leaf = SYSROOTS / "x86_64" / "usr" / "lib" / "libleaf.so.1"
    for number, request in enumerate(["demo/*=libleaf.so.1", "demo/*=/usr/lib/libleaf.so.1", f"demo/*={leaf}"]):
        out = tmp_path / str(number)
        run("--include", request, wheel=wheel, out=out)
        files = contents(out)
        assert read_elf(files["demo/_ext.so"]).needed[0] == "libleaf.so.1"
        assert "demo.libs/libleaf.so.1" in files
        again = tmp_path / f"again {number}"
        run("--include", request, wheel=next(out.iterdir()), out=again)
        assert contents(again) == files


def test_end_to_end_notes_are_shown(tmp_path: Path) -> None:
    note = [{"soname": ["libleaf.so.1"], "feature": "leaves", "description": "Green ones"}]
    file = ElfFile(notes=((b"FDO", 0x407C0C0A, json.dumps(note).encode() + b"\0"),))
    wheel = write_wheel(tmp_path, {"demo/_ext.so": file.build()})
    arguments = ["show", "--sysroot", str(SYSROOTS / "x86_64"), str(wheel)]
    shown = CliRunner().invoke(cli, arguments, standalone_mode=False).stdout
    assert "demo/_ext.so may load libleaf.so.1 (recommended), for leaves: Green ones" in shown
    printed = CliRunner().invoke(cli, [*arguments, "--json"], standalone_mode=False).stdout
    assert json.loads(printed)["wheels"][0]["dlopen"] == [
        {"member": "demo/_ext.so", "sonames": ["libleaf.so.1"], "priority": "recommended", "feature": "leaves",
         "description": "Green ones"}
    ]  # fmt: skip
    planned = run("--dry-run", "--dlopen", "recommended", wheel=wheel, out=tmp_path / "out").stdout
    assert "as demo.libs/libleaf.so.1" in planned


def test_end_to_end_copies_are_merged(tmp_path: Path) -> None:
    case = next(path for path in (TESTDATA / "cases").iterdir() if path.name.startswith("twice-"))
    out, again = tmp_path / "out", tmp_path / "again"
    assert "drops   " in run("--dedupe", "--dry-run", wheel=case, out=out).stdout
    assert run("--dedupe", wheel=case, out=out).return_value == 0
    files = contents(out)
    (kept,) = (name for name in files if name.endswith("/libextra.so.1"))
    record = files["twice-1.0.dist-info/RECORD"].decode()
    assert record.count("libextra.so.1") == 1
    assert kept in record
    run("--dedupe", wheel=next(out.iterdir()), out=again)
    assert contents(again) == files
