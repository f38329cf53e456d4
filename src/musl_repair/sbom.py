"""A repair → its bill of materials: what is vendored, from which packages, and who needs what. Pure.

Source: CycloneDX 1.6, PEP 770, the package URL specification. Imported only where one is written: the library that
knows CycloneDX takes a while to load.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.component_evidence import ComponentEvidence, Occurrence
from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
from cyclonedx.schema.schema import SchemaVersion1Dot6
from packageurl import PackageURL
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.utils import canonicalize_name

from musl_repair import __version__
from musl_repair.polyfilling import SOURCE
from musl_repair.world import is_mounted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from musl_repair.archive import Date
    from musl_repair.grafts import Graft
    from musl_repair.packages import Distribution, Package
    from musl_repair.plan import Plan

_VENDORS: Final = {"apk": "alpine", "deb": "debian"}
"""Whose packages they are where the system does not say."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_ADDRESS: Final = re.compile(r"https?://[!-~]+")
_ESCAPE: Final = re.compile(r"%[0-9a-f]{2}")
_APORTS: Final = "https://gitlab.alpinelinux.org/alpine/aports/-/tree/"
_SCHEMA: Final = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_OWN_LICENSE: Final = "MIT"
_PREFIX: Final = "musl-repair:"
"""Of the names of properties that CycloneDX does not know."""


def write_sbom(plan: Plan, digests: Mapping[str, str], distribution: Distribution, date: Date | None) -> bytes:
    """Return the document, the same for the same values.

    digests are the SHA-256 in hex of the new wheel's files by archive name, at least those of its ELF files. date is in
    UTC; without one the document has no time.
    """
    # The library makes the components, which are what is hard to get right. Its class for a whole document imports all
    # that can be in one, and orders and compares what it is given: for hundreds of files, as some wheels have, that
    # would take longer than everything else that a repair does.
    wheel, parts = _json(_wheel(plan)), list(_parts(plan, digests))
    components = [_json(_component(plan, graft, digests[graft.member], distribution)) for graft in plan.grafts]
    document: dict[str, Any] = {
        "$schema": _SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**wheel, "components": parts}, "tools": {"components": [_json(_tool())]}},
        "components": components,
        "dependencies": _dependencies(plan, wheel["bom-ref"], parts),
    }
    if date is not None:
        document["metadata"]["timestamp"] = datetime(*date, tzinfo=timezone.utc).isoformat()
    # "Every BOM generated SHOULD have a unique serial number": of its content, so that equal documents have the same.
    content = json.dumps(document, sort_keys=True)
    document["serialNumber"] = uuid5(NAMESPACE_URL, f"musl-repair:{content}").urn
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def _json(component: Component) -> dict[str, Any]:
    text = component.as_json(SchemaVersion1Dot6)  # type: ignore[attr-defined]  # a decorator's, as on all its models
    made: dict[str, Any] = json.loads(text)
    # packageurl makes a name small after it has escaped it: libstdc%2b%2b.
    made["purl"] = _ESCAPE.sub(lambda found: found[0].upper(), made["purl"])
    return made


def _tool() -> Component:
    purl = PackageURL("pypi", name="musl-repair", version=__version__)
    licenses = [LicenseExpression(_OWN_LICENSE)]
    return Component(
        type=ComponentType.APPLICATION,
        name="musl-repair",
        version=__version__,
        bom_ref="musl-repair",
        purl=purl,
        licenses=licenses,
    )


def _wheel(plan: Plan) -> Component:
    name = canonicalize_name(plan.result.distribution)
    purl = PackageURL("pypi", name=name, version=plan.result.version)
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=plan.result.version,
        bom_ref=purl.to_string(),
        purl=purl,
        properties=_properties(wheel=str(plan.result)),
    )


def _parts(plan: Plan, digests: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the wheel's own ELF files as components in JSON, sorted by name."""
    members = {plan.members[path]: path for path in plan.resolution.edges if is_mounted(path)}
    for name, path in sorted(members.items()):
        hashes = [{"alg": "SHA-256", "content": digests[name]}]
        part: dict[str, Any] = {"bom-ref": name, "hashes": hashes, "name": name, "type": "file"}
        build_id = plan.resolution.elfs[path].build_id
        if build_id:
            part["properties"] = [{"name": f"{_PREFIX}build-id", "value": build_id}]
        yield part


def _component(plan: Plan, graft: Graft, digest: str, distribution: Distribution) -> Component:
    elf, package = plan.resolution.elfs.get(graft.source), graft.owner
    name, version, purl = _identity(graft, distribution)
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=version,
        bom_ref=graft.member,
        purl=purl,
        licenses=_licenses(graft),
        hashes=[_sha256(digest)],
        external_references=[] if package is None else list(_references(package, purl.namespace)),
        evidence=ComponentEvidence(occurrences=[Occurrence(location=graft.member)]),
        properties=_properties(
            source=_text(str(graft.source)),
            source_sha256=graft.sha256,
            build_id=None if elf is None else elf.build_id,
            origin=None if package is None else package.origin,
            commit=None if package is None else package.commit,
        ),
    )


def _identity(graft: Graft, distribution: Distribution) -> tuple[str, str | None, PackageURL]:
    """Return name, version and package URL of what a graft is a copy of."""
    if graft.content is not None:
        file = f"musl_repair/polyfill/{graft.source.relative_to(SOURCE)}"
        purl = PackageURL("pypi", name="musl-repair", version=__version__, subpath=file)
        return "musl-repair", __version__, purl
    package, name = graft.owner, _text(graft.source.name)
    if package is None:
        return name, None, PackageURL("generic", name=name, qualifiers={"checksum": f"sha256:{graft.sha256}"})
    qualifiers = {"arch": package.arch, "distro": "-".join(distribution) if all(distribution) else ""}
    vendor = distribution.id or _VENDORS[package.manager]
    purl = PackageURL(package.manager, vendor, package.name, package.version, qualifiers)
    return package.name, package.version, purl


def _licenses(graft: Graft) -> list[LicenseExpression | DisjunctiveLicense]:
    """Return an SPDX expression where a package's licence is one, else a licence of that name."""
    text = _OWN_LICENSE if graft.content is not None else graft.owner.license if graft.owner is not None else ""
    try:
        return [LicenseExpression(canonicalize_license_expression(text))]
    except InvalidLicenseExpression:
        return [DisjunctiveLicense(name=text)] if text.strip() else []


def _references(package: Package, vendor: str | None) -> Iterator[ExternalReference]:
    if _ADDRESS.fullmatch(package.url):
        yield ExternalReference(type=ExternalReferenceType.WEBSITE, url=XsUri(package.url))
    if (package.manager, vendor) == ("apk", "alpine") and _COMMIT.fullmatch(package.commit):
        comment = f"the recipe of {package.origin or package.name}"
        yield ExternalReference(type=ExternalReferenceType.VCS, url=XsUri(_APORTS + package.commit), comment=comment)


def _dependencies(plan: Plan, wheel: str, parts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return in JSON who needs whom: the wheel its files, a file what musl loads for it."""
    needs: dict[str, set[str]] = {graft.member: set() for graft in plan.grafts}
    needs |= {member: set(targets.values()) for member, targets in plan.needs.items()}
    grafts = {(_scheme(graft.member), graft.name): graft.member for graft in plan.grafts}
    for patch in plan.patches:
        keys = [(_scheme(patch.member), name) for name in patch.added]
        needs[patch.member] |= {grafts[key] for key in keys if key in grafts}
    needs[wheel] = {part["name"] for part in parts}
    return [
        {"dependsOn": sorted(targets), "ref": member} if targets else {"ref": member}
        for member, targets in sorted(needs.items())
    ]


def _text(path: str) -> str:
    """Return a path as characters: bytes that are none become escapes."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _scheme(member: str) -> str:
    """Return the folder in .data that a member is in, "" for one of site-packages."""
    data, scheme, *_ = *member.split("/"), ""
    return scheme if data.endswith(".data") and scheme not in ("platlib", "purelib") else ""


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)


def _properties(**values: str | None) -> list[Property]:
    """Return what CycloneDX has no field for, without what is not known."""
    return [Property(name=f"{_PREFIX}{name.replace('_', '-')}", value=value) for name, value in values.items() if value]
