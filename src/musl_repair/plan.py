"""Facts + needs + policy → Plan: everything that a repair is going to do, decided before anything is done. Pure."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from musl_repair.abi import Feature, feature_since
from musl_repair.arrangement import Arrangement, Move, arrange, data_folder_names, is_in_root, judge_renaming
from musl_repair.binding import unbound_symbols
from musl_repair.check import judge_input, judge_relr, judge_resolution, reasons_for
from musl_repair.codefiles import sort_files
from musl_repair.deduplicating import find_copies, find_earlier, judge_remaining, merge, without
from musl_repair.dlopening import Wished, all_wishes, judge_notes
from musl_repair.documents import Documents, choose_documents
from musl_repair.errors import WheelError
from musl_repair.excluding import all_ways, judge_patterns, without_ways
from musl_repair.findings import Finding, Severity, finding
from musl_repair.grafts import Graft, choose_grafts
from musl_repair.graph import Resolution, joined
from musl_repair.including import Inclusion, judge_requests
from musl_repair.keeping import judge_kept, kept_names
from musl_repair.patches import Edits, Patch, graft_patch, leads, wheel_patch
from musl_repair.polyfilling import by_file, filled, offers, polyfill_grafts, used
from musl_repair.requirement import Reason, ordered
from musl_repair.resolve import Search, resolve, scheme_root
from musl_repair.tagging import (
    choose_platforms,
    judge_additions,
    judge_index,
    judge_tag,
    musl_tags,
    of_musl_alone,
    promises,
    system_of,
    without_untrue,
)
from musl_repair.target import Target, judge_system, system_release
from musl_repair.wheel import MOUNT, new_wheel_file
from musl_repair.wheelchecks import judge_data_folders, judge_mended_record, judge_platforms, judge_purelib
from musl_repair.world import is_mounted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import PurePosixPath

    from musl_repair.abi import Release
    from musl_repair.binding import Unbound
    from musl_repair.codefiles import ElfFiles
    from musl_repair.facts import Facts
    from musl_repair.options import Options
    from musl_repair.policy import Architecture
    from musl_repair.polyfill import Polyfill
    from musl_repair.wheel import WheelFile, WheelName


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
    rewrites_record: bool = False
    """Whether RECORD is wrong in something, be it its form."""
    wheel_file: WheelFile | None = None
    """The new WHEEL file; None where it stays as it is."""
    renames: Mapping[str, str] = MappingProxyType({})
    """Folder at the top of the archive → its new name. All other names are those in the new wheel."""
    documents: Documents = Documents()
    """What is written about the grafts; nothing where there are none."""
    dropped: tuple[str, ...] = ()
    """Archive names of the libraries that the new wheel does not have any more."""
    wishes: tuple[Wished, ...] = ()
    """What the files say that they may load by dlopen."""
    needs: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    """File → needed name → the file that answers it, by their archive names in the new wheel."""

    @property
    def changes(self) -> bool:
        """Whether the new wheel differs from the old one in anything."""
        edited = bool(self.patches or self.grafts or self.moves or self.dropped or self.renames)
        return edited or self.wheel != self.result or self.wheel_file is not None or self.rewrites_record


def make_plan(facts: Facts, target: Target, options: Options) -> Plan:
    """Decide how a wheel is repaired.

    Problems are findings of the plan, all of them together. Raises WheelError for a wheel without ELF files that was
    not allowed, PlatformError for a platform that cannot be given.
    """
    _refuse_other_systems(facts.wheel.name)
    folders = data_folder_names(facts)
    collisions = tuple(judge_renaming(facts, folders))
    renamed = facts if collisions else facts.renamed(folders)
    files = sort_files(renamed)
    if not (files.code or files.broken or options.allow_pure):
        raise WheelError(
            f"{facts.wheel.name} has no ELF file that musl could load, so there is nothing to repair; "
            "a pure Python wheel works on musl as it is (--allow-pure-python-wheel copies it)"
        )
    architecture = files.architecture
    findings = (*collisions, *judge_input(renamed, files), *_judge_form(renamed, files, options))
    if architecture is None or any(found.code == "wrong-architecture" for found in findings):
        return _unchanged(facts, findings)
    arrangement = arrange(renamed, files.code, architecture, options)
    search_path = target.search_path(architecture.musl_name)
    inclusion = Inclusion(arrangement, target, options, search_path)
    search = Search(search_path, options.library_path, options.excluded, included=inclusion)
    schemes = (
        _Scheme(part, resolve(part.files(), target, architecture, search)).without_copies(target, options)
        for part in arrangement.schemes()
    )
    return _decide(_Layout(arrangement, tuple(schemes)), target, options, findings)


def _refuse_other_systems(name: WheelName) -> None:
    """Raise WheelError for a wheel all of whose platform tags are for other systems than Linux."""
    systems = sorted(set(map(system_of, name.platforms)))
    if "Linux" not in systems:
        raise WheelError(
            f"{name} is a wheel for {' and '.join(systems)}, by its tags; musl-repair repairs wheels that were built "
            "on musl Linux"
        )


def _unchanged(facts: Facts, findings: tuple[Finding, ...]) -> Plan:
    """Return the plan for a wheel that is taken as it is, or not at all."""
    name, nothing = facts.wheel.name, Resolution({}, (), {})
    # A RECORD that is not verified, or wrong in its form only, is written anew even if nothing else is.
    rewrites = bool(facts.record_faults)
    return Plan(name, name, None, nothing, {}, (), (), (), (), tuple(sorted(findings)), rewrites_record=rewrites)


def _judge_form(facts: Facts, files: ElfFiles, options: Options) -> Iterator[Finding]:
    """Judge what a repair mends as far as it can: what is left of it is wrong, the rest is to be told."""
    yield from judge_mended_record(facts, verifies=options.verify_input)
    yield from judge_data_folders(facts)
    yield from judge_purelib(facts, files.code, mends=True)
    if files.architecture is not None:
        yield from judge_platforms(facts, files.architecture, drops=options.update_tags)


class _Scheme(NamedTuple):
    """The files of one install scheme, and what they need."""

    arrangement: Arrangement
    resolution: Resolution

    def without_copies(self, target: Target, options: Options) -> _Scheme:
        """Return the scheme with one file in place of several that are the same library."""
        copies = find_copies(self.arrangement, self.resolution, target, merges=options.dedupe)
        return _Scheme(without(self.arrangement, copies), merge(self.resolution, copies))


class _Layout(NamedTuple):
    """A wheel, scheme by scheme: what one file of it finds, one of another scheme does not."""

    whole: Arrangement
    schemes: tuple[_Scheme, ...]

    @property
    def arrangement(self) -> Arrangement:
        """All files of the wheel."""
        members = {path: name for one in self.schemes for path, name in one.arrangement.members.items()}
        dropped = tuple(sorted(name for one in self.schemes for name in one.arrangement.dropped))
        return self.whole._replace(members=MappingProxyType(dict(sorted(members.items()))), dropped=dropped)

    @property
    def resolution(self) -> Resolution:
        """All needs."""
        return joined(scheme.resolution for scheme in self.schemes)


def _decide(layout: _Layout, target: Target, options: Options, findings: tuple[Finding, ...]) -> Plan:
    arrangement, resolution, architecture = layout.arrangement, layout.resolution, layout.whole.architecture
    facts = arrangement.facts
    names = {path: arrangement.members.get(path, str(path)) for path in resolution.elfs}
    unbound = _unbound(layout)
    needs = _Needs(arrangement, resolution, options, reasons_for(resolution, unbound, names, architecture))
    result = needs.name(system_release(target, architecture))
    polyfills = needs.polyfills(result)
    lowers = options.lower_relr and _promises(result, Feature.RELR, architecture)
    repairs = [_repair(scheme, target, options, polyfills, lowers=lowers) for scheme in layout.schemes]
    layout = layout._replace(schemes=tuple(repair.scheme for repair in repairs))
    resolution = layout.resolution
    unbound = tuple(symbol for symbol in unbound if symbol.path in resolution.elfs)
    reasons = needs.reasons(result, lowers=lowers)
    grafts = tuple(sorted({graft for repair in repairs for graft in repair.grafts.values()}, key=_by_member))
    kept = {path: name for repair in repairs for path, name in repair.kept.items()}
    added = tuple(
        sorted({*grafts, *(graft for repair in repairs for graft in repair.polyfills.values())}, key=_by_member)
    )
    problems = (
        *(judge_system(target, architecture) if grafts or resolution.missing else ()),
        *without_ways(judge_resolution(resolution, unbound, names, architecture, facts.wheel), options),
        *judge_tag(result, reasons, architecture.name),
        *judge_index(result),
        *judge_additions(result, [graft.member for graft in added]),
        *(() if lowers else judge_relr(resolution, names, result, architecture, Severity.WARNING)),
        *(found for repair in repairs for found in _judge_places(repair)),
        *_judge_members(arrangement, grafts),
        *_judge_wishes(arrangement, resolution, options, kept),
    )
    patches = [patch for repair in repairs for patch in _patches(repair, result, lowers=lowers)]
    # The name of a polyfill has a hash of its content: one of an earlier repair is the same.
    all_grafts = tuple(graft for graft in added if graft in grafts or graft.member not in facts.elfs)
    members = {path: name for repair in repairs for path, name in repair.members.items()}
    findings = (*judge_remaining(findings, arrangement), *problems)
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
        findings=tuple(sorted(item for item in set(findings) if item.code not in options.accepted)),
        rewrites_record=bool(facts.record_faults),
        wheel_file=_wheel_file(arrangement, all_grafts, result),
        renames=facts.renames,
        documents=choose_documents(facts, all_grafts, target, options),
        dropped=arrangement.dropped,
        wishes=all_wishes(resolution.elfs, members),
        needs={need.member: need.answers for need in sorted(need for repair in repairs for need in repair.needs())},
    )


def _by_member(graft: Graft) -> tuple[str, PurePosixPath]:
    return graft.member, graft.source


def _unbound(layout: _Layout) -> tuple[Unbound, ...]:
    """Return the symbols that have to come from musl or the interpreter, in whichever scheme; sorted."""
    return tuple(sorted({symbol for scheme in layout.schemes for symbol in unbound_symbols(scheme.resolution)}))


class _Repair(NamedTuple):
    """What is done for the files of one scheme."""

    scheme: _Scheme
    """As it is with what earlier repairs left."""
    grafts: Mapping[PurePosixPath, Graft]
    """By the real path of what is vendored."""
    kept: Mapping[PurePosixPath, str]
    """The names that are kept, by the same."""
    polyfills: Mapping[str, Graft]
    additions: _Additions

    @property
    def members(self) -> dict[PurePosixPath, str]:
        """Loader path → archive name in the new wheel, of the wheel's files and what is vendored."""
        grafted = {path: graft.member for path, graft in self.grafts.items()}
        return {**self.scheme.arrangement.members, **grafted}

    def needs(self) -> Iterator[_Answered]:
        """Yield what answers each file's needs."""
        members = self.members
        for path, names in self.scheme.resolution.edges.items():
            answers = {name: members.get(at, str(at)) for name, at in sorted(names.items())}
            yield _Answered(path, members.get(path, str(path)), answers)


class _Answered(NamedTuple):
    """A file by loader path and archive name, and needed name → archive name of what answers it."""

    path: PurePosixPath
    member: str
    answers: Mapping[str, str]


class _Additions(NamedTuple):
    """What files come to find besides their own needs, by loader path."""

    polyfills: Mapping[PurePosixPath, tuple[str, ...]]
    """File names of new needs."""
    ways: Mapping[PurePosixPath, tuple[PurePosixPath, ...]]
    """Where excluded libraries will be."""


def _repair(scheme: _Scheme, target: Target, options: Options, functions: Iterable[str], *, lowers: bool) -> _Repair:
    """Choose what is vendored for the files of a scheme; grafts of earlier repairs answer needs too."""
    arrangement, resolution = scheme
    polyfills = polyfill_grafts(functions, arrangement)
    added = by_file(unbound_symbols(resolution), polyfills)
    folder = arrangement.place("")
    ways = all_ways(resolution, folder, options) if folder.is_relative_to(MOUNT) else {}
    additions = _Additions(added, ways)
    kept = kept_names(resolution, options.no_mangle)
    grafts = choose_grafts(
        arrangement, resolution, target, added, kept=kept, ways=additions.ways, lowers=lowers, options=options
    )
    resolution = merge(resolution, find_earlier(grafts, kept, arrangement, resolution.elfs))
    used = {name for names in added.values() for name in names}
    return _Repair(
        scheme=_Scheme(arrangement, resolution),
        grafts={path: graft for path, graft in grafts.items() if path in resolution.edges},
        kept={path: name for path, name in kept.items() if path in resolution.edges},
        polyfills={function: graft for function, graft in polyfills.items() if graft.name in used},
        additions=additions,
    )


class _Needs(NamedTuple):
    """What the files need of musl, and what of that the repair can do something about."""

    arrangement: Arrangement
    resolution: Resolution
    options: Options
    all: tuple[Reason, ...]

    def name(self, system: Release | None) -> WheelName:
        """Return the name that the wheel gets when all is mended that can be."""
        facts, arch = self.arrangement.facts, self.arrangement.architecture
        own = facts.wheel.name
        if not self.options.update_tags:
            return own
        name = choose_platforms(
            without_untrue(own, facts.elfs, arch, facts.systems()),
            arch,
            requested=self.options.platform,
            system=system,
            reasons=filled(self._unmended(lowers=self.options.lower_relr), self._offers()),
            vendors=any(not is_mounted(path) for path in self.resolution.edges),
        )
        return of_musl_alone(name) if self.polyfills(name) else name

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


def _patches(repair: _Repair, result: WheelName, *, lowers: bool) -> Iterator[Patch]:
    """Yield the edits of every file of a scheme that changes, and of every graft, changed or not."""
    arrangement, resolution = repair.scheme
    old_loaders = _promises(result, Feature.RUNPATH, arrangement.architecture)
    places = {path: arrangement.place(graft.name) for path, graft in repair.grafts.items()}
    for path, elf in resolution.elfs.items():
        member = arrangement.members.get(path)
        edits = Edits(
            edges=resolution.edges[path],
            places=places,
            added=tuple(map(arrangement.place, repair.additions.polyfills.get(path, ()))),
            ways=repair.additions.ways.get(path, ()),
            respelt=resolution.respelt.get(path, {}),
            lower_relr=lowers and elf.relr and not elf.relocates_itself,
        )
        if path in repair.grafts:
            yield graft_patch(repair.grafts[path].member, elf, places[path], edits)
        elif member is not None:
            patch = wheel_patch(member, elf, path, edits, old_loaders=old_loaders)
            if patch.changes:
                yield patch


def _wheel_file(arrangement: Arrangement, grafts: Iterable[Graft], result: WheelName) -> WheelFile | None:
    """Return the new WHEEL file, None where the old one will do."""
    wheel = arrangement.facts.wheel
    elfs = (*arrangement.members.values(), *(graft.member for graft in grafts))
    wheel_file = new_wheel_file(wheel, result, platlib=is_in_root(arrangement.facts, elfs))
    return wheel_file if wheel_file.text != wheel.headers.text else None


def _stripped(patches: list[Patch], arrangement: Arrangement, options: Options) -> tuple[Patch, ...]:
    """Return the patches, sorted; where the user asks for it with one that strips for every ELF file."""
    if not options.strip:
        return tuple(sorted(patches, key=lambda patch: patch.member))
    found = {member: Patch(member) for member in arrangement.members.values()}
    found |= {patch.member: patch for patch in patches}
    return tuple(patch._replace(strip=True) for _, patch in sorted(found.items()))


def _judge_places(repair: _Repair) -> Iterator[Finding]:
    """Find files that cannot reach what they need."""
    arrangement, resolution = repair.scheme
    places = {path: arrangement.place(graft.name) for path, graft in repair.grafts.items()}
    for path, member in repair.members.items():
        place = places.get(path, path)
        for name, at in resolution.edges.get(path, {}).items():
            yield from _judge_way(member, place, places.get(at, at), f"it needs {name}")
        for name in repair.additions.polyfills.get(path, ()):
            yield from _judge_way(member, place, arrangement.place(name), f"it comes to need {name}")


def _judge_way(member: str, path: PurePosixPath, at: PurePosixPath, detail: str) -> Iterator[Finding]:
    """Find out whether the file at path can have an rpath to another one."""
    if scheme_root(path) != scheme_root(at):
        yield finding("elf-outside-site-packages", member, detail)
    elif not leads(path.parent, at.parent):
        yield finding("folder-breaks-rpath", member, f"{detail} in {at.parent}")


def _judge_members(arrangement: Arrangement, grafts: tuple[Graft, ...]) -> Iterator[Finding]:
    """Find new members that are there already."""
    new = Counter([graft.member for graft in grafts] + [move.moved for move in arrangement.moves])
    for member in sorted(set(new) & set(arrangement.facts.members)):
        yield finding("member-collision", member, "the wheel has a file of this name already")
    for member in sorted(member for member, number in new.items() if number > 1):
        sources = ", ".join(str(graft.source) for graft in grafts if graft.member == member)
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
