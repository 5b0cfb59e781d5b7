"""Data Integrity proofs of entries and of witnesses: ``eddsa-jcs-2022`` by a did:key."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, Final

from depin_id.data_integrity import SUITES, split_proof
from depin_id.did.webvh.parameters import admitted
from depin_id.did.webvh.refusal import refuse
from depin_id.did.webvh.times import parse_version_time
from depin_id.errors import DepinError, DIDError, SignatureInvalid
from depin_id.jcs import canonicalize

PURPOSE: Final = "assertionMethod"
MAX_PROOFS: Final = 16
"""The most proofs of one entry."""


@lru_cache(maxsize=4096)
def signing_key(method: str) -> str:
    """The multikey of ``did:key:<multikey>#<multikey>``.

    Raises:
        DIDError: ``did.webvh.proof``: another form, or the two parts differ.
    """
    body, _, fragment = method.partition("#")
    key = body.removeprefix("did:key:")
    if key == body or fragment != key:
        refuse("proof", "the verificationMethod is not did:key:<key>#<key> with one key twice")
    return key


def check_proof(canonical: bytes, proof: Any, signed_at: int, *, allow_published: bool) -> str:
    """Verify one proof; whether its key may sign is for the caller to say.

    Args:
        canonical: the document without proof. signed_at: nanoseconds since 1970.

    Returns:
        The multikey that signed.

    Raises:
        DIDError: ``did.webvh.proof``, ``did.webvh.key``.
    """
    try:
        options, signature = split_proof(proof)
    except DepinError as error:
        refuse("proof", error.message)
    if options["cryptosuite"] != SUITES["ed25519"]:
        refuse("proof", "the cryptosuite is not eddsa-jcs-2022")
    if options["proofPurpose"] != PURPOSE:
        refuse("proof", f"the proofPurpose is not {PURPOSE}")
    if "@context" in options:
        refuse("proof", "the proof names an @context, and entries have none")
    if "expires" in options and _expires(options["expires"]) <= signed_at:
        refuse("proof", "the proof had expired when the entry was made")
    multikey = signing_key(options["verificationMethod"])
    key = admitted(multikey, allow_published)
    try:
        head = hashlib.sha256(canonicalize(options)).digest()
        key.verify(head + hashlib.sha256(canonical).digest(), signature)
    except SignatureInvalid:
        refuse("proof", "the signature of a proof does not verify")
    except DepinError as error:
        refuse("proof", error.message)
    return multikey


def _expires(text: Any) -> int:
    try:
        return parse_version_time(text)
    except DIDError:
        refuse("proof", "expires is not a time in UTC")


def proof_list(value: Any) -> list[Any]:
    """The proofs of an entry: one, or a list of up to 16.

    Raises:
        DIDError: ``did.webvh.proof``.
    """
    listed = value if isinstance(value, list) else [value]
    if not 1 <= len(listed) <= MAX_PROOFS:
        refuse("proof", f"an entry has no proof, or over {MAX_PROOFS}")
    return listed
