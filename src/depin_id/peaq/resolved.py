"""Documents of both generations as DID documents (DID Core), every key admitted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from depin_id import base58
from depin_id.did.multikey import decode_multikey
from depin_id.errors import DIDError, EncodingError
from depin_id.evm import checksum_address, parse_address, public_key_address
from depin_id.keys import PublicKey
from depin_id.peaq.document import ED25519, MULTICODECS, RECOVERY, SR25519, Document
from depin_id.peaq.identifier import PREFIX, parse_peaq_did
from depin_id.peaq.machine import MachineDocument

MULTIKEY: Final = "Multikey"
CONTEXTS: Final = (
    "https://www.w3.org/ns/did/v1",
    "https://w3id.org/security/multikey/v1",
    "https://w3id.org/security/suites/ed25519-2020/v1",
    "https://w3id.org/security/suites/secp256k1recovery-2020/v2",
)
MAX_TEXT: Final = 2048
_CAIP10: Final = re.compile(r"eip155:([1-9][0-9]{0,18}):(0x[0-9a-fA-F]{40})")
_FRAGMENT: Final = re.compile(r"#[A-Za-z0-9._~!$&'()*+,;=:@/?%-]{1,128}")


@dataclass(frozen=True, slots=True)
class NamedKey:
    """A key as a method names it: a wallet's address, or an admitted key, or neither (sr25519)."""

    address: bytes | None = None
    key: PublicKey | None = None


def _refuse(what: str, code: str = "did.malformed") -> NoReturn:
    raise DIDError(code, f"the did:peaq document is not good: {what}")


def read_key(method_type: str, text: str, *, allow_published: bool = False) -> NamedKey:
    """Admit the key of a method; its kind is the one that the type says.

    Args:
        method_type: one of peaq's three, or ``Multikey``.
        text: multibase, or ``eip155:<chain>:<address>``.
        allow_published: take keys whose private half is published (test vectors only).

    Raises:
        DIDError: ``did.malformed``, ``did.key_not_supported``.
        KeyRefused: ``key.not_admissible``.
        ConfigError: ``config.extra``.
    """
    if method_type not in (*MULTICODECS, MULTIKEY) or type(text) is not str:
        _refuse(f"methods of type {str(method_type)[:60]!r} are not known", "did.key_not_supported")
    if (account := _CAIP10.fullmatch(text)) is not None:
        if method_type != RECOVERY:
            _refuse(f"a {method_type} names an account")
        try:
            return NamedKey(address=parse_address(account[2]))
        except EncodingError as error:
            _refuse(error.message)
    for wanted in (RECOVERY, SR25519):
        raw = _raw(text, MULTICODECS[wanted])
        if raw is not None and method_type in (wanted, MULTIKEY):
            return _foreign(wanted, raw)
    if method_type not in (ED25519, MULTIKEY):
        _refuse(f"the key of a {method_type} is of another kind")
    key = decode_multikey(text, allow_published=allow_published)
    if method_type == ED25519 and key.curve != "ed25519":
        _refuse(f"an {ED25519} holds a key of {key.curve}")
    return NamedKey(key=key)


def _raw(text: str, codec: bytes) -> bytes | None:
    """The key behind a multicodec, when the text is its one spelling."""
    if not text.startswith("z") or len(text) > 128:
        return None
    try:
        data = base58.decode(text[1:])
    except EncodingError:
        return None
    if not data.startswith(codec) or base58.encode(data) != text[1:]:
        return None
    return data[len(codec) :]


def _foreign(kind: str, raw: bytes) -> NamedKey:
    if kind == SR25519:
        if len(raw) != 32:
            _refuse(f"an sr25519 key has {len(raw)} bytes")
        return NamedKey()
    if len(raw) != 33:
        _refuse(f"a compressed secp256k1 key has {len(raw)} bytes")
    try:
        return NamedKey(address=public_key_address(raw))
    except EncodingError as error:
        _refuse(error.message)


def did_document(
    document: Document | MachineDocument, *, allow_published: bool = False
) -> dict[str, Any]:
    """The DID document, JSON-ready. It says what the chain says, and that is all it shows.

    Raises:
        DIDError: ``did.malformed``: a method of another DID, one id twice, an authentication
            without its method; ``did.key_not_supported``.
        KeyRefused: ``key.not_admissible``.
        ConfigError: ``config.extra``.
    """
    if isinstance(document, MachineDocument):
        found = _machine(document)
    else:
        found = _generation_a(document)
    methods = found["verificationMethod"]
    ids = [method["id"] for method in methods]
    if len(set(ids)) != len(ids):
        _refuse("two methods have one id")
    for method in methods:
        if not _FRAGMENT.fullmatch(method["id"].removeprefix(found["id"])):
            _refuse(f"the method {method['id'][:80]!r} is not of this DID")
        value = method.get("blockchainAccountId") or method["publicKeyMultibase"]
        read_key(method["type"], value, allow_published=allow_published)
    listed = found["authentication"]
    if len(set(listed)) != len(listed) or not set(listed) <= set(ids):
        _refuse("an authentication names a method that is not there, or one twice")
    return found


def _method(method_id: str, kind: str, controller: str, value: str) -> dict[str, Any]:
    member = "blockchainAccountId" if value.startswith("eip155:") else "publicKeyMultibase"
    return {"id": method_id, "type": kind, "controller": controller, member: value}


def _generation_a(document: Document) -> dict[str, Any]:
    for named in (document.id, document.controller, *(m.controller for m in document.methods)):
        parse_peaq_did(named)
    did = document.id
    return {
        "@context": list(CONTEXTS),
        "id": did,
        "controller": document.controller,
        "verificationMethod": [
            _method(_absolute(m.id, did), m.type, m.controller, m.multibase)
            for m in document.methods
        ],
        "authentication": [_absolute(part, did) for part in document.authentications],
        "service": [
            {"id": _absolute(s.id, did), "type": s.type, "serviceEndpoint": _endpoint(s)}
            for s in document.services
        ],
    }


def _endpoint(service: Any) -> Any:
    """DID Core wants an endpoint; data without one are a map."""
    if not service.data:
        return service.endpoint
    parts = {"uri": service.endpoint, "data": service.data}
    return {name: value for name, value in parts.items() if value}


def _machine(document: MachineDocument) -> dict[str, Any]:
    did = document.id
    parts = [p for m in document.methods for p in (m.id, m.type, m.multibase)]
    parts += [p for s in document.services for p in (s.id, s.type, s.endpoint)]
    if any(len(part) > MAX_TEXT or not part.isprintable() for part in parts):
        _refuse(f"a text is over {MAX_TEXT} characters, or does not print")
    ids = [_absolute(m.id, did) for m in document.methods]
    return {
        "@context": list(CONTEXTS),
        "id": did,
        "controller": PREFIX + checksum_address(document.controller),
        "verificationMethod": [
            _method(method_id, m.type, PREFIX + checksum_address(m.controller), m.multibase)
            for method_id, m in zip(ids, document.methods, strict=True)
        ],
        "authentication": [ids[place] for place in document.authentication],
        "service": [
            {"id": _absolute(s.id, did), "type": s.type, "serviceEndpoint": s.endpoint}
            for s in document.services
        ],
    }


def _absolute(reference: str, did: str) -> str:
    return did + reference if reference.startswith("#") else reference
