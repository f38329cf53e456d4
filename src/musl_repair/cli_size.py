"""The command size: what vendored libraries cost, and sharing those that are installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from musl_repair.cli_options import (
    exit_code,
    file_argument,
    guarded,
    json_option,
    max_inflated_option,
    option,
    put_json,
    say,
    say_error,
)
from musl_repair.errors import MuslRepairError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from musl_repair.linking import Linked
    from musl_repair.sizes import Sizes
    from musl_repair.vendored import Holder

_Failures = list[tuple[Path, MuslRepairError]]


@click.command(short_help="Tell what vendored libraries cost.")
@file_argument("sources", "WHEEL|SITE_PACKAGES...")
@option("--link", is_flag=True, help="Make installed files of the same content one file, by hard links.")
@option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a page with a treemap.")
@max_inflated_option
@json_option
def size(
    sources: tuple[Path, ...], *, link: bool, html: Path | None, max_inflated: int, as_json: bool
) -> int:  # fmt: skip
    """Tell what vendored libraries cost, and share installed ones.

    It lists the vendored libraries of WHEELs, or of what is installed in SITE_PACKAGES, finds those that are there more
    than once (as the same file, build or library), and says what an image would save by sharing. A folder of wheels
    stands for them. Only --link changes anything, and it can be repeated and interrupted.
    """
    from musl_repair.console import console_for
    from musl_repair.size_report import linked_lines, print_sizes, sizes_json

    paths = _paths(sources)
    if link and any(not path.is_dir() for path in paths):
        raise click.UsageError("--link is for installed packages; a wheel has its files for itself")
    sizes, failures = _read(paths, max_inflated)
    linked = None
    if link:
        try:
            linked = _link(sizes)
        except KeyboardInterrupt as stop:
            say(["interrupted: what is linked stays linked, the rest is as it was; the same command goes on"])
            return exit_code(stop)
        sizes, failures = _read(paths, max_inflated)
    for _, error in failures:
        say_error(error)
    if html is not None:
        _write_page(html, sizes)
    if as_json:
        put_json(sizes_json(sizes, failures, linked))
    elif sizes.holders:
        print_sizes(sizes, console_for(sys.stdout))
    if linked is not None:
        say(linked_lines(linked))
    return 1 if failures or (linked is not None and any(skipped.failed for skipped in linked.skipped)) else 0


def _paths(sources: Iterable[Path]) -> tuple[Path, ...]:
    """Return each source once; a folder in which wheels stand and no projects is its wheels."""
    from musl_repair.vendored import wheels_in

    paths: dict[Path, Path] = {}
    for source in sources:
        with guarded(source):
            is_shelf = source.is_dir() and not any(source.glob("*.dist-info"))
            for path in (wheels_in(source) if is_shelf else ()) or (source,):
                paths.setdefault(path.resolve(), path)
    return tuple(paths.values())


def _read(paths: Iterable[Path], max_inflated: int) -> tuple[Sizes, _Failures]:
    from musl_repair.central import Limits
    from musl_repair.sizes import measure
    from musl_repair.vendored import read_site_packages, read_wheel_holder

    holders: list[Holder] = []
    failures: _Failures = []
    for path in paths:
        try:
            with guarded(path):
                found = read_site_packages(path) if path.is_dir() else (read_wheel_holder(path, Limits(max_inflated)),)
        except MuslRepairError as error:
            failures.append((path, error))
            continue
        holders += found
    return measure(holders), failures


def _link(sizes: Sizes) -> Linked:
    from musl_repair.linking import link_variants
    from musl_repair.sizes import identical

    return link_variants(identical(sizes))


def _write_page(html: Path, sizes: Sizes) -> None:
    from musl_repair.overlay import replace_file
    from musl_repair.treemap import page

    content = page(sizes).encode()

    def write(out: BinaryIO) -> None:
        out.write(content)

    replace_file(html, write, lambda _: None)
