"""The key that a birth certificate names: admitted, and the one of the DID beside it."""

from __future__ import annotations

from functools import lru_cache

from depin_id.credentials.models import BirthSubject
from depin_id.did.jwk import parse_did_jwk
from depin_id.did.multikey import decode_multikey
from depin_id.errors import CredentialError
from depin_id.keys import PublicKey


def device_key(subject: BirthSubject) -> PublicKey:
    """The admitted key of the device.

    Raises:
        CredentialError: ``credential.subject_key``: the DID is a did:key or did:jwk of another key.
        KeyRefused: ``key.not_admissible``. DIDError: ``did.*``.
    """
    return _device_key(subject.id, subject.key)


# Admission multiplies by the order of the group, nearly as long as a verification takes; it
# follows from the text alone, and the same device is asked about again and again.
@lru_cache(maxsize=4096)
def _device_key(did: str, multikey: str) -> PublicKey:
    key = decode_multikey(multikey)
    if did.startswith("did:key:"):
        same = did == f"did:key:{multikey}"
    elif did.startswith("did:jwk:"):
        same = parse_did_jwk(did) == key
    else:
        same = True  # another method: its document says which keys it has
    if not same:
        raise CredentialError(
            "credential.subject_key", "the key beside the DID of the device is another one"
        )
    return key
