"""Targets: what witnesses and those who ask them read, and COSE Receipts."""

from __future__ import annotations

from pathlib import Path

from depin_id.reissue import CardRequest
from depin_id.witness import WitnessKey
from tests.fuzz.logs import KEY_OF_LOG, SIGNED_CHECKPOINT, each
from tests.fuzz.target import target, text
from tests.fuzz.wire import NETWORK
from verify.log.cose_receipt import (
    check_cose_consistency,
    check_cose_inclusion,
    sign_cose_consistency,
    sign_cose_inclusion,
)
from verify.log.cosignature import cosignatures_of
from verify.log.equivocation import Equivocation
from verify.log.note import Checkpoint, sign_checkpoint
from verify.witness.request import AddCheckpoint, format_request
from verify.witness.settings import parse_settings

_WITNESS = WitnessKey("example.org/witness", NETWORK.log_signer.public_key)
_ORIGIN, _LOG = KEY_OF_LOG.name, NETWORK.log_signer
_SETTINGS = f"""quorum = 1
[[witness]]
url = "https://example.org/witness"
key = "{_WITNESS.vkey}"
"""


def take_request(data: bytes) -> None:
    """A request has one spelling; its note may be anybody's."""
    asked = AddCheckpoint.parse(data)
    assert AddCheckpoint.parse(format_request(asked.old_size, asked.proof, asked.note)) == asked
    each(lambda: cosignatures_of(asked.note, [_WITNESS]))


def take_equivocation(data: bytes) -> None:
    """A proof of two histories says the same when it is written again."""
    found = Equivocation.parse(data)
    assert Equivocation.parse(found.format().encode()) == found
    each(lambda: found.check(KEY_OF_LOG))


def take_cose_receipt(data: bytes) -> None:
    """Receipts of inclusion and of consistency."""
    key = _LOG.public_key
    each(
        lambda: check_cose_inclusion(data, b"leaf", key, origin=_ORIGIN),
        lambda: check_cose_consistency(data, bytes(32), key, origin=_ORIGIN),
    )


def take_asking(data: bytes) -> None:
    """Keys of witnesses, settings, and requests for a card."""

    def key() -> None:
        assert WitnessKey.parse(text(data)).vkey == text(data)

    each(
        key,
        lambda: parse_settings(text(data), folder=Path("folder")),
        lambda: CardRequest.from_json(data),
    )


target("witness-request", take_request, [format_request(0, [], SIGNED_CHECKPOINT)])
_OTHER = sign_checkpoint(
    Checkpoint(_ORIGIN, 1, bytes(32), ()), _ORIGIN, KEY_OF_LOG.public_key, _LOG.sign
)
target("equivocation", take_equivocation, [Equivocation(SIGNED_CHECKPOINT, _OTHER).format()])
target(
    "cose-receipt",
    take_cose_receipt,
    [
        sign_cose_inclusion(0, 2, b"leaf", [bytes(32)], signer=_LOG, origin=_ORIGIN),
        sign_cose_consistency(1, 2, bytes(32), [bytes(32)], signer=_LOG, origin=_ORIGIN),
    ],
)
target("asking", take_asking, [_WITNESS.vkey, _SETTINGS])
