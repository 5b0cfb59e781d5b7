"""What the protocol's vectors are made of: example keys, networks, and signatures that stay."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from depin_id.did.key import did_key
from depin_id.errors import DepinError
from depin_id.keys import Curve, PublicKey, Signer, SoftwareSigner

LABEL = "depin-id protocol-1 example key: "
NAMES: dict[str, Curve] = {
    "root": "ed25519",
    "root-other": "ed25519",
    "root-p256": "p256",
    "ack": "ed25519",
    "ack-p256": "p256",
    "log": "ed25519",
    "device": "ed25519",
    "device-p256": "p256",
    "gateway": "ed25519",
    "stranger": "ed25519",
    "witness": "ed25519",
    "witness-other": "ed25519",
}
NOON = 1_795_262_400
"""2026-11-21T12:00:00Z."""


class KeptSigner:
    """An ECDSA signer that gives the signature it gave before, as long as that one verifies.

    ECDSA has many signatures for one message: without this a file of vectors would change with
    every writing.
    """

    def __init__(self, signer: SoftwareSigner, kept: Mapping[bytes, bytes]) -> None:
        self._signer, self._kept = signer, kept

    @property
    def public_key(self) -> PublicKey:
        return self._signer.public_key

    def sign(self, message: bytes) -> bytes:
        old = self._kept.get(hashlib.sha256(message).digest())
        if old is not None:
            try:
                self.public_key.verify(message, old)
                return old
            except DepinError:
                pass
        return self._signer.sign(message)


class Material:
    """Keys by name, each from the SHA-256 of its label, and the two networks of the examples.

    Args:
        kept: SHA-256 of a signed message to the ECDSA signature in the file as it is.
    """

    def __init__(self, kept: Mapping[bytes, bytes]) -> None:
        self.signers: dict[str, Signer] = {}
        self.secrets: dict[str, bytes] = {}
        for name, curve in NAMES.items():
            secret = hashlib.sha256((LABEL + name).encode()).digest()
            signer = SoftwareSigner(curve, secret)
            self.secrets[name] = secret
            self.signers[name] = KeptSigner(signer, kept) if curve == "p256" else signer
        self.network = did_key(self.key("root"))
        self.other_network = did_key(self.key("root-other"))

    def key(self, name: str) -> PublicKey:
        return self.signers[name].public_key

    def describe(self) -> list[dict[str, Any]]:
        """The section ``keys`` of the file."""
        return [
            {
                "name": name,
                "curve": NAMES[name],
                "label": LABEL + name,
                "secret": self.secrets[name].hex(),
                "public": self.key(name).raw.hex(),
                "cose_key": self.key(name).cose_key.hex(),
                "thumbprint": self.key(name).thumbprint.hex(),
                "kid": self.key(name).kid.hex(),
                "did": did_key(self.key(name)),
            }
            for name in NAMES
        ]


def kept_signatures(file: Mapping[str, Any]) -> dict[bytes, bytes]:
    """The ECDSA signatures of a file of vectors, by the SHA-256 of what they sign."""
    found: dict[bytes, bytes] = {}

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "id" in value and "signature" in value:
                found[bytes.fromhex(value["id"])] = bytes.fromhex(value["signature"])
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(file)
    return found
