"""Deflate, inflate and CRC-32 by the fastest library at hand: libdeflate where it is installed, else zlib.

Source: RFC 1951. Which of the two compressed a file changes its bytes, never its content.
"""

from __future__ import annotations

import zlib
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from musl_repair.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

try:
    _libdeflate: Any = import_module("deflate")
except ImportError:  # there is no wheel of it for this machine
    _libdeflate = None

_BROKEN: Final[tuple[type[Exception], ...]] = (
    (zlib.error,) if _libdeflate is None else (zlib.error, _libdeflate.DeflateError)
)
_PIECE: Final = 1 << 14
"""Bytes. musl's malloc gives larger ones fresh pages from the kernel each time, which takes ten times as long."""

LEVELS: Final = range(10)
"""Compression levels: 0 only stores, 9 is the slowest."""


def compress(content: bytes | bytearray | memoryview, level: int) -> bytes | bytearray:
    """Return the content as a raw deflate stream."""
    if _libdeflate is not None:
        stored: bytes | bytearray = _libdeflate.deflate_compress(content, level)
        return stored
    compressor = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(content) + compressor.flush()


def inflate(stored: bytes, size: int) -> bytes | bytearray:
    """Return the content of a raw deflate stream. Raises ArchiveError where it is broken or has not this size."""
    try:
        if _libdeflate is not None:
            content: bytes | bytearray = _libdeflate.deflate_decompress(stored, size)
        else:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            # One byte more than promised is enough to know that the promise is broken.
            content = inflater.decompress(stored, size + 1)
            if not inflater.eof:
                raise ArchiveError(f"it has another size than the {size} bytes that it promises")
    except _BROKEN as error:
        raise ArchiveError(f"its deflate stream is broken: {error}") from error
    if len(content) != size:
        raise ArchiveError(f"it has another size than the {size} bytes that it promises")
    return content


def inflate_chunks(stored: Iterable[bytes | memoryview], size: int) -> Iterator[bytes]:
    """Yield the content of a raw deflate stream piece by piece, for content that is too large to be held whole.

    Raises ArchiveError where the stream is broken or has not this size.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    left = size
    try:
        for data in _in_pieces(stored):
            piece = b""
            # A whole piece may have more behind it, also where all of the data have been taken.
            while not inflater.eof and (data or len(piece) == _PIECE):
                piece = inflater.decompress(data, _PIECE)
                left -= len(piece)
                if left < 0:
                    raise ArchiveError(f"it is larger than the {size} bytes that it promises")
                yield piece
                data = inflater.unconsumed_tail
    except zlib.error as error:
        raise ArchiveError(f"its deflate stream is broken: {error}") from error
    if left or not inflater.eof:
        raise ArchiveError(f"it has another size than the {size} bytes that it promises")


def _in_pieces(chunks: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    for chunk in chunks:
        view = memoryview(chunk)
        yield from (view[at : at + _PIECE] for at in range(0, len(view), _PIECE))


def crc32(content: bytes | bytearray | memoryview, start: int = 0) -> int:
    """Return the CRC-32 of the content, going on from that of what stands before it."""
    if _libdeflate is not None:
        return int(_libdeflate.crc32(content, start))
    return zlib.crc32(content, start)
