"""Receipts for the vectors: a log of four leaves, good receipts and what is wrong with others."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from depin_id import cbor
from tests.docs.logged import SECRET, records_content
from tests.docs.material import NOON, Material
from tests.docs.valid import Envelopes, card_cases
from verify.leaf import AdminLeaf, EnvelopeLeaf
from verify.log import (
    Checkpoint,
    TlogProof,
    cosign,
    leaf_hash,
    node_hash,
    root_of,
    sign_checkpoint,
    sign_cose_inclusion,
)
from verify.store.data_key import DataKey, commitment

ORIGIN = "example.net/noise-log"
ACCEPTED, REFUSED = 2, 3
FORMAT = "depin-receipt/1"


class Log:
    """Genesis, policy, an accepted envelope and a refused one, under one checkpoint."""

    def __init__(self, made: Material, envelopes: Envelopes, **changed: Any) -> None:
        self.made, key = made, DataKey(SECRET)
        self.card, self.strict_card = (bytes.fromhex(case["bytes"]) for case in card_cases(made))
        self.envelopes = {
            ACCEPTED: envelopes.by_name["Ed25519, readings: 1"],
            REFUSED: envelopes.by_name["Ed25519, readings: 10"],
        }
        self.salts = {index: key.salt(index) for index in self.envelopes}
        whole = records_content(made)
        self.records = replace(whole, rows=whole.rows[:1]).encode()
        received, policy = NOON * 1000 + 1234, hashlib.sha256(b"policy").digest()
        digest = hashlib.sha256(self.card).digest()
        accepted = EnvelopeLeaf(
            hashlib.sha256(b"random reference").digest()[:16],
            7,
            0,
            commitment(self.salts[ACCEPTED], self.envelopes[ACCEPTED]),
            commitment(self.salts[ACCEPTED], self.records),
            "accepted",
            (),
            "D1",
            received,
            policy[:16],
            1,
        )
        refused = accepted._replace(
            n=1,
            envelope=commitment(self.salts[REFUSED], self.envelopes[REFUSED]),
            records=None,
            code="profile.required",
            level="",
        )
        self.leaves = [
            AdminLeaf(1, received, [digest, made.network, False]).encode(),
            AdminLeaf(2, received, [policy, 1]).encode(),
            accepted._replace(**changed).encode(),
            refused.encode(),
        ]

    def note(
        self, *, by: str = "log", size: int = 4, witness: str = "", moved: bool = False
    ) -> str:
        """The signed checkpoint; the key ``witness`` has cosigned it (``moved``: another)."""
        root = root_of([leaf_hash(leaf) for leaf in self.leaves[:size]])
        signer, checkpoint = self.made.signers[by], Checkpoint(ORIGIN, size, root)
        note = sign_checkpoint(checkpoint, ORIGIN, signer.public_key.raw, signer.sign)
        if not witness:
            return note
        body = Checkpoint(ORIGIN, 5, root).body if moved else checkpoint.body
        return note + cosign(body, "witness.example/w1", self.made.signers[witness], NOON)

    def path(self, index: int) -> tuple[bytes, ...]:
        """The inclusion proof of a leaf."""
        hashes = [leaf_hash(leaf) for leaf in self.leaves]
        pairs = [node_hash(*hashes[:2]), node_hash(*hashes[2:])]
        return hashes[index ^ 1], pairs[1 - index // 2]

    def proof(self, index: int, *, at: int | None = None, **note: Any) -> str:
        """The tlog-proof of a leaf; ``at`` is the index it claims, ``note`` of its checkpoint."""
        noted = self.note(**note)
        return TlogProof(index if at is None else at, self.path(index), noted).format()

    def cose(self, index: int, *, by: str = "log", origin: str = ORIGIN) -> bytes:
        """The COSE Receipt of a leaf."""
        path, signer = self.path(index), self.made.signers[by]
        return sign_cose_inclusion(index, 4, self.leaves[index], path, signer=signer, origin=origin)

    def as_cose(self, index: int, **note: Any) -> dict[int, Any]:
        """A receipt whose proof is a COSE Receipt."""
        parts = self.parts(index)
        del parts[4]
        return parts | {9: self.cose(index), 10: self.note(**note)}

    def parts(self, index: int) -> dict[int, Any]:
        """A receipt as a map."""
        found = {1: FORMAT, 2: self.card, 3: self.leaves[index], 4: self.proof(index)}
        if index in self.envelopes:
            key = self.made.key("device").cose_key
            found |= {5: self.envelopes[index], 7: self.salts[index], 8: key}
        if index == ACCEPTED:
            found[6] = self.records
        return found


def receipt_cases(made: Material, envelopes: Envelopes) -> list[dict[str, Any]]:
    """Receipts of an accepted, a refused and an erased envelope, and of administration."""
    log = Log(made, envelopes)
    accepted = log.parts(ACCEPTED)
    rows = [
        ("accepted, with its records", ACCEPTED, accepted),
        ("refused, so without records", REFUSED, log.parts(REFUSED)),
        ("erased: the leaf alone", ACCEPTED, {label: accepted[label] for label in range(1, 5)}),
        ("administration", 0, log.parts(0)),
        ("proved by a COSE Receipt, with its records", ACCEPTED, log.as_cose(ACCEPTED)),
        (
            "cosigned as its card asks, with its records",
            ACCEPTED,
            accepted | {2: log.strict_card, 4: log.proof(ACCEPTED, witness="witness")},
        ),
        (
            "cosigned and proved by a COSE Receipt, with its records",
            ACCEPTED,
            log.as_cose(ACCEPTED, witness="witness") | {2: log.strict_card},
        ),
    ]
    return [
        {"name": name, "network": made.network, "index": index, "bytes": cbor.encode(value).hex()}
        for name, index, value in rows
    ]


def bad_receipts(made: Material, envelopes: Envelopes) -> list[dict[str, Any]]:
    """One thing wrong in each."""
    log = Log(made, envelopes)
    good, levelled = log.parts(ACCEPTED), Log(made, envelopes, level="").parts(ACCEPTED)
    elsewhere = Log(made, envelopes, n=2).parts(ACCEPTED)
    stranger, here = made.key("stranger").cose_key, made.network
    strict, cose = log.strict_card, log.as_cose(ACCEPTED)
    rows: list[tuple[str, dict[int, Any], str, str]] = [
        ("of another network", good, made.other_network, "network.foreign"),
        ("of an unknown version", good | {1: "depin-receipt/2"}, here, "receipt.form"),
        ("a member too many", good | {9: b""}, here, "receipt.form"),
        ("proof as bytes", good | {4: good[4].encode()}, here, "receipt.form"),
        ("no salt", {k: v for k, v in good.items() if k != 7}, here, "receipt.incomplete"),
        ("no records", {k: v for k, v in good.items() if k != 6}, here, "receipt.commitment"),
        ("another salt", good | {7: log.salts[REFUSED]}, here, "receipt.commitment"),
        ("another envelope", good | {5: log.envelopes[REFUSED]}, here, "receipt.commitment"),
        ("another leaf", good | {3: log.leaves[REFUSED]}, here, "log.proof"),
        ("another index", good | {4: log.proof(ACCEPTED, at=REFUSED)}, here, "log.proof"),
        ("another log key", good | {4: log.proof(ACCEPTED, by="stranger")}, here, "log.signature"),
        ("another key", good | {8: stranger}, here, "receipt.key"),
        ("accepted without a level", levelled, here, "receipt.verdict"),
        ("leaf names another position", elsewhere, here, "receipt.position"),
        ("no witness has cosigned", good | {2: strict}, here, "log.witness_quorum"),
        (
            "cosigned by a stranger",
            good | {2: strict, 4: log.proof(ACCEPTED, witness="stranger")},
            here,
            "log.witness_quorum",
        ),
        (
            "cosignature of another checkpoint",
            good | {2: strict, 4: log.proof(ACCEPTED, witness="witness", moved=True)},
            here,
            "log.signature",
        ),
        ("both encodings of the proof", good | {9: cose[9], 10: cose[10]}, here, "receipt.form"),
        ("no proof", {k: v for k, v in good.items() if k != 4}, here, "receipt.form"),
        (
            "a COSE Receipt without its checkpoint",
            {k: v for k, v in cose.items() if k != 10},
            here,
            "receipt.form",
        ),
        (
            "a COSE Receipt of another leaf",
            cose | {9: log.cose(REFUSED)},
            here,
            "signature.invalid",
        ),
        (
            "a COSE Receipt by another key",
            cose | {9: log.cose(ACCEPTED, by="stranger")},
            here,
            "log.signature",
        ),
        (
            "a COSE Receipt of another log",
            cose | {9: log.cose(ACCEPTED, origin="example.net/other")},
            here,
            "log.origin",
        ),
        (
            "a COSE Receipt beside another checkpoint",
            cose | {10: log.note(size=3)},
            here,
            "receipt.checkpoint",
        ),
        (
            "a COSE Receipt, and no witness has cosigned",
            cose | {2: strict},
            here,
            "log.witness_quorum",
        ),
    ]
    return [
        {
            "operation": "receipt",
            "name": name,
            "bytes": cbor.encode(value).hex(),
            "network": network,
            "error": error,
        }
        for name, value, network, error in rows
    ]
