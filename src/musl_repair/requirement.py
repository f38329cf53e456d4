"""The lowest musl release that a wheel's files need, why, and which distributions have it.

musl has no symbol versions: what a file needs stands only in the names that it leaves undefined and in the ELF
features that it uses (musl 1.2.6 ldso/dynlink.c; `abi` has the history).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from musl_repair.abi import Distribution, Feature, Release, distributions, feature_since, history
from musl_repair.relocations import RELOCATIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from musl_repair.elf import Elf


class Reason(NamedTuple):
    """One cause why a file does not load on any musl before a release."""

    release: Release
    cause: str
    """A symbol's name, or a feature's."""
    member: str
    is_symbol: bool


class Verdict(NamedTuple):
    """Whether a wheel loads on a distribution, and if not, why."""

    distribution: Distribution
    lacking: tuple[Reason, ...]

    @property
    def runs(self) -> bool:
        """Whether the distribution's musl has everything."""
        return not self.lacking


def symbol_reasons(unbound: Iterable[tuple[str, str]], arch: str) -> Iterator[Reason]:
    """Yield why symbols that musl has to provide need the release that they need; unbound is (file, symbol).

    Names that no release has do not count: they cannot be had from a newer musl either.
    """
    known = history(arch)
    for member, name in unbound:
        since = known.since(name)
        if since is not None:
            yield Reason(since, name, member, is_symbol=True)


def feature_reasons(elfs: Mapping[str, Elf], arch: str, *, mended: Collection[Feature] = ()) -> Iterator[Reason]:
    """Yield why the ELF features of files need a release; mended are those that a repair replaces by older ones."""
    for member, elf in elfs.items():
        for feature in features_of(elf):
            since = feature_since(feature, arch)
            if since is not None and feature not in mended:
                yield Reason(since, feature.value, member, is_symbol=False)


def features_of(elf: Elf) -> Iterator[Feature]:
    """Yield what the file asks of a loader and not every release's loader has."""
    machine = RELOCATIONS.get(elf.machine)
    if elf.relocates_itself:
        return
    if elf.relr:
        yield Feature.RELR
    if machine is not None and machine.tlsdesc.intersection(elf.relocation_types):
        yield Feature.TLSDESC
    if elf.dt_runpath is not None and elf.dt_rpath is None:
        yield Feature.RUNPATH


def ordered(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Return the reasons, each once, the highest release first, then by cause and file."""
    return tuple(sorted(set(reasons), key=_highest_first))


def _highest_first(reason: Reason) -> tuple[tuple[int, int, int], str, str]:
    release = reason.release
    return (-release.major, -release.minor, -release.patch), reason.cause, reason.member


def lowest_release(reasons: Iterable[Reason], arch: str) -> Release:
    """Return the first release that satisfies all reasons: at least the first one of the architecture."""
    return max((reason.release for reason in reasons), default=history(arch).first)


def verdicts(reasons: tuple[Reason, ...], arch: str) -> tuple[Verdict, ...]:
    """Return for every known distribution that has the architecture whether it has all that is needed.

    By what each distribution's musl really has, backports and losses included, not by its release number.
    """
    return tuple(
        Verdict(distribution, tuple(reason for reason in reasons if not _has(distribution, reason, arch)))
        for distribution in distributions()
        if distribution.runs(arch)
    )


def _has(distribution: Distribution, reason: Reason, arch: str) -> bool:
    if reason.is_symbol:
        return distribution.resolves(arch, reason.cause)
    return distribution.has(Feature(reason.cause), arch)


def where_it_runs(found: Iterable[Verdict]) -> str:
    """Return in words on which distributions a wheel loads, as runs of releases."""
    return in_runs((verdict.distribution, verdict.runs) for verdict in found)


def in_runs(answers: Iterable[tuple[Distribution, bool]]) -> str:
    """Return in words for which of the distributions, which are in order, the answer is yes."""
    by_name: dict[str, list[tuple[str, bool]]] = {}
    for distribution, answer in answers:
        by_name.setdefault(distribution.name, []).append((distribution.version, answer))
    return "; ".join(filter(None, (_runs(name, row) for name, row in by_name.items()))) or "no known distribution"


def _runs(name: str, row: list[tuple[str, bool]]) -> str:
    """Return "Alpine 3.15 and later", or with gaps "Alpine 3.13 to 3.19, 3.24 and later"."""
    spans: list[str] = []
    first: str | None = None
    last = ""
    for version, answer in row:
        if answer:
            first, last = first or version, version
        elif first is not None:
            spans.append(first if first == last else f"{first} to {last}")
            first = None
    if first is not None:
        spans.append(f"{first} and later" if len(row) > 1 else first)
    return f"{name} {', '.join(spans)}" if spans else ""
