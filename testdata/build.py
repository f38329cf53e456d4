"""The recipe of testdata: rebuilds every library, program, sysroot and wheel, byte for byte, from `src/`.

Run as `python testdata/build.py` with the extra `build` installed: ziglang is compiler and linker
for all architectures. `--check` rebuilds into a temporary folder and compares.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "src"
BUILT_AT = (2026, 1, 1, 0, 0, 0)
BUILT_AT_SECONDS = 1767225600  # the same moment, for the apk database
DIST_INFO = "demo-1.0.dist-info"

# Nothing that zig adds of its own accord, no unwind tables, no debug information: the files stay small, and
# need nothing but the stub libc.
CFLAGS = (
    *("-std=c11", "-Os", "-g0", "-fPIC", "-Wall", "-Wextra", "-Werror"),
    *("-fno-sanitize=all", "-fno-stack-protector", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables"),
)
RELR = ("-z", "pack-relative-relocs")


@dataclass(frozen=True, slots=True)
class Arch:
    """One architecture, under the names that wheel tags, musl, apk, zig and lld give it."""

    tag: str
    musl: str
    apk: str
    triple: str
    emulation: str
    cflags: tuple[str, ...] = ()
    # Both tables where nothing speaks against it, so that an editor's care for DT_HASH can be tested too.
    hash_style: str = "both"

    @property
    def loader(self) -> str:
        return f"ld-musl-{self.musl}.so.1"

    @property
    def alpine_libc(self) -> str:
        return f"libc.musl-{self.musl}.so.1"


ARCHES = (
    Arch("x86_64", "x86_64", "x86_64", "x86_64-linux-musl", "elf_x86_64"),
    Arch("i686", "i386", "x86", "x86-linux-musl", "elf_i386"),
    Arch("aarch64", "aarch64", "aarch64", "aarch64-linux-musl", "aarch64linux"),
    Arch("armv7l", "armhf", "armv7", "arm-linux-musleabihf", "armelf_linux_eabi", ("-mcpu=generic+v7a",)),
    Arch("ppc64le", "powerpc64le", "ppc64le", "powerpc64le-linux-musl", "elf64lppc"),
    # On s390x DT_HASH is made of 64-bit words (musl: arch/s390x/bits/link.h), which lld does not know.
    Arch("s390x", "s390x", "s390x", "s390x-linux-musl", "elf64_s390", hash_style="gnu"),
    Arch("riscv64", "riscv64", "riscv64", "riscv64-linux-musl", "elf64lriscv"),
    Arch("loongarch64", "loongarch64", "loongarch64", "loongarch64-linux-musl", "elf64loongarch"),
)


@dataclass(frozen=True, slots=True)
class Package:
    """One package of a sysroot's apk database; `files` are paths inside the root."""

    name: str
    version: str
    origin: str
    about: str
    depends: tuple[str, ...]
    provides: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Toolchain:
    """zig's compiler and linker for one architecture; `work` holds objects and zig's cache."""

    arch: Arch
    work: Path

    def run(self, *arguments: str | Path) -> None:
        cache = {
            "ZIG_GLOBAL_CACHE_DIR": str(self.work / "zig"),
            "ZIG_LOCAL_CACHE_DIR": str(self.work / "zig"),
        }
        command = (sys.executable, "-m", "ziglang", *map(str, arguments))
        subprocess.run(command, check=True, cwd=self.work, env={**os.environ, **cache})

    def compile(self, name: str, *flags: str) -> Path:
        target = ("-target", self.arch.triple, *self.arch.cflags)
        # The stub, and the cases, declare malloc and the like with types that are not theirs.
        special = ("-ffreestanding", "-fno-builtin") if name == "libc" or name.startswith("cases/") else ()
        output = self.work / f"{name.replace('/', '-')}{''.join(flags)}.o"
        self.run("cc", *target, *CFLAGS, *special, *flags, "-c", SOURCES / f"{name}.c", "-o", output)
        return output

    def link(self, output: Path, *arguments: str | Path) -> Path:
        """Link with lld itself, because the driver `zig cc` refuses `-z pack-relative-relocs`."""
        output.parent.mkdir(parents=True, exist_ok=True)
        common = ("--strip-all", "--build-id=sha1", "-z", "relro", "-z", "now")
        self.run("ld.lld", "-m", self.arch.emulation, *common, "-o", output, *arguments)
        output.chmod(0o755)
        return output

    def library(self, output: Path, soname: str, *arguments: str | Path) -> Path:
        """Link a shared library whose symbols are all found; no soname for an extension module."""
        named = ("--soname", soname) if soname else ()
        return self.link(output, "-shared", "--no-undefined", *named, *arguments)

    def program(self, output: Path, *arguments: str | Path) -> Path:
        return self.link(output, "--dynamic-linker", f"/lib/{self.arch.loader}", *arguments)


def symlink(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def build_sysroot(tools: Toolchain, root: Path) -> None:
    """Build a sysroot in Alpine's manner: its name for libc, DT_RELR, chains of links, an apk database."""
    arch = tools.arch
    gnu = "--hash-style=gnu"
    libc = tools.library(root / "lib" / arch.loader, arch.alpine_libc, gnu, tools.compile("libc"))
    symlink(root / "lib" / arch.alpine_libc, arch.loader)

    leaf = root / "lib" / "libleaf.so.1.0.0"
    tools.library(leaf, "libleaf.so.1", gnu, *RELR, tools.compile("leaf"), libc)
    symlink(root / "usr/lib/libleaf.so.1", "../../lib/libleaf.so.1.0.0")

    mid = root / "usr/lib/libmid.so.2.1.0"
    tools.library(mid, "libmid.so.2", gnu, *RELR, tools.compile("mid"), leaf, libc)
    symlink(root / "usr/lib/libmid.so.2", "libmid.so.2.1.0")

    absolute = root / "usr/lib/real/libabs.so.1.0"
    tools.library(absolute, "libabs.so.1", gnu, tools.compile("abs"), libc)
    symlink(root / "usr/lib/libabs.so.1", "/usr/lib/real/libabs.so.1.0")

    database = "".join(apk_entry(root, arch, package) for package in apk_packages(arch))
    write(root / "lib/apk/db/installed", database)


def apk_packages(arch: Arch) -> tuple[Package, ...]:
    """List the packages of a sysroot; libabs.so.1 belongs to none, as a library that was built by hand."""
    libc = f"so:{arch.alpine_libc}"
    return (
        Package(
            *("musl", "1.2.5-r0", "musl", "a stub of the musl C library", (), (f"{libc}=1",)),
            files=(f"lib/{arch.loader}", f"lib/{arch.alpine_libc}"),
        ),
        Package(
            *("leaf-libs", "1.0.0-r1", "leaf", "demo library (shared library)"),
            *((libc,), ("so:libleaf.so.1=1.0.0",)),
            files=("lib/libleaf.so.1.0.0", "usr/lib/libleaf.so.1"),
        ),
        Package(
            *("mid", "2.1.0-r0", "mid", "demo library that needs another"),
            *((libc, "so:libleaf.so.1"), ("so:libmid.so.2=2.1.0",)),
            files=("usr/lib/libmid.so.2", "usr/lib/libmid.so.2.1.0"),
        ),
    )


def apk_entry(root: Path, arch: Arch, package: Package) -> str:
    """Write one entry as apk does (https://wiki.alpinelinux.org/wiki/Apk_spec)."""
    identity = f"{package.name}-{package.version}-{arch.apk}".encode()
    size = sum((root / name).lstat().st_size for name in package.files)
    lines = [
        *(f"C:{apk_checksum(identity)}", f"P:{package.name}", f"V:{package.version}", f"A:{arch.apk}"),
        *(f"S:{size}", f"I:{size}", f"T:{package.about}", "U:https://example.org/", "L:MIT"),
        *(f"o:{package.origin}", f"t:{BUILT_AT_SECONDS}", f"c:{hashlib.sha1(identity).hexdigest()}"),  # noqa: S324 - apk's format
    ]
    if package.depends:
        lines.append("D:" + " ".join(package.depends))
    lines.append("p:" + " ".join(package.provides))
    folder = ""
    for name in package.files:
        parent, _, base = name.rpartition("/")
        if parent != folder:
            lines.append(f"F:{parent}")
            folder = parent
        path = root / name
        content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        lines += [f"R:{base}", f"a:0:0:{'777' if path.is_symlink() else '755'}", f"Z:{apk_checksum(content)}"]
    return "\n".join(lines) + "\n\n"


def apk_checksum(content: bytes) -> str:
    digest = hashlib.sha1(content).digest()  # noqa: S324 - apk's format prescribes SHA-1
    return "Q1" + base64.b64encode(digest).decode()


def build_libraries(tools: Toolchain, folder: Path, sysroot: Path) -> None:
    """Build the single files: linked against `libc.so`, upstream musl's name, and with two hash tables."""
    style = f"--hash-style={tools.arch.hash_style}"
    libc = tools.library(tools.work / "libc.so", "libc.so", tools.compile("libc"))
    leaf_object, ext = tools.compile("leaf"), tools.compile("ext")
    leaf = tools.library(folder / "libleaf.so.1", "libleaf.so.1", style, leaf_object, libc)
    tools.library(folder / "libleaf-relr.so.1", "libleaf.so.1", style, *RELR, leaf_object, libc)
    onlyrelr = tools.compile("onlyrelr")
    tools.library(folder / "libonlyrelr.so.1", "libonlyrelr.so.1", style, *RELR, onlyrelr, libc)
    mid = tools.library(folder / "libmid.so.2", "libmid.so.2", style, tools.compile("mid"), leaf, libc)
    tools.library(folder / "_ext.so", "", style, ext, mid, libc)
    absolute = sysroot / "usr/lib/real/libabs.so.1.0"
    tools.library(folder / "_abs.so", "", style, tools.compile("abs_ext"), absolute, libc)
    objects = (tools.compile("start"), tools.compile("tool"))
    tools.program(folder / "tool", style, "-pie", *objects, mid, libc)
    tools.program(folder / "tool-fixed", style, *objects, mid, libc)


def build_wheel(tools: Toolchain, path: Path, sysroot: Path) -> None:
    """Build the demo wheel as a build machine leaves it: an rpath to a folder of that machine, no grafts."""
    libraries = (sysroot / "usr/lib/libmid.so.2", sysroot / "lib" / tools.arch.loader)
    # PyModuleDef_Init and PyLong_FromLong come from the interpreter: so not --no-undefined.
    gnu, rpath = "--hash-style=gnu", ("-rpath", "/usr/local/lib")
    ext = tools.link(tools.work / "_ext.abi3.so", gnu, "-shared", *rpath, tools.compile("demo"), *libraries)
    objects = (tools.compile("start"), tools.compile("tool"))
    tool = tools.program(tools.work / "demo-tool", gnu, "-pie", *objects, *libraries)
    members = {
        "demo/__init__.py": (SOURCES / "demo/__init__.py").read_bytes(),
        "demo/_ext.abi3.so": ext.read_bytes(),
        "demo/_ext.pyi": (SOURCES / "demo/_ext.pyi").read_bytes(),
        "demo/py.typed": b"",
        "demo-1.0.data/scripts/demo-hello": (SOURCES / "demo-hello").read_bytes(),
        "demo-1.0.data/scripts/demo-tool": tool.read_bytes(),
        f"{DIST_INFO}/METADATA": METADATA.encode(),
        f"{DIST_INFO}/WHEEL": WHEEL.format(arch=tools.arch.tag).encode(),
    }
    members[f"{DIST_INFO}/RECORD"] = record(members, DIST_INFO)
    write_wheel(path, members)


@dataclass(frozen=True, slots=True)
class Bench:
    """What the cases of one architecture are made with."""

    tools: Toolchain
    libc: Path

    def extension(self, source: str, *arguments: str | Path, calls: str = "") -> bytes:
        """Make an extension module from cases/<source>.c; what it needs besides libc is among the arguments."""
        flags = (f"-DCALLS={calls}",) if calls else ()
        output = self.tools.work / "case" / "_ext.so"
        compiled = self.tools.compile(f"cases/{source}", *flags)
        return self.tools.link(output, "-shared", "--hash-style=gnu", *arguments, compiled, self.libc).read_bytes()

    def library(self, name: str, defines: str, *arguments: str | Path) -> Path:
        """Make a library that defines one function."""
        compiled = self.tools.compile("cases/define", f"-DDEFINES={defines}")
        return self.tools.library(self.tools.work / "case" / name, name, "--hash-style=gnu", *arguments, compiled)


EXTENSION = "_ext.cpython-312-x86_64-linux-musl.so"
ARM_EXTENSION = "_ext.cpython-312-aarch64-linux-musl.so"


@dataclass(frozen=True, slots=True)
class Case:
    """A wheel with one thing that is wrong, and nothing else; files are archive names."""

    name: str
    files: dict[str, bytes]
    platform: str = "musllinux_1_2_x86_64"
    inside: str = ""
    """The platform that WHEEL names, if that is another one."""
    pure: bool = False
    python: str = "cp312-cp312"
    """The Python and ABI tags."""

    def write(self, folder: Path) -> None:
        dist_info = f"{self.name}-1.0.dist-info"
        platforms = (self.inside or self.platform).split(".")
        tags = "".join(f"Tag: {self.python}-{platform}\n" for platform in platforms)
        metadata = f"Metadata-Version: 2.1\nName: {self.name}\nVersion: 1.0\n"
        purelib = "true" if self.pure else "false"
        wheel = f"Wheel-Version: 1.0\nGenerator: testdata/build.py\nRoot-Is-Purelib: {purelib}\n{tags}"
        info = {f"{dist_info}/METADATA": metadata.encode(), f"{dist_info}/WHEEL": wheel.encode()}
        promised = {f"{self.name}/__init__.py": b"", **self.files, **info}
        # The file is the same in all cases; only the wheel whose RECORD is to lie has another.
        actual = {**promised, f"{self.name}/__init__.py": b"lie = 1\n"} if self.name == "record" else promised
        members = {**actual, f"{dist_info}/RECORD": record(promised, dist_info)}
        write_wheel(folder / f"{self.name}-1.0-{self.python}-{self.platform}.whl", members)


def build_cases(folder: Path, x86: Bench, arm: Bench, loong: Bench) -> None:
    """Build a wheel for each thing that musl-repair finds wrong, and some with which nothing is."""
    for case in (
        *call_cases(x86, arm),
        *python_cases(x86),
        *file_cases(x86, arm),
        *library_cases(x86),
        *wheel_cases(x86, arm),
    ):
        case.write(folder)
    pypi = loong.extension("call", "-z", "max-page-size=65536", calls="strlen")
    Case("pypi", {"pypi/_ext.abi3.so": pypi}, "musllinux_1_2_loongarch64").write(folder)


def call_cases(x86: Bench, arm: Bench) -> tuple[Case, ...]:
    """Make the wheels that differ in the function that their extension module calls."""

    def calls(name: str, function: str, platform: str = "musllinux_1_2_x86_64") -> Case:
        return Case(name, {f"{name}/{EXTENSION}": x86.extension("call", calls=function)}, platform)

    atomics = arm.extension("call", "-z", "max-page-size=65536", calls="__getauxval")
    return (
        calls("clean", "strlen"),
        Case("weak", {f"weak/{EXTENSION}": x86.extension("weak")}),
        calls("undefined", "nobody_has_this"),
        calls("fortify", "__memcpy_chk"),
        calls("reallocarray", "reallocarray"),
        calls("reallocarray_low", "reallocarray", "musllinux_1_1_x86_64"),
        calls("statx", "statx"),
        calls("fallocate", "posix_fallocate64"),
        Case("atomics", {f"atomics/{ARM_EXTENSION}": atomics}, "musllinux_1_2_aarch64"),
    )


def python_cases(x86: Bench) -> tuple[Case, ...]:
    """Make the wheels whose extension module calls the interpreter."""

    def calls(name: str, function: str, python: str, suffix: str) -> Case:
        return Case(name, {f"{name}/_ext{suffix}": x86.extension("call", calls=function)}, python=python)

    return (
        calls("api_newer", "PyErr_GetRaisedException", "cp311-cp311", ".cpython-311-x86_64-linux-musl.so"),
        calls("api_stable", "PyUnicode_AsUTF8", "cp38-abi3", ".abi3.so"),
        calls("api_pypy", "PyLong_FromLong", "pp310-pypy310_pp73", ".pypy310-pp73-x86_64-linux-gnu.so"),
    )


def file_cases(x86: Bench, arm: Bench) -> tuple[Case, ...]:
    """Make the wheels with an extension module that musl, or the machine, does not take."""
    small = arm.extension("call", "-z", "max-page-size=4096", calls="strlen")
    plain = x86.extension("call", calls="strlen")
    return (
        Case("tls", {f"tls/{EXTENSION}": x86.extension("tls")}),
        Case("ifunc", {f"ifunc/{EXTENSION}": x86.extension("ifunc")}),
        Case("ifunc_unused", {f"ifunc_unused/{EXTENSION}": x86.extension("ifunc_unused")}),
        Case("size", {f"size/{EXTENSION}": x86.extension("size")}),
        Case("isa", {f"isa/{EXTENSION}": x86.extension("isa")}),
        Case("stack", {f"stack/{EXTENSION}": x86.extension("call", "-z", "execstack", calls="strlen")}),
        Case("pages", {f"pages/{ARM_EXTENSION}": small}, "musllinux_1_2_aarch64"),
        Case("suffix", {f"suffix/{EXTENSION.replace('musl', 'gnu')}": plain}),
    )


def library_cases(x86: Bench) -> tuple[Case, ...]:
    """Make the wheels whose extension module needs a library."""

    def needs(name: str, library: Path, function: str, *places: str, rpath: str = "", folder: str = "") -> Case:
        rpaths = ("-rpath", rpath or f"$ORIGIN/../{name}.libs")
        extension = x86.extension("call", *rpaths, library, calls=function)
        return Case(name, {f"{folder or name}/{EXTENSION}": extension, **dict.fromkeys(places, library.read_bytes())})

    extra = x86.library("libextra.so.1", "extra")
    twice = needs("twice", extra, "extra", "twice.libs/libextra.so.1", "twice/libextra.so.1")
    beside = x86.extension("call", "-rpath", "$ORIGIN", extra, calls="extra")
    glibc = x86.library("libc.so.6", "getenv", "--version-script", SOURCES / "cases/glibc.map")
    python = x86.library("libpython3.12.so.1.0", "Py_Initialize")
    onlyrelr = x86.tools.compile("onlyrelr")
    relr = x86.tools.work / "case" / "libonlyrelr.so.1"
    x86.tools.library(relr, "libonlyrelr.so.1", "--hash-style=gnu", *RELR, onlyrelr, x86.libc)
    return (
        needs("grafted", extra, "extra", "grafted.libs/libextra.so.1"),
        needs("missing", extra, "extra"),
        needs("token", extra, "extra", "token.libs/libextra.so.1", rpath="$ORIGIN/../token.libs:/usr/$LIB"),
        needs("outside", extra, "extra", "outside.libs/libextra.so.1", rpath="$ORIGIN/../outside.libs:/opt/lib"),
        replace(twice, files={**twice.files, "twice/_two.cpython-312-x86_64-linux-musl.so": beside}),
        needs(
            "colon", extra, "extra", "colon.libs/libextra.so.1", rpath="$ORIGIN/../../colon.libs", folder="colon/a:b"
        ),
        needs("clash", x86.library("libcrypt.so.2", "crypt"), "crypt", "clash.libs/libcrypt.so.2"),
        needs("reserved", x86.library("libutil.so.9", "util"), "util", "reserved.libs/libutil.so.9"),
        needs("relr", relr, "onlyrelr_sum", "relr.libs/libonlyrelr.so.1"),
        needs("glibc", glibc, "getenv", rpath="$ORIGIN"),
        needs("libpython", python, "Py_Initialize", rpath="$ORIGIN"),
    )


def wheel_cases(x86: Bench, arm: Bench) -> tuple[Case, ...]:
    """Make the wheels whose files are sound."""
    plain, other = x86.extension("call", calls="strlen"), arm.extension("call", calls="strlen")
    return (
        Case("purelib", {f"purelib/{EXTENSION}": plain}, pure=True),
        Case("purelib_data", {f"purelib_data-1.0.data/purelib/purelib_data/{EXTENSION}": plain}),
        # On x86_64 nobody looks for the second file of the one, and somebody does for that of the other.
        Case("data", {f"data/{EXTENSION}": plain, f"data/{ARM_EXTENSION}": other}),
        Case("machine", {f"machine/{EXTENSION}": plain, "machine/_two.abi3.so": other}),
        Case("broken", {f"broken/{EXTENSION}": plain, "broken/libcut.so": plain[:1000]}),
        Case("tag", {f"tag/{EXTENSION}": plain}, "musllinux_1_2_aarch64"),
        Case("expansion", {f"expansion/{EXTENSION}": plain}, inside="linux_x86_64"),
        Case("record", {f"record/{EXTENSION}": plain}),
        # setuptools gives the folder the build number of the wheel.
        Case("data_folder", {f"data_folder/{EXTENSION}": plain, "data_folder-1.0-1.data/scripts/tool": b"#!python\n"}),
        Case("windows", {f"windows/{EXTENSION}": plain}, "musllinux_1_2_x86_64.win_amd64"),
    )


METADATA = """\
Metadata-Version: 2.1
Name: demo
Version: 1.0
Summary: A number that comes from two shared libraries away
License: MIT
Requires-Python: >=3.10
Description-Content-Type: text/plain

Made by testdata/build.py of musl-repair.
"""

WHEEL = """\
Wheel-Version: 1.0
Generator: testdata/build.py
Root-Is-Purelib: false
Tag: cp310-abi3-linux_{arch}
"""


def record(members: dict[str, bytes], dist_info: str) -> bytes:
    rows = []
    for name, content in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(content)}\n")
    return "".join([*rows, f"{dist_info}/RECORD,,\n"]).encode()


def write_wheel(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name, BUILT_AT)
            member.create_system = 3  # Unix, on whatever host this runs
            executable = name.endswith(".so") or ".data/scripts/" in name
            member.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
            archive.writestr(member, content, zipfile.ZIP_DEFLATED, 9)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def build(root: Path) -> None:
    """Build everything below `root`, an empty folder."""
    with ExitStack() as stack:
        benches = {}
        for arch in ARCHES:
            sysroot = root / "sysroots" / arch.tag
            tools = Toolchain(arch, Path(stack.enter_context(tempfile.TemporaryDirectory())))
            build_sysroot(tools, sysroot)
            build_libraries(tools, root / arch.tag, sysroot)
            build_wheel(tools, root / "wheels" / f"demo-1.0-cp310-abi3-linux_{arch.tag}.whl", sysroot)
            benches[arch.tag] = Bench(tools, sysroot / "lib" / arch.loader)
        build_cases(root / "cases", benches["x86_64"], benches["aarch64"], benches["loongarch64"])


def built_files(root: Path) -> list[Path]:
    """List the files and links below `root`, relative to it, sorted."""
    return sorted(path.relative_to(root) for path in root.rglob("*") if path.is_symlink() or path.is_file())


def install(root: Path, target: Path) -> None:
    """Copy what was built over what is committed; other files there (goldens, say) stay."""
    for name in built_files(root):
        (target / name).unlink(missing_ok=True)
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name, follow_symlinks=False)


def same(built: Path, committed: Path) -> bool:
    """Compare two files, or two links by their targets."""
    if built.is_symlink() or committed.is_symlink():
        return built.is_symlink() and committed.is_symlink() and built.readlink() == committed.readlink()
    if not committed.is_file() or bool(built.stat().st_mode & 0o100) != bool(committed.stat().st_mode & 0o100):
        return False
    if built.read_bytes() == committed.read_bytes():
        return True
    # Python may be built with another zlib (zlib-ng, say), which compresses the same bytes otherwise.
    return built.suffix == ".whl" and wheel_members(built) == wheel_members(committed)


def wheel_members(path: Path) -> list[tuple[str, int, bytes]]:
    with zipfile.ZipFile(path) as archive:
        return [(item.filename, item.external_attr, archive.read(item)) for item in archive.infolist()]


def main() -> int:
    parser = argparse.ArgumentParser(description="Rebuild the binaries of testdata from testdata/src.")
    parser.add_argument("--check", action="store_true", help="compare with what is committed; change nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        build(root)
        names = built_files(root)
        if not arguments.check:
            install(root, HERE)
            print(f"built {len(names)} files")
            return 0
        different = [name for name in names if not same(root / name, HERE / name)]
    for name in different:
        print(f"differs from what the recipe makes: {name}", file=sys.stderr)
    print(f"checked {len(names)} files, {len(different)} differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
