"""What the commands print with --json is what the schemas in the package say."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator, ValidationError

from builders import DEMO_WHEEL, SYSROOTS, TESTDATA
from musl_repair.cli import cli
from musl_repair.findings import RULES
from musl_repair.report import FORMAT

if TYPE_CHECKING:
    from pathlib import Path

CASES = sorted((TESTDATA / "cases").glob("*.whl"))
SYSROOT = ["--sysroot", str(SYSROOTS / "x86_64")]


def schema(name: str) -> dict[str, Any]:
    loaded = json.loads((files("musl_repair") / "data" / f"{name}.schema.json").read_text("utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def closed(node: Any) -> Any:
    """Return a schema that allows no property but those that it describes: readers must not mind new ones, we do."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    strict = {key: closed(value) for key, value in node.items()}
    return strict if "properties" not in node or "type" not in node else {**strict, "additionalProperties": False}


def printed(*arguments: str | Path) -> Any:
    result = CliRunner().invoke(cli, [*map(str, arguments)], standalone_mode=False)
    assert result.exception is None
    return json.loads(result.stdout)


def validate(name: str, value: Any) -> None:
    for one in (schema(name), closed(schema(name))):
        Draft202012Validator(one).validate(value)


@pytest.mark.parametrize("name", ["report", "abi"])
def test_is_a_sound_schema_of_the_present_format(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    assert schema(name)["properties"]["format"] == {"const": FORMAT}
    assert f"format {FORMAT}" in schema(name)["title"]


def test_check_of_every_case() -> None:
    value = printed("check", "--json", *CASES)
    validate("report", value)
    assert [one["wheel"] for one in value["wheels"]] == [path.name for path in CASES]
    assert len({found["code"] for one in value["wheels"] for found in one["findings"]}) > len(RULES) // 2


def test_show_of_a_wheel_with_libraries_to_vendor() -> None:
    value = printed("show", "--json", *SYSROOT, DEMO_WHEEL)
    validate("report", value)
    (wheel,) = value["wheels"]
    assert len(wheel["grafts"]) == 2
    assert wheel["patches"]
    assert wheel["grafts"][0]["package"]["name"]


def test_show_of_what_cannot_be_repaired(tmp_path: Path) -> None:
    validate("report", printed("show", "--json", "--sysroot", tmp_path, *CASES))


def test_repair_of_a_wheel(tmp_path: Path) -> None:
    value = printed("repair", "--json", *SYSROOT, "-w", tmp_path, DEMO_WHEEL)
    validate("report", value)
    assert value["wheels"][0]["output"] == str(tmp_path / value["wheels"][0]["result"])


def test_repair_that_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken-1.0-py3-none-any.whl"
    broken.write_bytes(b"no archive")
    missing = next(path for path in CASES if path.name.startswith("missing-"))
    value = printed("repair", "--json", *SYSROOT, "-w", tmp_path / "out", missing, broken)
    validate("report", value)
    assert [set(one) for one in value["wheels"]] == [{"wheel", "error", "findings"}] * 2


def test_abi_of_names_old_new_gone_and_unknown() -> None:
    names = ["malloc", "reallocarray", "open64", "fcntl64", "nobody_has_this"]
    value = printed("abi", "--json", *names)
    validate("abi", value)
    assert [one["name"] for one in value["symbols"]] == names


@pytest.mark.parametrize(
    "change",
    [
        {"format": FORMAT + 1},
        {"wheels": None},
        {"wheels": [{"wheel": "x.whl"}]},
        {"wheels": [{"wheel": "x.whl", "error": "gone", "findings": [{"code": "x"}]}]},
    ],
    ids=["another format", "no wheels", "a wheel without findings", "half a finding"],
)
def test_schema_refuses(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Draft202012Validator(schema("report")).validate({"format": FORMAT, "wheels": [], **change})
