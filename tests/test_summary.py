"""The summary in Markdown and GitHub's annotations: whole texts, and names that try to be more than text."""

from __future__ import annotations

import os
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest

from builders import DEMO, DEMO_WHEEL, SYSROOTS, TESTDATA, write_wheel
from musl_repair import summary
from musl_repair.cli import main
from musl_repair.errors import MuslRepairError, RefusedError
from musl_repair.findings import finding
from musl_repair.options import Options
from musl_repair.printable import printable
from musl_repair.repair import plan_wheel
from musl_repair.summary import error_commands, error_markdown, finding_commands, plan_markdown
from musl_repair.sysroot import Sysroot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SYSROOT = SYSROOTS / "x86_64"
OTHER = TESTDATA / "wheels" / "demo-1.0-cp310-abi3-linux_riscv64.whl"
RESULT = "demo-1.0-cp310-abi3-musllinux_1_2_x86_64.whl"
NASTY = 'a|b`c`<img src=x>&amp;*d*_e_\n::error::f#"'

DEMO_SUMMARY = f"""\
## {RESULT}

* made of <code>{DEMO}</code>
* needs musl 1.0.0 or later
* runs on Alpine 3.0 and later; Debian 12

| vendored library | from | package | bytes |
|---|---|---|---:|
| <code>libleaf-HASH.so.1.0.0</code> | <code>/lib/libleaf.so.1.0.0</code> | leaf-libs 1.0.0-r1 | 9,152 |
| <code>libmid-HASH.so.2.1.0</code> | <code>/usr/lib/libmid.so.2.1.0</code> | mid 2.1.0-r0 | 2,216 |

<details><summary>Who needs whom</summary>

```mermaid
graph LR
  n0["_ext.abi3.so"]
  n1["libmid-HASH.so.2.1.0"]
  n0 --> n1
  n2["demo-tool"]
  n2 --> n1
  n3["libleaf-HASH.so.1.0.0"]
  n1 --> n3
```

</details>
"""


class Result(NamedTuple):
    """What a run of the program said."""

    code: int
    err: str


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that runs the program, with no variables set but those that are given."""
    for name in list(os.environ):
        if name.startswith(("MUSL_REPAIR_", "AUDITWHEEL_", "GITHUB_")):
            monkeypatch.delenv(name)

    def call(*arguments: str | Path, **variables: str | Path) -> Result:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        with pytest.raises(SystemExit) as stopped:
            main([*map(str, arguments), "--sysroot", str(SYSROOT)])
        assert isinstance(stopped.value.code, int)
        return Result(stopped.value.code, capfd.readouterr().err)

    return call


def without_hashes(text: str) -> str:
    return re.sub(r"-[0-9a-f]{8}(?=\.so)", "-HASH", text)


def test_summary_of_a_plan_as_a_whole() -> None:
    plan = plan_wheel(DEMO_WHEEL, Sysroot(SYSROOT), Options())
    assert without_hashes(plan_markdown(plan)) == DEMO_SUMMARY


def test_summary_of_a_wheel_without_elf_files(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, {"pure.py": b""}, "pure-1.0-py3-none-any.whl")
    plan = plan_wheel(wheel, Sysroot(SYSROOT), Options(allow_pure=True))
    assert plan_markdown(plan) == "## pure-1.0-py3-none-any.whl\n\n"


def test_summary_of_a_refusal_lists_its_findings() -> None:
    found = finding("library-not-found", "libz.so.1", "needed by _ext.so", "looked in /<wheel>/demo.libs, /lib")
    assert error_markdown(DEMO, RefusedError(DEMO, (found,))) == (
        f"## {DEMO}\n"
        "\n"
        f"**cannot repair {DEMO}: 1 problem**\n"
        "\n"
        "| finding | about | |\n"
        "|---|---|---|\n"
        "| error: library-not-found | <code>libz.so.1</code> "
        "| needed by \\_ext.so<br>looked in /&lt;wheel&gt;/demo.libs, /lib |\n"
    )


def test_text_of_others_stays_text_in_a_table() -> None:
    found = finding("library-not-found", NASTY, NASTY)
    text = error_markdown(DEMO, RefusedError(DEMO, (found,)))
    escaped = r'a\|b\`c\`&lt;img src=x&gt;&amp;amp;\*d\*\_e\_\\n\\x3a:error\\x3a:f\#"'
    assert text.splitlines()[-1] == f"| error: library-not-found | <code>{escaped}</code> | {escaped} |"


def test_graph_escapes_names_and_has_an_end() -> None:
    needs = {'w/a"<b>#.so': {str(at): f"w/lib{at:03}.so" for at in range(300)}}
    plan = SimpleNamespace(needs=needs)
    lines = list(summary._graph(cast("Any", plan)))
    assert lines[:3] == ["```mermaid", "graph LR", '  n0["a#quot;#lt;b#gt;#35;.so"]']
    assert sum("-->" in line for line in lines) == 200
    assert lines[-1] == "```"


def test_commands_of_findings_are_one_line_each_and_escaped() -> None:
    findings = (
        finding("library-not-found", "libz.so.1", "needed by 100%.so\r", "looked in /lib"),
        finding("rpath-token", "a.so", "the entry /usr/$LIB"),
        finding("executable-stack", NASTY, "PT_GNU_STACK"),
    )
    commands = list(finding_commands("a,b:c.whl", findings))
    assert commands == [
        "::error title=a%2Cb%3Ac.whl%3A library-not-found::libz.so.1: needed by 100%25.so\\r%0Alooked in /lib"
        f"%0A{findings[0].remedy}",
        f"::warning title=a%2Cb%3Ac.whl%3A rpath-token::a.so: the entry /usr/$LIB%0A{findings[1].remedy}",
        f"::notice title=a%2Cb%3Ac.whl%3A executable-stack::{printable(NASTY)}: PT_GNU_STACK%0A{findings[2].remedy}",
    ]


def test_commands_of_other_errors() -> None:
    error = MuslRepairError("it is\n::set-output name=x::y")
    assert list(error_commands(DEMO, error)) == [rf"::error title={DEMO}::it is\n\x3a:set-output name=x\x3a:y"]
    refused = RefusedError(DEMO, (finding("library-not-found", "libz.so.1", "needed by a.so"),))
    assert [line.split("::")[1] for line in error_commands(DEMO, refused)] == [
        f"error title={DEMO}%3A library-not-found"
    ]


def test_github_gets_summary_and_annotations(run: Callable[..., Result], tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    result = run("-w", tmp_path, DEMO_WHEEL, OTHER, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=summary)
    text = without_hashes(summary.read_text("utf-8"))
    assert text.startswith(f"before\n{DEMO_SUMMARY}\n## {OTHER.name}\n\n**cannot repair {OTHER.name}: 2 problems**\n")
    commands = [line for line in result.err.splitlines() if line.startswith("::")]
    assert [line.split("::")[1] for line in commands] == [
        f"error title={OTHER.name}%3A library-not-found",
        f"error title={OTHER.name}%3A wrong-architecture",
    ]


def test_elsewhere_there_is_neither(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run("--dry-run", OTHER, GITHUB_ACTIONS="false")
    assert result.code == 1
    assert "::" not in result.err
    assert list(tmp_path.iterdir()) == []


def test_summary_is_appended_to_any_file_also_by_a_dry_run(run: Callable[..., Result], tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    for _ in range(2):
        assert run("--dry-run", "--summary", summary, DEMO_WHEEL).code == 0
    assert without_hashes(summary.read_text("utf-8")) == f"{DEMO_SUMMARY}\n" * 2


def test_summary_that_cannot_be_written_is_a_warning(run: Callable[..., Result], tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "summary.md"
    result = run("--dry-run", "--summary", missing, DEMO_WHEEL)
    assert result == Result(0, f"warning: cannot write the summary {missing}: No such file or directory\n")
