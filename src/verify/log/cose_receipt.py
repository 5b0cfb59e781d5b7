"""COSE Receipts (RFC 9942): the same proofs as a tlog-proof, for those who read COSE.

A receipt is a COSE_Sign1 by the log's key whose detached payload is a root. The reader computes
the root from what it knows and the proof in the unprotected header, so a proof that was changed
shows as a signature that does not verify. Verifiable data structure 1 (RFC 9162, SHA-256) hashes as
RFC 6962.

Its ``external_aad`` is empty, as other readers expect. What the log's key signs otherwise is text,
which a Sig_structure never is: neither passes for the other.

What is signed is the root alone. The sizes and the index are only as sure as the shape of the path:
several sizes can have one shape. Who needs the size takes it from a signed checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from depin_id import cbor
from depin_id.cose import HEADER_ALG, HEADER_KID, MAX_PROTECTED, check_algorithm, sig_structure
from depin_id.errors import DepinError, LogError
from depin_id.keys import SIGNATURE_BYTES, PublicKey, Signer
from verify.log.merkle import (
    HASH_SIZE,
    leaf_hash,
    root_from_consistency,
    root_from_inclusion,
)
from verify.log.proof import MAX_HASHES

MAX_COSE_RECEIPT: Final = 8 * 1024
HEADER_CLAIMS: Final = 15
HEADER_VDS: Final = 395
HEADER_VDP: Final = 396
RFC9162_SHA256: Final = 1
INCLUSION: Final = -1
CONSISTENCY: Final = -2

_ISSUER = 1
_TAG_SIGN1 = 18
_PROTECTED = {HEADER_ALG, HEADER_KID, HEADER_CLAIMS, HEADER_VDS}


def _wrong(what: str, hint: str = "") -> NoReturn:
    raise LogError(
        "log.cose_receipt", what, hint=hint or "get the receipt again from whoever gave it"
    )


@dataclass(frozen=True)
class CoseInclusion:
    """What a receipt of inclusion proves: the leaf is in the tree with ``root``.

    ``size`` and ``index`` lead to that root; other sizes may too, so they are hints.
    """

    size: int
    index: int
    root: bytes


@dataclass(frozen=True)
class CoseConsistency:
    """What a receipt of consistency proves: the tree with ``root`` begins with the old one.

    The sizes lead to that root; others may too, so they are hints.
    """

    old_size: int
    size: int
    root: bytes


def sign_cose_inclusion(
    index: int, size: int, leaf: bytes, path: Sequence[bytes], *, signer: Signer, origin: str
) -> bytes:
    """A COSE Receipt that an entry is in the log (RFC 9942 section 5.2).

    The caller sees to it that the root which the path leads to is one that the log published.

    Args:
        index, size: of the leaf and the tree.
        leaf: the entry itself, unhashed.
        path: inclusion proof, from the leaf's sibling upwards.
        signer: the log's key.
        origin: the log's origin, which becomes the issuer.

    Raises:
        LogError: ``log.proof`` for a path that cannot be; ``log.cose_receipt`` when it is empty:
            a tree of one leaf has no receipt in this form.
    """
    root = root_from_inclusion(index, size, leaf_hash(leaf), path)
    return _sign(INCLUSION, [size, index, list(path)], root, signer, origin)


def sign_cose_consistency(
    old_size: int,
    size: int,
    old_root: bytes,
    path: Sequence[bytes],
    *,
    signer: Signer,
    origin: str,
) -> bytes:
    """A COSE Receipt that the log begins with an older tree (RFC 9942 section 5.3).

    Raises:
        LogError: ``log.proof`` when the path does not lead on from the old root.
    """
    root = root_from_consistency(old_size, size, path, old_root)
    return _sign(CONSISTENCY, [old_size, size, list(path)], root, signer, origin)


def _sign(kind: int, proof: list[Any], root: bytes, signer: Signer, origin: str) -> bytes:
    if not proof[2]:
        _wrong("RFC 9942 has no form for an empty path", "use the tlog-proof of the same entry")
    key = signer.public_key
    headers = {
        HEADER_ALG: key.algorithm,
        HEADER_KID: key.kid,
        HEADER_CLAIMS: {_ISSUER: origin},
        HEADER_VDS: RFC9162_SHA256,
    }
    protected = cbor.encode(headers)
    unprotected = {HEADER_VDP: {kind: [cbor.encode(proof)]}}
    signature = signer.sign(sig_structure(protected, b"", root))
    return cbor.encode(cbor.Tag(_TAG_SIGN1, [protected, unprotected, None, signature]))


def check_cose_inclusion(data: bytes, leaf: bytes, key: PublicKey, *, origin: str) -> CoseInclusion:
    """Check a COSE Receipt of inclusion.

    Args:
        data: the receipt, in deterministic CBOR.
        leaf: the entry itself, unhashed.
        key: the log's key.
        origin: the log's origin.

    Raises:
        LogError: ``log.cose_receipt`` for another form, ``log.origin`` for another log's,
            ``log.proof`` for a proof that cannot be.
        SignatureInvalid, KeyRefused, EncodingError.
    """
    protected, proof, signature = _read(data, INCLUSION, key, origin)
    size, index, path = proof
    root = root_from_inclusion(index, size, leaf_hash(leaf), path)
    key.verify(sig_structure(protected, b"", root), signature)
    return CoseInclusion(size, index, root)


def check_cose_consistency(
    data: bytes, old_root: bytes, key: PublicKey, *, origin: str
) -> CoseConsistency:
    """Check a COSE Receipt of consistency, from the root of the old tree.

    Raises:
        LogError, SignatureInvalid, KeyRefused, EncodingError: as :func:`check_cose_inclusion`.
    """
    protected, proof, signature = _read(data, CONSISTENCY, key, origin)
    old_size, size, path = proof
    root = root_from_consistency(old_size, size, path, old_root)
    key.verify(sig_structure(protected, b"", root), signature)
    return CoseConsistency(old_size, size, root)


def _read(
    data: bytes, kind: int, key: PublicKey, origin: str
) -> tuple[bytes, tuple[int, int, list[bytes]], bytes]:
    value = cbor.decode(data, max_bytes=MAX_COSE_RECEIPT)
    parts = value.value if isinstance(value, cbor.Tag) and value.tag == _TAG_SIGN1 else None
    if not isinstance(parts, list) or len(parts) != 4:
        _wrong("it is not a COSE_Sign1 with tag 18")
    protected, unprotected, payload, signature = parts
    if payload is not None:
        _wrong("the payload is not detached: the root has to be computed, never believed")
    if not isinstance(signature, bytes) or len(signature) != SIGNATURE_BYTES:
        _wrong(f"the signature is not a byte string of {SIGNATURE_BYTES}")
    _check_headers(protected, key, origin)
    return protected, _read_proof(unprotected, kind), signature


def _check_headers(protected: Any, key: PublicKey, origin: str) -> None:
    if not isinstance(protected, bytes) or len(protected) > MAX_PROTECTED:
        _wrong("the protected header is no byte string of bounded size")
    headers = cbor.decode(protected, max_bytes=MAX_PROTECTED)
    if not isinstance(headers, dict) or set(headers) != _PROTECTED:
        _wrong("the protected header is not exactly alg, kid, claims and vds")
    if type(headers[HEADER_VDS]) is not int or headers[HEADER_VDS] != RFC9162_SHA256:
        _wrong("the verifiable data structure is not RFC9162_SHA256")
    if headers[HEADER_KID] != key.kid:
        raise LogError("log.signature", "the receipt names another key than the log's")
    check_algorithm(headers[HEADER_ALG], key)
    claims = headers[HEADER_CLAIMS]
    if not isinstance(claims, dict) or set(claims) != {_ISSUER}:
        _wrong("the claims are not exactly the issuer")
    if claims[_ISSUER] != origin:
        raise LogError("log.origin", f"the receipt is of {str(claims[_ISSUER])[:80]!r}")


def _read_proof(unprotected: Any, kind: int) -> tuple[int, int, list[bytes]]:
    proofs = unprotected.get(HEADER_VDP) if isinstance(unprotected, dict) else None
    if not isinstance(proofs, dict) or len(unprotected) != 1:
        _wrong("the unprotected header is not exactly the proofs")
    rows = proofs.get(kind)
    if set(proofs) != {kind} or not isinstance(rows, list) or len(rows) != 1:
        _wrong("it is not exactly one proof of the kind that is asked for")
    if not isinstance(rows[0], bytes):
        _wrong("the proof is not a byte string")
    try:
        proof = cbor.decode(rows[0], max_bytes=MAX_COSE_RECEIPT)
    except DepinError as error:
        _wrong(f"the proof cannot be read: {error.message}")
    if not isinstance(proof, list) or len(proof) != 3:
        _wrong("the proof is not an array of three")
    first, second, path = proof
    if type(first) is not int or type(second) is not int or not isinstance(path, list):
        _wrong("the proof is not two numbers and a path")
    if not 1 <= len(path) <= MAX_HASHES:
        _wrong(f"a path has 1 to {MAX_HASHES} hashes")
    if not all(isinstance(item, bytes) and len(item) == HASH_SIZE for item in path):
        _wrong("a hash of the path is not 32 bytes")
    return first, second, path
