"""musl's history: which release exports which symbol, what its loader learnt when, which distribution has it.

The data lie beside the code: `data/musl.json` is a replayable log of the exports of every release
(tools/add_musl_release.py adds one), `data/distributions.json` and `data/hints.json` are tables. They are
facts about musl, not about the host, and never change while the program runs: so they are read once, when
first asked for.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pkgutil import get_data
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from musl_repair.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

_FORMAT = 1
_RELEASE = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})(?:[-_].*)?")


class Release(NamedTuple):
    """A release of musl; ordered."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Release:
        """Read `1.2.3`, a snapshot (`1.2.4_git20230717`) or a package version (`1.2.5-r23`).

        Of the last two only the release counts that they are named after. Raises ValueError for anything
        else.
        """
        found = _RELEASE.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"not a release of musl: {text!r}; expected something like 1.2.5")
        return cls(*map(int, found.groups()))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


class Span(NamedTuple):
    """Releases in a row that have a symbol: from first on, up to but without until; None: to this day."""

    first: Release
    until: Release | None

    def has(self, release: Release) -> bool:
        """Say whether a release is one of them."""
        return self.first <= release and (self.until is None or release < self.until)


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """What musl's libc has exported on one architecture, release by release.

    releases are all that the data know of, in order; first is the first that supports the architecture.
    Questions about another release are answered as for the nearest one before it, so a release newer than
    the data counts as the newest in the data.
    """

    arch: str
    first: Release
    releases: tuple[Release, ...]
    _spans: Mapping[str, tuple[Span, ...]] = field(repr=False)
    _aliases: Mapping[str, Release] = field(repr=False)

    @property
    def newest(self) -> Release:
        """The newest release that the data know of on this architecture."""
        return self.releases[-1]

    def spans(self, name: str) -> tuple[Span, ...]:
        """Return when libc exports the name, in order; empty where it never does."""
        return self._spans.get(name, ())

    def resolves(self, name: str, release: Release) -> bool:
        """Say whether a relocation against the name binds: to an export, or to an alias of the loader."""
        return any(span.has(release) for span in self._bindings(name))

    def since(self, name: str) -> Release | None:
        """Return the first release from which on every release resolves the name in relocations.

        None where no release does, or where the newest no longer does.
        """
        start: Release | None = None
        for span in reversed(self._bindings(name)):
            if span.until != start:
                break
            start = span.first
        return start

    def removed_in(self, name: str) -> Release | None:
        """Return the release from which on the name is no longer resolved; None where it is, or never was."""
        bindings = self._bindings(name)
        return bindings[-1].until if bindings else None

    def exports(self, release: Release) -> frozenset[str]:
        """Return the names that libc's dynamic symbol table holds; empty before the first release."""
        return frozenset(name for name, spans in self._spans.items() if any(span.has(release) for span in spans))

    def exports_now(self) -> frozenset[str]:
        """Return the names that libc's dynamic symbol table holds in the newest release."""
        return frozenset([name for name, spans in self._spans.items() if spans[-1].until is None])

    def identify(self, exports: Collection[str]) -> tuple[Release, ...]:
        """Tell musl's release from the exports of a libc: all the releases that fit equally well, in order.

        Several releases can export the same names (1.1.24 to 1.2.1 do on 64-bit architectures): for a tag
        the last one is the careful choice. Empty where the names are not musl's. Distributions patch, so
        nothing has to fit exactly: a backport is likely, a missing name is not, and names that upstream
        removed are often kept alive (Alpine 3.18 does so with all that 1.2.4 removed, and cannot be told
        from 1.2.3).
        """
        seen, newest = frozenset(exports), self.exports_now()
        if 2 * len(seen & newest) < len(newest):
            return ()
        counts = Counter((spans, name in seen) for name, spans in self._spans.items())
        misfits = {release: _misfit(release, counts) for release in self.releases}
        best = min(misfits.values())
        return tuple(release for release in self.releases if misfits[release] == best)

    def _bindings(self, name: str) -> tuple[Span, ...]:
        alias = self._aliases.get(name)
        return self.spans(name) if alias is None else (*self.spans(name), Span(alias, None))


# Four: Alpine 3.1 has musl 1.1.5 with nine of the twelve names that 1.1.6 brought.
_MISSING_WEIGHS = 4


def _misfit(release: Release, counts: Mapping[tuple[tuple[Span, ...], bool], int]) -> tuple[int, int]:
    """Return how badly a libc fits the release; names that this no longer has only decide among equals.

    counts: how many names with these spans were seen, or not seen, in the libc.
    """
    missing = early = late = 0
    for (spans, seen), count in counts.items():
        expected = any(span.has(release) for span in spans)
        if expected and not seen:
            missing += count
        elif seen and not expected and release < spans[0].first:
            early += count
        elif seen and not expected:
            late += count
    return _MISSING_WEIGHS * missing + early, late


def architectures() -> tuple[str, ...]:
    """Return the architectures, as wheel tags name them, that there is a history of; that of armv7l is armv6l's too."""
    return tuple(sorted(_log()["known"]))


def newest_release() -> Release:
    """Return the newest release that the data know of."""
    return Release.parse(_log()["releases"][-1])


@cache
def history(arch: str) -> History:
    """Return musl's history on an architecture, named as wheel tags do; raises PlatformError if unknown."""
    return _replay(_log(), _port(arch))


def _port(arch: str) -> str:
    """Return the architecture under whose name musl's data are: arch/arm is one, for ARMv6 and ARMv7."""
    return "armv7l" if arch == "armv6l" else arch


def parse_history(text: str, arch: str) -> History:
    """Read a history from the text of a log (the format of data/musl.json); raises as `history` does."""
    return _replay(_checked(json.loads(text), "the log"), arch)


def _replay(log: Mapping[str, Any], arch: str) -> History:
    if arch not in log["known"]:
        known = ", ".join(sorted(log["known"]))
        raise PlatformError(f"musl's history on {arch!r} is not known; the known architectures are {known}")
    first, newest = map(Release.parse, log["known"][arch])
    releases = tuple(release for release in map(Release.parse, log["releases"]) if release <= newest)
    spans: dict[str, tuple[Span, ...]] = {}
    for names, span in _spans_in(log, arch, releases):
        if span.until is None or span.until > first:
            clipped = (Span(max(first, span.first), span.until),)
            spans |= {name: spans.get(name, ()) + clipped for name in names}
    aliases = log["loader_aliases"]
    return History(
        arch=arch,
        first=first,
        releases=tuple(release for release in releases if release >= first),
        _spans=MappingProxyType(spans),
        _aliases=MappingProxyType({name: max(first, release) for name, release in _alias_starts(aliases)}),
    )


def _spans_in(log: Mapping[str, Any], arch: str, releases: tuple[Release, ...]) -> Iterator[tuple[Iterable[str], Span]]:
    """Replay the log: yield names with the span that they share, those without an end last.

    No name is both in the common part and in an architecture's, so they replay as one.
    """
    open_: dict[Release, dict[str, None]] = {}
    for release in releases:
        arrived = open_.setdefault(release, {})
        for part in ("common", arch):
            for name in log["removed"].get(part, {}).get(str(release), ()):
                since = next(one for one, names in open_.items() if name in names)
                del open_[since][name]
                yield (name,), Span(since, release)
            arrived |= dict.fromkeys(log["symbols"].get(part, {}).get(str(release), ()))
    for release, names in open_.items():
        yield names, Span(release, None)


def _alias_starts(aliases: Mapping[str, Any]) -> Iterator[tuple[str, Release]]:
    """Give the names that the loader maps to others by itself, and since when: ldso/dynlink.c get_lfs64."""
    for name in aliases["names"]:
        yield name, Release.parse(aliases["exceptions"].get(name, aliases["since"]))


class Feature(str, Enum):
    """Something in an ELF file that not every release of musl's loader understands."""

    RELR = "DT_RELR"
    TLSDESC = "TLSDESC"
    RUNPATH = "DT_RUNPATH"
    GNU_HASH = "DT_GNU_HASH"
    RELRO = "PT_GNU_RELRO"
    STACK_SIZE = "PT_GNU_STACK size"
    EMPTY_SEGMENT = "empty writable PT_LOAD"
    LIBC_PREFIX = "name that begins like libc's"
    LAZY = "RTLD_LAZY"
    INIT_ORDER = "constructors in order of dependency"


# musl's ldso/dynlink.c; the commit that brought each is in the first release after it.
_FEATURES: Mapping[Feature, str | None] = MappingProxyType(
    {
        # Older releases ignore the table without a word, and the library crashes (d32dadd6).
        Feature.RELR: "1.2.4",
        Feature.TLSDESC: None,  # differs: see below
        Feature.RUNPATH: "1.1.6",  # before, only DT_RPATH is read (d8dc2b7c)
        Feature.GNU_HASH: "0.9.5",
        Feature.RELRO: "1.1.0",  # before, it is ignored
        Feature.STACK_SIZE: "1.1.21",  # before, it is ignored
        Feature.EMPTY_SEGMENT: "1.2.6",  # reclaim_gaps corrupts memory before (5ccf05d8)
        # Before, libp.so or libr.so was taken for libc: any beginning of libpthread, librt, ... (5ffe515c).
        Feature.LIBC_PREFIX: "1.1.16",
        Feature.LAZY: "1.1.17",  # before, RTLD_LAZY is RTLD_NOW
        Feature.INIT_ORDER: "1.1.22",
    }
)

# arch/*/reloc.h (REL_TLSDESC); ppc64le and s390x have none.
_TLSDESC: Mapping[str, str] = MappingProxyType(
    {
        "x86_64": "1.1.3",
        "i686": "1.1.3",
        "aarch64": "1.1.7",
        "armv7l": "1.2.5",  # older releases have it, but get the addends wrong: another variable is accessed
        "riscv64": "1.2.5",
        "loongarch64": "1.2.6",
    }
)


def feature_since(feature: Feature, arch: str) -> Release | None:
    """Return the first release on the architecture whose loader gets the feature right; None where none does.

    Raises PlatformError for an unknown architecture.
    """
    first = history(arch).first
    text = _TLSDESC.get(_port(arch)) if feature is Feature.TLSDESC else _FEATURES[feature]
    return None if text is None else max(first, Release.parse(text))


class Distribution(NamedTuple):
    """A release of a distribution as it came out: its musl, and how that differs from upstream's."""

    name: str
    version: str
    musl: Release
    extra_symbols: frozenset[str] = frozenset()
    missing_symbols: frozenset[str] = frozenset()
    extra_features: frozenset[Feature] = frozenset()

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def runs(self, arch: str) -> bool:
        """Say whether its musl supports the architecture; whether there is a port is not known here."""
        return self.musl >= history(arch).first

    def resolves(self, arch: str, name: str) -> bool:
        """Say whether a relocation against the name is resolved by its libc."""
        upstream = name not in self.missing_symbols and history(arch).resolves(name, self.musl)
        return self.runs(arch) and (upstream or name in self.extra_symbols)

    def has(self, feature: Feature, arch: str) -> bool:
        """Say whether its loader understands the feature."""
        since = feature_since(feature, arch)
        upstream = since is not None and self.musl >= since
        return self.runs(arch) and (upstream or feature in self.extra_features)


@cache
def distributions() -> tuple[Distribution, ...]:
    """Return the distributions with musl: Alpine in order of age, then Debian."""
    return tuple(_distribution(entry) for entry in _load("distributions.json")["distributions"])


def _distribution(entry: Mapping[str, Any]) -> Distribution:
    aliases = _log()["loader_aliases"]["names"] if entry.get("lfs64_exported", False) else ()
    return Distribution(
        name=entry["name"],
        version=entry["version"],
        musl=Release.parse(entry["musl"]),
        extra_symbols=frozenset((*entry.get("extra_symbols", ()), *aliases)),
        missing_symbols=frozenset(entry.get("missing_symbols", ())),
        extra_features=frozenset(map(Feature, entry.get("extra_features", ()))),
    )


def hint(name: str, arch: str = "x86_64") -> str | None:
    """Say in a line what a symbol that musl lacks, or got late, is and what to do; None if unknown."""
    known = history(arch)
    rows = _load_hints()
    for row in rows:
        if name in row.names:
            return row.text
    if known.since(name) is not None:
        return None
    for row in rows:
        if row.pattern is not None and row.pattern.fullmatch(name):
            return row.text
    removed = known.removed_in(name)
    if removed is None:
        return None
    return f"musl's own, removed in {removed}: compile against the headers of a newer musl"


class _Hint(NamedTuple):
    """What to say of some names. Exact ones come before patterns, and musl may have got them since."""

    text: str
    names: frozenset[str]
    pattern: re.Pattern[str] | None


@cache
def _load_hints() -> tuple[_Hint, ...]:
    return tuple(
        _Hint(
            text=row["hint"],
            names=frozenset(row.get("names", ())),
            pattern=re.compile(row["pattern"]) if "pattern" in row else None,
        )
        for row in _load("hints.json")["hints"]
    )


@cache
def _log() -> Mapping[str, Any]:
    return _load("musl.json")


def _load(name: str) -> Mapping[str, Any]:
    return _checked(json.loads(read_data("musl_repair", f"data/{name}")), name)


def read_data(package: str, name: str) -> bytes:
    """Return the content of a file that lies beside a package's code."""
    # Not by importlib.resources, which takes longer to find a file than we take to read it. There is only no content
    # where a package is loaded by something that has no files.
    return cast("bytes", get_data(package, name))


def _checked(data: Any, name: str) -> Mapping[str, Any]:
    if data["format"] != _FORMAT:
        raise ValueError(f"{name} has format {data['format']}; this musl-repair reads format {_FORMAT}")
    return MappingProxyType(data)
