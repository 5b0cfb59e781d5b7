"""Issuing: a typed credential becomes a signed document."""

from __future__ import annotations

import json
from typing import Any

from depin_id.credentials.models import Credential
from depin_id.credentials.wire import read, write
from depin_id.data_integrity import ProofSigner, make_proof
from depin_id.errors import CredentialError
from depin_id.jcs import canonicalize


def issue(
    credential: Credential, signer: ProofSigner, *, verification_method: str, created: str
) -> dict[str, Any]:
    """Sign a credential as its issuer.

    Args:
        credential: one of the models.
        signer: Ed25519 (eddsa-jcs-2022), or P-256 or P-384 (ecdsa-jcs-2019, RFC 6979).
        verification_method: DID URL of the signer's key, under the issuer's DID.
        created: when, ``2026-11-21T09:30:00Z``.

    Returns:
        The document with its ``proof``, members in canonical order, ready for ``json.dumps``.

    Raises:
        CredentialError: ``credential.method``, ``credential.type``,
            ``credential.malformed``.
    """
    if verification_method.split("#", 1)[0] != credential.issuer:
        raise CredentialError(
            "credential.method",
            f"{verification_method[:120]} is no key of the issuer {credential.issuer[:120]}",
        )
    document: dict[str, Any] = json.loads(write(credential))
    proof = make_proof(
        document,
        signer,
        verification_method=verification_method,
        purpose="assertionMethod",
        created=created,
    )
    # What is issued is read once as others will: nothing leaves that would be refused.
    signed = canonicalize({**document, "proof": proof})
    read(signed)
    found: dict[str, Any] = json.loads(signed)
    return found
