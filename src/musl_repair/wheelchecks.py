"""The wheel as a whole → findings: RECORD, tags, places, copies, and what its libraries do to each other. Pure.

Source: PEP 427 and PEP 656; load_library and find_sym in musl 1.2.6 ldso/dynlink.c.
"""

from __future__ import annotations

import posixpath
from itertools import chain, islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from musl_repair.abi import hint, history
from musl_repair.binding import clashes, wanted_of_python
from musl_repair.findings import Finding, Severity, finding
from musl_repair.loader import is_reserved
from musl_repair.polyfill import is_polyfill
from musl_repair.python.checks import ApiUse, judge_api, judge_suffixes
from musl_repair.python.suffixes import is_module, module_of
from musl_repair.resolve import inside_entries, scheme_root
from musl_repair.rpath import expand_entry
from musl_repair.tagging import is_for, untrue_platforms
from musl_repair.wheel import MOUNT
from musl_repair.world import is_mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from musl_repair.binding import Unbound
    from musl_repair.elf import Elf
    from musl_repair.facts import Facts
    from musl_repair.graph import Resolution
    from musl_repair.loader import Need
    from musl_repair.policy import Architecture
    from musl_repair.python.promise import Promise

_MOST_NAMES: Final = 8
_ABI_NAMES: Final = frozenset(
    {
        "__cxa_atexit", "__cxa_finalize", "__stack_chk_fail", "__stack_chk_guard", "__tls_get_addr", "___tls_get_addr",
        "__tls_get_offset",
    }
)  # fmt: skip
"""What compilers call in musl, and what libstdc++, libssp or compiler-rt can have too (Itanium C++ ABI, ELF handling of
thread-local storage); the ARM EABI's names, such as __aeabi_atexit of libstdc++, begin with __aeabi_."""
_MOST_FOLDERS: Final = 32
_OPENED: Final = "it is a path from the working directory of the process, and musl searches for file names only"
_RELATIVE: Final = (
    "run musl-repair on the wheel: the need becomes a file name; or link with a library that has a soname (-Wl,-soname)"
)


def judge_record(facts: Facts) -> Iterator[Finding]:
    """Yield what is wrong with RECORD."""
    for member, fault, mendable, severity in facts.record_faults:
        remedy = "run musl-repair on the wheel: it writes RECORD anew" if mendable else None
        yield finding("record-mismatch", member, fault, severity=severity, remedy=remedy)


def judge_mended_record(facts: Facts, *, verifies: bool) -> Iterator[Finding]:
    """Yield what is wrong with RECORD for a repair, which writes it anew.

    Where it is to verify its input, that is no cure for files of which RECORD says something else, or not enough.
    """
    for member, fault, mendable, _ in facts.record_faults:
        if verifies and not mendable:
            remedy = "rebuild the wheel, or take its files as they are with --no-verify-input, which writes RECORD anew"
            yield finding("record-mismatch", member, fault, remedy=remedy)
        else:
            remedy = "nothing to do: the new wheel has a new RECORD"
            yield finding("record-mismatch", member, fault, remedy=remedy, severity=Severity.NOTE)


def judge_platforms(facts: Facts, architecture: Architecture, *, drops: bool = False) -> Iterator[Finding]:
    """Yield platform tags that cannot be true. drops: a repair leaves them out, if there are others."""
    platforms = facts.wheel.name.platforms
    others = any(is_for(platform, architecture) for platform in platforms)
    severity = Severity.NOTE if drops and others else None
    remedy = "run musl-repair on the wheel (without --no-update-tags): it leaves the tag out" if others else None
    if severity is not None:
        remedy = "nothing to do: the new wheel does not have this tag"
    for platform, why in untrue_platforms(platforms, facts.elfs, architecture, facts.systems()):
        detail = f"the file name says {platform}, {why}"
        yield finding("tag-mismatch", str(facts.wheel.name), detail, severity=severity, remedy=remedy)


def judge_expansion(facts: Facts) -> Iterator[Finding]:
    """Yield where the Tag lines of WHEEL are not the tags of the file name, expanded (PEP 427)."""
    wheel = facts.wheel
    inside, outside = set(wheel.tags), set(wheel.name.tags())
    compressed = sorted(set(wheel.headers.values("Tag")) - inside)
    if inside != outside:
        detail = f"WHEEL has {', '.join(sorted(inside)) or 'no tag'}; the file name has {', '.join(sorted(outside))}"
        remedy = "change its tags with `wheel tags`, which writes both; musl-repair takes the file name for right"
        yield finding("tag-mismatch", str(wheel.name), detail, remedy=remedy)
    elif compressed:
        detail = f"WHEEL has {', '.join(compressed)} in one line, and the format wants a line for each tag"
        remedy = "run musl-repair on the wheel, which expands it; installers do not mind"
        yield finding("tag-mismatch", str(wheel.name), detail, severity=Severity.NOTE, remedy=remedy)


def judge_data_folders(facts: Facts) -> Iterator[Finding]:
    """Yield folders that pip takes for the wheel's .data folder, and uv and installer do not."""
    wheel = facts.wheel
    tops = {name.partition("/")[0] for name in facts.members if "/" in name}
    for folder in sorted(top for top in tops if top.endswith(".data") and top != wheel.data):
        if folder in wheel.data_folders:
            detail = f"pip installs what is in it as it does {wheel.data}; uv and installer know that name only"
            yield finding("data-folder", folder, detail)
        else:
            detail = "pip refuses the wheel: to it this is a .data folder, with something in it that is no scheme"
            yield finding("data-folder", folder, detail, remedy="give the folder another name")


def judge_purelib(facts: Facts, elfs: Mapping[str, Elf], *, mends: bool = False) -> Iterator[Finding]:
    """Yield ELF files that are installed as pure Python. mends: a repair makes the root platform specific."""
    pure_root = facts.wheel.root_is_purelib and not mends
    folders = (facts.wheel.data, *facts.wheel.data_folders)
    for name in elfs:
        folder, _, inside = name.partition("/")
        if inside.startswith("purelib/") if folder in folders else pure_root:
            yield finding("elf-in-purelib", name, "pure Python is the same on every machine, this file is not")


def judge_places(facts: Facts, elfs: Mapping[str, Elf]) -> Iterator[Finding]:
    """Yield ELF files that another member is installed over (the root and .data/platlib go to one folder)."""
    members: dict[PurePosixPath, list[str]] = {}
    for name in facts.members:
        members.setdefault(facts.path(name), []).append(name)
    for path, names in members.items():
        if len(names) > 1 and any(name in elfs for name in names):
            yield finding("member-collision", names[0], f"{', '.join(names[1:])} is installed as {path} too")


def judge_copies(facts: Facts, elfs: Mapping[str, Elf]) -> Iterator[Finding]:
    """Yield libraries that an install scheme has several times: of equal content, or of one build (equal build-id)."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, elf in sorted(elfs.items()):
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
        report = _search_report(missing, shown)
        yield finding("library-not-found", name, *report, remedy=_RELATIVE if opened else None)


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


def _search_report(needs: list[Need], shown: Callable[[PurePosixPath], str]) -> list[str]:
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
    return [f"needed by {', '.join(requirers)}", where, *(f"{at.path} is there, but {at.outcome}" for at in refused)]


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
        detail = [f"needed by {', '.join(map(shown, paths))}", *([said] if said else [])]
        if owners:
            detail.append(f"{owners[0]} defines it, but is not among what is needed")
        ifuncs = [shown(path) for path, elf in resolution.elfs.items() if name in elf.ifuncs]
        if ifuncs:
            detail.append(f"{ifuncs[0]} defines it as an IFUNC, which musl does not find")
        yield finding("symbol-not-found", name, *detail, severity=Severity.WARNING if owners else None)


def _is_of_abi(name: str) -> bool:
    """Whether the processor's ABI says what a function does: whichever of two that a call reaches, it is the same."""
    return name in _ABI_NAMES or name.startswith("__aeabi_")


def judge_python(
    resolution: Resolution, shown: Callable[[PurePosixPath], str], architecture: Architecture, promise: Promise
) -> Iterator[Finding]:
    """Yield what the interpreters of the wheel's tags lack: names of the C API, and modules whose names they know."""
    wanted = wanted_of_python(resolution)
    uses = [ApiUse(shown(one.path), shown(one.root), one.names) for one in wanted if one.names]
    names = frozenset().union(*(one.names for one in wanted))
    owners = {
        name: shown(path) for path, elf in sorted(resolution.elfs.items(), reverse=True) for name in names & elf.exports
    }
    yield from judge_api(uses, promise, architecture.name, owners)
    modules = (
        shown(path)
        for path, elf in resolution.elfs.items()
        # The name first: the exports of a large library take long to look through.
        if module_of(path.name) is not None and _is_module(path, elf, architecture)
    )
    yield from judge_suffixes(modules, promise, architecture.name)


def _is_module(path: PurePosixPath, elf: Elf, architecture: Architecture) -> bool:
    """Whether a file is an extension module where import looks for one: not in the folder of vendored libraries."""
    importable = path.is_relative_to(MOUNT) and not any(part.endswith(".libs") for part in path.parent.parts)
    return importable and architecture.fits(elf) and is_module(elf.exports)


def judge_clashes(
    resolution: Resolution, shown: Callable[[PurePosixPath], str], architecture: Architecture
) -> Iterator[Finding]:
    """Yield libraries whose functions lose against musl's of the same name."""
    names_of_musl = frozenset(name for name in history(architecture.name).exports_now() if not _is_of_abi(name))
    for library, names in clashes(resolution, names_of_musl).items():
        if is_polyfill(library.name):
            continue  # that musl's own comes first is what it is made for
        listed = sorted(names)
        more = f" and {len(listed) - _MOST_NAMES} more" if len(listed) > _MOST_NAMES else ""
        users = sorted({shown(user) for paths in names.values() for user in paths})
        detail = f"{', '.join(listed[:_MOST_NAMES])}{more}; meant by {', '.join(users)}"
        yield finding("libc-symbol-clash", shown(library), detail)
