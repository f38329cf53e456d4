"""Text of others → text that only prints. Every word that leaves the program passes `printable`.

Source: `str.isprintable` (the Unicode categories that are neither "Other" nor "Separator"); GitHub's runner,
src/Runner.Common/ActionCommand.cs: it obeys lines that begin with `::`, after spaces, and `##[...]` anywhere in a line,
as Azure Pipelines does `##vso[...]`.
"""

from __future__ import annotations

import re
from typing import Final

_COMMAND: Final = re.compile(r":(?=:)|#(?=#\w*\\*\[)")
"""What a CI runner may take for a command; names have it most rarely, and no text of ours does. In the markup of rich a
backslash stands before the bracket."""


def printable(text: str, encoding: str | None = None) -> str:
    r"""Return a line of text with escapes in the place of all that does more than print, or that the encoding lacks.

    These are control characters (line ends too), what changes the direction of text or has no width, lone surrogates,
    private and unassigned characters, all spaces but the ordinary one, and what begins a command to a CI runner. `\x9b`
    stands for an ASCII character or a byte that is no character, `\u009b` for a character. What is printable stays
    as it is, so it may be made so twice. encoding is that of the stream, UTF-8 where there is none.
    """
    if text.isascii() and text.isprintable():
        shown = text
    else:
        shown = "".join(one if one.isprintable() and _has(encoding, one) else _escape(one) for one in text)
    return _COMMAND.sub(lambda found: _escape(found[0]), shown)


def _has(encoding: str | None, character: str) -> bool:
    try:
        character.encode(encoding or "utf-8")
    except UnicodeError:
        return False
    return True


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x80:
        return {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(character, rf"\x{code:02x}")
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8 (PEP 383)
        return rf"\x{code - 0xDC00:02x}"
    return rf"\u{code:04x}" if code < 0x10000 else rf"\U{code:08x}"
