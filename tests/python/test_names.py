"""Which names each CPython exports: the data against the interpreter that runs the tests, and against abi3info."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import abi3info
import pytest

from builders import ElfFile, Symbol
from musl_repair.python import names
from musl_repair.python.interpreter import Interpreter, in_words
from musl_repair.python.names import api_names, exporters, exports, known_minors, stable_since

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "src" / "musl_repair" / "python" / "names.json"
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
HERE = Interpreter(sys.version_info.minor, FREE_THREADED)
STABLE = [*abi3info.FUNCTIONS.values(), *abi3info.DATAS.values()]
BUILDS_DIFFER = 60
"""More names than one build of a version exports and another does not: modules built in, the JIT compiler."""


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(DATA.read_text("utf-8"))
    return content


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("add_python", ROOT / "tools" / "add_python.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def every_name(data: dict[str, Any]) -> list[str]:
    return [name for listed in data["exports"].values() for name in listed.split()]


# The interpreter that runs the tests, which we did not make

running = pytest.mark.skipif(
    sys.implementation.name != "cpython" or HERE.minor not in known_minors(), reason="the data do not know this Python"
)


@running
def test_what_this_interpreter_exports_is_known(data: dict[str, Any]) -> None:
    there = {name for name in every_name(data) if hasattr(ctypes.pythonapi, name)}
    assert {name for name in there if not exports(HERE, name)} == set()


@running
def test_this_interpreter_exports_what_is_known_of_its_version(data: dict[str, Any]) -> None:
    missing = {name for name in every_name(data) if exports(HERE, name) and not hasattr(ctypes.pythonapi, name)}
    assert len(missing) < BUILDS_DIFFER
    assert {name for name in missing if stable_since(name) is not None} == set()


@running
def test_a_name_of_another_version_only_is_not_there(data: dict[str, Any]) -> None:
    others = {name for name in every_name(data) if not exports(HERE, name) and name[0] == "P"}
    assert len(others) > 100
    assert {name for name in others if hasattr(ctypes.pythonapi, name)} == set()


# The stable ABI

OFF_LINUX = ("MS_WINDOWS", "USE_STACKCHECK", "Py_REF_DEBUG")
LOST = {"PyCFunction_New": {9}, "PyThread_get_thread_native_id": {6, 7}}
"""Names of the stable ABI that a version did not export all the same."""


@pytest.mark.parametrize("minor", known_minors())
def test_every_version_exports_the_stable_abi_of_its_time(minor: int) -> None:
    promised = {
        one.symbol.name
        for one in STABLE
        if one.added.minor <= minor and (one.ifdef is None or one.ifdef.name not in OFF_LINUX)
    }
    assert len(promised) > 600
    lost = {name for name in promised if not exports(Interpreter(minor), name)}
    assert lost == {name for name, minors in LOST.items() if minor in minors} & promised


@pytest.mark.parametrize(
    ("name", "since"), [("PyList_Append", 2), ("PyObject_Vectorcall", 12), ("Py_None", None), ("_PyLong_Sign", None)]
)
def test_since_when_a_name_is_stable(name: str, since: int | None) -> None:
    assert stable_since(name) == since


# History


@pytest.mark.parametrize(
    ("name", "minors"),
    [
        ("PyLong_FromLong", range(6, 16)),
        ("PyErr_GetRaisedException", range(12, 16)),
        ("_PyUnicode_FastCopyCharacters", range(6, 13)),
        ("PyFooBarBaz", ()),
    ],
    ids=["always", "since 3.12", "until 3.12", "never"],
)
def test_which_versions_export_a_name(name: str, minors: range | tuple[int, ...]) -> None:
    assert exporters(name) == tuple(map(Interpreter, minors))


def test_a_patch_release_may_add_a_private_name() -> None:
    """3.13.0 has no _PyErr_SetLocaleString, 3.13.5 has: a wheel that needs it may load."""
    assert exports(Interpreter(13), "_PyErr_SetLocaleString")


@pytest.mark.parametrize("name", ["_Py_DecRefShared", "_Py_MergeZeroLocalRefcount", "PyUnstable_Module_SetGIL"])
def test_free_threaded_builds_export_more(name: str) -> None:
    assert [exports(Interpreter(minor, free), name) for minor in (13, 14) for free in (False, True)] == [
        False, True, False, True,
    ]  # fmt: skip


def test_a_version_without_data_exports_nothing() -> None:
    assert not exports(Interpreter(99), "PyLong_FromLong")
    assert not exports(Interpreter(99, free_threaded=True), "PyLong_FromLong")


def test_names_of_the_api_are_those_of_its_prefixes_and_what_libpython_exports() -> None:
    theirs = frozenset({"PyFooBarBaz", "_PyObject_New", "Py_IncRef", "PyInit_x", "PY_TIMEOUT_MAX"})
    others = frozenset({"Pow", "printf", "_Pz", "pyLong", "__Py", "_init", "_start", "PY_LEFT"})
    assert api_names(theirs | others) == theirs


@pytest.mark.parametrize(
    ("interpreters", "words"),
    [
        ([(8,)], "CPython 3.8"),
        ([(8,), (9,), (10,), (12,)], "CPython 3.8 to 3.10, 3.12"),
        ([(13, True), (13,)], "CPython 3.13; free-threaded CPython 3.13"),
        ([(14, True)], "free-threaded CPython 3.14"),
    ],
)
def test_interpreters_in_words(interpreters: list[tuple[int] | tuple[int, bool]], words: str) -> None:
    assert in_words(Interpreter(*one) for one in interpreters) == words


def test_data_of_another_format_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    names._names.cache_clear()
    monkeypatch.setattr(names, "get_data", lambda *_: b'{"format": 2}')
    with pytest.raises(ValueError, match="format 2"):
        known_minors()


# The tool


def build(*exported: str) -> bytes:
    return ElfFile(symbols=tuple(map(Symbol, exported))).build()


def test_the_data_are_as_the_tool_writes_them(tool: ModuleType, data: dict[str, Any]) -> None:
    for minor, builds in data["builds"].items():
        version, _, who = builds[0].partition(", ")
        known = frozenset(name for name in every_name(data) if exports(Interpreter(int(minor)), name))
        assert tool.add(data, version, who, known) == data
    assert json.dumps(data, indent=1, ensure_ascii=False) + "\n" == DATA.read_text("utf-8")


def test_builds_are_added_in_any_order(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(build("Py_A", "Py_Both", "_init"))
    (tmp_path / "b").write_bytes(build("Py_B", "Py_Both"))
    additions = [("3.15.1", "one", "a"), ("3.15.2", "two", "b"), ("3.17.0", "one", "b")]
    results: list[bytes] = []
    for order in (additions, additions[::-1]):
        path = tmp_path / f"names{len(results)}.json"
        for version, who, file in order:
            assert tool.main([version, who, str(tmp_path / file), "--data", str(path)]) == 0
        results.append(path.read_bytes())
    assert results[0] == results[1]
    written = json.loads(results[0])
    assert written["exports"] == {"15": "Py_A", "15,17": "Py_B Py_Both"}
    assert written["builds"] == {"15": ["3.15.1, one", "3.15.2, two"], "17": ["3.17.0, one"]}


def test_headers_tell_what_free_threaded_builds_export(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "object.h").write_text(
        "PyAPI_FUNC(void) Py_Always(void);\n"
        "#if !defined(Py_LIMITED_API) && \\\n    defined(Py_GIL_DISABLED)\n"
        "PyAPI_FUNC(void) _Py_Shared(PyObject *);\n"
        "# ifdef DEBUG\nPyAPI_DATA(int) _Py_Debug;\n# endif\n"
        "#else\nPyAPI_FUNC(PyObject *) _Py_Exported(void);\n#endif\n"
        "PyAPI_FUNC(void) Py_After(void);\n",
        "utf-8",
    )
    without_gil = tool.declared_without_gil(tmp_path.rglob("*.h"))
    assert without_gil == {"_Py_Shared", "_Py_Debug", "_Py_Exported"}
    added = tool.add(tool.EMPTY, "3.15.1", "one", frozenset({"Py_Always", "_Py_Exported"}), without_gil)
    assert added["free_threaded"] == {"15": "_Py_Debug _Py_Shared"}


def test_only_releases_of_cpython_3_are_added(tool: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"not a release of CPython 3: '3\.15'"):
        tool.add(tool.EMPTY, "3.15", "one", frozenset())
