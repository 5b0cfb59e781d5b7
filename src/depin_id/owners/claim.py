"""Claims: somebody with the claim code of a device says that it is his (docs/identity/owners.md).

The inner object (kind ``claim-code``) is signed by the key of the claim code and names the owner,
the outer one (kind ``claim``) by the owner's key. What is checked here is that both signed; whether
the code is that of the device, and nobody else was first, the reader decides with
:meth:`Claim.opens` and his own log.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any, Final

from depin_id.did.syntax import parse_did
from depin_id.keys import PublicKey, admit
from depin_id.owners import twofold
from depin_id.owners.codes import ClaimCode, claim_digest
from depin_id.owners.party import KeyOf, Party, did_of, key_in_did
from depin_id.owners.twofold import malformed
from depin_id.owners.wallets import Wallet, WalletBinding, verify_wallet

KIND: Final = "claim"
KIND_CODE: Final = "claim-code"
_DEVICE, _KEY, _OWNER, _NONCE, _TIME, _WALLET = 1, 2, 3, 4, 5, 6
_LABELS: Final = {_DEVICE, _KEY, _OWNER, _NONCE, _TIME, _WALLET}


@dataclass(frozen=True)
class Claim:
    """A claim whose two signatures verify.

    Attributes:
        network: DID of the network it is for.
        device: DID of the device.
        claim_key: the key of the claim code that signed.
        owner: DID of who claims it.
        method: DID URL of the owner's key. owner_key: that key.
        nonce: of the network's challenge, 8 to 32 bytes.
        time: when it was made, by the claimant's clock, milliseconds since 1970.
        wallet: the payout wallet to bind, not verified yet: :meth:`verified_wallet` does it.
        id: identity of the statement, 32 bytes.
    """

    network: str
    device: str
    claim_key: PublicKey
    owner: str
    method: str
    owner_key: PublicKey
    nonce: bytes
    time: int
    wallet: WalletBinding | None
    id: bytes

    def opens(self, digest: bytes) -> bool:
        """Whether the code is that of the device with this ``claimDigest``, in constant time."""
        return hmac.compare_digest(claim_digest(self.device, self.claim_key), digest)

    def verified_wallet(self) -> Wallet | None:
        """The payout wallet that the claim binds, verified; None when it binds none.

        Raises: as :func:`~depin_id.owners.wallets.verify_wallet`, for this owner, network and
        nonce.
        """
        if self.wallet is None:
            return None
        return verify_wallet(self.wallet, owner=self.owner, network=self.network, nonce=self.nonce)


def make_claim(
    code: ClaimCode,
    *,
    device: str,
    owner: Party,
    network: str,
    nonce: bytes,
    now: int,
    wallet: WalletBinding | None = None,
) -> bytes:
    """Claim a device.

    Args:
        code: from its label.
        device: its DID.
        owner: who claims it, with the key that signs.
        network: DID of the network that it is claimed at.
        nonce: of that network's challenge, 8 to 32 bytes.
        now: milliseconds since 1970.
        wallet: payout wallet, signed for this owner, network and nonce.

    Returns:
        The statement, a COSE_Sign1.

    Raises:
        CredentialError: ``statement.malformed``, ``party.key_differs``. DIDError.
    """
    _did(device, "the device")
    _did(network, "the network")
    request = None if wallet is None else wallet.request
    if request is not None:
        if (request.owner, request.network, request.nonce) != (owner.did, network, nonce):
            malformed("the wallet signed for another owner, network or challenge")
    inner = twofold.seal_inner(
        {
            _DEVICE: device,
            _KEY: code.signer.public_key.raw,
            _OWNER: owner.did,
            _NONCE: twofold.blob(nonce, "the nonce", 8, 32),
            _TIME: twofold.uint(now, "the time"),
            _WALLET: None if wallet is None else wallet.to_list(),
        },
        kind=KIND_CODE,
        network=network,
        signer=code.signer,
    )
    return twofold.seal_outer(inner, kind=KIND, network=network, party=owner)


def read_claim(data: bytes, *, network: str, key_of: KeyOf = key_in_did) -> Claim:
    """Read a claim and verify both signatures.

    The caller compares :attr:`Claim.nonce` with his challenge and asks :meth:`Claim.opens`.

    Args:
        data: as it arrived.
        network: DID of the network it has to be for.
        key_of: the admitted key of a verification method that may sign for its DID at this moment;
            by default did:key and did:jwk, which hold their key.

    Raises:
        CredentialError: ``statement.malformed``. EnvelopeError, EncodingError, DIDError,
        KeyRefused; SignatureInvalid for either signature.
    """
    owner_key, identity, parts = twofold.open_outer(
        data, 2, kind=KIND, network=network, key_of=key_of
    )
    fields = twofold.open_inner(parts[1], kind=KIND_CODE, network=network, key_of=_claim_key)
    if not _LABELS - {_WALLET} <= set(fields) <= _LABELS:
        malformed("the fields are not those of a claim")
    owner = _did(fields[_OWNER], "the owner")
    if owner != did_of(parts[0]):
        malformed("another owner signed than the code signed for")
    wallet = fields.get(_WALLET)
    return Claim(
        network=network,
        device=_did(fields[_DEVICE], "the device"),
        claim_key=_claim_key(fields),
        owner=owner,
        method=parts[0],
        owner_key=owner_key,
        nonce=twofold.blob(fields[_NONCE], "the nonce", 8, 32),
        time=twofold.uint(fields[_TIME], "the time"),
        wallet=None
        if wallet is None
        else WalletBinding.from_list(wallet, owner=owner, network=network),
        id=identity,
    )


def _claim_key(fields: dict[Any, Any]) -> PublicKey:
    return admit("ed25519", twofold.blob(fields.get(_KEY), "the claim key", 32, 32))


def _did(value: Any, what: str) -> str:
    if type(value) is not str:
        malformed(f"{what} is not a DID")
    return str(parse_did(value))
