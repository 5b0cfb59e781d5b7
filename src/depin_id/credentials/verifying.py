"""Verifying: who signed, for whom, whether it holds now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, NoReturn

from depin_id import base58
from depin_id.credentials.models import BirthCertificate, Credential
from depin_id.credentials.moments import parse_moment
from depin_id.credentials.protocol import KeyOf, StatusCheck, StatusResult
from depin_id.credentials.subject_key import device_key
from depin_id.credentials.wire import Parts, Signature, read
from depin_id.data_integrity import SUITES, verify_canonical
from depin_id.ecdsa import VerificationKey
from depin_id.errors import CredentialError, DepinError

PURPOSE: Final = "assertionMethod"


class Verified(NamedTuple):
    """A credential that holds.

    Attributes:
        credential: typed; nothing in it is unsigned.
        issuer: DID of who signed.
        subject: DID of the device; None for a production batch, which has many.
        key: the issuer's key that signed (for a leaf of a batch: signed the batch).
        digest: SHA-256 of the canonical document without its proof, 32 bytes.
        status: what the status list said; None without ``credentialStatus``.
    """

    credential: Credential
    issuer: str
    subject: str | None
    key: VerificationKey
    digest: bytes
    status: StatusResult | None


def _refuse(code: str, what: str, hint: str = "") -> NoReturn:
    raise CredentialError(code, what, hint=hint)


def verify(
    data: bytes | str | Mapping[str, Any],
    *,
    key_of: KeyOf,
    now_ms: int,
    expected_subject: str | None = None,
    expected_type: type[Credential] | None = None,
    status: StatusCheck | None = None,
) -> Verified:
    """Verify a credential that is signed by itself (VC Data Integrity section 4.3).

    Args:
        data: the document: bytes or text of strict JSON, or what strict JSON gave.
        key_of: gives the issuer's admitted key; see :data:`KeyOf`.
        now_ms: the moment it has to hold at, in milliseconds since 1970.
        expected_subject: DID of the device that it must be for.
        expected_type: class of the credential that is wanted.
        status: looks up ``credentialStatus``; without it a credential that has one is refused.

    Raises:
        EncodingError: ``json.*``. SignatureInvalid: ``signature.invalid``. KeyRefused:
            ``key.not_admissible``. Whatever ``key_of`` raises.
        CredentialError: ``credential.malformed``, ``.type``, ``.context``, ``.unsigned``,
            ``.method`` (the key is not the issuer's), ``.purpose``, ``.subject`` (for another
            device), ``.subject_key``, ``.not_yet_valid``, ``.expired``, ``.revoked``,
            ``.suspended``, ``.status_unknown`` (it could not be decided), ``proof.expired``,
            ``proof.suite``, ``proof.several``.
    """
    parts = read(data)
    key = check_signature(parts, key_of, now_ms)
    return check_parts(parts, key, now_ms, expected_subject, expected_type, status)


def check_signature(parts: Parts, key_of: KeyOf, now_ms: int) -> VerificationKey:
    """Verify the proof of a credential; gives the key. Raises as :func:`verify`."""
    credential, proof = parts.credential, parts.proof
    if type(proof) is not Signature:
        if proof is None:
            _refuse("credential.unsigned", "the credential has no proof")
        _refuse(
            "credential.unsigned",
            "the certificate is a leaf of a batch and has no signature of its own",
            "verify it with the credential of its batch: verify_birth",
        )
    if proof.purpose != PURPOSE:
        _refuse(
            "credential.purpose",
            f"the proof was made for {proof.purpose[:40]!r}",
            f"credentials are signed for {PURPOSE}",
        )
    method = proof.method
    if method.partition("#")[0] != credential.issuer:
        _refuse(
            "credential.method",
            f"{method[:120]} is no key of the issuer {credential.issuer[:120]}",
        )
    if proof.expires is not None and now_ms > parse_moment(proof.expires):
        _refuse("proof.expired", f"the proof was good until {proof.expires}")
    key = key_of(method, credential.issuer, proof.created)
    if SUITES[key.curve] != proof.suite:
        _refuse("proof.suite", f"{proof.suite} with a key of {key.curve} does not fit")
    signature = base58.decode(proof.value)
    verify_canonical(key, proof.options, parts.body, parts.digest, signature)
    return key


def check_parts(
    parts: Parts,
    key: VerificationKey,
    now_ms: int,
    expected_subject: str | None,
    expected_type: type[Credential] | None,
    status: StatusCheck | None,
) -> Verified:
    """Whether a credential whose signature holds is good for this use. Raises as :func:`verify`."""
    credential = parts.credential
    if expected_type is not None and not isinstance(credential, expected_type):
        _refuse(
            "credential.type",
            f"a {type(credential).TYPE} instead of a {expected_type.TYPE}",
        )
    subject: str | None = getattr(credential.credential_subject, "id", None)
    if expected_subject is not None and subject != expected_subject:
        _refuse(
            "credential.subject",
            f"the credential is for {str(subject)[:120]}, not for {expected_subject[:120]}",
            "it belongs to another device",
        )
    if now_ms < parse_moment(credential.valid_from):
        _refuse("credential.not_yet_valid", f"it holds from {credential.valid_from}")
    if credential.valid_until is not None and now_ms > parse_moment(credential.valid_until):
        _refuse("credential.expired", f"it held until {credential.valid_until}")
    if isinstance(credential, BirthCertificate):
        device_key(credential.credential_subject)
    found = None
    if credential.credential_status is not None:
        found = _check_status(credential, status, now_ms)
    return Verified(
        credential,
        credential.issuer,
        subject,
        key,
        parts.digest,
        found,
    )


def _check_status(credential: Credential, status: StatusCheck | None, now_ms: int) -> StatusResult:
    entry = credential.credential_status or {}
    if status is None:
        _refuse(
            "credential.status_unknown",
            "the credential has a credentialStatus, and nothing to look it up in",
            "give the status list",
        )
    try:
        found = status.check(entry, now_ms=now_ms, issuer=credential.issuer)
    except DepinError as error:
        _refuse("credential.status_unknown", f"{error.code}: {error.message}"[:300], error.hint)
    if found.ok and found.decided:
        return found
    if not found.decided:
        _refuse("credential.status_unknown", found.message[:300] or "its status is not known")
    code = "credential.suspended" if found.state == "suspended" else "credential.revoked"
    _refuse(code, found.message[:300] or f"it is {found.state}")
