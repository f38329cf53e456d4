"""Repaired wheels, installed, under a real musl: install schemes, needs that were paths, folders no rpath can name.

`ld-musl-x86_64.so.1 --list FILE` loads FILE with all that it needs and says where from.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.sources import WheelFile

from builders import DEMO, SYSROOTS, TESTDATA, ElfFile, write_wheel
from machines import machines
from musl_repair import Options, Sysroot, Tools, check_wheel, repair_wheel
from musl_repair.findings import errors_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from machines import Machine

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not machines("x86_64"), reason="no musl of x86_64 is installed (Debian: apt-get install musl)"),
]

_LOADED: Final = re.compile(r"^\t(\S+) => (\S+) \(0x", re.MULTILINE)
_MID: Final = (TESTDATA / "x86_64" / "libmid.so.2").read_bytes()
"""A library that needs libleaf.so.1, which needs nothing but musl."""


def module(*needed: str, rpath: str = "") -> bytes:
    """Build a library with these needs."""
    named = [(1, name) for name in needed]
    return ElfFile(named=tuple([*named, (15, rpath)] if rpath else named)).build()


def repaired(folder: Path, files: Mapping[str, bytes], options: Options | None = None) -> Path:
    """Repair a wheel with these files against the system of testdata; it keeps its tag, so that pip takes it here."""
    wheel = write_wheel(folder, files)
    options = (options or Options())._replace(update_tags=False)
    output = repair_wheel(wheel, folder / "out", Sysroot(SYSROOTS / "x86_64"), options, Tools()).output
    assert output is not None
    return output


def unpacked(wheel: Path, folder: Path) -> Path:
    """Install a wheel as Debian lays a system out: schemes are at other distances there than in an environment."""
    site = folder / "usr/local/lib/python3.11/dist-packages"
    schemes = {
        "purelib": site,
        "platlib": site,
        "scripts": folder / "usr/local/bin",
        "data": folder / "usr/local",
        "headers": folder / "usr/local/include/python3.11/demo",
    }
    places = {scheme: str(place) for scheme, place in schemes.items()}
    with WheelFile.open(wheel) as source:
        install(source, SchemeDictionaryDestination(places, sys.executable, "posix"), {})
    return folder


def pip(*arguments: str | Path, python: str | Path = sys.executable, **variables: str) -> None:
    """Run pip."""
    command = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps", "--no-index"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=False, env={**environment, **variables}
    )
    assert done.returncode == 0, done.stderr


def into_environment(wheel: Path, folder: Path) -> Path:
    """Install a wheel into a virtual environment."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip("--prefix", folder, wheel)
    return folder


def into_target(wheel: Path, folder: Path) -> Path:
    """Install a wheel with --target."""
    pip("--target", folder, wheel)
    return folder


def into_prefix(wheel: Path, folder: Path) -> Path:
    """Install a wheel with --prefix."""
    pip("--prefix", folder, wheel)
    return folder


def for_user(wheel: Path, folder: Path) -> Path:
    """Install a wheel with --user, which the Python of a virtual environment does not do."""
    version = sysconfig.get_config_var("py_version_short")
    python = Path(sys.base_prefix) / "bin" / f"python{version}"
    if subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
        pytest.skip(f"{python} has no pip")
    pip("--user", "--break-system-packages", wheel, python=python, PYTHONUSERBASE=str(folder))
    return folder


def listed(machine: Machine, file: Path) -> dict[str, Path]:
    """Return needed name → file, as musl loads them; libc left out. Fails where musl does."""
    done = machine.run("--list", file)
    assert (done.returncode, done.stderr) == (0, ""), f"{file}: {done.stdout}{done.stderr}"
    found = {name: Path(os.path.normpath(at)) for name, at in _LOADED.findall(done.stdout)}
    return {name: at for name, at in found.items() if not at.samefile(machine.command[-1])}


# Schemes


@pytest.mark.parametrize("way", [into_environment, into_target, into_prefix, for_user, unpacked])
@pytest.mark.parametrize("machine", machines("x86_64"), ids=lambda machine: ".".join(map(str, machine.version)))
def test_files_of_every_scheme_find_their_libraries_in_it(
    tmp_path: Path, way: Callable[[Path, Path], Path], machine: Machine
) -> None:
    files = {
        "demo/plugin.so": module("libmid.so.2"),
        "demo-1.0.data/data/share/demo/plugin.so": _MID,
        "demo-1.0.data/headers/plugin.so": module("libmid.so.2", "libabs.so.1"),
    }
    top = way(repaired(tmp_path, files), tmp_path / "installed")
    libraries: dict[str, set[bytes]] = {}
    folders = []
    for plugin in top.rglob("plugin.so"):
        found = listed(machine, plugin)
        folders += sorted({library.parent for library in found.values()})
        for library in found.values():
            libraries.setdefault(library.name, set()).add(library.read_bytes())
    assert len(folders) == len(set(folders)) == len(files)
    assert all(folder.is_relative_to(top) for folder in folders)
    assert sorted(name.partition("-")[0] for name in libraries) == ["libabs", "libleaf", "libmid"]
    # A process has one library of a name, so those of one name are the same.
    assert {len(contents) for contents in libraries.values()} == {1}


def test_a_wheel_that_has_files_in_data_only_is_repaired(tmp_path: Path) -> None:
    wheel = repaired(tmp_path, {"demo-1.0.data/data/lib/plugin.so": _MID})
    top = into_prefix(wheel, tmp_path / "installed")
    ((_, leaf),) = listed(machines("x86_64")[0], top / "lib" / "plugin.so").items()
    assert leaf.parent == top / "demo-data.libs"


# Needs that are paths


@pytest.mark.parametrize(
    "needed",
    ["sub/libdep.so", "../build/lib/libdep.so", "./libdep.so", "/build/libdep.so"],
)
def test_a_library_of_the_wheel_that_is_needed_by_a_path_is_found(tmp_path: Path, needed: str) -> None:
    files = {"demo/_ext.so": module(needed), "demo/sub/libdep.so": module()}
    (before,) = errors_in(check_wheel(write_wheel(tmp_path, files)).findings)
    assert (before.code, before.subject) == ("library-not-found", needed)
    top = unpacked(repaired(tmp_path, files), tmp_path / "installed")
    for machine in machines("x86_64"):
        (extension,) = top.rglob("_ext.so")
        assert listed(machine, extension) == {"libdep.so": extension.parent / "sub" / "libdep.so"}


@pytest.mark.parametrize("needed", ["/usr/lib/libleaf.so.1", "/lib/libleaf.so.1.0.0", "lib/libleaf.so.1"])
def test_a_library_of_the_system_that_is_needed_by_a_path_is_vendored(tmp_path: Path, needed: str) -> None:
    top = unpacked(repaired(tmp_path, {"demo/_ext.so": module(needed)}), tmp_path / "installed")
    for machine in machines("x86_64"):
        (extension,) = top.rglob("_ext.so")
        ((name, leaf),) = listed(machine, extension).items()
        assert leaf.parent == extension.parents[1] / "demo.libs"
        assert name == leaf.name


@pytest.mark.parametrize(
    "needed",
    [
        "/lib/libc.so",
        "/usr/lib/libc.so",
        "/lib/libc.musl-x86_64.so.1",
        "lib/libm.so.6",
        "/lib/ld-musl-x86_64.so.1",
        "/usr/lib/ld-musl-x86_64.so.1",
        "ld-musl-x86_64.so.1",
    ],
)
def test_musl_needed_by_a_path_is_musl(tmp_path: Path, needed: str) -> None:
    files = {"demo/_ext.so": module(needed), "demo-1.0.data/data/lib/other.so": module(needed)}
    top = unpacked(repaired(tmp_path, files), tmp_path / "installed")
    assert sorted(path.name for path in top.rglob("*.so")) == ["_ext.so", "other.so"]
    for machine in machines("x86_64"):
        assert [listed(machine, path) for path in top.rglob("*.so")] == [{}, {}]


def test_a_vendored_library_that_needs_another_by_a_path_finds_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(SYSROOTS / "x86_64", root, symlinks=True)
    (root / "lib" / "liba.so").write_bytes(module("/lib/libb.so", "build/libd.so", "/lib/libc.so"))
    (root / "lib" / "libb.so").write_bytes(module("libc.so"))
    (root / "lib" / "libd.so").write_bytes(module("libm.so.6"))
    wheel = write_wheel(tmp_path, {"demo/_ext.so": module("liba.so")})
    output = repair_wheel(wheel, tmp_path / "out", Sysroot(root), Options(), Tools()).output
    assert output is not None
    top = unpacked(output, tmp_path / "installed")
    (extension,) = top.rglob("_ext.so")
    for machine in machines("x86_64"):
        found = listed(machine, extension)
        assert sorted(name.partition("-")[0] for name in found) == ["liba", "libb", "libd"]
        assert {path.parent.name for path in found.values()} == {"demo.libs"}


def test_what_is_excluded_is_needed_by_its_file_name(tmp_path: Path) -> None:
    files = {"demo/_ext.so": module("sub/libother.so", "/opt/libcuda.so.1")}
    options = Options(exclude=("libother.so", "/opt/libcuda.so.*"))
    top = unpacked(repaired(tmp_path, files, options), tmp_path / "installed")
    (extension,) = top.rglob("_ext.so")
    (tmp_path / "libother.so").write_bytes(module())
    for machine in machines("x86_64"):
        done = machine.run("--list", extension, libraries=tmp_path)
        assert f"libother.so => {tmp_path}/libother.so" in done.stdout
        # The user means this path, and no other.
        assert "Error loading shared library /opt/libcuda.so.1" in done.stderr


# Names


@pytest.mark.parametrize(
    ("name", "vendored"),
    [
        (b"lib" + b"x" * 249 + b".so", r"libx{240}-[0-9a-f]{8}\.so"),
        (b"lib" + b"x" * 241 + b".so.1.23456", r"libx{232}-[0-9a-f]{8}\.so\.1\.23456"),
        (b"lib\xff\xfe.so.1", r"lib__-[0-9a-f]{8}\.so\.1"),
        ("lib\N{EURO SIGN}.so".encode() + b"\x80", r"lib\u20ac-[0-9a-f]{8}\.so_"),
        (b"lib\x1b[2J\nx\\y.so", r"lib_\[2J_x_y-[0-9a-f]{8}\.so"),
    ],
    ids=["as long as can be", "long before its version", "not UTF-8", "partly UTF-8", "control characters"],
)
def test_a_library_of_any_name_is_vendored_and_found(tmp_path: Path, name: bytes, vendored: str) -> None:
    root = tmp_path / "root"
    shutil.copytree(SYSROOTS / "x86_64", root, symlinks=True)
    (root / "usr" / "lib" / os.fsdecode(name)).write_bytes(module("libc.so"))
    wheel = write_wheel(tmp_path, {"demo/_ext.so": module(os.fsdecode(name))})
    output = repair_wheel(wheel, tmp_path / "out", Sysroot(root), Options(), Tools()).output
    assert output is not None
    (extension,) = unpacked(output, tmp_path / "installed").rglob("_ext.so")
    for machine in machines("x86_64"):
        ((needed, library),) = listed(machine, extension).items()
        assert needed == library.name
        assert re.fullmatch(vendored, needed)


# Folders


def test_musl_does_not_find_libraries_from_a_folder_that_splits_its_rpath(tmp_path: Path) -> None:
    files = {"demo/a:b/_ext.so": module("libdep.so", rpath="$ORIGIN/../lib"), "demo/lib/libdep.so": module()}
    wheel = write_wheel(tmp_path, files, DEMO.replace("linux", "musllinux_1_2"))
    assert {found.code for found in errors_in(check_wheel(wheel).findings)} == {
        "folder-breaks-rpath",
        "library-not-found",
    }
    top = unpacked(wheel, tmp_path / "installed")
    (extension,) = top.rglob("_ext.so")
    for machine in machines("x86_64"):
        assert "Error loading shared library libdep.so" in machine.run("--list", extension).stderr


@pytest.mark.parametrize("place", ["a:b/_ext.so", "a$b/_ext.so"])
def test_what_musl_loads_from_a_folder_with_such_a_name_is_in_order(tmp_path: Path, place: str) -> None:
    """A colon harms where $ORIGIN is, a dollar where it is not."""
    rpath = "$ORIGIN/../lib" if "$" in place else ""
    files = {f"demo/{place}": module("libdep.so" if rpath else "libc.so", rpath=rpath), "demo/lib/libdep.so": module()}
    wheel = write_wheel(tmp_path, files, DEMO.replace("linux", "musllinux_1_2"))
    assert errors_in(check_wheel(wheel).findings) == ()
    top = unpacked(wheel, tmp_path / "installed")
    (extension,) = top.rglob("_ext.so")
    for machine in machines("x86_64"):
        listed(machine, extension)
