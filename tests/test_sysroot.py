"""Target roots: no link leads out of one, and what lies there is said as musl would meet it."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path, PurePosixPath
from typing import Final

import pytest

from builders import ARCHITECTURES, SYSROOTS, TESTDATA
from musl_repair.elf import Elf, read_elf
from musl_repair.errors import SysrootError
from musl_repair.packages import Package
from musl_repair.sysroot import DEFAULT_PATH, HOST, Sysroot, Unusable

LIBRARY: Final = (TESTDATA / "x86_64" / "libmid.so.2").read_bytes()
OTHER: Final = (TESTDATA / "x86_64" / "libleaf.so.1").read_bytes()
MUSL_ARCH: Final = {"armv7l": "armhf", "i686": "i386", "ppc64le": "powerpc64le"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a root with /lib, /usr/lib and /opt; beside it is a folder with a library that it must not reach."""
    found = tmp_path / "root"
    for folder in ("lib", "usr/lib", "opt"):
        (found / folder).mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "libout.so").write_bytes(OTHER)
    return found


def file(root: Path, path: str, content: bytes = LIBRARY) -> None:
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)


def link(root: Path, path: str, target: str | Path) -> None:
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def read(root: Path, path: str) -> Elf | Unusable | None:
    return Sysroot(root).read(PurePosixPath(path))


# Links


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_links_of_the_demo_sysroot_lead_to_their_files_in(arch: str) -> None:
    root = SYSROOTS / arch
    sysroot = Sysroot(root)
    ends = {
        "/usr/lib/libleaf.so.1": "/lib/libleaf.so.1.0.0",
        "/usr/lib/libmid.so.2": "/usr/lib/libmid.so.2.1.0",
        "/usr/lib/libabs.so.1": "/usr/lib/real/libabs.so.1.0",
    }
    for name, end in ends.items():
        path, real = PurePosixPath(name), PurePosixPath(end)
        content = (root / end.lstrip("/")).read_bytes()
        assert real == sysroot.real(path)
        assert root / end.lstrip("/") == sysroot.file(path)
        assert read_elf(content) == sysroot.read(path)
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (sysroot.digest(path), sysroot.size(path))


def test_facts_and_digest_are_of_the_same_bytes_whatever_becomes_of_the_file(root: Path) -> None:
    file(root, "/usr/lib/libx.so")
    link(root, "/usr/lib/libx.so.1", "libx.so")
    sysroot = Sysroot(root)
    assert sysroot.read(PurePosixPath("/usr/lib/libx.so")) == read_elf(LIBRARY)
    file(root, "/usr/lib/libx.so", OTHER)
    assert sysroot.digest(PurePosixPath("/usr/lib/libx.so.1")) == hashlib.sha256(LIBRARY).hexdigest()


LINKS: Final = {
    "an absolute link": ("/opt/lib.so", "/usr/lib/libx.so"),
    "an absolute link with two slashes": ("/opt/lib.so", "//usr/lib/libx.so"),
    "an absolute link with three slashes": ("/opt/lib.so", "///usr//lib/./libx.so"),
    "a relative link": ("/opt/lib.so", "../usr/lib/libx.so"),
    "a link that climbs above the root": ("/opt/lib.so", "../../../../usr/lib/libx.so"),
    "an absolute link that climbs above the root": ("/opt/lib.so", "/../../usr/lib/libx.so"),
    "a link to a folder, absolute": ("/opt", "/usr/lib"),
    "a link to a folder, relative": ("/opt", "usr/lib"),
    "a link to a folder that climbs": ("/opt", "../../usr/lib"),
}


@pytest.mark.parametrize(("name", "target"), LINKS.values(), ids=list(LINKS))
def test_the_kernel_and_we_resolve(name: str, target: str, root: Path) -> None:
    """What chroot(2) does is stated by hand: inside the root / is the root, and its parent is itself."""
    file(root, "/usr/lib/libx.so")
    if name == "/opt":
        (root / "opt").rmdir()
    link(root, name, target)
    path = PurePosixPath("/opt/libx.so" if name == "/opt" else name)
    sysroot = Sysroot(root)
    assert sysroot.real(path) == PurePosixPath("/usr/lib/libx.so")
    assert str(sysroot.real(path)) == "/usr/lib/libx.so"
    assert sysroot.read(path) == read_elf(LIBRARY)
    assert sysroot.file(path) == root / "usr/lib/libx.so"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may chroot")
@pytest.mark.parametrize(("name", "target"), LINKS.values(), ids=list(LINKS))
def test_a_chroot_resolves_as_stated(name: str, target: str, root: Path) -> None:
    file(root, "/usr/lib/libx.so")
    if name == "/opt":
        (root / "opt").rmdir()
    link(root, name, target)
    path = "/opt/libx.so" if name == "/opt" else name
    assert Sysroot(root).content(PurePosixPath(path)) == in_chroot(root, path)


def in_chroot(root: Path, path: str) -> bytes:
    """Return what a child that has changed its root reads."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        # Whatever happens here, the child must not go on as a second pytest.
        status = 1
        with contextlib.suppress(BaseException):
            status = 2
            os.chroot(root)
            status = 1
            os.write(into, Path(path).read_bytes())
            status = 0
        os._exit(status)
    os.close(into)
    with os.fdopen(out, "rb") as pipe:
        content = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 2:
        pytest.skip("chroot is not allowed here")
    assert status == 0
    return content


def test_a_link_to_a_file_outside_finds_nothing_even_though_it_exists(root: Path) -> None:
    outside = root.parent / "outside" / "libout.so"
    link(root, "/lib/absolute.so", outside)
    link(root, "/lib/climbing.so", "../../outside/libout.so")
    link(root, "/lib/folder", outside.parent)
    assert (root / "lib/absolute.so").read_bytes() == (root / "lib/climbing.so").read_bytes() == OTHER
    for name in ("/lib/absolute.so", "/lib/climbing.so", "/lib/folder/libout.so", "/../outside/libout.so"):
        assert read(root, name) is None
        with pytest.raises(SysrootError, match="is not in the sysroot"):
            Sysroot(root).file(PurePosixPath(name))


def test_dots_behind_a_linked_folder_go_up_from_where_it_leads(root: Path) -> None:
    file(root, "/usr/libx.so")
    link(root, "/opt/linked", "/usr/lib")
    assert read(root, "/opt/linked/../libx.so") == read_elf(LIBRARY)
    assert (root / "opt/libx.so").exists() is False


def test_a_long_chain_of_links_is_followed_and_too_long_a_one_is_not(root: Path) -> None:
    """path_resolution(7): "the limit is 40"."""
    file(root, "/lib/lib0.so")
    for number in range(41):
        link(root, f"/lib/lib{number + 1}.so", f"lib{number}.so")
    assert (root / "lib/lib40.so").read_bytes() == LIBRARY
    assert read(root, "/lib/lib40.so") == read_elf(LIBRARY)
    with pytest.raises(OSError, match="Too many levels"):
        (root / "lib/lib41.so").read_bytes()
    assert read(root, "/lib/lib41.so") == Unusable("a loop of symbolic links")


@pytest.mark.parametrize("target", ["loop.so", "/lib/loop.so", "../lib/other.so", "loop.so/below"])
def test_a_loop_of_links_is_unusable(target: str, root: Path) -> None:
    link(root, "/lib/loop.so", target)
    link(root, "/lib/other.so", "loop.so")
    assert read(root, "/lib/loop.so") == Unusable("a loop of symbolic links")
    assert Sysroot(root).real(PurePosixPath("/lib/loop.so")) == PurePosixPath("/lib/loop.so")


# What is there


def test_a_path_that_is_not_there_is_none(root: Path) -> None:
    file(root, "/lib/libx.so")
    link(root, "/lib/dangling.so", "nowhere.so")
    for name in ("/lib/none.so", "/none/libx.so", "/lib/dangling.so", "/lib/libx.so/below", f"/lib/{'n' * 300}.so"):
        assert read(root, name) is None
        assert Sysroot(root).real(PurePosixPath(name)) == PurePosixPath(name)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"/* GNU ld script */\nGROUP ( /lib/libfoo.so.1 )\n", "not an ELF file"),
        (b"", "not an ELF file"),
        (b"\x7fEL", "not an ELF file"),
        (LIBRARY[:1000], "not a sound ELF file: "),
        (LIBRARY[:4] + b"\xff" * 100, "not a sound ELF file: ELF class 255"),
        (LIBRARY[:16] + b"\1\0" + LIBRARY[18:], "not a shared object"),
    ],
    ids=["linker script", "empty", "three bytes", "cut off", "unknown class", "relocatable"],
)
def test_a_file_that_no_loader_could_use_says_why(content: bytes, reason: str, root: Path) -> None:
    file(root, "/lib/libfoo.so.1", content)
    found = read(root, "/lib/libfoo.so.1")
    assert isinstance(found, Unusable)
    assert found.reason.startswith(reason)


def test_a_folder_named_as_a_library_is_unusable(root: Path) -> None:
    (root / "lib" / "libfoo.so.1").mkdir()
    assert read(root, "/lib/libfoo.so.1") == Unusable("Is a directory")
    with pytest.raises(SysrootError, match=r"cannot read /lib/libfoo\.so\.1 in the sysroot .*: Is a directory"):
        Sysroot(root).content(PurePosixPath("/lib/libfoo.so.1"))


def test_a_fifo_is_unusable_and_nobody_waits_for_it(root: Path) -> None:
    os.mkfifo(root / "lib" / "libfoo.so.1")
    assert read(root, "/lib/libfoo.so.1") == Unusable("not a regular file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_file_is_unusable(root: Path) -> None:
    file(root, "/lib/libfoo.so.1")
    (root / "lib" / "libfoo.so.1").chmod(0)
    assert read(root, "/lib/libfoo.so.1") == Unusable("Permission denied")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
def test_an_unreadable_folder_is_passed_over_as_musl_does(root: Path) -> None:
    file(root, "/opt/locked/libfoo.so.1")
    (root / "opt" / "locked").chmod(0)
    assert read(root, "/opt/locked/libfoo.so.1") is None
    (root / "opt" / "locked").chmod(0o755)


@pytest.mark.parametrize("name", ["none", "file"])
def test_a_root_that_is_no_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SysrootError, match=f"{name} is not a folder"):
        Sysroot(tmp_path / name)


def test_a_root_may_itself_be_a_link(root: Path) -> None:
    file(root, "/lib/libx.so")
    (root.parent / "linked").symlink_to(root)
    assert read(root.parent / "linked", "/lib/libx.so") == read_elf(LIBRARY)


# The search path, and the loaders


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_demo_sysroot_has_one_loader_and_the_built_in_path(arch: str) -> None:
    sysroot = Sysroot(SYSROOTS / arch)
    musl = MUSL_ARCH.get(arch, arch)
    assert sysroot.loaders() == (f"ld-musl-{musl}.so.1",)
    assert [str(folder) for folder in sysroot.search_path(musl)] == ["/lib", "/usr/local/lib", "/usr/lib"]


def test_loaders_are_found_behind_a_linked_lib_and_are_sorted(root: Path) -> None:
    (root / "lib").rmdir()
    link(root, "/lib", "usr/lib")
    for name in ("ld-musl-x86_64.so.1", "ld-musl-i386.so.1", "ld-linux.so.2", "libc.so"):
        file(root, f"/usr/lib/{name}")
    assert Sysroot(root).loaders() == ("ld-musl-i386.so.1", "ld-musl-x86_64.so.1")


def test_a_root_without_lib_has_no_loaders(tmp_path: Path) -> None:
    assert Sysroot(tmp_path).loaders() == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/lib:/usr/lib", ["/lib", "/usr/lib"]),
        ("/lib\n/usr/lib\n", ["/lib", "/usr/lib"]),
        ("/a:/b\n\n:/c::\n", ["/a", "/b", "/c"]),
        ("/with space:/ünï", ["/with space", "/ünï"]),
        ("relative:./here:/only", ["/only"]),
        ("/opt\0:/a\n", ["/opt"]),
        ("", []),
    ],
    ids=["colons", "lines", "both, and empty entries", "odd names", "relative entries", "up to a NUL", "empty"],
)
def test_a_path_file_of_musl_replaces_the_built_in_path(text: str, expected: list[str], root: Path) -> None:
    file(root, "/etc/ld-musl-x86_64.path", text.encode())
    assert expected == [str(folder) for folder in Sysroot(root).search_path("x86_64")]
    assert Sysroot(root).search_path("aarch64") == DEFAULT_PATH


def test_a_path_file_is_found_behind_a_link_that_stays_in_the_root(root: Path) -> None:
    file(root, "/usr/share/paths", b"/found")
    link(root, "/etc/ld-musl-x86_64.path", "/usr/share/paths")
    assert Sysroot(root).search_path("x86_64") == (PurePosixPath("/found"),)


def test_a_path_file_outside_the_root_is_not_read(root: Path) -> None:
    (root.parent / "outside" / "paths").write_bytes(b"/outside")
    link(root, "/etc/ld-musl-x86_64.path", root.parent / "outside" / "paths")
    assert Sysroot(root).search_path("x86_64") == DEFAULT_PATH


def test_a_path_file_that_is_a_folder_is_an_error(root: Path) -> None:
    (root / "etc" / "ld-musl-x86_64.path").mkdir(parents=True)
    with pytest.raises(SysrootError, match=r"cannot read /etc/ld-musl-x86_64\.path"):
        Sysroot(root).search_path("x86_64")


# Folders and files of this machine


def test_a_folder_that_the_root_has_is_located_there(root: Path) -> None:
    (root / "opt" / "libs").mkdir()
    link(root, "/opt/linked", "/opt/libs")
    sysroot = Sysroot(root)
    assert sysroot.locate(Path("/opt/libs")) == PurePosixPath("/opt/libs")
    assert sysroot.locate(Path("/opt/linked")) == PurePosixPath("/opt/linked")


def test_a_folder_that_the_root_lacks_is_located_on_this_machine(root: Path) -> None:
    outside = root.parent / "outside"
    sysroot = Sysroot(root)
    folder = sysroot.locate(outside)
    assert folder == HOST / str(outside).lstrip("/")
    assert sysroot.read(folder / "libout.so") == read_elf(OTHER)
    assert sysroot.file(folder / "libout.so") == outside / "libout.so"
    assert sysroot.owner(folder / "libout.so") is None


def test_a_file_of_that_name_in_the_root_is_no_folder(root: Path) -> None:
    outside = root.parent / "outside"
    file(root, str(outside))
    assert Sysroot(root).locate(outside) == HOST / str(outside).lstrip("/")


def test_links_of_this_machine_are_resolved_on_this_machine(root: Path) -> None:
    outside = root.parent / "outside"
    (outside / "absolute.so").symlink_to(outside / "libout.so")
    (outside / "relative.so").symlink_to("../outside/libout.so")
    (outside / "slashes.so").symlink_to(f"/{outside / 'libout.so'}")
    sysroot = Sysroot(root)
    folder = sysroot.locate(outside)
    for name in ("absolute.so", "relative.so", "slashes.so"):
        assert sysroot.real(folder / name) == folder / "libout.so"
        assert sysroot.read(folder / name) == read_elf(OTHER)


def test_no_dots_lead_from_this_machine_into_the_root(root: Path) -> None:
    file(root, "/in-the-root-only/libx.so")
    assert read(root, f"{HOST}/../in-the-root-only/libx.so") is None
    assert read(root, f"{HOST}/usr/../../../in-the-root-only/libx.so") is None


def test_a_file_is_placed_in_the_root_if_it_lies_there(root: Path) -> None:
    sysroot = Sysroot(root)
    assert sysroot.place(root / "lib" / "libx.so") == PurePosixPath("/lib/libx.so")
    assert sysroot.place(root.parent / "outside" / "libout.so") == HOST / str(
        root.parent / "outside" / "libout.so"
    ).lstrip("/")


# Who owns a file


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_files_of_the_demo_sysroot_have_the_owners_of_its_database(arch: str) -> None:
    sysroot = Sysroot(SYSROOTS / arch)

    def owner(path: str) -> tuple[str, str, str] | None:
        package = sysroot.owner(PurePosixPath(path))
        return None if package is None else (package.name, package.version, package.origin)

    assert owner(f"/lib/ld-musl-{MUSL_ARCH.get(arch, arch)}.so.1") == ("musl", "1.2.5-r0", "musl")
    assert owner("/usr/lib/libleaf.so.1") == owner("/lib/libleaf.so.1.0.0") == ("leaf-libs", "1.0.0-r1", "leaf")
    assert owner("/usr/lib/libmid.so.2") == ("mid", "2.1.0-r0", "mid")
    assert owner("/usr/lib/libabs.so.1") is None
    assert owner("/usr/lib/real/libabs.so.1.0") is None
    assert owner("/usr/lib/nowhere.so") is None


DATABASE: Final = """\
C:Q1abc=
P:libfoo
V:1.2-r3
A:x86_64
T:a text: with a colon
U:https://example.org/foo
L:MIT AND Apache-2.0
o:foo
c:0123abcd
F:usr
F:usr/lib
R:libfoo.so.1.2
a:0:0:755
F:
R:at-the-root

P:old-name
V:9
F:usr/lib
R:libold.so
P:a second name, which is not one

F:usr/lib
R:libnobody.so

"""
LIBFOO: Final = Package(
    name="libfoo",
    version="1.2-r3",
    arch="x86_64",
    license="MIT AND Apache-2.0",
    origin="foo",
    commit="0123abcd",
    url="https://example.org/foo",
)


@pytest.fixture(params=["/lib/apk/db/installed", "/usr/lib/apk/db/installed"])
def alpine(request: pytest.FixtureRequest, root: Path) -> Sysroot:
    """Give a root with a database where older and newer releases of Alpine have it."""
    file(root, request.param, DATABASE.encode())
    file(root, "/usr/lib/libfoo.so.1.2")
    link(root, "/usr/lib/libfoo.so.1", "libfoo.so.1.2")
    link(root, "/opt/libfoo.so", "/usr/lib/libfoo.so.1")
    link(root, "/opt/lib64", "../usr/lib")
    return Sysroot(root)


@pytest.mark.parametrize(
    "path",
    ["/usr/lib/libfoo.so.1.2", "/usr/lib/libfoo.so.1", "/opt/libfoo.so", "/opt/lib64/libfoo.so.1", "/at-the-root"],
)
def test_a_file_is_owned_through_all_links_that_lead_to_it(path: str, alpine: Sysroot) -> None:
    assert alpine.owner(PurePosixPath(path)) == LIBFOO


def test_a_listed_link_to_a_file_that_nobody_owns_has_the_owner_of_the_link(root: Path) -> None:
    file(root, "/lib/apk/db/installed", b"P:one\nV:1\nF:usr/lib\nR:libone.so\n\n")
    file(root, "/opt/libby-hand.so")
    link(root, "/usr/lib/libone.so", "/opt/libby-hand.so")
    assert Sysroot(root).owner(PurePosixPath("/usr/lib/libone.so")) == Package("one", "1")
    assert Sysroot(root).owner(PurePosixPath("/opt/libby-hand.so")) is None


def test_odd_entries_of_the_database_harm_no_others(alpine: Sysroot) -> None:
    assert alpine.owner(PurePosixPath("/usr/lib/libold.so")) == Package("old-name", "9")
    assert alpine.owner(PurePosixPath("/usr/lib/libnobody.so")) is None


def test_a_root_without_database_has_no_owners(root: Path) -> None:
    file(root, "/lib/libx.so")
    assert Sysroot(root).owner(PurePosixPath("/lib/libx.so")) is None


def test_a_database_that_is_not_utf8_is_read_all_the_same(root: Path) -> None:
    file(root, "/lib/apk/db/installed", b"P:one\nV:1\nT:caf\xe9\nF:lib\nR:libx.so\n\n")
    assert Sysroot(root).owner(PurePosixPath("/lib/libx.so")) == Package("one", "1")
