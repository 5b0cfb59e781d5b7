"""``cwt``: a COSE_Sign1 with Ed25519 over the same payload."""

from __future__ import annotations

from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cwt import COSE, COSEKey
from task import budget, measure, payload


def main() -> None:
    """Measure."""
    count, seconds = budget()
    private = Ed25519PrivateKey.generate()
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signing = COSEKey.from_pem(secret, kid="01234567", alg="EdDSA")
    verifying = COSEKey.from_pem(public, kid="01234567", alg="EdDSA")
    signer = COSE.new(alg_auto_inclusion=True, kid_auto_inclusion=True)
    messages = [signer.encode_and_sign(payload(index), signing) for index in range(count)]
    reader = COSE.new()

    def take(message: Any) -> object:
        return cbor2.loads(reader.decode(message, verifying))

    measure(messages, take, seconds)


if __name__ == "__main__":
    main()
