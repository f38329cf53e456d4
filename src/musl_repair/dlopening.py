"""What a file says about libraries that it loads itself, by dlopen: the texts of its .note.dlopen, understood. Pure.

Source: the ELF dlopen metadata specification (https://uapi-group.org/specifications/specs/elf_dlopen_metadata/).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from musl_repair.findings import Finding, finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import PurePosixPath

    from musl_repair.elf import Elf

PRIORITIES: Final = ("required", "recommended", "suggested")
"""Most important first."""
_DEFAULT: Final = "recommended"


class Wish(NamedTuple):
    """One library that a file may load, under any of some names."""

    sonames: tuple[str, ...]
    """In the order in which they are tried."""
    priority: str = _DEFAULT
    feature: str = ""
    description: str = ""

    def is_at_least(self, priority: str) -> bool:
        """Whether the wish weighs as much as a priority; "" outweighs all."""
        return priority in PRIORITIES and PRIORITIES.index(self.priority) <= PRIORITIES.index(priority)


class Wished(NamedTuple):
    """A wish and whose it is."""

    member: str
    wish: Wish


def read_wishes(elf: Elf) -> tuple[Wish, ...]:
    """Return what a file's notes say, in file order, without what cannot be understood."""
    return tuple(wish for text in elf.dlopen_notes for wish in _parsed(text) if isinstance(wish, Wish))


def all_wishes(elfs: Mapping[PurePosixPath, Elf], names: Mapping[PurePosixPath, str]) -> tuple[Wished, ...]:
    """Return the wishes of all files by the names of these."""
    return tuple(Wished(names[path], wish) for path, elf in sorted(elfs.items()) for wish in read_wishes(elf))


def judge_notes(elfs: Mapping[PurePosixPath, Elf], names: Mapping[PurePosixPath, str]) -> Iterator[Finding]:
    """Yield notes that are not as the specification says."""
    for path, elf in sorted(elfs.items()):
        faults = [fault for text in elf.dlopen_notes for fault in _parsed(text) if isinstance(fault, str)]
        if faults:
            yield finding("dlopen-note-unreadable", names[path], *dict.fromkeys(faults))


def _parsed(text: str) -> list[Wish | str]:
    """Return the wishes of a note, or what is wrong with them."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        return ["a note is not JSON"]
    if not isinstance(entries, list):
        return ["a note is not an array"]
    return [_wish(entry) for entry in entries]


def _wish(entry: Any) -> Wish | str:
    if not isinstance(entry, dict):
        return "an entry of a note is not an object"
    sonames = entry.get("soname")
    if not isinstance(sonames, list) or not sonames or not all(map(_is_soname, sonames)):
        return "an entry of a note has no list of sonames"
    priority = entry.get("priority", _DEFAULT)
    if priority not in PRIORITIES:
        return f"an entry of a note has a priority other than {', '.join(PRIORITIES)}"
    texts = [entry.get(key, "") for key in ("feature", "description")]
    if not all(isinstance(text, str) for text in texts):
        return "an entry of a note has a feature or a description that is no text"
    return Wish(tuple(sonames), priority, *map(_line, texts))


def _line(text: str) -> str:
    """Return a text of people as one line."""
    return " ".join(text.split())


def _is_soname(name: Any) -> bool:
    """Whether a name can be one of a file: what else a note says ends in no path."""
    return isinstance(name, str) and name not in ("", ".", "..") and "/" not in name and name.isprintable()
