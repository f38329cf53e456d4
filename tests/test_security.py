"""What SECURITY.md promises, watched by the interpreter itself while musl-repair works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from builders import DEMO, DEMO_WHEEL, TESTDATA, write_wheel
from process import SYSROOT, environment

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = [pytest.mark.process, pytest.mark.patchelf]

# Notes every event of sys.addaudithook that reaches outside; the last line of stderr is what was seen.
WATCH: Final = """
import json, sys
seen = []
OUTSIDE = ("socket.", "urllib.", "http.", "ftplib.", "smtplib.", "webbrowser.", "ctypes.dlopen", "pty.",
           "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork")
def watch(event, arguments):
    if event.startswith(OUTSIDE):
        seen.append([event, repr(arguments)])
    if event == "subprocess.Popen":
        seen[-1] = [event, [str(part) for part in arguments[1]]]
    if event in ("import", "open") and isinstance(arguments[0], str):
        seen.append([event, arguments[0]])
sys.addaudithook(watch)
from musl_repair.cli import main
try:
    main(sys.argv[1:])
finally:
    print(json.dumps(seen), file=sys.stderr)
"""


def watched(*arguments: str | Path) -> list[list[Any]]:
    """Return the events of a run that has to do its work."""
    command = [sys.executable, "-c", WATCH, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 0, done.stderr
    events: list[list[Any]] = json.loads(done.stderr.splitlines()[-1])
    return events


def outside(events: Sequence[Sequence[Any]]) -> list[Any]:
    """Return the events that are neither imports nor opened files."""
    return [event for event in events if event[0] not in ("import", "open")]


def commands(events: Sequence[Sequence[Any]]) -> list[list[str]]:
    """Return the command lines that were run."""
    return [event[1] for event in events if event[0] == "subprocess.Popen"]


@pytest.fixture
def odd_wheel(tmp_path: Path) -> Path:
    """Return a wheel whose files have names like options, and that would tell if anything of it were run."""
    told = tmp_path / "told"
    code = f"open({str(told)!r}, 'w').close()\n".encode()
    extension = (TESTDATA / "x86_64" / "_ext.so").read_bytes()
    modules = ("pkg/__init__.py", "sitecustomize.py", "usercustomize.py", "setup.py", "conftest.py")
    files = dict.fromkeys(modules, code)
    files |= {
        "evil.pth": b"import evil\n",
        "demo-1.0.data/scripts/post-install": b"#!/bin/sh\ntouch " + os.fsencode(told),
    }
    files |= {"pkg/-rf.so": extension, "pkg/--set-rpath.so": extension, "--version.so": extension}
    return write_wheel(tmp_path, files, DEMO)


@pytest.mark.parametrize("patcher", ["builtin", "patchelf"])
def test_nothing_but_patchelf_is_run_and_no_connection_opened(patcher: str, tmp_path: Path, odd_wheel: Path) -> None:
    for number, wheel in enumerate((DEMO_WHEEL, odd_wheel)):
        events = watched(wheel, "--sysroot", SYSROOT, "-w", tmp_path / f"out-{number}", "-j", "1", "--patcher", patcher)
        assert {event for event, *_ in outside(events)} <= {"subprocess.Popen"}, outside(events)
        assert {Path(command[0]).name for command in commands(events)} == {patcher} - {"builtin"}
    assert not (tmp_path / "told").exists()


def test_no_name_of_wheel_or_sysroot_is_a_program_s_file_or_option(tmp_path: Path, odd_wheel: Path) -> None:
    events = watched(odd_wheel, "--sysroot", SYSROOT, "-w", tmp_path / "out", "-j", "1", "--patcher", "patchelf")
    options = {"--version", "--page-size", "--replace-needed", "--set-rpath", "--force-rpath", "--set-soname"}
    options |= {"--remove-needed", "--remove-rpath"}
    for program, *words in commands(events):
        assert Path(program).is_absolute()
        assert {word for word in words if word.startswith("-")} <= options
        if words != ["--version"]:
            assert Path(words[-1]).is_absolute(), words
        assert not [word for word in words if "-rf" in word or odd_wheel.name in word or str(SYSROOT) in word]


@pytest.mark.parametrize("command", ["check", "show", "lddtree", "dry run"])
def test_what_only_looks_runs_nothing_at_all(command: str, odd_wheel: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    if command == "check":
        # It is not repaired yet, so the answer is no: what counts is how it was found.
        done = subprocess.run(
            [sys.executable, "-c", WATCH, "check", str(odd_wheel)],
            capture_output=True, text=True, check=False, env=environment(),
        )  # fmt: skip
        events = json.loads(done.stderr.splitlines()[-1])
    elif command == "lddtree":
        events = watched(
            "lddtree", TESTDATA / "x86_64" / "libmid.so.2", "--sysroot", SYSROOT, "--ldpaths", TESTDATA / "x86_64"
        )
    elif command == "show":
        events = watched("show", odd_wheel, "--sysroot", SYSROOT)
    else:
        events = watched(odd_wheel, "--sysroot", SYSROOT, "--dry-run", "-w", tmp_path / "out")
    assert outside(events) == []
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_opened_outside_of_what_was_named(tmp_path: Path) -> None:
    """Files of the interpreter and its packages, the wheel, the sysroot, the output: nothing else."""
    out = tmp_path / "out"
    events = watched(DEMO_WHEEL, "--sysroot", SYSROOT, "-w", out, "-j", "1")
    project = Path(__file__).resolve().parents[1]
    known = [
        sys.prefix,
        sys.base_prefix,
        str(SYSROOT),
        str(DEMO_WHEEL),
        str(out),
        str(project / "src"),
        "/dev/",
        "/proc/",
    ]
    known += [str(Path(entry).resolve()) for entry in sys.path if entry]
    # glibc and Python look at these to learn of the time zone, the locale and the number of processors.
    known += ["/etc/localtime", "/usr/share/", "/usr/lib/", "/sys/", "/etc/ld"]
    opened = {str(event[1]) for event in events if event[0] == "open" and str(event[1]).startswith("/")}
    strangers = [path for path in opened if not path.startswith(tuple(known))]
    assert strangers == []


def test_no_module_of_the_current_folder_is_imported(tmp_path: Path) -> None:
    for name in ("click", "elftools", "packaging", "deflate", "rich", "zipfile", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the current folder')\n")
    program = Path(sys.executable).with_name("musl-repair")
    if not program.exists():
        pytest.skip("musl-repair is not installed as a program")
    command: list[str | Path] = [program, DEMO_WHEEL, "--sysroot", SYSROOT, "-w", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment())
    assert done.returncode == 0, done.stderr
