"""No false alarm: wheels that others published and people import have names and suffixes that their Pythons know.

published.txt lists those that were looked at. They are too many to download for every run: the folders that
MUSL_REPAIR_WHEELS names are looked through, whichever wheels are there.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from musl_repair.python.promise import promise_of
from musl_repair.repair import check_wheel
from musl_repair.wheel import parse_name

LIST = Path(__file__).with_name("published.txt")
FOLDERS = os.environ.get("MUSL_REPAIR_WHEELS", "")
WHEELS = sorted(
    path for folder in filter(None, FOLDERS.split(os.pathsep)) for path in Path(folder).glob("*musllinux*.whl")
)


@pytest.mark.skipif(not WHEELS, reason="MUSL_REPAIR_WHEELS names no folder of published wheels")
@pytest.mark.parametrize("wheel", WHEELS, ids=lambda path: path.name)
def test_nothing_is_found(wheel: Path) -> None:
    found = check_wheel(wheel).findings
    assert [one for one in found if one.code in ("extension-suffix", "outside-stable-abi", "python-not-judged")] == []
    assert [one for one in found if one.code == "symbol-not-found" and one.subject.startswith(("Py", "_Py"))] == []


def test_the_list_has_every_kind() -> None:
    names = [parse_name(line) for line in LIST.read_text("utf-8").splitlines() if not line.startswith("#")]
    assert len(names) == len(set(names)) > 150
    kinds = Counter(one.kind for name in names for one in promise_of(name.python, name.abi).admissions)
    assert min(kinds.values()) > 30
    exact = {
        one for name in names if name.abi.startswith("cp") for one in promise_of(name.python, name.abi).interpreters
    }
    assert {str(one).removeprefix("CPython ") for one in exact} >= {f"3.{minor}" for minor in range(6, 16)}
    assert len({name.platform.rpartition("musllinux_")[2].split("_", 2)[2] for name in names}) >= 7
