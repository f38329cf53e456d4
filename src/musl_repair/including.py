"""Libraries that no file needs by DT_NEEDED but loads by dlopen: which files come to need which of them. Pure.

dlopen finds a plain name on musl only where a library is loaded under it already, or on the main program's search path
(musl 1.2.6 ldso/dynlink.c: dlopen passes `head`, load_library compares short names). So such a library becomes a
DT_NEEDED of the file that loads it, and keeps the name that it is asked for by.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from musl_repair.dlopening import read_wishes
from musl_repair.elf import Elf
from musl_repair.findings import Finding, finding
from musl_repair.graph import is_extension
from musl_repair.loader import refusal
from musl_repair.resolve import is_excluded, scheme_root
from musl_repair.rpath import expand_rpath

if TYPE_CHECKING:
    from collections.abc import Iterator

    from musl_repair.arrangement import Arrangement
    from musl_repair.dlopening import Wish
    from musl_repair.options import Options
    from musl_repair.sysroot import Unusable
    from musl_repair.target import Target


class Request(NamedTuple):
    """What the user wants included: a name or an absolute path, for files of a pattern; None for all that load."""

    files: str | None
    library: str


def parse_request(text: str) -> Request:
    """Return what NAME_OR_PATH or FILE-PATTERN=NAME_OR_PATH asks for."""
    files, separator, library = text.rpartition("=")
    return Request(files if separator else None, library)


class Inclusion:
    """Which names a file comes to need; what `Search` takes."""

    def __init__(
        self, arrangement: Arrangement, target: Target, options: Options, search_path: tuple[PurePosixPath, ...]
    ) -> None:
        """Take where files are and where libraries are looked for."""
        self._requested = _requested(arrangement, options)
        self._files = arrangement.files()
        self._refuses = refusal(arrangement.architecture)
        self._target = target
        self._options = options
        self._search_path = (*options.library_path, *search_path)

    def __call__(self, path: PurePosixPath, elf: Elf) -> tuple[str, ...]:
        """Return the names, absolute paths among them, that a file is to need, if it does not already; each once."""
        wishes = (wish for wish in read_wishes(elf) if wish.is_at_least(self._options.dlopen))
        noted = (self._choice(wish, path, elf) for wish in wishes if not self._is_excluded(wish))
        names = (*self._requested.get(path, ()), *noted)
        return tuple(dict.fromkeys(name for name in names if PurePosixPath(name).name != path.name))

    def _is_excluded(self, wish: Wish) -> bool:
        return any(is_excluded(name, self._options.excluded) for name in wish.sonames)

    def _choice(self, wish: Wish, path: PurePosixPath, elf: Elf) -> str:
        """Return that of a wish's names that is needed already, else the first that there is a library of.

        Without any it is the first, which will be missing.
        """
        needed = (name for name in wish.sonames if name in elf.needed)
        there = (name for name in wish.sonames if self._is_there(name, path, elf))
        return next(needed, None) or next(there, wish.sonames[0])

    def _is_there(self, name: str, path: PurePosixPath, elf: Elf) -> bool:
        folders = (*expand_rpath(elf.rpath, path.parent), *self._search_path)
        answers: list[Elf | Unusable | None] = [answer for at, answer in self._files.items() if at.name == name]
        answers += [self._target.read(folder / name) for folder in folders if folder.is_absolute()]
        return any(isinstance(answer, Elf) and self._refuses(answer) is None for answer in answers)


def _requested(arrangement: Arrangement, options: Options) -> dict[PurePosixPath, tuple[str, ...]]:
    """Return the names that the user asks for, by file."""
    found: dict[PurePosixPath, tuple[str, ...]] = {}
    for request in map(parse_request, options.include):
        for path in _files_for(request, arrangement):
            found[path] = (*found.get(path, ()), request.library)
    return found


def _files_for(request: Request, arrangement: Arrangement) -> list[PurePosixPath]:
    """Return the files that come to need what is requested.

    Without a pattern: those of site-packages that import dlopen; where none does, Python itself loads the library
    (ctypes), and the extension modules are there before.
    """
    if request.files is not None:
        return [path for path, member in arrangement.members.items() if fnmatchcase(member, request.files)]
    root = scheme_root(arrangement.place(""))
    files = arrangement.files()
    places = (path for path in arrangement.members if scheme_root(path) == root)
    inside = {path: elf for path in places if isinstance(elf := files[path], Elf)}
    loading = [path for path, elf in inside.items() if any(symbol.name == "dlopen" for symbol in elf.imports)]
    return loading or [path for path, elf in inside.items() if is_extension(elf)]


def judge_requests(arrangement: Arrangement, options: Options) -> Iterator[Finding]:
    """Yield what the user wants included where there is no file for it."""
    for text in options.include:
        request = parse_request(text)
        if _files_for(request, arrangement):
            continue
        if request.files is None:
            detail = "no file of the wheel imports dlopen, and none is an extension module"
        else:
            # Imported here: few runs have something to guess.
            from difflib import get_close_matches

            near = get_close_matches(request.files, arrangement.members.values(), cutoff=0.5)
            detail = f"no ELF file of the wheel matches {request.files}" + (
                f"; there is {', '.join(near)}" if near else ""
            )
        yield finding("include-unmatched", request.library, detail)
