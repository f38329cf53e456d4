"""WHEEL and METADATA as what they are, the headers of a mail: read as pip reads them, edited without touching the rest.

Source: the binary distribution format and the core metadata specification (email headers, RFC 5322).
"""

from __future__ import annotations

import re
from email.parser import HeaderParser
from email.policy import Compat32
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_BLANK_LINE: Final = re.compile(r"(?:\r\n|\n|\r(?!\n)){2}")


class Field(NamedTuple):
    """One header field as it stands in its text."""

    name: str
    source: str
    """Its lines with their ends: those after the first continue it."""
    offset: int
    """Where it begins in the text."""

    @property
    def value(self) -> str:
        """The value, unfolded: line ends go (RFC 5322, 2.2.3)."""
        return _LINE_END.sub("", self.source.partition(":")[2]).strip()

    def on_one_line(self, name: str) -> str:
        """Return the source with this name, unfolded; the source itself where it is that already."""
        lines = self.source.rstrip("\r\n")
        if self.name == name and _LINE_END.search(lines) is None:
            return self.source
        return f"{name}: {self.value}{self.source[len(lines) :]}"


class _Verbatim(Compat32):
    """The policy that pip reads with, but that a field's value is its source."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        return sourcelines[0].partition(":")[0], "".join(sourcelines)


_PARSER: Final = HeaderParser(policy=_Verbatim())


class Headers(NamedTuple):
    """The header fields of a text, in order."""

    text: str
    fields: tuple[Field, ...]

    def values(self, name: str) -> tuple[str, ...]:
        """Return the values of all fields of a name, whatever its case, in order."""
        return tuple(field.value for field in self._named(name))

    def replaced(self, name: str, values: Iterable[str]) -> Headers:
        """Return headers that have these values under a name, each on a line of its own, and no others.

        Where the values are these already, only what is folded, or has the name in another case, is written anew. Else
        all stand where the first one stood, or last. No other byte changes.
        """
        wanted, old = tuple(values), self._named(name)
        end = self._line_end()
        if tuple(field.value for field in old) == wanted:
            new = [field.on_one_line(name) for field in old]
        else:
            new = ["".join(f"{name}: {value}{end}" for value in wanted), *([""] * (len(old) - 1))]
            old = old or (self._behind_the_last(),)
        pieces, at = [], 0
        for field, text in zip(old, new, strict=True):
            kept = self.text[at : field.offset]
            pieces += [kept, end if text and kept and not kept.endswith(("\r", "\n")) else "", text]
            at = field.offset + len(field.source)
        return read_headers("".join([*pieces, self.text[at:]]))

    def _named(self, name: str) -> tuple[Field, ...]:
        return tuple(field for field in self.fields if field.name.lower() == name.lower())

    def _behind_the_last(self) -> Field:
        offset = self.fields[-1].offset + len(self.fields[-1].source) if self.fields else 0
        return Field("", "", offset)

    def _line_end(self) -> str:
        found = _LINE_END.search(self.text)
        return found[0] if found is not None else "\n"


def read_headers(text: str) -> Headers:
    """Read the header fields that a text begins with; what follows them is none of it, as for pip."""
    fields: list[Field] = []
    at = 0
    # Without what is behind a blank line, which can be long: the parser would split it into lines.
    blank = _BLANK_LINE.search(text)
    for name, source in _PARSER.parsestr(text if blank is None else text[: blank.end()]).raw_items():
        at = text.index(source, at)
        fields.append(Field(name, source, at))
        at += len(source)
    return Headers(text, tuple(fields))
