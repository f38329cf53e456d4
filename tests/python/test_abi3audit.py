"""Names outside the stable ABI: what `abi3audit` says of the same wheels, all names under every version's tag."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from builders import ElfFile, Symbol, write_wheel
from musl_repair.python.names import _names, known_minors
from musl_repair.repair import check_wheel

if TYPE_CHECKING:
    from pathlib import Path

R_X86_64_64 = 1
AT_ONCE = 8
"""As many names as a finding lists."""
NAMES = re.compile(r"\b_?Py\w+")


@pytest.mark.abi3audit
@pytest.mark.parametrize("minor", known_minors()[::3])
def test_the_same_names_are_outside_the_stable_abi(tmp_path: Path, minor: int) -> None:
    """All names that any CPython exports, but those of modules, which abi3audit passes over."""
    names = sorted(name for name in _names().exporters if name[:2] in ("Py", "_P") and not name.startswith("PyInit_"))
    files = {f"p/_{at}.abi3.so": _module(names[at : at + AT_ONCE]) for at in range(0, len(names), AT_ONCE)}
    wheel = write_wheel(tmp_path, files, f"p-1.0-cp3{minor}-abi3-musllinux_1_2_x86_64.whl")
    found = check_wheel(wheel).findings
    ours = {one.subject for one in found if one.code == "symbol-not-found"}
    ours |= {name for one in found if one.code == "outside-stable-abi" for name in NAMES.findall(one.detail)}
    theirs = _audited(wheel, tmp_path / "report.json")
    assert len(theirs) > 500
    assert theirs - ours == set()
    # Names of the stable ABI that a version does not export (on Linux, or at all) are in it for abi3audit.
    assert ours - theirs <= {"PyCFunction_New", "PyThread_get_thread_native_id", "_Py_NegativeRefcount", "_Py_RefTotal"}


def _module(names: list[str]) -> bytes:
    relocations = tuple((number, R_X86_64_64) for number, _ in enumerate(names, 1))
    return ElfFile(symbols=tuple(Symbol(name, section=0) for name in names), relocations=relocations).build()


def _audited(wheel: Path, report: Path) -> set[str]:
    """Return the names that abi3audit finds fault with."""
    command = [sys.executable, "-m", "abi3audit", "--report", "--output", str(report), str(wheel)]
    subprocess.run(command, capture_output=True, check=False)
    (spec,) = json.loads(report.read_text("utf-8"))["specs"].values()
    results = [one["result"] for one in spec["wheel"]]
    return {name for one in results for name in (*one["non_abi3_symbols"], *one["future_abi3_objects"])}
