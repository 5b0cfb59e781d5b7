"""``PyJWT``: a token with EdDSA whose claims are the same reading."""

from __future__ import annotations

from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from task import READING, budget, measure


def main() -> None:
    """Measure."""
    count, seconds = budget()
    private = Ed25519PrivateKey.generate()
    public = private.public_key()
    messages = [
        jwt.encode({"senml": [READING], "seq": index}, private, algorithm="EdDSA")
        for index in range(count)
    ]

    def take(message: Any) -> object:
        return jwt.decode(message, public, algorithms=["EdDSA"])

    measure(messages, take, seconds)


if __name__ == "__main__":
    main()
