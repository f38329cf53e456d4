"""Wheels written, and synthetic ones made: small libraries from C that zig compiles, and data files.

All of it is deterministic: the same compiler makes the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import platform
import random
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from measure import call

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MIB: Final = 1 << 20
DATE: Final = (2026, 1, 1, 0, 0, 0)
_MUSL_NAMES: Final = {"i686": "i386", "armv7l": "armhf", "ppc64le": "powerpc64le"}
_CFLAGS: Final = ("-O1", "-g0", "-fPIC", "-fno-sanitize=all", "-fno-stack-protector", "-ffreestanding")

_PYTHON_API: Final = (
    *("PyArg_ParseTuple", "PyLong_FromLong", "PyLong_AsLong", "PyFloat_FromDouble", "PyFloat_AsDouble", "PyTuple_New"),
    *("PyList_New", "PyList_Append", "PyDict_New", "PyDict_SetItemString", "PyUnicode_FromString", "PyObject_Call"),
    *("PyBytes_FromStringAndSize", "PyObject_GetAttrString", "PyModule_AddObject", "PyErr_Occurred", "PyCapsule_New"),
    *("PyType_Ready", "PyEval_SaveThread", "PyEval_RestoreThread", "PyModule_Create2", "PyErr_SetString"),
)


@dataclass(frozen=True, slots=True)
class Input:
    """A wheel to repair, and the folder with the libraries that it needs."""

    label: str
    wheel: Path
    libraries: Path | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """Small extensions, and libraries that all of them need."""

    extensions: int
    libraries: int
    functions: int = 500
    """Of each library."""
    data: int = 0
    """Bytes of constants of each library."""


def write_wheel(path: Path, distribution: str, version: str, files: Iterable[tuple[str, bytes]]) -> Path:
    """Write a wheel with these members, its dist-info and a true RECORD; path has the name of the wheel."""
    tag = path.name.removesuffix(".whl").split("-", 2)[2]
    info = f"{distribution}-{version}.dist-info"
    metadata = (
        (f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n".encode()),
        (f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: benchmarks\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, content in (*files, *metadata):
            write_member(archive, name, content)
            rows.append(record_row(name, content))
        write_member(archive, f"{info}/RECORD", "".join([*rows, f"{info}/RECORD,,\n"]).encode())
    return path


def write_member(archive: zipfile.ZipFile, name: str, content: bytes, mode: int = 0o100644) -> None:
    """Write a member with a date that is always the same."""
    entry = zipfile.ZipInfo(name, DATE)
    entry.external_attr = mode << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)


def record_row(name: str, content: bytes) -> str:
    """Return a line of RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    quoted = f'"{name}"' if "," in name else name
    return f"{quoted},sha256={digest},{len(content)}\n"


class Compiler:
    """zig, as it is installed beside one Python, compiling for the machine that it runs on."""

    def __init__(self, python: Path, work: Path) -> None:
        """Take the Python that has ziglang, and a folder for objects and the cache."""
        where = call(python, "-c", "import ziglang, os; print(os.path.dirname(ziglang.__file__))").strip()
        self._zig: Final = Path(where) / "zig"
        self.work: Final = work
        self._machine: Final = platform.machine()
        work.mkdir(parents=True, exist_ok=True)
        musl = _MUSL_NAMES.get(self._machine, self._machine)
        self._libc: Final = self.library(
            f"libc.musl-{musl}.so.1", self.compile("libc", "void exit(int x) { (void)x; }")
        )

    def _call(self, *arguments: str | Path) -> None:
        cache = str(self.work / "cache")
        call(self._zig, *arguments, environment={"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache})

    def compile(self, name: str, source: str) -> Path:
        """Return the object file of a C source."""
        place, output = self.work / f"{name}.c", self.work / f"{name}.o"
        place.write_text(source)
        self._call("cc", "-target", f"{self._machine}-linux-musl", *_CFLAGS, "-c", place, "-o", output)
        return output

    def library(self, soname: str, *inputs: Path, folder: Path | None = None) -> Path:
        """Link a library that says that it needs the C library, as those of a distribution do."""
        output = (folder or self.work) / soname
        output.parent.mkdir(parents=True, exist_ok=True)
        libc = [] if soname.startswith("libc.") else [self._libc]
        self._call("ld.lld", "-shared", "--strip-all", "--soname", soname, "-o", output, *inputs, *libc)
        return output

    def extension(self, name: str, *inputs: Path) -> bytes:
        """Return an extension module of this name, linked from objects and libraries; it looks them up nowhere."""
        output = self.work / f"{name}.so"
        start = f"--defsym=PyInit_{name}=start"
        self._call("ld.lld", "-shared", "--strip-all", start, "-o", output, *inputs, self._libc)
        return output.read_bytes()


def library_source(name: str, functions: int, data: Path | None = None) -> str:
    """Return the C source of a library with so many functions that others can call, and a file as its constants."""
    bodies = [f"int {name}_function_{i}(int x) {{ return x * {i + 3} + {i % 7}; }}" for i in range(functions)]
    if data is not None:
        bodies.append(f'__asm__(".section .rodata\\n.incbin \\"{data}\\"\\n.text\\n");')
    return "\n".join(bodies)


def extension_source(libraries: Sequence[str]) -> str:
    """Return the C source of a small extension module that calls three functions of each library."""
    called = [f"{library}_function_{number}" for library in libraries for number in (0, 1, 5)]
    declared = [f"int {name}(int);" for name in called] + [f"extern void *{name}();" for name in _PYTHON_API]
    helpers = [
        f"static int helper_{i}(int x) {{ return {called[i % len(called)] if called else ''}(x + {i}) ^ {i}; }}"
        for i in range(60)
    ]
    methods = ", ".join(f'{{"helper_{i}", helper_{i}}}' for i in range(60))
    calls = "".join(f"{name}(x);" for name in _PYTHON_API)
    return "\n".join(
        [
            *declared,
            *helpers,
            f"static struct {{ const char *name; int (*function)(int); }} methods[] = {{ {methods} }};",
            f"void *start(int x) {{ {calls} return &methods[x % 60]; }}",
        ]
    )


def linux_name(distribution: str) -> str:
    """Return the file name of a wheel as it leaves a build on this machine with this Python."""
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return f"{distribution}-1.0-{python}-{python}-linux_{platform.machine()}.whl"


def extensions_wheel(
    compiler: Compiler, folder: Path, label: str, recipe: Recipe, extra: Iterable[tuple[str, bytes]] = ()
) -> Input:
    """Make a wheel of small extensions that share some libraries; extra are members besides."""
    names = [f"bench{number}" for number in range(recipe.libraries)]
    shared = folder / "libraries"
    linked = []
    for name in names:
        constants = compiler.work / f"{name}.bin" if recipe.data else None
        if constants is not None:
            constants.write_bytes(mixed_bytes(recipe.data, seed=7))
        source = library_source(name, recipe.functions, constants)
        linked.append(compiler.library(f"lib{name}.so.1", compiler.compile(name, source), folder=shared))
    start = compiler.compile("extension", extension_source(names))
    modules = (
        (f"bench/ext_{number}.so", compiler.extension(f"ext_{number}", start, *linked))
        for number in range(recipe.extensions)
    )
    init = ("bench/__init__.py", b'"""A benchmark."""\n')
    wheel = write_wheel(folder / linux_name("bench"), "bench", "1.0", (init, *extra, *modules))
    return Input(label, wheel, shared)


def payload(megabytes: int) -> Iterator[tuple[str, bytes]]:
    """Yield data files of 10 MiB each: nine in ten as good as random, the tenth a text that shrinks well."""
    for number in range(megabytes // 10):
        if number % 10 == 9:
            yield f"bench/data/{number}.csv", csv_bytes(10 * MIB, seed=number)
        else:
            yield f"bench/data/{number}.bin", random.Random(number).randbytes(10 * MIB)  # noqa: S311 - reproducible data


def csv_bytes(size: int, seed: int) -> bytes:
    """Return text with numbers in it."""
    numbers = random.Random(seed)  # noqa: S311 - reproducible data
    rows = [f"{i},{numbers.randrange(1000)},{numbers.random():.4f}\n" for i in range(20000)]
    text = "".join(rows).encode()
    return (text * (size // len(text) + 1))[:size]


def mixed_bytes(size: int, seed: int) -> bytes:
    """Return bytes that shrink to about a third, as those of a library do."""
    numbers = random.Random(seed)  # noqa: S311 - reproducible data
    words = [numbers.randbytes(numbers.randrange(2, 12)) for _ in range(4096)]
    block = b"".join(numbers.choice(words) for _ in range(MIB // 6))
    return (block * (size // len(block) + 1))[:size]
