"""Laws that hold for every wheel, archive and ELF file, tried on ones that Hypothesis makes up."""

from __future__ import annotations

import struct
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from builders import DEMO, SYSROOTS, ElfFile, write_wheel
from musl_repair import Options, Sysroot, Tools, check_wheel, repair_wheel
from musl_repair.archive import Archive
from musl_repair.elf import read_elf
from musl_repair.elfimage import read_image
from musl_repair.errors import ArchiveError, ElfError, PatchError
from musl_repair.findings import errors_in
from musl_repair.patches import Patch
from musl_repair.relr import has_relr, relr_addresses
from musl_repair.rewrite import rewrite
from musl_repair.sections import Opened
from musl_repair.unharmed import differences
from proving import lower_relr, prove
from strategies import archives, changed, elf_files, real_libraries, relr_files, wheel_files

if TYPE_CHECKING:
    from collections.abc import Mapping

QUICK = settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
SLOW = settings(deadline=None, max_examples=20, suppress_health_check=list(HealthCheck))


def repaired(wheel: Path, folder: Path, *, jobs: int = 2) -> Path:
    """Repair a wheel against the demo sysroot."""
    output = repair_wheel(wheel, folder, Sysroot(SYSROOTS / "x86_64"), Options(), Tools(jobs=jobs)).output
    assert output is not None
    return output


def stored(wheel: Path) -> dict[str, tuple[object, ...]]:
    """Return name → all that is in the archive of a member, the compressed bytes as they are."""
    data = wheel.read_bytes()
    found: dict[str, tuple[object, ...]] = {}
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            sizes = struct.unpack_from("<HH", data, info.header_offset + 26)
            start = info.header_offset + 30 + sum(sizes)
            content = data[start : start + info.compress_size]
            found[info.filename] = (info.external_attr, info.compress_type, info.date_time, info.CRC, content)
    return found


@SLOW
@given(files=wheel_files())
def test_a_repaired_wheel_is_closed_and_the_same_again_and_leaves_alone_what_it_need_not_change(
    files: Mapping[str, bytes],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = write_wheel(folder, files, DEMO)
        before = wheel.read_bytes()
        output = repaired(wheel, folder / "a")
        assert errors_in(check_wheel(output).findings) == ()
        assert repaired(wheel, folder / "b", jobs=1).read_bytes() == output.read_bytes()
        assert repaired(output, folder / "c").read_bytes() == output.read_bytes()
        assert wheel.read_bytes() == before
        assert_untouched(wheel, output)


def assert_untouched(wheel: Path, output: Path) -> None:
    """See that every member that is no ELF file and not about the wheel itself has the same bytes, compressed."""
    old, new = stored(wheel), stored(output)
    with zipfile.ZipFile(wheel) as archive:
        elfs = {name for name in old if archive.read(name)[:4] == b"\x7fELF"}
    about = {"demo-1.0.dist-info/WHEEL", "demo-1.0.dist-info/RECORD"}
    untouched = old.keys() - elfs - about
    assert {name: new[name] for name in untouched} == {name: old[name] for name in untouched}


# ELF files


@QUICK
@given(file=elf_files())
def test_a_sound_elf_file_says_what_it_was_built_from(file: ElfFile) -> None:
    elf = read_elf(file.build())
    assert (elf.machine, elf.bits, elf.little) == (file.machine, file.bits, file.little)
    assert elf.needed == tuple(text for tag, text in file.named if tag == 1)
    assert elf.soname == next((text for tag, text in file.named if tag == 14), None)
    assert set(elf.exports) <= {symbol.name for symbol in file.symbols if symbol.section}
    assert {name for name, _ in elf.imports} <= {symbol.name for symbol in file.symbols}


@QUICK
@given(file=elf_files())
def test_a_sound_elf_file_is_not_different_from_itself(file: ElfFile) -> None:
    data = file.build()
    assert list(differences(Opened(data), Opened(data), lowered=False, page_size=0x1000)) == []


@QUICK
@given(data=st.one_of(relr_files(), real_libraries()))
def test_lowering_twice_is_lowering_once_and_loses_nothing(data: bytes) -> None:
    try:
        lowered = lower_relr(data)
    except ElfError:
        return
    assert lower_relr(lowered) == lowered
    assert not has_relr(read_image(lowered))
    before = read_elf(data)
    prove(before, data, lowered, Patch("file", lower_relr=before.relr), page_size=0x1000, editor="lowering")


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@QUICK
@given(data=st.one_of(real_libraries(), elf_files().map(ElfFile.build)), draw=st.data())
def test_any_edit_of_a_sound_file_is_made_and_nothing_else(data: bytes, draw: st.DataObject) -> None:
    """The proof compares all that a loader sees with what was planned, and with the file as it was."""
    before = read_elf(data)
    assume(before.dynamic)
    needed = st.lists(st.sampled_from(before.needed), unique=True) if before.needed else st.just([])
    renames = tuple((name, draw.draw(NAMES)) for name in sorted(draw.draw(needed)))
    dropped, added = (tuple(sorted(draw.draw(names))) for names in (needed, st.lists(NAMES, unique=True, max_size=9)))
    soname, rpath = draw.draw(st.none() | NAMES), draw.draw(st.none() | st.just("") | NAMES)
    patch = Patch("file", soname, rpath, renames, dropped, added)
    prove(before, data, rewrite(data, patch), patch, page_size=0x1000, editor="own")


@QUICK
@given(data=changed(st.one_of(real_libraries(), relr_files(), elf_files().map(ElfFile.build))))
def test_any_bytes_are_edited_and_proved_or_refused(data: bytes) -> None:
    try:
        before = read_elf(data)
        patch = Patch("file", "libnew.so.1", "$ORIGIN", (("libc.so", "libb.so"),), (), ("liba.so",), before.relr)
        prove(before, data, rewrite(data, patch), patch, page_size=0x1000, editor="own")
    except (ElfError, PatchError):
        return


@QUICK
@given(data=changed(st.one_of(real_libraries(), relr_files(), elf_files().map(ElfFile.build))))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        elf = read_elf(data)
        relr_addresses(read_image(data))
        lowered = lower_relr(data)
    except ElfError:
        return
    assert elf.bits in (32, 64)
    assert len(lowered) >= len(data)


@QUICK
@given(data=st.data(), source=real_libraries())
def test_any_harm_is_found_or_harmless(data: st.DataObject, source: bytes) -> None:
    """Whatever is accepted gives a loader the same: its own facts, and the bytes that are mapped."""
    content = data.draw(changed(st.just(source)))
    before = read_elf(source)
    try:
        after = prove(before, source, content, Patch("file"), page_size=0x1000, editor="chance")
    except PatchError:
        return
    assert after == before


# Archives


@QUICK
@given(data=st.one_of(archives(), changed(archives())))
def test_any_archive_is_read_or_refused(data: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".zip") as file:
        file.write(data)
        file.flush()
        try:
            with Archive(Path(file.name)) as archive:
                contents = {name: archive.read(name) for name in archive.members}
                assert {name: b"".join(map(bytes, archive.chunks(name))) for name in contents} == contents
                assert all(archive.head(name, 4) == content[:4] for name, content in contents.items())
        except ArchiveError:
            return
        with zipfile.ZipFile(file.name) as other:
            assert {info.filename: other.read(info) for info in other.infolist()} == contents
