"""Turn a wheel built on musl Linux into a musllinux wheel that loads everywhere its tag says."""

__version__ = "0.1.0"
