"""Making did:webvh logs: create, update, rotate, deactivate, move.

Each gives one line to append to ``did.jsonl``; what would not verify is refused before it is given.
Publish witnesses' proofs first where the DID has witnesses (:mod:`depin_id.did.webvh.witnessing`).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from depin_id.data_integrity import make_proof
from depin_id.did.document import CONTEXTS
from depin_id.did.multikey import encode_multikey
from depin_id.did.webvh.history import History
from depin_id.did.webvh.location import PLACEHOLDER, parse_place
from depin_id.did.webvh.parameters import METHOD, WitnessRule, key_hash, multihash
from depin_id.did.webvh.proofs import PURPOSE
from depin_id.did.webvh.refusal import refuse
from depin_id.did.webvh.times import format_time
from depin_id.did.webvh.verify import verify_next
from depin_id.errors import EncodingError
from depin_id.jcs import canonicalize
from depin_id.keys import PublicKey, Signer
from depin_id.strict_json import parse


def witness_rule(threshold: int, witnesses: Sequence[PublicKey]) -> WitnessRule:
    """So many of these witnesses have to approve every entry."""
    return WitnessRule(threshold, tuple(encode_multikey(key) for key in witnesses))


def document_template(place: str, keys: Mapping[str, PublicKey]) -> dict[str, Any]:
    """A document for :func:`create` whose keys sign assertions and authenticate.

    Args:
        place: as :func:`create` takes it. keys: by fragment, such as ``key-1``.

    Raises:
        DIDError: ``did.webvh.did``.
    """
    return make_document(parse_place(place).did, keys)


def make_document(did: str, keys: Mapping[str, PublicKey]) -> dict[str, Any]:
    """A document of a DID whose keys sign assertions and authenticate."""
    names = [f"{did}#{name}" for name in keys]
    methods = [
        {
            "id": name,
            "type": "Multikey",
            "controller": did,
            "publicKeyMultibase": encode_multikey(key),
        }
        for name, key in zip(names, keys.values(), strict=True)
    ]
    return {
        "@context": list(CONTEXTS),
        "id": did,
        "verificationMethod": methods,
        "authentication": names,
        "assertionMethod": list(names),
    }


def _multikeys(keys: Sequence[PublicKey]) -> list[str]:
    return [encode_multikey(key) for key in keys]


def _sign(entry: dict[str, Any], signer: Signer) -> bytes:
    multikey = encode_multikey(signer.public_key)
    if signer.public_key.curve != "ed25519":
        refuse("key", "did:webvh 1.0 signs with Ed25519 only")
    proof = make_proof(
        entry,
        signer,
        verification_method=f"did:key:{multikey}#{multikey}",
        purpose=PURPOSE,
        created=entry["versionTime"],
    )
    return (
        json.dumps({**entry, "proof": [proof]}, separators=(",", ":"), ensure_ascii=False).encode()
        + b"\n"
    )


def _plain(value: Mapping[str, Any]) -> Any:
    """A copy as JSON has it. Raises DIDError ``did.webvh.log``."""
    try:
        return parse(canonicalize(dict(value)))
    except EncodingError as error:
        refuse("log", f"the document or a parameter cannot be written: {error.message}")


def create(
    place: str,
    signer: Signer,
    *,
    now_ms: int,
    document: Mapping[str, Any] | None = None,
    update_keys: Sequence[PublicKey] = (),
    next_keys: Sequence[PublicKey] = (),
    witness: WitnessRule | None = None,
    watchers: Sequence[str] = (),
    portable: bool = False,
    ttl: int | None = None,
    allow_published: bool = False,
) -> bytes:
    """The first line of a new DID's log.

    Args:
        place: what stands behind the SCID: ``example.com``, ``example.com%3A3000:dids:issuer``.
        signer: signs, and may sign updates; Ed25519. now_ms: its ``versionTime``.
        document: with the literal ``{SCID}`` wherever the SCID is to stand; None makes one with
            the signer's key as ``key-1``.
        update_keys: that may sign updates; without any, the signer's. next_keys: those that will
            replace them (pre-rotation); keep their private halves elsewhere.

    Raises:
        DIDError: ``did.webvh.*`` where it would not verify.
    """
    if document is None:
        document = document_template(place, {"key-1": signer.public_key})
    given: dict[str, Any] = {
        "method": METHOD,
        "scid": PLACEHOLDER,
        "updateKeys": _multikeys(update_keys or [signer.public_key]),
    }
    if next_keys:
        given["nextKeyHashes"] = [key_hash(key) for key in _multikeys(next_keys)]
    if witness:
        given["witness"] = witness.to_json()
    if watchers:
        given["watchers"] = list(watchers)
    if portable:
        given["portable"] = True
    if ttl is not None:
        given["ttl"] = ttl
    if document.get("id") != parse_place(place).did:
        refuse("did", f"the id of the document is not {parse_place(place).did}")
    entry = {
        "versionId": PLACEHOLDER,
        "versionTime": format_time(now_ms),
        "parameters": given,
        "state": _plain(document),
    }
    text = canonicalize(entry).decode()
    scid = multihash(text.encode())
    made: dict[str, Any] = parse(text.replace(PLACEHOLDER, scid))
    made["versionId"] = scid
    made["versionId"] = "1-" + multihash(canonicalize(made))
    line = _sign(made, signer)
    verify_next(None, line, now_ms=now_ms, allow_published=allow_published)
    return line


def update(
    history: History,
    signer: Signer,
    *,
    now_ms: int,
    document: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> bytes:
    """The next line of a log.

    Args:
        history: all of the log, verified. signer: of an active update key; with pre-rotation, of
            one that this entry brings. now_ms: its ``versionTime``, later than the last.
        document: the new document; None keeps the last. parameters: changes, as the method names
            them (``ttl``, ``watchers``, ``witness``, ...).

    Raises:
        DIDError: ``did.webvh.*`` where it would not verify.
    """
    last = history.last
    state = last.document if document is None else document
    entry = {
        "versionId": last.version_id,
        "versionTime": format_time(now_ms),
        "parameters": _plain(parameters or {}),
        "state": _plain(state),
    }
    entry["versionId"] = f"{last.number + 1}-{multihash(canonicalize(entry))}"
    line = _sign(entry, signer)
    verify_next(history, line, now_ms=now_ms, allow_published=last.allow_published)
    return line


def rotate(
    history: History,
    signer: Signer,
    *,
    now_ms: int,
    update_keys: Sequence[PublicKey] | None = None,
    next_keys: Sequence[PublicKey] | None = None,
    document: Mapping[str, Any] | None = None,
) -> bytes:
    """The line that replaces update keys, those announced, or keys of the document.

    Args:
        signer: with pre-rotation of one of the new keys, else of one of those before.
        update_keys: the new ones; None takes the signer's. next_keys: announced for the rotation
            after this one; an empty list ends pre-rotation, None leaves a DID without it.

    Raises:
        DIDError: ``did.webvh.*`` where it would not verify, such as ``did.webvh.pre_rotation``
            for keys that were not announced, and for pre-rotation without ``next_keys``.
    """
    keys = [signer.public_key] if update_keys is None else update_keys
    changes: dict[str, Any] = {"updateKeys": _multikeys(keys)}
    if next_keys is not None:
        changes["nextKeyHashes"] = [key_hash(key) for key in _multikeys(next_keys)]
    return update(history, signer, now_ms=now_ms, document=document, parameters=changes)


def deactivate(history: History, signer: Signer, *, now_ms: int) -> bytes:
    """The last line of a log: the DID stays resolvable, and has no active key any more.

    With pre-rotation the signer's key must be one that was announced.

    Raises:
        DIDError: ``did.webvh.*`` where it would not verify.
    """
    changes: dict[str, Any] = {"deactivated": True, "updateKeys": []}
    if history.last.parameters.next_key_hashes:
        changes |= {"updateKeys": _multikeys([signer.public_key]), "nextKeyHashes": []}
    return update(history, signer, now_ms=now_ms, parameters=changes)


def move(
    history: History,
    signer: Signer,
    place: str,
    *,
    now_ms: int,
    parameters: Mapping[str, Any] | None = None,
) -> bytes:
    """The line that takes a portable DID to another place; SCID and history stay.

    Args:
        place: as :func:`create` takes it. parameters: as :func:`update` takes them.

    Raises:
        DIDError: ``did.webvh.portable``, and as :func:`update`.
    """
    old, scid = history.did, history.scid
    new = parse_place(place).did.replace(PLACEHOLDER, scid)
    made = _renamed(copy.deepcopy(dict(history.last.document)), old, new)
    known = made.get("alsoKnownAs")
    known = known if isinstance(known, list) else []
    made["alsoKnownAs"] = [old, *(name for name in known if name not in (old, new))]
    return update(history, signer, now_ms=now_ms, document=made, parameters=parameters)


def _renamed(value: Any, old: str, new: str) -> Any:
    """The old DID and its DID URLs as the new one; longer names that begin alike stay."""
    if isinstance(value, str):
        rest = value[len(old) :]
        return new + rest if value.startswith(old) and rest[:1] in ("", "#", "/", "?") else value
    if isinstance(value, list):
        return [_renamed(item, old, new) for item in value]
    if isinstance(value, dict):
        return {name: _renamed(item, old, new) for name, item in value.items()}
    return value
