"""A device at the other end of a line, in Python: for what stands beside it."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from collections.abc import Callable, Iterator

from depin_id.device_lines import Dropped, Line, LineReader, LogText, write_line
from depin_id.enrolment import Enrolment
from depin_id.keys import SoftwareSigner
from depin_id.possession import enrol_statement, prove


class PowerCut(Exception):
    """The device is without power; what it has stored is as it is."""


class SimulatedDevice:
    """Answers lines as docs/device-lines.md says; ``cut`` may raise PowerCut at any named point."""

    def __init__(self, *, curve: str = "ed25519", profile: str = "") -> None:
        self.curve, self.profile = curve, profile
        self.seed: bytes | None = None
        self.network: str | None = None
        self.locked = False
        self.writes = 0
        self.cut: Callable[[str], None] = lambda where: None
        self.change: Callable[[bytes], bytes] = lambda line: line
        self.heard: list[Line] = []
        self.prove_with: SoftwareSigner | None = None

    @property
    def signer(self) -> SoftwareSigner:
        assert self.seed is not None
        return SoftwareSigner("p256" if self.curve == "p256" else "ed25519", self.seed)

    def answer(self, line: Line) -> bytes:
        """The lines that answer."""
        self.heard.append(line)
        self.cut(f"before {line.verb}")
        words = (line.verb, *line.arguments[:1])
        if words == ("ask", "info"):
            state = "locked" if self.locked else "keyed" if self.seed else "new"
            return b"starting...\n" + write_line("is", "info", "noise-1.0", state)
        if words == ("ask", "key") and self.seed:
            return write_line("is", "key", self.curve, self._raw())
        if words == ("ask", "network") and self.network:
            return write_line("is", "network", self.network)
        if line.verb == "prove" and self.seed and self.network:
            return write_line("is", "proof", self._proof(line.data()))
        if line.verb in ("make", "write", "lock"):
            return self._change(line)
        return write_line("no", line.verb, "unknown")

    def _raw(self) -> bytes:
        key = self.signer.public_key
        if key.curve == "ed25519":
            return key.raw
        numbers = key._p256.public_numbers()
        return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")

    def _proof(self, nonce: bytes) -> bytes:
        assert self.network is not None
        signer = self.prove_with or self.signer
        about = Enrolment.of(signer.public_key, profile=self.profile)
        return enrol_statement(prove(signer, about, nonce=nonce, network=self.network), b"")

    def _change(self, line: Line) -> bytes:
        if self.locked:
            if line.verb == "lock":
                return write_line("done", "lock")
            return write_line("no", line.verb, "locked")
        if line.verb == "make":
            self.seed = secrets.token_bytes(32)
        elif line.verb == "lock":
            self.locked = True
        elif line.arguments[0] == "key":
            self.seed = line.data()
        else:
            self.network = line.arguments[1]
        self.writes += 1
        self.cut(f"after {line.verb}")
        return write_line("done", line.verb)


@contextlib.contextmanager
def plugged_in(device: SimulatedDevice) -> Iterator[str]:
    """The device behind a socket; gives the port's address. Each connection is a boot."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                peer = listener.accept()[0]
            except OSError:
                return
            with peer, contextlib.suppress(PowerCut, OSError):
                _serve(device, peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"socket://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def _serve(device: SimulatedDevice, peer: socket.socket) -> None:
    reader = LineReader()
    while data := peer.recv(4096):
        for item in reader.feed(data):
            assert not isinstance(item, Dropped)
            if isinstance(item, LogText):
                continue
            peer.sendall(device.change(device.answer(item)))
