"""How small signed objects, such as capabilities, name an entry of a status list."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

URI_HASH_BYTES: Final = 16


def uri_hash(uri: str) -> bytes:
    """How a list is named where its URL is too long: 16 bytes of the URL's SHA-256."""
    return hashlib.sha256(uri.encode("utf-8", "surrogatepass")).digest()[:URI_HASH_BYTES]


@dataclass(frozen=True, slots=True)
class StatusReference:
    """An entry of a list.

    Attributes:
        uri_hash: of the list's URL, see :func:`uri_hash`. index: in that list.
        issuer: DID of whoever signed the object: the list has to be theirs; not on the wire.
    """

    uri_hash: bytes
    index: int
    issuer: str = ""
