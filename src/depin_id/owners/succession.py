"""Succession: the key of a device was replaced, with its board or without.

The inner object (kind ``succession-key``) is signed by the new key: proof that it is held. The
outer one (kind ``succession``) is signed by who vouches for it: the old key, the owner or the
manufacturer. Whether that owner owns the device, or that manufacturer made it, the reader decides.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from depin_id.did.syntax import parse_did
from depin_id.envelope import MAX_POSITION
from depin_id.errors import CredentialError
from depin_id.keys import PublicKey, Signer
from depin_id.owners import twofold
from depin_id.owners.party import KeyOf, Party, did_of, key_in_did
from depin_id.owners.twofold import malformed

KIND: Final = "succession"
KIND_KEY: Final = "succession-key"
Role = Literal["old", "owner", "manufacturer"]
Reason = Literal["rotation", "board", "lost", "compromised"]
_DEVICE, _OLD, _NEW, _REASON, _TIME, _NONCE, _LAST = 1, 2, 3, 4, 5, 6, 7
_LABELS: Final = {_DEVICE, _OLD, _NEW, _REASON, _TIME, _NONCE, _LAST}


@dataclass(frozen=True)
class Offer:
    """What a new key says of itself; see :class:`Succession` for the fields."""

    device: str
    old: bytes
    new_key: PublicKey
    reason: Reason
    time: int
    nonce: bytes
    last: tuple[int, int] | None


@dataclass(frozen=True)
class Succession:
    """A succession whose two signatures verify.

    Attributes:
        device: DID by which the network knows the device.
        old: thumbprint of the key that ends, 32 bytes.
        new_key: the key that follows; it signed too.
        reason: ``rotation`` (planned), ``board`` (hardware replaced), ``lost``, ``compromised``.
        time: when it was made, by the clock of the one who made it, milliseconds since 1970.
        nonce: of the network's challenge, 8 to 32 bytes.
        last: the last position (epoch, n) of the old key, where it is known.
        role: as what the voucher vouches.
        voucher: his DID. method: DID URL of his key. voucher_key: that key.
        id: identity of the statement, 32 bytes.
    """

    device: str
    old: bytes
    new_key: PublicKey
    reason: Reason
    time: int
    nonce: bytes
    last: tuple[int, int] | None
    role: Role
    voucher: str
    method: str
    voucher_key: PublicKey
    id: bytes


def offer_succession(
    signer: Signer,
    *,
    device: str,
    old: bytes,
    reason: Reason,
    network: str,
    nonce: bytes,
    now: int,
    last: tuple[int, int] | None = None,
) -> bytes:
    """The new key's part: proof that it is held, to be vouched for elsewhere.

    Args:
        signer: the new key.
        device: DID by which the network knows the device.
        old: thumbprint of the key that ends, 32 bytes.
        nonce: of the network's challenge, 8 to 32 bytes.
        now: milliseconds since 1970.
        last: the last position (epoch, n) of the old key.

    Raises:
        CredentialError: ``statement.malformed``. DIDError.
    """
    fields = {
        _DEVICE: device,
        _OLD: old,
        _NEW: signer.public_key.cose_key,
        _REASON: reason,
        _TIME: now,
        _NONCE: nonce,
        _LAST: None if last is None else list(last),
    }
    _offer({label: item for label, item in fields.items() if item is not None})
    parse_did(network)
    return twofold.seal_inner(fields, kind=KIND_KEY, network=network, signer=signer)


def read_offer(data: bytes, *, network: str) -> Offer:
    """Read what :func:`offer_succession` gave and verify the new key's signature.

    Raises:
        CredentialError: ``statement.malformed``. EnvelopeError, EncodingError, DIDError,
        KeyRefused, SignatureInvalid.
    """
    return _offer(twofold.open_inner(data, kind=KIND_KEY, network=network, key_of=_new_key))


def vouch(offer: bytes, *, role: Role, voucher: Party, network: str) -> bytes:
    """Vouch for a new key; gives the statement, a COSE_Sign1.

    Args:
        offer: as the new key signed it.
        role: ``old`` when the voucher is the key that ends.

    Raises:
        CredentialError: ``succession.voucher``; as :func:`read_offer`.
    """
    found = read_offer(offer, network=network)
    _check_voucher(found, role, voucher.method, voucher.signer.public_key)
    return twofold.seal_outer(offer, role, kind=KIND, network=network, party=voucher)


def make_succession(
    signer: Signer,
    *,
    role: Role,
    voucher: Party,
    device: str,
    old: bytes,
    reason: Reason,
    network: str,
    nonce: bytes,
    now: int,
    last: tuple[int, int] | None = None,
) -> bytes:
    """Both parts at once, where new key and voucher are in one place.

    Args and Raises: as :func:`offer_succession` and :func:`vouch`.
    """
    offer = offer_succession(
        signer,
        device=device,
        old=old,
        reason=reason,
        network=network,
        nonce=nonce,
        now=now,
        last=last,
    )
    return vouch(offer, role=role, voucher=voucher, network=network)


def read_succession(data: bytes, *, network: str, key_of: KeyOf = key_in_did) -> Succession:
    """Read a succession and verify both signatures.

    The caller compares the nonce with his challenge, the old thumbprint with the device's key, and
    looks whether the voucher is the device's owner or manufacturer. A key that ends because it is
    ``compromised`` or ``lost`` cannot vouch for its successor.

    Args:
        data: as it arrived.
        network: DID of the network it has to be for.
        key_of: as for :func:`~depin_id.owners.claim.read_claim`.

    Raises:
        CredentialError: ``statement.malformed``, ``succession.voucher``. EnvelopeError,
        EncodingError, DIDError, KeyRefused, SignatureInvalid.
    """
    key, identity, parts = twofold.open_outer(data, 3, kind=KIND, network=network, key_of=key_of)
    method, role, inner = parts
    found = read_offer(inner, network=network)
    _check_voucher(found, role, method, key)
    return Succession(
        **vars(found),
        role=role,
        voucher=did_of(method),
        method=method,
        voucher_key=key,
        id=identity,
    )


def _check_voucher(offer: Offer, role: Any, method: str, key: PublicKey) -> None:
    if role not in get_args(Role):
        malformed(f"nobody vouches as {str(role)[:20]!r}")
    is_old = hmac.compare_digest(key.thumbprint, offer.old)
    what = ""
    if key == offer.new_key:
        what = "a key cannot vouch for itself"
    elif is_old != (role == "old"):
        what = "the old key vouches as old, and nobody else does"
    elif is_old and offer.reason in ("lost", "compromised"):
        what = f"a key that is {offer.reason} cannot vouch for the next one"
    elif is_old and key_in_did(method) != key:
        what = "the old key vouches under its own did:key"
    if what:
        raise CredentialError(
            "succession.voucher", what, hint="let the owner or the manufacturer vouch"
        )


def _new_key(fields: dict[Any, Any]) -> PublicKey:
    return PublicKey.from_cose_key(twofold.blob(fields.get(_NEW), "the new key", 1, 256))


def _offer(fields: dict[Any, Any]) -> Offer:
    if not _LABELS - {_LAST} <= set(fields) <= _LABELS:
        malformed("the fields are not those of a succession")
    if type(fields[_DEVICE]) is not str:
        malformed("the device is not a DID")
    reason, last = fields[_REASON], fields.get(_LAST)
    if reason not in get_args(Reason):
        malformed(f"{str(reason)[:20]!r} is no reason for a succession")
    if last is not None:
        if not isinstance(last, list) or len(last) != 2:
            malformed("the last position is not epoch and n")
        epoch, n = (twofold.uint(item, "a position", MAX_POSITION) for item in last)
        last = (epoch, n)
    found = Offer(
        device=str(parse_did(fields[_DEVICE])),
        old=twofold.blob(fields[_OLD], "the old thumbprint", 32, 32),
        new_key=_new_key(fields),
        reason=reason,
        time=twofold.uint(fields[_TIME], "the time"),
        nonce=twofold.blob(fields[_NONCE], "the nonce", 8, 32),
        last=last,
    )
    if found.new_key.thumbprint == found.old:
        malformed("the new key is the old one")
    return found
