"""Findings: what can be wrong with a wheel, each kind's code, severity, words and remedy."""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Severity(str, Enum):
    """How much a finding weighs: only an error keeps a wheel from being written."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Rule(NamedTuple):
    """What is the same for all findings of one code; docs/findings.md has a section for each."""

    code: str
    severity: Severity
    meaning: str
    remedy: str


class Finding(NamedTuple):
    """One thing about a wheel that its user should know.

    subject is what the finding is about (an archive name, a library, a tag), as it is; detail is who needs it and what
    was seen, in lines that are printable, so that each line end is ours.
    """

    code: str
    severity: Severity
    subject: str
    detail: str
    remedy: str

    @property
    def lines(self) -> list[str]:
        """The lines of the detail."""
        return self.detail.split("\n")


def finding(
    code: str, subject: str, *detail: str, remedy: str | None = None, severity: Severity | None = None
) -> Finding:
    """Make a finding of a known code, with a detail of these lines.

    remedy and severity replace the rule's own where more is known.
    """
    rule = RULES[code]
    lines = "\n".join(map(printable, detail))
    return Finding(code, severity or rule.severity, subject, lines, rule.remedy if remedy is None else remedy)


def errors_in(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return those of the findings that keep a wheel from being written."""
    return tuple(found for found in findings if found.severity is Severity.ERROR)


def is_failure(findings: Iterable[Finding], *, strict: bool) -> bool:
    """Whether findings make a wheel wrong: errors do, and warnings where the user is strict."""
    failing = (Severity.ERROR, Severity.WARNING) if strict else (Severity.ERROR,)
    return any(found.severity in failing for found in findings)


def _rules(*rules: tuple[str, Severity, str, str]) -> Mapping[str, Rule]:
    return MappingProxyType({rule[0]: Rule(*rule) for rule in rules})


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

RULES: Final = _rules(
    (
        "library-not-found", _E,
        "A needed library is neither in the wheel nor where musl would look for it.",
        "install the package that provides it into the sysroot, or name its folder with --ldpaths",
    ),
    (
        "library-excluded-not-found", _W,
        "A library was excluded, and nothing in the wheel leads to it.",
        "make sure that it is loaded from somewhere else: musl finds it by an rpath, or in its system folders",
    ),
    (
        "sysroot-without-musl", _E,
        "Libraries have to come from the sysroot, and it has no musl for the wheel's architecture.",
        "name the root of a musl system of the wheel's architecture with --sysroot, or run inside one (Alpine)",
    ),
    (
        "wrong-architecture", _E,
        "An ELF file that something loads or runs is for another architecture than the wheel, or than the sysroot.",
        "build every file of the wheel for one architecture, and point --sysroot at a root of that architecture",
    ),
    (
        "elf-data", _N,
        "The wheel has ELF files that musl on its machine can never load, and that nothing asks it to: they are data.",
        "nothing to do: a repair keeps them byte for byte",
    ),
    (
        "broken-elf", _W,
        "A file begins as an ELF file and contradicts itself: it is cut off, say. musl cannot load it.",
        "build or download the file again; if it is meant to be broken, as test data are, there is nothing to do",
    ),
    (
        "glibc-linked", _E,
        "An ELF file of the wheel is linked against glibc, which musl does not replace.",
        "build it on musl Linux (Alpine, musllinux images), or use a manylinux tool such as auditwheel",
    ),
    (
        "libpython-linked", _N,
        "A file needs libpython, which the interpreter provides; the repair removes the need.",
        "nothing to do: the interpreter that imports the file has these symbols already",
    ),
    (
        "symbol-not-found", _E,
        "A symbol that musl has to bind when it loads a file is nowhere: not in the file's libraries, not in musl, "
        "not among the names that the interpreters of the wheel's tags export. The import fails.",
        "link the library that defines it, or build without what uses it",
    ),
    (
        "outside-stable-abi", _W,
        "A file of an abi3 wheel needs names of CPython that are not in the stable ABI of the tag's version. Every "
        "CPython that is known exports them; a later one need not.",
        "build it with Py_LIMITED_API set to the tag's version, or for each version of CPython",
    ),
    (
        "python-not-judged", _N,
        "The wheel is for an interpreter of which musl-repair does not know what it exports; the names of the C API "
        "that the files need are not checked against it.",
        "nothing to do; test the wheel with that interpreter",
    ),
    (
        "libc-symbol-clash", _W,
        "A library of the wheel exports a name that musl exports too; musl's own is used instead of it.",
        "link that function statically with hidden visibility, or rename it: musl looks in its own exports first",
    ),
    (
        "tag-too-low", _E,
        "The wheel needs a newer musl than every release that the tag stands for.",
        "ask for a higher tag",
    ),
    (
        "tag-promises-too-much", _W,
        "The wheel needs a later patch release of musl than the first one that its tag promises.",
        "tell your users, or build without what needs the newer musl: a tag cannot name a patch release",
    ),
    (
        "relr-before-1.2.4", _E,
        "A file carries DT_RELR, which musl ignores before 1.2.4 (the library crashes), and the tag promises that.",
        "run musl-repair on the wheel: it replaces the table by ordinary relocations",
    ),
    (
        "initial-exec-tls", _E,
        "A file that dlopen loads has initial-exec thread-local variables, for which musl has no room then.",
        "compile it with -ftls-model=global-dynamic (and without -fno-pic)",
    ),
    (
        "ifunc", _E,
        "A file has IFUNC symbols or IRELATIVE relocations, which musl does not support.",
        "build it without ifunc: musl's loader can neither find nor relocate such symbols",
    ),
    (
        "unsupported-relocation", _E,
        "A file has relocations of a type that no musl release applies on this architecture.",
        "compile it as position-independent code (-fPIC) with the architecture's usual code model",
    ),
    (
        "rpath-token", _W,
        "An rpath has a token other than $ORIGIN; musl then ignores the whole rpath.",
        "run musl-repair on the wheel (it drops such entries), or link with $ORIGIN only",
    ),
    (
        "rpath-outside-wheel", _W,
        "An rpath leads out of the wheel, to folders of the machine that built it.",
        "run musl-repair on the wheel (it drops such entries)",
    ),
    (
        "folder-breaks-rpath", _E,
        "A file needs a library by an rpath that cannot name the folder: musl splits an rpath at ':' and line ends, "
        "also in the folder that $ORIGIN stands for, and drops one that has another '$'.",
        "rename the folder",
    ),
    (
        "reserved-name", _E,
        "A library has a name that musl's loader takes for libc itself, so it is never opened.",
        "give the library another name: lib{c,pthread,rt,m,dl,util,xnet}.* are reserved",
    ),
    (
        "extension-suffix", _E,
        "An extension module has a file name that an interpreter of the wheel's tags does not look for.",
        "build it with the CPython that the tag names (on musl its suffix says -linux-musl since 3.11), or rename the "
        "file: .so alone is always looked for",
    ),
    (
        "executable-stack", _N,
        "A file asks for an executable stack; musl does not give it one.",
        "nothing to do, unless the file really runs code on its stack; link with -z noexecstack",
    ),
    (
        "isa-level", _E,
        "A file says that it needs more of the processor than every machine of its architecture has.",
        "compile for the baseline (-march=x86-64), or accept it with --disable-isa-ext-check",
    ),
    (
        "page-alignment", _W,
        "A file's segments cannot be mapped with the largest pages that kernels of its architecture use.",
        "link with -z max-page-size=65536",
    ),
    (
        "elf-in-purelib", _W,
        "The wheel installs ELF files as pure Python (Root-Is-Purelib: true, or .data/purelib).",
        "let the build backend mark the wheel as platform specific",
    ),
    (
        "elf-outside-site-packages", _E,
        "A file under .data/data, .data/headers or .data/scripts needs a library of the wheel, which it cannot find "
        "from where it is installed.",
        "put the file into the package, or link it statically",
    ),
    (
        "duplicate-library", _N,
        "The wheel has the same library more than once; each copy is loaded for itself.",
        "keep one copy and let the others' users find it by rpath, as --dedupe does",
    ),
    (
        "record-mismatch", _E,
        "RECORD and the files of the wheel do not agree, or RECORD is not as it should be.",
        "rebuild the wheel: what it holds is not what its RECORD promises",
    ),
    (
        "tag-mismatch", _E,
        "A platform tag of the file name cannot be true of the ELF files, or the tags of the WHEEL file are not those "
        "of the file name.",
        "rebuild the wheel with the platform tag of the machine that it was built for",
    ),
    (
        "data-folder", _W,
        "A folder *.data does not have the name of the wheel's data folder: pip takes it for that, others do not.",
        "run musl-repair on the wheel, which renames the folder",
    ),
    (
        "tag-not-on-pypi", _N,
        "PyPI accepts no upload of a wheel with this tag.",
        "publish the wheel on an index of your own; installers do accept it",
    ),
    (
        "member-collision", _E,
        "Two members of the wheel come to be the same file, in the archive or when they are installed.",
        "rename the file in the wheel, or choose another folder with --lib-sdir",
    ),
    (
        "exclude-unmatched", _W,
        "A pattern of --exclude or --exclude-rpath fits no needed library.",
        "correct the pattern, or leave it out",
    ),
    (
        "include-unmatched", _W,
        "A library is to be included, and there is no file that could come to need it.",
        "name the file that loads it: --include FILE-PATTERN=NAME",
    ),
    (
        "kept-name", _N,
        "A vendored library keeps its name; a process has only one library of each name, the first that is loaded.",
        "nothing to do, as long as no other wheel brings another library of this name",
    ),
    (
        "dlopen-note-unreadable", _N,
        "A file's note on what it loads by dlopen is not as the specification says, and was passed over.",
        "nothing to do; tell those who made the file",
    ),
)  # fmt: skip
