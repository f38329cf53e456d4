"""What the Python and ABI tags of a wheel, and its Requires-Python, promise of the interpreter.

Source: PEP 425, PEP 384 (abi3), PEP 803 (abi3t), and what `packaging.tags` has installers accept.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from musl_repair.python.interpreter import Interpreter
from musl_repair.python.names import known_minors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CPYTHON: Final = re.compile(r"cp3(\d+)")
_ANY_PYTHON: Final = re.compile(r"py3(\d*)")
_GENERIC: Final = re.compile(r"(?:cp|py)\d*")
_FREE_THREADED_SINCE: Final = 13
_NO_PYMALLOC_FLAG_SINCE: Final = 8
_PATCHES: Final = 40
"""More patch releases than any version of CPython has had."""
_LONGEST: Final = 1000
"""Characters of a Requires-Python; a longer one is not read, for each clause is asked of each release."""


class Kind(Enum):
    """What an ABI tag says."""

    EXACT = "one version's own ABI"
    STABLE = "the stable ABI"
    NONE = "no ABI of Python"


class Admission(NamedTuple):
    """One tag, and the interpreters that install a wheel because of it; sorted, as far as the data know them."""

    tag: str
    """Python and ABI tag, as in cp38-abi3."""
    kind: Kind
    interpreters: tuple[Interpreter, ...]


class Promise(NamedTuple):
    """Which interpreters a wheel is for."""

    admissions: tuple[Admission, ...]
    unjudged: tuple[str, ...] = ()
    """Tags of other interpreters, and of builds of CPython that the data say nothing about: PyPy, debug builds."""

    @property
    def interpreters(self) -> tuple[Interpreter, ...]:
        """All interpreters that install the wheel, sorted."""
        return tuple(sorted({one for admission in self.admissions for one in admission.interpreters}))

    @property
    def bound(self) -> frozenset[Interpreter]:
        """The interpreters whose ABI a tag names: the wheel says that it was made for them."""
        named = (admission for admission in self.admissions if admission.kind is not Kind.NONE)
        return frozenset(one for admission in named for one in admission.interpreters)

    @property
    def stable(self) -> tuple[Interpreter, ...]:
        """The interpreters that install the wheel because of the stable ABI, sorted."""
        stable = (admission for admission in self.admissions if admission.kind is Kind.STABLE)
        return tuple(sorted({one for admission in stable for one in admission.interpreters}))


def promise_of(python: str, abi: str, requires_python: str = "") -> Promise:
    """Return what the Python and ABI parts of a wheel's name promise; both may be compressed sets (cp38.cp39).

    Versions that requires_python (METADATA's Requires-Python) excludes do not count: installers refuse the wheel there.
    """
    pairs = [(one, other) for one in python.split(".") for other in abi.split(".")]
    allowed = _Allowed(requires_python)
    admissions, unjudged = [], []
    for one, other in pairs:
        kind, interpreters = _admitted(one, other)
        if kind is not None:
            admissions.append(Admission(f"{one}-{other}", kind, tuple(filter(allowed.admits, interpreters))))
        elif _is_foreign(one, other):
            unjudged.append(one if _GENERIC.fullmatch(one) is None else f"{one}-{other}")
    return Promise(tuple(admissions), tuple(dict.fromkeys(unjudged)))


def _admitted(python: str, abi: str) -> tuple[Kind | None, tuple[Interpreter, ...]]:
    """Return which interpreters install for a tag; no kind where none does that we know."""
    match = _CPYTHON.fullmatch(python)
    if abi == "none":
        return _admitted_without_abi(python)
    if match is None:
        return None, ()
    minor, newest = int(match[1]), known_minors()[-1]
    if abi in ("abi3", "abi3t"):
        threads = abi == "abi3t"
        first = max(minor, _FREE_THREADED_SINCE) if threads else max(minor, known_minors()[0])
        return Kind.STABLE, tuple(Interpreter(one, threads) for one in range(first, max(minor, newest) + 1))
    flag = "m" if minor < _NO_PYMALLOC_FLAG_SINCE else ""
    if abi == f"{python}{flag}":
        return Kind.EXACT, (Interpreter(minor),)
    if abi == f"{python}t" and minor >= _FREE_THREADED_SINCE:
        return Kind.EXACT, (Interpreter(minor, free_threaded=True),)
    return None, ()


def _admitted_without_abi(python: str) -> tuple[Kind | None, tuple[Interpreter, ...]]:
    """py3 is installed by every Python 3, py39 by 3.9 and all later ones, cp39 by CPython 3.9 alone."""
    known, exact, general = known_minors(), _CPYTHON.fullmatch(python), _ANY_PYTHON.fullmatch(python)
    if exact is not None:
        return Kind.NONE, tuple(_builds(range(int(exact[1]), int(exact[1]) + 1)))
    if general is not None:
        first = int(general[1] or known[0])
        return Kind.NONE, tuple(_builds(range(max(first, known[0]), max(first, known[-1]) + 1)))
    return None, ()


def _builds(minors: Iterable[int]) -> Iterator[Interpreter]:
    for minor in minors:
        yield Interpreter(minor)
        if minor >= _FREE_THREADED_SINCE:
            yield Interpreter(minor, free_threaded=True)


def _is_foreign(python: str, abi: str) -> bool:
    """Whether a tag is of an interpreter that we do not know, and not a pair that a compressed set has by accident.

    Python 2 is of no interest: no version of it installs musllinux wheels.
    """
    if _GENERIC.fullmatch(python) is None:
        return not abi.startswith("cp") and abi not in ("abi3", "abi3t")
    return _CPYTHON.fullmatch(python) is not None and re.fullmatch(rf"{python}[a-z]+", abi) is not None


class _Allowed:
    """Which versions Requires-Python lets in; all where there is none, or one that nobody can read."""

    def __init__(self, requires_python: str) -> None:
        try:
            self._specifiers = SpecifierSet(requires_python if len(requires_python) <= _LONGEST else "")
        except InvalidSpecifier:
            self._specifiers = SpecifierSet()
        self._minors: dict[int, bool] = {}

    def admits(self, interpreter: Interpreter) -> bool:
        minor = interpreter.minor
        if minor not in self._minors:
            releases = (f"3.{minor}.{patch}" for patch in range(_PATCHES))
            self._minors[minor] = any(map(self._specifiers.contains, releases))
        return self._minors[minor]
