"""Downlink messages of the aggregator: acknowledgements, challenges and the signed resume.

All are COSE_Sign1 by one of the acknowledgement keys that the network card names, each kind under
its own domain. A sender drops only what it holds under exactly the identity that was acknowledged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from depin_id import cbor, cose
from depin_id.claims import is_uint
from depin_id.errors import EnvelopeError, NetworkError
from depin_id.keys import Signer
from depin_id.network import NetworkCard

KIND_ACK, KIND_CHALLENGE, KIND_RESUME = "ack", "challenge", "resume"
MAX_ACK_BYTES = 131_072
MAX_ACK_ITEMS = 1024
MAX_CODE = 64
NONCE_BYTES = 16


@dataclass(frozen=True, slots=True)
class AckItem:
    """What became of one envelope.

    Attributes:
        id: its identity, 32 bytes; for bytes that could not be read as an envelope, their
            SHA-256.
        code: ``accepted``, or the code of the verdict.
        index: index of the verdict's entry in the log, None where there is none.
        leaf: RFC 6962 leaf hash of that entry, 32 bytes, or None.
    """

    id: bytes
    code: str
    index: int | None
    leaf: bytes | None

    @property
    def final(self) -> bool:
        """Whether the sender may drop the envelope: everything but a request to send again."""
        return self.code != "aggregator.retry"


@dataclass(frozen=True, slots=True)
class Ack:
    """An acknowledgement, one per recipient and commit.

    Attributes:
        recipient: key thumbprint of the publisher it goes to, 32 bytes.
        number: rises for every recipient.
        time: the aggregator's time at the commit, milliseconds since 1970.
        nonce: the nonce the recipient last sent (claim 10), echoed, or None.
        origin: the log's origin.
        items: one for each envelope.
        beacon: the newest downlink nonce for this recipient, for its next envelopes' claim 10;
            None before the first checkpoint.
    """

    recipient: bytes
    number: int
    time: int
    nonce: bytes | None
    origin: str
    items: tuple[AckItem, ...]
    beacon: bytes | None


@dataclass(frozen=True, slots=True)
class Challenge:
    """A fresh nonce for one recipient, valid until ``expires`` (seconds since 1970)."""

    recipient: bytes
    nonce: bytes
    expires: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Leave to sign again after damaged storage: bound to the device's nonce and an epoch floor."""

    recipient: bytes
    nonce: bytes
    epoch_floor: int


def challenge_nonce(size: int, root: bytes, thumbprint: bytes) -> bytes:
    """The downlink nonce that the checkpoint (size, root) gives to one recipient, 16 bytes.

    The size (8 bytes, big-endian) lets the aggregator find the checkpoint again; the rest is the
    head of SHA-256 over checkpoint and recipient, so that nobody can know it before the checkpoint.
    """
    digest = hashlib.sha256(cbor.encode(["depin-nonce/1", size, root, thumbprint])).digest()
    return size.to_bytes(8, "big") + digest[:8]


def _wrong(kind: str, what: str) -> NoReturn:
    raise EnvelopeError(f"{kind}.malformed", what)


def _sign(kind: str, payload: dict[int, Any], network: str, signer: Signer) -> bytes:
    headers = {cose.HEADER_KID: signer.public_key.kid}
    # Labels are small and in order, values plain: this is what the general encoder gives.
    parts = [bytes((0xA0 | len(payload),))]
    for label, value in payload.items():
        parts += (cbor.uint(label), cbor.encode_plain(value))
    return cose.sign1(headers, b"".join(parts), kind=kind, network=network, signer=signer)


def _open(kind: str, data: bytes, card: NetworkCard, labels: int, recipient: bytes) -> Any:
    sign1 = cose.parse_sign1(data, max_bytes=MAX_ACK_BYTES)
    if set(sign1.headers) != {cose.HEADER_ALG, cose.HEADER_KID}:
        _wrong(kind, "the protected header is not exactly alg and kid")
    kid = sign1.headers[cose.HEADER_KID]
    key = card.ack_key(kid) if isinstance(kid, bytes) else None
    if key is None:
        raise NetworkError(
            "network.key_unknown",
            "the message is signed by a key that the network card does not name",
            hint="take a newer network card, or drop the message",
        )
    sign1.verify(kind, card.network, key)
    payload = cbor.decode(sign1.payload)
    if not isinstance(payload, dict) or set(payload) != set(range(1, labels + 1)):
        _wrong(kind, "the payload is not the map of this kind")
    if payload[1] != recipient:
        raise EnvelopeError(f"{kind}.foreign", "the message is for another recipient")
    return payload


def sign_ack(ack: Ack, *, network: str, signer: Signer) -> bytes:
    """The signed acknowledgement."""
    items = [[item.id, item.code, item.index, item.leaf] for item in ack.items]
    payload = {
        1: ack.recipient,
        2: ack.number,
        3: ack.time,
        4: ack.nonce,
        5: ack.origin,
        6: items,
        7: ack.beacon,
    }
    return _sign(KIND_ACK, payload, network, signer)


def _read_item(value: Any) -> AckItem:
    if not isinstance(value, list) or len(value) != 4:
        _wrong(KIND_ACK, "an item is not an array of four")
    identity, code, index, leaf = value
    if type(identity) is not bytes or len(identity) != 32:
        _wrong(KIND_ACK, "an identity is not 32 bytes")
    if type(code) is not str or not 0 < len(code) <= MAX_CODE:
        _wrong(KIND_ACK, "a verdict code is not a short text")
    if index is not None and not is_uint(index):
        _wrong(KIND_ACK, "a log index is not a whole number")
    if leaf is not None and (type(leaf) is not bytes or len(leaf) != 32):
        _wrong(KIND_ACK, "a leaf hash is not 32 bytes")
    return AckItem(identity, code, index, leaf)


def read_ack(data: bytes, *, card: NetworkCard, recipient: bytes) -> Ack:
    """Read and verify an acknowledgement for the recipient with this thumbprint (32 bytes).

    The caller still refuses numbers at or below the last one it took (a replay).

    Raises:
        EnvelopeError: ``ack.malformed`` or ``ack.foreign``.
        NetworkError: ``network.key_unknown``. SignatureInvalid, EncodingError: as they say.
    """
    payload = _open(KIND_ACK, data, card, 7, recipient)
    _, number, time, nonce, origin, items, beacon = (payload[label] for label in range(1, 8))
    if not is_uint(number, 1 << 62) or not is_uint(time, 1 << 50):
        _wrong(KIND_ACK, "number or time is not a whole number")
    for value in (nonce, beacon):
        if value is not None and (type(value) is not bytes or not 8 <= len(value) <= 32):
            _wrong(KIND_ACK, "a nonce is neither null nor 8 to 32 bytes")
    if origin != card.log_origin:
        _wrong(KIND_ACK, "the log origin is not the card's")
    if not isinstance(items, list) or len(items) > MAX_ACK_ITEMS:
        _wrong(KIND_ACK, f"the items are not a list of at most {MAX_ACK_ITEMS}")
    read = tuple(_read_item(item) for item in items)
    return Ack(recipient, number, time, nonce, origin, read, beacon)


def sign_challenge(challenge: Challenge, *, network: str, signer: Signer) -> bytes:
    """The signed challenge."""
    payload = {1: challenge.recipient, 2: challenge.nonce, 3: challenge.expires}
    return _sign(KIND_CHALLENGE, payload, network, signer)


def read_challenge(data: bytes, *, card: NetworkCard, recipient: bytes) -> Challenge:
    """Read and verify a challenge. Raises as :func:`read_ack`, codes ``challenge.*``."""
    payload = _open(KIND_CHALLENGE, data, card, 3, recipient)
    if type(payload[2]) is not bytes or len(payload[2]) != NONCE_BYTES:
        _wrong(KIND_CHALLENGE, "the nonce is not 16 bytes")
    if not is_uint(payload[3]):
        _wrong(KIND_CHALLENGE, "the expiry is not whole seconds")
    return Challenge(recipient, payload[2], payload[3])


def sign_resume(resume: Resume, *, network: str, signer: Signer) -> bytes:
    """The signed resume."""
    payload = {1: resume.recipient, 2: resume.nonce, 3: resume.epoch_floor}
    return _sign(KIND_RESUME, payload, network, signer)


def read_resume(data: bytes, *, card: NetworkCard, recipient: bytes, nonce: bytes) -> Resume:
    """Read and verify a resume against the nonce that the device made for it.

    Raises as :func:`read_ack`, codes ``resume.*``; ``resume.stale`` for another nonce.
    """
    payload = _open(KIND_RESUME, data, card, 3, recipient)
    if payload[2] != nonce:
        raise EnvelopeError("resume.stale", "the resume answers another nonce")
    if not is_uint(payload[3], (1 << 32) - 2):
        _wrong(KIND_RESUME, "the epoch floor is not an integer of 32 bits")
    return Resume(recipient, nonce, payload[3])


def split_items(items: Sequence[AckItem]) -> list[tuple[AckItem, ...]]:
    """Items in acknowledgement-sized pieces, in order."""
    step = MAX_ACK_ITEMS
    return [tuple(items[at : at + step]) for at in range(0, len(items), step)]
