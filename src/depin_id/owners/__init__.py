"""Owners: claim codes, claims, payout wallets and the succession of devices' keys."""

from depin_id.owners.claim import Claim, make_claim, read_claim
from depin_id.owners.codes import ClaimCode, Label, claim_digest, qr_text, read_label, read_qr
from depin_id.owners.party import KeyOf, Party, key_in_did
from depin_id.owners.payout import Payout, make_payout, read_payout
from depin_id.owners.succession import (
    Offer,
    Succession,
    make_succession,
    offer_succession,
    read_offer,
    read_succession,
    vouch,
)
from depin_id.owners.wallets import (
    Wallet,
    WalletBinding,
    WalletRequest,
    parse_account,
    verify_wallet,
    wallet_message,
)

__all__ = [
    "Claim",
    "ClaimCode",
    "KeyOf",
    "Label",
    "Offer",
    "Party",
    "Payout",
    "Succession",
    "Wallet",
    "WalletBinding",
    "WalletRequest",
    "claim_digest",
    "key_in_did",
    "make_claim",
    "make_payout",
    "make_succession",
    "offer_succession",
    "parse_account",
    "qr_text",
    "read_claim",
    "read_label",
    "read_offer",
    "read_payout",
    "read_qr",
    "read_succession",
    "verify_wallet",
    "vouch",
    "wallet_message",
]
