"""W3C Data Integrity proofs over canonical JSON: ``eddsa-jcs-2022`` and ``ecdsa-jcs-2019``.

What is signed is SHA-256 (for P-384: SHA-384) of the proof's options, then of the document without
its proof, both canonicalised by RFC 8785 (VC Data Integrity EdDSA section 3.3, ECDSA section 3.3).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from depin_id import base58
from depin_id.errors import CredentialError, EncodingError
from depin_id.jcs import canonicalize
from depin_id.keys import PublicKey, Signer

TYPE: Final = "DataIntegrityProof"
SUITES: Final = {"ed25519": "eddsa-jcs-2022", "p256": "ecdsa-jcs-2019"}
"""The cryptosuite of each curve."""
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.A)


def _wrong(what: str) -> NoReturn:
    raise CredentialError(
        "proof.malformed", what, hint="a DataIntegrityProof of a JCS suite (VC Data Integrity)"
    )


def hash_data(document: Mapping[str, Any], options: Mapping[str, Any]) -> bytes:
    """The 64 bytes that are signed (section 3.3.4), for the suites that use SHA-256.

    Args:
        document: without ``proof``.
        options: the proof without ``proofValue``.

    Raises:
        EncodingError: ``json.not_canonical``.
    """
    first = hashlib.sha256(canonicalize(options)).digest()
    return first + hashlib.sha256(canonicalize(document)).digest()


def make_proof(
    document: Mapping[str, Any],
    signer: Signer,
    *,
    verification_method: str,
    purpose: str,
    created: str | None,
    **more: Any,
) -> dict[str, Any]:
    """The proof of a document.

    Args:
        document: without ``proof``; its ``@context``, where it has one, is signed with the options.
        verification_method: DID URL of the signer's key.
        purpose: ``assertionMethod`` or ``authentication``.
        created: an XML Schema dateTime with zone, or None.
        more: further options, such as ``challenge`` and ``domain``.
    """
    options: dict[str, Any] = {"type": TYPE, "cryptosuite": SUITES[signer.public_key.curve]}
    if created is not None:
        options["created"] = created
    options |= {"verificationMethod": verification_method, "proofPurpose": purpose} | more
    if "@context" in document:
        options["@context"] = document["@context"]
    signature = signer.sign(hash_data(document, options))
    return options | {"proofValue": "z" + base58.encode(signature)}


def split_proof(proof: Any) -> tuple[dict[str, Any], bytes]:
    """The options of a proof and its signature; its form is checked, not the signature.

    Raises:
        CredentialError: ``proof.malformed``, ``proof.suite``.
    """
    if not isinstance(proof, dict) or proof.get("type") != TYPE:
        _wrong(f"the proof is not of type {TYPE}")
    if proof.get("cryptosuite") not in SUITES.values():
        raise CredentialError(
            "proof.suite",
            f"the cryptosuite {str(proof.get('cryptosuite'))[:40]!r} is not taken here",
            hint="use eddsa-jcs-2022 or ecdsa-jcs-2019",
        )
    value, created = proof.get("proofValue"), proof.get("created")
    if not isinstance(value, str) or not value.startswith("z") or len(value) > 256:
        _wrong("the proofValue is not z and base58btc")
    if created is not None and (not isinstance(created, str) or not _TIME.fullmatch(created)):
        _wrong("created is not a dateTime with a zone")
    for name in ("verificationMethod", "proofPurpose"):
        if not isinstance(proof.get(name), str):
            _wrong(f"the proof has no {name}")
    try:
        signature = base58.decode(value[1:])
    except EncodingError:
        _wrong("the proofValue is not z and base58btc")
    options = dict(proof)
    del options["proofValue"]
    return options, signature


def verify_proof(document: Mapping[str, Any], proof: Any, key: PublicKey) -> None:
    """Verify one proof of a document under a key that the caller has found and trusts for it.

    Args:
        document: without ``proof``.
        proof: as it stands in the document.

    Raises:
        CredentialError: ``proof.malformed``, ``proof.suite``, ``proof.context``.
        SignatureInvalid: ``signature.invalid``. EncodingError: ``json.not_canonical``.
    """
    options, signature = split_proof(proof)
    if options["cryptosuite"] != SUITES[key.curve]:
        raise CredentialError(
            "proof.suite", f"{options['cryptosuite']} with a key of {key.curve} does not fit"
        )
    document = _in_context(document, options)
    key.verify(hash_data(document, options), signature)


def _in_context(document: Mapping[str, Any], options: dict[str, Any]) -> Mapping[str, Any]:
    """The document with the contexts that the proof names, which it must begin with."""
    named = options.get("@context")
    if named is None:
        return document
    has = document.get("@context")
    first, own = ([item] if isinstance(item, str) else item for item in (named, has))
    if not isinstance(first, list) or not isinstance(own, list) or own[: len(first)] != first:
        raise CredentialError("proof.context", "the proof names another @context than the document")
    return {**document, "@context": named}
