"""A plan for people: tag, musl, distributions, and a tree of who needs whom. Prints with rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.markup import escape
from rich.tree import Tree

from musl_repair.findings import Severity
from musl_repair.report import finding_lines, wish_lines
from musl_repair.requirement import lowest_release, verdicts, where_it_runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from musl_repair.console import SafeConsole
    from musl_repair.facts import Facts
    from musl_repair.plan import Plan

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}
_MOST_CAUSES = 4
_DEEPEST = 16
"""Levels of a tree: more than wheels have, and as many as a terminal has room for."""


def print_plan(plan: Plan, facts: Facts, console: SafeConsole) -> None:
    """Print what a wheel needs and what a repair would make of it; plain where there is no terminal."""
    console.print(f"[bold]{escape(str(plan.wheel))}[/]")
    for line in _verdict(plan):
        console.print(escape(line))
    for root in plan.resolution.roots:
        for tree in _trees(root, plan, facts):
            console.print(tree)
    for line in wish_lines(plan.wishes):
        console.print(escape(f"  {line}"))
    for severity in Severity:
        lines = finding_lines(found for found in plan.findings if found.severity is severity)
        for line in lines:
            console.print(escape(line), style=_STYLES[severity])


def _verdict(plan: Plan) -> Iterator[str]:
    architecture = plan.architecture
    if architecture is None:
        yield "  needs nothing of musl: it has no ELF file that musl loads"
        return
    lowest = lowest_release(plan.reasons, architecture.name)
    causes = sorted({reason.cause for reason in plan.reasons if reason.release == lowest})
    because = f" ({', '.join(causes[:_MOST_CAUSES])}{', ...' if len(causes) > _MOST_CAUSES else ''})" if causes else ""
    yield f"  becomes  {plan.result}" if plan.changes else "  becomes  nothing else: it is right as it is"
    yield f"  needs    musl {lowest}{because}"
    yield f"  runs on  {where_it_runs(verdicts(plan.reasons, architecture.name))}"
    yield f"  vendors  {len(plan.grafts)} libraries, {decimal(sum(graft.size for graft in plan.grafts))}"


def _trees(root: PurePosixPath, plan: Plan, facts: Facts) -> Iterator[Tree]:
    """Yield a tree with each file once, later mentions say so; what would be too deep has a tree of its own."""
    shown, tops = {root}, [root]
    for top in tops:
        tree = Tree(_label(top, plan, facts))
        # The needs that are still to be told, of each file on the way to the one whose turn it is.
        open_ = [(tree, _needs(top, plan))]
        while open_:
            branch, needs = open_[-1]
            step = next(needs, None)
            if step is None:
                open_.pop()
                continue
            name, target = step
            if target is None:
                branch.add(f"[bold red]{escape(name)} not found[/]")
            elif target in shown:
                branch.add(f"{escape(name)} [dim](above)[/]")
            elif len(open_) == _DEEPEST:
                shown.add(target)
                tops.append(target)
                branch.add(f"{escape(name)} [dim](below)[/]")
            else:
                shown.add(target)
                open_.append((branch.add(_label(target, plan, facts)), _needs(target, plan)))
        yield tree


def _needs(path: PurePosixPath, plan: Plan) -> Iterator[tuple[str, PurePosixPath | None]]:
    """Yield what a file needs and where that is, what is missing last."""
    yield from plan.resolution.edges.get(path, {}).items()
    yield from ((need.name, None) for need in plan.resolution.missing if need.needed_by == path)


def _label(path: PurePosixPath, plan: Plan, facts: Facts) -> str:
    for graft in plan.grafts:
        if graft.source == path:
            owner = f", {graft.owner.name} {graft.owner.version}" if graft.owner is not None else ""
            return f"{escape(str(path))} [dim]({decimal(graft.size)}{escape(owner)})[/]"
    member = plan.members.get(path, str(path))
    size = facts.size(member)
    return escape(member) + (f" [dim]({decimal(size)})[/]" if size is not None else "")
