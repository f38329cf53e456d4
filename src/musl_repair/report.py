"""Plans and findings → text and JSON. Returns values, prints nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from musl_repair.errors import MuslRepairError, RefusedError
from musl_repair.findings import Severity
from musl_repair.requirement import lowest_release, verdicts, where_it_runs

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from musl_repair.check import Judgement
    from musl_repair.dlopening import Wished
    from musl_repair.findings import Finding
    from musl_repair.patches import Patch
    from musl_repair.plan import Plan
    from musl_repair.policy import Architecture
    from musl_repair.requirement import Reason
    from musl_repair.wheel import WheelFile

FORMAT: Final = 1
"""Version of the JSON output: raised when a field changes its meaning or goes; new fields do not raise it."""


def error_lines(error: MuslRepairError) -> list[str]:
    """Return an error in full: what, where, what next."""
    return [f"error: {error}", *(finding_lines(error.findings) if isinstance(error, RefusedError) else ())]


def finding_lines(findings: Iterable[Finding]) -> list[str]:
    """Return findings as lines, the errors first; what to do next follows the last finding of its kind.

    Files of which the same is to be said stand together.
    """
    order = list(Severity)
    groups: dict[tuple[Severity, str, str, str], list[str]] = {}
    for found in sorted(findings, key=lambda found: (order.index(found.severity), found)):
        groups.setdefault((found.severity, found.code, found.remedy, found.detail), []).append(found.subject)
    width = max((len(code) for _, code, _, _ in groups), default=0)
    lines: list[str] = []
    keys = list(groups)
    for index, (severity, code, remedy, detail) in enumerate(keys):
        first, *rest = _said(groups[keys[index]], *detail.split("\n"))
        lines.append(f"  {code:<{width}}  {first}")
        lines += [f"  {'':<{width}}  {line}" for line in rest]
        if index + 1 == len(keys) or keys[index + 1][:3] != (severity, code, remedy):
            lines.append(f"  {'hint' if severity is Severity.ERROR else severity.value}: {remedy}")
    return lines


def _said(subjects: list[str], first: str, *rest: str) -> list[str]:
    if len(subjects) == 1:
        return [f"{subjects[0]}{', ' if first.startswith('needed') else ': '}{first}", *rest]
    return [f"{len(subjects)} files: {first}", *rest, *(f"- {subject}" for subject in subjects)]


def plan_lines(plan: Plan) -> list[str]:
    """Return what a repair would do, for people."""
    lines = [f"{plan.wheel}"]
    if not plan.changes:
        lines.append("  nothing to do")
    elif plan.wheel != plan.result:
        lines.append(f"  becomes {plan.result}")
    for graft in plan.grafts:
        owner = f" ({graft.owner.name} {graft.owner.version})" if graft.owner is not None else ""
        lines.append(f"  vendors {graft.source}{owner} as {graft.member}")
    if plan.documents.sbom is not None:
        lines.append(f"  writes  {plan.documents.sbom}")
    lines += [f"  writes  {text.member}, from {text.source}" for text in plan.documents.licenses]
    lines += [f"  {change}" for change, _ in _form_changes(plan)]
    lines += [f"  drops   {member}, a copy" for member in plan.dropped]
    lines += [f"  moves   {move.member} to {move.moved}" for move in plan.moves]
    lines += [f"  patches {patch.member}: {'; '.join(_edits(patch))}" for patch in plan.patches if patch.changes]
    lines += [f"  {line}" for line in wish_lines(plan.wishes)]
    if plan.architecture is not None and plan.reasons:
        lines.append(f"  needs   musl {plan.reasons[0].release} or later: {_first_causes(plan.reasons)}")
        lines.append(f"  runs on {where_it_runs(verdicts(plan.reasons, plan.architecture.name))}")
    return [*lines, *finding_lines(plan.findings)]


def _form_changes(plan: Plan) -> Iterable[tuple[str, str]]:
    """Yield what of the wheel's form is mended: as what would be done, and as what was done."""
    for folder, name in plan.renames.items():
        yield f"renames {folder} to {name}", f"{folder} renamed to {name}"
    if plan.wheel_file is not None and plan.wheel_file.expands:
        yield "expands the tags of WHEEL, one to a line", "tags of WHEEL expanded"
    if plan.wheel_file is not None and plan.wheel_file.corrects:
        yield "writes  the tags of the file name into WHEEL, which has others", "tags of WHEEL corrected"
    if plan.wheel_file is not None and plan.wheel_file.leaves_purelib:
        yield "sets    Root-Is-Purelib to false", "Root-Is-Purelib set to false"


def wish_lines(wishes: Iterable[Wished]) -> Iterable[str]:
    """Yield what files say that they may load by dlopen."""
    for member, wish in ((wished.member, wished.wish) for wished in wishes):
        why = ": ".join(text for text in (wish.feature, wish.description) if text)
        yield f"{member} may load {' or '.join(wish.sonames)} ({wish.priority}){f', for {why}' if why else ''}"


def _first_causes(reasons: tuple[Reason, ...]) -> str:
    highest = [reason for reason in reasons if reason.release == reasons[0].release]
    first = highest[0]
    more = f" and {len(highest) - 1} more" if len(highest) > 1 else ""
    return f"{first.cause} in {first.member}{more}"


def _edits(patch: Patch) -> Iterable[str]:
    if patch.soname is not None:
        yield "soname"
    if patch.rpath is not None:
        yield f"rpath {patch.rpath}" if patch.rpath else "no rpath"
    yield from (f"{old} -> {new}" for old, new in patch.renames)
    yield from (f"no longer needs {name}" for name in patch.dropped)
    yield from (f"needs {name}" for name in patch.added)
    if patch.lower_relr:
        yield "DT_RELR lowered"


def done_text(plan: Plan) -> str:
    """Return what a repair did, in a line."""
    if not plan.changes:
        return f"{plan.wheel}: nothing to do"
    lowered = sum(patch.lower_relr for patch in plan.patches)
    parts = [f"{len(plan.grafts)} vendored", f"{len(plan.patches)} patched", f"{lowered} with DT_RELR lowered"]
    parts += form_changes(plan)
    return f"{plan.wheel}: {', '.join(parts)}"


def form_changes(plan: Plan) -> list[str]:
    """Return what was mended of the wheel's form, a few words each."""
    return [change for _, change in _form_changes(plan)]


def trace_lines(plan: Plan) -> Iterable[str]:
    """Yield where every needed library was found."""
    for path, names in sorted(plan.resolution.edges.items()):
        for name, found in sorted(names.items()):
            yield f"{plan.members.get(path, str(path))} needs {name}: {found}"


def plan_json(plan: Plan, output: Path | None) -> dict[str, Any]:
    """Return a plan and what became of it as JSON values."""
    return {
        "wheel": str(plan.wheel),
        "result": str(plan.result),
        "output": None if output is None else str(output),
        "changes": plan.changes,
        **requirement_json(plan.reasons, plan.architecture),
        "grafts": [
            {
                "member": graft.member,
                "source": str(graft.source),
                "sha256": graft.sha256,
                "size": graft.size,
                "package": None if graft.owner is None else {"name": graft.owner.name, "version": graft.owner.version},
            }
            for graft in plan.grafts
        ],
        "sbom": plan.documents.sbom,
        "licenses": [{"member": text.member, "source": str(text.source)} for text in plan.documents.licenses],
        "renames": [{"folder": folder, "renamed": name} for folder, name in plan.renames.items()],
        "wheel_file": None if plan.wheel_file is None else _wheel_file_json(plan.wheel_file),
        "moves": [{"member": move.member, "moved": move.moved} for move in plan.moves],
        "dropped": list(plan.dropped),
        "dlopen": [_wish_json(wished) for wished in plan.wishes],
        "patches": [_patch_json(patch) for patch in plan.patches],
        "needs": {member: dict(names) for member, names in plan.needs.items()},
        "findings": [finding_json(found) for found in plan.findings],
    }


def _wheel_file_json(wheel_file: WheelFile) -> dict[str, bool]:
    return {
        "expands_tags": wheel_file.expands,
        "corrects_tags": wheel_file.corrects,
        "leaves_purelib": wheel_file.leaves_purelib,
    }


def _wish_json(wished: Wished) -> dict[str, Any]:
    return {
        "member": wished.member,
        "sonames": list(wished.wish.sonames),
        "priority": wished.wish.priority,
        "feature": wished.wish.feature,
        "description": wished.wish.description,
    }


def _patch_json(patch: Patch) -> dict[str, Any]:
    return {
        "member": patch.member,
        "soname": patch.soname,
        "rpath": patch.rpath,
        "renames": dict(patch.renames),
        "dropped": list(patch.dropped),
        "added": list(patch.added),
        "lower_relr": patch.lower_relr,
    }


def finding_json(found: Finding) -> dict[str, str]:
    """Return a finding as JSON values."""
    return {
        "code": found.code,
        "severity": found.severity.value,
        "subject": found.subject,
        "detail": found.detail,
        "remedy": found.remedy,
    }


def requirement_json(reasons: tuple[Reason, ...], architecture: Architecture | None) -> dict[str, Any]:
    """Return the lowest musl, why, and which distributions have it, as JSON values."""
    if architecture is None:
        return {"architecture": None, "musl": None, "reasons": [], "distributions": []}
    lowest = lowest_release(reasons, architecture.name)
    return {
        "architecture": architecture.name,
        "musl": str(lowest),
        "reasons": [
            {"cause": reason.cause, "release": str(reason.release), "member": reason.member, "symbol": reason.is_symbol}
            for reason in reasons
            if reason.release == lowest
        ],
        "distributions": [
            {
                "name": verdict.distribution.name,
                "version": verdict.distribution.version,
                "runs": verdict.runs,
                "lacks": sorted({reason.cause for reason in verdict.lacking}),
            }
            for verdict in verdicts(reasons, architecture.name)
        ],
    }


def judgement_json(wheel: str, judgement: Judgement) -> dict[str, Any]:
    """Return what check says of a wheel as JSON values."""
    return {
        "wheel": wheel,
        **requirement_json(judgement.reasons, judgement.architecture),
        "findings": [finding_json(found) for found in judgement.findings],
    }


def judgement_lines(wheel: str, judgement: Judgement) -> list[str]:
    """Return what check says of a wheel, for people."""
    lines = [f"{wheel}: {_verdict(judgement)}"]
    if judgement.architecture is not None:
        arch = judgement.architecture.name
        lines.append(f"  needs musl {lowest_release(judgement.reasons, arch)} or later")
        lines.append(f"  runs on {where_it_runs(verdicts(judgement.reasons, arch))}")
    return [*lines, *finding_lines(judgement.findings)]


def _verdict(judgement: Judgement) -> str:
    counts = dict.fromkeys(Severity, 0)
    for found in judgement.findings:
        counts[found.severity] += 1
    said = [f"{number} {severity.value}{'s' if number != 1 else ''}" for severity, number in counts.items() if number]
    return ", ".join(said) or "nothing found"


def failure_json(wheel: Path, error: MuslRepairError) -> dict[str, Any]:
    """Return a wheel that could not be repaired as JSON values."""
    findings = error.findings if isinstance(error, RefusedError) else ()
    return {"wheel": wheel.name, "error": str(error), "findings": [finding_json(found) for found in findings]}
