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
from verify.log import Checkpoint, TlogProof, leaf_hash, node_hash, root_of, sign_checkpoint
from verify.store.data_key import DataKey, commitment

ORIGIN = "example.net/noise-log"
ACCEPTED, REFUSED = 2, 3
FORMAT = "depin-receipt/1"


class Log:
    """Genesis, policy, an accepted envelope and a refused one, under one checkpoint."""

    def __init__(self, made: Material, envelopes: Envelopes, **changed: Any) -> None:
        self.made, key = made, DataKey(SECRET)
        self.card = bytes.fromhex(card_cases(made)[0]["bytes"])
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

    def proof(self, index: int, *, at: int | None = None, by: str = "log") -> str:
        """The tlog-proof of a leaf; ``at`` is the index it claims, ``by`` the log key's name."""
        hashes = [leaf_hash(leaf) for leaf in self.leaves]
        pairs = [node_hash(*hashes[:2]), node_hash(*hashes[2:])]
        signer = self.made.signers[by]
        note = sign_checkpoint(
            Checkpoint(ORIGIN, 4, root_of(hashes)), ORIGIN, signer.public_key.raw, signer.sign
        )
        path = (hashes[index ^ 1], pairs[1 - index // 2])
        return TlogProof(index if at is None else at, path, note).format()

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
