"""The lowest musl release that a set of ELF files needs, and why.

musl has no symbol versions: what a file needs stands only in the names that it leaves undefined and in the ELF
features that it uses (musl 1.2.6 ldso/dynlink.c; `abi` has the history).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from musl_repair.abi import Feature, Release, feature_since, history
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


def requirements(
    elfs: Mapping[str, Elf], arch: str, *, provided: Collection[str], mended: Collection[Feature] = ()
) -> tuple[Reason, ...]:
    """Return every reason of every file, highest release first, then by cause and file.

    provided are the names that do not come from musl; mended are features that the repair replaces by older ones.
    Names that no release has do not count: they cannot be had from a newer musl either.
    """
    reasons: set[Reason] = set()
    for member, elf in elfs.items():
        reasons.update(_symbol_reasons(member, elf, arch, provided))
        reasons.update(_feature_reasons(member, elf, arch, mended))
    return tuple(sorted(reasons, key=_highest_first))


def _highest_first(reason: Reason) -> tuple[tuple[int, int, int], str, str]:
    release = reason.release
    return (-release.major, -release.minor, -release.patch), reason.cause, reason.member


def _symbol_reasons(member: str, elf: Elf, arch: str, provided: Collection[str]) -> Iterator[Reason]:
    known = history(arch)
    for symbol in elf.imports:
        # do_relocs: an undefined weak symbol resolves to 0 without an error.
        if symbol.weak or symbol.name in provided:
            continue
        since = known.since(symbol.name)
        if since is not None:
            yield Reason(since, symbol.name, member, is_symbol=True)


def _feature_reasons(member: str, elf: Elf, arch: str, mended: Collection[Feature]) -> Iterator[Reason]:
    for feature in features_of(elf):
        since = feature_since(feature, arch)
        if since is not None and feature not in mended:
            yield Reason(since, feature.value, member, is_symbol=False)


def features_of(elf: Elf) -> Iterator[Feature]:
    """Yield what the file asks of a loader and not every release's loader has."""
    machine = RELOCATIONS.get(elf.machine)
    if elf.relr:
        yield Feature.RELR
    if machine is not None and machine.tlsdesc.intersection(elf.relocation_types):
        yield Feature.TLSDESC
    if elf.dt_runpath is not None and elf.dt_rpath is None:
        yield Feature.RUNPATH


def lowest_release(reasons: Iterable[Reason], arch: str) -> Release:
    """Return the first release that satisfies all reasons: at least the first one of the architecture."""
    return max((reason.release for reason in reasons), default=history(arch).first)
