"""Documents as bytes: one canonical form in, a typed credential and what was signed out.

A document that is canonical already (as everything issued here is) is read and checked by its model
in one pass, and written again: equal bytes say at once that no member stands twice, none is unknown
and every text is in its one spelling. Other spellings are read strictly and made canonical first.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple, NoReturn

from pydantic import TypeAdapter, ValidationError

from depin_id import strict_json
from depin_id.credentials.models import CONTEXT, TYPES, Credential
from depin_id.errors import CredentialError
from depin_id.jcs import canonicalize

MAX_CREDENTIAL: Final = 1 << 16
"""Bound on a credential, in bytes."""
_TYPE: Final = b'"type":["VerifiableCredential","'
_PROOF: Final = b',"proof":{'
_VALUE: Final = b',"proofValue":"'
_AFTER_PROOF: Final = b'},"type":["VerifiableCredential"'
_ADAPTERS: Final = {name: TypeAdapter(model) for name, model in TYPES.items()}
_READ: Final = {
    name.encode(): adapter.validator.validate_json for name, adapter in _ADAPTERS.items()
}
_WRITE: Final = {name.encode(): adapter.serializer.to_json for name, adapter in _ADAPTERS.items()}


class Parts(NamedTuple):
    """A credential taken apart.

    Attributes:
        credential: typed, its proof with it.
        body: canonical bytes of the document without its proof.
        digest: SHA-256 of them: what is signed, not by which signature.
        options: canonical bytes of the proof without its proofValue; empty without a signature.
    """

    credential: Credential
    body: bytes
    digest: bytes
    options: bytes


def write(credential: Credential) -> bytes:
    """The canonical bytes of a credential, with its proof if it has one.

    Raises:
        CredentialError: ``credential.type``, not one of the types here.
    """
    adapter = _ADAPTERS.get(type(credential).TYPE)
    if adapter is None:
        raise CredentialError("credential.type", f"{type(credential).__name__} is no type of these")
    return adapter.dump_json(credential, exclude_none=True)


def read(data: bytes | str | Mapping[str, Any]) -> Parts:
    """Read one credential of the types of :data:`TYPES`, strictly; nothing is verified yet.

    Raises:
        EncodingError: ``json.*``.
        CredentialError: ``credential.type``, ``credential.context``, ``credential.malformed``,
            ``proof.several``.
    """
    if isinstance(data, bytes):
        parts = _read_canonical(data)
        if parts is not None:
            return parts
    if isinstance(data, Mapping):
        value: Any = dict(data)
    else:
        value = strict_json.parse(data, max_bytes=MAX_CREDENTIAL)
    written = canonicalize(value)
    if written != data:
        parts = _read_canonical(written)
        if parts is not None:
            return parts
    _explain(value, written)


def _read_canonical(data: bytes) -> Parts | None:
    """What canonical bytes say, or None when they are not a credential of ours in that form."""
    if len(data) > MAX_CREDENTIAL:
        return None
    # The type is only looked for here; the model of that type then decides.
    start = data.rfind(_TYPE) + len(_TYPE)
    name = data[start : data.find(b'"', start)]
    reader = _READ.get(name)
    if reader is None:
        return None
    try:
        credential: Credential = reader(data)
    except ValidationError:
        return None
    if _WRITE[name](credential, exclude_none=True) != data:
        return None
    if credential.proof is None:
        return Parts(credential, data, sha256(data).digest(), b"")
    # In canonical bytes of these models these marks stand once: quotes inside of texts are escaped,
    # and no other member of theirs has such a name or holds an object.
    first = data.index(_PROOF)
    last = data.index(_AFTER_PROOF, first) + 1
    body = data[:first] + data[last:]
    options = b""
    value = data.find(_VALUE, first, last)
    if value > 0:
        options = (
            data[first + len(_PROOF) - 1 : value]
            + data[data.index(b'"', value + len(_VALUE)) + 1 : last]
        )
    return Parts(credential, body, sha256(body).digest(), options)


def _refuse(code: str, what: str, hint: str = "") -> NoReturn:
    raise CredentialError(code, what, hint=hint)


def _explain(value: Any, written: bytes) -> NoReturn:
    """Say what is wrong with a document that was not taken."""
    if len(written) > MAX_CREDENTIAL:
        _refuse("credential.malformed", f"over {MAX_CREDENTIAL} bytes")
    if not isinstance(value, dict):
        _refuse("credential.malformed", "the document is not an object")
    kind = value.get("type")
    first, name = kind if isinstance(kind, list) and len(kind) == 2 else (None, None)
    if first != "VerifiableCredential" or not isinstance(name, str) or name not in TYPES:
        _refuse(
            "credential.type",
            f"a credential of type {str(kind)[:80]} is not taken here",
            f"VerifiableCredential and one of {', '.join(TYPES)}",
        )
    if value.get("@context") != list(CONTEXT):
        _refuse(
            "credential.context",
            "the @context is not the one of these credentials",
            f"exactly {', '.join(CONTEXT)}, in this order",
        )
    if isinstance(value.get("proof"), list):
        _refuse("proof.several", "a credential of these types has exactly one proof")
    try:
        _ADAPTERS[name].validate_json(written)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in found["loc"])
        _refuse("credential.malformed", f"{where[:120]}: {found['msg'][:200]}")
    _refuse("credential.malformed", "a member is null, or is named as it is not in JSON")
