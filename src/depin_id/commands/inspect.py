"""``depin-id inspect``: everything that is signed, in words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import typer

from depin_id import cbor, cose
from depin_id.ack import KIND_ACK, KIND_CHALLENGE, KIND_RESUME
from depin_id.claims import Claims
from depin_id.commands.common import network_and_card, read_input
from depin_id.commands.inspect_attestation import attested
from depin_id.did.key import parse_did_key
from depin_id.enrolment import Enrolment, format_degrees
from depin_id.envelope import (
    CONTENT_SENML,
    CONTENT_SIGN1,
    NO_PREV,
    Envelope,
    open_gateway_payload,
    parse_envelope,
    split_bundle,
)
from depin_id.errors import ConfigError, DepinError
from depin_id.keys import ED25519, EDDSA, ES256, ESP256, PublicKey
from depin_id.network import NetworkCard, read_card
from depin_id.possession import read_proof
from depin_id.printable import json_text, printable
from depin_id.senml import RELATIVE_LIMIT, Record, decode_pack
from depin_id.statements import is_statement, read_statement

_MAX_BYTES = 1 << 24
_INVALID = "INVALID"
_ALGORITHMS = {ED25519: "Ed25519", ESP256: "ESP256", EDDSA: "EdDSA", ES256: "ES256"}
_CONTENT: dict[int | str | None, str] = {
    CONTENT_SENML: "SenML pack",
    CONTENT_SIGN1: "one device envelope",
    None: "hash of an object",
}


def moment(seconds: int) -> str:
    """Seconds since 1970 in ISO 8601; beyond year 9999 as a number."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def plain(value: Any) -> Any:
    """A CBOR value as JSON can carry it: bytes as hex, keys as text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, cbor.Tag):
        return {"tag": value.tag, "value": plain(value.value)}
    if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))):
        return str(value)
    return value


def _claims(claims: Claims) -> dict[str, Any]:
    found: dict[str, Any] = {
        "iss": claims.iss,
        "sub": claims.sub,
        "iat": None if claims.iat is None else moment(claims.iat),
        "cti": plain(claims.cti),
        "nonce": plain(claims.nonce),
        "level": claims.level,
        "cap": plain(claims.cap),
    }
    if claims.link is not None:
        found["link"] = {"rssi_dbm": claims.link.rssi_dbm, "snr_ddb": claims.link.snr_ddb}
    if claims.place is not None:
        place = claims.place
        found["place"] = f"{format_degrees(place.lat_e7)}, {format_degrees(place.lon_e7)}"
    return {name: value for name, value in found.items() if value is not None}


def _record(record: Record) -> dict[str, Any]:
    seconds = record.time
    when = f"{seconds} s to sealing" if seconds < RELATIVE_LIMIT else str(seconds)
    if seconds >= RELATIVE_LIMIT:
        when = f"{moment(seconds.floor_scaled(0))} ({seconds})"
    value = record.value
    shown = plain(value) if isinstance(value, str | bool | bytes) else str(value)
    return {"name": record.name, "value": shown, "unit": record.unit, "time": when}


def _content(envelope: Envelope) -> dict[str, Any]:
    try:
        if envelope.content_type == CONTENT_SENML:
            return {"records": [_record(record) for record in decode_pack(envelope.payload)]}
        if envelope.content_type == CONTENT_SIGN1:
            return {"envelope": envelope_fields(open_gateway_payload(envelope.payload))}
        if envelope.payload_hash is not None:
            hashed = envelope.payload_hash
            return {
                "sha256": envelope.payload.hex(),
                "preimage_type": hashed.preimage_type,
                "location": hashed.location,
            }
        return {"content": plain(cbor.decode(envelope.payload))}
    except DepinError as error:
        return {"content": envelope.payload.hex(), "problem": str(error)}


def envelope_fields(envelope: Envelope, **more: Any) -> dict[str, Any]:
    """An envelope in words; its signature is not looked at."""
    at = envelope.provenance
    clock = "no clock" if at.clock is None else f"clock right to {at.clock} s"
    return {
        "kind": envelope.kind,
        "bytes": len(envelope.raw),
        "algorithm": _ALGORITHMS[envelope.algorithm],
        "kid": envelope.kid.hex(),
        "position": f"epoch {at.epoch}, n {at.n}",
        "prev": "none" if at.prev == NO_PREV else at.prev.hex(),
        "time": f"{at.uptime} s after boot, {clock}",
        **({} if at.ear is None else {"attestation": at.ear.hex()}),
        **more,
        "content_type": _CONTENT.get(envelope.content_type, envelope.content_type),
        "claims": _claims(envelope.claims),
        **_content(envelope),
    }


def _downlink(data: bytes) -> dict[str, Any]:
    """A card, or an acknowledgement, challenge or resume; the last three are not verified here."""
    sign1 = cose.parse_sign1(data)
    payload = cbor.decode(sign1.payload)
    if not isinstance(payload, dict):
        raise cose.malformed("the payload is no map")
    if set(payload) == set(range(1, 9)):
        card = read_card(data)
        return {
            "kind": "card",
            "bytes": len(data),
            "signature": "valid under the root that it names",
            "network": card.network,
            "name": card.name,
            "number": card.number,
            "validity": f"{moment(card.not_before)} to {moment(card.not_after)}",
            "ack_kids": [key.kid.hex() for key in card.ack_keys],
            "log_origin": card.log_origin,
            "log_key": card.log_key.raw.hex(),
        }
    return {"bytes": len(data), "signature": "not checked", **_message(payload)}


def _message(payload: dict[Any, Any]) -> dict[str, Any]:
    labels = len(payload)
    if set(payload) == set(range(1, 8)):
        names = ("recipient", "number", "time", "nonce", "origin", "items", "beacon")
        found = dict(zip(names, (plain(payload[label]) for label in range(1, 8)), strict=True))
        if isinstance(payload[3], int):
            found["time"] = moment(payload[3] // 1000)
        return {"kind": KIND_ACK, **found}
    if set(payload) == {1, 2, 3}:
        return {
            "kind": f"{KIND_CHALLENGE} or {KIND_RESUME}",
            "recipient": plain(payload[1]),
            "nonce": plain(payload[2]),
            "expiry or epoch floor": plain(payload[3]),
        }
    raise cose.malformed(f"a payload map of {labels} is none of the wire's")


def _proof(data: bytes, network: str | None) -> dict[str, Any]:
    """A proof of possession; its key is in it, so a network is all that verifying needs."""
    payload = cbor.decode(cose.parse_sign1(data).payload)
    if not isinstance(payload, dict) or set(payload) != {1, 2, 3, 4}:
        raise cose.malformed("the payload is not that of a proof")
    signature = "not checked (give --network)"
    if network is not None:
        try:
            read_proof(data, network=network)
            signature = "valid"
        except DepinError as error:
            signature = f"{_INVALID}: {error.code}: {error.message}"
    return {
        "kind": "proof of possession",
        "bytes": len(data),
        "signature": signature,
        "nonce": plain(payload[1]),
        "enrolment": Enrolment.from_list(payload[2]).to_json(),
        "certificate": plain(payload[3]),
        "earlier envelopes count": plain(payload[4]),
    }


def _statement(data: bytes, network: str | None) -> dict[str, Any]:
    """A statement with its parts: what is signed in words, the rest by its size."""
    found = read_statement(data)
    fields = {"kind": "statement", "asks": found.kind, "id": found.id.hex(), "bytes": len(data)}
    for number, part in enumerate(found.parts, 1):
        try:
            fields[f"part {number}"] = _proof(part, network)
        except DepinError:
            fields[f"part {number}"] = part.hex() if len(part) <= 64 else f"{len(part)} bytes"
    return fields


def describe(
    data: bytes, network: str | None, key: PublicKey | None, card: NetworkCard | None = None
) -> dict[str, Any]:
    """One object in words; what cannot be read says why."""
    try:
        envelope = parse_envelope(data)
    except DepinError as error:
        if is_statement(data):
            readers = [partial(_statement, data, network)]
        else:
            readers = [
                partial(attested, data, network, card, key),
                partial(_downlink, data),
                partial(_proof, data, network),
            ]
        for read in readers:
            with suppress(DepinError):
                return read()
        return {"kind": "unreadable", "bytes": len(data), "problem": str(error)}
    if key is None and envelope.claims.iss is not None:
        try:
            key = parse_did_key(envelope.claims.iss)
        except DepinError:
            key = None
    if network is None or key is None:
        return envelope_fields(envelope, signature="not checked (give --network and --device)")
    try:
        identity = envelope.verify(network, key)
    except DepinError as error:
        return envelope_fields(envelope, signature=f"{_INVALID}: {error.code}: {error.message}")
    return envelope_fields(envelope, signature="valid", id=identity.hex())


def lines(value: Any, indent: str = "") -> Iterator[str]:
    """Nested fields as indented lines."""
    for name, item in value.items():
        if isinstance(item, dict) and item:
            yield f"{indent}{name}:"
            yield from lines(item, indent + "  ")
        elif isinstance(item, list) and item:
            yield f"{indent}{name}:"
            for part in item:
                text = "  ".join(
                    str(each)
                    for each in (part.values() if isinstance(part, dict) else [part])
                    if each is not None
                )
                yield f"{indent}  - {text}"
        else:
            yield f"{indent}{name}: {'-' if item in (None, '', {}, []) else item}"


def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="- is stdin.")] = "-",
    network: Annotated[
        str | None, typer.Option(metavar="CARD-OR-DID", help="Check signatures for it.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="DID", help="Check signatures under this did:key.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """Show an envelope, a bundle, a card, an acknowledgement, a proof of possession, evidence, an
    attestation result or a statement in words, nested ones too.

    Exit 1 when a signature that was to be checked is not valid.

    Example: depin-id inspect envelopes.cbor --network card.cbor --device did:key:z6Mk...
    """
    data = read_input(file, max_bytes=_MAX_BYTES)
    if not data:
        raise ConfigError("usage", "the input is empty")
    did, encoded = (None, None) if network is None else network_and_card(network)
    card = None if encoded is None else read_card(encoded)
    key = None if device is None else parse_did_key(device)
    found = [describe(part, did, key, card) for part in split_bundle(data, max_bytes=_MAX_BYTES)]
    if as_json:
        print(json_text(found, indent=2))
    else:
        _print(found)
    if any(fields.get("signature", "").startswith(_INVALID) for fields in found):
        sys.exit(1)


def _print(found: list[dict[str, Any]]) -> None:
    for index, fields in enumerate(found):
        if index:
            print()
        for line in lines(fields):
            print(printable(line))
