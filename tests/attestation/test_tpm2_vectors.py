"""Structures and certificates of real TPMs and of a software one, made by the tools of others."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from depin_id.attestation.tpm2_evidence import MEDIA_TYPE, Tpm2Evidence
from depin_id.errors import AttestationError, EncodingError
from depin_id.keys import admit
from tests.attestation import tpm2_world as made
from tests.paths import vectors
from verify.attestation import (
    Anchor,
    Anchors,
    Expected,
    Materials,
    Models,
    Steps,
    appraise_evidence,
)
from verify.attestation.identifiers import spki_of
from verify.attestation.tpm2 import activation_of, checks, public, wire
from verify.attestation.tpm2.certificates import (
    check_attestation_key,
    check_endorsement,
    device_ids,
)
from verify.attestation.tpm2.credential import MAX_SECRET, credential_for
from verify.attestation.tpm2.endorsement import place_of

WANTED = tuple(range(8))


def _read(name: str) -> bytes:
    return (vectors("attestation/tpm2/swtpm") / name).read_bytes()


def _at() -> int:
    told = json.loads(_read("expected.json"))["attestation_time"]
    return int(datetime.fromisoformat(told).timestamp()) * 1000


def _pem(name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(_read(name))


def _anchor(certificate: x509.Certificate, name: str = "a root") -> Anchor:
    return Anchor("tpm2", name, spki_of(certificate), certificate.public_bytes(Encoding.DER))


def _chain(leaf: str) -> list[bytes]:
    return [_read(leaf), _pem("ca_issuer.pem").public_bytes(Encoding.DER)]


def _pcrs(name: str = "quote.pcrs") -> dict[int, bytes]:
    values = _read(name)
    return {index: values[32 * index : 32 * index + 32] for index in WANTED}


def _ak() -> public.Public:
    return public.read_public(_read("ak.tpmt_public"))


@pytest.mark.parametrize(("name", "place"), [("ek_rsa_cert.der", "ek"), ("ek_ecc_cert.der", "")])
def test_endorsement_certificates(name: str, place: str) -> None:
    chain = [x509.load_der_x509_certificate(der) for der in _chain(name)]
    anchors = [_anchor(_pem("ca_root.pem"))]
    found = check_endorsement(chain, anchors, at=_at(), steps=Steps())
    assert found.ids == {"manufacturer": "id:00001014", "model": "swtpm", "version": "id:20191023"}
    with pytest.raises(AttestationError) as early:
        check_endorsement(chain, anchors, at=_at() - 86_400_000, steps=Steps())
    assert early.value.code == "attestation.expired"
    quote = wire.read_attest(_read("quote.tpms_attest"))
    # The attestation key was made below the RSA endorsement key: the TPM itself has said so.
    assert place_of(quote.signer, _ak().name, found.names) == place


def test_names() -> None:
    ak = _ak()
    assert ak.name == _read("ak.name")
    certificate = ak.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert certificate == _read("ak.pem")
    checks.check_ak(ak, Steps())
    certified = wire.read_attest(_read("certify.tpms_attest"))
    assert isinstance(certified.attested, wire.Certified)
    assert certified.attested.name == _read("dev.name")


def test_the_certified_key() -> None:
    """Its public area was not kept; this one has the very Name that was certified."""
    key = load_pem_public_key(_read("dev.pem"))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    numbers = key.public_numbers()
    area = bytes.fromhex("0023000b0004007200000010 0018000b00030010")
    area += made.sized(numbers.x.to_bytes(32, "big")) + made.sized(numbers.y.to_bytes(32, "big"))
    own = public.read_public(area)
    assert own.name == _read("dev.name")
    quote, certified = (
        wire.read_attest(_read(f"{name}.tpms_attest")) for name in ("quote", "certify")
    )
    bound = checks.check_certified(quote, certified, own, Steps())
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert (bound.how, bound.key, bound.protected) == ("attested", admit("p256", point), True)


@pytest.mark.parametrize("name", ["quote.tpms_attest", "quote2.tpms_attest"])
def test_quotes(name: str) -> None:
    quote = wire.read_attest(_read(name))
    assert quote.extra == bytes.fromhex(_read("nonce.hex").decode())
    assert (quote.resets, quote.restarts, quote.safe) == (3, 0, False)
    checks.check_quote(quote, _pcrs(), WANTED, wire.SHA256, Steps())
    text = _read("pcrs.yaml").decode()
    assert all(value.hex().upper() in text for value in _pcrs().values())


@pytest.mark.parametrize("name", ["bad_magic", "trailing", "truncated"])
def test_quotes_that_are_none(name: str) -> None:
    with pytest.raises(EncodingError):
        wire.read_attest(_read(f"negative/{name}.tpms_attest"))


def test_another_nonce_and_other_values() -> None:
    bad = wire.read_attest(_read("negative/bad_nonce.tpms_attest"))
    assert bad.extra != bytes.fromhex(_read("nonce.hex").decode())
    quote = wire.read_attest(_read("quote.tpms_attest"))
    steps = Steps()
    with pytest.raises(AttestationError):
        checks.check_quote(quote, _pcrs("negative/bad_pcr0.pcrs"), WANTED, wire.SHA256, steps)
    assert steps.taken[-1].name == "tpm2.pcrs.digest"


def _evidence(name: str = "quote.tpms_attest") -> Tpm2Evidence:
    quote = _read(name)
    return Tpm2Evidence(
        quote=quote,
        quote_signature=made.sign(made.key("other"), quote),
        ak_public=_read("ak.tpmt_public"),
        ek_chain=_chain("ek_rsa_cert.der"),
        pcrs=_pcrs(),
    )


def test_all_but_the_signature() -> None:
    """The signatures were not kept: everything before them passes, and one by another key fails."""
    evidence = _evidence()
    found = appraise_evidence(
        MEDIA_TYPE,
        evidence.encode(),
        expected=Expected(
            challenge=bytes.fromhex(_read("nonce.hex").decode()),
            activation=activation_of(evidence.ek_chain, evidence.ak_public),
        ),
        at=_at(),
        materials=Materials(Anchors([_anchor(_pem("ca_root.pem"))]), Models([made.model()])),
    )
    assert found.steps[-1].name == "tpm2.quote.signature"
    assert found.reasons == ("attestation.signature",)
    assert {"tpm2.ek.names", "tpm2.activation.endorsement"} <= {
        step.name for step in found.steps if step.passed
    }


@pytest.mark.parametrize("name", ["cred.blob", "py_made_credential.blob"])
def test_credentials_have_the_form_of_the_tools(name: str) -> None:
    theirs = _read(name)
    ours = credential_for(
        _chain("ek_rsa_cert.der"),
        _read("ak.tpmt_public"),
        anchors=Anchors([_anchor(_pem("ca_root.pem"))]),
        at=_at(),
        secret=bytes(MAX_SECRET),
        randomness=bytes,
    )
    assert len(ours) == len(theirs)
    assert ours[:12] == theirs[:12] and ours[78:80] == theirs[78:80] == (256).to_bytes(2, "big")


# --- attestation by Windows Hello: real TPMs, SHA-1 signatures -----------------------------------

WEBAUTHN = ("lenovo_carbon_x1", "surface_pro_4")
IN_2022 = 1_645_000_000_000


def _webauthn(name: str) -> dict[str, Any]:
    folder: Path = vectors("attestation/tpm2/webauthn")
    document = json.loads((folder / f"tpm-test_verify_attestation_{name}.json").read_text())
    text = document["credential"]["response"]["attestationObject"]
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    found: dict[str, Any] = cbor2.loads(raw)
    return found


@pytest.mark.parametrize("name", WEBAUTHN)
def test_certified_keys_of_real_tpms(name: str) -> None:
    statement = _webauthn(name)["attStmt"]
    attest = wire.read_attest(statement["certInfo"])
    area = public.read_public(statement["pubArea"])
    assert isinstance(attest.attested, wire.Certified)
    assert attest.attested.name == area.name
    assert len(attest.extra) == hashlib.sha1(usedforsecurity=False).digest_size
    assert area.has(public.FIXED_TPM | public.FIXED_PARENT | public.SENSITIVE_DATA_ORIGIN)
    for end in (1, len(statement["certInfo"]) // 2):
        with pytest.raises(EncodingError):
            wire.read_attest(statement["certInfo"][:-end])
    with pytest.raises(EncodingError):
        public.read_public(statement["pubArea"] + b"\0")


@pytest.mark.parametrize("name", WEBAUTHN)
def test_certificates_of_real_attestation_keys(name: str) -> None:
    statement = _webauthn(name)["attStmt"]
    leaf, above = (x509.load_der_x509_certificate(der) for der in statement["x5c"])
    anchors = [_anchor(above)]
    steps = Steps()
    path = check_attestation_key([leaf, above], spki_of(leaf), anchors, at=IN_2022, steps=steps)
    assert path.anchor is anchors[0]
    assert set(device_ids(leaf)) == {"manufacturer", "model", "version"}
    assert device_ids(leaf)["manufacturer"] in ("id:53544D20", "id:494E5443")
    late = 1_750_000_000_000
    with pytest.raises(AttestationError) as expired:
        check_attestation_key([leaf, above], spki_of(leaf), anchors, at=late, steps=Steps())
    assert expired.value.code == "attestation.expired"
    with pytest.raises(AttestationError) as none:
        check_attestation_key([leaf], spki_of(leaf), [], at=IN_2022, steps=Steps())
    assert none.value.code == "attestation.anchor"


@pytest.mark.parametrize("name", WEBAUTHN)
def test_their_signatures_by_sha1_are_refused(name: str) -> None:
    statement = _webauthn(name)["attStmt"]
    assert statement["alg"] == -65535
    leaf = x509.load_der_x509_certificate(statement["x5c"][0]).public_key()
    assert isinstance(leaf, rsa.RSAPublicKey)
    signature = wire.Signature(wire.RSASSA, wire.SHA1, (statement["sig"],))
    assert not public.is_signed(leaf, signature, statement["certInfo"])
    numbers = leaf.public_numbers()
    ak = replace(_ak(), curve=0, numbers=(numbers.e, numbers.n), scheme=wire.RSASSA)
    with pytest.raises(AttestationError) as refused:
        checks.check_signature(ak, signature, statement["certInfo"], "tpm2.certify", Steps())
    assert refused.value.code == "attestation.algorithm"
