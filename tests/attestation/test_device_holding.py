"""What a device holds of its attestation, and a boot that goes on over several processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from depin_id import Device, cbor, parse_envelope, reading
from depin_id.ack import Challenge, sign_challenge
from depin_id.attestation import AttestationResult, TrustVector, idevid_evidence, read_message
from depin_id.attestation.ear import encode_result, sign_ear
from depin_id.attestation.holding import RESULTS_FILE, HeldResults
from depin_id.attestation.message import KIND
from depin_id.carried import BOOT_FILE, machine_boot, remove_carried
from depin_id.envelope import NO_PREV, Envelope
from depin_id.errors import AttestationError, DepinError, SignatureInvalid, StateError
from depin_id.keys import CallbackSigner, SoftwareSigner
from depin_id.position import HEADS_FILE, POSITION_FILE
from depin_id.statements import read_statement
from depin_id.testing import TestNetwork
from tests.attestation.ca import Authority
from tests.cli.inside import run as run_inside
from tests.paths import ROOT

NET, OTHER = TestNetwork("holding"), TestNetwork("another")
BOOT, NEXT_BOOT = b"b" * 16, b"c" * 16
AT = 1_700_000_000_000


def sign(device: Device, network: TestNetwork = NET, subject: str | None = None) -> Envelope:
    signed = device.sign([reading("LAeq", 50, "dB")], network=network.did, subject=subject)
    envelope = parse_envelope(signed)
    envelope.verify(network.did, device.public_key)
    return envelope


def challenge(device: Device) -> Challenge:
    return Challenge(device.public_key.thumbprint, b"n" * 16, 2_000_000_000)


def result(device: Device, network: TestNetwork = NET, boot: int = 1, **changed: Any) -> bytes:
    """A signed result."""
    found = AttestationResult(
        verifier=network.did,
        software="test",
        did=device.did,
        thumbprint=device.public_key.thumbprint,
        boot=boot,
        nonce=b"n" * 16,
        challenge=bytes(32),
        media_type="application/x-example",
        format="example",
        model="",
        evidence=bytes(32),
        issued=AT,
        not_after=AT + 86_400_000,
        vector=TrustVector(),
        level="D3",
        assurance="tpm",
        bound="attested",
        root=bytes(32),
        unique=True,
        identifiers=(),
        reasons=(),
        anchors=bytes(32),
        references=bytes(32),
        revocations=bytes(32),
    )
    claims = encode_result(replace(found, **changed))
    return sign_ear(claims, network=network.did, signer=network.ack_signer)


def make(folder: Path) -> Path:
    Device.create(folder / "d").close()
    return folder / "d"


# --- results ------------------------------------------------------------------------------------


def test_a_result_is_named_for_its_network_and_kept(tmp_path: Path) -> None:
    path = make(tmp_path)
    wall = AT / 1000 + 1
    with Device.open(path, wall=lambda: wall) as device:
        assert device.result(NET.did) is None and sign(device).provenance.ear is None
        assert not device.attested(NET.did)
        held = device.take_result(result(device), NET.card)
        assert held.level == "D3" and held.boot == 1 and len(held.ear) == 16
        assert device.attested(NET.did)
        assert sign(device).provenance.ear == held.ear
        assert sign(device, OTHER).provenance.ear is None
        second = device.take_result(result(device, OTHER), OTHER.card)
        assert (sign(device, OTHER).provenance.ear, sign(device).provenance.ear) == (
            second.ear,
            held.ear,
        )
    # In the next boot it goes on being named: the network says that it counts no more.
    with Device.open(path, wall=lambda: wall) as device:
        assert device.result(NET.did) == held and not device.attested(NET.did)
        found = sign(device).provenance
        assert (found.ear, found.epoch) == (held.ear, 2)
        for call in (device.sign_status, device.sign_hash):
            argument: Any = {} if call == device.sign_status else bytes(32)
            signed = call(argument, network=NET.did)
            assert parse_envelope(signed).provenance.ear == held.ear


def test_a_result_that_is_over_is_known_to_be(tmp_path: Path) -> None:
    now = AT / 1000
    with Device.open(make(tmp_path), wall=lambda: now) as device:
        sign(device)
        device.take_result(result(device), NET.card)
        assert device.attested(NET.did)
        now += 86_400
        assert not device.attested(NET.did)


def test_what_is_no_result_for_this_device_is_not_taken(tmp_path: Path) -> None:
    with Device.open(make(tmp_path)) as device:
        good = result(device)
        cases: list[tuple[str, bytes, type[DepinError]]] = [
            ("attestation.foreign", result(device, thumbprint=bytes(32)), AttestationError),
            ("attestation.result", result(device, OTHER), AttestationError),
            ("signature.invalid", good[:-1] + bytes([good[-1] ^ 1]), SignatureInvalid),
            ("attestation.result", b"", AttestationError),
            ("attestation.result", good + b"\0", AttestationError),
        ]
        for code, token, kind in cases:
            with pytest.raises(kind) as refused:
                device.take_result(token, NET.card)
            assert refused.value.code == code
        assert device.result(NET.did) is None


def test_an_older_result_does_not_replace_a_newer_one(tmp_path: Path) -> None:
    with Device.open(make(tmp_path)) as device:
        older = result(device, boot=1)
        newest = device.take_result(result(device, boot=2, issued=AT + 1), NET.card)
        for token in (older, result(device, boot=2), result(device, boot=1, issued=AT + 9)):
            with pytest.raises(AttestationError) as refused:
                device.take_result(token, NET.card)
            assert refused.value.code == "attestation.replayed"
        # The same one again is no harm.
        assert device.take_result(result(device, boot=2, issued=AT + 1), NET.card) == newest


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\xff", cbor.encode([]), cbor.encode({"did:x": [b"", 1, 1, 1, "D1"]})),
        *(cbor.encode({"did:x": [bytes(32), -1, 1, 1, "D1"]}), cbor.encode({"did:x": 1})),
        *(cbor.encode({"did:x": [bytes(32), 1, 1, "", "D1"]}), bytes(1 << 19)),
    ],
)
def test_a_damaged_file_is_as_none(tmp_path: Path, data: bytes) -> None:
    path = make(tmp_path)
    (path / RESULTS_FILE).write_bytes(data)
    assert HeldResults(path).get("did:x") is None
    with Device.open(path) as device:
        assert sign(device).provenance.ear is None
        device.take_result(result(device), NET.card)
        assert sign(device).provenance.ear is not None


def test_there_is_a_bound(tmp_path: Path) -> None:
    with Device.open(make(tmp_path)) as device:
        entry = [bytes(32), 1, 1, 1, "D1"]
        held = cbor.encode({f"did:{number}": entry for number in range(64)})
        (device.directory / RESULTS_FILE).write_bytes(held)
        many = HeldResults(device.directory)
        with pytest.raises(StateError) as refused:
            many.take(result(device), NET.card, device.public_key.thumbprint)
        assert refused.value.code == "state.too_many"


# --- what is bound ------------------------------------------------------------------------------


def test_evidence_is_bound_to_the_boot_that_signs(tmp_path: Path) -> None:
    path = make(tmp_path)
    with Device.open(path) as device:
        binding = device.binding(challenge(device), NET.did)
        assert binding.boot == 1 and binding.did == device.did
        assert sign(device).provenance.epoch == 1
        message = read_message(device.attest(binding, "application/x", b"evidence"))
        assert message.verify(NET.did, device.public_key) == binding
        assert message.activation is None
        named = device.binding(challenge(device), NET.did, did="did:web:example.org")
        assert named.did == "did:web:example.org" and named.challenge != binding.challenge
        with pytest.raises(AttestationError) as refused:
            device.binding(replace(challenge(device), recipient=bytes(32)), NET.did)
        assert refused.value.code == "attestation.foreign"
    with Device.open(path) as device:
        with pytest.raises(AttestationError) as refused:
            device.attest(binding, "application/x", b"evidence")
        assert refused.value.code == "attestation.boot"
    for call in (
        lambda: device.binding(challenge(device), NET.did),
        lambda: device.attest(binding, "x", b"x"),
        lambda: device.take_result(b"", NET.card),
    ):
        with pytest.raises(StateError) as closed:
            call()
        assert closed.value.code == "state.closed"


# --- a boot that goes on ------------------------------------------------------------------------


@dataclass
class Clock:
    """A clock that goes when it is told to."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_boot_goes_on_once_something_was_attested_for_it(tmp_path: Path) -> None:
    path = make(tmp_path)
    clock = Clock()
    with Device.open(path, boot=BOOT, monotonic=clock) as device:
        assert sign(device).provenance.epoch == 1
    # Nothing was attested: each process is a boot, as ever.
    with Device.open(path, boot=BOOT, monotonic=clock) as device:
        last = sign(device)
        assert (last.provenance.epoch, last.provenance.n) == (2, 0)
        other = sign(device, subject="#a")
        assert device.binding(challenge(device), NET.did).boot == 2
    heads = {None: identity(last, device), "#a": identity(other, device)}
    for turn in range(1, 4):
        clock.now += 10
        with Device.open(path, boot=BOOT, monotonic=clock) as device:
            for subject, head in heads.items():
                found = sign(device, subject=subject)
                at = found.provenance
                assert (at.epoch, at.n, at.prev, at.uptime) == (2, turn, head, 10 * turn)
                heads[subject] = identity(found, device)
            fresh = sign(device, OTHER, subject=f"#{turn}").provenance
            assert (fresh.epoch, fresh.n, fresh.prev) == (2, 0, NO_PREV)
    # The machine starts anew, or nobody says which boot it is.
    with Device.open(path, boot=NEXT_BOOT) as device:
        at = sign(device).provenance
        assert (at.epoch, at.n, at.prev) == (3, 0, heads[None])
    with Device.open(path, boot=BOOT) as device:
        assert sign(device).provenance.epoch == 4


def identity(envelope: Envelope, device: Device) -> bytes:
    return envelope.verify(NET.did, device.public_key)[:16]


def test_what_was_left_is_gone_before_anything_is_signed(tmp_path: Path) -> None:
    inner = SoftwareSigner.generate()
    seen = list[tuple[bool, bool]]()

    def signed(message: bytes) -> bytes:
        seen.append(((path / BOOT_FILE).exists(), (path / HEADS_FILE).exists()))
        return inner.sign(message)

    path = tmp_path / "d"
    signer = CallbackSigner(inner.public_key, signed)
    with Device.create(path, signer=inner):
        pass
    with Device.open(path, signer=signer, boot=BOOT) as device:
        device.binding(challenge(device), NET.did)
    kept = (path / BOOT_FILE).read_bytes()
    with Device.open(path, signer=signer, boot=BOOT) as device:
        assert device.attested(NET.did) is False and (path / BOOT_FILE).exists()
        sign(device)
        assert seen == [(False, False)]
        # Killed here: what was signed is in no file, so the next boot has to be another.
        copy = {name: (path / name).read_bytes() for name in (POSITION_FILE,)}
    remove_carried(path, HEADS_FILE)
    (path / POSITION_FILE).write_bytes(copy[POSITION_FILE])
    with Device.open(path, signer=signer, boot=BOOT) as device:
        assert sign(device).provenance.epoch == 2
    # Left by an epoch before: it is not gone back to.
    (path / BOOT_FILE).write_bytes(kept)
    with Device.open(path, signer=signer, boot=BOOT) as device:
        assert sign(device).provenance.epoch == 3


def test_after_a_loss_no_epoch_is_used_that_was_left(tmp_path: Path) -> None:
    """Slots and heads gone, a floor below what was signed: the file that is left says more."""
    path = make(tmp_path)
    for _ in range(3):
        with Device.open(path, boot=BOOT) as device:
            sign(device)
    with Device.open(path, boot=BOOT) as device:
        assert device.binding(challenge(device), NET.did).boot == 4
        sign(device)
    (path / POSITION_FILE).unlink()
    (path / HEADS_FILE).unlink()
    with Device.open(path, boot=BOOT) as device:
        with pytest.raises(StateError):
            sign(device)
        nonce = device.resume_nonce(NET.did)
        device.take_resume(NET.resume(device.public_key, nonce, 3), card=NET.card)
        assert sign(device).provenance.epoch == 5
        assert not (path / BOOT_FILE).exists()


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "other", "slot"])
def test_what_is_damaged_is_not_gone_on_with(tmp_path: Path, damage: str) -> None:
    path = make(tmp_path)
    with Device.open(path, boot=BOOT) as device:
        device.binding(challenge(device), NET.did)
        sign(device)
    if damage == "other":
        with Device.create(tmp_path / "o") as other:
            other.binding(challenge(other), NET.did)
        with Device.open(tmp_path / "o", boot=BOOT) as other:
            other.binding(challenge(other), NET.did)
        (path / BOOT_FILE).write_bytes((tmp_path / "o" / BOOT_FILE).read_bytes())
    else:
        file = path / (POSITION_FILE if damage == "slot" else BOOT_FILE)
        data = bytearray(file.read_bytes())
        if damage in ("bit", "slot"):
            data[20] ^= 1
        file.write_bytes(data[: {"cut": len(data) // 2, "empty": 0}.get(damage, len(data))])
    with Device.open(path, boot=BOOT) as device:
        assert sign(device).provenance.epoch >= 2


def test_a_folder_that_cannot_forget_does_not_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path)
    with Device.open(path, boot=BOOT) as device:
        device.binding(challenge(device), NET.did)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "read-only")

    with Device.open(path, boot=BOOT) as device:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", refuse)
            with pytest.raises(StateError) as failed:
                sign(device)
            assert failed.value.code == "state.io"
        assert sign(device).provenance.n == 0


_KILLED = """
import sys, os
from depin_id import Device, reading
device = Device.open(sys.argv[1], boot=b"b" * 16)
signed = device.sign([reading("LAeq", 50)], network=sys.argv[2])
sys.stdout.buffer.write(signed)
sys.stdout.flush()
os.kill(os.getpid(), 9)
"""


def test_a_killed_process_loses_its_boot_and_keeps_its_result(tmp_path: Path) -> None:
    path = make(tmp_path)
    with Device.open(path, boot=BOOT) as device:
        device.binding(challenge(device), NET.did)
        held = device.take_result(result(device), NET.card)
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(path), NET.did],
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == -9, done.stderr.decode()
    first = parse_envelope(done.stdout).provenance
    assert (first.epoch, first.n, first.ear) == (1, 0, held.ear)
    with Device.open(path, boot=BOOT) as device:
        second = sign(device).provenance
        assert (second.epoch, second.n, second.ear) == (2, 0, held.ear)


# --- the command line ---------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if machine_boot() is None:
        pytest.skip("this machine does not tell one boot from another")
    (tmp_path / "card.cbor").write_bytes(NET.card_bytes)
    (tmp_path / "in.csv").write_text("name,value,unit\nLAeq,50,dB\n")
    run_inside("device", "new", "dev", cwd=tmp_path)
    with Device.open(tmp_path / "dev") as device:
        asked = sign_challenge(challenge(device), network=NET.did, signer=NET.ack_signer)
    (tmp_path / "challenge").write_bytes(asked)
    return tmp_path


ASKED = ("--challenge", "challenge", "--network", "card.cbor")


def signed_by(folder: Path) -> Envelope:
    command = ("sign", "dev", "--network", "card.cbor", "--in", "in.csv", "-o", "out")
    run_inside(*command, cwd=folder)
    return parse_envelope((folder / "out").read_bytes())


def test_commands_of_one_boot_share_its_epoch(folder: Path) -> None:
    assert signed_by(folder).provenance.epoch == 1
    assert signed_by(folder).provenance.epoch == 2
    shown = run_inside("attest", "challenge", "dev", *ASKED, "--json", cwd=folder).stdout
    named = json.loads(shown)
    assert named["boot"] == 3 and named["expires"] == 2_000_000_000
    plain = run_inside("attest", "challenge", "dev", *ASKED, cwd=folder).stdout
    assert plain.decode().strip() == named["challenge"]
    (folder / "token").write_bytes(b"made by the platform")
    send = ("attest", "token", "dev", *ASKED, "--type", "application/eat+cwt")
    run_inside(*send, "--evidence", "token", "-o", "message", cwd=folder)
    message = read_message((folder / "message").read_bytes())
    assert message.boot == 3 and message.evidence == b"made by the platform"
    run_inside(*send, "--evidence", "token", "--statement", "-o", "statement", cwd=folder)
    kind, parts, _ = read_statement((folder / "statement").read_bytes())
    assert kind == KIND and read_message(parts[0]).media_type == "application/eat+cwt"

    refused = run_inside("attest", "show", "dev", "--network", "card.cbor", cwd=folder, code=2)
    assert b"attestation.none" in refused.stderr
    with Device.open(folder / "dev") as device:
        token = result(device, boot=3, issued=1, not_after=1 << 49)
        (folder / "result").write_bytes(token)
    taken = ("attest", "result", "dev", "result", "--network", "card.cbor", "--json")
    shown = run_inside(*taken, cwd=folder).stdout
    held = json.loads(shown)
    assert held["good"] is True and held["level"] == "D3"
    for n in range(3):
        at = signed_by(folder).provenance
        assert at.ear is not None
        assert (at.epoch, at.n, at.ear.hex()) == (3, n, held["ear"])
    # A process that does not say which boot it is in begins its own.
    with Device.open(folder / "dev") as device:
        assert sign(device).provenance.epoch == 4
    last = run_inside("attest", "show", "dev", "--network", "card.cbor", "--json", cwd=folder)
    assert json.loads(last.stdout)["good"] is False


def test_a_machine_without_boots_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depin_id.commands.attest.machine_boot", lambda: None)
    refused = run_inside("attest", "challenge", "dev", *ASKED, cwd=folder, code=2)
    assert b"attestation.boot" in refused.stderr and b"Device.binding" in refused.stderr


def test_evidence_of_a_manufacturers_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "idevid.key").write_bytes(pem)
    chain = b"".join(
        certificate.public_bytes(Encoding.PEM)
        for certificate in (Authority("maker").certificate, Authority("root").certificate)
    )
    (folder / "chain.pem").write_bytes(chain)
    command = ("attest", "idevid", "dev", *ASKED, "--chain", "chain.pem", "-o", "message")
    refused = run_inside(*command, "--key", "idevid.key", cwd=folder, code=2)
    assert b"state.permissions" in refused.stderr
    (folder / "idevid.key").chmod(0o600)
    shown = run_inside(*command, "--key", "idevid.key", "--json", cwd=folder)
    message = read_message((folder / "message").read_bytes())
    evidence = idevid_evidence.read_evidence(message.evidence)
    assert message.media_type == idevid_evidence.MEDIA_TYPE and len(evidence.chain) == 2
    assert evidence.challenge.hex() == json.loads(shown.stdout)["challenge"]
    other = SoftwareSigner("p256", key.private_numbers().private_value.to_bytes(32, "big"))
    other.public_key.verify(idevid_evidence.signed_bytes(evidence.challenge), evidence.signature)
    # Without --key it is the device's own.
    run_inside(*command, cwd=folder)
    evidence = idevid_evidence.read_evidence(
        read_message((folder / "message").read_bytes()).evidence
    )
    with Device.open(folder / "dev") as device:
        device.public_key.verify(
            idevid_evidence.signed_bytes(evidence.challenge), evidence.signature
        )
    run_inside(*command, "--json", "-o", "-", cwd=folder, code=2)
    (folder / "chain.pem").write_bytes(b"nothing")
    assert b"usage" in run_inside(*command, cwd=folder, code=2).stderr
