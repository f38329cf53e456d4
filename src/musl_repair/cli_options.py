"""What the commands share: how an option is declared, and how things are said."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from musl_repair.sysroot import Sysroot

_UNITS: Final = {"K": 10, "M": 20, "G": 30, "T": 40}


def option(*names: str, also: tuple[str, ...] = (), **settings: Any) -> Callable[[Any], Any]:
    """Return a click option that can also be set by MUSL_REPAIR_<NAME>, and by the variables in also."""
    long = next(name for name in names if name.startswith("--"))
    variable = "MUSL_REPAIR_" + long.removeprefix("--").split("/", 1)[0].upper().replace("-", "_")
    declared: Callable[[Any], Any] = click.option(*names, envvar=[variable, *also], **settings)
    return declared


def file_argument(name: str, metavar: str, *, several: bool = True) -> Callable[[Any], Any]:
    """Return an argument that takes one or several files; one that is not there is that file's own error."""
    file = click.Path(path_type=Path, readable=False)
    declared: Callable[[Any], Any] = click.argument(
        name, metavar=metavar, nargs=-1 if several else 1, required=True, type=file
    )
    return declared


sysroot_option = option(
    "--sysroot",
    default="/",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    show_default=True,
    help="The root of the musl system that has the needed libraries.",
)
ldpaths_option = option(
    "--ldpaths",
    default="",
    also=("AUDITWHEEL_LD_LIBRARY_PATH",),
    metavar="DIR:DIR...",
    help="More folders to look for libraries in: of the sysroot, else of this machine.",
)
max_inflated_option = option(
    "--max-inflated",
    default="8G",
    callback=lambda _context, _parameter, text: _size(text),
    metavar="SIZE",
    show_default=True,
    help="Refuse wheels that inflate to more (bytes, or with K, M, G), or to 1/16 of it and 100 times their size.",
)
json_option = option("--json", "as_json", is_flag=True, help="Print JSON.")


def platform_option(**settings: Any) -> Callable[[Any], Any]:
    """Return the option for the platform tag that a wheel is to get."""
    return option(
        "--plat",
        default="auto",
        also=("AUDITWHEEL_PLAT",),
        callback=lambda _context, _parameter, text: _platform(text),
        metavar="TAG",
        **settings,
    )


def _platform(text: str) -> str:
    from musl_repair.errors import PlatformError
    from musl_repair.policy import parse_request

    try:
        parse_request(text)
    except PlatformError as error:
        raise click.BadParameter(str(error)) from None
    return text


def _size(text: str) -> int:
    """Return a number of bytes: digits, and K, M, G or T for a power of 1024."""
    digits, unit = (text[:-1], text[-1:].upper()) if text[-1:].upper() in _UNITS else (text, "")
    if not (digits.isascii() and digits.isdigit()):
        raise click.BadParameter(f"{text!r} is not a number of bytes, as 500M or 8G are")
    return int(digits) << _UNITS.get(unit, 0)


def folders(ldpaths: str) -> list[Path]:
    """Split a list of folders at its colons."""
    return [Path(entry) for entry in ldpaths.split(":") if entry]


def open_sysroot(root: Path) -> Sysroot:
    """Return the target system. Raises SysrootError."""
    from musl_repair.sysroot import Sysroot

    return Sysroot(root)


def plain(text: str) -> str:
    """Return a text that any terminal can print: bytes of a name that are no characters become escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def say(lines: Iterable[str]) -> None:
    """Print lines to stderr."""
    for line in lines:
        click.echo(plain(line), err=True)
