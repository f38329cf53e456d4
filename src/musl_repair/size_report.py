"""What vendored libraries cost, for people and programs: tables and JSON. Only print_sizes prints, with rich."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from musl_repair.report import failure_json
from musl_repair.sizes import library_name, vendored_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from musl_repair.console import SafeConsole
    from musl_repair.errors import MuslRepairError
    from musl_repair.linking import Linked
    from musl_repair.sizes import Build, Library, Savings, Sizes, Variant
    from musl_repair.vendored import Copy, Holder

FORMAT: Final = 1
"""Version of the JSON output, raised as that of report is."""
_ID: Final = 8
"""Digits of a hash that are shown."""


def print_sizes(sizes: Sizes, console: SafeConsole) -> None:
    """Print tables on a terminal, and plain columns where there is none."""
    plain = not console.is_terminal
    tables = [_holder_table(sizes, plain=plain), _library_table(sizes, plain=plain)]
    for table in tables if sizes.libraries else tables[:1]:
        with console.capture() as printed:
            console.print(table)
        console.file.write("".join(f"{line.rstrip()}\n" for line in printed.get().splitlines()) + "\n" * plain)
    for line in total_lines(sizes):
        console.print(escape(line), soft_wrap=True)


def _table(*columns: str, plain: bool) -> Table:
    table = Table(box=None if plain else box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        name = column.strip()
        right = column.startswith(" ")
        table.add_column(name, justify="right" if right else "left", no_wrap=right, overflow="fold")
    return table


def _holder_table(sizes: Sizes, *, plain: bool) -> Table:
    table = _table("wheel", " all files", " vendored", " share", " libraries", " also elsewhere", plain=plain)
    libraries = {copy: library for library in sizes.libraries for copy in library.copies}
    for holder in sizes.holders:
        own = vendored_size(holder)
        elsewhere = sum(copy.size for copy in holder.copies if len(libraries[copy].holders) > 1)
        share = f"{own / holder.size:.0%}" if own else "-"
        count = str(len(holder.copies)) if own else "-"
        table.add_row(
            escape(holder.name), decimal(holder.size), _size(own), share, count, _size(elsewhere)
        )  # fmt: skip
    return table


def _library_table(sizes: Sizes, *, plain: bool) -> Table:
    table = _table(
        "library", " vendored", " same content", " same build", " one version", "build", "in", plain=plain
    )  # fmt: skip
    targets = {library.target for library in sizes.libraries}
    for library in sizes.libraries:
        saved = library.savings
        name = library.name if len(targets) == 1 else f"{library.name} ({library.target})"
        row = [f"[bold]{escape(name)}[/]", decimal(library.size), *map(_size, (saved.content, saved.build))]
        where = escape(_where(library.copies)) if len(library.variants) == 1 else ""
        first = _build(library.builds[0]) if where else ""
        table.add_row(*row, _size(saved.library), first, where)
        if not where:
            for build in library.builds:
                for variant in build.variants:
                    table.add_row(*_variant_row(build, variant))
    return table


def _variant_row(build: Build, variant: Variant) -> tuple[str, ...]:
    times = f" x {len(variant.copies)}" if len(variant.copies) > 1 else ""
    name = f"  {variant.sha256[:_ID]}: {decimal(variant.size)}{times}"
    own = _size(variant.disk - variant.size)
    return (
        name,
        decimal(variant.size * len(variant.copies)),
        own,
        "",
        "",
        _build(build),
        escape(_where(variant.copies)),
    )


def _build(build: Build) -> str:
    return "-" if build.build_id is None else build.build_id[:_ID]


def _where(copies: Iterable[Copy]) -> str:
    """Return who has the copies, each once; wheels without what is the same in most names."""
    return ", ".join(dict.fromkeys(short_name(copy.holder) for copy in copies))


def short_name(holder: str) -> str:
    """Return a wheel's project and version; an installed project as it is."""
    return "-".join(holder.split("-")[:2]) if holder.endswith(".whl") else holder


def _size(number: int) -> str:
    return decimal(number) if number else "-"


def total_lines(sizes: Sizes) -> Iterator[str]:
    """Yield what all of it costs together, and what sharing would save."""
    count = len(sizes.holders)
    wheels = f"{count} {'wheel' if count == 1 else 'wheels'}"
    yield f"{wheels}, {decimal(sizes.size)}, of it {decimal(sizes.vendored)} vendored"
    if sizes.vendored != sizes.disk:
        yield f"hard links save {decimal(sizes.vendored - sizes.disk)} of it already"
    saved = sizes.savings
    if not saved.library:
        yield "no library stands there twice"
        return
    yield "an image with all of them would save"
    yield f"  {decimal(saved.content)} if files of the same content were one file (size --link does that)"
    yield f"  {decimal(saved.build)} if the copies of one build had been edited in the same way, too"
    yield f"  {decimal(saved.library)} if every library stood there in one version only"


def linked_lines(linked: Linked) -> Iterator[str]:
    """Yield what linking did, and what it left."""
    count = len(linked.files)
    yield f"linked {count} {'file' if count == 1 else 'files'}, {decimal(linked.freed)} saved"
    for skipped in linked.skipped:
        yield f"{'error' if skipped.failed else 'note'}: {skipped.file} stays as it is: {skipped.reason}"


def sizes_json(sizes: Sizes, failures: Iterable[tuple[Path, MuslRepairError]], linked: Linked | None) -> dict[str, Any]:
    """Return all of it as JSON values."""
    return {
        "format": FORMAT,
        "wheels": [
            *(_holder_json(holder) for holder in sizes.holders),
            *(failure_json(path, error) for path, error in failures),
        ],
        "libraries": [_library_json(library) for library in sizes.libraries],
        "total": {
            "bytes": sizes.size,
            "vendored": sizes.vendored,
            "on_disk": sizes.disk,
            "savings": _savings_json(sizes.savings),
        },
        "linked": None if linked is None else _linked_json(linked),
    }


def _holder_json(holder: Holder) -> dict[str, Any]:
    return {
        "wheel": holder.name,
        "bytes": holder.size,
        "vendored": vendored_size(holder),
        "files": [
            {"member": copy.member, "library": library_name(copy), "bytes": copy.size, "sha256": copy.sha256}
            for copy in holder.copies
        ],
    }


def _library_json(library: Library) -> dict[str, Any]:
    return {
        "library": library.name,
        "architecture": library.target,
        "vendored": library.size,
        "on_disk": library.disk,
        "wheels": list(library.holders),
        "savings": _savings_json(library.savings),
        "builds": [
            {"build_id": build.build_id, "variants": [_variant_json(variant) for variant in build.variants]}
            for build in library.builds
        ],
    }


def _variant_json(variant: Variant) -> dict[str, Any]:
    return {
        "sha256": variant.sha256,
        "bytes": variant.size,
        "files_on_disk": variant.places,
        "copies": [{"wheel": copy.holder, "member": copy.member} for copy in variant.copies],
    }


def _savings_json(savings: Savings) -> dict[str, int]:
    return {"same_content": savings.content, "same_build": savings.build, "one_version": savings.library}


def _linked_json(linked: Linked) -> dict[str, Any]:
    return {
        "files": [str(file) for file in linked.files],
        "freed": linked.freed,
        "skipped": [
            {"file": str(skipped.file), "reason": skipped.reason, "failed": skipped.failed}
            for skipped in linked.skipped
        ],
    }
