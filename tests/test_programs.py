"""Running programs: their words, their failures, and that none outlives the work that it was started for."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from musl_repair import programs as programs_
from musl_repair.errors import PatchError
from musl_repair.programs import Programs, call_once

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.process


def script(folder: Path, text: str) -> Path:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def refused(program: Path) -> str:
    """Return the words with which running a program fails."""
    with pytest.raises(PatchError) as caught:
        call_once([program])
    return str(caught.value)


def test_what_it_prints_is_returned_and_arguments_are_given(tmp_path: Path) -> None:
    program = script(tmp_path, 'echo "$@"; echo aside >&2; cat')
    assert call_once([program, "a b", tmp_path]) == f"a b {tmp_path}\n"


def test_a_lot_of_output_is_no_obstacle(tmp_path: Path) -> None:
    program = script(tmp_path, "head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2")
    assert len(call_once([program])) == 1_000_000


@pytest.mark.parametrize(
    ("text", "words"),
    [("echo no >&2; exit 3", "no"), ("exit 3", "exit status 3"), ("kill -9 $$", "exit status -9")],
    ids=["with words", "without words", "killed by others"],
)
def test_a_failure_is_told_in_its_words(text: str, words: str, tmp_path: Path) -> None:
    program = script(tmp_path, text)
    assert refused(program) == f"{program} failed: {words}"


def test_what_is_not_there_cannot_be_run(tmp_path: Path) -> None:
    assert refused(tmp_path / "none").startswith(f"{tmp_path / 'none'} cannot be run: ")


def test_what_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs_, "_TIMEOUT", 0.3)
    program = script(tmp_path, "exec sleep 600")
    assert refused(program) == f"{program} did not end within 0.3 seconds"


@pytest.mark.parametrize("text", ["exec sleep 600", "sleep 600 & echo $! >>'{}'; wait"], ids=["itself", "another"])
def test_a_program_is_ended_with_the_work_that_it_is_for(text: str, tmp_path: Path) -> None:
    """Nobody waits for another program that it has started and that keeps the outputs open."""
    started = tmp_path / "started"
    program = script(tmp_path, f"trap '' INT TERM; echo $$ >>'{started}'; {text.format(started)}")
    with ThreadPoolExecutor() as pool:
        with Programs() as programs:
            result = pool.submit(programs.call, [program])
            while not started.exists() or len(started.read_text().split()) < 1 + ("wait" in text):
                time.sleep(0.01)
        assert str(result.exception(30)) == f"{program} was ended: the work has ended"
    own, *others = map(int, started.read_text().split())
    for other in others:
        os.kill(other, signal.SIGKILL)
    with pytest.raises(ProcessLookupError):
        os.kill(own, 0)


def test_none_is_started_after_the_work(tmp_path: Path) -> None:
    program = script(tmp_path, f"touch '{tmp_path}/started'")
    with Programs() as programs:
        programs.call([program])
    (tmp_path / "started").unlink()
    with pytest.raises(PatchError, match="was not started: the work has ended"):
        programs.call([program])
    assert not (tmp_path / "started").exists()


def test_any_number_at_once_is_ended(tmp_path: Path) -> None:
    program = script(tmp_path, f"echo x >>'{tmp_path}/started'; exec sleep 600")
    errors: list[PatchError] = []

    def call() -> None:
        try:
            programs.call([program])
        except PatchError as error:
            errors.append(error)

    threads = [threading.Thread(target=call) for _ in range(5)]
    with Programs() as programs:
        for thread in threads:
            thread.start()
        while not (tmp_path / "started").exists() or len((tmp_path / "started").read_text()) < 10:
            time.sleep(0.01)
    for thread in threads:
        thread.join(20)
    assert len(errors) == 5
