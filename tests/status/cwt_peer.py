"""What PyPI ``cwt`` makes of status list tokens: run by its own interpreter, never imported.

Reads one JSON object from standard input: ``tokens`` to verify, each with its key as PEM, key id
and algorithm, and ``make``: tokens to sign. Writes what it found as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import cbor2
from cwt import COSE, COSEKey


def key_of(asked: dict[str, Any]) -> Any:
    """The key of a request."""
    return COSEKey.from_pem(asked["pem"], kid=bytes.fromhex(asked["kid"]), alg=asked["alg"])


def verified(asked: dict[str, Any]) -> dict[str, Any]:
    """The claims of a token, or why it was refused."""
    try:
        protected, _, payload = COSE.new().decode_with_headers(
            bytes.fromhex(asked["token"]), key_of(asked)
        )
    except Exception as error:
        return {"error": type(error).__name__}
    claims = cbor2.loads(payload)
    body = claims[65533]
    return {
        "type": protected[16],
        "sub": claims[2],
        "iat": claims[6],
        "exp": claims[4],
        "ttl": claims[65534],
        "bits": body["bits"],
        "lst": body["lst"].hex(),
    }


def made(asked: dict[str, Any]) -> str:
    """A token with these claims, in the order given."""
    claims = {
        2: asked["sub"],
        6: asked["iat"],
        4: asked["exp"],
        65534: asked["ttl"],
        65533: {"bits": asked["bits"], "lst": bytes.fromhex(asked["lst"])},
    }
    key = key_of(asked)
    protected = {1: key.alg, 16: "application/statuslist+cwt"}
    signed = COSE.new().encode_and_sign(
        cbor2.dumps(claims), key, protected=protected, unprotected={4: key.kid}
    )
    return bytes(signed).hex()


if __name__ == "__main__":
    given = json.load(sys.stdin)
    print(
        json.dumps(
            {
                "verified": [verified(one) for one in given["tokens"]],
                "made": [made(one) for one in given["make"]],
            }
        )
    )
