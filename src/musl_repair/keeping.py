"""Which grafts keep a name of their own, without a hash: the user wants it, or dlopen asks for them by it. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from musl_repair.findings import Finding, Severity, finding
from musl_repair.loader import is_reserved
from musl_repair.resolve import file_name
from musl_repair.wheel import is_plain_name
from musl_repair.world import is_mounted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import PurePosixPath

    from musl_repair.graph import Resolution


def kept_names(resolution: Resolution, patterns: Iterable[str]) -> dict[PurePosixPath, str]:
    """Return library of the system → the file name that it keeps.

    That is the name that dlopen asks for; else the first needed name, or else the real file's, that a pattern fits. A
    name that musl takes for itself cannot be kept.
    """
    wishes = {path: list(names) for path, names in resolution.asked.items()}
    for edges in resolution.edges.values():
        for name, at in sorted(edges.items()):
            wishes.setdefault(at, []).extend([file_name(name)] if _fits(file_name(name), patterns) else [])
    for path in resolution.edges:
        wishes.setdefault(path, []).extend([path.name] if _fits(path.name, patterns) else [])
    usable = {path: [name for name in names if _is_usable(name)] for path, names in wishes.items()}
    return {path: names[0] for path, names in sorted(usable.items()) if names and not is_mounted(path)}


def _is_usable(name: str) -> bool:
    """Whether a file of an archive can have a name, and musl opens it."""
    return not is_reserved(name) and is_plain_name(name)


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def judge_kept(resolution: Resolution, kept: Mapping[PurePosixPath, str]) -> Iterator[Finding]:
    """Yield the names that are kept: a process has only one library of each."""
    for path, name in sorted(kept.items()):
        yield finding("kept-name", name, f"{path} is vendored under this name, which others can have as well")
        for other in resolution.asked.get(path, ()):
            if other != name:
                detail = f"{path} is vendored as {name}, and dlopen would not find it as {other}"
                yield finding("kept-name", other, detail, remedy="ask for it by one name", severity=Severity.ERROR)
