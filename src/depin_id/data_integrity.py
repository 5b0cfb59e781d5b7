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
from depin_id.ecdsa import P384Signer, VerificationKey, sign_deterministic, verify_any_s
from depin_id.errors import CredentialError, EncodingError
from depin_id.jcs import canonicalize
from depin_id.keys import Signer, SoftwareSigner

TYPE: Final = "DataIntegrityProof"
SUITES: Final = {"ed25519": "eddsa-jcs-2022", "p256": "ecdsa-jcs-2019", "p384": "ecdsa-jcs-2019"}
"""The cryptosuite of each curve."""
ProofSigner = Signer | P384Signer
"""Whatever makes proofs."""
_KNOWN: Final = frozenset(SUITES.values())
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.A)


def _wrong(what: str) -> NoReturn:
    raise CredentialError(
        "proof.malformed", what, hint="a DataIntegrityProof of a JCS suite (VC Data Integrity)"
    )


def _hashed(options: bytes, document: bytes, curve: str) -> bytes:
    digest = hashlib.sha384 if curve == "p384" else hashlib.sha256
    return digest(options).digest() + digest(document).digest()


def hash_data(
    document: Mapping[str, Any], options: Mapping[str, Any], *, curve: str = "ed25519"
) -> bytes:
    """The 64 bytes that are signed, for P-384 the 96 (section 3.3.4).

    Args:
        document: without ``proof``.
        options: the proof without ``proofValue``.
        curve: of the key.

    Raises:
        EncodingError: ``json.not_canonical``.
    """
    return _hashed(canonicalize(options), canonicalize(document), curve)


def make_proof(
    document: Mapping[str, Any],
    signer: ProofSigner,
    *,
    verification_method: str,
    purpose: str,
    created: str | None,
    **more: Any,
) -> dict[str, Any]:
    """The proof of a document.

    Args:
        document: without ``proof``; its ``@context``, where it has one, is signed with the options.
        signer: with a P-256 key in software the signature is deterministic (RFC 6979).
        verification_method: DID URL of the signer's key.
        purpose: ``assertionMethod`` or ``authentication``.
        created: an XML Schema dateTime with zone, or None.
        more: further options, such as ``expires``, ``challenge`` and ``domain``.
    """
    options: dict[str, Any] = {"type": TYPE, "cryptosuite": SUITES[signer.public_key.curve]}
    if created is not None:
        options["created"] = created
    options |= {"verificationMethod": verification_method, "proofPurpose": purpose} | more
    if "@context" in document:
        options["@context"] = document["@context"]
    message = hash_data(document, options, curve=signer.public_key.curve)
    if isinstance(signer, SoftwareSigner) and signer.public_key.curve == "p256":
        signature = sign_deterministic(signer, message)
    else:
        signature = signer.sign(message)
    return options | {"proofValue": "z" + base58.encode(signature)}


def split_proof(proof: Any) -> tuple[dict[str, Any], bytes]:
    """The options of a proof and its signature; its form is checked, not the signature.

    Raises:
        CredentialError: ``proof.malformed``, ``proof.suite``.
    """
    if not isinstance(proof, dict) or proof.get("type") != TYPE:
        _wrong(f"the proof is not of type {TYPE}")
    suite = proof.get("cryptosuite")
    if not isinstance(suite, str) or suite not in _KNOWN:
        raise CredentialError(
            "proof.suite",
            f"the cryptosuite {str(suite)[:40]!r} is not taken here",
            hint="use eddsa-jcs-2022 or ecdsa-jcs-2019",
        )
    value = proof.get("proofValue")
    if not isinstance(value, str) or not value.startswith("z") or len(value) > 256:
        _wrong("the proofValue is not z and base58btc")
    for name in ("created", "expires"):
        moment = proof.get(name)
        if moment is not None and (not isinstance(moment, str) or not _TIME.fullmatch(moment)):
            _wrong(f"{name} is not a dateTime with a zone")
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


def verify_proof(document: Mapping[str, Any], proof: Any, key: VerificationKey) -> None:
    """Verify one proof of a document under a key that the caller has found and trusts for it.

    Whether it has expired, and what its domain and challenge should be, is asked in
    :func:`depin_id.proof_sets.verify_secured`.

    Args:
        document: without ``proof``.
        proof: as it stands in the document.

    Raises:
        CredentialError: ``proof.malformed``, ``proof.suite``, ``proof.context``, ``proof.chain``
            for one that builds on other proofs.
        SignatureInvalid: ``signature.invalid``. EncodingError: ``json.not_canonical``.
    """
    if isinstance(proof, dict) and "previousProof" in proof:
        raise CredentialError(
            "proof.chain", "the proof builds on others", hint="verify the whole chain"
        )
    options, signature = split_proof(proof)
    verify_options(document, options, signature, key)


def verify_options(
    document: Mapping[str, Any], options: dict[str, Any], signature: bytes, key: VerificationKey
) -> None:
    """As :func:`verify_proof`, of a proof that :func:`split_proof` has split."""
    if options["cryptosuite"] != SUITES[key.curve]:
        raise CredentialError(
            "proof.suite", f"{options['cryptosuite']} with a key of {key.curve} does not fit"
        )
    document = in_context(document, options)
    written = canonicalize(document)
    digest = hashlib.sha256(written).digest()
    verify_canonical(key, canonicalize(options), written, digest, signature)


def verify_canonical(
    key: VerificationKey, options: bytes, document: bytes, digest: bytes, signature: bytes
) -> None:
    """Verify a signature over what is canonical already.

    Args:
        options, document: canonical bytes.
        digest: SHA-256 of the document.

    Raises:
        SignatureInvalid: ``signature.invalid``.
    """
    if key.curve == "p384":
        key.verify(_hashed(options, document, key.curve), signature)
        return
    message = hashlib.sha256(options).digest() + digest
    if key.curve == "p256":
        verify_any_s(key, message, signature)
    else:
        key.verify(message, signature)


def in_context(document: Mapping[str, Any], options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document with the contexts that the proof names, which it must begin with.

    What stands behind them is not signed, and not given back.

    Raises:
        CredentialError: ``proof.context``.
    """
    named = options.get("@context")
    if named is None:
        return document
    has = document.get("@context")
    first, own = ([item] if isinstance(item, str) else item for item in (named, has))
    if not isinstance(first, list) or not isinstance(own, list) or own[: len(first)] != first:
        raise CredentialError("proof.context", "the proof names another @context than the document")
    return {**document, "@context": named}
