"""Who signs a statement: a key, and the DID URL under which others find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from depin_id.did.key import did_key
from depin_id.did.literal import literal_key
from depin_id.did.syntax import parse_did_url
from depin_id.errors import CredentialError, DIDError
from depin_id.keys import PublicKey, Signer

KeyOf = Callable[[str], PublicKey]
"""Finds the admitted key of a verification method (a DID URL) that may sign, or raises."""


@dataclass(frozen=True)
class Party:
    """Somebody who signs.

    Attributes:
        method: DID URL of the verification method.
        signer: its key.
    """

    method: str
    signer: Signer

    @property
    def did(self) -> str:
        """The DID, without the fragment."""
        return did_of(self.method)

    @classmethod
    def of_key(cls, signer: Signer) -> Party:
        """The party that is just this key: its did:key."""
        did = did_key(signer.public_key)
        return cls(f"{did}#{did.removeprefix('did:key:')}", signer)


def did_of(method: str) -> str:
    """The DID of a verification method's DID URL.

    Raises:
        DIDError: ``did.malformed``: no DID URL, or one without fragment, with path or query.
    """
    url = parse_did_url(method)
    if not url.fragment or url.path or url.query is not None:
        raise DIDError(
            "did.malformed",
            f"{method[:80]!r} is not a DID URL that names a key",
            hint="write did:<method>:<id>#<key>",
        )
    return str(url.did)


def key_in_did(method: str) -> PublicKey:
    """The key of a did:key or did:jwk verification method, which needs no resolution.

    Raises:
        DIDError: ``did.malformed``, ``did.method_not_supported``. KeyRefused: the key.
    """
    did = did_of(method)
    kind, name = did.split(":", 2)[1:]
    key = literal_key(did)
    if key is None:
        raise DIDError(
            "did.method_not_supported",
            f"a did:{kind} does not hold its key",
            hint="resolve it, and give the key of its verification method",
        )
    if method.rpartition("#")[2] != (name if kind == "key" else "0"):
        raise DIDError("did.malformed", f"{method[:80]!r} names no key of its DID")
    return key


def check_party(party: Party) -> None:
    """Refuse (CredentialError ``party.key_differs``) a did:key or did:jwk that is another key's."""
    if party.did.split(":", 2)[1] in ("key", "jwk"):
        if key_in_did(party.method) != party.signer.public_key:
            raise CredentialError("party.key_differs", "the signer's key is not that of its DID")
