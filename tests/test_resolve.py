"""Resolution: what each file of a wheel needs, and where it comes from, before anything is changed."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from facts_by_hand import architecture, elf, glibc_elf, paths, program, system
from musl_repair.graph import is_extension, is_program
from musl_repair.loader import Loader, Scope
from musl_repair.resolve import Search, inside_entries, is_excluded, is_libpython, resolve, scheme_root
from musl_repair.sysroot import DEFAULT_PATH, Unusable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from musl_repair.elf import Elf
    from musl_repair.graph import Resolution

EXT = "/<wheel>/demo/_ext.so"


def resolved(
    files: Mapping[str, Elf | Unusable],
    outside: Mapping[str, Elf | Unusable] | None = None,
    *,
    links: Mapping[str, str] | None = None,
    ldpaths: Iterable[str] = (),
    excluded: tuple[str, ...] = (),
    may_repair: bool = True,
) -> Resolution:
    wheel = {PurePosixPath(name): answer for name, answer in files.items()}
    search = Search(DEFAULT_PATH, paths(ldpaths), excluded, may_repair)
    return resolve(wheel, system(outside, links=links), architecture(), search)


def edges(resolution: Resolution) -> dict[str, dict[str, str]]:
    return {
        str(path): {name: str(target) for name, target in names.items()} for path, names in resolution.edges.items()
    }


def missing(resolution: Resolution) -> list[tuple[str, str]]:
    return [(need.name, need.needed_by.name) for need in resolution.missing]


# Names


@pytest.mark.parametrize("name", ["libpython3.12.so.1.0", "libpython3.so", "libpython2.7.so"])
def test_libpython_is_the_interpreter_s(name: str) -> None:
    assert is_libpython(name)


@pytest.mark.parametrize("name", ["libboost_python312.so.1", "pylib.so", "libpytho.so"])
def test_other_libraries_are_not(name: str) -> None:
    assert not is_libpython(name)


def test_exclusions_are_shell_patterns_with_case() -> None:
    assert is_excluded("libcuda.so.1", ["libx*", "libcuda.so.*"])
    assert not is_excluded("libCUDA.so.1", ["libcuda*"])
    assert not is_excluded("libcuda.so.1", [])


# Paths


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/<wheel>/demo/_ext.so", "/<wheel>"),
        ("/<wheel>/_ext.so", "/<wheel>"),
        ("/<scripts>/tool", "/<scripts>"),
        ("/<data>/lib/liba.so", "/<data>"),
    ],
)
def test_a_scheme_begins_at_its_folder(path: str, root: str) -> None:
    assert scheme_root(PurePosixPath(path)) == root


@pytest.mark.parametrize(
    ("rpath", "expected"),
    [
        (None, ()),
        ("$ORIGIN", ("$ORIGIN",)),
        ("${ORIGIN}/../x:/usr/lib:$ORIGIN", ("${ORIGIN}/../x", "$ORIGIN")),
        ("$ORIGIN:$ORIGIN", ("$ORIGIN",)),
        ("$ORIGIN/..", ("$ORIGIN/..",)),
        ("$ORIGIN/../..", ()),
        ("$ORIGIN/../../<wheel>x", ()),
        ("$ORIGIN/../../<scripts>", ()),
        ("$LIB:$ORIGIN/$PLATFORM:$ORIGIN/lib", ("$ORIGIN/lib",)),
        ("lib:.", ()),
    ],
)
def test_entries_inside_the_wheel(rpath: str | None, expected: tuple[str, ...]) -> None:
    assert inside_entries(elf(rpath=rpath), PurePosixPath(EXT)) == expected


# Where needs are answered


def test_musl_s_own_names_are_no_edges() -> None:
    result = resolved({EXT: elf("libc.musl-x86_64.so.1", "libm.so.6", "/lib/ld-musl-x86_64.so.1")})
    assert edges(result) == {EXT: {}}
    assert result.missing == ()


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (["/<wheel>/own", "/<wheel>/demo/x", "/ld", "/lib", "/opt"], "/<wheel>/own"),
        (["/<wheel>/demo/x", "/ld", "/lib", "/opt"], "/<wheel>/demo/x"),
        (["/ld", "/lib", "/opt"], "/ld"),
        (["/lib", "/opt"], "/opt"),
        (["/lib", "/usr/lib"], "/lib"),
    ],
    ids=[
        "its own rpath inside the wheel",
        "any folder of the wheel that has it",
        "the user's folders",
        "its own rpath outside, before the system's folders",
        "the system's folders",
    ],
)
def test_order(there: list[str], expected: str) -> None:
    places = {f"{folder}/liba.so": elf() for folder in there}
    inside = {path: file for path, file in places.items() if path.startswith("/<wheel>")}
    outside = {path: file for path, file in places.items() if path not in inside}
    ext = elf("liba.so", rpath="/opt:$ORIGIN/../own")
    assert edges(resolved({EXT: ext, **inside}, outside, ldpaths=["/ld"]))[EXT] == {"liba.so": f"{expected}/liba.so"}


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["/<wheel>", "/<wheel>/demo", "/<wheel>/demo/x/y"], "/<wheel>/demo"),
        (["/<wheel>/other/x", "/<wheel>"], "/<wheel>"),
        (["/<wheel>/b", "/<wheel>/a"], "/<wheel>/a"),
        (["/<scripts>", "/<wheel>/a/b/c"], "/<wheel>/a/b/c"),
    ],
    ids=["its own folder", "one above", "the first of equals", "of its own scheme only"],
)
def test_the_nearest_file_of_a_name_answers(folders: list[str], expected: str) -> None:
    files = {f"{folder}/liba.so": elf() for folder in folders}
    assert edges(resolved({EXT: elf("liba.so"), **files}))[EXT] == {"liba.so": f"{expected}/liba.so"}


def test_an_unfit_file_of_the_name_answers_nothing() -> None:
    files = {EXT: elf("liba.so"), "/<wheel>/demo/liba.so": elf(arch="aarch64"), "/<wheel>/x/liba.so": elf()}
    assert edges(resolved(files))[EXT] == {"liba.so": "/<wheel>/x/liba.so"}


def test_a_library_of_the_system_can_need_one_of_the_wheel() -> None:
    files = {EXT: elf("liba.so", "libin.so"), "/<wheel>/x/libin.so": elf()}
    result = edges(resolved(files, {"/lib/liba.so": elf("libin.so")}))
    assert result["/lib/liba.so"] == {"libin.so": "/<wheel>/x/libin.so"}


def test_the_system_s_closure_is_followed_to_real_files() -> None:
    outside = {"/usr/lib/liba.so.1.2": elf("libb.so", "liba.so.1"), "/usr/lib/libb.so": elf("libc.so")}
    result = resolved({EXT: elf("liba.so.1")}, outside, links={"/usr/lib/liba.so.1": "/usr/lib/liba.so.1.2"})
    assert edges(result) == {
        EXT: {"liba.so.1": "/usr/lib/liba.so.1.2"},
        "/usr/lib/liba.so.1.2": {"libb.so": "/usr/lib/libb.so", "liba.so.1": "/usr/lib/liba.so.1.2"},
        "/usr/lib/libb.so": {},
    }
    assert result.closures[PurePosixPath("/usr/lib/libb.so")] == frozenset(paths(["/usr/lib/libb.so"]))
    assert result.closures[PurePosixPath(EXT)] == frozenset(result.elfs)


def test_two_names_of_one_file_lead_to_it() -> None:
    links = {"/usr/lib/liba.so": "/usr/lib/libreal.so", "/usr/lib/liba.so.1": "/usr/lib/libreal.so"}
    result = resolved({EXT: elf("liba.so", "liba.so.1")}, {"/usr/lib/libreal.so": elf()}, links=links)
    assert edges(result)[EXT] == {"liba.so": "/usr/lib/libreal.so", "liba.so.1": "/usr/lib/libreal.so"}


def test_an_absolute_need_is_answered_by_its_file() -> None:
    result = resolved({EXT: elf("/opt/liba.so", "./libb.so")}, {"/opt/liba.so": elf(), "/lib/liba.so": elf()})
    assert edges(result)[EXT] == {"/opt/liba.so": "/opt/liba.so"}
    assert missing(result) == [("./libb.so", "_ext.so")]


@pytest.mark.parametrize("name", ["sub/liba.so", "../lib/liba.so", "/opt/liba.so", "/opt/i686/liba.so"])
def test_a_need_that_is_a_path_to_nothing_fit_is_answered_by_its_file_name(name: str) -> None:
    outside = {"/lib/liba.so": elf(), "/opt/i686/liba.so": elf(arch="i686")}
    assert edges(resolved({EXT: elf(name)}, outside))[EXT] == {name: "/lib/liba.so"}
    inside = {EXT: elf(name), "/<wheel>/x/liba.so": elf()}
    assert edges(resolved(inside, outside))[EXT] == {name: "/<wheel>/x/liba.so"}
    assert missing(resolved(inside, may_repair=False)) == [(name, "_ext.so")]


@pytest.mark.parametrize(
    ("name", "new"),
    [
        ("libc.so", None),
        ("/lib/ld-musl-x86_64.so.1", None),
        ("/lib/libc.so", "libc.so"),
        ("usr/lib/libm.so.6", "libc.so"),
        ("/opt/ld-musl-x86_64.so.1", "libc.so"),
        ("ld-musl-x86_64.so.1", "libc.so"),
        ("libmusl.so", "libc.so"),
    ],
)
def test_musl_by_way_of_a_file_gets_a_name_that_is_always_musl_s(name: str, new: str | None) -> None:
    result = resolved({EXT: elf(name)}, links={"/usr/lib/libmusl.so": "/lib/ld-musl-x86_64.so.1"})
    assert (edges(result), missing(result)) == ({EXT: {}}, [])
    assert result.respelt == ({} if new is None else {PurePosixPath(EXT): {name: new}})


def test_a_library_whose_path_only_looks_like_musl_s_is_a_library() -> None:
    result = resolved({EXT: elf("/opt/libm.custom.so")}, {"/opt/libm.custom.so": elf()})
    assert edges(result)[EXT] == {"/opt/libm.custom.so": "/opt/libm.custom.so"}


# What is not looked for


def test_what_is_excluded_is_neither_found_nor_missing_but_remembered() -> None:
    result = resolved({EXT: elf("liba.so", "libb.so")}, {"/lib/liba.so": elf("libb.so")}, excluded=("libb*",))
    assert edges(result) == {EXT: {"liba.so": "/lib/liba.so"}, "/lib/liba.so": {}}
    assert result.missing == ()
    assert result.excluded == ((PurePosixPath(EXT), "libb.so"), (PurePosixPath("/lib/liba.so"), "libb.so"))
    assert result.elfs[PurePosixPath(EXT)].needed == ("liba.so", "libb.so")


@pytest.mark.parametrize(
    ("pattern", "left"),
    [("liba*", "liba.so"), ("/opt/*", "/opt/liba.so"), ("*/liba.so", "/opt/liba.so")],
    ids=["by its file name", "by its folder", "by its whole path"],
)
def test_what_is_excluded_is_needed_by_what_fits_the_pattern(pattern: str, left: str) -> None:
    result = resolved({EXT: elf("/opt/liba.so")}, {"/opt/liba.so": elf()}, excluded=(pattern,))
    assert (edges(result), missing(result)) == ({EXT: {}}, [])
    assert result.excluded == ((PurePosixPath(EXT), left),)
    respelt = {} if left == "/opt/liba.so" else {PurePosixPath(EXT): {"/opt/liba.so": left}}
    assert result.respelt == respelt


@pytest.mark.parametrize("name", ["libpython3.12.so.1.0", "/usr/lib/libpython3.12.so.1.0", "lib/libpython3.so"])
def test_libpython_is_neither_found_nor_missing(name: str) -> None:
    result = resolved({EXT: elf(name)}, {"/usr/lib/libpython3.12.so.1.0": elf()})
    assert edges(result) == {EXT: {}}
    assert result.missing == ()


# What is missing


def test_missing_needs_are_sorted_and_each_is_there_once() -> None:
    files = {EXT: elf("libz.so", "liba.so"), "/<wheel>/x.so": elf("liba.so", "/<wheel>/demo/_ext.so")}
    assert missing(resolved(files)) == [("liba.so", "_ext.so"), ("liba.so", "x.so"), ("libz.so", "_ext.so")]


def test_what_one_way_answers_is_not_missing() -> None:
    """As the first of a process libb.so would not find liba.so; loaded by _ext.so it does, by _ext.so's rpath."""
    files = {EXT: elf("libb.so", rpath="/opt"), "/<wheel>/x/libb.so": elf("liba.so")}
    result = resolved(files, {"/opt/liba.so": elf()})
    assert edges(result)["/<wheel>/x/libb.so"] == {"liba.so": "/opt/liba.so"}
    assert result.missing == ()


def test_as_musl_the_ways_count_that_begin_outside_of_the_wheel() -> None:
    files = {EXT: elf("libb.so", rpath="$ORIGIN/../x:$ORIGIN/../y"), "/<wheel>/x/libb.so": elf("liba.so")}
    found = {"/<wheel>/y/liba.so": elf()}
    assert missing(resolved({**files, **found}, may_repair=False)) == []
    extension = {"/<wheel>/x/libb.so": elf("liba.so", exports=["PyInit_libb"])}
    assert missing(resolved({**files, **found, **extension}, may_repair=False)) == [("liba.so", "libb.so")]


def test_as_musl_search_paths_are_taken_as_they_are() -> None:
    files = {EXT: elf("liba.so", rpath="$LIB:$ORIGIN/../x"), "/<wheel>/x/liba.so": elf()}
    assert missing(resolved(files, may_repair=False)) == [("liba.so", "_ext.so")]
    assert missing(resolved(files)) == []


def test_as_musl_the_first_file_is_taken() -> None:
    files: dict[str, Elf | Unusable] = {
        EXT: elf("liba.so", rpath="$ORIGIN:$ORIGIN/../x"),
        "/<wheel>/demo/liba.so": Unusable("not an ELF file"),
        "/<wheel>/x/liba.so": elf(),
    }
    assert missing(resolved(files, may_repair=False)) == [("liba.so", "_ext.so")]
    assert missing(resolved(files)) == []


def test_unfit_candidates_are_passed_over_and_told() -> None:
    outside: dict[str, Elf | Unusable] = {
        "/opt/liba.so": Unusable("not an ELF file"),
        "/lib/liba.so": elf(arch="aarch64"),
        "/usr/local/lib/liba.so": glibc_elf(),
    }
    (need,) = resolved({EXT: elf("liba.so", rpath="/opt")}, outside).missing
    assert [(str(at.path), at.outcome) for at in need.searched] == [
        ("/opt/liba.so", "not an ELF file"),
        ("/lib/liba.so", "for another architecture (aarch64)"),
        ("/usr/local/lib/liba.so", "linked against glibc"),
        ("/usr/lib/liba.so", "no such file"),
    ]
    found = resolved({EXT: elf("liba.so", rpath="/opt")}, {**outside, "/usr/lib/liba.so": elf()})
    assert edges(found)[EXT] == {"liba.so": "/usr/lib/liba.so"}


def test_a_relative_rpath_entry_finds_nothing() -> None:
    assert missing(resolved({EXT: elf("liba.so", rpath="x/opt")}, {"/opt/liba.so": elf()})) == [("liba.so", "_ext.so")]


# Roots


def test_programs_and_extensions_are_recognised() -> None:
    assert is_program(program())
    assert not is_program(elf())
    assert is_extension(elf(exports=["PyInit__ext"]))
    assert is_extension(elf(exports=["PyInitU_xyz"]))
    assert not is_extension(elf(exports=["Py_Init", "init"]))


def test_roots_are_what_no_other_file_needs_and_what_python_or_the_kernel_loads() -> None:
    result = resolved(
        {
            "/<wheel>/top.so": elf("inner.so", "ext.so", "run.so", "top.so"),
            "/<wheel>/inner.so": elf(),
            "/<wheel>/ext.so": elf(exports=["PyInit_ext"]),
            "/<wheel>/run.so": program(),
            "/<wheel>/ring1.so": elf("ring2.so"),
            "/<wheel>/ring2.so": elf("ring1.so"),
        }
    )
    assert [path.name for path in result.roots] == ["ext.so", "ring1.so", "run.so", "top.so"]


def test_resolving_does_not_depend_on_the_order_of_files() -> None:
    files = {EXT: elf("liba.so"), "/<wheel>/x/liba.so": elf("libz.so"), "/<wheel>/y/liba.so": elf("liby.so")}
    one, two = resolved(files), resolved(dict(reversed(files.items())))
    assert (edges(one), one.missing) == (edges(two), two.missing)
    assert list(one.edges) == list(two.edges)


# All at once

_FOLDERS = ["/<wheel>", "/<wheel>/a", "/<wheel>/b", "/<data>", "/lib", "/opt"]
_NAMES = [f"lib{letter}.so" for letter in "pqrs"]
_ENTRIES = ["$ORIGIN", "$ORIGIN/../a", "$ORIGIN/..", "$ORIGIN/../b/../a", "/opt", "$LIB", "relative"]


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Elf]:
    """Draw libraries of few names in few folders, which need each other."""
    places = draw(st.sets(st.sampled_from([f"{folder}/{name}" for folder in _FOLDERS for name in _NAMES])))
    wanted = st.sampled_from([*_NAMES, "libc.so", "/opt/libp.so", "x/libq.so", "/lib/libm.so.6"])
    needs = st.lists(wanted, unique=True, max_size=3)
    rpaths = st.none() | st.lists(st.sampled_from(_ENTRIES), max_size=2).map(":".join)
    return {place: elf(*draw(needs), rpath=draw(rpaths)) for place in sorted(places)}


@settings(deadline=None)
@given(files=worlds(), linked=st.booleans(), may_repair=st.booleans())
@example(  # libs.so is a link to what was opened by path before, and gives it the short name libp.so
    {"/<wheel>/libs.so": elf("/opt/libp.so", "libp.so", "libs.so"), "/opt/libp.so": elf("libp.so")}, True, False
)
def test_all_at_once_is_the_same_as_one_after_the_other(files: dict[str, Elf], linked: bool, may_repair: bool) -> None:
    """Each file as the first of a load is how musl does it, and how tests/alpine compares it with musl."""
    inside = {path: file for path, file in files.items() if path.startswith("/<")}
    outside = {path: file for path, file in files.items() if path not in inside}
    links = {"/lib/libs.so": "/opt/libp.so", "/usr/lib/libmusl.so": "/lib/ld-musl-x86_64.so.1"} if linked else {}

    def found() -> tuple[object, ...]:
        result = resolved(inside, outside, links=links, ldpaths=["/opt"], may_repair=may_repair)
        return edges(result), missing(result), result.respelt, result.roots

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loader, "load_at_once", lambda *_: None)
        expected = found()
    assert found() == expected


def test_where_a_name_leads_to_two_files_nothing_is_done_at_once() -> None:
    world = {"/a/x.so": elf("liby.so", rpath="/a"), "/b/x.so": elf("liby.so", rpath="/b")}
    scope = Scope(architecture().loader, DEFAULT_PATH)
    roots = paths(world)
    for files in ({"/a/liby.so": elf(), "/b/liby.so": elf()}, {"/a/liby.so": elf()}):
        assert Loader(system({**world, **files}), scope).load_at_once(roots) is None
    both = Loader(system({**world, "/lib/liby.so": elf()}), scope).load_at_once(roots)
    assert both is not None
    assert [str(need.found) for need in both] == ["/lib/liby.so"] * 2
