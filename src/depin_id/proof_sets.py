"""Documents with one proof or several: sets, chains, expiry, domain and challenge.

A proof that names a ``previousProof`` signs the document together with the proofs that it names (VC
Data Integrity sections 2.1.1 and 2.1.2, 4.3 and 4.5). All proofs of a document have to hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from depin_id import rfc3339
from depin_id.data_integrity import (
    ProofSigner,
    in_context,
    make_proof,
    split_proof,
    verify_options,
)
from depin_id.ecdsa import VerificationKey
from depin_id.errors import CredentialError

MAX_PROOFS: Final = 16
"""Bound on the proofs of one document: each costs a signature."""
KeyOfProof = Callable[[Mapping[str, Any]], VerificationKey]
"""Gives the admitted key for a proof's options, or raises a DepinError."""


@dataclass(frozen=True, slots=True)
class Secured:
    """A document whose proofs all hold.

    Attributes:
        document: without ``proof``, and with those contexts only that every proof signs.
        proofs: their options, in the document's order.
    """

    document: dict[str, Any]
    proofs: tuple[dict[str, Any], ...]


def _refuse(code: str, what: str, hint: str = "") -> NoReturn:
    raise CredentialError(code, what, hint=hint)


def add_proof(
    secured: Mapping[str, Any],
    signer: ProofSigner,
    *,
    verification_method: str,
    purpose: str,
    created: str | None,
    previous: str | Sequence[str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """The document with one proof more.

    Args:
        secured: with its ``proof`` or without.
        previous: ``id`` of the proofs that this one builds on: then it signs them too.
        more: further options: ``id``, ``expires``, ``domain``, ``challenge``.

    Raises:
        CredentialError: ``proof.chain``, ``proof.too_many``, ``proof.malformed``.
    """
    there = _proofs(secured) if "proof" in secured else []
    if len(there) >= MAX_PROOFS:
        _refuse("proof.too_many", f"a document has at most {MAX_PROOFS} proofs")
    document = {name: item for name, item in secured.items() if name != "proof"}
    signed = document
    if previous is not None:
        named = previous if isinstance(previous, str) else list(previous)
        more["previousProof"] = named
        signed = {**document, "proof": _matching(there, named)}
    made = make_proof(
        signed,
        signer,
        verification_method=verification_method,
        purpose=purpose,
        created=created,
        **more,
    )
    return {**document, "proof": [*there, made] if there else made}


def verify_secured(
    secured: Mapping[str, Any],
    *,
    key_of: KeyOfProof,
    purpose: str,
    now_ms: int,
    domain: str | None = None,
    challenge: str | None = None,
) -> Secured:
    """Verify every proof of a document.

    Args:
        secured: with ``proof``: one, or a list of up to 16.
        key_of: finds, admits and trusts the key of a proof, by its options.
        purpose: what each proof has to be made for.
        now_ms: milliseconds since 1970; no proof may have expired.
        domain, challenge: what each proof has to name; without them none may name one, for then it
            was made for somebody else's question.

    Raises:
        CredentialError: ``proof.malformed``, ``.suite``, ``.context``, ``.purpose``, ``.expired``,
            ``.domain``, ``.challenge``, ``.chain`` (a proof that is not there, or a circle),
            ``.too_many``. SignatureInvalid, EncodingError; whatever ``key_of`` raises.
    """
    proofs = _proofs(secured)
    document = {name: item for name, item in secured.items() if name != "proof"}
    _check_chain(proofs)
    split = [split_proof(proof) for proof in proofs]
    for options, _ in split:
        _check_options(options, purpose, now_ms, domain, challenge)
    given = document
    for options, signature in split:
        signed: Mapping[str, Any] = document
        if "previousProof" in options:
            signed = {**document, "proof": _matching(proofs, options["previousProof"])}
        verify_options(signed, options, signature, key_of(options))
        given = _fewer(given, dict(in_context(document, options)))
    return Secured(given, tuple(options for options, _ in split))


def _proofs(secured: Mapping[str, Any]) -> list[Any]:
    proof: Any = secured.get("proof")
    found: list[Any] = proof if isinstance(proof, list) else [proof]
    if not found or not all(isinstance(one, dict) for one in found):
        _refuse("proof.malformed", "the document has no proof, or one that is no object")
    if len(found) > MAX_PROOFS:
        _refuse("proof.too_many", f"{len(found)} proofs, at most {MAX_PROOFS} are verified")
    names = [one["id"] for one in found if "id" in one]
    if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        _refuse("proof.malformed", "an id of a proof is no text, or stands twice")
    return found


def _matching(proofs: list[Any], named: Any) -> list[Any]:
    """The proofs that a ``previousProof`` names, in its order."""
    names = [named] if isinstance(named, str) else named
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        _refuse("proof.malformed", "previousProof is no id and no list of ids")
    by_id = {one["id"]: one for one in proofs if "id" in one}
    if len(set(names)) != len(names) or not by_id.keys() >= set(names):
        _refuse("proof.chain", "previousProof names a proof that is not there, or one twice")
    return [by_id[name] for name in names]


def _check_chain(proofs: list[Any]) -> None:
    """No proof may build on itself, by whatever way."""
    before = {
        index: [proofs.index(one) for one in _matching(proofs, proof["previousProof"])]
        for index, proof in enumerate(proofs)
        if "previousProof" in proof
    }
    settled = {index for index in range(len(proofs)) if index not in before}
    while before.keys() - settled:
        ready = {i for i, on in before.items() if i not in settled and settled.issuperset(on)}
        if not ready:
            _refuse("proof.chain", "proofs build on each other in a circle")
        settled |= ready


def _check_options(
    options: dict[str, Any], purpose: str, now_ms: int, domain: str | None, challenge: str | None
) -> None:
    if options["proofPurpose"] != purpose:
        _refuse("proof.purpose", f"made for {options['proofPurpose'][:40]!r}, not for {purpose}")
    if "expires" in options and now_ms > _milliseconds(options["expires"]):
        _refuse("proof.expired", f"the proof was good until {str(options['expires'])[:40]}")
    if "created" in options:
        _milliseconds(options["created"])
    named = options.get("domain")
    if domain is None and named is not None or domain not in _texts(named):
        _refuse("proof.domain", f"made for the domain {str(named)[:80]!r}, not for {domain!r}")
    if options.get("challenge") != challenge:
        _refuse("proof.challenge", "made for another challenge")


def _texts(named: Any) -> list[Any]:
    return named if isinstance(named, list) and named else [named]


def _milliseconds(moment: Any) -> int:
    found = rfc3339.milliseconds(moment)
    if found is None:
        _refuse("proof.malformed", f"{str(moment)[:40]!r} is no moment")
    return found


def _fewer(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Of two documents that differ in how many of the contexts they keep, the shorter."""

    def count(document: dict[str, Any]) -> int:
        named = document.get("@context")
        return len(named) if isinstance(named, list) else 1

    return other if count(other) <= count(one) else one
