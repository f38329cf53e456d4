"""--strip: which program does it, that it comes before patching, and that what it leaves is proved."""

from __future__ import annotations

import shutil
import struct
import zipfile
from typing import TYPE_CHECKING

import pytest

from builders import ARCHITECTURES, DEMO_WHEEL, SYSROOTS, TESTDATA, write_wheel
from musl_repair.cli import main
from musl_repair.elf import read_elf
from musl_repair.errors import PatchError
from musl_repair.options import Options
from musl_repair.policy import ARCHITECTURES as KNOWN
from musl_repair.repair import Repaired, Tools, check_wheel, plan_wheel, repair_wheel
from musl_repair.strip import find_strip
from musl_repair.sysroot import Sysroot

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.patchelf

BY_NAME = {architecture.name: architecture for architecture in KNOWN}
DEBUG = b"what only a debugger reads" * 100
SYSROOT = SYSROOTS / "x86_64"


def with_debug_section(content: bytes) -> bytes:
    """Return an ELF file with one section more, .debug_info, that no segment holds."""
    wide, order = content[4] == 2, "<" if content[5] == 1 else ">"
    half = order + "HHH"
    at_shoff, at_counts = (40, 58) if wide else (32, 46)
    word, form = (order + "Q", order + "IIQQQQIIQQ") if wide else (order + "I", order + "IIIIIIIIII")
    (shoff,) = struct.unpack_from(word, content, at_shoff)
    size, count, names = struct.unpack_from(half, content, at_counts)
    headers = [list(struct.unpack_from(form, content, shoff + size * index)) for index in range(count)]
    old = content[headers[names][4] : headers[names][4] + headers[names][5]]
    strings = old + b".debug_info\0"
    out = bytearray(content + b"\0" * (-len(content) % 16))
    headers.append([len(old), 1, 0, 0, len(out), len(DEBUG), 0, 0, 1, 0])
    out += DEBUG
    headers[names][4:6] = [len(out), len(strings)]
    out += strings + b"\0" * (-len(out + strings) % 16)
    struct.pack_into(word, out, at_shoff, len(out))
    struct.pack_into(half, out, at_counts, size, count + 1, names)
    return bytes(out) + b"".join(struct.pack(form, *header) for header in headers)


def debug_wheel(folder: Path, architecture: str = "x86_64") -> Path:
    """Write a wheel whose extension module has a debug section."""
    extension = with_debug_section((TESTDATA / architecture / "_ext.so").read_bytes())
    files = {"demo/__init__.py": b"", "demo/_ext.abi3.so": extension}
    return write_wheel(folder, files, f"demo-1.0-cp310-abi3-linux_{architecture}.whl")


def repaired(wheel: Path, folder: Path, architecture: str = "x86_64", *, strip: bool = True) -> Repaired:
    return repair_wheel(wheel, folder, Sysroot(SYSROOTS / architecture), Options(strip=strip), Tools())


def elf_members(wheel: Path | None) -> dict[str, bytes]:
    assert wheel is not None
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    return {name: content for name, content in contents.items() if content.startswith(b"\x7fELF")}


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def program(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    return script(folder / name, "exit 0")


# The program


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_machines_own_strip_is_for_its_own_architecture_only(name: str, tmp_path: Path) -> None:
    own = program(tmp_path, "strip")
    assert find_strip(BY_NAME[name], str(tmp_path), machine=name).path == own
    with pytest.raises(PatchError):
        find_strip(BY_NAME[name], str(tmp_path), machine="another")


def test_llvms_comes_before_cross_binutils(tmp_path: Path) -> None:
    cross = program(tmp_path, "aarch64-linux-gnu-strip")
    assert find_strip(BY_NAME["aarch64"], str(tmp_path), machine="x86_64").path == cross
    llvm = program(tmp_path, "llvm-strip")
    assert find_strip(BY_NAME["aarch64"], str(tmp_path), machine="x86_64").path == llvm


def test_cross_binutils_for_musl_are_found_too(tmp_path: Path) -> None:
    program(tmp_path, "powerpc64le-linux-gnu-strip")
    musl = program(tmp_path, "powerpc64le-linux-musl-strip")
    assert find_strip(BY_NAME["ppc64le"], str(tmp_path), machine="x86_64").path == musl


def test_without_any_the_error_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(PatchError) as caught:
        find_strip(BY_NAME["s390x"], str(tmp_path), machine="x86_64")
    assert str(caught.value) == (
        "there is no strip for s390x: install llvm (llvm-strip) or binutils for s390x-linux-gnu, "
        "or repair without --strip"
    )


def test_without_any_the_command_fails_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    wheel = TESTDATA / "wheels" / "demo-1.0-cp310-abi3-linux_riscv64.whl"
    with pytest.raises(SystemExit) as stopped:
        main(["--strip", "-w", str(tmp_path / "out"), "--sysroot", str(SYSROOTS / "riscv64"), str(wheel)])
    assert stopped.value.code == 1
    assert "error: there is no strip for riscv64: install llvm" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*"))


# What it does


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_is_stripped_before_it_is_patched(architecture: str, tmp_path: Path) -> None:
    try:
        find_strip(BY_NAME[architecture])
    except PatchError as error:
        pytest.skip(str(error))
    wheel = debug_wheel(tmp_path, architecture)
    (tmp_path / "kept").mkdir()
    kept = elf_members(repaired(wheel, tmp_path / "kept", architecture, strip=False).output)
    found = repaired(wheel, tmp_path, architecture)
    files = elf_members(found.output)
    assert DEBUG in kept["demo/_ext.abi3.so"]
    assert not any(DEBUG in content for content in files.values())
    assert [patch.member for patch in found.plan.patches if patch.strip] == sorted(files)
    assert found.output is not None
    assert {finding.code for finding in check_wheel(found.output).findings} <= {"tag-not-on-pypi"}
    before, after = (read_elf(content["demo/_ext.abi3.so"]) for content in (kept, files))
    assert (after.exports, after.imports, after.relocation_types) == (
        before.exports,
        before.imports,
        before.relocation_types,
    )


def test_names_of_vendored_files_say_that_they_were_stripped() -> None:
    plain, stripped = (
        {graft.name for graft in plan_wheel(DEMO_WHEEL, Sysroot(SYSROOT), Options(strip=strip)).grafts}
        for strip in (False, True)
    )
    assert plain.isdisjoint(stripped)


def test_result_is_the_same_every_time(tmp_path: Path) -> None:
    wheel = debug_wheel(tmp_path)
    outputs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        output = repaired(wheel, tmp_path / name).output
        assert output is not None
        outputs.append(output.read_bytes())
    assert outputs[0] == outputs[1]


# What it may not do


def refused(wheel: Path, folder: Path, strip: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the words with which a repair with this strip is refused; nothing is written."""
    monkeypatch.setenv("PATH", str(strip.parent))
    tools = Tools(
        strip=lambda architecture: find_strip(architecture, str(strip.parent), machine=architecture.name),
    )
    with pytest.raises(PatchError) as caught:
        repair_wheel(wheel, folder, Sysroot(SYSROOT), Options(strip=True), tools)
    assert not list(folder.glob("*")) or not folder.exists()
    return str(caught.value)


def test_strip_that_fails_is_named_with_its_words_and_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    strip = script(tmp_path / "bin" / "strip", 'echo "strip: file format not recognized" >&2; exit 1')
    said = refused(DEMO_WHEEL, tmp_path / "out", strip, monkeypatch)
    assert said == f"demo/_ext.abi3.so: {strip} failed: strip: file format not recognized"


def test_strip_that_writes_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    strip = script(tmp_path / "bin" / "strip", "exit 0")
    assert "demo/_ext.abi3.so: " in refused(DEMO_WHEEL, tmp_path / "out", strip, monkeypatch)


def test_strip_that_changes_what_is_loaded_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The programme is handed `-s -o OUT IN`; this one gives another library."""
    (tmp_path / "bin").mkdir()
    copy, other = shutil.which("cp"), TESTDATA / "x86_64" / "libleaf.so.1"
    strip = script(tmp_path / "bin" / "strip", f'{copy} "{other}" "$3"')
    said = refused(DEMO_WHEEL, tmp_path / "out", strip, monkeypatch)
    assert said == f"demo/_ext.abi3.so: {strip} changed more than symbols and debug information"
