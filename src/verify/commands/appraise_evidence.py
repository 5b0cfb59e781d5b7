"""``depin-verify evidence``: appraise one piece of evidence offline, step by step."""

from __future__ import annotations

import sys
import time
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from depin_id.attestation.result import TrustVector, tier
from depin_id.commands.common import read_input, show
from depin_id.did.literal import literal_key
from depin_id.errors import AttestationError, ConfigError
from depin_id.keys import PublicKey
from depin_id.printable import json_text, printable
from verify.attestation import Appraisal, Expected, Materials, appraise_evidence, handlers
from verify.attestation.anchor_files import read_anchors
from verify.attestation.anchor_keys import MAX_KEY_FILE, read_keys
from verify.attestation.bundles import (
    Material,
    bundle_anchors,
    bundle_references,
    bundle_revocations,
    materials_from,
)
from verify.attestation.foreign_cose import load_key
from verify.attestation.handlers import EvidenceHandler, format_names, handler_for
from verify.attestation.public_keys import device_key
from verify.commands.common import AsJson, parse_moment
from verify.commands.materials import Covers, Issuers, Taken, load, load_list, load_references

DAY_MS: Final = 86_400_000
MAX_CHALLENGE: Final = 512
MAX_MOMENT: Final = 250_000_000_000_000
_NAMES: Final = ", ".join(sorted(format_names()))
_TIERS: Final = {0: "none", 2: "affirming", 32: "warning", 96: "contraindicated"}


def evidence(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The evidence; - is stdin.")],
    challenge: Annotated[
        str, typer.Option(metavar="HEX", help="What has to stand in its challenge slot.")
    ],
    format_name: Annotated[
        str, typer.Option("--format", metavar="NAME", help=f"Its format: {_NAMES}.")
    ] = "",
    media_type: Annotated[str, typer.Option(help="Its media type, instead of the format.")] = "",
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When to appraise it as of: ISO 8601, or seconds. Now."),
    ] = None,
    anchors: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Trust anchors: a folder or file. Repeats."),
    ] = None,
    references: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Models in TOML. Repeats.")
    ] = None,
    revocations: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="status.json, a CRL, or TOML. Repeats."),
    ] = None,
    covers: Covers = None,
    taken: Taken = None,
    issuer: Issuers = None,
    max_age: Annotated[int, typer.Option(metavar="DAYS", help="How old a list may be.")] = 7,
    key: Annotated[
        str, typer.Option(metavar="KEY", help="did:key, did:jwk or file of the device's key.")
    ] = "",
    model: Annotated[str, typer.Option(metavar="NAME", help="The only model it may be of.")] = "",
    activated: Annotated[
        str,
        typer.Option(
            metavar="EK:AK", help="TPM: SHA-256 of the EK's SPKI, and Name of the AK, in hex."
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Appraise one piece of evidence offline; exit 0 when it is affirmed, 1 when it is not.

    Every step is shown, the one that failed last. What is missing is not affirmed: without an
    anchor of the format nothing is authentic, without a model and its references no firmware is
    approved, and without a list of what is revoked no hardware is genuine, unless the model says
    that its maker publishes none. A list without its own time counts as taken at --at.

    Examples:

    depin-verify evidence --format android-key --challenge 00ff --anchors roots/
    --references models.toml --revocations status.json chain.pem

    depin-verify evidence --format psa --challenge 00ff --at 2026-03-22T00:00:00Z
    --anchors registry.toml --references models.toml --json token.cbor
    """
    handler, named = _handler(format_name, media_type)
    moment = int(time.time() * 1000) if at is None else parse_moment(at)
    if moment > MAX_MOMENT:
        raise ConfigError("usage", "--at is of no year that a calendar has")
    lists = _Lists(list(revocations or ()), covers, taken, list(issuer or ()))
    materials = _materials(
        handler.name, list(anchors or ()), list(references or ()), lists, moment, max_age
    )
    if model and all(item.name != model for item in materials.models):
        raise ConfigError("usage", f"the references have no model {model[:60]!r}")
    expected = Expected(
        challenge=_hexadecimal(challenge, "--challenge", 8, MAX_CHALLENGE),
        key=_key(key),
        activation=_activation(activated),
    )
    raw = read_input(file, max_bytes=handler.max_bytes + 1)
    found = appraise_evidence(
        named,
        raw,
        expected=expected,
        at=moment,
        materials=materials,
        model=model,
        handler=handler,
    )
    report = _report(found, materials)
    if as_json:
        print(json_text(report, indent=2))
    else:
        _show(found, report)
    if not found.affirmed:
        sys.exit(1)


# --- what was asked for --------------------------------------------------------------------------


def _handler(format_name: str, media_type: str) -> tuple[EvidenceHandler[Any], str]:
    if bool(format_name) == bool(media_type):
        raise ConfigError("usage", "name the evidence's format", hint="--format or --media-type")
    if media_type:
        return handler_for(media_type), media_type
    known = handlers()
    if format_name not in known:
        raise AttestationError(
            "attestation.format",
            f"no format of evidence is called {format_name[:60]!r}",
            hint=f"there are {', '.join(sorted(known)) or 'none'}",
        )
    handler = known[format_name]
    return handler, min(handler.media_types)


class _Lists:
    """Files of lists, and what was said about them."""

    def __init__(
        self, files: list[Path], covers: list[str] | None, taken: str | None, issuers: list[Path]
    ) -> None:
        self.files = files
        self.covers = frozenset(covers or ())
        self.taken = taken
        self.issuers = issuers

    def bundle(self, format_name: str, at: int) -> list[Material]:
        if not self.files:
            return []
        taken = at if self.taken is None else parse_moment(self.taken)
        covers = self.covers or frozenset((format_name,))
        found = [
            load_list(file, taken=taken, covers=covers, issuers=self.issuers) for file in self.files
        ]
        return [("revocations", "files", bundle_revocations(found))]


def _materials(
    format_name: str,
    anchors: list[Path],
    references: list[Path],
    lists: _Lists,
    at: int,
    max_age: int,
) -> Materials:
    if not 0 < max_age <= 3650:
        raise ConfigError("usage", "--max-age is 1 to 3650 days")
    bundles: list[Material] = []
    for number, path in enumerate(anchors):
        # Keys in no folder of a format, and rows of a registry that name none, are of this one.
        nested = path.is_dir() and any(item.is_dir() for item in path.iterdir())
        found = read_anchors(path, "" if nested else format_name)
        bundles.append(("anchors", f"{number:03}", bundle_anchors(found, secrets=True)))
    for number, path in enumerate(references):
        bundles.append(("references", f"{number:03}", bundle_references(load_references(path))))
    bundles += lists.bundle(format_name, at)
    return materials_from(bundles, max_age_ms=max_age * DAY_MS, at=at)


def _hexadecimal(text: str, option: str, least: int, most: int) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        raise ConfigError("usage", f"{option} is not hexadecimal") from None
    if not least <= len(found) <= most:
        raise ConfigError("usage", f"{option} has {len(found)} bytes; {least} to {most} are meant")
    return found


def _activation(text: str) -> tuple[bytes, bytes] | None:
    if not text:
        return None
    endorsement, colon, name = text.partition(":")
    if not colon:
        raise ConfigError("usage", "--activated is the EK's hash, a colon and the AK's Name")
    return (
        _hexadecimal(endorsement, "--activated", 32, 32),
        _hexadecimal(name, "--activated", 34, 66),
    )


def _key(value: str) -> PublicKey | None:
    if not value:
        return None
    literal = literal_key(value)
    if literal is not None:
        return literal
    keys = read_keys(load(Path(value), max_bytes=MAX_KEY_FILE))
    found = device_key(load_key(keys[0][0])) if len(keys) == 1 else None
    if found is None:
        raise ConfigError("usage", f"{value[:80]} is not one key of Ed25519 or P-256")
    return found


# --- what was found ------------------------------------------------------------------------------


def _report(found: Appraisal, materials: Materials) -> dict[str, Any]:
    claims = found.claims
    report: dict[str, Any] = {
        "affirmed": found.affirmed,
        "format": found.format,
        "media_type": found.media_type,
        "evidence": found.evidence.hex(),
        "at": found.at,
        "model": found.model.name,
        "level": found.level,
        "status": _TIERS[found.vector.status],
        "vector": _vector(found.vector),
        "reasons": list(found.reasons),
        "not_after": found.not_after,
        "anchors": materials.anchors.digest.hex(),
        "references": materials.models.digest.hex(),
        "revocations": materials.revocations.digest.hex(),
        "steps": [
            {"step": step.name, "passed": step.passed, "detail": step.detail}
            for step in found.steps
        ],
    }
    if claims is not None:
        report["claims"] = {
            "assurance": claims.root.assurance,
            "root": claims.root.id.hex(),
            "unique": claims.root.unique,
            "bound": claims.bound_key.how,
            "protected": claims.bound_key.protected,
            "secure": claims.secure,
            "device_ids": dict(claims.device_ids),
            "numbers": dict(claims.numbers),
            "counters": dict(claims.counters),
            "measurements": [
                {
                    "name": item.name,
                    "digest": item.digest.hex(),
                    "signer": item.signer.hex(),
                    "version": item.version,
                }
                for item in claims.measurements
            ],
            "identifiers": sorted(claims.identifiers),
        }
    return report


def _vector(vector: TrustVector) -> dict[str, int]:
    """Those claims that are made, as AR4SI calls them."""
    return {
        field.name.replace("_", "-"): value
        for field, value in zip(fields(vector), vector.values(), strict=True)
        if value
    }


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="seconds")


def _show(found: Appraisal, report: dict[str, Any]) -> None:
    table = Table("", "step", "detail")
    for step in found.steps:
        mark = Text("ok", style="green") if step.passed else Text("FAILED", style="bold red")
        table.add_row(mark, Text(step.name), Text(printable(step.detail), overflow="fold"))
    console = Console()
    if not console.is_terminal:
        # Piped somewhere: nothing is folded away.
        console = Console(width=320)
    console.print(table)
    vector = ", ".join(
        f"{name} {value} ({_TIERS[tier(value)]})" for name, value in report["vector"].items()
    )
    summary: dict[str, Any] = {
        "affirmed": "yes" if found.affirmed else "NO",
        "format": found.format,
        "model": found.model.name,
        "level": found.level,
        "status": report["status"],
        "vector": vector,
        "reasons": ", ".join(found.reasons),
        "good until": _moment(found.not_after),
    }
    if found.claims is not None:
        summary |= {"assurance": found.claims.root.assurance, "bound": found.claims.bound_key.how}
    show(summary, as_json=False)
