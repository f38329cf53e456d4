"""The real Alpine root: where it is, and how programs are run in it and with its parts.

MUSL_REPAIR_ALPINE names a folder that holds the unpacked root, `alpine/`; MUSL_REPAIR_ALPINE_TOOLS the folder of the
scripts that made it (podman.sh); MUSL_REPAIR_ALPINE_WHEELS the wheels that were built there, by default the tools'
`wheels/`. Mounts happen in mount namespaces that end with their command.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

PROJECT: Final = Path(__file__).resolve().parents[2]
WHEELS: Final = ("pycurl", "pycares", "brotlicffi")
HIDDEN: Final = re.compile(
    r"lib(curl|ssl|crypto|z|zstd|brotli\w+|nghttp2|cares|idn2|psl|unistring)(-[\d.]+)?\.so(\.\d+)*"
)
"""The system's libraries that the wheels have copies of."""
OLD_LOADER: Final = Path("/lib/ld-musl-x86_64.so.1")
"""Debian's musl (package musl), which is to be older than 1.2.4."""

# Runs $@ in the root $1; $2 is the number of files after it that are hidden first.
_ENTER: Final = """
root=$1; count=$2; shift 2
mount -t proc proc "$root/proc"
while [ "$count" -gt 0 ]; do mount --bind /dev/null "$1"; shift; count=$((count - 1)); done
exec chroot "$root" /usr/bin/env -i "$@"
"""


def folder_of(variable: str) -> Path | None:
    """Return the folder that an environment variable names; None where it is unset."""
    value = os.environ.get(variable)
    return Path(value).resolve() if value else None


@dataclass(frozen=True, slots=True)
class Alpine:
    """The unpacked root, and the folder of it that this session's files are in."""

    root: Path
    work: Path

    def inside(self, path: Path) -> str:
        """Return a path under the root as the root's programs see it."""
        return f"/{path.relative_to(self.root)}"

    def run(self, *command: str, hide: Sequence[Path] = ()) -> subprocess.CompletedProcess[str]:
        """Run a command in the root, without these files."""
        namespace = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _ENTER, "sh", str(self.root)]
        return subprocess.run(
            [*namespace, str(len(hide)), *map(str, hide), *_environment(), *command],
            capture_output=True,
            text=True,
            check=False,
        )

    def libraries(self) -> list[Path]:
        """Return the system's libraries that the wheels have copies of: the files, not the links."""
        folders = {(self.root / name).resolve() for name in ("lib", "usr/lib")}
        found = [path for folder in folders for path in folder.iterdir() if HIDDEN.fullmatch(path.name)]
        return sorted(path for path in found if not path.is_symlink())


def _environment() -> list[str]:
    """Return the root's environment: a fixed one, and what this machine needs to reach the index."""
    search = "/opt/python/cp311-cp311/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    certificates = "/etc/ssl/certs/ca-certificates.crt"
    fixed = [f"PATH={search}", "HOME=/root", "LANG=C.UTF-8", f"SSL_CERT_FILE={certificates}"]
    pip = ["PIP_DISABLE_PIP_VERSION_CHECK=1", "PIP_ROOT_USER_ACTION=ignore", "PIP_ONLY_BINARY=:all:"]
    names = ("PIP_INDEX_URL", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
    return [*fixed, *pip, *(f"{name}={os.environ[name]}" for name in names if os.environ.get(name))]


def done(process: subprocess.CompletedProcess[str]) -> str:
    """Return what a command wrote to stdout; it must have succeeded."""
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def musl_repair(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run this environment's musl-repair."""
    command = [sys.executable, "-m", "musl_repair", *map(str, arguments)]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MUSL_REPAIR_", "AUDITWHEEL_"))
    }
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def portable_python(
    alpine: Alpine, loader: Path, code: str, *arguments: str | Path, path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run code in the root's portable CPython, outside the root, under any musl loader."""
    home = alpine.root / "opt" / "python" / "portable-cp311"
    environment = {"PYTHONHOME": str(home), "PYTHONPATH": str(path or ""), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(loader), str(home / "bin" / "python3.11"), "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
