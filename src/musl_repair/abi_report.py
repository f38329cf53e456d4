"""What is known of a symbol's history, as text and as JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from musl_repair.abi import History, Span, architectures, distributions, hint, history
from musl_repair.requirement import in_runs

if TYPE_CHECKING:
    from musl_repair.abi import Release


def symbol_json(name: str) -> dict[str, Any]:
    """Return a symbol's history on every architecture, and the distributions that have it."""
    return {
        "name": name,
        "architectures": {
            arch: {
                "exported": [_span_json(span) for span in history(arch).spans(name)],
                "resolves_since": _text(history(arch).since(name)),
            }
            for arch in architectures()
        },
        "distributions": {
            str(distribution): [arch for arch in architectures() if distribution.resolves(arch, name)]
            for distribution in distributions()
        },
        "hint": hint(name),
    }


def _span_json(span: Span) -> dict[str, str | None]:
    return {"first": str(span.first), "until": _text(span.until)}


def _text(release: Release | None) -> str | None:
    return None if release is None else str(release)


def symbol_lines(name: str) -> list[str]:
    """Return a symbol's history for people; architectures with the same history share a line."""
    rows: dict[str, list[str]] = {}
    for arch in architectures():
        rows.setdefault(_history_text(history(arch), name), []).append(arch)
    lines = [name]
    lines += [f"  {text}: {', '.join(archs)}" for text, archs in rows.items()]
    places: dict[str, list[str]] = {}
    for arch in architectures():
        having = [(distribution, distribution.resolves(arch, name)) for distribution in distributions()]
        if any(answer for _, answer in having):
            places.setdefault(in_runs(having), []).append(arch)
    lines += [f"  on {text} ({', '.join(archs)})" for text, archs in places.items()]
    said = hint(name)
    return [*lines, f"  {said}"] if said else lines


def _history_text(known: History, name: str) -> str:
    """Return when libc had a name; an architecture's own beginning is no more than "always"."""
    spans = known.spans(name)
    since = known.since(name)
    if not spans and since is None:
        return "in no release of musl"
    parts = [_span_text(span, known.first) for span in spans]
    if since is not None and (not spans or spans[-1].until is not None):
        parts.append(f"by an alias of the loader since {since}")
    return ", ".join(parts)


def _span_text(span: Span, first: Release) -> str:
    start = "always" if span.first == first else f"since {span.first}"
    return start if span.until is None else f"{start} until {span.until}"
