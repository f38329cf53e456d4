"""Names of grafts: libraries of the target system that a wheel gets its own copy of.

A name holds a hash of all that decides the copy's bytes, so that equal names mean equal copies in every wheel: musl
takes the first library of a name for every later one (ldso/dynlink.c, load_library), whichever wheel it is from.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.loader import NAME_MAX, is_reserved
from musl_repair.patches import rpath_to
from musl_repair.wheel import is_plain_name
from musl_repair.world import is_mounted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import PurePosixPath

    from musl_repair.arrangement import Arrangement
    from musl_repair.graph import Resolution
    from musl_repair.options import Options
    from musl_repair.packages import Package
    from musl_repair.target import Target

_RECIPE: Final = 2
"""Raised when grafts of the same sources come to be edited in another way."""
_HASHED: Final = re.compile(r"-[0-9a-f]{8}$")


class Graft(NamedTuple):
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
    content: bytes | None = None
    """Where it does not come from the target system."""

    @property
    def name(self) -> str:
        """The file name, which is also the soname and what others need it by."""
        return self.member.rpartition("/")[2]


class Recipe(NamedTuple):
    """All that decides a graft's bytes, but for the names of the grafts that it needs."""

    filename: str
    """The real file's; = and a name where the graft keeps that."""
    sha256: str
    """Of the real file's content, in hex."""
    needs: tuple[tuple[str, str, str], ...]
    """(needed name, name of the real file that answers it, its SHA-256 or "" for a file of the wheel), sorted.

    And (needed name, the name in its place, "") of what no file answers.
    """
    rpath: str
    lowered: bool
    stripped: bool = False
    patcher: str = "builtin"
    """What edits it."""
    added: tuple[str, ...] = ()
    """File names of polyfills that it comes to need, sorted."""


def graft_name(graft: Recipe, closure: Iterable[Recipe]) -> str:
    """Return the unique name of a graft. closure are those that come with it; their names are among its bytes.

    A hash that the file's name carries already is replaced.
    """
    recipe = [_RECIPE, graft, sorted(set(closure))]
    digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:8]
    filename = "".join(letter if is_plain_name(letter) else "_" for letter in graft.filename)
    stem, so, version = filename.partition(".so")
    name = _joined(_HASHED.sub("", stem), digest, f"{so}{version}")
    if is_reserved(name):
        # libm.custom.so: all behind the first dot is nothing to musl, so the hash has to stand before it.
        stem, _, rest = filename.partition(".")
        name = _joined(stem, digest, f".{rest}")
    return name


def _joined(stem: str, digest: str, rest: str) -> str:
    """Return stem-digest-rest; of a stem, or else a rest, that is too long the end is left out.

    A file's name has at most NAME_MAX bytes.
    """
    rest = _cut(rest, NAME_MAX - len(digest) - 1)
    return f"{_cut(stem, NAME_MAX - len(digest) - 1 - len(rest.encode()))}-{digest}{rest}"


def _cut(text: str, size: int) -> str:
    """Return as much of the beginning of a text as fits into so many bytes."""
    return text.encode()[:size].decode("utf-8", "ignore")


def choose_grafts(
    arrangement: Arrangement,
    resolution: Resolution,
    target: Target,
    added: Mapping[PurePosixPath, tuple[str, ...]],
    *,
    kept: Mapping[PurePosixPath, str],
    ways: Mapping[PurePosixPath, tuple[PurePosixPath, ...]],
    lowers: bool,
    options: Options,
) -> dict[PurePosixPath, Graft]:
    """Return real file → graft for every file of the target system that the wheel needs.

    added are the polyfills that files come to need, kept the file names that libraries keep, ways where what is
    excluded will be; lowers is whether DT_RELR tables are replaced.
    """
    external = sorted(path for path in resolution.edges if not is_mounted(path))
    recipes = {
        path: _recipe(
            path, arrangement, resolution, target, added.get(path, ()), ways=ways.get(path, ()), lowers=lowers
        )._replace(stripped=options.strip, patcher=options.patcher)
        for path in external
    }
    recipes |= {path: recipes[path]._replace(filename=f"={name}") for path, name in kept.items()}
    grafts = {}
    for path, recipe in recipes.items():
        closure = [recipes[at] for at in resolution.closures[path] if at in recipes]
        name = kept[path] if path in kept else graft_name(recipe, closure)
        member = f"{arrangement.folder}/{name}"
        grafts[path] = Graft(path, member, recipe.sha256, target.size(path), target.owner(path))
    return grafts


def _recipe(
    path: PurePosixPath,
    arrangement: Arrangement,
    resolution: Resolution,
    target: Target,
    added: tuple[str, ...],
    *,
    ways: tuple[PurePosixPath, ...],
    lowers: bool,
) -> Recipe:
    place, edges = arrangement.place(path.name), resolution.edges[path]
    targets = [at if is_mounted(at) else place for at in edges.values()]
    answered = ((name, at.name, "" if is_mounted(at) else target.digest(at)) for name, at in edges.items())
    return Recipe(
        filename=path.name,
        sha256=target.digest(path),
        needs=tuple(sorted([*answered, *((name, new, "") for name, new in resolution.respelt.get(path, {}).items())])),
        rpath=rpath_to([*targets, *map(arrangement.place, added), *ways], place, ()),
        lowered=lowers and resolution.elfs[path].relr,
        added=added,
    )
