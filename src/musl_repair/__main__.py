"""The program as a process: `musl-repair` and `python -m musl_repair` start here.

What counts for the whole process is set before the rest is imported, which alone makes tens of thousands of objects.
"""

from __future__ import annotations

import atexit
import gc

_COLLECT_AFTER = 100_000
"""Objects."""


def main() -> None:
    """Run the program and exit."""
    # Little of what it makes is garbage before it ends, and to look for cycles as often as usual takes time.
    gc.set_threshold(_COLLECT_AFTER)
    # At the end the interpreter looks for cycles in all that is left, which goes with the process anyway.
    atexit.register(gc.freeze)
    from musl_repair import cli

    cli.main()


if __name__ == "__main__":
    main()
