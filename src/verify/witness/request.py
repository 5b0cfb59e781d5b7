"""The body of ``add-checkpoint`` (c2sp.org/tlog-witness): old size, proof, checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from depin_id.errors import LogError
from verify.log.note import MAX_NOTE_BYTES, Checkpoint, split_note
from verify.log.text import decode_decimal, decode_hash, decode_text, encode_base64

MAX_HASHES: Final = 63
MAX_BODY: Final = MAX_NOTE_BYTES + 4096
"""A checkpoint as large as a note can be, and 63 hashes of 45 characters."""
SIZE_TYPE: Final = "text/x.tlog.size"
"""Content type of an answer that says how large the witness knows the log to be."""
_CODE = "witness.request"


@dataclass(frozen=True)
class AddCheckpoint:
    """What a log asks a witness for.

    Attributes:
        old_size: of the checkpoint that the witness cosigned last.
        proof: consistency proof from there, 0 to 63 hashes.
        note: the signed checkpoint, verbatim; its signatures are not verified yet.
        checkpoint: the same, read.
    """

    old_size: int
    proof: tuple[bytes, ...]
    note: str
    checkpoint: Checkpoint

    @classmethod
    def parse(cls, data: bytes) -> AddCheckpoint:
        """Read a request. Raises LogError ``witness.request`` when it has another form."""
        text = decode_text(data, MAX_BODY, _CODE, "the request")
        head, blank, note = text.partition("\n\n")
        lines = head.split("\n")
        if not blank or not lines[0].startswith("old "):
            raise LogError(_CODE, "it is not an old size, a proof, an empty line and a checkpoint")
        old_size = decode_decimal(lines.pop(0)[4:], _CODE, "the old size")
        if len(lines) > MAX_HASHES:
            raise LogError(_CODE, f"the proof has more than {MAX_HASHES} hashes")
        proof = tuple(
            decode_hash(line, _CODE, f"hash {at} of the proof") for at, line in enumerate(lines)
        )
        try:
            checkpoint = Checkpoint.parse(split_note(note)[0])
        except LogError as error:
            raise LogError(_CODE, f"the checkpoint is none: {error.message}") from error
        return cls(old_size, proof, note, checkpoint)


def format_request(old_size: int, proof: Sequence[bytes], note: str) -> bytes:
    """The body of a request."""
    lines = [f"old {old_size}", *(encode_base64(item) for item in proof)]
    return ("\n".join(lines) + "\n\n" + note).encode()
