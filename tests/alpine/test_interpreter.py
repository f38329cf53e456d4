"""What we say of CPython 3.11 is what the real one on musl does: names that it exports, files that it imports."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from alpine.root import Alpine, done
from builders import ElfFile, Symbol, write_wheel
from musl_repair.python import names as names_module
from musl_repair.python.interpreter import Interpreter
from musl_repair.python.names import exports, stable_since
from musl_repair.python.suffixes import suffixes
from musl_repair.repair import check_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from musl_repair.findings import Finding

pytestmark = pytest.mark.alpine

PYTHON = Interpreter(11)
TAG = "cp311-cp311"
MUSL = "x86_64-linux-musl"
SUFFIXES = (
    f".cpython-311-{MUSL}.so",
    ".abi3.so",
    ".so",
    f".cpython-312-{MUSL}.so",
    f".cpython-310-{MUSL}.so",
    ".cpython-310-x86_64-linux-gnu.so",
    ".cpython-311-x86_64-linux-gnu.so",
    ".cpython-311-aarch64-linux-musl.so",
    ".cpython-311-i386-linux-musl.so",
    ".cpython-311.so",
    f".cpython-311d-{MUSL}.so",
    f".cpython-311t-{MUSL}.so",
    f".abi3-{MUSL}.so",
    ".abi3t.so",
    ".abi4.so",
    ".pypy311-pp73-x86_64-linux-gnu.so",
    ".pyd",
    ".cp311-win_amd64.pyd",
)
SOURCE = """
typedef struct { long count; void *type, *init; long index; void *copy; } Base;
typedef struct { Base base; const char *name, *doc; long size; void *rest[5]; } Module;
static Module module = { .base = { .count = 1 }, .name = "_ext", .size = -1 };
void *PyModule_Create2(Module *, int);
void USES(void);
void *(*volatile used)(void) = (void *(*)(void))USES;
void *PyInit__ext(void) { return PyModule_Create2(&module, 1013); }
"""


def judged(wheel: Path) -> list[Finding]:
    codes = ("symbol-not-found", "extension-suffix", "outside-stable-abi")
    return [found for found in check_wheel(wheel).findings if found.code in codes]


def asked(alpine: Alpine, script: str, *arguments: str) -> str:
    return done(alpine.run("python", "-c", script, *arguments))


def test_suffixes(alpine: Alpine) -> None:
    said = json.loads(asked(alpine, "import json, importlib.machinery as m; print(json.dumps(m.EXTENSION_SUFFIXES))"))
    assert tuple(said) == suffixes(PYTHON, "x86_64")


def test_names(alpine: Alpine) -> None:
    every = sorted(names_module._names().exporters)
    ask = "import ctypes, sys; print(*(name for name in sys.argv[1:] if hasattr(ctypes.pythonapi, name)))"
    there = set(asked(alpine, ask, *every).split())
    assert len(there) > 1500
    assert {name for name in there if not exports(PYTHON, name)} == set()
    only_others = {name for name in every if exports(PYTHON, name)} - there
    assert {name for name in only_others if not name.startswith(("_Py", "PyInit_"))} == set()
    assert len(only_others) < 60


@pytest.mark.parametrize("tag", [TAG, "cp311-abi3"])
def test_files_of_modules(alpine: Alpine, tmp_path: Path, tag: str) -> None:
    """A module of its own for each suffix; find_spec says whether import would open the file."""
    files = {f"pkg/m{number}{suffix}": number for number, suffix in enumerate(SUFFIXES)}
    module = ElfFile(symbols=(Symbol("PyInit_m"),)).build()
    name = f"pkg-1.0-{tag}-musllinux_1_2_x86_64.whl"
    contents = {member: module + bytes([number]) for member, number in files.items()}
    wheel = write_wheel(tmp_path, {"pkg/__init__.py": b"", **contents}, name)
    site = alpine.work / f"suffixes-{tag}"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    find = "import importlib.util as u, sys; print(*(n for n in sys.argv[1:] if u.find_spec('pkg.m' + n)))"
    command = f"import sys; sys.path.insert(0, {alpine.inside(site)!r}); {find}"
    found = set(map(int, asked(alpine, command, *map(str, files.values())).split()))
    errors = {files[one.subject] for one in judged(wheel) if one.severity.value == "error"}
    expected = set(files.values()) - found
    # What only later versions look for is missing under abi3 for this one; what only this one looks for, for others.
    assert errors == (expected if tag == TAG else expected | {0})
    assert found == {0, 1, 2}


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        ("PyLong_FromLong", None),
        ("_PyUnicode_FastCopyCharacters", None),
        ("_Py_FatalErrorFunc", None),
        ("PyFooBarBaz", "error"),
        ("PyErr_GetRaisedException", "error"),
        ("PyObject_GetOptionalAttr", "error"),
        ("_Py_DecRefShared", "error"),
        ("PyUnicode_GetSize", None),
        ("PyCFunction_Call", None),
        ("PyAST_Compile", "error"),
    ],
)
def test_a_module_is_imported_unless_a_name_is_missing(
    alpine: Alpine, tmp_path: Path, name: str, severity: str | None
) -> None:
    built = tmp_path / "_ext.so"
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed")
    options = ["-shared", "-fPIC", "-nostdlib", f"-DUSES={name}", "-x", "c", "-"]
    subprocess.run([compiler, *options, "-o", built], input=SOURCE, text=True, check=True)
    member = f"_ext.cpython-311-{MUSL}.so"
    wheel = write_wheel(tmp_path, {member: built.read_bytes()}, f"pkg-1.0-{TAG}-musllinux_1_2_x86_64.whl")
    assert [(one.subject, one.severity.value) for one in judged(wheel)] == ([(name, severity)] if severity else [])
    site = alpine.work / f"api-{name}"
    site.mkdir()
    (site / member).write_bytes(built.read_bytes())
    ran = alpine.run("python", "-c", f"import sys; sys.path.insert(0, {alpine.inside(site)!r}); import _ext")
    if severity is None:
        done(ran)
    else:
        assert f"{name}: symbol not found" in ran.stderr


def test_stable_names_of_3_11_are_there(alpine: Alpine) -> None:
    stable = stable_names(11)
    ask = "import ctypes, sys; print(*(name for name in sys.argv[1:] if not hasattr(ctypes.pythonapi, name)))"
    missing = set(asked(alpine, ask, *stable).split())
    assert missing == {name for name in stable if not exports(PYTHON, name)}


def stable_names(minor: int) -> list[str]:
    import abi3info

    rows: Iterable[str] = (row.symbol.name for row in (*abi3info.FUNCTIONS.values(), *abi3info.DATAS.values()))
    return sorted(name for name in rows if (stable_since(name) or 99) <= minor)
