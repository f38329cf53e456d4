"""The command line program: its commands and exit codes."""

from __future__ import annotations

import gc
import sys

import click

from musl_repair import __version__
from musl_repair.cli_inspect import abi, check, lddtree, show
from musl_repair.cli_options import (
    CONTEXT,
    say,
)
from musl_repair.cli_repair import repair
from musl_repair.cli_size import size
from musl_repair.errors import MuslRepairError

_INTERRUPTED = 130
_COLLECT_AFTER = 100_000
"""Objects."""


class _DefaultsToRepair(click.Group):
    """A group whose command "repair" may be left out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {*self.commands, "-V", "--version", *ctx.help_option_names}
        at = next((index for index, word in enumerate(args) if word.strip("v") != "-" and word != "--verbose"), None)
        if at is not None and args[at] not in own:
            args = [*args[:at], "repair", *args[at:]]
        return super().parse_args(ctx, args)


@click.group(cls=_DefaultsToRepair, context_settings=CONTEXT, no_args_is_help=True)
@click.version_option(__version__, "-V", "--version", prog_name="musl-repair")
@click.option("-v", "--verbose", count=True, help="Tell more; the same as behind the command.")
@click.pass_context
def cli(ctx: click.Context, *, verbose: int) -> None:
    """Turn wheels built on musl Linux into musllinux wheels that load everywhere their tag says.

    "musl-repair WHEEL..." is short for "musl-repair repair WHEEL...".
    """
    ctx.obj = verbose


for _command in (repair, check, show, abi, lddtree, size):
    cli.add_command(_command)


def main(arguments: list[str] | None = None) -> None:
    """Run the program: exit code 0 when done, 1 when a wheel cannot be or is not right, 2 for wrong usage."""
    try:
        # Little of what it makes is garbage before it ends, and to look for cycles as often as usual takes time.
        gc.set_threshold(_COLLECT_AFTER)
        code = cli.main(arguments, prog_name="musl-repair", standalone_mode=False)
    except MuslRepairError as error:
        from musl_repair.report import error_text

        say([error_text(error)])
        code = 1
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say(["interrupted: what was not finished was not written"])
        code = _INTERRUPTED
    sys.exit(code)
