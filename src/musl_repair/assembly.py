"""The members of a new wheel: raw copies of what stays, and what the plan changes or adds, made as they are written."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.editing import edit
from musl_repair.errors import SysrootError
from musl_repair.overlay import Fresh, make_fresh
from musl_repair.wheel import MOUNT, Row, install_path, new_record, record_row, retagged_metadata, sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import PurePosixPath

    from musl_repair.archive import Archive, Date, Member
    from musl_repair.editing import Editors
    from musl_repair.elf import Elf
    from musl_repair.elfimage import Content
    from musl_repair.facts import Facts
    from musl_repair.pipeline import Run
    from musl_repair.plan import Plan
    from musl_repair.sysroot import Sysroot

_AHEAD: Final = 32 << 20
"""Bytes of content that is made ahead of its turn; in the archive it takes a third or so."""
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


class Form(NamedTuple):
    """How new members are written."""

    date: Date | None = None
    """The timestamp of every member (SOURCE_DATE_EPOCH); None: those of the input."""
    level: int = 6
    """Compression, 0 to 9."""


class Made(NamedTuple):
    """A member that is ready to be written, its row of RECORD, and its facts where an ELF file was edited."""

    fresh: Fresh
    row: Row
    elf: Elf | None = None
    sha256: str = ""


def _weight(made: Made) -> int:
    return len(made.fresh.stored)


class _Content(NamedTuple):
    name: str
    content: Content
    mode: int
    date: Date


class Assembly:
    """One new wheel in the making."""

    def __init__(
        self, archive: Archive, facts: Facts, plan: Plan, sysroot: Sysroot, editors: Editors, form: Form
    ) -> None:
        """Take what the members come from, and what edits them."""
        self._archive = archive
        self._facts = facts
        self._plan = plan
        self._sysroot = sysroot
        self._editors = editors
        self._page_size = plan.architecture.max_page if plan.architecture is not None else 0x1000
        self._form = form
        self._patches = {patch.member: patch for patch in plan.patches}
        self._grafts = {graft.member: graft for graft in plan.grafts}
        self._moved = {move.moved: move.member for move in plan.moves}
        self._launchers = {move.member: move.moved for move in plan.moves}
        self._metadata = f"{facts.wheel.dist_info}/WHEEL"
        self._date = form.date or archive.members[facts.wheel.record_name].date

        self.edited: dict[str, Elf] = {}
        """SHA-256 in hex → facts of every ELF file that was edited so far."""

    def entries(self, run: Run) -> Iterator[Member | Fresh]:
        """Yield the package's members in their order, what is added, and dist-info with RECORD at the very end."""
        wheel = self._facts.wheel
        rows: dict[str, Row] = {}
        kept: list[str] = []
        names = list(self._names())
        made_names = list(filter(self._is_made, names))
        all_made = run(self._make, made_names, cost=self._size, weigh=_weight, ahead=self._ahead(made_names))
        for name in names:
            if not self._is_made(name):
                kept.append(name)
                yield self._kept(name)
                continue
            made = next(all_made)
            rows[made.row.path] = made.row
            if made.elf is not None:
                self.edited[made.sha256] = made.elf
            yield made.fresh
        unlisted = [name for name in self._facts.unlisted if name not in {*rows, *self._plan.dropped}]
        rows |= {name: record_row(name, self._archive.read(name)) for name in unlisted}
        for document in self._documents(rows):
            rows[document.row.path] = document.row
            yield document.fresh
        record = new_record(wheel, kept, rows).encode()
        yield self._finish(_Content(wheel.record_name, record, self._mode(wheel.record_name), self._date)).fresh

    def _names(self) -> Iterator[str]:
        wheel = self._facts.wheel
        dropped = {wheel.record_name, *wheel.signatures, *self._plan.dropped}
        names = [name for name in self._archive.members if name not in dropped]
        yield from (name for name in names if not name.startswith(f"{wheel.dist_info}/"))
        yield from sorted([*self._grafts, *self._moved])
        yield from (name for name in names if name.startswith(f"{wheel.dist_info}/"))

    def _documents(self, rows: Mapping[str, Row]) -> Iterator[Made]:
        """Yield the licences of what is vendored, and what tells of it; rows are those of all that was made."""
        documents = self._plan.documents
        for text in documents.licenses:
            content = self._judged(text.source, text.sha256)
            yield self._finish(_Content(text.member, content, _FILE, self._date))
        if documents.sbom is not None:
            # Imported here: its library takes longer to import than a small wheel to repair.
            from musl_repair.sbom import write_sbom

            digests = {name: reading.sha256 for name, reading in self._facts.readings.items() if reading.sha256}
            digests |= {name: sha256_of(row) for name, row in rows.items()}
            content = write_sbom(self._plan, digests, self._sysroot.distribution(), self._form.date)
            yield self._finish(_Content(documents.sbom, content, _FILE, self._date))

    def _is_made(self, name: str) -> bool:
        """Whether a member of the new wheel is not simply the old one."""
        changed = name in self._patches or name in self._grafts or name in self._moved or name in self._launchers
        return changed or (name == self._metadata and self._plan.retags)

    def _ahead(self, names: Iterable[str]) -> Iterator[str]:
        """Yield the largest members that are made, as many as may wait for their turn in memory."""
        sizes = {name: self._size(name) for name in names}
        left = _AHEAD
        for name in sorted(sizes, key=lambda name: -sizes[name]):
            if sizes[name] <= left:
                left -= sizes[name]
                yield name

    def _size(self, name: str) -> int:
        """Return about how many bytes a member that is made will have."""
        graft = self._grafts.get(name)
        if graft is not None:
            return graft.size
        return self._facts.size(self._moved.get(name, name)) or 0

    def _kept(self, name: str) -> Member:
        member = self._archive.members[name]
        return member if self._form.date is None else member._replace(date=self._form.date)

    def _make(self, name: str) -> Made:
        """Return a member of the new wheel that is made now. Runs in any thread."""
        if name in self._launchers and name not in self._patches:
            return self._finish(self._launcher(name))
        if name == self._metadata:
            text = retagged_metadata(self._facts.wheel.metadata, self._plan.result)
            return self._finish(_Content(name, text.encode(), self._mode(name), self._member_date(name)))
        return self._edited(name)

    def _member_date(self, name: str) -> Date:
        return self._form.date or self._archive.members[name].date

    def _mode(self, name: str) -> int:
        return self._archive.members[name].mode or _FILE

    def _finish(self, new: _Content, elf: Elf | None = None) -> Made:
        fresh = make_fresh(new.name, new.content, mode=new.mode, date=new.date, level=self._form.level)
        row = record_row(new.name, new.content)
        return Made(fresh, row, elf, sha256_of(row) if elf is not None else "")

    def _edited(self, name: str) -> Made:
        patch, graft = self._patches.get(name), self._grafts.get(name)
        if graft is not None:
            content: Content = self._judged(graft.source, graft.sha256) if graft.content is None else graft.content
            mode, date, elf = _PROGRAM, self._date, self._plan.resolution.elfs.get(graft.source)
        else:
            old = self._moved.get(name, name)
            content, date = self._archive.read(old), self._member_date(old)
            mode = _PROGRAM if name in self._moved else self._mode(old)
            elf = self._facts.elfs[old]
        if patch is not None and patch.changes and elf is not None:
            content, elf = edit(content, elf, patch, self._editors, page_size=self._page_size)
        return self._finish(_Content(name, content, mode, date), elf)

    def _judged(self, source: PurePosixPath, sha256: str) -> bytes:
        """Return the content of a file of the sysroot as it was judged. Raises SysrootError where it is another."""
        content = self._sysroot.content(source)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise SysrootError(
                f"{source} in the sysroot {self._sysroot.root} changed during the repair; "
                "repair again when the sysroot is finished"
            )
        return content

    def _launcher(self, name: str) -> _Content:
        place: PurePosixPath = install_path(self._facts.wheel.data, self._launchers[name]).relative_to(MOUNT)
        text = _LAUNCHER.format(distribution=self._facts.wheel.name.distribution, program=str(place))
        return _Content(name, text.encode(), self._mode(name), self._member_date(name))
