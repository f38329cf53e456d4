"""What vendored libraries cost, which of them stand in several places, and what sharing them would save. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, TypeVar

from musl_repair.policy import describe_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from musl_repair.vendored import Copy, Holder

_Key = TypeVar("_Key")
_HASHES: Final = re.compile(r"(-[0-9a-f]{8,64})+$")
"""What repairing put behind a library's name, once or several times."""


class Kinship(Enum):
    """The closest that another file stands to a copy."""

    LINKED = "linked"
    """Another name of the same file."""
    CONTENT = "content"
    BUILD = "build"
    """What one run of the linker made, edited in another way since."""
    LIBRARY = "library"
    """Another version or build of the same library."""
    ALONE = "alone"


@dataclass(frozen=True, slots=True)
class Savings:
    """Bytes that an image would not need; each includes those before it."""

    content: int = 0
    """If files of the same content were one file."""
    build: int = 0
    """If the copies of one build were one file: had they been edited in the same way."""
    library: int = 0
    """If every library stood there once: had all wheels been built with the same one."""

    def __add__(self, other: Savings) -> Savings:
        """Return what both save."""
        return Savings(self.content + other.content, self.build + other.build, self.library + other.library)


@dataclass(frozen=True, slots=True)
class Variant:
    """Copies of the same content."""

    sha256: str
    size: int
    copies: tuple[Copy, ...]
    """Sorted by holder and member."""

    @property
    def places(self) -> int:
        """How many files there are on disk; hard links do not count."""
        return len({copy.place for copy in self.copies})

    @property
    def disk(self) -> int:
        """Bytes on disk."""
        return self.size * self.places


@dataclass(frozen=True, slots=True)
class Build:
    """The copies that come from one run of the linker; a file without build-id is a build by itself."""

    build_id: str | None
    variants: tuple[Variant, ...]
    """The largest first."""


@dataclass(frozen=True, slots=True)
class Library:
    """All copies of one library for one architecture, whatever their versions."""

    name: str
    """What is before ".so", without the hash of a repair."""
    target: str
    builds: tuple[Build, ...]
    """The largest first."""

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The contents of all builds, in their order."""
        return tuple(variant for build in self.builds for variant in build.variants)

    @property
    def copies(self) -> tuple[Copy, ...]:
        """All copies, in the order of the variants."""
        return tuple(copy for variant in self.variants for copy in variant.copies)

    @property
    def holders(self) -> tuple[str, ...]:
        """Who has a copy, sorted."""
        return tuple(sorted({copy.holder for copy in self.copies}))

    @property
    def size(self) -> int:
        """Bytes of all copies, those that are hard links too."""
        return sum(copy.size for copy in self.copies)

    @property
    def disk(self) -> int:
        """Bytes on disk."""
        return sum(variant.disk for variant in self.variants)

    @property
    def savings(self) -> Savings:
        """What sharing would save; of different files the largest stays."""
        return Savings(
            content=self.disk - sum(variant.size for variant in self.variants),
            build=self.disk - sum(build.variants[0].size for build in self.builds),
            library=self.disk - self.builds[0].variants[0].size,
        )

    def kinship(self, copy: Copy) -> Kinship:
        """Return how close another file stands to one of the copies."""
        build, variant = next(
            (build, variant) for build in self.builds for variant in build.variants if variant.sha256 == copy.sha256
        )
        if sum(other.place == copy.place for other in variant.copies) > 1:
            return Kinship.LINKED
        if variant.places > 1:
            return Kinship.CONTENT
        if len(build.variants) > 1:
            return Kinship.BUILD
        return Kinship.LIBRARY if len(self.builds) > 1 else Kinship.ALONE


@dataclass(frozen=True, slots=True)
class Sizes:
    """What some wheels, or an installed environment, spend on vendored libraries."""

    holders: tuple[Holder, ...]
    """Those with the most vendored bytes first."""
    libraries: tuple[Library, ...]
    """The largest first."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(holder.size for holder in self.holders)

    @property
    def vendored(self) -> int:
        """Bytes of all vendored files, those that are hard links too."""
        return sum(map(vendored_size, self.holders))

    @property
    def disk(self) -> int:
        """Bytes of vendored files on disk."""
        return sum(library.disk for library in self.libraries)

    @property
    def savings(self) -> Savings:
        """What sharing would save in all."""
        return sum((library.savings for library in self.libraries), Savings())


def measure(holders: Iterable[Holder]) -> Sizes:
    """Return what these hold, put in order."""
    listed = sorted(holders, key=lambda holder: (-vendored_size(holder), -holder.size, holder.name))
    copies = sorted(
        (copy for holder in listed for copy in holder.copies), key=lambda copy: (copy.holder, copy.member, copy.place)
    )
    libraries = [
        Library(name, target, _builds(group))
        for (name, target), group in _grouped(copies, lambda copy: (library_name(copy), _target(copy))).items()
    ]
    return Sizes(tuple(listed), tuple(sorted(libraries, key=lambda one: (-one.size, one.name, one.target))))


def _builds(copies: list[Copy]) -> tuple[Build, ...]:
    groups = _grouped(copies, lambda copy: (_build_id(copy), "" if _build_id(copy) else copy.sha256))
    builds = [Build(build_id, _variants(group)) for (build_id, _), group in groups.items()]
    return tuple(sorted(builds, key=lambda build: (-build.variants[0].size, build.variants[0].sha256)))


def _variants(copies: list[Copy]) -> tuple[Variant, ...]:
    groups = _grouped(copies, lambda copy: copy.sha256)
    variants = [Variant(sha256, group[0].size, tuple(group)) for sha256, group in groups.items()]
    return tuple(sorted(variants, key=lambda variant: (-variant.size, variant.sha256)))


def _grouped(copies: Iterable[Copy], key: Callable[[Copy], _Key]) -> dict[_Key, list[Copy]]:
    groups: dict[_Key, list[Copy]] = {}
    for copy in copies:
        groups.setdefault(key(copy), []).append(copy)
    return groups


def vendored_size(holder: Holder) -> int:
    """Return the bytes of a holder's vendored files."""
    return sum(copy.size for copy in holder.copies)


def library_name(copy: Copy) -> str:
    """Return what a library is called whatever its version: its soname, else its file's name, up to ".so"."""
    soname = None if copy.elf is None else copy.elf.soname
    stem = (soname or PurePosixPath(copy.member).name).partition(".so")[0]
    return _HASHES.sub("", stem) or stem


def _target(copy: Copy) -> str:
    return "" if copy.elf is None else describe_target(copy.elf)


def _build_id(copy: Copy) -> str | None:
    return None if copy.elf is None else copy.elf.build_id


def identical(sizes: Sizes) -> tuple[Variant, ...]:
    """Return what is on disk more than once."""
    return tuple(variant for library in sizes.libraries for variant in library.variants if variant.places > 1)
