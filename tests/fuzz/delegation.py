"""Targets: capabilities and status lists, behind their signatures too: those are made here."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from depin_id import cbor, cose, strict_json
from depin_id.capability import (
    Capability,
    Challenges,
    Grant,
    StatusReference,
    no_list,
    prove,
    read_chain,
    verify_chain,
    verify_possession,
)
from depin_id.credentials.status import (
    BitstringEntry,
    StatusBook,
    StatusList,
    TokenEntry,
    read_bitstring,
    read_token,
)
from depin_id.credentials.status.bits import gunzip, gzip, inflate, pack
from depin_id.credentials.status.bitstring import decode_list
from depin_id.credentials.status.token import MEDIA_TYPE
from depin_id.data_integrity import make_proof
from depin_id.did.key import parse_did_key
from tests.capability.world import GATEWAY, NETWORK, NOW_MS, ROOT, longer, owner_key, root
from tests.fuzz.logs import each
from tests.fuzz.target import target
from tests.fuzz.texts import FOLDER
from tests.status.world import (
    DID,
    ISSUER,
    METHOD,
    bitstring,
    entry,
    key_of,
    reference,
    store,
    token,
)
from tests.status.world import NOW_MS as LIST_MS

_SMALL: Final = 1 << 16
_CHAIN: Final = root()
_CHALLENGES: Final = Challenges()
_NONCE: Final = bytes(16)
_PROOF: Final = prove(
    _CHAIN, GATEWAY, nonce=_NONCE, audience=NETWORK, purpose="enrol", network=NETWORK
)


def _verified(data: bytes) -> Capability:
    return verify_chain(data, network=NETWORK, owner_key=owner_key, now_ms=NOW_MS, revoked=no_list)


_CAPABILITY: Final = _verified(_CHAIN)


def take_block(data: bytes) -> None:
    """A block has one spelling, and is within itself but for its depth."""
    found = Grant.decode(data)
    assert found.encode() == data
    assert found.selector.within(found.selector)


def take_chain(data: bytes) -> None:
    """Chains; one that is read has an id for each block."""

    def read() -> None:
        blocks = read_chain(data)
        assert len({block.id for block in blocks}) == len(blocks)

    each(read, lambda: _verified(data))


def take_possession(data: bytes) -> None:
    """Proofs: of the usual capability, and as the payload of a signed one."""

    def check(proof: bytes) -> None:
        verify_possession(
            proof,
            _CAPABILITY,
            network=NETWORK,
            audience=NETWORK,
            purpose="enrol",
            challenges=_CHALLENGES,
            now_ms=NOW_MS,
        )

    headers = {cose.HEADER_KID: GATEWAY.public_key.kid}
    signed = cose.sign1(headers, data, kind="capability-proof", network=NETWORK, signer=GATEWAY)
    each(lambda: check(data), lambda: check(signed))


def take_packed(data: bytes) -> None:
    """Compressed lists, and bytes as lists of every size."""
    for size in range(1, 9):
        entries = StatusList(data[:256], size, "left")
        assert (
            pack(entries.table, size, "left")[: len(entries) * size // 8]
            == (data[:256][: len(entries) * size // 8])
        )
    each(
        lambda: gunzip(data, max_bytes=_SMALL),
        lambda: inflate(data, max_bytes=_SMALL),
        lambda: decode_list(data.decode("latin-1"), max_bytes=_SMALL),
    )


def take_token(data: bytes) -> None:
    """Tokens, and bytes as claims and as headers of a signed token."""
    media = cbor.encode({1: ISSUER.public_key.algorithm, 16: MEDIA_TYPE})

    def signed(protected: bytes, payload: bytes) -> bytes:
        signature = ISSUER.sign(cose.sig_structure(protected, b"", payload))
        return cose.assemble(protected, payload, signature)

    for asked in (data, signed(media, data), signed(data[:1024], _CLAIMS)):
        each(lambda asked=asked: read_token(asked, key_of=key_of, issuer=DID))  # type: ignore[misc]


def take_bitstring(data: bytes) -> None:
    """Lists as JSON, and any JSON with a good proof."""

    def signed() -> None:
        document = strict_json.parse(data)
        if not isinstance(document, dict):
            return
        document.pop("proof", None)
        options: dict[str, Any] = {"verification_method": METHOD, "created": None}
        proof = make_proof(document, ISSUER, purpose="assertionMethod", **options)
        read_bitstring(json.dumps(document | {"proof": proof}).encode(), key_of=_any_key)

    each(lambda: read_bitstring(data, key_of=key_of), signed)


def _any_key(method: str, issuer: str, created: str | None) -> Any:
    return parse_did_key(DID)


_STORE: Final = store(bitstring({5: 1}))


def take_entry(data: bytes) -> None:
    """Entries: a check of any JSON object gives an answer and never raises."""
    value = strict_json.parse(data)
    result = _STORE.check(value, now_ms=LIST_MS, issuer=DID)
    assert result.ok or result.code
    each(
        lambda: BitstringEntry.parse(BitstringEntry.parse(value).to_json()),
        lambda: TokenEntry.parse(TokenEntry.parse(value).to_json()),
    )


def take_book(data: bytes) -> None:
    """The record of a list, as it is found on the disk."""
    path = FOLDER / "book"
    path.write_bytes(data)
    book = StatusBook.open(path)
    book.set_entries()
    each(book.give, lambda: book.set(0, 1), lambda: book.entry(0))


def _book() -> bytes:
    path = FOLDER / "book-seed"
    path.unlink(missing_ok=True)
    StatusBook.create(path, uri="https://example.com/1", kind="token", size=2, count=64)
    return path.read_bytes()


_CLAIMS: Final = cbor.encode(
    {
        2: "https://example.com/1",
        6: 1,
        65533: {"bits": 1, "lst": b"\x78\x9c\x63\x00\x00\x00\x01\x00\x01"},
    }
)
_STATUS: Final = replace(ROOT, status=StatusReference(bytes(16), 7)).encode()

target("capability-block", take_block, [ROOT.encode(), _STATUS])
target("capability", take_chain, [_CHAIN, longer(_CHAIN)])
target("capability-proof", take_possession, [_PROOF, cose.parse_sign1(_PROOF).payload])
target(
    "status-packed", take_packed, [gzip(bytes(99)), b"\x78\x9c\x03\x00\x00\x00\x00\x01", b"uH4sI"]
)
target("status-token", take_token, [token({1: 2}), _CLAIMS, cbor.encode({1: -19, 16: MEDIA_TYPE})])
target("status-bitstring", take_bitstring, [bitstring()])
target(
    "status-entry", take_entry, [json.dumps(entry(5)).encode(), json.dumps(reference(5)).encode()]
)
target("status-book", take_book, [_book()])
