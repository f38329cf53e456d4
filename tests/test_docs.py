"""The documents say what the program does: pages that are made from it are up to date, others leave nothing out.

To make cli.md and json.md anew, run these tests with MUSL_REPAIR_GOLDEN=write and read the difference.
"""

from __future__ import annotations

import ast
import json
import os
import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml
from click.testing import CliRunner

import musl_repair
from musl_repair import errors
from musl_repair.cli import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parents[1]
DOCS = PROJECT / "docs"
WRITES = os.environ.get("MUSL_REPAIR_GOLDEN") == "write"
WIDTH = 80
_CONTEXT = click.Context(cli)
COMMANDS = {name: command for name in cli.list_commands(_CONTEXT) if (command := cli.get_command(_CONTEXT, name))}

CLI_PAGE = """\
# Command line

`musl-repair WHEEL...` is short for `musl-repair repair WHEEL...`. Data goes to stdout, words to stderr. The exit code
is 0 when all is done, 1 when a wheel cannot be or is not right, 2 for wrong usage ([Errors](errors.md)).

Every option can be set in the environment, as `MUSL_REPAIR_<OPTION>`: `MUSL_REPAIR_WHEEL_DIR`, `MUSL_REPAIR_STRICT=1`.
`AUDITWHEEL_PLAT`, `AUDITWHEEL_ZIP_COMPRESSION_LEVEL`, `AUDITWHEEL_LD_LIBRARY_PATH` and `AUDITWHEEL_PATCHER` are obeyed
too. `SOURCE_DATE_EPOCH` is the date of members that change (up to the year 2107; before 1980 it is 1980).

`--traceback` may stand anywhere.

## Completion

In bash, zsh and fish, by a line in the shell's own settings:

```sh
eval "$(_MUSL_REPAIR_COMPLETE=bash_source musl-repair)" # ~/.bashrc
eval "$(_MUSL_REPAIR_COMPLETE=zsh_source musl-repair)" # ~/.zshrc
_MUSL_REPAIR_COMPLETE=fish_source musl-repair | source # ~/.config/fish/completions/musl-repair.fish
```
"""

JSON_PAGE = """\
# JSON

`repair`, `check`, `show` and others print JSON with `--json`, in a format that has a number: it is raised when a field
changes its meaning or goes; new fields do not raise it, so readers must not mind them. The schemas are in the package
(`importlib.resources.files("musl_repair") / "data" / "report.schema.json"`). This page is made from them.
"""


def up_to_date(name: str, text: str) -> None:
    path = DOCS / name
    if WRITES:
        path.write_text(text, "utf-8")
    assert path.read_text("utf-8") == text


# The command line


def help_of(*command: str) -> str:
    result = CliRunner().invoke(
        cli, [*command, "--help"], prog_name="musl-repair", terminal_width=WIDTH, max_content_width=WIDTH
    )
    assert result.exit_code == 0
    return result.output


def test_page_of_the_command_line_is_up_to_date() -> None:
    parts = [CLI_PAGE]
    for command in ((), *((name,) for name in COMMANDS)):
        title = " ".join(("musl-repair", *command))
        parts.append(f"## {title}\n\n```text\n{help_of(*command)}```\n")
    up_to_date("cli.md", "\n".join(parts))


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=" ".join)
def test_help_fits_80_columns_and_every_option_says_something(command: tuple[str, ...]) -> None:
    lines = help_of(*command).splitlines()
    assert max(map(len, lines)) <= WIDTH
    for parameter in COMMANDS[command[0]].params if command else cli.params:
        if parameter.param_type_name == "option":
            assert getattr(parameter, "help", None), parameter.name


@pytest.mark.parametrize("shell", ["zsh", "fish"])  # for bash, click asks bash for its version
def test_completion_that_the_page_shows_works(shell: str) -> None:
    environment = {"_MUSL_REPAIR_COMPLETE": f"{shell}_source"}
    result = CliRunner().invoke(cli, [], prog_name="musl-repair", env=environment)
    assert "_MUSL_REPAIR_COMPLETE=" in result.output
    assert f"_MUSL_REPAIR_COMPLETE={shell}_source" in CLI_PAGE


# JSON


def rows(properties: dict[str, Any]) -> Iterator[str]:
    yield "| field | type | |"
    yield "|---|---|---|"
    for name, schema in properties.items():
        yield f"| `{name}` | {kind(schema)} | {schema.get('description', '')} |"


def kind(schema: dict[str, Any]) -> str:
    """Return the type of a property, in words; what has a table of its own is linked."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name})"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(kind(one) for one in schema[several])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(one)}`" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}))}"
    types = schema.get("type", "any")
    return types if isinstance(types, str) else " or ".join(types)


def schemas() -> dict[str, dict[str, Any]]:
    folder = files("musl_repair") / "data"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".schema.json"))
    return {name: json.loads((folder / name).read_text("utf-8")) for name in names}


def test_page_of_json_is_up_to_date() -> None:
    lines = JSON_PAGE.splitlines()
    for name, schema in schemas().items():
        lines += ["", f"## {name}", "", f"{schema['title']}.", "", *rows(schema["properties"])]
        for part, described in schema.get("$defs", {}).items():
            if "properties" in described:
                lines += ["", f"### {part}", "", described.get("description", ""), "", *rows(described["properties"])]
    up_to_date("json.md", "\n".join([*lines, ""]))


# What must not be left out


def test_every_error_has_its_section() -> None:
    source = ast.parse(Path(errors.__file__).read_text("utf-8"))
    classes = {node.name for node in source.body if isinstance(node, ast.ClassDef)} - {"MuslRepairError"}
    sections = re.findall(r"^## (\w+Error)$", (DOCS / "errors.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(sections) == sorted(classes)


def test_every_public_name_has_its_row() -> None:
    table = "".join(re.findall(r"^\| (.*?) \|", (DOCS / "python.md").read_text("utf-8"), re.MULTILINE))
    assert set(musl_repair.__all__) - set(re.findall(r"`(\w+)", table)) == set()


def test_python_of_the_page_can_be_compiled_and_imports_what_is_there() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text("utf-8"), re.DOTALL)
    (names,) = (
        node.names for node in ast.parse(code).body if isinstance(node, ast.ImportFrom) and node.module == "musl_repair"
    )
    assert {name.name for name in names} <= set(musl_repair.__all__)


def test_every_page_is_in_the_navigation() -> None:
    text = (PROJECT / "mkdocs.yml").read_text("utf-8")
    assert set(re.findall(r"([\w-]+\.md)$", text, re.MULTILINE)) == {path.name for path in DOCS.glob("*.md")}


@pytest.mark.parametrize("language", ["yaml", "toml"])
def test_settings_on_the_pages_can_be_read(language: str) -> None:
    read = yaml.safe_load if language == "yaml" else pytest.importorskip("tomllib").loads
    found = [block for path in sorted(DOCS.glob("*.md")) for block in blocks(path, language)]
    assert len(found) >= 2
    assert all(read(block) for block in found)


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text("utf-8"), re.DOTALL | re.MULTILINE)
