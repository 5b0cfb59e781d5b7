"""A simulated fleet that sends, to a broker or an HTTP intake, as fast as time goes or faster."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from depin_id.envelope import bundle, parse_envelope
from depin_id.errors import ConfigError, TransportError
from depin_id.network import topics
from verify.ingest.options import TlsOptions, parse_broker_url
from verify.simulate.fleet import Plan
from verify.simulate.life import Delivery, everyone
from verify.simulate.writer import Counts, Progress, truth

CONTENT_TYPE: Final = "application/cbor-seq"
"""Bundles are CBOR Sequences (RFC 8742)."""
_PATIENCE_S: Final = 30.0
_TRIES: Final = 8
_IN_FLIGHT: Final = 20
"""What a broker takes at once if it says nothing else."""
_BUSY: Final = (429, 503)


class Sink(Protocol):
    """Where messages go."""

    def send(self, kid: bytes, message: bytes) -> None:
        """Send a bundle in the name of a key; returns when it is taken or under way."""
        ...

    def close(self) -> None:
        """Wait for what is under way, and disconnect."""
        ...


class MqttSink:
    """One connection that publishes for all devices (QoS 1).

    Args:
        url: ``mqtt://`` or ``mqtts://``. network: the network's name, as in topics.

    Raises:
        TransportError: ``transport.url``, ``transport.tls``, ``simulate.mqtt``.
    """

    def __init__(
        self,
        url: str,
        network: str,
        *,
        tls: TlsOptions | None = None,
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        address = parse_broker_url(url)
        self._network, self._shown = network, str(address)
        self._room = threading.Semaphore(_IN_FLIGHT)
        self._up = threading.Event()
        self._refused = ""
        client = self._client = paho.Client(
            CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311
        )
        if address.tls:
            client.tls_set_context((tls or TlsOptions()).context())
        user = username or address.username
        if user is not None:
            client.username_pw_set(user, password or address.password)
        client.on_connect = self._connected
        client.on_publish = self._published
        try:
            client.connect(address.host, address.port, keepalive=60)
        except OSError as error:
            raise self._failed(str(error)) from error
        client.loop_start()
        if not self._up.wait(_PATIENCE_S) or self._refused:
            self.close()
            raise self._failed(self._refused or "no answer")

    def send(self, kid: bytes, message: bytes) -> None:
        """See :class:`Sink`. Raises TransportError ``simulate.mqtt``."""
        if not self._room.acquire(timeout=_PATIENCE_S):
            raise self._failed("it does not take messages any more")
        info = self._client.publish(topics(self._network, kid)[0], message, qos=1)
        if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
            raise self._failed(paho.error_string(info.rc))

    def close(self) -> None:
        """See :class:`Sink`."""
        deadline = time.monotonic() + _PATIENCE_S
        for _ in range(_IN_FLIGHT if not self._refused else 0):
            self._room.acquire(timeout=max(0.0, deadline - time.monotonic()))
        self._client.disconnect()
        self._client.loop_stop()

    def _failed(self, why: str) -> TransportError:
        return TransportError(
            "simulate.mqtt", f"{self._shown}: {why}", hint="check the address and the access list"
        )

    def _connected(
        self, _client: object, _data: object, _flags: object, code: object, _: object
    ) -> None:
        if getattr(code, "is_failure", False):
            self._refused = str(code)
        self._up.set()

    def _published(self, *_: object) -> None:
        self._room.release()


class HttpSink:
    """One kept connection that POSTs bundles, and waits as long as it is told to (Retry-After).

    Raises:
        TransportError: ``transport.url``, ``transport.tls``, ``simulate.http``.
    """

    def __init__(self, url: str, *, tls: TlsOptions | None = None) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or parts.scheme not in ("http", "https") or parts.username or parts.fragment:
            raise TransportError(
                "transport.url", "not an HTTP address", hint="write http://host:port/path"
            )
        self._shown = f"{parts.scheme}://{host}"
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if parts.scheme == "https":
            context = (tls or TlsOptions()).context()
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=_PATIENCE_S, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE_S)

    def send(self, kid: bytes, message: bytes) -> None:
        """See :class:`Sink`. Raises TransportError ``simulate.http``."""
        problem = ""
        for attempt in range(_TRIES):
            try:
                status, wait_s = self._post(message)
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                problem, status, wait_s = str(error) or type(error).__name__, 0, 0.2 * 2**attempt
            if 200 <= status < 300:
                return
            if status and status not in _BUSY:
                raise self._failed(f"it answers {status}")
            problem = problem if not status else f"it answers {status}"
            time.sleep(min(wait_s, _PATIENCE_S))
        raise self._failed(problem)

    def _post(self, message: bytes) -> tuple[int, float]:
        headers = {"Content-Type": CONTENT_TYPE}
        self._connection.request("POST", self._target, body=message, headers=headers)
        answer = self._connection.getresponse()
        answer.read(1 << 22)
        wait = answer.headers.get("Retry-After", "")
        return answer.status, float(wait) if wait.isdecimal() and len(wait) < 6 else 1.0

    def close(self) -> None:
        """See :class:`Sink`."""
        with suppress(OSError):
            self._connection.close()

    def _failed(self, why: str) -> TransportError:
        return TransportError("simulate.http", f"{self._shown}: {why}", hint="check the address")


class Pace:
    """Waits until it is time.

    Args:
        start: when the simulated time began, seconds since 1970.
        speed: simulated seconds in a second; 0 does not wait at all.
    """

    def __init__(self, start: int, speed: float, sleep: Callable[[float], object]) -> None:
        self._start, self._speed, self._sleep = start, speed, sleep
        self._began = time.monotonic()

    def until(self, at: int) -> None:
        """Return at a simulated time, at once if it is past."""
        if self._speed:
            due = self._began + (at - self._start) / self._speed
            ahead = due - time.monotonic()
            if ahead > 0:
                self._sleep(ahead)


@contextmanager
def _truth(path: Path | None) -> Iterator[Callable[[Delivery], None]]:
    """Takes down what was sent as it is sent, if that is wanted. Raises ConfigError."""
    if path is None:
        yield lambda delivery: None
        return
    try:
        file = open(path, "x")
    except OSError as error:
        raise ConfigError("simulate.truth", f"{path}: {error.strerror}") from error
    with file:
        yield lambda delivery: file.writelines(
            truth(delivery.member, sent) for sent in delivery.sent
        )


def play(
    plan: Plan,
    network: str,
    sink: Sink,
    *,
    speed: float,
    about: Path | None = None,
    progress: Progress = lambda done, total: None,
    sleep: Callable[[float], object] = time.sleep,
) -> Counts:
    """Send a run; all devices are held in memory, about 10 KB each.

    Args:
        network: the network's DID.
        speed: simulated seconds in a second; 0 is as fast as it goes.
        about: where the truth is written; must not exist.

    Raises:
        TransportError: as the sink. ConfigError: ``simulate.truth``.
    """
    counts = Counts()
    pace = Pace(plan.start, speed, sleep)
    with _truth(about) as note:
        for delivery in everyone(plan, network):
            pace.until(delivery.at)
            for kid, message in _messages(delivery):
                sink.send(kid, message)
            for sent in delivery.sent:
                counts.take(sent)
            note(delivery)
            progress(max(0, min(plan.run_s, delivery.at - plan.start)), plan.run_s)
    return counts


def _messages(delivery: Delivery) -> Iterator[tuple[bytes, bytes]]:
    data: Iterable[bytes] = [sent.data for sent in delivery.sent]
    kid = parse_envelope(delivery.sent[0].data).kid
    for message in bundle(data):
        yield kid, message
