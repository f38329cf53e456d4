"""Run by cibuildwheel after the installation: the module works, and its libz is the one in the wheel."""

from pathlib import Path

import zlibsum

loaded = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libz" in line}
ours = [path for path in loaded if "/zlibsum.libs/libz-" in path]
assert zlibsum.crc32(b"123456789") == 0xCBF43926
assert ours, f"no libz of the wheel is loaded: {loaded}"
print(f"zlibsum {zlibsum.version()} from {ours[0]}")
