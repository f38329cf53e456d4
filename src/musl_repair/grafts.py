"""Names of grafts: libraries of the target system that a wheel gets its own copy of.

A name holds a hash of all that decides the copy's bytes, so that equal names mean equal copies in every wheel: musl
takes the first library of a name for every later one (ldso/dynlink.c, load_library), whichever wheel it is from.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.loader import is_reserved

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import PurePosixPath

    from musl_repair.sysroot import Package

_RECIPE: Final = 1
"""Raised when grafts of the same sources come to be edited in another way."""
_HASHED: Final = re.compile(r"-[0-9a-f]{8}$")


@dataclass(frozen=True, slots=True)
class Graft:
    """One library that goes into the wheel."""

    source: PurePosixPath
    """The real file, at the end of all links, as a loader path."""
    member: str
    """Its archive name in the new wheel."""
    sha256: str
    """Of the source file, in hex."""
    size: int
    """Of the source file, in bytes."""
    owner: Package | None

    @property
    def name(self) -> str:
        """The file name, which is also the soname and what others need it by."""
        return self.member.rpartition("/")[2]


class Recipe(NamedTuple):
    """All that decides a graft's bytes, but for the names of the grafts that it needs."""

    filename: str
    """The real file's."""
    sha256: str
    """Of the real file's content, in hex."""
    needs: tuple[tuple[str, str], ...]
    """(needed name, name of the real file that answers it), sorted."""
    rpath: str
    lowered: bool


def graft_name(graft: Recipe, closure: Iterable[Recipe]) -> str:
    """Return the unique name of a graft. closure are those that come with it; their names are among its bytes.

    A hash that the file's name carries already is replaced.
    """
    recipe = [_RECIPE, graft, sorted(set(closure))]
    digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:8]
    filename = graft.filename
    stem, so, version = filename.partition(".so")
    name = f"{_HASHED.sub('', stem)}-{digest}{so}{version}"
    if is_reserved(name):
        # libm.custom.so: all behind the first dot is nothing to musl, so the hash has to stand before it.
        stem, _, rest = filename.partition(".")
        name = f"{stem}-{digest}.{rest}"
    return name
