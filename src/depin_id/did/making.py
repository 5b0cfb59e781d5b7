"""What stands in the files of a DID's folder: first documents, next documents, those of a key."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from depin_id.did.document import key_document
from depin_id.did.jwk import did_jwk, parse_did_jwk
from depin_id.did.key import did_key, parse_did_key
from depin_id.did.multikey import encode_multikey
from depin_id.did.syntax import parse_did
from depin_id.did.webvh import History, MethodKey, document_template
from depin_id.did.webvh.documents import document_keys
from depin_id.did.webvh.verify import verify_next
from depin_id.durable import read_file
from depin_id.errors import DIDError, EncodingError, KeyRefused
from depin_id.keys import PublicKey
from depin_id.strict_json import parse

DOCUMENT_FILE: Final = "did.json"
LOG_FILE: Final = "did.jsonl"
MAX_DOCUMENT: Final = 1 << 16
_RELATIONSHIPS: Final = (
    "authentication",
    "assertionMethod",
    "capabilityInvocation",
    "capabilityDelegation",
)


def refuse(code: str, message: str, hint: str) -> NoReturn:
    """Raise a DIDError."""
    raise DIDError(code, message, hint=hint)


def moment(history: History | None, now_ms: int) -> int:
    """The time of a new version: a whole second, as resolvers ask for, where it is later."""
    second = now_ms - now_ms % 1000
    return second if history is None or second > history.last.version_time_ms else now_ms


def needed_place(place: str | None) -> str:
    """The place of a did:webvh. Raises DIDError ``did.folder`` without one."""
    if not place:
        refuse(
            "did.folder",
            "a did:webvh needs a place: the domain where its log is published",
            "such as example.com or example.com:devices:acme",
        )
    return place


def first_document(
    place: str, key: PublicKey, services: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The document of a new did:webvh whose key does everything that a key is for."""
    document = document_template(place, {"key-1": key})
    for relationship in _RELATIONSHIPS:
        document[relationship] = [method["id"] for method in document["verificationMethod"]]
    if services:
        document["service"] = [dict(service) for service in services]
    return document


def replaced(history: History, method: str, key: PublicKey) -> dict[str, Any]:
    """The last document with another key in the place of the one that signs."""
    last = history.last
    document = copy.deepcopy(dict(last.document))
    named = f"{last.did}#key-{last.number + 1}"
    ids = (method, method.removeprefix(last.did))
    for index, item in enumerate(document["verificationMethod"]):
        if item["id"] in ids:
            document["verificationMethod"][index] = {
                "id": named,
                "type": "Multikey",
                "controller": last.did,
                "publicKeyMultibase": encode_multikey(key),
            }
    for relationship in _RELATIONSHIPS:
        if relationship in document:
            listed = document[relationship]
            document[relationship] = [named if item in ids else item for item in listed]
    return document


def read_document(folder: Path) -> tuple[dict[str, Any], tuple[str, PublicKey]]:
    """Document and key of a folder whose DID is its key."""
    data = read_file(folder / DOCUMENT_FILE, max_bytes=MAX_DOCUMENT)
    if data is None:
        refuse(
            "did.folder",
            f"there is no DID in {folder}: neither {LOG_FILE} nor {DOCUMENT_FILE}",
            "make one with: depin-id did create",
        )
    try:
        document = parse(data)
    except EncodingError as error:
        raise DIDError("did.folder", f"{folder / DOCUMENT_FILE}: {error.message}") from error
    did = document.get("id") if isinstance(document, dict) else None
    method = parse_did(did).method if isinstance(did, str) else ""
    if not isinstance(did, str) or method not in ("key", "jwk"):
        refuse(
            "did.folder",
            f"{folder / DOCUMENT_FILE} is not the document of a did:key or did:jwk",
            "see docs/identity/resolving.md",
        )
    try:
        key = parse_did_key(did) if method == "key" else parse_did_jwk(did)
    except KeyRefused as error:
        raise DIDError("did.folder_keys", f"the key of {did} is not admissible") from error
    expected, method_id = document_of(method, key)
    if document != expected:
        refuse(
            "did.folder",
            f"{folder / DOCUMENT_FILE} is not the document of {did}",
            "a DID that is a key has exactly one document: restore the file",
        )
    return expected, (method_id, key)


def document_of(method: str, key: PublicKey) -> tuple[dict[str, Any], str]:
    """Document and verification method of a key. Raises DIDError ``did.method_not_supported``."""
    if method == "key":
        did = did_key(key)
        method_id = f"{did}#{parse_did(did).id}"
    elif method == "jwk":
        did = did_jwk(key)
        method_id = f"{did}#0"
    else:
        refuse("did.method_not_supported", f"there is no did:{method[:20]} to make", "webvh, key")
    return key_document(did, method_id, key), method_id


def unapproved(log: bytes, now_ms: int) -> tuple[dict[str, Any], tuple[MethodKey, ...]]:
    """Document and keys of a first version that its witnesses have not approved yet.

    Raises:
        DIDError: ``did.webvh.*``.
    """
    line = log.split(b"\n", 1)[0]
    verify_next(None, line, now_ms=now_ms)
    document: dict[str, Any] = parse(line)["state"]
    return document, document_keys(document["id"], document)["assertionMethod"]
