"""The wheel's own rules: its name and tags, what WHEEL and METADATA say, and where a member is installed.

Source: the binary distribution format (PEP 427 and its successors on packaging.python.org), PEP 425, PEP 656.
"""

from __future__ import annotations

from itertools import product
from math import prod
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from packaging.utils import canonicalize_name, canonicalize_version, parse_wheel_filename

from musl_repair.errors import WheelError
from musl_repair.metadata import Headers, read_headers
from musl_repair.record import Record, read_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from musl_repair.archive import Archive

MOUNT: Final = PurePosixPath("/<wheel>")
"""Where the loader finds the wheel: the folder that it is installed into (site-packages)."""

_SIGNATURES: Final = ("RECORD.jws", "RECORD.p7s")
_SCHEMES: Final = frozenset({"platlib", "purelib", "scripts", "data", "headers"})
_MOST_TAGS: Final = 4096
"""Sets that stand for more are not expanded, and none behind so many: no wheel has them."""


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
        return tuple(filter(None, self.platform.split(".")))

    def tags(self) -> tuple[str, ...]:
        """Return all tags that the name stands for (PEP 425, compressed tag sets), in the order of its parts."""
        return tuple(map("-".join, product(self.python.split("."), self.abi.split("."), self.platforms)))


class Wheel(NamedTuple):
    """What an archive says about itself as a wheel."""

    name: WheelName
    dist_info: str
    """The .dist-info folder's name."""
    headers: Headers
    """Those of the WHEEL file."""
    record: Record
    data_folders: tuple[str, ...] = ()
    """Other folders than `data` that pip installs as it does that one; sorted."""
    requires_python: str = ""
    """Of METADATA; "" where it says nothing."""

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

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the WHEEL file, expanded where they are compressed sets, in their order."""
        found: list[str] = []
        for line in self.headers.values("Tag"):
            found += expanded(line) if len(found) < _MOST_TAGS else (line,)
        return tuple(found)

    @property
    def root_is_purelib(self) -> bool:
        """Whether the root of the archive is installed as pure Python; read as pip does."""
        return "".join(self.headers.values("Root-Is-Purelib")[:1]).lower() == "true"

    def install_path(self, name: str) -> PurePosixPath:
        """Return where pip puts a member, as the loader sees it.

        The root of the archive, .data/platlib and .data/purelib all go to site-packages, which is `MOUNT`. The other
        schemes (scripts, data, headers) go elsewhere; where that is relative to site-packages depends on the installer.
        """
        folder, _, inside = name.partition("/")
        scheme, _, rest = inside.partition("/")
        if not rest or (folder != self.data and folder not in self.data_folders):
            return MOUNT / name
        if scheme in ("platlib", "purelib"):
            return MOUNT / rest
        return PurePosixPath(f"/<{scheme}>") / rest


def expanded(tag: str) -> Iterator[str]:
    """Yield the tags that a compressed set stands for (PEP 425); what is none as it is."""
    parts = [part.split(".") for part in tag.split("-")]
    if len(parts) == 3 and prod(map(len, parts)) <= _MOST_TAGS:
        yield from map("-".join, product(*parts))
    else:
        yield tag


def parse_name(filename: str) -> WheelName:
    """Split a wheel's file name. Raises WheelError where it is not one."""
    try:
        parse_wheel_filename(filename)
    except ValueError as error:  # also where a number has more digits than Python reads
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
    headers = read_headers(_text(archive, f"{dist_info}/WHEEL"))
    metadata = read_headers(_text(archive, f"{dist_info}/METADATA"))
    record = read_record(f"{dist_info}/RECORD", _content(archive, f"{dist_info}/RECORD"))
    _check_metadata(name, f"{dist_info}/METADATA", metadata)
    version = headers.values("Wheel-Version")
    if not version or version[0].split(".")[0] != "1":
        raise WheelError(f"{filename}: Wheel-Version {version[0] if version else 'missing'} is not 1.x")
    wheel = Wheel(name, dist_info, headers, record, requires_python=(metadata.values("Requires-Python") or ("",))[0])
    return wheel._replace(data_folders=tuple(sorted(_data_folders(archive.members) - {wheel.data})))


def _dist_info(name: WheelName, archive: Archive) -> str:
    tops = {member.split("/", 1)[0] for member in archive.members if "/" in member}
    found = sorted(top for top in tops if top.endswith(".dist-info"))
    if len(found) != 1:
        what = " and ".join(found) or "none"
        raise WheelError(f"{name}: a wheel has one .dist-info folder; this one has {what}")
    stem = found[0].removesuffix(".dist-info")
    distribution, _, version = stem.partition("-")
    same_name = canonicalize_name(distribution) == canonicalize_name(name.distribution)
    if not same_name or not _same_version(version, name.version):
        raise WheelError(f"{name}: its folder {found[0]} is that of another project or version")
    return found[0]


def _same_version(one: str, other: str) -> bool:
    try:
        return canonicalize_version(one) == canonicalize_version(other)
    except ValueError:  # a number has more digits than Python reads
        return one == other


def _content(archive: Archive, member: str) -> bytes | bytearray:
    if member not in archive.members:
        raise WheelError(f"{archive.path.name} has no {member}")
    return archive.read(member)


def _text(archive: Archive, member: str) -> str:
    try:
        return _content(archive, member).decode("utf-8")
    except UnicodeDecodeError as error:
        raise WheelError(f"{archive.path.name}: {member} is not UTF-8: {error}") from error


def _check_metadata(name: WheelName, member: str, headers: Headers) -> None:
    """See that METADATA is about this project and version: an index, and an installer, go by the file's name."""
    project = (headers.values("Name") or ("",))[0]
    version = (headers.values("Version") or ("",))[0]
    same_name = canonicalize_name(project) == canonicalize_name(name.distribution)
    if not same_name or not _same_version(version, name.version):
        raise WheelError(f"{name}: its {member} is that of {project or 'no project'} {version or 'without version'}")


def _data_folders(members: Iterable[str]) -> set[str]:
    """Return the folders that pip takes for .data: *.data at the top, with nothing in it but known schemes."""
    found: set[str] = set()
    others: set[str] = set()
    for member in members:
        folder, _, inside = member.partition("/")
        if folder.endswith(".data") and inside and not member.endswith("/"):
            scheme, _, rest = inside.partition("/")
            (found if scheme in _SCHEMES and rest else others).add(folder)
    return found - others


def is_plain_name(name: str) -> bool:
    """Whether a file of this name can be a member as it is: it is text that can be seen, and no path of Windows."""
    return name.isprintable() and "\\" not in name


class WheelFile(NamedTuple):
    """The WHEEL file of a new wheel, and what of its changes is more than another tag."""

    text: str
    expands: bool
    """Whether compressed sets of tags come to stand one tag to a line."""
    corrects: bool
    """Whether the tags were others than those of the old file name."""
    leaves_purelib: bool
    """Whether Root-Is-Purelib becomes false."""


def new_wheel_file(wheel: Wheel, name: WheelName, *, platlib: bool) -> WheelFile:
    """Return the WHEEL file for a wheel of this name; platlib: its root is platform specific, whatever WHEEL says.

    The fields of the format come to stand as the specification has them, each tag on a line of its own: installer reads
    no field that is folded, uv none whose name is in another case. All other lines stay as they are.
    """
    old, tags = wheel.headers.values("Tag"), name.tags()
    leaves_purelib = platlib and wheel.root_is_purelib
    pure = wheel.headers.values("Root-Is-Purelib")[:1]
    headers = (
        wheel.headers.replaced("Wheel-Version", wheel.headers.values("Wheel-Version")[:1])
        .replaced("Root-Is-Purelib", ("false",) if leaves_purelib else pure)
        .replaced("Tag", old if sorted(old) == sorted(tags) else tags)
        .replaced("Build", filter(None, (name.build,)))
    )
    same = set(wheel.tags) == set(wheel.name.tags())
    return WheelFile(headers.text, same and set(old) != set(wheel.tags), not same, leaves_purelib)
