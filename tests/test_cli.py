"""The command line as users see it: what it prints, where, and with which exit code.

The cases in tests/golden are whole: arguments, exit code, stdout and stderr, with {testdata}, {tmp} and {sysroot} (the
x86_64 one) for folders, and {hash} for those in the names of grafts. To take over what the program says now, run these
tests with MUSL_REPAIR_GOLDEN=write and read the difference.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from builders import DEMO, DEMO_WHEEL, SYSROOTS, TESTDATA, write_wheel
from musl_repair import __version__, cli
from musl_repair.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.patchelf

WRITES_GOLDEN = os.environ.get("MUSL_REPAIR_GOLDEN") == "write"
GOLDEN = Path(__file__).parent / "golden"
SYSROOT = SYSROOTS / "x86_64"
REPAIRED = "demo-1.0-cp310-abi3-musllinux_1_2_x86_64.whl"
OTHER = TESTDATA / "wheels" / "demo-1.0-cp310-abi3-linux_riscv64.whl"


class Result(NamedTuple):
    """What a run of the program left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Return a function that runs the program in an empty folder, with none of its variables set."""
    for name in list(os.environ):
        if name.startswith(("MUSL_REPAIR_", "AUDITWHEEL_")) or name == "SOURCE_DATE_EPOCH":
            monkeypatch.delenv(name)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def call(*arguments: str | Path) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert isinstance(stopped.value.code, int)
        return Result(stopped.value.code, out, err)

    return call


def entries(folder: Path) -> list[str]:
    """Return the names in a folder, sorted; none where there is no folder."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def pure_wheel(folder: Path) -> Path:
    """Write a wheel without ELF files."""
    return write_wheel(folder, {"pure.py": b"answer = 42\n"}, "pure-1.0-py3-none-any.whl")


# Golden


@pytest.mark.parametrize("case", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_golden(case: Path, run: Callable[..., Result], tmp_path: Path) -> None:
    shutil.copytree(SYSROOT / "lib", tmp_path / "bare" / "lib", symlinks=True)
    pure_wheel(tmp_path)
    (tmp_path / DEMO).write_bytes(b"not a zip archive")
    places = {"{sysroot}": SYSROOT, "{testdata}": TESTDATA, "{tmp}": tmp_path}
    wanted = json.loads(case.read_text())
    arguments = wanted["args"]
    for name, place in places.items():
        arguments = [argument.replace(name, str(place)) for argument in arguments]
    result = run(*arguments)

    def lines(text: str) -> list[str]:
        for name, place in places.items():
            text = text.replace(str(place), name)
        return re.sub(r"-[0-9a-f]{8}(?=\.so)", "-{hash}", text).splitlines()

    found = {"args": wanted["args"], "rc": result.code, "stdout": lines(result.out), "stderr": lines(result.err)}
    if WRITES_GOLDEN:
        case.write_text(json.dumps(found, indent=2) + "\n")
    assert found == wanted


# One command, two names


def test_repair_may_be_left_out(run: Callable[..., Result], tmp_path: Path) -> None:
    short = run(DEMO_WHEEL, "--sysroot", SYSROOT, "-w", tmp_path / "a")
    long = run("repair", DEMO_WHEEL, "--sysroot", SYSROOT, "-w", tmp_path / "b")
    assert short == Result(0, f"{tmp_path}/a/{REPAIRED}\n", long.err)
    assert long == Result(0, f"{tmp_path}/b/{REPAIRED}\n", short.err)
    assert (tmp_path / "a" / REPAIRED).read_bytes() == (tmp_path / "b" / REPAIRED).read_bytes()


def test_options_may_come_first(run: Callable[..., Result]) -> None:
    assert run("--sysroot", SYSROOT, DEMO_WHEEL).out == f"wheelhouse/{REPAIRED}\n"
    assert entries(Path("wheelhouse")) == [REPAIRED]


@pytest.mark.parametrize("command", [["-m", "musl_repair"], ["-c", "from musl_repair.__main__ import main; main()"]])
def test_program_starts_as_a_process(command: list[str], tmp_path: Path) -> None:
    arguments = [sys.executable, *command, str(DEMO_WHEEL), "--sysroot", str(SYSROOT), "--dry-run"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.startswith(DEMO)
    assert entries(tmp_path) == []


def test_program_starts_from_a_zip_file(tmp_path: Path) -> None:
    package = Path(cli.__file__).parent
    with zipfile.ZipFile(tmp_path / "program.zip", "w") as file:
        for path in package.rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                file.write(path, path.relative_to(package.parent))
    code = "from musl_repair import cli; print(cli.__file__, flush=True); cli.main()"
    arguments = [sys.executable, "-c", code, "abi", "statx"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "program.zip")}
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert done.stdout.startswith(f"{tmp_path}/program.zip/musl_repair/cli.py\nstatx\n  since 1.2.5")


PROGRAM = {"cli", "cli_options", "errors", "findings", "printable"}
ALL_COMMANDS = {"cli_inspect", "cli_repair", "cli_size"}


@pytest.mark.parametrize(
    ("arguments", "modules"),
    [
        (["--version"], PROGRAM),
        (["--help"], PROGRAM | ALL_COMMANDS),
        (["size", "--help"], PROGRAM | {"cli_size"}),
    ],
    ids=["version", "help", "help of a command"],
)
def test_only_what_runs_is_imported(arguments: list[str], modules: set[str]) -> None:
    code = (
        "import sys\n"
        "from musl_repair.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    print(*(name for name in sys.modules if name.startswith('musl_repair.')), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert set(done.stderr.split()) == {f"musl_repair.{name}" for name in modules}


# Several wheels


def test_all_wheels_are_tried_and_summed_up(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run(OTHER, DEMO_WHEEL, pure_wheel(tmp_path), "--sysroot", SYSROOT)
    assert (result.code, result.out) == (1, f"wheelhouse/{REPAIRED}\n")
    assert result.err.splitlines()[-3:] == [
        "1 of 3 wheels done; failed:",
        f"  {OTHER.name}",
        "  pure-1.0-py3-none-any.whl",
    ]
    assert "wrong-architecture" in result.err
    assert entries(Path("wheelhouse")) == [REPAIRED]


def test_several_wheels_that_are_all_right(run: Callable[..., Result], tmp_path: Path) -> None:
    second = tmp_path / DEMO.replace("-1.0-", "-1.0-1-")
    shutil.copy2(DEMO_WHEEL, second)
    result = run(DEMO_WHEEL, second, DEMO_WHEEL, "--sysroot", SYSROOT)
    assert result.code == 0
    assert result.err.splitlines()[-1] == "2 of 2 wheels done"


@pytest.mark.parametrize("options", [[], ["--dry-run"]], ids=["repaired", "dry run"])
@pytest.mark.parametrize("name", [DEMO, REPAIRED], ids=["of one name", "that comes to have one name"])
def test_of_two_wheels_with_one_result_the_second_is_refused(
    run: Callable[..., Result], tmp_path: Path, name: str, options: list[str]
) -> None:
    with zipfile.ZipFile(DEMO_WHEEL) as archive:
        files = {item: archive.read(item) for item in archive.namelist() if ".dist-info/" not in item}
    second = write_wheel(tmp_path, {**files, "demo/other.py": b"other = True\n"}, name)
    result = run(DEMO_WHEEL, second, "--sysroot", SYSROOT, *options)
    assert result.code == 1
    assert f"error: wheelhouse/{REPAIRED} is the repaired {DEMO_WHEEL}, and stays" in result.err
    assert result.err.splitlines()[-2:] == ["1 of 2 wheels done; failed:", f"  {name}"]
    if not options:
        with zipfile.ZipFile(Path("wheelhouse") / REPAIRED) as archive:
            assert "demo/other.py" not in archive.namelist()


def test_a_wheel_that_is_to_be_repaired_is_not_replaced(run: Callable[..., Result], tmp_path: Path) -> None:
    run(DEMO_WHEEL, "--sysroot", SYSROOT)
    first = Path("wheelhouse") / REPAIRED
    again = Path(shutil.copy2(first, tmp_path / REPAIRED))
    result = run(DEMO_WHEEL, again, "--sysroot", SYSROOT, "-w", tmp_path)
    assert (result.code, result.out) == (1, f"{again}\n")
    assert f"error: {again} is one of the wheels to repair, and stays" in result.err
    # What an earlier run left is replaced.
    assert run(DEMO_WHEEL, "--sysroot", SYSROOT).code == 0


# Dry run and JSON


@pytest.mark.parametrize("options", [[], ["--json"], ["-v"], ["-vv"]], ids=" ".join)
def test_dry_run_writes_nothing(run: Callable[..., Result], options: list[str]) -> None:
    result = run(DEMO_WHEEL, "--sysroot", SYSROOT, "--dry-run", *options)
    assert result.code == 0
    assert REPAIRED in result.out
    assert entries(Path()) == []


def test_dry_run_needs_no_patchelf(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", None)
    assert run(DEMO_WHEEL, "--sysroot", SYSROOT, "--dry-run").code == 0


def test_dry_run_of_what_would_fail_fails(run: Callable[..., Result]) -> None:
    result = run(OTHER, "--sysroot", SYSROOT, "--dry-run")
    assert result.code == 1
    assert "wrong-architecture" in result.out + result.err


def only_wheel(result: Result) -> dict[str, Any]:
    """Return what JSON output says of the only wheel."""
    document = json.loads(result.out)
    assert document["format"] == 1
    (wheel,) = document["wheels"]
    assert isinstance(wheel, dict)
    return wheel


def test_json_holds_plan_and_output(run: Callable[..., Result]) -> None:
    wheel = only_wheel(run(DEMO_WHEEL, "--sysroot", SYSROOT, "--json"))
    assert (wheel["wheel"], wheel["result"], wheel["output"]) == (DEMO, REPAIRED, f"wheelhouse/{REPAIRED}")
    assert [graft["source"] for graft in wheel["grafts"]] == ["/lib/libleaf.so.1.0.0", "/usr/lib/libmid.so.2.1.0"]
    assert wheel["grafts"][0]["package"] == {"name": "leaf-libs", "version": "1.0.0-r1"}
    assert wheel["moves"] == [{"member": "demo-1.0.data/scripts/demo-tool", "moved": "demo.libs/demo-tool"}]
    with zipfile.ZipFile(wheel["output"]) as archive:
        assert {graft["member"] for graft in wheel["grafts"]} < set(archive.namelist())


def test_json_of_a_dry_run_is_the_same_but_for_the_output(run: Callable[..., Result]) -> None:
    dry = only_wheel(run(DEMO_WHEEL, "--sysroot", SYSROOT, "--json", "--dry-run"))
    assert dry["output"] is None
    done = only_wheel(run(DEMO_WHEEL, "--sysroot", SYSROOT, "--json"))
    assert dry == {**done, "output": None}


# What is mended of a wheel's form

FORM = ["demo-1.0-1.data renamed to demo-1.0.data", "tags of WHEEL expanded", "Root-Is-Purelib set to false"]


def odd_wheel(folder: Path) -> Path:
    """Write a wheel whose WHEEL file, .data folder and RECORD are mended."""
    library = (TESTDATA / "x86_64" / "libleaf.so.1").read_bytes()
    text = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: cp310.cp312-abi3-linux_x86_64\n"
    files = {"demo/_ext.so": library, "demo-1.0-1.data/scripts/hello": b"#!python\n"}
    name = "demo-1.0-1-cp310.cp312-abi3-linux_x86_64.whl"
    return write_wheel(folder, {**files, "demo-1.0.dist-info/WHEEL": text.encode()}, name)


def test_what_is_mended_of_a_wheel_s_form_is_told(run: Callable[..., Result], tmp_path: Path) -> None:
    wheel, summary = odd_wheel(tmp_path), tmp_path / "summary.md"
    planned = run(wheel, "--sysroot", SYSROOT, "--dry-run")
    assert [line for line in planned.out.splitlines() if line.startswith(("  renames", "  expands", "  sets"))] == [
        "  renames demo-1.0-1.data to demo-1.0.data",
        "  expands the tags of WHEEL, one to a line",
        "  sets    Root-Is-Purelib to false",
    ]
    done = run(wheel, "--sysroot", SYSROOT, "--summary", summary)
    assert done.err.splitlines()[0].endswith(f"0 with DT_RELR lowered, {', '.join(FORM)}")
    assert [line.removeprefix("* ") for line in summary.read_text("utf-8").splitlines() if line[2:] in FORM] == FORM


def test_json_holds_what_is_mended_of_a_wheel_s_form(run: Callable[..., Result], tmp_path: Path) -> None:
    wheel = only_wheel(run(odd_wheel(tmp_path), "--sysroot", SYSROOT, "--json"))
    assert wheel["renames"] == [{"folder": "demo-1.0-1.data", "renamed": "demo-1.0.data"}]
    assert wheel["wheel_file"] == {"expands_tags": True, "corrects_tags": False, "leaves_purelib": True}


def test_tags_of_wheel_that_are_not_those_of_the_name_are_corrected(run: Callable[..., Result], tmp_path: Path) -> None:
    wheel = odd_wheel(tmp_path).rename(tmp_path / "demo-1.0-cp312-abi3-linux_x86_64.whl")
    assert "tags of WHEEL corrected" in run(wheel, "--sysroot", SYSROOT).err


def test_a_dry_run_may_disbelieve_record_too(run: Callable[..., Result], tmp_path: Path) -> None:
    files = {"demo/_ext.so": (TESTDATA / "x86_64" / "libleaf.so.1").read_bytes()}
    wheel = write_wheel(tmp_path, {**files, "demo-1.0.dist-info/RECORD": b"demo/_ext.so,,\n"}, DEMO)
    assert run(wheel, "--sysroot", SYSROOT, "--dry-run").code == 1
    assert run(wheel, "--sysroot", SYSROOT, "--dry-run", "--no-verify-input").code == 0


def test_a_windows_wheel_is_not_called_pure(run: Callable[..., Result], tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, {"demo/_ext.pyd": b"MZ"}, "demo-1.0-cp312-cp312-win_amd64.whl")
    result = run(wheel, "--allow-pure-python-wheel")
    assert (result.code, "is a wheel for Windows, by its tags" in result.err) == (1, True)
    assert "pure" not in result.err


def test_json_of_a_failure_holds_the_findings(run: Callable[..., Result]) -> None:
    result = run(OTHER, "--sysroot", SYSROOT, "--json")
    assert result.code == 1
    wheel = only_wheel(result)
    assert wheel["wheel"] == OTHER.name
    assert wheel["error"].startswith("cannot repair")
    assert [found["code"] for found in wheel["findings"]] == ["library-not-found", "wrong-architecture"]


# The environment


@pytest.mark.parametrize(
    ("variable", "value"), [("MUSL_REPAIR_PLAT", "musllinux_1_3"), ("AUDITWHEEL_PLAT", "musllinux_1_3_x86_64")]
)
def test_platform_from_the_environment(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert run(DEMO_WHEEL, "--sysroot", SYSROOT).out == "wheelhouse/demo-1.0-cp310-abi3-musllinux_1_3_x86_64.whl\n"
    assert run(DEMO_WHEEL, "--sysroot", SYSROOT, "--plat", "musllinux_1_2").out == f"wheelhouse/{REPAIRED}\n"


def test_own_variable_comes_before_auditwheels(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSL_REPAIR_PLAT", "musllinux_1_2")
    monkeypatch.setenv("AUDITWHEEL_PLAT", "musllinux_1_3_x86_64")
    assert run(DEMO_WHEEL, "--sysroot", SYSROOT).out == f"wheelhouse/{REPAIRED}\n"


def test_every_option_can_come_from_the_environment(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MUSL_REPAIR_SYSROOT", str(tmp_path / "bare"))
    monkeypatch.setenv("MUSL_REPAIR_WHEEL_DIR", "elsewhere")
    monkeypatch.setenv("MUSL_REPAIR_LIB_SDIR", ".so")
    monkeypatch.setenv("MUSL_REPAIR_KEEP_RELR", "1")
    monkeypatch.setenv("MUSL_REPAIR_LDPATHS", f"{SYSROOT}/usr/lib:{SYSROOT}/lib")
    monkeypatch.setenv("MUSL_REPAIR_JOBS", "1")
    monkeypatch.setenv("MUSL_REPAIR_JSON", "1")
    shutil.copytree(SYSROOT / "lib", tmp_path / "bare" / "lib", symlinks=True)
    wheel = only_wheel(run(DEMO_WHEEL))
    assert wheel["output"].startswith("elsewhere/demo-1.0-cp310-abi3-musllinux_1_")
    assert {graft["member"].partition("-")[0] for graft in wheel["grafts"]} == {"demo.so/libleaf", "demo.so/libmid"}
    assert not any(patch["lower_relr"] for patch in wheel["patches"])


def test_excluded_library_is_not_vendored(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSL_REPAIR_EXCLUDE", "libmid.* libother.*")
    for arguments in ([], ["--exclude", "libm?d.so.2", "--exclude", "none"]):
        wheel = only_wheel(run(DEMO_WHEEL, "--sysroot", SYSROOT, "--json", "--dry-run", *arguments))
        assert wheel["grafts"] == []


@pytest.mark.parametrize(("epoch", "date"), [("1600000000", (2020, 9, 13, 12, 26, 40)), ("0", (1980, 1, 1, 0, 0, 0))])
def test_source_date_epoch_dates_all_members(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, epoch: str, date: tuple[int, ...]
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    with zipfile.ZipFile(run(DEMO_WHEEL, "--sysroot", SYSROOT).out.strip()) as archive:
        assert {info.date_time for info in archive.infolist()} == {date}


def test_place_time_zone_mask_and_hash_seed_leave_no_trace(tmp_path: Path) -> None:
    outputs = []
    for number, zone in enumerate(("UTC", "Pacific/Kiritimati")):
        here = tmp_path / zone.replace("/", "_")
        here.mkdir()
        environment = {"TZ": zone, "PYTHONHASHSEED": str(number), "PATH": os.environ["PATH"], "LC_ALL": "C"}
        command = [
            sys.executable,
            "-m",
            "musl_repair",
            str(DEMO_WHEEL),
            "--sysroot",
            str(SYSROOT),
            "-j",
            str(1 + number),
        ]
        subprocess.run(command, check=True, capture_output=True, cwd=here, env=environment, umask=0o77 * number)
        outputs.append((here / "wheelhouse" / REPAIRED).read_bytes())
    assert outputs[0] == outputs[1]


# Wheels without ELF files


def test_pure_wheel_is_refused_and_copied_when_allowed(run: Callable[..., Result], tmp_path: Path) -> None:
    wheel = pure_wheel(tmp_path)
    refused = run(wheel, "--sysroot", SYSROOT)
    assert (refused.code, refused.out, entries(Path())) == (1, "", [])
    assert "--allow-pure-python-wheel" in refused.err
    copied = run(wheel, "--allow-pure-python-wheel")
    assert copied[:2] == (0, f"wheelhouse/{wheel.name}\n")
    assert (Path("wheelhouse") / wheel.name).read_bytes() == wheel.read_bytes()


# Wrong usage, and questions

USELESS: Final = {
    "musl that does not exist": [["--plat", "musllinux_9999_2"], ["--plat", "musllinux_1_99_x86_64"]],
    "is not a platform that": [["--plat", "manylinux_2_28"], ["--plat", f"musllinux_{'1' * 5000}_2"], ["--plat", ""]],
    "means something else to installers": [["-L", ".data"], ["-L", "-x.data"], ["-L", ".dist-info"], ["-L", ".DATA"]],
    "is not the end of a folder's name": [
        *(["-L", suffix] for suffix in ("/..", "..", "/", ".libs/x", ".a:b", ".a\nb", ".$x", "\\x", ".é", ".libs.")),
        ["--lib-sdir", f".{'x' * 64}"],
    ],
    "a folder that an rpath cannot name": [["--exclude-rpath", f"x={folder}"] for folder in ("a:b", "$LIB", "a\nb")],
}
"""What is said → options that are refused before anything is read: the wheel is not there."""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["repair"], "Missing argument", id="no wheel"),
        pytest.param([str(DEMO_WHEEL), "--unheard-of"], "--unheard-of", id="no such option"),
        pytest.param([str(DEMO_WHEEL), "-j", "-1"], "-1", id="less than no jobs"),
        pytest.param([str(DEMO_WHEEL), "-j", "many"], "many", id="jobs that are no number"),
        pytest.param([str(DEMO_WHEEL), "--patchelf", "none"], "none", id="no such patchelf"),
        pytest.param([str(DEMO_WHEEL), "-w"], "requires an argument", id="an option without its argument"),
        *(
            pytest.param(["none.whl", *option], said, id=" ".join(option)[:40])
            for said, options in USELESS.items()
            for option in options
        ),
    ],
)
def test_wrong_usage(run: Callable[..., Result], arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert (result.code, result.out, entries(Path())) == (2, "", [])
    assert said in result.err


@pytest.mark.parametrize("wheel", ["none.whl", "."])
def test_wheel_that_is_not_there_does_not_stop_the_others(run: Callable[..., Result], wheel: str) -> None:
    result = run(wheel, DEMO_WHEEL, "--sysroot", SYSROOT)
    assert result[:2] == (1, f"wheelhouse/{REPAIRED}\n")
    assert result.err.startswith("error: ")
    assert "Traceback" not in result.err


@pytest.mark.parametrize("epoch", ["yesterday", "1.5", "9" * 30])
def test_date_that_is_no_number_is_wrong_usage(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, epoch: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    result = run(DEMO_WHEEL, "--sysroot", SYSROOT)
    assert (result.code, entries(Path())) == (2, [])
    assert "SOURCE_DATE_EPOCH" in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--sysroot", "none"], id="no such sysroot"),
        pytest.param(["--plat", "manylinux_2_28_x86_64"], id="a platform that is not musl"),
        pytest.param(["--plat", "musllinux_1_2_riscv64"], id="the platform of another architecture"),
        pytest.param(["--plat", "musllinux"], id="half a platform"),
        pytest.param(["--patchelf", sys.executable], id="a patchelf that is none"),
    ],
)
def test_what_cannot_be_given_is_an_error(run: Callable[..., Result], arguments: list[str]) -> None:
    options = arguments if "--sysroot" in arguments else [*arguments, "--sysroot", str(SYSROOT)]
    result = run(DEMO_WHEEL, *options)
    assert (result.code in {1, 2}, result.out, entries(Path("wheelhouse"))) == (True, "", [])
    assert result.err
    assert "Traceback" not in result.err


def test_version(run: Callable[..., Result]) -> None:
    assert run("--version") == Result(0, f"musl-repair, version {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["-h"], ["--help"]])
def test_help_names_the_commands(run: Callable[..., Result], arguments: list[str]) -> None:
    result = run(*arguments)
    assert (result.code, result.err) == (0, "")
    assert "repair" in result.out


@pytest.mark.parametrize("arguments", [["repair", "-h"], ["repair", "--help"]])
def test_help_names_every_option(run: Callable[..., Result], arguments: list[str]) -> None:
    result = run(*arguments)
    options = "--wheel-dir --sysroot --plat --ldpaths --exclude --lib-sdir --keep-relr --allow-pure-python-wheel"
    more = "--patchelf --jobs --dry-run --json --verbose"
    assert result.code == 0
    assert [name for name in f"{options} {more}".split() if name not in result.out] == []


def test_no_arguments_show_the_help(run: Callable[..., Result]) -> None:
    result = run()
    assert result.code in {0, 2}
    assert "Usage: musl-repair" in result.out + result.err


def test_a_misspelt_command_is_told_from_a_wheel(run: Callable[..., Result]) -> None:
    result = run("chek", DEMO_WHEEL)
    assert (result.code, result.out) == (2, "")
    assert "no such command: chek; did you mean check?" in result.err


@pytest.mark.process
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full, which is always full")
@pytest.mark.parametrize("command", [["show"], ["show", "--json"], ["check"]], ids=" ".join)
def test_output_that_cannot_be_written_is_an_error(command: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "musl_repair", *command, str(DEMO_WHEEL)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            # As users have it: what is buffered fails only at the end.
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "error: the output: No space left on device")
    assert "Traceback" not in done.stderr
