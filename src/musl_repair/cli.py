"""The command line program: its commands and exit codes."""

from __future__ import annotations

import contextlib
import os
import sys
from importlib import import_module
from typing import Final

import click

from musl_repair import __version__
from musl_repair.errors import MuslRepairError

_INTERRUPTED = 130
_CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""Commands have it from the group."""
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
        own = {*_HOMES, "-V", "--version", *ctx.help_option_names}
        at = next((index for index, word in enumerate(args) if word.strip("v") != "-" and word != "--verbose"), None)
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


@click.group(cls=_Commands, context_settings=_CONTEXT, no_args_is_help=True)
@click.version_option(__version__, "-V", "--version", prog_name="musl-repair")
@click.option("-v", "--verbose", count=True, help="Tell more; the same as behind the command.")
@click.pass_context
def cli(ctx: click.Context, *, verbose: int) -> None:
    """Turn wheels built on musl Linux into musllinux wheels that load everywhere their tag says.

    "musl-repair WHEEL..." is short for "musl-repair repair WHEEL...", and "musl-repair COMMAND --help" tells of the
    options of a command.
    """
    ctx.obj = verbose


def main(arguments: list[str] | None = None) -> None:
    """Run the program: exit code 0 when done, 1 when a wheel cannot be or is not right, 2 for wrong usage."""
    try:
        code = cli.main(arguments, prog_name="musl-repair", standalone_mode=False)
        sys.stdout.flush()  # while what goes wrong can still be told
    except MuslRepairError as error:
        from musl_repair.cli_options import say
        from musl_repair.report import error_text

        say([error_text(error)])
        code = 1
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except OSError as error:  # of the output, mostly: all that is read or written of a wheel has errors of its own
        if not isinstance(error, BrokenPipeError):  # who reads no further knows it
            click.echo(f"error: {error.filename or 'the output'}: {error.strerror or error}", err=True)
        _drop_output()
        code = 1
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted: what was not finished was not written", err=True)
        code = _INTERRUPTED
    sys.exit(code)


def _drop_output() -> None:
    """Let what could not be written go nowhere: at the end the interpreter would try once more, and exit with 120."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
