"""No bad key comes in, whichever door it is brought to."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from multiformats import multibase, multicodec

from depin_id import cbor, cose
from depin_id.did import parse_did_jwk, parse_did_key
from depin_id.enrolment import Enrolment, read_enrolments
from depin_id.errors import DepinError
from depin_id.keys import PublicKey
from depin_id.network import read_card
from depin_id.sealing import check_network
from depin_id.testing import TestNetwork
from tests.verify.net import Net
from verify.admin import perform
from verify.log import NoteKey

NET: Final = TestNetwork("doors")
EDWARDS: Final = {
    "identity point": b"\x01" + bytes(31),
    "order two": b"\xec" + b"\xff" * 30 + b"\x7f",
    "order four": bytes(32),
    "order eight": bytes.fromhex(
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
    ),
    # The identity with p added to y: another spelling of the same point.
    "not canonical": b"\xee" + b"\xff" * 30 + b"\x7f",
    "published, RFC 8032 test 1": bytes.fromhex(
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    ),
}


def _did(raw: bytes) -> str:
    return "did:key:" + multibase.encode(multicodec.wrap("ed25519-pub", raw), "base58btc")


def _jwk(raw: bytes) -> str:
    def text(data: bytes) -> str:
        return urlsafe_b64encode(data).decode().rstrip("=")

    jwk = {"crv": "Ed25519", "kty": "OKP", "x": text(raw)}
    return "did:jwk:" + text(json.dumps(jwk, separators=(",", ":")).encode())


def _cose_key(raw: bytes) -> bytes:
    return cbor.encode({1: 1, -1: 6, -2: raw})


def _card(**changed: Any) -> None:
    card = NET.card
    payload = cbor.decode(cose.parse_sign1(NET.card_bytes).payload)
    payload.update({int(label[1:]): value for label, value in changed.items()})
    headers = {cose.HEADER_KID: card.root.kid}
    data = cose.sign1(
        headers, cbor.encode(payload), kind="card", network=card.network, signer=NET.root
    )
    read_card(data)


def _document(raw: bytes) -> dict[str, Any]:
    document = NET.device().enrolment.to_json() | {"did": _did(raw), "key": _cose_key(raw).hex()}
    return {name: value for name, value in document.items() if name != "thumbprint"}


DOORS: Final[dict[str, Callable[[bytes], Any]]] = {
    "did:key": lambda raw: parse_did_key(_did(raw)),
    "did:jwk": lambda raw: parse_did_jwk(_jwk(raw)),
    "COSE_Key": lambda raw: PublicKey.from_cose_key(_cose_key(raw)),
    "root of a card": lambda raw: _card(_1=_did(raw)),
    "acknowledgement key of a card": lambda raw: _card(_6=[_cose_key(raw)]),
    "second acknowledgement key": lambda raw: _card(
        _6=[NET.ack_signer.public_key.cose_key, _cose_key(raw)]
    ),
    "log key of a card": lambda raw: _card(_8=raw),
    "enrolment document": lambda raw: list(read_enrolments(json.dumps(_document(raw)))),
    "enrolment entry": lambda raw: Enrolment.from_list(
        [_cose_key(raw), *NET.device().enrolment.to_list()[1:]]
    ),
    "network that a device signs for": lambda raw: check_network(_did(raw)),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("key", EDWARDS)
def test_a_bad_key_is_refused(door: str, key: str) -> None:
    with pytest.raises(DepinError) as caught:
        DOORS[door](EDWARDS[key])
    assert "prime order" in str(caught.value) or "published" in str(caught.value)


def test_the_doors_let_good_keys_in() -> None:
    good = NET.device("good").key.raw
    for name, door in DOORS.items():
        if name != "root of a card":  # it has to have signed the card, too
            door(good)


def test_a_bad_key_takes_nobody_s_place(tmp_path: Path) -> None:
    with Net(tmp_path) as net:
        device, other = net.device(), net.device("other")
        before = net.size
        bad = [_did(raw) for raw in EDWARDS.values()]
        for did in [*bad, other.did, device.did]:
            with pytest.raises(DepinError):
                perform(net.aggregator, {"op": "rotate", "did": device.did, "new_key": did})
        assert net.size == before


def test_logs_of_others_are_not_read_under_a_key_of_small_order() -> None:
    for name, raw in EDWARDS.items():
        if not name.startswith("published"):
            with pytest.raises(DepinError) as caught:
                NoteKey("log.example", raw)
            assert caught.value.code == "log.key"
