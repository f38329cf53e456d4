"""What vendored libraries cost: which are the same, what sharing saves, and sharing them where they are installed."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from builders import ElfFile, Symbol, record_row, wheel_members, write_wheel
from musl_repair import vendored
from musl_repair.cli import cli
from musl_repair.console import SafeConsole
from musl_repair.errors import OutputError, WheelError
from musl_repair.linking import link_variants
from musl_repair.size_report import print_sizes
from musl_repair.sizes import Kinship, Savings, Sizes, identical, library_name, measure
from musl_repair.treemap import Rectangle, squarify
from musl_repair.vendored import LEFTOVER, Copy, Holder, read_site_packages, read_wheel_holder

if TYPE_CHECKING:
    from collections.abc import Mapping

DT_SONAME = 14
BUILD_ID = 3


def library(soname: str, build: bytes = b"", *, size: int = 0, machine: int = 62, symbols: Any = ()) -> bytes:
    """Return a shared library, made larger by what stands behind it."""
    notes = ((b"GNU", BUILD_ID, build),) if build else ()
    return ElfFile(named=((DT_SONAME, soname),), notes=notes, machine=machine, symbols=symbols).build() + bytes(size)


STDCXX = library("libstdc++-5d72f927.so.6.0.33", b"one build", size=4000)
EDITED = library("libstdc++-5d72f927.so.6.0.33", b"one build", size=3000)
OLDER = library("libstdc++.so.6", b"another build", size=9000)
ZLIB = library("libz-00c0ffee.so.1", b"zlib", size=500)

PROJECTS: Mapping[str, Mapping[str, bytes]] = {
    "alpha": {"alpha/__init__.py": b"", "alpha.libs/libstdc++-5d72f927.so.6.0.33": STDCXX},
    "beta": {"beta.libs/libstdc++-5d72f927.so.6.0.33": STDCXX, "beta.libs/libz-00c0ffee.so.1": ZLIB},
    "gamma": {"gamma.libs/libstdc++-5d72f927.so.6.0.33": EDITED},
    "delta": {"delta/lib/libstdc++.so.6": OLDER},
}


def wheels(folder: Path, projects: Mapping[str, Mapping[str, bytes]] = PROJECTS) -> list[Path]:
    return [
        write_wheel(folder, members, f"{name}-1.0-py3-none-musllinux_1_2_x86_64.whl")
        for name, members in projects.items()
    ]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a folder with all projects installed, and a file of none of them."""
    root = tmp_path / "site-packages"
    for name, members in PROJECTS.items():
        for member, content in wheel_members(members, f"{name}-1.0-py3-none-any.whl").items():
            (root / member).parent.mkdir(parents=True, exist_ok=True)
            (root / member).write_bytes(content)
    (root / "stray.py").write_bytes(b"pass\n")
    return root


def copy(holder: str, member: str, content: bytes, place: str | None = None) -> Copy:
    made = vendored._copy(holder, member, content, (holder, place or member))
    assert made is not None
    return made


def sizes_of(*copies: Copy) -> Sizes:
    holders = sorted({one.holder for one in copies})
    return measure(Holder(name, 10**6, tuple(one for one in copies if one.holder == name)) for name in holders)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["size", *map(str, arguments)], standalone_mode=False)


def code(result: Result) -> int:
    """Return the exit code that the program would have."""
    assert result.exception is None, result.exception
    return int(result.return_value)


def printed(*arguments: str | Path) -> Any:
    value = json.loads(run("--json", *arguments).stdout)
    validate(value)
    return value


def validate(value: Any) -> None:
    schema = json.loads((files("musl_repair") / "data" / "size.schema.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(value)
    Draft202012Validator(closed(schema)).validate(value)


def closed(node: Any) -> Any:
    """Return a schema that allows no property but those that it describes."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    strict = {key: closed(value) for key, value in node.items()}
    return {**strict, "additionalProperties": False} if node.get("type") == "object" else strict


# What is the same


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("libgcc_s-0cd532bd.so.1", "libgcc_s"),
        ("libgcc_s-0cd532bd-c8f934f9.so.1", "libgcc_s"),
        ("libscipy_openblas64_-890ad40e.so", "libscipy_openblas64_"),
        ("libstdc++.so.6.0.33", "libstdc++"),
        ("libicu-data.so.74", "libicu-data"),
    ],
)
def test_a_library_is_called_the_same_in_every_version(name: str, expected: str) -> None:
    assert library_name(copy("a", "a.libs/other.so", library(name))) == expected
    assert library_name(copy("a", f"a.libs/{name}", b"broken")) == expected


def test_savings_add_up_from_content_to_build_to_library() -> None:
    sizes = sizes_of(
        copy("a", "a.libs/libx.so", STDCXX),
        copy("b", "b.libs/libx.so", STDCXX),
        copy("c", "c.libs/libx.so", EDITED),
        copy("d", "d.libs/libx.so", OLDER),
    )
    (one,) = sizes.libraries
    assert [len(build.variants) for build in one.builds] == [1, 2]
    assert one.savings == Savings(len(STDCXX), len(STDCXX) + len(EDITED), 2 * len(STDCXX) + len(EDITED))
    assert sizes.savings == one.savings
    assert sizes.disk == sizes.vendored == one.size
    kinships = {each.holder: one.kinship(each) for each in one.copies}
    assert kinships == {"a": Kinship.CONTENT, "b": Kinship.CONTENT, "c": Kinship.BUILD, "d": Kinship.LIBRARY}


def test_a_hard_link_costs_nothing() -> None:
    first, second = copy("a", "x.libs/libx.so", STDCXX), copy("a", "y.libs/libx.so", STDCXX, "x.libs/libx.so")
    sizes = sizes_of(first, second)
    assert (sizes.vendored, sizes.disk) == (2 * len(STDCXX), len(STDCXX))
    assert sizes.savings == Savings()
    assert sizes.libraries[0].kinship(first) is Kinship.LINKED
    assert identical(sizes) == ()


def test_libraries_of_two_architectures_are_not_shared() -> None:
    other = library("libstdc++-5d72f927.so.6.0.33", b"one build", machine=183)
    sizes = sizes_of(copy("a", "a.libs/libx.so", STDCXX), copy("b", "b.libs/libx.so", other))
    assert sorted(one.target for one in sizes.libraries) == ["aarch64", "x86_64"]
    assert sizes.savings == Savings()


def test_files_without_build_id_are_builds_of_their_own() -> None:
    sizes = sizes_of(copy("a", "a.libs/libx.so", library("libx.so")), copy("b", "b.libs/libx.so", library("liby.so")))
    assert [one.name for one in sizes.libraries] == ["libx", "liby"]
    assert all(len(one.builds) == 1 for one in sizes.libraries)


# What is vendored


def test_vendored_is_what_is_in_libs_and_what_is_named_as_a_library(tmp_path: Path) -> None:
    module = library("libmodule.so", symbols=(Symbol("PyInit_libmodule"),))
    (wheel,) = wheels(
        tmp_path,
        {
            "demo": {
                "demo/.libs/anything": ZLIB,
                "demo-1.0.data/platlib/demo.libs/libz.so.1": ZLIB,
                "demo/libz.so": ZLIB,
                "demo/libmodule.so": module,
                "demo/_ext.so": ZLIB,
                "demo/libscript.so": b"GROUP ( libz.a )",
                "demo.libs/broken.so": b"\x7fELF broken",
            }
        },
    )
    holder = read_wheel_holder(wheel)
    assert [one.member for one in holder.copies] == [
        "demo-1.0.data/platlib/demo.libs/libz.so.1",
        "demo.libs/broken.so",
        "demo/.libs/anything",
        "demo/libz.so",
    ]
    assert [one.elf is None for one in holder.copies] == [False, True, False, False]


def test_installed_files_belong_to_the_project_that_lists_them(site: Path) -> None:
    (site / "lost.libs").mkdir()
    (site / "lost.libs" / "libz.so.1").write_bytes(ZLIB)
    (site / "lost.libs" / "link.so").symlink_to(site / "lost.libs" / "libz.so.1")
    holders = read_site_packages(site)
    assert [holder.name for holder in holders] == ["alpha-1.0", "beta-1.0", "delta-1.0", "gamma-1.0", "lost.libs"]
    listed = [path for path in site.rglob("*") if path.is_file() and not path.is_symlink() and path.name != "stray.py"]
    assert sum(holder.size for holder in holders) == sum(path.stat().st_size for path in listed)
    assert [one.member for one in holders[4].copies] == ["lost.libs/libz.so.1"]


def test_installed_modules_and_scripts_are_no_libraries(site: Path) -> None:
    (site / "libscript.so").write_bytes(b"GROUP ( libz.a )")
    (site / "libmodule.so").write_bytes(library("libmodule.so", symbols=(Symbol("PyInitU_libmodule"),)))
    assert len(read_site_packages(site)) == len(PROJECTS)


def test_a_folder_that_cannot_be_read_is_named(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> NoReturn:
        raise PermissionError(13, "Permission denied", path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refuse)
        with pytest.raises(WheelError, match=r"site-packages: Permission denied"):
            read_site_packages(site)
    (site / "alpha-1.0.dist-info" / "RECORD").write_text("x" * 200_000 + "\n")
    with pytest.raises(WheelError, match="RECORD has a line"):
        read_site_packages(site)


# The command


def test_text_names_wheels_libraries_and_savings(tmp_path: Path) -> None:
    result = run(*wheels(tmp_path))
    assert code(result) == 0
    assert re.search(r"^beta-1\.0-py3-\S+ +\d.* 2 ", result.stdout, re.MULTILINE)
    assert re.search(r"x 2 .* alpha-1\.0, beta-1\.0$", result.stdout, re.MULTILINE)
    assert "4 wheels, " in result.stdout
    assert all(line == line.rstrip() for line in result.stdout.splitlines())


def test_json_of_wheels_is_that_of_the_same_projects_installed(tmp_path: Path, site: Path) -> None:
    packed, installed = printed(*wheels(tmp_path)), printed(site)
    assert packed["linked"] is None
    assert packed["total"]["savings"] == installed["total"]["savings"]
    assert [one["savings"] for one in packed["libraries"]] == [one["savings"] for one in installed["libraries"]]
    assert (
        packed["total"]["vendored"]
        == installed["total"]["vendored"]
        == sum(len(content) for members in PROJECTS.values() for name, content in members.items() if "lib" in name)
    )


def test_a_folder_of_wheels_stands_for_them_and_each_counts_once(tmp_path: Path) -> None:
    made = wheels(tmp_path)
    assert printed(tmp_path, *made) == printed(*made)


def test_one_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    broken = tmp_path / "broken-1.0-py3-none-any.whl"
    broken.write_bytes(b"no archive")
    empty = tmp_path / "empty"
    empty.mkdir()
    result = run("--json", broken, *wheels(tmp_path), empty)
    assert code(result) == 1
    validate(json.loads(result.stdout))
    assert len(json.loads(result.stdout)["wheels"]) == 6
    assert "holds no installed project" in result.stderr


def test_wheels_without_libraries(tmp_path: Path) -> None:
    made = wheels(tmp_path, {"pure": {"pure/__init__.py": b""}})
    result = run(*made, "--html", tmp_path / "page.html")
    assert code(result) == 0
    assert "no library stands there twice" in result.stdout
    assert "There are no vendored libraries." in (tmp_path / "page.html").read_text("utf-8")


@pytest.mark.parametrize("target", ["", ".", "..", "/"])
def test_page_that_cannot_have_its_name(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wheel = wheels(tmp_path)[0]
    before = sorted(tmp_path.iterdir())
    result = run(wheel, "--html", target)
    assert isinstance(result.exception, OutputError), result
    assert "cannot write" in str(result.exception)
    assert sorted(tmp_path.iterdir()) == before


def test_page_does_not_take_the_place_of_what_is_no_file(tmp_path: Path) -> None:
    """A FIFO stands for devices, which root would lose: /dev/stdout leads to one."""
    wheel = wheels(tmp_path)[0]
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    for target in (tmp_path / "fifo", tmp_path / "link"):
        result = run(wheel, "--html", target)
        assert isinstance(result.exception, OutputError), result
        assert "it is not a regular file" in str(result.exception)
    assert stat.S_ISFIFO((tmp_path / "fifo").lstat().st_mode)
    assert (tmp_path / "link").is_symlink()
    assert not list(tmp_path.glob(".musl-repair*"))


def test_on_a_terminal_are_tables_of_its_width(tmp_path: Path) -> None:
    sizes = measure([read_wheel_holder(path) for path in wheels(tmp_path)])
    out = io.StringIO()
    print_sizes(sizes, SafeConsole(file=out, force_terminal=True, width=90, _environ={}))
    assert "\x1b[1m" in out.getvalue()
    assert "\u2500" in out.getvalue()
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in out.getvalue().splitlines()]
    assert max(map(len, plain)) <= 90


def test_libraries_of_several_architectures_are_told_apart(tmp_path: Path) -> None:
    other = library("libz-00c0ffee.so.1", machine=183)
    made = wheels(tmp_path, {"one": {"one.libs/libz.so": ZLIB}, "two": {"two.libs/libz.so": other}})
    result = run(*made)
    assert "libz (x86_64)" in result.stdout
    assert "libz (aarch64)" in result.stdout


# Linking


def contents(site: Path) -> dict[str, bytes]:
    return {str(path.relative_to(site)): path.read_bytes() for path in sorted(site.rglob("*")) if path.is_file()}


def inode(path: Path) -> int:
    return path.stat().st_ino


def test_linking_makes_one_file_of_equal_ones_and_keeps_record_true(site: Path) -> None:
    before = contents(site)
    value = printed("--link", site)
    first, second = (site / name / "libstdc++-5d72f927.so.6.0.33" for name in ("alpha.libs", "beta.libs"))
    assert value["linked"] == {"files": [str(second)], "freed": len(STDCXX), "skipped": []}
    assert inode(first) == inode(second)
    assert contents(site) == before
    assert value["total"]["vendored"] - value["total"]["on_disk"] == len(STDCXX)
    assert value["total"]["savings"]["same_content"] == 0
    for record in site.glob("*.dist-info/RECORD"):
        for name, digest, size in csv.reader(record.read_text("utf-8").splitlines()):
            assert not digest or record_row(name, (site / name).read_bytes()) == (name, digest, size)


def test_linking_twice_changes_nothing(site: Path) -> None:
    run("--link", site)
    before = {path: path.stat() for path in site.rglob("*")}
    assert printed("--link", site)["linked"] == {"files": [], "freed": 0, "skipped": []}
    assert {path: path.stat() for path in site.rglob("*")} == before


def test_a_file_with_other_names_frees_nothing(site: Path, tmp_path: Path) -> None:
    """As where an installer makes hard links to its cache."""
    os.link(site / "beta.libs" / "libstdc++-5d72f927.so.6.0.33", tmp_path / "cache")
    linked = printed("--link", site)["linked"]
    assert (len(linked["files"]), linked["freed"]) == (1, 0)


def test_linking_changes_no_mode(site: Path) -> None:
    (site / "beta.libs" / "libstdc++-5d72f927.so.6.0.33").chmod(0o600)
    before = contents(site)
    result = run("--link", site)
    assert code(result) == 0
    assert "note: " in result.stderr
    assert "another mode or owner" in result.stderr
    assert contents(site) == before
    assert len({inode(path) for path in site.rglob("*.so.6.0.33")}) == 3


def test_linking_refuses_wheels(tmp_path: Path, site: Path) -> None:
    result = run("--link", site, *wheels(tmp_path))
    assert "--link is for installed packages" in str(result.exception)
    assert len({inode(path) for path in site.rglob("*.so.6.0.33")}) == 3


def test_what_the_system_refuses_stays_whole(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(31, "Too many links")

    monkeypatch.setattr(os, "link", refuse)
    before = contents(site)
    result = run("--link", site)
    assert code(result) == 1
    assert "Too many links" in result.stderr
    assert contents(site) == before


def test_a_file_that_changes_meanwhile_stays_as_it_is(site: Path) -> None:
    found = identical(measure(read_site_packages(site)))
    changed = site / "beta.libs" / "libstdc++-5d72f927.so.6.0.33"
    changed.write_bytes(STDCXX + b"!")
    linked = link_variants(found)
    assert [skipped.reason for skipped in linked.skipped] == ["it has changed meanwhile"]
    assert changed.read_bytes() == STDCXX + b"!"


def test_interrupted_linking_says_so_and_leaves_no_trace(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = contents(site)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", interrupt)
        result = run("--link", site)
    assert code(result) == 130
    assert "the same command goes on" in result.stderr
    assert contents(site) == before


@pytest.mark.process
def test_killed_between_link_and_rename_the_next_run_finishes(site: Path) -> None:
    before = contents(site)
    program = (
        "import os, signal, pathlib, sys\n"
        "from musl_repair.cli import main\n"
        "pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "main(['size', '--link', sys.argv[1]])\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, site], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    leftovers = [name for name in contents(site) if name.endswith(LEFTOVER)]
    assert len(leftovers) == 1
    assert {name: content for name, content in contents(site).items() if name not in leftovers} == before
    assert len(printed("--link", site)["linked"]["files"]) == 1
    assert contents(site) == before


def test_a_file_of_two_names_follows_as_a_whole(site: Path) -> None:
    spare = site / "beta.libs" / "libstdc++-5d72f927.so.6.0.33"
    os.link(spare, site / "beta.libs" / "second.so")
    linked = printed("--link", site)["linked"]
    assert linked["freed"] == len(STDCXX)
    assert len({inode(path) for path in (spare, spare.with_name("second.so"))}) == 1
    assert inode(spare) == inode(site / "alpha.libs" / spare.name)


def test_what_is_no_file_any_more_is_left_alone(site: Path) -> None:
    found = identical(measure(read_site_packages(site)))
    link = site / "beta.libs" / "libstdc++-5d72f927.so.6.0.33"
    link.unlink()
    link.symlink_to("/nowhere")
    assert link_variants(found).files == ()
    assert link.is_symlink()
    link.unlink()
    (linked,) = link_variants(found).skipped
    assert (linked.file, linked.failed) == (link, True)


# The page


class Page(HTMLParser):
    """What a page has in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_whole_and_needs_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    assert code(run("--html", path, *wheels(tmp_path))) == 0
    text = path.read_text("utf-8")
    page = Page(text)
    assert page.open == []
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    assert not any(key in ("src", "href", "onload") for _, attributes in page.tags for key in attributes)
    assert "url(" not in text
    assert "prefers-color-scheme: dark" in text
    drawn = [attributes for tag, attributes in page.tags if tag == "rect" and "file" in (attributes["class"] or "")]
    assert sorted((one["class"] or "").split()[1] for one in drawn) == [
        "alone",
        "build",
        "content",
        "content",
        "library",
    ]


def test_page_is_the_same_twice_and_escapes_names(tmp_path: Path) -> None:
    made = wheels(tmp_path, {"demo": {"demo.libs/<script>&.so": b"\x7fELF", "demo.libs/libz.so": ZLIB}})
    for name in ("one", "two"):
        assert code(run("--html", tmp_path / name, *made)) == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert "<script" not in (tmp_path / "one").read_text("utf-8")


@given(
    st.lists(st.integers(1, 10**9), max_size=40),
    st.floats(1, 2000, allow_nan=False),
    st.floats(1, 2000, allow_nan=False),
)
def test_rectangles_have_their_share_and_stay_inside(sizes: list[int], width: float, height: float) -> None:
    sizes.sort(reverse=True)
    placed = squarify(sizes, Rectangle(3, 5, width, height))
    assert len(placed) == len(sizes)
    for size, one in zip(sizes, placed, strict=True):
        assert one.width * one.height == pytest.approx(width * height * size / sum(sizes), rel=1e-3, abs=1e-3)
        assert one.x >= 3 - 1e-6
        assert one.y >= 5 - 1e-6
        assert one.x + one.width <= 3 + width + 1e-6
        assert one.y + one.height <= 5 + height + 1e-6


def test_rectangles_of_the_paper() -> None:
    """Bruls, Huizing, van Wijk, figure 4: 6, 6, 4, 3, 2, 2, 1 in 6 by 4."""
    placed = squarify([6, 6, 4, 3, 2, 2, 1], Rectangle(0, 0, 6, 4))
    expected = [(0, 0, 3, 2), (0, 2, 3, 2), (3, 0, 12 / 7, 7 / 3), (33 / 7, 0, 9 / 7, 7 / 3)]
    for one, wanted in zip(placed, expected, strict=False):
        assert one == pytest.approx(wanted)
