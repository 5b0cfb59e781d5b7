"""An issuer of lists, and somebody else who would like to be."""

from __future__ import annotations

import hashlib
from typing import Any

from depin_id.credentials.status import (
    BitstringEntry,
    StatusList,
    StatusStore,
    issue_bitstring,
    issue_token,
)
from depin_id.credentials.status.bits import pack
from depin_id.did.key import did_key, parse_did_key
from depin_id.keys import PublicKey, SoftwareSigner

URI = "https://example.com/status/1"
NOW_MS = 1_795_000_000_000
DAY_MS = 86_400_000
COUNT = 131_072


def signer(name: str, curve: Any = "ed25519") -> SoftwareSigner:
    """A key made of a name."""
    return SoftwareSigner(curve, hashlib.sha256(f"status {name}".encode()).digest())


ISSUER, OTHER, P256 = signer("issuer"), signer("other"), signer("issuer", "p256")


def method(who: SoftwareSigner) -> tuple[str, str]:
    """DID and verification method of a key."""
    did = did_key(who.public_key)
    return did, f"{did}#{did.removeprefix('did:key:')}"


DID, METHOD = method(ISSUER)


def key_of(verification_method: str, issuer: str, created: str | None) -> PublicKey:
    """The key of a did:key."""
    return parse_did_key(verification_method.partition("#")[0])


def entries(values: dict[int, int] | None = None, size: int = 1, count: int = COUNT) -> StatusList:
    """A list of zeros but for these."""
    table = bytearray(count)
    for index, value in (values or {}).items():
        table[index] = value
    return StatusList(pack(bytes(table), size, "left"), size)


def bitstring(
    values: dict[int, int] | None = None,
    *,
    who: SoftwareSigner = ISSUER,
    size: int = 1,
    count: int = COUNT,
    **changes: Any,
) -> bytes:
    """A signed Bitstring Status List."""
    did, verification_method = method(who)
    usual: dict[str, Any] = {
        "uri": URI,
        "purpose": "revocation",
        "issuer": did,
        "signer": who,
        "verification_method": verification_method,
        "now_ms": NOW_MS,
    }
    return issue_bitstring(entries(values, size, count), **(usual | changes))


def token(
    values: dict[int, int] | None = None,
    *,
    who: SoftwareSigner = ISSUER,
    size: int = 2,
    count: int = 1024,
    **changes: Any,
) -> bytes:
    """A signed Token Status List."""
    usual: dict[str, Any] = {
        "uri": URI,
        "signer": who,
        "issuer": method(who)[0],
        "now_ms": NOW_MS,
    }
    return issue_token(entries(values, size, count), **(usual | changes))


def store(*lists: bytes, **options: Any) -> StatusStore:
    """A store that holds these."""
    made = StatusStore(key_of=key_of, **options)
    for data in lists:
        made.add(data)
    return made


def entry(index: int, purpose: str = "revocation", **more: Any) -> dict[str, Any]:
    """A credentialStatus of the bitstring list."""
    return BitstringEntry(URI, index, purpose).to_json() | more


def reference(index: int) -> dict[str, Any]:
    """A reference to the token list."""
    return {"status_list": {"idx": index, "uri": URI}}
