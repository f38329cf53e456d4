"""Facts + needs + policy → Plan: everything that a repair is going to do, decided before anything is done. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from musl_repair.abi import Feature, feature_since
from musl_repair.binding import unbound_symbols
from musl_repair.check import code_files, judge_input, judge_relr, judge_resolution, reasons_for
from musl_repair.errors import WheelError
from musl_repair.filechecks import common_architecture
from musl_repair.findings import Finding, Severity, finding
from musl_repair.grafts import Graft, Recipe, graft_name
from musl_repair.graph import Resolution
from musl_repair.loader import World, is_mounted, is_reserved
from musl_repair.patches import Patch, graft_patch, rpath_to, wheel_patch
from musl_repair.resolve import Search, is_excluded, is_libpython, resolve, scheme_root
from musl_repair.tagging import choose_platforms, judge_tag, promises, system_release
from musl_repair.wheel import WheelName, install_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import PurePosixPath

    from musl_repair.abi import Release
    from musl_repair.elf import Elf
    from musl_repair.facts import Facts
    from musl_repair.policy import Architecture
    from musl_repair.requirement import Reason
    from musl_repair.sysroot import Package

_SCRIPTS: Final = "/<scripts>"


class Target(World, Protocol):
    """The system that a wheel is repaired against."""

    def search_path(self, musl_arch: str) -> tuple[PurePosixPath, ...]:
        """Return the folders that its loader searches last."""
        ...

    def loaders(self) -> tuple[str, ...]:
        """Return the file names of the musl loaders that it has."""
        ...

    def digest(self, path: PurePosixPath) -> str:
        """Return the SHA-256 of a file, in hex."""
        ...

    def size(self, path: PurePosixPath) -> int:
        """Return a file's size in bytes."""
        ...

    def owner(self, path: PurePosixPath) -> Package | None:
        """Return the package that a file belongs to."""
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """What a user can ask of a repair."""

    platform: str = "auto"
    """auto, musllinux_X_Y or musllinux_X_Y_ARCH."""
    exclude: tuple[str, ...] = ()
    """Shell patterns of needed names that are not vendored."""
    lib_suffix: str = ".libs"
    """Vendored libraries go into the folder <distribution><lib_suffix>."""
    lower_relr: bool = True
    library_path: tuple[PurePosixPath, ...] = ()
    """Loader paths of more folders to look in."""
    accepted: frozenset[str] = frozenset()
    """Codes of findings that the user does not want to hear of."""
    strict: bool = False
    """Refuse a wheel with warnings too."""
    allow_pure: bool = False
    """Let a wheel without ELF files through, unchanged."""


class Move(NamedTuple):
    """A program that goes from .data/scripts into the library folder; a script takes its place."""

    member: str
    moved: str


@dataclass(frozen=True, slots=True)
class Plan:
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

    @property
    def changes(self) -> bool:
        """Whether the new wheel differs from the old one in anything."""
        edited = bool(self.patches or self.grafts or self.moves)
        return edited or self.wheel != self.result or self.completes_record


@dataclass(frozen=True, slots=True)
class _Arrangement:
    """Where the wheel's own ELF files are in the new wheel."""

    folder: str
    """The archive name of the library folder."""
    moves: tuple[Move, ...]
    members: Mapping[PurePosixPath, str]
    """Loader path → archive name in the new wheel."""


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
    arrangement = _arrange(facts, elfs, architecture, options)
    resolution = _resolve(facts, elfs, arrangement, target, options, architecture)
    return _decide(facts, arrangement, resolution, target, options, architecture, findings)


def _unchanged(facts: Facts, findings: tuple[Finding, ...]) -> Plan:
    """Return the plan for a wheel that is taken as it is, or not at all."""
    name, nothing = facts.wheel.name, Resolution({}, (), {})
    return Plan(name, name, None, nothing, {}, (), (), (), (), tuple(sorted(findings)), completes_record=False)


def _arrange(facts: Facts, elfs: Mapping[str, Elf], architecture: Architecture, options: Options) -> _Arrangement:
    folder = _library_folder(facts, elfs, options)
    moves = tuple(sorted(_programs(facts, elfs, folder, architecture, options)))
    moved = dict(moves)
    members = {install_path(facts.wheel.data, moved.get(name, name)): moved.get(name, name) for name in elfs}
    return _Arrangement(folder, moves, MappingProxyType(dict(sorted(members.items()))))


def _library_folder(facts: Facts, elfs: Mapping[str, Elf], options: Options) -> str:
    """Return the library folder's archive name: beside the packages, in the scheme that the ELF files are in."""
    folder = facts.wheel.name.distribution + options.lib_suffix
    platlib = f"{facts.wheel.data}/platlib/"
    pure_root = facts.wheel.field("Root-Is-Purelib")[:1] == ("true",)
    return platlib + folder if pure_root and any(name.startswith(platlib) for name in elfs) else folder


def _programs(
    facts: Facts, elfs: Mapping[str, Elf], folder: str, architecture: Architecture, options: Options
) -> Iterator[Move]:
    """Yield the programs in .data/scripts that need a library: only beside the others can they find one.

    How far the scripts' folder is from site-packages, only the installer knows.
    """
    for name, elf in elfs.items():
        path = facts.path(name)
        if str(scheme_root(path)) == _SCRIPTS and any(_is_wanted(need, architecture, options) for need in elf.needed):
            yield Move(name, f"{folder}/{path.name}")


def _is_wanted(needed: str, architecture: Architecture, options: Options) -> bool:
    is_musl = is_reserved(needed) or needed == str(architecture.loader)
    return not is_musl and not is_libpython(needed) and not is_excluded(needed, options.exclude)


def _resolve(
    facts: Facts,
    elfs: Mapping[str, Elf],
    arrangement: _Arrangement,
    target: Target,
    options: Options,
    architecture: Architecture,
) -> Resolution:
    files = facts.files()
    for move in arrangement.moves:
        del files[facts.path(move.member)]
        files[install_path(facts.wheel.data, move.moved)] = elfs[move.member]
    search = Search(target.search_path(architecture.musl_name), options.library_path, options.exclude)
    return resolve(files, target, architecture, search)


def _decide(
    facts: Facts,
    arrangement: _Arrangement,
    resolution: Resolution,
    target: Target,
    options: Options,
    architecture: Architecture,
    findings: tuple[Finding, ...],
) -> Plan:
    external = tuple(sorted(path for path in resolution.edges if not is_mounted(path)))
    names = {path: arrangement.members.get(path, str(path)) for path in resolution.elfs}
    release = system_release(target, architecture)
    mended = {Feature.RUNPATH, Feature.RELR} if options.lower_relr else {Feature.RUNPATH}
    unbound = unbound_symbols(resolution)
    reasons = reasons_for(resolution, unbound, names, architecture, mended)
    result = choose_platforms(
        facts.wheel.name,
        architecture,
        requested=options.platform,
        system=release,
        reasons=reasons,
        vendors=bool(external),
    )
    lowers = options.lower_relr and _promises(result, Feature.RELR, architecture)
    reasons = reasons_for(resolution, unbound, names, architecture, mended if lowers else {Feature.RUNPATH})
    recipes = {path: _recipe(path, facts, arrangement, resolution, target, lowers=lowers) for path in external}
    grafts = {path: _graft(path, arrangement, resolution, target, recipes) for path in external}
    places = {path: install_path(facts.wheel.data, graft.member) for path, graft in grafts.items()}
    patches = _patches(arrangement, resolution, grafts, places, result, architecture, lowers=lowers)
    problems = (
        *_judge_system(target, architecture, release, needed=bool(external or resolution.missing)),
        *judge_resolution(resolution, unbound, names, architecture),
        *judge_tag(result, reasons, architecture.name),
        *(() if lowers else judge_relr(resolution, names, result, architecture, Severity.WARNING)),
        *_judge_places(facts, arrangement, resolution, grafts),
    )
    return Plan(
        wheel=facts.wheel.name,
        result=result,
        architecture=architecture,
        resolution=resolution,
        members={**arrangement.members, **{path: graft.member for path, graft in grafts.items()}},
        grafts=tuple(sorted(grafts.values(), key=lambda graft: graft.member)),
        patches=tuple(sorted(patches, key=lambda patch: patch.member)),
        moves=arrangement.moves,
        reasons=reasons,
        findings=tuple(sorted(item for item in {*findings, *problems} if item.code not in options.accepted)),
        completes_record=bool(facts.unlisted),
    )


def _promises(result: WheelName, feature: Feature, architecture: Architecture) -> bool:
    """Whether the result's tags promise a musl that does not have a feature yet."""
    since = feature_since(feature, architecture.name)
    return since is not None and promises(result, since)


def _recipe(
    path: PurePosixPath,
    facts: Facts,
    arrangement: _Arrangement,
    resolution: Resolution,
    target: Target,
    *,
    lowers: bool,
) -> Recipe:
    place = install_path(facts.wheel.data, f"{arrangement.folder}/{path.name}")
    edges = resolution.edges[path]
    return Recipe(
        filename=path.name,
        sha256=target.digest(path),
        needs=tuple(sorted((name, at.name) for name, at in edges.items())),
        rpath=rpath_to([at if is_mounted(at) else place for at in edges.values()], place, ()),
        lowered=lowers and resolution.elfs[path].relr,
    )


def _graft(
    path: PurePosixPath,
    arrangement: _Arrangement,
    resolution: Resolution,
    target: Target,
    recipes: Mapping[PurePosixPath, Recipe],
) -> Graft:
    recipe = recipes[path]
    name = graft_name(recipe, [recipes[at] for at in resolution.closures[path] if at in recipes])
    return Graft(path, f"{arrangement.folder}/{name}", recipe.sha256, target.size(path), target.owner(path))


def _patches(
    arrangement: _Arrangement,
    resolution: Resolution,
    grafts: Mapping[PurePosixPath, Graft],
    places: Mapping[PurePosixPath, PurePosixPath],
    result: WheelName,
    architecture: Architecture,
    *,
    lowers: bool,
) -> Iterator[Patch]:
    """Yield the edits of every file that changes, and of every graft, changed or not."""
    old_loaders = _promises(result, Feature.RUNPATH, architecture)
    for path, member in arrangement.members.items():
        elf = resolution.elfs.get(path)
        if elf is None:
            continue
        lower = lowers and elf.relr and not elf.relocates_itself
        edges = resolution.edges[path]
        patch = wheel_patch(member, elf, path, edges, places, lower_relr=lower, old_loaders=old_loaders)
        if patch.changes:
            yield patch
    for path, graft in grafts.items():
        elf = resolution.elfs[path]
        lower = lowers and elf.relr
        yield graft_patch(graft.member, elf, places[path], resolution.edges[path], places, lower_relr=lower)


def _judge_system(
    target: Target, architecture: Architecture, release: Release | None, *, needed: bool
) -> Iterator[Finding]:
    if release is not None or not needed:
        return
    others = [name for name in target.loaders() if name != architecture.loader.name]
    if others:
        detail = f"the wheel is for {architecture.name}, the sysroot has {', '.join(others)}"
        yield finding("wrong-architecture", "the sysroot", detail)
    else:
        yield finding("sysroot-without-musl", "the sysroot", f"it has no {architecture.loader}")


def _judge_places(
    facts: Facts,
    arrangement: _Arrangement,
    resolution: Resolution,
    grafts: Mapping[PurePosixPath, Graft],
) -> Iterator[Finding]:
    """Find files that cannot reach what they need, and new members that are there already."""
    for path, member in arrangement.members.items():
        for name, at in resolution.edges.get(path, {}).items():
            root = scheme_root(install_path(facts.wheel.data, grafts[at].member) if at in grafts else at)
            if root != scheme_root(path):
                yield finding("elf-outside-site-packages", member, f"it needs {name}")
    added = [graft.member for graft in grafts.values()] + [move.moved for move in arrangement.moves]
    for member in sorted(set(added) & set(facts.members)):
        yield finding("member-collision", member, "the wheel has a file of this name already")
