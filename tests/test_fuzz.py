"""Each fuzz target for a few seconds (MUSL_REPAIR_FUZZ_SECONDS), without a crash, a slow input or a hungry one."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from process import environment

TARGETS = Path(__file__).parent / "fuzz" / "targets.py"


@pytest.mark.process
@pytest.mark.parametrize("name", ["elf", "relr", "edit", "proof", "archive"])
def test_target_finds_nothing(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed")
    seconds = int(os.environ.get("MUSL_REPAIR_FUZZ_SECONDS", "10"))
    limits = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=1500", "-print_final_stats=1"]
    command = [sys.executable, str(TARGETS), name, *limits]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment(), errors="replace"
    )
    assert done.returncode == 0, done.stderr[-4000:]
    executions = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    assert executions is not None
    assert int(executions[1]) > 100
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(("crash-", "timeout-", "oom-"))]
