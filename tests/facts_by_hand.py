"""Values for tests, made by hand: ELF facts, systems that are dicts, wheels that nobody packed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from musl_repair.abi import Release, history
from musl_repair.archive import Member
from musl_repair.elf import Elf, VersionNeed, read_elf
from musl_repair.elfimage import ET_DYN
from musl_repair.facts import Facts, Reading
from musl_repair.metadata import read_headers
from musl_repair.packages import Package
from musl_repair.policy import ARCHITECTURES, Architecture
from musl_repair.proof import expected_elf
from musl_repair.record import Record, RecordFault
from musl_repair.symbols import Import
from musl_repair.sysroot import DEFAULT_PATH, Unusable
from musl_repair.wheel import Wheel, parse_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hypothesis.vendor.pretty import RepresentationPrinter

    from musl_repair.findings import Finding
    from musl_repair.plan import Plan

_FLAGS: Final = {"ppc64le": 2, "riscv64": 5}
_METADATA: Final = "Wheel-Version: 1.0\nGenerator: hands\nRoot-Is-Purelib: {pure}\n"


def architecture(name: str = "x86_64") -> Architecture:
    return next(one for one in ARCHITECTURES if one.name == name)


def elf(
    *needed: str,
    rpath: str | None = None,
    runpath: str | None = None,
    arch: str = "x86_64",
    imports: Iterable[str] = (),
    weak: Iterable[str] = (),
    exports: Iterable[str] = (),
    versions: Iterable[tuple[str, str]] = (),
    soname: str | None = None,
    interpreter: str | None = None,
    relr: bool = False,
    file_type: int = ET_DYN,
) -> Elf:
    """Make the facts of a shared object that needs the given names."""
    target = architecture(arch)
    symbols = [*(Import(name, weak=False) for name in imports), *(Import(name, weak=True) for name in weak)]
    return Elf(
        machine=target.machine,
        bits=target.bits,
        little=target.little,
        type=file_type,
        flags=_FLAGS.get(arch, 0),
        interpreter=interpreter,
        soname=soname,
        needed=needed,
        dt_rpath=rpath,
        dt_runpath=runpath,
        imports=tuple(sorted(symbols)),
        exports=frozenset(exports),
        version_needs=tuple(VersionNeed(*version) for version in versions),
        relr=relr,
    )


def program(*needed: str, rpath: str | None = None, arch: str = "x86_64") -> Elf:
    return elf(*needed, rpath=rpath, arch=arch, interpreter=str(architecture(arch).loader))


def glibc_elf(*needed: str) -> Elf:
    return elf("libc.so.6", *needed, versions=[("libc.so.6", "GLIBC_2.2.5"), ("libc.so.6", "GLIBC_2.34")])


@cache
def libc(release: str = "1.2.5", arch: str = "x86_64") -> Elf:
    """Make musl itself, as a release of it was."""
    exports = history(arch).exports(Release.parse(release))
    return elf(arch=arch, exports={*exports, "__libc_start_main", "stdin"})


def paths(names: Iterable[str]) -> tuple[PurePosixPath, ...]:
    return tuple(map(PurePosixPath, names))


def digest(answer: Elf) -> str:
    """Return a hash that is the same for the same facts only."""
    values = [sorted(value) if isinstance(value := getattr(answer, name), frozenset) else value for name in Elf._fields]
    return hashlib.sha256(repr(values).encode()).hexdigest()


@dataclass(frozen=True)
class System:
    """A system that is a dict; links are symbolic ones, of files or folders, with absolute targets."""

    files: Mapping[PurePosixPath, Elf | Unusable] = field(default_factory=dict)
    links: Mapping[PurePosixPath, PurePosixPath] = field(default_factory=dict)
    packages: Mapping[PurePosixPath, Package] = field(default_factory=dict)
    path: tuple[PurePosixPath, ...] = DEFAULT_PATH
    texts: Mapping[str, tuple[PurePosixPath, ...]] = field(default_factory=dict)
    """Package → the files with its licences."""

    def _repr_pretty_(self, printer: RepresentationPrinter, cycle: bool) -> None:  # noqa: ARG002 - hypothesis'
        """Show what a failing law is about: who needs whom. musl itself exports too much to be read."""
        needs = {str(path): answer.needed for path, answer in self.files.items() if isinstance(answer, Elf)}
        printer.text(f"System({needs}, links={self.links})")

    def read(self, path: PurePosixPath) -> Elf | Unusable | None:
        return self.files.get(self.real(path))

    def real(self, path: PurePosixPath) -> PurePosixPath:
        assert path.is_absolute(), f"no system knows where {path} is"
        at = PurePosixPath("/")
        for part in path.parts[1:]:
            at = at.parent if part == ".." else at / part
            while at in self.links:
                at = self.links[at]
        return at

    def is_empty(self, folder: PurePosixPath) -> bool:
        real = self.real(folder)
        return not any(real in path.parents for path in (*self.files, *self.links))

    def search_path(self, musl_arch: str) -> tuple[PurePosixPath, ...]:  # noqa: ARG002 - the system has one list
        return self.path

    def loaders(self) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in self.files if path.match("/lib/ld-musl-*.so.1")))

    def digest(self, path: PurePosixPath) -> str:
        answer = self.read(path)
        if any(path in texts for texts in self.texts.values()):
            return hashlib.sha256(str(path).encode()).hexdigest()
        assert isinstance(answer, Elf)
        return digest(answer)

    def size(self, path: PurePosixPath) -> int:
        return len(self.digest(path))

    def owner(self, path: PurePosixPath) -> Package | None:
        return self.packages.get(self.real(path))

    def license_texts(self, package: Package) -> tuple[PurePosixPath, ...]:
        return self.texts.get(package.name, ())


def system(
    files: Mapping[str, Elf | Unusable] | None = None,
    *,
    musl: str | None = "1.2.5",
    arch: str = "x86_64",
    links: Mapping[str, str] | None = None,
    packages: Mapping[str, Package] | None = None,
    path: Iterable[PurePosixPath] = DEFAULT_PATH,
    texts: Mapping[str, tuple[PurePosixPath, ...]] | None = None,
) -> System:
    """Make a system of these files and, unless musl is None, of that release of musl."""
    loader = architecture(arch).loader
    own = {PurePosixPath(name): answer for name, answer in (files or {}).items()}
    owners = {PurePosixPath(name): package for name, package in (packages or {}).items()}
    if musl is not None:
        own[loader] = libc(musl, arch)
        owners.setdefault(loader, Package("musl", f"{musl}-r0"))
    targets = {PurePosixPath(name): PurePosixPath(target) for name, target in (links or {}).items()}
    return System(own, targets, owners, tuple(path), texts or {})


def wheel_facts(
    elfs: Mapping[str, Elf],
    *,
    name: str = "demo-1.0-cp312-cp312-linux_x86_64.whl",
    others: Iterable[str] = ("demo/__init__.py",),
    pure: bool = False,
    tags: Iterable[str] | None = None,
    record_faults: Iterable[RecordFault] = (),
    data_folders: tuple[str, ...] = (),
    systems: Mapping[str, str] | None = None,
    broken: Mapping[str, str] | None = None,
) -> Facts:
    """Make the facts of a wheel with these ELF files; tags are those of WHEEL if they are not the name's.

    systems: archive name → the system that it is a program for; broken are ELF files that cannot be read, with the
    reason.
    """
    parsed = parse_name(name)
    dist_info = f"{parsed.distribution}-{parsed.version}.dist-info"
    plain = _METADATA.format(pure="true" if pure else "false")
    text = plain + "".join(f"Tag: {tag}\n" for tag in (parsed.tags() if tags is None else tags))
    text += f"Build: {parsed.build}\n" if parsed.build else ""
    info = [f"{dist_info}/METADATA", f"{dist_info}/WHEEL", f"{dist_info}/RECORD"]
    return Facts(
        wheel=Wheel(parsed, dist_info, read_headers(text), Record({}, ()), data_folders),
        readings={
            **{member: reading(member, elfs.get(member)) for member in (*others, *elfs, *info)},
            **{member: reading(member, None)._replace(system=name) for member, name in (systems or {}).items()},
            **{member: reading(member, None)._replace(broken=why) for member, why in (broken or {}).items()},
        },
        record_faults=tuple(record_faults),
    )


def reading(name: str, answer: Elf | None) -> Reading:
    """Make what was read of a member of 4096 bytes."""
    member = Member(
        name, size=4096, stored_size=4096, crc=0, method=0, date=(1980, 1, 1, 0, 0, 0), system=3, attributes=0, offset=0
    )
    return Reading(member, row=None, elf=answer, sha256="" if answer is None else digest(answer), fault=None)


def repaired(facts: Facts, plan: Plan) -> Facts:
    """Return the facts of the wheel that a plan leads to."""
    facts = facts.renamed(plan.renames)
    moved = dict(plan.moves)
    elfs = {moved.get(name, name): answer for name, answer in facts.elfs.items()}
    for graft in plan.grafts:
        elfs[graft.member] = read_elf(graft.content) if graft.content else plan.resolution.elfs[graft.source]
    elfs |= {patch.member: expected_elf(elfs[patch.member], patch) for patch in plan.patches}
    # A moved program leaves a script behind.
    members = dict.fromkeys(name for name in (*facts.members, *elfs) if name not in plan.dropped)
    headers = facts.wheel.headers if plan.wheel_file is None else read_headers(plan.wheel_file.text)
    return replace(
        facts,
        wheel=facts.wheel._replace(name=plan.result, headers=headers),
        readings={member: reading(member, elfs.get(member)) for member in members},
        record_faults=(),
        renames={},
    )


def of_code(findings: Iterable[Finding], code: str) -> list[Finding]:
    return [found for found in findings if found.code == code]
