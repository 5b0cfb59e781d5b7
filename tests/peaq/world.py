"""What the tests of peaq share: the vectors, their keys, and errors by code."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from coincurve import PrivateKey

from depin_id import evm
from depin_id.errors import DepinError
from tests.paths import vectors

WALLET = PrivateKey(bytes([0x33]) * 32)
OTHER = PrivateKey(bytes([0x77]) * 32)
WALLET_ADDRESS = evm.public_key_address(WALLET.public_key.format())
WALLET_DID = f"did:peaq:{evm.checksum_address(WALLET_ADDRESS)}"


def load(name: str) -> Any:
    """A file of the peaq vectors."""
    return json.loads(vectors(f"peaq/{name}.json").read_text())


def code(call: Callable[..., Any], *arguments: Any, **named: Any) -> str:
    """The code of the error that a call raises."""
    with pytest.raises(DepinError) as caught:
        call(*arguments, **named)
    return caught.value.code


def personal_sign(message: bytes, key: PrivateKey = WALLET) -> bytes:
    """r || s || v as a wallet gives it."""
    signature = key.sign_recoverable(evm.personal_hash(message), hasher=None)
    return signature[:64] + bytes((signature[64] + 27,))


def high_s(signature: bytes) -> bytes:
    """The other form of the same signature."""
    s = evm.ORDER - int.from_bytes(signature[32:64], "big")
    v = {27: 28, 28: 27}[signature[64]]
    return signature[:32] + s.to_bytes(32, "big") + bytes((v,))
