"""Why files need the musl that they need."""

from __future__ import annotations

import pytest

from facts_by_hand import elf
from musl_repair.abi import Feature, Release
from musl_repair.relocations import RELOCATIONS
from musl_repair.requirement import (
    Reason,
    feature_reasons,
    features_of,
    in_runs,
    lowest_release,
    ordered,
    symbol_reasons,
    verdicts,
    where_it_runs,
)


def symbol(name: str, release: str, member: str = "a.so") -> Reason:
    return Reason(Release.parse(release), name, member, is_symbol=True)


def feature(which: Feature, release: str, member: str = "a.so") -> Reason:
    return Reason(Release.parse(release), which.value, member, is_symbol=False)


def with_tlsdesc(arch: str) -> object:
    file = elf(arch=arch)
    return file._replace(relocation_types=tuple(RELOCATIONS[file.machine].tlsdesc))


def test_symbols_need_the_release_that_brought_them() -> None:
    unbound = [("a.so", "reallocarray"), ("b.so", "qsort_r"), ("b.so", "printf"), ("b.so", "no_such_function")]
    assert list(symbol_reasons(unbound, "x86_64")) == [
        symbol("reallocarray", "1.2.2"),
        symbol("qsort_r", "1.2.3", "b.so"),
        symbol("printf", "1.0.0", "b.so"),
    ]


def test_the_architecture_decides() -> None:
    assert list(symbol_reasons([("a.so", "printf")], "riscv64")) == [symbol("printf", "1.1.23")]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (elf(), []),
        (elf(relr=True), [Feature.RELR]),
        (elf(runpath="$ORIGIN"), [Feature.RUNPATH]),
        (elf(rpath="$ORIGIN"), []),
        (elf(rpath="$ORIGIN", runpath="$ORIGIN"), []),
        (with_tlsdesc("x86_64"), [Feature.TLSDESC]),
        (with_tlsdesc("ppc64le"), []),
        (elf()._replace(machine=8), []),
    ],
    ids=["nothing", "RELR", "RUNPATH", "RPATH", "both paths", "TLSDESC", "TLSDESC where there is none", "a stranger"],
)
def test_features_of_files(file: object, expected: list[Feature]) -> None:
    assert list(features_of(file)) == expected  # type: ignore[arg-type] # parametrize has no types


def test_features_need_the_loader_that_knows_them() -> None:
    files = {"a.so": elf(relr=True), "b.so": elf(runpath="$ORIGIN", relr=True)}
    assert list(feature_reasons(files, "x86_64")) == [
        feature(Feature.RELR, "1.2.4"),
        feature(Feature.RELR, "1.2.4", "b.so"),
        feature(Feature.RUNPATH, "1.1.6", "b.so"),
    ]


def test_what_a_repair_mends_does_not_count() -> None:
    files = {"b.so": elf(runpath="$ORIGIN", relr=True)}
    assert list(feature_reasons(files, "x86_64", mended={Feature.RELR})) == [feature(Feature.RUNPATH, "1.1.6", "b.so")]


def test_the_highest_release_comes_first_and_each_reason_once() -> None:
    one, two, three = symbol("qsort_r", "1.2.3"), symbol("reallocarray", "1.2.2"), symbol("qsort_r", "1.2.3", "b.so")
    later = symbol("zzz", "1.10.0")
    assert ordered([two, three, one, two, later]) == (later, one, three, two)


def test_the_lowest_release_satisfies_all() -> None:
    assert lowest_release([symbol("reallocarray", "1.2.2"), symbol("qsort_r", "1.2.3")], "x86_64") == Release(1, 2, 3)


def test_without_reasons_the_architecture_s_first_release_does() -> None:
    assert lowest_release([], "riscv64") == Release(1, 1, 23)
    assert lowest_release([], "x86_64") == Release(1, 0, 0)


def test_distributions_are_judged_by_what_they_really_have() -> None:
    """Alpine 3.17 has musl 1.2.3 with DT_RELR brought from 1.2.4."""
    runs = {str(one.distribution): one.runs for one in verdicts((feature(Feature.RELR, "1.2.4"),), "x86_64")}
    assert not runs["Alpine 3.16"]
    assert runs["Alpine 3.18"]
    reasons = (symbol("qsort_r", "1.2.3"),)
    assert {one.distribution.runs("x86_64") for one in verdicts(reasons, "x86_64")} == {True}
    assert next(one for one in verdicts(reasons, "x86_64") if not one.runs).lacking == reasons


def test_runs_of_releases_are_told_as_such() -> None:
    named = {str(one.distribution): one.distribution for one in verdicts((), "x86_64")}
    row = [named[f"Alpine 3.{minor}"] for minor in (13, 14, 15, 16, 17)]
    assert in_runs(zip(row, [True, True, True, True, True], strict=True)) == "Alpine 3.13 and later"
    assert in_runs(zip(row, [False, True, True, False, True], strict=True)) == "Alpine 3.14 to 3.15, 3.17 and later"
    assert in_runs(zip(row, [True, False, True, False, False], strict=True)) == "Alpine 3.13, 3.15"
    assert in_runs(zip(row, [False] * 5, strict=True)) == "no known distribution"
    assert in_runs([(row[0], True)]) == "Alpine 3.13"


def test_where_it_runs_names_every_distribution() -> None:
    text = where_it_runs(verdicts((), "x86_64"))
    assert "Alpine" in text
    assert "Debian" in text
