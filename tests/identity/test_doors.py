"""Every way by which a key comes into the identity of a device: none lets a bad one in."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import Any, Final

import nacl.bindings
import pytest

from depin_id import base58, cbor, cose
from depin_id.capability.grant import Grant
from depin_id.commands.identity import audience_key
from depin_id.credentials import verify_birth
from depin_id.did import Resolver, did_key
from depin_id.did.contents import check_document
from depin_id.did.webvh import create, verify_log
from depin_id.errors import CredentialError, DepinError
from depin_id.factory import Defaults, Faults, read_rows
from depin_id.owners.codes import read_qr
from depin_id.owners.succession import read_offer
from depin_id.owners.wallets import parse_account
from depin_id.peaq.document import ED25519, Document, Method
from depin_id.peaq.resolved import did_document
from depin_id.peaq.trust import keys_of_document
from depin_id.possession import read_proof
from tests.credentials.world import MAKER, NOW, birth, key_of
from tests.webvh.author import PLACE, T, remade, signer

GOOD: Final = signer("good").public_key.raw
BAD: Final = {
    "identity point": b"\x01" + bytes(31),
    "order two": b"\xec" + b"\xff" * 30 + b"\x7f",
    "order four": bytes(32),
    "order eight": bytes.fromhex(
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
    ),
    "not canonical": b"\xee" + b"\xff" * 30 + b"\x7f",
    "identity with a sign": b"\x01" + bytes(30) + b"\x80",
    "published, RFC 8032 test 1": bytes.fromhex(
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    ),
}
"""And a good point to which one of order eight was added: see :func:`_mixed`."""
SIGNER: Final = signer("other")
NETWORK: Final = did_key(signer("network").public_key)


def _mixed() -> bytes:
    return nacl.bindings.crypto_core_ed25519_add(GOOD, BAD["order eight"])


def _multikey(raw: bytes) -> str:
    return "z" + base58.encode(b"\xed\x01" + raw)


def _cose_key(raw: bytes) -> bytes:
    return cbor.encode({1: 1, -1: 6, -2: raw})


def _log(change: Callable[[dict[str, Any]], None], number: int = 1) -> bytes:
    log = create(PLACE, signer("u"), now_ms=T)
    return remade(log, number, change, "u")


def _verified(change: Callable[[dict[str, Any]], None]) -> None:
    verify_log(_log(change), now_ms=T + 1000)


def _document_key(raw: bytes) -> None:
    """A log may hold any document; no key of it counts that is not admissible."""

    def change(entry: dict[str, Any]) -> None:
        entry["state"]["verificationMethod"][0]["publicKeyMultibase"] = _multikey(raw)

    log = _log(change)
    history = verify_log(log, now_ms=T + 1000)
    assert (history.key_at(T) is not None) == (raw == GOOD)
    Resolver(files={history.did: {"did.jsonl": log}}).key(f"{history.did}#key-1")


def _web(**key: Any) -> None:
    did = "did:web:example.com"
    method = {"id": "#a", "type": "Multikey", "controller": did} | key
    check_document({"id": did, "assertionMethod": [method]}, did)
    document = json.dumps({"id": did, "keyAgreement": [method], "assertionMethod": ["#a"]}).encode()
    Resolver(files={did: {"did.json": document}}).key(f"{did}#a")


def _jwk(raw: bytes) -> dict[str, str]:
    text = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    return {"crv": "Ed25519", "kty": "OKP", "x": text}


def _peaq(raw: bytes) -> None:
    did = "did:peaq:0x1a642f0e3c3af545e7acbd38b07251b3990914f1"
    method = Method(f"{did}#keys-1", ED25519, did, _multikey(raw))
    found = Document(did, did, (method,), authentications=(method.id,))
    assert keys_of_document(did_document(found)).keys


def _factory(text: str, curve: str = "") -> None:
    faults = Faults()
    defaults = Defaults(model="m", hardware_revision="1", key_protection="software")
    line = f"serial,key,curve\na,{text},{curve}\n".encode()
    if not list(read_rows(io.BytesIO(line), defaults=defaults, faults=faults)):
        raise CredentialError(faults.listed[0].code, faults.listed[0].message)


def _capability(raw: bytes) -> None:
    Grant.decode(cbor.encode({1: NETWORK, 2: _cose_key(raw), 3: [2], 4: [1], 9: 10, 10: 0}))


def _signed(kind: str, payload: bytes, **headers: Any) -> bytes:
    """By another key: the key in it is looked at first."""
    return cose.sign1(
        headers.get("headers", {}), payload, kind=kind, network=NETWORK, signer=SIGNER
    )


def _possession(raw: bytes) -> None:
    enrolment = [_cose_key(raw), "", "", "", "device", None]
    payload = cbor.encode({1: bytes(16), 2: enrolment, 3: None, 4: True})
    read_proof(_signed("enrolment", payload, headers={4: bytes(8)}), network=NETWORK)


def _succession(raw: bytes) -> None:
    fields = {1: NETWORK, 2: bytes(32), 3: _cose_key(raw), 4: "board", 5: 1, 6: bytes(8)}
    read_offer(_signed("succession-key", cbor.encode(fields)), network=NETWORK)


def _label(raw: bytes) -> None:
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    number = int.from_bytes(raw, "big") << 4
    text = "".join(alphabet[number >> 5 * at & 31] for at in range(51, -1, -1))
    read_qr(f"DEPIN1:E{text}:0000000000000000000000000000")


def _certificate(raw: bytes) -> None:
    said = birth(id=f"did:key:{_multikey(raw)}", key=_multikey(raw))
    verify_birth(MAKER.sign(said), key_of=key_of, now_ms=NOW)


DOORS: Final[dict[str, Callable[[bytes], Any]]] = {
    "update key": lambda raw: _verified(
        lambda entry: entry["parameters"]["updateKeys"].append(_multikey(raw))
    ),
    "witness": lambda raw: _verified(
        lambda entry: entry["parameters"].update(
            witness={"threshold": 1, "witnesses": [{"id": f"did:key:{_multikey(raw)}"}]}
        )
    ),
    "document of a did:webvh": _document_key,
    "multikey of a did:web": lambda raw: _web(publicKeyMultibase=_multikey(raw)),
    "JWK of a did:web": lambda raw: _web(publicKeyJwk=_jwk(raw), type="JsonWebKey"),
    "did:peaq": _peaq,
    "factory, did:key": lambda raw: _factory(f"did:key:{_multikey(raw)}"),
    "factory, COSE_Key": lambda raw: _factory(_cose_key(raw).hex()),
    "factory, bytes": lambda raw: _factory(raw.hex(), "ed25519"),
    "audience of a capability": _capability,
    "audience, as typed": lambda raw: audience_key(_multikey(raw), Resolver()),
    "proof of possession": _possession,
    "new key of a succession": _succession,
    "Solana wallet": lambda raw: parse_account(
        "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:" + base58.encode(raw)
    ),
    "label": _label,
    "birth certificate": _certificate,
}
LATER: Final = {
    "witness": "did.webvh.witness",
    "proof of possession": "possession.key",
    "new key of a succession": "signature.invalid",
}
"""What good keys are refused for, behind the door."""


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("key", [*BAD, "mixed order"])
def test_a_bad_key_does_not_come_in(door: str, key: str) -> None:
    with pytest.raises(DepinError) as caught:
        DOORS[door](BAD.get(key) or _mixed())
    said = str(caught.value)
    assert "prime order" in said or "published" in said, said


@pytest.mark.parametrize("door", DOORS)
def test_a_good_key_does(door: str) -> None:
    if door not in LATER:
        DOORS[door](GOOD)
        return
    with pytest.raises(DepinError) as caught:
        DOORS[door](GOOD)
    assert caught.value.code == LATER[door]
