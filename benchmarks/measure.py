"""Programs run and measured: wall time, processor time of the whole process tree, peak memory.

Source: wait4(2): its usage is that of a process and of all descendants that were waited for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# A small process of its own starts the program: one's peak memory begins with that of the process that started it.
_LAUNCHER: Final = """
import json, os, sys, time
start = time.perf_counter()
pid = os.fork()
if not pid:
    os.dup2(2, 1)
    os.execvp(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
wall = time.perf_counter() - start
code = os.waitstatus_to_exitcode(status)
print(json.dumps([wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, code]))
"""


class RunError(Exception):
    """A program that had to succeed and did not."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one run, or the median of several, took: seconds, and MiB."""

    wall: float
    cpu: float
    memory: float


def measure(command: Sequence[str | Path], environment: Mapping[str, str]) -> Usage:
    """Run a program in this environment and nothing else of ours. Raises RunError with the end of what it said."""
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER]
    # Programs that this folder's scripts installed, with arguments that they made (S603).
    done = subprocess.run([*launcher, *command], env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    said = "\n".join(done.stderr.strip().splitlines()[-8:])
    if done.returncode:
        raise RunError(said)
    wall, cpu, memory, code = json.loads(done.stdout)
    if code:
        raise RunError(f"exit code {code}: {said}")
    return Usage(wall, cpu, memory)


def call(*command: str | Path, environment: Mapping[str, str] | None = None, accepted: tuple[int, ...] = (0,)) -> str:
    """Run a program and return what it prints. Raises RunError, with what it said, for any other exit code."""
    # As in measure (S603).
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode not in accepted:
        raise RunError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stderr}{done.stdout}")
    return done.stdout


def medians(runs: Sequence[Usage]) -> Usage:
    """Return the median of each quantity."""
    return Usage(median(run.wall for run in runs), median(run.cpu for run in runs), median(run.memory for run in runs))


def without_packages(scripts: Path) -> dict[str, str]:
    """Return an environment in which a tool finds its own programs and no others: no apk, dpkg or rpm to ask."""
    kept = {name: value for name, value in os.environ.items() if name in ("HOME", "LANG", "TMPDIR")}
    return {**kept, "PATH": str(scripts)}
