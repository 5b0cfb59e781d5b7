"""Chunk chains of peaq's Stream feature (``peaq.stream.chunks.v1``), verified with a named key.

A chunk's signature covers the hash of its ciphertext and nothing else: neither the machine, nor its
place, nor what it decrypts to. The machine comes from the DID that names the key, the order and the
length from the last chunk's id, which the verifier has to know: it is the hash over all ids.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from depin_id.errors import EnvelopeError
from depin_id.keys import admit
from depin_id.peaq.trust import MachineKeys, Trust, subject_of

SCHEMA: Final = "peaq.stream.chunks.v1"
MAX_CHUNKS: Final = 1 << 16
_HASH: Final = re.compile(r"0x[0-9a-f]{64}")
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True, slots=True)
class VerifiedChain:
    """A chain whose signer the DID names.

    Attributes:
        chunk_ids: of all chunks. trust: on whose word the key is the machine's.
        unsigned: members that nobody signed: believe none of them.
    """

    chunk_ids: tuple[str, ...]
    trust: Trust
    unsigned: tuple[str, ...] = (
        *("source_hash", "chunk_size", "plaintext_hash", "storage_ref", "encryption", "key_id"),
    )


def chunk_id(previous: str | None, encrypted_hash: str, index: int) -> str:
    """The id of a chunk: SHA-256 of previous id, hash of the ciphertext and place."""
    material = f"{previous or ''}|{encrypted_hash}|{index}".encode()
    return "0x" + hashlib.sha256(material).hexdigest()


def _refuse(what: str, code: str = "peaq.chain_malformed", hint: str = "") -> NoReturn:
    raise EnvelopeError(code, what, hint=hint)


def _text(value: Any, form: re.Pattern[str], what: str) -> str:
    if type(value) is not str or not form.fullmatch(value):
        _refuse(f"{what} is not in its form")
    return value


def verify_chain(
    chain: Mapping[str, Any],
    ciphertexts: Mapping[int, bytes],
    keys: MachineKeys,
    *,
    last_chunk_id: str,
    allow_attribute: bool = False,
    allow_published: bool = False,
) -> VerifiedChain:
    """Verify all chunks of a chain.

    Args:
        chain: a JSON value: ``did`` and ``chunks``.
        ciphertexts: by place, all of them.
        keys: what the DID names.
        last_chunk_id: from elsewhere, such as a signed package or the machine's event: without it
            nobody can see that a chain was cut off.
        allow_attribute: see :func:`depin_id.peaq.stream.verify_package`.
        allow_published: take keys whose private half is published (test vectors only).

    Raises:
        EnvelopeError: ``peaq.chain_malformed``, ``peaq.chain_broken``: ids, places or hashes do not
            follow one another; ``peaq.chain_cut``: it does not end with the chunk it has to.
        SignatureInvalid: ``signature.invalid``.
        CredentialError: ``peaq.another_did``, ``peaq.key_not_named``, ``peaq.attribute_only``.
        KeyRefused: ``key.not_admissible``.
    """
    chunks = chain.get("chunks") if isinstance(chain, Mapping) else None
    if not isinstance(chunks, list | tuple) or not 1 <= len(chunks) <= MAX_CHUNKS:
        _refuse(f"a chain has 1 to {MAX_CHUNKS} chunks")
    subject_of(chain.get("did"), keys)
    found: list[str] = []
    trust: Trust = "attribute-only"
    for index, chunk in enumerate(chunks):
        if not isinstance(chunk, Mapping) or not isinstance(chunk.get("signature"), Mapping):
            _refuse(f"chunk {index} is not an object with a signature")
        if chunk.get("schema_version") != SCHEMA:
            _refuse(f"chunk {index} is not of {SCHEMA}")
        found.append(_linked(chunk, index, found[-1] if found else None, ciphertexts))
        trust = _signed(chunk, keys, allow_attribute, allow_published)
    if found[-1] != last_chunk_id:
        _refuse(
            f"the chain ends with chunk {len(found) - 1}, which is not its last",
            "peaq.chain_cut",
            "ask for all chunks",
        )
    return VerifiedChain(tuple(found), trust)


def _linked(
    chunk: Mapping[str, Any], index: int, previous: str | None, ciphertexts: Mapping[int, bytes]
) -> str:
    digest = _text(chunk.get("encrypted_data_hash"), _HASH, f"the hash of chunk {index}")
    name = _text(chunk.get("chunk_id"), _HASH, f"the id of chunk {index}")
    at = chunk.get("index")
    if type(at) is not int or at != index or chunk.get("previous_chunk_id") != previous:
        _refuse(f"chunk {index} does not follow the one before it", "peaq.chain_broken")
    data = ciphertexts.get(index)
    if not isinstance(data, bytes) or "0x" + hashlib.sha256(data).hexdigest() != digest:
        _refuse(f"the ciphertext of chunk {index} is missing, or another", "peaq.chain_broken")
    if name != chunk_id(previous, digest, index):
        _refuse(f"the id of chunk {index} is not that of what it holds", "peaq.chain_broken")
    return name


def _signed(
    chunk: Mapping[str, Any], keys: MachineKeys, allow_attribute: bool, allow_published: bool
) -> Trust:
    signed = chunk["signature"]
    if signed.get("algorithm") != "ed25519":
        _refuse("a chunk is signed with Ed25519 only")
    subject_of(signed.get("machine_did"), keys)
    raw = _text(signed.get("public_key_hex"), _KEY, "the key of a chunk")
    value = _text(signed.get("value"), _SIGNATURE, "the signature of a chunk")
    key = admit("ed25519", bytes.fromhex(raw), allow_published=allow_published)
    trust = keys.require_key(key, allow_attribute=allow_attribute)
    key.verify(chunk["encrypted_data_hash"].encode(), bytes.fromhex(value))
    return trust
