"""The tree that musl's loader builds for a file, with the search behind each branch. Returns values, prints nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from musl_repair.codefiles import sort_files
from musl_repair.elf import Elf, read_elf
from musl_repair.errors import ElfError, MuslRepairError
from musl_repair.loader import Need, Scope, load
from musl_repair.policy import architecture_of, describe_target
from musl_repair.resolve import Search, resolve
from musl_repair.sysroot import DEFAULT_PATH
from musl_repair.world import Mounted, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from musl_repair.facts import Facts
    from musl_repair.sysroot import Sysroot, Unusable


@dataclass(frozen=True, slots=True)
class Tree:
    """What is loaded for one file, in the order of loading."""

    root: PurePosixPath
    needs: tuple[Need, ...] = ()
    is_static: bool = False
    """Whether the file is a program that the loader has nothing to do with."""

    @property
    def missing(self) -> bool:
        """Whether the loader would fail."""
        return any(need.missing for need in self.needs)


def file_tree(sysroot: Sysroot, path: PurePosixPath, library_path: tuple[PurePosixPath, ...]) -> Tree:
    """Return the tree of a file in a target system. Raises ElfError for what musl cannot load."""
    answer = sysroot.read(path)
    elf = answer if isinstance(answer, Elf) else _static_program(sysroot, path, answer)
    architecture = architecture_of(elf)
    if architecture is None:
        raise ElfError(f"{path} is for {describe_target(elf)}, which musl's loaders for wheels do not run")
    if elf.is_static:
        return Tree(path, is_static=True)
    scope = Scope(architecture.loader, sysroot.search_path(architecture.musl_name), library_path)
    return _tree(path, sysroot, scope)


def _static_program(sysroot: Sysroot, path: PurePosixPath, answer: Unusable | None) -> Elf:
    """Return the facts of a static program, which is of no use to a loader. Raises ElfError for anything else."""
    if answer is None:
        raise ElfError(f"{path}: no such file")
    try:
        elf = read_elf(sysroot.content(path))
    except MuslRepairError:
        elf = None
    if elf is None or not elf.is_static:
        raise ElfError(f"{path}: {answer.reason}")
    return elf


def wheel_trees(facts: Facts) -> tuple[Tree, ...]:
    """Return a tree for every file of a wheel that is not only loaded by others, on a system with nothing but musl."""
    found = sort_files(facts)
    if found.architecture is None:
        return ()
    files, scope = facts.files(), Scope(found.architecture.loader, DEFAULT_PATH)
    resolution = resolve(files, None, found.architecture, Search(DEFAULT_PATH, may_repair=False))
    static = {facts.path(name) for name, elf in found.code.items() if elf.is_static}
    trees = {root: _tree(root, Mounted(files), scope) for root in resolution.roots}
    trees |= {path: Tree(path, is_static=True) for path in static}
    return tuple(tree for _, tree in sorted(trees.items()))


def _tree(root: PurePosixPath, world: World, scope: Scope) -> Tree:
    return Tree(root, load(root, world, scope))


def tree_lines(tree: Tree, *, verbose: bool) -> Iterator[str]:
    """Yield a tree as text: each library once with what it needs, later mentions only by name."""
    by_file: dict[PurePosixPath, list[Need]] = {}
    for one in tree.needs:
        by_file.setdefault(one.needed_by, []).append(one)
    yield str(tree.root)
    if tree.is_static:
        yield "  statically linked: nothing is loaded for it"
    shown = {tree.root}
    # The needs that are still to be told, of each file on the way to the one whose turn it is.
    open_ = [iter(by_file.get(tree.root, ()))]
    while open_:
        need = next(open_[-1], None)
        if need is None:
            open_.pop()
            continue
        indent, again = "  " * len(open_), need.found in shown
        yield f"{indent}{need.name} => {_outcome(need)}{' (above)' if again else ''}"
        if verbose:
            yield from (f"{indent}    {at.path}: {at.outcome or 'found'}" for at in need.searched)
        if need.found is not None and not again:
            shown.add(need.found)
            open_.append(iter(by_file.get(need.found, ())))


def _outcome(need: Need) -> str:
    if need.is_libc:
        return "musl"
    return "not found" if need.found is None else str(need.found)
