"""What package managers wrote down, apk apart, which test_sysroot.py has; and where a system keeps licences."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

import pytest

from musl_repair.packages import Distribution, Package, apk_listing, read_dpkg, read_os_release
from musl_repair.sysroot import Sysroot

if TYPE_CHECKING:
    from pathlib import Path

STATUS: Final = """\
Package: zlib1g
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Source: zlib
Version: 1:1.2.13.dfsg-1
Homepage: http://zlib.net/
Description: compression library
 Homepage: https://not-this-one.example/
 .

Package: libgcc-s1
Status: hold ok installed
Architecture: amd64
Source: gcc-12 (12.2.0-14)
Version: 12.2.0-14+deb12u1

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: mid
Status: install ok installed
Architecture: all
Version: 2
"""
ZLIB: Final = Package("zlib1g", "1:1.2.13.dfsg-1", "amd64", origin="zlib", url="http://zlib.net/", manager="deb")
LISTS: Final = {
    "zlib1g:amd64": "/.\n/lib\n/lib/x86_64-linux-gnu\n/lib/x86_64-linux-gnu/libz.so.1.2.13\n",
    "gone": "/usr/lib/libgone.so\n",
    "mid": "/usr/lib/libmid.so.2\n/usr/lib/libmid.so.2.1\n",
    "unknown": "/usr/lib/libunknown.so\n",
}


@pytest.fixture
def debian(tmp_path: Path) -> Sysroot:
    """Return a Debian whose /lib is a link to /usr/lib, while zlib was packed for the /lib of old."""
    info = tmp_path / "var" / "lib" / "dpkg" / "info"
    info.mkdir(parents=True)
    (info.parent / "status").write_text(STATUS)
    for name, text in LISTS.items():
        (info / f"{name}.list").write_text(text)
    (info / "zlib1g:amd64.md5sums").write_text("/usr/lib/libmid.so.2\n")
    folder = tmp_path / "usr" / "lib" / "x86_64-linux-gnu"
    folder.mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    (folder / "libz.so.1.2.13").touch()
    (folder / "libz.so.1").symlink_to("libz.so.1.2.13")
    return Sysroot(tmp_path)


def test_packages_of_dpkg_by_the_names_of_their_lists() -> None:
    packages = read_dpkg(STATUS)
    assert set(packages) == {"zlib1g", "zlib1g:amd64", "libgcc-s1", "libgcc-s1:amd64", "mid", "mid:all"}
    assert packages["zlib1g:amd64"] == ZLIB
    assert packages["libgcc-s1"].origin == "gcc-12"
    assert packages["mid"].origin == "mid"


@pytest.mark.parametrize("name", ["", "/", ".", "..", "a/b", " ", "a b", "\0"])
def test_an_entry_without_a_package_s_name_owns_nothing(name: str) -> None:
    assert apk_listing(f"P:{name}\nV:1-r0\nF:lib\nR:libx.so\n")("lib/libx.so") is None
    assert read_dpkg(f"Package: {name}\nVersion: 1\nStatus: install ok installed\n") == {}


@pytest.mark.parametrize("folder", ["/lib", "/usr/lib"])
@pytest.mark.parametrize("name", ["libz.so.1", "libz.so.1.2.13"])
def test_owner_by_dpkg_where_lib_moved_to_usr(folder: str, name: str, debian: Sysroot) -> None:
    assert debian.owner(PurePosixPath(folder, "x86_64-linux-gnu", name)) == ZLIB


@pytest.mark.parametrize(
    ("name", "owner"), [("libmid.so.2", "mid"), ("libmid.so", None), ("libgone.so", None), ("libunknown.so", None)]
)
def test_dpkg_owns_whole_names_of_what_is_installed(name: str, owner: str | None, debian: Sysroot) -> None:
    found = debian.owner(PurePosixPath("/usr/lib", name))
    assert (found and found.name) == owner


def test_apk_comes_first_and_no_database_owns_nothing(debian: Sysroot, tmp_path: Path) -> None:
    (tmp_path / "usr" / "lib" / "apk" / "db").mkdir(parents=True)
    (tmp_path / "usr" / "lib" / "apk" / "db" / "installed").write_text("P:one\nV:1\nF:usr/lib\nR:libmid.so.2\n\n")
    assert Sysroot(tmp_path).owner(PurePosixPath("/usr/lib/libmid.so.2")) == Package("one", "1")
    assert debian.owner(PurePosixPath("/usr/lib/libmid.so.2")) == Package("one", "1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.23.6\n', Distribution("alpine", "3.23.6")),
        ("ID='debian'\nVERSION_ID=\"12\" # a remark\n", Distribution("debian", "12")),
        ('# ID=no\n\nID=arch\nVERSION_ID="unclosed\n', Distribution("arch", "")),
        ("ID=\nVERSION_ID", Distribution()),
        ("", Distribution()),
    ],
)
def test_os_release(text: str, expected: Distribution) -> None:
    assert read_os_release(text) == expected


def test_a_system_says_what_it_is_in_either_place(tmp_path: Path) -> None:
    assert Sysroot(tmp_path).distribution() == Distribution()
    (tmp_path / "usr" / "lib").mkdir(parents=True)
    (tmp_path / "usr" / "lib" / "os-release").write_text("ID=one\n")
    assert Sysroot(tmp_path).distribution() == Distribution("one")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "os-release").symlink_to("/usr/lib/os-release")
    assert Sysroot(tmp_path).distribution() == Distribution("one")


def texts(root: Path, name: str, origin: str = "") -> list[str]:
    return [str(path) for path in Sysroot(root).license_texts(Package(name, "1", origin=origin))]


def test_licences_of_a_package_or_else_of_its_source_package(tmp_path: Path) -> None:
    share = tmp_path / "usr" / "share"
    for name in ("licenses/krb5/LICENSE", "licenses/krb5/deep/NOTICE", "doc/zlib1g/copyright", "doc/zlib1g/changelog"):
        (share / name).parent.mkdir(parents=True, exist_ok=True)
        (share / name).touch()
    (share / "doc" / "zlib1g-dev").symlink_to("zlib1g")
    (share / "licenses" / "krb5" / "COPYING").symlink_to("/usr/share/licenses/krb5/LICENSE")
    (share / "licenses" / "krb5" / "BROKEN").symlink_to("nowhere")
    krb5 = ["/usr/share/licenses/krb5/COPYING", "/usr/share/licenses/krb5/LICENSE"]
    assert texts(tmp_path, "krb5") == texts(tmp_path, "krb5-libs", "krb5") == krb5
    assert texts(tmp_path, "zlib1g", "zlib") == ["/usr/share/doc/zlib1g/copyright"]
    assert texts(tmp_path, "zlib1g-dev") == ["/usr/share/doc/zlib1g-dev/copyright"]
    assert texts(tmp_path, "krb5-libs", "nobody") == []


@pytest.mark.parametrize("name", ["", ".", "..", "../../etc", "/etc"])
def test_a_name_that_is_no_folder_has_no_licences(name: str, tmp_path: Path) -> None:
    for folder in ("etc", "usr/share/licenses", "usr/share/doc"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "copyright").touch()
    assert texts(tmp_path, name, name) == []
