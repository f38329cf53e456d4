"""WHEEL and METADATA as headers of a mail, against the standard library's own reading of them."""

from __future__ import annotations

from email import message_from_string
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import TESTDATA
from musl_repair.archive import Archive
from musl_repair.metadata import read_headers

if TYPE_CHECKING:
    from pathlib import Path

TEXTS: Final = {
    "ordinary": "Wheel-Version: 1.0\nTag: a-b-c\nTag: d-e-f\n",
    "any case": "wheel-version: 1.0\nTAG: a-b-c\ntag: d-e-f\n",
    "CRLF": "Wheel-Version: 1.0\r\nTag: a-b-c\r\n\r\nTag: body\r\n",
    "CR": "Wheel-Version: 1.0\rTag: a-b-c\r",
    "no final line end": "Wheel-Version: 1.0\nTag: a-b-c",
    "folded": "Wheel-Version: 1.0\nTag:\n a-b-c\nTag: d\n\t-e-f\n",
    "no space": "Wheel-Version:1.0\nTag:a-b-c\n",
    "a description": "Name: demo\nVersion: 1\n\nName: another\n Tag: x\n",
    "a line that is no field": "Wheel-Version: 1.0\nhello\nTag: a-b-c\n",
    "a space before the colon": "Wheel-Version: 1.0\nTag : a-b-c\n",
    "a blank first line": "\nWheel-Version: 1.0\nTag: a-b-c\n",
    "a byte-order mark": "\ufeffWheel-Version: 1.0\nTag: a-b-c\n",
    "other ends of lines": "Generator: x\x0bTag: v\x0cTag: f\x1cTag: s\x85Tag: n\u2028Tag: l\nTag: a-b-c\n",
    "a continuation first": " Tag: x\nTag: x\n",
    "no name": ": x\nTag: a-b-c\n",
    "nothing": "",
}


def unfolded(value: str) -> str:
    return "".join(value.split("\r\n")).replace("\n", "").replace("\r", "").strip()


def as_email_reads(text: str) -> list[tuple[str, str]]:
    return [(name, unfolded(value)) for name, value in message_from_string(text).items()]


@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_the_standard_library_reads_the_same_in(text: str) -> None:
    headers = read_headers(text)
    assert [(field.name, field.value) for field in headers.fields] == as_email_reads(text)
    assert all(text[field.offset :].startswith(field.source) for field in headers.fields)
    assert headers.values("tAg") == tuple(map(unfolded, message_from_string(text).get_all("Tag", [])))


@given(st.text(alphabet="Tag:-xyz \t\r\n", max_size=60))
def test_the_standard_library_reads_the_same_in_anything(text: str) -> None:
    headers = read_headers(text)
    assert [(field.name, field.value) for field in headers.fields] == as_email_reads(text)


@pytest.mark.parametrize("path", sorted((TESTDATA / "cases").glob("*.whl")), ids=lambda path: str(path.name))
def test_the_standard_library_reads_the_same_in_the_metadata_of(path: Path) -> None:
    with Archive(path) as archive:
        texts = [archive.read(name).decode() for name in archive.members if name.endswith(("/WHEEL", "/METADATA"))]
    assert len(texts) == 2
    for text in texts:
        assert [(field.name, field.value) for field in read_headers(text).fields] == as_email_reads(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A: 1\nTag: x\nB: 2\n", "A: 1\nTag: n\nTag: m\nB: 2\n"),
        ("A: 1\nTag: x\nB: 2\nTAG: y\n\nbody", "A: 1\nTag: n\nTag: m\nB: 2\n\nbody"),
        ("A: 1\r\nTag:\r\n x\r\nB: 2", "A: 1\r\nTag: n\r\nTag: m\r\nB: 2"),
        ("A: 1\nTag: x", "A: 1\nTag: n\nTag: m\n"),
        ("A: 1", "A: 1\nTag: n\nTag: m\n"),
        ("A: 1\n\n\n", "A: 1\nTag: n\nTag: m\n\n\n"),
        ("", "Tag: n\nTag: m\n"),
        ("A: 1\nTag: n\nB: 2\nTag:  m\n", "A: 1\nTag: n\nB: 2\nTag:  m\n"),
        ("A: 1\ntag:n\nB: 2\nTag:\n m\n", "A: 1\nTag: n\nB: 2\nTag: m\n"),
    ],
    ids=[
        "in the place of the old one",
        "in the place of the first",
        "with the line ends of the text",
        "last, without a line end",
        "behind all fields",
        "before the end of the headers",
        "in nothing",
        "what is right already stays",
        "what is right but folded, or in another case, stays in its place",
    ],
)
def test_a_field_is_replaced(text: str, expected: str) -> None:
    new = read_headers(text).replaced("Tag", ["n", "m"])
    assert new.text == expected
    assert message_from_string(new.text).get_all("Tag") == ["n", "m"]
    assert new == new.replaced("Tag", ["n", "m"])


def test_a_field_is_taken_out() -> None:
    assert read_headers("A: 1\nBuild: 2\n more\nB: 3\n").replaced("build", []).text == "A: 1\nB: 3\n"
    assert read_headers("A: 1\n").replaced("Build", []).text == "A: 1\n"


@given(st.text(alphabet="Tag:-xyz \t\r\n", max_size=60), st.lists(st.text(alphabet="xyz-", min_size=1), max_size=3))
def test_what_is_replaced_is_read_so_and_all_other_fields_stay(text: str, values: list[str]) -> None:
    old = read_headers(f"Wheel-Version: 1.0\n{text}")
    new = old.replaced("Tag", values)
    assert new.values("Tag") == tuple(values)
    assert [field.source.rstrip("\r\n") for field in new.fields if field.name.lower() != "tag"] == [
        field.source.rstrip("\r\n") for field in old.fields if field.name.lower() != "tag"
    ]
