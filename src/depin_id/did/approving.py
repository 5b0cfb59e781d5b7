"""A witness of a did:webvh: approves the next version of somebody's log (did:webvh 1.0)."""

from __future__ import annotations

from typing import Any, Final

from depin_id.did.multikey import encode_multikey
from depin_id.did.webvh import Pins, add_witness_proof, verify_prefix, witness_proof
from depin_id.did.webvh.verify import verify_next
from depin_id.errors import DIDError
from depin_id.keys import Signer
from depin_id.strict_json import parse

APPROVED_FILE: Final = "approved.pins"
"""What a witness approved last of each DID, in the witness's own folder."""


def approve(
    log: bytes,
    proofs: bytes | None,
    signer: Signer,
    *,
    now_ms: int,
    pins: Pins,
    allow_published: bool = False,
) -> tuple[str, bytes]:
    """Verify a log up to the first version that is not approved yet, and approve that one.

    Args:
        log: ``did.jsonl``, the new version in it.
        proofs: ``did-witness.json`` as it is, None when there is none.
        signer: of a witness that the log names; Ed25519.
        now_ms: milliseconds since 1970.
        pins: what this witness approved before, of its own: of two histories it approves one.
        allow_published: take keys whose private half is published (test vectors only).

    Returns:
        The ``versionId`` that was approved, and the new ``did-witness.json``.

    Raises:
        DIDError: ``did.nothing_to_approve``, ``did.not_a_witness``, ``did.log_forked``,
            ``did.log_rolled_back``, and ``did.webvh.*`` for a log that does not verify.
        StateError: the pins cannot be kept.
    """
    history, error = verify_prefix(
        log, witness=proofs, now_ms=now_ms, allow_published=allow_published
    )
    if error is None:
        raise DIDError("did.nothing_to_approve", "every version of the log is approved")
    if error.code != "did.webvh.witness":
        raise error
    number = 0 if history is None else len(history)
    line = log.split(b"\n")[number]
    verify_next(history, line, now_ms=now_ms, allow_published=allow_published)
    entry: dict[str, Any] = parse(line)
    if encode_multikey(signer.public_key) not in _named(entry, history):
        raise DIDError(
            "did.not_a_witness",
            f"the log does not name this key as a witness of version {number + 1}",
            hint="name it when the DID is made: did create --witness",
        )
    version_id: str = entry["versionId"]
    scid = entry["parameters"]["scid"] if history is None else history.scid
    pins.promise(history, scid, version_id)
    proof = witness_proof(version_id, signer, now_ms=now_ms)
    made = add_witness_proof(
        proofs, version_id, proof, published=number, allow_published=allow_published
    )
    return version_id, made


def _named(entry: dict[str, Any], history: Any) -> set[str]:
    """Witnesses whose approval may count for an entry: those before it, and those it brings."""
    named = set() if history is None else set(history.last.parameters.witness.witnesses)
    rule = entry["parameters"].get("witness") or {}
    return named | {one["id"].removeprefix("did:key:") for one in rule.get("witnesses", ())}
