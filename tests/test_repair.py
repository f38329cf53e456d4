"""The whole repair on testdata, for every architecture and with every editor, judged by others' tools."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import packaging._musllinux
import packaging.tags
import pytest
from click.testing import CliRunner
from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.sources import WheelFile
from packaging.utils import parse_wheel_filename

from builders import (
    ARCHITECTURES,
    DEMO,
    DEMO_WHEEL,
    SYSROOTS,
    TESTDATA,
    ElfFile,
    Symbol,
    wheel_members,
    write_wheel,
    zip_bytes,
)
from musl_repair.cli import cli
from musl_repair.elf import read_elf
from musl_repair.errors import MuslRepairError, OutputError, PatchError, RefusedError, WheelError
from musl_repair.findings import errors_in
from musl_repair.options import Options
from musl_repair.patchelf import find_patchelf
from musl_repair.repair import Tools, check_wheel, plan_wheel, repair_wheel
from musl_repair.sysroot import Sysroot

if TYPE_CHECKING:
    from collections.abc import Callable

    from musl_repair.patchelf import Patchelf

pytestmark = pytest.mark.patchelf

LOADER = Path("/lib/ld-musl-x86_64.so.1")
PATCHED = {
    "demo/_ext.abi3.so",
    "demo-1.0.data/scripts/demo-tool",
    "demo-1.0.dist-info/WHEEL",
    "demo-1.0.dist-info/RECORD",
}


# The editors


@cache
def own_patchelf() -> Patchelf:
    """Return the one that this environment has."""
    return find_patchelf(None, [Path(sys.executable).parent], os.environ.get("PATH"))


@pytest.fixture(scope="session")
def built_patchelf(tmp_path_factory: pytest.TempPathFactory) -> Patchelf:
    """Return the patchelf 0.11 that the distribution patchelf-wrapper builds where there is no other."""
    folders = ["/usr/bin", "/bin"]
    search_path = os.pathsep.join(folders)
    missing = [name for name in ("g++", "make") if shutil.which(name, path=search_path) is None]
    if missing:
        pytest.skip(f"building patchelf needs {' and '.join(missing)}")
    if shutil.which("patchelf", path=search_path) is not None:
        pytest.skip("this machine has a patchelf, so patchelf-wrapper would not build one")
    environment = tmp_path_factory.mktemp("patchelf-wrapper")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    # pip's cache would keep the result without the program that was built.
    command = [str(environment / "bin" / "pip"), "install", "-q", "--no-cache-dir", "patchelf-wrapper"]
    done = subprocess.run(command, env={**os.environ, "PATH": search_path}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"patchelf-wrapper cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
    return find_patchelf(environment / "bin" / "patchelf", [], None)


@pytest.fixture(params=["builtin", "patchelf", pytest.param("patchelf-wrapper", marks=pytest.mark.network)])
def patchelf(request: pytest.FixtureRequest) -> Patchelf | None:
    """Return the program of either distribution, or none for the built-in editor."""
    if request.param == "builtin":
        return None
    if request.param == "patchelf":
        return own_patchelf()
    built: Patchelf = request.getfixturevalue("built_patchelf")
    return built


def demo(architecture: str) -> Path:
    """Return the demo wheel of an architecture."""
    return TESTDATA / "wheels" / f"demo-1.0-cp310-abi3-linux_{architecture}.whl"


def repair(
    wheel: Path,
    folder: Path,
    sysroot: str | Path = "x86_64",
    *,
    options: Options | None = None,
    program: Patchelf | None = None,
    jobs: int = 2,
) -> Path:
    """Repair a wheel against a demo sysroot, or any, and return the new one; without a program by the own editor."""
    tools, options = Tools(jobs=jobs), options or Options()
    if program is not None:
        tools, options = tools._replace(patchelf=lambda: program), options._replace(patcher="patchelf")
    output = repair_wheel(wheel, folder, Sysroot(SYSROOTS / sysroot), options, tools).output
    assert output is not None
    return output


@pytest.fixture(params=ARCHITECTURES)
def repaired(request: pytest.FixtureRequest, patchelf: Patchelf | None, tmp_path: Path) -> Path:
    """Return the repaired demo wheel of each architecture."""
    if request.param == "s390x" and patchelf is not None and patchelf.version < (0, 12):
        pytest.skip("patchelf 0.11 cannot edit this file, which has a test of its own")
    return repair(demo(request.param), tmp_path / "out", request.param, program=patchelf)


def architecture_of(wheel: Path) -> str:
    """Return the architecture of a musllinux wheel by its name."""
    return next(name for name in ARCHITECTURES if wheel.stem.endswith(f"_{name}"))


def contents(wheel: Path) -> dict[str, bytes]:
    """Return name → content of all members."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def stored(wheel: Path) -> dict[str, tuple[int, int, tuple[int, ...], bytes]]:
    """Return name → mode, method, date and the compressed bytes as they stand in the file."""
    data = wheel.read_bytes()
    found: dict[str, tuple[int, int, tuple[int, ...], bytes]] = {}
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            at = info.header_offset
            start = at + 30 + int.from_bytes(data[at + 26 : at + 28], "little")
            start += int.from_bytes(data[at + 28 : at + 30], "little")
            bytes_ = data[start : start + info.compress_size]
            found[info.filename] = (info.external_attr, info.compress_type, info.date_time, bytes_)
    return found


# What a repaired wheel is, by others' judgement


def test_platform_accepts_the_wheel(repaired: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    musl = packaging._musllinux._MuslVersion(1, 2)
    monkeypatch.setattr(packaging._musllinux, "_get_musl_version", lambda _: musl)
    platforms = list(packaging._musllinux.platform_tags([architecture_of(repaired)]))
    accepted = set(packaging.tags.cpython_tags((3, 12), ["cp312"], platforms))
    *_, tags = parse_wheel_filename(repaired.name)
    assert tags <= accepted
    assert repaired.name == f"demo-1.0-cp310-abi3-musllinux_1_2_{architecture_of(repaired)}.whl"
    metadata = contents(repaired)["demo-1.0.dist-info/WHEEL"].decode()
    assert re.findall("^Tag: (.*)$", metadata, re.MULTILINE) == [str(tag) for tag in tags]


def test_a_wheel_for_armv6l_is_installed_there_and_not_on_armv7l(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaging._musllinux, "_get_musl_version", lambda _: packaging._musllinux._MuslVersion(1, 2))
    wheel = tmp_path / demo("armv7l").name.replace("armv7l", "armv6l")
    files = {name: content for name, content in contents(demo("armv7l")).items() if ".dist-info/" not in name}
    output = repair(write_wheel(tmp_path, files, wheel.name), tmp_path / "out", "armv7l")
    *_, tags = parse_wheel_filename(output.name)
    platforms = {arch: set(packaging._musllinux.platform_tags([arch])) for arch in ("armv6l", "armv7l")}
    assert {tag.platform for tag in tags} == {"musllinux_1_2_armv6l"}
    assert {arch: {tag.platform for tag in tags} <= platforms[arch] for arch in platforms} == {
        "armv6l": True,
        "armv7l": False,
    }
    assert errors_in(check_wheel(output).findings) == ()


def test_installer_finds_record_true(repaired: Path) -> None:
    with WheelFile.open(repaired) as wheel:
        wheel.validate_record()


def test_readelf_has_nothing_to_warn_of(repaired: Path, tmp_path: Path, readelf: Callable[..., str]) -> None:
    files = {name: content for name, content in contents(repaired).items() if content[:4] == b"\x7fELF"}
    assert len(files) == 4
    for content in files.values():
        path = tmp_path / "file.so"
        path.write_bytes(content)
        text = readelf("-a", path)
        assert "GNU_BUILD_ID" in text or "NT_GNU_BUILD_ID" in text


def strangers() -> dict[str, bytes]:
    """Return ELF files that musl on x86_64 can never load, as wheels carry them about."""
    program = (TESTDATA / "aarch64" / "tool").read_bytes()
    library = (TESTDATA / "x86_64" / "libmid.so.2").read_bytes()
    return {
        "demo/data/another machine's program": program,
        "demo/data/libanother.so": (TESTDATA / "s390x" / "libmid.so.2").read_bytes(),
        "demo/data/object.o": library[:16] + b"\1\0" + library[18:],
        "demo/data/firmware.elf": ElfFile(bits=32, machine=83, type=2).build(),
        "demo/data/kernel.cubin": ElfFile(machine=190, type=2).build(),
        # Of 64-bit MIPS the halves of r_info have other meanings.
        "demo/data/mips64el.so": ElfFile(machine=8, symbols=(Symbol("x"),), relocations=((0x12030000, 1),)).build(),
        "demo/data/magic": b"\x7fELF",
        "demo/data/magic.py": b"\x7fELF = 'not this'\n",
        "demo/data/libcut.so": library[:400],
    }


def test_data_are_kept_byte_for_byte_and_listed_in_one_note(tmp_path: Path) -> None:
    files = {name: content for name, content in contents(DEMO_WHEEL).items() if ".dist-info/" not in name}
    wheel = write_wheel(tmp_path, {**files, **strangers()})
    output = repair(wheel, tmp_path / "out")
    assert {name: stored(output)[name] for name in strangers()} == {name: stored(wheel)[name] for name in strangers()}
    for judged in (check_wheel(wheel).findings, check_wheel(output).findings):
        (note,) = (found for found in judged if found.code == "elf-data")
        (warning,) = (found for found in judged if found.code == "broken-elf")
        assert warning.subject == "demo/data/libcut.so"
        assert all(name in note.detail for name in strangers() if name != warning.subject)
        assert "- for ELF machine 8, 64 bit, little endian, flags 0x0: demo/data/mips64el.so" in note.detail
    assert errors_in(check_wheel(output).findings) == ()


@pytest.mark.parametrize("command", ["check", "show", "lddtree", "size", "repair --dry-run"])
def test_every_command_gets_along_with_data(command: str, tmp_path: Path) -> None:
    files = {name: content for name, content in contents(DEMO_WHEEL).items() if ".dist-info/" not in name}
    before = repair(write_wheel(tmp_path, files), tmp_path / "before")
    after = repair(write_wheel(tmp_path, {**files, **strangers()}), tmp_path / "after")
    results = [
        CliRunner().invoke(cli, [*command.split(), str(wheel)], standalone_mode=False) for wheel in (before, after)
    ]
    assert [(result.return_value, result.exception) for result in results] == [(0, None), (0, None)]
    if command == "lddtree":
        assert results[0].stdout == results[1].stdout


@pytest.mark.process
def test_names_that_differ_in_case_or_unicode_form_are_files_of_their_own(tmp_path: Path) -> None:
    """As pip installs them wherever there is musl: its file systems tell them apart."""
    files = {
        "demo/_ext.abi3.so": contents(DEMO_WHEEL)["demo/_ext.abi3.so"],
        "demo/\u00e9": b"composed",
        "demo/e\u0301": b"decomposed",
        "demo/Data/file": b"upper",
        "demo/data/file": b"lower",
        "demo-1.0.dist-info/licenses/LICENSE": b"upper",
        "demo-1.0.dist-info/licenses/license": b"lower",
    }
    output = repair(write_wheel(tmp_path, files), tmp_path / "out")
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site)]
    target = ["--platform", "musllinux_1_2_x86_64", "--only-binary=:all:", "--python-version", "3.12"]
    subprocess.run([*command, *target, str(output)], check=True)
    assert {name: (site / name).read_bytes() for name in list(files)[1:]} == dict(list(files.items())[1:])


def test_untouched_members_keep_their_compressed_bytes(repaired: Path) -> None:
    before, after = stored(demo(architecture_of(repaired))), stored(repaired)
    untouched = before.keys() - PATCHED
    assert untouched == {
        "demo/__init__.py",
        "demo/_ext.pyi",
        "demo/py.typed",
        "demo-1.0.data/scripts/demo-hello",
        "demo-1.0.dist-info/METADATA",
    }
    assert {name: after[name] for name in untouched} == {name: before[name] for name in untouched}


def test_members_modes_and_dates(repaired: Path) -> None:
    with zipfile.ZipFile(repaired) as archive:
        infos = archive.infolist()
    names = [re.sub("-[0-9a-f]{8}", "-HASH", info.filename) for info in infos]
    assert names == [
        "demo/__init__.py",
        "demo/_ext.abi3.so",
        "demo/_ext.pyi",
        "demo/py.typed",
        "demo-1.0.data/scripts/demo-hello",
        "demo-1.0.data/scripts/demo-tool",
        "demo.libs/demo-tool",
        "demo.libs/libleaf-HASH.so.1.0.0",
        "demo.libs/libmid-HASH.so.2.1.0",
        "demo-1.0.dist-info/METADATA",
        "demo-1.0.dist-info/WHEEL",
        "demo-1.0.dist-info/sboms/musl-repair.cdx.json",
        "demo-1.0.dist-info/RECORD",
    ]
    for info in infos:
        executable = re.match(r"_ext\.abi3|demo-|lib", Path(info.filename).name) and ".dist-info/" not in info.filename
        mode = info.external_attr >> 16
        assert (info.filename, stat.S_IMODE(mode)) == (info.filename, 0o755 if executable else 0o644)
        assert stat.S_ISREG(mode)
    assert {info.date_time for info in infos} == {(2026, 1, 1, 0, 0, 0)}


def test_files_find_each_other_by_unique_names(repaired: Path) -> None:
    elfs = {name: read_elf(content) for name, content in contents(repaired).items() if content[:4] == b"\x7fELF"}
    leaf, mid = (
        next(name for name in elfs if f"/{stem}-" in name).rpartition("/")[2] for stem in ("libleaf", "libmid")
    )
    found = {
        name.rpartition("/")[2]: (elf.soname, elf.dt_rpath, elf.dt_runpath, elf.needed[0], elf.relr)
        for name, elf in elfs.items()
    }
    libc = found[leaf][3]
    assert libc.startswith("libc.musl-")
    assert found == {
        "_ext.abi3.so": (None, "$ORIGIN/../demo.libs", None, mid, False),
        "demo-tool": (None, "$ORIGIN", None, mid, False),
        mid: (mid, "$ORIGIN", None, leaf, False),
        leaf: (leaf, None, None, libc, False),
    }


def test_a_second_run_writes_the_same_bytes(repaired: Path, patchelf: Patchelf | None, tmp_path: Path) -> None:
    architecture = architecture_of(repaired)
    again = repair(demo(architecture), tmp_path / "again", architecture, program=patchelf, jobs=7)
    assert again.read_bytes() == repaired.read_bytes()


def test_repairing_the_repaired_wheel_changes_nothing(repaired: Path, tmp_path: Path) -> None:
    again = repair(repaired, tmp_path / "again", architecture_of(repaired))
    assert again.name == repaired.name
    assert again.read_bytes() == repaired.read_bytes()


@pytest.mark.network
def test_a_file_that_patchelf_cannot_edit_is_an_error_with_names_and_no_wheel(
    built_patchelf: Patchelf, tmp_path: Path
) -> None:
    with pytest.raises(PatchError, match=r"demo/_ext\.abi3\.so: patchelf 0\.11\.\d+ \(/.*/patchelf\).* failed: "):
        repair(demo("s390x"), tmp_path / "out", "s390x", program=built_patchelf)
    assert list((tmp_path / "out").iterdir()) == []


# It runs


@pytest.fixture
def installed(patchelf: Patchelf | None, tmp_path: Path) -> Path:
    """Return a folder with the repaired demo wheel of x86_64 installed: site and bin."""
    if not LOADER.exists() or os.uname().machine != "x86_64":
        pytest.skip("no musl for x86_64 on this machine (Debian: apt-get install musl)")
    wheel = repair(DEMO_WHEEL, tmp_path / "out", program=patchelf)
    scheme = {"purelib": "site", "platlib": "site", "scripts": "bin", "data": "data", "headers": "include"}
    paths = {name: str(tmp_path / "installed" / folder) for name, folder in scheme.items()}
    with WheelFile.open(wheel) as source:
        install(source, SchemeDictionaryDestination(paths, sys.executable, "posix"), {})
    return tmp_path / "installed"


def test_moved_program_runs_through_the_script_in_its_place(installed: Path) -> None:
    command = installed / "bin" / "demo-tool"
    assert command.read_bytes().startswith(b"#!" + sys.executable.encode())
    environment = {"PYTHONPATH": str(installed / "site")}
    done = subprocess.run([command], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "42\n", "")


def test_musl_loads_the_extension_and_its_libraries(installed: Path) -> None:
    extension = next((installed / "site" / "demo").glob("_ext*.so"))
    done = subprocess.run([LOADER, "--list", extension], capture_output=True, text=True, check=False)
    found = [line.split()[0] for line in done.stdout.splitlines() if "/demo.libs/" in line]
    assert [name.partition("-")[0] for name in found] == ["libmid", "libleaf"]
    # No Python is running, so its own functions are missing, and nothing else.
    assert all(name.startswith("Py") for name in re.findall(r": (\w+): symbol not found", done.stderr))
    assert "Error loading" not in done.stderr


# Known failures of others


def plain_libc(folder: Path) -> Path:
    """Return a wheel with an extension that needs libc.so, as upstream musl and zig call it."""
    extension = (TESTDATA / "x86_64" / "_ext.so").read_bytes()
    return write_wheel(folder, {"plain/_ext.so": extension}, "plain-1.0-cp310-abi3-linux_x86_64.whl")


def test_extension_that_needs_plain_libc_so(tmp_path: Path) -> None:
    output = repair(plain_libc(tmp_path), tmp_path / "out")
    extension = read_elf(contents(output)["plain/_ext.so"])
    assert extension.needed[1:] == ("libc.so",)
    assert extension.needed[0].startswith("libmid-")


@pytest.mark.parametrize("name", ["libc.so", "libc.so.6", "libm.so.6", "libc.musl-x86_64.so.1", "ld-musl-x86_64.so.1"])
def test_musl_is_never_vendored_though_ldpaths_offers_it(tmp_path: Path, name: str) -> None:
    offered = tmp_path / "offered"
    offered.mkdir()
    shutil.copy2(SYSROOTS / "x86_64" / "lib" / "ld-musl-x86_64.so.1", offered / name)
    options = Options(library_path=(Sysroot(SYSROOTS / "x86_64").locate(offered),))
    output = repair(plain_libc(tmp_path), tmp_path / "out", options=options)
    assert output.read_bytes() == repair(plain_libc(tmp_path), tmp_path / "plain").read_bytes()


def test_wheel_with_relr_that_is_tagged_already_is_lowered_in_place(tmp_path: Path) -> None:
    library = (TESTDATA / "x86_64" / "libonlyrelr.so.1").read_bytes()
    filename = "tagged-1.0-cp310-abi3-musllinux_1_2_x86_64.whl"
    wheel = write_wheel(tmp_path, {"tagged/libonlyrelr.so.1": library}, filename)
    output = repair(wheel, tmp_path / "out")
    assert output.name == filename
    before, after = read_elf(library), read_elf(contents(output)["tagged/libonlyrelr.so.1"])
    assert (before.relr, after.relr) == (True, False)


def test_signatures_are_dropped_and_build_tag_and_record_order_kept(tmp_path: Path) -> None:
    filename = DEMO.replace("-cp310", "-7local-cp310")
    folder = "demo-1.0.dist-info"
    files = contents(DEMO_WHEEL)
    code = {name: content for name, content in files.items() if not name.startswith(folder)}
    signed = wheel_members({**code, f"{folder}/WHEEL": files[f"{folder}/WHEEL"]}, filename)
    signed |= {f"{folder}/RECORD.jws": b"{}", f"{folder}/RECORD.p7s": b""}
    wheel = tmp_path / filename
    wheel.write_bytes(zip_bytes(signed))
    output = repair(wheel, tmp_path / "out")
    assert output.name == "demo-1.0-7local-cp310-abi3-musllinux_1_2_x86_64.whl"
    assert not [name for name in contents(output) if "RECORD." in name]
    with WheelFile.open(output) as source:
        source.validate_record()


# Refused: nothing new in the output folder


def fake_patchelf(folder: Path, script: str) -> Patchelf:
    """Return a program that says it is patchelf 0.18.0 and otherwise does what the script does."""
    path = folder / "patchelf"
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && {{ echo "patchelf 0.18.0"; exit 0; }}\n{script}\n')
    path.chmod(0o755)
    return find_patchelf(path, [], None)


LAST = "for file; do :; done; "


@pytest.mark.parametrize(
    ("script", "message"),
    [
        pytest.param("echo no >&2; exit 1", "failed: no", id="it fails"),
        pytest.param("kill -9 $$", "failed: exit status -9", id="it is killed"),
        pytest.param("exit 0", "in another way than planned", id="it does nothing"),
        pytest.param(f'{LAST} : > "$file"', "left a broken file", id="it leaves an empty file"),
        pytest.param(
            f'{LAST} start=$(head -c 900 "$file" | base64); echo "$start" | base64 -d > "$file"',
            "left a broken file",
            id="it cuts",
        ),
    ],
)
def test_patchelf_that_fails_or_harms(tmp_path: Path, script: str, message: str) -> None:
    program = fake_patchelf(tmp_path, script)
    with pytest.raises(PatchError) as caught:
        repair(DEMO_WHEEL, tmp_path / "out", program=program)
    assert re.match(rf"demo/_ext\.abi3\.so: patchelf 0\.18\.0 \({re.escape(str(program.path))}\)", str(caught.value))
    assert message in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def glibc_extension(folder: Path) -> bytes:
    """Compile an extension against this machine's glibc."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed")
    source, library = folder / "ext.c", folder / "ext.so"
    source.write_text("#include <gnu/libc-version.h>\nconst char *f(void) { return gnu_get_libc_version(); }\n")
    done = subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("gcc has no glibc to compile against")
    return library.read_bytes()


def wheel_of(case: str, folder: Path) -> tuple[Path, Path]:
    """Return a wheel that is refused, and the sysroot that it is refused with."""
    root = SYSROOTS / "x86_64"
    if case == "missing":
        bare = folder / "bare"
        shutil.copytree(root / "lib", bare / "lib", symlinks=True)
        return DEMO_WHEEL, bare
    if case == "architecture":
        return demo("riscv64"), root
    if case == "no musl":
        (folder / "empty").mkdir()
        return DEMO_WHEEL, folder / "empty"
    if case == "pure":
        return write_wheel(folder, {"pure.py": b""}, "pure-1.0-py3-none-any.whl"), root
    if case == "not a wheel":
        path = folder / DEMO
        path.write_bytes(b"not a zip")
        return path, root
    return write_wheel(folder, {"g/_ext.so": glibc_extension(folder)}, "g-1.0-cp310-abi3-linux_x86_64.whl"), root


@pytest.mark.parametrize(
    ("case", "error", "code"),
    [
        ("missing", RefusedError, "library-not-found"),
        ("architecture", RefusedError, "wrong-architecture"),
        ("no musl", RefusedError, "sysroot-without-musl"),
        ("glibc", RefusedError, "glibc"),
        ("pure", WheelError, None),
        ("not a wheel", MuslRepairError, None),
    ],
)
@pytest.mark.parametrize("existing", [True, False], ids=["into a folder", "into no folder yet"])
def test_refused_wheel_leaves_the_output_folder_as_it_is(
    tmp_path: Path, case: str, error: type[MuslRepairError], code: str | None, existing: bool
) -> None:
    out = tmp_path / "out"
    if existing:
        out.mkdir()
        (out / "keep").touch()
    wheel, root = wheel_of(case, tmp_path)
    with pytest.raises(error) as caught:
        repair(wheel, out, root)
    if isinstance(caught.value, RefusedError):
        assert any(str(code) in found.code for found in caught.value.findings)
    assert out.exists() == existing
    assert not existing or [path.name for path in out.iterdir()] == ["keep"]


def test_all_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    _, bare = wheel_of("missing", tmp_path)
    plan = plan_wheel(DEMO_WHEEL, Sysroot(bare), Options())
    missing = [found for found in plan.findings if found.code == "library-not-found"]
    assert [found.subject for found in missing] == ["libmid.so.2"]
    assert "demo/_ext.abi3.so" in missing[0].detail
    assert "demo.libs/demo-tool" in missing[0].detail


def test_the_input_is_never_overwritten(tmp_path: Path) -> None:
    library = (TESTDATA / "x86_64" / "libonlyrelr.so.1").read_bytes()
    filename = "tagged-1.0-cp310-abi3-musllinux_1_2_x86_64.whl"
    wheel = write_wheel(tmp_path, {"tagged/libonlyrelr.so.1": library}, filename)
    before = wheel.read_bytes()
    with pytest.raises(OutputError, match="--wheel-dir"):
        repair(wheel, tmp_path)
    assert wheel.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [filename]


def test_output_that_is_there_is_replaced_whole(tmp_path: Path) -> None:
    output = tmp_path / "demo-1.0-cp310-abi3-musllinux_1_2_x86_64.whl"
    output.write_bytes(b"an older one")
    assert repair(DEMO_WHEEL, tmp_path) == output
    assert zipfile.is_zipfile(output)
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


def test_failing_write_leaves_the_old_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "demo-1.0-cp310-abi3-musllinux_1_2_x86_64.whl"
    output.write_bytes(b"an older one")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with contextlib.suppress(OutputError):
        repair(DEMO_WHEEL, tmp_path)
    assert output.read_bytes() == b"an older one"
    assert [path.name for path in tmp_path.iterdir()] == [output.name]
