"""Bitstring Status List 1.0 (W3C Recommendation): a list as a credential with a proof of its own.

Entries are counted from the left-most bit; a list has at least 131,072 of them, so that asking for
it tells nobody which credential is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from depin_id import base64url
from depin_id.credentials.moments import format_moment
from depin_id.credentials.status.bits import (
    MAX_COMPRESSED,
    MAX_PACKED,
    StatusList,
    check_size,
    gunzip,
    gzip,
    malformed,
)
from depin_id.credentials.status.signed import (
    MAX_SIGNED,
    KeyOf,
    SignedList,
    check_method,
    check_uri,
    refuse,
)
from depin_id.data_integrity import make_proof, split_proof, verify_proof
from depin_id.did.syntax import parse_did
from depin_id.errors import CredentialError, DIDError, EncodingError
from depin_id.jcs import canonicalize
from depin_id.keys import Signer
from depin_id.rfc3339 import milliseconds
from depin_id.strict_json import parse

CONTEXT: Final = "https://www.w3.org/ns/credentials/v2"
LIST_TYPE: Final = "BitstringStatusListCredential"
ENTRY_TYPE: Final = "BitstringStatusListEntry"
MIN_ENTRIES: Final = 131_072
"""The least number of entries (section 3.2, for the privacy of holders)."""
PURPOSES: Final = ("revocation", "suspension", "message", "refresh")
PURPOSE: Final = "assertionMethod"
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)


def encode_list(packed: bytes) -> str:
    """Bytes as ``encodedList``: GZIP, base64url without padding, multibase ``u`` (section 3.3)."""
    return "u" + base64url.encode(gzip(packed))


def decode_list(text: Any, *, max_bytes: int = MAX_PACKED) -> bytes:
    """The bytes of an ``encodedList`` (section 3.4), at most ``max_bytes`` of them.

    Raises:
        CredentialError: ``status.malformed``, ``status.too_large``.
    """
    if not isinstance(text, str) or len(text) > MAX_COMPRESSED * 4 // 3 + 4:
        malformed("the encodedList is not a text of bounded size")
    try:
        data = base64url.decode(text.removeprefix("u"))
    except EncodingError:
        data = b""
    if not data or text[0] != "u":
        malformed("the encodedList is not u and base64url without padding")
    return gunzip(data, max_bytes=max_bytes)


def issue_bitstring(
    entries: StatusList,
    *,
    uri: str,
    purpose: str | Sequence[str],
    issuer: str,
    signer: Signer,
    verification_method: str,
    now_ms: int,
    valid_until_ms: int | None = None,
    ttl_ms: int | None = None,
) -> bytes:
    """A signed list as canonical JSON.

    Args:
        entries: at least 131,072.
        uri: where it is going to be found. purpose: one of ``PURPOSES``, or several.
        issuer: DID. verification_method: DID URL of the signer's key, of that DID.
        now_ms: when it is issued; part of a second is cut off.
        valid_until_ms: when it is no longer stood by. ttl_ms: after how long to fetch it again.

    Raises:
        CredentialError: ``status.malformed``, ``status.length``, ``status.purpose``,
            ``status.issuer``, ``credential.malformed`` for a moment outside the years 1970 to 9999.
    """
    purposes = [purpose] if isinstance(purpose, str) else list(purpose)
    if not purposes or not set(purposes) <= set(PURPOSES) or len(set(purposes)) < len(purposes):
        refuse("purpose", f"a purpose is one of {', '.join(PURPOSES)}")
    if len(entries) < MIN_ENTRIES:
        refuse("length", f"{len(entries)} entries; a list has at least {MIN_ENTRIES}")
    check_method(verification_method, issuer)
    subject: dict[str, Any] = {
        "id": f"{check_uri(uri)}#list",
        "type": "BitstringStatusList",
        "statusPurpose": purposes[0] if len(purposes) == 1 else purposes,
        "encodedList": encode_list(entries.pack("left")),
    }
    if ttl_ms is not None:
        subject["ttl"] = _check_ttl(ttl_ms)
    moment = format_moment(now_ms)
    document: dict[str, Any] = {
        "@context": [CONTEXT],
        "id": uri,
        "type": ["VerifiableCredential", LIST_TYPE],
        "issuer": issuer,
        "validFrom": moment,
    }
    if valid_until_ms is not None:
        document["validUntil"] = format_moment(valid_until_ms)
    document["credentialSubject"] = subject
    proof = make_proof(
        document, signer, verification_method=verification_method, purpose=PURPOSE, created=moment
    )
    return canonicalize(document | {"proof": proof})


def _check_ttl(ttl: Any) -> int:
    if type(ttl) is not int or not 0 < ttl < 1 << 53:
        malformed("the time to live is not a positive integer")
    return ttl


def _moment_ms(value: Any, name: str) -> int:
    found = milliseconds(value)
    if found is None:
        malformed(f"{name} is not a dateTime with a zone")
    return found


def read_bitstring(data: bytes, *, key_of: KeyOf) -> SignedList:
    """Read and verify a list; whether it is of its time is asked later.

    Args:
        data: JSON. key_of: gives the admitted key of the proof's verification method.

    Raises:
        CredentialError: ``status.malformed``, ``status.too_large``, ``status.issuer`` (the key is
            not one of the issuer's DID), ``status.length``, ``proof.*``.
        SignatureInvalid: ``signature.invalid``. EncodingError: ``json.*``. DIDError, KeyRefused:
            as ``key_of`` raises.
    """
    document = parse(data, max_bytes=MAX_SIGNED)
    if not isinstance(document, dict):
        malformed("a list is a JSON object")
    contexts, types = document.get("@context"), document.get("type")
    if not isinstance(contexts, list) or contexts[:1] != [CONTEXT]:
        malformed(f"its first context is not {CONTEXT}")
    if not isinstance(types, list) or LIST_TYPE not in types or "VerifiableCredential" not in types:
        malformed(f"it is no credential of type {LIST_TYPE}")
    issuer = document.get("issuer")
    if isinstance(issuer, dict):
        issuer = issuer.get("id")
    if not isinstance(issuer, str) or not _is_did(issuer):
        malformed("its issuer is no DID")
    return _signed(document, issuer, _verify(document, issuer, key_of))


def _is_did(text: str) -> bool:
    try:
        parse_did(text)
    except DIDError:
        return False
    return True


def _verify(document: dict[str, Any], issuer: str, key_of: KeyOf) -> dict[str, Any]:
    """Verify the proof; gives its options."""
    proof = document.get("proof")
    options, _ = split_proof(proof)
    if options["proofPurpose"] != PURPOSE:
        refuse("malformed", "the proof was made for another purpose than assertionMethod")
    method, created = options["verificationMethod"], options.get("created")
    check_method(method, issuer)
    unsigned = {name: value for name, value in document.items() if name != "proof"}
    verify_proof(unsigned, proof, key_of(method, issuer, created))
    return options


def _signed(document: dict[str, Any], issuer: str, options: dict[str, Any]) -> SignedList:
    subject = document.get("credentialSubject")
    if not isinstance(subject, dict) or subject.get("type") != "BitstringStatusList":
        malformed("its subject is no BitstringStatusList")
    purposes = subject.get("statusPurpose")
    named = [purposes] if isinstance(purposes, str) else purposes
    if not isinstance(named, list) or not named or not all(isinstance(p, str) for p in named):
        malformed("its statusPurpose is neither a text nor a list of texts")
    packed = decode_list(subject.get("encodedList"))
    if len(packed) * 8 < MIN_ENTRIES:
        refuse("length", f"{len(packed) * 8} entries; a list has at least {MIN_ENTRIES}")
    # A list signed again says what holds then: the proof's own time goes before validFrom.
    valid_from, created = document.get("validFrom"), options.get("created")
    ends = [
        _moment_ms(holder[name], name)
        for holder, name in ((document, "validUntil"), (options, "expires"))
        if holder.get(name) is not None
    ]
    issued = _moment_ms(valid_from if created is None else created, "validFrom")
    starts = issued if valid_from is None else _moment_ms(valid_from, "validFrom")
    return SignedList(
        kind="bitstring",
        uri=check_uri(document.get("id")),
        issuer=issuer,
        purposes=frozenset(named),
        issued_ms=issued,
        starts_ms=starts,
        expires_ms=min(ends, default=None),
        ttl_ms=None if "ttl" not in subject else _check_ttl(subject["ttl"]),
        packed=packed,
        size=0,
    )


@dataclass(frozen=True, slots=True)
class BitstringEntry:
    """A ``credentialStatus`` of type ``BitstringStatusListEntry`` (section 2.1).

    Attributes:
        uri: of the list. index: from 0. purpose: ``statusPurpose``. size: bits of an entry.
        messages: for each number what it means; empty without ``statusMessage``.
    """

    uri: str
    index: int
    purpose: str
    size: int = 1
    messages: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As it stands in a credential."""
        found: dict[str, Any] = {
            "id": f"{self.uri}#{self.index}",
            "type": ENTRY_TYPE,
            "statusPurpose": self.purpose,
            "statusListIndex": str(self.index),
            "statusListCredential": self.uri,
        }
        if self.size > 1:
            found["statusSize"] = self.size
        if self.messages:
            found["statusMessage"] = [
                {"status": f"0x{number:x}", "message": text}
                for number, text in enumerate(self.messages)
            ]
        return found

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> BitstringEntry:
        """Read an entry. Raises CredentialError ``status.entry``."""
        if not isinstance(entry, Mapping) or entry.get("type") != ENTRY_TYPE:
            refuse("entry", f"the credentialStatus is no {ENTRY_TYPE}")
        index, purpose = entry.get("statusListIndex"), entry.get("statusPurpose")
        if not isinstance(index, str) or _INDEX.fullmatch(index) is None:
            refuse("entry", "the statusListIndex is no integer from 0, as text")
        if not isinstance(purpose, str):
            refuse("entry", "there is no statusPurpose")
        try:
            uri = check_uri(entry.get("statusListCredential"))
            size = check_size(entry.get("statusSize", 1))
        except CredentialError as error:
            refuse("entry", error.message)
        return cls(uri, int(index), purpose, size, _messages(entry.get("statusMessage"), size))


def _messages(value: Any, size: int) -> tuple[str, ...]:
    if value is None and size == 1:
        return ()
    if not isinstance(value, list) or len(value) != 1 << size:
        refuse("entry", f"{size} bits have {1 << size} statusMessages, no more and no fewer")
    texts: dict[int, str] = {}
    for item in value:
        status = item.get("status") if isinstance(item, dict) else None
        text = item.get("message") if isinstance(item, dict) else None
        if not isinstance(status, str) or re.fullmatch(r"0x[0-9a-fA-F]{1,2}", status) is None:
            refuse("entry", "the status of a statusMessage is not 0x and one or two digits")
        if not isinstance(text, str) or len(text) > 1024:
            refuse("entry", "the message of a statusMessage is no text of bounded size")
        texts[int(status, 16)] = text
    if sorted(texts) != list(range(1 << size)):
        refuse("entry", "the statusMessages do not name each status once")
    return tuple(texts[number] for number in range(1 << size))
