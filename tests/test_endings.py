"""A run ends with one sentence and an exit code, whatever is missing: streams, memory, threads, sense in numbers."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from builders import DEMO, DEMO_WHEEL, ElfFile, csv_text, record_row, wheel_members, zip_bytes
from musl_repair import pipeline as pipeline_
from musl_repair import repair as repair_
from musl_repair.abi import Release
from musl_repair.cli import main
from musl_repair.errors import PlatformError, WheelError
from musl_repair.pipeline import beside, pipeline
from musl_repair.policy import parse_tag, requested_tag
from musl_repair.wheel import parse_name
from process import SECONDS, SYSROOT, Run, environment, names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REPAIRED: Final = DEMO.replace("linux_", "musllinux_1_2_")
REPAIR: Final[list[str | Path]] = ["repair", DEMO_WHEEL, "--sysroot", SYSROOT, "-j", "2"]
DIGITS: Final = "9" * 5000
"""More than Python makes a number of (sys.get_int_max_str_digits)."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the repaired wheel."""
    folder = tmp_path_factory.mktemp("whole")
    done = Run(folder, [DEMO_WHEEL], limited=False).result()
    assert done.returncode == 0, done.stderr
    return (folder / REPAIRED).read_bytes()


def run(
    *arguments: str | Path, redirected: str = "", prepare: Callable[[], None] | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the program, perhaps with redirections of a shell."""
    command = [sys.executable, "-m", "musl_repair", *map(str, arguments)]
    if redirected:
        command = ["sh", "-c", f'exec "$@" {redirected}', "sh", *command]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=SECONDS, env=environment(**variables),
        preexec_fn=prepare,
    )  # fmt: skip


def assert_one_sentence(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """See that an error is told in one line that says these words."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    *usage, last = done.stderr.splitlines()
    assert last.startswith("error: " if code == 1 else "Error: "), done.stderr
    assert not usage or (code == 2 and usage[0].startswith("Usage: ")), done.stderr
    assert len(last) < 6000
    for word in words:
        assert word in last


# Streams that are closed


@pytest.mark.process
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["show", DEMO_WHEEL, "--sysroot", SYSROOT], id="show"),
        pytest.param(["show", "--json", DEMO_WHEEL, "--sysroot", SYSROOT], id="show --json"),
        pytest.param(["check", DEMO_WHEEL], id="check"),
        pytest.param(["lddtree", DEMO_WHEEL], id="lddtree"),
        pytest.param(["abi", "malloc"], id="abi"),
        pytest.param(["size", DEMO_WHEEL], id="size"),
        pytest.param(["--help"], id="--help"),
        pytest.param(["--version"], id="--version"),
        pytest.param([*REPAIR, "--dry-run"], id="dry run"),
    ],
)
def test_closed_stdout_is_an_output_that_cannot_be_written(arguments: list[str | Path]) -> None:
    assert_one_sentence(run(*arguments, redirected=">&-"), 1, "error: the output: Bad file descriptor")


@pytest.mark.process
@pytest.mark.parametrize(
    ("closed", "code"), [(">&-", 1), ("2>&-", 0), ("<&-", 0), ("<&- 2>&-", 0), ("<&- >&- 2>&-", 1)], ids=str
)
def test_wheel_is_whole_whatever_is_closed(closed: str, code: int, tmp_path: Path, whole: bytes) -> None:
    """The descriptor of a closed stream would be the next file's: the wheel's, and what is said would be in it."""
    before = DEMO_WHEEL.read_bytes()
    done = run(*REPAIR, "-v", "-w", tmp_path, redirected=closed)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert names(tmp_path) == [REPAIRED]
    assert (tmp_path / REPAIRED).read_bytes() == whole
    assert DEMO_WHEEL.read_bytes() == before


@pytest.mark.process
@pytest.mark.patchelf
@pytest.mark.parametrize("closed", ["2>&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_programs_do_not_mind_what_is_closed(closed: str, tmp_path: Path) -> None:
    run(*REPAIR, "-w", tmp_path / "a", "--patcher", "patchelf")
    run(*REPAIR, "-w", tmp_path / "b", "--patcher", "patchelf", redirected=closed)
    assert names(tmp_path / "a") == names(tmp_path / "b") == [REPAIRED]
    assert (tmp_path / "a" / REPAIRED).read_bytes() == (tmp_path / "b" / REPAIRED).read_bytes()


@pytest.mark.process
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full, which is always full")
def test_nobody_can_be_told_is_no_error(tmp_path: Path, whole: bytes) -> None:
    assert run(*REPAIR, "-w", tmp_path, redirected="2>/dev/full").returncode == 0
    assert (tmp_path / REPAIRED).read_bytes() == whole
    assert run("check", "none.whl", redirected="2>/dev/full").returncode == 1
    assert run("--none", redirected="2>/dev/full").returncode == 2


# Numbers


@pytest.mark.process
@pytest.mark.parametrize(
    "epoch", ["4354819200", "99999999999", "1700000000000", "-62135596801", "-99999999999999", DIGITS, "\u0661", "1_0"]
)
def test_date_that_a_wheel_cannot_have_is_wrong_usage(epoch: str, tmp_path: Path) -> None:
    done = run(*REPAIR, "-w", tmp_path, SOURCE_DATE_EPOCH=epoch)
    assert_one_sentence(done, 2, "SOURCE_DATE_EPOCH", epoch[:40])
    assert names(tmp_path) == []


@pytest.mark.process
@pytest.mark.parametrize(
    ("epoch", "date", "year"),
    [
        ("4354819199", (2107, 12, 31, 23, 59, 58), "2107-12-31T23:59:59"),
        ("-62135596800", (1980, 1, 1, 0, 0, 0), "0001-01-01"),
    ],
)
def test_first_and_last_date(epoch: str, date: tuple[int, ...], year: str, tmp_path: Path) -> None:
    done = run(*REPAIR, "-w", tmp_path, SOURCE_DATE_EPOCH=epoch)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / REPAIRED) as archive:
        assert {info.date_time for info in archive.infolist()} == {date}
        sbom = json.loads(archive.read("demo-1.0.dist-info/sboms/musl-repair.cdx.json"))
    assert sbom["metadata"]["timestamp"].startswith(year)


@pytest.mark.process
@pytest.mark.parametrize(
    "arguments",
    [
        ["--max-inflated", DIGITS],
        ["--max-inflated", "9" * 4000 + "T"],
        ["-j", DIGITS],
        ["-z", DIGITS],
        ["--plat", f"musllinux_{DIGITS}_1"],
        ["--plat", f"musllinux_1_{DIGITS}_x86_64"],
    ],
    ids=lambda value: value[0],
)
def test_number_without_end_in_an_option(arguments: list[str], tmp_path: Path) -> None:
    assert_one_sentence(run(*REPAIR, "-w", tmp_path, *arguments), 2)
    assert names(tmp_path) == []


@pytest.mark.process
def test_as_many_jobs_as_anybody_likes(tmp_path: Path, whole: bytes) -> None:
    assert run(*REPAIR, "-w", tmp_path, "-j", "9" * 18).returncode == 0
    assert (tmp_path / REPAIRED).read_bytes() == whole


INFO: Final = "demo-1.0.dist-info"
LONG: Final = "9" * 4400
"""As above, where a file's name goes into a zip header of at most 64 KiB, or a line."""


def endless(what: str) -> bytes:
    """Return a wheel with a number of thousands of digits somewhere."""
    members = wheel_members({"demo/__init__.py": b""})
    extension = ElfFile(notes=((b"FDO", 0x407C0C0A, f'[{{"soname": ["a"], "x": {DIGITS}}}]'.encode() + b"\0"),)).build()
    record = csv_text([("demo/__init__.py", record_row("", b"")[1], DIGITS), (f"{INFO}/RECORD", "", "")])
    changes: Mapping[str, Mapping[str, bytes]] = {
        "METADATA": {f"{INFO}/METADATA": f"Name: demo\nVersion: {DIGITS}\n".encode()},
        "dist-info": {name.replace("demo-1.0", f"demo-{LONG}"): content for name, content in members.items()},
        "WHEEL": {f"{INFO}/WHEEL": f"Wheel-Version: {DIGITS}\nTag: cp{DIGITS}-none-musllinux_{DIGITS}_1_x\n".encode()},
        "tags": {f"{INFO}/WHEEL": f"Wheel-Version: 1.0\nTag: cp{DIGITS}-none-musllinux_{DIGITS}_1_x\n".encode()},
        "RECORD": {f"{INFO}/RECORD": record.encode()},
        "suffix": wheel_members({f"demo/a.cpython-3{LONG}-x86_64-linux-gnu.so": extension}),
        "note": wheel_members({"demo/a.so": extension}),
    }
    return zip_bytes(changes[what] if what in ("dist-info", "suffix", "note") else {**members, **changes[what]})


@pytest.mark.process
@pytest.mark.parametrize("what", ["METADATA", "dist-info", "WHEEL", "tags", "RECORD", "suffix", "note"])
def test_number_without_end_in_a_wheel(what: str, tmp_path: Path) -> None:
    wheel = tmp_path / DEMO
    wheel.write_bytes(endless(what))
    root: list[str | Path] = ["--sysroot", SYSROOT]
    more = {"check": [], "show": root, "repair": [*root, "-w", tmp_path], "size": []}
    for command, arguments in more.items():
        done = run(command, wheel, *arguments)
        assert done.returncode in (0, 1)
        assert "bug" not in done.stderr
        assert "Traceback" not in done.stderr
    assert names(tmp_path) == [DEMO] if what not in ("suffix", "note") else len(names(tmp_path)) < 3


def test_number_without_end_in_names_and_tags() -> None:
    for name in (f"demo-{DIGITS}-py3-none-any.whl", f"demo-1.0-{DIGITS}-py3-none-any.whl"):
        with pytest.raises(WheelError, match="is not the name of a wheel"):
            parse_name(name)
    assert parse_tag(f"musllinux_{DIGITS}_2_x86_64") is None
    assert parse_tag(f"musllinux_1_{DIGITS}_x86_64") is None
    assert parse_tag("musllinux_\u0661_2_x86_64") is None
    with pytest.raises(PlatformError):
        requested_tag(f"musllinux_1_{DIGITS}", "x86_64")
    with pytest.raises(ValueError, match="not a release"):
        Release.parse(f"1.2.{DIGITS}")


@pytest.mark.process
@pytest.mark.patchelf
def test_number_without_end_in_what_a_program_says(tmp_path: Path) -> None:
    program = tmp_path / "patchelf"
    program.write_text(f"#!/bin/sh\necho patchelf {DIGITS}\n")
    program.chmod(0o755)
    done = run(*REPAIR, "-w", tmp_path / "out", "--patchelf", program)
    assert_one_sentence(done, 1, "is not patchelf")


# Memory and threads


def limit(**limits: int) -> Callable[[], None]:
    """Return what sets soft limits: as_, stack (bytes)."""

    def prepare() -> None:
        for name, value in limits.items():
            kind = getattr(resource, f"RLIMIT_{name.strip('_').upper()}")
            resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))

    return prepare


@pytest.fixture(scope="module")
def started_size() -> int:
    """Return the address space in bytes that the program has taken when it has started."""
    code = (
        "import musl_repair.cli; print([l.split()[1] for l in open('/proc/self/status') if l.startswith('VmPeak')][0])"
    )
    if not Path("/proc/self/status").exists():
        pytest.skip("there is no /proc")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout) << 10


@pytest.mark.process
def test_too_little_memory_is_one_sentence(started_size: int, tmp_path: Path, whole: bytes) -> None:
    codes = set()
    for step in range(24):
        done = run(*REPAIR, "-w", tmp_path, prepare=limit(as_=started_size + (step << 20)))
        codes.add(done.returncode)
        assert done.returncode in (0, 1), (step, done.returncode, done.stderr)
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == done.returncode, done.stderr
        assert "bug" not in done.stderr
        # hashlib itself complains where it cannot load a part of itself.
        assert done.stderr.count("\n") == 1 or "code for hash" in done.stderr, done.stderr
        assert names(tmp_path) == ([REPAIRED] if 0 in codes else [])
    assert 1 in codes
    if 0 in codes:
        assert (tmp_path / REPAIRED).read_bytes() == whole


@pytest.mark.process
@pytest.mark.patchelf
@pytest.mark.parametrize("patcher", ["builtin", "patchelf"])
@pytest.mark.parametrize(("stack", "space"), [(8 << 30, 4 << 30), (256 << 20, 1 << 30)], ids=["none", "a few"])
def test_fewer_threads_than_asked_for(stack: int, space: int, patcher: str, tmp_path: Path) -> None:
    """A thread's stack has the size of that limit (glibc), so that no more fit into the address space."""
    arguments: list[str | Path] = [*REPAIR, "--patcher", patcher, "-j", "16"]
    assert run(*arguments, "-w", tmp_path / "a").returncode == 0
    done = run(*arguments, "-w", tmp_path / "b", prepare=limit(stack=stack, as_=space))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a" / REPAIRED).read_bytes() == (tmp_path / "b" / REPAIRED).read_bytes()


@pytest.mark.parametrize("most", [0, 1, 2, 3, 5])
def test_pipeline_takes_the_threads_that_there_are(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if len([one for one in started if one.is_alive()]) >= most:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    names = [f"name {number}" for number in range(50)]
    told: list[str] = []
    done: list[int] = []
    with pipeline(4, told.append) as run_:
        assert list(run_(str.upper, names)) == [name.upper() for name in names]
        with beside(lambda: done.append(1)):
            pass
    assert sorted(told) == sorted(names)
    assert done == [1]
    assert not [one for one in started if one.is_alive()]


def test_pipeline_has_a_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_, "_MOST_THREADS", 3)
    with pipeline(10**18, lambda _: None) as run_:
        assert run_.jobs == 3


# What nobody foresaw


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """Return a function that repairs in this process."""

    def called(*more: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            main([*map(str, REPAIR), "-w", str(tmp_path), *map(str, more)])
        assert isinstance(stopped.value.code, int)
        out, err = capfd.readouterr()
        return stopped.value.code, out, err

    return called


def break_the_demo(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let the repair of the demo wheel fail as nobody foresaw, and that of others not."""
    repair_wheel = repair_.repair_wheel

    def broken(wheel: Path, *arguments: Any) -> Any:
        if wheel == DEMO_WHEEL:
            raise error
        return repair_wheel(wheel, *arguments)

    monkeypatch.setattr(repair_, "repair_wheel", broken)


BUG: Final = (
    r"error: this is a bug in musl-repair (KeyError: 'a\x1b\nb'); please report it, with the wheel if you can, and "
    "with what the same command prints with --traceback\n"
)


def test_a_bug_is_one_sentence(monkeypatch: pytest.MonkeyPatch, call: Callable[..., tuple[int, str, str]]) -> None:
    break_the_demo(monkeypatch, KeyError("a\x1b\nb"))
    assert call() == (1, "", BUG)


def test_a_bug_ends_one_wheel_and_not_the_others(
    monkeypatch: pytest.MonkeyPatch, call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    break_the_demo(monkeypatch, KeyError("a\x1b\nb"))
    other = Path(shutil.copy(DEMO_WHEEL, tmp_path))
    code, out, err = call("--json", other)
    assert code == 1
    first, second = json.loads(out)["wheels"]
    assert first["error"] in BUG
    assert second["output"] == str(tmp_path / REPAIRED)
    assert err.startswith(BUG)


@pytest.mark.parametrize("way", ["--traceback", "MUSL_REPAIR_TRACEBACK"])
def test_a_bug_with_its_traceback(
    way: str, monkeypatch: pytest.MonkeyPatch, call: Callable[..., tuple[int, str, str]]
) -> None:
    break_the_demo(monkeypatch, ValueError("a\x1bb\n::error::c"))
    if not way.startswith("-"):
        monkeypatch.setenv(way, "1")
    code, out, err = call(*([way] if way.startswith("-") else []))
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-2:] == [r"ValueError: a\x1bb", r"\x3a:error\x3a:c"]
    assert any("in broken" in line for line in lines)


def test_traceback_may_stand_in_front(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    break_the_demo(monkeypatch, ValueError("x"))
    for front in (["--traceback"], ["-v", "--traceback", "repair"], ["--traceback", "repair", "-v"]):
        with pytest.raises(SystemExit) as stopped:
            main([*front, *map(str, REPAIR[1:])])
        assert stopped.value.code == 1
        assert "in broken" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "there is not enough memory"),
        (OSError(12, "Cannot allocate memory"), "there is not enough memory"),
        (OSError(5, "Input/output error"), f"{DEMO_WHEEL}: Input/output error"),
        (OSError(24, "Too many open files", "/some/file"), "/some/file: Too many open files"),
        (ImportError("x.so: failed to map segment"), "Python failed, for lack of memory or because"),
        (RecursionError("deep"), "this is a bug in musl-repair (RecursionError: deep)"),
    ],
    ids=lambda value: repr(value) if isinstance(value, Exception) else "",
)
def test_what_else_goes_wrong(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, call: Callable[..., tuple[int, str, str]]
) -> None:
    break_the_demo(monkeypatch, error)
    code, out, err = call()
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"error: {said}")
