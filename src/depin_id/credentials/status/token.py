"""Token Status List (draft-ietf-oauth-status-list-21) as a CWT: a COSE_Sign1 others can read.

The headers are the draft's own, and external_aad is empty: this is not one of our wire objects. Of
other people's tokens the CBOR need not be deterministic (the draft's own example is not), but one
spelling of each map key is asked for, and everything is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import cbor2

from depin_id import cbor, cose
from depin_id.claims import MAX_SECONDS, is_uint
from depin_id.credentials.status.bits import StatusList, deflate, inflate, malformed
from depin_id.credentials.status.signed import (
    MAX_SIGNED,
    KeyOf,
    SignedList,
    check_method,
    check_uri,
    refuse,
)
from depin_id.did.syntax import parse_did
from depin_id.ecdsa import verify_any_s
from depin_id.errors import CredentialError, DIDError, EncodingError, KeyRefused
from depin_id.keys import SIGNATURE_BYTES, PublicKey, Signer

MEDIA_TYPE: Final = "application/statuslist+cwt"
HEADER_TYPE: Final = 16
ISS, SUB, EXP, NBF, IAT = 1, 2, 4, 5, 6
STATUS_LIST, TTL, STATUS = 65533, 65534, 65535
SIZES: Final = (1, 2, 4, 8)
VALID, INVALID, SUSPENDED = 0, 1, 2
"""Status types (section 7.1)."""
_TAG_SIGN1: Final = 0xD2
_MAX_DEPTH: Final = 8
_MAX_IDX: Final = (1 << 32) - 1


def issue_token(
    entries: StatusList,
    *,
    uri: str,
    signer: Signer,
    now_ms: int,
    issuer: str | None = None,
    verification_method: str | None = None,
    expires_ms: int | None = None,
    ttl_s: int | None = None,
    deprecated_algorithm: bool = False,
) -> bytes:
    """A signed status list token: a tagged COSE_Sign1 (section 5.2).

    Args:
        entries: of 1, 2, 4 or 8 bits. uri: where it is going to be found, claim ``sub``.
        now_ms: when it is issued; claims are whole seconds.
        issuer: DID, claim ``iss``. verification_method: DID URL of the signer's key; stands in the
            key id as text. Without it the key id is that of our wire, 8 bytes.
        expires_ms: when it is no longer stood by. ttl_s: after how long to fetch it again.
        deprecated_algorithm: name -8 (EdDSA) or -7 (ES256) for readers that do not know the fully
            specified ones of RFC 9864; the signature is the same.

    Raises:
        CredentialError: ``status.malformed``, ``status.issuer``.
    """
    if entries.size not in SIZES:
        malformed(f"a token list has entries of 1, 2, 4 or 8 bits, not {entries.size}")
    key = signer.public_key
    kid = key.kid
    if verification_method is not None:
        check_method(verification_method, issuer or "")
        kid = verification_method.encode()
    lst = deflate(entries.pack("right"))
    claims: dict[int, Any] = {
        ISS: issuer,
        SUB: check_uri(uri),
        IAT: _seconds(now_ms // 1000, "iat"),
        EXP: None if expires_ms is None else _seconds(expires_ms // 1000, "exp"),
        TTL: None if ttl_s is None else _seconds(ttl_s, "ttl", least=1),
        STATUS_LIST: {"bits": entries.size, "lst": lst},
    }
    payload = cbor.encode({name: value for name, value in claims.items() if value is not None})
    algorithm = _deprecated(key) if deprecated_algorithm else key.algorithm
    headers = {cose.HEADER_ALG: algorithm, cose.HEADER_KID: kid, HEADER_TYPE: MEDIA_TYPE}
    protected = cbor.encode(headers)
    signature = signer.sign(cose.sig_structure(protected, b"", payload))
    return cose.assemble(protected, payload, signature)


def _deprecated(key: PublicKey) -> int:
    return {"ed25519": -8, "p256": -7}[key.curve]


def _seconds(value: Any, name: str, least: int = 0) -> int:
    if not is_uint(value, MAX_SECONDS) or value < least:
        malformed(f"{name} is no whole number of seconds")
    return int(value)


class _Tags(dict[int, Any]):
    """No tag means anything here."""

    def __missing__(self, tag: int) -> NoReturn:
        raise ValueError(f"a tag {tag}")


def _loads(data: bytes) -> Any:
    """Read other people's CBOR: any order of keys, none of them twice, no tags, bounded depth."""
    try:
        if cbor.item_end(data, 0) != len(data):
            malformed("bytes follow the token, or something in it")
        return cbor2.loads(
            data,
            semantic_decoders=_Tags(),
            max_depth=_MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
        )
    except (EncodingError, cbor2.CBORError, ValueError, TypeError, RecursionError, OverflowError):
        malformed("the token is not CBOR of definite length without tags and repeated keys")


def _headers(protected: bytes, unprotected: Any) -> dict[Any, Any]:
    headers = _loads(protected) if protected else {}
    if not isinstance(headers, dict) or not isinstance(unprotected, dict):
        malformed("a header of the token is not a map")
    if any(name in unprotected for name in (cose.HEADER_ALG, HEADER_TYPE, 2)):
        malformed("algorithm, type or crit stand in the unprotected header")
    if set(headers) & set(unprotected):
        malformed("a header stands in both maps")
    if 2 in headers:
        malformed("the token has critical headers that are not known here")
    media = headers.get(HEADER_TYPE)
    if not isinstance(media, str) or media.lower() not in (MEDIA_TYPE, "statuslist+cwt"):
        malformed(f"its type is not {MEDIA_TYPE}")
    return headers | {name: unprotected[name] for name in (cose.HEADER_KID,) if name in unprotected}


def _method(headers: Mapping[Any, Any], issuer: str) -> str:
    """The DID URL that the key id holds, else the issuer's DID."""
    kid = headers.get(cose.HEADER_KID, b"")
    if not isinstance(kid, bytes):
        malformed("the key id is not a byte string")
    if not kid.startswith(b"did:"):
        return issuer
    try:
        method = kid.decode("ascii")
    except UnicodeDecodeError:
        malformed("the key id is no DID URL")
    check_method(method, issuer)
    return method


def read_token(data: bytes, *, key_of: KeyOf, issuer: str | None = None) -> SignedList:
    """Read and verify a status list token; whether it is of its time is asked later.

    Args:
        data: a COSE_Sign1 with tag 18.
        key_of: gives the admitted key; asked with the issuer's DID where the key id is no DID URL.
        issuer: DID of whoever it has to be by; needed where the token has no claim ``iss``.

    Raises:
        CredentialError: ``status.malformed``, ``status.too_large``, ``status.issuer``.
        SignatureInvalid: ``signature.invalid``. KeyRefused: ``key.algorithm``, or as ``key_of``
            raises. DIDError.
    """
    if len(data) > MAX_SIGNED:
        refuse("too_large", f"the token has more than {MAX_SIGNED} bytes")
    if data[:1] != bytes((_TAG_SIGN1,)):
        malformed("it is not a COSE_Sign1 with tag 18")
    parts = _loads(data[1:])
    if not isinstance(parts, list) or len(parts) != 4:
        malformed("a COSE_Sign1 is an array of four")
    protected, unprotected, payload, signature = parts
    if not all(isinstance(part, bytes) for part in (protected, payload, signature)):
        malformed("protected header, payload or signature are not byte strings")
    if len(protected) > cose.MAX_PROTECTED or len(signature) != SIGNATURE_BYTES:
        malformed("the protected header is too large, or the signature does not have 64 bytes")
    headers = _headers(protected, unprotected)
    claims = _loads(payload)
    if not isinstance(claims, dict):
        malformed("the claims are not a map")
    who = _issuer(claims, issuer)
    key = key_of(_method(headers, who), who, None)
    if not isinstance(key, PublicKey):
        raise KeyRefused("key.algorithm", "a token is signed with Ed25519 or P-256")
    cose.check_algorithm(headers.get(cose.HEADER_ALG), key, allow_deprecated=True)
    message = cose.sig_structure(protected, b"", payload)
    if key.curve == "p256":
        verify_any_s(key, message, signature)
    else:
        key.verify(message, signature)
    return _signed(claims, who)


def _issuer(claims: Mapping[Any, Any], expected: str | None) -> str:
    named = claims.get(ISS, expected)
    if named is None:
        refuse("issuer", "the token names no issuer", "say whose list it has to be")
    if expected is not None and named != expected:
        refuse("issuer", f"the list is by {str(named)[:120]}, not by {expected[:120]}")
    try:
        return str(parse_did(named))
    except DIDError:
        refuse("issuer", "the issuer of the list is no DID", "say whose list it has to be")


def _signed(claims: Mapping[Any, Any], issuer: str) -> SignedList:
    body = claims.get(STATUS_LIST)
    if not isinstance(body, dict) or body.get("bits") not in SIZES:
        malformed("the status list is no map with bits 1, 2, 4 or 8")
    size, lst = body["bits"], body.get("lst")
    if type(size) is not int or not isinstance(lst, bytes):
        malformed("bits is no integer, or lst no byte string")
    issued = _seconds(claims.get(IAT), "iat") * 1000
    starts = _seconds(claims.get(NBF, claims.get(IAT)), "nbf") * 1000
    expires, ttl = claims.get(EXP), claims.get(TTL)
    return SignedList(
        kind="token",
        uri=check_uri(claims.get(SUB)),
        issuer=issuer,
        purposes=frozenset(),
        issued_ms=issued,
        starts_ms=starts,
        expires_ms=None if expires is None else _seconds(expires, "exp") * 1000,
        ttl_ms=None if ttl is None else _seconds(ttl, "ttl", least=1) * 1000,
        packed=inflate(lst),
        size=size,
    )


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """A reference to a token list (section 6): ``{"status_list": {"idx": .., "uri": ..}}``."""

    uri: str
    index: int

    def to_json(self) -> dict[str, Any]:
        """As it stands in a ``status`` or ``credentialStatus``."""
        return {"status_list": {"idx": self.index, "uri": self.uri}}

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> TokenEntry:
        """Read a reference. Raises CredentialError ``status.entry``."""
        body = entry.get("status_list") if isinstance(entry, Mapping) else None
        if not isinstance(body, Mapping) or not is_uint(body.get("idx"), _MAX_IDX):
            refuse("entry", "the status_list is no map with an idx from 0")
        try:
            return cls(check_uri(body.get("uri")), body["idx"])
        except CredentialError as error:
            refuse("entry", error.message)
