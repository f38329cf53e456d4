"""The bill of materials of real wheels, against what the root's own database says."""

from __future__ import annotations

import json
import re
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

if TYPE_CHECKING:
    from pathlib import Path

    from alpine.root import Alpine

pytestmark = pytest.mark.alpine

PYCURL = {
    "libbrotlicommon.so.1.2.0": "brotli-libs",
    "libbrotlidec.so.1.2.0": "brotli-libs",
    "libcares.so.2.19.7": "c-ares",
    "libcrypto.so.3": "libcrypto3",
    "libcurl.so.4.8.0": "libcurl",
    "libidn2.so.0.4.0": "libidn2",
    "libnghttp2.so.14.29.4": "nghttp2-libs",
    "libpsl.so.5.3.5": "libpsl",
    "libssl.so.3": "libssl3",
    "libunistring.so.5.2.1": "libunistring",
    "libz.so.1.3.2": "zlib",
    "libzstd.so.1.5.7": "zstd-libs",
}
"""libcurl and the eleven libraries behind it → their packages."""


def document(wheel: Path) -> dict[str, Any]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/sboms/musl-repair.cdx.json"))
        content = archive.read(name).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(content) is None
    written = json.loads(content)
    assert isinstance(written, dict)
    return written


def versions(alpine: Alpine) -> dict[str, str]:
    """Return package → version, read with nothing of ours."""
    database = next(path for name in ("lib", "usr/lib") if (path := alpine.root / name / "apk/db/installed").exists())
    return dict(re.findall(r"^P:(.*)\nV:(.*)$", database.read_text("utf-8"), re.MULTILINE))


def test_pycurl_has_twelve_components_with_the_package_urls_of_their_packages(
    alpine: Alpine, repaired: dict[str, Path]
) -> None:
    written, known = document(repaired["pycurl"]), versions(alpine)
    found = {re.sub("-[0-9a-f]{8}", "", one["bom-ref"]).rpartition("/")[2]: one for one in written["components"]}
    assert {name: one["name"] for name, one in found.items()} == PYCURL
    assert {name: one["purl"] for name, one in found.items()} == {
        name: f"pkg:apk/alpine/{package}@{known[package]}?arch=x86_64&distro=alpine-3.23.6"
        for name, package in PYCURL.items()
    }
    assert all("expression" in given for one in found.values() for given in one["licenses"])
    assert all(one["externalReferences"][0]["type"] == "vcs" for one in found.values())


def test_every_component_is_reached_from_the_wheel(repaired: dict[str, Path]) -> None:
    for project, wheel in repaired.items():
        written = document(wheel)
        needs = {one["ref"]: one.get("dependsOn", []) for one in written["dependencies"]}
        reached = [written["metadata"]["component"]["bom-ref"]]
        for ref in reached:
            reached += [new for new in needs[ref] if new not in reached]
        assert PackageURL.from_string(reached[0]).name == project
        assert {one["bom-ref"] for one in written["components"]} <= set(reached)
