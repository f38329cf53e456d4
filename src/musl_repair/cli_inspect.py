"""The commands that only look: check, show, abi and lddtree."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from musl_repair.cli_options import (
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
    say_error,
    sysroot_option,
)
from musl_repair.errors import MuslRepairError

if TYPE_CHECKING:
    from pathlib import Path

    from musl_repair.check import Leniency


@click.command(short_help="Judge wheels, whoever made them.")
@file_argument("wheels", "WHEEL...")
@option("--strict", is_flag=True, help="Fail on warnings too.")
@option("--exclude", multiple=True, metavar="PATTERN", help="Libraries of this name come from somewhere else.")
@option("--select", multiple=True, metavar="CODE", help="Only look for these findings.")
@option("--ignore", multiple=True, metavar="CODE", help="Do not look for these findings.")
@max_inflated_option
@json_option
def check(wheels: tuple[Path, ...], **arguments: Any) -> int:
    """Judge WHEELs, whoever made them: whether they load everywhere their tags say.

    Nothing but the wheel is read, nothing of it is run. The exit code is 1 if there is an error.
    """
    from musl_repair import report
    from musl_repair.central import Limits
    from musl_repair.findings import is_failure
    from musl_repair.repair import check_wheel

    leniency, limits = _leniency(arguments), Limits(arguments["max_inflated"])
    results, failed = [], False
    for wheel in wheels:
        try:
            with guarded(wheel):
                judgement = check_wheel(wheel, leniency, limits)
        except MuslRepairError as error:
            results.append(report.failure_json(wheel, error))
            say_error(error)
            failed = True
            continue
        failed |= is_failure(judgement.findings, strict=arguments["strict"])
        results.append(report.judgement_json(wheel.name, judgement))
        if not arguments["as_json"]:
            put(report.judgement_lines(wheel.name, judgement))
    if arguments["as_json"]:
        put_json({"format": report.FORMAT, "wheels": results})
    return 1 if failed else 0


def _leniency(arguments: dict[str, Any]) -> Leniency:
    from musl_repair.check import Leniency
    from musl_repair.findings import RULES

    for code in (*arguments["select"], *arguments["ignore"]):
        if code not in RULES:
            raise click.UsageError(f"there is no finding {code!r}; there are {', '.join(sorted(RULES))}")
    ignored = set(arguments["ignore"])
    if arguments["select"]:
        ignored |= set(RULES) - set(arguments["select"])
    return Leniency(arguments["exclude"], frozenset(ignored))


@click.command(short_help="Show what wheels need: musl, distributions, libraries.")
@file_argument("wheels", "WHEEL...")
@sysroot_option
@platform_option(help="The platform to judge by.")
@ldpaths_option
@option("--exclude", multiple=True, metavar="PATTERN", help="Do not vendor libraries of this name.")
@option("--polyfill", is_flag=True, help="Give the wheel small functions that are newer than the musl of its tag.")
@max_inflated_option
@json_option
def show(wheels: tuple[Path, ...], **arguments: Any) -> int:
    """Show what WHEELs need: musl, distributions, libraries and where they would come from."""
    from musl_repair import report
    from musl_repair.central import Limits
    from musl_repair.console import console_for
    from musl_repair.options import Options
    from musl_repair.plan import make_plan
    from musl_repair.reading import read_wheel_file
    from musl_repair.show import print_plan

    sysroot = open_sysroot(arguments["sysroot"])
    options = Options(
        platform=arguments["plat"],
        exclude=arguments["exclude"],
        polyfill=arguments["polyfill"],
        library_path=library_path(arguments["ldpaths"], sysroot),
        allow_pure=True,
    )
    results, failed = [], False
    for wheel in wheels:
        try:
            with guarded(wheel):
                facts = read_wheel_file(wheel, Limits(arguments["max_inflated"]))
                plan = make_plan(facts, sysroot, options)
        except MuslRepairError as error:
            results.append(report.failure_json(wheel, error))
            say_error(error)
            failed = True
            continue
        results.append(report.plan_json(plan, None))
        if not arguments["as_json"]:
            print_plan(plan, facts, console_for(sys.stdout))
    if arguments["as_json"]:
        put_json({"format": report.FORMAT, "wheels": results})
    return 1 if failed else 0


@click.command(short_help="Tell which musl releases have a symbol.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@json_option
def abi(names: tuple[str, ...], *, as_json: bool) -> int:
    """Tell which musl releases, architectures and distributions have the symbols NAME."""
    from musl_repair.abi_report import symbol_json, symbol_lines

    if as_json:
        put_json({"format": 1, "symbols": [symbol_json(name) for name in names]})
    else:
        put(line for name in names for line in symbol_lines(name))
    return 0


@click.command(short_help="Show what musl's loader would load.")
@file_argument("file", "FILE|WHEEL", several=False)
@sysroot_option
@ldpaths_option
@max_inflated_option
@option("-v", "--verbose", is_flag=True, help="Tell where each library was looked for.")
def lddtree(file: Path, *, sysroot: Path, ldpaths: str, max_inflated: int, verbose: bool) -> int:
    """Show the libraries that musl's loader would load for an ELF FILE, or for each root of a WHEEL.

    A file is looked at in the sysroot, a wheel on a system with nothing but musl. The exit code is 1 if one is missing.
    """
    from musl_repair.central import Limits
    from musl_repair.lddtree import file_tree, tree_lines, wheel_trees
    from musl_repair.reading import read_wheel_file

    root = open_sysroot(sysroot)
    with guarded(file):
        if file.suffix == ".whl":
            trees = wheel_trees(read_wheel_file(file, Limits(max_inflated)))
        else:
            trees = (file_tree(root, root.place(file), library_path(ldpaths, root)),)
    for tree in trees:
        put(tree_lines(tree, verbose=verbose))
    return 1 if any(tree.missing for tree in trees) else 0
