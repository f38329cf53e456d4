"""What musl's loader does, as loader.py does it: MUSL-LOADER's rules on names, search order and identity."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from facts_by_hand import architecture, elf, glibc_elf, libc, paths, system
from musl_repair.loader import Attempt, Loader, Need, Scope, is_libc, is_reserved, load, refusal
from musl_repair.rpath import expand_rpath, is_valid_entry, rpath_entries
from musl_repair.sysroot import DEFAULT_PATH, Unusable
from musl_repair.world import Mounted, is_mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from musl_repair.elf import Elf

LOADER = architecture().loader
ROOT = "/app/a.so"
_SYSTEM = tuple(map(str, DEFAULT_PATH))


def needs(
    files: Mapping[str, Elf | Unusable],
    *,
    root: str = ROOT,
    links: Mapping[str, str] | None = None,
    first: Iterable[str] = (),
    last: Iterable[str] = _SYSTEM,
    accepts: Callable[[Elf], str | None] | None = None,
) -> tuple[Need, ...]:
    """Load a file; first is LD_LIBRARY_PATH, last the system's folders."""
    scope = Scope(LOADER, paths(last), paths(first), accepts)
    return load(PurePosixPath(root), system(files, links=links), scope)


def found(
    files: Mapping[str, Elf | Unusable],
    *,
    links: Mapping[str, str] | None = None,
    first: Iterable[str] = (),
    last: Iterable[str] = _SYSTEM,
) -> list[tuple[str, str, str | None]]:
    """Load a file and say who needs what and where it is, in the loader's order."""
    answers = needs(files, links=links, first=first, last=last)
    return [(one.needed_by.name, one.name, None if one.found is None else str(one.found)) for one in answers]


# Names that are libc


@pytest.mark.parametrize("name", ["c", "pthread", "rt", "m", "dl", "util", "xnet"])
@pytest.mark.parametrize("rest", ["so", "so.6", "custom.so", "musl-x86_64.so.1", ""])
def test_whatever_is_behind_the_first_dot_these_names_are_libc(name: str, rest: str) -> None:
    assert is_reserved(f"lib{name}.{rest}")


@pytest.mark.parametrize(
    "name",
    [
        "libm-1a2b3c4d.so.6",
        "libmvec.so.1",
        "libcrypt.so.1",
        "libresolv.so.2",
        "libnsl.so.1",
        "libc",
        "libc++.so.1",
        "libp.so",
        "xlibc.so",
        "c.so",
        "ld-linux-x86-64.so.2",
        "ld-musl-x86_64.so.1",
        "/lib/libc.so",
        "./libm.so.6",
        "",
    ],
)
def test_other_names_are_files(name: str) -> None:
    assert not is_reserved(name)


def test_a_reserved_name_is_libc_even_where_a_file_has_it() -> None:
    world = {ROOT: elf("libm.custom.so", rpath="$ORIGIN"), "/app/libm.custom.so": elf("libnone.so")}
    assert needs(world) == (Need(PurePosixPath(ROOT), "libm.custom.so", None, is_libc=True),)


def test_the_loader_s_own_path_is_libc() -> None:
    assert needs({ROOT: elf("/lib/ld-musl-x86_64.so.1")})[0].is_libc
    assert needs({ROOT: elf("/lib/ld-musl-aarch64.so.1")})[0].missing


def test_the_loader_s_bare_name_is_libc_where_the_file_is_on_the_search_path() -> None:
    (need,) = needs({ROOT: elf("ld-musl-x86_64.so.1")})
    assert need.is_libc
    assert not need.missing
    assert needs({ROOT: elf("ld-musl-x86_64.so.1")}, last=["/opt"])[0].missing


def test_a_second_libc_is_the_running_one() -> None:
    world = {ROOT: elf("libfake.so", "/opt/other-libc"), "/lib/libfake.so": libc("1.2.3"), "/opt/other-libc": libc()}
    assert [(need.is_libc, need.found) for need in needs(world)] == [(True, None), (True, None)]


@pytest.mark.parametrize("exports", [{"stdin"}, {"__libc_start_main"}, set()])
def test_one_of_the_two_names_makes_no_libc(exports: set[str]) -> None:
    assert not is_libc(elf(exports=exports))


# Names with a slash


def test_an_absolute_name_is_opened_as_it_is() -> None:
    world = {ROOT: elf("/opt/liba.so", rpath="$ORIGIN"), "/opt/liba.so": elf(), "/app/opt/liba.so": elf()}
    assert found(world) == [("a.so", "/opt/liba.so", "/opt/liba.so")]


def test_a_relative_name_with_a_slash_is_not_searched_for() -> None:
    world = {ROOT: elf("sub/liba.so", "./liba.so", rpath="$ORIGIN"), "/app/sub/liba.so": elf(), "/app/liba.so": elf()}
    assert found(world) == [("a.so", "sub/liba.so", None), ("a.so", "./liba.so", None)]


def test_what_was_opened_by_path_has_no_short_name() -> None:
    world = {ROOT: elf("/opt/liba.so", "liba.so"), "/opt/liba.so": elf()}
    assert found(world) == [("a.so", "/opt/liba.so", "/opt/liba.so"), ("a.so", "liba.so", None)]


def test_a_search_gives_what_was_opened_by_path_its_short_name() -> None:
    world = {
        ROOT: elf("/opt/liba.so", "libb.so", "libc1.so", rpath="/b"),
        "/opt/liba.so": elf(),
        "/b/libb.so": elf("liba.so", rpath="/opt"),
        "/b/libc1.so": elf("liba.so"),
    }
    assert found(world)[-2:] == [("libb.so", "liba.so", "/opt/liba.so"), ("libc1.so", "liba.so", "/opt/liba.so")]


# Short names and identity


def test_the_first_library_of_a_name_is_every_later_one() -> None:
    world = {
        ROOT: elf("liba.so", "libb.so", rpath="$ORIGIN/one"),
        "/app/one/liba.so": elf(),
        "/app/one/libb.so": elf("liba.so", rpath="$ORIGIN/../two"),
        "/app/two/liba.so": elf("libnone.so"),
    }
    assert found(world)[-1] == ("libb.so", "liba.so", "/app/one/liba.so")
    assert needs(world)[-1].searched == ()


def test_a_soname_is_no_name() -> None:
    world = {ROOT: elf("libreal.so.1", rpath="$ORIGIN"), "/app/librenamed.so": elf(soname="libreal.so.1")}
    assert found(world) == [("a.so", "libreal.so.1", None)]


def test_the_same_file_under_two_names_is_one_library() -> None:
    world = {
        ROOT: elf("libone.so", "libtwo.so"),
        "/lib/libreal.so": elf("libx.so", rpath="$ORIGIN"),
        "/lib/libx.so": elf(),
    }
    links = {"/lib/libone.so": "/lib/libreal.so", "/lib/libtwo.so": "/lib/libreal.so"}
    assert found(world, links=links) == [
        ("a.so", "libone.so", "/lib/libone.so"),
        ("a.so", "libtwo.so", "/lib/libone.so"),
        ("libone.so", "libx.so", "/lib/libx.so"),
    ]


def test_a_library_keeps_its_first_short_name() -> None:
    """Musl sets the short name of what is loaded already only where it has none: libtwo.so is searched for again."""
    world = {
        ROOT: elf("libb.so", "libz.so"),
        "/lib/libb.so": elf("libone.so", "libtwo.so", rpath="/opt"),
        "/lib/libz.so": elf("libone.so", "libtwo.so"),
        "/opt/libreal.so": elf(),
    }
    links = {"/opt/libone.so": "/opt/libreal.so", "/opt/libtwo.so": "/opt/libreal.so"}
    assert found(world, links=links)[-2:] == [
        ("libz.so", "libone.so", "/opt/libone.so"),
        ("libz.so", "libtwo.so", None),
    ]


def test_the_first_file_can_be_needed_by_what_it_loads() -> None:
    world = {ROOT: elf("libb.so", rpath="$ORIGIN"), "/app/libb.so": elf("a.so")}
    assert found(world) == [("a.so", "libb.so", "/app/libb.so"), ("libb.so", "a.so", ROOT)]


# Order


def test_libraries_are_loaded_breadth_first() -> None:
    world = {
        ROOT: elf("libb.so", "libd.so"),
        "/lib/libb.so": elf("libe.so"),
        "/lib/libd.so": elf("libf.so"),
        "/lib/libe.so": elf("libg.so"),
        "/lib/libf.so": elf(),
        "/lib/libg.so": elf(),
    }
    assert [need.name for need in needs(world)] == ["libb.so", "libd.so", "libe.so", "libf.so", "libg.so"]


def test_cycles_end() -> None:
    world = {ROOT: elf("libb.so"), "/lib/libb.so": elf("libd.so"), "/lib/libd.so": elf("libb.so", "libd.so")}
    assert found(world) == [
        ("a.so", "libb.so", "/lib/libb.so"),
        ("libb.so", "libd.so", "/lib/libd.so"),
        ("libd.so", "libb.so", "/lib/libb.so"),
        ("libd.so", "libd.so", "/lib/libd.so"),
    ]


@pytest.mark.parametrize("root", [None, Unusable("not an ELF file")], ids=["that is not there", "that is no library"])
def test_a_file_has_no_needs(root: Unusable | None) -> None:
    assert needs({} if root is None else {ROOT: root}) == ()


# Search order


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (["/first", "/own", "/last"], "/first"),
        (["/own", "/last"], "/own"),
        (["/last"], "/last"),
        ([], None),
    ],
    ids=["LD_LIBRARY_PATH is first", "then comes the rpath", "then the system", "then nothing"],
)
def test_search_order(there: list[str], expected: str | None) -> None:
    world = {ROOT: elf("liba.so", rpath="/own"), **{f"{folder}/liba.so": elf() for folder in there}}
    where = None if expected is None else f"{expected}/liba.so"
    assert found(world, first=["/first"], last=["/last"]) == [("a.so", "liba.so", where)]


def test_the_rpath_of_who_loaded_a_library_is_inherited() -> None:
    world = {
        ROOT: elf("libb.so", rpath="$ORIGIN/deep:/b"),
        "/b/libb.so": elf("libd.so", runpath="$ORIGIN/d"),
        "/b/d/libd.so": elf("libe.so", "libnone.so"),
        "/app/deep/libe.so": elf(),
    }
    assert ("libd.so", "libe.so", "/app/deep/libe.so") in found(world)
    places = [str(attempt.path) for attempt in needs(world)[-1].searched]
    folders = ["/b/d", "/app/deep", "/b", "/lib", "/usr/local/lib", "/usr/lib"]
    assert places == [f"{folder}/libnone.so" for folder in folders]


def test_a_sibling_s_rpath_is_not_inherited() -> None:
    world = {
        ROOT: elf("libb.so", "libd.so"),
        "/lib/libb.so": elf(rpath="/own"),
        "/lib/libd.so": elf("libe.so"),
        "/own/libe.so": elf(),
    }
    assert found(world)[-1] == ("libd.so", "libe.so", None)


def test_the_chain_is_that_of_who_loaded_a_library_first() -> None:
    world = {
        ROOT: elf("libb.so", "libd.so"),
        "/lib/libb.so": elf("libshared.so"),
        "/lib/libd.so": elf("libshared.so", rpath="/own"),
        "/lib/libshared.so": elf("libe.so"),
        "/own/libe.so": elf(),
    }
    assert found(world)[-1] == ("libshared.so", "libe.so", None)


def test_each_place_is_looked_in_once() -> None:
    world = {ROOT: elf("libnone.so", rpath="/lib:/own:/lib")}
    assert needs(world)[0].searched == tuple(
        Attempt(PurePosixPath(f"{folder}/libnone.so"), "no such file")
        for folder in ["/lib", "/own", "/usr/local/lib", "/usr/lib"]
    )


def test_the_trace_ends_with_what_was_found() -> None:
    world = {ROOT: elf("liba.so"), "/usr/local/lib/liba.so": elf(), "/usr/lib/liba.so": elf()}
    assert needs(world)[0].searched == (
        Attempt(PurePosixPath("/lib/liba.so"), "no such file"),
        Attempt(PurePosixPath("/usr/local/lib/liba.so"), ""),
    )


# Search paths


def test_runpath_wins_over_rpath() -> None:
    assert elf(rpath="/one", runpath="/two").rpath == "/two"
    assert elf(rpath="/one", runpath="").rpath == ""
    assert elf(rpath="/one").rpath == "/one"


def test_an_empty_runpath_hides_the_rpath() -> None:
    world = {ROOT: elf("liba.so", rpath="/own", runpath=""), "/own/liba.so": elf()}
    assert found(world) == [("a.so", "liba.so", None)]


@pytest.mark.parametrize(
    ("rpath", "expected"),
    [
        (None, ()),
        ("", ()),
        (":::", ()),
        ("/a:/b", ("/a", "/b")),
        ("/a\n/b", ("/a", "/b")),
        (":/a::/b:", ("/a", "/b")),
        ("/a\n\n:/b\n", ("/a", "/b")),
        ("/a b:/c", ("/a b", "/c")),
    ],
)
def test_entries_end_at_colons_and_line_ends_and_empty_ones_are_skipped(
    rpath: str | None, expected: tuple[str, ...]
) -> None:
    assert rpath_entries(rpath) == expected


@pytest.mark.parametrize(
    ("rpath", "expected"),
    [
        ("$ORIGIN", ["/o"]),
        ("${ORIGIN}", ["/o"]),
        ("$ORIGIN/../x", ["/o/../x"]),
        ("/p$ORIGIN/q", ["/p/o/q"]),
        ("$ORIGINAL", ["/oAL"]),
        ("${ORIGIN}AL", ["/oAL"]),
        ("/a:$ORIGIN:/b", ["/a", "/o", "/b"]),
        ("$ORIGIN$ORIGIN", ["/o/o"]),
        ("$LIB:/a:$ORIGIN", []),
        ("/a:${PLATFORM}/b", []),
        ("$ORIGIN/$LIB", []),
        ("/a:$", []),
        ("$origin", []),
        ("${ORIGIN", []),
        ("$ORIGI", []),
    ],
)
def test_origin_is_the_only_token_and_any_other_drops_the_whole_rpath(rpath: str, expected: list[str]) -> None:
    assert expand_rpath(rpath, PurePosixPath("/o")) == paths(expected)


def test_an_entry_is_valid_for_itself() -> None:
    assert is_valid_entry("$ORIGIN/x")
    assert not is_valid_entry("$LIB")


def test_an_unknown_token_drops_only_the_rpath_that_it_is_in() -> None:
    world = {
        ROOT: elf("libb.so", rpath="/b"),
        "/b/libb.so": elf("libd.so", rpath="/d:$LIB"),
        "/d/libd.so": elf("libnone.so"),
        "/b/libd.so": elf(),
    }
    assert found(world)[-1] == ("libb.so", "libd.so", "/b/libd.so")


def test_origin_is_the_folder_as_it_was_opened() -> None:
    """A link to a file makes the link's folder the origin, a linked folder leads to the same places as the real one."""
    world = {
        ROOT: elf("libb.so", rpath="/links"),
        "/real/libb.so": elf("libd.so", rpath="$ORIGIN"),
        "/real/libd.so": elf(),
    }
    assert found(world, links={"/links/libb.so": "/real/libb.so"})[-1] == ("libb.so", "libd.so", None)
    assert found(world, links={"/links": "/real"})[-1] == ("libb.so", "libd.so", "/links/libd.so")


def test_a_relative_entry_leads_nowhere_that_is_known() -> None:
    """It is relative to the working directory of whoever imports the wheel."""
    world = {ROOT: elf("liba.so", rpath="x/own:own:."), "/own/liba.so": elf(), "/liba.so": elf(), "/app/liba.so": elf()}
    assert found(world) == [("a.so", "liba.so", None)]


# What is taken


@pytest.mark.parametrize(
    "wrong",
    [Unusable("not an ELF file"), Unusable("not a regular file"), Unusable("a loop of symbolic links")],
    ids=lambda wrong: wrong.reason,
)
def test_musl_stops_at_the_first_file_that_opens(wrong: Unusable) -> None:
    world: dict[str, Elf | Unusable] = {
        ROOT: elf("liba.so", rpath="/own"),
        "/own/liba.so": wrong,
        "/lib/liba.so": elf(),
    }
    (need,) = needs(world)
    assert need.missing
    assert need.searched == (Attempt(PurePosixPath("/own/liba.so"), wrong.reason),)


@pytest.mark.parametrize("wrong", [elf(arch="aarch64"), glibc_elf()], ids=["another machine's", "glibc's"])
def test_musl_judges_no_library(wrong: Elf) -> None:
    world = {ROOT: elf("liba.so", rpath="/own"), "/own/liba.so": wrong, "/lib/liba.so": elf()}
    assert found(world)[0] == ("a.so", "liba.so", "/own/liba.so")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (Unusable("not an ELF file"), "not an ELF file"),
        (elf(arch="aarch64"), "for another architecture (aarch64)"),
        (elf(arch="i686"), "for another architecture (i686)"),
        (glibc_elf(), "linked against glibc"),
    ],
    ids=["a text file", "another machine", "another class", "glibc"],
)
def test_with_a_judge_unfit_candidates_are_passed_over_with_a_reason(wrong: Elf | Unusable, reason: str) -> None:
    world: dict[str, Elf | Unusable] = {
        ROOT: elf("liba.so", rpath="/own"),
        "/own/liba.so": wrong,
        "/lib/liba.so": elf(),
    }
    (need,) = needs(world, accepts=refusal(architecture()))
    assert need.found == PurePosixPath("/lib/liba.so")
    assert need.searched[0] == Attempt(PurePosixPath("/own/liba.so"), reason)


def test_with_a_judge_nothing_fit_is_missing() -> None:
    world: dict[str, Elf | Unusable] = {
        ROOT: elf("liba.so"),
        "/lib/liba.so": elf(arch="i686"),
        "/usr/lib/liba.so": Unusable("no library"),
    }
    (need,) = needs(world, accepts=refusal(architecture()))
    assert need.missing
    assert [attempt.outcome for attempt in need.searched] == [
        "for another architecture (i686)",
        "no such file",
        "no library",
    ]


def test_what_names_no_architecture_is_described_by_its_header() -> None:
    assert refusal(architecture())(elf(arch="ppc64le")) == "for another architecture (ppc64le)"
    assert refusal(architecture("s390x"))(elf(arch="s390x")) is None
    assert refusal(architecture("armv6l"))(elf(arch="armv7l")) is None


def test_another_abi_of_the_same_machine_is_another_architecture() -> None:
    soft = elf(arch="armv7l")._replace(flags=0x5000200)
    reason = refusal(architecture("armv7l"))(soft)
    assert reason == "for another architecture (ELF machine 40, 32 bit, little endian, flags 0x5000200)"


# A wheel in a world


def test_a_wheel_s_folders_are_its_own() -> None:
    inside, outside = elf("inside"), elf("outside")
    world = Mounted({PurePosixPath("/<wheel>/a.so"): inside}, system({"/a.so": outside, "/lib/b.so": outside}))
    assert world.read(PurePosixPath("/<wheel>/a.so")) == inside
    assert world.read(PurePosixPath("/<wheel>/x/../a.so")) == inside
    assert world.read(PurePosixPath("/<wheel>/b.so")) is None
    assert world.read(PurePosixPath("/lib/b.so")) == outside


def test_no_way_leads_from_a_wheel_into_the_system() -> None:
    world = Mounted({}, system({"/lib/b.so": elf()}))
    assert world.read(PurePosixPath("/<wheel>/../lib/b.so")) is None
    assert world.read(PurePosixPath("/<scripts>/../lib/b.so")) is None


def test_no_way_is_known_from_one_scheme_of_a_wheel_to_another() -> None:
    world = Mounted({PurePosixPath("/<wheel>/a.so"): elf(), PurePosixPath("/<scripts>/tool"): elf()})
    assert world.read(PurePosixPath("/<scripts>/../<wheel>/a.so")) is None
    assert world.read(PurePosixPath("/<wheel>/../<wheel>/a.so")) is not None


def test_without_a_system_there_is_only_the_wheel() -> None:
    world = Mounted({PurePosixPath("/<wheel>/a.so"): elf()})
    assert world.read(PurePosixPath("/lib/b.so")) is None
    assert world.real(PurePosixPath("/lib/b.so")) == PurePosixPath("/lib/b.so")


def test_the_same_file_has_the_same_real_path() -> None:
    world = Mounted({}, system(links={"/lib/b.so": "/lib/b.so.1"}))
    assert world.real(PurePosixPath("/<wheel>/x/../a.so")) == PurePosixPath("/<wheel>/a.so")
    assert world.real(PurePosixPath("/lib/b.so")) == PurePosixPath("/lib/b.so.1")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/<wheel>/a.so", True),
        ("/<scripts>/a", True),
        ("/<wheel>/../lib/a.so", True),
        ("/<host>/opt/a.so", False),
        ("/lib/<a>.so", False),
        ("/", False),
    ],
)
def test_folders_in_angle_brackets_are_a_wheel_s_but_for_the_host_s(path: str, *, expected: bool) -> None:
    assert is_mounted(PurePosixPath(path)) == expected


# Many files, one loader

_MANY = {
    "/app/a.so": elf("liba.so", "libnone.so", rpath="$ORIGIN/libs"),
    "/app/b.so": elf("liba.so", "libnone.so", rpath="$ORIGIN/libs"),
    "/app/libback.so": elf("liba.so", "libnone.so", rpath="$ORIGIN/libs"),
    "/app/c.so": elf("liba.so", rpath="$ORIGIN/libs"),
    "/other/a.so": elf("liba.so", "libnone.so", rpath="$ORIGIN/libs"),
    "/app/libs/liba.so": elf("libback.so", "libb.so", rpath="$ORIGIN/..:$ORIGIN/more"),
    "/app/libs/more/libb.so": elf("liba.so", "/app/libs/more/libb.so", "c.so"),
    "/other/libs/liba.so": elf("libb.so", "liba.so"),
    "/usr/lib/libb.so": elf("b.so", rpath="/app"),
}


@pytest.mark.parametrize("backwards", [False, True], ids=["in order", "backwards"])
def test_each_file_is_loaded_as_if_it_was_the_first(backwards: bool) -> None:
    world, scope = system(_MANY), Scope(LOADER, paths(_SYSTEM))
    loader = Loader(world, scope)
    roots = sorted(paths(_MANY), reverse=backwards)
    assert [loader.load(root) for root in (*roots, *roots)] == [load(root, world, scope) for root in (*roots, *roots)]


def test_what_is_remembered_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("musl_repair.loader._MAX_KEPT", 3)
    test_each_file_is_loaded_as_if_it_was_the_first(backwards=False)


def test_what_was_searched_for_is_not_searched_for_again() -> None:
    read: list[PurePosixPath] = []
    world = system(_MANY)

    class Watched:
        def read(self, path: PurePosixPath) -> Elf | Unusable | None:
            read.append(path)
            return world.read(path)

        def real(self, path: PurePosixPath) -> PurePosixPath:
            return world.real(path)

        def is_empty(self, folder: PurePosixPath) -> bool:
            return world.is_empty(folder)

    loader = Loader(Watched(), Scope(LOADER, paths(_SYSTEM)))
    first, second = paths(["/app/a.so", "/app/b.so"])
    needs = loader.load(first)
    read.clear()
    assert [need[1:] for need in loader.load(second)] == [need[1:] for need in needs]
    assert set(read) == {second}
