"""Keys of the people in these tests; EVM and Solana wallets that sign as wallets do."""

from __future__ import annotations

import hashlib

import coincurve

from depin_id import base58
from depin_id.evm import checksum_address, personal_hash, public_key_address
from depin_id.keys import Curve, SoftwareSigner
from depin_id.owners import ClaimCode, Party, WalletBinding, WalletRequest

NETWORK = Party.of_key(SoftwareSigner("ed25519", hashlib.sha256(b"net").digest())).did
NONCE = bytes(range(16, 32))
NOW = 1_795_000_000_123
CODE = ClaimCode(bytes(range(16)))


def signer(name: str, curve: Curve = "ed25519") -> SoftwareSigner:
    """A key of its own for each name."""
    return SoftwareSigner(curve, hashlib.sha256(name.encode()).digest())


def party(name: str, curve: Curve = "ed25519") -> Party:
    """Somebody known by his did:key."""
    return Party.of_key(signer(name, curve))


class Evm:
    """A wallet of an EVM chain."""

    def __init__(self, name: str, chain: int = 1) -> None:
        self.key = coincurve.PrivateKey(hashlib.sha256(name.encode()).digest())
        address = public_key_address(self.key.public_key.format(compressed=True))
        self.account = f"eip155:{chain}:{checksum_address(address)}"

    def sign(self, message: str) -> bytes:
        """``personal_sign``."""
        made = self.key.sign_recoverable(personal_hash(message.encode()), hasher=None)
        return made[:64] + bytes((made[64] + 27,))


class Solana:
    """A wallet of Solana."""

    def __init__(self, name: str) -> None:
        self.key = signer(name)
        address = base58.encode(self.key.public_key.raw)
        self.account = f"solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:{address}"

    def sign(self, message: str) -> bytes:
        """``signMessage``."""
        return self.key.sign(message.encode())


WALLETS: dict[str, Evm | Solana] = {"eip155": Evm("a wallet"), "solana": Solana("a wallet")}


def bind(
    wallet: Evm | Solana,
    owner: str,
    *,
    network: str = NETWORK,
    nonce: bytes = NONCE,
    now: int = NOW,
) -> WalletBinding:
    """A wallet bound to an owner."""
    request = WalletRequest(wallet.account, owner, network, nonce, now)
    return WalletBinding.of(request, wallet.sign(request.message))
