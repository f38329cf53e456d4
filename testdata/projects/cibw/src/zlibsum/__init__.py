"""Checksums by the libz that the wheel brings."""

from zlibsum._ext import crc32, version

__all__ = ["crc32", "version"]
