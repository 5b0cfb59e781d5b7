"""Judging again what capabilities, owners, wallets and successions stand on: part of the audit."""

from __future__ import annotations

from typing import Any, Final

import cbor2

from depin_id.errors import DepinError
from depin_id.owners.claim import Claim
from verify.entries import Admin, Judged, Rotated
from verify.fold import Fold
from verify.identity.entries import CapabilityTaken, OwnerSet, Succeeded, WalletBound
from verify.identity.owning import check_claim, check_payout, check_transfer
from verify.identity.owning import read_statement as read_claim
from verify.identity.showing import verify_shown
from verify.identity.succeeding import check_succession
from verify.identity.succeeding import read_statement as read_succession

_OTHER: Final = "it says something else than what was shown"
_NO_ROTATION: Final = "a succession without its rotation"
_NO_CLAIM: Final = "a wallet that no claim names"


class OwnersReview:
    """Takes the entries of a journal one after the other, each before it is applied."""

    def __init__(self) -> None:
        self._claim: bytes | None = None
        self._owed: Rotated | None = None

    def take(self, fold: Fold, entry: Admin | Judged, at: int) -> str:
        """What is wrong with an entry; empty when nothing is. What was erased is passed over.

        Args:
            fold: as of the entry before. at: the entry's receipt time, ms since 1970.
        """
        claim, self._claim = self._claim, None
        owed, self._owed = self._owed, None
        if owed is not None and entry != owed:
            return _NO_ROTATION
        if claim is not None and not (isinstance(entry, OwnerSet) and entry.how == "claim"):
            return _NO_CLAIM
        try:
            match entry:
                case CapabilityTaken(private=bytes()):
                    return _capability(fold, entry, at)
                case OwnerSet(private=bytes()):
                    return _owner(fold, entry, claim, at)
                case OwnerSet() if claim:
                    # The device was erased; what its owner has of the claim is still here.
                    return _claimed(fold, entry, read_claim(fold, claim, at))
                case WalletBound(nonce=b"", private=None):
                    self._claim = b""
                case WalletBound(private=bytes()):
                    return self._wallet(fold, entry, at)
                case Succeeded(private=bytes()):
                    return self._succession(fold, entry, at)
        except DepinError as error:
            return f"{error.code}: {error.message}"
        return ""

    def finish(self) -> str:
        """What is wrong with the end of the journal; empty when nothing is."""
        if self._owed is not None:
            return _NO_ROTATION
        return _NO_CLAIM if self._claim is not None else ""

    def _succession(self, fold: Fold, entry: Succeeded, at: int) -> str:
        statement, *chain = _open(entry.private)
        found = read_succession(fold, statement, at)
        device, voucher, grace = check_succession(fold, found, chain[0] if chain else None, at)
        self._owed = Rotated(device.did, found.new_key, at, at + grace if grace else None)
        ref = fold.state.subjects.ref(device.subject)
        meant = (entry.ref, entry.voucher, entry.nonce)
        return "" if (ref, voucher, found.nonce) == meant else _OTHER

    def _wallet(self, fold: Fold, entry: WalletBound, at: int) -> str:
        """Whose wallet it is; that he owned something then may have been erased with his device."""
        owner, account, shown = _open(entry.private)
        if entry.nonce:
            payout = check_payout(fold, shown, at)
            bound, said = payout.verified_wallet(), payout.owner
            nonce = payout.nonce
        else:
            # Of a claim that the next entry takes; it answers the challenge.
            found = read_claim(fold, shown, at)
            wallet = found.verified_wallet()
            if wallet is None:
                return _NO_CLAIM
            bound, said, nonce = wallet, found.owner, b""
            self._claim = shown
        meant = (owner, account, entry.nonce)
        return "" if (said, bound.account, nonce) == meant else _OTHER


def _capability(fold: Fold, entry: CapabilityTaken, at: int) -> str:
    chain, proof = _open(entry.private)
    found, ref, nonce = verify_shown(fold, chain, proof, at)
    return "" if (found.id, ref, nonce) == (entry.id, entry.ref, entry.nonce) else _OTHER


def _owner(fold: Fold, entry: OwnerSet, claim: bytes | None, at: int) -> str:
    device, owner, shown, digest = _open(entry.private)
    said: tuple[Any, ...]
    if entry.how == "claim":
        # One that binds a wallet rests with the wallet; both are empty when that was erased.
        shown = shown or claim
        if shown == b"":
            return ""
        found = read_claim(fold, shown or b"", at)
        held = check_claim(fold, found, at)
        said = (held.did, found.owner, found.nonce, b"")
    elif entry.how == "transfer":
        held, new, named = check_transfer(fold, shown, at)
        said = (held.did, new, named, named)
    elif entry.how == "operator":
        held = fold.registry.known(device)
        said = (device, owner, b"", b"")
    else:
        return "nobody becomes owner in this way"
    ref = fold.state.subjects.ref(held.subject)
    meant = (device, owner, entry.nonce, digest)
    return "" if (said, ref, at) == (meant, entry.ref, entry.since) else _OTHER


def _claimed(fold: Fold, entry: OwnerSet, found: Claim) -> str:
    held = fold.registry.known(found.device)
    said = (fold.state.subjects.ref(held.subject), found.nonce)
    return "" if said == (entry.ref, entry.nonce) else _OTHER


def _open(private: bytes | None) -> tuple[Any, ...]:
    return tuple(cbor2.loads(private or b""))
