"""What package managers wrote down: which package a file is from, of which distribution. Text in, values out.

Source: apk-tools' installed database (apk-v2(5)), dpkg's status and info/*.list (deb-control(5), dpkg-query(1)),
os-release(5).
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_NAME: Final = re.compile(r"[^\W_][\w.+~-]*")
"""Of a package that has files: as deb-control(5) says under Package, and wide enough for apk's."""
_SOURCE: Final = re.compile(r"(\S+)(?:\s+\((\S+)\))?")
"""deb-control(5), Source: a name, and the version in parentheses if it is another than the package's."""


class Package(NamedTuple):
    """One installed package, in the words of its database; license is its licence expression, if that has one."""

    name: str
    version: str
    arch: str = ""
    license: str = ""
    origin: str = ""
    """The source package's name."""
    commit: str = ""
    """Of the recipe that it was built from."""
    url: str = ""
    manager: str = "apk"
    """apk or deb."""


class Distribution(NamedTuple):
    """What a system says that it is: ID and VERSION_ID of os-release, "" where it does not say."""

    id: str = ""
    version: str = ""


def is_name(name: str) -> bool:
    """Whether a package can have a name; folders are called by it."""
    return _NAME.fullmatch(name) is not None


def apk_listing(text: str) -> Callable[[str], Package | None]:
    """Return a function from file (without leading slash) to package; text is apk's database.

    Blocks are separated by blank lines; F: names a folder and R: a file in the folder named last. The text is searched,
    not taken apart: a system has tens of thousands of files, and few are asked for. Of two packages the last counts.
    """
    text = f"\n\n{text}\n\n"

    def owner(file: str) -> Package | None:
        folder, _, name = file.rpartition("/")
        at = len(text)
        while (at := text.rfind(f"\nF:{folder}\n", 0, at)) >= 0:
            blank, other = text.find("\n\n", at), text.find("\nF:", at + 1)
            end = min(blank, other) if other >= 0 else blank
            if f"\nR:{name}\n" in text[at : end + 1]:
                return _apk_package(text[text.rfind("\n\n", 0, at + 1) : text.find("\n\n", at)])
        return None

    return owner


def _apk_package(block: str) -> Package | None:
    fields: dict[str, str] = {}
    for line in block.strip().splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key, value)
    if not is_name(fields.get("P", "")) or "V" not in fields:
        return None
    return Package(
        name=fields["P"],
        version=fields["V"],
        arch=fields.get("A", ""),
        license=fields.get("L", ""),
        origin=fields.get("o", ""),
        commit=fields.get("c", ""),
        url=fields.get("U", ""),
    )


def read_dpkg(status: str) -> dict[str, Package]:
    """Return name of the .list file, without its suffix → package, of all that are installed.

    Packages of which several architectures can be installed have their architecture in that name (libc6:amd64.list).
    """
    packages: dict[str, Package] = {}
    for block in status.split("\n\n"):
        lines = [line.partition(":") for line in block.splitlines() if line[:1].strip()]
        fields = {key.lower(): value.strip() for key, _, value in lines}
        is_installed = is_name(fields.get("package", "")) and fields.get("status", "").endswith(" installed")
        if is_installed and "version" in fields:
            package = _deb_package(fields)
            packages[package.name] = packages[f"{package.name}:{package.arch}"] = package
    return packages


def _deb_package(fields: Mapping[str, str]) -> Package:
    source = _SOURCE.match(fields.get("source", ""))
    return Package(
        name=fields["package"],
        version=fields["version"],
        arch=fields.get("architecture", ""),
        origin=source[1] if source else fields["package"],
        url=fields.get("homepage", ""),
        manager="deb",
    )


def listing(packages: Mapping[str, Package], lists: Iterable[tuple[str, bytes]]) -> Callable[[str], Package | None]:
    """Return a function from file (without leading slash) to package; lists are dpkg's, by name without suffix.

    They are searched, not taken apart: a system has hundreds of thousands of files, and few are asked for.
    """
    known = [(packages[name], b"\n" + content) for name, content in lists if name in packages]

    def owner(file: str) -> Package | None:
        line = f"\n/{file}\n".encode("utf-8", "surrogateescape")
        return next((package for package, content in known if line in content), None)

    return owner


def read_os_release(text: str) -> Distribution:
    """Read os-release: assignments as a shell has them. A line that is none is passed over."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        try:
            fields[key.strip()] = "".join(shlex.split(value)[:1])
        except ValueError:
            continue
    return Distribution(fields.get("ID", ""), fields.get("VERSION_ID", ""))
