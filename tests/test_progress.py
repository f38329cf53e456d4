"""The line on a terminal: only for work that takes its time, only on a terminal, and gone afterwards."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest

from builders import DEMO_WHEEL, SYSROOTS
from musl_repair.options import Options
from musl_repair.progress import DELAY, showing
from musl_repair.repair import Tools, repair_wheel
from musl_repair.sysroot import Sysroot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

ERASE = "\x1b[2K"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    def words(self) -> str:
        """Return what was written, without escape sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())


@pytest.fixture(autouse=True)
def xterm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")


def clock(*times: float) -> Callable[[], float]:
    return iter(times).__next__


def show(stream: io.StringIO, names: Iterable[str], *times: float, at: int = 1, count: int = 1) -> None:
    with showing("demo.whl", at, count, stream, clock(0.0, *times)) as tell:
        for name in names:
            tell(name)


def test_quick_work_shows_nothing() -> None:
    terminal = Terminal()
    show(terminal, ["a", "b"], 0.1, DELAY - 0.01)
    assert terminal.getvalue() == ""


def test_slow_work_shows_wheel_and_file_and_wipes_them_off() -> None:
    terminal = Terminal()
    show(terminal, ["demo/a.so", "demo/libb.so"], 0.1, DELAY)
    assert "demo.whl: libb.so" in terminal.words()
    assert terminal.getvalue().endswith(ERASE)


def test_of_several_wheels_it_says_which() -> None:
    terminal = Terminal()
    show(terminal, ["demo/a.so"], 1.0, at=2, count=3)
    assert "demo.whl (2 of 3): a.so" in terminal.words()


def test_names_do_nothing_to_the_terminal() -> None:
    terminal = Terminal()
    show(terminal, ["demo/[red]\x1b]0;title\x07\n\udcff.so"], 1.0)
    assert r"[red]\x1b]0;title\x07\n\xff.so" in terminal.words()
    terminal.getvalue().encode()


def test_piped_it_is_silent() -> None:
    stream = io.StringIO()
    show(stream, ["a"], 1.0)
    assert stream.getvalue() == ""


def test_dumb_terminal_stays_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal()
    show(terminal, ["a"], 1.0)
    assert terminal.getvalue().strip() == ""


def test_error_wipes_it_off_too() -> None:
    terminal = Terminal()

    def names() -> Iterator[str]:
        yield "demo/a.so"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        show(terminal, names(), 1.0)
    assert terminal.getvalue().endswith(ERASE)


def test_repair_tells_every_member_that_it_reads_and_makes(tmp_path: Path) -> None:
    told: list[str] = []
    tools = Tools(progress=told.append)
    repair_wheel(DEMO_WHEEL, tmp_path, Sysroot(SYSROOTS / "x86_64"), Options(), tools)
    assert told.count("demo/_ext.abi3.so") == 3  # read, made, read back
