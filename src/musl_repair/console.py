"""The console that tables, trees and the progress line are printed on: all that it is given becomes printable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TextIO

from rich.console import Console

from musl_repair.printable import printable

if TYPE_CHECKING:
    from rich.text import Text

_WIDE: Final = 10_000


class SafeConsole(Console):
    """A console for names that others chose: rich lets escape sequences pass, and makes pictures of `:words:`."""

    def __init__(self, **settings: Any) -> None:
        """Take rich's settings. NO_COLOR and the like are rich's own business."""
        super().__init__(highlight=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Make a text of a string with markup, as rich does with every string that it prints or measures."""
        return super().render_str(printable(text, self.encoding), **settings)


def console_for(stream: TextIO) -> SafeConsole:
    """Return a console of the stream's width; a pipe has none: lines are cut by whoever reads them."""
    console = SafeConsole(file=stream)
    return console if console.is_terminal else SafeConsole(file=stream, width=_WIDE)
