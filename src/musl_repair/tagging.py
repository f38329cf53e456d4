"""Which platform tags a wheel gets, and what keeps it from a lower one.

Source: PEP 656: musllinux_X_Y promises musl X.Y.0 and everything later; the tag carries no patch release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from musl_repair.abi import Release, history
from musl_repair.findings import Finding, finding
from musl_repair.policy import Architecture, MuslTag, parse_tag, requested_tag
from musl_repair.polyfill import offered
from musl_repair.requirement import Reason, lowest_release, verdicts, where_it_runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from musl_repair.wheel import WheelName

_OLDEST: Final = (1, 1)
"""The lowest tag that "auto" gives: installers and indexes know none before it."""
_MOST_REASONS: Final = 10
_NOT_ON_PYPI: Final = frozenset({"armv6l", "loongarch64"})
"""Architectures that warehouse/forklift/legacy.py does not list for musllinux."""


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
    the higher of the system's musl and the one that it requires. Tags for other systems stay if no library is added.
    Raises PlatformError for a request that is no musllinux tag of the architecture.
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
    others = [platform for platform in name.platforms if not _is_replaced(platform) and not vendors]
    return name._replace(platform=".".join([*others, *map(str, tags)]))


def _is_replaced(platform: str) -> bool:
    return platform == "any" or platform.startswith(("linux_", "musllinux_"))


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
