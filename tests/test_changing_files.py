"""Files that change while a wheel is repaired: what is written is what was judged, or nothing is."""

from __future__ import annotations

import os
import random
import shutil
import zipfile
from typing import TYPE_CHECKING, Final

import pytest

import musl_repair.repair
from builders import DEMO, DEMO_WHEEL, SYSROOTS, TESTDATA, write_wheel
from musl_repair import MuslRepairError, Options, Sysroot, Tools, repair_wheel
from musl_repair.plan import make_plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from musl_repair.facts import Facts
    from musl_repair.plan import Plan
    from musl_repair.target import Target

EXT: Final = (TESTDATA / "x86_64" / "_ext.so").read_bytes()
LARGE: Final = random.Random(7).randbytes(1 << 20)  # noqa: S311 - what deflate cannot make smaller
SMALL: Final = b"answer = 42\n" * 40
CLOSED: Final = DEMO.replace("linux", "musllinux_1_2")
"""The name of a wheel that is right as it is, if it has no ELF file that needs a library."""


@pytest.fixture
def sysroot(tmp_path: Path) -> Path:
    """Return a system of its own, with a licence text."""
    root = tmp_path / "root"
    shutil.copytree(SYSROOTS / "x86_64", root, symlinks=True)
    folder = root / "usr" / "share" / "licenses" / "leaf"
    folder.mkdir(parents=True)
    (folder / "COPYING").write_text("Do what you like.\n")
    return root


@pytest.fixture
def repair_while(tmp_path: Path, sysroot: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that repairs a wheel, and does something when all is planned and nothing is written."""

    def repair(wheel: Path, change: Callable[[], None], options: Options | None = None) -> Path:
        def plan_and_change(facts: Facts, target: Target, chosen: Options) -> Plan:
            plan = make_plan(facts, target, chosen)
            change()
            return plan

        monkeypatch.setattr(musl_repair.repair, "make_plan", plan_and_change)
        output = repair_wheel(wheel, tmp_path / "out", Sysroot(sysroot), options or Options(), Tools()).output
        assert output is not None
        return output

    return repair


def assert_refused(folder: Path, call: Callable[[], object], *words: str) -> None:
    """Assert that something fails with these words, and leaves nothing."""
    with pytest.raises(MuslRepairError) as caught:
        call()
    assert [word for word in words if word not in str(caught.value)] == []
    assert not folder.exists() or list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["lib/libleaf.so.1.0.0", "usr/lib/libmid.so.2.1.0", "usr/share/licenses/leaf/COPYING"])
@pytest.mark.parametrize("how", ["another", "gone"])
def test_a_file_of_the_sysroot(
    tmp_path: Path, sysroot: Path, repair_while: Callable[..., Path], name: str, how: str
) -> None:
    file = sysroot / name

    def change() -> None:
        content = file.read_bytes()
        file.unlink()
        if how == "another":
            file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    assert_refused(tmp_path / "out", lambda: repair_while(DEMO_WHEEL, change), f"/{name}", str(sysroot))


def offset(wheel: Path, member: str) -> int:
    """Return where a member's bytes begin, about: behind its header."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.getinfo(member).header_offset + 30 + len(member)


def overwrite(wheel: Path, member: str) -> None:
    """Change a few bytes of a member, as somebody does who writes the file again, and set its time back."""
    before = wheel.stat()
    with wheel.open("r+b") as file:
        file.seek(offset(wheel, member) + 8)
        file.write(b"\xa5\x5a\xa5")
    os.utime(wheel, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("member", ["demo/large.bin", "demo/small.py", "demo/_ext.abi3.so"])
def test_an_input_that_is_overwritten_in_place(tmp_path: Path, repair_while: Callable[..., Path], member: str) -> None:
    files = {"demo/_ext.abi3.so": EXT, "demo/large.bin": LARGE, "demo/small.py": SMALL}
    wheel = write_wheel(tmp_path, files)
    change: Callable[[], None] = lambda: overwrite(wheel, member)  # noqa: E731 - a name for a parameter
    assert_refused(tmp_path / "out", lambda: repair_while(wheel, change), str(wheel), member)


@pytest.mark.parametrize("member", ["demo/large.bin", "demo/small.py"])
def test_an_input_whose_record_is_not_verified_and_that_is_overwritten_in_place(
    tmp_path: Path, repair_while: Callable[..., Path], member: str
) -> None:
    files = {"demo/_ext.abi3.so": EXT, "demo/large.bin": LARGE, "demo/small.py": SMALL}
    wheel = write_wheel(tmp_path, files)
    options = Options(verify_input=False)
    assert_refused(tmp_path / "out", lambda: repair_while(wheel, lambda: overwrite(wheel, member), options), str(wheel))


def test_an_input_that_is_right_as_it_is_and_is_overwritten_in_place(
    tmp_path: Path, repair_while: Callable[..., Path]
) -> None:
    wheel = write_wheel(
        tmp_path, {"demo/_x.so": (TESTDATA / "x86_64/libleaf.so.1").read_bytes(), "demo/l": LARGE}, CLOSED
    )
    assert_refused(tmp_path / "out", lambda: repair_while(wheel, lambda: overwrite(wheel, "demo/l")), str(wheel))


def test_an_input_that_another_wheel_is_written_over(tmp_path: Path, repair_while: Callable[..., Path]) -> None:
    wheel = write_wheel(tmp_path, {"demo/_ext.abi3.so": EXT, "demo/large.bin": LARGE})
    (tmp_path / "other").mkdir()
    other = write_wheel(tmp_path / "other", {"demo/_ext.abi3.so": EXT, "demo/zzz.bin": LARGE[::-1]})
    assert_refused(
        tmp_path / "out", lambda: repair_while(wheel, lambda: wheel.write_bytes(other.read_bytes())), str(wheel)
    )


@pytest.mark.parametrize("how", ["replaced", "removed", "touched", "another mode", "a second name"])
def test_what_leaves_the_bytes_of_the_input_alone_does_no_harm(
    tmp_path: Path, repair_while: Callable[..., Path], how: str
) -> None:
    wheel = write_wheel(tmp_path, {"demo/_ext.abi3.so": EXT, "demo/large.bin": LARGE})

    def change() -> None:
        if how == "replaced":
            (tmp_path / "new").write_bytes(b"no wheel")
            (tmp_path / "new").replace(wheel)
        elif how == "removed":
            wheel.unlink()
        elif how == "touched":
            os.utime(wheel)
        elif how == "another mode":
            wheel.chmod(0o600)
        else:
            os.link(wheel, tmp_path / "second.whl")

    output = repair_while(wheel, change)
    with zipfile.ZipFile(output) as archive:
        assert archive.testzip() is None
        assert archive.read("demo/large.bin") == LARGE
