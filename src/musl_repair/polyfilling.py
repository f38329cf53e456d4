"""Which files of a wheel get which polyfills, so that it keeps what its tag promises. Pure.

A polyfill is a graft that comes with this program, not from the target system; see the package `polyfill`.
"""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from musl_repair.grafts import Graft
from musl_repair.polyfill import Polyfill, libraries, offered
from musl_repair.tagging import promises

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from musl_repair.arrangement import Arrangement
    from musl_repair.binding import Unbound
    from musl_repair.requirement import Reason
    from musl_repair.wheel import WheelName

SOURCE: Final = PurePosixPath("/<musl-repair>/polyfill")
"""Where, for messages, polyfills come from."""


def offers(arch: str, *, wanted: bool) -> Mapping[str, Polyfill]:
    """Return the functions that a wheel of an architecture may be given, none if they are not wanted."""
    return offered(arch) if wanted else {}


def filled(reasons: Iterable[Reason], given: Mapping[str, Polyfill]) -> tuple[Reason, ...]:
    """Return the reasons with what the given polyfills need in place of what they stand for."""
    return tuple(
        reason._replace(release=given[reason.cause].needs) if reason.is_symbol and reason.cause in given else reason
        for reason in reasons
    )


def used(result: WheelName, reasons: Iterable[Reason], given: Mapping[str, Polyfill]) -> dict[str, Polyfill]:
    """Return those of the polyfills without which the files would need more than the result's tags promise."""
    return {
        reason.cause: given[reason.cause]
        for reason in reasons
        if reason.is_symbol and reason.cause in given and promises(result, reason.release)
    }


def polyfill_grafts(functions: Iterable[str], arrangement: Arrangement) -> dict[str, Graft]:
    """Return the graft of each function."""
    return {
        library.function: Graft(
            source=SOURCE / arrangement.architecture.name / f"{library.function}.so",
            member=f"{arrangement.folder}/{library.name}",
            sha256=hashlib.sha256(library.content).hexdigest(),
            size=len(library.content),
            owner=None,
            content=library.content,
        )
        for library in libraries(arrangement.architecture.name, functions)
    }


def by_file(unbound: Iterable[Unbound], grafts: Mapping[str, Graft]) -> dict[PurePosixPath, tuple[str, ...]]:
    """Return the file names of the polyfills that each file needs, sorted."""
    names: dict[PurePosixPath, set[str]] = {}
    for symbol in unbound:
        if symbol.name in grafts:
            names.setdefault(symbol.path, set()).add(grafts[symbol.name].name)
    return {path: tuple(sorted(found)) for path, found in names.items()}
