"""Real musl loaders of other architectures, run by QEMU, and a program for them that calls functions of libraries.

MUSL_REPAIR_FOREIGN names a folder in which Debian's musl packages of any architectures and versions are unpacked, each
below a folder of its own (`.ci/foreign` makes one). Programs: qemu-<arch>-static (package qemu-user-static).
"""

from __future__ import annotations

import importlib.util
import os
import re
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from builders import SYSROOTS, TESTDATA
from musl_repair.elf import read_elf
from musl_repair.errors import ElfError

if TYPE_CHECKING:
    from collections.abc import Mapping

PROBE: Final = Path(__file__).with_name("probe.c")
QEMU: Final = {
    "i686": "i386",
    "aarch64": "aarch64",
    "armv7l": "arm",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "loongarch64": "loongarch64",
}
_HOST: Final = Path("/lib/ld-musl-x86_64.so.1")
_TIMEOUT: Final = 60


@dataclass(frozen=True, slots=True)
class Machine:
    """One architecture's musl, ready to run programs."""

    architecture: str
    version: tuple[int, ...]
    command: tuple[str, ...]
    """The loader, behind the emulator where there is one."""

    @property
    def reads_relr(self) -> bool:
        """Whether this musl applies DT_RELR."""
        return self.version >= (1, 2, 4)

    def run(self, *command: str | Path, libraries: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program under the loader, with libraries of this folder found first."""
        search = ("--library-path", str(libraries)) if libraries else ()
        return subprocess.run(
            [*self.command, *search, *map(str, command)],
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT,
            stdin=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin"},
            preexec_fn=_no_core,
        )

    def answers(self, probe: Path, *calls: tuple[Path, str, int]) -> str:
        """Return what functions of libraries answer, one a line, or how it failed."""
        words = [str(word) for call in calls for word in call]
        done = self.run(probe, *words)
        return done.stdout if done.returncode == 0 else f"exit status {done.returncode}: {done.stdout}{done.stderr}"


def _no_core() -> None:
    """Let no crash leave a file behind; qemu, while it writes one, can die of another signal than the program."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@cache
def machines(architecture: str) -> tuple[Machine, ...]:
    """Return the musls of an architecture that work here, by version."""
    found = {}
    for libc in _libcs().get(architecture, ()):
        machine = _machine(architecture, libc)
        if machine is not None:
            found[machine.version] = machine
    return tuple(found[version] for version in sorted(found))


def _machine(architecture: str, libc: Path) -> Machine | None:
    """Return the machine of a libc, by the first emulator that can run it."""
    commands = [[str(libc)]]
    if architecture != "x86_64" or os.uname().machine != "x86_64":
        name = f"qemu-{QEMU.get(architecture, 'x86_64')}"
        emulators = filter(None, map(shutil.which, (f"{name}-static", name)))
        commands = [[emulator, str(libc)] for emulator in emulators]
    for command in commands:
        said = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace").stderr
        version = re.search(r"^Version (\d+)\.(\d+)\.(\d+)", said, re.MULTILINE)
        if version is not None:
            return Machine(architecture, tuple(map(int, version.groups())), tuple(command))
    return None


@cache
def _libcs() -> Mapping[str, tuple[Path, ...]]:
    by_machine = {_kind(TESTDATA / name / "libmid.so.2"): name for name in (*QEMU, "x86_64")}
    folder = os.environ.get("MUSL_REPAIR_FOREIGN")
    places = sorted(Path(folder).resolve().rglob("libc.so")) if folder else []
    found: dict[str, tuple[Path, ...]] = {}
    for libc in [*places, *([_HOST] if _HOST.exists() else [])]:
        name = by_machine.get(_kind(libc))
        if name is not None:
            found[name] = (*found.get(name, ()), libc)
    return found


def _kind(file: Path) -> tuple[int, int, bool] | None:
    try:
        elf = read_elf(file.read_bytes())
    except (OSError, ElfError):
        return None
    return elf.machine, elf.bits, elf.little


def toolchain(architecture: str, folder: Path) -> Any:
    """Return the compiler and linker of testdata's recipe, at work in a folder; None without the extra `build`."""
    if importlib.util.find_spec("ziglang") is None:
        return None
    recipe = _recipe()
    (arch,) = (arch for arch in recipe.ARCHES if arch.tag == architecture)
    return recipe.Toolchain(arch, folder)


def compiled(tools: Any, source: Path) -> Path:
    """Compile a C file that is none of the recipe's."""
    object_ = tools.work / f"{source.stem}.o"
    target = ("-target", tools.arch.triple, *tools.arch.cflags)
    tools.run("cc", *target, *_recipe().CFLAGS, "-fno-builtin", "-c", source, "-o", object_)
    found: Path = object_
    return found


def build_probe(architecture: str, folder: Path, source: Path = PROBE) -> Path | None:
    """Link the program that calls functions, or another; None where there is no compiler (the extra `build`)."""
    tools = toolchain(architecture, folder)
    if tools is None:
        return None
    libc = SYSROOTS / architecture / "lib" / tools.arch.loader
    objects = (tools.compile("start"), compiled(tools, source), libc)
    program: Path = tools.link(folder / "probe.so", "-shared", "-e", "_start", *objects)
    return program


@cache
def _recipe() -> Any:
    spec = importlib.util.spec_from_file_location("testdata_build", TESTDATA / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module
