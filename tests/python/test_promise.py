"""What a wheel's tags promise of the interpreter, against `packaging`, which decides what installers accept."""

from __future__ import annotations

import pytest
from packaging import tags

from musl_repair.python.interpreter import Interpreter
from musl_repair.python.names import known_minors
from musl_repair.python.promise import Kind, promise_of

KNOWN = known_minors()
BUILDS = [Interpreter(minor, free) for minor in KNOWN for free in (False, True) if not free or minor >= 13]
PYTHONS = [f"cp3{minor}" for minor in (2, 5, *KNOWN)] + ["py2", "py3", "cp3"] + [f"py3{minor}" for minor in (0, *KNOWN)]
ABIS = ["abi3", "none"] + [f"cp3{minor}{flag}" for minor in KNOWN for flag in ("", "m", "t", "d")]
HAS_ABI3T = any(tag.abi == "abi3t" for tag in tags.cpython_tags((3, 15), ["cp315t"], ["p"]))


def abi_of(interpreter: Interpreter) -> str:
    flag = "t" if interpreter.free_threaded else "m" if interpreter.minor < 8 else ""
    return f"cp3{interpreter.minor}{flag}"


@pytest.fixture(scope="module")
def accepted() -> dict[Interpreter, frozenset[tags.Tag]]:
    """Return what each interpreter installs; whatever it is, its platform is p."""
    return {
        one: frozenset(tags.cpython_tags((3, one.minor), [abi_of(one)], ["p"]))
        | frozenset(tags.compatible_tags((3, one.minor), f"cp3{one.minor}", ["p"]))
        for one in BUILDS
    }


@pytest.mark.parametrize("python", PYTHONS)
def test_interpreters_are_those_whose_installers_accept_the_tag(
    accepted: dict[Interpreter, frozenset[tags.Tag]], python: str
) -> None:
    for abi in [*ABIS, *(["abi3t"] if HAS_ABI3T else [])]:
        expected = tuple(one for one in BUILDS if tags.Tag(python, abi, "p") in accepted[one])
        assert tuple(one for one in promise_of(python, abi).interpreters if one.minor in KNOWN) == expected, abi


@pytest.mark.parametrize(
    ("python", "abi", "expected"),
    [
        ("cp312", "cp312", [Kind.EXACT]),
        ("cp38", "abi3", [Kind.STABLE]),
        ("cp315", "abi3.abi3t", [Kind.STABLE, Kind.STABLE]),
        ("py2.py3", "none", [Kind.NONE]),
        ("cp312", "none", [Kind.NONE]),
    ],
)
def test_kinds(python: str, abi: str, expected: list[Kind]) -> None:
    assert [admission.kind for admission in promise_of(python, abi).admissions] == expected


def test_a_compressed_set_is_all_its_tags() -> None:
    promise = promise_of("cp311.cp312", "cp311.cp312")
    assert [admission.tag for admission in promise.admissions] == ["cp311-cp311", "cp312-cp312"]
    assert promise.interpreters == (Interpreter(11), Interpreter(12))
    assert promise.unjudged == ()


def test_abi3_and_abi3t_are_for_builds_with_and_without_the_gil() -> None:
    promise = promise_of("cp315", "abi3.abi3t")
    assert promise.stable == (Interpreter(15), Interpreter(15, free_threaded=True))
    assert promise.bound == set(promise.stable)


@pytest.mark.parametrize(
    ("requires", "minors"),
    [
        ("", KNOWN[2:]),
        (">=3.10", KNOWN[4:]),
        (">=3.9.17", KNOWN[3:]),
        (">=3.8,<3.11", (8, 9, 10)),
        ("!=3.9.*,<3.11", (8, 10)),
        (">=99", ()),
        ("nonsense", KNOWN[2:]),
        (">=3.10" + ",!=3.9.1" * 10_000, KNOWN[2:]),
    ],
)
def test_requires_python_takes_versions_out(requires: str, minors: tuple[int, ...]) -> None:
    assert promise_of("cp38", "abi3", requires).interpreters == tuple(map(Interpreter, minors))


@pytest.mark.parametrize(
    ("python", "abi", "unjudged"),
    [
        ("pp310", "pypy310_pp73", ("pp310",)),
        ("cp310.pp310", "cp310.pypy310_pp73", ("pp310",)),
        ("graalpy312", "graalpy242_312_native", ("graalpy312",)),
        ("cp312", "cp312d", ("cp312-cp312d",)),
        ("cp37", "cp37dm", ("cp37-cp37dm",)),
        ("cp312", "cp311", ()),
        ("py2", "none", ()),
        ("py3", "none", ()),
    ],
)
def test_tags_of_other_interpreters_are_not_judged(python: str, abi: str, unjudged: tuple[str, ...]) -> None:
    assert promise_of(python, abi).unjudged == unjudged


def test_a_version_that_is_not_known_yet_is_admitted_all_the_same() -> None:
    assert promise_of("cp399", "cp399").interpreters == (Interpreter(99),)
    assert promise_of("cp399", "abi3").interpreters == (Interpreter(99),)
