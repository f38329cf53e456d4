"""Judgements: what is said of a wheel as it stands, with nothing but the wheel and musl to look in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from facts_by_hand import architecture, elf, glibc_elf, of_code, program, reading, wheel_facts
from musl_repair.abi import Release, history
from musl_repair.binding import Wanted, clashes, unbound_symbols, wanted_of_python
from musl_repair.check import Leniency, judge_wheel
from musl_repair.errors import RefusedError
from musl_repair.findings import RULES, Finding, Severity, errors_in, finding, is_failure
from musl_repair.record import RecordFault
from musl_repair.relocations import RELOCATIONS
from musl_repair.resolve import Search, resolve
from musl_repair.sysroot import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from musl_repair.elf import Elf
    from musl_repair.graph import Resolution

EXT = "demo/_ext.so"
NAME = "demo-1.0-cp312-cp312-musllinux_1_2_x86_64.whl"


def judged(
    elfs: Mapping[str, Elf],
    *,
    name: str = NAME,
    excluded: tuple[str, ...] = (),
    ignored: Iterable[str] = (),
    pure: bool = False,
    tags: Iterable[str] | None = None,
) -> tuple[Finding, ...]:
    facts = wheel_facts(elfs, name=name, pure=pure, tags=tags)
    return judge_wheel(facts, Leniency(excluded, frozenset(ignored))).findings


def only(found: tuple[Finding, ...]) -> tuple[str, Severity, str, str]:
    """Return the one finding that there is, without its remedy. Files that are made alike are not what it is about."""
    (one,) = (one for one in found if one.code != "duplicate-library")
    return one.code, one.severity, one.subject, one.detail


# Findings


@pytest.mark.parametrize("code", RULES)
def test_rules_say_what_is_wrong_and_what_to_do(code: str) -> None:
    rule = RULES[code]
    assert rule.code == code
    assert rule.meaning.endswith(".")
    assert rule.remedy
    assert not rule.remedy.endswith(".")


def test_a_finding_takes_what_its_rule_says_unless_more_is_known() -> None:
    plain = finding("ifunc", "a.so", "seen")
    assert plain == Finding("ifunc", Severity.ERROR, "a.so", "seen", RULES["ifunc"].remedy)
    exact = finding("ifunc", "a.so", "seen", remedy="do this", severity=Severity.NOTE)
    assert exact == Finding("ifunc", Severity.NOTE, "a.so", "seen", "do this")


def test_errors_fail_and_warnings_do_if_the_user_is_strict() -> None:
    note, warning, error = (finding("ifunc", "a.so", "", severity=severity) for severity in reversed(Severity))
    assert errors_in([note, warning, error]) == (error,)
    assert [is_failure([one], strict=False) for one in (note, warning, error)] == [False, False, True]
    assert [is_failure([one], strict=True) for one in (note, warning, error)] == [False, True, True]


def test_a_refusal_counts_its_errors() -> None:
    error = finding("ifunc", "a.so", "")
    note = finding("libpython-linked", "a.so", "")
    assert "1 problem" in str(RefusedError("x.whl", (error, note)))
    assert "2 problems" in str(RefusedError("x.whl", (error, error)))


# What is judged


def test_a_good_wheel_has_no_findings() -> None:
    files = {
        EXT: elf("libin.so", "libc.musl-x86_64.so.1", rpath="$ORIGIN/../demo.libs", imports=["PyLong_Type", "printf"]),
        "demo.libs/libin.so": elf("libm.so.6", exports=["inner"]),
        "demo-1.0.data/scripts/tool": program("libc.musl-x86_64.so.1"),
    }
    judgement = judge_wheel(wheel_facts(files, name=NAME))
    assert judgement.findings == ()
    assert judgement.architecture == architecture()


def test_reasons_are_part_of_the_judgement() -> None:
    judgement = judge_wheel(wheel_facts({EXT: elf(imports=["reallocarray"])}, name=NAME))
    assert [(reason.cause, reason.release) for reason in judgement.reasons] == [("reallocarray", Release(1, 2, 2))]


def test_a_wheel_without_elf_files_has_no_architecture() -> None:
    judgement = judge_wheel(wheel_facts({}, name="demo-1.0-py3-none-any.whl"))
    assert (judgement.architecture, judgement.reasons, judgement.findings) == (None, (), ())


def test_ignored_codes_are_not_told() -> None:
    files = {EXT: elf("libnone.so", rpath="/opt")}
    assert {found.code for found in judged(files)} == {"library-not-found", "rpath-outside-wheel"}
    assert {found.code for found in judged(files, ignored=["rpath-outside-wheel"])} == {"library-not-found"}


def test_findings_are_sorted_and_each_is_there_once() -> None:
    found = judged({EXT: elf("libz.so", "liba.so"), "x.so": elf("libz.so", rpath="/opt:/opt")})
    assert list(found) == sorted(set(found))


# Closed


def test_a_library_of_any_system_is_missing() -> None:
    found = only(judged({EXT: elf("libz.so.1"), "x.so": elf("libz.so.1")}))
    detail = f"needed by {EXT}, x.so\nlooked in /lib, /usr/local/lib, /usr/lib"
    assert found == ("library-not-found", Severity.ERROR, "libz.so.1", detail)


def test_a_library_of_the_wheel_is_missing_where_no_rpath_leads_to_it() -> None:
    found = judged({EXT: elf("libin.so", rpath="$ORIGIN/lib"), "demo.libs/libin.so": elf()})
    assert only(found)[3].endswith("looked in /<wheel>/demo/lib, /lib, /usr/local/lib, /usr/lib")


def test_folders_are_told_in_their_shortest_form() -> None:
    found = judged({EXT: elf("libin.so", rpath="$ORIGIN/../demo.libs")})
    assert "looked in /<wheel>/demo.libs, /lib" in only(found)[3]


def test_a_name_with_a_slash_is_not_searched_for() -> None:
    found = judged({EXT: elf("lib/libin.so")})
    path = "it is a path from the working directory of the process, and musl searches for file names only"
    assert only(found)[3] == f"needed by {EXT}\n{path}"


def test_what_is_not_dynamic_is_in_the_way() -> None:
    files = {EXT: elf("libin.so", rpath="$ORIGIN"), "demo/libin.so": elf()._replace(dynamic=False)}
    assert "/<wheel>/demo/libin.so is there, but not a shared object" in only(judged(files))[3]


@pytest.mark.parametrize(
    ("rpath", "expected"),
    [
        (None, ["library-excluded-not-found"]),
        ("$ORIGIN", ["library-excluded-not-found"]),
        ("$ORIGIN/../other.libs", []),
    ],
    ids=["no way leads to it", "only to where it is not", "a way leads into another package"],
)
def test_an_excluded_library_is_looked_for_by_rpath_only(rpath: str | None, expected: list[str]) -> None:
    found = judged({EXT: elf("libcuda.so.1", rpath=rpath)}, excluded=("libcuda*",))
    assert [one.code for one in found] == expected


def test_a_file_with_a_name_of_libc_s_is_never_opened() -> None:
    files = {EXT: elf("libm.custom.so", rpath="$ORIGIN"), "demo/libm.custom.so": elf(), "demo/librt.so": elf()}
    found = only(judged(files))
    assert found[:3] == ("reserved-name", Severity.ERROR, "demo/libm.custom.so")


# Search paths


@pytest.mark.parametrize(
    ("rpath", "code", "entry"),
    [
        ("$LIB:$ORIGIN", "rpath-token", "$LIB"),
        ("$ORIGIN:/usr/lib", "rpath-outside-wheel", "/usr/lib"),
        ("$ORIGIN/../..", "rpath-outside-wheel", "$ORIGIN/../.."),
        ("lib", "rpath-outside-wheel", "lib"),
    ],
)
def test_search_paths_that_no_wheel_should_have(rpath: str, code: str, entry: str) -> None:
    assert only(judged({EXT: elf(rpath=rpath)})) == (code, Severity.WARNING, EXT, f"the entry {entry}")


# Tags


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        (NAME, elf(imports=["reallocarray"]), ["tag-promises-too-much"]),
        (NAME.replace("_1_2_", "_1_1_"), elf(imports=["reallocarray"]), ["tag-too-low"]),
        (NAME.replace("_1_2_", "_1_3_"), elf(imports=["reallocarray"]), []),
        (NAME.replace("musllinux_1_2", "linux"), elf(imports=["reallocarray"]), []),
        (NAME, elf(relr=True), ["relr-before-1.2.4"]),
        (NAME.replace("_1_2_", "_1_3_"), elf(relr=True), []),
    ],
    ids=["a patch release", "too low", "high enough", "no promise", "RELR", "RELR and only newer musl"],
)
def test_what_a_tag_promises(name: str, file: Elf, expected: list[str]) -> None:
    assert [found.code for found in judged({EXT: file}, name=name)] == expected


def test_relr_is_an_error_in_a_finished_wheel() -> None:
    assert only(judged({EXT: elf(relr=True)}))[1] is Severity.ERROR


@pytest.mark.parametrize("platform", ["linux_aarch64", "musllinux_1_2_aarch64", "linux_i686", "manylinux1_i686"])
def test_a_tag_of_another_machine(platform: str) -> None:
    found = of_code(judged({EXT: elf()}, name=f"demo-1.0-cp312-cp312-{platform}.whl"), "tag-mismatch")
    assert [one.detail for one in found] == [f"the file name says {platform}, the ELF files are for x86_64"]


@pytest.mark.parametrize(
    ("platform", "arch"),
    [
        ("linux_armv8l", "armv7l"),
        ("linux_armv6l", "armv6l"),
        ("linux_i586", "i686"),
        ("manylinux_2_28_x86_64", "x86_64"),
        ("any", "x86_64"),
    ],
)
def test_other_spellings_and_other_c_libraries_tags_are_no_mismatch(platform: str, arch: str) -> None:
    found = judged({EXT: elf(arch=arch)}, name=f"demo-1.0-cp312-cp312-{platform}.whl")
    assert of_code(found, "tag-mismatch") == []


def test_the_tags_of_wheel_are_those_of_the_name() -> None:
    found = judged({EXT: elf()}, tags=["cp312-cp312-linux_x86_64"])
    detail = "WHEEL has cp312-cp312-linux_x86_64; the file name has cp312-cp312-musllinux_1_2_x86_64"
    assert only(found) == ("tag-mismatch", Severity.ERROR, NAME, detail)
    assert only(judged({EXT: elf()}, tags=[]))[3].startswith("WHEEL has no tag;")
    several = NAME.replace("cp312-cp312", "cp311.cp312-abi3")
    assert (
        judged({EXT: elf()}, name=several, tags=[f"{cp}-abi3-musllinux_1_2_x86_64" for cp in ("cp312", "cp311")]) == ()
    )


@pytest.mark.parametrize(("arch", "expected"), [("armv6l", True), ("loongarch64", True), ("riscv64", False)])
def test_pypi_does_not_take_every_tag(arch: str, *, expected: bool) -> None:
    platform = f"musllinux_1_2_{arch}"
    found = of_code(judged({EXT: elf(arch=arch)}, name=f"demo-1.0-cp312-cp312-{platform}.whl"), "tag-not-on-pypi")
    note = (Severity.NOTE, platform, f"PyPI accepts no musllinux wheels for {arch}")
    assert [(one.severity, one.subject, one.detail) for one in found] == ([note] if expected else [])
    assert judged({EXT: elf(arch=arch)}, name=f"demo-1.0-cp312-cp312-linux_{arch}.whl") == ()


# Record, places, copies


def test_record_has_to_be_true_and_whole() -> None:
    facts = wheel_facts(
        {EXT: elf()},
        name=NAME,
        record_faults=[
            RecordFault("a.py", "wrong"),
            RecordFault("b.py", "odd", mendable=True, severity=Severity.WARNING),
        ],
    )
    found = judge_wheel(facts).findings
    assert [(one.code, one.subject, one.severity) for one in found] == [
        ("record-mismatch", "a.py", Severity.ERROR),
        ("record-mismatch", "b.py", Severity.WARNING),
    ]


@pytest.mark.parametrize(
    ("member", "pure", "expected"),
    [
        (EXT, False, False),
        (EXT, True, True),
        ("demo-1.0.data/purelib/_ext.so", False, True),
        ("demo-1.0.data/platlib/_ext.so", True, False),
        ("demo-1.0.data/platlib/_ext.so", False, False),
    ],
)
def test_elf_files_are_not_pure_python(member: str, *, pure: bool, expected: bool) -> None:
    assert bool(of_code(judged({member: elf()}, pure=pure), "elf-in-purelib")) == expected


def test_copies_are_told_whatever_their_order() -> None:
    same, build = elf(exports=["x"]), elf()._replace(build_id="abc")
    files = {"b.so": same, "a.so": same, "c.so": build, "d.so": build._replace(soname="d"), "e.so": elf(exports=["y"])}
    found = [(one.subject, one.detail) for one in of_code(judged(files), "duplicate-library")]
    assert found == [
        ("a.so", "the same content as b.so: 4096 bytes too many"),
        ("c.so", "build-id abc as d.so: 4096 bytes too many"),
    ]


# Machines


def test_glibc_and_other_machines_are_told_by_file() -> None:
    arm = elf(arch="aarch64", exports=["PyInit_arm"])
    found = judged({EXT: elf(), "b.so": elf(), "arm.so": arm, "g.so": glibc_elf()})
    assert [(one.code, one.subject) for one in errors_in(found)] == [
        ("glibc-linked", "g.so"),
        ("wrong-architecture", "arm.so"),
    ]


def test_relocations_of_another_machine_are_not_judged() -> None:
    arm = elf(arch="aarch64", exports=["PyInit_arm"])._replace(relocation_types=(1024, 1025))
    found = judged({EXT: elf(), "b.so": elf(), "arm.so": arm})
    assert {one.code for one in errors_in(found)} == {"wrong-architecture"}


# Single files


@pytest.mark.parametrize(
    ("file", "code", "severity", "detail"),
    [
        (
            elf()._replace(initial_exec=("", "errno_like"), static_tls=True),
            "initial-exec-tls",
            Severity.ERROR,
            "thread-pointer relocations against a variable of its own, errno_like",
        ),
        (
            elf()._replace(static_tls=True),
            "initial-exec-tls",
            Severity.NOTE,
            "DF_STATIC_TLS is set, but no relocation asks for it",
        ),
        (elf(imports=["memcpy"])._replace(ifuncs=("memcpy", "memset")), "ifunc", Severity.ERROR, "memcpy"),
        (
            elf(weak=["memcpy"])._replace(ifuncs=("memcpy",)),
            "ifunc",
            Severity.NOTE,
            "it exports memcpy, which musl does not find; nothing in the file refers to it",
        ),
        (elf()._replace(relocation_types=(8, 37)), "ifunc", Severity.ERROR, "IRELATIVE relocations"),
        (elf()._replace(relocation_types=(8, 32)), "unsupported-relocation", Severity.ERROR, "type 32"),
        (elf()._replace(exec_stack=True), "executable-stack", Severity.NOTE, "PT_GNU_STACK has the executable flag"),
        (elf()._replace(isa_needed=0b110), "isa-level", Severity.ERROR, "it is marked as needing x86-64-v3"),
        (
            elf()._replace(page_size=0),
            "page-alignment",
            Severity.ERROR,
            "its segments fit no page size; kernels for x86_64 use up to 4096",
        ),
        (elf("libpython3.12.so.1.0"), "libpython-linked", Severity.NOTE, "it needs libpython3.12.so.1.0"),
    ],
    ids=[
        "initial-exec TLS",
        "the flag alone",
        "an IFUNC that is referred to",
        "an IFUNC that is only exported",
        "IRELATIVE",
        "unknown relocations",
        "an executable stack",
        "a newer processor",
        "no page fits",
        "libpython",
    ],
)
def test_what_musl_or_the_machine_will_not_do(file: Elf, code: str, severity: Severity, detail: str) -> None:
    found = of_code(judged({EXT: file}), code)
    assert [(one.severity, one.subject, one.detail) for one in found] == [(severity, EXT, detail)]


@pytest.mark.parametrize(
    "file",
    [
        elf()._replace(relocation_types=tuple(RELOCATIONS[62].names)),
        elf()._replace(isa_needed=1),
        elf()._replace(page_size=0x1000),
        program()._replace(initial_exec=("own",), static_tls=True),
        elf()._replace(pie=True, relocation_types=(8, 37), initial_exec=("own",)),
    ],
    ids=[
        "every relocation that musl knows",
        "the baseline",
        "4 KiB pages",
        "initial-exec TLS in a program",
        "a static program that relocates itself",
    ],
)
def test_what_they_do(file: Elf) -> None:
    assert errors_in(judged({EXT: file})) == ()


def test_initial_exec_is_fine_in_what_only_programs_load() -> None:
    library = elf()._replace(initial_exec=("own",))
    tool = program("libin.so", rpath="$ORIGIN")
    assert of_code(judged({"demo/tool": tool, "demo/libin.so": library}), "initial-exec-tls") == []
    both = {"demo/tool": tool, "demo/libin.so": library, EXT: elf("libin.so", rpath="$ORIGIN")}
    assert of_code(judged(both), "initial-exec-tls")


@pytest.mark.parametrize(
    ("arch", "expected"), [("ppc64le", True), ("aarch64", True), ("x86_64", False), ("s390x", False)]
)
def test_pages_are_the_architecture_s(arch: str, *, expected: bool) -> None:
    file = elf(arch=arch)._replace(page_size=0x1000)
    found = of_code(judged({EXT: file}, name=NAME.replace("x86_64", arch)), "page-alignment")
    assert bool(found) == expected


# The interpreter

MODULE = "demo/_ext.cpython-312-x86_64-linux-musl.so"


def module(*imports: str, exports: Iterable[str] = ("PyInit__ext",), arch: str = "x86_64") -> Elf:
    return elf(imports=imports, exports=exports, arch=arch)


@pytest.mark.parametrize(
    ("files", "subjects"),
    [
        ({MODULE: module()}, []),
        ({"demo/_ext.cpython-312-x86_64-linux-gnu.so": module()}, ["demo/_ext.cpython-312-x86_64-linux-gnu.so"]),
        ({"demo/_ext.pyd": module()}, ["demo/_ext.pyd"]),
        ({"demo-1.0.data/platlib/_ext.abi3t.so": module()}, ["demo-1.0.data/platlib/_ext.abi3t.so"]),
        ({"demo/help.cpython-311-x86_64-linux-musl.so": module(exports=["help"])}, []),
        ({"demo.libs/_ext.abi3t.so": module()}, []),
        ({"demo-1.0.data/data/share/_ext.abi3t.so": module()}, []),
    ],
    ids=[
        "what 3.12 looks for",
        "glibc's name",
        "Windows'",
        "in platlib",
        "a library with a tag",
        "a vendored library",
        "nowhere that is imported from",
    ],
)
def test_modules_are_found_by_their_names(files: Mapping[str, Elf], subjects: list[str]) -> None:
    assert [one.subject for one in of_code(judged(files), "extension-suffix")] == subjects


def test_a_module_for_another_machine_is_data() -> None:
    """No interpreter of the tags on the wheel's machine looks for it: it is told of once, and as nothing else."""
    other = "demo/_two.cpython-312-aarch64-linux-musl.so"
    found = judged({MODULE: module(), "demo/x.so": module(), other: module(arch="aarch64")})
    code, severity, _, detail = only(found)
    assert (code, severity) == ("elf-data", Severity.NOTE)
    assert other in detail


def test_names_are_asked_of_the_interpreters_of_the_tags() -> None:
    files = {MODULE: module("PyErr_GetRaisedException", "PyFooBarBaz", "printf")}
    assert [one.subject for one in errors_in(judged(files))] == ["PyFooBarBaz"]


def test_a_library_s_names_are_asked_too() -> None:
    files = {
        MODULE: elf("libin.so", exports=["PyInit__ext"], imports=["PyIn_Own"], rpath="$ORIGIN"),
        "demo/libin.so": elf(imports=["PyFooBarBaz"], exports=["PyIn_Own"]),
    }
    expected = ("symbol-not-found", Severity.ERROR, "PyFooBarBaz")
    assert only(judged(files))[:3] == expected
    assert only(judged(files))[3].startswith("needed by demo/libin.so\n")


def test_what_the_wheel_defines_is_not_asked_of_the_interpreter() -> None:
    files = {
        "demo/_ext.abi3.so": elf("libin.so", exports=["PyInit__ext"], imports=["PyIn_Own"], rpath="$ORIGIN"),
        "demo/libin.so": elf(imports=["PyList_Append"], weak=["_PyMaybe"], exports=["PyIn_Own"]),
    }
    assert judged(files, name=NAME.replace("cp312-cp312", "cp38-abi3")) == ()


def test_a_name_that_a_sibling_defines_may_be_there() -> None:
    files = {f"demo/libin{number}.so": elf(exports=["PyIn_Own"]) for number in ("", "2")}
    found = judged({MODULE: module("PyIn_Own"), **files})
    assert only(found)[:3] == ("symbol-not-found", Severity.WARNING, "PyIn_Own")
    assert only(found)[3].endswith("demo/libin.so defines it, but is not among what is needed")


def test_requires_python_is_read() -> None:
    name = NAME.replace("cp312-cp312", "cp311-abi3")
    facts = wheel_facts({"demo/_ext.abi3.so": module("PyErr_GetRaisedException")}, name=name)
    assert [one.subject for one in errors_in(judge_wheel(facts).findings)] == ["PyErr_GetRaisedException"]
    facts = replace(facts, wheel=facts.wheel._replace(requires_python=">=3.12"))
    assert judge_wheel(facts).findings == ()


# Binding


def resolution_of(files: Mapping[str, Elf], excluded: tuple[str, ...] = ()) -> Resolution:
    wheel = {PurePosixPath(f"/<wheel>/{name}"): file for name, file in files.items()}
    return resolve(wheel, None, architecture(), Search(DEFAULT_PATH, excluded=excluded, may_repair=False))


def unbound(files: Mapping[str, Elf], excluded: tuple[str, ...] = ()) -> list[tuple[str, str, bool]]:
    return [(one.path.name, one.name, one.certain) for one in unbound_symbols(resolution_of(files, excluded))]


def test_what_the_closure_defines_is_bound() -> None:
    files = {
        "a.so": elf("b.so", imports=["one", "two", "three"], rpath="$ORIGIN"),
        "b.so": elf("c.so", exports=["one"]),
        "c.so": elf(exports=["two"]),
        "d.so": elf(exports=["three"]),
    }
    assert unbound(files) == [("a.so", "three", True)]


def test_what_is_loaded_with_a_library_binds_its_symbols_too() -> None:
    """The scope is that of the file that was dlopened: a library's symbols may come from its siblings."""
    files = {
        "a.so": elf("b.so", "c.so", rpath="$ORIGIN", exports=["back"]),
        "b.so": elf(imports=["two", "back"]),
        "c.so": elf(exports=["two"]),
    }
    assert unbound(files) == []


def test_but_not_on_every_way() -> None:
    files = {
        "a.so": elf("b.so", "c.so", rpath="$ORIGIN"),
        "b.so": elf(imports=["two"], exports=["PyInit_b"]),
        "c.so": elf(exports=["two"]),
    }
    assert unbound(files) == [("b.so", "two", True)]


def test_weak_symbols_and_cpython_s_need_nobody() -> None:
    assert unbound({"a.so": elf(imports=["PyLong_Type"], weak=["maybe"])}) == []


def test_a_program_has_no_interpreter_to_bind_to() -> None:
    assert unbound({"tool": program()}) == []
    assert unbound({"tool": program()._replace(imports=elf(imports=["PyLong_Type"]).imports)}) == [
        ("tool", "PyLong_Type", True)
    ]


def test_the_interpreter_s_names_are_wanted_by_what_it_loads() -> None:
    files = {
        "a.so": elf(
            "b.so", rpath="$ORIGIN", imports=["PyA", "printf"], weak=["PyMaybe"], exports=["PyInit_a", "PyOwn"]
        ),
        "b.so": elf(imports=["PyB", "PyOwn"]),
        "tool": program()._replace(imports=elf(imports=["PyC"]).imports),
    }
    a, b = (PurePosixPath(f"/<wheel>/{name}") for name in ("a.so", "b.so"))
    wanted = wanted_of_python(resolution_of(files))
    assert wanted == (Wanted(a, a, frozenset({"PyA"})), Wanted(b, a, frozenset({"PyB"})))


@pytest.mark.parametrize("excluded", [(), ("libmissing*",)], ids=["missing", "excluded"])
def test_what_may_be_defined_by_a_library_that_is_not_there_is_not_wanted(excluded: tuple[str, ...]) -> None:
    files = {"a.so": elf("b.so", imports=["PyA"], rpath="$ORIGIN"), "b.so": elf("libmissing.so")}
    assert wanted_of_python(resolution_of(files, excluded)) == ()


@pytest.mark.parametrize("excluded", [(), ("libmissing*",)], ids=["missing", "excluded"])
def test_what_a_library_that_is_not_there_defines_is_not_known(excluded: tuple[str, ...]) -> None:
    files = {"a.so": elf("b.so", imports=["one"], rpath="$ORIGIN"), "b.so": elf("libmissing.so", imports=["two"])}
    assert unbound(files, excluded) == [("a.so", "one", False), ("b.so", "two", False)]
    assert of_code(judged(files, excluded=excluded), "symbol-not-found") == []


def test_a_symbol_that_nobody_has_is_an_error() -> None:
    found = judged({EXT: elf(imports=["no_such_function"]), "x.so": elf(imports=["no_such_function"])})
    expected = ("symbol-not-found", Severity.ERROR, "no_such_function", f"needed by {EXT}, x.so")
    assert only(found) == expected


def test_a_hint_is_given_where_there_is_one() -> None:
    detail = only(judged({EXT: elf(imports=["__memcpy_chk"])}))[3]
    assert len(detail.splitlines()) == 2


def test_a_symbol_that_is_an_ifunc_is_not_found() -> None:
    files = {EXT: elf("libin.so", imports=["one"], rpath="$ORIGIN"), "demo/libin.so": elf()._replace(ifuncs=("one",))}
    found = judged(files)
    assert [(one.code, one.severity) for one in found] == [
        ("ifunc", Severity.NOTE),
        ("symbol-not-found", Severity.ERROR),
    ]
    assert found[1].detail.splitlines()[1:] == ["demo/libin.so defines it as an IFUNC, which musl does not find"]


def test_a_symbol_of_another_file_is_a_warning() -> None:
    found = judged({EXT: elf(imports=["one"]), "x.so": elf(exports=["one"])})
    assert only(found)[1] is Severity.WARNING
    assert only(found)[3].endswith("x.so defines it, but is not among what is needed")


def test_libc_s_own_name_wins() -> None:
    files = {
        EXT: elf("libin.so", rpath="$ORIGIN", imports=["printf", "own"]),
        "demo/libin.so": elf(exports=["printf", "own", "malloc"]),
    }
    expected = ("libc-symbol-clash", Severity.WARNING, "demo/libin.so", f"printf; meant by {EXT}")
    assert only(judged(files)) == expected
    assert clashes(resolution_of({}), frozenset({"printf"})) == {}


def test_a_function_of_the_processor_s_abi_is_the_same_in_musl() -> None:
    """__aeabi_atexit of libstdc++ does what musl's does: the ARM EABI says what that is."""
    names = ["__aeabi_atexit", "__aeabi_memcpy4", "__cxa_finalize", "__stack_chk_fail", "__tls_get_addr"]
    assert history("armv7l").exports_now().issuperset(names)
    files = {
        EXT: elf("libin.so", rpath="$ORIGIN", imports=[*names, "puts"], arch="armv7l"),
        "demo/libin.so": elf(exports=[*names, "puts"], arch="armv7l"),
    }
    assert only(judged(files, name=NAME.replace("x86_64", "armv7l")))[3] == f"puts; meant by {EXT}"


def test_many_names_are_counted() -> None:
    names = ["printf", "malloc", "free", "puts", "read", "write", "open", "close", "memcpy", "strlen"]
    files = {EXT: elf("libin.so", rpath="$ORIGIN", imports=names), "demo/libin.so": elf(exports=names)}
    assert only(judged(files))[3].startswith("close, free, malloc, memcpy, open, printf, puts, read and 2 more; ")


def test_a_file_that_is_no_elf_file_is_in_the_way() -> None:
    facts = wheel_facts({EXT: elf("libin.so", rpath="$ORIGIN")}, name=NAME)
    facts = replace(facts, readings={**facts.readings, "demo/libin.so": reading("demo/libin.so", None)})
    assert "/<wheel>/demo/libin.so is there, but not an ELF file" in only(judge_wheel(facts).findings)[3]
