"""Logs made for tests, and their entries made again after a change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from depin_id import base58
from depin_id.data_integrity import hash_data
from depin_id.did.multikey import encode_multikey
from depin_id.did.webvh import (
    History,
    add_witness_proof,
    create,
    extend,
    make_document,
    rotate,
    verify_log,
    witness_proof,
)
from depin_id.did.webvh.parameters import multihash
from depin_id.jcs import canonicalize
from depin_id.keys import SoftwareSigner

T = 1_790_000_000_000
DAY = 86_400_000
PLACE = "example.com:dids:fleet"


def signer(name: str) -> SoftwareSigner:
    """The same key for the same name."""
    return SoftwareSigner("ed25519", hashlib.sha256(f"webvh test {name}".encode()).digest())


def history_of(log: bytes, witness: bytes | None = None) -> History:
    """Verified well after the last entry."""
    return verify_log(log, witness=witness, now_ms=T + 100_000 * DAY)


def rotating(count: int, *, keep: int = 1) -> bytes:
    """A log whose update key is rotated by pre-rotation, a day apart, and whose device key changes
    every ``keep`` entries."""
    log = create(PLACE, signer("0"), now_ms=T, next_keys=[signer("1").public_key])
    history = history_of(log)
    for number in range(1, count):
        key = signer(f"device {number // keep}").public_key
        line = rotate(
            history,
            signer(str(number)),
            now_ms=T + number * DAY,
            next_keys=[signer(str(number + 1)).public_key],
            document=make_document(history.did, {"key-1": key}),
        )
        log += line
        history = history_of(log) if count < 50 else _append(history, log)
    return log


def _append(history: History, log: bytes) -> History:
    return extend(history, log, now_ms=T + 100_000 * DAY)


def entries(log: bytes) -> list[Any]:
    """The entries of a log, as JSON."""
    return [json.loads(line) for line in log.splitlines()]


def joined(found: list[Any]) -> bytes:
    """A log of entries."""
    return b"".join(json.dumps(one).encode() + b"\n" for one in found)


def approve(file: bytes | None, line: bytes, published: int, *names: str) -> bytes:
    """``did-witness.json`` with the proofs of these witnesses for the version of a line."""
    version_id = json.loads(line)["versionId"]
    for name in names:
        proof = witness_proof(version_id, signer(name), now_ms=T)
        file = add_witness_proof(file, version_id, proof, published=published)
    assert file is not None
    return file


def signed(entry: dict[str, Any], *names: str, **options: Any) -> dict[str, Any]:
    """An entry with proofs of these signers and no other.

    Args:
        options: of the proofs, in place of those that they should have.
    """
    entry = {name: value for name, value in entry.items() if name != "proof"}
    proofs = []
    for name in names:
        key = encode_multikey(signer(name).public_key)
        given = {
            "type": "DataIntegrityProof",
            "cryptosuite": "eddsa-jcs-2022",
            "created": entry["versionTime"],
            "verificationMethod": f"did:key:{key}#{key}",
            "proofPurpose": "assertionMethod",
        } | options
        value = base58.encode(signer(name).sign(hash_data(entry, given)))
        proofs.append(given | {"proofValue": "z" + value})
    return entry | {"proof": proofs}


def remade(log: bytes, number: int, change: Callable[[dict[str, Any]], None], *names: str) -> bytes:
    """A log whose entry of this number was changed, hashed and signed again; it ends there.

    The first entry is given a new SCID as well.
    """
    found = entries(log)[:number]
    entry = found[-1]
    change(entry)
    del entry["proof"]
    if number == 1:
        text = json.dumps(entry | {"versionId": "{SCID}"})
        entry = json.loads(text.replace(entry["parameters"]["scid"], "{SCID}"))
        scid = multihash(canonicalize(entry))
        entry = json.loads(json.dumps(entry).replace("{SCID}", scid))
        before = scid
    else:
        before = found[-2]["versionId"]
    shown = entry["versionId"].partition("-")[0] if number > 1 else "1"
    entry["versionId"] = f"{shown}-{multihash(canonicalize(entry | {'versionId': before}))}"
    found[-1] = signed(entry, *names)
    return joined(found)
