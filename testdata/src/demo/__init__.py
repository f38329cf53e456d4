"""The demo package: a number that comes from two shared libraries away."""

from demo._ext import answer, counter

__all__ = ["answer", "counter"]
