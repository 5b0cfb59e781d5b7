"""The device's side of a TPM, on a software TPM: key, evidence, credential, command line."""

from __future__ import annotations

import hashlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from depin_id import Device, cbor, parse_envelope, reading
from depin_id.ack import Challenge, sign_challenge
from depin_id.attestation import Binding, read_message, tpm2_evidence, tpm_structures
from depin_id.attestation.message import ACTIVATE
from depin_id.attestation.tpm_device import TpmAttester
from depin_id.attestation.tpm_keys import TpmSigner
from depin_id.attestation.tpm_tools import TpmTools
from depin_id.device_store import KEY_FILE
from depin_id.errors import AttestationError, DepinError, StateError
from depin_id.keyfile import open_key, read_key
from depin_id.keys import P256_ORDER
from depin_id.statements import read_statement
from depin_id.testing import TestNetwork
from tests.attestation.swtpm import SoftwareTpm, running_tpm
from tests.cli.inside import run as run_inside
from tests.paths import ROOT
from verify.attestation import (
    Anchor,
    Anchors,
    Appraisal,
    Expected,
    Materials,
    Model,
    Models,
    appraise_evidence,
)
from verify.attestation.materials import Reference
from verify.attestation.tpm2.credential import activation_of, credential_for

NET = TestNetwork("tpm-tests")


@pytest.fixture(scope="module")
def tpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftwareTpm]:
    with running_tpm(tmp_path_factory.mktemp("tpm")) as running:
        yield running


@pytest.fixture(autouse=True)
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "tpm" in request.fixturenames:
        monkeypatch.setenv("TPM2TOOLS_TCTI", request.getfixturevalue("tpm").tcti)


@pytest.fixture(scope="module")
def signer(tpm: SoftwareTpm) -> TpmSigner:
    before = os.environ.get("TPM2TOOLS_TCTI")
    os.environ["TPM2TOOLS_TCTI"] = tpm.tcti
    try:
        return TpmSigner.new()
    finally:
        os.environ.pop("TPM2TOOLS_TCTI")
        if before is not None:
            os.environ["TPM2TOOLS_TCTI"] = before


def chain(tpm: SoftwareTpm) -> list[bytes]:
    return [x509.load_pem_x509_certificate(tpm.chain.read_bytes()).public_bytes(Encoding.DER)]


def anchors(tpm: SoftwareTpm) -> Anchors:
    root = x509.load_pem_x509_certificate(tpm.root.read_bytes())
    spki = root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Anchors([Anchor("tpm2", "software", spki, root.public_bytes(Encoding.DER))])


# --- the key -----------------------------------------------------------------------------------


def test_the_key_signs_in_the_tpm_and_the_folder_does_not_hold_it(
    tpm: SoftwareTpm, signer: TpmSigner, tmp_path: Path
) -> None:
    with Device.create(tmp_path / "d", signer=signer) as device:
        assert device.enrolment.key.curve == "p256"
    kept = tmp_path / "d" / KEY_FILE
    assert kept.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StateError) as refused:
        read_key(kept)
    assert refused.value.code == "key.elsewhere"
    with pytest.raises(StateError) as refused:
        open_key(kept, passphrase="x")
    assert refused.value.code == "key.passphrase"
    with Device.open(tmp_path / "d") as device:
        for _ in range(3):
            envelope = parse_envelope(device.sign([reading("LAeq", 50)], network=NET.did))
            envelope.verify(NET.did, device.public_key)
            assert int.from_bytes(envelope.sign1.signature[32:], "big") <= P256_ORDER // 2
    tpm.power_cycle()
    again = open_key(kept)
    again.public_key.verify(b"after a reset", again.sign(b"after a reset"))
    # The one that had it loaded loads it anew.
    signer.public_key.verify(b"after a reset", signer.sign(b"after a reset"))


@pytest.mark.parametrize("member", ["tpm_public", "tpm_private", "public", "curve"])
def test_a_changed_key_file_is_refused(
    tpm: SoftwareTpm, signer: TpmSigner, tmp_path: Path, member: str
) -> None:
    fields = cbor.decode(signer.key_file)
    fields[member] = "p384" if member == "curve" else b"\x00\x01" + bytes(8)
    path = tmp_path / "key"
    path.write_bytes(cbor.encode(fields))
    path.chmod(0o600)
    with pytest.raises(DepinError) as refused:
        open_key(path).sign(b"x")
    # What only the TPM can tell is told when it is asked.
    assert refused.value.code == ("attestation.tpm" if member == "tpm_private" else "key.file")


def test_nothing_stays_loaded(tpm: SoftwareTpm, signer: TpmSigner) -> None:
    with TpmAttester(ek_chain=chain(tpm)) as attester:
        attester.evidence(bytes(32), signer)
        with pytest.raises(AttestationError):
            attester.activate(b"\x00\x01a\x00\x01b")
    for kind in ("transient", "loaded-session", "saved-session"):
        assert tpm.run("tpm2_getcap", f"handles-{kind}").strip() == b"", kind


# --- what it says ------------------------------------------------------------------------------


def test_evidence_is_affirmed_with_an_activated_credential(
    tpm: SoftwareTpm, signer: TpmSigner
) -> None:
    now = round(time.time() * 1000)
    challenge, secret = secrets.token_bytes(32), secrets.token_bytes(32)
    with TpmAttester(ek_chain=chain(tpm)) as attester:
        thumbprint, ek_chain, ak = cbor.decode(attester.request(signer.public_key.thumbprint))
        assert thumbprint == signer.public_key.thumbprint and len(ek_chain) == 2
        credential = credential_for(
            ek_chain,
            ak,
            anchors=anchors(tpm),
            at=now,
            secret=secret,
            randomness=secrets.token_bytes,
        )
        assert attester.activate(credential) == secret
        # Without the mark of tpm2-tools in front it is the same.
        assert attester.activate(credential[8:]) == secret
        with pytest.raises(AttestationError) as refused:
            attester.activate(credential[:-1] + bytes([credential[-1] ^ 1]))
        assert refused.value.code == "attestation.credential"
        raw = attester.evidence(challenge, signer)
        other = attester.evidence(challenge, NET.device().signer)
    expected = Expected(
        challenge=challenge, key=signer.public_key, activation=activation_of(ek_chain, ak)
    )
    read = tpm2_evidence.read(raw)
    assert set(read.pcrs) == set(range(8))
    approved = tuple(
        Reference(f"pcr{index}", frozenset({digest})) for index, digest in read.pcrs.items()
    )
    model = Model("any", frozenset({"tpm2"}), references=approved, revocation="none")

    def appraise(evidence: bytes, asked: Expected = expected) -> Appraisal:
        return appraise_evidence(
            tpm2_evidence.MEDIA_TYPE,
            evidence,
            expected=asked,
            at=now,
            materials=Materials(anchors=anchors(tpm), models=Models([model])),
        )

    found = appraise(raw)
    assert found.level == "D3", found.reasons
    assert found.claims is not None and found.claims.challenge_seen == challenge
    bound = found.claims.bound_key
    assert bound.key == signer.public_key and bound.protected
    assert found.claims.counters["resets"] > 0
    # A key that is not in the TPM, another challenge, no credential: nothing is left of it.
    assert appraise(other).level == "D1"
    changes: list[dict[str, Any]] = [
        *({"challenge": bytes(32)}, {"activation": None}, {"key": NET.device().key}),
    ]
    for changed in changes:
        assert appraise(raw, replace(expected, **changed)).claims is None, changed
    # Firmware that measures otherwise is not approved.
    tpm.extend(2, b"x" * 32)
    with TpmAttester(ek_chain=chain(tpm)) as attester:
        assert appraise(attester.evidence(challenge, signer)).level == "D2"
    # Of a key that is not in it the TPM says nothing.
    assert tpm2_evidence.read(other).certify is None


def credential_of(tpm: SoftwareTpm, attester: TpmAttester, secret: bytes) -> bytes:
    _, ek_chain, ak = cbor.decode(attester.request(bytes(32)))
    return credential_for(
        ek_chain,
        ak,
        anchors=anchors(tpm),
        at=round(time.time() * 1000),
        secret=secret,
        randomness=secrets.token_bytes,
    )


def test_every_endorsement_key_opens_its_credential(
    tpm: SoftwareTpm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The P-384 one, which is used by password; the RSA one, when the TPM does not keep it."""
    with TpmAttester(ek_chain=chain(tpm)) as attester:
        rsa = attester.ek_chain[0]
    with monkeypatch.context() as patch:
        patch.setattr("depin_id.attestation.tpm_device.EK_CERTIFICATES", ((0x01C00016, None),))
        with TpmAttester(ek_chain=chain(tpm)) as attester:
            assert attester.ek_chain[0] != rsa
            assert attester.activate(credential_of(tpm, attester, b"p" * 32)) == b"p" * 32
    monkeypatch.setattr("depin_id.attestation.tpm_device._handles", unkept)
    with TpmAttester(ek_chain=chain(tpm)) as attester:
        assert attester.ek_chain[0] == rsa
        assert attester.activate(credential_of(tpm, attester, b"r" * 32)) == b"r" * 32


def unkept(printed: bytes) -> list[int]:
    """Handles without the persistent ones."""
    found = [int(word, 16) for word in printed.decode().split() if word != "-"]
    return [handle for handle in found if handle >> 24 != 0x81]


def test_a_power_cycle_counts_and_an_extended_pcr_shows(
    tpm: SoftwareTpm, signer: TpmSigner
) -> None:
    with TpmAttester(ek_chain=chain(tpm)) as attester:

        def look() -> tuple[int, bytes, dict[int, bytes]]:
            seen = tpm2_evidence.read(attester.evidence(bytes(32), signer))
            # magic, type, qualified name, extra data, clock (8), resetCount
            at = 6 + 2 + int.from_bytes(seen.quote[6:8], "big")
            at += 2 + int.from_bytes(seen.quote[at : at + 2], "big") + 8
            return int.from_bytes(seen.quote[at : at + 4], "big"), seen.ak_public, dict(seen.pcrs)

        before = look()
        tpm.extend(4, b"m" * 32)
        assert look()[2][4] == hashlib.sha256(before[2][4] + b"m" * 32).digest()
        tpm.power_cycle()
        after = look()
    assert after[0] == before[0] + 1
    assert after[1] == before[1]
    assert after[2][4] == bytes(32)


def test_the_script_starts_resets_and_stops_one(tmp_path: Path) -> None:
    with running_tpm(tmp_path / "tpm"):
        pass

    def script(what: str) -> str:
        command = [sys.executable, str(ROOT / "examples" / "software_tpm.py"), what]
        return subprocess.run(
            [*command, str(tmp_path / "tpm")],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout

    there = SoftwareTpm(tmp_path / "tpm")
    try:
        assert script("start") == script("start") == f"export TPM2TOOLS_TCTI={there.tcti}\n"
        there.extend(1, bytes(32))
        first = there.run("tpm2_pcrread", "sha256:1")
        script("restart")
        assert there.run("tpm2_pcrread", "sha256:1") != first
    finally:
        script("stop")
    with pytest.raises(subprocess.CalledProcessError):
        there.run("tpm2_pcrread", "sha256:1")


# --- without one, and broken ones --------------------------------------------------------------


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AttestationError) as refused:
        TpmSigner.new()
    assert refused.value.code == "attestation.tpm_tools" and "tpm2-tools" in refused.value.hint


def test_no_tpm_and_no_answer_are_said(
    tpm: SoftwareTpm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPM2TOOLS_TCTI", f"device:{tmp_path}/none")
    with pytest.raises(AttestationError) as refused:
        TpmSigner.new()
    assert refused.value.code == "attestation.tpm" and "TPM2TOOLS_TCTI" in refused.value.hint
    slow = tmp_path / "tpm2_createprimary"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("depin_id.attestation.tpm_tools.SECONDS", 0.3)
    with TpmTools() as tools, pytest.raises(AttestationError) as refused:
        tools.run("tpm2_createprimary")
    assert refused.value.code == "attestation.tpm_timeout"
    slow.write_text("#!/bin/sh\nexit 0\n")
    with TpmTools() as tools, pytest.raises(AttestationError) as refused:
        tools.create_key()
    assert refused.value.code == "attestation.tpm"


def test_a_tpm_without_a_certificate_is_no_evidence(
    tpm: SoftwareTpm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = tmp_path / "tpm2_getcap"
    none.write_text("#!/bin/sh\nexit 0\n")
    none.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with TpmAttester() as attester, pytest.raises(AttestationError) as refused:
        attester.request(bytes(32))
    assert refused.value.code == "attestation.tpm_certificate"


@pytest.mark.parametrize(
    "read",
    [
        tpm_structures.read_p256,
        tpm_structures.read_ecdsa,
        tpm_structures.certificate,
        tpm_structures.quoted_digest,
        tpm_structures.attributes,
        tpm_structures.credential_file,
    ],
)
@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\x23\x00\x0b", b"\x30\x82\xff\xff", b"\x18"])
def test_broken_structures_are_typed_errors(read: object, data: bytes) -> None:
    assert callable(read)
    with pytest.raises(AttestationError):
        read(data)


def test_a_structure_ends_where_it_ends(tpm: SoftwareTpm, signer: TpmSigner) -> None:
    area = signer.tpm_public[2:]
    assert tpm_structures.read_p256(area) == signer.public_key
    for wrong in (area + b"\0", area[:-1], b"\x00\x01" + area[2:]):
        with pytest.raises(AttestationError):
            tpm_structures.read_p256(wrong)
    with pytest.raises(AttestationError):
        tpm_structures.read_ecdsa(b"\x00\x18\x00\x0b\x00\x01a\x00\x01b\x00")


# --- the command line ---------------------------------------------------------------------------


def test_the_commands_of_a_tpm(tpm: SoftwareTpm, tmp_path: Path) -> None:
    (tmp_path / "card.cbor").write_bytes(NET.card_bytes)
    run_inside("device", "new", "dev", "--tpm", cwd=tmp_path)
    with Device.open(tmp_path / "dev") as device:
        key = device.public_key
    asked = Challenge(key.thumbprint, b"n" * 16, 2_000_000_000)
    data = sign_challenge(asked, network=NET.did, signer=NET.ack_signer)
    (tmp_path / "challenge").write_bytes(data)
    (tmp_path / "chain.pem").write_bytes(tpm.chain.read_bytes())
    request = ["attest", "tpm-request", "dev", "--ek-chain", "chain.pem", "--statement"]
    run_inside(*request, "-o", "request", cwd=tmp_path)
    kind, parts, _ = read_statement((tmp_path / "request").read_bytes())
    assert kind == ACTIVATE
    _, ek_chain, ak = cbor.decode(parts[0])
    with TpmAttester(ek_chain=chain(tpm)) as attester:
        assert [list(attester.ek_chain), attester.ak_public] == [ek_chain, ak]
        credential = credential_of(tpm, attester, b"s" * 32)
    (tmp_path / "credential").write_bytes(credential)
    options = ["--challenge", "challenge", "--network", "card.cbor"]
    run_inside(
        *("attest", "tpm", "dev", *options, "--ek-chain", "chain.pem"),
        *("--credential", "credential", "-o", "message"),
        cwd=tmp_path,
    )
    message = read_message((tmp_path / "message").read_bytes())
    binding = message.verify(NET.did, key)
    assert message.activation == b"s" * 32
    assert binding == Binding(NET.did, b"n" * 16, message.did, key.thumbprint, 2_000_000_000, 1)
    evidence = tpm2_evidence.read(message.evidence)
    assert binding.challenge in evidence.quote
    # The readings that follow are of the boot that the evidence names.
    (tmp_path / "in.csv").write_text("name,value,unit\nLAeq,50,dB\n")
    run_inside(
        *("sign", "dev", "--network", "card.cbor", "--in", "in.csv", "-o", "out"), cwd=tmp_path
    )
    assert parse_envelope((tmp_path / "out").read_bytes()).provenance.epoch == binding.boot
