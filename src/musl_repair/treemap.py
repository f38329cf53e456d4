"""What vendored libraries cost, as one HTML page with a treemap: no script, nothing that is not in the page. Pure.

Source: Bruls, Huizing, van Wijk: Squarified Treemaps (2000).
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.filesize import decimal

from musl_repair.printable import printable
from musl_repair.size_report import short_name
from musl_repair.sizes import Kinship, library_name, vendored_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from musl_repair.sizes import Library, Sizes
    from musl_repair.vendored import Copy, Holder

_WIDTH, _HEIGHT = 1200.0, 680.0
_HEADER: Final = 22.0
_GAP: Final = 2.0
_LETTER: Final = 6.8
"""Width of a letter at the size that labels have; what is longer is cut off."""
_LEAST: Final = 5
"""Letters that a label which is cut off must keep."""

_SAID: Final = {
    Kinship.ALONE: "stands there once",
    Kinship.LIBRARY: "there is another version or build of it",
    Kinship.BUILD: "the same build is there again, edited in another way",
    Kinship.CONTENT: "the same content is there again",
    Kinship.LINKED: "hard linked: on disk once",
}

_STYLE: Final = """
:root { color-scheme: light dark; --page: #fff; --text: #1b1f24; --quiet: #57606a; --line: #d0d7de; --frame: #eaeef2;
  --alone: #c8d3df; --library: #ffe08a; --build: #ffb77a; --content: #ff938a; --linked: #9fdcae; }
@media (prefers-color-scheme: dark) { :root { --page: #12161b; --text: #e6edf3; --quiet: #9aa5b1; --line: #343b44;
  --frame: #232a32; --alone: #3b4a5a; --library: #6b5510; --build: #80420c; --content: #8c2b25; --linked: #1f6a35; } }
body { font: 15px/1.5 system-ui, sans-serif; background: var(--page); color: var(--text); margin: 0 auto;
  padding: 1.5rem; max-width: 1200px; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; color: var(--quiet); }
dl { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; }
dl div { border: 1px solid var(--line); border-radius: 6px; padding: .5rem .9rem; flex: 1 1 12rem; }
dt { color: var(--quiet); font-size: .85rem; } dd { margin: 0; font-size: 1.3rem; font-weight: 600; }
ul.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; margin: .75rem 0;
  font-size: .85rem; }
.legend i { display: inline-block; width: .9em; height: .9em; border-radius: 2px; margin-right: .4em;
  vertical-align: -.1em; border: 1px solid var(--line); }
.map, .table { overflow-x: auto; } .map svg { display: block; width: 100%; min-width: 640px; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--text); } svg text.name { font-weight: 600; }
svg text.quiet { fill: var(--text); opacity: .85; font-size: 11px; } .frame { fill: var(--frame); }
svg g:hover > rect.file { stroke: var(--text); stroke-width: 2; }
.alone { fill: var(--alone); background: var(--alone); } .library { fill: var(--library); background: var(--library); }
.build { fill: var(--build); background: var(--build); } .content { fill: var(--content); background: var(--content); }
.linked { fill: var(--linked); background: var(--linked); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; } th, td { text-align: left; padding: .3rem .6rem;
  border-bottom: 1px solid var(--line); vertical-align: top; }
th.n, td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td code { font-size: .85rem; overflow-wrap: anywhere; }
"""


class Rectangle(NamedTuple):
    """Where something is drawn: left, top, width, height."""

    x: float
    y: float
    width: float
    height: float

    def inside(self, top: float) -> Rectangle:
        """Return what is left inside of a frame with a header of this height."""
        return Rectangle(
            self.x + _GAP, self.y + top, max(self.width - 2 * _GAP, 0.0), max(self.height - top - _GAP, 0.0)
        )


def squarify(sizes: Sequence[int], area: Rectangle) -> list[Rectangle]:
    """Divide an area in proportion to sizes, which are positive and descend, into rectangles close to squares."""
    rectangles: list[Rectangle] = []
    start = 0
    while start < len(sizes):
        left = sum(sizes[start:])
        end = start + 1
        while end < len(sizes) and _worst(sizes[start : end + 1], left, area) <= _worst(sizes[start:end], left, area):
            end += 1
        row, area = _row(sizes[start:end], left, area)
        rectangles += row
        start = end
    return rectangles


def _worst(row: Sequence[int], left: int, area: Rectangle) -> float:
    """Return the worst ratio of sides that a row along the short side of an area would have."""
    short, long = sorted((area.width, area.height))
    if not short:
        return 0.0
    depth = long * sum(row) / left
    sides = (short * size / sum(row) for size in (row[0], row[-1]))
    return max(max(side / depth, depth / side) for side in sides)


def _row(row: Sequence[int], left: int, area: Rectangle) -> tuple[list[Rectangle], Rectangle]:
    """Return the rectangles of a row along the short side, and what of the area is left."""
    x, y, width, height = area
    part, done = sum(row) / left, 0.0
    placed = []
    for size in row:
        share = size / sum(row)
        if width >= height:
            placed.append(Rectangle(x, y + done * height, width * part, height * share))
        else:
            placed.append(Rectangle(x + done * width, y, width * share, height * part))
        done += share
    if width >= height:
        return placed, Rectangle(x + width * part, y, width * (1 - part), height)
    return placed, Rectangle(x, y + height * part, width, height * (1 - part))


def page(sizes: Sizes) -> str:
    """Return the whole page."""
    saved = sizes.savings
    numbers = (
        ("vendored", sizes.vendored),
        ("saved by hard links already", sizes.vendored - sizes.disk),
        ("to save: the same content", saved.content),
        ("and the same builds", saved.build),
        ("and other versions", saved.library),
    )
    tiles = (f"<div><dt>{what}</dt><dd>{decimal(number)}</dd></div>" for what, number in numbers if number)
    count = len(sizes.holders)
    return "\n".join(
        (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>What vendored libraries cost</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            "<h1>What vendored libraries cost</h1>",
            f"<p>{count} {'wheel' if count == 1 else 'wheels'}, {decimal(sizes.size)} when installed.</p>",
            f"<dl>{''.join(tiles)}</dl>",
            *(_map(sizes) if sizes.libraries else ["<p>There are no vendored libraries.</p>"]),
            *_library_rows(sizes),
            *_holder_rows(sizes),
            "<p>Made by musl-repair size.</p>\n</body>\n</html>\n",
        )
    )


def _map(sizes: Sizes) -> Iterator[str]:
    libraries = {copy: library for library in sizes.libraries for copy in library.copies}
    used = {libraries[copy].kinship(copy) for holder in sizes.holders for copy in holder.copies}
    items = (f'<li><i class="{kind.value}"></i>{said}</li>' for kind, said in _SAID.items() if kind in used)
    yield f'<ul class="legend">{"".join(items)}</ul>'
    label = "Treemap: a frame for each wheel, in it its vendored libraries; areas are bytes. The tables say the same."
    yield f'<div class="map"><svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" aria-label="{label}">'
    holders = [holder for holder in sizes.holders if vendored_size(holder)]
    areas = squarify([vendored_size(holder) for holder in holders], Rectangle(0, 0, _WIDTH, _HEIGHT))
    for holder, area in zip(holders, areas, strict=True):
        yield from _frame(holder, area, libraries)
    yield "</svg></div>"


def _frame(holder: Holder, area: Rectangle, libraries: dict[Copy, Library]) -> Iterator[str]:
    header = _HEADER if area.height > 2 * _HEADER and area.width > 2 * _HEADER else _GAP
    said = f"{holder.name}: {decimal(vendored_size(holder))} vendored"
    yield f"<g>{_title(said)}{_box(area, 'frame')}"
    if header == _HEADER:
        name = short_name(holder.name)
        yield _label(area, 15, "name", f"{name}  {decimal(vendored_size(holder))}", name)
    copies = sorted((copy for copy in holder.copies if copy.size), key=lambda copy: (-copy.size, copy.member))
    for copy, own in zip(copies, squarify([copy.size for copy in copies], area.inside(header)), strict=True):
        yield _file(copy, own, libraries[copy])
    yield "</g>"


def _file(copy: Copy, area: Rectangle, library: Library) -> str:
    kind = library.kinship(copy)
    others = [other.holder for other in library.copies if other is not copy]
    where = [f"also in {', '.join(sorted({short_name(other) for other in others}))}"] if others else []
    parts = [_title(copy.member, f"{decimal(copy.size)}, {_SAID[kind]}", *where), _box(area, f"file {kind.value}")]
    times = f" x{len(others) + 1}" if others else ""
    parts.append(_label(area, 14, "", library_name(copy) + times, library_name(copy)))
    parts.append(_label(area, 29, "quiet", decimal(copy.size)))
    return f"<g>{''.join(parts)}</g>"


def _title(*lines: str) -> str:
    return "<title>{}</title>".format("\n".join(map(_text, lines)))


def _text(line: str) -> str:
    """Return a line that is nothing but text to HTML, and does nothing to who reads it."""
    return html.escape(printable(line))


def _box(area: Rectangle, kind: str) -> str:
    width, height = max(area.width - 1, 0.0), max(area.height - 1, 0.0)
    return f'<rect class="{kind}" x="{area.x:.1f}" y="{area.y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2"/>'


def _label(area: Rectangle, down: float, kind: str, *texts: str) -> str:
    """Return the first of the texts that fits into a rectangle; else the last of several, cut, if enough is left."""
    room = int((area.width - 6) / _LETTER)
    if area.height < down + 3:
        return ""
    shown = next((text for text in texts if len(text) <= room), None)
    if shown is None:
        if len(texts) == 1 or room < _LEAST:
            return ""
        shown = f"{texts[-1][: room - 1]}…"
    return f'<text class="{kind}" x="{area.x + 5:.1f}" y="{area.y + down:.1f}">{_text(shown)}</text>'


def _library_rows(sizes: Sizes) -> Iterator[str]:
    """Yield a table of the libraries that stand in several places."""
    several = [library for library in sizes.libraries if len(library.copies) > 1]
    if not several:
        return
    yield "<h2>Libraries that stand there more than once</h2>"
    heads = ("Library", "Files", "Contents", "Builds", "Vendored", "Same content", "Same build", "One version", "In")
    yield from _table_start(heads, left={0, 8})
    for library in sorted(several, key=lambda one: (-one.savings.library, one.name, one.target)):
        saved = library.savings
        counts = (len(library.copies), len(library.variants), len(library.builds))
        numbers = (decimal(library.size), *map(decimal, (saved.content, saved.build, saved.library)))
        cells = "".join(f'<td class="n">{cell}</td>' for cell in (*counts, *numbers))
        where = _text(", ".join(map(short_name, library.holders)))
        yield f"<tr><td>{_text(library.name)}</td>{cells}<td>{where}</td></tr>"
    yield "</tbody></table></div>"


def _holder_rows(sizes: Sizes) -> Iterator[str]:
    """Yield a table of all wheels and their vendored files."""
    yield "<h2>Wheels</h2>"
    yield from _table_start(("Wheel", "All files", "Vendored", "Libraries"), left={0, 3})
    for holder in sizes.holders:
        files = sorted(holder.copies, key=lambda copy: (-copy.size, copy.member))
        listed = ", ".join(f"<code>{_text(library_name(copy))}</code> {decimal(copy.size)}" for copy in files)
        cells = "".join(f'<td class="n">{decimal(size)}</td>' for size in (holder.size, vendored_size(holder)))
        yield f"<tr><td>{_text(short_name(holder.name))}</td>{cells}<td>{listed}</td></tr>"
    yield "</tbody></table></div>"


def _table_start(heads: Sequence[str], left: set[int]) -> Iterator[str]:
    yield '<div class="table"><table><thead><tr>'
    yield from (f"<th{'' if at in left else ' class=n'}>{head}</th>" for at, head in enumerate(heads))
    yield "</tr></thead><tbody>"
