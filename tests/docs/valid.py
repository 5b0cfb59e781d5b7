"""The valid half of the vectors: every structure of the wire, from inputs to bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from depin_id import ack, cbor, cose
from depin_id.claims import Claims, Link, Place
from depin_id.did.key import did_key
from depin_id.envelope import (
    CONTENT_EVIDENCE,
    CONTENT_SENML,
    CONTENT_SIGN1,
    CONTENT_STATUS,
    NO_PREV,
    Envelope,
    Provenance,
    bundle,
    parse_envelope,
    seal,
    seal_hash,
)
from depin_id.network import NetworkCard, sign_card, topics
from depin_id.senml import encode_pack
from depin_id.witness import WitnessKey, WitnessPolicy
from tests.docs.material import NOON, Material
from tests.docs.plain import sound


def _headers(sign1: cose.Sign1) -> dict[str, Any]:
    return {
        "protected": sign1.protected.hex(),
        "payload": sign1.payload.hex(),
        "signature": sign1.signature.hex(),
    }


def signed(made: Material, data: bytes, kind: str, signer: str, network: str) -> dict[str, Any]:
    """What every signed structure has in the file."""
    sign1 = cose.parse_sign1(data)
    thumbprint = made.key(signer).thumbprint
    message = sign1.to_be_signed(kind, network, thumbprint)
    return {
        "kind": kind,
        "network": network,
        "signer": signer,
        "external_aad": cose.external_aad(kind, network, thumbprint).hex(),
        **_headers(sign1),
        "to_be_signed": message.hex(),
        "id": hashlib.sha256(message).hexdigest(),
        "bytes": data.hex(),
    }


def _claims(claims: Claims) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in ("iss", "sub", "iat", "level"):
        value = getattr(claims, name)
        if value is not None:
            out[name] = value
    for name in ("cti", "nonce", "cap"):
        value = getattr(claims, name)
        if value is not None:
            out[name] = value.hex()
    if claims.link is not None:
        out["link"] = [claims.link.rssi_dbm, claims.link.snr_ddb]
    if claims.place is not None:
        out["place"] = [claims.place.lat_e7, claims.place.lon_e7]
    return out


def _provenance(at: Provenance) -> dict[str, Any]:
    return {
        "epoch": at.epoch,
        "n": at.n,
        "prev": at.prev.hex(),
        "uptime": at.uptime,
        "clock": at.clock,
        "ear": None if at.ear is None else at.ear.hex(),
    }


def read_out(envelope: Envelope) -> dict[str, Any]:
    """What a reader makes of an envelope."""
    held = envelope.payload_hash
    out: dict[str, Any] = {
        "alg": envelope.algorithm,
        "kid": envelope.kid.hex(),
        "content_type": envelope.content_type,
        "provenance": _provenance(envelope.provenance),
        "claims": _claims(envelope.claims),
    }
    if held is not None:
        out["payload_hash"] = {"preimage_type": held.preimage_type, "location": held.location}
    return out


class Envelopes:
    """The envelopes of the file; each follows the one before it in its stream."""

    def __init__(self, made: Material) -> None:
        self.made = made
        self.cases: list[dict[str, Any]] = []
        self.by_name: dict[str, bytes] = {}
        self._heads: dict[tuple[str, str], tuple[int, bytes]] = {}

    def at(self, signer: str, subject: str, clock: int | None, ear: bytes | None) -> Provenance:
        n, prev = self._heads.get((signer, subject), (0, NO_PREV))
        return Provenance(7, n, prev, 60 + 10 * n, clock, ear)

    def add(
        self,
        name: str,
        payload: bytes,
        *,
        content_type: int | str = CONTENT_SENML,
        signer: str = "device",
        clock: int | None = 1,
        ear: bytes | None = None,
        hashed: dict[str, Any] | None = None,
        **claims: Any,
    ) -> bytes:
        carried = Claims(**claims)
        subject = carried.sub or ""
        about: dict[str, Any] = {
            "provenance": self.at(signer, subject, clock, ear),
            "network": self.made.network,
            "signer": self.made.signers[signer],
            "claims": carried,
        }
        if hashed is not None:
            data = seal_hash(payload, **hashed, **about)
        else:
            data = seal(payload, content_type=content_type, **about)
        envelope = parse_envelope(data)
        case = signed(self.made, data, envelope.kind, signer, self.made.network)
        self.cases.append({"name": name, **read_out(envelope), **case})
        n = about["provenance"].n
        self._heads[signer, subject] = (n + 1, bytes.fromhex(case["id"])[:16])
        self.by_name[name] = data
        return data


def envelope_cases(made: Material) -> Envelopes:
    """Envelopes of every content type, on both curves."""
    made_of = Envelopes(made)
    add = made_of.add
    for signer, curve in (("device", "Ed25519"), ("device-p256", "ESP256")):
        for count in (1, 10, 60):
            add(f"{curve}, readings: {count}", encode_pack(sound(count, NOON)), signer=signer)
    beacon = ack.challenge_nonce(4096, bytes(range(32)), made.key("device").thumbprint)
    add(
        "no clock: times relative to sealing, newest beacon echoed",
        encode_pack(sound(3, -2)),
        clock=None,
        nonce=beacon,
    )
    add(
        "describes itself: DID and own identifier",
        encode_pack(sound(1, NOON + 90)),
        iss=did_key(made.key("device")),
        cti=b"\x2a",
    )
    status = cbor.encode({"profile": "noise-class2@1", "firmware": hashlib.sha256(b"fw").digest()})
    add("status", status, content_type=CONTENT_STATUS, iat=NOON + 100)
    add(
        "evidence, on an attestation result",
        cbor.encode({"quote": b"example"}),
        content_type=CONTENT_EVIDENCE,
        ear=hashlib.sha256(b"result").digest()[:16],
    )
    add(
        "hash of a large object",
        hashlib.sha256(b"a large object").digest(),
        hashed={"preimage_type": "image/jpeg", "location": "camera/1.jpg"},
    )
    add(
        "hash of a large object, its type a CoAP number and no location",
        hashlib.sha256(b"another").digest(),
        hashed={"preimage_type": 22, "location": None},
    )
    add(
        "gateway signs for a sensor: subject #lobby.noise",
        encode_pack(sound(2, NOON)),
        signer="gateway",
        sub="#lobby.noise",
        level="G0",
    )
    add(
        "gateway envelope around a device's envelope",
        made_of.by_name["Ed25519, readings: 1"],
        content_type=CONTENT_SIGN1,
        signer="gateway",
        iat=NOON + 3,
        level="G1",
        link=Link(-97, 62),
        place=Place(481_374_300, 115_754_900),
    )
    add(
        "gateway envelope, link and place unknown",
        made_of.by_name["ESP256, readings: 1"],
        content_type=CONTENT_SIGN1,
        signer="gateway",
        iat=NOON + 4,
        level="G0",
        link=Link(),
    )
    add(
        "gateway signs for an owner's sensor under a capability",
        encode_pack(sound(2, NOON)),
        signer="gateway",
        sub="did:example:owner#lobby.noise",
        cap=hashlib.sha256(b"a capability").digest()[:16],
        level="G0",
    )
    return made_of


def bundle_case(envelopes: Envelopes) -> dict[str, Any]:
    """Three envelopes as one message."""
    names = ["Ed25519, readings: 1", "Ed25519, readings: 10", "ESP256, readings: 1"]
    [joined] = bundle(envelopes.by_name[name] for name in names)
    return {"envelopes": names, "bytes": joined.hex()}


def card_of(made: Material) -> NetworkCard:
    """The card of the examples' network."""
    return NetworkCard(
        network=made.network,
        name="example-noise",
        number=3,
        not_before=NOON - 86_400,
        not_after=NOON + 90 * 86_400,
        ack_keys=(made.key("ack"), made.key("ack-p256")),
        log_origin="example.net/noise-log",
        log_key=made.key("log"),
    )


def witnesses_of(made: Material) -> WitnessPolicy:
    """One of the two witnesses of the examples has to have cosigned."""
    names = {"witness": "witness.example/w1", "witness-other": "witness.example/w2"}
    return WitnessPolicy(tuple(WitnessKey(named, made.key(k)) for k, named in names.items()), 1)


def card_cases(made: Material) -> list[dict[str, Any]]:
    """The card without and with witnesses, and the topics that follow from its name."""
    plain = card_of(made)
    up, down = topics("example-noise", made.key("device").kid)
    found = []
    for name, card in (
        ("network card", plain),
        ("network card that names witnesses", replace(plain, witnesses=witnesses_of(made))),
    ):
        case = signed(made, sign_card(card, made.signers["root"]), "card", "root", made.network)
        found.append({"name": name, **case, "topics_of": "device", "up": up, "down": down})
    return found


def down_cases(made: Material, envelopes: Envelopes) -> list[dict[str, Any]]:
    """Acknowledgements, a challenge and a resume, for the device."""
    to = made.key("device").thumbprint
    ids = {case["name"]: bytes.fromhex(case["id"]) for case in envelopes.cases}
    root = bytes(range(32))
    beacon = ack.challenge_nonce(4099, root, to)
    leaf = hashlib.sha256(b"\x00example leaf").digest()
    known = (
        ack.AckItem(ids["Ed25519, readings: 1"], "accepted", 4097, leaf),
        ack.AckItem(ids["Ed25519, readings: 10"], "sequence.forked", 4098, leaf),
        ack.AckItem(
            hashlib.sha256(b"noise on the line").digest(), "encoding.malformed", None, None
        ),
    )
    origin = card_of(made).log_origin
    first = ack.Ack(to, 12, (NOON + 5) * 1000 + 250, b"\x11" * 16, origin, known, beacon)
    empty = ack.Ack(to, 13, (NOON + 6) * 1000, None, origin, (), None)
    network = made.network
    cases: list[tuple[str, str, str, Callable[..., bytes], Any]] = [
        ("ack", "acknowledgement", "ack", ack.sign_ack, first),
        ("ack", "acknowledgement without items, nonce or beacon", "ack", ack.sign_ack, empty),
        ("ack", "acknowledgement, ESP256", "ack-p256", ack.sign_ack, first),
        (
            "challenge",
            "challenge",
            "ack",
            ack.sign_challenge,
            ack.Challenge(to, beacon, NOON + 300),
        ),
        ("resume", "resume", "ack", ack.sign_resume, ack.Resume(to, b"\x22" * 16, 41)),
    ]
    out = []
    for kind, name, signer, sign, content in cases:
        data = sign(content, network=network, signer=made.signers[signer])
        case = signed(made, data, kind, signer, network)
        out.append({"name": name, "recipient": "device", **case})
    out[-1]["nonce"] = (b"\x22" * 16).hex()
    return out


def nonce_cases(made: Material) -> list[dict[str, Any]]:
    """Downlink nonces (beacons) from checkpoints."""
    return [
        {
            "size": size,
            "root": root.hex(),
            "recipient": name,
            "nonce": ack.challenge_nonce(size, root, made.key(name).thumbprint).hex(),
        }
        for size, root, name in (
            (0, hashlib.sha256(b"").digest(), "device"),
            (4096, bytes(range(32)), "device"),
            (4096, bytes(range(32)), "gateway"),
            (2**32, bytes(32), "device-p256"),
        )
    ]
