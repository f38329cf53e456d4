"""What the interpreters of a wheel's tags lack: names of the C API that files need, and file names of modules. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.findings import Finding, Severity, finding
from musl_repair.python.interpreter import in_words
from musl_repair.python.names import exporters, exports, known_minors, stable_since
from musl_repair.python.suffixes import Lookup, look_up, looks_for, module_of, suffixes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from musl_repair.python.interpreter import Interpreter
    from musl_repair.python.promise import Promise

_MOST_NAMES: Final = 8
_REBUILD: Final = "build it with the CPython that the tag names; under abi3, set Py_LIMITED_API to that version"
_IN_VAIN: Final = "no interpreter of the tags looks for it; they find the module in another file"


class ApiUse(NamedTuple):
    """The names that a file leaves to the interpreter which loads it."""

    file: str
    """Archive name, or the path of a file that does not come from the wheel."""
    root: str
    """The file that the interpreter loads it with: itself, or one that needs it."""
    names: frozenset[str]


class _Loaded(NamedTuple):
    """A use, and the interpreters of the tags that load the file."""

    use: ApiUse
    interpreters: frozenset[Interpreter]


class _Lack(NamedTuple):
    """A name, and which of the interpreters that load a file which needs it do not export it."""

    name: str
    lacking: frozenset[Interpreter]
    loading: frozenset[Interpreter]
    files: tuple[str, ...]


def judge_api(
    uses: Iterable[ApiUse], promise: Promise, architecture: str, owners: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield names of the C API that an interpreter of the tags does not export, or that no version promises to keep.

    owners: name → a file of the wheel that defines it, and is not loaded with the file that needs it.
    """
    known = known_minors()
    admitted = [one for one in promise.interpreters if one.minor in known]
    loaded = [
        _Loaded(use, frozenset(one for one in admitted if looks_for(one, use.root, architecture))) for use in uses
    ]
    lacks = tuple(_lacks(loaded))
    yield from (_not_exported(lack, promise, owners.get(lack.name)) for lack in lacks)
    yield from _judge_stable(loaded, promise, frozenset(lack.name for lack in lacks))
    if loaded:
        yield from _judge_unknown(promise)


def _lacks(loaded: Iterable[_Loaded]) -> Iterator[_Lack]:
    """Yield what is lacking, by name."""
    names: dict[frozenset[Interpreter], set[str]] = {}
    for use, interpreters in loaded:
        # Once for all files of a wheel: a hundred modules need the same few hundred names.
        names.setdefault(interpreters, set()).update(use.names)
    lacking: dict[str, set[Interpreter]] = {}
    for interpreters, needed in names.items():
        for name in needed:
            missing = {one for one in interpreters if not exports(one, name)}
            if missing:
                lacking.setdefault(name, set()).update(missing)
    for name, missing in sorted(lacking.items()):
        users = [(use.file, interpreters) for use, interpreters in loaded if name in use.names]
        loading = frozenset().union(*(interpreters for _, interpreters in users))
        files = dict.fromkeys(file for file, interpreters in users if not missing.isdisjoint(interpreters))
        yield _Lack(name, frozenset(missing), loading, tuple(files))


def _not_exported(lack: _Lack, promise: Promise, owner: str | None) -> Finding:
    there = exporters(lack.name)
    lines = [f"needed by {', '.join(lack.files)}", f"not exported by {in_words(lack.lacking)}; {_history(lack.name)}"]
    if owner is not None:
        lines.append(f"{owner} defines it, but is not among what is needed")
    severity = Severity.ERROR if _is_certain(lack, promise) and owner is None else Severity.WARNING
    return finding("symbol-not-found", lack.name, *lines, remedy=_REBUILD if there else None, severity=severity)


def _is_certain(lack: _Lack, promise: Promise) -> bool:
    """Whether an import surely fails under an interpreter that the wheel says it was made for.

    What free-threaded builds export is not known in full. A wheel without an ABI tag may decide at run time what it
    loads: it is wrong for certain only where no interpreter has the name.
    """
    sure = {one for one in lack.lacking if not one.free_threaded}
    everywhere = bool(sure) and sure == {one for one in lack.loading if not one.free_threaded}
    return everywhere or not sure.isdisjoint(promise.bound)


def _history(name: str) -> str:
    """Return which versions have a name, for people."""
    there, known, since = exporters(name), known_minors(), stable_since(name)
    if not there:
        return f"no CPython from 3.{known[0]} to 3.{known[-1]} exports it"
    stable = "" if since is None else f", and in the stable ABI since 3.{since}"
    return f"exported by {in_words(there)}{stable}"


def _judge_stable(loaded: Iterable[_Loaded], promise: Promise, missing: frozenset[str]) -> Iterator[Finding]:
    """Yield files under an abi3 tag that need names outside the stable ABI, though every interpreter has them."""
    stable = frozenset(promise.stable)
    by_file: dict[str, set[str]] = {}
    for use, interpreters in loaded:
        loading = stable & interpreters
        if loading:
            unstable = {name for name in use.names - missing if not _is_stable(name, min(loading))}
            by_file.setdefault(use.file, set()).update(unstable)
    for file, names in sorted(by_file.items()):
        said = [_with_stable(name) for name in sorted(names)]
        more = f" and {len(said) - _MOST_NAMES} more" if len(said) > _MOST_NAMES else ""
        if said:
            detail = f"the stable ABI of {min(stable)} lacks {', '.join(said[:_MOST_NAMES])}{more}"
            yield finding("outside-stable-abi", file, detail)


def _with_stable(name: str) -> str:
    since = stable_since(name)
    return name if since is None else f"{name} (in it since 3.{since})"


def _is_stable(name: str, interpreter: Interpreter) -> bool:
    since = stable_since(name)
    return since is not None and since <= interpreter.minor


def _judge_unknown(promise: Promise) -> Iterator[Finding]:
    """Yield the tags whose interpreters the data do not know."""
    known = known_minors()
    for tag in promise.unjudged:
        yield finding("python-not-judged", tag, "which names this interpreter exports is not known")
    for admission in promise.admissions:
        if any(one.minor not in known for one in admission.interpreters):
            detail = f"which names CPython exports is known for 3.{known[0]} to 3.{known[-1]}"
            yield finding("python-not-judged", admission.tag, detail)


def judge_suffixes(members: Iterable[str], promise: Promise, architecture: str) -> Iterator[Finding]:
    """Yield extension modules that an interpreter of the tags does not find, and files that none looks for.

    members are the archive names of files that are extension modules. Several may be the same module, for one
    interpreter each.
    """
    modules: dict[str, list[str]] = {}
    for member in members:
        module = module_of(member)
        if module is not None:
            modules.setdefault(module, []).append(member)
    for files in modules.values():
        lost = [one for one in promise.interpreters if not any(looks_for(one, file, architecture) for file in files)]
        ignored = [file for file in files if look_up(file, promise.interpreters, architecture) is Lookup.IGNORED]
        if lost:
            yield _not_found(ignored or files, lost, promise, architecture)
        elif not promise.unjudged:
            yield from (finding("extension-suffix", file, _IN_VAIN, severity=Severity.NOTE) for file in ignored)


def _not_found(files: list[str], lost: list[Interpreter], promise: Promise, architecture: str) -> Finding:
    # Without an ABI tag a wheel may have Python code that does the same.
    certain = len(lost) == len(promise.interpreters) or not promise.bound.isdisjoint(lost)
    *others, last = suffixes(lost[-1], architecture)
    detail = [f"not imported by {in_words(lost)}; {lost[-1]} looks for {', '.join(others)} or {last}"]
    if len(files) > 1:
        detail.append(f"the same holds for {', '.join(files[1:])}")
    return finding("extension-suffix", files[0], *detail, severity=None if certain else Severity.WARNING)
