"""Whose a device is: claims, transfers, the operator's word; and which wallet an owner is paid to.

The first good claim of a device wins. After that only its owner passes it on, by a credential that
the key signs which counts for his DID when it is received.
"""

from __future__ import annotations

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
from depin_id.owners.payout import Payout, read_payout
from depin_id.owners.wallets import Wallet
from verify.fold import Fold
from verify.identity.authority import owner_now
from verify.identity.challenges import check_nonce
from verify.identity.desk import StatementResult, attempt
from verify.identity.entries import OwnerSet, WalletBound
from verify.identity.issuers import key_at
from verify.identity.trust import StatusLists
from verify.registry import Device
from verify.requests import hexed, text
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


def keys_of(fold: Fold, now: int) -> KeyOf:
    """Gives the keys of methods that count at a receipt time (ms), for statements."""
    identity = fold.identity
    return lambda method: key_at(identity, method, did_of(method), now)


def living(fold: Fold, did: str) -> Device:
    """An enrolled device that is neither erased nor revoked.

    Raises ConfigError ``registry.unknown_device``, ``registry.erased``, ``registry.revoked``.
    """
    device = fold.registry.known(did)
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
    fold, now = aggregator.fold, aggregator.now()
    return _claim(aggregator, read_statement(fold, data, now), data, now)


def read_statement(fold: Fold, data: bytes, now: int) -> Claim:
    """A claim, its signatures verified by the keys that count at a receipt time (ms)."""
    return read_claim(data, network=fold.card.network, key_of=keys_of(fold, now))


def check_claim(fold: Fold, found: Claim, now: int) -> Device:
    """Verify a claim against the state as it is; gives the device. Raises as :func:`claim`."""
    identity = fold.identity
    check_nonce(fold, found.nonce, found.owner_key.thumbprint, now)
    device = living(fold, found.device)
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
    if _owned(fold, device.did, now) not in ("", found.owner) or identity.owned(device.did):
        raise CredentialError(
            "owner.claimed",
            "the device has an owner already",
            hint="its owner passes it on with an ownership credential",
        )
    return device


def _owned(fold: Fold, device: str, now: int) -> str:
    """Who could sign as the owner of a device: also whom the operator enrolled it for."""
    owner = owner_now(fold, device, now)
    return owner if owner.startswith("did:") else ""


def _claim(aggregator: Aggregator, found: Claim, data: bytes, now: int) -> dict[str, Any]:
    device = check_claim(aggregator.fold, found, now)
    wallet = found.verified_wallet()
    entries: list[OwnerSet | WalletBound] = []
    if wallet is not None:
        entries.append(_bound(aggregator, wallet, b"", data))
    entries.append(
        _owner_set(
            aggregator,
            device,
            found.owner,
            how="claim",
            nonce=found.nonce,
            # One that names a wallet rests with it, under the owner's own key.
            shown=data if wallet is None else b"",
            digest=b"",
            now=now,
        )
    )
    index = aggregator.administer(entries, at=now) + len(entries) - 1
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
    found = read_statement(aggregator.fold, parts[0], now)
    recipient = found.owner_key.thumbprint

    def work() -> StatementResult:
        answer = _claim(aggregator, found, parts[0], now)
        return StatementResult(ACCEPTED, recipient, answer["index"])

    return attempt(aggregator, recipient, work)


# --- wallets --------------------------------------------------------------------------------------


def _bound(aggregator: Aggregator, wallet: Wallet, nonce: bytes, shown: bytes) -> WalletBound:
    ref = aggregator.fold.identity.owner_refs.get(wallet.owner) or aggregator.randomness(16)
    private = cbor.encode_plain([wallet.owner, wallet.account, shown])
    return WalletBound(ref, nonce, private)


def bind_wallet(aggregator: Aggregator, data: bytes) -> dict[str, Any]:
    """Bind the payout wallet that an owner names and that signed itself; the newest counts.

    Raises:
        CredentialError: ``owner.none`` (who owns nothing here), ``wallet.*``, ``possession.*``,
            ``statement.*``, ``issuer.*``. Others as :func:`claim`.
    """
    now = aggregator.now()
    found = check_payout(aggregator.fold, data, now)
    if not owns_any(aggregator, found.owner):
        raise CredentialError(
            "owner.none", f"{found.owner[:120]} owns no device here", hint="claim one first"
        )
    wallet = found.verified_wallet()
    index = aggregator.administer([_bound(aggregator, wallet, found.nonce, data)], at=now)
    return {"owner": found.owner, "wallet": wallet.account, "index": index}


def check_payout(fold: Fold, data: bytes, now: int) -> Payout:
    """An owner's statement about a wallet, verified but for the wallet's own signature."""
    found = read_payout(data, network=fold.card.network, key_of=keys_of(fold, now))
    check_nonce(fold, found.nonce, found.owner_key.thumbprint, now)
    return found


def owns_any(aggregator: Aggregator, owner: str) -> bool:
    """Whether somebody is the owner of a device now, by entries about owners."""
    owners = aggregator.fold.identity.owners.values()
    return any(found[-1].owner == owner for found in owners)


def hear_wallet(aggregator: Aggregator, parts: Sequence[bytes], now: int) -> StatementResult:
    """Answer ``["depin-statement/1", "wallet", payout]``."""
    if len(parts) != 1:
        return StatementResult("statement.malformed")
    fold = aggregator.fold
    found = read_payout(parts[0], network=fold.card.network, key_of=keys_of(fold, now))
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
    now = aggregator.now()
    device, owner, digest = check_transfer(aggregator.fold, data, now)
    entry = _owner_set(
        aggregator,
        device,
        owner,
        how="transfer",
        # No challenge is answered: the credential itself is good once.
        nonce=digest,
        shown=data,
        digest=digest,
        now=now,
    )
    return {"device": device.did, "owner": owner, "index": aggregator.administer([entry], at=now)}


def check_transfer(fold: Fold, data: bytes, now: int) -> tuple[Device, str, bytes]:
    """Verify a transfer against the state as it is. Raises as :func:`transfer`.

    Returns:
        The device, its new owner's DID, and the credential's digest.
    """
    identity = fold.identity
    claimed = read(data).credential
    if not isinstance(claimed, OwnershipCredential):
        raise CredentialError("credential.type", "this is no credential about an owner")
    device = living(fold, claimed.credential_subject.id)
    _check_issuer(fold, device, claimed, now)
    found = verify_credential(
        data,
        key_of=lambda method, issuer, _: key_at(identity, method, issuer, now),
        now_ms=now,
        expected_subject=device.did,
        expected_type=OwnershipCredential,
        status=StatusLists(identity, claimed.issuer, fold.policy.identity.status_max_age_s),
    )
    _check_order(fold, device, found, claimed)
    return device, claimed.credential_subject.owner, found.digest


def _check_issuer(fold: Fold, device: Device, claimed: OwnershipCredential, now: int) -> None:
    present = owner_now(fold, device.did, now)
    birth = fold.identity.births.get(device.did)
    if not _owned(fold, device.did, now) and birth is not None:
        if claimed.issuer == birth.issuer in fold.policy.identity.manufacturers:
            return
    if not present.startswith("did:") or claimed.issuer != present:
        raise CredentialError(
            "ownership.issuer",
            f"{claimed.issuer[:120]} is not the present owner of the device",
            hint="its present owner signs the transfer",
        )


def _check_order(fold: Fold, device: Device, found: Verified, claimed: OwnershipCredential) -> None:
    identity = fold.identity
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
    device = living(aggregator.fold, text(request, "did"))
    owner, now = str(parse_did(text(request, "owner"))), aggregator.now()
    answer = {"device": device.did, "owner": owner}
    present = aggregator.fold.identity.owned(device.did)
    if present is not None and present.owner == owner:
        return answer | {"changed": False, "index": None}
    entry = _owner_set(
        aggregator, device, owner, how="operator", nonce=b"", shown=b"", digest=b"", now=now
    )
    return answer | {"changed": True, "index": aggregator.administer([entry], at=now)}


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
