"""What the commands share: how an option is declared, and how things are said."""

from __future__ import annotations

import contextlib
import errno
import re
import signal
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from musl_repair.errors import MuslRepairError, ResourceError, UnforeseenError
from musl_repair.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import PurePosixPath

    from musl_repair.sysroot import Sysroot

_UNITS: Final = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SIZE: Final = re.compile(r"([0-9]{1,20})([KMGT]?)", re.IGNORECASE)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
TRACEBACK: Final = ContextVar("TRACEBACK", default=False)
"""Whether an error that nobody foresaw is shown with where it came from."""


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
    match = _SIZE.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"{text[:40]!r} is not a number of bytes, as 500M or 8G are")
    return int(match[1]) << _UNITS[match[2].upper()]


def library_path(ldpaths: str, sysroot: Sysroot) -> tuple[PurePosixPath, ...]:
    """Return the folders of a list with colons, as the sysroot's loader sees them. Raises SysrootError."""
    folders = [Path(entry) for entry in ldpaths.split(":") if entry]
    with guarded(Path(ldpaths)):
        return tuple(map(sysroot.locate, folders))


def open_sysroot(root: Path) -> Sysroot:
    """Return the target system. Raises SysrootError."""
    from musl_repair.sysroot import Sysroot

    return Sysroot(root)


# All that is printed is printed here, but for tables and trees (console.py). Lines are made printable one by one, so
# that a line end in a name does not begin a new one.


def put(lines: Iterable[str]) -> None:
    """Print lines to stdout: what was asked for."""
    for line in lines:
        click.echo(printable(line, sys.stdout.encoding), file=sys.stdout)


def put_json(value: Any) -> None:
    """Print a JSON value to stdout. Names are in it as they are, but for bytes that are no characters.

    It is ASCII, and in one respect more careful than JSON must be: a CI runner obeys "##[" anywhere in a line.
    """
    import json

    text = json.dumps(_without_surrogates(value), indent=2)
    click.echo(text.replace("##", "#\\u0023"), file=sys.stdout)


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub(lambda found: printable(found[0]), value)
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return [_without_surrogates(item) for item in value] if isinstance(value, list) else value


def say(lines: Iterable[str]) -> None:
    """Print lines to stderr: what there is to say. Where nobody can be told, that is no error."""
    with contextlib.suppress(OSError):
        for line in lines:
            click.echo(printable(line, sys.stderr.encoding), file=sys.stderr)


def annotate(lines: Iterable[str]) -> None:
    """Print commands to a CI runner on stderr; whoever makes them makes printable what they are about."""
    with contextlib.suppress(OSError):
        for line in lines:
            click.echo(line, file=sys.stderr)


# What ends a wheel, or the run


@contextlib.contextmanager
def guarded(wheel: Path) -> Iterator[None]:
    """Raise whatever goes wrong with a wheel as a MuslRepairError, so that the others have their turn."""
    try:
        yield
    except MuslRepairError:
        raise
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise as_error(error) from error
        raise ResourceError(f"{error.filename or wheel}: {error.strerror or error}") from error
    except Exception as error:
        raise as_error(error) from error


def as_error(error: Exception) -> MuslRepairError:
    """Return what is to be said of an exception that has no place of its own."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return ResourceError("there is not enough memory")
    if isinstance(error, (ImportError, SystemError)):
        return ResourceError(f"Python failed, for lack of memory or because the installation is not complete: {error}")
    import traceback  # here and below: seldom needed

    what = "".join(traceback.format_exception_only(error))
    told = UnforeseenError(
        f"this is a bug in musl-repair ({what.strip()}); please report it, with the wheel if you can, "
        "and with what the same command prints with --traceback"
    )
    told.__cause__ = error
    return told


def say_error(error: MuslRepairError) -> None:
    """Print an error in full to stderr."""
    from musl_repair.report import error_lines

    say(error_lines(error))
    if TRACEBACK.get() and isinstance(error, UnforeseenError):
        import traceback

        say(line for text in traceback.format_exception(error.__cause__) for line in text.rstrip("\n").split("\n"))


class Stop(KeyboardInterrupt):
    """A signal that asks the program to end, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        """Keep the signal's number."""
        super().__init__()
        self.number: Final = number


def exit_code(stop: KeyboardInterrupt) -> int:
    """Return the exit code that tells by which signal the program was stopped, as a shell has it."""
    return 128 + (stop.number if isinstance(stop, Stop) else signal.SIGINT)
