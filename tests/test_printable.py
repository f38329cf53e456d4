"""Names that others chose do nothing but print: in every command, on every output."""

from __future__ import annotations

import ast
import html.parser
import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import musl_repair
from builders import DEMO, ElfFile, Symbol, csv_text, record_row, wheel_members, write_wheel, zip_bytes
from musl_repair.findings import finding
from musl_repair.printable import printable
from process import SECONDS, SYSROOT, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# The function

texts = st.text(st.characters() | st.characters(categories=["Cc", "Cf", "Cs", "Zl"]) | st.sampled_from("::##[\\vso"))


@given(texts, st.sampled_from(["utf-8", "ascii", "latin-1", "cp1252", "utf-16", None]))
def test_what_it_makes_only_prints(text: str, encoding: str | None) -> None:
    shown = printable(text, encoding)
    shown.encode(encoding or "utf-8")
    assert len(shown.splitlines()) <= 1
    assert not {unicodedata.category(one) for one in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert not {unicodedata.bidirectional(one) for one in shown} & {"LRE", "RLE", "LRO", "RLO", "LRI", "RLI", "FSI"}
    assert "::" not in shown
    assert not re.search(r"##\w*\[", shown)
    assert printable(shown, encoding) == shown


@given(st.text(st.characters(categories=["L", "N", "P"], exclude_characters=":#")))
def test_ordinary_names_stay(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("lib\x1b[31m.so", r"lib\x1b[31m.so"),
        ("a\nb\rc\td\x7f", r"a\nb\rc\td\x7f"),
        ("\x9b", r"\u009b"),
        (os.fsdecode(b"\x9b.so"), r"\x9b.so"),
        ("\u202egnp.so", r"\u202egnp.so"),
        ("a\u200bb\u2028c\ufeff", r"a\u200bb\u2028c\ufeff"),
        ("\U000e0041\ue000\ud800", r"\U000e0041\ue000\ud800"),
        ("  ::stop-commands::x", r"  \x3a:stop-commands\x3a:x"),
        (":::", r"\x3a\x3a:"),
        ("a ##[error]b ##vso[task]", r"a \x23#[error]b \x23#vso[task]"),
        ("## title #[x]", "## title #[x]"),
        ("größe", "größe"),
    ],
)
def test_escapes_are_visible_and_tell_what_is_there(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_what_an_encoding_lacks_is_escaped() -> None:
    assert printable("größe \u4e2d", "latin-1") == r"größe \u4e2d"
    assert printable("größe \u4e2d", "ascii") == r"gr\u00f6\u00dfe \u4e2d"


def test_line_ends_of_a_finding_are_ours() -> None:
    found = finding("library-not-found", "a\nb", "needed by c\nd", "looked in e\x1bf")
    assert found.subject == "a\nb"
    assert found.lines == [r"needed by c\nd", r"looked in e\x1bf"]


# Nobody gets past it

PACKAGE: Final = Path(musl_repair.__file__).parent
SPEAKERS: Final = {
    "echo",
    "secho",
    "echo_via_pager",
    "prompt",
    "confirm",
    "print_exception",
    "print_exc",
    "showwarning",
}


def calls(file: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls in a module, by the last part of what is called."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            yield node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""), node


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: file.stem)
def test_all_words_leave_by_the_same_doors(file: Path) -> None:
    names = {name for name, _ in calls(file)}
    assert not names & SPEAKERS or file.name == "cli_options.py"
    assert "Console" not in names
    assert "from rich.console import Console" not in file.read_text("utf-8") or file.name == "console.py"
    assert "json.dumps" not in file.read_text("utf-8") or file.name in ("cli_options.py", "sbom.py", "grafts.py")


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: file.stem)
def test_lines_of_a_detail_are_given_one_by_one(file: Path) -> None:
    for name, call in calls(file):
        texts = [node.value for node in ast.walk(call) if isinstance(node, ast.Constant)] if name == "finding" else []
        assert not [text for text in texts if isinstance(text, str) and "\n" in text]


# Every command, every output

EVIL: Final = (
    "\x1b]0;PWN\x07\x1b[31;41m\x9b7m\n::stop-commands::PWN\r ::error::PWN ##[error]##vso[x]\x7f\t\x0b\x85"
    "\u202e\u2066\u200b\u2028\U000e0041[red]:bomb:\u00e9<script>`|*"
)
"""All that a file's name can do, but for bytes that are not UTF-8."""
MEMBER: Final = "".join(one for one in EVIL if unicodedata.category(one) != "Cc")
"""The same for a member of an archive, which may have no control characters in its name."""
LINE: Final = EVIL.translate(dict.fromkeys(map(ord, "\n\r\x0b\x85\u2028"), " "))
"""The same where a line end ends a field."""
BYTES: Final = os.fsdecode(b"\xff\x9b\xe2\x80")
DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH = 1, 14, 15, 29
FDO_DLOPEN: Final = 0x407C0C0A


def evil_library() -> bytes:
    """Return a library whose every name is evil."""
    wish = {"soname": ["libz.so.1"], "feature": EVIL, "description": f"\ud800{EVIL}", "priority": "suggested"}
    return ElfFile(
        named=(
            (DT_SONAME, f"libsoname{EVIL}.so"),
            (DT_NEEDED, f"libneeded{EVIL}.so"),
            (DT_RUNPATH, f"/outside{EVIL}:$ORIGIN/$LIB{EVIL}"),
        ),
        symbols=(Symbol(f"undefined{EVIL}", section=0, version=2), Symbol(f"defined{EVIL}"), Symbol("malloc")),
        relocations=((1, 6),),
        version_needs={f"libneeded{EVIL}.so": (f"VERSION{EVIL}",)},
        notes=((b"FDO", FDO_DLOPEN, json.dumps([wish]).encode() + b"\0"), (b"FDO", FDO_DLOPEN, EVIL.encode() + b"\0")),
        stack_flags=7,
    ).build()


class Place(NamedTuple):
    """Wheels, a sysroot and a folder of installed projects, all with evil names."""

    folder: Path
    unlinked: Path
    """A wheel that cannot be repaired: what it needs is not there."""
    unbound: Path
    """Another: a symbol is nowhere."""
    linked: Path
    """One that can be."""
    broken: tuple[Path, ...]
    """What is no wheel, each for another reason."""
    sysroot: Path
    installed: Path

    @property
    def library(self) -> Path:
        """A library of the sysroot."""
        return self.sysroot / "usr/lib" / f"libthere{LINE}.so.1"

    @property
    def page(self) -> Path:
        """Where a page goes."""
        return self.folder / "page.html"


def make_place(folder: Path) -> Place:
    """Make all of it."""
    library = evil_library()
    name = f"demo/x{MEMBER}.so"
    unlinked = write_wheel(folder, {name: library, f"demo.libs/lib{MEMBER}-0123abcd.so.1": library}, DEMO)
    linked_folder = folder / "linked"
    linked_folder.mkdir()
    needs = ElfFile(named=((DT_NEEDED, f"libthere{LINE}.so.1"),)).build()
    linked = write_wheel(linked_folder, {name: needs, f"demo/plain{MEMBER}.txt": b""}, DEMO)
    alone = ElfFile(
        symbols=(Symbol(f"undefined{EVIL}", section=0), Symbol(f"ifunc{EVIL}", type=10)),
        relocations=((1, 6),),
        named=((DT_NEEDED, f"libpython3.{LINE}.so"),),
    ).build()
    versioned = ElfFile(
        named=((DT_NEEDED, "libc.so.6"),), version_needs={"libc.so.6": (f"GLIBC_2.99{EVIL}",)}, symbols=(Symbol("x"),)
    ).build()
    unbound_folder = folder / "unbound"
    unbound_folder.mkdir()
    unbound = write_wheel(unbound_folder, {name: alone, f"demo/y{MEMBER}.so": versioned}, DEMO)
    return Place(
        folder, unlinked, unbound, linked, make_broken(folder), make_sysroot(folder), make_installed(folder, library)
    )


def make_broken(folder: Path) -> tuple[Path, ...]:
    """Write files that are no wheels, each in a folder of its own."""
    info, members = "demo-1.0.dist-info", wheel_members({"demo/a.py": b""})
    record = f"{info}/RECORD"
    tags = members[f"{info}/WHEEL"].replace(b"Tag: ", b"Tag: " + LINE.encode())
    contents = [
        zip_bytes({**members, f"{info}/METADATA": f"Name: {LINE}\nVersion: {LINE}\n".encode()}),
        zip_bytes({**members, f"{info}/WHEEL": f"Wheel-Version: {LINE}\n".encode()}),
        zip_bytes(wheel_members({"demo/a.py": b"", f"{info}/WHEEL": tags})),
        zip_bytes({**members, f"../{MEMBER}": b""}),
        zip_bytes({**members, f"demo/control{EVIL}": b""}),
        zip_bytes({**members, f"b{MEMBER}.dist-info/WHEEL": b""}),
        zip_bytes({**members, record: csv_text([record_row(EVIL, b""), ("demo/a.py", f"{EVIL}=x", EVIL)]).encode()}),
        zip_bytes({**members, record: b'"\xff'}),
        b"no zip file",
    ]
    wheels = [folder / f"broken-{number}" / DEMO for number in range(len(contents))]
    for wheel, content in zip(wheels, contents, strict=True):
        wheel.parent.mkdir()
        wheel.write_bytes(content)
    misnamed = folder / "misnamed" / f"demo-1.0-1{EVIL}-cp310-abi3-linux_x86_64.whl"
    misnamed.parent.mkdir()
    misnamed.write_bytes(wheels[0].read_bytes())
    return (*wheels, misnamed, folder / f"missing{EVIL}{BYTES}-py3-none-any.whl")


def make_sysroot(folder: Path) -> Path:
    """Copy the demo sysroot, and add a library with evil names, of a package with an evil version, licence etc."""
    root = shutil.copytree(SYSROOT, folder / "sysroot", symlinks=True)
    real = f"libreal{LINE}.so.1.0"
    (root / "usr/lib" / real).write_bytes(ElfFile(named=((DT_SONAME, f"libthere{LINE}.so.1"),)).build())
    (root / "usr/lib" / f"libthere{LINE}.so.1").symlink_to(real)
    with (root / "lib/apk/db/installed").open("a") as database:
        fields = f"P:evil\nV:1.0{LINE}\nA:x86_64\nL:{LINE}\nU:{LINE}\no:{LINE}\nc:{LINE}\nF:usr/lib\n"
        database.write(f"\n{fields}R:libreal{LINE}.so.1.0\n\n")
    return root


def make_installed(folder: Path, library: bytes) -> Path:
    """Make a site-packages folder with two projects that vendor the same library."""
    site = folder / "site-packages"
    for project in (f"one{EVIL}", f"two{EVIL}"):
        member = f"{project}.libs/lib{EVIL}-0123abcd.so.1"
        (site / member).parent.mkdir(parents=True)
        (site / member).write_bytes(library)
        info = f"{project}-1.0.dist-info"
        (site / info).mkdir()
        (site / info / "RECORD").write_text(csv_text([record_row(member, library), (f"{info}/RECORD", "", "")]))
    return site


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return the place, made once."""
    return make_place(tmp_path_factory.mktemp("place"))


def wheels(place: Place) -> list[str | Path]:
    """Return all of them."""
    return [place.unlinked, place.unbound, place.linked, *place.broken]


def repair(place: Place, *more: str | Path) -> list[str | Path]:
    """Return a command line that repairs."""
    return ["repair", "--sysroot", place.sysroot, "-w", place.folder / "out", *more]


COMMANDS: Final[Mapping[str, tuple[int, Callable[[Place], list[str | Path]]]]] = {
    "check": (1, lambda place: ["check", *wheels(place)]),
    "check, JSON": (1, lambda place: ["check", "--json", *wheels(place)]),
    "check, selected": (2, lambda place: ["check", "--select", EVIL, place.linked]),
    "show": (1, lambda place: ["show", "--sysroot", place.sysroot, *wheels(place)]),
    "show, JSON": (1, lambda place: ["show", "--json", "--sysroot", place.sysroot, *wheels(place)]),
    "lddtree of a wheel": (1, lambda place: ["lddtree", "-v", place.unlinked]),
    "lddtree of a file": (0, lambda place: ["lddtree", "-v", "--sysroot", place.sysroot, place.library]),
    "lddtree of nothing": (1, lambda _: ["lddtree", f"none{EVIL}{BYTES}"]),
    "repair": (1, lambda place: repair(place, "-v", *wheels(place))),
    "repair, JSON": (1, lambda place: repair(place, "--json", "--no-verify-input", place.linked, *place.broken)),
    "dry run": (1, lambda place: repair(place, "--dry-run", "-v", "--exclude", EVIL, place.unlinked, place.linked)),
    "into an evil folder": (0, lambda place: repair(place, "-w", place.folder / f"w{EVIL}{BYTES}", place.linked)),
    "no sysroot": (1, lambda place: repair(place, "--sysroot", f"none{EVIL}{BYTES}", place.linked)),
    "platform": (2, lambda place: repair(place, "--plat", EVIL, place.linked)),
    "size of bytes": (2, lambda place: repair(place, "--max-inflated", EVIL, place.linked)),
    "patchelf": (2, lambda place: repair(place, "--patchelf", f"none{EVIL}{BYTES}", place.linked)),
    "rpath": (2, lambda place: repair(place, "--exclude-rpath", EVIL, place.linked)),
    "include": (0, lambda place: repair(place, "--include", f"./{EVIL}{BYTES}", place.linked)),
    "summary": (0, lambda place: repair(place, "--summary", f"none/{EVIL}", "--dry-run", place.linked)),
    "no such option": (2, lambda _: [f"--{EVIL}"]),
    "abi": (0, lambda _: ["abi", EVIL, BYTES, "malloc"]),
    "abi, JSON": (0, lambda _: ["abi", "--json", EVIL, BYTES]),
    "size": (1, lambda place: ["size", place.unlinked, place.installed, *place.broken]),
    "size, JSON": (1, lambda place: ["size", "--json", place.unlinked, place.installed, *place.broken]),
    "size, page": (0, lambda place: ["size", "--html", place.page, place.unlinked, place.installed]),
    "size, linked": (0, lambda place: ["size", "--link", place.installed]),
}
"""The exit code that each has to have, and its arguments."""


class Said(NamedTuple):
    """What a run left behind."""

    code: int
    out: str
    err: str


def piped(arguments: Sequence[str | Path], **variables: str) -> Said:
    """Run the program with pipes."""
    done = subprocess.run(
        [sys.executable, "-m", "musl_repair", *arguments],
        capture_output=True,
        check=False,
        timeout=SECONDS,
        env=environment(**variables),
    )
    encoding = variables.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    return Said(done.returncode, done.stdout.decode(encoding), done.stderr.decode(encoding))


def on_a_terminal(arguments: Sequence[str | Path], **variables: str) -> Said:
    """Run the program on a terminal of 100 columns, where much folds; out is all that it was sent."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "musl_repair", *arguments]
    env = environment(TERM="xterm", COLUMNS="100", **variables)
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=env) as process:
        os.close(slave)
        said, deadline = b"", time.monotonic() + SECONDS
        while time.monotonic() < deadline and select.select([master], [], [], SECONDS)[0]:
            try:
                piece = os.read(master, 1 << 16)
            except OSError:  # EIO: the other end is closed
                break
            if not piece:
                break
            said += piece
    os.close(master)
    return Said(process.returncode, said.decode("utf-8"), "")


STYLES: Final = re.compile(r"\x1b\[(?:[0-9;]*m|\?25[hl]|2K|[0-9]*A)")
"""What rich sends to a terminal itself."""
ANNOTATION: Final = re.compile(r"::(error|warning|notice) title=[^:]*::")


def assert_harmless(text: str, *, in_json: bool = False) -> None:
    """See that a text has no line that does anything; in JSON two colons stand in quotes."""
    for line in text.split("\n"):
        assert line.isprintable(), line
        assert not re.search(r"##\w*\[", line), line
        assert not line.lstrip().startswith("::") if in_json else "::" not in line, line
    assert "Traceback" not in text
    assert "this is a bug" not in text


def without_annotations(text: str) -> str:
    """Return a text without the commands that are ours, each of which begins its line and says nothing else."""
    return "\n".join(ANNOTATION.sub("annotated", line, count=1) for line in text.split("\n"))


@pytest.mark.process
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii:strict", "latin-1:strict"])
def test_names_do_nothing_in_a_pipe(name: str, encoding: str, place: Place) -> None:
    code, arguments = COMMANDS[name][0], COMMANDS[name][1](place)
    said = piped(arguments, PYTHONIOENCODING=encoding)
    assert said.code == code, said.err
    assert_harmless(said.out, in_json="--json" in arguments)
    assert_harmless(said.err)
    assert "PWN" in said.out + said.err
    if "--json" in arguments:
        assert "PWN" in json.dumps(json.loads(said.out), ensure_ascii=False)
        said.out.encode("ascii")


@pytest.mark.process
@pytest.mark.parametrize("name", COMMANDS)
def test_names_do_nothing_on_a_terminal(name: str, place: Place) -> None:
    code, arguments = COMMANDS[name][0], COMMANDS[name][1](place)
    said = on_a_terminal(arguments)
    assert said.code == code, said.out
    assert "\x1b[31;41m" not in said.out
    assert_harmless(STYLES.sub("", said.out.replace("\r\n", "\n")), in_json="--json" in arguments)
    assert "PWN" in said.out


@pytest.mark.process
def test_every_kind_of_name_is_said(place: Place) -> None:
    """Else the tests above would be about nothing."""
    said = "".join(piped(COMMANDS[name][1](place)).out for name in ("check", "show", "lddtree of a file", "size"))
    said += piped(COMMANDS["repair"][1](place)).err + piped(repair(place, "--dry-run", place.linked)).out
    kinds = (
        *("libneeded", "libthere", "undefined", "ifunc", "GLIBC_2.99", "libpython3.", "/outside", "$LIB", "libreal"),
        *("(evil 1.0", "demo/control", "one", "is that of ", "Wheel-Version "),
        "may load libz.so.1 (suggested), for ",
    )
    assert not [kind for kind in kinds if kind + r"\x1b]0;PWN\x07" not in said]
    members = ("demo/x", "demo.libs/lib", "../", "b")
    assert not [kind for kind in members if kind + "]0;PWN[31;41m" not in said]


@pytest.mark.process
def test_names_do_nothing_to_a_ci_job(place: Place, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    code, arguments = COMMANDS["repair"][0], COMMANDS["repair"][1](place)
    said = piped(arguments, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    assert said.code == code
    annotations = [line for line in said.err.split("\n") if line.lstrip().startswith("::")]
    assert len(annotations) > len(place.broken)
    assert all(map(ANNOTATION.match, annotations))
    assert_harmless(said.out)
    assert_harmless(without_annotations(said.err))
    text = summary.read_text("utf-8")
    assert_harmless(text)
    assert "PWN" in text
    assert "<script" not in text
    assert set(re.findall(r"(?<!\\)<(/?[a-z]+)", text)) <= {
        "code", "/code", "br", "details", "/details", "summary", "/summary",
    }  # fmt: skip


class Page(html.parser.HTMLParser):
    """The tags of a page, and its text as a reader sees it."""

    def __init__(self) -> None:
        """Begin with an empty page."""
        super().__init__()
        self.tags: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: ARG002 - html.parser gives it
        """Note a tag."""
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text.append(data)


@pytest.mark.process
def test_names_do_nothing_to_a_page(place: Place) -> None:
    arguments = COMMANDS["size, page"][1](place)
    assert piped(arguments).code == 0
    source = place.page.read_text("utf-8")
    page = Page()
    page.feed(source)
    assert "script" not in page.tags
    text = "".join(page.text)
    assert "<script>" in text
    assert_harmless(text.replace("\n", ""))
    assert_harmless(source)


@pytest.mark.process
def test_json_has_the_names_as_they_are(place: Place) -> None:
    arguments = COMMANDS["check, JSON"][1](place)
    first, second, *_ = json.loads(piped(arguments).out)["wheels"]
    assert f"libneeded{EVIL}.so" in {found["subject"] for found in first["findings"]}
    assert f"undefined{EVIL}" in {found["subject"] for found in second["findings"]}
    out = piped(["abi", "--json", BYTES]).out
    assert json.loads(out)["symbols"][0]["name"] == r"\xff\x9b\xe2\x80"
