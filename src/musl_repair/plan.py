"""Facts + needs + policy → Plan: everything that a repair is going to do, decided before anything is done. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from musl_repair.abi import Feature, feature_since
from musl_repair.arrangement import Arrangement, Move, arrange
from musl_repair.binding import unbound_symbols
from musl_repair.check import code_files, judge_input, judge_relr, judge_resolution, reasons_for
from musl_repair.deduplicating import find_copies, find_earlier, judge_remaining, merge, without
from musl_repair.dlopening import Wished, all_wishes, judge_notes
from musl_repair.documents import Documents, choose_documents
from musl_repair.errors import WheelError
from musl_repair.excluding import all_ways, judge_patterns, without_ways
from musl_repair.filechecks import common_architecture
from musl_repair.findings import Finding, Severity, finding
from musl_repair.grafts import Graft, choose_grafts
from musl_repair.graph import Resolution
from musl_repair.including import Inclusion, judge_requests
from musl_repair.keeping import judge_kept, kept_names
from musl_repair.patches import Patch, graft_patch, wheel_patch
from musl_repair.polyfilling import by_file, filled, offers, polyfill_grafts, used
from musl_repair.requirement import Reason, ordered
from musl_repair.resolve import Search, resolve, scheme_root
from musl_repair.tagging import choose_platforms, judge_tag, musl_tags, promises
from musl_repair.target import Target, judge_system, system_release
from musl_repair.world import is_mounted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import PurePosixPath

    from musl_repair.abi import Release
    from musl_repair.facts import Facts
    from musl_repair.options import Options
    from musl_repair.policy import Architecture
    from musl_repair.polyfill import Polyfill
    from musl_repair.wheel import WheelName


class Plan(NamedTuple):
    """A repair, decided. Tuples are sorted by archive name."""

    wheel: WheelName
    result: WheelName
    architecture: Architecture | None
    """None for a wheel without ELF files."""
    resolution: Resolution
    members: Mapping[PurePosixPath, str]
    """Loader path → archive name in the new wheel, of every ELF file of the wheel and every graft."""
    grafts: tuple[Graft, ...]
    patches: tuple[Patch, ...]
    moves: tuple[Move, ...]
    reasons: tuple[Reason, ...]
    """Why the result needs the musl that it needs, highest release first."""
    findings: tuple[Finding, ...]
    completes_record: bool
    """Whether files that RECORD does not list get their rows."""
    retags: bool = False
    """Whether the WHEEL file has other tags than the result's name."""
    documents: Documents = Documents()
    """What is written about the grafts; nothing where there are none."""
    dropped: tuple[str, ...] = ()
    """Archive names of the libraries that the new wheel does not have any more."""
    wishes: tuple[Wished, ...] = ()
    """What the files say that they may load by dlopen."""

    @property
    def changes(self) -> bool:
        """Whether the new wheel differs from the old one in anything."""
        edited = bool(self.patches or self.grafts or self.moves or self.dropped)
        return edited or self.wheel != self.result or self.retags or self.completes_record


def make_plan(facts: Facts, target: Target, options: Options) -> Plan:
    """Decide how a wheel is repaired.

    Problems are findings of the plan, all of them together. Raises WheelError for a wheel without ELF files that was
    not allowed, PlatformError for a platform that cannot be given.
    """
    elfs = code_files(facts)
    architecture = common_architecture(elfs)
    if not elfs and not options.allow_pure:
        raise WheelError(
            f"{facts.wheel.name} has no ELF file that musl could load, so there is nothing to repair; "
            "a pure Python wheel works on musl as it is (--allow-pure-python-wheel copies it)"
        )
    findings = judge_input(facts, elfs, architecture)
    if architecture is None or any(found.code == "wrong-architecture" for found in findings):
        return _unchanged(facts, findings)
    arrangement = arrange(facts, elfs, architecture, options)
    search_path = target.search_path(architecture.musl_name)
    inclusion = Inclusion(arrangement, target, options, search_path)
    search = Search(search_path, options.library_path, options.excluded, included=inclusion)
    resolution = resolve(arrangement.files(), target, architecture, search)
    copies = find_copies(arrangement, resolution, target, merges=options.dedupe)
    arrangement = without(arrangement, copies)
    return _decide(arrangement, merge(resolution, copies), target, options, judge_remaining(findings, arrangement))


def _unchanged(facts: Facts, findings: tuple[Finding, ...]) -> Plan:
    """Return the plan for a wheel that is taken as it is, or not at all."""
    name, nothing = facts.wheel.name, Resolution({}, (), {})
    return Plan(name, name, None, nothing, {}, (), (), (), (), tuple(sorted(findings)), completes_record=False)


def _decide(
    arrangement: Arrangement, resolution: Resolution, target: Target, options: Options, findings: tuple[Finding, ...]
) -> Plan:
    facts, architecture = arrangement.facts, arrangement.architecture
    names = {path: arrangement.members.get(path, str(path)) for path in resolution.elfs}
    unbound = unbound_symbols(resolution)
    needs = _Needs(arrangement, resolution, options, reasons_for(resolution, unbound, names, architecture))
    result = needs.name(system_release(target, architecture))
    polyfills = polyfill_grafts(needs.polyfills(result), arrangement)
    added = by_file(unbound, polyfills)
    lowers = options.lower_relr and _promises(result, Feature.RELR, architecture)
    ways = all_ways(resolution, arrangement.place(""), options)
    resolution, grafts, kept = _choose(arrangement, resolution, target, options, _Additions(added, ways), lowers=lowers)
    unbound = tuple(symbol for symbol in unbound if symbol.path in resolution.elfs)
    reasons = needs.reasons(result, lowers=lowers)
    problems = (
        *(judge_system(target, architecture) if grafts or resolution.missing else ()),
        *without_ways(judge_resolution(resolution, unbound, names, architecture), options),
        *judge_tag(result, reasons, architecture.name),
        *(() if lowers else judge_relr(resolution, names, result, architecture, Severity.WARNING)),
        *_judge_places(arrangement, resolution, grafts, added),
        *_judge_wishes(arrangement, resolution, options, kept),
    )
    patches = _patches(arrangement, resolution, grafts, _Additions(added, ways), result, lowers=lowers)
    members = {**arrangement.members, **{path: graft.member for path, graft in grafts.items()}}
    # The name of a polyfill has a hash of its content: one of an earlier repair is the same.
    new = (graft for graft in polyfills.values() if graft.member not in facts.elfs)
    all_grafts = tuple(sorted((*grafts.values(), *new), key=lambda graft: graft.member))
    return Plan(
        wheel=facts.wheel.name,
        result=result,
        architecture=architecture,
        resolution=resolution,
        members=members,
        grafts=all_grafts,
        patches=_stripped(patches, arrangement, options),
        moves=arrangement.moves,
        reasons=reasons,
        findings=tuple(sorted(item for item in {*findings, *problems} if item.code not in options.accepted)),
        completes_record=bool(facts.unlisted),
        retags=set(facts.wheel.field("Tag")) != set(result.tags()),
        documents=choose_documents(facts, all_grafts, target, options),
        dropped=arrangement.dropped,
        wishes=all_wishes(resolution.elfs, members),
    )


class _Additions(NamedTuple):
    """What files come to find besides their own needs, by loader path."""

    polyfills: Mapping[PurePosixPath, tuple[str, ...]]
    """File names of new needs."""
    ways: Mapping[PurePosixPath, tuple[PurePosixPath, ...]]
    """Where excluded libraries will be."""


def _choose(
    arrangement: Arrangement,
    resolution: Resolution,
    target: Target,
    options: Options,
    additions: _Additions,
    *,
    lowers: bool,
) -> tuple[Resolution, dict[PurePosixPath, Graft], dict[PurePosixPath, str]]:
    """Return the needs, answered by grafts of earlier repairs too, what is vendored, and the names that are kept."""
    kept = kept_names(resolution, options.no_mangle)
    grafts = choose_grafts(
        arrangement,
        resolution,
        target,
        additions.polyfills,
        kept=kept,
        ways=additions.ways,
        lowers=lowers,
        options=options,
    )
    resolution = merge(resolution, find_earlier(grafts, kept, arrangement, resolution.elfs))
    grafts = {path: graft for path, graft in grafts.items() if path in resolution.edges}
    return resolution, grafts, {path: name for path, name in kept.items() if path in grafts}


class _Needs(NamedTuple):
    """What the files need of musl, and what of that the repair can do something about."""

    arrangement: Arrangement
    resolution: Resolution
    options: Options
    all: tuple[Reason, ...]

    def name(self, system: Release | None) -> WheelName:
        """Return the name that the wheel gets when all is mended that can be."""
        own, arch = self.arrangement.facts.wheel.name, self.arrangement.architecture
        if not self.options.update_tags:
            return own
        return choose_platforms(
            own,
            arch,
            requested=self.options.platform,
            system=system,
            reasons=filled(self._unmended(lowers=self.options.lower_relr), self._offers()),
            vendors=any(not is_mounted(path) for path in self.resolution.edges),
        )

    def polyfills(self, result: WheelName) -> Mapping[str, Polyfill]:
        """Return the polyfills that the wheel needs under this name."""
        return used(result, self.all, self._offers())

    def reasons(self, result: WheelName, *, lowers: bool) -> tuple[Reason, ...]:
        """Return what the repaired wheel needs."""
        return ordered(filled(self._unmended(lowers=lowers), self.polyfills(result)))

    def _offers(self) -> Mapping[str, Polyfill]:
        return offers(self.arrangement.architecture.name, wanted=self.options.polyfill)

    def _unmended(self, *, lowers: bool) -> tuple[Reason, ...]:
        mended = {Feature.RUNPATH.value, *([Feature.RELR.value] if lowers else [])}
        return tuple(reason for reason in self.all if reason.is_symbol or reason.cause not in mended)


def _promises(result: WheelName, feature: Feature, architecture: Architecture) -> bool:
    """Whether the result's tags promise a musl that does not have a feature yet."""
    since = feature_since(feature, architecture.name)
    # A wheel that keeps its linux tag promises nothing, and is repaired for all the same.
    return since is not None and (promises(result, since) or not musl_tags(result))


def _patches(
    arrangement: Arrangement,
    resolution: Resolution,
    grafts: Mapping[PurePosixPath, Graft],
    additions: _Additions,
    result: WheelName,
    *,
    lowers: bool,
) -> list[Patch]:
    """Return the edits of every file that changes, and of every graft, changed or not; sorted by archive name."""
    old_loaders = _promises(result, Feature.RUNPATH, arrangement.architecture)
    places = {path: arrangement.place(graft.name) for path, graft in grafts.items()}
    patches = []
    for path, elf in resolution.elfs.items():
        member, edges = arrangement.members.get(path), resolution.edges[path]
        polyfills = tuple(map(arrangement.place, additions.polyfills.get(path, ())))
        ways = additions.ways.get(path, ())
        lower = lowers and elf.relr and not elf.relocates_itself
        if path in grafts:
            patch = graft_patch(
                grafts[path].member,
                elf,
                places[path],
                edges,
                places,
                added=polyfills,
                ways=ways,
                respelt=resolution.respelt.get(path, {}),
                lower_relr=lower,
            )
            patches.append(patch)
        elif member is not None:
            patch = wheel_patch(
                member,
                elf,
                path,
                edges,
                places,
                added=polyfills,
                ways=ways,
                respelt=resolution.respelt.get(path, {}),
                lower_relr=lower,
                old_loaders=old_loaders,
            )
            patches += [patch] if patch.changes else []
    return sorted(patches, key=lambda patch: patch.member)


def _stripped(patches: list[Patch], arrangement: Arrangement, options: Options) -> tuple[Patch, ...]:
    """Return the patches, where the user asks for it with one that strips for every ELF file."""
    if not options.strip:
        return tuple(patches)
    found = {member: Patch(member) for member in arrangement.members.values()}
    found |= {patch.member: patch for patch in patches}
    return tuple(patch._replace(strip=True) for _, patch in sorted(found.items()))


def _judge_places(
    arrangement: Arrangement,
    resolution: Resolution,
    grafts: Mapping[PurePosixPath, Graft],
    added: Mapping[PurePosixPath, tuple[str, ...]],
) -> Iterator[Finding]:
    """Find files that cannot reach what they need, and new members that are there already."""
    roots = {at: scheme_root(at) for at in resolution.edges}
    roots |= {at: scheme_root(arrangement.place(graft.name)) for at, graft in grafts.items()}
    for path, member in arrangement.members.items():
        for name, at in resolution.edges.get(path, {}).items():
            if roots[at] != scheme_root(path):
                yield finding("elf-outside-site-packages", member, f"it needs {name}")
        for name in added.get(path, ()):
            if scheme_root(arrangement.place(name)) != scheme_root(path):
                yield finding("elf-outside-site-packages", member, f"it comes to need {name}")
    new = Counter([graft.member for graft in grafts.values()] + [move.moved for move in arrangement.moves])
    for member in sorted(set(new) & set(arrangement.facts.members)):
        yield finding("member-collision", member, "the wheel has a file of this name already")
    for member in sorted(member for member, number in new.items() if number > 1):
        sources = ", ".join(str(path) for path, graft in grafts.items() if graft.member == member)
        yield finding("member-collision", member, f"more than one file is to have this name: {sources}")


def _judge_wishes(
    arrangement: Arrangement, resolution: Resolution, options: Options, kept: Mapping[PurePosixPath, str]
) -> Iterator[Finding]:
    """Find what the user asks for in vain, names that stay, and notes on dlopen that say nothing."""
    names = {path: arrangement.members.get(path, str(path)) for path in resolution.elfs}
    yield from judge_patterns(resolution, options)
    yield from judge_requests(arrangement, options)
    yield from judge_kept(resolution, kept)
    yield from judge_notes(resolution.elfs, names)
