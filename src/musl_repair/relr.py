"""DT_RELR: which words of a file its table relocates, and what stands in them.

Source: System V ABI chapter 5, "Relative Relocation Table"; musl 1.2.6 ldso/dynlink.c do_relr_relocs.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from itertools import compress, islice
from operator import le
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair import elfimage as image_
from musl_repair.errors import ElfError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from musl_repair.elfimage import Image

_DIGITS: Final = bytes.maketrans(b"01", b"\0\1")
_JOINED: Final = 1024
"""How many bitmaps are decoded at once: many, as libraries have thousands, but each takes 63 bytes then."""


def has_relr(image: Image) -> bool:
    """Tell whether the file has relocations that musl before 1.2.4 does not apply."""
    return image.tag(image_.DT_RELR) is not None and bool(image.tag(image_.DT_RELRSZ))


def relr_table(image: Image) -> tuple[int, int]:
    """Return address and size of the DT_RELR table."""
    return image.tag(image_.DT_RELR) or 0, image.tag(image_.DT_RELRSZ) or 0


class Run(NamedTuple):
    """Words that stand side by side, and which of them are relocated."""

    vaddr: int
    """Of the first."""
    marks: bytes
    """A byte for each word, up to the last that is relocated: 1 where it is, else 0."""


def relr_runs(image: Image) -> tuple[Run, ...]:
    """Return what the DT_RELR table relocates, in its order; nothing without such a table.

    Raises ElfError for a malformed table.
    """
    if not has_relr(image):
        return ()
    width = image.layout.word.size
    room = sum(s.filesz for s in image.segments if s.type == image_.PT_LOAD) // width
    runs, relocated, marks = [], 0, 0
    for run in _decoded(_relr_words(image), width):
        runs.append(run)
        relocated += run.marks.count(1)
        marks += len(run.marks)
        # A table of nothing but empty bitmaps is no reason either to take more memory than the file.
        if relocated > room or marks > width * room:
            raise ElfError(f"the DT_RELR table relocates more words than the {room} that the file has")
    return tuple(runs)


def relr_addresses(image: Image, runs: Iterable[Run] | None = None) -> array[int]:
    """Return the addresses that the DT_RELR table relocates, in its order; runs are what `relr_runs` returns.

    Raises ElfError for a malformed table, and for an address whose word is not in the file.
    """
    width, addresses = image.layout.word.size, word_array(image)
    try:
        for start, marks in relr_runs(image) if runs is None else runs:
            if len(marks) == 1:  # not rare, and quicker
                addresses.append(start)
            else:
                some = compress(range(start, start + len(marks) * width, width), marks)
                addresses.extend(array(addresses.typecode, list(some)))  # of a list: ten times as quick
    except OverflowError:
        raise ElfError("the DT_RELR table goes beyond the last address") from None
    for _ in _runs(image, addresses):
        pass
    return addresses


def _decoded(words: Iterable[int], width: int) -> Iterator[Run]:
    # gABI: an even entry is the address of one word to relocate. An odd one is a bitmap: its bits above the lowest
    # stand for the 63 (31) words behind what the entry before it covers.
    span = 8 * width - 1
    start, marks = -1, [b""]
    for word in words:
        if not word & 1:
            yield Run(start, b"".join(marks).rstrip(b"\0"))
            start, marks = word, [b"\1"]
        elif start < 0:
            raise ElfError("the DT_RELR table begins with a bitmap, not with an address")
        else:
            if len(marks) > _JOINED:
                joined = b"".join(marks)
                yield Run(start, joined.rstrip(b"\0"))
                start, marks = start + len(joined) * width, []
            marks.append(f"{word >> 1:0{span}b}".encode()[::-1].translate(_DIGITS))
    yield Run(start, b"".join(marks).rstrip(b"\0"))


def _relr_words(image: Image) -> array[int]:
    address, size = relr_table(image)
    width = image.layout.word.size
    entry = image.tag(image_.DT_RELRENT)
    if entry not in (None, width):
        raise ElfError(f"DT_RELRENT is {entry}, not {width}")
    if size % width:
        raise ElfError(f"DT_RELRSZ is {size}, not a multiple of {width}")
    words = word_array(image)
    words.frombytes(image.at(address, size))
    return in_order(image, words)


def word_array(image: Image) -> array[int]:
    """Return an empty array for words of the file's class."""
    return array("Q" if image.layout.bits == 64 else "I")


def in_order(image: Image, words: array[int]) -> array[int]:
    """Return the array, its words turned from the file's byte order into this machine's, or back."""
    if image.layout.little != (sys.byteorder == "little"):
        words.byteswap()
    return words


def _runs(image: Image, addresses: array[int]) -> Iterator[tuple[array[int], int]]:
    """Yield the addresses in runs that lie in one segment, and how far from an address its file offset is.

    Raises ElfError for the first address whose word the file does not have.
    """
    width, at = image.layout.word.size, 0
    # As tables have them. In others a run ends where an address is in another segment.
    ordered = all(map(le, addresses, islice(addresses, 1, None)))
    while at < len(addresses):
        segment = next((s for s in image.segments if _holds(s, addresses[at], width)), None)
        if segment is None:
            raise ElfError(f"DT_RELR relocates address {addresses[at]:#x}, which is not in the file")
        last = segment.vaddr + segment.filesz - width
        end = bisect_right(addresses, last, at) if ordered else at + 1
        while not ordered and end < len(addresses) and segment.vaddr <= addresses[end] <= last:
            end += 1
        yield addresses[at:end], segment.offset - segment.vaddr
        at = end


def _holds(segment: image_.Segment, address: int, size: int) -> bool:
    return segment.type == image_.PT_LOAD and 0 <= address - segment.vaddr <= segment.filesz - size


def relr_words(image: Image, runs: Iterable[Run]) -> array[int]:
    """Return the words that runs relocate. Raises ElfError for the first one that the file does not have."""
    width, found = image.layout.word.size, word_array(image)
    for start, marks in runs:
        words = word_array(image)
        try:
            words.frombytes(image.at(start, len(marks) * width))
            found.extend(array(found.typecode, list(compress(in_order(image, words), marks))))
        except ElfError:  # not all in one segment; those that count may be
            places = compress(range(start, start + len(marks) * width, width), marks)
            found.extend(image.layout.word.unpack(image.at(place, width))[0] for place in places)
    return found
