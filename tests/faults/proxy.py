"""What stands between a client and a broker, and means no good: it speaks MQTT well enough."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator

PUBLISH = 3
_DUP, _QOS = 0x08, 0x06


def packets(buffer: bytearray) -> Iterator[bytes]:
    """Whole MQTT packets, taken off the front."""
    while True:
        length, at = 0, 1
        while True:
            if at >= len(buffer):
                return
            length |= (buffer[at] & 0x7F) << 7 * (at - 1)
            at += 1
            if not buffer[at - 1] & 0x80:
                break
        if len(buffer) < at + length:
            return
        yield bytes(buffer[: at + length])
        del buffer[: at + length]


class Proxy:
    """Between clients and a broker; both ways it may repeat, reorder and delay messages.

    Args:
        broker: port of the broker on this machine.
        mischief: how likely each message (QoS 1) is repeated, and how likely held back.
        seed: of the dice.

    Attributes:
        port: where clients connect. repeated, reordered: how many messages were.
    """

    def __init__(self, broker: int, *, mischief: float = 0.0, seed: int = 1) -> None:
        self._broker, self.mischief = broker, mischief
        self._dice = random.Random(seed)
        self.repeated = self.reordered = self.connections = 0
        self._open: list[tuple[socket.socket, socket.socket]] = []
        self._frozen, self._closed = threading.Event(), threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """Forward nothing and close nothing: nobody hears that the other is gone."""
        self._frozen.set()

    def thaw(self) -> None:
        self._frozen.clear()

    def forsake(self) -> None:
        """The broker sees its clients go; they see nothing: half-open connections."""
        forsaken, self._open[:] = list(self._open), []  # first: their threads look there
        for _, server in forsaken:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Both sides see the connection end."""
        for pair in list(self._open):
            for side in pair:
                with contextlib.suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._broker), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self.connections += 1
            pair = (client, server)
            self._open.append(pair)
            for source, target in ((client, server), (server, client)):
                threading.Thread(
                    target=self._carry, args=(source, target, pair), daemon=True
                ).start()

    def _carry(
        self, source: socket.socket, target: socket.socket, pair: tuple[socket.socket, ...]
    ) -> None:
        buffer, held = bytearray(), list[bytes]()
        data: bytes | None
        source.settimeout(0.05)
        try:
            while True:
                try:
                    data = source.recv(65_536)
                except TimeoutError:
                    data = b"" if held else None
                if data is None:
                    continue
                if not data and not held:
                    break
                while self._frozen.is_set() and not self._closed.is_set():
                    time.sleep(0.01)
                buffer += data
                out: list[bytes] = []
                for packet in packets(buffer):
                    out += self._done_to(packet, held)
                if not data or len(held) > 8:
                    # Nothing more came: what was held back follows, the last first.
                    out += reversed(held)
                    held.clear()
                target.sendall(b"".join(out))
        except OSError:
            pass
        if pair not in self._open:
            return  # forsaken: the other side is left as it is
        for side in pair:
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(ValueError):
            self._open.remove((pair[0], pair[1]))

    def _done_to(self, packet: bytes, held: list[bytes]) -> list[bytes]:
        dice = self._dice
        if packet[0] >> 4 != PUBLISH or not packet[0] & _QOS or dice.random() >= self.mischief:
            return [packet]
        again = bytes((packet[0] | _DUP,)) + packet[1:]
        if dice.random() < 0.5:
            self.reordered += 1
            held.append(packet)
            return []
        self.repeated += 1
        if dice.random() < 0.5:
            held.append(again)
            return [packet]
        return [packet, again]
