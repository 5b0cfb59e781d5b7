"""Giving a result away once more: as it stands in the journal, signed anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import cbor2

from depin_id.attestation.ear import result_digest, sign_ear
from depin_id.errors import ConfigError
from verify.entries import delta_kind
from verify.replay import Opener
from verify.requests import text
from verify.results.entries import ID_BYTES, RESULT, ResultTaken

if TYPE_CHECKING:
    from verify.aggregator import Aggregator


def export(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``attestation-export``: the newest result of ``did``, or the one named ``ear``.

    It looks through the journal.

    Returns:
        ``{"did", "ear", "result": the signed token in hexadecimal}``.

    Raises:
        ConfigError: ``registry.unknown_device``, ``attestation.none``.
    """
    fold, wanted = aggregator.fold, request.get("ear")
    did = text(request, "did")
    ref = fold.state.subjects.ref(fold.registry.known(did).subject)
    opener, payload = Opener(fold, aggregator.keys), b""
    for stored in aggregator.journal.entries():
        if delta_kind(stored.delta) != RESULT:
            continue
        entry = opener.open(stored).entry
        if not isinstance(entry, ResultTaken) or entry.ref != ref or entry.private is None:
            continue
        if wanted in (None, entry.digest[:ID_BYTES].hex()):
            payload = cbor2.loads(entry.private)[0]
    if not payload:
        raise ConfigError(
            "attestation.none",
            f"{did[:100]} has no such result",
            hint="`depin-verify attestations` lists what devices have attested",
        )
    network = fold.card.network
    token = sign_ear(payload, network=network, signer=aggregator.ack_signer)
    ear = result_digest(payload)[:ID_BYTES].hex()
    return {"did": did, "ear": ear, "result": token.hex()}
