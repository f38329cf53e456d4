"""Coverage-guided fuzzing: `python tests/fuzz/targets.py NAME [libFuzzer's options] [CORPUS...]`; see README.md here.

Only errors of the package may come out of a target; anything else is a crash.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # what the tests share

with atheris.instrument_imports(include=["musl_repair"]):
    from musl_repair.archive import Archive
    from musl_repair.elf import read_elf
    from musl_repair.elfimage import read_image
    from musl_repair.errors import ArchiveError, ElfError, PatchError, WheelError
    from musl_repair.patches import Patch
    from musl_repair.relr import has_relr
    from musl_repair.rewrite import rewrite
    from musl_repair.wheel import read_wheel
    from proving import lower_relr, prove, put_right

if TYPE_CHECKING:
    from collections.abc import Callable

TESTDATA: Final = Path(__file__).resolve().parents[2] / "testdata"
SOURCE: Final = (TESTDATA / "x86_64" / "libleaf-relr.so.1").read_bytes()
DEMO: Final = "demo-1.0-cp310-abi3-linux_x86_64.whl"
_SHARED: Final = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())  # noqa: S108 - in memory
_FILE: Final = _SHARED / f"musl-repair-fuzz-{os.getpid()}.zip"


def elf(data: bytes) -> None:
    """Read any bytes as an ELF file."""
    try:
        read_elf(data)
    except ElfError:
        return


def relr(data: bytes) -> None:
    """Lower any bytes; what comes out is lowered, and lowering it again changes nothing."""
    try:
        lowered = lower_relr(data)
    except ElfError:
        return
    if has_relr(read_image(lowered)) or lower_relr(lowered) != lowered:
        raise AssertionError("lowered, and not lowered")


def edit(data: bytes) -> None:
    """Edit any bytes in every way at once: what comes out is proved, or the file was one that cannot be edited."""
    try:
        before = read_elf(data)
        patch = Patch(
            "file", "libnew.so.1", "$ORIGIN", (("libc.so", "libother.so"),), (), ("libadded.so",), before.relr
        )
        prove(before, data, rewrite(data, patch), patch, page_size=0x1000, editor="the fuzzer")
    except (ElfError, PatchError):
        return


def proof(data: bytes) -> None:
    """Take any bytes for the edited file: they are accepted only if a loader reads the same."""
    before = read_elf(SOURCE)
    try:
        after = prove(before, SOURCE, put_right(SOURCE, data), Patch("file"), page_size=0x1000, editor="chance")
    except (PatchError, ElfError):
        return
    if after != before:
        raise AssertionError("accepted, though changed")


def archive(data: bytes) -> None:
    """Read any bytes as an archive, and as a wheel."""
    _FILE.write_bytes(data)
    try:
        with Archive(_FILE) as opened:
            for name in opened.members:
                opened.head(name, 4)
                opened.read(name)
                for _ in opened.chunks(name):
                    pass
            read_wheel(DEMO, opened)
    except (ArchiveError, WheelError):
        return


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "elf": elf,
    "relr": relr,
    "edit": edit,
    "proof": proof,
    "archive": archive,
}


def seeds(name: str, folder: Path) -> None:
    """Write the seed corpus of a target, from testdata."""
    if name == "archive":
        files = sorted((TESTDATA / "wheels").glob("*.whl"))
    else:
        files = sorted(path for path in TESTDATA.glob("*/*") if path.is_file() and path.read_bytes()[:4] == b"\x7fELF")
    for number, path in enumerate(files):
        (folder / f"{number:03}-{path.name}").write_bytes(path.read_bytes())


def main() -> None:
    """Run one target."""
    name = sys.argv.pop(1)
    with tempfile.TemporaryDirectory() as corpus:
        seeds(name, Path(corpus))
        try:
            # Of several folders the first takes what is found; a file is one input, tried alone.
            given = any(not argument.startswith("-") for argument in sys.argv[1:])
            atheris.Setup([*sys.argv, *(() if given else (corpus,))], TARGETS[name])
            atheris.Fuzz()
        finally:
            _FILE.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
