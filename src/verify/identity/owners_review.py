"""Judging again what capabilities, owners, wallets and successions stand on: part of the audit."""

from __future__ import annotations

from typing import Any, Final

import cbor2

from depin_id.errors import DepinError
from verify.entries import Admin, Judged, Rotated
from verify.fold import Fold
from verify.identity.entries import CapabilityTaken, OwnerSet, Succeeded, WalletBound
from verify.identity.owning import check_claim, check_payout, check_transfer
from verify.identity.owning import read_statement as read_claim
from verify.identity.showing import verify_shown
from verify.identity.succeeding import check_succession
from verify.identity.succeeding import read_statement as read_succession

_OTHER: Final = "it says something else than what was shown"


class OwnersReview:
    """Takes the entries of a journal one after the other, each before it is applied."""

    def __init__(self) -> None:
        self._claim = b""
        self._owed: Rotated | None = None

    def take(self, fold: Fold, entry: Admin | Judged, at: int) -> str:
        """What is wrong with an entry; empty when nothing is. What was erased is passed over.

        Args:
            fold: as of the entry before. at: the entry's receipt time, ms since 1970.
        """
        claim, self._claim = self._claim, b""
        owed, self._owed = self._owed, None
        if owed is not None and entry != owed:
            return "a succession without its rotation"
        try:
            match entry:
                case CapabilityTaken(private=bytes()):
                    return _capability(fold, entry, at)
                case OwnerSet(private=bytes()):
                    return self._owner(fold, entry, at)
                case WalletBound(private=bytes()):
                    return _wallet(fold, entry, claim, at)
                case Succeeded(private=bytes()):
                    return self._succession(fold, entry, at)
        except DepinError as error:
            return f"{error.code}: {error.message}"
        return ""

    def _owner(self, fold: Fold, entry: OwnerSet, at: int) -> str:
        device, owner, shown, digest = _open(entry.private)
        said: tuple[Any, ...]
        if entry.how == "claim":
            found = read_claim(fold, shown, at)
            held = check_claim(fold, found, at)
            said = (held.did, found.owner, found.nonce, b"")
            self._claim = shown
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

    def _succession(self, fold: Fold, entry: Succeeded, at: int) -> str:
        statement, *chain = _open(entry.private)
        found = read_succession(fold, statement, at)
        device, voucher, grace = check_succession(fold, found, chain[0] if chain else None, at)
        self._owed = Rotated(device.did, found.new_key, at, at + grace if grace else None)
        ref = fold.state.subjects.ref(device.subject)
        meant = (entry.ref, entry.voucher, entry.nonce)
        return "" if (ref, voucher, found.nonce) == meant else _OTHER


def _capability(fold: Fold, entry: CapabilityTaken, at: int) -> str:
    chain, proof = _open(entry.private)
    found, ref, nonce = verify_shown(fold, chain, proof, at)
    return "" if (found.id, ref, nonce) == (entry.id, entry.ref, entry.nonce) else _OTHER


def _wallet(fold: Fold, entry: WalletBound, claim: bytes, at: int) -> str:
    """Whose wallet it is; that he owned something then may have been erased with his device."""
    owner, account, shown = _open(entry.private)
    if entry.nonce:
        payout = check_payout(fold, shown, at)
        bound, said = payout.verified_wallet(), payout.owner
        nonce = payout.nonce
    else:
        # Of the claim before it, whose challenge it answered too.
        found = read_claim(fold, shown, at)
        wallet = found.verified_wallet() if shown == claim else None
        if wallet is None:
            return "a wallet that no claim names"
        bound, said, nonce = wallet, found.owner, b""
    meant = (owner, account, entry.nonce)
    return "" if (said, bound.account, nonce) == meant else _OTHER


def _open(private: bytes | None) -> tuple[Any, ...]:
    return tuple(cbor2.loads(private or b""))
