"""What a witness decides (c2sp.org/tlog-witness): cosign what continues what it has cosigned.

The new head is durable before the cosignature leaves: whenever the witness stops, it has promised
nothing that it does not remember.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from depin_id.errors import LogError
from verify.log.cosignature import cosign, with_cosignatures
from verify.log.equivocation import Equivocation
from verify.log.merkle import EMPTY_ROOT, verify_consistency
from verify.log.note import Checkpoint, split_note, verify_checkpoint
from verify.witness.request import SIZE_TYPE, AddCheckpoint
from verify.witness.store import WatchedLog, WitnessDir

_LOCKS: Final = 16
_PLAIN = "text/plain; charset=utf-8"

OnEvent = Callable[[str, dict[str, object]], None]


@dataclass(frozen=True)
class Reply:
    """An answer: HTTP status, body, content type."""

    status: int
    body: str
    content_type: str = _PLAIN


class Witness:
    """A witness. May be called from several threads; its directory has one of it.

    Args:
        directory: opened, and held by the caller.
        clock: seconds since 1970.
        on_event: told of what was cosigned and what contradicts.
    """

    def __init__(
        self,
        directory: WitnessDir,
        *,
        clock: Callable[[], float] = time.time,
        on_event: OnEvent = lambda kind, about: None,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._on_event = on_event
        # Checking the old size and keeping the new head must be one step for each log.
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def add_checkpoint(self, data: bytes) -> Reply:
        """Answer a request.

        Args:
            data: its body; anything.

        Returns:
            200 with the cosignature's line; 400 malformed, 403 no trusted signature, 404 unknown
            origin, 409 another size or root is known, with the size, 422 the proof does not hold.

        Raises:
            StateError: the directory cannot be read or written; nothing was promised.
        """
        try:
            request = AddCheckpoint.parse(data)
        except LogError as error:
            return Reply(400, f"{error.message}\n")
        origin = request.checkpoint.origin
        log = self._directory.log(origin)
        if log is None:
            return Reply(404, "the log is not known here\n")
        try:
            verify_checkpoint(request.note, log.keys, origin=origin)
        except LogError as error:
            return Reply(403, f"{error.message}\n")
        if request.old_size > request.checkpoint.size:
            return Reply(400, "the old size is above the checkpoint's\n")
        with self._locks[sha256(origin.encode()).digest()[0] % _LOCKS]:
            return self._advance(request, log)

    def _advance(self, request: AddCheckpoint, log: WatchedLog) -> Reply:
        new, head = request.checkpoint, self._directory.head(log.origin)
        size, root = (0, EMPTY_ROOT) if head is None else (head[0].size, head[0].root)
        if head is not None and new.size == size and new.root != root:
            self._report(log, Equivocation(head[1], request.note))
            return Reply(409, f"{size}\n", SIZE_TYPE)
        if request.old_size != size:
            return Reply(409, f"{size}\n", SIZE_TYPE)
        try:
            verify_consistency(size, new.size, request.proof, root, new.root)
        except LogError as error:
            self._on_event("inconsistent", {"origin": log.origin, "size": new.size, "known": size})
            return Reply(422, f"{error.message}\n")
        return Reply(200, self._cosign(new, request.note, log))

    def _cosign(self, new: Checkpoint, note: str, log: WatchedLog) -> str:
        at = int(self._clock())
        line = cosign(new.body, self._directory.key.name, self._directory.signer, at)
        kept = with_cosignatures(_signed_by(note, log), [line])
        self._directory.keep_head(log.origin, kept)
        self._on_event("cosigned", {"origin": log.origin, "size": new.size})
        return line

    def _report(self, log: WatchedLog, proof: Equivocation) -> None:
        path = self._directory.keep_evidence(proof)
        self._on_event(
            "equivocation", {"origin": log.origin, "evidence": "" if path is None else str(path)}
        )


def _signed_by(note: str, log: WatchedLog) -> str:
    """The checkpoint with the log's own signatures only: others' lines are not kept for them."""
    body, _ = split_note(note)
    known = {(key.name, key.key_id) for key in log.keys}
    lines = note[len(body) + 1 :].splitlines(keepends=True)
    kept = [line for line in lines if split_note(f"{body}\n{line}")[1][0][:2] in known]
    return f"{body}\n{''.join(kept)}"
