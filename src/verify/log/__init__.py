"""The transparency log: an RFC 6962 tree in C2SP tiles, signed checkpoints, offline receipts."""

from verify.log.layout import decode_bundle, encode_bundle, tile_path
from verify.log.merkle import (
    EMPTY_ROOT,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from verify.log.note import (
    Checkpoint,
    NoteKey,
    sign_checkpoint,
    sign_note,
    verify_checkpoint,
    verify_note,
)
from verify.log.proof import TlogProof, verify_tlog_proof
from verify.log.reader import read_checkpoint, verify_log
from verify.log.tiles import TileLog

__all__ = [
    "EMPTY_ROOT",
    "Checkpoint",
    "NoteKey",
    "TileLog",
    "TlogProof",
    "decode_bundle",
    "encode_bundle",
    "leaf_hash",
    "node_hash",
    "read_checkpoint",
    "root_of",
    "sign_checkpoint",
    "sign_note",
    "tile_path",
    "verify_checkpoint",
    "verify_consistency",
    "verify_inclusion",
    "verify_log",
    "verify_note",
    "verify_tlog_proof",
]
