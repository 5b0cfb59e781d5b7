"""Witnesses that listen on loopback, and logs that are honest or not."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2

from depin_id.keys import SoftwareSigner
from tests.log.helpers import KEY, ORIGIN, entries, mth, signed, subproof
from verify.log import Checkpoint, NoteKey
from verify.witness import Witness, WitnessDir, WitnessServer, format_request

WAIT_S = 60.0

Events = list[tuple[str, dict[str, Any]]]


def signer(name: str) -> SoftwareSigner:
    return SoftwareSigner("ed25519", sha256(f"witness {name}".encode()).digest())


class Live:
    """A witness that listens.

    Attributes:
        url, directory, vkey: of it. events: what it told.
    """

    def __init__(self, path: Path, name: str, *, now: int = 1_700_000_000, **how: Any) -> None:
        if not path.exists():
            WitnessDir.create(path, name, signer=signer(name))
        self.directory = WitnessDir(path)
        self.vkey = self.directory.key.vkey
        self.events: Events = []
        self.now = now

        def told(kind: str, about: dict[str, object]) -> None:
            self.events.append((kind, dict(about)))

        witness = Witness(self.directory, clock=lambda: self.now, on_event=told)
        self._lock = self.directory.lock()
        self._server = WitnessServer(witness, on_event=told, **how)
        self.url = self._server.url
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()

    def close(self) -> None:
        self._server.stop()
        self._thread.join(WAIT_S)
        self._lock.close()
        assert not self._thread.is_alive()

    def watch(self, key: NoteKey = KEY) -> None:
        self.directory.watch(key.name, key)

    def post(self, body: bytes) -> httpx2.Response:
        return httpx2.post(
            f"{self.url}/add-checkpoint", content=body, timeout=WAIT_S, trust_env=False
        )


@contextmanager
def live(path: Path, name: str = "w0", **how: Any) -> Iterator[Live]:
    made = Live(path, name, **how)
    try:
        yield made
    finally:
        made.close()


class History:
    """One history of a log; two of them with one key are a split view."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.leaves = list(leaves)

    def head(self, size: int) -> str:
        return signed(Checkpoint(ORIGIN, size, mth(self.leaves[:size])))

    def proof(self, old: int, size: int) -> list[bytes]:
        return [] if old in (0, size) else subproof(old, self.leaves[:size], True)

    def request(self, old: int, size: int) -> bytes:
        return format_request(old, self.proof(old, size), self.head(size))


TRUE = History(entries(40))
FALSE = History([*entries(10), *entries(40, b"false")[10:]])
