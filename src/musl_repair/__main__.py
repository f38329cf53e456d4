"""The program as a process: `musl-repair` and `python -m musl_repair` start here.

What counts for the whole process is set before the rest is imported, which alone makes tens of thousands of objects.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys

_COLLECT_AFTER = 100_000
"""Objects."""


def main() -> None:
    """Run the program and exit."""
    # Little of what it makes is garbage before it ends, and to look for cycles as often as usual takes time.
    gc.set_threshold(_COLLECT_AFTER)
    # At the end the interpreter looks for cycles in all that is left, which goes with the process anyway.
    atexit.register(gc.freeze)
    _open_closed_streams()
    try:
        from musl_repair import cli

        cli.main()
    except (MemoryError, ImportError) as error:  # before there is anything that could say it better
        os.write(2, f"error: musl-repair cannot start: {str(error) or 'there is not enough memory'}\n".encode())
        raise SystemExit(1) from None


def _open_closed_streams() -> None:
    """Put something in the place of standard streams that are closed (`>&-`).

    Else the next file that is opened, a wheel perhaps, takes the descriptor, and gets what is meant for the stream.
    What is written to a closed stdout is an error, as for every program; what is said to a closed stderr is lost.
    """
    for number, name, flags in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        if getattr(sys, name) is None and os.open(os.devnull, flags) == number:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(number, mode, errors="backslashreplace", closefd=False))


if __name__ == "__main__":
    main()
