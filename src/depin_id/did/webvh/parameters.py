"""The parameters of a log entry, and those in force after it (did:webvh 1.0, "Parameters")."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from depin_id import base58
from depin_id.did.multikey import decode_multikey
from depin_id.did.webvh.location import SCID
from depin_id.did.webvh.refusal import refuse
from depin_id.errors import DepinError
from depin_id.keys import PublicKey

METHOD: Final = "did:webvh:1.0"
MAX_LIST: Final = 256
"""The most update keys, hashes, watchers or witnesses of an entry."""
MAX_TEXT: Final = 2048
MAX_KEYS: Final = 20_000
"""The most keys that a log may bring in all."""
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+\Z", re.ASCII)
MAX_TTL: Final = 1 << 31
DEFAULT_TTL: Final = 3600
_NAMES: Final = frozenset(
    "method scid updateKeys nextKeyHashes witness watchers portable deactivated ttl".split()
)
# Early implementations wrote null for "no longer"; resolvers should take it for the default.
_NULLABLE: Final[dict[str, Any]] = {
    "updateKeys": [],
    "nextKeyHashes": [],
    "watchers": [],
    "witness": {},
    "ttl": DEFAULT_TTL,
}


@lru_cache(maxsize=4096)
def admitted(multikey: str, allow_published: bool) -> PublicKey:
    """An Ed25519 key of an update or a witness, admitted.

    Raises:
        DIDError: ``did.webvh.key``.
    """
    try:
        key = decode_multikey(multikey, allow_published=allow_published)
    except DepinError as error:
        refuse("key", f"a key is not admitted: {error.message}")
    if key.curve != "ed25519":
        refuse("key", "did:webvh 1.0 signs with Ed25519 only")
    return key


def multihash(data: bytes) -> str:
    """base58btc of the SHA-256 multihash, as SCIDs, entry hashes and key hashes are written."""
    return base58.encode(b"\x12\x20" + hashlib.sha256(data).digest())


@lru_cache(maxsize=4096)
def key_hash(multikey: str) -> str:
    """What ``nextKeyHashes`` holds of a key."""
    return multihash(multikey.encode())


@dataclass(frozen=True, slots=True)
class WitnessRule:
    """How many of which witnesses have to approve an entry; without witnesses nobody has to.

    Attributes:
        threshold: 0 without witnesses. witnesses: their multikeys.
    """

    threshold: int = 0
    witnesses: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.witnesses)

    def to_json(self) -> dict[str, Any]:
        """As the ``witness`` parameter has it."""
        if not self:
            return {}
        witnesses = [{"id": f"did:key:{key}"} for key in self.witnesses]
        return {"threshold": self.threshold, "witnesses": witnesses}


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters in force after an entry.

    Attributes:
        update_keys: multikeys that may sign the next entry. next_key_hashes: with any, the next
            entry must bring update keys of these hashes (pre-rotation). witness: whose approval
            the next entry needs. ttl: seconds a resolver may keep the document.
    """

    scid: str = ""
    update_keys: tuple[str, ...] = ()
    next_key_hashes: tuple[str, ...] = ()
    witness: WitnessRule = WitnessRule()
    watchers: tuple[str, ...] = ()
    portable: bool = False
    deactivated: bool = False
    ttl: int = DEFAULT_TTL


def key_count(given: Any) -> int:
    """How many keys an entry's ``parameters`` bring, each of which has to be admitted."""
    witness = given.get("witness") if isinstance(given, dict) else None
    lists = (
        given.get("updateKeys") if isinstance(given, dict) else None,
        witness.get("witnesses") if isinstance(witness, dict) else None,
    )
    return sum(len(keys) for keys in lists if isinstance(keys, list))


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_LIST:
        refuse("parameters", f"{name} is not a list of at most {MAX_LIST}")
    for text in value:
        if not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT:
            refuse("parameters", f"{name} holds something else than texts")
    if len(set(value)) != len(value):
        refuse("parameters", f"{name} names one twice")
    return tuple(value)


def _witness(value: Any, allow_published: bool) -> WitnessRule:
    if not isinstance(value, dict):
        refuse("parameters", "witness is not an object")
    if not value:
        return WitnessRule()
    threshold, listed = value.get("threshold"), value.get("witnesses")
    if set(value) != {"threshold", "witnesses"} or not isinstance(listed, list) or not listed:
        refuse("parameters", "witness has not just a threshold and a list of witnesses")
    if len(listed) > MAX_LIST:
        refuse("parameters", f"witness lists over {MAX_LIST} witnesses")
    if type(threshold) is not int or not 1 <= threshold <= len(listed):
        refuse("parameters", "the threshold is not from 1 to the number of witnesses")
    keys = []
    for one in listed:
        name = one.get("id") if isinstance(one, dict) else None
        if not isinstance(name, str) or len(name) > MAX_TEXT:
            refuse("parameters", "a witness has no id")
        # A bare multikey, as some write it, names the same witness.
        key = name.removeprefix("did:key:")
        admitted(key, allow_published)
        keys.append(key)
    if len(set(keys)) != len(keys):
        refuse("parameters", "a witness is listed twice")
    return WitnessRule(threshold, tuple(keys))


def _first(given: Mapping[str, Any]) -> None:
    for name in ("method", "scid", "updateKeys"):
        if name not in given:
            refuse("parameters", f"the first entry has no {name}")
    scid = given["scid"]
    if not isinstance(scid, str) or not SCID.fullmatch(scid):
        refuse("scid", "the scid is not base58btc of a SHA-256 multihash")
    if not given["updateKeys"]:
        refuse("parameters", "the first entry has no update key")


def apply(before: Parameters | None, given: Any, *, allow_published: bool = False) -> Parameters:
    """Parameters in force after an entry.

    Args:
        before: those in force before it, None for the first entry.
        given: the entry's ``parameters``.

    Raises:
        DIDError: ``did.webvh.parameters``, ``did.webvh.method_version``, ``did.webvh.key``,
            ``did.webvh.pre_rotation``, ``did.webvh.scid``.
    """
    if not isinstance(given, dict):
        refuse("parameters", "parameters is not an object")
    if not given and before is not None and not before.next_key_hashes:
        return before
    if unknown := given.keys() - _NAMES:
        refuse("parameters", f"there is no parameter {sorted(unknown)[0][:40]!r}")
    if given.get("method", METHOD) != METHOD:
        refuse("method_version", f"the method is {str(given['method'])[:40]!r}")
    if None in given.values():
        given = {n: _NULLABLE.get(n) if v is None else v for n, v in given.items()}
    if before is None:
        _first(given)
        now = Parameters(scid=given["scid"])
    else:
        if "scid" in given:
            refuse("parameters", "scid stands in a later entry than the first")
        now = before
    changes: dict[str, Any] = {}
    if "updateKeys" in given:
        keys = _texts("updateKeys", given["updateKeys"])
        for key in keys:
            admitted(key, allow_published)
        changes["update_keys"] = keys
    if "nextKeyHashes" in given:
        changes["next_key_hashes"] = _texts("nextKeyHashes", given["nextKeyHashes"])
    if "watchers" in given:
        changes["watchers"] = _texts("watchers", given["watchers"])
        if not all(_URI.match(watcher) for watcher in changes["watchers"]):
            refuse("parameters", "a watcher is not a URL")
    if "witness" in given:
        changes["witness"] = _witness(given["witness"], allow_published)
    for name in ("portable", "deactivated"):
        if name in given:
            if type(given[name]) is not bool:
                refuse("parameters", f"{name} is neither true nor false")
            changes[name] = given[name]
    if "ttl" in given:
        if type(given["ttl"]) is not int or not 0 <= given["ttl"] <= MAX_TTL:
            refuse("parameters", "ttl is not a number of seconds from 0 to 2^31")
        changes["ttl"] = given["ttl"]
    if before is not None:
        if changes.get("portable") and not before.portable:
            refuse("parameters", "portable can be set in the first entry only")
        if before.next_key_hashes:
            _pre_rotation(before, changes)
    return replace(now, **changes) if changes else now


def _pre_rotation(before: Parameters, changes: Mapping[str, Any]) -> None:
    if not changes.get("update_keys") or "next_key_hashes" not in changes:
        refuse("pre_rotation", "the entry has no updateKeys or no nextKeyHashes")
    for key in changes["update_keys"]:
        if key_hash(key) not in before.next_key_hashes:
            refuse("pre_rotation", "an update key was not announced in nextKeyHashes")
