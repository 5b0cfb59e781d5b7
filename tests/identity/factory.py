"""A manufacturer, its certificates and lists, and an aggregator that trusts it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from depin_id import credentials
from depin_id.ack import Ack, read_ack, read_challenge
from depin_id.credentials.status import StatusList, issue_bitstring
from depin_id.did.key import did_key
from depin_id.did.multikey import encode_multikey
from depin_id.errors import DepinError
from depin_id.keys import PublicKey, SoftwareSigner
from depin_id.possession import enrol_statement, prove
from depin_id.statements import CHALLENGE, write_statement
from depin_id.testing import NOW, TestDevice, key_from_seed
from tests.verify.net import POLICY, Net
from verify.admin import perform
from verify.audit import audit
from verify.dataset import verify_dataset
from verify.identity.entries import HistoryTaken, KeySpan
from verify.ingest import Downlink

LIST_URL = "https://example.org/status/1"


def moment(at_s: float) -> str:
    return credentials.format_moment(int(at_s) * 1000)


def method_of(did: str) -> str:
    return f"{did}#{did.removeprefix('did:key:')}"


@dataclass
class Maker:
    """A manufacturer with a did:key, or with a DID whose history the journal was given."""

    name: str = "maker"
    did: str = ""
    method: str = ""
    signer: SoftwareSigner = field(init=False)

    def __post_init__(self) -> None:
        self.signer = key_from_seed(self.name, "manufacturer")
        self.did = self.did or did_key(self.signer.public_key)
        self.method = self.method or method_of(self.did)

    def body(
        self,
        key: PublicKey,
        serial: str = "1",
        *,
        did: str = "",
        valid_until: str | None = None,
        status: int | None = None,
        batch: str = "lot 1",
        claim: bytes = b"\xab" * 32,
    ) -> credentials.BirthCertificate:
        entry: dict[str, Any] | None = None
        if status is not None:
            entry = {
                "type": "BitstringStatusListEntry",
                "statusPurpose": "revocation",
                "statusListIndex": str(status),
                "statusListCredential": LIST_URL,
            }
        subject = credentials.BirthSubject(
            batch=batch,
            hardware_revision="B",
            id=did or did_key(key),
            key=encode_multikey(key),
            key_protection="secure-element",
            model="Meter 3",
            serial=serial,
            claim_digest=claim.hex(),
        )
        return credentials.BirthCertificate(
            credential_status=entry,
            credential_subject=subject,
            issuer=self.did,
            valid_from=moment(NOW - 86_400),
            valid_until=valid_until,
        )

    def birth(self, key: PublicKey, serial: str = "1", **about: Any) -> bytes:
        """A certificate that is signed by itself."""
        return self.issue(self.body(key, serial, **about))

    def issue(self, certificate: credentials.Credential) -> bytes:
        signed = credentials.issue(
            certificate, self.signer, verification_method=self.method, created=moment(NOW)
        )
        return json.dumps(signed).encode()

    def lot(self, *keys: PublicKey) -> tuple[bytes, list[bytes]]:
        """A batch's credential and the certificates of its devices."""
        bodies = [self.body(key, f"lot-{n}") for n, key in enumerate(keys)]
        signed, tree = credentials.sign_batch(
            [credentials.leaf_hash(body) for body in bodies],
            self.signer,
            batch="lot 1",
            issuer=self.did,
            valid_from=moment(NOW - 86_400),
            verification_method=self.method,
            created=moment(NOW),
        )
        digest = credentials.batch_digest(signed)
        certificates = [
            {
                **json.loads(credentials.write(body)),
                "proof": credentials.batch_proof(tree, n, digest),
            }
            for n, body in enumerate(bodies)
        ]
        return json.dumps(signed).encode(), [json.dumps(item).encode() for item in certificates]

    def status_list(self, *revoked: int, at_s: float = NOW) -> bytes:
        packed = bytearray(16_384)
        for index in revoked:
            packed[index // 8] |= 0x80 >> index % 8
        return issue_bitstring(
            StatusList(bytes(packed)),
            uri=LIST_URL,
            purpose="revocation",
            issuer=self.did,
            signer=self.signer,
            verification_method=self.method,
            now_ms=int(at_s * 1000),
        )


def checked(net: Net) -> None:
    """Close it: audit re-judges everything, and public files alone prove the dataset."""
    net.close()
    report = audit(net.root)
    assert report.ok, report.to_json()
    assert verify_dataset(net.root / "public", keys=None, network=net.did).complete


class Plant(Net):
    """A network that trusts a manufacturer (or whom ``trusted`` names)."""

    def __init__(
        self,
        path: Path,
        *,
        trusted: list[str] | None = None,
        self_service: bool = True,
        more: str = "",
        start_ms: int = 0,
    ) -> None:
        self.maker = Maker()
        listed = [self.maker.did] if trusted is None else trusted
        self.text = (
            f"{POLICY}\n{{more}}\n[identity]\nmanufacturers = {json.dumps(listed)}\n"
            f"self_service = {str(self_service).lower()}\n"
        )
        super().__init__(path, policy=self.text.replace("{more}", more), start_ms=start_ms)

    def __enter__(self) -> Plant:
        return self

    # --- what devices do ------------------------------------------------------------------------

    def ask(self, device: TestDevice) -> list[Downlink]:
        """Ask for a challenge by the uplink."""
        return self.say(device, write_statement(CHALLENGE, device.key.thumbprint))

    def say(self, device: TestDevice, *statements: bytes) -> list[Downlink]:
        return self.ingest(*[self.message(device, item) for item in statements])[1]

    def challenge(self, device: TestDevice) -> bytes:
        """The nonce of a challenge, verified as the device does."""
        answer = perform(self.aggregator, {"op": "challenge", "did": device.did})
        data = bytes.fromhex(answer["challenge"])
        return read_challenge(data, card=self.card, recipient=device.key.thumbprint).nonce

    def proof(self, device: TestDevice, certificate: bytes, **how: Any) -> bytes:
        nonce = how.pop("nonce", None) or self.challenge(device)
        how = {"network": self.did, "enrolment": device.enrolment, **how}
        enrolment = how.pop("enrolment")
        return prove(device.signer, enrolment, nonce=nonce, certificate=certificate, **how)

    def request(self, proof: bytes, certificate: bytes) -> Any:
        """The operator's enrolment with what a device showed."""
        request = {"op": "enrol", "proof": proof.hex(), "certificate": certificate.hex()}
        return perform(self.aggregator, request)

    def admit(self, device: TestDevice, certificate: bytes, **how: Any) -> Any:
        return self.request(self.proof(device, certificate, **how), certificate)

    def apply(self, device: TestDevice, certificate: bytes, **how: Any) -> str:
        """Self service: the code that the device is told by its downlink."""
        statement = enrol_statement(self.proof(device, certificate, **how), certificate)
        return self.result(device, self.say(device, statement), statement)

    def result(self, device: TestDevice, downlinks: list[Downlink], statement: bytes) -> str:
        found = [
            item.code
            for ack in self.results(device, downlinks)
            for item in ack.items
            if item.id == hashlib.sha256(statement).digest()
        ]
        assert len(found) == 1
        return found[0]

    def results(self, device: TestDevice, downlinks: list[Downlink]) -> list[Ack]:
        assert all(downlink.kid == device.key.kid for downlink in downlinks)
        return [
            read_ack(downlink.data, card=self.card, recipient=device.key.thumbprint)
            for downlink in downlinks
        ]

    # --- what the operator does -----------------------------------------------------------------

    def history(self, did: str, *spans: tuple[str, PublicKey, int, int | None]) -> None:
        """Give the journal a verified history: (method, key, since, until) each."""
        taken = tuple(
            KeySpan(key.cose_key, since, until, f"{n}-Qm", method)
            for n, (method, key, since, until) in enumerate(spans, 1)
        )
        log = hashlib.sha256(repr(taken).encode()).digest()
        entry = HistoryTaken(did, "Qmscid", len(taken), f"{len(taken)}-Qm", log, taken, False)
        self.aggregator.administer([entry])

    def batch(self, data: bytes) -> Any:
        return perform(self.aggregator, {"op": "batch", "data": data.decode()})

    def status(self, data: bytes, url: str = LIST_URL) -> Any:
        return perform(self.aggregator, {"op": "status-list", "data": data.hex(), "url": url})


def refused(code: str, work: Callable[[], object]) -> None:
    with pytest.raises(DepinError) as caught:
        work()
    assert caught.value.code == code, caught.value


def holds_nothing(net: Plant, device: TestDevice) -> None:
    assert net.fold.registry.device(device.did) is None
    assert not net.fold.identity.births
    assert not net.fold.identity.nonces
