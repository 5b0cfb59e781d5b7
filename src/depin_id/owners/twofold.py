"""Statements with two signatures: somebody's, around one of the key that the statement is about.

Both are COSE_Sign1 (:mod:`depin_id.cose`); the outer payload is an array whose last element is the
inner object, so that the outer signature covers the inner one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn

from depin_id import cbor
from depin_id.cose import HEADER_ALG, parse_sign1, sign1
from depin_id.errors import CredentialError
from depin_id.keys import PublicKey, Signer
from depin_id.owners.party import KeyOf, Party, check_party, did_of

MAX_TWOFOLD: Final = 16_384
"""Bound on such a statement, in bytes."""
MAX_TIME: Final = 1 << 53
_ONLY_ALG: Final = {HEADER_ALG}


def malformed(what: str) -> NoReturn:
    """Raise CredentialError ``statement.malformed``."""
    raise CredentialError("statement.malformed", what, hint="see docs/identity/owners.md")


def uint(value: Any, what: str, bound: int = MAX_TIME) -> int:
    """A whole number in ``[0, bound]``, or ``statement.malformed``."""
    if type(value) is not int or not 0 <= value <= bound:
        malformed(f"{what} is not a whole number within its bounds")
    return int(value)


def blob(value: Any, what: str, low: int, high: int) -> bytes:
    """So many bytes, or ``statement.malformed``."""
    if type(value) is not bytes or not low <= len(value) <= high:
        malformed(f"{what} is not {low} to {high} bytes")
    return bytes(value)


def seal_inner(fields: dict[int, Any], *, kind: str, network: str, signer: Signer) -> bytes:
    """The inner object over a map of fields; those that are None are left out."""
    payload = cbor.encode({label: item for label, item in fields.items() if item is not None})
    return sign1({}, payload, kind=kind, network=network, signer=signer)


def seal_outer(inner: bytes, *more: Any, kind: str, network: str, party: Party) -> bytes:
    """The statement: the party's method, what else it says, and the inner object."""
    check_party(party)
    payload = cbor.encode([party.method, *more, inner])
    return sign1({}, payload, kind=kind, network=network, signer=party.signer)


def open_inner(
    data: Any, *, kind: str, network: str, key_of: Callable[[dict[Any, Any]], PublicKey]
) -> dict[Any, Any]:
    """The fields of an inner object, its signature verified under the key that they name.

    Args:
        key_of: finds and admits the key in the fields.

    Raises:
        CredentialError, EnvelopeError, EncodingError, KeyRefused, SignatureInvalid.
    """
    if type(data) is not bytes:
        malformed("the inner object is not bytes")
    sign = parse_sign1(data, max_bytes=MAX_TWOFOLD)
    if set(sign.headers) != _ONLY_ALG:
        malformed("a protected header of the inner object has more than the algorithm")
    fields = cbor.decode(sign.payload, max_bytes=MAX_TWOFOLD)
    if not isinstance(fields, dict) or any(item is None for item in fields.values()):
        malformed("the inner object is not a map of fields")
    sign.verify(kind, network, key_of(fields))
    return fields


def open_outer(
    data: bytes, count: int, *, kind: str, network: str, key_of: KeyOf
) -> tuple[PublicKey, bytes, list[Any]]:
    """The signer's key, the statement's identity and its payload's elements, verified.

    Raises:
        CredentialError, EnvelopeError, EncodingError, DIDError, KeyRefused, SignatureInvalid; and
        whatever ``key_of`` raises.
    """
    sign = parse_sign1(data, max_bytes=MAX_TWOFOLD)
    if set(sign.headers) != _ONLY_ALG:
        malformed("the protected header has more than the algorithm")
    parts = cbor.decode(sign.payload, max_bytes=MAX_TWOFOLD)
    if not isinstance(parts, list) or len(parts) != count or type(parts[0]) is not str:
        malformed(f"the payload is not an array of {count} that begins with a DID URL")
    did_of(parts[0])
    key = key_of(parts[0])
    return key, sign.verify(kind, network, key), parts
