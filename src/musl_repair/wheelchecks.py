"""The wheel as a whole → findings: RECORD, tags, places, copies, and what its libraries do to each other. Pure.

Source: PEP 427 and PEP 656; load_library and find_sym in musl 1.2.6 ldso/dynlink.c.
"""

from __future__ import annotations

import posixpath
from itertools import chain, islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from musl_repair.abi import hint, history
from musl_repair.binding import clashes
from musl_repair.findings import Finding, Severity, finding
from musl_repair.loader import is_reserved
from musl_repair.policy import Architecture, parse_tag
from musl_repair.polyfill import is_polyfill
from musl_repair.resolve import inside_entries, scheme_root
from musl_repair.rpath import expand_entry
from musl_repair.world import is_mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from musl_repair.binding import Unbound
    from musl_repair.elf import Elf
    from musl_repair.facts import Facts
    from musl_repair.graph import Resolution
    from musl_repair.loader import Need

_SPELLINGS: Final = {"armv7l": ("armv6l", "armv8l"), "i686": ("i386", "i486", "i586")}
"""Other machine names that wheels of an architecture are tagged with by the machine that builds them."""
_MOST_NAMES: Final = 8
_MOST_FOLDERS: Final = 32
_OPENED: Final = "it is a path from the working directory of the process, and musl searches for file names only"
_RELATIVE: Final = (
    "run musl-repair on the wheel: the need becomes a file name; or link with a library that has a soname (-Wl,-soname)"
)


def judge_record(facts: Facts) -> Iterator[Finding]:
    """Yield where RECORD says of a file what is not so."""
    return (finding("record-mismatch", member, fault) for member, fault in facts.record_faults)


def judge_unlisted(facts: Facts) -> Iterator[Finding]:
    """Yield files that RECORD does not list."""
    return (finding("record-mismatch", name, "is in the wheel but not in RECORD") for name in facts.unlisted)


def judge_platforms(facts: Facts, architecture: Architecture) -> Iterator[Finding]:
    """Yield platform tags that name another machine than the ELF files."""
    for platform in facts.wheel.name.platforms:
        tag = parse_tag(platform)
        arch = tag.arch if tag is not None else platform.removeprefix("linux_")
        if tag is None and arch == platform:
            continue
        if arch != architecture.name and arch not in _SPELLINGS.get(architecture.name, ()):
            detail = f"the file name says {platform}, the ELF files are for {architecture.name}"
            yield finding("tag-mismatch", str(facts.wheel.name), detail)


def judge_expansion(facts: Facts) -> Iterator[Finding]:
    """Yield where the Tag lines of WHEEL are not the tags of the file name, expanded (PEP 427)."""
    inside, outside = set(facts.wheel.field("Tag")), set(facts.wheel.name.tags())
    if inside != outside:
        detail = f"WHEEL has {', '.join(sorted(inside)) or 'no tag'}; the file name has {', '.join(sorted(outside))}"
        yield finding("tag-mismatch", str(facts.wheel.name), detail)


def judge_purelib(facts: Facts, elfs: Mapping[str, Elf]) -> Iterator[Finding]:
    """Yield ELF files that are installed as pure Python."""
    pure_root = facts.wheel.field("Root-Is-Purelib")[:1] == ("true",)
    for name in elfs:
        in_data = name.startswith(f"{facts.wheel.data}/")
        if name.startswith(f"{facts.wheel.data}/purelib/") or (pure_root and not in_data):
            yield finding("elf-in-purelib", name, "pure Python is the same on every machine, this file is not")


def judge_places(facts: Facts, elfs: Mapping[str, Elf]) -> Iterator[Finding]:
    """Yield ELF files that another member is installed over (the root and .data/platlib go to one folder)."""
    members: dict[PurePosixPath, list[str]] = {}
    for name in facts.members:
        members.setdefault(facts.path(name), []).append(name)
    for path, names in members.items():
        if len(names) > 1 and any(name in elfs for name in names):
            yield finding("member-collision", names[0], f"{', '.join(names[1:])} is installed as {path} too")


def judge_copies(facts: Facts) -> Iterator[Finding]:
    """Yield libraries that an install scheme has several times: of equal content, or of one build (equal build-id)."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, elf in sorted(facts.elfs.items()):
        if elf.loadable:
            key = f"build-id {elf.build_id}" if elf.build_id else facts.readings[name].sha256
            groups.setdefault((key, scheme_root(facts.path(name))), []).append(name)
    for (key, _), names in groups.items():
        if len(names) > 1:
            size = sum(facts.readings[name].member.size for name in names[1:])
            what = key if key.startswith("build-id") else "the same content"
            yield finding("duplicate-library", names[0], f"{what} as {', '.join(names[1:])}: {size} bytes too many")


def judge_reserved(resolution: Resolution, names: Mapping[PurePosixPath, str]) -> Iterator[Finding]:
    """Yield files that something needs by name and that musl takes for itself."""
    needed = {name for elf in resolution.elfs.values() for name in elf.needed}
    for path in resolution.elfs:
        if path in names and is_reserved(path.name) and path.name in needed:
            yield finding("reserved-name", names[path], f"musl never opens it for a need of the name {path.name}")


def judge_missing(needs: Iterable[Need], shown: Callable[[PurePosixPath], str]) -> Iterator[Finding]:
    """Yield a finding for each library that is missing, with all that need it. shown gives a file's name for people."""
    by_name: dict[str, list[Need]] = {}
    for need in needs:
        by_name.setdefault(need.name, []).append(need)
    for name, missing in sorted(by_name.items()):
        opened = "/" in name and not any(need.searched for need in missing)
        yield finding("library-not-found", name, _search_report(missing, shown), remedy=_RELATIVE if opened else None)


def judge_excluded(resolution: Resolution, shown: Callable[[PurePosixPath], str]) -> Iterator[Finding]:
    """Yield excluded libraries that no rpath leads to: neither into the wheel nor into another package's folder."""
    folders = {path.parent for path in resolution.elfs}
    lost: dict[str, list[str]] = {}
    for path, name in resolution.excluded:
        elf = resolution.elfs[path]
        ways = [
            PurePosixPath(posixpath.normpath(expand_entry(entry, path.parent))) for entry in inside_entries(elf, path)
        ]
        if not any(way / name in resolution.elfs or way not in folders for way in ways):
            lost.setdefault(name, []).append(shown(path))
    for name, users in lost.items():
        yield finding("library-excluded-not-found", name, f"needed by {', '.join(users)}; no rpath leads to it")


def _search_report(needs: list[Need], shown: Callable[[PurePosixPath], str]) -> str:
    requirers = dict.fromkeys(shown(need.needed_by) for need in needs)
    refused = dict.fromkeys(attempt for need in needs for attempt in need.refused)
    looked: dict[str, None] = {}
    for attempt in chain.from_iterable(need.searched for need in needs):
        if attempt not in refused:
            looked[_shortest(attempt.path.parent)] = None
        if len(looked) > _MOST_FOLDERS:
            break
    told = list(looked) if len(looked) <= _MOST_FOLDERS else [*islice(looked, _MOST_FOLDERS), "and more"]
    where = f"looked in {', '.join(told)}" if told else _OPENED
    there = (f"{at.path} is there, but {at.outcome}" for at in refused)
    return "\n".join([f"needed by {', '.join(requirers)}", where, *there])


def _shortest(folder: PurePosixPath) -> str:
    """Return a folder for people: in a wheel, where there are no links, without any ".."."""
    return posixpath.normpath(folder) if is_mounted(folder) else str(folder)


def judge_symbols(
    unbound: Iterable[Unbound],
    resolution: Resolution,
    shown: Callable[[PurePosixPath], str],
    architecture: Architecture,
) -> Iterator[Finding]:
    """Yield the symbols that no release of musl has either.

    One that another file of the wheel defines is a warning: it is found if that was loaded with RTLD_GLOBAL before.
    """
    known = history(architecture.name)
    users: dict[str, list[PurePosixPath]] = {}
    for symbol in unbound:
        if symbol.certain and known.since(symbol.name) is None:
            users.setdefault(symbol.name, []).append(symbol.path)
    for name, paths in users.items():
        owners = [shown(path) for path, elf in resolution.elfs.items() if name in elf.exports]
        said = hint(name, architecture.name)
        detail = f"needed by {', '.join(map(shown, paths))}" + (f"\n{said}" if said else "")
        if owners:
            detail += f"\n{owners[0]} defines it, but is not among what is needed"
        yield finding("symbol-not-found", name, detail, severity=Severity.WARNING if owners else None)


def judge_clashes(
    resolution: Resolution, shown: Callable[[PurePosixPath], str], architecture: Architecture
) -> Iterator[Finding]:
    """Yield libraries whose functions lose against musl's of the same name."""
    known = history(architecture.name)
    for library, names in clashes(resolution, known.exports_now()).items():
        if is_polyfill(library.name):
            continue  # that musl's own comes first is what it is made for
        listed = sorted(names)
        more = f" and {len(listed) - _MOST_NAMES} more" if len(listed) > _MOST_NAMES else ""
        users = sorted({shown(user) for paths in names.values() for user in paths})
        detail = f"{', '.join(listed[:_MOST_NAMES])}{more}; meant by {', '.join(users)}"
        yield finding("libc-symbol-clash", shown(library), detail)
