"""The checkpoints of a log folder with their cosignatures.

``checkpoint`` is the newest, and gains cosignature lines as they come. ``checkpoint.witnessed`` is
the newest that a quorum has cosigned: it follows, and neither file ever goes back, however late a
witness answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from depin_id.errors import LogError
from depin_id.witness import WitnessPolicy
from verify.log.cosignature import (
    Cosignature,
    cosignatures_of,
    require_quorum,
    verify_cosigned,
    with_cosignatures,
)
from verify.log.files import exclusive, publish, read_bounded, sync_directories
from verify.log.note import MAX_NOTE_BYTES, Checkpoint, NoteKey, split_note, verify_checkpoint
from verify.log.tiles import TileLog

CHECKPOINT: Final = "checkpoint"
WITNESSED: Final = "checkpoint.witnessed"


def read_note(directory: Path, name: str, key: NoteKey) -> tuple[str, Checkpoint] | None:
    """A checkpoint of a log folder, verified under the log's key; None when there is none.

    Args:
        directory: the folder of the log.
        name: ``CHECKPOINT`` or ``WITNESSED``.
        key: the log's key, named as its origin.

    Raises:
        LogError: as :func:`verify.log.note.verify_checkpoint`; ``log.io``, ``log.tile``.
    """
    data = read_bounded(Path(directory) / name, MAX_NOTE_BYTES)
    if data is None:
        return None
    checkpoint = verify_checkpoint(data, [key], origin=key.name)
    return data.decode(), checkpoint


def read_witnessed(directory: Path, key: NoteKey) -> tuple[str, Checkpoint] | None:
    """The newest checkpoint with a quorum; None when there is none under this key.

    One of an earlier log key, or a damaged one, serves nobody and is as good as none: what counts
    is asked of the cosignatures by whoever reads it.

    Raises:
        LogError: ``log.io``.
    """
    try:
        return read_note(directory, WITNESSED, key)
    except LogError as error:
        if error.code == "log.io":
            raise
        return None


def verify_witnessed(
    directory: Path, key: NoteKey, policy: WitnessPolicy
) -> tuple[Checkpoint, tuple[Cosignature, ...]]:
    """The newest checkpoint of a log folder with a quorum, compared with the tiles beside it.

    Args:
        directory: the folder of the log; its tiles were verified already (:func:`verify_log`).
        key: the log's key.
        policy: which witnesses, and how many.

    Returns:
        The checkpoint, and the cosignatures that verified.

    Raises:
        LogError: ``log.witness_quorum`` when there is none with a quorum; ``log.differs`` when
            the witnesses have seen another history than the tiles; or a file does not verify.
    """
    directory = Path(directory)
    found = read_witnessed(directory, key) or read_note(directory, CHECKPOINT, key)
    if found is None:
        raise LogError("log.checkpoint", f"there is no checkpoint in {directory}")
    checkpoint, cosigned = verify_cosigned(found[0], [key], policy, origin=key.name)
    if TileLog(directory, key.name, size=checkpoint.size).root() != checkpoint.root:
        raise LogError(
            "log.differs",
            f"the tiles have another root than the cosigned checkpoint of size {checkpoint.size}",
            hint="the witnesses have seen another history: keep both, and ask who signed them",
        )
    return checkpoint, cosigned


def keep_cosignatures(
    directory: Path, key: NoteKey, note: str, lines: Sequence[str], policy: WitnessPolicy
) -> bool:
    """Put cosignatures beside the checkpoint that they are of, durably.

    Args:
        directory: the folder of the log.
        key: the log's key.
        note: the checkpoint that was cosigned; it may not be the newest any more.
        lines: the cosignatures' lines.
        policy: the witnesses that the lines are of, and the quorum.

    Returns:
        Whether the checkpoint has its quorum.

    Raises:
        LogError: a line is of no known witness or does not verify; the files cannot be written.
    """
    checkpoint = verify_checkpoint(note, [key], origin=key.name)
    cosigned = with_cosignatures(note, lines)
    found = cosignatures_of(cosigned, policy.keys)
    directory, changed = Path(directory), set[Path]()
    with exclusive(directory):
        newest = read_note(directory, CHECKPOINT, key)
        if newest is not None and split_note(newest[0])[0] == checkpoint.body:
            cosigned = with_cosignatures(newest[0], lines)
            found = cosignatures_of(cosigned, policy.keys)
            if cosigned != newest[0]:
                publish(directory / CHECKPOINT, cosigned.encode(), changed)
        try:
            require_quorum(checkpoint, found, policy)
        except LogError:
            enough = False
        else:
            enough = True
            if _advances(directory, key, checkpoint, cosigned):
                publish(directory / WITNESSED, cosigned.encode(), changed)
        sync_directories(changed)
    return enough


def _advances(directory: Path, key: NoteKey, checkpoint: Checkpoint, note: str) -> bool:
    """Whether a checkpoint with its quorum takes the place of the one that is kept."""
    kept = read_witnessed(directory, key)
    return kept is None or (kept[1].size <= checkpoint.size and kept[0] != note)
