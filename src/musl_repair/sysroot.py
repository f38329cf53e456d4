"""A target root: its files, which no link leads out of, its search path, its packages.

Source: path_resolution(7) and chroot(2) for links, musl 1.2.6 ldso/dynlink.c for the search path.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair.elf import Elf, read_elf
from musl_repair.elfimage import MAGIC
from musl_repair.errors import ElfError, SysrootError
from musl_repair.packages import Distribution, apk_listing, is_name, listing, read_dpkg, read_os_release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO

    from musl_repair.packages import Package

HOST: Final = PurePosixPath("/<host>")
"""Where the loader finds folders of this machine that lie outside the root (--ldpaths)."""

DEFAULT_PATH: Final = tuple(PurePosixPath(folder) for folder in ("/lib", "/usr/local/lib", "/usr/lib"))
_APK_DATABASES: Final = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")
_DPKG: Final = PurePosixPath("/var/lib/dpkg")
_LICENSES: Final = PurePosixPath("/usr/share/licenses")
_DOCUMENTS: Final = PurePosixPath("/usr/share/doc")
_MAX_LINKS: Final = 40
"""Linux' own limit for one path."""


class Unusable(NamedTuple):
    """A file that is there and that no loader could use; reason says why."""

    reason: str


class Sysroot:
    """Reads a root folder as a system that was started from it would see it.

    Loader paths in, facts out; what was read once is not read again.
    """

    def __init__(self, root: Path) -> None:
        """Take a folder as root. Raises SysrootError where there is none."""
        if not root.is_dir():
            raise SysrootError(f"the sysroot {root} is not a folder")
        self.root: Final = root
        self._facts: dict[PurePosixPath, Elf | Unusable] = {}
        self._digests: dict[PurePosixPath, str] = {}
        self._real: dict[PurePosixPath, PurePosixPath | Unusable | None] = {}
        self._owner_of: Callable[[str], Package | None] | None = None

    def read(self, path: PurePosixPath) -> Elf | Unusable | None:
        """Return the facts of the file that a loader would open here; None where there is no file."""
        real = self._resolve(path)
        if real is None or isinstance(real, Unusable):
            return real
        if real not in self._facts:
            self._facts[real] = self._read(real)
        return self._facts[real]

    def real(self, path: PurePosixPath) -> PurePosixPath:
        """Return the path with all links resolved inside the root; the path itself where it leads nowhere."""
        real = self._resolve(path)
        return real if isinstance(real, PurePosixPath) else path

    def is_empty(self, folder: PurePosixPath) -> bool:
        """Whether there is nothing at all where a folder would be."""
        return self._resolve(folder) is None

    def file(self, path: PurePosixPath) -> Path:
        """Return the file on this machine that a path of the root leads to. Raises SysrootError without one."""
        real = self._resolve(path)
        if not isinstance(real, PurePosixPath):
            raise SysrootError(f"{path} is not in the sysroot {self.root}")
        return self._on_disk(real)

    def content(self, path: PurePosixPath) -> bytes:
        """Return a file's content. Raises SysrootError where it cannot be read."""
        try:
            with open(self.file(path), "rb", opener=_open_at_once) as file:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    return file.read()
        except OSError as error:
            raise SysrootError(f"cannot read {path} in the sysroot {self.root}: {error.strerror}") from error
        raise SysrootError(f"cannot read {path} in the sysroot {self.root}: it is not a regular file")

    def digest(self, path: PurePosixPath) -> str:
        """Return the SHA-256 of a file's content, in hex: of a library, as it was when its facts were read."""
        real = self.real(path)
        if real not in self._digests:
            self._digests[real] = hashlib.sha256(self.content(path)).hexdigest()
        return self._digests[real]

    def size(self, path: PurePosixPath) -> int:
        """Return a file's size in bytes."""
        return self.file(path).stat().st_size

    def search_path(self, musl_arch: str) -> tuple[PurePosixPath, ...]:
        """Return the folders that musl searches last.

        musl ldso/dynlink.c, load_library: /etc/ld-musl-$ARCH.path replaces the built-in list.
        """
        path = PurePosixPath(f"/etc/ld-musl-{musl_arch}.path")
        if not isinstance(self._resolve(path), PurePosixPath):
            return DEFAULT_PATH
        # load_library reads it with getdelim, up to the first NUL.
        text = self.content(path).partition(b"\0")[0].decode("utf-8", "surrogateescape")
        return tuple(PurePosixPath(entry) for entry in text.replace("\n", ":").split(":") if entry.startswith("/"))

    def loaders(self) -> tuple[str, ...]:
        """Return the file names of the musl loaders in /lib, sorted: one for each architecture that can run."""
        folder = self._resolve(PurePosixPath("/lib"))
        if not isinstance(folder, PurePosixPath):
            return ()
        return tuple(sorted(place.name for place in self._on_disk(folder).glob("ld-musl-*.so.1")))

    def locate(self, folder: Path) -> PurePosixPath:
        """Return the loader path of a folder that a user names: the root's if it has it, else this machine's."""
        inside = PurePosixPath("/") / folder.as_posix()
        real = self._resolve(inside) if folder.is_absolute() else None
        if isinstance(real, PurePosixPath) and self._on_disk(real).is_dir():
            return inside
        return self.place(folder)

    def place(self, file: Path) -> PurePosixPath:
        """Return the loader path of a file or folder of this machine: in the root if it lies there."""
        absolute = file.absolute()
        if absolute.is_relative_to(self.root.absolute()):
            return PurePosixPath("/") / absolute.relative_to(self.root.absolute()).as_posix()
        return HOST / absolute.as_posix().lstrip("/")

    def owner(self, path: PurePosixPath) -> Package | None:
        """Return the package that installed a file of the root, by apk's database, else by dpkg's."""
        if self._owner_of is None:
            self._owner_of = self._database()
        names = [str(name).lstrip("/") for name in (self.real(path), path)]
        # Where /lib is a link to /usr/lib, a database may have the file under the folder's old name.
        names += [name.removeprefix("usr/") for name in names if name.startswith("usr/")]
        return next((found for name in names if (found := self._owner_of(name)) is not None), None)

    def distribution(self) -> Distribution:
        """Return what the root says that it is (os-release(5))."""
        for path in map(PurePosixPath, ("/etc/os-release", "/usr/lib/os-release")):
            if self._is_file(path):
                return read_os_release(self.content(path).decode("utf-8", "replace"))
        return Distribution()

    def license_texts(self, package: Package) -> tuple[PurePosixPath, ...]:
        """Return the files with a package's licences, or else with those of its source package; sorted.

        Alpine keeps them by source package, and installs them only with its documentation.
        """
        for name in filter(is_name, (package.name, package.origin)):
            found = [_LICENSES / name / file for file in self._files(_LICENSES / name)]
            found += [path for path in (_DOCUMENTS / name / "copyright",) if self._is_file(path)]
            if found:
                return tuple(sorted(found))
        return ()

    def _database(self) -> Callable[[str], Package | None]:
        for database in map(PurePosixPath, _APK_DATABASES):
            if isinstance(self._resolve(database), PurePosixPath):
                return apk_listing(self.content(database).decode("utf-8", "replace"))
        if self._is_file(_DPKG / "status"):
            packages = read_dpkg(self.content(_DPKG / "status").decode("utf-8", "replace"))
            return listing(packages, self._lists())
        return lambda _: None

    def _lists(self) -> Iterator[tuple[str, bytes]]:
        """Yield name without suffix and content of dpkg's lists of files."""
        for name in self._files(_DPKG / "info", ".list"):
            yield name.removesuffix(".list"), self.content(_DPKG / "info" / name)

    def _files(self, folder: PurePosixPath, suffix: str = "") -> list[str]:
        """Return the names of the regular files in a folder, sorted, those behind links as well."""
        real = self._resolve(folder)
        if not isinstance(real, PurePosixPath) or not self._on_disk(real).is_dir():
            return []
        names = (file.name for file in self._on_disk(real).iterdir())
        return sorted(name for name in names if name.endswith(suffix) and self._is_file(folder / name))

    def _is_file(self, path: PurePosixPath) -> bool:
        real = self._resolve(path)
        return isinstance(real, PurePosixPath) and stat.S_ISREG(self._on_disk(real).lstat().st_mode)

    def _on_disk(self, real: PurePosixPath) -> Path:
        if real.parts[:2] == HOST.parts:
            return Path("/", *real.parts[2:])
        return self.root.joinpath(*real.parts[1:])

    def _resolve(self, path: PurePosixPath) -> PurePosixPath | Unusable | None:
        if path not in self._real:
            self._real[path] = self._walk(path)
        return self._real[path]

    def _walk(self, path: PurePosixPath) -> PurePosixPath | Unusable | None:
        top = HOST if path.parts[:2] == HOST.parts else PurePosixPath("/")
        rest = list(reversed(path.parts[len(top.parts) :]))
        at, links = top, 0
        while rest:
            part = rest.pop()
            if part == "..":
                at = at.parent if at != top else top
                continue
            try:
                target = self._link(at / part)
            except OSError as error:
                missing = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ENAMETOOLONG)
                return None if missing else Unusable(error.strerror or str(error))
            if target is None:
                at = at / part
                continue
            links += 1
            if links > _MAX_LINKS:
                return Unusable("a loop of symbolic links")
            at = top if target.is_absolute() else at
            # The anchor may be "//", which is no folder of its own.
            rest.extend(reversed(target.relative_to(target.anchor).parts))
        return at

    def _link(self, at: PurePosixPath) -> PurePosixPath | None:
        """Return where a link points, None for anything else that is there. Raises OSError where nothing is."""
        place = self._on_disk(at)
        try:
            if stat.S_ISLNK(place.lstat().st_mode):
                return PurePosixPath(os.fsdecode(place.readlink()))
        except ValueError as error:  # a name that no file of this machine can have: with a NUL, say
            raise OSError(errno.ENOENT, str(error)) from error
        return None

    def _read(self, real: PurePosixPath) -> Elf | Unusable:
        """Read a file, once for its facts and its digest: what is a library is most often vendored as well."""
        try:
            # Without a buffer, from which read() would copy the whole file once more.
            with open(self._on_disk(real), "rb", buffering=0, opener=_open_at_once) as file:
                unfit = _unfit(file)
                content = file.readall() if unfit is None else b""
        except OSError as error:
            return Unusable(error.strerror or str(error))
        if unfit is not None:
            return unfit
        self._digests[real] = hashlib.sha256(content).hexdigest()
        return _facts(content)


def _open_at_once(place: str, flags: int) -> int:
    """Open a file, but no link, without waiting, as opening a FIFO does for a writer."""
    return os.open(place, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


def _unfit(file: FileIO) -> Unusable | None:
    """Return why a file is not worth reading whole, or None."""
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return Unusable("not a regular file")
    return None if os.pread(file.fileno(), len(MAGIC), 0) == MAGIC else Unusable("not an ELF file")


def _facts(content: bytes) -> Elf | Unusable:
    try:
        elf = read_elf(content)
    except ElfError as error:
        return Unusable(f"not a sound ELF file: {error}")
    return elf if elf.loadable else Unusable("not a shared object")
