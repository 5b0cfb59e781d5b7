"""Targets: lines of a factory, claim codes and labels, wallets, and statements of owners."""

from __future__ import annotations

import io
import json

from depin_id.did.key import did_key
from depin_id.errors import DepinError
from depin_id.factory import Defaults, Faults, read_rows
from depin_id.factory.faults import KINDS
from depin_id.factory.keytext import KeyFault, parse_key
from depin_id.owners import (
    ClaimCode,
    WalletBinding,
    WalletRequest,
    make_claim,
    make_succession,
    offer_succession,
    parse_account,
    qr_text,
    read_claim,
    read_label,
    read_offer,
    read_qr,
    read_succession,
)
from tests.fuzz.target import target, text
from tests.owners.people import CODE, NETWORK, NONCE, NOW, WALLETS, bind, party, signer

_KEYS = [signer("fuzz", "ed25519").public_key, signer("fuzz", "p256").public_key]
_DEFAULTS = Defaults("N1", "B", "software")


def take_rows(data: bytes) -> None:
    """A row is what its line says, or the line is named among the faults."""
    faults = Faults()
    for row in read_rows(io.BytesIO(data), defaults=_DEFAULTS, faults=faults):
        assert row.enrolment.did == did_key(row.enrolment.key) and row.serial
    assert faults.counts.keys() <= KINDS.keys()


def take_key_text(data: bytes) -> None:
    """Keys in all their forms: one key, one did:key."""
    curve, _, word = text(data).rpartition(",")
    try:
        key = parse_key(word, curve)
    except KeyFault as fault:
        assert fault.code in KINDS
        return
    assert parse_key(did_key(key)) == key


def take_code(data: bytes) -> None:
    """A code that is read is the one that is written."""
    word = text(data)
    for read in (ClaimCode.parse, read_qr, read_label):
        try:
            found = read(word)
        except DepinError as error:
            assert error.code
            continue
        if isinstance(found, ClaimCode):
            assert ClaimCode.parse(found.text) == found
        else:
            assert read_qr(qr_text(found.key, found.code)) == found


def take_wallet(data: bytes) -> None:
    """Accounts, messages and bindings have one spelling."""
    word = text(data)
    for read in (parse_account, WalletRequest.parse, WalletBinding.from_json):
        try:
            found = read(word)
        except DepinError as error:
            assert error.code
            continue
        if isinstance(found, WalletRequest):
            assert found.message == word
        elif isinstance(found, WalletBinding):
            assert WalletBinding.from_json(json.dumps(found.to_json())) == found
        else:
            assert parse_account(found) == found


def take_statement(data: bytes) -> None:
    """Claims, successions and offers."""
    for read in (read_claim, read_succession, read_offer):
        try:
            found = read(data, network=NETWORK)
        except DepinError as error:
            assert error.code
            continue
        assert found.nonce == NONCE, "a statement that nobody here signed"


_DEVICE, _OWNER = party("device"), party("owner")
_NEW = signer("new", "p256")
_OLD = _DEVICE.signer.public_key.thumbprint
_BOUND = {kind: bind(wallet, _OWNER.did) for kind, wallet in WALLETS.items()}

target(
    "factory-rows",
    take_rows,
    [
        f"serial,key,curve,mac,lat,lon\nA1,{did_key(_KEYS[0])},,00:11:22:33:44:55,48.1,11.5\n"
        f"A2,{_KEYS[1].raw.hex()},P-256,,,\n",
        json.dumps({"serial": "A1", "key": _KEYS[0].cose_key.hex(), "role": "gateway"}) + "\n{}\n",
        'serial,key\n"a""b",x\n',
    ],
)
target(
    "factory-key",
    take_key_text,
    [
        *(f",{key.cose_key.hex()}" for key in _KEYS),
        *(f"{key.curve},{key.raw.hex()}" for key in _KEYS),
        *(f",{did_key(key)}" for key in _KEYS),
    ],
)
target("claim-code", take_code, [CODE.text, CODE.compact, *(qr_text(key, CODE) for key in _KEYS)])
target(
    "wallet",
    take_wallet,
    [
        *(wallet.account for wallet in WALLETS.values()),
        *(bound.request.message for bound in _BOUND.values()),
        *(json.dumps(bound.to_json()) for bound in _BOUND.values()),
    ],
)
target(
    "owner-statement",
    take_statement,
    [
        make_claim(CODE, device=_DEVICE.did, owner=_OWNER, network=NETWORK, nonce=NONCE, now=NOW),
        make_claim(
            CODE,
            device=_DEVICE.did,
            owner=_OWNER,
            network=NETWORK,
            nonce=NONCE,
            now=NOW,
            wallet=_BOUND["eip155"],
        ),
        offer_succession(
            _NEW,
            device=_DEVICE.did,
            old=_OLD,
            reason="board",
            network=NETWORK,
            nonce=NONCE,
            now=NOW,
        ),
        make_succession(
            _NEW,
            role="owner",
            voucher=_OWNER,
            device=_DEVICE.did,
            old=_OLD,
            reason="lost",
            network=NETWORK,
            nonce=NONCE,
            now=NOW,
            last=(1, 2),
        ),
    ],
)
