"""Apple App Attest: other people's attestations and assertions, and each check broken by itself."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from depin_id import cbor
from depin_id.errors import AttestationError
from tests.attestation.ca import NOW, Authority, extended_by, new_key
from tests.attestation.mutation import survivors
from tests.paths import vectors
from verify.attestation import Anchor, Anchors, Appraisal, Expected, Materials, Model, Models
from verify.attestation import appraise_evidence as appraise
from verify.attestation.app_attest import (
    ENVIRONMENTS,
    MEDIA_TYPE,
    NONCE_OID,
    pack,
    verify_assertion,
)
from verify.attestation.identifiers import serial_identifier, spki_of
from verify.attestation.materials import Reference, Revocations, RevocationSnapshot
from verify.attestation.steps import Steps

APP = "TEAM123456.example.sensor"
CHALLENGE = bytes(range(32))
EXPECTED = Expected(challenge=CHALLENGE)


def _model(app_id: str = APP, **settings: Any) -> Model:
    return Model(
        "phone",
        frozenset(("app-attest",)),
        references=(Reference("app", frozenset((hashlib.sha256(app_id.encode()).digest(),))),),
        settings={"app_id": app_id, **settings},
        revocation="none",
    )


# --- other people's -------------------------------------------------------------------------------


@cache
def _apple() -> Anchor:
    pem = vectors("attestation/app-attest/Apple_App_Attestation_Root_CA.pem").read_bytes()
    root = x509.load_pem_x509_certificate(pem)
    return Anchor("app-attest", "Apple", spki_of(root), root.public_bytes(Encoding.DER))


def _documents(kind: str) -> Iterator[dict[str, Any]]:
    for path in sorted(vectors("attestation/app-attest").glob("*.yaml")):
        for found in yaml.safe_load_all(path.read_text()):
            if found and found["type"] == kind:
                yield found


def _time(document: dict[str, Any]) -> int:
    moment = datetime.fromisoformat(document["timestamp"])
    return int(moment.timestamp() * 1000)


def _bytes(document: dict[str, Any], name: str) -> bytes:
    return base64.b64decode(document[f"{name}Base64"])


def _app_id(document: dict[str, Any]) -> str:
    return f"{document['teamIdentifier']}.{document['bundleIdentifier']}"


def _theirs(document: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    client_data = _bytes(document, "clientData")
    raw = pack(_bytes(document, "attestation"), client_data, _bytes(document, "keyId"))
    model = _model(_app_id(document), environment=document["environment"])
    return raw, {
        "expected": Expected(challenge=client_data),
        "at": _time(document),
        "materials": Materials(Anchors([_apple()]), Models([model])),
    }


def test_attestations_of_others_are_affirmed_at_their_time_and_not_three_days_later() -> None:
    documents = list(_documents("attestation"))
    assert len(documents) >= 4
    for document in documents:
        raw, about = _theirs(document)
        found = appraise(MEDIA_TYPE, raw, **about)
        assert found.affirmed, found.steps[-1]
        claims = found.claims
        assert claims is not None and claims.root.assurance == "tee"
        key = load_pem_public_key(document["publicKey"].encode())
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert claims.root.id == hashlib.sha256(spki).digest()
        assert claims.not_after is not None and 0 < claims.not_after - about["at"] < 3 * 86_400_000
        late = appraise(MEDIA_TYPE, raw, **about | {"at": about["at"] + 4 * 86_400_000})
        assert late.reasons == ("attestation.chain",)
        production = Models([_model(_app_id(document))])
        strict = replace(about["materials"], models=production)
        assert appraise(MEDIA_TYPE, raw, **about | {"materials": strict}).steps[-1].name == (
            "app-attest.environment"
        )


def test_an_attestation_that_another_project_published_is_affirmed() -> None:
    text = vectors("attestation/app-attest/pyattest_attest_apple.b64").read_bytes()
    value = base64.b64decode(text)
    certificate = x509.load_der_x509_certificate(cbor.decode(value)["attStmt"]["x5c"][0])
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    raw = pack(value, b"no such challenge", hashlib.sha256(point).digest())
    found = appraise(
        MEDIA_TYPE,
        raw,
        expected=EXPECTED,
        at=int(certificate.not_valid_before_utc.timestamp()) * 1000 + 1000,
        materials=Materials(Anchors([_apple()]), Models([_model()])),
    )
    # Its client data is not published: all up to the nonce over it holds.
    assert [found.steps[-2].name, found.steps[-1].name] == ["app-attest.chain", "app-attest.nonce"]


def test_assertions_of_others_are_verified() -> None:
    documents = list(_documents("assertion"))
    assert len(documents) >= 4
    for document in documents:
        key = load_pem_public_key(document["publicKey"].encode())
        about: dict[str, Any] = {
            "challenge": _bytes(document, "clientData"),
            "spki": key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            "app_id": _app_id(document),
            "counter": 0,
        }
        raw = _bytes(document, "assertion")
        assert verify_assertion(raw, **about) == document["counter"]
        assert _refused(verify_assertion, raw, **about | {"counter": 1}) == "attestation.claims"


def test_no_byte_of_an_attestation_is_free() -> None:
    document = next(_documents("attestation"))
    raw, about = _theirs(document)
    assert survivors(MEDIA_TYPE, raw, **about) == []


# --- made here ------------------------------------------------------------------------------------


def _refused(action: Callable[..., object], *given: object, **named: object) -> str:
    with pytest.raises(AttestationError) as caught:
        action(*given, **named)
    return caught.value.code


ROOT = Authority("Attestation Root", ec.generate_private_key(ec.SECP384R1()))
MIDDLE = Authority("Attestation CA 1", ec.generate_private_key(ec.SECP384R1()), parent=ROOT)
KEY = new_key()
OTHER = new_key()
ANCHORS = Anchors([ROOT.anchor("app-attest")])
MATERIALS = Materials(ANCHORS, Models([_model()]))


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@dataclass(frozen=True)
class Parts:
    """What an attestation is made of; each test changes one."""

    app_id: str = APP
    flags: int = 0x40
    counter: int = 0
    aaguid: bytes = ENVIRONMENTS["production"]
    credential: bytes | None = None
    key_id: bytes | None = None
    cose_key: ec.EllipticCurvePrivateKey = KEY
    leaf_key: ec.EllipticCurvePrivateKey = KEY
    client_data: bytes = CHALLENGE
    hashed: bytes = CHALLENGE
    fmt: str = "apple-appattest"
    behind: bytes = b""
    head: bytes = bytes.fromhex("3024a1220420")
    days: int = 400

    def data(self) -> bytes:
        """The authenticator data."""
        point = _point(self.cose_key)
        key = cbor.encode({1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]})
        named = hashlib.sha256(_point(self.leaf_key)).digest()
        credential = named if self.credential is None else self.credential
        start = hashlib.sha256(self.app_id.encode()).digest() + bytes((self.flags,))
        start += self.counter.to_bytes(4, "big") + self.aaguid
        return start + len(credential).to_bytes(2, "big") + credential + key + self.behind

    def chain(self) -> list[bytes]:
        """Leaf first, without the root."""
        nonce = hashlib.sha256(self.data() + hashlib.sha256(self.hashed).digest()).digest()
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(NONCE_OID), self.head + nonce)
        public = self.leaf_key.public_key()
        return MIDDLE.issue("leaf", public, extensions=[(extension, False)], days=self.days)

    def object(self, chain: list[bytes] | None = None, **statement: Any) -> bytes:
        """The attestation object."""
        x5c = self.chain() if chain is None else chain
        parts = {"fmt": self.fmt, "attStmt": {"x5c": x5c, **statement}, "authData": self.data()}
        return cbor.encode(parts)

    def evidence(self, chain: list[bytes] | None = None, **statement: Any) -> bytes:
        """All of it."""
        named = hashlib.sha256(_point(self.leaf_key)).digest()
        key_id = named if self.key_id is None else self.key_id
        return cbor.encode({1: self.object(chain, **statement), 2: self.client_data, 3: key_id})


def _appraise(raw: bytes, materials: Materials = MATERIALS, **more: Any) -> Appraisal:
    about: dict[str, Any] = {"expected": EXPECTED, "at": NOW, "materials": materials} | more
    return appraise(MEDIA_TYPE, raw, **about)


def test_what_is_made_here_is_affirmed_and_bound_by_the_challenge_alone() -> None:
    found = _appraise(Parts().evidence())
    assert found.affirmed, found.steps[-1]
    claims = found.claims
    assert claims is not None and claims.bound_key.how == "challenge"
    assert claims.device_ids["environment"] == "production" and claims.secure is None
    assert found.level == "D1"


@pytest.mark.parametrize(
    ("parts", "step"),
    [
        (Parts(app_id="TEAM123456.other"), "app-attest.app"),
        (Parts(counter=1), "app-attest.counter"),
        (Parts(aaguid=ENVIRONMENTS["development"]), "app-attest.environment"),
        (Parts(aaguid=bytes(16)), "app-attest.environment"),
        (Parts(credential=bytes(32)), "app-attest.credential_id"),
        (Parts(credential=bytes(31)), "app-attest.authenticator_data"),
        (Parts(key_id=bytes(32)), "app-attest.key_id"),
        (Parts(cose_key=OTHER), "app-attest.public_key"),
        (Parts(hashed=bytes(32)), "app-attest.nonce"),
        (Parts(head=bytes.fromhex("3024a0220420")), "app-attest.nonce"),
        (Parts(fmt="apple"), "app-attest.fmt"),
        (Parts(flags=0xC0), "app-attest.authenticator_data"),
        (Parts(behind=b"\x00"), "app-attest.public_key"),
        (Parts(days=1), "app-attest.chain"),
        (Parts(client_data=bytes(32), hashed=bytes(32)), "binding.challenge"),
    ],
)
def test_each_check_by_itself(parts: Parts, step: str) -> None:
    found = _appraise(parts.evidence())
    assert not found.affirmed and found.steps[-1].name == step, found.steps[-1]


def test_forms_that_are_refused() -> None:
    good = Parts()
    value = cbor.decode(good.evidence())
    cut: list[Any] = [
        [],
        {**value, 4: b""},
        {1: value[1], 2: value[2]},
        {**value, 2: "text"},
        {**value, 1: b"\xa0"},
        {**value, 1: value[1] + b"\x00"},
    ]
    for changed in [*map(cbor.encode, cut), b"", b"\xff" * 99, bytes(20_000)]:
        assert _appraise(changed).reasons == ("attestation.malformed",)
    receipt = _appraise(good.evidence(receipt=b"of Apple"))
    assert receipt.steps[-1].name == "app-attest.statement"
    assert _appraise(good.evidence([])).reasons == ("attestation.malformed",)


def test_packing_leaves_the_receipt_out_and_takes_what_is_not_deterministic() -> None:
    parts = Parts()
    chain, key_id = parts.chain(), hashlib.sha256(_point(KEY)).digest()
    with_receipt = parts.object(chain, receipt=b"of Apple")
    assert pack(with_receipt, CHALLENGE, key_id) == parts.evidence(chain)
    long_head = with_receipt.replace(b"\x67receipt\x48", b"\x67receipt\x59\x00\x08")
    assert long_head != with_receipt
    assert pack(long_head, CHALLENGE, key_id) == parts.evidence(chain)
    for bad in (b"\x80", b"\xa0"):
        assert _refused(pack, bad, CHALLENGE, key_id) == "attestation.malformed"


def test_a_chain_that_the_attested_key_extended_is_refused() -> None:
    chain = Parts().chain()
    fake = replace(Parts(), leaf_key=OTHER, cose_key=OTHER)
    longer = extended_by(KEY, chain, OTHER.public_key())
    assert _appraise(fake.evidence(longer)).steps[-1].name == "app-attest.chain"


def test_anchors_models_and_revocations() -> None:
    parts = Parts()
    raw = parts.evidence()
    stranger = Anchors([Authority("Attestation Root").anchor("app-attest")])
    assert _appraise(raw, replace(MATERIALS, anchors=stranger)).steps[-1].name == "app-attest.chain"
    assert _appraise(raw, replace(MATERIALS, anchors=Anchors())).reasons == ("attestation.anchor",)
    unnamed = replace(MATERIALS, models=Models([replace(_model(), settings={})]))
    assert _appraise(raw, unnamed).steps[-1].name == "app-attest.app_id"
    serial = serial_identifier("app-attest", MIDDLE.certificate.serial_number)
    listed = Revocations([RevocationSnapshot(frozenset(("app-attest",)), {serial: "x"}, NOW)])
    assert _appraise(raw, replace(MATERIALS, revocations=listed)).reasons == (
        "attestation.revoked",
    )


# --- assertions -----------------------------------------------------------------------------------

SPKI = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def assertion(
    counter: int = 5, app_id: str = APP, challenge: bytes = CHALLENGE, behind: bytes = b""
) -> bytes:
    """An assertion by :data:`KEY`."""
    data = hashlib.sha256(app_id.encode()).digest() + b"\x40" + counter.to_bytes(4, "big") + behind
    nonce = hashlib.sha256(data + hashlib.sha256(challenge).digest()).digest()
    signature = KEY.sign(nonce, ec.ECDSA(hashes.SHA256()))
    return cbor.encode({"signature": signature, "authenticatorData": data})


def test_an_assertion_is_held_to_key_challenge_app_and_counter() -> None:
    about: dict[str, Any] = {"challenge": CHALLENGE, "spki": SPKI, "app_id": APP, "counter": 4}
    steps = Steps()
    assert verify_assertion(assertion(), **about, steps=steps) == 5
    assert all(step.passed for step in steps.taken)
    other = OTHER.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    cases: list[tuple[bytes, dict[str, Any], str]] = [
        (assertion(), {"counter": 5}, "claims"),
        (assertion(), {"challenge": bytes(32)}, "signature"),
        (assertion(), {"spki": other}, "signature"),
        (assertion(), {"spki": b"no key"}, "key"),
        (assertion(app_id="x"), {}, "claims"),
        (assertion(behind=b"\x00"), {}, "malformed"),
        (assertion() + b"\x00", {}, "malformed"),
        (b"\xa0", {}, "malformed"),
        (bytes(2000), {}, "malformed"),
    ]
    for raw, more, kind in cases:
        code = _refused(verify_assertion, raw, **about | more)
        assert code == f"attestation.{kind}"


def test_an_app_is_no_firmware_whatever_its_maker_says_of_the_key() -> None:
    vouched = replace(_model(), protects_key=True)
    found = _appraise(Parts().evidence(), Materials(ANCHORS, Models([vouched])))
    assert found.affirmed and found.level == "D2"
