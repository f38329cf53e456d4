"""Tags: which one a wheel gets, and what keeps it from a lower one."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from facts_by_hand import architecture, elf, glibc_elf, libc, of_code, program, system
from musl_repair.abi import Release
from musl_repair.errors import PlatformError
from musl_repair.findings import Finding, Severity
from musl_repair.packages import Package
from musl_repair.policy import MuslTag
from musl_repair.requirement import Reason, ordered
from musl_repair.sysroot import Unusable
from musl_repair.tagging import choose_platforms, judge_tag, musl_tags, promises, system_of, untrue_platforms
from musl_repair.target import system_release
from musl_repair.wheel import WheelName, parse_name

if TYPE_CHECKING:
    from musl_repair.elf import Elf

X86 = architecture()
OLD = Reason(Release(1, 1, 24), "old_function", "a.so", is_symbol=True)
QSORT_R = Reason(Release(1, 2, 3), "qsort_r", "a.so", is_symbol=True)
FUTURE = Reason(Release(1, 3, 1), "future_function", "b.so", is_symbol=True)


def wheel(platform: str) -> WheelName:
    return parse_name(f"demo-1.0-cp312-cp312-{platform}.whl")


def chosen(
    platform: str,
    *reasons: Reason,
    requested: str = "auto",
    musl: str | None = "1.1.24",
    vendors: bool = True,
    arch: str = "x86_64",
) -> str:
    release = None if musl is None else Release.parse(musl)
    name = choose_platforms(
        wheel(platform), architecture(arch), requested=requested, system=release, reasons=reasons, vendors=vendors
    )
    return name.platform


def judged(platform: str, *reasons: Reason, arch: str = "x86_64") -> tuple[Finding, ...]:
    return tuple(judge_tag(wheel(platform), ordered(reasons), arch))


# Which release a system has


@pytest.mark.parametrize(
    "version", ["edge", "1.3-r0", "", "git20230717", "9" * 5000 + ".1.1"], ids=lambda text: text[:9]
)
def test_a_package_version_that_is_no_release_says_nothing_so_the_exports_tell(version: str) -> None:
    target = system(musl="1.2.3", packages={str(X86.loader): Package("musl", version)})
    assert system_release(target, X86) == Release(1, 2, 3)


def test_the_package_names_the_release() -> None:
    release = system_release(system(packages={str(X86.loader): Package("musl", "1.2.3-r4")}), X86)
    assert release == Release(1, 2, 3)


@pytest.mark.parametrize("packages", [None, {str(X86.loader): Package("other", "9.9.9")}], ids=["none", "another"])
def test_without_musl_s_package_the_exports_do(packages: dict[str, Package] | None) -> None:
    target = system({str(X86.loader): libc("1.2.3")}, musl=None, packages=packages)
    assert system_release(target, X86) == Release(1, 2, 3)


@pytest.mark.parametrize(
    "answer", [None, Unusable("not an ELF file"), elf()], ids=["nothing there", "no library", "no libc"]
)
def test_what_has_no_musl_has_no_release(answer: object) -> None:
    files = {} if answer is None else {str(X86.loader): answer}
    assert system_release(system(files, musl=None), X86) is None  # type: ignore[arg-type] # parametrize has no types


# Which tags can be true

MUSL = "libc.musl-x86_64.so.1"
ALONE = elf()
STATIC = elf(file_type=2)._replace(dynamic=False)


def untrue(platforms: str, *elfs: Elf, systems: tuple[str, ...] = (), name: str = "demo/file") -> list[tuple[str, str]]:
    files = {f"{name}{number or ''}": one for number, one in enumerate(elfs)}
    return [(one.platform, one.why) for one in untrue_platforms(platforms.split("."), files, X86, systems)]


@pytest.mark.parametrize(
    ("platform", "system"),
    [
        ("any", "Linux"),
        ("linux_x86_64", "Linux"),
        ("manylinux1_i686", "Linux"),
        ("manylinux_2_17_x86_64", "Linux"),
        ("musllinux_1_2_x86_64", "Linux"),
        ("win32", "Windows"),
        ("win_arm64", "Windows"),
        ("mingw_x86_64_ucrt", "Windows"),
        ("macosx_10_9_universal2", "macOS"),
        ("ios_13_0_arm64_iphoneos", "iOS"),
        ("android_21_arm64_v8a", "Android"),
        ("emscripten_4_0_9_wasm32", "WebAssembly"),
        ("pyodide_2025_0_wasm32", "WebAssembly"),
        ("wasi_0_0_0_wasm32", "WebAssembly"),
        ("freebsd_14_0_release_amd64", "freebsd_14_0_release_amd64"),
    ],
)
def test_a_platform_tag_names_a_system(platform: str, system: str) -> None:
    assert system_of(platform) == system


@pytest.mark.parametrize(
    "needed", [(MUSL,), ("libc.so",), ("libfoo.so.1", "/lib/ld-musl-x86_64.so.1")], ids=["Alpine's", "musl's", "loader"]
)
def test_glibc_s_and_android_s_tags_are_not_true_of_what_needs_musl(needed: tuple[str, ...]) -> None:
    found = untrue("manylinux_2_17_x86_64.android_21_x86_64.musllinux_1_2_x86_64.linux_x86_64.any", elf(*needed))
    why = "demo/file is linked against musl"
    assert found == [("manylinux_2_17_x86_64", why), ("android_21_x86_64", why)]
    assert untrue("manylinux_2_17_x86_64", ALONE, elf(*needed))


def test_a_program_that_names_musl_s_loader_is_musl_s() -> None:
    assert untrue("manylinux1_x86_64", program("libfoo.so"))
    assert not untrue("manylinux1_x86_64", program()._replace(interpreter="/lib64/ld-linux-x86-64.so.2"))


@pytest.mark.parametrize(
    "file", [ALONE, STATIC, elf("libfoo.so.1"), glibc_elf()], ids=["no needs", "static", "no libc", "glibc"]
)
def test_any_c_library_may_be_that_of_what_does_not_need_musl(file: Elf) -> None:
    assert untrue("manylinux2014_x86_64.musllinux_1_1_x86_64.android_24_x86_64", file) == []


def test_a_module_that_only_cpython_on_musl_looks_for_is_musl_s() -> None:
    name = "demo/_ext.cpython-312-x86_64-linux-musl.so"
    assert untrue("manylinux1_x86_64", ALONE, name=name) == [("manylinux1_x86_64", f"{name} is linked against musl")]


@pytest.mark.parametrize(
    ("platform", "arch"),
    [
        ("linux_armv8l", "armv7l"),
        ("linux_i386", "i686"),
        ("manylinux_2_17_aarch64", "aarch64"),
        ("android_24_arm64_v8a", "aarch64"),
        ("android_24_armeabi_v7a", "armv7l"),
        ("android_24_x86", "i686"),
    ],
)
def test_an_architecture_has_several_names(platform: str, arch: str) -> None:
    files = {"demo/file": elf(arch=arch)}
    assert list(untrue_platforms([platform], files, architecture(arch), ())) == []
    assert untrue(platform, ALONE) == [(platform, "the ELF files are for x86_64")]


def test_a_tag_may_be_true_of_files_for_its_machine_alone() -> None:
    other = elf(MUSL, arch="aarch64")
    assert untrue("musllinux_1_2_aarch64.manylinux1_x86_64", ALONE, other) == []
    assert untrue("any.musllinux_1_2_aarch64.manylinux_2_17_aarch64", ALONE, other) == [
        ("manylinux_2_17_aarch64", "demo/file1 is linked against musl")
    ]
    assert untrue("musllinux_1_2_aarch64", ALONE, other) == [("musllinux_1_2_aarch64", "the ELF files are for x86_64")]


@pytest.mark.parametrize("platform", ["linux_", "manylinux2014", "manylinux_x86_64", "linux_pdp11", "musllinux_1_2"])
def test_a_tag_that_names_no_machine_or_one_that_is_not_known_is_not_true(platform: str) -> None:
    assert untrue(platform, ALONE) == [(platform, "the ELF files are for x86_64")]


@pytest.mark.parametrize(
    ("platform", "system", "said"),
    [
        ("win_amd64", "Windows", "Windows"),
        ("macosx_11_0_arm64", "macOS", "macOS"),
        ("ios_13_0_arm64_iphoneos", "macOS", "iOS"),
        ("pyodide_2025_0_wasm32", "WebAssembly", "WebAssembly"),
    ],
)
def test_another_system_s_tag_is_true_only_where_there_is_something_for_it(
    platform: str, system: str, said: str
) -> None:
    assert untrue(platform, ALONE) == [(platform, f"none of the programs and libraries is for {said}")]
    assert untrue(platform, ALONE, systems=(system,)) == []


# Which tag a wheel gets


@pytest.mark.parametrize(
    ("musl", "reasons", "expected"),
    [
        ("1.1.24", (), "musllinux_1_1_x86_64"),
        ("1.2.5", (), "musllinux_1_2_x86_64"),
        ("1.1.24", (QSORT_R,), "musllinux_1_2_x86_64"),
        ("1.2.5", (OLD,), "musllinux_1_2_x86_64"),
        (None, (QSORT_R,), "musllinux_1_2_x86_64"),
        (None, (), "musllinux_1_1_x86_64"),
        ("1.0.4", (), "musllinux_1_1_x86_64"),
        ("1.2.5", (FUTURE, QSORT_R), "musllinux_1_3_x86_64"),
    ],
    ids=[
        "the system's",
        "the system's, though less is needed",
        "what is needed, though the system is older",
        "the higher of the two",
        "what is needed without a system",
        "the lowest that there is",
        "nothing below 1.1",
        "the highest of all reasons",
    ],
)
def test_auto(musl: str | None, reasons: tuple[Reason, ...], expected: str) -> None:
    assert chosen("linux_x86_64", *reasons, musl=musl) == expected


@pytest.mark.parametrize("requested", ["musllinux_1_1", "musllinux_1_1_x86_64"])
@pytest.mark.parametrize("platform", ["linux_x86_64", "musllinux_1_2_x86_64", "any"])
@pytest.mark.parametrize("vendors", [False, True], ids=["closed", "vendoring"])
def test_a_tag_that_was_asked_for_is_taken(requested: str, platform: str, *, vendors: bool) -> None:
    assert chosen(platform, QSORT_R, requested=requested, vendors=vendors) == "musllinux_1_1_x86_64"


def test_a_tag_of_another_kind_is_refused() -> None:
    with pytest.raises(PlatformError):
        chosen("linux_x86_64", requested="manylinux_2_28_x86_64")


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("musllinux_1_1_x86_64", "musllinux_1_1_x86_64"),
        ("musllinux_1_2_x86_64.musllinux_1_1_x86_64", "musllinux_1_2_x86_64.musllinux_1_1_x86_64"),
        ("manylinux_2_17_x86_64.musllinux_1_1_x86_64", "manylinux_2_17_x86_64.musllinux_1_1_x86_64"),
        ("musllinux_1_1_x86_64.manylinux_2_17_x86_64", "musllinux_1_1_x86_64.manylinux_2_17_x86_64"),
        ("linux_x86_64.musllinux_1_1_x86_64", "musllinux_1_1_x86_64"),
        ("manylinux_2_17_x86_64", "manylinux_2_17_x86_64.musllinux_1_2_x86_64"),
        ("linux_x86_64", "musllinux_1_2_x86_64"),
        ("any", "musllinux_1_2_x86_64"),
    ],
)
def test_a_wheel_that_gets_no_library_keeps_its_tags(platform: str, expected: str) -> None:
    assert chosen(platform, musl="1.2.5", vendors=False) == expected


@pytest.mark.parametrize(
    "platform",
    [
        "musllinux_1_1_x86_64",
        "musllinux_1_1_x86_64.musllinux_1_2_x86_64",
        "manylinux_2_17_x86_64.musllinux_1_1_x86_64",
    ],
)
def test_musl_s_libraries_make_a_wheel_musl_s_alone(platform: str) -> None:
    assert chosen(platform, musl="1.2.5") == "musllinux_1_2_x86_64"


def test_what_is_for_another_system_is_not_concerned_by_musl_s_libraries() -> None:
    assert chosen("win_amd64.manylinux1_x86_64.linux_x86_64", musl="1.2.5") == "win_amd64.musllinux_1_2_x86_64"


def test_a_name_without_a_tag_that_is_true_gets_one() -> None:
    name = wheel("linux_x86_64")._replace(platform="")
    result = choose_platforms(name, X86, requested="auto", system=None, reasons=(), vendors=False)
    assert result.platform == "musllinux_1_1_x86_64"


def test_the_machine_that_built_it_is_not_the_tag_s() -> None:
    assert chosen("linux_armv8l", musl="1.2.5", arch="armv7l") == "musllinux_1_2_armv7l"


def test_all_else_of_the_name_stays() -> None:
    name = parse_name("demo-1.0-2-cp311.cp312-abi3.none-linux_x86_64.whl")
    result = choose_platforms(name, X86, requested="musllinux_1_2", system=None, reasons=(), vendors=True)
    assert str(result) == "demo-1.0-2-cp311.cp312-abi3.none-musllinux_1_2_x86_64.whl"


# What tags promise


def test_the_lowest_tag_is_first() -> None:
    name = wheel("musllinux_1_2_x86_64.manylinux_2_17_x86_64.musllinux_1_1_x86_64")
    assert musl_tags(name) == (MuslTag(1, 1, "x86_64"), MuslTag(1, 2, "x86_64"))


@pytest.mark.parametrize(
    ("platform", "release", "expected"),
    [
        ("musllinux_1_2_x86_64", Release(1, 2, 4), True),
        ("musllinux_1_2_x86_64", Release(1, 2, 0), False),
        ("musllinux_1_3_x86_64", Release(1, 2, 4), False),
        ("musllinux_1_3_x86_64.musllinux_1_1_x86_64", Release(1, 2, 4), True),
        ("linux_x86_64", Release(1, 2, 4), False),
    ],
)
def test_a_tag_promises_every_release_from_its_first_on(platform: str, release: Release, *, expected: bool) -> None:
    assert promises(wheel(platform), release) == expected


# What is wrong with a tag


@pytest.mark.parametrize(
    ("platform", "reasons"),
    [
        ("linux_x86_64", (FUTURE,)),
        ("manylinux_2_17_x86_64", (FUTURE,)),
        ("musllinux_1_2_x86_64", (OLD,)),
        ("musllinux_1_2_x86_64", ()),
        ("musllinux_1_4_x86_64", (FUTURE, QSORT_R)),
    ],
)
def test_nothing_is_wrong_with_a_tag_that_is_kept(platform: str, reasons: tuple[Reason, ...]) -> None:
    assert judged(platform, *reasons) == ()


def test_a_tag_below_what_is_needed_is_refused_with_symbols_and_files() -> None:
    other = QSORT_R._replace(member="z.so")
    (found,) = judged("musllinux_1_1_x86_64", FUTURE, QSORT_R, other, OLD)
    assert (found.code, found.severity, found.subject) == ("tag-too-low", Severity.ERROR, "musllinux_1_1_x86_64")
    assert found.detail.splitlines() == [
        "future_function is there since musl 1.3.1; needed by b.so",
        "qsort_r is there since musl 1.2.3; needed by a.so, z.so",
        "old_function is there since musl 1.1.24; needed by a.so",
    ]
    assert found.remedy.startswith("ask for musllinux_1_3 ")


def test_a_patch_release_that_no_tag_names_is_a_warning_with_the_distributions() -> None:
    (found,) = judged("musllinux_1_2_x86_64", QSORT_R, OLD)
    assert (found.code, found.severity) == ("tag-promises-too-much", Severity.WARNING)
    needed, where = found.detail.splitlines()
    assert needed == "qsort_r is there since musl 1.2.3; needed by a.so"
    assert where == "runs on Alpine 3.15 and later; Debian 12; not on Alpine 3.13, Alpine 3.14"


def test_of_several_tags_the_lowest_counts() -> None:
    assert of_code(judged("musllinux_1_2_x86_64.musllinux_1_1_x86_64", QSORT_R), "tag-too-low")


def test_many_reasons_are_counted() -> None:
    reasons = [QSORT_R._replace(cause=f"function{number:02}") for number in range(14)]
    (found,) = judged("musllinux_1_1_x86_64", *reasons)
    assert found.detail.splitlines()[9:] == [
        "function09 is there since musl 1.2.3; needed by a.so",
        "and 4 more",
    ]


def test_an_architecture_that_came_later_has_no_older_musl_to_fail_on() -> None:
    first = Reason(Release(1, 2, 5), "printf", "a.so", is_symbol=True)
    assert judged("musllinux_1_2_loongarch64", first, arch="loongarch64") == ()
    assert judged("musllinux_1_2_loongarch64", first._replace(release=Release(1, 2, 6)), arch="loongarch64")


def test_the_loader_is_where_the_release_is_looked_for() -> None:
    target = system(musl="1.2.5", arch="aarch64")
    assert system_release(target, X86) is None
    assert system_release(target, architecture("aarch64")) == Release(1, 2, 5)
    assert target.read(PurePosixPath("/lib/ld-musl-aarch64.so.1")) is not None
