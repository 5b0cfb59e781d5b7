"""The DID document of a DID that is one key (DID Core section 5, Multikey form)."""

from __future__ import annotations

from typing import Any, Final

from depin_id.did.multikey import encode_multikey
from depin_id.keys import PublicKey

CONTEXTS: Final = ("https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1")
_RELATIONSHIPS: Final = (
    "authentication",
    "assertionMethod",
    "capabilityInvocation",
    "capabilityDelegation",
)


def key_document(did: str, method_id: str, key: PublicKey) -> dict[str, Any]:
    """A JSON-ready document with one verification method of type Multikey.

    There is no ``keyAgreement``: the keys of devices sign and do nothing else, and the X25519 key
    that could be derived from an Ed25519 key would invite using one secret for two purposes.

    Args:
        did: the subject, and the controller of the method.
        method_id: the DID URL of the verification method.
        key: the admitted key.
    """
    return {
        "@context": list(CONTEXTS),
        "id": did,
        "verificationMethod": [
            {
                "id": method_id,
                "type": "Multikey",
                "controller": did,
                "publicKeyMultibase": encode_multikey(key),
            }
        ],
        **{relationship: [method_id] for relationship in _RELATIONSHIPS},
    }
