"""action.yml: what it declares is what its steps use, and its scripts work when bash runs them as GitHub does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from builders import DEMO_WHEEL, SYSROOTS

pytestmark = pytest.mark.process

PROJECT = Path(__file__).resolve().parents[1]
REPAIRED = "demo-1.0-cp310-abi3-musllinux_1_2_x86_64.whl"
OTHER = DEMO_WHEEL.with_name("demo-1.0-cp310-abi3-linux_riscv64.whl")
BASH = shutil.which("bash")

needs_bash = pytest.mark.skipif(BASH is None, reason="bash is not installed")

PYTHON = """\
#!/bin/sh
# Stands for python3 and for what pip installs; the tests' own Python does the work.
[ "$1 $2" = "-m venv" ] || exec "{python}" "$@"
mkdir -p "$3/bin"
printf '#!/bin/sh\\necho "$@" >"{said}"\\n' >"$3/bin/pip"
printf '#!/bin/sh\\nexec "{python}" -m musl_repair "$@"\\n' >"$3/bin/musl-repair"
chmod +x "$3/bin/pip" "$3/bin/musl-repair"
"""


def action() -> dict[str, Any]:
    loaded = yaml.safe_load((PROJECT / "action.yml").read_text("utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def step(name: str) -> dict[str, Any]:
    (found,) = (one for one in action()["runs"]["steps"] if one.get("id") == name)
    assert isinstance(found, dict)
    return found


def value(template: str, inputs: dict[str, str]) -> str:
    """Return what GitHub makes of an expression: an input, or the action's folder."""
    filled = re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda match: inputs[match[1]], template)
    return filled.replace("${{ github.action_path }}", str(PROJECT))


class Ran(NamedTuple):
    """What a step left behind."""

    code: int
    said: str
    outputs: str


def run(name: str, folder: Path, **given: str) -> Ran:
    """Run a step's script in a folder, with inputs of these names (_ for -), as GitHub's runner does."""
    inputs = {key: str(declared.get("default", "")) for key, declared in action()["inputs"].items()}
    inputs |= {key.replace("_", "-"): text for key, text in given.items()}
    script, outputs = folder / "script.sh", folder / "outputs"
    script.write_text(step(name)["run"])
    outputs.touch()
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    python = programs / "python3"
    python.write_text(PYTHON.format(python=sys.executable, said=folder / "pip-said"))
    python.chmod(0o755)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "RUNNER_TEMP": str(folder / "temporary"),
        "GITHUB_OUTPUT": str(outputs),
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        **{key: value(text, inputs) for key, text in step(name).get("env", {}).items()},
    }
    done = subprocess.run(
        [str(BASH), "--noprofile", "--norc", "-eo", "pipefail", str(script)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
    )
    return Ran(done.returncode, done.stdout + done.stderr, outputs.read_text())


# What it declares


def test_every_input_is_used_and_every_use_is_declared() -> None:
    text = (PROJECT / "action.yml").read_text("utf-8")
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(action()["inputs"])
    assert all(declared["description"] for declared in action()["inputs"].values())


def test_scripts_have_no_expression_in_them() -> None:
    """An input that is put into a script is code: it could be anything."""
    scripts = [one["run"] for one in action()["runs"]["steps"] if "run" in one]
    assert scripts
    assert not [script for script in scripts if "${{" in script]


def test_every_output_is_written() -> None:
    for name, declared in action()["outputs"].items():
        assert declared["value"] == f"${{{{ steps.repair.outputs.{name} }}}}"
        assert re.search(rf'echo "{name}(=|<<)', step("repair")["run"])


def test_page_names_every_input_and_output() -> None:
    page = (PROJECT / "docs" / "ci.md").read_text("utf-8")
    names = {*action()["inputs"], *action()["outputs"]}
    assert names - set(re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE)) == set()


# What it does


@needs_bash
def test_python_that_is_new_enough_is_found(tmp_path: Path) -> None:
    assert run("python", tmp_path).outputs == "found=true\n"


@needs_bash
def test_wheels_are_repaired_and_named_in_the_outputs(tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    shutil.copy2(DEMO_WHEEL, tmp_path / "dist")
    ran = run("repair", tmp_path, sysroot=str(SYSROOTS / "x86_64"))
    assert (ran.code, ran.outputs) == (
        0,
        f"wheel-dir=wheelhouse\nwheels<<end-of-wheels\nwheelhouse/{REPAIRED}\nend-of-wheels\n",
    ), ran.said
    assert (tmp_path / "wheelhouse" / REPAIRED).is_file()
    assert (tmp_path / "pip-said").read_text() == f"install --quiet {PROJECT}\n"
    assert (tmp_path / "summary.md").read_text().startswith(f"## {REPAIRED}\n")


@needs_bash
def test_inputs_reach_the_program(tmp_path: Path) -> None:
    place = tmp_path / "a b" / "c;d"
    place.mkdir(parents=True)
    shutil.copy2(DEMO_WHEEL, place)
    ran = run(
        "repair",
        tmp_path,
        wheels="none/*.whl\na b/*/*.whl\n",
        wheel_dir="my wheels",
        sysroot=str(SYSROOTS / "x86_64"),
        plat="musllinux_1_1",
        args="-L _libs\n  --exclude libx.so",
        requirement="musl-repair==1.0",
    )
    output = f"my wheels/{REPAIRED.replace('1_2', '1_1')}"
    assert ran.code == 0, ran.said
    assert f"\n{output}\n" in ran.outputs
    assert (tmp_path / output).is_file()
    assert (tmp_path / "pip-said").read_text() == "install --quiet musl-repair==1.0\n"


@needs_bash
def test_inputs_are_not_code(tmp_path: Path) -> None:
    ran = run("repair", tmp_path, wheels='$(touch ran)`touch ran`"; touch ran', args="$(touch ran)")
    assert ran.code == 1
    assert not (tmp_path / "ran").exists()


@needs_bash
def test_no_wheel_is_an_error(tmp_path: Path) -> None:
    ran = run("repair", tmp_path, wheels="a/*.whl\nb/*.whl")
    assert (ran.code, ran.said) == (1, "::error title=musl-repair::no wheel is called a/*.whl or b/*.whl\n")


@needs_bash
def test_failure_fails_the_step_but_names_what_was_done(tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    for wheel in (DEMO_WHEEL, OTHER):
        shutil.copy2(wheel, tmp_path / "dist")
    ran = run("repair", tmp_path, sysroot=str(SYSROOTS / "x86_64"))
    assert ran.code == 1
    assert f"\nwheelhouse/{REPAIRED}\nend-of-wheels\n" in ran.outputs
    assert f"::error title={OTHER.name}%3A library-not-found::" in ran.said
