"""Making the public files again from the journal, damaged ones included."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from depin_id.durable import DirectoryLock, sync_directory
from depin_id.errors import DepinError, LogError
from verify.aggregator import Aggregator
from verify.log import Checkpoint
from verify.log.files import read_bounded, stored_size
from verify.log.merkle import leaf_hash, root_of
from verify.log.note import MAX_NOTE_BYTES, split_note
from verify.reading import Reader
from verify.workspace import Workspace

_DAMAGED = ("log.tile", "log.rewrite")
_UNREADABLE = ("log.note", "log.checkpoint")


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was made again.

    Attributes:
        checkpoint: over everything in the journal.
        set_aside: where tiles were put that did not say what the journal says, or a checkpoint
            that nobody can read; None without any.
    """

    checkpoint: Checkpoint
    set_aside: Path | None


def rebuild(root: Path, *, progress: Callable[[int, int], None] | None = None) -> Rebuilt:
    """Make tiles and segments of an aggregator's directory again.

    A published log is never rewritten: tiles that differ are replaced only when the journal leads
    to the very checkpoint that was signed and published, so that it is the tiles that are wrong.

    Args:
        root: the directory; nothing else may run on it.
        progress: called with (entries done, entries in all).

    Raises:
        LogError: the tiles differ, and the journal does not lead to the published checkpoint.
        StateError: ``state.locked``, ``state.rewrites_log`` and others of the stores.
    """
    workspace = Workspace(root)
    held = stored_size(workspace.log)
    try:
        return Rebuilt(_make(root, progress), None)
    except LogError as error:
        if error.code in _DAMAGED:
            aside = _set_aside(workspace, error)
        elif error.code in _UNREADABLE and held and not _is_readable(workspace):
            # All tiles were just compared with the journal, and reach as far as was ever promised.
            aside = _move(workspace, workspace.log / "checkpoint", "damaged-checkpoint")
        else:
            raise
    return Rebuilt(_make(root, progress), aside)


def _make(root: Path, progress: Callable[[int, int], None] | None) -> Checkpoint:
    with Aggregator(root) as aggregator:
        return aggregator.publisher.rebuild(progress=progress)


def _set_aside(workspace: Workspace, found: LogError) -> Path:
    """Move the tiles out of what is public, if it is certain that the journal is right."""
    with DirectoryLock(workspace.journal, "journal.lock"):
        _check_journal(workspace, found)
        return _move(workspace, workspace.log / "tile", "damaged-tiles")


def _move(workspace: Workspace, path: Path, name: str) -> Path:
    aside = workspace.root / f"{name}-{time.time_ns()}"
    os.rename(path, aside)
    sync_directory(workspace.log)
    sync_directory(workspace.root)
    return aside


def _is_readable(workspace: Workspace) -> bool:
    with suppress(LogError):
        note = read_bounded(workspace.log / "checkpoint", MAX_NOTE_BYTES)
        return note is None or bool(Checkpoint.parse(split_note(note)[0]).origin)
    return False


def _check_journal(workspace: Workspace, found: LogError) -> None:
    hint = "restore the journal or the tiles from a backup: one of them is not what was published"
    with Reader(workspace.root) as reader:
        try:
            published = reader.checkpoint()
        except DepinError as error:
            raise LogError(found.code, f"{found.message}; {error.message}", hint=hint) from found
        if published is None or published.size > reader.journal.size:
            raise LogError(found.code, found.message, hint=hint) from found
        entries = reader.journal.entries(0, published.size)
        if root_of([leaf_hash(entry.leaf) for entry in entries]) != published.root:
            raise LogError(found.code, found.message, hint=hint) from found
