"""Plans and findings → Markdown for a CI job's summary, and GitHub's annotations. Returns values, prints nothing.

Source: GitHub's workflow commands and job summaries (Markdown with Mermaid graphs).
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Final

from musl_repair.errors import MuslRepairError, RefusedError
from musl_repair.findings import Severity
from musl_repair.printable import printable
from musl_repair.report import form_changes
from musl_repair.requirement import lowest_release, verdicts, where_it_runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from musl_repair.findings import Finding
    from musl_repair.plan import Plan

_LEVELS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
_SPECIAL: Final = re.compile(r"[\\`*\[\]|~#]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")
"""What Markdown may read as more than itself, inside of a line."""
_MOST_EDGES: Final = 200
"""Mermaid refuses graphs that are much larger."""


def plan_markdown(plan: Plan) -> str:
    """Return what became of a wheel as a section of Markdown."""
    lines = [f"## {_text(str(plan.result))}", ""]
    if plan.architecture is not None:
        arch = plan.architecture.name
        lines += [
            f"* made of {_code(str(plan.wheel))}" if plan.changes else "* right as it was",
            f"* needs musl {lowest_release(plan.reasons, arch)} or later",
            f"* runs on {where_it_runs(verdicts(plan.reasons, arch))}",
            *(f"* {_text(change)}" for change in form_changes(plan)),
        ]
    if plan.grafts:
        lines += ["", "| vendored library | from | package | bytes |", "|---|---|---|---:|", *_rows(plan)]
        lines += ["", "<details><summary>Who needs whom</summary>", "", *_graph(plan), "", "</details>"]
    return "\n".join([*lines, *_findings(plan.findings), ""])


def _rows(plan: Plan) -> Iterator[str]:
    for graft in plan.grafts:
        owner = f"{graft.owner.name} {graft.owner.version}" if graft.owner is not None else ""
        yield f"| {_code(graft.name)} | {_code(str(graft.source))} | {_text(owner)} | {graft.size:,} |"


def _graph(plan: Plan) -> Iterator[str]:
    """Yield a Mermaid graph of the wheel's files and what they need."""
    nodes: dict[str, str] = {}
    edges = [(member, target) for member, names in plan.needs.items() for target in sorted(set(names.values()))]
    yield from ("```mermaid", "graph LR")
    for needed_by, needed in edges[:_MOST_EDGES]:
        for name in (needed_by, needed):
            if name not in nodes:
                nodes[name] = f"n{len(nodes)}"
                yield f'  {nodes[name]}["{_quoted(name.rpartition("/")[2])}"]'
        yield f"  {nodes[needed_by]} --> {nodes[needed]}"
    yield "```"


def _quoted(name: str) -> str:
    """Return a name as the text of a Mermaid node: its own escapes, for HTML too."""
    shown = printable(name)
    for character, escaped in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("\\", "#92;")):
        shown = shown.replace(character, escaped)
    return shown


def _text(*lines: str) -> str:
    """Return lines that are nothing but text to Markdown and HTML, in a table too."""
    return "<br>".join(_SPECIAL.sub(r"\\\g<0>", escape(printable(line), quote=False)) for line in lines)


def _code(text: str) -> str:
    """Return text as code, by the HTML element: Markdown's has no way to hold a backtick and a bar in a table."""
    return f"<code>{_text(text)}</code>"


def _findings(findings: Iterable[Finding]) -> Iterator[str]:
    listed = list(findings)
    if listed:
        yield from ("", "| finding | about | |", "|---|---|---|")
    for found in listed:
        yield f"| {found.severity.value}: {found.code} | {_code(found.subject)} | {_text(*found.lines)} |"


def error_markdown(wheel: str, error: MuslRepairError) -> str:
    """Return why a wheel could not be repaired as a section of Markdown."""
    findings = error.findings if isinstance(error, RefusedError) else ()
    return "\n".join([f"## {_text(wheel)}", "", f"**{_text(str(error))}**", *_findings(findings), ""])


def finding_commands(wheel: str, findings: Iterable[Finding]) -> Iterator[str]:
    """Yield findings as GitHub's workflow commands, which show them beside the job."""
    for found in findings:
        first, *rest = found.lines
        text = _data(f"{found.subject}: {first}", *rest, found.remedy)
        yield f"::{_LEVELS[found.severity]} title={_property(f'{wheel}: {found.code}')}::{text}"


def error_commands(wheel: str, error: MuslRepairError) -> Iterator[str]:
    """Yield why a wheel could not be repaired as workflow commands."""
    if isinstance(error, RefusedError):
        yield from finding_commands(wheel, error.findings)
    else:
        yield f"::error title={_property(wheel)}::{_data(str(error))}"


def _data(*lines: str) -> str:
    return "%0A".join(printable(line).replace("%", "%25") for line in lines)


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
