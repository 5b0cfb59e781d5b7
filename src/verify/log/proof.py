"""Receipts that anyone can check offline: the text form c2sp.org/tlog-proof@v1."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from depin_id.errors import LogError
from verify.log.merkle import HASH_SIZE, MAX_TREE_SIZE, leaf_hash, verify_inclusion
from verify.log.note import MAX_NOTE_BYTES, Checkpoint, NoteKey, verify_checkpoint
from verify.log.text import decode_base64, decode_decimal, decode_hash, decode_text, encode_base64

HEADER = "c2sp.org/tlog-proof@v1"
MAX_EXTRA_BYTES = 64 * 1024
MAX_HASHES = 63
_MAX_PROOF_BYTES = MAX_NOTE_BYTES + 2 * MAX_EXTRA_BYTES


@dataclass(frozen=True)
class TlogProof:
    """A proof that an entry is in a log.

    Args:
        index: position of the entry, from 0.
        hashes: inclusion proof, from the leaf's sibling upwards, 32 bytes each.
        checkpoint: the signed checkpoint, verbatim.
        extra: opaque bytes beside the proof, which nothing authenticates; None when absent.

    Raises:
        LogError: ``log.proof`` when a field is out of its range.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None

    def __post_init__(self) -> None:
        if type(self.index) is not int or not 0 <= self.index < MAX_TREE_SIZE:
            raise LogError("log.proof", f"{self.index!r} is not an index of a log")
        if len(self.hashes) > MAX_HASHES:
            raise LogError("log.proof", f"an inclusion proof has at most {MAX_HASHES} hashes")
        if not all(isinstance(item, bytes) and len(item) == HASH_SIZE for item in self.hashes):
            raise LogError("log.proof", "a hash of the proof is not 32 bytes")
        if self.extra is not None and not 0 < len(self.extra) <= MAX_EXTRA_BYTES:
            raise LogError("log.proof", f"extra data is 1 to {MAX_EXTRA_BYTES} bytes long")
        decode_text(self.checkpoint, MAX_NOTE_BYTES, "log.proof", "the checkpoint")
        if not self.checkpoint.strip("\n"):
            raise LogError("log.proof", "the proof has no checkpoint")

    def format(self) -> str:
        """The proof as text, to be stored as ``.tlog-proof``."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {encode_base64(self.extra)}")
        lines.append(f"index {self.index}")
        lines.extend(encode_base64(item) for item in self.hashes)
        return "\n".join(lines) + "\n\n" + self.checkpoint

    @classmethod
    def parse(cls, text: bytes | str) -> TlogProof:
        """Read a proof. Its checkpoint is kept verbatim, not looked into.

        Raises:
            LogError: ``log.proof`` when it has another form.
        """
        whole = decode_text(text, _MAX_PROOF_BYTES, "log.proof", "the proof")
        head, blank, checkpoint = whole.partition("\n\n")
        if not blank:
            raise LogError("log.proof", "the proof has no blank line before its checkpoint")
        lines = head.split("\n")
        if lines.pop(0) != HEADER:
            raise LogError("log.proof", f"the first line is not {HEADER}")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = decode_base64(lines.pop(0)[6:], "log.proof", "the extra data")
        if not lines or not lines[0].startswith("index "):
            raise LogError("log.proof", "the proof has no index line")
        index = decode_decimal(lines.pop(0)[6:], "log.proof", "the index")
        if len(lines) > MAX_HASHES:
            raise LogError("log.proof", f"an inclusion proof has at most {MAX_HASHES} hashes")
        hashes = tuple(
            decode_hash(line, "log.proof", f"hash {number} of the proof")
            for number, line in enumerate(lines)
        )
        return cls(index, hashes, checkpoint, extra)


def verify_tlog_proof(
    text: bytes | str, leaf: bytes, keys: Iterable[NoteKey], *, origin: str | None = None
) -> Checkpoint:
    """Verify that an entry is in a log, from the proof alone.

    Args:
        text: the proof (c2sp.org/tlog-proof@v1).
        leaf: the entry itself, unhashed, as it stands in the log.
        keys: keys of the log that are trusted.
        origin: the expected origin; see :func:`verify.log.note.verify_checkpoint`.

    Returns:
        The checkpoint that commits to the entry.

    Raises:
        LogError: ``log.proof`` when the proof does not prove it, or the codes of
            :func:`verify.log.note.verify_checkpoint`.
    """
    proof = TlogProof.parse(text)
    checkpoint = verify_checkpoint(proof.checkpoint, keys, origin=origin)
    verify_inclusion(proof.index, checkpoint.size, leaf_hash(leaf), proof.hashes, checkpoint.root)
    return checkpoint
