"""Which platform tags are true of a wheel, which it gets, and what keeps it from a lower one.

Source: PEP 656: musllinux_X_Y promises musl X.Y.0 and everything later; the tag carries no patch release. PEP 600
(manylinux), and the platform tags specification (macOS, iOS, Android, Pyodide).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.abi import Release, history
from musl_repair.findings import Finding, finding
from musl_repair.policy import Architecture, MuslTag, architecture_of, is_musl_linked, parse_tag, requested_tag
from musl_repair.polyfill import offered
from musl_repair.requirement import Reason, lowest_release, verdicts, where_it_runs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from musl_repair.elf import Elf
    from musl_repair.wheel import WheelName

_OLDEST: Final = (1, 1)
"""The lowest tag that "auto" gives: installers and indexes know none before it."""
_MOST_REASONS: Final = 10
_NOT_ON_PYPI: Final = frozenset({"armv6l", "loongarch64"})
"""Architectures that warehouse/forklift/legacy.py does not list for musllinux."""
_LINUX: Final = re.compile(r"(linux|manylinux(?:1|2010|2014|_\d+_\d+)|musllinux_\d+_\d+|android_\d+)_(\w+)")
_SPELLINGS: Final = {
    "armv8l": "armv7l", "armeabi_v7a": "armv7l",
    "i386": "i686", "i486": "i686", "i586": "i686", "x86": "i686",
    "arm64_v8a": "aarch64",
}  # fmt: skip
"""How machines that build wheels, and Android, call an architecture → its name in musllinux tags."""
_SYSTEMS: Final = {
    "win": "Windows", "cygwin": "Windows", "mingw": "Windows",
    "macosx": "macOS", "ios": "iOS",
    "android": "Android",
    "emscripten": "WebAssembly", "pyodide": "WebAssembly", "wasi": "WebAssembly", "wasm": "WebAssembly",
}  # fmt: skip
"""How platform tags begin, up to a digit or underscore → the system."""
_OTHER_LIBCS: Final = ("manylinux", "android")
"""How the tags begin that promise another C library than musl."""
_MUSL_MODULE: Final = re.compile(r"-linux-musl\w*\.so$")
"""How CPython on musl names modules since 3.11, and no other Python looks for."""


class Untrue(NamedTuple):
    """A platform tag that cannot be true, and why."""

    platform: str
    why: str


def system_of(platform: str) -> str:
    """Return the system that a platform tag is for; "any" counts as Linux."""
    name = re.split(r"[_\d]", platform, maxsplit=1)[0]
    return _SYSTEMS.get(name, "Linux" if name in ("any", "linux", "manylinux", "musllinux") else platform)


def _machine(platform: str) -> str:
    """Return the architecture that a platform tag for Linux, or Android, names; "" for others."""
    match = _LINUX.fullmatch(platform)
    return "" if match is None else _SPELLINGS.get(match[2], match[2])


def is_for(platform: str, architecture: Architecture) -> bool:
    """Whether a platform tag is for Linux on an architecture, whichever C library it names."""
    return platform == "any" or (system_of(platform) == "Linux" and _machine(platform) == architecture.name)


def untrue_platforms(
    platforms: Iterable[str], elfs: Mapping[str, Elf], architecture: Architecture, systems: Collection[str]
) -> Iterator[Untrue]:
    """Yield the platform tags that cannot be true of a wheel whose ELF files are most for one architecture.

    systems are the other systems that it has programs or libraries for: a tag for one of these may be true. So may one
    for another C library, where no file was linked against musl: a static program runs everywhere.
    """
    tags = tuple(platforms)
    # Files for other machines are data, unless the wheel has tags for its own machine and for others.
    is_fat = any(is_for(platform, architecture) for platform in tags)
    by_machine: dict[str, dict[str, Elf]] = {architecture.name: {}}
    for name, elf in elfs.items():
        found = architecture if architecture.fits(elf) else architecture_of(elf)
        if found is not None and (is_fat or found == architecture):
            by_machine.setdefault(found.name, {})[name] = elf
    for platform in tags:
        machine, system = _machine(platform), system_of(platform)
        if platform == "any" or ("macOS" if system == "iOS" else system) in systems:
            continue
        if system not in ("Linux", "Android"):
            yield Untrue(platform, f"none of the programs and libraries is for {system}")
        elif machine not in by_machine:
            yield Untrue(platform, f"the ELF files are for {architecture.name}")
        elif platform.startswith(_OTHER_LIBCS):
            yield from (Untrue(platform, f"{name} is linked against musl") for name in _of_musl(by_machine[machine]))


def _of_musl(elfs: Mapping[str, Elf]) -> list[str]:
    """Return the first file that is musl's, if there is one."""
    return sorted(name for name, elf in elfs.items() if is_musl_linked(elf) or _MUSL_MODULE.search(name))[:1]


def without_untrue(
    name: WheelName, elfs: Mapping[str, Elf], architecture: Architecture, systems: Collection[str]
) -> WheelName:
    """Return a name without the platform tags that cannot be true; it may have none left."""
    untrue = {one.platform for one in untrue_platforms(name.platforms, elfs, architecture, systems)}
    return name._replace(platform=".".join(platform for platform in name.platforms if platform not in untrue))


def choose_platforms(
    name: WheelName,
    architecture: Architecture,
    *,
    requested: str,
    system: Release | None,
    reasons: tuple[Reason, ...],
    vendors: bool,
) -> WheelName:
    """Return the name that the repaired wheel gets.

    A tag that was asked for is taken. Else a musllinux wheel that gets no library keeps its tags; any other wheel gets
    the higher of the system's musl and the one that it requires. Tags for other systems stay, those for another C
    library if no library is added. Raises PlatformError for a request that is no musllinux tag of the architecture.
    """
    asked = requested_tag(requested, architecture.name)
    own = tuple(tag for tag in map(parse_tag, name.platforms) if tag is not None)
    if asked is not None:
        tags: tuple[MuslTag, ...] = (asked,)
    elif own and not vendors:
        tags = own
    else:
        lowest = lowest_release(reasons, architecture.name)
        known = [lowest] if system is None else [lowest, system]
        tags = (MuslTag(*max(_OLDEST, *((r.major, r.minor) for r in known)), architecture.name),)
    gone = ("linux_", "musllinux_", *(_OTHER_LIBCS if vendors else ()))
    others = [platform for platform in name.platforms if platform != "any" and not platform.startswith(gone)]
    platforms = [*others, *map(str, tags)]
    return name if set(platforms) == set(name.platforms) else name._replace(platform=".".join(platforms))


def of_musl_alone(name: WheelName) -> WheelName:
    """Return a name without the tags for other C libraries."""
    kept = (platform for platform in name.platforms if not platform.startswith(_OTHER_LIBCS))
    return name._replace(platform=".".join(kept))


def judge_additions(name: WheelName, added: Collection[str]) -> Iterator[Finding]:
    """Yield tags for other C libraries that are to stay though a wheel gets libraries of musl."""
    for platform in name.platforms if added else ():
        if platform.startswith(_OTHER_LIBCS):
            detail = f"the file name says {platform}, and the wheel gets {min(added)}, which is for musl"
            remedy = "leave --no-update-tags out: the tag then goes"
            yield finding("tag-mismatch", str(name), detail, remedy=remedy)


def musl_tags(name: WheelName) -> tuple[MuslTag, ...]:
    """Return the musllinux tags of a wheel's name, lowest first."""
    return tuple(sorted(tag for tag in map(parse_tag, name.platforms) if tag is not None))


def promises(name: WheelName, release: Release) -> bool:
    """Whether a wheel's tags promise that it runs on a musl older than this release."""
    return any(Release(tag.major, tag.minor, 0) < release for tag in musl_tags(name))


def judge_tag(name: WheelName, reasons: tuple[Reason, ...], arch: str) -> Iterator[Finding]:
    """Yield what is wrong with a wheel's lowest musllinux tag, in view of what its files require.

    reasons are ordered, highest release first.
    """
    tags = musl_tags(name)
    if not tags:
        return
    tag = tags[0]
    broken = tuple(reason for reason in reasons if reason.release > Release(tag.major, tag.minor, 0))
    # An architecture that came later than the tag's musl has no older musl that could fail.
    broken = tuple(reason for reason in broken if reason.release > history(arch).first)
    if not broken:
        return
    highest = broken[0].release
    if (highest.major, highest.minor) > (tag.major, tag.minor):
        remedy = f"ask for musllinux_{highest.major}_{highest.minor} (or for auto), or avoid what needs the newer musl"
        yield finding("tag-too-low", str(tag), *_because(broken), remedy=remedy)
    else:
        detail = [*_because(broken), _distributions(tag, broken, arch)]
        yield finding("tag-promises-too-much", str(tag), *detail, remedy=_remedy(broken, arch))


def judge_index(name: WheelName) -> Iterator[Finding]:
    """Yield tags that PyPI does not take."""
    for tag in musl_tags(name):
        if tag.arch in _NOT_ON_PYPI:
            yield finding("tag-not-on-pypi", str(tag), f"PyPI accepts no musllinux wheels for {tag.arch}")


def _remedy(broken: tuple[Reason, ...], arch: str) -> str | None:
    """Return what --polyfill can do about it; None where it can do nothing."""
    causes = list(dict.fromkeys(reason.cause for reason in broken))
    having = [cause for cause in causes if cause in offered(arch)]
    without = [cause for cause in causes if cause not in having]
    if not having:
        return None
    rest = f"; there is none for {', '.join(without)}" if without else ""
    return f"repair the wheel with --polyfill: it gets a {', '.join(having)} of its own{rest}"


def _distributions(tag: MuslTag, broken: tuple[Reason, ...], arch: str) -> str:
    """Return which of the distributions that the tag speaks of have what is needed, and which do not."""
    promised = [
        verdict for verdict in verdicts(broken, arch) if verdict.distribution.musl >= Release(tag.major, tag.minor, 0)
    ]
    failing = ", ".join(str(verdict.distribution) for verdict in promised if not verdict.runs)
    return f"runs on {where_it_runs(promised)}" + (f"; not on {failing}" if failing else "")


def _because(reasons: Iterable[Reason]) -> list[str]:
    """Return the reasons as text, a line each for a cause and the files that have it."""
    files: dict[tuple[Release, str], list[str]] = {}
    for reason in reasons:
        files.setdefault((reason.release, reason.cause), []).append(reason.member)
    lines = [
        f"{cause} is there since musl {release}; needed by {', '.join(members)}"
        for (release, cause), members in files.items()
    ]
    if len(lines) > _MOST_REASONS:
        lines = [*lines[:_MOST_REASONS], f"and {len(lines) - _MOST_REASONS} more"]
    return lines
