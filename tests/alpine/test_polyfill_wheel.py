"""Wheels with polyfills under real musls: one that lacks the functions, and one that has them."""

from __future__ import annotations

import signal
import zipfile
from typing import TYPE_CHECKING

import pytest

from alpine.root import OLD_LOADER, Alpine, done, musl_repair, portable_python
from builders import TESTDATA
from published import download

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.alpine

# Every extension is opened as Python's import opens it: all symbols are bound at once.
_OPEN_ALL = """
import ctypes, pathlib, sys
files = sorted(pathlib.Path(sys.argv[1]).rglob("*.so"))
for file in files:
    if ".libs" not in str(file.parent):
        ctypes.CDLL(str(file))
print(sum(".libs" not in str(file.parent) for file in files))
"""
# Which file the name is bound to, seen by the address that a lookup in the extension's own scope gives.
_BOUND_TO = """
import ctypes, sys
class Info(ctypes.Structure):
    _fields_ = [("fname", ctypes.c_char_p), ("fbase", ctypes.c_void_p)]
    _fields_ += [("sname", ctypes.c_char_p), ("saddr", ctypes.c_void_p)]
library, name = ctypes.CDLL(sys.argv[1]), sys.argv[2]
address, info = ctypes.cast(getattr(library, name), ctypes.c_void_p), Info()
ctypes.CDLL(None).dladdr(address, ctypes.byref(info))
print(info.fname.decode().rpartition("/")[2])
"""


def unpacked(wheel: Path, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_wheel_that_uses_statx_loads_where_musl_has_none_and_uses_musls_own_where_it_has(
    alpine: Alpine, tmp_path: Path
) -> None:
    case = next((TESTDATA / "cases").glob("statx-*.whl"))
    done(musl_repair("-w", tmp_path / "out", "--sysroot", alpine.root, "--polyfill", case))
    before, after = unpacked(case, tmp_path / "before"), unpacked(tmp_path / "out" / case.name, tmp_path / "after")
    new_loader = alpine.root / "lib" / "ld-musl-x86_64.so.1"
    refused = portable_python(alpine, OLD_LOADER, _OPEN_ALL, before)
    assert "statx: symbol not found" in refused.stderr
    assert done(portable_python(alpine, OLD_LOADER, _OPEN_ALL, after)) == "1\n"
    assert done(portable_python(alpine, new_loader, _OPEN_ALL, after)) == "1\n"
    (copy,) = (path for path in after.rglob("libpolyfill-statx-*.so"))
    assert done(portable_python(alpine, OLD_LOADER, _BOUND_TO, copy, "statx")).strip() == copy.name


@pytest.mark.network
def test_published_h5py_keeps_its_promise_with_polyfills(alpine: Alpine, tmp_path: Path) -> None:
    wheel = download(tmp_path / "published", ["h5py"])["h5py"]
    done(musl_repair("-w", tmp_path / "out", "--sysroot", alpine.root, "--polyfill", wheel))
    done(musl_repair("check", "--strict", tmp_path / "out" / wheel.name))
    site = unpacked(tmp_path / "out" / wheel.name, tmp_path / "site")
    for loader in (OLD_LOADER, alpine.root / "lib" / "ld-musl-x86_64.so.1"):
        opened = portable_python(alpine, loader, _OPEN_ALL, site)
        assert opened.returncode != -signal.SIGSEGV
        assert int(done(opened)) > 10
