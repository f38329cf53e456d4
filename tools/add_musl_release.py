"""Add a release of musl to the data of musl-repair, from nothing but the libc.so of that release.

    python tools/add_musl_release.py 1.2.7 --arch x86_64 path/to/libc.so

(in an environment where this checkout is installed: `pip install --editable .`)

Build upstream's tag for the architecture (`./configure && make lib/libc.so`), run this, look at the
difference, commit it. Run it once for each architecture, in any order: the result is the same bytes. An
architecture whose libc is not added simply ends at the release before. Nothing is guessed and nothing of
the past is rewritten: whatever contradicts the data, the file or good sense is refused, and the data stay
as they are.

A distribution's libc will do where upstream's is not at hand: name what the distribution patched with
--ignore.

What a libc does not tell has to be written into data/musl.json or abi.py by hand: names that only the
loader resolves (get_lfs64 in ldso/dynlink.c) and new features of the loader.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from musl_repair.abi import Release, parse_history

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

DATA = Path(__file__).resolve().parents[1] / "src" / "musl_repair" / "data"

Table = dict[str, dict[Release, frozenset[str]]]  # the exports of each architecture's releases
Log = dict[str, Any]  # the content of musl.json

_MACHINES = {
    "x86_64": ("EM_X86_64", 64),
    "i686": ("EM_386", 32),
    "aarch64": ("EM_AARCH64", 64),
    "armv7l": ("EM_ARM", 32),
    "ppc64le": ("EM_PPC64", 64),
    "s390x": ("EM_S390", 64),
    "riscv64": ("EM_RISCV", 64),
    "loongarch64": ("EM_LOONGARCH", 64),
}


class RefusedError(Exception):
    """The file cannot be added, and the data were not changed."""


@dataclass(frozen=True, slots=True)
class Libc:
    """What a libc says of itself: exports, machine, and every text in it that looks like a version."""

    exports: frozenset[str]
    machine: str
    bits: int
    versions: frozenset[str]


def read_libc(path: Path) -> Libc:
    """Read a musl libc (or loader: one file); raises RefusedError where it is no ELF file with symbols."""
    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            table = elf.get_section_by_name(".dynsym")
            if not isinstance(table, SymbolTableSection):
                raise RefusedError(f"{path} has no dynamic symbol table")
            exports = frozenset(symbol.name for symbol in table.iter_symbols() if _is_export(symbol))
            machine, bits = str(elf["e_machine"]), int(elf.elfclass)
    except (OSError, ELFError) as error:
        raise RefusedError(f"{path} cannot be read as ELF: {error}") from error
    versions = re.findall(rb"\0(\d+\.\d+\.\d+[-_.\w]*)(?=\0)", path.read_bytes())
    return Libc(exports, machine, bits, frozenset(version.decode("ascii") for version in versions))


def _is_export(symbol: Any) -> bool:
    binding, kind = symbol["st_info"]["bind"], symbol["st_info"]["type"]
    visible = symbol["st_other"]["visibility"] in {"STV_DEFAULT", "STV_PROTECTED"}
    defined = symbol["st_shndx"] != "SHN_UNDEF" and kind not in {"STT_SECTION", "STT_FILE"}
    return (
        bool(symbol.name) and defined and visible and binding in {"STB_GLOBAL", "STB_WEAK", "STB_LOOS"}
    )  # STB_GNU_UNIQUE


def check_libc(libc: Libc, release: Release, arch: str) -> None:
    """Refuse a libc that is of another machine or release than it is said to be."""
    if arch not in _MACHINES:
        raise RefusedError(f"unknown architecture {arch!r}; known are {', '.join(_MACHINES)}")
    if (libc.machine, libc.bits) != _MACHINES[arch]:
        raise RefusedError(f"the file is for {libc.machine} ({libc.bits} bits), not for {arch}")
    if str(release) not in libc.versions:
        # musl prints its version (ldso/dynlink.c), so the text is in the file: src/internal/version.c.
        said = ", ".join(sorted(libc.versions - {"127.0.0.1"})) or "nothing"
        raise RefusedError(f"the file does not call itself musl {release}; it says {said}")


def table_of(log: Log) -> Table:
    """Unfold a log."""
    text = json.dumps(log)
    histories = (parse_history(text, arch) for arch in log["known"])
    return {known.arch: {release: known.exports(release) for release in known.releases} for known in histories}


def add(log: Log, release: Release, arch: str, exports: Collection[str], *, accept: bool = False) -> Log:
    """Return the log with one release more; raises RefusedError where the exports contradict it.

    accept: take it that names are gone for good, which is otherwise refused as the sign of a patched or
    stripped-down libc.
    """
    table = table_of(log)
    if arch not in table:
        raise RefusedError(f"the data do not know {arch!r}; known are {', '.join(sorted(table))}")
    seen, newest = frozenset(exports), max(table[arch])
    if release in table[arch]:
        _refuse_difference(f"musl {release} on {arch} is known already, with other exports", table[arch][release], seen)
        return log
    if release < newest:
        raise RefusedError(f"musl {release} is older than {newest}, the newest known on {arch}: only append")
    following = next((one for one in map(Release.parse, log["releases"]) if one > newest), release)
    if release != following:
        # One list of releases serves all architectures, so a gap would be filled with a guess.
        raise RefusedError(f"the release after {newest} is {following}: add that one on {arch} first")
    if not accept:
        gone = table[arch][newest] - seen
        _refuse_difference(f"musl {newest} on {arch} has names that the file lacks", gone, frozenset())
    table[arch][release] = seen
    return fold(table, log)


def _refuse_difference(why: str, known: frozenset[str], seen: frozenset[str]) -> None:
    if known == seen:
        return
    parts = (("not in the file", known - seen), ("only in the file", seen - known))
    listed = "; ".join(f"{label}: {_some(names)}" for label, names in parts if names)
    advice = "if a distribution patched it, --ignore those names; if upstream removed names, --accept"
    raise RefusedError(f"{why} ({listed}); {advice}")


def _some(names: frozenset[str]) -> str:
    shown = sorted(names)[:12]
    return " ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def fold(table: Table, log: Log) -> Log:
    """Make the one log that says what the table says; the rest is taken from the old log.

    A name goes to the common part where all architectures agree on it in every release that they know,
    else to each architecture's own. So the log depends on the table alone, not on the order in which
    releases were added.
    """
    releases = sorted(set().union(*table.values()))
    there = {release: [known[release] for known in table.values() if release in known] for release in releases}
    anywhere = {release: frozenset().union(*exports) for release, exports in there.items()}
    disputed = frozenset().union(*(anywhere[one] - frozenset.intersection(*there[one]) for one in releases))
    common = frozenset().union(*anywhere.values()) - disputed

    def own(known: Mapping[Release, frozenset[str]]) -> Callable[[Release], frozenset[str]]:
        return lambda release: known[release] - common

    events = {"common": _events(releases, lambda release: anywhere[release] & common)}
    events |= {arch: _events(sorted(known), own(known)) for arch, known in table.items()}
    return {
        **log,
        "releases": [str(release) for release in releases],
        "known": {arch: [str(min(known)), str(max(known))] for arch, known in table.items()},
        "removed": {part: removed for part, (_, removed) in events.items() if removed},
        "symbols": {part: added for part, (added, _) in events.items() if added},
    }


def _events(
    releases: Sequence[Release], present: Callable[[Release], frozenset[str]]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return what was added and what was removed, release by release."""
    added: dict[str, list[str]] = {}
    removed: dict[str, list[str]] = {}
    before: frozenset[str] = frozenset()
    for release in releases:
        now = present(release)
        if now - before:
            added[str(release)] = sorted(now - before)
        if before - now:
            removed[str(release)] = sorted(before - now)
        before = now
    return added, removed


def refuse_backports(arrived: frozenset[str], distributions: Log) -> None:
    """Refuse new names that a distribution is known to add by itself: the libc may be that distribution's."""
    entries = distributions["distributions"]
    doubtful = arrived.intersection(name for entry in entries for name in entry.get("extra_symbols", ()))
    if doubtful:
        advice = "--ignore them, or --accept that upstream has them now"
        raise RefusedError(f"new, but known as what a distribution adds by itself: {_some(doubtful)}; {advice}")


def ignoring(
    log: Log, release: Release, arch: str, exports: Collection[str], ignore: Collection[str]
) -> frozenset[str]:
    """Return the exports, with ignored names as the data have them for the release, or the one before."""
    upstream = parse_history(json.dumps(log), arch).exports(release)
    return frozenset(exports) - frozenset(ignore) | upstream.intersection(ignore)


def dumps(value: Any, indent: str = "") -> str:
    """Write JSON, a release a line: objects that hold objects or lists are spread, all else is compact."""
    if not isinstance(value, dict) or not any(isinstance(inner, (dict, list)) for inner in value.values()):
        return json.dumps(value, separators=(",", ":"))
    inside = ",\n".join(f"{indent} {json.dumps(key)}: {dumps(inner, indent + ' ')}" for key, inner in value.items())
    return f"{{\n{inside}\n{indent}}}"


def run(arguments: argparse.Namespace) -> str:
    """Do what the command line asks for; returns what to tell the user."""
    path, release = arguments.data / "musl.json", Release.parse(arguments.release)
    log = json.loads(path.read_text("utf-8"))
    libc = read_libc(arguments.libc)
    check_libc(libc, release, arguments.arch)
    exports = ignoring(log, release, arguments.arch, libc.exports, arguments.ignore)
    new = add(log, release, arguments.arch, exports, accept=arguments.accept)
    if new == log:
        return f"musl {release} on {arguments.arch} is known already, with the same exports: nothing to do"
    arrived = exports - parse_history(json.dumps(log), arguments.arch).exports(release)
    if not arguments.accept:
        refuse_backports(arrived, json.loads((arguments.data / "distributions.json").read_text("utf-8")))
    _replace(path, dumps(new) + "\n")
    news = _some(arrived) or "none"
    return f"added musl {release} on {arguments.arch}: {len(exports)} exports; new: {news}"


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)  # noqa: PTH105 - whoever looks sees the old file or the new one


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("release", help="musl's release, such as 1.2.7")
    parser.add_argument("libc", type=Path, help="libc.so (or ld-musl-*.so.1) of that release")
    parser.add_argument("--arch", required=True, help="architecture as wheel tags name it, such as x86_64")
    parser.add_argument(
        "--ignore", metavar="NAME", action="append", default=[], help="a name that a distribution patched"
    )
    parser.add_argument("--accept", action="store_true", help="names are gone, or new, because upstream made it so")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the data (default: the package's)")
    try:
        sys.stdout.write(run(parser.parse_args(argv)) + "\n")
    except (RefusedError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
