"""musl loads a vendored library once whose copies `musl-repair size --link` has made hard links of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from alpine.root import Alpine, done
from builders import TESTDATA, wheel_members
from musl_repair.linking import link_variants
from musl_repair.sizes import identical, measure
from musl_repair.vendored import read_site_packages

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.alpine

_LIBRARY = "libleaf-0cd532bd.so.1"
_LOADED = """
import ctypes, sys
opened = [ctypes.CDLL(name) for name in sys.argv[1:]]
lines = [line.split(None, 5) for line in open("/proc/self/maps")]
print(sum(line[2] == "00000000" and "libleaf" in line[-1] for line in lines))
"""


def install(site: Path, name: str) -> Path:
    """Install a project with a vendored library; return that."""
    content = (TESTDATA / "x86_64" / "libleaf.so.1").read_bytes()
    members = wheel_members({f"{name}.libs/{_LIBRARY}": content}, f"{name}-1.0-py3-none-any.whl")
    for member, data in members.items():
        (site / member).parent.mkdir(parents=True, exist_ok=True)
        (site / member).write_bytes(data)
    return site / f"{name}.libs" / _LIBRARY


def test_musl_loads_linked_copies_once(alpine: Alpine) -> None:
    site = alpine.work / "linking"
    names = [alpine.inside(install(site, name)) for name in ("alpha", "beta")]

    def loaded() -> str:
        return done(alpine.run("python", "-c", _LOADED, *names)).strip()

    assert loaded() == "2"
    assert len(link_variants(identical(measure(read_site_packages(site)))).files) == 1
    assert loaded() == "1"
