"""The recipe of the polyfills: rebuilds every library in `src/musl_repair/polyfill/`, byte for byte, from its source.

    python tools/build_polyfill.py [--check] [ARCH ...]

(in an environment where this checkout is installed, with the dependency group `build`: ziglang is compiler and linker
for all architectures.) `--check` rebuilds into a temporary folder and compares.

A library holds one function. It is linked against a stub that exports exactly what the musl release exported that the
polyfill is made for (by musl_repair.abi), so that a name that is newer fails to link.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from musl_repair.abi import Release, history
from musl_repair.polyfill import offered

if TYPE_CHECKING:
    from collections.abc import Sequence

POLYFILL = Path(__file__).resolve().parents[1] / "src" / "musl_repair" / "polyfill"
ZIG = "0.17.1"  # the one in pyproject.toml; another makes other bytes

CFLAGS = (
    *("-std=c11", "-Os", "-g0", "-fPIC", "-fvisibility=hidden"),
    *("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"),
    *("-fno-sanitize=all", "-fno-stack-protector", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables"),
    # So that a loop is not made a call of a function that it stands for.
    *("-ffreestanding", "-fomit-frame-pointer", "-ffunction-sections"),
)
# No DT_RELR (musl reads it since 1.2.4), no soname (musl does not read it; the file's name holds the file's hash), and
# as few segments as protection allows: one for what is read and run, one for the addresses, read-only after loading.
LDFLAGS = (
    *("-shared", "--no-undefined", "--gc-sections", "--strip-all", "--build-id=none"),
    *("-z", "now", "-z", "relro", "-z", "noexecstack", "-z", "noseparate-code", "--no-rosegment"),
    *("--pack-dyn-relocs=none", "--no-allow-shlib-undefined"),
)


@dataclass(frozen=True, slots=True)
class Arch:
    """One architecture, under the names that wheel tags, zig and lld give it; max_page as in musl_repair.policy."""

    tag: str
    triple: str
    emulation: str
    max_page: int = 0x1000
    cflags: tuple[str, ...] = ()
    hash_style: str = "both"


NO_PLT = ("-fno-plt",)  # smaller; other compilers have no such option, or no use for it

ARCHES = (
    Arch("x86_64", "x86_64-linux-musl", "elf_x86_64", cflags=NO_PLT),
    Arch("i686", "x86-linux-musl", "elf_i386", cflags=("-mcpu=i686",)),
    Arch("aarch64", "aarch64-linux-musl", "aarch64linux", 0x10000, NO_PLT),
    Arch("armv7l", "arm-linux-musleabihf", "armelf_linux_eabi", cflags=("-mcpu=generic+v7a",)),
    Arch("armv6l", "arm-linux-musleabihf", "armelf_linux_eabi", cflags=("-mcpu=arm1176jzf_s",)),
    Arch("ppc64le", "powerpc64le-linux-musl", "elf64lppc", 0x10000),
    # On s390x DT_HASH is made of 64-bit words (musl: arch/s390x/bits/link.h), which lld does not know.
    Arch("s390x", "s390x-linux-musl", "elf64_s390", hash_style="gnu"),
    Arch("riscv64", "riscv64-linux-musl", "elf64lriscv"),
    Arch("loongarch64", "loongarch64-linux-musl", "elf64loongarch", 0x10000),
)


@dataclass(frozen=True, slots=True)
class Toolchain:
    """zig's compiler and linker for one architecture; `work` holds objects and zig's cache."""

    arch: Arch
    work: Path

    def run(self, *arguments: str | Path) -> None:
        cache = {"ZIG_GLOBAL_CACHE_DIR": str(self.work / "zig"), "ZIG_LOCAL_CACHE_DIR": str(self.work / "zig")}
        command = (sys.executable, "-m", "ziglang", *map(str, arguments))
        subprocess.run(command, check=True, cwd=self.work, env={**os.environ, **cache})  # noqa: S603 - the pinned compiler

    def compile(self, source: Path) -> Path:
        """Compile one C or assembler file."""
        output = self.work / f"{source.name}.o"
        flags = (*self.arch.cflags, *CFLAGS) if source.suffix == ".c" else ()
        self.run("cc", "-target", self.arch.triple, *flags, "-c", source, "-o", output)
        return output

    def link(self, output: Path, *arguments: str | Path) -> Path:
        """Link a shared library with lld itself: the driver `zig cc` adds options of its own."""
        output.parent.mkdir(parents=True, exist_ok=True)
        layout = ("-z", f"max-page-size={self.arch.max_page}", f"--hash-style={self.arch.hash_style}")
        self.run("ld.lld", "-m", self.arch.emulation, *LDFLAGS, *layout, "-o", output, *arguments)
        output.chmod(0o644)  # data of a package: nothing runs it in place
        return output

    def libc(self, release: Release) -> Path:
        """Make a libc that exports what that release of musl did, and does nothing."""
        folder = self.work / str(release)
        output = folder / "libc.so"
        if not output.exists():
            folder.mkdir()
            names = sorted(history(self.arch.tag).exports(release))
            lines = [f".globl {name}\n.type {name},%function\n{name}:\n" for name in names]
            source = self.work / f"libc-{release}.s"
            source.write_text(f'.text\n{"".join(lines)}.long 0\n.section .note.GNU-stack,"",%progbits\n')
            self.link(output, "--soname", "libc.so", "--no-gc-sections", self.compile(source))
        return output


def build(root: Path, arch: Arch) -> None:
    """Build the libraries of an architecture below `root`."""
    with tempfile.TemporaryDirectory() as work:
        tools = Toolchain(arch, Path(work))
        for name, polyfill in offered(arch.tag).items():
            output = root / arch.tag / f"{name}.so"
            tools.link(output, tools.compile(POLYFILL / f"{name}.c"), tools.libc(polyfill.needs))


def differences(built: Path, committed: Path, arch: Arch) -> list[str]:
    """Return the libraries that are not the same, or only there, on one of both sides."""
    left, right = (
        {path.name: path.read_bytes() for path in (root / arch.tag).glob("*.so")} for root in (built, committed)
    )
    return sorted(f"{arch.tag}/{name}" for name in left.keys() | right.keys() if left.get(name) != right.get(name))


def install(built: Path, target: Path, arch: Arch) -> None:
    """Put the libraries of an architecture in the place of those that are there."""
    folder = target / arch.tag
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.so"):
        old.unlink()
    for new in (built / arch.tag).glob("*.so"):
        (folder / new.name).write_bytes(new.read_bytes())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Rebuild the polyfills from their sources.")
    parser.add_argument("--check", action="store_true", help="compare with what is committed; change nothing")
    parser.add_argument("arch", nargs="*", metavar="ARCH", help="only these architectures")
    options = parser.parse_args(arguments)
    unknown = set(options.arch) - {arch.tag for arch in ARCHES}
    if unknown:
        parser.error(f"unknown architecture: {', '.join(sorted(unknown))}")
    if version("ziglang") != ZIG:
        parser.error(f"ziglang is {version('ziglang')}, the libraries are made by {ZIG}: pip install ziglang=={ZIG}")
    wanted = [arch for arch in ARCHES if not options.arch or arch.tag in options.arch]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        different: list[str] = []
        for arch in wanted:
            build(root, arch)
            if options.check:
                different += differences(root, POLYFILL, arch)
            else:
                install(root, POLYFILL, arch)
    for name in different:
        print(f"differs from what the recipe makes: {name}", file=sys.stderr)
    print(f"{'checked' if options.check else 'built'} {len(wanted)} architectures, {len(different)} libraries differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
