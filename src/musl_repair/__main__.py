"""`python -m musl_repair` is the command line program."""

from musl_repair.cli import main

main()
