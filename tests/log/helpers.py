"""A log key, brute-force Merkle trees straight from RFC 6962, and logs to test with."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from nacl.signing import SigningKey

from verify.log import Checkpoint, NoteKey, TileLog, sign_checkpoint

ORIGIN = "log.example/test"
SIGNING_KEY = SigningKey(sha256(b"the key of the test log").digest())
PUBLIC_KEY = bytes(SIGNING_KEY.verify_key)
KEY = NoteKey(ORIGIN, PUBLIC_KEY)


def sign(message: bytes) -> bytes:
    return SIGNING_KEY.sign(message).signature


def signed(checkpoint: Checkpoint) -> str:
    return sign_checkpoint(checkpoint, ORIGIN, PUBLIC_KEY, sign)


def entries(count: int, salt: bytes = b"") -> list[bytes]:
    return [b"entry %d " % number + salt for number in range(count)]


def published_log(directory: Path, count: int) -> TileLog:
    log = TileLog(directory, ORIGIN)
    log.append(entries(count))
    log.flush()
    log.publish_checkpoint(signed(log.checkpoint()))
    return log


def mth(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 section 2.1, as it is written there."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = _below(len(leaves))
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1, as it is written there."""
    if len(leaves) == 1:
        return []
    k = _below(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: Sequence[bytes], whole: bool) -> list[bytes]:
    """RFC 6962 section 2.1.2, as it is written there."""
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = _below(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def _below(count: int) -> int:
    k = 1
    while k * 2 < count:
        k *= 2
    return k
