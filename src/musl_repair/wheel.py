"""The wheel's own rules: its name and tags, WHEEL, RECORD, and where a member is installed.

Source: the binary distribution format (PEP 427 and its successors on packaging.python.org), PEP 425, PEP 656.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import itertools
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from packaging.utils import (
    InvalidName,
    InvalidWheelFilename,
    canonicalize_name,
    canonicalize_version,
    parse_wheel_filename,
)

from musl_repair.errors import WheelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from musl_repair.archive import Archive

MOUNT: Final = PurePosixPath("/<wheel>")
"""Where the loader finds the wheel: the folder that it is installed into (site-packages)."""

_SIGNATURES: Final = ("RECORD.jws", "RECORD.p7s")
_HASHES: Final = frozenset(hashlib.algorithms_guaranteed - {"md5", "sha1", "shake_128", "shake_256"})
"""What every Python has, without the weak ones and those of no fixed length."""


class WheelName(NamedTuple):
    """A wheel's file name in parts, each as it was spelled; build is "" where there is none."""

    distribution: str
    version: str
    build: str
    python: str
    abi: str
    platform: str

    def __str__(self) -> str:
        """Return the file name."""
        build = (self.build,) if self.build else ()
        parts = (self.distribution, self.version, *build, self.python, self.abi, self.platform)
        return "-".join(parts) + ".whl"

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platform tags of the compressed set, in their order."""
        return tuple(self.platform.split("."))

    def tags(self) -> tuple[str, ...]:
        """Return all tags that the name stands for (PEP 425, compressed tag sets), in the order of its parts."""
        return tuple(
            f"{python}-{abi}-{platform}"
            for python in self.python.split(".")
            for abi in self.abi.split(".")
            for platform in self.platforms
        )


class Row(NamedTuple):
    """One line of RECORD; hash and size are "" for RECORD itself."""

    path: str
    hash: str
    size: str


class Wheel(NamedTuple):
    """What an archive says about itself as a wheel."""

    name: WheelName
    dist_info: str
    """The .dist-info folder's name."""
    metadata: str
    """The text of the WHEEL file."""
    record: tuple[Row, ...]

    @property
    def data(self) -> str:
        """The name that the .data folder has, whether there is one or not."""
        return self.dist_info.removesuffix(".dist-info") + ".data"

    @property
    def record_name(self) -> str:
        """The archive name of RECORD."""
        return f"{self.dist_info}/RECORD"

    @property
    def signatures(self) -> tuple[str, ...]:
        """The archive names of RECORD's signatures, which a new RECORD makes void."""
        return tuple(f"{self.dist_info}/{name}" for name in _SIGNATURES)

    def field(self, key: str) -> tuple[str, ...]:
        """Return the values of a field of the WHEEL file, in order."""
        prefix = key.lower() + ":"
        lines = self.metadata.splitlines()
        return tuple(line[len(prefix) :].strip() for line in lines if line.lower().startswith(prefix))


def parse_name(filename: str) -> WheelName:
    """Split a wheel's file name. Raises WheelError where it is not one."""
    try:
        parse_wheel_filename(filename)
    except (InvalidWheelFilename, InvalidName) as error:
        raise WheelError(f"{filename} is not the name of a wheel: {error}") from error
    parts = filename.removesuffix(".whl").split("-")
    if any("/" in part or not part for part in parts):
        raise WheelError(f"{filename} is not the name of a wheel")
    build = parts[2] if len(parts) == 6 else ""
    return WheelName(parts[0], parts[1], build, *parts[-3:])


def read_wheel(filename: str, archive: Archive) -> Wheel:
    """Read the dist-info of a wheel. Raises WheelError for what is missing, doubled or malformed."""
    name = parse_name(filename)
    dist_info = _dist_info(name, archive)
    metadata = _text(archive, f"{dist_info}/WHEEL")
    wheel = Wheel(name, dist_info, metadata, _rows(filename, _text(archive, f"{dist_info}/RECORD")))
    _check_metadata(name, f"{dist_info}/METADATA", _text(archive, f"{dist_info}/METADATA"))
    version = wheel.field("Wheel-Version")
    if not version or version[0].split(".")[0] != "1":
        raise WheelError(f"{filename}: Wheel-Version {version[0] if version else 'missing'} is not 1.x")
    return wheel


def _dist_info(name: WheelName, archive: Archive) -> str:
    tops = {member.split("/", 1)[0] for member in archive.members if "/" in member}
    found = sorted(top for top in tops if top.endswith(".dist-info"))
    if len(found) != 1:
        what = " and ".join(found) or "none"
        raise WheelError(f"{name}: a wheel has one .dist-info folder; this one has {what}")
    stem = found[0].removesuffix(".dist-info")
    distribution, _, version = stem.partition("-")
    same_name = canonicalize_name(distribution) == canonicalize_name(name.distribution)
    if not same_name or canonicalize_version(version) != canonicalize_version(name.version):
        raise WheelError(f"{name}: its folder {found[0]} is that of another project or version")
    return found[0]


def _text(archive: Archive, member: str) -> str:
    if member not in archive.members:
        raise WheelError(f"{archive.path.name} has no {member}")
    try:
        return archive.read(member).decode("utf-8")
    except UnicodeDecodeError as error:
        raise WheelError(f"{archive.path.name}: {member} is not UTF-8: {error}") from error


def _check_metadata(name: WheelName, member: str, text: str) -> None:
    """See that METADATA is about this project and version: an index, and an installer, go by the file's name."""
    lines = itertools.takewhile(str.strip, text.splitlines())
    fields = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    project, version = fields.get("name", ""), fields.get("version", "")
    same_name = canonicalize_name(project) == canonicalize_name(name.distribution)
    if not same_name or canonicalize_version(version) != canonicalize_version(name.version):
        raise WheelError(f"{name}: its {member} is that of {project or 'no project'} {version or 'without version'}")


def _rows(filename: str, text: str) -> tuple[Row, ...]:
    try:
        rows = [Row(*fields) for fields in csv.reader(io.StringIO(text)) if fields]
    except (csv.Error, TypeError) as error:
        raise WheelError(f"{filename}: RECORD has a line that is not path,hash,size: {error}") from error
    return tuple(rows)


def install_path(wheel_data: str, name: str) -> PurePosixPath:
    """Return where an installer puts a member, as the loader sees it.

    The root of the archive, .data/platlib and .data/purelib all go to site-packages, which is `MOUNT`. The other
    schemes (scripts, data, headers) go elsewhere; where that is relative to site-packages depends on the installer.
    """
    scheme, _, rest = name.removeprefix(wheel_data + "/").partition("/")
    if not name.startswith(wheel_data + "/") or not rest:
        return MOUNT / name
    if scheme in ("platlib", "purelib"):
        return MOUNT / rest
    return PurePosixPath(f"/<{scheme}>") / rest


def is_plain_name(name: str) -> bool:
    """Whether a file of this name can be a member as it is: it is text that can be seen, and no path of Windows."""
    return name.isprintable() and "\\" not in name


def retagged_metadata(metadata: str, name: WheelName) -> str:
    """Return the WHEEL text with the tags of this name in place of its own; other lines stay as they are."""
    lines = metadata.splitlines()
    places = [index for index, line in enumerate(lines) if line.lower().startswith("tag:")]
    kept = [line for line in lines if not line.lower().startswith("tag:") and line.strip()]
    at = places[0] if places else len(kept)
    build = [f"Build: {name.build}"] if name.build and not _has(kept, "build:") else []
    return "\n".join([*kept[:at], *(f"Tag: {tag}" for tag in name.tags()), *build, *kept[at:]]) + "\n"


def _has(lines: list[str], prefix: str) -> bool:
    return any(line.lower().startswith(prefix) for line in lines)


def digest_field(algorithm: str, digest: bytes) -> str:
    """Return the hash field of RECORD: algorithm=digest, urlsafe base64 without padding."""
    return f"{algorithm}={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def record_row(name: str, content: bytes | bytearray | memoryview) -> Row:
    """Return the row of RECORD for a file with this content."""
    return Row(name, digest_field("sha256", hashlib.sha256(content).digest()), str(len(content)))


def sha256_of(row: Row) -> str:
    """Return the SHA-256 of a row that has one, in hex."""
    digest = row.hash.removeprefix("sha256=")
    return base64.urlsafe_b64decode(digest + "=" * (-len(digest) % 4)).hex()


def hash_fault(row: Row) -> str | None:
    """Tell what is wrong with a row's kind of hash, or None where it can be compared."""
    algorithm = row.hash.partition("=")[0]
    if not row.hash:
        return "RECORD has no hash for it"
    if algorithm not in _HASHES:
        return f"RECORD has a hash of kind {algorithm!r}, which wheels may not use"
    return None


def size_fault(row: Row, size: int) -> str | None:
    """Tell what is wrong with a row's size (which it need not have), or None."""
    return f"RECORD says {row.size} bytes, the file has {size}" if row.size not in ("", str(size)) else None


def new_record(wheel: Wheel, kept: Iterable[str], fresh: Mapping[str, Row]) -> str:
    """Return the text of RECORD for the members of a new wheel.

    kept are the members whose rows stand as they are, fresh the rows of changed and added ones. Rows keep their
    order, new ones follow sorted, and RECORD itself is last.
    """
    present = set(kept)
    rows = [fresh.get(row.path, row) for row in wheel.record if row.path in present or row.path in fresh]
    listed = {row.path for row in rows}
    rows += [row for path, row in sorted(fresh.items()) if path not in listed]
    rows = [row for row in rows if row.path != wheel.record_name]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([*rows, Row(wheel.record_name, "", "")])
    return out.getvalue()
