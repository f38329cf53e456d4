"""The main job on real wheels and a real Alpine: repaired, installed, imported and used where the libraries are not."""

from __future__ import annotations

import http.server
import re
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from alpine.root import HIDDEN, PROJECT, WHEELS, Alpine, done, musl_repair, portable_python
from builders import TESTDATA, write_wheel
from musl_repair.elf import read_elf

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.alpine

IMPORTS = {"pycurl": "import pycurl", "pycares": "import pycares", "brotlicffi": "import brotlicffi"}
LOAD = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
PAGE = b"served to a vendored libcurl\n"


def members(wheel: Path) -> list[tuple[str, int, tuple[int, ...], bytes]]:
    """Return name, attributes, date and content of all members, in their order."""
    with zipfile.ZipFile(wheel) as archive:
        return [(info.filename, info.external_attr, info.date_time, archive.read(info)) for info in archive.infolist()]


def vendored(wheel: Path, stem: str) -> bytes:
    """Return the content of a library in a repaired wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(next(name for name in archive.namelist() if re.search(rf"/{stem}-[0-9a-f]{{8}}\.so", name)))


# Repaired here and there


def test_is_the_same_wheel_whether_repaired_on_the_host_or_inside_alpine(
    alpine: Alpine, wheels: dict[str, Path], repaired: dict[str, Path]
) -> None:
    work = alpine.work / "inside"
    own, unrepaired = work / "own", work / "unrepaired"
    unrepaired.mkdir(parents=True)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(own), str(PROJECT)]
    subprocess.run(build, check=True)
    inside = [alpine.inside(Path(shutil.copy2(wheel, unrepaired))) for wheel in wheels.values()]
    environment = alpine.inside(work / "venv")
    done(alpine.run("python", "-m", "venv", environment))
    done(alpine.run(f"{environment}/bin/pip", "install", "-q", alpine.inside(next(own.iterdir()))))
    done(alpine.run(f"{environment}/bin/musl-repair", "-w", alpine.inside(work / "repaired"), *inside))
    there = {path.name: members(path) for path in (work / "repaired").iterdir()}
    assert there == {path.name: members(path) for path in repaired.values()}


# Installed where the system's libraries are hidden


@pytest.mark.parametrize("project", WHEELS)
def test_import_works_without_the_libraries_of_the_system(alpine: Alpine, site: Path, project: str) -> None:
    hidden = alpine.libraries()
    assert {"libcurl", "libssl", "libcrypto", "libz"} <= {path.name.partition(".")[0] for path in hidden}
    path = f"PYTHONPATH={alpine.inside(site)}"
    done(alpine.run(path, "python", "-c", IMPORTS[project], hide=hidden))


def test_import_of_the_unrepaired_wheel_fails_without_the_libraries_of_the_system(
    alpine: Alpine, wheels: dict[str, Path]
) -> None:
    target = alpine.work / "unrepaired"
    with zipfile.ZipFile(wheels["pycurl"]) as archive:
        archive.extractall(target)
    command = (f"PYTHONPATH={alpine.inside(target)}", "python", "-c", "import pycurl")
    done(alpine.run(*command))
    failed = alpine.run(*command, hide=alpine.libraries())
    assert failed.returncode == 1
    assert "ImportError: Error loading shared library" in failed.stderr


class _Page(http.server.BaseHTTPRequestHandler):
    agents: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.agents.append(self.headers["User-Agent"])
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def page() -> Iterator[str]:
    """Serve a page on the loopback device, and return its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_pycurl_fetches_a_page_with_the_vendored_libcurl(alpine: Alpine, site: Path, page: str) -> None:
    code = (
        "import pycurl, sys\n"
        "curl = pycurl.Curl()\n"
        "curl.setopt(curl.URL, sys.argv[1])\n"
        "curl.setopt(curl.USERAGENT, pycurl.version)\n"
        "sys.stdout.write(curl.perform_rs())\n"
    )
    path = f"PYTHONPATH={alpine.inside(site)}"
    fetched = done(alpine.run(path, "python", "-c", code, page, hide=alpine.libraries()))
    assert fetched.encode() == PAGE
    assert "libcurl/" in _Page.agents[-1]
    assert "OpenSSL/" in _Page.agents[-1]


def test_pycares_and_brotlicffi_work_with_their_vendored_libraries(alpine: Alpine, site: Path) -> None:
    code = (
        "import brotlicffi, pycares\n"
        "assert brotlicffi.decompress(brotlicffi.compress(b'musl' * 99)) == b'musl' * 99\n"
        "pycares.Channel().cancel()\n"
        "print(pycares.ARES_VERSION if hasattr(pycares, 'ARES_VERSION') else pycares.__version__)\n"
    )
    done(alpine.run(f"PYTHONPATH={alpine.inside(site)}", "python", "-c", code, hide=alpine.libraries()))


# An older musl


def test_relr_crashes_old_musl_and_lowered_relr_does_not(
    alpine: Alpine, repaired: dict[str, Path], old_loader: Path, new_loader: Path, tmp_path: Path
) -> None:
    before = alpine.root / "usr" / "lib" / "libcrypto.so.3"
    after = tmp_path / "libcrypto.so.3"
    after.write_bytes(vendored(repaired["pycurl"], "libcrypto"))
    assert read_elf(before.read_bytes()).relr
    assert not read_elf(after.read_bytes()).relr
    codes = [
        portable_python(alpine, loader, LOAD, library).returncode
        for library in (before, after)
        for loader in (old_loader, new_loader)
    ]
    assert codes == [-signal.SIGSEGV, 0, 0, 0]


@pytest.mark.parametrize("loader", ["old_loader", "new_loader"])
def test_portable_python_imports_the_repaired_pycurl_under_either_musl(
    alpine: Alpine, site: Path, request: pytest.FixtureRequest, loader: str
) -> None:
    code = "import pycurl; print(pycurl.version)"
    said = done(portable_python(alpine, request.getfixturevalue(loader), code, path=site))
    assert said.startswith("PycURL/")


@pytest.mark.parametrize("project", WHEELS)
def test_every_file_of_a_repaired_wheel_passes_readelf(repaired: dict[str, Path], tmp_path: Path, project: str) -> None:
    with zipfile.ZipFile(repaired[project]) as archive:
        archive.extractall(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"]
    assert len(files) > 1
    for path in files:
        said = subprocess.run(["readelf", "-aW", path], capture_output=True, text=True, check=True)
        assert (path.name, said.stderr) == (path.name, "")


# The same bytes, always


@pytest.mark.parametrize("jobs", [1, 5])
def test_a_second_run_elsewhere_writes_the_same_bytes(
    alpine: Alpine, wheels: dict[str, Path], repaired: dict[str, Path], tmp_path: Path, jobs: int
) -> None:
    environment = {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": str(jobs), "LC_ALL": "C", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "musl_repair", "--sysroot", str(alpine.root), "-j", str(jobs)]
    command += ["-w", str(tmp_path / "out"), str(wheels["pycurl"])]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment, umask=0o077)
    assert (tmp_path / "out" / repaired["pycurl"].name).read_bytes() == repaired["pycurl"].read_bytes()


@pytest.mark.parametrize("project", WHEELS)
def test_repairing_the_repaired_wheel_changes_nothing(
    alpine: Alpine, repaired: dict[str, Path], tmp_path: Path, project: str
) -> None:
    done(musl_repair("--sysroot", alpine.root, "-w", tmp_path, repaired[project]))
    assert [path.name for path in tmp_path.iterdir()] == [repaired[project].name]
    assert (tmp_path / repaired[project].name).read_bytes() == repaired[project].read_bytes()


# What is known to fail elsewhere


def installed(alpine: Alpine, wheel: Path, folder: str) -> Path:
    """Repair a wheel of testdata's libraries, install it in the root, and return where."""
    out, target = alpine.work / folder, alpine.work / folder / "site"
    output = done(musl_repair("--sysroot", TESTDATA / "sysroots" / "x86_64", "-w", out, wheel)).strip()
    arguments = ("install", "-q", "--target", alpine.inside(target), alpine.inside(Path(output)))
    done(alpine.run("python", "-m", "pip", *arguments))
    return target


def test_extension_that_needs_plain_libc_so_is_repaired_and_runs(alpine: Alpine, tmp_path: Path) -> None:
    extension = (TESTDATA / "x86_64" / "_ext.so").read_bytes()
    assert "libc.so" in read_elf(extension).needed
    wheel = write_wheel(tmp_path, {"plain/_ext.so": extension}, "plain-1.0-cp310-abi3-linux_x86_64.whl")
    site = installed(alpine, wheel, "plain")
    assert sorted(path.name.partition("-")[0] for path in (site / "plain.libs").iterdir()) == ["libleaf", "libmid"]
    code = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).ext_answer())"
    assert done(alpine.run("python", "-c", code, alpine.inside(site / "plain" / "_ext.so"))) == "42\n"


def test_demo_wheel_and_its_program_run(alpine: Alpine) -> None:
    site = installed(alpine, TESTDATA / "wheels" / "demo-1.0-cp310-abi3-linux_x86_64.whl", "demo")
    path = f"PYTHONPATH={alpine.inside(site)}"
    assert done(alpine.run(path, "python", "-c", "import demo; print(demo.answer())")) == "42\n"
    # The repair moved the program into the library folder, and a script took its place.
    assert (site / "bin" / "demo-tool").read_bytes()[:2] == b"#!"
    assert done(alpine.run(path, alpine.inside(site / "bin" / "demo-tool"))) == "42\n"


def test_nothing_of_musl_or_glibc_is_vendored_though_ldpaths_offers_it(
    alpine: Alpine, wheels: dict[str, Path], repaired: dict[str, Path], tmp_path: Path
) -> None:
    offered = tmp_path / "offered"
    offered.mkdir()
    loader = alpine.root / "lib" / "ld-musl-x86_64.so.1"
    for name in ("libc.so", "libc.so.6", "libc.musl-x86_64.so.1", "ld-musl-x86_64.so.1", "libm.so.6", "libdl.so.2"):
        shutil.copy2(loader, offered / name)
    host = {path.parent for path in Path("/lib").glob("*-linux-gnu/libc.so.6")}
    folders = ":".join(map(str, [offered, *sorted(host)]))
    out = tmp_path / "out"
    done(musl_repair("--sysroot", alpine.root, "--ldpaths", folders, "-w", out, wheels["pycurl"]))
    assert members(out / repaired["pycurl"].name) == members(repaired["pycurl"])
    with zipfile.ZipFile(repaired["pycurl"]) as archive:
        libraries = {name: read_elf(archive.read(name)) for name in archive.namelist() if ".libs/" in name}
    assert len(libraries) > 8
    assert not [name for name, elf in libraries.items() if "__libc_start_main" in elf.exports]
    assert not [name for name in libraries if re.search(r"/(libc|libm|ld-musl|ld-linux)[-.]", name)]


# Refused


def refused(*arguments: str | Path, folder: Path) -> str:
    """Return what is said to stderr by a run that fails and leaves the output folder as it is."""
    folder.mkdir()
    keep = folder / "keep.whl"
    keep.write_bytes(b"an older wheel")
    failed = musl_repair("-w", folder, *arguments)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert [path.name for path in folder.iterdir()] == ["keep.whl"]
    assert keep.read_bytes() == b"an older wheel"
    return failed.stderr


def test_missing_libraries_are_all_named_at_once(wheels: dict[str, Path], tmp_path: Path) -> None:
    sysroot = TESTDATA / "sysroots" / "x86_64"
    said = refused("--sysroot", sysroot, wheels["pycurl"], folder=tmp_path / "out")
    assert "library-not-found" in said
    assert all(name in said for name in ("libcurl.so.4", "libssl.so.3", "libcrypto.so.3", "needed by pycurl"))


def test_wheel_of_another_architecture_than_the_sysroot(alpine: Alpine, tmp_path: Path) -> None:
    wheel = TESTDATA / "wheels" / "demo-1.0-cp310-abi3-linux_aarch64.whl"
    said = refused("--sysroot", alpine.root, wheel, folder=tmp_path / "out")
    assert "wrong-architecture" in said
    assert "the wheel is for aarch64, the sysroot has ld-musl-x86_64.so.1" in said


def test_wheel_that_is_linked_to_glibc(alpine: Alpine, tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed")
    source, library = tmp_path / "ext.c", tmp_path / "_ext.so"
    source.write_text("#include <gnu/libc-version.h>\nconst char *f(void) { return gnu_get_libc_version(); }\n")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    wheel = write_wheel(tmp_path, {"glibc/_ext.so": library.read_bytes()}, "glibc-1.0-cp310-abi3-linux_x86_64.whl")
    said = refused("--sysroot", alpine.root, wheel, folder=tmp_path / "out")
    assert "glibc" in said
    assert "_ext.so" in said
    assert "manylinux" in said


def test_hidden_names_are_whole_names() -> None:
    assert HIDDEN.fullmatch("libz.so.1.3.2")
    assert HIDDEN.fullmatch("libbrotlidec.so.1.2.0")
    assert not HIDDEN.fullmatch("libzmq.so.5")
