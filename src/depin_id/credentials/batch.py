"""Birth certificates of a production batch: one signature for all, an inclusion proof for each.

The manufacturer signs one :class:`ProductionBatch` credential over an RFC 6962 root. Leaf ``i`` is
the canonical JSON of certificate ``i`` without ``proof``; what a device carries is that certificate
with a :class:`BatchProof` in place of a signature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from depin_id import base64url, merkle
from depin_id.credentials.issuing import issue
from depin_id.credentials.models import BatchProof, BirthCertificate, ProductionBatch
from depin_id.credentials.protocol import KeyOf, StatusCheck
from depin_id.credentials.verifying import Verified, check_parts, check_signature, verify
from depin_id.credentials.wire import Parts, make, read, write
from depin_id.errors import CredentialError, EncodingError
from depin_id.jcs import canonicalize
from depin_id.keys import Signer


def leaf_hash(body: Mapping[str, Any] | BirthCertificate | bytes) -> bytes:
    """The leaf of a birth certificate: SHA-256 of 0x00 and its canonical JSON without ``proof``.

    Args:
        body: the certificate; bytes are taken as canonical and without proof.
    """
    if isinstance(body, bytes):
        return merkle.leaf_hash(body)
    if isinstance(body, BirthCertificate):
        return merkle.leaf_hash(write(body))
    return merkle.leaf_hash(canonicalize({n: item for n, item in body.items() if n != "proof"}))


def encode_path(path: Sequence[bytes]) -> str:
    """Hashes one behind the other, as multibase base64url."""
    return "u" + base64url.encode(b"".join(path))


def _decode_path(text: str) -> list[bytes]:
    try:
        joined = base64url.decode(text[1:])
    except EncodingError:
        joined = b"\0"
    path = [joined[i : i + 32] for i in range(0, len(joined), 32)]
    if len(joined) % 32 or text[:1] != "u":
        raise CredentialError("batch.path", "the path is not whole hashes in multibase base64url")
    return path


def sign_batch(
    leaves: Sequence[bytes],
    signer: Signer,
    *,
    batch: str,
    issuer: str,
    valid_from: str,
    verification_method: str,
    created: str,
    credential_status: dict[str, Any] | None = None,
) -> tuple[dict[str, Any], merkle.Tree]:
    """The signed credential of a batch, and the tree that its proofs are taken from.

    Args:
        leaves: :func:`leaf_hash` of each certificate, in their order.
        batch: its name, as in the certificates.

    Raises:
        CredentialError: ``batch.empty``, ``credential.malformed``.
    """
    if not leaves:
        raise CredentialError("batch.empty", "a batch has at least one device")
    tree = merkle.Tree(leaves)
    credential = make(
        ProductionBatch,
        credential_status=credential_status,
        credential_subject={"batch": batch, "root": tree.root.hex(), "size": len(tree)},
        issuer=issuer,
        valid_from=valid_from,
    )
    signed = issue(credential, signer, verification_method=verification_method, created=created)
    return signed, tree


def batch_digest(signed: Mapping[str, Any] | bytes) -> str:
    """The digest that the proofs of a batch name: of its credential without ``proof``, hex."""
    return read(signed).digest.hex()


def batch_proof(tree: merkle.Tree, index: int, digest: str) -> dict[str, Any]:
    """The ``proof`` of certificate ``index``, JSON-ready; ``digest`` as :func:`batch_digest`."""
    return {
        "batch": digest,
        "index": index,
        "path": encode_path(tree.path(index)),
        "size": len(tree),
        "type": "MerkleBatchProof",
    }


def verify_birth(
    data: bytes | str | Mapping[str, Any],
    *,
    key_of: KeyOf,
    now_ms: int,
    batch: bytes | str | Mapping[str, Any] | Verified | None = None,
    expected_subject: str | None = None,
    status: StatusCheck | None = None,
) -> Verified:
    """Verify a birth certificate, signed by itself or a leaf of a batch.

    Args:
        data: the certificate with its ``proof``.
        batch: credential of its batch, or what verifying that gave at the same moment (then many
            certificates cost one signature).
        key_of, now_ms, expected_subject, status: as :func:`verify`.

    Raises:
        CredentialError: as :func:`verify`; ``batch.missing``, ``batch.differs`` (another issuer,
            name or size, or the proof is for another batch), ``batch.path``,
            ``batch.not_included``.
    """
    parts = read(data)
    certificate = parts.credential
    if not isinstance(certificate, BirthCertificate):
        raise CredentialError("credential.type", "this is no birth certificate")
    proof = parts.proof
    if not isinstance(proof, BatchProof):
        key = check_signature(parts, key_of, now_ms)
        return check_parts(parts, key, now_ms, expected_subject, BirthCertificate, status)
    if batch is None:
        raise CredentialError(
            "batch.missing",
            "the certificate is a leaf of a batch whose credential is not here",
            hint="give the credential of the batch",
        )
    if not isinstance(batch, Verified):
        batch = verify(
            batch, key_of=key_of, now_ms=now_ms, expected_type=ProductionBatch, status=status
        )
    _check_inclusion(parts, proof, certificate, batch)
    return check_parts(parts, batch.key, now_ms, expected_subject, BirthCertificate, status)


def _check_inclusion(
    parts: Parts, proof: BatchProof, certificate: BirthCertificate, batch: Verified
) -> None:
    whole = batch.credential
    if not isinstance(whole, ProductionBatch):
        raise CredentialError("credential.type", "the credential beside it is of no batch")
    subject = whole.credential_subject
    if (proof.batch, proof.size, certificate.issuer, certificate.credential_subject.batch) != (
        batch.digest.hex(),
        subject.size,
        whole.issuer,
        subject.batch,
    ):
        raise CredentialError(
            "batch.differs", "digest, size, issuer or name are not those of the batch beside it"
        )
    leaf = merkle.leaf_hash(parts.body)
    found = merkle.root_of(leaf, proof.index, proof.size, _decode_path(proof.path))
    if found is None or found != bytes.fromhex(subject.root):
        raise CredentialError(
            "batch.not_included", "the certificate is not under the root that was signed"
        )
