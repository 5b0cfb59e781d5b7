"""did:key (W3C CCG did:key method 0.9): the identifier is the key.

Ed25519 and P-256, the two curves that sign here; a did:key of another type is a typed refusal.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from depin_id.did.document import key_document
from depin_id.did.multikey import decode_multikey, encode_multikey, split_multikey
from depin_id.did.resolution import Options, Resolution, unversioned
from depin_id.did.syntax import Did, parse_did
from depin_id.errors import DIDError
from depin_id.keys import PublicKey

NAME: Final = "key"
_PREFIX: Final = "did:key:"


@lru_cache(maxsize=1024)
def did_key(public: PublicKey) -> str:
    """The did:key of an admitted key."""
    return _PREFIX + encode_multikey(public)


def parse_did_key(did: str, *, allow_published: bool = False) -> PublicKey:
    """The admitted key of a did:key.

    Args:
        did: the DID in its canonical spelling, without fragment.
        allow_published: take keys whose private half is published (test vectors only).

    Raises:
        DIDError: ``did.malformed``, ``did.key_not_supported`` (another key type), or
            ``did.method_not_supported`` (not a did:key).
        KeyRefused: ``key.not_admissible``.
    """
    parsed = parse_did(did)
    if parsed.method != NAME:
        raise DIDError("did.method_not_supported", f"did:{parsed.method} is not did:key")
    return decode_multikey(parsed.id, allow_published=allow_published)


def thumbprint_of(did: str) -> bytes | None:
    """Thumbprint of the key of a did:key, to look up a key that was admitted before.

    None for what is no did:key of an Ed25519 or P-256 key. Neither key nor spelling is checked.
    """
    if not did.startswith(_PREFIX):
        return None
    try:
        return PublicKey(*split_multikey(did[len(_PREFIX) :])).thumbprint
    except (DIDError, ValueError):
        return None


class KeyMethod:
    """did:key for a :class:`~depin_id.did.resolver.Resolver`.

    Args:
        allow_published: take keys whose private half is published (test vectors only).
    """

    name = NAME

    def __init__(self, *, allow_published: bool = False) -> None:
        self._allow_published = allow_published

    def resolve(self, did: Did, options: Options) -> Resolution:
        """The DID document, made from the DID alone: the same at any time.

        Raises:
            DIDError: as :func:`parse_did_key`; ``did.not_found`` for a version by name.
        """
        key = parse_did_key(str(did), allow_published=self._allow_published)
        return unversioned(key_document(str(did), f"{did}#{did.id}", key), options)
