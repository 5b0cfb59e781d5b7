"""Chip evidence and ROS 2 envelopes: the key has to be one that the DID names."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from depin_id.errors import CredentialError
from depin_id.evm import keccak256
from depin_id.jcs import canonicalize
from depin_id.keys import P256_ORDER, SoftwareSigner, admit
from depin_id.peaq.bounds import Once
from depin_id.peaq.certificates import CertificatePath
from depin_id.peaq.chip import Transcript, raw_signature, verify_chip_evidence
from depin_id.peaq.ros2 import challenge, verify_envelope
from depin_id.peaq.trust import MachineKeys, keys_of_did, trusted_keys
from tests.peaq.world import OTHER, WALLET_ADDRESS, code, high_s, load, personal_sign

NATIVE = "native_signature_hex (DER INTEGER r || DER INTEGER s, no SEQUENCE)"
NOW = (1_791_288_200 - 100) * 1000


def vector(at: int = 0) -> Any:
    return load("peaqos_chip_evidence")["vectors"][at]


def keys_of(given: Any) -> MachineKeys:
    chip = admit("p256", bytes.fromhex(given["chip_pub_uncompressed"]), allow_published=True)
    did = f"did:peaq:{given['machine_id']}"
    return trusted_keys(did, keys=[chip], controllers=[WALLET_ADDRESS])


def certified(leaf: bytes, now_ms: int) -> bytes:
    """The vectors carry the key behind a mark instead of a certificate."""
    return leaf[-65:]


def verify(data: bytes | None = None, keys: MachineKeys | None = None, **named: Any) -> Any:
    given = vector()
    options: dict[str, Any] = {
        "now_ms": NOW,
        "nonce": bytes.fromhex(given["nonce"]),
        "chain_id": given["chain_id"],
        "certified": certified,
        "memory": None,
        "allow_published": True,
    }
    data = given["evidence_jcs"].encode() if data is None else data
    return verify_chip_evidence(data, keys or keys_of(given), **(options | named))


def test_evidence_of_peaq_verifies_and_is_made_equal() -> None:
    for at in range(2):
        given = vector(at)
        transcript = Transcript(
            int(given["machine_id"]),
            given["chain_id"],
            given["controller"],
            bytes.fromhex(given["nonce"]),
            given["expires_at"],
            bytes.fromhex(json.loads(given["transcript_jcs"])["certificateFingerprintSha256"][2:]),
        )
        assert transcript.encode().decode() == given["transcript_jcs"]
        import hashlib

        assert hashlib.sha256(transcript.message()).hexdigest() == given["prehash"]
        chip = raw_signature(bytes.fromhex(given[NATIVE]))
        assert transcript.controller_message(chip).decode() == given["controller_message_jcs"]
        data = given["evidence_jcs"].encode()
        found = verify(data, keys_of(given), chain_id=given["chain_id"])
        assert found.transcript == transcript and found.trust == "caller" and found.chip_named
        assert "0x" + found.chip_ref.hex() == given["chip_ref"]
        assert "0x" + found.evidence_hash.hex() == given["evidence_hash_keccak"]


def test_a_chip_or_controller_that_the_did_does_not_name() -> None:
    good = keys_of(vector())
    stranger = SoftwareSigner.generate("p256").public_key
    assert code(verify, None, replace(good, keys=frozenset([stranger]))) == "peaq.key_not_named"
    unlisted = replace(good, keys=frozenset())
    assert code(verify, None, unlisted) == "peaq.key_not_named"
    assert verify(None, unlisted, chip_named=False).chip_named is False
    another = replace(good, controllers=frozenset([bytes(20)]))
    assert code(verify, None, another) == "peaq.key_not_named"
    assert code(verify, None, another, chip_named=False) == "peaq.key_not_named"
    assert code(verify, None, keys_of(vector(1))) == "peaq.another_did"
    attribute = replace(good, trust="attribute-only")
    assert code(verify, None, attribute) == "peaq.attribute_only"
    assert code(verify, None, keys_of_did("did:peaq:42")) == "peaq.key_not_named"


def test_challenges_are_answered_once_and_in_time() -> None:
    assert code(verify, nonce=bytes(32)) == "peaq.nonce"
    assert code(verify, chain_id=9990) == "peaq.another_chain"
    assert code(verify, now_ms=NOW + 100_000) == "peaq.timestamp_old"
    assert code(verify, now_ms=NOW - 200_001) == "peaq.timestamp_future"
    memory = Once()
    assert verify(memory=memory)
    assert code(verify, memory=memory) == "peaq.replayed"


def test_memory_is_bounded_and_forgets_what_time_alone_refuses() -> None:
    memory = Once(limit=2)
    memory.take(b"a", 10, 0)
    memory.take(b"b", 20, 0)
    assert code(memory.take, b"c", 30, 5) == "peaq.memory_full"
    memory.take(b"c", 30, 15)
    assert code(memory.take, b"b", 20, 15) == "peaq.replayed"


def changed(*path: str, value: Any = None, drop: bool = False) -> bytes:
    made = json.loads(vector()["evidence_jcs"])
    at = made
    for name in path[:-1]:
        at = at[name]
    if drop:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return canonicalize(made)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("profile",), "other/1", "peaq.evidence_malformed"),
        (("extra",), "x", "peaq.evidence_malformed"),
        (("chipRef",), "0x" + "00" * 32, "peaq.evidence_malformed"),
        (("chipRef",), 5, "peaq.evidence_malformed"),
        (("certificate", "fingerprintSha256"), "0x" + "00" * 32, "peaq.evidence_malformed"),
        (("certificate", "leafDerBase64url"), "AAAA", "peaq.evidence_malformed"),
        (("certificate", "leafDerBase64url"), "A A=", "peaq.evidence_malformed"),
        (("certificate", "leafDerBase64url"), "é", "peaq.evidence_malformed"),
        (("certificate", "publicKey"), "0x04" + "00" * 64, "peaq.evidence_malformed"),
        (("certificate", "publicKey"), None, "peaq.evidence_malformed"),
        (("certificate", "more"), "x", "peaq.evidence_malformed"),
        (("controllerProof", "scheme"), "none", "peaq.evidence_malformed"),
        (("controllerProof", "signature"), "0x00", "peaq.evidence_malformed"),
        (("controllerProof", "signature"), "0x" + "00" * 64 + "1b", "signature.invalid"),
        (("proof", "chipSignature"), "0x" + "00" * 64, "signature.invalid"),
        (("transcript", "machineId"), "43", "peaq.evidence_malformed"),
        (("transcript", "machineId"), "042", "peaq.evidence_malformed"),
        (("transcript", "machineId"), "-1", "peaq.evidence_malformed"),
        (("transcript", "machineId"), "9" * 78, "peaq.evidence_malformed"),
        (("transcript", "chainId"), "3338 ", "peaq.evidence_malformed"),
        (("transcript", "expiresAt"), "0", "peaq.evidence_malformed"),
        (("transcript", "expiresAt"), "1791288201", "signature.invalid"),
        (("transcript", "didController"), "0x" + "0" * 39, "peaq.evidence_malformed"),
        (("transcript", "verifier"), "me", "peaq.evidence_malformed"),
        (("transcript",), [], "peaq.evidence_malformed"),
    ],
)
def test_one_wrong_member(path: tuple[str, ...], value: Any, expected: str) -> None:
    assert code(verify, changed(*path, value=value)) == expected


def test_other_forms_of_good_evidence() -> None:
    data = vector()["evidence_jcs"].encode()
    assert code(verify, changed("transcript", "nonce", drop=True)) == "peaq.evidence_malformed"
    assert code(verify, data.replace(b"{", b"{ ", 1)) == "peaq.evidence_malformed"
    twice = data.replace(b'{"certificate"', b'{"chipRef":"","certificate"', 1)
    assert code(verify, twice) == "json.malformed"
    for wrong in (b"", b"[]", b"\xff", data[:-1]):
        assert code(verify, wrong) in ("json.malformed", "peaq.evidence_malformed")
    assert code(verify, b" " * 20_000) == "json.too_large"


def test_other_forms_of_the_signatures() -> None:
    given = vector()
    proof = json.loads(given["evidence_jcs"])["proof"]["chipSignature"]
    raw = bytes.fromhex(proof[2:])
    s = P256_ORDER - int.from_bytes(raw[32:], "big")
    twin = "0x" + (raw[:32] + s.to_bytes(32, "big")).hex()
    assert code(verify, changed("proof", "chipSignature", value=twin)) == "signature.malleable"
    signed = bytes.fromhex(given["controller_signature_eip191"])
    path = ("controllerProof", "signature")
    twin = "0x" + high_s(signed).hex()
    assert code(verify, changed(*path, value=twin)) == "signature.malleable"
    zero = "0x" + signed[:64].hex() + "00"
    assert code(verify, changed(*path, value=zero)) == "peaq.evidence_malformed"
    message = given["controller_message_jcs"].encode()
    other = "0x" + personal_sign(message, OTHER).hex()
    assert code(verify, changed(*path, value=other)) == "signature.invalid"
    native = bytes.fromhex(given[NATIVE])
    order = b"\x02\x21\x00" + P256_ORDER.to_bytes(32, "big")
    for wrong in (
        b"", native[:-1], native + b"\0", b"\x30" + native, native[:2], b"\x02\x00" * 2,
        b"\x02\x01\x00\x02\x01\x01", b"\x02\x02\x00\x01\x02\x01\x01", b"\x02\x01\x80\x02\x01\x01",
        order + b"\x02\x01\x01",
    ):  # fmt: skip
        assert code(raw_signature, wrong) == "signature.invalid"
    assert raw_signature(b"\x02\x01\x01\x02\x01\x02")[-1] == 2


def test_a_certificate_that_is_not_trusted() -> None:
    def refuse(leaf: bytes, now_ms: int) -> bytes:
        raise CredentialError("peaq.certificate", "no")

    assert code(verify, certified=refuse) == "peaq.certificate"
    assert code(verify, certified=lambda leaf, now: bytes(65)) == "peaq.evidence_malformed"


Made = tuple[ec.EllipticCurvePrivateKey, x509.Certificate]


def certificate(name: str, issuer: Made | None, *, ca: bool, curve: Any = None, sign: bool = True,
                days: int = 100) -> Made:  # fmt: skip
    """A certificate for a fresh key, signed by its issuer or itself."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.fromtimestamp(NOW / 1000, UTC) - timedelta(days=1)
    usage = x509.KeyUsage(sign and not ca, False, False, not sign, False, ca, ca, False, False)
    signer = key if issuer is None else issuer[0]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[1].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    return key, builder.sign(signer, hashes.SHA256())


def der(made: Made) -> bytes:
    return made[1].public_bytes(Encoding.DER)


def test_certificates_lead_to_a_root_that_is_trusted() -> None:
    root = certificate("root", None, ca=True)
    between = certificate("between", root, ca=True)
    leaf = certificate("leaf", between, ca=False)
    path = CertificatePath([root[1].public_bytes(Encoding.PEM)], [der(between)])
    point = leaf[0].public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert path(der(leaf), NOW) == point
    wrong = "peaq.certificate"
    assert code(path, der(leaf), NOW + 200 * 86_400_000) == wrong
    assert code(path, der(leaf), 1 << 70) == wrong
    assert code(path, der(leaf)[:-1], NOW) == wrong
    assert code(CertificatePath([der(root)]), der(leaf), NOW) == wrong
    stranger = certificate("root", None, ca=True)
    assert code(CertificatePath([der(stranger)], [der(between)]), der(leaf), NOW) == wrong
    for odd in (
        certificate("leaf", between, ca=True),
        certificate("leaf", between, ca=False, sign=False),
        certificate("leaf", between, ca=False, curve=ec.SECP384R1()),
        certificate("leaf", leaf, ca=False),
        certificate("leaf", None, ca=False),
    ):
        assert code(path, der(odd), NOW) == wrong
    for roots in ([], [b"x"], [der(root)] * 17):
        assert code(CertificatePath, roots) == "config.certificate"


def robot() -> tuple[Any, bytes, MachineKeys]:
    given = load("ros2_envelope")["vectors"][0]
    raw = bytes.fromhex(given["envelope"]["proof"]["publicKeyHex"])
    key = admit("ed25519", raw, allow_published=True)
    keys = trusted_keys(given["robotId"], keys=[key])
    return given["envelope"], bytes.fromhex(given["data_hex"]), keys


def take(envelope: Any, data: bytes, keys: MachineKeys, **named: Any) -> Any:
    options = {"now_ms": 1_735_000_010_000, "memory": None, "allow_published": True}
    return verify_envelope(envelope, data, keys, **(options | named))


def test_envelopes_of_the_ros_2_bridge() -> None:
    for given in load("ros2_envelope")["vectors"]:
        header, payload = given["envelope"]["header"], given["envelope"]["payload"]
        made = challenge(payload["dataSha256"], header["createdAt"], header["robotId"])
        assert made.decode() == given["challenge"]
    envelope, data, keys = robot()
    found = take(envelope, data, keys)
    assert found.trust == "did" and found.time_ms == 1_735_000_000_000
    assert "dataCid" in found.unsigned
    # The account is the Ed25519 key itself: the DID names it without a document.
    assert take(envelope, data, keys_of_did(envelope["header"]["robotId"])).trust == "did"
    stranger = trusted_keys("did:peaq:42", keys=keys.keys)
    assert code(take, envelope, data, stranger) == "peaq.another_did"
    assert code(take, envelope, data + b"x", keys) == "peaq.data_changed"
    assert code(take, envelope, data, keys, now_ms=1 << 41) == "peaq.timestamp_old"
    assert code(take, envelope, data, keys, now_ms=0) == "peaq.timestamp_future"
    memory = Once()
    assert take(envelope, data, keys, memory=memory)
    assert code(take, envelope, data, keys, memory=memory) == "peaq.replayed"


def test_a_robot_without_a_name_or_with_another_key() -> None:
    envelope, data, keys = robot()
    nameless = load("ros2_envelope")["vectors"][1]
    assert code(take, nameless["envelope"], b"", keys, now_ms=1000) == "peaq.another_did"
    thief = SoftwareSigner.generate()
    forged = copy.deepcopy(envelope)
    message = challenge(
        *(forged["payload"]["dataSha256"], 1_735_000_000, str(forged["header"]["robotId"]))
    )
    forged["proof"] |= {
        "publicKeyHex": thief.public_key.raw.hex(),
        "signatureHex": thief.sign(message).hex(),
    }
    assert code(take, forged, data, keys) == "peaq.key_not_named"


CHANGES: list[tuple[str, Callable[[Any], object], str]] = [
    ("schema", lambda e: e.update(schema="v2"), "peaq.envelope_malformed"),
    ("more", lambda e: e.update(more=1), "peaq.envelope_malformed"),
    ("no proof", lambda e: e.pop("proof"), "peaq.envelope_malformed"),
    ("header", lambda e: e.update(header=[]), "peaq.envelope_malformed"),
    ("header more", lambda e: e["header"].update(x=1), "peaq.envelope_malformed"),
    ("time", lambda e: e["header"].update(createdAt="1"), "peaq.envelope_malformed"),
    ("time 0", lambda e: e["header"].update(createdAt=0), "peaq.envelope_malformed"),
    ("time true", lambda e: e["header"].update(createdAt=True), "peaq.envelope_malformed"),
    ("time moved", lambda e: e["header"].update(createdAt=1_735_000_001), "signature.invalid"),
    ("cid", lambda e: e["payload"].update(dataCid=5), "peaq.envelope_malformed"),
    ("hash", lambda e: e["payload"].update(dataSha256="0x"), "peaq.envelope_malformed"),
    ("sr25519", lambda e: e["proof"].update(algorithm="sr25519"), "peaq.algorithm"),
    ("key", lambda e: e["proof"].update(publicKeyHex="01" + "00" * 31), "key.not_admissible"),
    ("signature", lambda e: e["proof"].update(signatureHex="00" * 64), "signature.invalid"),
    ("capitals", lambda e: e["proof"].update(signatureHex="AA" * 64), "peaq.envelope_malformed"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "expected"), CHANGES, ids=[row[0] for row in CHANGES])
def test_one_wrong_member_of_an_envelope(
    name: str, change: Callable[[Any], object], expected: str
) -> None:
    envelope, data, keys = robot()
    change(envelope)
    assert code(take, envelope, data, keys) == expected
    odd: list[Any] = [None, [], 5, "x"]
    for wrong in odd:
        assert code(take, wrong, data, keys) == "peaq.envelope_malformed"


def test_the_reference_is_the_hash_of_the_key() -> None:
    given = vector()
    point = bytes.fromhex(given["chip_pub_uncompressed"])
    assert "0x" + keccak256(point).hex() == given["chip_ref"]
