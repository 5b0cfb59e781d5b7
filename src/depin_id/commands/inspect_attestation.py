"""Evidence and attestation results in words, for ``depin-id inspect``."""

from __future__ import annotations

import dataclasses
from typing import Any

from depin_id import cose
from depin_id.attestation.ear import CONTENT_TYPE, decode_result, read_ear, result_digest
from depin_id.attestation.message import read_message
from depin_id.attestation.result import TrustVector
from depin_id.errors import DepinError
from depin_id.keys import PublicKey
from depin_id.network import NetworkCard

_UNCHECKED = "not checked (give --network with the card)"


def attested(
    data: bytes, network: str | None, card: NetworkCard | None, key: PublicKey | None
) -> dict[str, Any]:
    """A result's token, or a device's evidence. Raises DepinError: it is neither."""
    if cose.parse_sign1(data).headers.get(cose.HEADER_CONTENT_TYPE) == CONTENT_TYPE:
        return _result(data, card)
    return _message(data, network, key)


def _result(data: bytes, card: NetworkCard | None) -> dict[str, Any]:
    payload = cose.parse_sign1(data).payload
    result = decode_result(payload)
    signature = _UNCHECKED
    if card is not None:
        try:
            read_ear(data, network=card.network, keys=card.ack_keys)
            signature = "valid"
        except DepinError as error:
            signature = f"INVALID: {error.code}: {error.message}"
    fields: dict[str, Any] = {"kind": "attestation result", "signature": signature}
    fields["ear"] = result_digest(payload)[:16].hex()
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        if isinstance(value, TrustVector):
            value = {name: number for name, number in dataclasses.asdict(value).items() if number}
        elif isinstance(value, tuple):
            value = list(value)
        fields[field.name] = value.hex() if isinstance(value, bytes) else value
    return fields


def _message(data: bytes, network: str | None, key: PublicKey | None) -> dict[str, Any]:
    message = read_message(data)
    signature = "not checked (give --network and --device)"
    if network is not None and key is not None:
        try:
            message.verify(network, key)
            signature = "valid"
        except DepinError as error:
            signature = f"INVALID: {error.code}: {error.message}"
    return {
        "kind": "evidence",
        "signature": signature,
        "did": message.did,
        "nonce": message.nonce.hex(),
        "expires": message.expires,
        "boot": message.boot,
        "media_type": message.media_type,
        "bytes": len(message.evidence),
        "opened a credential": message.activation is not None,
    }
