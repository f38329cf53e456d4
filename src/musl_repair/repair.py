"""The line of data: wheel → facts → plan → overlay → new wheel, read back and checked before it gets its name."""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from musl_repair.archive import Archive, Date, Fresh, Member, make_fresh, replace_file, write_archive
from musl_repair.check import Judgement, Leniency, judge_wheel
from musl_repair.errors import ElfError, OutputError, PatchError, RefusedError
from musl_repair.facts import Facts, read_facts
from musl_repair.findings import errors_in, is_failure
from musl_repair.mend import mend_notes
from musl_repair.plan import Options, Plan, make_plan
from musl_repair.proof import prove
from musl_repair.reading import read_wheel_file
from musl_repair.relr import lower_relr
from musl_repair.wheel import MOUNT, Row, install_path, new_record, record_hash, retagged_metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import PurePosixPath

    from musl_repair.elf import Elf
    from musl_repair.patchelf import Patchelf
    from musl_repair.patches import Patch
    from musl_repair.sysroot import Sysroot

_PROGRAM: Final = 0o100755
_FILE: Final = 0o100644

_LAUNCHER: Final = '''\
#!python
"""Start a program of {distribution}, which musl-repair put beside the libraries that it needs."""
import os
import sys
from importlib.metadata import distribution

os.execv(distribution({distribution!r}).locate_file({program!r}), sys.argv)
'''


class Repaired(NamedTuple):
    """What became of one wheel; output is None where nothing was to be written (dry run)."""

    plan: Plan
    output: Path | None


@dataclass(frozen=True, slots=True)
class Tools:
    """What a repair works with besides wheel and plan."""

    patchelf: Callable[[], Patchelf]
    """Called when the first file has to be edited."""
    jobs: int = 1
    date: Date | None = None
    """The timestamp of every member (SOURCE_DATE_EPOCH); None: those of the input."""
    level: int = 6


class _Content(NamedTuple):
    """A new member before it is compressed."""

    name: str
    content: bytes
    mode: int
    date: Date


class _Written(NamedTuple):
    """A member that is ready to be written, and its row of RECORD."""

    fresh: Fresh
    row: Row


def plan_wheel(wheel: Path, sysroot: Sysroot, options: Options) -> Plan:
    """Return what a repair would do. Raises MuslRepairError for what is not a wheel."""
    return make_plan(read_wheel_file(wheel), sysroot, options)


def check_wheel(wheel: Path, leniency: Leniency | None = None) -> Judgement:
    """Judge a wheel as it stands. Raises MuslRepairError for what is not a wheel."""
    return judge_wheel(read_wheel_file(wheel), leniency)


def repair_wheel(wheel: Path, folder: Path, sysroot: Sysroot, options: Options, tools: Tools) -> Repaired:
    """Repair a wheel into a folder and return the plan and the new file.

    The folder sees a whole, checked wheel or nothing new; the input is never changed. Raises RefusedError with all
    findings where the wheel cannot be repaired, another MuslRepairError where something else is wrong.
    """
    with Archive(wheel) as archive:
        facts = read_facts(wheel.name, archive)
        plan = make_plan(facts, sysroot, options)
        if is_failure(plan.findings, strict=options.strict):
            raise RefusedError(str(plan.wheel), plan.findings, strict=options.strict)
        output = folder / str(plan.result)
        if output.exists() and output.samefile(wheel):
            if not plan.changes:
                return Repaired(plan, output)
            raise OutputError(f"{output} is the wheel that is repaired; choose another folder with --wheel-dir")
        write = partial(_write, archive, facts, plan, sysroot, tools) if plan.changes else partial(_copy, wheel)
        replace_file(output, write, partial(_verify, str(plan.result), _leniency(options)))
    return Repaired(plan, output)


def _leniency(options: Options) -> Leniency:
    """Return what the user has chosen to accept in the new wheel."""
    kept = frozenset() if options.lower_relr else frozenset({"relr-before-1.2.4"})
    return Leniency(options.exclude, options.accepted | kept)


def _copy(wheel: Path, out: BinaryIO) -> None:
    with wheel.open("rb") as source:
        shutil.copyfileobj(source, out)


def _verify(name: str, leniency: Leniency, written: Path) -> None:
    """Read the new wheel back and judge it as anybody's. Raises PatchError: what is wrong now is our doing."""
    with Archive(written) as archive:
        wrong = errors_in(judge_wheel(read_facts(name, archive), leniency).findings)
    if wrong:
        details = "\n".join(f"  {found.code}  {found.subject}: {found.detail}" for found in wrong)
        raise PatchError(f"{name} is not right after the repair, so it was not kept:\n{details}")


def _write(archive: Archive, facts: Facts, plan: Plan, sysroot: Sysroot, tools: Tools, out: BinaryIO) -> None:
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="musl-repair-")))
        pool = stack.enter_context(ThreadPoolExecutor(tools.jobs))
        write_archive(out, archive, _Overlay(archive, facts, plan, sysroot, tools, work).entries(pool))


class _Overlay:
    """The members of the new wheel, made one after another while they are written."""

    def __init__(self, archive: Archive, facts: Facts, plan: Plan, sysroot: Sysroot, tools: Tools, work: Path) -> None:
        self._archive = archive
        self._facts = facts
        self._plan = plan
        self._sysroot = sysroot
        self._tools = tools
        self._work = work
        # Found before any thread needs it; a repair without edits needs no patchelf at all.
        self._patchelf = tools.patchelf() if any(patch.edits for patch in plan.patches) else None
        self._patches = {patch.member: patch for patch in plan.patches}
        self._grafts = {graft.member: graft for graft in plan.grafts}
        self._moved = {move.moved: move.member for move in plan.moves}
        self._launchers = {move.member: move.moved for move in plan.moves}
        self._metadata = f"{facts.wheel.dist_info}/WHEEL"
        self._date = tools.date or archive.members[facts.wheel.record_name].date

    def entries(self, pool: ThreadPoolExecutor) -> Iterator[Member | Fresh]:
        """Yield the package's members in their order, what is added, and dist-info with RECORD at the very end."""
        wheel = self._facts.wheel
        rows: dict[str, Row] = {}
        kept: list[str] = []
        for entry in _ahead(pool, self._make, self._names(), self._tools.jobs + 1):
            if isinstance(entry, Member):
                kept.append(entry.name)
                yield entry
            else:
                rows[entry.row.path] = entry.row
                yield entry.fresh
        rows |= {name: _row(name, self._archive.read(name)) for name in self._facts.unlisted if name not in rows}
        record = new_record(wheel, kept, rows).encode()
        yield self._finish(_Content(wheel.record_name, record, self._mode(wheel.record_name), self._date)).fresh

    def _names(self) -> Iterator[str]:
        wheel = self._facts.wheel
        dropped = {wheel.record_name, *wheel.signatures}
        names = [name for name in self._archive.members if name not in dropped]
        yield from (name for name in names if not name.startswith(f"{wheel.dist_info}/"))
        yield from sorted([*self._grafts, *self._moved])
        yield from (name for name in names if name.startswith(f"{wheel.dist_info}/"))

    def _make(self, name: str) -> Member | _Written:
        """Return a member of the new wheel by its name: the old one, or one made now. Runs in any thread."""
        if name in self._patches or name in self._grafts or name in self._moved:
            return self._finish(self._edited(name))
        if name in self._launchers:
            return self._finish(self._launcher(name))
        if name == self._metadata and self._plan.wheel != self._plan.result:
            text = retagged_metadata(self._facts.wheel.metadata, self._plan.result)
            return self._finish(_Content(name, text.encode(), self._mode(name), self._member_date(name)))
        member = self._archive.members[name]
        return member if self._tools.date is None else replace(member, date=self._tools.date)

    def _member_date(self, name: str) -> Date:
        return self._tools.date or self._archive.members[name].date

    def _mode(self, name: str) -> int:
        return self._archive.members[name].mode or _FILE

    def _finish(self, new: _Content) -> _Written:
        fresh = make_fresh(new.name, new.content, mode=new.mode, date=new.date, level=self._tools.level)
        return _Written(fresh, _row(new.name, new.content))

    def _edited(self, name: str) -> _Content:
        patch = self._patches.get(name)
        graft = self._grafts.get(name)
        if graft is not None:
            content, mode, date = self._sysroot.content(graft.source), _PROGRAM, self._date
            source = self._plan.resolution.elfs[graft.source]
        else:
            old = self._moved.get(name, name)
            content, date = self._archive.read(old), self._member_date(old)
            mode = _PROGRAM if name in self._moved else self._mode(old)
            source = self._facts.elfs[old]
        if patch is not None and patch.changes:
            content = self._patch(patch, source, content)
        return _Content(name, content, mode, date)

    def _patch(self, patch: Patch, before: Elf, source: bytes) -> bytes:
        content = source
        architecture = self._plan.architecture
        page_size = architecture.max_page if architecture is not None else 0x1000
        editor = "relr lowering"
        if patch.edits and self._patchelf is not None:
            editor = str(self._patchelf)
            with tempfile.NamedTemporaryFile(dir=self._work, suffix=".so") as file:
                file.write(source)
                file.flush()
                self._patchelf.run(patch, Path(file.name), page_size=page_size)
                edited = Path(file.name).read_bytes()
            try:
                content = mend_notes(source, edited)
            except ElfError as error:
                raise PatchError(f"{patch.member}: {editor} left a broken file: {error}") from error
        if patch.lower_relr:
            content = lower_relr(content)
        prove(before, source, content, patch, page_size=page_size, editor=editor)
        return content

    def _launcher(self, name: str) -> _Content:
        place: PurePosixPath = install_path(self._facts.wheel.data, self._launchers[name]).relative_to(MOUNT)
        text = _LAUNCHER.format(distribution=self._facts.wheel.name.distribution, program=str(place))
        return _Content(name, text.encode(), self._mode(name), self._member_date(name))


def _row(name: str, content: bytes) -> Row:
    return Row(name, record_hash(content), str(len(content)))


def _ahead(
    pool: ThreadPoolExecutor, make: Callable[[str], Member | _Written], names: Iterable[str], window: int
) -> Iterator[Member | _Written]:
    """Yield make(name) for all names in their order, made by the pool at most window names ahead."""
    waiting: deque[Future[Member | _Written]] = deque()
    for name in names:
        waiting.append(pool.submit(make, name))
        if len(waiting) > window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
