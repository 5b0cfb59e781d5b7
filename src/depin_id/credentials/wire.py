"""Documents as bytes: one canonical form in, a typed credential and what was signed out.

A document that is canonical already, as everything issued here is, is read by its model in one
pass and written again: equal bytes say at once that no member stands twice, none is unknown, and
each has its one spelling. Other documents are read strictly and made canonical first, then go the
same way.

``@context`` is what all documents begin with, ``proof`` and ``type`` stand together before the
moments at the end: these three are compared or matched, and cut out before the model reads the
rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

from pydantic import TypeAdapter, ValidationError

from depin_id import strict_json
from depin_id.credentials.documents import DOCUMENTS
from depin_id.credentials.models import CONTEXT, TYPES, BatchProof, Credential
from depin_id.credentials.moments import PATTERN
from depin_id.errors import CredentialError
from depin_id.jcs import canonicalize

MAX_CREDENTIAL: Final = 1 << 16
"""Bound on a credential, in bytes."""
_CONTEXT: Final = b'"@context":' + canonicalize(list(CONTEXT)) + b","
_HEAD: Final = b"{" + _CONTEXT
_MOST_SAID: Final = 8
"""How many faults of a document are named."""
_TYPE: Final = b'"type":["VerifiableCredential","'
_PROOF: Final = b',"proof":{'
_FROM: Final = len(b'"validFrom":"2026-11-20T00:00:00Z"}')
_UNTIL: Final = len(b',"validUntil":"2026-11-20T00:00:00Z"')
_MOMENT: Final = PATTERN.strip("^$").encode()
_SIGNATURE: Final = re.compile(
    rb',"proof":(\{'
    + re.escape(_CONTEXT)
    + rb'(?:"created":"('
    + _MOMENT
    + rb')",)?"cryptosuite":"(eddsa-jcs-2022|ecdsa-jcs-2019)"'
    rb'(?:,"expires":"(' + _MOMENT + rb')")?,"proofPurpose":"([A-Za-z]{1,64})")'
    rb',"proofValue":"z([1-9A-HJ-NP-Za-km-z]{64,140})"'
    rb'(,"type":"DataIntegrityProof","verificationMethod":"(did:[!$-\[\]-~]{1,600}#[!$-\[\]-~]{1,200})"\}),'
)


class Signature(NamedTuple):
    """A Data Integrity proof, its form checked.

    Attributes:
        options: canonical bytes of the proof without proofValue.
        created, expires: moments, None where not given.
        suite, purpose, method: cryptosuite, proofPurpose, verificationMethod.
        value: base58btc.
    """

    options: bytes
    created: str | None
    suite: str
    expires: str | None
    purpose: str
    value: str
    method: str


class Parts(NamedTuple):
    """A credential taken apart.

    Attributes:
        credential: typed.
        body: canonical bytes of the document without its proof.
        digest: SHA-256 of them: what is signed, not by which signature.
        proof: None when there is none.
    """

    credential: Credential
    body: bytes
    digest: bytes
    proof: Signature | BatchProof | None


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a type is read and written.

    Attributes:
        mark: its ``type`` member.
        read, write: of all that is said, in JSON.
    """

    mark: bytes
    read: Callable[[bytes], Credential]
    write: Callable[..., bytes]


def _kind(model: type[Credential]) -> _Kind:
    adapter = TypeAdapter(model)
    mark = _TYPE + model.TYPE.encode() + b'"],'
    return _Kind(mark, adapter.validator.validate_json, adapter.serializer.to_json)


_KINDS: Final = {name: _kind(model) for name, model in TYPES.items()}
_BY_MARK: Final = {kind.mark[:-2]: kind for kind in _KINDS.values()}
_BATCH: Final = TypeAdapter(BatchProof)
_Made = TypeVar("_Made", bound=Credential)


def _refuse(code: str, what: str, hint: str = "") -> NoReturn:
    raise CredentialError(code, what, hint=hint)


def _malformed(error: ValidationError) -> NoReturn:
    found = error.errors(include_url=False, include_input=False)[:_MOST_SAID]
    said = (f"{'.'.join(map(str, one['loc']))[:120]}: {one['msg'][:200]}" for one in found)
    _refuse("credential.malformed", "; ".join(said))


def make(kind: type[_Made], **members: Any) -> _Made:
    """A credential from members that are not known to be right.

    Args:
        kind: its class.
        members: by their names in Python or in JSON; ``credential_subject`` may be a dict.

    Raises:
        CredentialError: ``credential.malformed``. EncodingError: ``json.not_canonical``.
    """
    try:
        return kind(**members)
    except ValidationError as error:
        _malformed(error)


def write(credential: Credential) -> bytes:
    """The canonical bytes of a credential's document, without proof.

    Raises:
        CredentialError: ``credential.type``, not one of the types here.
    """
    kind = _KINDS.get(type(credential).TYPE)
    if kind is None:
        _refuse("credential.type", f"{type(credential).__name__} is no type of these")
    said = kind.write(credential, exclude_none=True)
    at = len(said) - _moments(credential)
    return _HEAD + said[1:at] + kind.mark + said[at:]


def _moments(credential: Credential) -> int:
    """The length of what follows on ``type``: the validity, and the end of the document."""
    return _FROM if credential.valid_until is None else _FROM + _UNTIL


def read(data: bytes | str | Mapping[str, Any]) -> Parts:
    """Read one credential of the types of :data:`TYPES`, strictly; nothing is verified yet.

    Raises:
        EncodingError: ``json.*``.
        CredentialError: ``credential.type``, ``credential.context``, ``credential.malformed``,
            ``proof.several``.
    """
    if type(data) is bytes:
        parts = _read_canonical(data)
        if parts is not None:
            return parts
    if isinstance(data, Mapping):
        value: Any = dict(data)
    else:
        value = strict_json.parse(data, max_bytes=MAX_CREDENTIAL)
    written = canonicalize(value)
    parts = _read_canonical(written)
    if parts is None:
        _explain(value, written)
    return parts


def _read_canonical(data: bytes) -> Parts | None:
    """What canonical bytes say, or None when they are not a credential of ours in that form."""
    at = data.rfind(_TYPE)
    kind = _BY_MARK.get(data[at : data.find(b"]", at)])
    if kind is None or len(data) > MAX_CREDENTIAL or not data.startswith(_HEAD):
        return None
    after = at + len(kind.mark)
    # Where a proof would begin, or the comma before the type.
    first = data.rfind(_PROOF, 0, at)
    proof = _proof(data, first, at) if first > 0 else None
    if proof is None:
        first = at - 1
    said = b"{" + data[len(_HEAD) : first + 1] + data[after:]
    try:
        credential = kind.read(said)
    except ValidationError:
        return None
    # Only where it stands at the length of the validity from the end is the mark a member of the
    # document itself, and with it the proof before it: not of some object inside.
    if (
        len(data) - after != _moments(credential)
        or kind.write(credential, exclude_none=True) != said
    ):
        return None
    body = data if proof is None else data[: first + 1] + data[at:]
    return Parts(credential, body, sha256(body).digest(), proof)


def _proof(data: bytes, first: int, at: int) -> Signature | BatchProof | None:
    """The proof between two places, None when it is of no form that is taken."""
    found = _SIGNATURE.match(data, first)
    if found is not None:
        if found.end() != at:
            return None
        before, created, suite, expires, purpose, value, behind, method = found.groups()
        return Signature(
            before + behind,
            None if created is None else created.decode(),
            suite.decode(),
            None if expires is None else expires.decode(),
            purpose.decode(),
            value.decode(),
            method.decode(),
        )
    text = data[first + len(_PROOF) - 1 : at - 1]
    try:
        batch = _BATCH.validate_json(text)
    except ValidationError:
        return None
    return batch if _BATCH.dump_json(batch) == text else None


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
        DOCUMENTS[name].model_validate_json(written)
    except ValidationError as error:
        _malformed(error)
    _refuse("credential.malformed", "a member is null, or is not written as it has to be")
