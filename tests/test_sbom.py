"""The bill of materials, judged by CycloneDX's own schema, and the licence texts beside it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from installer.sources import WheelFile
from packageurl import PackageURL

from builders import DEMO_WHEEL, SYSROOTS, wheel_members, zip_bytes
from facts_by_hand import elf, system, wheel_facts
from musl_repair import __version__
from musl_repair.assembly import Form
from musl_repair.documents import Documents, LicenseText
from musl_repair.elf import read_elf
from musl_repair.options import Options
from musl_repair.packages import Distribution, Package
from musl_repair.plan import make_plan
from musl_repair.repair import Tools, repair_wheel
from musl_repair.sbom import write_sbom
from musl_repair.sysroot import Sysroot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from musl_repair.plan import Plan

SBOM = "demo-1.0.dist-info/sboms/musl-repair.cdx.json"
SECOND = "demo-1.0.dist-info/sboms/musl-repair-2.cdx.json"
LICENSES = "demo-1.0.dist-info/licenses/vendored"
EXT = "demo/_ext.cpython-312-x86_64-linux-musl.so"
ALPINE = Distribution("alpine", "3.23.6")
KRB5 = Package("krb5-libs", "1.21.3-r0", "x86_64", "MIT", "krb5", "0123456789abcdef" * 2 + "01234567", "https://k.org/")


def validated(content: bytes) -> dict[str, Any]:
    """Return a document that the strict schema of CycloneDX 1.6 has nothing to say against."""
    errors = JsonStrictValidator(SchemaVersion.V1_6).validate_str(content.decode())
    assert errors is None, errors
    document = json.loads(content)
    assert isinstance(document, dict)
    return document


def properties(component: Mapping[str, Any]) -> dict[str, str]:
    return {one["name"].removeprefix("musl-repair:"): one["value"] for one in component.get("properties", ())}


# By hand


def planned(owner: Package | None = None, *, options: Options | None = None, symbol: str = "") -> Plan:
    """Return the plan for an extension that needs libx.so.1, which a package owns, and a symbol of musl."""
    packages = {} if owner is None else {"/usr/lib/libx.so.1.2": owner}
    target = system(
        {"/usr/lib/libx.so.1.2": elf(imports=[symbol] if symbol else [])},
        links={"/usr/lib/libx.so.1": "/usr/lib/libx.so.1.2"},
        packages=packages,
    )
    plan = make_plan(wheel_facts({EXT: elf("libx.so.1")}), target, options or Options())
    assert plan.documents.sbom == SBOM
    return plan


def document(plan: Plan, distribution: Distribution = ALPINE) -> dict[str, Any]:
    members = [*plan.members.values(), *(graft.member for graft in plan.grafts)]
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in members}
    return validated(write_sbom(plan, digests, distribution, None))


PURLS = {
    "a hyphenated name": (KRB5, ALPINE, "pkg:apk/alpine/krb5-libs@1.21.3-r0?arch=x86_64&distro=alpine-3.23.6"),
    "a hyphen and a digit": (
        Package("libusb-1.0", "1.0.27-r0", "armv7"),
        ALPINE,
        "pkg:apk/alpine/libusb-1.0@1.0.27-r0?arch=armv7&distro=alpine-3.23.6",
    ),
    "a name with plus signs": (
        Package("libstdc++", "15.2.0-r2", "x86_64"),
        ALPINE,
        "pkg:apk/alpine/libstdc%2B%2B@15.2.0-r2?arch=x86_64&distro=alpine-3.23.6",
    ),
    "another distribution with apk": (
        Package("zlib", "1.3.1-r4", "x86_64"),
        Distribution("wolfi", "20230201"),
        "pkg:apk/wolfi/zlib@1.3.1-r4?arch=x86_64&distro=wolfi-20230201",
    ),
    "a rolling release, which has no version": (
        Package("zlib", "1.3.1-r4"),
        Distribution("chimera", ""),
        "pkg:apk/chimera/zlib@1.3.1-r4",
    ),
    "a system that does not say what it is": (Package("zlib", "1-r0"), Distribution(), "pkg:apk/alpine/zlib@1-r0"),
    "a package of Debian": (
        Package("zlib1g", "1:1.2.13.dfsg-1", "amd64", manager="deb"),
        Distribution("debian", "12"),
        "pkg:deb/debian/zlib1g@1:1.2.13.dfsg-1?arch=amd64&distro=debian-12",
    ),
}


@pytest.mark.parametrize(("package", "distribution", "purl"), PURLS.values(), ids=list(PURLS))
def test_package_url_of(package: Package, distribution: Distribution, purl: str) -> None:
    (component,) = document(planned(package), distribution)["components"]
    assert PackageURL.from_string(component["purl"]) == PackageURL.from_string(purl)
    assert PackageURL.from_string(component["purl"]).name == package.name
    assert component["purl"].replace("%3A", ":") == purl
    assert (component["name"], component["version"]) == (package.name, package.version)


def test_a_file_that_no_package_owns_is_generic_and_has_the_hash_of_its_source() -> None:
    plan = planned()
    (graft,) = plan.grafts
    (component,) = document(plan)["components"]
    purl = PackageURL.from_string(component["purl"])
    assert (purl.type, purl.namespace, purl.name, purl.version) == ("generic", None, "libx.so.1.2", None)
    assert purl.qualifiers == {"checksum": f"sha256:{graft.sha256}"}
    assert component["name"] == "libx.so.1.2"
    assert "version" not in component
    assert "licenses" not in component


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MIT", [{"expression": "MIT"}]),
        ("curl", [{"expression": "curl"}]),
        ("gpl-2.0-or-later and LGPL-3.0-or-later", [{"expression": "GPL-2.0-or-later AND LGPL-3.0-or-later"}]),
        ("GPL-3.0-or-later WITH GCC-exception-3.1", [{"expression": "GPL-3.0-or-later WITH GCC-exception-3.1"}]),
        ("LicenseRef-KCC", [{"expression": "LicenseRef-KCC"}]),
        ("GPL LGPL", [{"license": {"name": "GPL LGPL"}}]),
        ("custom", [{"license": {"name": "custom"}}]),
        ("MIT AND", [{"license": {"name": "MIT AND"}}]),
        ("", None),
    ],
)
def test_licence_is_an_spdx_expression_or_has_a_name(text: str, expected: list[Any] | None) -> None:
    (component,) = document(planned(Package("x", "1-r0", license=text)))["components"]
    assert component.get("licenses") == expected


def test_recipe_and_home_page_of_a_package_of_alpine() -> None:
    (component,) = document(planned(KRB5))["components"]
    assert component["externalReferences"] == [
        {
            "type": "vcs",
            "url": f"https://gitlab.alpinelinux.org/alpine/aports/-/tree/{KRB5.commit}",
            "comment": "the recipe of krb5",
        },
        {"type": "website", "url": "https://k.org/"},
    ]
    assert properties(component)["origin"] == "krb5"
    assert properties(component)["commit"] == KRB5.commit


@pytest.mark.parametrize(
    ("package", "distribution"),
    [
        (Package("x", "1-r0", commit="0123-dirty", url="not an address"), ALPINE),
        (Package("x", "1-r0", commit=KRB5.commit, url="javascript:alert(1)"), Distribution("wolfi", "2023")),
        (Package("x", "1-1", commit=KRB5.commit, url="https://two words/", manager="deb"), ALPINE),
    ],
    ids=["no commit and no address", "of another distribution", "of another manager"],
)
def test_no_references_are_made_up(package: Package, distribution: Distribution) -> None:
    (component,) = document(planned(package), distribution)["components"]
    assert "externalReferences" not in component


def test_a_polyfill_is_a_part_of_musl_repair() -> None:
    plan = planned(KRB5, options=Options(polyfill=True, platform="musllinux_1_1"), symbol="reallocarray")
    written = document(plan)
    polyfill = next(one for one in written["components"] if one["name"] == "musl-repair")
    purl = PackageURL.from_string(polyfill["purl"])
    assert (purl.type, purl.name, purl.version) == ("pypi", "musl-repair", __version__)
    assert purl.subpath == "musl_repair/polyfill/x86_64/reallocarray.so"
    assert polyfill["licenses"] == [{"expression": "MIT"}]
    (library,) = (graft.member for graft in plan.grafts if graft.content is None)
    needs = {one["ref"]: one.get("dependsOn", []) for one in written["dependencies"]}
    assert needs[library] == [polyfill["bom-ref"]]


@pytest.mark.parametrize("strip", [False, True])
def test_files_that_are_stripped_and_nothing_else_need_nothing_more(strip: bool) -> None:
    options = Options(polyfill=True, platform="musllinux_1_1", strip=strip)
    written = document(planned(KRB5, options=options, symbol="reallocarray"))
    polyfill, library = (component["bom-ref"] for component in written["components"])
    assert {one["ref"]: one.get("dependsOn", []) for one in written["dependencies"]} == {
        "pkg:pypi/demo@1.0": [EXT],
        EXT: [library],
        library: [polyfill],
        polyfill: [],
    }


def test_a_second_document_has_a_number_and_other_documents_stay() -> None:
    names = (SBOM, "demo-1.0.dist-info/sboms/maturin.cdx.json")
    facts = wheel_facts({EXT: elf("libx.so.1")}, others=names)
    target = system({"/lib/libx.so.1": elf()})
    assert make_plan(facts, target, Options()).documents.sbom == SECOND
    again = wheel_facts({EXT: elf("libx.so.1")}, others=(SBOM, SECOND))
    assert make_plan(again, target, Options()).documents.sbom == SECOND.replace("2", "3")


def test_nothing_vendored_nothing_written() -> None:
    plan = make_plan(wheel_facts({EXT: elf()}), system(), Options())
    assert plan.changes
    assert plan.documents == Documents()


def test_licences_are_planned_for_packages_of_grafts_each_once() -> None:
    first, second = Package("libssl3", "3.5-r0", origin="openssl"), Package("libcrypto3", "3.5-r0", origin="openssl")
    text = PurePosixPath("/usr/share/licenses/openssl/LICENSE.txt")
    odd = PurePosixPath("/usr/share/licenses/openssl/a\\b:c")
    target = system(
        {"/lib/libssl.so.3": elf("libcrypto.so.3"), "/lib/libcrypto.so.3": elf(), "/lib/libz.so.1": elf()},
        packages={"/lib/libssl.so.3": first, "/lib/libcrypto.so.3": second, "/lib/libz.so.1": Package("zlib", "1")},
        texts={"libssl3": (text, odd), "libcrypto3": (text, odd), "zlib": (PurePosixPath("/never"),)},
    )
    facts = wheel_facts({EXT: elf("libssl.so.3")})
    expected = (
        LicenseText(f"{LICENSES}/openssl-3.5-r0/LICENSE.txt", text, target.digest(text)),
        LicenseText(f"{LICENSES}/openssl-3.5-r0/a_b_c", odd, target.digest(odd)),
    )
    assert make_plan(facts, target, Options()).documents == Documents(SBOM, expected)
    assert make_plan(facts, target, Options(sbom=False)).documents == Documents(None, expected)
    assert make_plan(facts, target, Options(licenses=False)).documents == Documents(SBOM)
    there = wheel_facts({EXT: elf("libssl.so.3")}, others=[expected[0].member])
    assert make_plan(there, target, Options()).documents.licenses == expected[1:]


# Repairs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the demo system as Alpine 3.23.6, with licences as `apk add leaf-doc` brings them."""
    root = tmp_path / "root"
    shutil.copytree(SYSROOTS / "x86_64", root, symlinks=True)
    (root / "etc").mkdir()
    (root / "etc" / "os-release").write_text('NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.23.6\n')
    folder = root / "usr" / "share" / "licenses" / "leaf"
    folder.mkdir(parents=True)
    (folder / "COPYING").write_bytes(b"leaf may be copied \xe9\n")
    (folder / "LICENSE").symlink_to("COPYING")
    (folder / "passwd").symlink_to("../../../../../../../../etc/passwd")
    return root


def repair(
    wheel: Path,
    folder: Path,
    root: Path = SYSROOTS / "x86_64",
    options: Options | None = None,
    form: Form | None = None,
) -> Path:
    output = repair_wheel(wheel, folder, Sysroot(root), options or Options(), Tools(form=form or Form())).output
    assert output is not None
    with WheelFile.open(output) as source:
        source.validate_record()
    return output


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_components_of_the_demo_wheel(root: Path, tmp_path: Path) -> None:
    files = contents(repair(DEMO_WHEEL, tmp_path / "out", root))
    written = validated(files[SBOM])
    found = {
        component["purl"]: (component["name"], component["version"], component["licenses"])
        for component in written["components"]
    }
    assert found == {
        "pkg:apk/alpine/leaf-libs@1.0.0-r1?arch=x86_64&distro=alpine-3.23.6": (
            "leaf-libs",
            "1.0.0-r1",
            [{"expression": "MIT"}],
        ),
        "pkg:apk/alpine/mid@2.1.0-r0?arch=x86_64&distro=alpine-3.23.6": ("mid", "2.1.0-r0", [{"expression": "MIT"}]),
    }
    for component in written["components"]:
        member = component["bom-ref"]
        assert component["evidence"]["occurrences"] == [{"location": member}]
        assert component["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(files[member]).hexdigest()}]
        said = properties(component)
        source = root / said["source"].lstrip("/")
        assert said["source-sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
        assert said["build-id"] == read_elf(files[member]).build_id
        assert said["origin"] == component["purl"].partition("alpine/")[2].partition("@")[0].removesuffix("-libs")
    wheel = written["metadata"]["component"]
    assert (wheel["purl"], properties(wheel)["wheel"]) == (
        "pkg:pypi/demo@1.0",
        "demo-1.0-cp310-abi3-musllinux_1_2_x86_64.whl",
    )
    for part in wheel["components"]:
        assert part["hashes"][0]["content"] == hashlib.sha256(files[part["name"]]).hexdigest()


def test_who_needs_whom_in_the_demo_wheel(root: Path, tmp_path: Path) -> None:
    written = validated(contents(repair(DEMO_WHEEL, tmp_path / "out", root))[SBOM])
    leaf, mid = (component["bom-ref"] for component in written["components"])
    assert leaf.startswith("demo.libs/libleaf-")
    assert mid.startswith("demo.libs/libmid-")
    assert {one["ref"]: one.get("dependsOn", []) for one in written["dependencies"]} == {
        "pkg:pypi/demo@1.0": ["demo.libs/demo-tool", "demo/_ext.abi3.so"],
        "demo.libs/demo-tool": [mid],
        "demo/_ext.abi3.so": [mid],
        mid: [leaf],
        leaf: [],
    }


@pytest.mark.process
def test_same_bytes_whatever_the_seed_and_a_time_only_if_one_is_given(root: Path, tmp_path: Path) -> None:
    written = set()
    for seed in ("0", "1", "2"):
        command = [sys.executable, "-m", "musl_repair", "--sysroot", str(root), "-w", seed, str(DEMO_WHEEL)]
        environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
        subprocess.run(command, check=True, cwd=tmp_path, env={**environment, "PYTHONHASHSEED": seed})
        written |= {path.read_bytes() for path in (tmp_path / seed).iterdir()}
    wheel = repair(DEMO_WHEEL, tmp_path / "here", root)
    assert written == {wheel.read_bytes()}
    first = validated(contents(wheel)[SBOM])
    assert "timestamp" not in first["metadata"]
    dated = validated(contents(repair(DEMO_WHEEL, tmp_path / "dated", root, form=Form((2026, 2, 3, 4, 5, 6))))[SBOM])
    assert dated["metadata"]["timestamp"] == "2026-02-03T04:05:06+00:00"
    assert dated["serialNumber"] != first["serialNumber"]


def test_without_documents_the_wheel_is_the_same_otherwise(root: Path, tmp_path: Path) -> None:
    full = contents(repair(DEMO_WHEEL, tmp_path / "full", root))
    bare = contents(repair(DEMO_WHEEL, tmp_path / "bare", root, Options(sbom=False, licenses=False)))
    texts = {f"{LICENSES}/leaf-1.0.0-r1/{name}" for name in ("COPYING", "LICENSE")}
    assert full.keys() - bare.keys() == {SBOM, *texts}
    assert {full[name] for name in texts} == {b"leaf may be copied \xe9\n"}
    record = "demo-1.0.dist-info/RECORD"
    assert {name: full[name] for name in bare if name != record} == {
        name: bare[name] for name in bare if name != record
    }
    assert list(full)[-1] == record


def test_a_repaired_wheel_keeps_its_documents_and_gets_no_more(root: Path, tmp_path: Path) -> None:
    first = repair(DEMO_WHEEL, tmp_path / "first", root)
    assert repair(first, tmp_path / "again", root).read_bytes() == first.read_bytes()
    bare = repair(DEMO_WHEEL, tmp_path / "bare", root, Options(sbom=False))
    assert repair(bare, tmp_path / "bare-again", root).read_bytes() == bare.read_bytes()


def test_a_repair_that_vendors_more_writes_what_it_added(root: Path, tmp_path: Path) -> None:
    members = {name: content for name, content in contents(DEMO_WHEEL).items() if "/RECORD" not in name}
    theirs = "demo-1.0.dist-info/sboms/theirs.spdx.json"
    wheel = tmp_path / DEMO_WHEEL.name
    wheel.write_bytes(zip_bytes(wheel_members({**members, theirs: b"{}"})))
    half = repair(wheel, tmp_path / "half", root, Options(exclude=("libleaf.so.*",)))
    whole = repair(half, tmp_path / "whole", root)
    before, after = contents(half), contents(whole)
    assert [one["name"] for one in validated(before[SBOM])["components"]] == ["mid"]
    assert SECOND not in before
    assert (after[SBOM], after[theirs]) == (before[SBOM], b"{}")
    added = validated(after[SECOND])
    (leaf,) = added["components"]
    assert leaf["name"] == "leaf-libs"
    (mid,) = (part for part in added["metadata"]["component"]["components"] if "/libmid-" in part["name"])
    assert mid["hashes"][0]["content"] == hashlib.sha256(after[mid["name"]]).hexdigest()
    assert {one["ref"]: one.get("dependsOn", []) for one in added["dependencies"]}[mid["name"]] == [leaf["bom-ref"]]
    assert added["serialNumber"] != validated(before[SBOM])["serialNumber"]
    assert repair(whole, tmp_path / "again", root).read_bytes() == whole.read_bytes()


@pytest.mark.process
def test_json_names_the_documents_and_only_writing_one_loads_the_library(root: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from musl_repair.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as done:\n"
        "    loaded = {name.partition('.')[0] for name in sys.modules} & {'cyclonedx', 'packageurl'}\n"
        "    sys.exit(f'{done.code} {sorted(loaded)}')\n"
    )

    def run(*arguments: str) -> tuple[dict[str, Any], str]:
        command = [sys.executable, "-c", code, *arguments, "--json", "--sysroot", str(root), str(DEMO_WHEEL)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return json.loads(done.stdout)["wheels"][0], done.stderr.splitlines()[-1]

    texts = [
        {"member": f"{LICENSES}/leaf-1.0.0-r1/{name}", "source": f"/usr/share/licenses/leaf/{name}"}
        for name in ("COPYING", "LICENSE")
    ]
    shown, ended = run("show")
    assert (shown["sbom"], shown["licenses"], ended) == (SBOM, texts, "0 []")
    bare, ended = run("repair", "--no-sbom", "--no-licenses", "-w", str(tmp_path / "bare"))
    assert (bare["sbom"], bare["licenses"], ended) == (None, [], "0 []")
    full, ended = run("repair", "-w", str(tmp_path / "full"))
    assert (full["sbom"], full["licenses"], ended) == (SBOM, texts, "0 ['cyclonedx', 'packageurl']")
