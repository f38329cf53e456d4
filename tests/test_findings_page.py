"""docs/findings.md and the findings: every code has its section, and says there what it weighs, why, and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from musl_repair.findings import RULES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "findings.md"
_HEADING = re.compile(r'^## <a id="([^"]+)"></a>(.*)$', re.MULTILINE)


def sections() -> dict[str, str]:
    """Return code → text of its section; the heading is the code, and so is its anchor."""
    parts = _HEADING.split(PAGE.read_text("utf-8"))[1:]
    assert parts[0::3] == parts[1::3]
    return dict(zip(parts[0::3], parts[2::3], strict=True))


def test_every_code_has_a_section_and_every_section_a_code() -> None:
    assert list(sections()) == list(RULES)
    assert len(_HEADING.findall(PAGE.read_text("utf-8"))) == len(RULES)


@pytest.mark.parametrize("code", RULES)
def test_section_says_severity_example_reason_and_cure(code: str) -> None:
    text = sections()[code]
    assert text.lstrip().startswith(f"**{RULES[code].severity.value}.** ")
    assert f"```text\n{code}  " in text
    assert text.index("```text") < text.index("\n**Why.** ") < text.index("\n**Cure.** ")
