"""A network whose devices attest: chips with certificates of a manufacturer of our own."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from depin_id.ack import read_challenge
from depin_id.attestation import Binding, sign_message
from depin_id.attestation.idevid_evidence import MEDIA_TYPE, make_evidence
from depin_id.testing import TestDevice
from tests.attestation.ca import Authority
from tests.verify.net import POLICY, Net
from verify.admin import perform
from verify.attestation.bundles import bundle_anchors, bundle_references, bundle_revocations
from verify.attestation.materials import Model, RevocationSnapshot
from verify.attestation.reference_files import ModelEntry, References

REQUIRED = POLICY + '[attestation.required]\nnoise = "D2"\n'
DAYS = 20_000
START = datetime(2024, 1, 1, tzinfo=UTC)


@cache
def maker() -> Authority:
    """The manufacturer of the chips."""
    return Authority("maker", start=START)


@cache
def issuer() -> Authority:
    """What signs its chips' certificates."""
    return Authority("issuer", parent=maker(), start=START)


def point(device: TestDevice) -> ec.EllipticCurvePublicKey:
    """A device's key of P-256."""
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), device.key.raw)


class AttestingNet(Net):
    """A network that trusts one manufacturer."""

    def __init__(self, path: Path, *, policy: str = POLICY, anchored: bool = True) -> None:
        super().__init__(path, policy=policy)
        self.chains: dict[str, list[bytes]] = {}
        if anchored:
            self.trust()

    def trust(self) -> None:
        """Take anchor and model of the manufacturer."""
        anchor = maker().anchor("idevid", assurance="secure-element")
        self.material("anchors", "maker", bundle_anchors([anchor]))
        model = Model("chip", frozenset({"idevid"}), revocation="none", max_age_s=86_400)
        self.material("references", "chip", bundle_references(References((ModelEntry(model),), ())))

    def material(self, what: str, name: str, data: bytes, **more: Any) -> dict[str, Any]:
        request = {"op": "material-add", "what": what, "name": name, "data": data.hex()}
        return perform(self.aggregator, request | more)

    def chip(self, name: str = "chip", serial: int | None = None, **about: Any) -> TestDevice:
        """An enrolled device whose key is in a chip of the manufacturer's."""
        device = self.device(name, curve="p256", **about)
        subject = x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, f"SN-{name}")])
        self.chains[device.did] = issuer().issue(subject, point(device), days=DAYS, serial=serial)
        return device

    def evidence(self, device: TestDevice, boot: int = 1, *, nonce: bytes | None = None) -> bytes:
        """What a device sends to attest for a boot, over a fresh challenge."""
        answer = perform(
            self.aggregator, {"op": "challenge", "thumbprint": device.key.thumbprint.hex()}
        )
        challenge = read_challenge(
            bytes.fromhex(answer["challenge"]), card=self.card, recipient=device.key.thumbprint
        )
        binding = Binding(
            self.did,
            nonce or challenge.nonce,
            device.did,
            device.key.thumbprint,
            challenge.expires,
            boot,
        )
        found = make_evidence(self.chains[device.did], binding.challenge, signer=device.signer)
        return sign_message(binding, MEDIA_TYPE, found, signer=device.signer)

    def attest(self, device: TestDevice, boot: int = 1) -> dict[str, Any]:
        """Attest for a boot; gives the answer."""
        return self.show(self.evidence(device, boot))

    def show(self, message: bytes) -> dict[str, Any]:
        return perform(self.aggregator, {"op": "attest", "message": message.hex()})

    def revoke_hardware(self, *identifiers: str, **more: Any) -> dict[str, Any]:
        """Take a list that revokes these."""
        snapshot = RevocationSnapshot(
            frozenset({"idevid"}), dict.fromkeys(identifiers, "stolen"), self.now_ms
        )
        data = bundle_revocations([snapshot])
        return self.material("revocations", "list", data, **more)
