"""Deflate, inflate and CRC-32 by the fastest library at hand: libdeflate where it is installed, else zlib.

Source: RFC 1951. Which of the two compressed a file changes its bytes, never its content.
"""

from __future__ import annotations

import mmap
import struct
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
_CHUNK: Final = 1 << 18
"""Bytes of a stream that are looked at at once. Threads that take less get in each other's way."""
_ROOM: Final = 4 << 20
"""Bytes. libdeflate takes half a MiB for a compressor, and several threads may ask for one at once."""
_WINDOW: Final = 1 << 15
_HEADER: Final = struct.Struct("<BHH")
_LAST_OR_COMPRESSED: Final = 0b111
_MAX16: Final = 0xFFFF

LEVELS: Final = range(10)
"""Compression levels: 0 only stores, 9 is the slowest."""


def compress(content: bytes | bytearray | memoryview, level: int) -> bytes | bytearray:
    """Return the content as a raw deflate stream."""
    if _libdeflate is not None:
        _see_memory()
        stored: bytes | bytearray = _libdeflate.deflate_compress(content, level)
        return stored
    compressor = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(content) + compressor.flush()


def _see_memory() -> None:
    """Raise MemoryError where there is too little for libdeflate, which crashes the process for want of it."""
    try:
        mmap.mmap(-1, _ROOM).close()  # address space alone: it takes a few microseconds
    except OSError as error:
        raise MemoryError from error


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


def inflate_chunks(stored: Iterable[bytes | memoryview], size: int) -> Iterator[bytes | memoryview]:
    """Yield the content of a raw deflate stream piece by piece, for content that is too large to be held whole.

    A piece is good until the next one is asked for, and never empty. Raises ArchiveError where the stream is broken or
    has not this size.
    """
    stream = _Stream()
    left = size
    try:
        for piece in stream.pieces(stored):
            left -= len(piece)
            if left < 0:
                raise ArchiveError(f"it is larger than the {size} bytes that it promises")
            yield piece
    except zlib.error as error:
        raise ArchiveError(f"its deflate stream is broken: {error}") from error
    if left or not stream.ended:
        raise ArchiveError(f"it has another size than the {size} bytes that it promises")


class _Stream:
    """A raw deflate stream that is inflated piece by piece."""

    def __init__(self) -> None:
        self._inflater: Any = None

    @property
    def ended(self) -> bool:
        """Whether its end was there."""
        return self._inflater is not None and self._inflater.eof

    def pieces(self, stored: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        """Yield its content. Raises zlib.error where it is broken."""
        blocks = _StoredBlocks()
        for chunk in stored:
            for data in _parts(memoryview(chunk), _CHUNK):
                if self._inflater is not None:
                    yield from self._inflate(data)
                    continue
                content, rest = blocks.take(data)
                if content:
                    yield content
                if blocks.over:
                    self._inflater = zlib.decompressobj(-zlib.MAX_WBITS, zdict=blocks.window)
                    yield from self._inflate(memoryview(blocks.header + rest))

    def _inflate(self, data: memoryview) -> Iterator[bytes]:
        for part in _parts(data, _PIECE):
            piece = b""
            # A whole piece may have more behind it, also where all of the data have been taken.
            while not self._inflater.eof and (part or len(piece) == _PIECE):
                piece = self._inflater.decompress(part, _PIECE)
                if piece:
                    yield piece
                part = self._inflater.unconsumed_tail


class _StoredBlocks:
    """The stored blocks at the head of a stream: what is compressed already, as images are, mostly consists of them.

    zlib copies their content three times, this once. The last block of a stream, and whatever is not a sound stored
    block, is left to zlib. RFC 1951, 3.2.4: three bits, the rest of their byte, LEN, its complement, LEN bytes.
    """

    def __init__(self) -> None:
        self._out: memoryview | None = None
        self._end = _WINDOW
        self._made = self._left = 0
        self.header = b""
        """As much as was seen of the next block's."""
        self.over = False
        """Whether what follows is no such block."""

    @property
    def window(self) -> bytes:
        """What a later block may refer to (RFC 1951, 2: up to 32 KiB)."""
        return b"" if self._out is None else bytes(self._out[self._end - min(self._made, _WINDOW) : self._end])

    def take(self, data: memoryview) -> tuple[memoryview, memoryview]:
        """Return the content of blocks in the stream's next data, good until the next call, and what follows them.

        data are at least one byte and at most _CHUNK.
        """
        if self._out is None:
            if data[0] & _LAST_OR_COMPRESSED:
                self.over = True
                return data[:0], data
            self._out = memoryview(bytearray(_WINDOW + _CHUNK))
        out, at, end = self._out, 0, _WINDOW
        out[:end] = out[self._end - end : self._end]
        while at < len(data) and not self.over:
            if self._left:
                size = min(self._left, len(data) - at)
                out[end : end + size] = data[at : at + size]
                self._left -= size
                end += size
            else:
                size = min(_HEADER.size - len(self.header), len(data) - at)
                self._begin(data[at : at + size])
            at += size
        self._end = end
        self._made += end - _WINDOW
        return out[_WINDOW:end], data[at:]

    def _begin(self, header: memoryview) -> None:
        """Take some bytes of a block's header."""
        self.header += header
        if self.header[0] & _LAST_OR_COMPRESSED:
            self.over = True
        elif len(self.header) == _HEADER.size:
            _, self._left, complement = _HEADER.unpack(self.header)
            self.over = self._left ^ complement != _MAX16
            self.header = self.header if self.over else b""


def _parts(data: memoryview, size: int) -> Iterator[memoryview]:
    return (data[at : at + size] for at in range(0, len(data), size))


def crc32(content: bytes | bytearray | memoryview, start: int = 0) -> int:
    """Return the CRC-32 of the content, going on from that of what stands before it."""
    if _libdeflate is not None:
        return int(_libdeflate.crc32(content, start))
    return zlib.crc32(content, start)
