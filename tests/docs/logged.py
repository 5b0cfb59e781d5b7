"""The aggregator's half of the valid vectors: salts, commitments, leaves and judged records."""

from __future__ import annotations

import hashlib
from typing import Any

from depin_id.did.key import did_key
from depin_id.senml import Decimal64
from tests.docs.material import NOON, Material
from tests.docs.valid import Envelopes
from verify.leaf import AdminLeaf, EnvelopeLeaf, RecordRow, RecordsContent, parse_leaf
from verify.log import leaf_hash
from verify.store.data_key import DataKey, commitment

SECRET = hashlib.sha256(b"depin-id protocol-1 example data key").digest()
INDEX = 4097


def records_content(made: Material) -> RecordsContent:
    """One row of each kind."""
    ms = NOON * 1000
    rows = (
        RecordRow("LAeq", "dB", Decimal64(5231, -2), ms - 500, ms + 500, None, None, "", ()),
        RecordRow(
            "LAeq",
            "dB",
            Decimal64(199),
            None,
            ms,
            481374300,
            115754900,
            "value.out_of_range",
            ("time.unbounded",),
        ),
        RecordRow("door", "", True, ms, ms, None, None, "", ()),
        RecordRow("note", "", "rain", ms, ms, None, None, "record.unknown_name", ()),
        RecordRow("raw", "", b"\x01\x02", ms, ms, -900000000, -1800000000, "", ("record.context",)),
    )
    did = did_key(made.key("device"))
    return RecordsContent(did, made.key("device").thumbprint, did, rows)


def records_case(made: Material) -> dict[str, Any]:
    """What a records commitment opens to."""
    content = records_content(made)
    rows = [
        {
            "name": row.name,
            "unit": row.unit,
            "value": row.value.hex() if isinstance(row.value, bytes) else str(row.value),
            "time_lo": row.time_lo,
            "time_hi": row.time_hi,
            "lat_e7": row.lat_e7,
            "lon_e7": row.lon_e7,
            "code": row.code,
            "flags": list(row.flags),
        }
        for row in content.rows
    ]
    return {
        "did": content.did,
        "thumbprint": content.thumbprint.hex(),
        "subject": content.subject,
        "rows": rows,
        "bytes": content.encode().hex(),
    }


def salt_cases(made: Material, envelopes: Envelopes) -> dict[str, Any]:
    """Salts of some entries, and the two commitments of one."""
    key = DataKey(SECRET)
    envelope = envelopes.by_name["Ed25519, readings: 1"]
    records = records_content(made).encode()
    return {
        "data_key": SECRET.hex(),
        "salts": [
            {"index": index, "salt": key.salt(index).hex()} for index in (0, 1, INDEX, 2**40)
        ],
        "commitments": [
            {
                "index": INDEX,
                "content": content.hex(),
                "commitment": commitment(key.salt(INDEX), content).hex(),
            }
            for content in (envelope, records)
        ],
    }


def leaf_cases(made: Material, envelopes: Envelopes) -> list[dict[str, Any]]:
    """Leaves of both shapes with their RFC 6962 leaf hashes."""
    salt = DataKey(SECRET).salt(INDEX)
    device = hashlib.sha256(b"random reference").digest()[:16]
    policy = hashlib.sha256(b"policy").digest()[:16]
    envelope = commitment(salt, envelopes.by_name["Ed25519, readings: 1"])
    records = commitment(salt, records_content(made).encode())
    received = NOON * 1000 + 1234
    accepted = EnvelopeLeaf(
        device,
        7,
        0,
        envelope,
        records,
        "accepted",
        ("late", "sequence.gap"),
        "D1",
        received,
        policy,
        1,
    )
    refused = EnvelopeLeaf(
        device, 7, 1, envelope, None, "chain.broken", (), "", received, policy, 1
    )
    admin = AdminLeaf(1, received, ["example", {"note": "administration"}])
    return [
        {"name": name, "bytes": leaf.encode().hex(), "leaf_hash": leaf_hash(leaf.encode()).hex()}
        for name, leaf in (
            ("accepted envelope", accepted),
            ("rejected envelope", refused),
            ("administration", admin),
        )
        if parse_leaf(leaf.encode()) == leaf
    ]
