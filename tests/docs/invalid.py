"""The invalid half of the vectors: one thing wrong in each, and the code it is refused with."""

from __future__ import annotations

import struct
from typing import Any

from depin_id import ack, cbor, cose
from depin_id.did.key import did_key
from depin_id.keys import P256_ORDER
from depin_id.network import sign_card
from tests.docs.material import NOON, Material
from tests.docs.valid import Envelopes, card_of

_CBOR = [
    ("integer in a longer head", "1817", "encoding.not_deterministic"),
    ("negative integer in a longer head", "390001", "encoding.not_deterministic"),
    ("length in a longer head", "5800", "encoding.not_deterministic"),
    ("tag in a longer head", "d81200", "encoding.not_deterministic"),
    ("array of indefinite length", "9f01ff", "encoding.not_deterministic"),
    ("text of indefinite length", "7f6161ff", "encoding.not_deterministic"),
    ("map keys out of order", "a220000a00", "encoding.not_deterministic"),
    (
        "map keys in the order of RFC 7049 (length first)",
        "a3200018640061610a",
        "encoding.not_deterministic",
    ),
    ("map key twice", "a201000100", "encoding.not_deterministic"),
    ("float longer than needed", "fa3fc00000", "encoding.not_deterministic"),
    ("NaN with a payload", "f97e01", "encoding.not_deterministic"),
    ("float as a map key", "a1f93c0000", "encoding.malformed"),
    ("undefined", "f7", "encoding.malformed"),
    ("simple value 32", "f820", "encoding.malformed"),
    ("reserved additional information", "1c", "encoding.malformed"),
    ("text that is not UTF-8", "61ff", "encoding.malformed"),
    ("ends inside an item", "8201", "encoding.malformed"),
    ("bytes after the item", "0000", "encoding.malformed"),
    ("an array that claims 2^32 items", "9b0000000100000000", "encoding.malformed"),
    ("nothing", "", "encoding.malformed"),
    ("nested 18 deep", "81" * 18 + "00", "encoding.too_deep"),
]


def _float(value: float) -> bytes:
    return b"\xfb" + struct.pack(">d", value)


def _packs() -> list[tuple[str, bytes, str]]:
    def one(value: Any, **more: Any) -> bytes:
        extra = {int(key.removeprefix("l").replace("_", "-")): item for key, item in more.items()}
        return cbor.encode([{0: "LAeq", 2: value, **extra}])

    record = bytes.fromhex("81a200644c41657102")
    return [
        ("no record", b"\x80", "senml.empty"),
        ("no array", b"\xa0", "senml.malformed"),
        ("value is a float", one(1.5), "senml.value"),
        ("value is NaN", record + bytes.fromhex("f97e00"), "senml.value"),
        ("value is infinity", record + bytes.fromhex("f97c00"), "senml.value"),
        ("value is -0.0", record + bytes.fromhex("f98000"), "senml.value"),
        ("value is a float in a longer form", record + _float(1.5), "encoding.not_deterministic"),
        ("value is a bignum (tag 2)", one(cbor.Tag(2, b"\x01")), "senml.value"),
        ("value is a bigfloat (tag 5)", one(cbor.Tag(5, [1, 1])), "senml.value"),
        ("exponent 19", one(cbor.Tag(4, [19, 1])), "senml.value"),
        ("exponent -19", one(cbor.Tag(4, [-19, 1])), "senml.value"),
        ("mantissa over int64", one(cbor.Tag(4, [-1, 2**63])), "senml.value"),
        ("integer over int64", one(2**63), "senml.value"),
        ("decimal fraction of three", one(cbor.Tag(4, [-1, 1, 1])), "senml.value"),
        ("value is null", one(None), "senml.value"),
        ("two values", one(1, l3="x"), "senml.malformed"),
        ("no value and no sum", cbor.encode([{0: "LAeq"}]), "senml.malformed"),
        ("no name", cbor.encode([{2: 1}]), "senml.name"),
        ("name begins with a point", cbor.encode([{0: ".x", 2: 1}]), "senml.name"),
        ("name longer than 128", cbor.encode([{0: "x" * 129, 2: 1}]), "senml.name"),
        (
            "bn is somebody else's identifier",
            one(1, l_2="urn:dev:mac:0024befffe804ff1/"),
            "senml.name",
        ),
        ("base value", one(1, l_5=1), "senml.malformed"),
        (
            "base field after the first record",
            cbor.encode([{0: "a", 2: 1}, {-2: "b", 0: "c", 2: 1}]),
            "senml.malformed",
        ),
        ("unknown field", one(1, l9=1), "senml.malformed"),
        ("field with a text label", cbor.encode([{0: "a", 2: 1, "x": 1}]), "senml.malformed"),
        ("unknown version", one(1, l_1=11), "senml.malformed"),
        ("unit with a space", one(1, l1="d B"), "senml.unit"),
        ("text where a truth value belongs", cbor.encode([{0: "a", 4: "yes"}]), "senml.value"),
        ("more than 4096 records", b"\x99\x10\x01", "senml.too_many"),
    ]


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
        ("iss is no DID", forge.claims({1: "lobby"}), claims),
        ("iat is a float", forge.claims({6: 1.5}), claims),
        ("nonce of 4 bytes", forge.claims({10: bytes(4)}), claims),
        ("level D2 on the wire", forge.claims({-65539: "D2"}), claims),
        ("latitude over 90 degrees", forge.claims({-65538: [900_000_001, 0]}), claims),
        ("link of three", forge.claims({-65537: [0, 0, 0]}), claims),
        ("content type beside a payload hash", forge.hashed(headers={3: 112}), wrong),
        ("payload hash of 31 bytes", forge.hashed(payload=bytes(31)), wrong),
        ("payload hash SHA-512", forge.hashed(headers={258: -44}), wrong),
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


def _keys(made: Material) -> list[dict[str, Any]]:
    x = made.key("device").raw
    p256 = made.key("device-p256")
    swapped = cbor.encode({1: 1, -1: 6, -2: x, 2: b"kid"})
    rows: list[dict[str, Any]] = [
        {
            "operation": "key",
            "name": "identity point",
            "curve": "ed25519",
            "bytes": "01" + "00" * 31,
            "error": "key.not_admissible",
        },
        {
            "operation": "key",
            "name": "point of order eight",
            "curve": "ed25519",
            "bytes": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "error": "key.not_admissible",
        },
        {
            "operation": "key",
            "name": "31 bytes",
            "curve": "ed25519",
            "bytes": x[:31].hex(),
            "error": "key.not_admissible",
        },
        {
            "operation": "key",
            "name": "published key (RFC 8032, test 1)",
            "curve": "ed25519",
            "bytes": "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "error": "key.not_admissible",
        },
        {
            "operation": "key",
            "name": "no point of P-256",
            "curve": "p256",
            "bytes": "02" + "ff" * 32,
            "error": "key.not_admissible",
        },
        {
            "operation": "key",
            "name": "unknown curve",
            "curve": "secp256k1",
            "bytes": p256.raw.hex(),
            "error": "key.not_admissible",
        },
        {
            "operation": "cose_key",
            "name": "a member too many",
            "bytes": swapped.hex(),
            "error": "key.malformed",
        },
        {
            "operation": "cose_key",
            "name": "compressed y of P-256",
            "error": "key.malformed",
            "bytes": cbor.encode({1: 2, -1: 1, -2: p256.raw[1:], -3: True}).hex(),
        },
        {
            "operation": "did",
            "name": "identity point as did:key",
            "error": "key.not_admissible",
            "text": "did:key:z6MkeXATEjyXENzBXBxgC5EHk2JE5aqd7qMGGtDpLUH1e2Sj",
        },
        {
            "operation": "did",
            "name": "did:key with a fragment",
            "error": "did.malformed",
            "text": did_key(made.key("device")) + "#key",
        },
        {
            "operation": "did",
            "name": "other method",
            "error": "did.method_not_supported",
            "text": "did:web:example.net",
        },
    ]
    return rows


def _cards(made: Material) -> list[dict[str, Any]]:
    card, root = card_of(made), made.signers["root"]
    good = cose.parse_sign1(sign_card(card, root))

    def signed(change: dict[int, Any], headers: dict[int, Any] | None = None) -> bytes:
        payload = {**cbor.decode(good.payload), **change}
        carried = {4: root.public_key.kid, **(headers or {})}
        return cose.sign1(
            carried, cbor.encode(payload), kind="card", network=made.network, signer=root
        )

    rows: list[tuple[str, bytes, str, str]] = [
        ("of another network", sign_card(card, root), made.other_network, "network.foreign"),
        ("kid not the root's", signed({}, {4: bytes(8)}), made.network, "network.card"),
        ("a header too many", signed({}, {3: 0}), made.network, "network.card"),
        ("a member too many", signed({9: 0}), made.network, "network.card"),
        ("name with capitals", signed({2: "Noise"}), made.network, "network.name"),
        ("no acknowledgement key", signed({6: []}), made.network, "network.card"),
        ("validity ends before it begins", signed({5: 1}), made.network, "network.card"),
        (
            "log key of small order",
            signed({8: b"\x01" + bytes(31)}),
            made.network,
            "key.not_admissible",
        ),
    ]
    return [
        {"operation": "card", "name": name, "bytes": data.hex(), "network": network, "error": error}
        for name, data, network, error in rows
    ]


def _down(made: Material) -> list[dict[str, Any]]:
    to, network = made.key("device").thumbprint, made.network
    origin = card_of(made).log_origin
    item = ack.AckItem(bytes(32), "accepted", 0, bytes(32))
    good = ack.Ack(to, 1, NOON * 1000, None, origin, (item,), None)

    def acked(signer: str = "ack", where: str = network, **change: Any) -> bytes:
        fields = {name: getattr(good, name) for name in good.__dataclass_fields__}
        return ack.sign_ack(
            ack.Ack(**{**fields, **change}), network=where, signer=made.signers[signer]
        )

    challenge = ack.sign_challenge(
        ack.Challenge(to, bytes(15), NOON), network=network, signer=made.signers["ack"]
    )
    resume = ack.Resume(to, b"\x22" * 16, 41)
    resumed = ack.sign_resume(resume, network=network, signer=made.signers["ack"])
    floor = ack.Resume(to, b"\x22" * 16, 2**32 - 1)
    high = ack.sign_resume(floor, network=network, signer=made.signers["ack"])
    sign1 = cose.parse_sign1(acked())
    as_challenge = cose.sign1(
        {4: made.key("ack").kid},
        sign1.payload,
        kind="challenge",
        network=network,
        signer=made.signers["ack"],
    )
    extra = cose.sign1(
        {4: made.key("ack").kid, 3: 0},
        sign1.payload,
        kind="ack",
        network=network,
        signer=made.signers["ack"],
    )
    bad_item = ack.AckItem(bytes(31), "accepted", 0, bytes(32))
    long_code = ack.AckItem(bytes(32), "x" * 65, 0, bytes(32))
    rows: list[tuple[str, str, bytes, str]] = [
        ("ack", "for another recipient", acked(recipient=bytes(32)), "ack.foreign"),
        (
            "ack",
            "signed by a key that the card does not name",
            acked("stranger"),
            "network.key_unknown",
        ),
        (
            "ack",
            "signed by the root instead of an acknowledgement key",
            acked("root"),
            "network.key_unknown",
        ),
        ("ack", "signed for another network", acked(where=made.other_network), "signature.invalid"),
        ("ack", "signed for another purpose", as_challenge, "signature.invalid"),
        ("ack", "a header too many", extra, "ack.malformed"),
        ("ack", "origin of another log", acked(origin="example.net/other"), "ack.malformed"),
        ("ack", "identity of 31 bytes", acked(items=(bad_item,)), "ack.malformed"),
        ("ack", "code of 65 characters", acked(items=(long_code,)), "ack.malformed"),
        ("ack", "beacon of 4 bytes", acked(beacon=bytes(4)), "ack.malformed"),
        ("challenge", "nonce of 15 bytes", challenge, "challenge.malformed"),
        ("resume", "another nonce", resumed, "resume.stale"),
        ("resume", "epoch floor leaves no epoch", high, "resume.malformed"),
    ]
    out = []
    for operation, name, data, error in rows:
        row = {"operation": operation, "name": name, "bytes": data.hex(), "recipient": "device"}
        if operation == "resume":
            row["nonce"] = ("33" if error == "resume.stale" else "22") * 16
        out.append({**row, "error": error})
    return out


def _leaves() -> list[dict[str, Any]]:
    leaf = [1, 16, bytes(16), 7, 0, bytes(32), None, "accepted", [], "D1", NOON, bytes(16), 1]

    def changed(index: int, value: Any) -> bytes:
        return cbor.encode([*leaf[:index], value, *leaf[index + 1 :]])

    rows = [
        ("leaf", "of an unknown version", changed(0, 2), "log.leaf"),
        ("leaf", "of twelve", cbor.encode(leaf[:12]), "log.leaf"),
        ("leaf", "reference of 15 bytes", changed(2, bytes(15)), "log.leaf"),
        ("leaf", "commitment of 31 bytes", changed(5, bytes(31)), "log.leaf"),
        ("leaf", "administration of three", cbor.encode([1, 1, 0]), "log.leaf"),
        (
            "records",
            "of another format",
            cbor.encode(["depin-records/2", "did:x:y", bytes(32), "did:x:y", []]),
            "log.records",
        ),
        (
            "records",
            "row of eight",
            cbor.encode(
                [
                    "depin-records/1",
                    "did:x:y",
                    bytes(32),
                    "did:x:y",
                    [["a", "", 1, 0, 0, None, None, []]],
                ]
            ),
            "log.records",
        ),
        (
            "records",
            "value is a float",
            cbor.encode(
                [
                    "depin-records/1",
                    "did:x:y",
                    bytes(32),
                    "did:x:y",
                    [["a", "", 1.5, 0, 0, None, None, "", []]],
                ]
            ),
            "log.records",
        ),
    ]
    return [
        {"operation": operation, "name": name, "bytes": data.hex(), "error": error}
        for operation, name, data, error in rows
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
    cbor_rows = [(name, bytes.fromhex(data), error) for name, data, error in _CBOR]
    packs = [{**row, "subject": subject} for row in _bytes_rows("pack", _packs())]
    return [
        *_bytes_rows("cbor", cbor_rows),
        *_keys(made),
        *_bytes_rows("envelope", _envelopes(forge)),
        long,
        *_verifications(made, forge, gateway),
        *_bytes_rows("inside_gateway", nested),
        *packs,
        *_cards(made),
        *_down(made),
        *_leaves(),
    ]
