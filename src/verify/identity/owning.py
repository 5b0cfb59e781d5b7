"""Whose a device is: claims, transfers, the operator's word; and which wallet an owner is paid to.

The first good claim of a device wins. After that only its owner passes it on, by a credential that
the key signs which counts for his DID when it is received.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from depin_id import cbor
from depin_id.credentials import Ownership as OwnershipCredential
from depin_id.credentials import verify as verify_credential
from depin_id.credentials.moments import parse_moment
from depin_id.credentials.verifying import Verified
from depin_id.credentials.wire import Signature, read
from depin_id.did.syntax import parse_did
from depin_id.errors import ConfigError, CredentialError
from depin_id.owners.claim import Claim, read_claim
from depin_id.owners.party import KeyOf, did_of
from depin_id.owners.payout import read_payout
from depin_id.owners.wallets import Wallet
from verify.identity.authority import owner_now
from verify.identity.challenges import check_nonce
from verify.identity.desk import StatementResult, attempt
from verify.identity.entries import OwnerSet, WalletBound
from verify.identity.issuers import key_at
from verify.identity.requests import hexed, text
from verify.identity.trust import StatusLists
from verify.registry import Device
from verify.verdict import ACCEPTED

if TYPE_CHECKING:
    from verify.aggregator import Aggregator

CLAIM: Final = "claim"
"""Statement: ``[claim]`` (:mod:`depin_id.owners.claim`)."""
WALLET: Final = "wallet"
"""Statement: ``[payout]`` (:mod:`depin_id.owners.payout`)."""
TRANSFER: Final = "transfer"
"""Statement: ``[ownership credential, ...]``, the earlier first."""
MAX_TRANSFERS: Final = 8
"""Transfers in one request."""
MAX_OWNERS: Final = 1024
"""Owners that one device may have had."""


def keys_of(aggregator: Aggregator, now: int) -> KeyOf:
    """Gives the keys of methods that count now, for statements."""
    identity = aggregator.fold.identity
    return lambda method: key_at(identity, method, did_of(method), now)


def living(aggregator: Aggregator, did: str) -> Device:
    """An enrolled device that is neither erased nor revoked.

    Raises ConfigError ``registry.unknown_device``, ``registry.erased``, ``registry.revoked``.
    """
    device = aggregator.fold.registry.known(did)
    if device.erased:
        raise ConfigError("registry.erased", f"{did[:100]} was erased")
    if device.revoked_at is not None:
        raise ConfigError("registry.revoked", f"{did[:100]} was revoked")
    return device


def _ref(aggregator: Aggregator, device: Device) -> bytes:
    return aggregator.fold.state.subjects.ref(device.subject)


def _owner_set(
    aggregator: Aggregator,
    device: Device,
    owner: str,
    *,
    how: str,
    nonce: bytes,
    shown: bytes,
    digest: bytes,
    now: int,
) -> OwnerSet:
    if len(aggregator.fold.identity.owners.get(device.did, ())) >= MAX_OWNERS:
        raise ConfigError("owner.many", f"{device.did[:100]} had {MAX_OWNERS} owners")
    private = cbor.encode_plain([device.did, owner, shown, digest])
    return OwnerSet(_ref(aggregator, device), now, how, nonce, private)


# --- claims ---------------------------------------------------------------------------------------


def claim(aggregator: Aggregator, data: bytes) -> dict[str, Any]:
    """Take a claim: whoever shows the claim code of a device first owns it.

    A payout wallet that the claim binds is bound in the same commit.

    Raises:
        CredentialError: ``owner.claimed`` (it has an owner), ``owner.no_code`` (its birth
            certificate names no claim code, or was not shown here), ``owner.code`` (the code is
            another device's); ``possession.*``, ``statement.*``, ``wallet.*``, ``issuer.*``.
        ConfigError: ``registry.*``. SignatureInvalid, EncodingError, EnvelopeError, KeyRefused,
            DIDError.
    """
    now = aggregator.now()
    network = aggregator.fold.card.network
    return _claim(aggregator, _read_claim(aggregator, data, now, network), data, now)


def _read_claim(aggregator: Aggregator, data: bytes, now: int, network: str) -> Claim:
    return read_claim(data, network=network, key_of=keys_of(aggregator, now))


def _claim(aggregator: Aggregator, found: Claim, data: bytes, now: int) -> dict[str, Any]:
    fold = aggregator.fold
    identity = fold.identity
    check_nonce(fold, found.nonce, found.owner_key.thumbprint, now)
    device = living(aggregator, found.device)
    birth = identity.births.get(device.did)
    if birth is None or not birth.claim:
        raise CredentialError(
            "owner.no_code",
            "no birth certificate of this device with a claim code was shown here",
            hint="enrol it with its certificate, or let the operator set the owner",
        )
    if not found.opens(birth.claim):
        raise CredentialError(
            "owner.code", "the claim code is not that of this device", hint="is it another's label?"
        )
    # After the code: whoever has none learns nothing about the owner.
    if identity.owned(device.did) is not None:
        raise CredentialError(
            "owner.claimed",
            "the device has an owner already",
            hint="its owner passes it on with an ownership credential",
        )
    wallet = found.verified_wallet()
    entries: list[OwnerSet | WalletBound] = [
        _owner_set(
            aggregator,
            device,
            found.owner,
            how="claim",
            nonce=found.nonce,
            shown=data,
            digest=b"",
            now=now,
        )
    ]
    if wallet is not None:
        entries.append(_bound(aggregator, wallet, b"", data))
    index = aggregator.administer(entries)
    return {
        "device": device.did,
        "owner": found.owner,
        "wallet": None if wallet is None else wallet.account,
        "index": index,
    }


def hear_claim(aggregator: Aggregator, parts: Sequence[bytes], now: int) -> StatementResult:
    """Answer ``["depin-statement/1", "claim", claim]``."""
    if len(parts) != 1:
        return StatementResult("statement.malformed")
    found = _read_claim(aggregator, parts[0], now, aggregator.fold.card.network)
    recipient = found.owner_key.thumbprint

    def work() -> StatementResult:
        answer = _claim(aggregator, found, parts[0], aggregator.now())
        return StatementResult(ACCEPTED, recipient, answer["index"])

    return attempt(aggregator, recipient, work)


# --- wallets --------------------------------------------------------------------------------------


def _bound(aggregator: Aggregator, wallet: Wallet, nonce: bytes, shown: bytes) -> WalletBound:
    ref = aggregator.fold.identity.owner_refs.get(wallet.owner) or os.urandom(16)
    private = cbor.encode_plain([wallet.owner, wallet.account, shown])
    return WalletBound(ref, nonce, private)


def bind_wallet(aggregator: Aggregator, data: bytes) -> dict[str, Any]:
    """Bind the payout wallet that an owner names and that signed itself; the newest counts.

    Raises:
        CredentialError: ``owner.none`` (who owns nothing here), ``wallet.*``, ``possession.*``,
            ``statement.*``, ``issuer.*``. Others as :func:`claim`.
    """
    fold, now = aggregator.fold, aggregator.now()
    found = read_payout(data, network=fold.card.network, key_of=keys_of(aggregator, now))
    check_nonce(fold, found.nonce, found.owner_key.thumbprint, now)
    if not owns_any(aggregator, found.owner):
        raise CredentialError(
            "owner.none", f"{found.owner[:120]} owns no device here", hint="claim one first"
        )
    wallet = found.verified_wallet()
    index = aggregator.administer([_bound(aggregator, wallet, found.nonce, data)])
    return {"owner": found.owner, "wallet": wallet.account, "index": index}


def owns_any(aggregator: Aggregator, owner: str) -> bool:
    """Whether somebody is the owner of a device now, by entries about owners."""
    owners = aggregator.fold.identity.owners.values()
    return any(found[-1].owner == owner for found in owners)


def hear_wallet(aggregator: Aggregator, parts: Sequence[bytes], now: int) -> StatementResult:
    """Answer ``["depin-statement/1", "wallet", payout]``."""
    if len(parts) != 1:
        return StatementResult("statement.malformed")
    network = aggregator.fold.card.network
    found = read_payout(parts[0], network=network, key_of=keys_of(aggregator, now))
    recipient = found.owner_key.thumbprint

    def work() -> StatementResult:
        return StatementResult(ACCEPTED, recipient, bind_wallet(aggregator, parts[0])["index"])

    return attempt(aggregator, recipient, work)


# --- transfers ------------------------------------------------------------------------------------


def transfer(aggregator: Aggregator, data: bytes) -> dict[str, Any]:
    """Pass a device on: an ownership credential signed by its present owner.

    Before anybody owned it, its manufacturer is who passes it on.

    Raises:
        CredentialError: ``ownership.issuer`` (not signed by the present owner),
            ``ownership.previous`` (it follows on another transfer than the last one here),
            ``ownership.time`` (from before its signer owned the device), ``ownership.replayed``;
            ``credential.*``, ``issuer.*``. ConfigError: ``registry.*``. SignatureInvalid,
            EncodingError, KeyRefused, DIDError.
    """
    fold, now = aggregator.fold, aggregator.now()
    identity = fold.identity
    claimed = read(data).credential
    if not isinstance(claimed, OwnershipCredential):
        raise CredentialError("credential.type", "this is no credential about an owner")
    device = living(aggregator, claimed.credential_subject.id)
    _check_issuer(aggregator, device, claimed, now)
    found = verify_credential(
        data,
        key_of=lambda method, issuer, _: key_at(identity, method, issuer, now),
        now_ms=now,
        expected_subject=device.did,
        expected_type=OwnershipCredential,
        status=StatusLists(identity, claimed.issuer, fold.policy.identity.status_max_age_s),
    )
    _check_order(aggregator, device, found, claimed)
    owner = claimed.credential_subject.owner
    entry = _owner_set(
        aggregator,
        device,
        owner,
        how="transfer",
        # No challenge is answered: the credential itself is good once.
        nonce=found.digest,
        shown=data,
        digest=found.digest,
        now=now,
    )
    return {"device": device.did, "owner": owner, "index": aggregator.administer([entry])}


def _check_issuer(
    aggregator: Aggregator, device: Device, claimed: OwnershipCredential, now: int
) -> None:
    fold = aggregator.fold
    present = owner_now(fold, device.did, now)
    birth = fold.identity.births.get(device.did)
    if fold.identity.owned(device.did) is None and birth is not None:
        if claimed.issuer == birth.issuer in fold.policy.identity.manufacturers:
            return
    if not present.startswith("did:") or claimed.issuer != present:
        raise CredentialError(
            "ownership.issuer",
            f"{claimed.issuer[:120]} is not the present owner of the device",
            hint="its present owner signs the transfer",
        )


def _check_order(
    aggregator: Aggregator, device: Device, found: Verified, claimed: OwnershipCredential
) -> None:
    identity = aggregator.fold.identity
    present = identity.owned(device.did)
    if found.digest in identity.nonces:
        raise CredentialError("ownership.replayed", "this transfer was taken before")
    if present is None:
        return
    previous = bytes.fromhex(claimed.credential_subject.previous)
    if present.digest and previous != present.digest:
        raise CredentialError(
            "ownership.previous",
            "it follows on another credential than the one that says whose the device is now",
            hint="name the digest of the last transfer",
        )
    # In whole seconds: that is what the credential says.
    if parse_moment(claimed.valid_from) // 1000 < present.since // 1000:
        raise CredentialError(
            "ownership.time", "it begins before its signer owned the device", hint="sign a new one"
        )


def hear_transfer(aggregator: Aggregator, parts: Sequence[bytes], now: int) -> StatementResult:
    """Answer ``["depin-statement/1", "transfer", credential, ...]``; each is a commit."""
    if not 1 <= len(parts) <= MAX_TRANSFERS:
        return StatementResult("statement.malformed")
    first = read(parts[0])
    if not isinstance(first.proof, Signature):
        return StatementResult("credential.unsigned")
    key = key_at(aggregator.fold.identity, first.proof.method, first.credential.issuer, now)

    def work() -> StatementResult:
        indices = [transfer(aggregator, part)["index"] for part in parts]
        return StatementResult(ACCEPTED, key.thumbprint, indices[-1])

    return attempt(aggregator, key.thumbprint, work)


# --- operations -----------------------------------------------------------------------------------


def claim_op(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``claim``: ``statement``, hexadecimal."""
    return claim(aggregator, hexed(request, "statement"))


def wallet_op(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``wallet``: ``statement``, hexadecimal."""
    return bind_wallet(aggregator, hexed(request, "statement"))


def transfer_op(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``transfer``: ``credential``, a text of JSON."""
    return transfer(aggregator, text(request, "credential").encode("utf-8", "surrogatepass"))


def set_op(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``owner`` of the operator: whose the device ``did`` is from now on."""
    device = living(aggregator, text(request, "did"))
    owner, now = str(parse_did(text(request, "owner"))), aggregator.now()
    answer = {"device": device.did, "owner": owner}
    present = aggregator.fold.identity.owned(device.did)
    if present is not None and present.owner == owner:
        return answer | {"changed": False, "index": None}
    entry = _owner_set(
        aggregator, device, owner, how="operator", nonce=b"", shown=b"", digest=b"", now=now
    )
    return answer | {"changed": True, "index": aggregator.administer([entry])}


def show_op(aggregator: Aggregator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The operation ``owners``: whose a device ``did`` was and is, or what an owner ``did`` has."""
    did = text(request, "did")
    identity = aggregator.fold.identity
    if aggregator.fold.registry.device(did) is None:
        devices = [item for item, found in identity.owners.items() if found[-1].owner == did]
        return {"owner": did, "devices": devices, "wallet": identity.wallets.get(did)}
    found = identity.owners.get(did, ())
    owner = owner_now(aggregator.fold, did, aggregator.now())
    return {
        "device": did,
        "owner": owner or None,
        "wallet": identity.wallets.get(owner),
        "history": [{"owner": item.owner, "since": item.since, "how": item.how} for item in found],
    }
