"""What the interpreters of the tags lack: names of the C API, and the names of modules."""

from __future__ import annotations

import pytest

from musl_repair.findings import RULES, Finding, Severity
from musl_repair.python.checks import ApiUse, judge_api, judge_suffixes
from musl_repair.python.promise import Promise, promise_of

E, W, N = Severity.ERROR, Severity.WARNING, Severity.NOTE
STABLE_11 = "PyBuffer_Release"
"""Exported by every version, and in the stable ABI since 3.11."""


def promise(tag: str, requires: str = "") -> Promise:
    python, abi = tag.split("-")
    return promise_of(python, abi, requires)


def api(tag: str, *names: str, file: str = "p/_x.so", owner: str | None = None, requires: str = "") -> list[Finding]:
    owners = {} if owner is None else dict.fromkeys(names, owner)
    uses = [ApiUse(file, file, frozenset(names))] if names else []
    return list(judge_api(uses, promise(tag, requires), "x86_64", owners))


def short(found: list[Finding]) -> list[tuple[str, Severity, str]]:
    return [(one.code, one.severity, one.subject) for one in found]


# Names


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("cp312-cp312", "PyErr_GetRaisedException"),
        ("cp38-cp38", "_PyUnicode_FastCopyCharacters"),
        ("cp38-abi3", "PyList_Append"),
        ("cp313-abi3", "PyObject_GetOptionalAttr"),
        ("cp313-cp313t", "_Py_DecRefShared"),
        ("cp314-cp314t", "PyMutex_Lock"),
        ("py3-none", "PyList_Append"),
        ("cp312-none", "PyErr_GetRaisedException"),
        ("cp315-abi3.abi3t", "PyModule_FromSlotsAndSpec"),
    ],
)
def test_a_name_that_every_admitted_interpreter_exports(tag: str, name: str) -> None:
    assert api(tag, name) == []


@pytest.mark.parametrize(
    ("tag", "name", "lacking"),
    [
        ("cp311-cp311", "PyFooBarBaz", "CPython 3.11; no CPython from 3.6 to 3.15 exports it"),
        (
            "cp311-cp311",
            "PyErr_GetRaisedException",
            "CPython 3.11; exported by CPython 3.12 to 3.15, and in the stable",
        ),
        ("cp313-cp313", "_PyUnicode_FastCopyCharacters", "CPython 3.13; exported by CPython 3.6 to 3.12"),
        ("cp314-cp314", "_PyUnicode_FastCopyCharacters", "CPython 3.14; exported by CPython 3.6 to 3.12"),
        ("cp38-abi3", "PyObject_GetOptionalAttr", "CPython 3.8 to 3.12; exported by CPython 3.13 to 3.15, and in the"),
        ("cp38-abi3", "PyCFunction_New", "CPython 3.9; exported by CPython 3.6 to 3.8, 3.10 to 3.15, and in the"),
        ("cp311.cp312-cp311.cp312", "PyErr_GetRaisedException", "CPython 3.11; exported by"),
        ("py3-none", "PyFooBarBaz", "CPython 3.6 to 3.15; free-threaded CPython 3.13 to 3.15; no CPython"),
        ("cp311-none", "PyErr_GetRaisedException", "CPython 3.11; exported by"),
        ("py3-none", "_Py_DecRefShared", "CPython 3.6 to 3.15; exported by free-threaded CPython 3.13 to 3.15"),
    ],
)
def test_a_name_that_an_admitted_interpreter_surely_lacks_is_an_error(tag: str, name: str, lacking: str) -> None:
    (found,) = api(tag, name)
    assert (found.code, found.severity, found.subject) == ("symbol-not-found", E, name)
    needed, why = found.detail.splitlines()
    assert needed == "needed by p/_x.so"
    assert why.startswith(f"not exported by {lacking}")


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("cp313-cp313t", "PyFooBarBaz"),
        ("cp313-cp313t", "_PyUnicode_FastCopyCharacters"),
        ("py3-none", "PyErr_GetRaisedException"),
    ],
    ids=["free-threaded", "free-threaded, once there", "not on every Python"],
)
def test_what_is_not_certain_is_a_warning(tag: str, name: str) -> None:
    assert short(api(tag, name)) == [("symbol-not-found", W, name)]


def test_what_a_file_of_the_wheel_defines_may_be_loaded_before() -> None:
    (found,) = api("cp312-cp312", "PyFooBarBaz", owner="p/libfoo.so")
    assert found.severity is W
    assert found.detail.splitlines()[-1] == "p/libfoo.so defines it, but is not among what is needed"


def test_requires_python_narrows_what_a_tag_admits() -> None:
    assert short(api("cp311-abi3", "PyErr_GetRaisedException")) == [("symbol-not-found", E, "PyErr_GetRaisedException")]
    assert api("cp311-abi3", "PyErr_GetRaisedException", requires=">=3.12") == []


def test_a_module_asks_only_the_interpreters_that_look_for_it() -> None:
    tag = "cp311.cp312-cp311.cp312"
    names = {11: "_PyUnicode_FastCopyCharacters", 12: "PyErr_GetRaisedException"}
    files = {minor: f"p/_x.cpython-3{minor}-x86_64-linux-musl.so" for minor in names}
    uses = [ApiUse(files[minor], files[minor], frozenset({name})) for minor, name in names.items()]
    assert list(judge_api(uses, promise(tag), "x86_64", {})) == []
    crossed = [ApiUse(files[minor], files[23 - minor], frozenset({name})) for minor, name in names.items()]
    assert short(list(judge_api(crossed, promise(tag), "x86_64", {}))) == [("symbol-not-found", E, names[12])]


def test_a_library_is_loaded_by_the_interpreters_of_the_module_that_needs_it() -> None:
    use = ApiUse("p.libs/libhelp.so", "p/_x.cpython-312-x86_64-linux-musl.so", frozenset({"PyErr_GetRaisedException"}))
    assert list(judge_api([use], promise("cp311.cp312-cp311.cp312"), "x86_64", {})) == []


def test_all_files_that_need_a_name_are_one_finding() -> None:
    uses = [ApiUse(file, file, frozenset({"PyFooBarBaz", "PyList_Append"})) for file in ("p/a.so", "p/b.so")]
    (found,) = judge_api(uses, promise("cp312-cp312"), "x86_64", {})
    assert found.detail.startswith("needed by p/a.so, p/b.so\n")


def test_remedy_is_to_build_for_the_tag_only_where_some_version_has_the_name() -> None:
    assert "build it with the CPython that the tag names" in api("cp311-cp311", "PyErr_GetRaisedException")[0].remedy
    assert api("cp311-cp311", "PyFooBarBaz")[0].remedy == RULES["symbol-not-found"].remedy


# The stable ABI


@pytest.mark.parametrize(
    ("tag", "names", "detail"),
    [
        ("cp39-abi3", [STABLE_11], f"the stable ABI of CPython 3.9 lacks {STABLE_11} (in it since 3.11)"),
        (
            "cp38-abi3",
            ["PyUnicode_AsUTF8", "PyDict_GetItem"],
            "the stable ABI of CPython 3.8 lacks PyUnicode_AsUTF8",
        ),
        ("cp315-abi3.abi3t", ["PyUnstable_Code_New"], "the stable ABI of CPython 3.15 lacks PyUnstable_Code_New"),
    ],
)
def test_names_outside_the_stable_abi_that_load_are_a_warning(tag: str, names: list[str], detail: str) -> None:
    (found,) = api(tag, *names)
    assert (found.code, found.severity, found.subject) == ("outside-stable-abi", W, "p/_x.so")
    assert found.detail == detail


def test_what_is_lacking_is_not_told_twice() -> None:
    assert short(api("cp38-abi3", "PyObject_GetOptionalAttr")) == [("symbol-not-found", E, "PyObject_GetOptionalAttr")]


def test_many_names_are_counted() -> None:
    buffers = [STABLE_11, "PyObject_GetBuffer", "PyMemoryView_FromBuffer", "PyBuffer_IsContiguous", "PyBuffer_FillInfo"]
    others = ["PyBuffer_GetPointer", "PyCode_NewEmpty", "PyUnicode_AsUTF8", "PyUnicode_AsUTF8AndSize"]
    (found,) = api("cp36-abi3", *buffers, *others)
    assert found.detail.count(",") == 7
    assert found.detail.startswith("the stable ABI of CPython 3.6 lacks PyBuffer_FillInfo (in it since 3.11), ")
    assert found.detail.endswith(" and 1 more")


def test_only_abi3_asks_for_the_stable_abi() -> None:
    assert api("cp39-cp39", STABLE_11) == api("py3-none", "PyDict_New", requires=">=3.9") == []


def test_the_stable_abi_is_that_of_the_oldest_version_that_is_let_in() -> None:
    assert api("cp39-abi3", STABLE_11, requires=">=3.11") == []


# Other interpreters


@pytest.mark.parametrize(
    ("tag", "notes"),
    [
        ("pp310-pypy310_pp73", ["pp310"]),
        ("cp312.pp310-cp312.pypy310_pp73", ["pp310"]),
        ("cp312-cp312d", ["cp312-cp312d"]),
        ("cp399-cp399", ["cp399-cp399"]),
        ("graalpy312-graalpy242_312_native", ["graalpy312"]),
    ],
)
def test_interpreters_that_the_data_do_not_know_are_named_and_not_judged(tag: str, notes: list[str]) -> None:
    assert short(api(tag, "PyList_Append")) == [("python-not-judged", N, note) for note in notes]
    assert {one.code for one in api(tag, "PyFooBarBaz")} <= {"python-not-judged", "symbol-not-found"}


def test_a_wheel_that_asks_no_interpreter_is_not_noted() -> None:
    assert api("pp310-pypy310_pp73") == []


# Names of modules

MUSL = "x86_64-linux-musl"


def modules(tag: str, *suffixes: str, requires: str = "") -> list[tuple[Severity, str]]:
    found = judge_suffixes([f"p/_x{suffix}" for suffix in suffixes], promise(tag, requires), "x86_64")
    return [(one.severity, one.subject.removeprefix("p/_x")) for one in found]


@pytest.mark.parametrize(
    ("tag", "suffix"),
    [
        ("cp311-cp311", f".cpython-312-{MUSL}.so"),
        ("cp311-cp311", ".cpython-311-aarch64-linux-musl.so"),
        ("cp311-cp311", ".cpython-311-x86_64-linux-gnu.so"),
        ("cp311-cp311", ".cpython-311.so"),
        ("cp311-cp311", f".cpython-311d-{MUSL}.so"),
        ("cp313-cp313", f".cpython-313t-{MUSL}.so"),
        ("cp313-cp313t", f".cpython-313-{MUSL}.so"),
        ("cp37-cp37m", ".cpython-37-x86_64-linux-gnu.so"),
        ("cp310-cp310", ".pypy310-pp73-x86_64-linux-gnu.so"),
        ("cp310-cp310", ".pyd"),
        ("cp314-cp314", ".abi3t.so"),
        ("cp315-cp315t", ".abi3.so"),
        ("cp310-abi3", ".cpython-39-x86_64-linux-gnu.so"),
        ("cp39-abi3", ".cpython-39-x86_64-linux-gnu.so"),
        ("cp311.cp312-cp311.cp312", f".cpython-311-{MUSL}.so"),
        ("py3-none", ".cpython-35m-x86_64-linux-gnu.so"),
        ("cp399-cp399", f".cpython-398-{MUSL}.so"),
    ],
)
def test_a_module_that_an_interpreter_of_the_tags_does_not_look_for_is_an_error(tag: str, suffix: str) -> None:
    assert modules(tag, suffix) == [(E, suffix)]


@pytest.mark.parametrize(
    ("tag", "suffixes"),
    [
        ("cp311-cp311", [f".cpython-311-{MUSL}.so"]),
        ("cp311-cp311", [".abi3.so"]),
        ("cp311-cp311", [".so"]),
        ("cp310-cp310", [".cpython-310-x86_64-linux-gnu.so"]),
        ("cp310-cp310", [f".cpython-310-{MUSL}.so"]),
        ("cp313-cp313t", [f".cpython-313t-{MUSL}.so"]),
        ("cp38-abi3", [".abi3.so"]),
        ("cp315-abi3.abi3t", [".abi3t.so"]),
        ("cp311.cp312-cp311.cp312", [f".cpython-311-{MUSL}.so", f".cpython-312-{MUSL}.so"]),
        ("cp39.cp311-cp39.cp311", [".cpython-39-x86_64-linux-gnu.so", f".cpython-311-{MUSL}.so"]),
        ("py3-none", [".so"]),
        ("pp310-pypy310_pp73", [".pypy310-pp73-x86_64-linux-gnu.so"]),
        ("cp310.pp310-cp310.pypy310_pp73", [".abi3.so", ".pypy310-pp73-x86_64-linux-gnu.so"]),
        ("cp312-cp312d", [f".cpython-312d-{MUSL}.so"]),
        ("cp399-cp399", [f".cpython-399-{MUSL}.so"]),
    ],
)
def test_modules_that_every_interpreter_of_the_tags_finds(tag: str, suffixes: list[str]) -> None:
    assert modules(tag, *suffixes) == []


def test_one_per_version_is_fine_as_long_as_each_has_one() -> None:
    every = [f".cpython-3{minor}-{MUSL}.so" for minor in range(9, 16)]
    assert modules("cp39.cp310.cp311.cp312.cp313.cp314.cp315-none", *every) == [(W, every[0])]
    free = [f".cpython-3{minor}t-{MUSL}.so" for minor in range(13, 16)]
    assert modules("py3-none", *every, *free, requires=">=3.9") == []
    assert modules("py3-none", *every, *free, requires=">=3.8") == [(W, every[0])]


def test_without_an_abi_tag_python_code_may_do_the_same() -> None:
    assert modules("py3-none", ".abi3.so") == [(W, ".abi3.so")]
    assert modules("py3-none", ".pyd") == [(E, ".pyd")]


def test_a_file_that_none_looks_for_beside_one_that_all_do_is_a_note() -> None:
    own, old = f".cpython-312-{MUSL}.so", f".cpython-311-{MUSL}.so"
    assert modules("cp312-cp312", own, old) == [(N, old)]
    assert modules("cp312-cp312", ".abi3.so", old, ".pyd") == [(N, old), (N, ".pyd")]


def test_what_the_interpreter_looks_for_is_said() -> None:
    (found,) = judge_suffixes(["p/_x.cpython-311-x86_64-linux-gnu.so"], promise("cp311-cp311"), "x86_64")
    assert found.code == "extension-suffix"
    assert found.detail == (
        "not imported by CPython 3.11; CPython 3.11 looks for .cpython-311-x86_64-linux-musl.so, .abi3.so or .so"
    )
    files = [f"p/_x.cpython-3{minor}-x86_64-linux-gnu.so" for minor in (8, 9)]
    (found,) = judge_suffixes(files, promise("cp310-abi3"), "x86_64")
    assert (found.severity, found.subject) == (E, files[0])
    assert found.detail.splitlines()[1] == f"the same holds for {files[1]}"


def test_files_of_other_names_are_no_modules_here() -> None:
    assert list(judge_suffixes(["p/libx.so.1", "p/_y.so", "p/tool"], promise("cp312-cp312"), "x86_64")) == []
