"""One of our commands, started again whenever it ends, as a service manager does it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

from tests.endtoend.world import Process, until

AGAIN_S = 0.1
"""How long a service manager waits (systemd: RestartSec=100ms, its default)."""


class Service:
    """A process that is kept running.

    Args:
        module, arguments: the command. log: where every life of it writes.

    Attributes:
        lives: how often it was started. statuses: how lives ended that nobody ended.
    """

    def __init__(self, module: str, *arguments: str | Path, log: Path) -> None:
        self._module, self._arguments = module, arguments
        self.log_file = log
        self.lives = 0
        self.statuses: list[int] = []
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self.began = 0.0
        self.process = self._start()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _start(self) -> Process:
        process = Process(self._module, *self._arguments, log=self.log_file)
        with self._changed:
            self.process, self.began = process, time.monotonic()
            self.lives += 1
            self._changed.notify_all()
        return process

    def _watch(self) -> None:
        while not self._stop.wait(AGAIN_S / 4):
            if self.process.running:
                continue
            status = self.process.wait()
            if status not in (0, -9):
                self.statuses.append(status)
            if not self._stop.wait(AGAIN_S):
                self._start()

    @property
    def log(self) -> str:
        """All that its lives have said."""
        return self.log_file.read_text(errors="replace")

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Events of this life, of JSON logs."""
        found = []
        for line in self.process.log.splitlines():
            if f'"{kind}"' in line and line.endswith("}"):
                found.append(json.loads(line))
        return found

    def said(self, what: str) -> bool:
        """Whether this life has said something."""
        return what in self.process.log

    def wait_for(self, what: str) -> None:
        """Wait until a life has said something."""
        until(lambda: self.said(what), what, log=lambda: self.log)

    def kill(self) -> None:
        """Kill -9 of the running life; it comes back by itself."""
        with self._changed:
            life = self.lives
            self.process.kill()
            assert self._changed.wait_for(lambda: self.lives > life, 60)

    def finish(self) -> None:
        """End it for good and cleanly."""
        self._stop.set()
        self._thread.join()
        self.process.finish()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.process.kill()
