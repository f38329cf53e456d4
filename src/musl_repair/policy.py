"""Architectures and platform tags: what belongs to one target, and what a tag promises.

Source: PEP 656 (musllinux_X_Y_ARCH), musl 1.2.6 arch/*/reloc.h (LDSO_ARCH), the processor supplements of the
System V ABI.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from musl_repair import relocations
from musl_repair.abi import newest_release
from musl_repair.elfimage import ET_EXEC
from musl_repair.errors import PlatformError

if TYPE_CHECKING:
    from musl_repair.elf import Elf, VersionNeed

_TAG: Final = re.compile(r"musllinux_([0-9]{1,9})_([0-9]{1,9})(?:_(\w+))?")
_GLIBC_LOADER: Final = re.compile(r"ld-linux[\w-]*\.so\.\d+|ld64\.so\.\d+|ld\.so\.1")
_ONLY_GLIBC: Final = frozenset(
    {
        "libBrokenLocale.so.1", "libSegFault.so", "libanl.so.1", "libc_malloc_debug.so.0", "libcidn.so.1",
        "libmemusage.so", "libmvec.so.1", "libnss_compat.so.2", "libnss_db.so.2", "libnss_dns.so.2",
        "libnss_files.so.2", "libnss_hesiod.so.2", "libpcprofile.so", "libresolv.so.2", "libthread_db.so.1",
    }
)  # fmt: skip
"""Libraries that nothing but glibc installs (glibc's shlib-versions)."""
_GLIBC: Final = frozenset(
    {"libc.so.6", "libdl.so.2", "libm.so.6", "libnsl.so.1", "libpthread.so.0", "librt.so.1", "libutil.so.1"}
)
"""Its others: musl takes most of the names for itself, and libnsl has a project of its own. libcrypt is not among them:
libxcrypt, which is not glibc's, defines the same versions."""
_FIRST: Final = (1, 0)
"""Installers know only the tags of their musl's own major version (packaging._musllinux), and no Python is on a 0.x."""
_EF_ARM_ABI_FLOAT_SOFT: Final = 0x200
_EF_PPC64_ABI: Final = 3
_EF_RISCV_FLOAT_ABI: Final = 6
_EF_RISCV_FLOAT_ABI_DOUBLE: Final = 4


class Architecture(NamedTuple):
    """One architecture that musl and wheels both have; name is the wheel tag's, musl_name the loader's."""

    name: str
    musl_name: str
    machine: int
    bits: int
    little: bool
    max_page: int
    """The largest page size in bytes that its kernels run with."""

    @property
    def loader(self) -> PurePosixPath:
        """Where musl's loader, which is also its libc, is installed."""
        return PurePosixPath(f"/lib/ld-musl-{self.musl_name}.so.1")

    def fits(self, elf: Elf) -> bool:
        """Whether a file can be loaded into a process of this architecture: machine, class, byte order, ABI flags."""
        if (elf.machine, elf.bits, elf.little) != (self.machine, self.bits, self.little):
            return False
        return _same_abi(elf)


def _same_abi(elf: Elf) -> bool:
    if elf.machine == relocations.EM_ARM:
        return not elf.flags & _EF_ARM_ABI_FLOAT_SOFT
    if elf.machine == relocations.EM_PPC64:
        return elf.flags & _EF_PPC64_ABI in (0, 2)
    if elf.machine == relocations.EM_RISCV:
        return elf.flags & _EF_RISCV_FLOAT_ABI == _EF_RISCV_FLOAT_ABI_DOUBLE
    return True


ARCHITECTURES: Final = (
    Architecture("x86_64", "x86_64", relocations.EM_X86_64, 64, True, 0x1000),
    Architecture("i686", "i386", relocations.EM_386, 32, True, 0x1000),
    Architecture("aarch64", "aarch64", relocations.EM_AARCH64, 64, True, 0x10000),
    Architecture("armv7l", "armhf", relocations.EM_ARM, 32, True, 0x1000),
    # Of the files alone nothing here tells it from armv7l: a wheel is for it by the tag in its name.
    Architecture("armv6l", "armhf", relocations.EM_ARM, 32, True, 0x1000),
    Architecture("ppc64le", "powerpc64le", relocations.EM_PPC64, 64, True, 0x10000),
    Architecture("s390x", "s390x", relocations.EM_S390, 64, False, 0x1000),
    Architecture("riscv64", "riscv64", relocations.EM_RISCV, 64, True, 0x1000),
    Architecture("loongarch64", "loongarch64", relocations.EM_LOONGARCH, 64, True, 0x10000),
)


_SPELLINGS: Final = {"armv8l": "armv7l", "i386": "i686", "i486": "i686", "i586": "i686"}
"""Other machine names that wheels of an architecture are tagged with by the machine that builds them."""
_LINUX: Final = re.compile(r"(?:linux|manylinux(?:1|2010|2014|_\d+_\d+)|musllinux_\d+_\d+)_(\w*)")


def machine_name(platform: str) -> str | None:
    """Return the machine that a platform tag of Linux names, as wheel tags call it; None for all other tags."""
    match = _LINUX.fullmatch(platform)
    return None if match is None else _SPELLINGS.get(match[1], match[1])


def architecture_of(elf: Elf) -> Architecture | None:
    """Return the architecture that a file is for, the first that it fits; None where no wheel tag names it."""
    for architecture in ARCHITECTURES:
        if architecture.fits(elf):
            return architecture
    return None


def describe_target(elf: Elf) -> str:
    """Return a file's target in words, for messages."""
    architecture = architecture_of(elf)
    if architecture is not None:
        return architecture.name
    order = "little" if elf.little else "big"
    return f"ELF machine {elf.machine}, {elf.bits} bit, {order} endian, flags {elf.flags:#x}"


def is_glibc_linked(elf: Elf) -> bool:
    """Whether a file was linked against glibc."""
    return bool(glibc_evidence(elf))


def glibc_evidence(elf: Elf) -> tuple[str, ...]:
    """Return what of a file is only there when it was linked against glibc: libraries, its loader, symbol versions.

    A version counts by the library that it is asked of: libgcc_s defines one of the name GLIBC_2.0 for
    __register_frame_info on most architectures (GCC's libgcc/config/*/libgcc-glibc.ver), on musl too. And it counts
    by what it is: binutils writes GLIBC_ABI_DT_RELR and the like to mark a feature of the file, not a symbol.
    """
    libraries = [name for name in elf.needed if _is_only_glibc(name)]
    loader = elf.interpreter or ""
    # Of a library nobody reads it.
    if (elf.type == ET_EXEC or elf.pie) and _GLIBC_LOADER.fullmatch(loader.rpartition("/")[2]):
        libraries.append(loader)
    versions = {need.version for need in elf.version_needs if _is_glibc_version(need)}
    return (*libraries, *sorted(versions))


def _is_only_glibc(library: str) -> bool:
    return library in _ONLY_GLIBC or _GLIBC_LOADER.fullmatch(library) is not None


def _is_glibc_version(need: VersionNeed) -> bool:
    from_glibc = need.library in _GLIBC or _is_only_glibc(need.library)
    return from_glibc and need.version.startswith("GLIBC_") and not need.version.startswith("GLIBC_ABI_")


def is_musl_linked(elf: Elf) -> bool:
    """Whether a file was linked against musl's libc, so that it cannot be loaded beside another one.

    Alpine names it libc.musl-ARCH.so.1, musl itself libc.so; a program names the loader, which is the same file.
    """
    names = [name.rpartition("/")[2] for name in (*elf.needed, elf.interpreter or "")]
    return any(name == "libc.so" or name.startswith(("libc.musl-", "ld-musl-")) for name in names)


class MuslTag(NamedTuple):
    """A musllinux platform tag: a promise for every musl from major.minor.0 on."""

    major: int
    minor: int
    arch: str

    def __str__(self) -> str:
        """Return the tag."""
        return f"musllinux_{self.major}_{self.minor}_{self.arch}"


def parse_tag(platform: str) -> MuslTag | None:
    """Return a complete musllinux tag as a value, None for any other platform tag."""
    match = _TAG.fullmatch(platform)
    if match is None or match[3] is None:
        return None
    return MuslTag(int(match[1]), int(match[2]), match[3])


class Request(NamedTuple):
    """A musllinux platform that a user asks for; arch is None for that of the wheel."""

    major: int
    minor: int
    arch: str | None


def parse_request(platform: str) -> Request | None:
    """Return what a user asks for, None for "auto".

    Raises PlatformError for what is not a musllinux tag, or one of a musl that cannot come next after the newest.
    """
    if platform == "auto":
        return None
    match = _TAG.fullmatch(platform)
    if match is None:
        raise PlatformError(
            f"{platform!r} is not a platform that musl-repair makes; "
            "ask for auto, musllinux_X_Y or musllinux_X_Y_ARCH (for manylinux there is auditwheel)"
        )
    wanted, newest = (int(match[1]), int(match[2])), newest_release()
    following = ((newest.major, newest.minor + 1), (newest.major + 1, 0))
    if not _FIRST <= wanted <= newest and wanted not in following:
        raise PlatformError(f"{platform!r} asks for a musl that does not exist; the newest that is known is {newest}")
    return Request(*wanted, match[3])


def requested_tag(platform: str, arch: str) -> MuslTag | None:
    """Return the tag that a user asks for, None for "auto".

    Raises PlatformError as `parse_request` does, and for a tag of another architecture than the wheel's.
    """
    request = parse_request(platform)
    if request is None:
        return None
    if request.arch not in (None, arch):
        raise PlatformError(f"the wheel is for {arch}, {platform} asks for {request.arch}")
    return MuslTag(request.major, request.minor, arch)
