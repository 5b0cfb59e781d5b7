"""Real mosquitto brokers for tests: own port, own folder, never left behind.

::

    with mosquitto(tmp_path, persistence=True) as broker:
        client.connect(broker.host, broker.port)
        broker.kill()   # as a power cut
        broker.start()  # the same port, what was persisted is back
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import pytest

HOST = "127.0.0.1"
READY_SECONDS = 60.0
BIND_TRIES = 10


@dataclass(frozen=True)
class Tls:
    """PEM files of a TLS listener; ``require_certificate`` asks each client for one of ``ca``."""

    ca: Path
    cert: Path
    key: Path
    require_certificate: bool = False


class _PortTaken(Exception):
    """Somebody else bound the port between our choosing it and the broker's start."""


def find_mosquitto() -> str:
    """Path of the broker; without one the test is skipped, or fails where CI=true."""
    path = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if path is None:
        _unavailable("mosquitto is not installed (ci/apt-packages.txt lists what tests need)")
    return path


def _unavailable(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def free_port() -> int:
    """A TCP port of the loopback that was free a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """One broker on the loopback; a context manager that starts it and always ends it.

    Args:
        folder: where its configuration, log and persistence go; made when missing.
        persistence: keep sessions and retained messages over a restart (saved at each change).
        tls: serve TLS with these files instead of plain TCP.
        max_inflight: unacknowledged messages a client may have; None leaves the broker's own 20.
        allow_anonymous: let clients in without a name.
        extra: further lines for the configuration (``acl_file ...``, ``max_packet_size ...``).
    """

    host = HOST

    def __init__(
        self,
        folder: Path,
        *,
        persistence: bool = False,
        tls: Tls | None = None,
        max_inflight: int | None = None,
        allow_anonymous: bool = True,
        extra: Sequence[str] = (),
    ) -> None:
        self._binary = find_mosquitto()
        self.folder = folder
        self.persistence = persistence
        self.tls = tls
        self.max_inflight = max_inflight
        self.allow_anonymous = allow_anonymous
        self.extra = tuple(extra)
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def running(self) -> bool:
        """Whether the broker's process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process number of the running broker."""
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    @property
    def log(self) -> str:
        """What the broker has said since it was last started."""
        path = self.folder / "mosquitto.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Starts the broker and waits until it accepts connections.

        The first start picks a port; later ones use the same port again.
        """
        assert not self.running, "the broker is running already"
        self.folder.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + READY_SECONDS
        fresh = self.port == 0
        for attempt in range(BIND_TRIES):
            if fresh:
                self.port = free_port()
            try:
                self._launch(deadline)
            except _PortTaken:
                # A restart has to wait for its own port; a first start takes another.
                time.sleep(0 if fresh else 0.2 * (attempt + 1))
            else:
                return
        raise AssertionError(f"no port for mosquitto after {BIND_TRIES} tries:\n{self.log}")

    def stop(self) -> None:
        """Ends the broker as a service manager would (SIGTERM); it saves what it persists."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the broker at once (SIGKILL); fine when it is not running."""
        self._end(signal.SIGKILL)

    def _configuration(self) -> str:
        lines = [
            f"listener {self.port} {HOST}",
            f"allow_anonymous {str(self.allow_anonymous).lower()}",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
            "log_type information",
        ]
        if os.geteuid() == 0:
            # Otherwise it becomes a user who may not write into the test's folder.
            lines.insert(0, "user root")
        if self.max_inflight is not None:
            lines.append(f"max_inflight_messages {self.max_inflight}")
        if self.persistence:
            lines += [
                "persistence true",
                f"persistence_location {self.folder}/",
                "autosave_on_changes true",
                "autosave_interval 1",
            ]
        else:
            lines.append("persistence false")
        if self.tls is not None:
            lines += [
                f"cafile {self.tls.ca}",
                f"certfile {self.tls.cert}",
                f"keyfile {self.tls.key}",
                f"require_certificate {str(self.tls.require_certificate).lower()}",
            ]
        return "\n".join([*lines, *self.extra, ""])

    def _launch(self, deadline: float) -> None:
        config = self.folder / "mosquitto.conf"
        config.write_text(self._configuration())
        with (self.folder / "mosquitto.log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._binary, "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            # When this process dies, however it dies, the pipe closes and the broker goes too.
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", 'read -r _; kill -9 "$0"', str(self._process.pid)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            self._wait_until_ready(deadline)
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            # The log first: that the port answers could be the work of somebody else.
            if not self.running:
                if "Address already in use" in self.log:
                    raise _PortTaken
                raise AssertionError(f"mosquitto ended at once:\n{self.log}")
            if " running" in self.log and self._answers():
                return
            time.sleep(0.01)
        raise AssertionError(f"mosquitto was not ready in {READY_SECONDS:g} s:\n{self.log}")

    def _answers(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), timeout=5).close()
        except OSError:
            return False
        return True

    def _end(self, how: signal.Signals) -> None:
        process, guard = self._process, self._guard
        self._process = self._guard = None
        if guard is not None:
            # First the guard: it must not outlive the process number it was given.
            guard.kill()
            guard.wait()
            assert guard.stdin is not None
            guard.stdin.close()
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"mosquitto did not end on {how.name}:\n{self.log}") from None


@contextlib.contextmanager
def mosquitto(tmp_path: Path, **options: Any) -> Iterator[Mosquitto]:
    """A running broker in its own folder under ``tmp_path``; options as :class:`Mosquitto`."""
    number = len(list(tmp_path.glob("mosquitto-*")))
    with Mosquitto(tmp_path / f"mosquitto-{number}", **options) as broker:
        yield broker
