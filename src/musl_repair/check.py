"""A wheel's facts → findings: closed, true to its tags, RECORD true. Pure.

`repair` asks these questions of its input and of its own output, `check` of anybody's wheel.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from musl_repair.elfimage import ET_DYN, ET_EXEC
from musl_repair.findings import Finding, finding
from musl_repair.loader import Mounted, Need, Scope, is_reserved, load
from musl_repair.policy import Architecture, architecture_of, describe_target, is_glibc_linked, parse_tag
from musl_repair.sysroot import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import PurePosixPath

    from musl_repair.elf import Elf
    from musl_repair.facts import Facts

_SPELLINGS: Final = {"armv7l": ("armv6l", "armv8l"), "i686": ("i386", "i486", "i586")}
"""Other machine names that wheels of an architecture are tagged with by the machine that builds them."""


def code_files(facts: Facts) -> dict[str, Elf]:
    """Return the ELF files that something may run or load: not object files, archives' members or the like."""
    return {name: elf for name, elf in facts.elfs.items() if elf.type in (ET_DYN, ET_EXEC)}


def common_architecture(elfs: Mapping[str, Elf]) -> Architecture | None:
    """Return the architecture of most of the files, None where no file has one that wheels know."""
    known = [architecture for elf in elfs.values() if (architecture := architecture_of(elf)) is not None]
    counts = Counter(architecture.name for architecture in known)
    return max(known, key=lambda a: (counts[a.name], a.name), default=None)


def judge_files(facts: Facts, elfs: Mapping[str, Elf]) -> tuple[Finding, ...]:
    """Return what is wrong with single files: machine, C library, and how they fit the tags."""
    architecture = common_architecture(elfs)
    found = []
    for name, elf in elfs.items():
        if architecture is None or not architecture.fits(elf):
            rest = "no musllinux tag names it" if architecture is None else f"the wheel is for {architecture.name}"
            found.append(finding("wrong-architecture", name, f"the file is for {describe_target(elf)}; {rest}"))
        elif is_glibc_linked(elf):
            found.append(finding("glibc-linked", name, _glibc_evidence(elf)))
    return (*found, *_judge_platforms(facts, architecture))


def _glibc_evidence(elf: Elf) -> str:
    versions = sorted({need.version for need in elf.version_needs if need.version.startswith("GLIBC_")})
    loaders = [name for name in elf.needed if name.startswith("ld")]
    return "it asks for " + ", ".join([*loaders, *versions])


def _judge_platforms(facts: Facts, architecture: Architecture | None) -> tuple[Finding, ...]:
    if architecture is None:
        return ()
    found = []
    for platform in facts.wheel.name.platforms:
        tag = parse_tag(platform)
        arch = tag.arch if tag is not None else platform.removeprefix("linux_")
        if tag is None and arch == platform:
            continue
        if arch != architecture.name and arch not in _SPELLINGS.get(architecture.name, ()):
            detail = f"the file name says {platform}, the ELF files are for {architecture.name}"
            found.append(finding("tag-mismatch", str(facts.wheel.name), detail))
    return tuple(found)


def judge_record(facts: Facts) -> tuple[Finding, ...]:
    """Return where RECORD says of a file what is not so."""
    return tuple(finding("record-mismatch", member, fault) for member, fault in facts.record_faults)


def judge_missing(needs: Iterable[Need], shown: Callable[[PurePosixPath], str]) -> tuple[Finding, ...]:
    """Return a finding for each library that is missing, with all that need it. shown gives a file's name for people."""
    by_name: dict[str, list[Need]] = {}
    for need in needs:
        by_name.setdefault(need.name, []).append(need)
    return tuple(
        finding("library-not-found", name, _search_report(missing, shown)) for name, missing in sorted(by_name.items())
    )


def _search_report(needs: list[Need], shown: Callable[[PurePosixPath], str]) -> str:
    requirers = dict.fromkeys(shown(need.needed_by) for need in needs)
    attempts = dict.fromkeys(attempt for need in needs for attempt in need.searched)
    folders = dict.fromkeys(str(at.path.parent) for at in attempts if at.outcome == "no such file")
    refused = [f"{at.path} is there, but {at.outcome}" for at in attempts if at.outcome not in ("", "no such file")]
    looked = f"looked in {', '.join(folders)}" if folders else "a name with a slash is not searched for"
    return "\n".join([f"needed by {', '.join(requirers)}", looked, *refused])


def check_facts(facts: Facts) -> tuple[Finding, ...]:
    """Judge a wheel as it stands, with nothing but the wheel and musl to look in."""
    elfs = code_files(facts)
    found = [*judge_files(facts, elfs), *judge_record(facts), *_judge_unlisted(facts), *_judge_tags(facts)]
    architecture = common_architecture(elfs)
    if architecture is not None:
        found += _judge_closure(facts, elfs, architecture)
    return tuple(sorted(found))


def _judge_unlisted(facts: Facts) -> tuple[Finding, ...]:
    return tuple(finding("record-mismatch", name, "is in the wheel but not in RECORD") for name in facts.unlisted)


def _judge_tags(facts: Facts) -> tuple[Finding, ...]:
    """PEP 427: the tags in WHEEL are those of the file name, expanded."""
    inside, outside = set(facts.wheel.field("Tag")), set(facts.wheel.name.tags())
    if inside == outside:
        return ()
    detail = f"WHEEL has {', '.join(sorted(inside)) or 'no tag'}; the file name has {', '.join(sorted(outside))}"
    return (finding("tag-mismatch", str(facts.wheel.name), detail),)


def _judge_closure(facts: Facts, elfs: Mapping[str, Elf], architecture: Architecture) -> tuple[Finding, ...]:
    """Load every file as musl would on a system that has musl and nothing else."""
    world = Mounted(facts.files())
    scope = Scope(architecture.loader, DEFAULT_PATH)
    names = {facts.path(name): name for name in elfs}
    missing = [
        need for path, name in names.items() if elfs[name].loadable for need in load(path, world, scope) if need.missing
    ]
    found = judge_missing(dict.fromkeys(missing), lambda path: names.get(path, str(path)))
    shadowed = {path.name: name for path, name in names.items() if is_reserved(path.name)}
    needed = {name for elf in elfs.values() for name in elf.needed}
    return (
        *found,
        *(
            finding("reserved-name", member, f"musl never opens it for a need of the name {name}")
            for name, member in sorted(shadowed.items())
            if name in needed
        ),
    )
