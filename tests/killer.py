"""Runs a repair again and again, and stops it at another place each time: `python killer.py REQUEST` (JSON).

The request: arguments of musl-repair, folder of the new wheels, how ("kill", "interrupt", "terminate" or "full"), steps
(how many places), and old, the content of a target that is there before. The answer, JSON too: what became of each run.
A place is a call of a C function from the package's modules. The program is imported once and forked for each run.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import resource
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musl_repair.cli import main

if TYPE_CHECKING:
    from types import FrameType


class Counter:
    """A profile function that sends a signal to this process at one call."""

    def __init__(self, at: int, number: int) -> None:
        """Send signal number at the call of that number; 0: never."""
        self.calls = 0
        self.at = at
        self.number = number

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "c_call" and str(frame.f_globals.get("__name__")).startswith("musl_repair."):
            self.calls += 1
            if self.calls == self.at:
                os.kill(os.getpid(), self.number)


def in_child(arguments: list[str], counter: Counter, limit: int | None) -> tuple[int, int]:
    """Repair in a forked process; return its exit code (or minus the signal) and how many calls it made."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            code = quiet_main(arguments, counter)
            os.write(writer, str(counter.calls).encode())
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        calls = int(pipe.read() or 0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), calls


def quiet_main(arguments: list[str], counter: Counter) -> int:
    """Run the program without output; return its exit code."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        # Python's handlers run in the main thread only. And once a run was seen to spin on CPython 3.11 in a worker
        # thread with a profile function, while the signal was waiting for the main thread; that the function is why, is
        # a guess.
        if counter.number not in (signal.SIGINT, signal.SIGTERM):
            threading.setprofile(counter)
        sys.setprofile(counter)
        try:
            main(arguments)
        except SystemExit as stopped:
            return int(stopped.code or 0)
        except KeyboardInterrupt:
            return 98  # came through
        finally:
            sys.setprofile(None)
    return 97


def state(folder: Path) -> dict[str, Any]:
    """Return name → hash of what looks like a wheel, and the names of all else."""
    wheels = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.whl"))}
    return {"wheels": wheels, "others": sorted(path.name for path in folder.iterdir() if path.name not in wheels)}


def prepare(folder: Path, old: dict[str, str]) -> None:
    """Empty the folder but for what is to be there before."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, content in old.items():
        (folder / name).write_text(content)


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Do what the request asks."""
    folder, arguments, steps = Path(request["folder"]), request["arguments"], request["steps"]
    number = {"kill": signal.SIGKILL, "interrupt": signal.SIGINT, "terminate": signal.SIGTERM, "full": 0}[
        request["how"]
    ]
    prepare(folder, {})
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background ignore it
    code, calls = in_child(arguments, Counter(0, number), None)
    whole = state(folder)
    size = max((path.stat().st_size for path in folder.glob("*.whl")), default=0)
    runs = []
    for step in range(steps):
        old = request["old"] if step % 2 else {}
        prepare(folder, old)
        place = 0 if request["how"] == "full" else 1 + step * calls // steps
        limit = step * size // steps if request["how"] == "full" else None
        stopped, _ = in_child(arguments, Counter(place, number), limit)
        runs.append({"place": place, "code": stopped, "old": bool(old), **state(folder)})
    return {"code": code, "calls": calls, "whole": whole, "runs": runs}


if __name__ == "__main__":
    print(json.dumps(work(json.loads(sys.argv[1]))))
