"""A payout wallet named by the owner himself, after the claim or instead of another wallet.

The wallet's own signature says that it is held (:mod:`depin_id.owners.wallets`); this statement
(COSE_Sign1, kind ``payout``) says that the owner wants it: without it anybody could have himself be
paid for somebody else's devices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from depin_id import cbor
from depin_id.keys import PublicKey
from depin_id.owners import twofold
from depin_id.owners.party import KeyOf, Party, did_of, key_in_did
from depin_id.owners.twofold import malformed
from depin_id.owners.wallets import Wallet, WalletBinding, verify_wallet

KIND: Final = "payout"
_MAX_BINDING: Final = 1024


@dataclass(frozen=True)
class Payout:
    """A statement whose owner's signature verifies.

    Attributes:
        network: DID of the network it is for. owner: DID of who made it.
        method: DID URL of his key. owner_key: that key.
        wallet: what the wallet signed, not verified yet: :meth:`verified_wallet` does it.
        id: identity of the statement, 32 bytes.
    """

    network: str
    owner: str
    method: str
    owner_key: PublicKey
    wallet: WalletBinding
    id: bytes

    @property
    def nonce(self) -> bytes:
        """Of the network's challenge that wallet and owner answered."""
        return self.wallet.request.nonce

    def verified_wallet(self) -> Wallet:
        """The wallet; raises as :func:`~depin_id.owners.wallets.verify_wallet`."""
        return verify_wallet(self.wallet, owner=self.owner, network=self.network, nonce=None)


def make_payout(binding: WalletBinding, *, owner: Party, network: str) -> bytes:
    """Name a payout wallet; gives the statement, a COSE_Sign1.

    Args:
        binding: signed by the wallet for this owner and network, over its challenge for the key
            of ``owner``.

    Raises:
        CredentialError: ``statement.malformed``, ``party.key_differs``. DIDError.
    """
    if (binding.request.owner, binding.request.network) != (owner.did, network):
        malformed("the wallet signed for another owner or network")
    inner = cbor.encode(binding.to_list())
    return twofold.seal_outer(inner, kind=KIND, network=network, party=owner)


def read_payout(data: bytes, *, network: str, key_of: KeyOf = key_in_did) -> Payout:
    """Read a statement and verify the owner's signature.

    Args:
        network, key_of: as for :func:`~depin_id.owners.claim.read_claim`.

    Raises:
        CredentialError: ``statement.malformed``, ``wallet.*``. EnvelopeError, EncodingError,
        DIDError, KeyRefused, SignatureInvalid.
    """
    key, identity, parts = twofold.open_outer(data, 2, kind=KIND, network=network, key_of=key_of)
    method, inner = parts
    if type(inner) is not bytes:
        malformed("the wallet's part is not bytes")
    owner = did_of(method)
    value = cbor.decode(inner, max_bytes=_MAX_BINDING, max_depth=2)
    binding = WalletBinding.from_list(value, owner=owner, network=network)
    return Payout(network, owner, method, key, binding, identity)
