"""Streams that are inflated piece by piece: whatever they are made of and wherever they are cut, as zlib has them."""

from __future__ import annotations

import hashlib
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import END, block
from musl_repair.codec import inflate_chunks
from musl_repair.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator

NOISE: Final = hashlib.shake_256(b"noise").digest(1 << 19)
"""What cannot be compressed."""


@st.composite
def contents(draw: st.DrawFn) -> list[bytes]:
    """Return pieces of noise, of any size up to that of a block; often one that was there before."""
    sizes = st.one_of(st.integers(0, 300), st.integers(0, 0xFFFF), st.sampled_from([0, 1, 5, 1 << 14, 1 << 15, 0xFFFF]))
    starts = st.one_of(st.just(0), st.integers(0, len(NOISE) - 0xFFFF))
    return [
        NOISE[start : start + size] for start, size in draw(st.lists(st.tuples(starts, sizes), min_size=1, max_size=12))
    ]


def stream(pieces: list[bytes], stored: list[bool]) -> bytes:
    """Return a stream of stored blocks and of compressed ones, which refer to what stands before them."""
    made, out = b"", b""
    for piece, as_it_is in zip(pieces, stored, strict=True):
        if as_it_is:
            out += block(piece)
        else:
            compressor = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=made[-(1 << 15) :])
            out += compressor.compress(piece) + compressor.flush(zlib.Z_SYNC_FLUSH)
        made += piece
    return out + END


def cut(data: bytes, places: list[int]) -> Iterator[memoryview]:
    """Yield data in pieces, each in the same buffer, as they are read from a file."""
    ends = sorted({0, *(place % (len(data) + 1) for place in places), len(data)})
    buffer = memoryview(bytearray(len(data)))
    for start, end in pairwise(ends):
        buffer[: end - start] = data[start:end]
        yield buffer[: end - start]


def inflated(data: bytes, size: int, places: list[int]) -> bytes | None:
    """Return the content of a stream, None where it is refused."""
    try:
        return b"".join(map(bytes, inflate_chunks(cut(data, places), size)))
    except ArchiveError:
        return None


def expected(data: bytes, size: int) -> bytes | None:
    """Return what zlib makes of a stream as a whole."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflater.decompress(data, size + 1)
    except zlib.error:
        return None
    return content if inflater.eof and len(content) == size else None


places = st.lists(st.integers(0, 1 << 20), max_size=6)


@given(data=st.data(), pieces=contents(), places=places)
def test_blocks_of_any_kind_in_any_order(data: st.DataObject, pieces: list[bytes], places: list[int]) -> None:
    stored = data.draw(st.lists(st.booleans(), min_size=len(pieces), max_size=len(pieces)))
    content = b"".join(pieces)
    assert inflated(stream(pieces, stored), len(content), places) == content


@given(pieces=contents(), places=places, at=st.integers(0, 1 << 20), new=st.integers(0, 255), size=st.integers(-2, 2))
def test_broken_ones_are_refused_as_zlib_refuses_them(
    pieces: list[bytes], places: list[int], at: int, new: int, size: int
) -> None:
    data = bytearray(stream(pieces, [index != len(pieces) - 1 for index in range(len(pieces))]))
    data[at % len(data)] = new
    length = max(sum(map(len, pieces)) + size, 1)
    for some in (bytes(data), bytes(data[: at % len(data)])):
        assert inflated(some, length, places) == expected(some, length)


@pytest.mark.parametrize("size", [1, 2, 4, 5, 6, 7, 1 << 14])
def test_headers_may_be_cut_anywhere(size: int) -> None:
    content = NOISE[:40_000]
    data = block(content[:3]) + block(b"") + block(content[3:30_000]) + block(content[30_000:]) + END
    assert inflated(data, len(content), list(range(0, len(data), size))) == content


@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_what_zlib_makes_of_noise(level: int) -> None:
    compressor = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = compressor.compress(NOISE) + compressor.flush()
    assert inflated(data, len(NOISE), []) == NOISE
    assert inflated(data, len(NOISE), list(range(0, len(data), 65_536))) == NOISE
    assert inflated(data, len(NOISE) - 1, []) is None
    assert inflated(data, len(NOISE) + 1, []) is None
    assert inflated(data[:-5], len(NOISE), []) is None


def test_nothing_is_no_stream() -> None:
    assert inflated(b"", 0, []) is None
    assert inflated(END, 0, []) == b""
