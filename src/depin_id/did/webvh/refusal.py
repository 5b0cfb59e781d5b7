"""The named reasons for which a did:webvh log, witness file or DID is refused."""

from __future__ import annotations

from typing import Final, NoReturn

from depin_id.errors import DIDError

HINTS: Final = {
    "did": "did:webvh:<scid>:<domain>[%3A<port>][:<path>...], a domain name, never an address",
    "log": "one JSON object a line: versionId, versionTime, parameters, state, proof",
    "version_id": "<number>-<entry hash>, from 1 on without gaps",
    "version_time": "UTC, such as 2026-11-21T14:00:00Z, later than the entry before, not after now",
    "parameters": "see did:webvh 1.0, parameters",
    "method_version": "this software reads did:webvh:1.0",
    "scid": "the first entry is not the one that this DID was made of",
    "entry_hash": "the entry was changed after it was made, or entries are missing before it",
    "proof": "every entry has Data Integrity proofs, eddsa-jcs-2022, for assertionMethod",
    "not_authorised": "sign with a key of the active updateKeys",
    "pre_rotation": "new update keys must have been announced in nextKeyHashes",
    "witness": "collect proofs of the active witnesses, publish did-witness.json before the log",
    "deactivated": "a deactivated DID takes no further entries",
    "portable": "only a portable DID moves, and it names its former DID in alsoKnownAs",
    "key": "use a fresh Ed25519 key in its one multikey spelling",
    "too_large": "a log has a bounded number of entries and bytes",
}


def refusal(reason: str, message: str) -> DIDError:
    """The error ``did.webvh.<reason>`` with the hint that belongs to it."""
    return DIDError(f"did.webvh.{reason}", message, hint=HINTS[reason])


def refuse(reason: str, message: str) -> NoReturn:
    """Raise :func:`refusal`."""
    raise refusal(reason, message)
