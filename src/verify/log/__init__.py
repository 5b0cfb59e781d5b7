"""The transparency log: an RFC 6962 tree in C2SP tiles, signed checkpoints, offline receipts."""

from verify.log.cose_receipt import (
    CoseConsistency,
    CoseInclusion,
    check_cose_consistency,
    check_cose_inclusion,
    sign_cose_consistency,
    sign_cose_inclusion,
)
from verify.log.cosignature import Cosignature, cosign, cosignatures_of, verify_cosigned
from verify.log.equivocation import Equivocation, compare_checkpoints
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
    "CoseConsistency",
    "CoseInclusion",
    "Cosignature",
    "Equivocation",
    "NoteKey",
    "TileLog",
    "TlogProof",
    "check_cose_consistency",
    "check_cose_inclusion",
    "compare_checkpoints",
    "cosign",
    "cosignatures_of",
    "decode_bundle",
    "encode_bundle",
    "leaf_hash",
    "node_hash",
    "read_checkpoint",
    "root_of",
    "sign_checkpoint",
    "sign_cose_consistency",
    "sign_cose_inclusion",
    "sign_note",
    "tile_path",
    "verify_checkpoint",
    "verify_consistency",
    "verify_cosigned",
    "verify_inclusion",
    "verify_log",
    "verify_note",
    "verify_tlog_proof",
]
