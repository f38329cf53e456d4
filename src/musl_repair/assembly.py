"""The members of a new wheel: raw copies of what stays, and what the plan changes or adds, made as they are written."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.editing import edit
from musl_repair.errors import SysrootError
from musl_repair.facts import new_name
from musl_repair.overlay import Fresh, make_fresh
from musl_repair.record import new_record, new_row
from musl_repair.wheel import MOUNT

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
    from musl_repair.record import Row
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
    """A member that is ready to be written, the SHA-256 of its content in hex, and its facts if it was edited."""

    fresh: Fresh
    sha256: str
    elf: Elf | None = None


def _row(made: Made) -> Row:
    return new_row(made.fresh.name, made.sha256, made.fresh.size)


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
        self._facts = facts.renamed(plan.renames)
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
        self._sources = {new_name(name, plan.renames): member for name, member in archive.members.items()}
        """Name in the new wheel, moves apart → the member as it is in the archive."""

        self.edited: dict[str, Elf] = {}
        """SHA-256 in hex → facts of every ELF file that was edited so far."""

    def entries(self, run: Run) -> Iterator[Member | Fresh]:
        """Yield the package's members in their order, what is added, and dist-info with RECORD at the very end."""
        rows: dict[str, Row] = {}
        names = list(self._names())
        made_names = list(filter(self._is_made, names))
        all_made = run(self._make, made_names, cost=self._size, weigh=_weight, ahead=self._ahead(made_names))
        digests = {name: reading.sha256 for name, reading in self._facts.readings.items()}
        for name in names:
            if not self._is_made(name):
                member = self._kept(name)
                if not member.is_dir:
                    rows[name] = new_row(name, digests[name], member.size)
                yield member
                continue
            made = next(all_made)
            digests[name] = made.sha256
            rows[name] = _row(made)
            if made.elf is not None:
                self.edited[made.sha256] = made.elf
            yield made.fresh
        for document in self._documents(digests):
            rows[document.fresh.name] = _row(document)
            yield document.fresh
        name = self._facts.wheel.record_name
        record = new_record(name, rows.values())
        yield self._finish(_Content(name, record, self._mode(name), self._date)).fresh

    def _names(self) -> Iterator[str]:
        wheel = self._facts.wheel
        dropped = {wheel.record_name, *wheel.signatures, *self._plan.dropped}
        # A folder whose name changes need not be a member of its own.
        stale = tuple(f"{folder}/" for folder in self._plan.renames.values())
        names = [
            name
            for name, member in self._sources.items()
            if name not in dropped and not (member.is_dir and name.startswith(stale))
        ]
        yield from (name for name in names if not name.startswith(f"{wheel.dist_info}/"))
        yield from sorted([*self._grafts, *self._moved])
        yield from (name for name in names if name.startswith(f"{wheel.dist_info}/"))

    def _documents(self, digests: Mapping[str, str]) -> Iterator[Made]:
        """Yield the licences of what is vendored, and what tells of it; digests are those of the other members."""
        documents = self._plan.documents
        for text in documents.licenses:
            content = self._judged(text.source, text.sha256)
            yield self._finish(_Content(text.member, content, _FILE, self._date))
        if documents.sbom is not None:
            # Imported here: its library takes longer to import than a small wheel to repair.
            from musl_repair.sbom import write_sbom

            content = write_sbom(self._plan, digests, self._sysroot.distribution(), self._form.date)
            yield self._finish(_Content(documents.sbom, content, _FILE, self._date))

    def _is_made(self, name: str) -> bool:
        """Whether a member of the new wheel is not simply the old one."""
        changed = name in self._patches or name in self._grafts or name in self._moved or name in self._launchers
        renamed = name in self._sources and name != self._sources[name].name
        return changed or renamed or (name == self._metadata and self._plan.wheel_file is not None)

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
        member = self._sources[name]
        return member if self._form.date is None else member._replace(date=self._form.date)

    def _make(self, name: str) -> Made:
        """Return a member of the new wheel that is made now. Runs in any thread."""
        if name in self._launchers and name not in self._patches:
            return self._finish(self._launcher(name))
        if name == self._metadata and self._plan.wheel_file is not None:
            text = self._plan.wheel_file.text
            return self._finish(_Content(name, text.encode(), self._mode(name), self._member_date(name)))
        return self._edited(name)

    def _member_date(self, name: str) -> Date:
        return self._form.date or self._sources[name].date

    def _mode(self, name: str) -> int:
        return self._sources[name].mode or _FILE

    def _finish(self, new: _Content, elf: Elf | None = None) -> Made:
        fresh = make_fresh(new.name, new.content, mode=new.mode, date=new.date, level=self._form.level)
        return Made(fresh, hashlib.sha256(new.content).hexdigest(), elf)

    def _edited(self, name: str) -> Made:
        patch, graft = self._patches.get(name), self._grafts.get(name)
        if graft is not None:
            content: Content = self._judged(graft.source, graft.sha256) if graft.content is None else graft.content
            mode, date, elf = _PROGRAM, self._date, self._plan.resolution.elfs.get(graft.source)
        else:
            old = self._moved.get(name, name)
            content, date = self._archive.read(self._sources[old].name), self._member_date(old)
            mode = _PROGRAM if name in self._moved else self._mode(old)
            elf = self._facts.elfs.get(old)
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
        place: PurePosixPath = self._facts.wheel.install_path(self._launchers[name]).relative_to(MOUNT)
        text = _LAUNCHER.format(distribution=self._facts.wheel.name.distribution, program=str(place))
        return _Content(name, text.encode(), self._mode(name), self._member_date(name))
