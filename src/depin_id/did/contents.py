"""What stands in a DID document: its form, its verification methods, and the keys in them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

from depin_id import base64url
from depin_id.did.multikey import decode_multikey
from depin_id.did.resolution import parse_version_time
from depin_id.did.syntax import parse_did_url
from depin_id.errors import DIDError, EncodingError
from depin_id.keys import Curve, PublicKey, admit

RELATIONSHIPS: Final = (
    "authentication",
    "assertionMethod",
    "capabilityInvocation",
    "capabilityDelegation",
    "keyAgreement",
)
MAX_METHODS: Final = 256
"""The most verification methods, and the most services, of a document from outside."""
_SECRETS: Final = frozenset(
    "d p q dp dq qi oth k secretKeyMultibase privateKeyMultibase privateKeyJwk secretKeyJwk"
    " privateKeyBase58 privateKeyHex".split()
)
ENDS: Final = ("expires", "revoked")
"""Members by which a verification method ends (Controlled Identifiers 1.0 section 2.2)."""
_MULTIKEYS: Final = frozenset(
    ("Multikey", "Ed25519VerificationKey2020", "EcdsaSecp256r1VerificationKey2019")
)
_JWKS: Final[dict[tuple[object, object], Curve]] = {
    ("OKP", "Ed25519"): "ed25519",
    ("EC", "P-256"): "p256",
}


def _refuse(code: str, message: str, hint: str = "") -> NoReturn:
    raise DIDError(code, message, hint=hint)


def _coordinate(jwk: dict[str, Any], name: str) -> bytes:
    text = jwk.get(name)
    if isinstance(text, str) and len(text) == 43:
        with contextlib.suppress(EncodingError):
            return base64url.decode(text)
    _refuse("did.verification_method", f"{name} of a publicKeyJwk is not 32 bytes in base64url")


def method_key(method: Any, *, allow_published: bool = False) -> PublicKey:
    """The admitted key of a verification method, given as multikey or JWK.

    Raises:
        DIDError: ``did.verification_method``, ``did.key_not_supported``, ``did.malformed``.
        KeyRefused: ``key.not_admissible``.
    """
    if not isinstance(method, dict):
        _refuse("did.verification_method", "a verification method is not an object")
    if not _SECRETS.isdisjoint(method):
        _refuse("did.verification_method", "a verification method holds a private key")
    multikey, jwk = method.get("publicKeyMultibase"), method.get("publicKeyJwk")
    if multikey is not None and jwk is not None:
        _refuse("did.verification_method", "a verification method has two keys")
    kind = method.get("type")
    if isinstance(multikey, str) and isinstance(kind, str) and kind in _MULTIKEYS:
        return decode_multikey(multikey, allow_published=allow_published)
    if not isinstance(jwk, dict):
        _refuse(
            "did.key_not_supported",
            f"a verification method of type {str(kind)[:40]!r} has no key known here",
            "use Multikey or JsonWebKey",
        )
    if not _SECRETS.isdisjoint(jwk):
        _refuse("did.verification_method", "a publicKeyJwk holds a private key")
    named = (jwk.get("kty"), jwk.get("crv"))
    curve = _JWKS.get(named) if all(isinstance(item, str) for item in named) else None
    if curve is None:
        _refuse("did.key_not_supported", "a JWK of this type cannot be used here", "Ed25519, P-256")
    raw = _coordinate(jwk, "x")
    if curve == "p256":
        raw = b"\x04" + raw + _coordinate(jwk, "y")
    return admit(curve, raw, allow_published=allow_published)


def method_end(method: Mapping[str, Any]) -> int | None:
    """From when on nothing is verified with a verification method, in milliseconds since 1970.

    Raises:
        DIDError: ``did.verification_method``: ``expires`` or ``revoked`` is no moment.
    """
    try:
        return min(
            (parse_version_time(method[name]) for name in ENDS if name in method), default=None
        )
    except DIDError:
        _refuse("did.verification_method", "the end of a verification method is no moment")


def absolute(did: str, reference: Any) -> str | None:
    """A reference within a document as an absolute address (DID Core section 3.2.2)."""
    if not isinstance(reference, str):
        return None
    return did + reference if reference.startswith("#") else reference


def listed(document: Mapping[str, Any], name: str) -> list[Any]:
    """A member that should be a list: whatever else it is, it holds nothing."""
    value = document.get(name)
    return value[:MAX_METHODS] if isinstance(value, list) else []


def _methods(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every verification method, those that stand in a relationship too."""
    for name in ("verificationMethod", *RELATIONSHIPS):
        for found in listed(document, name):
            if isinstance(found, dict):
                yield found


def check_document(document: Any, did: str) -> dict[str, Any]:
    """A document from outside: of that DID, in the form of DID Core, its keys admitted.

    Keys of types that are not used here (X25519, secp256k1) may stand in it; nothing is verified
    with them.

    Raises:
        DIDError: ``did.document``, ``did.verification_method``, ``did.malformed`` for a multikey.
        KeyRefused: ``key.not_admissible``.
    """
    if not isinstance(document, dict):
        _refuse("did.document", "the DID document is not an object")
    if document.get("id") != did:
        _refuse(
            "did.document",
            f"the document is that of {str(document.get('id'))[:80]!r}",
            f"publish the document of {did}",
        )
    for name in ("verificationMethod", "service", *RELATIONSHIPS):
        found = document.get(name, [])
        if not isinstance(found, list) or len(found) > MAX_METHODS:
            _refuse("did.document", f"{name} is not a list of at most {MAX_METHODS}")
        allowed = (str, dict) if name in RELATIONSHIPS else (dict,)
        if not all(isinstance(item, allowed) for item in found):
            _refuse("did.document", f"{name} holds what does not belong there")
    seen: set[str] = set()
    for method in _methods(document):
        _check_method(method, did, seen)
    for service in document.get("service", ()):
        if not isinstance(service.get("id"), str) or "serviceEndpoint" not in service:
            _refuse("did.document", "a service has no id or no serviceEndpoint")
    return document


def _check_method(method: dict[str, Any], did: str, seen: set[str]) -> None:
    name = absolute(did, method.get("id"))
    if name is None or name in seen:
        _refuse("did.document", "a verification method has no id of its own")
    seen.add(name)
    try:
        url = parse_did_url(name)
    except DIDError:
        _refuse("did.document", f"{name[:60]!r} is not the id of a verification method")
    if not url.fragment:
        _refuse("did.document", "the id of a verification method has no fragment")
    if not isinstance(method.get("type"), str) or not isinstance(method.get("controller"), str):
        _refuse("did.document", "a verification method has no type or no controller")
    try:
        method_key(method)
    except DIDError as error:
        if error.code != "did.key_not_supported":
            raise


def find_method(document: Mapping[str, Any], did_url: str) -> dict[str, Any] | None:
    """The verification method of this DID URL; None when there is none, or more than one."""
    did = str(document.get("id"))
    found = [one for one in _methods(document) if absolute(did, one.get("id")) == did_url]
    return found[0] if len(found) == 1 else None


def find_service(document: Mapping[str, Any], did_url: str) -> dict[str, Any] | None:
    """The service of this DID URL; None when there is none, or more than one."""
    did = str(document.get("id"))
    found = [
        service
        for service in listed(document, "service")
        if isinstance(service, dict) and absolute(did, service.get("id")) == did_url
    ]
    return found[0] if len(found) == 1 else None


def is_for(document: Mapping[str, Any], did_url: str, relationship: str) -> bool:
    """Whether the document authorises a verification method for this."""
    did = str(document.get("id"))
    return any(
        absolute(did, item.get("id") if isinstance(item, dict) else item) == did_url
        for item in listed(document, relationship)
    )
