"""The order of the modules: each imports only from those above it, and each effect belongs to one of them."""

from __future__ import annotations

import ast
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "musl_repair"

LAYERS = (
    ("words", ("printable", "findings", "errors")),
    (
        "read",
        (
            "python",
            "elfimage",
            "relocations",
            "notes",
            "symbols",
            "elf",
            "codec",
            "central",
            "archive",
            "metadata",
            "record",
            "wheel",
            "packages",
            "sysroot",
            "pipeline",
            "facts",
            "reading",
            "vendored",
        ),
    ),
    (
        "rules",
        ("abi", "polyfill", "policy", "rpath", "world", "loader", "graph", "requirement", "tagging", "sizes"),
    ),
    (
        "decide",
        (
            "options",
            "target",
            "dlopening",
            "resolve",
            "excluding",
            "binding",
            "arrangement",
            "including",
            "keeping",
            "patches",
            "grafts",
            "documents",
            "polyfilling",
            "codefiles",
            "filechecks",
            "wheelchecks",
            "deduplicating",
            "check",
            "plan",
        ),
    ),
    ("describe", ("sbom",)),
    (
        "effect",
        (
            "relr",
            "sections",
            "segment",
            "lowering",
            "dynamic",
            "rewrite",
            "programs",
            "patchelf",
            "strip",
            "mend",
            "unmoved",
            "unrenamed",
            "unharmed",
            "proof",
            "editing",
            "overlay",
            "assembly",
            "repair",
            "linking",
        ),
    ),
    (
        "tell",
        (
            "console",
            "report",
            "summary",
            "show",
            "abi_report",
            "size_report",
            "treemap",
            "lddtree",
            "cli_options",
            "cli_inspect",
            "progress",
            "cli_repair",
            "cli_size",
            "cli",
        ),
    ),
)
"""Top to bottom. Within a layer the order of the list holds as well."""

ORDER = tuple(module for _, modules in LAYERS for module in modules)
COMMAND_LINE = frozenset({"cli", "cli_inspect", "cli_options", "cli_repair", "cli_size"})
OUTSIDE_THE_ORDER = frozenset({"__init__", "__main__"})
"""__init__ names the public API and imports nothing until it is asked; __main__ starts cli."""

OWNERS = {
    "elftools": {"proof"},
    "zipfile": {"archive", "central"},
    "subprocess": {"programs"},
    "click": COMMAND_LINE,
    "rich": {"console", "progress", "show", "size_report", "treemap"},
    "zlib": {"codec"},
    "deflate": {"codec"},
    "tempfile": {"programs"},
    "concurrent": {"pipeline"},
    "packaging": {"wheel", "sbom", "python"},
    "abi3info": {"python"},
    "cyclonedx": {"sbom"},
    "packageurl": {"sbom"},
}
"""Who alone may import what."""

AMBIENT_CALLS = frozenset({"print()", "input()", "chdir", "getcwd", "cwd", "system", "popen", "putenv"})
"""Nobody calls these: there is no current folder, and only the command line speaks, through click (or a console)."""
ENVIRONMENT = frozenset({"environ", "environb", "getenv"})


FILES = {path.stem: (path,) for path in PACKAGE.glob("*.py")} | {
    path.parent.name: tuple(sorted(path.parent.glob("*.py"))) for path in PACKAGE.glob("*/__init__.py")
}
"""Module → its files; a package counts as one module."""


def modules() -> list[str]:
    return sorted(FILES)


def nodes(module: str) -> Iterator[ast.AST]:
    return chain.from_iterable(ast.walk(ast.parse(file.read_text("utf-8"))) for file in FILES[module])


def imported(module: str) -> Iterator[str]:
    """Yield the full names of all that is imported, anywhere in the module: for types or inside of functions too."""
    for node in nodes(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"{module} has a relative import"
            assert not node.level, f"{module} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and name_used(node.func) == "import_module":
            yield from (str(name.value) for name in node.args if isinstance(name, ast.Constant))


def imported_modules(module: str) -> set[str]:
    """Return the modules of the package that a module imports."""
    names = [name.split(".") for name in imported(module)]
    return {name[1] for name in names if name[0] == "musl_repair" and name[1] in FILES} - {module}


def name_used(node: ast.AST) -> str | None:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def test_every_module_has_its_place() -> None:
    assert sorted({*ORDER, *OUTSIDE_THE_ORDER}) == modules()
    assert len(set(ORDER)) == len(ORDER)


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_from_above_it(module: str) -> None:
    below = imported_modules(module) - set(ORDER[: ORDER.index(module)])
    assert below == set()


def test_the_test_sees_imports() -> None:
    """Types count, and imports inside of functions: a layer is not crossed by a back door."""
    assert "elf" in imported_modules("policy")
    assert "plan" in imported_modules("cli_inspect")
    assert imported_modules("__main__") == {"cli"}


@pytest.mark.parametrize("module", modules())
def test_each_effect_has_its_owner(module: str) -> None:
    used = {name.split(".")[0] for name in imported(module)}
    stolen = {library for library, owners in OWNERS.items() if library in used and module not in owners}
    assert stolen == set()


def test_owners_use_what_is_theirs() -> None:
    used = {
        library: {module for module in modules() if library in {name.split(".")[0] for name in imported(module)}}
        for library in OWNERS
    }
    unused = {library for library, users in used.items() if not users}
    assert unused == set()


@pytest.mark.parametrize("module", modules())
def test_nobody_prints_or_has_a_current_folder(module: str) -> None:
    called = {node.func for node in nodes(module) if isinstance(node, ast.Call)}
    functions = {f"{function.id}()" for function in called if isinstance(function, ast.Name)}
    assert (functions | {name_used(function) for function in called}) & AMBIENT_CALLS == set()


@pytest.mark.parametrize("module", modules())
def test_only_the_command_line_reads_the_environment_and_exits(module: str) -> None:
    used = {name for node in nodes(module) if (name := name_used(node)) is not None}
    imports = {name.rpartition(".")[2] for name in imported(module)}
    if module not in COMMAND_LINE:
        assert (used | imports) & (ENVIRONMENT | {"exit"}) == set()
