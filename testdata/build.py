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
from dataclasses import dataclass
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

    def compile(self, name: str) -> Path:
        target = ("-target", self.arch.triple, *self.arch.cflags)
        # The stub declares malloc and the like with types that are not theirs.
        special = ("-ffreestanding", "-fno-builtin") if name == "libc" else ()
        output = self.work / f"{name}.o"
        self.run("cc", *target, *CFLAGS, *special, "-c", SOURCES / f"{name}.c", "-o", output)
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
    members[f"{DIST_INFO}/RECORD"] = record(members)
    write_wheel(path, members)


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


def record(members: dict[str, bytes]) -> bytes:
    rows = []
    for name, content in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(content)}\n")
    return "".join([*rows, f"{DIST_INFO}/RECORD,,\n"]).encode()


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
    for arch in ARCHES:
        sysroot = root / "sysroots" / arch.tag
        with tempfile.TemporaryDirectory() as work:
            tools = Toolchain(arch, Path(work))
            build_sysroot(tools, sysroot)
            build_libraries(tools, root / arch.tag, sysroot)
            build_wheel(tools, root / "wheels" / f"demo-1.0-cp310-abi3-linux_{arch.tag}.whl", sysroot)


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
    if not committed.is_file() or bool(built.stat().st_mode & 0o100) != bool(
        committed.stat().st_mode & 0o100
    ):
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
