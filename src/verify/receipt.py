"""Receipts: one file that proves what became of one envelope, to anyone, offline, years later.

A receipt holds the network card, the leaf, what opens its commitments (envelope, records, salt),
the key that signed, and a C2SP tlog-proof with its signed and cosigned checkpoint, or the same as a
COSE Receipt (RFC 9942). Checking it needs nothing from the operator but, beforehand, the network's
DID.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from depin_id import cbor
from depin_id.did.key import did_key
from depin_id.envelope import MAX_BUNDLE, Envelope, parse_envelope
from depin_id.errors import DatasetError, LogError
from depin_id.keys import PublicKey, Signer
from depin_id.network import NetworkCard, read_card
from depin_id.senml import Decimal64
from depin_id.witness import WitnessPolicy
from verify.dataset.rows import CheckedEntry, OpenEntry, check_entry
from verify.dataset.signed import difference
from verify.entries import KIND_NAMES, Judged
from verify.leaf import AdminLeaf, EnvelopeLeaf, Leaf, RecordRow, RecordsContent
from verify.log import (
    Checkpoint,
    NoteKey,
    TileLog,
    TlogProof,
    leaf_hash,
    verify_inclusion,
    verify_tlog_proof,
)
from verify.log.cose_receipt import check_cose_inclusion, sign_cose_inclusion
from verify.log.cosignature import Cosignature, cosignatures_of, require_quorum
from verify.log.cosigned import CHECKPOINT, read_note, read_witnessed
from verify.log.note import verify_checkpoint
from verify.reading import Peek, Reader
from verify.replay import OpenedEntry
from verify.verdict import is_verdict_code

MAX_RECEIPT = 2 << 20
"""2 MiB: every entry has one, whatever its envelope (128 KiB) became (1.5 MiB of records)."""
_FORMAT = "depin-receipt/1"
_FORMAT_AT, _CARD, _LEAF, _PROOF, _ENVELOPE, _RECORDS, _SALT, _KEY = range(1, 9)
_COSE, _CHECKPOINT = 9, 10
_REQUIRED = {_FORMAT_AT, _CARD, _LEAF}
_PROOFS = ({_PROOF}, {_COSE, _CHECKPOINT})
_OPENED = {_ENVELOPE, _SALT, _KEY}
_BYTES = {_CARD, _LEAF, _ENVELOPE, _RECORDS, _SALT, _KEY, _COSE}
_TEXTS = {_PROOF, _CHECKPOINT}
_TRIES = 3


def _wrong(code: str, what: str, hint: str = "") -> LogError:
    return LogError(
        f"receipt.{code}", what, hint=hint or "the receipt was changed: get it again from its owner"
    )


# --- making -------------------------------------------------------------------------------------


def make_receipt(reader: Reader | Peek, index: int, *, cose_signer: Signer | None = None) -> bytes:
    """The receipt of an entry, under the newest checkpoint with its cosignatures, if there is one.

    An erased envelope's receipt proves its leaf alone, an entry of administration's its leaf.

    Args:
        cose_signer: the log's key; the proof is then a COSE Receipt, beside the checkpoint.

    Raises:
        LogError: ``receipt.unpublished`` when the entry is not in the log yet,
            ``receipt.too_large``; or the log's files do not verify.
        StateError: ``state.no_entry`` and others of the stores.
    """
    opened = reader.opened(index)
    value: dict[int, Any] = {
        _FORMAT_AT: _FORMAT,
        _CARD: reader.fold.card_bytes,
        _LEAF: opened.stored.leaf,
    }
    proof = _prove(reader, index)
    if cose_signer is None:
        value[_PROOF] = proof.format()
    else:
        value |= _as_cose(reader, proof, opened.stored.leaf, cose_signer)
    if isinstance(opened.entry, Judged) and opened.private is not None:
        value |= _opening(reader, opened, opened.entry)
    data = cbor.encode(value)
    if len(data) > MAX_RECEIPT:
        raise _wrong(
            "too_large",
            f"the receipt of entry {index} has {len(data)} bytes, at most {MAX_RECEIPT} fit",
            "put fewer readings in one envelope",
        )
    return data


def _opening(reader: Reader | Peek, opened: OpenedEntry, entry: Judged) -> dict[int, Any]:
    key = reader.fold.registry.key(entry.change.thumbprint)
    private = opened.private
    if private is None or key is None or opened.salt is None:
        raise _wrong("key", "the key that signed is not enrolled any more", "run audit")
    found: dict[int, Any] = {
        _ENVELOPE: private.envelope,
        _SALT: opened.salt,
        _KEY: key.cose_key,
    }
    if private.records is not None:
        found[_RECORDS] = private.records
    return found


def _as_cose(
    reader: Reader | Peek, proof: TlogProof, leaf: bytes, signer: Signer
) -> dict[int, Any]:
    card = reader.fold.card
    if signer.public_key != card.log_key:
        raise _wrong("key", "the signer is not the log's key", "give the key that the card names")
    found = verify_checkpoint(proof.checkpoint, [reader.log_key()], origin=card.log_origin)
    # What is signed is the root of a published checkpoint, whatever the tiles on disk say.
    verify_inclusion(proof.index, found.size, leaf_hash(leaf), proof.hashes, found.root)
    receipt = sign_cose_inclusion(
        proof.index, found.size, leaf, proof.hashes, signer=signer, origin=card.log_origin
    )
    return {_COSE: receipt, _CHECKPOINT: proof.checkpoint}


def _prove(reader: Reader | Peek, index: int) -> TlogProof:
    """Inclusion under the published checkpoint; a running writer may replace files meanwhile."""
    for left in reversed(range(_TRIES)):
        try:
            return _prove_once(reader, index)
        except LogError as error:
            if left == 0 or error.code != "log.tile":
                raise
    raise AssertionError("unreachable")


def _prove_once(reader: Reader | Peek, index: int) -> TlogProof:
    key, folder = reader.log_key(), reader.workspace.log
    note, checkpoint = _published(reader, index)
    log = TileLog(folder, key.name, size=checkpoint.size)
    return TlogProof(index, tuple(log.inclusion_proof(index)), note)


def _published(reader: Reader | Peek, index: int) -> tuple[str, Checkpoint]:
    """The newest checkpoint over the entry that has its quorum, else the newest of all."""
    key, folder = reader.log_key(), reader.workspace.log
    found = read_witnessed(folder, key)
    if found is None or index >= found[1].size:
        found = read_note(folder, CHECKPOINT, key)
    if found is not None and index < found[1].size:
        return found
    raise _wrong(
        "unpublished",
        f"entry {index} is not in the published log yet",
        "a running aggregator publishes within seconds; `depin-verify rebuild` does so now",
    )


# --- checking -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class CheckedReceipt:
    """What a receipt proves.

    Attributes:
        card: of the network.
        pinned: whether the network's DID was given; else the card vouches for itself only.
        index: of the entry in the log.
        checkpoint: the signed head of the log that commits to it.
        leaf: the entry's public face: verdict, flags, level, receipt time, policy.
        envelope: the signed bytes, read and verified; None when erased, or administration.
        key: the key that signed it.
        did: DID of the device, when the leaf's records name it, else the key's own did:key.
        rotated: the key is not the DID's own: that it is the device's rests on the log alone.
        records: each record as judged; None when the envelope became none.
        cosignatures: of the witnesses that the policy or the card names.
    """

    card: NetworkCard
    pinned: bool
    index: int
    checkpoint: Checkpoint
    leaf: Leaf
    envelope: Envelope | None = None
    key: PublicKey | None = None
    did: str = ""
    rotated: bool = False
    records: RecordsContent | None = None
    cosignatures: tuple[Cosignature, ...] = ()

    @property
    def closed(self) -> bool:
        """Whether it proves the leaf of an envelope without the envelope: erased."""
        return isinstance(self.leaf, EnvelopeLeaf) and self.envelope is None

    def to_json(self) -> dict[str, Any]:
        """What is proved, JSON-ready."""
        found: dict[str, Any] = {
            "network": self.card.network,
            "network_pinned": self.pinned,
            "index": self.index,
            "log": self.checkpoint.origin,
            "log_size": self.checkpoint.size,
            "root": self.checkpoint.root.hex(),
            "received_at": self.leaf.received_at,
            "witnesses": [{"name": item.key.name, "time": item.time} for item in self.cosignatures],
        }
        if isinstance(self.leaf, AdminLeaf):
            return found | {"kind": KIND_NAMES.get(self.leaf.kind, str(self.leaf.kind))}
        found |= {
            "kind": "envelope",
            "reference": self.leaf.device.hex(),
            "position": [self.leaf.epoch, self.leaf.n],
            "verdict": self.leaf.code,
            "level": self.leaf.level,
            "flags": list(self.leaf.flags),
            "policy": self.leaf.policy.hex(),
            "rules": self.leaf.rules,
            "erased": self.closed,
        }
        if self.envelope is None or self.key is None:
            return found
        found |= {
            "did": self.did,
            "rotated_key": self.rotated,
            "thumbprint": self.key.thumbprint.hex(),
            "bytes": len(self.envelope.raw),
            "kind": self.envelope.kind,
        }
        if self.records is not None:
            found["subject"] = self.records.subject
            found["readings"] = [row_json(row) for row in self.records.rows]
        return found


def row_json(row: RecordRow) -> dict[str, Any]:
    """A judged record, JSON-ready; exact values as text."""
    value: Any = row.value
    if isinstance(value, Decimal64):
        value = str(value)
    elif isinstance(value, bytes):
        value = value.hex()
    found: dict[str, Any] = {
        "name": row.name,
        "unit": row.unit,
        "value": value,
        "time_ms": [row.time_lo, row.time_hi],
        "counts": not row.code and "record.context" not in row.flags,
    }
    if row.lat_e7 is not None:
        found["place_e7"] = [row.lat_e7, row.lon_e7]
    if row.code:
        found["code"] = row.code
    if row.flags:
        found["flags"] = list(row.flags)
    return found


def check_receipt(
    data: bytes,
    *,
    network: str | None = None,
    least_card: int = 0,
    witnesses: WitnessPolicy | None = None,
) -> CheckedReceipt:
    """Check a receipt, from its bytes alone.

    Args:
        data: the receipt, at most 2 MiB.
        network: the network's DID, from a trusted place. Without it the card vouches for itself,
            and whoever made the receipt may have made the network too.
        least_card: number of the oldest card that is believed. A log key that was stolen signs
            for ever under the card that names it: ask for a receipt under a newer one.
        witnesses: who has to have cosigned the checkpoint, and how many of them; by default whom
            the card names, if it names any.

    Raises:
        LogError: ``log.witness_quorum`` when too few have; ``receipt.*`` names what does not fit;
            ``log.*`` the proof does not prove it.
        NetworkError, SignatureInvalid, KeyRefused, EncodingError, EnvelopeError: card, key or
            envelope does not verify.
    """
    value = _read(data)
    card = _card(value[_CARD], network)
    if card.number < least_card:
        raise _wrong(
            "card_old",
            f"the receipt is under card {card.number}, number {least_card} or later is asked for",
            "ask the operator, or a copy of the log, for a receipt of the same entry made now",
        )
    index, checkpoint, note = _check_proof(value, card)
    checked = _open(value, index)
    leaf, content = checked.leaf, checked.content
    _check_verdict(leaf)
    witnessed = _check_witnesses(note, checkpoint, card, witnesses or card.witnesses)
    proved = (card, network is not None, index, checkpoint, leaf)
    if isinstance(leaf, AdminLeaf) or checked.entry.envelope is None:
        return CheckedReceipt(*proved, cosignatures=witnessed)
    envelope, key = _check_envelope(checked.entry.envelope, value[_KEY], card, leaf)
    own = did_key(key)
    if content is None:
        return CheckedReceipt(*proved, envelope, key, own, cosignatures=witnessed)
    _check_records(content, envelope, key)
    rotated = content.did != own
    return CheckedReceipt(*proved, envelope, key, content.did, rotated, content, witnessed)


def _check_proof(value: dict[int, Any], card: NetworkCard) -> tuple[int, Checkpoint, str]:
    """Index, checkpoint and the signed note of it, from the proof in either encoding."""
    origin = card.log_origin
    keys = [NoteKey(origin, card.log_key.raw)]
    if _PROOF in value:
        checkpoint = verify_tlog_proof(value[_PROOF], value[_LEAF], keys, origin=origin)
        proof = TlogProof.parse(value[_PROOF])
        if proof.extra is not None:
            raise _wrong("form", "the proof carries bytes that nothing authenticates")
        return proof.index, checkpoint, proof.checkpoint
    proved = check_cose_inclusion(value[_COSE], value[_LEAF], card.log_key, origin=origin)
    checkpoint = verify_checkpoint(value[_CHECKPOINT], keys, origin=origin)
    if (proved.size, proved.root) != (checkpoint.size, checkpoint.root):
        raise _wrong("checkpoint", "the COSE Receipt is of another tree than the checkpoint")
    return proved.index, checkpoint, value[_CHECKPOINT]


def _check_witnesses(
    note: str, checkpoint: Checkpoint, card: NetworkCard, policy: WitnessPolicy | None
) -> tuple[Cosignature, ...]:
    if policy is None:
        return ()
    # A log that cosigns with its own key is no witness of itself.
    others = [key for key in policy.keys if key.public != card.log_key]
    found = cosignatures_of(note, others)
    require_quorum(checkpoint, found, policy)
    return found


@lru_cache(maxsize=16)
def _card(data: bytes, network: str | None) -> NetworkCard:
    """Whoever checks many receipts of a network verifies its card once."""
    return read_card(data, network=network)


def _read(data: bytes) -> dict[int, Any]:
    value = cbor.decode(data, max_bytes=MAX_RECEIPT)
    if not isinstance(value, dict) or value.get(_FORMAT_AT) != _FORMAT:
        raise _wrong("form", "the bytes are no receipt of a known version", "update depin-id")
    labels = set(value)
    if labels - _OPENED - {_RECORDS} not in [_REQUIRED | proof for proof in _PROOFS]:
        raise _wrong("form", "the parts of the receipt are not exactly those it has to have")
    if labels & (_OPENED | {_RECORDS}) and not labels >= _OPENED:
        raise _wrong("incomplete", "envelope, salt and key are not all there, or all absent")
    if not all(type(value[label]) is bytes for label in labels & _BYTES):
        raise _wrong("form", "a part of the receipt is not a byte string")
    if not all(type(value[label]) is str for label in labels & _TEXTS):
        raise _wrong("form", "the proof or its checkpoint is not a text")
    return value


def _open(value: dict[int, Any], index: int) -> CheckedEntry:
    entry = OpenEntry(
        index, value[_LEAF], value.get(_SALT), value.get(_ENVELOPE), value.get(_RECORDS)
    )
    try:
        return check_entry(entry)
    except DatasetError as error:
        raise _wrong(error.code.removeprefix("dataset."), error.message, error.hint) from error


def _check_verdict(leaf: Leaf) -> None:
    if isinstance(leaf, AdminLeaf):
        if leaf.kind not in KIND_NAMES:
            raise _wrong("leaf", f"the leaf is of an unknown kind {leaf.kind}", "update depin-id")
        return
    if not is_verdict_code(leaf.code):
        raise _wrong("verdict", f"{leaf.code[:40]!r} is no verdict", "update depin-id")
    if bool(leaf.level) != (leaf.code == "accepted"):
        raise _wrong("verdict", "exactly accepted envelopes have a level")


def _check_envelope(
    raw: bytes, cose_key: bytes, card: NetworkCard, leaf: EnvelopeLeaf
) -> tuple[Envelope, PublicKey]:
    key = PublicKey.from_cose_key(cose_key)
    envelope = parse_envelope(raw, max_bytes=MAX_BUNDLE)
    if envelope.kid != key.kid:
        raise _wrong("key", "the key is not the one that the envelope names")
    # Whether the policy took deprecated identifiers is the verdict's to say, not the signature's.
    envelope.verify(card.network, key, allow_deprecated=True)
    at = envelope.provenance
    if (at.epoch, at.n) != (leaf.epoch, leaf.n):
        raise _wrong(
            "position",
            f"the envelope stands at {at.epoch}/{at.n}, the leaf says {leaf.epoch}/{leaf.n}",
        )
    return envelope, key


def _check_records(content: RecordsContent, envelope: Envelope, key: PublicKey) -> None:
    if content.thumbprint != key.thumbprint:
        raise _wrong("key", "the records were signed with another key than the envelope")
    found = difference(content, envelope)
    if found is not None:
        raise _wrong(*found)
