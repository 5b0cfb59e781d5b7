"""Evidence for keys of a did:peaq: a birth certificate that was verified."""

from __future__ import annotations

from depin_id.credentials.models import BirthCertificate
from depin_id.credentials.subject_key import device_key
from depin_id.credentials.verifying import Verified
from depin_id.errors import CredentialError
from depin_id.peaq.trust import Evidence


def birth_evidence(verified: Verified) -> Evidence:
    """What a verified birth certificate says of a did:peaq, for ``vouched_by_evidence``.

    Args:
        verified: what :func:`depin_id.credentials.verify` gave; whether its issuer is a
            manufacturer to be trusted is the caller's to say, by ``key_of`` or by ``issuer``.

    Raises:
        CredentialError: ``peaq.not_vouched``, another kind of credential.
        KeyRefused, DIDError: as :func:`depin_id.credentials.subject_key.device_key`.
    """
    credential = verified.credential
    if not isinstance(credential, BirthCertificate):
        raise CredentialError(
            "peaq.not_vouched",
            "the credential is no birth certificate: it names no key of a device",
        )
    subject = credential.credential_subject
    return Evidence(subject.id, "birth-certificate", key=device_key(subject))
