"""Which file names CPython looks for: against the interpreter that runs the tests, and what real builds say."""

from __future__ import annotations

import sys
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES

import pytest

from musl_repair.python.interpreter import Interpreter
from musl_repair.python.suffixes import Lookup, is_module, look_up, looks_for, module_of, suffixes

MACHINE = sysconfig.get_config_var("MULTIARCH") or ""


@pytest.mark.skipif(
    sys.implementation.name != "cpython" or MACHINE != "x86_64-linux-gnu" or hasattr(sys, "gettotalrefcount"),
    reason="no release build of CPython on x86_64",
)
def test_this_interpreter_looks_for_the_same_but_for_the_name_of_the_c_library() -> None:
    here = Interpreter(sys.version_info.minor, bool(sysconfig.get_config_var("Py_GIL_DISABLED")))
    ours = [suffix for suffix in suffixes(here, "x86_64") if here.minor >= 11 or "musl" not in suffix]
    theirs = [suffix.replace("-gnu", "-musl") if here.minor >= 11 else suffix for suffix in EXTENSION_SUFFIXES]
    # Debian's 3.13 and 3.14 look for .abi3-x86_64-linux-gnu.so, as upstream's 3.15 does.
    assert [suffix for suffix in theirs if suffix in ours] == ours
    assert [suffix for suffix in theirs if suffix not in ours] in ([], [".abi3-x86_64-linux-musl.so"])


@pytest.mark.parametrize(
    ("interpreter", "arch", "expected"),
    [
        ((7,), "x86_64", ["cpython-37m-x86_64-linux-gnu", "cpython-37m-x86_64-linux-musl", "abi3"]),
        ((10,), "armv7l", ["cpython-310-arm-linux-gnueabihf", "cpython-310-arm-linux-musleabihf", "abi3"]),
        ((11,), "x86_64", ["cpython-311-x86_64-linux-musl", "abi3"]),
        ((12,), "armv7l", ["cpython-312-arm-linux-musleabihf", "abi3"]),
        ((12,), "i686", ["cpython-312-i386-linux-musl", "abi3"]),
        ((12,), "ppc64le", ["cpython-312-powerpc64le-linux-musl", "abi3"]),
        ((13, True), "x86_64", ["cpython-313t-x86_64-linux-musl", "abi3"]),
        ((14,), "loongarch64", ["cpython-314-loongarch64-linux-musl", "abi3"]),
        (
            (15,), "s390x",
            ["cpython-315-s390x-linux-musl", "abi3-s390x-linux-musl", "abi3", "abi3t-s390x-linux-musl", "abi3t"],
        ),
        ((15, True), "aarch64", ["cpython-315t-aarch64-linux-musl", "abi3t-aarch64-linux-musl", "abi3t"]),
    ],
)  # fmt: skip
def test_what_builds_on_musl_look_for(interpreter: tuple[int], arch: str, expected: list[str]) -> None:
    assert suffixes(Interpreter(*interpreter), arch) == (*(f".{tag}.so" for tag in expected), ".so")


@pytest.mark.parametrize(
    ("member", "module"),
    [
        ("p/_x.cpython-312-x86_64-linux-musl.so", "p/_x"),
        ("p/_x.cpython-312.so", "p/_x"),
        ("_x.abi3.so", "_x"),
        ("p/_x.abi3t-x86_64-linux-musl.so", "p/_x"),
        ("p/_x.pypy310-pp73-x86_64-linux-gnu.so", "p/_x"),
        ("p/_x.graalpy242-312-native-x86_64-linux.so", "p/_x"),
        ("p/_x.pyd", "p/_x"),
        ("p/_x.cp312-win_amd64.pyd", "p/_x"),
        ("p/_x.so", None),
        ("p/libx.so.1", None),
        ("p/libx.1.2.so", None),
        ("p.abi3.so/x.so", None),
        ("p/x.cpython-312-x86_64-linux-musl.so.debug", None),
        ("p/.so", None),
    ],
)
def test_names_of_modules_for_certain_interpreters(member: str, module: str | None) -> None:
    assert module_of(member) == module


@pytest.mark.parametrize(
    ("suffix", "minors", "expected"),
    [
        (".cpython-311-x86_64-linux-musl.so", [11], Lookup.FOUND),
        (".cpython-311-x86_64-linux-musl.so", [10, 11, 12], Lookup.FOUND),
        (".cpython-312-x86_64-linux-musl.so", [11], Lookup.IGNORED),
        (".cpython-311-aarch64-linux-musl.so", [11], Lookup.IGNORED),
        (".cpython-311-x86_64-linux-gnu.so", [11], Lookup.IGNORED),
        (".cpython-310-x86_64-linux-gnu.so", [10], Lookup.FOUND),
        (".cpython-310-x86_64-linux-musl.so", [10], Lookup.FOUND),
        (".cpython-39-x86_64-linux-musl.so", [10, 11], Lookup.IGNORED),
        (".cpython-311.so", [11], Lookup.IGNORED),
        (".abi3.so", [11], Lookup.FOUND),
        (".abi4.so", [11], Lookup.IGNORED),
        (".abi3t.so", [14], Lookup.IGNORED),
        (".abi3t.so", [15], Lookup.FOUND),
        (".abi3-x86_64-linux-musl.so", [14], Lookup.IGNORED),
        (".pyd", [11], Lookup.IGNORED),
        (".so", [11], Lookup.NO_MODULE),
        (".so.1", [11], Lookup.NO_MODULE),
    ],
)
def test_what_interpreters_make_of_a_name(suffix: str, minors: list[int], expected: Lookup) -> None:
    assert look_up(f"p/_x{suffix}", map(Interpreter, minors), "x86_64") is expected


def test_a_plain_name_is_always_looked_for() -> None:
    assert looks_for(Interpreter(6), "p/_x.so", "x86_64")
    assert looks_for(Interpreter(99, free_threaded=True), "p/_x.so", "riscv64")


@pytest.mark.parametrize(
    ("exports", "expected"),
    [
        (["PyInit_x"], True),
        (["main", "PyInitU_2yaa"], True),
        (["PyModExport__rust"], True),
        (["initx", "MyPyInit_x", "PyInit"], False),
        ([], False),
    ],
)
def test_modules_export_a_function_that_makes_them(exports: list[str], expected: bool) -> None:
    assert is_module(exports) is expected
