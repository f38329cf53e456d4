"""Archives: what is read against `zipfile`, what is copied byte by byte, what is refused, and no half-written file."""

from __future__ import annotations

import errno
import io
import os
import struct
import sys
import threading
import zipfile
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final

import pytest

from builders import ARCHITECTURES, END, TESTDATA, TODAY, Entry, block, raw_zip, zip_bytes
from musl_repair import codec
from musl_repair.archive import Archive, Member
from musl_repair.central import Limits
from musl_repair.errors import ArchiveError, MuslRepairError, OutputError
from musl_repair.overlay import Fresh, make_fresh, replace_file, write_archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

WHEELS: Final = tuple(TESTDATA / "wheels" / f"demo-1.0-cp310-abi3-linux_{arch}.whl" for arch in ARCHITECTURES)
FILES: Final[Mapping[str, bytes]] = {
    "pkg/__init__.py": b"answer = 42\n" * 100,
    "pkg/empty": b"",
    "pkg/ünïcode.txt": "Grüße".encode(),
    "pkg/_ext.so": bytes(range(256)) * 50,
}


READERS: Final[Mapping[str, Callable[[Archive, str], bytes]]] = {
    "read whole": lambda archive, name: bytes(archive.read(name)),
    # Each piece is good until the next one is asked for.
    "read in pieces": lambda archive, name: b"".join(map(bytes, archive.chunks(name))),
}


@pytest.fixture(params=list(READERS.values()), ids=list(READERS))
def read(request: pytest.FixtureRequest) -> Callable[[Archive, str], bytes]:
    """Give both ways to read a member."""
    found: Callable[[Archive, str], bytes] = request.param
    return found


@pytest.fixture(params=["libdeflate", "zlib"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the test run with either library that inflates."""
    if request.param == "zlib":
        monkeypatch.setattr(codec, "_libdeflate", None)
    else:
        pytest.importorskip("deflate", reason="libdeflate is not installed")


def opened(folder: Path, data: bytes) -> Archive:
    path = folder / "some.zip"
    path.write_bytes(data)
    return Archive(path)


def copied(source: Archive, entries: Iterable[Member | Fresh] | None = None) -> bytes:
    out = io.BytesIO()
    write_archive(out, source, source.members.values() if entries is None else entries)
    return out.getvalue()


def stored(data: bytes) -> dict[str, bytes]:
    """Return the compressed bytes of each member, by where zipfile says that they are."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = {}
        for info in archive.infolist():
            name_size, extra_size = struct.unpack_from("<HH", data, info.header_offset + 26)
            start = info.header_offset + 30 + name_size + extra_size
            found[info.filename] = data[start : start + info.compress_size]
        return found


def metadata(data: bytes) -> list[tuple[object, ...]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [
            (i.filename, i.CRC, i.file_size, i.compress_size, i.compress_type, i.date_time, i.external_attr)
            for i in archive.infolist()
        ]


# Reading


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("path", WHEELS, ids=lambda path: str(path.name))
def test_zipfile_reads_the_same_in(path: Path, read: Callable[[Archive, str], bytes]) -> None:
    with zipfile.ZipFile(path) as expected, Archive(path) as archive:
        assert expected.namelist() == list(archive.members)
        assert {name: expected.read(name) for name in expected.namelist()} == {
            name: read(archive, name) for name in archive.members
        }
        assert [info.external_attr >> 16 for info in expected.infolist()] == [
            member.mode for member in archive.members.values()
        ]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_the_head_of_a_member_is_its_first_bytes(method: int, tmp_path: Path) -> None:
    with opened(tmp_path, raw_zip(Entry("long", b"0123456789" * 100, method), Entry("empty", b"", method))) as archive:
        assert archive.head("long", 4) == b"0123"
        assert archive.head("long", 25) == b"0123456789012345678901234"
        assert archive.head("empty", 4) == b""


def test_the_head_is_found_behind_any_number_of_blocks_that_are_empty_or_short(tmp_path: Path) -> None:
    """Else an ELF file could be made to look like any other."""
    content = b"\x7fELF and more"
    stream = block(b"") * 1000 + b"".join(block(bytes([byte])) for byte in content) + END
    with opened(tmp_path, raw_zip(Entry("some", content, stored=stream))) as archive:
        assert archive.head("some", 4) == b"\x7fELF"
        assert archive.head("some", 100) == content


def test_folders_are_members_that_say_so(tmp_path: Path) -> None:
    with opened(tmp_path, raw_zip(Entry("pkg/", b"", mode=0o040755), Entry("pkg/file"))) as archive:
        assert {name: member.is_dir for name, member in archive.members.items()} == {"pkg/": True, "pkg/file": False}


def test_names_without_the_utf8_flag_are_read_as_zipfile_reads_them(tmp_path: Path) -> None:
    data = raw_zip(Entry("é".encode("cp437"), b"old", flags=0))
    with zipfile.ZipFile(io.BytesIO(data)) as expected, opened(tmp_path, data) as archive:
        assert expected.namelist() == list(archive.members) == ["é"]
        assert archive.read("é") == b"old"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (b"#!/usr/bin/python\n", b"", "bytes of other data before its first member"),
        (b"", b"more", "there are data behind its end"),
        (b"", zip_bytes({"other": b""}), "bytes of other data before its first member"),
    ],
    ids=["before it", "behind it", "another archive behind it"],
)
def test_an_archive_with_other_data_is_refused(before: bytes, after: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=message):
        opened(tmp_path, before + zip_bytes(FILES) + after)


def end_changed(at: int, *values: int) -> bytes:
    """Return an archive whose end record has other words from that place on."""
    data = bytearray(zip_bytes(FILES))
    struct.pack_into(f"<{len(values)}H" if at < 12 else f"<{len(values)}I", data, len(data) - 22 + at, *values)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (end_changed(8, 3, 3), "counts 3 members, its directory 4"),
        (end_changed(12, 0x7FFFFFFF), "its directory has 2147483647 bytes, more than"),
        (end_changed(12, 0xFFFFFFFF), "its zip64 end record is not before its end record"),
        (end_changed(8, 0xFFFF, 0xFFFF), "its zip64 end record is not before its end record"),
        (b"PK\5\6" + bytes(12) + b"\xff\xff\xff\xff" + bytes(2), "not a usable zip archive"),
        (raw_zip(Entry("a/b"), Entry("a", b"file")), "member 'a/b' lies in 'a', which is a file"),
        (raw_zip(Entry("a"), Entry("a/", b"", mode=0o040755)), "lies in 'a', which is a file"),
    ],
)
def test_an_archive_that_contradicts_itself_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=message):
        opened(tmp_path, data)


def test_an_archive_inflates_to_its_limits_and_not_further(tmp_path: Path) -> None:
    path = tmp_path / "some.zip"
    path.write_bytes(raw_zip(Entry("small", b"x"), Entry("large", bytes(100_000))))
    for limits in (Limits(), Limits(100_001, ratio=1000), Limits(1_600_016, ratio=1)):
        with Archive(path, limits) as archive:
            assert len(archive.members) == 2
    with pytest.raises(ArchiveError, match=r"inflate to 100001 bytes, more than 100000, most of it 'large'"):
        Archive(path, Limits(100_000))
    with pytest.raises(ArchiveError, match=r"inflate to 100001 bytes, \d+ times its own size, most of it 'large'"):
        Archive(path, Limits(1_600_000, ratio=10))


@pytest.mark.parametrize("at", [14, 18, 22], ids=["CRC", "stored size", "size"])
def test_a_member_with_other_sums_in_its_local_header_is_not_read(at: int, tmp_path: Path) -> None:
    data = bytearray(raw_zip(Entry("bad")))
    data[at] ^= 1
    with opened(tmp_path, bytes(data)) as archive, pytest.raises(ArchiveError, match="member bad has another CRC or"):
        archive.read("bad")


def test_a_comment_is_no_other_data(tmp_path: Path) -> None:
    out = io.BytesIO(zip_bytes(FILES))
    with zipfile.ZipFile(out, "a") as commented:
        commented.comment = b"and more"
    with opened(tmp_path, out.getvalue()) as archive:
        assert {name: archive.read(name) for name in archive.members} == FILES


def test_an_empty_archive_has_no_members(tmp_path: Path) -> None:
    with opened(tmp_path, zip_bytes({})) as archive:
        assert archive.members == {}


# Writing


@pytest.mark.parametrize("path", WHEELS, ids=lambda path: str(path.name))
def test_a_copy_has_the_same_compressed_bytes_and_metadata_as(path: Path) -> None:
    with Archive(path) as source:
        new = copied(source)
    assert stored(path.read_bytes()) == stored(new)
    assert metadata(path.read_bytes()) == metadata(new)


class Pipe(io.BytesIO):
    """A file that cannot be sought in: zipfile writes sizes and CRC behind the data then."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation

    tell = seek


def test_a_copy_of_a_streamed_archive_has_the_sizes_in_its_headers(tmp_path: Path) -> None:
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in FILES.items():
            archive.writestr(zipfile.ZipInfo(name, TODAY), content, zipfile.ZIP_DEFLATED)
    with opened(tmp_path, pipe.getvalue()) as source:
        new = copied(source)
    assert stored(pipe.getvalue()) == stored(new)
    with zipfile.ZipFile(io.BytesIO(new)) as read:
        assert read.testzip() is None
        assert {name: read.read(name) for name in read.namelist()} == FILES
        assert {info.flag_bits & 0x8 for info in read.infolist()} == {0}


@pytest.mark.usefixtures("library")
def test_zipfile_reads_fresh_members_among_copied_ones(tmp_path: Path) -> None:
    fresh = make_fresh("pkg/ñew.py", b"new = True\n" * 9, mode=0o100755, date=(2020, 2, 29, 13, 59, 58))
    with opened(tmp_path, zip_bytes(FILES)) as source:
        members = list(source.members.values())
        new = copied(source, [*members[:2], fresh, *members[2:]])
    with zipfile.ZipFile(io.BytesIO(new)) as read:
        assert read.testzip() is None
        assert read.namelist() == [*list(FILES)[:2], "pkg/ñew.py", *list(FILES)[2:]]
        assert read.read("pkg/ñew.py") == b"new = True\n" * 9
        info = read.getinfo("pkg/ñew.py")
        assert (info.external_attr >> 16, info.create_system) == (0o100755, 3)
        assert info.date_time == (2020, 2, 29, 13, 59, 58)


def test_our_own_reader_reads_what_was_written(tmp_path: Path) -> None:
    with opened(tmp_path, zip_bytes(FILES)) as source:
        new = copied(source, [*source.members.values(), make_fresh("more", b"m", mode=0o100644, date=TODAY)])
    with opened(tmp_path, new) as read:
        assert {name: read.read(name) for name in read.members} == {**FILES, "more": b"m"}


def test_a_date_before_the_first_that_zip_has_becomes_that() -> None:
    fresh = make_fresh("old", b"", mode=0o100644, date=(1970, 1, 1, 0, 0, 0))
    out = io.BytesIO()
    # A source is asked only for members of its own.
    with Archive(WHEELS[0]) as source:
        write_archive(out, source, [fresh])
    with zipfile.ZipFile(out) as read:
        assert read.getinfo("old").date_time == (1980, 1, 1, 0, 0, 0)


def test_the_same_entries_make_the_same_bytes(tmp_path: Path) -> None:
    def write() -> bytes:
        with opened(tmp_path, zip_bytes(FILES)) as source:
            fresh = make_fresh("f", b"fresh" * 50, mode=0o100644, date=TODAY)
            return copied(source, [*source.members.values(), fresh])

    first = write()
    assert first == write()
    with opened(tmp_path, first) as again:
        assert first == copied(again)


def test_an_archive_of_more_members_than_16_bits_count_is_read_by_zipfile() -> None:
    out = io.BytesIO()
    names = [f"{number:x}" for number in range(0x10001)]
    one = make_fresh("", b"", mode=0o100644, date=TODAY)
    with Archive(WHEELS[0]) as source:
        write_archive(out, source, (one._replace(name=name) for name in names))
    with zipfile.ZipFile(out) as read:
        assert names == read.namelist()


class Zeros(bytes):
    """Stands for 4 GiB of content without having them."""

    __slots__ = ()

    def __len__(self) -> int:
        return 0x1_0000_0010


def test_members_behind_4_gib_and_of_more_are_read_by_zipfile(tmp_path: Path) -> None:
    """The content is not written, so only the directory can be compared: sizes and places in zip64's fields."""
    out = io.BytesIO()
    large = Fresh("large", 0x1_0000_0020, 0, 8, TODAY, 0o100644, Zeros())
    small = make_fresh("small", b"s", mode=0o100644, date=TODAY)
    with Archive(WHEELS[0]) as source:
        write_archive(out, source, [large, small])
    # The directory believes that 4 GiB precede it: zipfile is shown the file as it would be.
    data = out.getvalue()
    header = len(b"large") + 30 + 20
    path = tmp_path / "large.zip"
    with path.open("wb") as file:
        file.write(data[:header])
        file.seek(header + len(Zeros()))
        file.write(data[header:])
    with zipfile.ZipFile(path) as read:
        found = {info.filename: (info.file_size, info.compress_size, info.header_offset) for info in read.infolist()}
        assert found == {
            "large": (0x1_0000_0020, 0x1_0000_0010, 0),
            "small": (1, len(small.stored), header + 0x1_0000_0010),
        }
        assert read.read("small") == b"s"
    with Archive(path) as archive:
        assert archive.members["large"].stored_size == 0x1_0000_0010
        assert archive.read("small") == b"s"


# Hostile archives

GOOD: Final = Entry("good.txt", b"good")
ZIP64_SIZE: Final = struct.pack("<HHQ", 1, 8, 2**64 - 1)
UNICODE_PATH: Final = struct.pack("<HHBI", 0x7075, 5 + 11, 1, zlib.crc32(b"bad.txt")) + b"../evil.txt"

REFUSED_WHEN_OPENED: Final[Mapping[str, tuple[tuple[Entry, ...], str, str]]] = {
    "an absolute name": ((Entry("/etc/bad"),), "/etc/bad", "absolute name"),
    "a drive letter": ((Entry("C:/bad"),), "C:/bad", "absolute name"),
    "a climbing name": ((Entry("../bad"),), "../bad", "'..' part"),
    "a climbing part inside": ((Entry("pkg/../../bad"),), "pkg/../../bad", "'..' part"),
    "a part that is a dot": ((Entry("pkg/./bad"),), "pkg/./bad", "'.' or '..' part"),
    "an empty part": ((Entry("pkg//bad"),), "pkg//bad", "empty"),
    "an empty name": ((Entry(""),), "''", "empty"),
    "a backslash": ((Entry("pkg\\bad"),), r"pkg\\bad", "backslash"),
    "a NUL": ((Entry("bad\0.txt"),), r"bad\x00.txt", "a control character"),
    "a line end": ((Entry("bad\n"),), r"bad\n", "a control character"),
    "a line end inside": ((Entry("bad\nname"),), r"bad\nname", "a control character"),
    "a tab": ((Entry("bad\tname"),), r"bad\tname", "a control character"),
    "a folder with an escape": ((Entry("bad\x1b/name"),), r"bad\x1b/name", "a control character"),
    "a C1 control": ((Entry("bad\x85name"),), r"bad\x85name", "a control character"),
    "DEL": ((Entry("bad\x7f"),), r"bad\x7f", "a control character"),
    "one name twice": ((Entry("bad"), GOOD, Entry("bad")), "bad", "is there twice"),
    "one name of one letter twice": ((Entry("b"), Entry("b")), "b", "is there twice"),
    "a symbolic link": ((Entry("bad", b"/etc", mode=0o120777),), "bad", "link or a device"),
    "a device": ((Entry("bad", b"", mode=0o020666),), "bad", "link or a device"),
    "a FIFO": ((Entry("bad", b"", mode=0o010644),), "bad", "link or a device"),
    "an encrypted member": ((Entry("bad", flags=1),), "bad", "encrypted"),
    "method 12 (bzip2)": ((Entry("bad", method=12),), "bad", "method 12"),
    "method 14 (LZMA)": ((Entry("bad", method=14),), "bad", "method 14"),
    "method 93 (Zstandard)": ((Entry("bad", method=93),), "bad", "method 93"),
    "members that overlap": ((GOOD, Entry("bad", offset=5)), "bad", "overlaps"),
    "two members at one place": ((GOOD, Entry("bad", offset=0)), "bad", "overlaps"),
    "stored data of another size": ((Entry("bad", method=0, size=99),), "bad", "two sizes"),
    "data in the directory": ((Entry("bad", stored_size=2000),), "bad", "runs into the central directory"),
    "a place behind the end": ((Entry("bad", offset=0x7FFFFFF0),), "bad", "runs into the central directory"),
    "a place that no file can have": (
        (Entry("bad", offset=0xFFFFFFFF, extra=ZIP64_SIZE),),
        "bad",
        "runs into the central directory",
    ),
    "more content than its data can hold": ((Entry("bad", size=0x7FFFFFFF),), "bad", "cannot have the 2147483647"),
    "content that no memory can hold": (
        (Entry("bad", size=0xFFFFFFFF, extra=ZIP64_SIZE),),
        "bad",
        "cannot have the 18446744073709551615",
    ),
}


@pytest.mark.parametrize(("entries", "name", "message"), REFUSED_WHEN_OPENED.values(), ids=list(REFUSED_WHEN_OPENED))
def test_an_archive_is_not_opened_that_has(entries: tuple[Entry, ...], name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError) as caught:
        opened(tmp_path, raw_zip(*entries))
    assert name in str(caught.value)
    assert message in str(caught.value)


REFUSED_WHEN_READ: Final[Mapping[str, tuple[Entry, str]]] = {
    "another name in its local header": (Entry("bad", local_name=b"bid"), "another name in its local header"),
    "a longer name in its local header": (Entry("bad", local_name=b"bad.exe"), "another name in its local header"),
    "another method in its local header": (Entry("bad", local_method=0), "other flags in its local header"),
    "encryption in its local header": (Entry("bad", local_flags=1), "other flags in its local header"),
    "another CRC": (Entry("bad", crc=1), "corrupt"),
    "another CRC, stored": (Entry("bad", method=0, crc=1), "corrupt"),
    "fewer bytes than promised": (Entry("bad", size=8), "corrupt"),
    "more bytes than promised": (Entry("bad", size=6), "corrupt"),
    "data that inflate to much more than promised": (Entry("bad", bytes(10_000_000), size=10), "corrupt"),
    "data that are not deflated": (Entry("bad", stored=b"\xff" * 20), "corrupt"),
    "data that are whole but have no end": (Entry("bad", stored=Entry("bad").data(flush=zlib.Z_SYNC_FLUSH)), "corrupt"),
    "data that stop": (Entry("bad", b"bad" * 400, stored=Entry("bad", b"bad" * 400).data()[:-3]), "corrupt"),
}


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(("entry", "message"), REFUSED_WHEN_READ.values(), ids=list(REFUSED_WHEN_READ))
def test_a_member_is_not_read_that_has(
    entry: Entry, message: str, read: Callable[[Archive, str], bytes], tmp_path: Path
) -> None:
    with opened(tmp_path, raw_zip(GOOD, entry)) as archive:
        assert read(archive, "good.txt") == b"good"
        with pytest.raises(ArchiveError, match=r"member bad ") as caught:
            read(archive, "bad")
    assert message in str(caught.value)


def test_a_long_member_comes_in_pieces_of_which_none_is_long(tmp_path: Path) -> None:
    content = bytes(5_000_000)
    with opened(tmp_path, raw_zip(Entry("zeros", content))) as archive:
        pieces = list(archive.chunks("zeros"))
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= 1 << 20


def test_a_member_of_any_size_comes_whole_in_pieces(tmp_path: Path) -> None:
    """What zlib holds back when it has taken all of the data belongs to the content."""
    for size in (*range(3 * (1 << 14) - 5, 3 * (1 << 14) + 160), *range(200_000, 200_300, 7)):
        with opened(tmp_path, raw_zip(Entry("zeros", bytes(size)))) as archive:
            assert sum(map(len, archive.chunks("zeros"))) == size


def test_a_member_is_copied_where_the_kernel_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems say so, some claim to have copied nothing, some systems do not know the call."""
    content = bytes(range(256)) * 4096

    def refuses(*_arguments: int) -> int:
        raise OSError(errno.EXDEV, "not across file systems")

    for copy in (os.copy_file_range, refuses, lambda *_: 0, None):
        if copy is None:
            monkeypatch.delattr(os, "copy_file_range")
        else:
            monkeypatch.setattr(os, "copy_file_range", copy)
        copied = tmp_path / "copied.zip"
        with opened(tmp_path, raw_zip(GOOD, Entry("large", content, method=0))) as archive, copied.open("wb") as out:
            write_archive(out, archive, archive.members.values())
        with zipfile.ZipFile(copied) as read:
            assert read.testzip() is None
            assert read.read("large") == content


def test_a_member_without_local_header_is_not_read(tmp_path: Path) -> None:
    data = bytearray(raw_zip(Entry("bad")))
    data[:4] = b"NOPE"
    with opened(tmp_path, bytes(data)) as archive, pytest.raises(ArchiveError, match="member bad has no local header"):
        archive.read("bad")


def test_a_member_whose_long_local_header_pushes_it_into_the_directory_is_not_read(tmp_path: Path) -> None:
    data = bytearray(raw_zip(Entry("bad")))
    struct.pack_into("<H", data, 28, 500)  # the size of the local extra field
    with opened(tmp_path, bytes(data)) as archive, pytest.raises(ArchiveError, match="runs into the central directory"):
        archive.read("bad")


def test_the_head_of_a_corrupt_member_is_an_archive_error(tmp_path: Path) -> None:
    with (
        opened(tmp_path, raw_zip(Entry("bad", stored=b"\xff" * 20))) as archive,
        pytest.raises(ArchiveError, match="member bad is corrupt"),
    ):
        archive.head("bad", 4)


def test_a_member_that_zipfile_calls_otherwise_than_its_record_is_refused_or_keeps_its_name(tmp_path: Path) -> None:
    """Newer Pythons take the name from the extra field 0x7075 (Info-ZIP Unicode path), older ones do not."""
    data = raw_zip(Entry("bad.txt", extra=UNICODE_PATH))
    with zipfile.ZipFile(io.BytesIO(data)) as expected:
        name = expected.namelist()[0]
    try:
        with opened(tmp_path, data) as archive:
            assert list(archive.members) == ["bad.txt"] == [name]
    except ArchiveError as error:
        assert name == "../evil.txt"
        assert "is also called '../evil.txt'" in str(error)  # noqa: PT017 - which of the two depends on Python


def test_a_name_that_is_not_the_utf8_that_it_says_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="not a usable zip archive"):
        opened(tmp_path, raw_zip(Entry(b"\xff\xfe", flags=0x800)))


def test_an_archive_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    data = zip_bytes({"pkg/__init__.py": b"x = 1\n", "pkg/_ext.so": b"\x7fELF" * 20})
    for length in range(len(data)):
        with pytest.raises(ArchiveError):
            opened(tmp_path, data[:length])


@pytest.mark.usefixtures("library")
def test_an_archive_with_any_byte_changed_is_read_or_refused(tmp_path: Path) -> None:
    """Whatever is read then has the CRC that zipfile finds right, too."""
    files = {"pkg/__init__.py": b"x = 1\n", "pkg/_ext.so": b"\x7fELF" * 20}
    data = zip_bytes(files)
    refused = 0
    for at in range(len(data)):
        for value in {0, 0xFF, data[at] ^ 1, data[at] ^ 0x80} - {data[at]}:
            changed = data[:at] + bytes([value]) + data[at + 1 :]
            try:
                with opened(tmp_path, changed) as archive:
                    contents = [archive.read(name) for name in archive.members]
            except ArchiveError:
                refused += 1
            else:
                assert set(map(bytes, contents)) <= set(files.values())
    assert refused > len(data)


def test_a_file_that_is_not_there_is_an_archive_error(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="No such file"):
        Archive(tmp_path / "none.whl")


def test_a_folder_is_an_archive_error(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="directory"):
        Archive(tmp_path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts open files in /proc")
def test_an_archive_that_is_refused_is_closed(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a list, not files to look at
    for _ in range(5):
        with pytest.raises(ArchiveError):
            opened(tmp_path, raw_zip(Entry("../bad")))
    assert before == len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - as above


# Replacing a file


class HarmError(Exception):
    """Stands for anything that goes wrong while a file is made."""


def write_new(out: BinaryIO) -> None:
    out.write(b"new")


def accept(_: Path) -> None:
    pass


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_is_replaced_after_it_was_verified_under_another_name(tmp_path: Path) -> None:
    target = tmp_path / "wheel.whl"
    target.write_bytes(b"old")
    seen = {}

    def verify(temporary: Path) -> None:
        seen.update({target.name: target.read_bytes(), "temporary": temporary.read_bytes()})
        assert temporary.parent == target.parent
        assert list(tmp_path.glob("*.whl")) == [target]

    replace_file(target, write_new, verify)
    assert seen == {"wheel.whl": b"old", "temporary": b"new"}
    assert tree(tmp_path) == {"wheel.whl": b"new"}


def test_a_file_is_verified_while_it_gets_onto_the_disk_and_named_after_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "wheel.whl"
    verifying, synced = threading.Event(), threading.Event()
    done = []

    def fsync(_descriptor: int) -> None:
        assert verifying.wait(30)
        done.append("synced" if not target.exists() else "its folder synced")
        synced.set()

    def verify(_path: Path) -> None:
        verifying.set()
        assert synced.wait(30)
        done.append("verified")

    monkeypatch.setattr(os, "fsync", fsync)
    replace_file(target, write_new, verify)
    assert done == ["synced", "verified", "its folder synced"]


def test_the_folder_of_a_file_is_made(tmp_path: Path) -> None:
    replace_file(tmp_path / "a" / "b" / "wheel.whl", write_new, accept)
    assert tree(tmp_path) == {"a/b/wheel.whl": b"new"}


def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "wheel.whl", write_new, accept)
    finally:
        os.umask(before)
    assert (tmp_path / "wheel.whl").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("error", [HarmError, KeyboardInterrupt, ArchiveError], ids=lambda error: str(error.__name__))
@pytest.mark.parametrize("when", ["writing", "verifying"])
def test_after_harm_the_old_file_is_there_and_no_other(when: str, error: type[BaseException], tmp_path: Path) -> None:
    target = tmp_path / "wheel.whl"
    target.write_bytes(b"old")

    def write(out: BinaryIO) -> None:
        out.write(b"half")
        if when == "writing":
            raise error

    def verify(_: Path) -> None:
        raise error

    with pytest.raises(error):
        replace_file(target, write, verify)
    assert tree(tmp_path) == {"wheel.whl": b"old"}


def test_a_full_disk_is_an_output_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "wheel.whl"
    target.write_bytes(b"old")

    def write(out: BinaryIO) -> None:
        out.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"cannot write .*wheel\.whl: No space left on device"):
        replace_file(target, write, accept)
    assert tree(tmp_path) == {"wheel.whl": b"old"}


def test_a_target_that_is_a_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "wheel.whl").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        replace_file(tmp_path / "wheel.whl", write_new, accept)
    assert tree(tmp_path) == {}


def test_a_folder_that_is_a_file_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "folder").write_bytes(b"file")
    with pytest.raises(OutputError, match="cannot write into"):
        replace_file(tmp_path / "folder" / "wheel.whl", write_new, accept)
    assert tree(tmp_path) == {"folder": b"file"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into every folder")
def test_a_folder_without_write_permission_is_an_output_error(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    with pytest.raises(OutputError, match=r"cannot write into .*Permission denied"):
        replace_file(folder / "wheel.whl", write_new, accept)
    assert tree(tmp_path) == {}


def test_errors_of_the_archive_are_errors_of_the_package() -> None:
    assert issubclass(ArchiveError, MuslRepairError)
    assert issubclass(OutputError, MuslRepairError)
