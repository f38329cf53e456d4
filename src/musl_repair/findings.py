"""Findings: what can be wrong with a wheel, each kind's code, severity, words and remedy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Severity(str, Enum):
    """How much a finding weighs: only an error keeps a wheel from being written."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is the same for all findings of one code."""

    code: str
    severity: Severity
    meaning: str
    remedy: str


def _rules(*rules: tuple[str, Severity, str, str]) -> Mapping[str, Rule]:
    return MappingProxyType({rule[0]: Rule(*rule) for rule in rules})


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

RULES: Mapping[str, Rule] = _rules(
    (
        "library-not-found",
        _E,
        "A needed library is neither in the wheel nor where musl would look for it.",
        "install the package that provides it into the sysroot, or name its folder with --ldpaths",
    ),
    (
        "wrong-architecture",
        _E,
        "An ELF file of the wheel is for another architecture than the rest or than the sysroot.",
        "build every file of the wheel for one architecture, and point --sysroot at a root of that architecture",
    ),
    (
        "glibc-linked",
        _E,
        "An ELF file of the wheel is linked against glibc, which musl does not replace.",
        "build it on musl Linux (Alpine, musllinux images), or use a manylinux tool such as auditwheel",
    ),
    (
        "libpython-linked",
        _N,
        "A file needs libpython, which the interpreter provides; the need is removed.",
        "nothing to do: the interpreter that imports the file has these symbols already",
    ),
    (
        "elf-outside-site-packages",
        _E,
        "A file under .data/data or .data/headers needs a library of the wheel, which it cannot find "
        "from where it is installed.",
        "put the file into the package (platlib) or link it statically",
    ),
    (
        "reserved-name",
        _E,
        "A library has a name that musl's loader takes for libc itself, so it is never opened.",
        "give the library another name: lib{c,pthread,rt,m,dl,util,xnet}.* are reserved",
    ),
    (
        "record-mismatch",
        _E,
        "RECORD and the files of the wheel do not agree.",
        "rebuild the wheel: what it holds is not what its RECORD promises",
    ),
    (
        "tag-mismatch",
        _E,
        "The tags of the file name, of the WHEEL file and the machine of the ELF files do not agree.",
        "rebuild the wheel with the platform tag of the machine that it was built for",
    ),
    (
        "sysroot-without-musl",
        _E,
        "Libraries have to come from the sysroot, and it has no musl for the wheel's architecture.",
        "name the root of a musl system of the wheel's architecture with --sysroot, or run inside one (Alpine)",
    ),
    (
        "tag-too-low",
        _E,
        "The wheel needs a newer musl than every release that the tag stands for.",
        "ask for a higher tag",
    ),
    (
        "tag-promises-too-much",
        _W,
        "The wheel needs a later patch release of musl than the first one that the tag promises.",
        "tell your users, or build without what needs the newer musl: a tag cannot name a patch release",
    ),
    (
        "member-collision",
        _E,
        "A file that has to be added to the wheel is there already, with other content.",
        "rename the file in the wheel, or choose another folder with --lib-sdir",
    ),
)


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing about a wheel that its user should know.

    subject is what the finding is about (an archive name, a library, a symbol), detail who needs it and what was seen.
    """

    code: str
    severity: Severity
    subject: str
    detail: str
    remedy: str


def finding(code: str, subject: str, detail: str, *, remedy: str | None = None) -> Finding:
    """Make a finding of a known code; remedy replaces the rule's own where there is a more exact one."""
    rule = RULES[code]
    return Finding(code, rule.severity, subject, detail, rule.remedy if remedy is None else remedy)


def errors_in(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return those of the findings that keep a wheel from being written."""
    return tuple(found for found in findings if found.severity is Severity.ERROR)
