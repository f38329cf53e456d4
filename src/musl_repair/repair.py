"""The line of data: wheel → facts → plan → overlay → new wheel, read back and checked before it gets its name."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from musl_repair.archive import Archive
from musl_repair.assembly import Assembly, Form
from musl_repair.central import Limits
from musl_repair.check import Judgement, Leniency, judge_wheel
from musl_repair.editing import Editors
from musl_repair.errors import OutputError, PatchError, RefusedError
from musl_repair.facts import Facts, Known, read_facts
from musl_repair.findings import errors_in, is_failure
from musl_repair.overlay import replace_file, write_archive
from musl_repair.pipeline import pipeline
from musl_repair.plan import Plan, make_plan
from musl_repair.programs import Programs
from musl_repair.reading import read_wheel_file
from musl_repair.strip import find_strip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from musl_repair.archive import Member
    from musl_repair.elf import Elf
    from musl_repair.options import Options
    from musl_repair.overlay import Fresh
    from musl_repair.patchelf import Patchelf
    from musl_repair.pipeline import Run
    from musl_repair.policy import Architecture
    from musl_repair.programs import Call
    from musl_repair.strip import Strip
    from musl_repair.sysroot import Sysroot

_ANY_SIZE: Final = Limits(1 << 63)
"""For what we have written ourselves."""


class Repaired(NamedTuple):
    """What became of one wheel; output is None where nothing was to be written (dry run)."""

    plan: Plan
    output: Path | None


def _no_patchelf() -> Patchelf:
    raise PatchError("there is no patchelf to edit files with: Tools.patchelf names one")


class Tools(NamedTuple):
    """What a repair works with besides wheel and plan."""

    patchelf: Callable[[], Patchelf] = _no_patchelf
    """Called when patchelf has to edit a file (`Options.patcher`)."""
    strip: Callable[[Architecture], Strip] = find_strip
    """Called when files have to be stripped."""
    jobs: int = 1
    """How many members are read, edited and compressed at once."""
    form: Form = Form()
    limits: Limits = Limits()
    """How far the input may inflate."""
    progress: Callable[[str], None] = lambda _name: None
    """Called with each member whose turn comes to be read, made, or read back."""
    taken: Mapping[Path, str] = MappingProxyType({})
    """Files that no new wheel may replace, and what each of them is."""


def plan_wheel(wheel: Path, sysroot: Sysroot, options: Options, limits: Limits | None = None) -> Plan:
    """Return what a repair would do. Raises MuslRepairError for what is not a wheel."""
    return make_plan(read_wheel_file(wheel, limits), sysroot, options)


def check_wheel(wheel: Path, leniency: Leniency | None = None, limits: Limits | None = None) -> Judgement:
    """Judge a wheel as it stands. Raises MuslRepairError for what is not a wheel."""
    return judge_wheel(read_wheel_file(wheel, limits), leniency)


def repair_wheel(wheel: Path, folder: Path, sysroot: Sysroot, options: Options, tools: Tools) -> Repaired:
    """Repair a wheel into a folder and return the plan and the new file.

    The folder sees a whole, checked wheel or nothing new; the input is never changed. Raises RefusedError with all
    findings where the wheel cannot be repaired, another MuslRepairError where something else is wrong.
    """
    with Archive(wheel, tools.limits) as archive, pipeline(tools.jobs, tools.progress) as run, Programs() as programs:
        facts = read_facts(wheel.name, archive, run=run)
        plan = make_plan(facts, sysroot, options)
        if is_failure(plan.findings, strict=options.strict):
            raise RefusedError(str(plan.wheel), plan.findings, strict=options.strict)
        output = folder / str(plan.result)
        if _is_same(output, wheel):
            if not plan.changes:
                return Repaired(plan, output)
            raise OutputError(f"{output} is the wheel that is repaired; choose another folder with --wheel-dir")
        refuse_taken(output, tools.taken)
        if not plan.changes:
            replace_file(output, archive.copy, lambda _: None)
            return Repaired(plan, output)
        assembly = Assembly(archive, facts, plan, sysroot, _editors(plan, options, tools, programs.call), tools.form)
        replace_file(
            output,
            lambda out: _write(out, archive, assembly.entries(run)),
            lambda written: _verify(written, plan, facts, assembly.edited, _leniency(options), run),
        )
    return Repaired(plan, output)


def refuse_taken(output: Path, taken: Mapping[Path, str]) -> None:
    """Raise OutputError where a new wheel would take the place of one of these files."""
    for path, what in taken.items():
        if output == path or _is_same(output, path):
            raise OutputError(f"{output} is {what}, and stays; repair each into a folder of its own with --wheel-dir")


def _is_same(output: Path, wheel: Path) -> bool:
    """Whether two paths lead to one file."""
    try:
        return output.samefile(wheel)
    except OSError:  # there is none yet, or nobody may look
        return False


def _editors(plan: Plan, options: Options, tools: Tools, call: Call) -> Editors:
    """Find the programs that the plan needs, before any thread needs them: most often none."""
    edits = options.patcher == "patchelf" and any(patch.edits for patch in plan.patches)
    patchelf = tools.patchelf() if edits else None
    strips = plan.architecture is not None and any(patch.strip for patch in plan.patches)
    strip = tools.strip(plan.architecture) if strips and plan.architecture is not None else None
    return Editors(patchelf, strip, call)


def _leniency(options: Options) -> Leniency:
    """Return what the user has chosen to accept in the new wheel."""
    kept = frozenset() if options.lower_relr else frozenset({"relr-before-1.2.4"})
    return Leniency(options.excluded, options.accepted | kept)


def _write(out: BinaryIO, archive: Archive, entries: Iterable[Member | Fresh]) -> None:
    """Write the new wheel. Raises ArchiveError where the old one changed meanwhile."""
    try:
        write_archive(out, archive, entries)
    finally:
        # What went wrong may well be a consequence.
        archive.check_unchanged()


def _verify(written: Path, plan: Plan, source: Facts, edited: Mapping[str, Elf], leniency: Leniency, run: Run) -> None:
    """Read the new wheel back and judge it as anybody's. Raises PatchError: what is wrong now is our doing.

    Raw copies were read as members of the input, and files of the same content are not parsed again.
    """
    name = str(plan.result)
    known = Known(source.readings, edited)
    with Archive(written, _ANY_SIZE) as archive:
        wrong = errors_in(judge_wheel(read_facts(name, archive, run=run, known=known), leniency).findings)
    if wrong:
        details = "; ".join(f"{found.code}: {found.subject}: {', '.join(found.lines)}" for found in wrong)
        raise PatchError(f"{name} is not right after the repair, so it was not kept: {details}")
