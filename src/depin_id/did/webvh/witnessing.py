"""What a witness gives, and the file it goes into (did:webvh 1.0, "DID Witnesses").

A witness verifies the whole log with the new entry first: :func:`~depin_id.did.webvh.extend`.
"""

from __future__ import annotations

import json
from typing import Any

from depin_id.data_integrity import make_proof
from depin_id.did.multikey import encode_multikey
from depin_id.did.webvh.entry import split_version_id
from depin_id.did.webvh.proofs import PURPOSE, check_proof, signing_key
from depin_id.did.webvh.refusal import refuse
from depin_id.did.webvh.times import format_time
from depin_id.did.webvh.witnesses import read_witness_file
from depin_id.errors import DIDError
from depin_id.jcs import canonicalize
from depin_id.keys import Signer


def witness_proof(version_id: str, signer: Signer, *, now_ms: int) -> dict[str, Any]:
    """A witness's approval of a version and of all before it.

    Args:
        version_id: of the new entry, which the witness has verified. signer: Ed25519.

    Raises:
        DIDError: ``did.webvh.version_id``, ``did.webvh.key``, ``did.webvh.version_time``.
    """
    split_version_id(version_id)
    if signer.public_key.curve != "ed25519":
        refuse("key", "did:webvh 1.0 signs with Ed25519 only")
    multikey = encode_multikey(signer.public_key)
    return make_proof(
        {"versionId": version_id},
        signer,
        verification_method=f"did:key:{multikey}#{multikey}",
        purpose=PURPOSE,
        created=format_time(now_ms),
    )


def _witness(proof: Any) -> str | None:
    method = proof.get("verificationMethod") if isinstance(proof, dict) else None
    try:
        return signing_key(method) if isinstance(method, str) else None
    except DIDError:
        return None


def add_witness_proof(
    data: bytes | None,
    version_id: str,
    proof: dict[str, Any],
    *,
    published: int,
    allow_published: bool = False,
) -> bytes:
    """``did-witness.json`` with one more proof.

    Of each witness the last proof of a published version stays, and those of versions to come.

    Args:
        data: the file as it is, None when there is none. proof: is verified.
        published: number of the last version that is published.

    Raises:
        DIDError: ``did.webvh.witness``: the file is malformed; ``did.webvh.proof``,
            ``did.webvh.version_id``.
    """
    split_version_id(version_id)
    canonical = canonicalize({"versionId": version_id})
    check_proof(canonical, proof, 0, allow_published=allow_published)
    records: dict[str, list[Any]] = {}
    for name, proofs in read_witness_file(data) if data is not None else []:
        records.setdefault(name, []).extend(proofs)
    listed = records.setdefault(version_id, [])
    listed[:] = [one for one in listed if _witness(one) != _witness(proof)] + [proof]
    ordered = sorted(records, key=lambda name: split_version_id(name)[0], reverse=True)
    kept, seen = [], set[str | None]()
    for name in ordered:
        old = split_version_id(name)[0] <= published
        proofs = [one for one in records[name] if not (old and _witness(one) in seen)]
        if old:
            seen |= {_witness(one) for one in proofs}
        if proofs:
            kept.append({"versionId": name, "proof": proofs})
    return json.dumps(kept[::-1], indent=1).encode() + b"\n"
