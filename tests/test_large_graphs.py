"""Wheels with no end of folders, needs and libraries: every command is done within two seconds and 200 MB."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from builders import DEMO, SYSROOTS, ElfFile, write_wheel
from process import environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.process

_SECONDS: Final = 2.0
"""Of the processor."""
_MEMORY: Final = 200 << 10
"""KiB, resident."""
_MEASURED: Final = """
import re, sys, time
from pathlib import Path
report = Path(sys.argv.pop(1))
from musl_repair.__main__ import main
try:
    main()
finally:
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
    report.write_text(f"{time.process_time()} {peak[1]}")
"""
"""Runs the program, and writes down what it took; what its parent passes on to a process counts for getrusage(2)."""
_COMMANDS: Final = (["check"], ["show"], ["lddtree"], ["repair"], ["repair", "--dry-run"])


def module(*needed: str, rpath: str = "") -> bytes:
    """Build a library with these needs."""
    named = [(1, name) for name in needed]
    return ElfFile(named=tuple([*named, (15, rpath)] if rpath else named)).build()


def rpath_of_absent_folders() -> Mapping[str, bytes]:
    """Return a file that looks for 500 libraries in 5,000 folders, and finds none."""
    entries = ":".join(f"$ORIGIN/{at}:/opt/{at}" for at in range(2500))
    return {"demo/_ext.so": module(*(f"lib{at}.so" for at in range(500)), rpath=entries)}


def rpath_of_ways_to_one_folder() -> Mapping[str, bytes]:
    """Return the same, of folders that are all the same one."""
    entries = ":".join(f"$ORIGIN/{at}/.." for at in range(5000))
    return {"demo/_ext.so": module(*(f"lib{at}.so" for at in range(500)), rpath=entries)}


def chain() -> Mapping[str, bytes]:
    """Return 1,500 libraries of which each needs the next."""
    files = {f"demo.libs/lib{at}.so": module(f"lib{at + 1}.so", rpath="$ORIGIN") for at in range(1500)}
    return {**files, "demo.libs/lib1500.so": module(), "demo/_ext.so": module("lib0.so", rpath="$ORIGIN/../demo.libs")}


def broken_chain() -> Mapping[str, bytes]:
    """Return the same, without the last one."""
    return {name: file for name, file in chain().items() if name != "demo.libs/lib1500.so"}


def deep_names() -> Mapping[str, bytes]:
    """Return files in 32,000 folders, one in the other."""
    return {**{f"demo/{at}/{'a/' * 32000}x": b"" for at in range(2)}, "demo/_ext.so": module()}


@pytest.mark.parametrize("command", _COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("make", "fails"),
    [
        (rpath_of_absent_folders, True),
        (rpath_of_ways_to_one_folder, True),
        (chain, False),
        (broken_chain, True),
        (deep_names, False),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_large_graph_is_judged_in_time(make: object, fails: bool, command: list[str], tmp_path: Path) -> None:
    assert callable(make)
    wheel = write_wheel(tmp_path, make(), DEMO.replace("linux", "musllinux_1_2"))
    options = [] if command[0] in ("check", "lddtree") else ["--sysroot", str(SYSROOTS / "x86_64")]
    options += ["-w", str(tmp_path / "out")] if command[0] == "repair" else []
    report = tmp_path / "report"
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(report), *command, *options, str(wheel)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=environment(),
    )
    assert "Traceback" not in done.stderr
    # show tells of what is missing, and is no judge.
    assert done.returncode == (1 if fails and command != ["show"] else 0), done.stderr[:2000]
    seconds, memory = report.read_text().split()
    assert float(seconds) < _SECONDS
    assert int(memory) < _MEMORY
