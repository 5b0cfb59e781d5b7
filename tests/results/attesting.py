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
MODEL = Model("chip", frozenset({"idevid"}), revocation="none")


@cache
def maker() -> Authority:
    """The manufacturer of the chips."""
    return Authority("maker", start=START)


@cache
def issuer() -> Authority:
    """What signs its chips' certificates."""
    return Authority("issuer", parent=maker(), start=START)


@cache
def chain_of(key: bytes, serial: int | None) -> list[bytes]:
    """The certificate of a chip with this key (SEC1 point), and its chain."""
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key)
    subject = x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, key.hex()[:16])])
    return issuer().issue(subject, point, days=DAYS, serial=serial)


def material(net: Net, what: str, name: str, data: bytes, **more: Any) -> dict[str, Any]:
    """Take a material."""
    request = {"op": "material-add", "what": what, "name": name, "data": data.hex()}
    return perform(net.aggregator, request | more)


def trust(net: Net, model: Model = MODEL) -> None:
    """Take anchor and model of the manufacturer."""
    anchor = maker().anchor("idevid", assurance="secure-element")
    material(net, "anchors", "maker", bundle_anchors([anchor]))
    material(net, "references", "chip", bundle_references(References((ModelEntry(model),), ())))


def evidence(
    net: Net,
    device: TestDevice,
    boot: int = 1,
    *,
    nonce: bytes | None = None,
    chain: list[bytes] | None = None,
    serial: int | None = None,
) -> bytes:
    """What a device with a chip sends to attest for a boot, over a fresh challenge."""
    thumbprint = device.key.thumbprint
    answer = perform(net.aggregator, {"op": "challenge", "thumbprint": thumbprint.hex()})
    data = bytes.fromhex(answer["challenge"])
    asked = read_challenge(data, card=net.card, recipient=thumbprint)
    binding = Binding(net.did, nonce or asked.nonce, device.did, thumbprint, asked.expires, boot)
    held = chain or chain_of(device.key.raw, serial)
    found = make_evidence(held, binding.challenge, signer=device.signer)
    return sign_message(binding, MEDIA_TYPE, found, signer=device.signer)


def show(net: Net, message: bytes) -> dict[str, Any]:
    """Let the aggregator take it; gives the answer."""
    return perform(net.aggregator, {"op": "attest", "message": message.hex()})


def attest(net: Net, device: TestDevice, boot: int = 1, **how: Any) -> dict[str, Any]:
    """Attest for a boot; gives the answer."""
    return show(net, evidence(net, device, boot, **how))


def revoke_hardware(net: Net, *identifiers: str, **more: Any) -> dict[str, Any]:
    """Take a list that revokes these."""
    covers = frozenset({"idevid"})
    snapshot = RevocationSnapshot(covers, dict.fromkeys(identifiers, "stolen"), net.now_ms)
    return material(net, "revocations", "list", bundle_revocations([snapshot]), **more)


class AttestingNet(Net):
    """A network that trusts one manufacturer."""

    def __init__(self, path: Path, *, policy: str = POLICY, anchored: bool = True) -> None:
        super().__init__(path, policy=policy)
        if anchored:
            trust(self)

    def __enter__(self) -> AttestingNet:
        return self

    def chip(self, name: str = "chip", **about: Any) -> TestDevice:
        """An enrolled device whose key is in a chip of the manufacturer's."""
        return self.device(name, curve="p256", **about)

    def attest(self, device: TestDevice, boot: int = 1, **how: Any) -> dict[str, Any]:
        """As :func:`attest`."""
        return attest(self, device, boot, **how)
