"""The invalid half of the vectors: one thing wrong in each, and the code it is refused with."""

from __future__ import annotations

from typing import Any

from depin_id import cbor, cose
from depin_id.did.key import did_key
from depin_id.keys import P256_ORDER
from tests.docs.invalid_down import cards, down, leaves
from tests.docs.invalid_forms import CBOR, keys, packs
from tests.docs.material import NOON, Material
from tests.docs.valid import Envelopes


class _Forger:
    """Envelopes that the device's key really signed, but with something else wrong."""

    def __init__(self, made: Material, envelopes: Envelopes) -> None:
        self.made = made
        self.good = envelopes.by_name["Ed25519, readings: 1"]
        self.p256 = envelopes.by_name["ESP256, readings: 1"]
        parts = cose.parse_sign1(self.good)
        self.headers, self.payload = parts.headers, parts.payload
        self.provenance = list(parts.headers[-65537])

    def sign(self, headers: Any, payload: bytes | None = None, **other: Any) -> bytes:
        body = self.payload if payload is None else payload
        protected = headers if isinstance(headers, bytes) else cbor.encode(headers)
        signer = self.made.signers["device"]
        aad = cose.external_aad("envelope", self.made.network, signer.public_key.thumbprint)
        signature = signer.sign(cose.sig_structure(protected, aad, body))
        tag, unprotected = other.get("tag", 18), other.get("unprotected", {})
        return cbor.encode(cbor.Tag(tag, [protected, unprotected, body, signature]))

    def with_header(self, label: Any, value: Any) -> bytes:
        return self.sign({**self.headers, label: value})

    def without(self, label: int) -> bytes:
        return self.sign({key: item for key, item in self.headers.items() if key != label})

    def provenanced(self, index: int, value: Any) -> bytes:
        changed = list(self.provenance)
        changed[index] = value
        return self.with_header(-65537, changed)

    def claims(self, value: Any) -> bytes:
        return self.with_header(15, value)

    def hashed(self, **change: Any) -> bytes:
        headers = {key: item for key, item in self.headers.items() if key != 3}
        headers.update({258: -16} | change.pop("headers", {}))
        return self.sign(headers, change.get("payload", bytes(32)))


def _envelopes(forge: _Forger) -> list[tuple[str, bytes, str]]:
    sign1 = cose.parse_sign1(forge.good)
    parts: list[Any] = [sign1.protected, {}, sign1.payload, sign1.signature]
    untagged = cbor.encode(parts)
    wrong, claims = "envelope.malformed", "envelope.claims"
    return [
        ("no tag", untagged, wrong),
        ("tag 17 (COSE_Mac0)", forge.sign(forge.headers, tag=17), wrong),
        ("tag 18 twice", b"\xd2" + forge.good, wrong),
        ("array of five", cbor.encode(cbor.Tag(18, [*parts, b""])), wrong),
        ("unprotected header not empty", forge.sign(forge.headers, unprotected={4: b"x"}), wrong),
        ("unprotected header an array", forge.sign(forge.headers, unprotected=[]), wrong),
        (
            "payload null (detached)",
            cbor.encode(cbor.Tag(18, [parts[0], {}, None, parts[3]])),
            wrong,
        ),
        ("signature of 63 bytes", cbor.encode(cbor.Tag(18, [*parts[:3], parts[3][:63]])), wrong),
        ("protected header empty", forge.sign(b""), "encoding.malformed"),
        ("protected header not a map", forge.sign(cbor.encode([1])), wrong),
        (
            "protected header in a longer head",
            forge.sign(b"\xb8\x04" + sign1.protected[1:]),
            "encoding.not_deterministic",
        ),
        (
            "protected header over 1024 bytes",
            forge.with_header(15, {1: "did:x:" + "a" * 1024}),
            wrong,
        ),
        ("crit header", forge.with_header(2, [4]), wrong),
        ("unknown header", forge.with_header(99, 0), wrong),
        ("header with a text label", forge.with_header("x", 0), wrong),
        ("no algorithm", forge.without(1), wrong),
        ("no kid", forge.without(4), wrong),
        ("no content type", forge.without(3), wrong),
        ("no provenance", forge.without(-65537), wrong),
        ("algorithm -35 (ES384)", forge.with_header(1, -35), wrong),
        ("algorithm is a list", forge.with_header(1, [-19]), wrong),
        ("algorithm is a float", forge.with_header(1, -19.0), wrong),
        ("content type is a float", forge.with_header(3, 112.0), wrong),
        ("kid of 7 bytes", forge.with_header(4, bytes(7)), wrong),
        ("content type 60", forge.with_header(3, 60), wrong),
        ("content type as text", forge.with_header(3, "application/senml+cbor"), wrong),
        ("provenance of five", forge.with_header(-65537, forge.provenance[:5]), wrong),
        ("prev of 32 bytes", forge.provenanced(2, bytes(32)), wrong),
        ("epoch over 32 bits", forge.provenanced(0, 2**32), wrong),
        ("negative n", forge.provenanced(1, -1), wrong),
        ("uptime null", forge.provenanced(3, None), wrong),
        ("clock true", forge.provenanced(4, True), wrong),
        ("ear of 32 bytes", forge.provenanced(5, bytes(32)), wrong),
        ("no claim at all", forge.claims({}), claims),
        ("claim is null", forge.claims({6: None}), claims),
        ("unknown claim", forge.claims({4: NOON}), claims),
        ("sub without #", forge.claims({2: "lobby"}), claims),
        ("sub of another DID", forge.claims({2: "did:example:1#lobby"}), claims),
        ("cap and a sensor of its own", forge.claims({2: "#lobby", -65540: bytes(16)}), claims),
        ("cap without a subject", forge.claims({-65540: bytes(16)}), claims),
        (
            "cap of 15 bytes",
            forge.claims({2: "did:example:1#lobby", -65540: bytes(15)}),
            claims,
        ),
        (
            "sub of another DID with a path",
            forge.claims({2: "did:example:1/lobby", -65540: bytes(16)}),
            claims,
        ),
        ("iss is no DID", forge.claims({1: "lobby"}), claims),
        ("iat is a float", forge.claims({6: 1.5}), claims),
        ("nonce of 4 bytes", forge.claims({10: bytes(4)}), claims),
        ("level D2 on the wire", forge.claims({-65539: "D2"}), claims),
        ("latitude over 90 degrees", forge.claims({-65538: [900_000_001, 0]}), claims),
        ("link of three", forge.claims({-65537: [0, 0, 0]}), claims),
        ("content type beside a payload hash", forge.hashed(headers={3: 112}), wrong),
        ("payload hash of 31 bytes", forge.hashed(payload=bytes(31)), wrong),
        ("payload hash SHA-512", forge.hashed(headers={258: -44}), wrong),
        ("payload hash algorithm is a float", forge.hashed(headers={258: -16.0}), wrong),
        ("preimage type without a payload hash", forge.with_header(259, 22), wrong),
        ("ends early", forge.good[:-1], "encoding.malformed"),
    ]


def _high_s(data: bytes) -> bytes:
    s = int.from_bytes(data[-32:], "big")
    return data[:-32] + (P256_ORDER - s).to_bytes(32, "big")


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def _verifications(made: Material, forge: _Forger, gateway: bytes) -> list[dict[str, Any]]:
    home, other = made.network, made.other_network
    ack_like = cose.sign1(
        forge.headers, forge.payload, kind="ack", network=home, signer=made.signers["device"]
    )
    rows: list[tuple[str, bytes, str, str, str]] = [
        ("signed for another network", forge.good, "device", other, "signature.invalid"),
        ("signed by another key", forge.good, "stranger", home, "signature.invalid"),
        ("signed for another purpose (ack)", ack_like, "device", home, "signature.invalid"),
        (
            "a gateway envelope whose inside was changed",
            _flipped(gateway, len(gateway) - 70),
            "gateway",
            home,
            "signature.invalid",
        ),
        (
            "signature changed",
            _flipped(forge.good, len(forge.good) - 1),
            "device",
            home,
            "signature.invalid",
        ),
        (
            "payload changed",
            _flipped(forge.good, len(forge.good) - 67),
            "device",
            home,
            "signature.invalid",
        ),
        ("high s", _high_s(forge.p256), "device-p256", home, "signature.malleable"),
        ("r and s zero", forge.p256[:-64] + bytes(64), "device-p256", home, "signature.invalid"),
        ("algorithm of the other curve", forge.with_header(1, -9), "device", home, "key.algorithm"),
        (
            "deprecated EdDSA (-8) without leave",
            forge.with_header(1, -8),
            "device",
            home,
            "key.algorithm",
        ),
    ]
    return [
        {
            "operation": "verify",
            "name": name,
            "bytes": data.hex(),
            "signer": signer,
            "network": network,
            "error": error,
        }
        for name, data, signer, network, error in rows
    ]


def _bytes_rows(operation: str, rows: list[tuple[str, bytes, str]]) -> list[dict[str, Any]]:
    return [
        {"operation": operation, "name": name, "bytes": data.hex(), "error": error}
        for name, data, error in rows
    ]


def invalid_cases(made: Material, envelopes: Envelopes) -> list[dict[str, Any]]:
    """Every invalid case, by the operation that has to refuse it."""
    forge = _Forger(made, envelopes)
    gateway = envelopes.by_name["gateway envelope around a device's envelope"]
    subject = did_key(made.key("device"))
    nested = [
        ("a gateway envelope inside a gateway envelope", gateway, "envelope.nested"),
        ("a pack instead of an envelope", forge.payload, "envelope.malformed"),
        ("two envelopes", forge.good + forge.p256, "encoding.malformed"),
    ]
    long = {
        "operation": "envelope",
        "name": "larger than 128 KiB: these bytes, then zeros",
        "bytes": "d2",
        "zeros": 131_072,
        "error": "encoding.too_large",
    }
    cbor_rows = [(name, bytes.fromhex(data), error) for name, data, error in CBOR]
    pack_rows = [{**row, "subject": subject} for row in _bytes_rows("pack", packs())]
    return [
        *_bytes_rows("cbor", cbor_rows),
        *keys(made),
        *_bytes_rows("envelope", _envelopes(forge)),
        long,
        *_verifications(made, forge, gateway),
        *_bytes_rows("inside_gateway", nested),
        *pack_rows,
        *cards(made),
        *down(made),
        *leaves(),
    ]
