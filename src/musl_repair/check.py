"""Everything that is judged of a wheel, put together: of one that is planned, and of one as it stands. Pure.

`repair` asks the same questions of its input, with a system behind it, and of its output, with nothing behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from musl_repair.abi import Feature, feature_since
from musl_repair.binding import Unbound, unbound_symbols
from musl_repair.codefiles import sort_files
from musl_repair.filechecks import judge_data, judge_files, judge_origins, judge_rpaths, judge_targets
from musl_repair.findings import Finding, finding
from musl_repair.python.promise import promise_of
from musl_repair.requirement import Reason, feature_reasons, ordered, symbol_reasons
from musl_repair.resolve import Search, resolve
from musl_repair.sysroot import DEFAULT_PATH
from musl_repair.tagging import judge_index, judge_tag, musl_tags, promises
from musl_repair.wheelchecks import (
    judge_clashes,
    judge_copies,
    judge_data_folders,
    judge_excluded,
    judge_expansion,
    judge_missing,
    judge_places,
    judge_platforms,
    judge_purelib,
    judge_python,
    judge_record,
    judge_reserved,
    judge_symbols,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import PurePosixPath

    from musl_repair.codefiles import ElfFiles
    from musl_repair.facts import Facts
    from musl_repair.findings import Severity
    from musl_repair.graph import Resolution
    from musl_repair.policy import Architecture
    from musl_repair.wheel import Wheel, WheelName


class Leniency(NamedTuple):
    """What a user has said to be in order."""

    excluded: tuple[str, ...] = ()
    """Patterns of needed names that come from somewhere else."""
    ignored: frozenset[str] = frozenset()
    """Codes of findings that are not wanted."""


class Judgement(NamedTuple):
    """What is to be said of a wheel."""

    architecture: Architecture | None
    """None for a wheel without ELF files, or with files of no known architecture."""
    reasons: tuple[Reason, ...]
    """Why it needs the musl that it needs, highest release first."""
    findings: tuple[Finding, ...]
    """Sorted."""


def judge_input(facts: Facts, files: ElfFiles) -> tuple[Finding, ...]:
    """Judge what does not depend on anything outside of the wheel, and no repair changes."""
    return (
        *judge_targets(files),
        *judge_data(files, str(facts.wheel.name)),
        *judge_copies(facts, files.code),
        *judge_places(facts, files.code),
    )


def judge_form(facts: Facts, files: ElfFiles) -> tuple[Finding, ...]:
    """Judge what a repair mends as far as it can: RECORD, tags and folders, as they stand."""
    return (
        *judge_record(facts),
        *(judge_platforms(facts, files.architecture) if files.architecture is not None else ()),
        *judge_expansion(facts),
        *judge_data_folders(facts),
        *judge_purelib(facts, files.code),
    )


def reasons_for(
    resolution: Resolution,
    unbound: Iterable[Unbound],
    names: Mapping[PurePosixPath, str],
    architecture: Architecture,
    mended: Collection[Feature] = (),
) -> tuple[Reason, ...]:
    """Return why the files of a resolution need the musl that they need; mended is what a repair replaces."""
    shown = {path: names.get(path, str(path)) for path in resolution.elfs}
    symbols = ((shown[symbol.path], symbol.name) for symbol in unbound)
    elfs = {shown[path]: elf for path, elf in resolution.elfs.items()}
    return ordered(
        [
            *symbol_reasons(symbols, architecture.name),
            *feature_reasons(elfs, architecture.name, mended=mended),
        ]
    )


def judge_resolution(
    resolution: Resolution,
    unbound: Iterable[Unbound],
    names: Mapping[PurePosixPath, str],
    architecture: Architecture,
    wheel: Wheel,
) -> Iterator[Finding]:
    """Judge files and what they need of each other, of musl and of the interpreter."""

    def shown(path: PurePosixPath) -> str:
        return names.get(path, str(path))

    yield from judge_missing(resolution.missing, shown)
    yield from judge_excluded(resolution, shown)
    yield from judge_symbols(unbound, resolution, shown, architecture)
    promise = promise_of(wheel.name.python, wheel.name.abi, wheel.requires_python)
    yield from judge_python(resolution, shown, architecture, promise)
    yield from judge_clashes(resolution, shown, architecture)
    yield from judge_reserved(resolution, names)
    yield from judge_files(resolution, names, architecture)


def judge_relr(
    resolution: Resolution,
    names: Mapping[PurePosixPath, str],
    name: WheelName,
    architecture: Architecture,
    severity: Severity | None = None,
) -> Iterator[Finding]:
    """Yield files with DT_RELR in a wheel whose tags promise a musl that does not read it."""
    since = feature_since(Feature.RELR, architecture.name)
    if since is None or not promises(name, since):
        return
    tag = musl_tags(name)[0]
    detail = f"it has DT_RELR, which musl reads since {since}; {tag} promises musl from {tag.major}.{tag.minor}.0 on"
    for path, elf in resolution.elfs.items():
        if elf.relr and not elf.relocates_itself:
            yield finding("relr-before-1.2.4", names.get(path, str(path)), detail, severity=severity)


def judge_wheel(facts: Facts, leniency: Leniency | None = None) -> Judgement:
    """Judge a wheel as it stands, with nothing but the wheel and musl to look in, as musl would load it."""
    leniency = leniency or Leniency()
    files = sort_files(facts)
    architecture = files.architecture
    found: list[Finding] = []
    reasons: tuple[Reason, ...] = ()
    if architecture is not None:
        names = {facts.path(name): name for name in facts.elfs}
        resolution = resolve(
            facts.files(), None, architecture, Search(DEFAULT_PATH, excluded=leniency.excluded, may_repair=False)
        )
        # musl does not look what a file is for that it finds under a needed name.
        files = files.needing({names[path]: elf for path, elf in resolution.elfs.items()})
        unbound = unbound_symbols(resolution)
        reasons = reasons_for(resolution, unbound, names, architecture)
        found += judge_resolution(resolution, unbound, names, architecture, facts.wheel)
        found += judge_rpaths(resolution, names)
        found += judge_origins(resolution, names)
        found += judge_relr(resolution, names, facts.wheel.name, architecture)
        # DT_RELR has a finding of its own, and it is worse than what the tag lacks a patch release for.
        others = tuple(reason for reason in reasons if reason.cause != Feature.RELR.value)
        found += judge_tag(facts.wheel.name, others, architecture.name)
    found += [*judge_input(facts, files), *judge_form(facts, files)]
    found += judge_index(facts.wheel.name)
    kept = tuple(sorted(item for item in set(found) if item.code not in leniency.ignored))
    return Judgement(architecture, reasons, kept)
