"""Asking the witnesses of an aggregator's log, beside the aggregator.

It reads the published log and writes cosignatures beside the checkpoint, nothing else: intake,
acknowledgements and publishing never wait for a witness. All witnesses of a round are asked about
one checkpoint, so that a quorum comes together at one size.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

from depin_id.closing import Closing
from depin_id.errors import DepinError, LogError
from depin_id.network import load_card
from verify.log.cosignature import cosignatures_of
from verify.log.cosigned import CHECKPOINT, keep_cosignatures, read_note, read_witnessed
from verify.log.note import Checkpoint, NoteKey
from verify.log.tiles import TileLog
from verify.witness.client import TIMEOUT_S, WitnessClient
from verify.witness.settings import WitnessSettings, load_settings
from verify.workspace import Workspace

AGAIN_S: Final = 1.0
"""How long a witness that failed is left alone; twice as long each time, up to the longest."""
AGAIN_AT_MOST_S: Final = 300.0
_TRIES = 3
_IDLE_S = 5.0

OnEvent = Callable[[str, dict[str, object]], None]


@dataclass
class _Asked:
    client: WitnessClient
    again_s: float = 0.0
    not_before: float = 0.0

    def failed(self) -> None:
        self.again_s = min(2 * self.again_s, AGAIN_AT_MOST_S) or AGAIN_S
        self.not_before = time.monotonic() + self.again_s

    def answered(self) -> None:
        self.again_s = self.not_before = 0.0


@dataclass(frozen=True)
class Round:
    """What became of one round.

    Attributes:
        size: of the checkpoint that was asked about; None without one.
        cosigned: names of the witnesses that have cosigned it.
        enough: whether they are a quorum.
        errors: of the witnesses that were asked in vain, by name.
    """

    size: int | None = None
    cosigned: tuple[str, ...] = ()
    enough: bool = False
    errors: dict[str, DepinError] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "size": self.size,
            "cosigned": list(self.cosigned),
            "quorum": self.enough,
            "errors": {name: error.to_json() for name, error in self.errors.items()},
        }


class Asker:
    """Asks the witnesses that ``witnesses.toml`` names, round by round.

    Args:
        root: the aggregator's directory; it may be running.
        on_event: told of cosignatures (``cosigned``) and failures (``witness.failed``).
        timeout_s: for each witness in a round.
    """

    def __init__(
        self,
        root: Path,
        *,
        on_event: OnEvent = lambda kind, about: None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._workspace = Workspace(Path(root))
        self._on_event = on_event
        self._timeout_s = timeout_s
        self._settings: WitnessSettings | None = None
        self._context: ssl.SSLContext | None = None
        self._asked: list[_Asked] = []
        self._under_way: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None] | None = None

    def settings(self) -> WitnessSettings | None:
        """The settings as they are now. Raises ConfigError, StateError."""
        found = load_settings(self._workspace.root)
        if found != self._settings:
            self._settings, self._context = found, None
            witnesses = () if found is None else found.witnesses
            self._asked = [
                _Asked(WitnessClient(item, timeout_s=self._timeout_s)) for item in witnesses
            ]
        return found

    def round(self) -> Round:
        """Ask every witness that has not cosigned the newest checkpoint and is due.

        Raises:
            ConfigError: the settings. LogError, StateError, NetworkError: the log, its card.
        """
        settings = self.settings()
        if settings is None:
            return Round()
        card, _ = load_card(self._workspace.card)
        key = NoteKey(card.log_origin, card.log_key.raw)
        found = read_note(self._workspace.log, CHECKPOINT, key)
        return Round() if found is None else asyncio.run(self._round(settings, key, *found))

    def cancel(self) -> None:
        """Cut off the round under way in another thread, which then raises CancelledError."""
        if self._under_way is not None:
            loop, task = self._under_way
            with suppress(RuntimeError):  # it has ended by itself
                if task is not None:
                    loop.call_soon_threadsafe(task.cancel)

    async def _round(
        self, settings: WitnessSettings, key: NoteKey, note: str, checkpoint: Checkpoint
    ) -> Round:
        self._under_way = asyncio.get_running_loop(), asyncio.current_task()
        policy, lines, errors = settings.policy, list[str](), dict[str, DepinError]()
        have = {item.key for item in cosignatures_of(note, policy.keys)}
        now = time.monotonic()
        due = [
            item
            for item in self._asked
            if item.client.asked.key not in have and item.not_before <= now
        ]
        enough = self._keep(key, note, [], settings)
        if due:
            self._context = self._context or settings.context()
            async with httpx2.AsyncClient(
                verify=self._context, timeout=self._timeout_s, trust_env=False
            ) as http:
                asking = [self._ask(item, http, note, checkpoint) for item in due]
                for done in asyncio.as_completed(asking):
                    item, answer = await done
                    name = item.client.asked.key.name
                    if isinstance(answer, DepinError):
                        if answer.code == "witness.ahead" and self._moved_on(key, checkpoint):
                            continue  # somebody else has asked about a newer one meanwhile
                        item.failed()
                        errors[name] = answer
                        about = {"code": answer.code, "message": str(answer)}
                        self._on_event("witness.failed", {"witness": name, **about})
                        continue
                    item.answered()
                    lines.append(answer)
                    have.add(item.client.asked.key)
                    enough = self._keep(key, note, lines, settings)
            if lines:
                self._on_event(
                    "cosigned",
                    {"size": checkpoint.size, "witnesses": len(have), "quorum": enough},
                )
        names = tuple(item.key.name for item in settings.witnesses if item.key in have)
        return Round(checkpoint.size, names, enough, errors)

    def _moved_on(self, key: NoteKey, checkpoint: Checkpoint) -> bool:
        newest = read_note(self._workspace.log, CHECKPOINT, key)
        return newest is not None and newest[1].size > checkpoint.size

    def _keep(self, key: NoteKey, note: str, lines: list[str], settings: WitnessSettings) -> bool:
        return keep_cosignatures(self._workspace.log, key, note, lines, settings.policy)

    async def _ask(
        self, item: _Asked, http: httpx2.AsyncClient, note: str, checkpoint: Checkpoint
    ) -> tuple[_Asked, str | DepinError]:
        try:
            prove = self._prover(checkpoint)
            return item, await item.client.ask(http, note, checkpoint, prove)
        except DepinError as error:
            return item, error

    def _prover(self, checkpoint: Checkpoint) -> Callable[[int], list[bytes]]:
        def prove(old: int) -> list[bytes]:
            for left in reversed(range(_TRIES)):
                try:
                    log = TileLog(self._workspace.log, checkpoint.origin, size=checkpoint.size)
                    return log.consistency_proof(old)
                except LogError as error:
                    # The aggregator replaces partial tiles meanwhile.
                    if left == 0 or error.code != "log.tile":
                        raise
            raise AssertionError("unreachable")

        return prove


class AskingThread(Closing):
    """An :class:`Asker` in a thread of its own, until it is closed.

    What fails is an event, and is tried again: an aggregator never stops for its witnesses.
    """

    def __init__(self, root: Path, *, on_event: OnEvent, timeout_s: float = TIMEOUT_S) -> None:
        self._asker = Asker(root, on_event=on_event, timeout_s=timeout_s)
        self._on_event = on_event
        self._ended = threading.Event()
        self._said = ""
        self._thread = threading.Thread(target=self._run, name="witnesses", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it, and the round under way. Safe to call twice."""
        self._ended.set()
        self._asker.cancel()
        self._thread.join(2 * TIMEOUT_S)

    def _run(self) -> None:
        while not self._ended.is_set():
            pause = _IDLE_S
            try:
                self._asker.round()
                settings = self._asker.settings()
                pause = _IDLE_S if settings is None else settings.every_s
                self._said = ""
            except asyncio.CancelledError:
                return
            except DepinError as error:
                if self._said != error.code:
                    self._said = error.code
                    self._on_event("witness.failed", {"code": error.code, "message": str(error)})
            self._ended.wait(pause)


def standing(root: Path, settings: WitnessSettings) -> dict[str, Any]:
    """Which witnesses have cosigned the newest checkpoints, JSON-ready.

    Raises:
        LogError, StateError, NetworkError: the log or its card cannot be read.
    """
    workspace = Workspace(Path(root))
    card, _ = load_card(workspace.card)
    key = NoteKey(card.log_origin, card.log_key.raw)
    found: dict[str, Any] = {"quorum": settings.quorum}
    seen: dict[str, tuple[int, int]] = {}
    for label, read in (
        ("witnessed_size", read_witnessed(workspace.log, key)),
        ("size", read_note(workspace.log, CHECKPOINT, key)),
    ):
        found[label] = None if read is None else read[1].size
        if read is not None:
            for item in cosignatures_of(read[0], settings.policy.keys):
                seen[item.key.vkey] = (read[1].size, item.time)
    found["witnesses"] = [
        {
            "name": item.key.name,
            "url": item.url,
            "key": item.key.vkey,
            "cosigned_size": seen.get(item.key.vkey, (None, None))[0],
            "cosigned_at": seen.get(item.key.vkey, (None, None))[1],
        }
        for item in settings.witnesses
    ]
    return found
