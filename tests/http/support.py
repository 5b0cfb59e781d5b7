"""A running aggregator with its listeners, and a client that sends what it is told to."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from depin_id.ack import Ack, read_ack
from depin_id.cbor import item_end
from depin_id.network import NetworkCard
from depin_id.readings import Reading, reading
from depin_id.testing import TestDevice
from tests.endtoend.world import make_network
from verify.admin import enrol
from verify.aggregator import Aggregator
from verify.http.api import ApiOptions
from verify.http.front import HttpOptions
from verify.service import run

SEQUENCE = {"content-type": "application/cbor-seq"}
PATIENCE = 60.0


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Poll until the condition holds; gives what it gave."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)
    return value


def levels(count: int = 1, start: int = 0) -> list[Reading]:
    """Noise levels of the last minute."""
    now = int(time.time()) - 50
    return [reading("laeq", 50 + n % 9, "dB", now + start + n) for n in range(count)]


def acks_of(body: bytes, card: NetworkCard, recipient: bytes) -> list[Ack]:
    """The acknowledgements of a response, verified against the card."""
    found, at = [], 0
    while at < len(body):
        end = item_end(body, at)
        found.append(read_ack(body[at:end], card=card, recipient=recipient))
        at = end
    return found


@dataclass
class Site:
    """A network's directory with enrolled devices, and what runs on it."""

    root: Path
    card: NetworkCard
    devices: list[TestDevice]


def make_site(folder: Path, count: int = 2, policy: str = 'default_profile = "noise"\n') -> Site:
    """A network and an aggregator where so many devices are enrolled."""
    root, card = make_network(folder, policy=policy)
    devices = [device_of(card, f"device-{n}") for n in range(count)]
    with Aggregator(root) as aggregator:
        assert not enrol(aggregator, [d.enrolment for d in devices])["refused"]
    return Site(root, card, devices)


def device_of(card: NetworkCard, name: str) -> TestDevice:
    """A device that nobody has enrolled."""
    seed = os.urandom(8).hex()
    return TestDevice(card.network, name, seed=seed, now=int(time.time()), profile="noise")


class Running:
    """An aggregator at work in a thread, as ``depin-verify run`` has it."""

    def __init__(self, site: Site, url: str | None = None, **options: Any) -> None:
        self.site = site
        self.events: list[tuple[str, dict[str, object]]] = []
        self.stop = threading.Event()
        self.error: BaseException | None = None
        # No connection outlives its request, or the limits of the server would be used up by us.
        none = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
        self._client = httpx2.Client(timeout=PATIENCE, limits=none, verify=False)
        # Nor does polling use up a rate, unless a test is about that.
        unlimited = HttpOptions("127.0.0.1", 0, api=ApiOptions(per_minute=0))
        http = options.pop("http", None) or unlimited
        self._options = {
            "http": http,
            "metrics": HttpOptions("127.0.0.1", 0),
            "on_event": lambda kind, detail: self.events.append((kind, dict(detail))),
            "stop": self.stop,
            **options,
        }
        self._thread = threading.Thread(target=self._run, args=(url,), daemon=True)
        self._thread.start()
        wait_for(lambda: self.error or len(self._urls()) == 2, "the listeners")
        if self.error is not None:
            raise self.error
        self.url, self.metrics = self._urls()["api"], self._urls()["metrics"]
        self.port = int(self.url.rpartition(":")[2])

    def _run(self, url: str | None) -> None:
        try:
            run(self.site.root, url, **self._options)
        except BaseException as error:
            self.error = error

    def _urls(self) -> dict[str, str]:
        return {
            str(detail["name"]): str(detail["url"])
            for kind, detail in list(self.events)
            if kind == "http.listening"
        }

    def kinds(self) -> list[str]:
        return [kind for kind, _ in list(self.events)]

    def post(self, *envelopes: bytes, **options: Any) -> httpx2.Response:
        """POST a bundle."""
        options.setdefault("headers", SEQUENCE)
        data = b"".join(envelopes)
        return self._client.post(f"{self.url}/v1/bundles", content=data, **options)

    def acks(self, device: TestDevice, *envelopes: bytes) -> list[Ack]:
        """POST a bundle that has to be acknowledged."""
        response = self.post(*envelopes)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/cbor-seq"
        return acks_of(response.content, self.site.card, device.key.thumbprint)

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return self._client.get(self.url + path, **options)

    def measured(self) -> str:
        """The metrics, as text."""
        return self._client.get(f"{self.metrics}/metrics").text

    def end(self) -> None:
        self.stop.set()
        self._thread.join(PATIENCE)
        self._client.close()
        assert not self._thread.is_alive()


@contextlib.contextmanager
def running(site: Site, url: str | None = None, **options: Any) -> Iterator[Running]:
    """An aggregator at work, ended at the end."""
    made = Running(site, url, **options)
    try:
        yield made
    finally:
        made.end()
    assert made.error is None, made.error


@contextlib.contextmanager
def raw(port: int) -> Iterator[socket.socket]:
    """A bare connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        yield sock


def code_of(response: httpx2.Response) -> str:
    """The code of a problem."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    body = json.loads(response.content)
    assert body["status"] == response.status_code and body["title"]
    return str(body["code"])


def ended(sock: socket.socket) -> bytes:
    """All that comes until the other side ends the connection."""
    parts = []
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while part := sock.recv(65_536):
            parts.append(part)
    return b"".join(parts)
