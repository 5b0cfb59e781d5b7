"""DIDs that are their key: did:key and did:jwk. Their keys need no resolution, and never change."""

from __future__ import annotations

from depin_id.did.jwk import parse_did_jwk
from depin_id.did.key import parse_did_key
from depin_id.keys import PublicKey


def literal_key(did: str) -> PublicKey | None:
    """The admitted key that a DID is; None for a DID of another method, or for none.

    Raises:
        DIDError: ``did.malformed``, ``did.key_not_supported``. KeyRefused: ``key.not_admissible``.
    """
    if did.startswith("did:key:"):
        return parse_did_key(did)
    if did.startswith("did:jwk:"):
        return parse_did_jwk(did)
    return None
