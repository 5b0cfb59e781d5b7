"""A network, a device of it in C, and what both languages make of a message."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any
from unittest import mock

from depin_id import cbor, cose
from depin_id.ack import (
    Ack,
    AckItem,
    Challenge,
    Resume,
    read_ack,
    read_challenge,
    read_resume,
    sign_ack,
    sign_challenge,
    sign_resume,
)
from depin_id.errors import DepinError, SignatureInvalid
from depin_id.keys import PublicKey, SoftwareSigner
from depin_id.network import NetworkCard, network_did, read_card, sign_card
from depin_id.witness import WitnessKey, WitnessPolicy
from tests.firmware import downlink_library as c
from tests.firmware.downlink_library import CDevice

NONCE = bytes(range(16))
CURVES = ("ed25519", "p256")


def signer(label: str, curve: Any = "ed25519") -> SoftwareSigner:
    return SoftwareSigner(curve, hashlib.sha256(label.encode()).digest())


class Stamp:
    """Signs with a hash: what is read behind a signature is tested many times faster."""

    def __init__(self, public_key: PublicKey) -> None:
        self.public_key = public_key

    def sign(self, message: bytes) -> bytes:
        return c.stamp(c.raw_of(self.public_key), message)


def _verify_stamp(key: PublicKey, message: bytes, signature: bytes) -> None:
    if signature != c.stamp(c.raw_of(key), message):
        raise SignatureInvalid("signature.invalid", "another stamp")


class World:
    """A network whose root is on one curve, and a device of it that has the card."""

    def __init__(self, curve: Any) -> None:
        self.root = signer("root", curve)
        self.acks = {name: signer("ack " + name, name) for name in CURVES}
        self.other = signer("nobody's")
        self.network = network_did(self.root.public_key)
        self.key = signer("device").public_key
        self.witness = WitnessPolicy(
            (
                WitnessKey("witness.example.org/1", signer("w1").public_key),
                WitnessKey("other", signer("w2").public_key),
            ),
            2,
        )
        self.card = NetworkCard(
            self.network,
            "test-net",
            7,
            1_700_000_000,
            1_900_000_000,
            tuple(item.public_key for item in self.acks.values()),
            "log.example.org/test",
            signer("log").public_key,
            self.witness,
        )
        self.card_bytes = sign_card(self.card, self.root)
        self.device = CDevice(self.network, self.key, root=self.root.public_key)
        assert self.device.status == 0
        assert [self.device.take(self.card_bytes) for _ in range(2)] == [0, 0]
        self.device.lose(NONCE)
        ack = sign_ack(self.ack(5), network=self.network, signer=self.acks["ed25519"])
        assert self.device.take(ack) == 0
        self.start = self.device.state()
        assert self.device.beacon == b"beacon of 5"

    def ack(self, number: int) -> Ack:
        items = (
            AckItem(bytes(32), "accepted", 17, bytes(range(32))),
            AckItem(b"\x01" * 32, "aggregator.retry", None, None),
            AckItem(b"\x02" * 32, "déjà.vu ✓ 😀", 1 << 40, None),
        )
        beacon = b"beacon of %d" % number
        time = 1_795_262_400_000
        return Ack(self.key.thumbprint, number, time, None, self.card.log_origin, items, beacon)

    def python(self, message: bytes) -> str | None:
        """What Python takes it for, with what it says; None when it refuses."""
        recipient = self.key.thumbprint
        try:
            card = read_card(message, network=self.network)
            return f"card {max(card.number, 7)}" if card.number >= 7 else None
        except DepinError:
            pass
        for read in (self._ack, self._challenge, self._resume):
            try:
                return read(message, recipient)
            except DepinError:
                continue
        return None

    def _ack(self, message: bytes, recipient: bytes) -> str | None:
        ack = read_ack(message, card=self.card, recipient=recipient)
        told = [(item.id, item.final, item.code) for item in ack.items]
        beacon = b"beacon of 5" if ack.beacon is None else ack.beacon
        return None if ack.number <= 5 else f"ack {ack.number} {ack.time} {told} {beacon!r}"

    def _challenge(self, message: bytes, recipient: bytes) -> str:
        asked = read_challenge(message, card=self.card, recipient=recipient)
        return f"challenge {asked.nonce!r} {asked.expires * 1000}"

    def _resume(self, message: bytes, recipient: bytes) -> str:
        resume = read_resume(message, card=self.card, recipient=recipient, nonce=NONCE)
        return f"resume {resume.epoch_floor + 1}"

    def in_c(self, message: bytes) -> str | None:
        """The same of the C library; what is refused changes nothing."""
        device = self.device
        device.restore(self.start)
        status = device.take(message)
        if status != 0:
            assert status in (c.MALFORMED, c.FOREIGN, c.SIGNATURE, c.REPLAYED, c.KEY)
            assert device.state() == self.start and not device.told
            return None
        event, down = device.event, device.down
        kind = c.KINDS[event.kind]
        if kind == "card":
            return f"card {down.card.number}"
        if kind == "ack":
            number = down.next_ack - 1
            return f"ack {number} {event.time_ms} {device.told} {device.beacon!r}"
        if kind == "challenge":
            return f"challenge {bytes(event.nonce)!r} {event.time_ms}"
        return f"resume {device.device.epoch}"

    @contextmanager
    def stamping(self, on: bool = True) -> Iterator[None]:
        """Both sides take a stamp for a signature on Ed25519, and nothing else."""
        with mock.patch.object(PublicKey, "verify", _verify_stamp) if on else nullcontext():
            self.device.stamps = on
            try:
                yield
            finally:
                self.device.stamps = False

    def same(self, message: bytes) -> str | None:
        """Both decide the same; gives what."""
        told = self.python(message)
        assert self.in_c(message) == told, message.hex()
        return told

    def sign(self, kind: str, payload: bytes, curve: str = "ed25519") -> bytes:
        """Any payload, rightly signed as this kind."""
        by: SoftwareSigner | Stamp = self.root if kind == "card" else self.acks[curve]
        if self.device.stamps:
            by = Stamp(by.public_key)
        headers = {cose.HEADER_KID: by.public_key.kid}
        return cose.sign1(headers, payload, kind=kind, network=self.network, signer=by)


@cache
def world(curve: str) -> World:
    return World(curve)


def messages(at: World, curve: str) -> dict[str, bytes]:
    """One of each kind that is taken."""
    by, network, recipient = at.acks[curve], at.network, at.key.thumbprint
    return {
        "card": sign_card(NetworkCard(**{**at.card.__dict__, "number": 8}), at.root),
        "ack": sign_ack(at.ack(6), network=network, signer=by),
        "challenge": sign_challenge(Challenge(recipient, NONCE, 123), network=network, signer=by),
        "resume": sign_resume(Resume(recipient, NONCE, 41), network=network, signer=by),
    }


@cache
def messages_of(kind: str) -> bytes:
    return messages(world("ed25519"), "ed25519")[kind]


def card_of(at: World, **changes: Any) -> bytes:
    """A card's payload with members changed, whatever the card's own checks say."""
    value = cbor.decode(cose.parse_sign1(messages(at, "ed25519")["card"]).payload)
    for label, member in changes.items():
        value[int(label[1:])] = member
    return at.sign("card", cbor.encode(value))
