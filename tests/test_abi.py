"""What abi.py knows of musl, against upstream's facts, against real libcs, and against itself."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from musl_repair import abi
from musl_repair.abi import Distribution, Feature, Release, Span
from musl_repair.errors import PlatformError

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
TOOL = ROOT / "tools" / "add_musl_release.py"
DATA = ROOT / "src" / "musl_repair" / "data"
TABLES = sorted(path for path in DATA.iterdir() if not path.name.endswith(".schema.json"))
ARCHITECTURES = ("aarch64", "armv7l", "i686", "loongarch64", "ppc64le", "riscv64", "s390x", "x86_64")


def release(text: str) -> Release:
    return Release.parse(text)


def maybe(text: str | None) -> Release | None:
    return None if text is None else release(text)


def distribution(text: str) -> Distribution:
    return next(one for one in abi.distributions() if str(one) == text)


# Releases


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.2.3", Release(1, 2, 3)),
        ("1.2.4_git20230717", Release(1, 2, 4)),
        ("1.2.2_pre7-r0", Release(1, 2, 2)),
        ("1.2.5-r23", Release(1, 2, 5)),
        ("1.1.24\n", Release(1, 1, 24)),
    ],
)
def test_a_release_is_read(text: str, expected: Release) -> None:
    assert Release.parse(text) == expected


@pytest.mark.parametrize("text", ["", "1.2", "1.2.x", "v1.2.3", "1.2.3.4", "musl 1.2.3", "1.2.3rc1"])
def test_what_is_no_release_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a release of musl"):
        Release.parse(text)


def test_releases_are_ordered_as_numbers_and_written_as_read() -> None:
    assert release("1.1.9") < release("1.1.10") < release("1.2.0")
    assert str(release("1.1.10")) == "1.1.10"


# Histories


def test_the_architectures_are_those_of_wheel_tags() -> None:
    assert abi.architectures() == ARCHITECTURES


def test_an_unknown_architecture_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(PlatformError, match=r"'mips64'.*aarch64, .*x86_64"):
        abi.history("mips64")


@pytest.mark.parametrize(
    ("arch", "first"),
    [
        ("x86_64", "1.0.0"),
        ("aarch64", "1.1.7"),
        ("ppc64le", "1.1.15"),
        ("s390x", "1.1.16"),
        ("riscv64", "1.1.23"),
        ("loongarch64", "1.2.5"),
    ],
)
def test_a_history_begins_with_the_architecture(arch: str, first: str) -> None:
    history = abi.history(arch)
    assert (history.arch, history.first, history.releases[0]) == (arch, release(first), release(first))
    assert history.releases == tuple(sorted(history.releases))
    assert history.newest >= release("1.2.6")
    assert history.exports(release("0.9.15")) == frozenset()


@pytest.mark.parametrize(
    ("arch", "name", "since"),
    [
        ("x86_64", "malloc", "1.0.0"),
        ("loongarch64", "malloc", "1.2.5"),
        ("x86_64", "reallocarray", "1.2.2"),
        ("x86_64", "gettid", "1.2.2"),
        ("x86_64", "qsort_r", "1.2.3"),
        ("x86_64", "pthread_getname_np", "1.2.3"),
        ("x86_64", "statx", "1.2.5"),
        ("x86_64", "preadv2", "1.2.5"),
        ("aarch64", "__getauxval", "1.2.6"),
        ("x86_64", "open64", "1.0.0"),
        ("aarch64", "open64", "1.1.7"),
        ("loongarch64", "open64", "1.2.5"),
        ("x86_64", "readdir64_r", "1.0.0"),
        ("x86_64", "posix_fallocate64", "1.2.6"),
        ("loongarch64", "posix_fallocate64", "1.2.6"),
        ("x86_64", "__xstat", "1.0.0"),
        ("i686", "__xstat", "1.2.4"),
        ("armv7l", "__lxstat", "1.2.4"),
        ("i686", "__xstat64", "1.0.0"),
        ("i686", "__clock_gettime64", "1.2.0"),
        ("armv7l", "__stat_time64", "1.2.0"),
        ("x86_64", "__clock_gettime64", None),
        ("i686", "arch_prctl", "1.1.21"),
        ("x86_64", "__cos", None),
        ("x86_64", "__memcpy_chk", None),
        ("x86_64", "fcntl64", None),
    ],
)
def test_a_symbol_resolves_from_a_release_on(arch: str, name: str, since: str | None) -> None:
    history = abi.history(arch)
    assert history.since(name) == maybe(since)
    for one in history.releases:
        if since is not None and one >= release(since):
            assert history.resolves(name, one)


def test_a_removed_symbol_has_the_release_that_lacks_it() -> None:
    history = abi.history("x86_64")
    assert history.spans("__cos") == (Span(release("1.0.0"), release("1.1.21")),)
    assert history.removed_in("__cos") == release("1.1.21")
    assert history.removed_in("cos") is None
    assert history.removed_in("no_such_name") is None
    assert history.spans("no_such_name") == ()


def test_a_large_file_name_resolves_after_its_export_is_gone() -> None:
    history = abi.history("x86_64")
    assert history.spans("open64") == (Span(release("1.0.0"), release("1.2.4")),)
    assert history.removed_in("open64") is None
    assert "open64" not in history.exports(release("1.2.4"))
    assert history.resolves("open64", release("1.2.4"))


def test_posix_fallocate64_does_not_resolve_while_the_loader_has_its_bug() -> None:
    history = abi.history("x86_64")
    missing = [str(one) for one in history.releases if not history.resolves("posix_fallocate64", one)]
    assert missing == ["1.2.4", "1.2.5"]


def test_xstat_comes_back_on_32_bit() -> None:
    assert abi.history("i686").spans("__xstat") == (
        Span(release("1.0.0"), release("1.2.0")),
        Span(release("1.2.4"), None),
    )


def test_releases_outside_the_data_count_as_the_ones_before() -> None:
    history = abi.history("x86_64")
    assert history.resolves("qsort_r", release("1.9.0"))
    assert history.exports(release("1.9.0")) == history.exports(history.newest) == history.exports_now()
    assert history.exports(release("1.0.5")) == history.exports(release("1.0.0"))
    assert not abi.history("aarch64").resolves("malloc", release("1.1.6"))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_alias_of_the_loader_has_a_name_to_go_to(arch: str) -> None:
    history = abi.history(arch)
    aliases = json.loads((DATA / "musl.json").read_text("utf-8"))["loader_aliases"]["names"]
    bases = {"readdir_r" if name == "readdir64_r" else name.removesuffix("64") for name in aliases}
    assert len(bases) == len(aliases) == 60
    for one in history.releases:
        if one >= release("1.2.4"):
            assert bases <= history.exports(one)


# Telling a release from exports


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_release_is_told_from_its_exports(arch: str) -> None:
    history = abi.history(arch)
    exports = {one: history.exports(one) for one in history.releases}
    for one in history.releases:
        same = tuple(other for other in history.releases if exports[other] == exports[one])
        assert history.identify(exports[one]) == same


def test_releases_that_export_the_same_are_all_named() -> None:
    history = abi.history("x86_64")
    found = history.identify(history.exports(release("1.2.1")))
    assert found == (release("1.1.24"), release("1.2.0"), release("1.2.1"))


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("where", abi.distributions(), ids=str)
def test_what_a_distribution_patched_does_not_deceive(arch: str, where: Distribution) -> None:
    if not where.runs(arch):
        return
    history = abi.history(arch)
    exports = (history.exports(where.musl) - where.missing_symbols) | where.extra_symbols
    found = history.identify(exports)
    # Alpine 3.18 exports again all that 1.2.4 removed, and on most architectures 1.2.4 did nothing else.
    close = {release("1.2.3")} if str(where) == "Alpine 3.18" else set()
    assert where.musl in found or close.intersection(found)


def test_names_kept_alive_do_not_make_a_libc_older() -> None:
    history = abi.history("x86_64")
    exports = history.exports(release("1.2.5")) | history.exports(release("1.2.3"))
    assert history.identify(exports) == (release("1.2.5"),)


def test_names_of_the_future_do_not_matter() -> None:
    history = abi.history("x86_64")
    assert history.identify(history.exports(history.newest) | {"of_tomorrow"}) == (history.newest,)


def test_what_is_not_musl_is_not_told() -> None:
    assert abi.history("x86_64").identify(["malloc", "free"]) == ()


# Features


@pytest.mark.parametrize(
    ("feature", "arch", "since"),
    [
        (Feature.RELR, "x86_64", "1.2.4"),
        (Feature.RELR, "loongarch64", "1.2.5"),
        (Feature.TLSDESC, "x86_64", "1.1.3"),
        (Feature.TLSDESC, "aarch64", "1.1.7"),
        (Feature.TLSDESC, "riscv64", "1.2.5"),
        (Feature.TLSDESC, "loongarch64", "1.2.6"),
        (Feature.TLSDESC, "ppc64le", None),
        (Feature.TLSDESC, "s390x", None),
        (Feature.RUNPATH, "i686", "1.1.6"),
        (Feature.GNU_HASH, "x86_64", "1.0.0"),
        (Feature.GNU_HASH, "riscv64", "1.1.23"),
    ],
)
def test_a_feature_has_a_first_release(feature: Feature, arch: str, since: str | None) -> None:
    assert abi.feature_since(feature, arch) == maybe(since)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("feature", Feature)
def test_every_feature_has_an_answer_on_every_architecture(feature: Feature, arch: str) -> None:
    since = abi.feature_since(feature, arch)
    assert since is None or abi.history(arch).first <= since <= abi.history(arch).newest


# Distributions


def test_distributions_are_in_order() -> None:
    names = [str(one) for one in abi.distributions()]
    assert names == [*(f"Alpine 3.{minor}" for minor in range(25)), "Debian 12"]
    alpine = [one.musl for one in abi.distributions() if one.name == "Alpine"]
    assert alpine == sorted(alpine)


@pytest.mark.parametrize(
    ("where", "name", "expected"),
    [
        ("Alpine 3.14", "qsort_r", False),
        ("Alpine 3.15", "qsort_r", True),
        ("Alpine 3.16", "qsort_r", True),
        ("Alpine 3.2", "pthread_setattr_default_np", False),
        ("Alpine 3.17", "posix_fallocate64", True),
        ("Alpine 3.18", "posix_fallocate64", True),
        ("Alpine 3.19", "posix_fallocate64", False),
        ("Alpine 3.23", "posix_fallocate64", False),
        ("Alpine 3.24", "posix_fallocate64", True),
        ("Alpine 3.22", "posix_getdents", False),
        ("Alpine 3.23", "posix_getdents", True),
        ("Alpine 3.23", "__getauxval", False),
        ("Debian 12", "crypt", False),
        ("Debian 12", "fts_open", True),
        ("Alpine 3.16", "fts_open", False),
    ],
)
def test_a_distribution_resolves_a_symbol(where: str, name: str, *, expected: bool) -> None:
    assert distribution(where).resolves("x86_64", name) is expected


def test_a_distribution_with_a_musl_older_than_the_architecture_does_not_run_it() -> None:
    old, new = distribution("Alpine 3.19"), distribution("Alpine 3.20")
    assert [one.runs("loongarch64") for one in (old, new)] == [False, True]
    assert [one.resolves("loongarch64", "malloc") for one in (old, new)] == [False, True]
    assert [one.has(Feature.RELR, "loongarch64") for one in (old, new)] == [False, True]


def test_relr_is_in_alpine_before_it_is_upstream() -> None:
    have = [str(one) for one in abi.distributions() if one.has(Feature.RELR, "x86_64")]
    assert have == [f"Alpine 3.{minor}" for minor in range(17, 25)]


# Hints


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("__memcpy_chk", "-U_FORTIFY_SOURCE"),
        ("__isoc23_strtol", "C23"),
        ("__cxa_thread_atexit_impl", "thread_local"),
        ("fcntl64", "64 bits"),
        ("__res_query", "res_*"),
        ("gnu_get_libc_version", "__GLIBC__"),
        ("backtrace", "libexecinfo"),
        ("arc4random_buf", "getrandom"),
        ("mallinfo2", "malloc"),
        ("swapcontext", "libucontext"),
        ("__getauxval", "-mno-outline-atomics"),
        ("posix_fallocate64", "1.2.6"),
        ("__exp_finite", "-ffast-math"),
        ("fts_open", "musl-fts"),
        ("__cos", "removed in 1.1.21"),
    ],
)
def test_a_hint_says_what_a_name_is(name: str, words: str) -> None:
    text = abi.hint(name)
    assert text is not None
    assert words in text
    assert "\n" not in text


@pytest.mark.parametrize("name", ["malloc", "open64", "qsort_r", "PyObject_Repr", "inflate", ""])
def test_there_is_no_hint_for_what_is_in_order_or_unheard_of(name: str) -> None:
    assert abi.hint(name) is None


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_what_every_release_has_needs_no_hint(arch: str) -> None:
    history = abi.history(arch)
    always = [name for name in history.exports(history.newest) if history.since(name) == history.first]
    assert [name for name in always if abi.hint(name, arch) is not None] == []


# The data


def test_the_data_are_small() -> None:
    assert sum(path.stat().st_size for path in TABLES) < 60_000


@pytest.mark.parametrize("path", TABLES, ids=lambda path: str(path.name))
def test_the_data_have_a_format(path: Path) -> None:
    assert json.loads(path.read_text("utf-8"))["format"] == 1


def test_data_of_another_format_are_refused() -> None:
    with pytest.raises(ValueError, match="format 2"):
        abi.parse_history('{"format": 2}', "x86_64")


# The tool that adds a release


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("add_musl_release", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def log() -> dict[str, Any]:
    log: dict[str, Any] = json.loads((DATA / "musl.json").read_text("utf-8"))
    return log


def newest_exports(arch: str) -> frozenset[str]:
    return abi.history(arch).exports(abi.history(arch).newest)


def test_the_data_are_as_the_tool_writes_them(tool: ModuleType, log: dict[str, Any]) -> None:
    assert tool.dumps(tool.fold(tool.table_of(log), log)) + "\n" == (DATA / "musl.json").read_text("utf-8")


def test_a_release_is_added_to_one_architecture_only(tool: ModuleType, log: dict[str, Any]) -> None:
    before = copy.deepcopy(log)
    new = tool.add(log, release("1.99.0"), "x86_64", newest_exports("x86_64") | {"of_tomorrow"})
    assert log == before
    history = abi.parse_history(json.dumps(new), "x86_64")
    assert (history.newest, history.since("of_tomorrow")) == (release("1.99.0"), release("1.99.0"))
    assert abi.parse_history(json.dumps(new), "aarch64").newest == abi.history("aarch64").newest
    assert new["symbols"]["common"]["1.99.0"] == ["of_tomorrow"]


def test_the_order_of_adding_does_not_matter(tool: ModuleType, log: dict[str, Any]) -> None:
    def add_all(*archs: str) -> str:
        new = log
        for arch in archs:
            own = {"of_tomorrow", "only_here"} if arch == "s390x" else {"of_tomorrow"}
            new = tool.add(new, release("1.99.0"), arch, newest_exports(arch) | own)
        return str(tool.dumps(new))

    one = add_all("i686", "s390x", "x86_64")
    assert add_all("x86_64", "s390x", "i686") == one
    new = json.loads(one)
    assert new["symbols"]["common"]["1.99.0"] == ["of_tomorrow"]
    assert new["symbols"]["s390x"]["1.99.0"] == ["only_here"]


def test_a_removal_is_refused_until_it_is_accepted(tool: ModuleType, log: dict[str, Any]) -> None:
    exports = newest_exports("x86_64") - {"crypt"}
    with pytest.raises(tool.RefusedError, match=r"names that the file lacks .*crypt.*--accept"):
        tool.add(log, release("1.99.0"), "x86_64", exports)
    new = tool.add(log, release("1.99.0"), "x86_64", exports, accept=True)
    assert abi.parse_history(json.dumps(new), "x86_64").removed_in("crypt") == release("1.99.0")
    assert abi.parse_history(json.dumps(new), "i686").removed_in("crypt") is None


def test_an_ignored_name_is_as_upstream_has_it(tool: ModuleType, log: dict[str, Any]) -> None:
    seen = (newest_exports("x86_64") - {"crypt"}) | {"fts_open"}
    exports = tool.ignoring(log, release("1.99.0"), "x86_64", seen, ["crypt", "fts_open"])
    assert exports == newest_exports("x86_64")


def test_the_past_is_not_rewritten(tool: ModuleType, log: dict[str, Any]) -> None:
    known = abi.history("x86_64").newest
    assert tool.add(log, known, "x86_64", newest_exports("x86_64")) == log
    with pytest.raises(tool.RefusedError, match=r"with other exports .*only in the file: news"):
        tool.add(log, known, "x86_64", newest_exports("x86_64") | {"news"})
    with pytest.raises(tool.RefusedError, match="only append"):
        tool.add(log, release("1.0.3"), "x86_64", newest_exports("x86_64"))
    with pytest.raises(tool.RefusedError, match="do not know 'mips'"):
        tool.add(log, known, "mips", newest_exports("x86_64"))


def test_no_release_is_left_out(tool: ModuleType, log: dict[str, Any]) -> None:
    new = tool.add(log, release("1.99.1"), "x86_64", newest_exports("x86_64"))
    for skipping in ("1.99.0", "1.99.2"):
        with pytest.raises(tool.RefusedError, match=r"is 1\.99\.1: add that one on aarch64 first"):
            tool.add(new, release(skipping), "aarch64", newest_exports("aarch64"))


def test_a_name_that_distributions_add_is_doubtful(tool: ModuleType) -> None:
    known = json.loads((DATA / "distributions.json").read_text("utf-8"))
    tool.refuse_backports(frozenset({"of_tomorrow"}), known)
    with pytest.raises(tool.RefusedError, match="fts_open"):
        tool.refuse_backports(frozenset({"of_tomorrow", "fts_open"}), known)


def test_a_libc_must_be_what_it_is_said_to_be(tool: ModuleType) -> None:
    libc = tool.Libc(frozenset(), "EM_X86_64", 64, frozenset({"127.0.0.1", "1.2.5"}))
    tool.check_libc(libc, release("1.2.5"), "x86_64")
    with pytest.raises(tool.RefusedError, match=r"not call itself musl 1.2.6; it says 1.2.5"):
        tool.check_libc(libc, release("1.2.6"), "x86_64")
    with pytest.raises(tool.RefusedError, match="EM_X86_64"):
        tool.check_libc(libc, release("1.2.5"), "i686")
    with pytest.raises(tool.RefusedError, match="unknown architecture"):
        tool.check_libc(libc, release("1.2.5"), "mips")


def test_what_is_no_elf_file_is_refused(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "libc.so"
    path.write_bytes(b"a linker script")
    assert tool.main(["1.99.0", str(path), "--arch", "x86_64"]) == 1
    assert "error:" in capsys.readouterr().err


# Real libcs


def alpine_libc() -> Path:
    root = os.environ.get("MUSL_REPAIR_ALPINE")
    if root is None:
        pytest.skip("MUSL_REPAIR_ALPINE does not name a folder with an Alpine root")
    path = Path(root) / "alpine" / "lib" / "ld-musl-x86_64.so.1"
    if not path.exists():
        pytest.skip(f"{path} is missing")
    return path


def debian_libc() -> Path:
    places = (Path("/lib/ld-musl-x86_64.so.1"), Path("/lib/x86_64-linux-musl/libc.so"))
    # An Alpine host has the first one, too: only Debian's own is meant.
    found = next((path for path in places if path.exists() and Path("/etc/debian_version").exists()), None)
    if found is None:
        pytest.skip("Debian's package musl is not installed here")
    return found


@pytest.mark.alpine
def test_alpine_exports_what_the_data_say(tool: ModuleType) -> None:
    libc, where = tool.read_libc(alpine_libc()), distribution("Alpine 3.23")
    tool.check_libc(libc, where.musl, "x86_64")
    history = abi.history("x86_64")
    assert libc.exports == (history.exports(where.musl) - where.missing_symbols) | where.extra_symbols
    assert history.identify(libc.exports) == (where.musl,)


@pytest.mark.alpine
def test_debian_exports_what_the_data_say(tool: ModuleType) -> None:
    libc, where = tool.read_libc(debian_libc()), distribution("Debian 12")
    if str(where.musl) not in libc.versions:
        pytest.skip(f"the musl installed here is not Debian 12's {where.musl}")
    history = abi.history("x86_64")
    assert libc.exports == (history.exports(where.musl) - where.missing_symbols) | where.extra_symbols
    assert history.identify(libc.exports) == (where.musl,)


def run_tool(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(TOOL), "--data", str(data), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Give a copy of the data that knows x86_64 up to 1.2.4 only."""
    copied = Path(shutil.copytree(DATA, tmp_path / "data"))
    log = json.loads((copied / "musl.json").read_text("utf-8"))
    log["known"]["x86_64"][1] = "1.2.4"
    (copied / "musl.json").write_text(json.dumps(log), "utf-8")
    return copied


@pytest.mark.alpine
def test_the_tool_learns_a_release_from_a_libc_alone(data: Path) -> None:
    backported = ("--ignore", "posix_getdents", "--ignore", "pthread_mutexattr_setprioceiling")
    arguments = ("1.2.5", str(alpine_libc()), "--arch", "x86_64")

    refused = run_tool(data, *arguments)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: new, but known as what a distribution adds by itself")

    added = run_tool(data, *arguments, *backported)
    assert (added.returncode, added.stderr) == (0, "")
    assert added.stdout.endswith("new: preadv2 pwritev2 statx\n")
    text = (data / "musl.json").read_text("utf-8")
    learnt = abi.parse_history(text, "x86_64")
    assert learnt.newest == release("1.2.5")
    assert learnt.exports(learnt.newest) == abi.history("x86_64").exports(learnt.newest)

    again = run_tool(data, *arguments, *backported)
    assert (again.returncode, again.stderr) == (0, "")
    assert "nothing to do" in again.stdout
    assert (data / "musl.json").read_text("utf-8") == text


@pytest.mark.alpine
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("1.2.7", "--arch", "x86_64"), "does not call itself musl 1.2.7; it says 1.2.5"),
        (("1.2.5", "--arch", "aarch64"), "the file is for EM_X86_64 (64 bits), not for aarch64"),
        (("latest", "--arch", "x86_64"), "not a release of musl: 'latest'"),
    ],
    ids=["release", "architecture", "no release"],
)
def test_the_tool_refuses_what_contradicts(data: Path, arguments: tuple[str, ...], message: str) -> None:
    before = (data / "musl.json").read_text("utf-8")
    result = run_tool(data, *arguments, str(alpine_libc()))
    assert result.returncode == 1
    assert message in result.stderr
    assert (data / "musl.json").read_text("utf-8") == before
