"""Which documents a wheel gets about what is vendored: a bill of materials, and the licences. Pure.

Source: PEP 770 (<dist-info>/sboms), PEP 639 (<dist-info>/licenses).
"""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import PurePosixPath

    from musl_repair.facts import Facts
    from musl_repair.grafts import Graft
    from musl_repair.options import Options
    from musl_repair.target import Target

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9.+_~-]")
"""What a file name in a wheel should not have, wherever it is unpacked."""


class LicenseText(NamedTuple):
    """One file that goes into the wheel as it is."""

    member: str
    source: PurePosixPath
    """A loader path."""
    sha256: str
    """Of the file, in hex."""


class Documents(NamedTuple):
    """What is added to the dist-info."""

    sbom: str | None = None
    """The archive name of the bill of materials; None for none."""
    licenses: tuple[LicenseText, ...] = ()
    """Sorted."""


def choose_documents(facts: Facts, grafts: Collection[Graft], target: Target, options: Options) -> Documents:
    """Return what is written about these grafts; a repair that vendors nothing writes nothing.

    What the wheel has already stays as it is. PEP 770: "one or more SBOM documents may be included", and "treats SBOM
    document data opaquely"; so a later repair that vendors more writes a document of its own.
    """
    taken = frozenset(facts.members)
    sbom = _free(f"{facts.wheel.dist_info}/sboms/musl-repair", taken) if options.sbom and grafts else None
    texts = _texts(grafts, f"{facts.wheel.dist_info}/licenses/vendored", target) if options.licenses else ()
    return Documents(sbom, tuple(sorted({text.member: text for text in texts if text.member not in taken}.values())))


def _free(stem: str, taken: Collection[str]) -> str:
    names = (f"{stem}{'' if number == 1 else f'-{number}'}.cdx.json" for number in count(1))
    return next(name for name in names if name not in taken)


def _texts(grafts: Iterable[Graft], folder: str, target: Target) -> Iterator[LicenseText]:
    """Yield the licences of the packages that the grafts are from, in a folder for each package and version.

    The package is that by whose name the system keeps them, which can be the source package.
    They are not declared in METADATA: PEP 639 demands that a declared file is in this folder, not that a file in it is
    declared, and a License-File is "relative to the project root directory" and "MUST be consistent between project
    source trees, source distributions (sdists), built distributions (Wheels)".
    """
    for package in dict.fromkeys(graft.owner for graft in grafts if graft.owner is not None):
        for source in target.license_texts(package):
            parts = (f"{source.parent.name}-{package.version}", source.name)
            name = "/".join([folder, *(_UNSAFE.sub("_", part) for part in parts)])
            yield LicenseText(name, source, target.digest(source))
