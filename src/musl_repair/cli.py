"""The command line program: its commands and exit codes."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Final, NoReturn

import click

from musl_repair import __version__
from musl_repair.cli_options import TRACEBACK, Stop, as_error, exit_code, say, say_error
from musl_repair.errors import MuslRepairError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME: Final = "musl-repair"
_COMPLETE: Final = "_MUSL_REPAIR_COMPLETE"
_TRACEBACK: Final = "--traceback"
_CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""Commands have it from the group."""
_GLOBAL: Final = ("--verbose", _TRACEBACK)
_HOMES: Final = {
    "abi": "cli_inspect",
    "check": "cli_inspect",
    "lddtree": "cli_inspect",
    "repair": "cli_repair",
    "show": "cli_inspect",
    "size": "cli_size",
}
"""Command → its module, which is imported where the command runs, or is listed: a run has one command."""


class _Commands(click.Group):
    """A group whose command "repair" may be left out."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click passes it
        return sorted(_HOMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click passes it
        if cmd_name not in _HOMES:
            return None
        command: click.Command = getattr(import_module(f"musl_repair.{_HOMES[cmd_name]}"), cmd_name)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            say(ctx.get_help().splitlines())
            ctx.exit(click.UsageError.exit_code)
        if _TRACEBACK in args:  # it may stand behind the command, too
            args = [_TRACEBACK, *(word for word in args if word != _TRACEBACK)]
        own = {*_HOMES, "-V", "--version", *ctx.help_option_names}
        at = next((index for index, word in enumerate(args) if word.strip("v") != "-" and word not in _GLOBAL), None)
        if at is not None and args[at] not in own:
            _refuse_misspelt(args[at])
            args = [*args[:at], "repair", *args[at:]]
        return super().parse_args(ctx, args)


def _refuse_misspelt(word: str) -> None:
    """Raise UsageError for what is neither an option nor a wheel, and nearly the name of a command."""
    if not word.isalpha():
        return
    # Imported here: click has it, but most runs never ask.
    from difflib import get_close_matches

    near = get_close_matches(word, _HOMES, 1)
    if near:
        raise click.UsageError(f"no such command: {word}; did you mean {near[0]}?")


@click.group(cls=_Commands, context_settings=_CONTEXT)
@click.version_option(__version__, "-V", "--version", prog_name=_NAME)
@click.option("-v", "--verbose", count=True, help="Tell more; the same as behind the command.")
@click.option(_TRACEBACK, is_flag=True, expose_value=False, help="Show where an error in musl-repair itself came from.")
@click.pass_context
def cli(ctx: click.Context, *, verbose: int) -> None:
    """Turn wheels built on musl Linux into musllinux wheels that load everywhere their tag says.

    "musl-repair WHEEL..." is short for "musl-repair repair WHEEL...", and "musl-repair COMMAND --help" tells of the
    options of a command.
    """
    ctx.obj = verbose


def main(arguments: list[str] | None = None) -> None:
    """Run the program and exit: with 0 when done, 1 when a wheel cannot be or is not right, 2 for wrong usage.

    Stopped by a signal it exits with 128 and the signal's number.
    """
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        TRACEBACK.set(_TRACEBACK in words or os.environ.get("MUSL_REPAIR_TRACEBACK", "0") not in ("", "0"))
        with _stoppable():
            code = _run(words)
            _drop_output()
    except KeyboardInterrupt as stop:  # once more, or just before or after
        code = exit_code(stop)
    raise SystemExit(code)


def _run(words: list[str]) -> int:
    """Run the program and return its exit code, whatever happens."""
    try:
        code = _invoke(words)
        sys.stdout.flush()  # while what goes wrong can still be told
    except click.exceptions.Exit as end:  # after --help and the like
        return end.exit_code
    except click.ClickException as error:
        _say_usage(error)
        return error.exit_code
    except KeyboardInterrupt as stop:
        say(["", "interrupted: what was not finished was not written"])  # behind the "^C" of a terminal
        return exit_code(stop)
    except MuslRepairError as error:
        say_error(error)
        return 1
    except OSError as error:  # of the output, mostly: what is read or written of a wheel has errors of its own
        if error.errno == errno.ENOMEM:
            say_error(as_error(error))
        elif not isinstance(error, BrokenPipeError):  # who reads no further knows it
            say([f"error: {error.filename or 'the output'}: {error.strerror or error}"])
        return 1
    except Exception as error:  # what nobody foresaw is one sentence, too
        say_error(as_error(error))
        return 1
    return code


def _invoke(words: list[str]) -> int:
    # Not by click's main(), which has answers of its own to interrupts and closed pipes.
    instruction = os.environ.get(_COMPLETE)
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, _NAME, _COMPLETE, instruction)
    with cli.make_context(_NAME, words) as context:
        code: int = cli.invoke(context)
        return code


def _say_usage(error: click.ClickException) -> None:
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        say([*context.get_usage().splitlines(), f"Try '{context.command_path} --help' for help.", ""])
    say([f"Error: {error.format_message()}"])


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the run as Ctrl-C does; not where they are ignored, as under nohup.

    A process has handlers in its main thread only. Where another program has called this one, its own ones stay.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]

    def stop(number: int, _frame: object) -> NoReturn:
        for each in ours:  # asked twice, it would leave what it cleans up
            signal.signal(each, signal.SIG_IGN)
        raise Stop(number)

    try:
        for number in ours:
            signal.signal(number, stop)
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _drop_output() -> None:
    """Let what could not be written go nowhere: at the end the interpreter would try once more, and exit with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
