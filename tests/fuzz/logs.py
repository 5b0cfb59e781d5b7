"""Targets: log, proofs, receipts, and what entries are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from depin_id import cbor
from depin_id.errors import DepinError
from tests.fuzz.material import MATERIAL
from tests.fuzz.target import target, text
from tests.fuzz.wire import NETWORK
from verify.entries import decode_delta
from verify.entry_private import decode_private
from verify.leaf import RecordsContent, parse_leaf
from verify.log.layout import ENTRIES, bundle_prefix, decode_bundle, encode_bundle, tile_prefix
from verify.log.note import Checkpoint, NoteKey, sign_checkpoint, split_note, verify_checkpoint
from verify.log.proof import TlogProof, verify_tlog_proof
from verify.receipt import check_receipt
from verify.store.packing import pack_column, unpack_column, unpack_position

KEY_OF_LOG = NoteKey(NETWORK.card.log_origin, NETWORK.card.log_key.raw)


def each(*takes: Callable[[], Any]) -> None:
    for take in takes:
        try:
            take()
        except DepinError as error:
            assert error.code


def take_note(data: bytes) -> None:
    """Notes, keys and checkpoints; a checkpoint has one spelling."""

    def body() -> None:
        assert Checkpoint.parse(text(data)).body == text(data)

    def key() -> None:
        assert NoteKey.parse(text(data)).vkey == text(data)

    each(lambda: split_note(data), lambda: verify_checkpoint(data, [KEY_OF_LOG]), body, key)


def take_proof(data: bytes) -> None:
    """A proof has one spelling, and is checked against any leaf."""
    proof = TlogProof.parse(data)
    assert TlogProof.parse(proof.format()) == proof
    each(lambda: verify_tlog_proof(data, b"leaf", [KEY_OF_LOG]))


def take_receipt(data: bytes) -> None:
    """Receipts, as bytes and as parts of one."""
    check_receipt(data)


def take_leaf(data: bytes) -> None:
    """Leaves and records have one encoding."""

    def leaf() -> None:
        assert parse_leaf(data).encode() == data

    def records() -> None:
        assert RecordsContent.decode(data).encode() == data

    each(leaf, records)


def take_entry(data: bytes) -> None:
    """What a journal entry is made of."""
    each(
        lambda: decode_delta(data, None, _did_of),
        lambda: decode_delta(data, data, _did_of),
        lambda: decode_private(data),
    )


def _did_of(index: int) -> str:
    if type(index) is not int or not 0 <= index < 4:
        raise IndexError(index)
    return f"did:example:{index}"


def take_tile(data: bytes) -> None:
    """Bundles of entries and tiles, as far as their counts go."""
    count, body = (data[0] if data else 0), data[1:]

    def whole() -> None:
        entries = decode_bundle(body, count)
        assert encode_bundle(entries) == body
        assert bundle_prefix(body, count) == body

    each(
        whole,
        lambda: bundle_prefix(body, count),
        lambda: tile_prefix(ENTRIES, body, count),
        lambda: tile_prefix(0, body, count),
    )


def take_column(data: bytes) -> None:
    """Packed columns of the journal, and lines of positions."""
    count, body = (data[0] if data else 0), data[1:]
    unpack_position(data)
    items = unpack_column(body, count)
    assert pack_column(items) == body


SIGNED_CHECKPOINT = sign_checkpoint(
    Checkpoint(KEY_OF_LOG.name, 1, hashlib.sha256(b"\0leaf").digest(), ()),
    KEY_OF_LOG.name,
    KEY_OF_LOG.public_key,
    NETWORK.log_signer.sign,
)
_PROOF = TlogProof(0, (), SIGNED_CHECKPOINT)

target(
    "note",
    take_note,
    [SIGNED_CHECKPOINT, SIGNED_CHECKPOINT.split("\n\n")[0] + "\n", KEY_OF_LOG.vkey],
)
target("proof", take_proof, [_PROOF.format()])
target("receipt", take_receipt, MATERIAL.receipts)
target("leaf", take_leaf, [*MATERIAL.leaves, *MATERIAL.records])
target("entry", take_entry, MATERIAL.deltas)
target("tile", take_tile, [b"\x02" + encode_bundle([b"one", b""]), b"\x01" + bytes(32)])
target("column", take_column, [b"\x02" + pack_column([b"one", b""]), cbor.encode([1])])
