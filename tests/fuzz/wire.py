"""Targets: everything that comes over the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from depin_id import cbor, cose
from depin_id.ack import (
    KIND_ACK,
    KIND_CHALLENGE,
    KIND_RESUME,
    Challenge,
    read_ack,
    read_challenge,
    read_resume,
    sign_challenge,
)
from depin_id.envelope import open_gateway_payload, parse_any, parse_envelope, split_bundle
from depin_id.errors import DepinError
from depin_id.keys import PublicKey
from depin_id.network import KIND_CARD, read_card
from depin_id.senml import (
    MAX_RECORDS,
    Decimal64,
    Record,
    decode_pack,
    encode_pack,
    format_cbor,
    parse_cbor,
)
from depin_id.senml.cbor import _check_head, _decode_any
from depin_id.testing import TestNetwork, cases, some_readings
from tests.fuzz.target import target

NETWORK = TestNetwork("fuzz")
DEVICE = NETWORK.device()
KEY = DEVICE.key
NONCE = bytes(range(16))


def _outcome(take: Callable[..., Any], *given: Any) -> Any:
    """What it gives, or that it refuses."""
    try:
        return take(*given)
    except DepinError:
        return DepinError


def take_cbor(data: bytes) -> None:
    """Both readers agree, and what is taken is exactly what we would write."""
    fast, strict = _outcome(cbor.decode, data), _outcome(cbor.decode_strict, data)
    assert repr(fast) == repr(strict), "the two readers disagree"
    if fast is not DepinError:
        assert cbor.encode(fast) == data, "taken, but not the deterministic form"
        assert cbor.item_end(data, 0) == len(data)
    value, end = cbor.decode_prefix(data)
    assert cbor.encode(value) == data[:end]


def take_envelope(data: bytes) -> None:
    """An envelope, the bundle it may be, and what it carries."""
    assert b"".join(split_bundle(data)) == data, "a bundle lost or made up bytes"
    assert _outcome(parse_envelope, data) == _outcome(parse_any, data), "the readers disagree"
    envelope = parse_envelope(data)
    sign1 = envelope.sign1
    assert cose.assemble(sign1.protected, sign1.payload, sign1.signature) == data
    _outcome(envelope.verify, NETWORK.did, KEY)
    if envelope.kind == "gateway":
        open_gateway_payload(envelope.payload)


def _general(data: bytes) -> list[Record]:
    _check_head(data, MAX_RECORDS)
    return _decode_any(data, None)


def take_pack(data: bytes) -> None:
    """The fast reader and the general one agree; written again it says the same."""
    fast, general = _outcome(decode_pack, data), _outcome(_general, data)
    assert fast == general, "the two readers disagree"
    records = decode_pack(data)
    assert decode_pack(encode_pack(records)) == records


def take_senml(data: bytes) -> None:
    """Packs of other people's systems; written again they say the same."""
    records = parse_cbor(data)
    again = _outcome(format_cbor, records)
    assert again is DepinError or parse_cbor(again) == records


def _signed(kind: str, payload: bytes) -> bytes:
    signer = NETWORK.root if kind == KIND_CARD else NETWORK.ack_signer
    return cose.sign1(
        {cose.HEADER_KID: signer.public_key.kid},
        payload,
        kind=kind,
        network=NETWORK.did,
        signer=signer,
    )


def take_card(data: bytes) -> None:
    """The card as it comes, and a rightly signed card with any payload."""
    _outcome(read_card, data)
    card = read_card(_signed(KIND_CARD, data))
    assert card.network == NETWORK.did


def take_down(data: bytes) -> None:
    """Acknowledgement, challenge and resume: as they come, and rightly signed with any payload."""
    card, who = NETWORK.card, KEY.thumbprint
    for kind in (KIND_ACK, KIND_CHALLENGE, KIND_RESUME):
        for message in (data, _signed(kind, data)):
            if kind == KIND_ACK:
                _outcome(lambda m: read_ack(m, card=card, recipient=who), message)
            elif kind == KIND_CHALLENGE:
                _outcome(lambda m: read_challenge(m, card=card, recipient=who), message)
            else:
                _outcome(lambda m: read_resume(m, card=card, recipient=who, nonce=NONCE), message)


def take_cose_key(data: bytes) -> None:
    """A key that is admitted has one spelling."""
    key = PublicKey.from_cose_key(data)
    assert key.cose_key == data
    assert replace(key) == key


def _payload(message: bytes) -> bytes:
    return cose.parse_sign1(message).payload


_ENVELOPES = [case.data for case in cases(NETWORK).values()]
_PACKS = [
    encode_pack(
        [
            Record("laeq", "dB", Decimal64(554, -1), Decimal64(1_760_000_000)),
            Record("note", None, "quiet", Decimal64(1_760_000_001)),
            Record("raw", None, b"\x00\x01", Decimal64(-5, -1)),
            Record("open", None, True),
        ][:count]
    )
    for count in (1, 2, 4)
] + [_payload(DEVICE.envelope(some_readings(20)))]
_FLOATS = bytes.fromhex("81a3006161016343656c02fb4037199999999999")
_ACK = NETWORK.ack(KEY, 3, [bytes(32)], nonce=NONCE, beacon=NONCE)
_CHALLENGE = sign_challenge(
    Challenge(KEY.thumbprint, NONCE, 2_000_000_000), network=NETWORK.did, signer=NETWORK.ack_signer
)
_RESUME = NETWORK.resume(KEY, NONCE, 7)
_P256 = NETWORK.device("p256", curve="p256").key

target("cbor", take_cbor, [*_PACKS, KEY.cose_key, b"\xd2\x84\x40\xa0\xf6\x40", b"\xf9\x3e\x00"])
target("envelope", take_envelope, [*_ENVELOPES, b"".join(_ENVELOPES[:3])])
target("senml-pack", take_pack, _PACKS)
target("senml-cbor", take_senml, [*_PACKS, _FLOATS])
target("card", take_card, [NETWORK.card_bytes, _payload(NETWORK.card_bytes)])
target(
    "downlink", take_down, [m for one in (_ACK, _CHALLENGE, _RESUME) for m in (one, _payload(one))]
)
target("cose-key", take_cose_key, [KEY.cose_key, _P256.cose_key])
