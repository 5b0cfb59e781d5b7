"""More than can be verified, for minutes, by MQTT and HTTP at once: what it costs, what is lost.

The aggregator is the real command in a process of its own, the broker a real mosquitto. Floods
send far more than can be verified, and do not care what becomes of it. Beside them faithful
senders, one for each way in, send what nobody has seen before, keep it until it is acknowledged,
and check every acknowledgement; in the end the journal has to hold all of it, once.
"""

from __future__ import annotations

import re
import statistics
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx2

from bench.broker import client, wait_for
from bench.table import Row, Target
from bench.world import BenchError, Lab, levels, messages
from depin_id.ack import Ack, AckItem, read_ack
from depin_id.cbor import item_end
from depin_id.envelope import parse_envelope
from depin_id.network import topics
from depin_id.testing import TestDevice
from tests.brokers import Mosquitto
from tests.endtoend.world import Process
from verify.log import leaf_hash
from verify.reading import Reader

HEADERS = {"content-type": "application/cbor-seq"}
MB = 1 << 20
_PAGE = 4096
_HTTP_FLOODERS = 64
_PAUSE_S = 0.0025
"""Between two bundles of the MQTT flood: 400 a second, 20,000 envelopes."""
_LARGE = 800
"""Envelopes in a bundle of the HTTP flood: about 100 KiB."""
_RESEND_S = 5.0
_DRAIN_S = 300.0


@dataclass
class Sample:
    """One second: resident memory and what waits."""

    resident: int
    broker: int
    waiting: float
    waiting_bytes: float


@dataclass
class Watch:
    """What was seen from outside."""

    samples: list[Sample] = field(default_factory=list)
    counters: dict[str, float] = field(default_factory=dict)

    def total(self, name: str) -> float:
        """The sum of a counter over its labels."""
        return sum(value for key, value in self.counters.items() if key.split("{")[0] == name)


class Faithful:
    """A device that keeps what it sent until it is acknowledged, and sends it again.

    Args:
        window: how many may be on their way.

    Attributes:
        ending: nothing new is sent any more. took: seconds from the first try to the
            acknowledgement. again: how often something was sent again.
    """

    def __init__(self, lab: Lab, device: TestDevice, window: int) -> None:
        self._lab, self.device, self._window = lab, device, window
        self._draw = Random(device.did)
        self._lock = threading.Condition()
        self._sent: dict[bytes, tuple[bytes, float, float]] = {}
        self.acknowledged: dict[bytes, AckItem] = {}
        self.took: list[float] = []
        self.again = 0
        self.ending = False

    @property
    def waiting(self) -> int:
        """Envelopes that are not acknowledged."""
        return len(self._sent)

    def due(self) -> bytes | None:
        """What to send now: what was not acknowledged in time, or something new."""
        now = time.monotonic()
        with self._lock:
            for identity, (raw, first, last) in self._sent.items():
                if now - last > _RESEND_S:
                    self._sent[identity] = (raw, first, now)
                    self.again += 1
                    return raw
            if self.ending or len(self._sent) >= self._window:
                return None
            raw = self.device.next(levels(self._draw, 1, int(time.time())))
            identity = parse_envelope(raw).verify(self._lab.did, self.device.key)
            self._sent[identity] = (raw, now, now)
            return raw

    def take(self, data: bytes) -> None:
        """Read what came back; a contradiction is an error."""
        card, at = self._lab.network.card, 0
        while at < len(data):
            end = item_end(data, at)
            ack: Ack = read_ack(data[at:end], card=card, recipient=self.device.key.thumbprint)
            at = end
            for item in ack.items:
                known = self.acknowledged.setdefault(item.id, item)
                if (known.index, known.leaf) != (item.index, item.leaf):
                    raise BenchError("an acknowledgement contradicts an earlier one")
                with self._lock:
                    sent = self._sent.pop(item.id, None)
                if sent is not None:
                    self.took.append(time.monotonic() - sent[1])


class Threads:
    """Threads that are ended together; the first error counts."""

    def __init__(self) -> None:
        self.stop, self.errors = threading.Event(), list[BaseException]()
        self._all: list[threading.Thread] = []

    def start(self, work: Callable[[], None]) -> None:
        """Have ``work`` done again and again."""

        def run() -> None:
            try:
                while not self.stop.is_set():
                    work()
            except BaseException as error:
                self.errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        self._all.append(thread)
        thread.start()

    def end(self) -> None:
        """End them all. Raises BenchError."""
        self.stop.set()
        for thread in self._all:
            thread.join(60)
        if self.errors:
            raise BenchError(f"a sender ended: {self.errors[0]!r}")


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def _scrape(url: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    found = re.findall(r"^(\w+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


@contextmanager
def _aggregator(lab: Lab, root: Path, broker: Mosquitto) -> Iterator[tuple[Process, str, str]]:
    options = ["--mqtt", f"mqtt://{broker.host}:{broker.port}", "--http", "127.0.0.1:0"]
    options += ["--metrics", "127.0.0.1:0", "--http-rate", "0", "--http-connections", "2048"]
    log = lab.folder / "overload.log"
    with Process("verify.cli", "run", root, *options, "--json-logs", "--quiet", log=log) as process:

        def urls() -> dict[str, str]:
            return dict(re.findall(r'"name": "(\w+)", "url": "([^"]+)"', process.log))

        wait_for(lambda: len(urls()) == 2 and "mqtt.subscribed" in process.log, "the aggregator")
        yield process, urls()["api"], urls()["metrics"]
        process.finish()


def _flood_mqtt(threads: Threads, lab: Lab, broker: Mosquitto, stack: ExitStack) -> list[int]:
    """The same bundles over and over, as fast as the broker takes them; counts them."""
    name = lab.network.card.name
    found = messages(lab.signed(20, 20_000 if lab.settings.overload_s > 10 else 1000, 1))
    publisher, sent = stack.enter_context(client(broker)), [0]

    def work() -> None:
        infos = []
        for message in found:
            topic = topics(name, bytes.fromhex(message.principal))[0]
            infos.append(publisher.publish(topic, message.data, qos=1))
            sent[0] += 1
            if len(infos) >= 100:
                infos.pop(0).wait_for_publish(5)
            if threads.stop.wait(_PAUSE_S):
                return

    threads.start(work)
    return sent


def _flood_http(threads: Threads, lab: Lab, url: str, stack: ExitStack) -> dict[int, int]:
    """Large bundles from many connections, which come back whatever they are told."""
    bundles = [message.data for message in messages(lab.signed(4, 4 * _LARGE, 1), _LARGE)]
    none = httpx2.Limits(max_connections=None)
    poster = stack.enter_context(httpx2.Client(timeout=120, limits=none, headers=HEADERS))
    told: dict[int, int] = {}

    def work() -> None:
        status = poster.post(f"{url}/v1/bundles", content=Random().choice(bundles)).status_code
        told[status] = told.get(status, 0) + 1
        if status != 200:
            threads.stop.wait(1)

    for _ in range(_HTTP_FLOODERS):
        threads.start(work)
    return told


def _faithful_mqtt(
    threads: Threads, lab: Lab, broker: Mosquitto, stack: ExitStack, sender: Faithful
) -> None:
    up, down = topics(lab.network.card.name, sender.device.key.kid)
    link = stack.enter_context(client(broker))
    link.on_message = lambda _c, _d, message: sender.take(bytes(message.payload))
    link.subscribe(down, qos=1)

    def work() -> None:
        raw = sender.due()
        if raw is None:
            threads.stop.wait(0.02)
        else:
            link.publish(up, raw, qos=1)
            threads.stop.wait(0.01)

    threads.start(work)


def _faithful_http(threads: Threads, url: str, stack: ExitStack, sender: Faithful) -> None:
    poster = stack.enter_context(httpx2.Client(timeout=120, headers=HEADERS))

    def work() -> None:
        raw = sender.due()
        if raw is None:
            threads.stop.wait(0.1)
            return
        answer = poster.post(f"{url}/v1/bundles", content=raw)
        if answer.status_code == 200:
            sender.take(answer.content)
            threads.stop.wait(0.05)
        elif answer.status_code in (429, 503):
            threads.stop.wait(float(answer.headers["retry-after"]))
        else:
            raise BenchError(f"a good bundle was answered with {answer.status_code}")

    threads.start(work)


def _look(watch: Watch, process: Process, broker: Mosquitto, url: str) -> None:
    watch.counters = numbers = _scrape(url)
    waits = [f'depin_inbox_{what}{{transport="{way}"}}' for what in ("messages", "bytes")
             for way in ("mqtt", "http")]  # fmt: skip
    held = [numbers.get(name, 0.0) for name in waits]
    watch.samples.append(
        Sample(_resident(process.pid), _resident(broker.pid), sum(held[:2]), sum(held[2:]))
    )


def _drain(senders: Sequence[Faithful], faith: Threads) -> None:
    """What the broker holds for the aggregator comes before what is still to be acknowledged."""
    deadline = time.monotonic() + _DRAIN_S
    while any(sender.waiting for sender in senders) and not faith.errors:
        if time.monotonic() > deadline:
            raise BenchError("faithful senders were not acknowledged after the overload")
        time.sleep(0.1)


def _check(root: Path, senders: Sequence[Faithful]) -> int:
    """Everything that was acknowledged is in the journal, once; gives how many."""
    count, seen = 0, set[int]()
    with Reader(root) as reader:
        for sender in senders:
            for item in sender.acknowledged.values():
                if item.index is None or item.code != "accepted":
                    raise BenchError(f"a good envelope was told {item.code}")
                if leaf_hash(reader.journal.entry(item.index).leaf) != item.leaf:
                    raise BenchError(f"entry {item.index} is not what was acknowledged")
                if item.index in seen:
                    raise BenchError(f"entry {item.index} was acknowledged for two envelopes")
                seen.add(item.index)
                count += 1
    return count


def _rows(watch: Watch, seconds: float, sent: int, told: dict[int, int], again: int,
          took: list[float], held: int) -> list[Row]:  # fmt: skip
    quarter = max(1, len(watch.samples) // 4)
    second = statistics.median(s.resident for s in watch.samples[quarter : 2 * quarter])
    last = statistics.median(s.resident for s in watch.samples[-quarter:])
    peak = max(s.resident for s in watch.samples)
    settled = [s.waiting_bytes for s in watch.samples]
    took = sorted(took)
    judged = watch.total("depin_envelopes_total")
    offered = (sent * 50 + sum(told.values()) * _LARGE) / seconds
    answers = ", ".join(f"{count} x {status}" for status, count in sorted(told.items()))
    return [
        Row(
            "overload",
            f"memory after {seconds:.0f} s, last quarter to second",
            "MB",
            [last / MB],
            [last / second],
            "the second quarter",
            Target(1.15, at_least=False),
            more_is_better=False,
            note=f"peak {peak / MB:.0f} MB; mosquitto {watch.samples[-1].broker / MB:.0f} MB",
        ),
        Row(
            "overload",
            "envelopes judged",
            "/s",
            [judged / seconds],
            [judged / seconds / offered],
            "offered",
            note=f"{offered:,.0f}/s offered; HTTP flood: {answers}",
        ),
        Row(
            "overload",
            "waiting in the inbox, at most",
            "MB",
            [max(settled) / MB],
            more_is_better=False,
            note=f"median {statistics.median(settled) / MB:.2f} MB, "
            f"at most {max(s.waiting for s in watch.samples):.0f} messages",
        ),
        Row(
            "overload",
            "faithful senders: sent to acknowledged, median",
            "s",
            [statistics.median(took)],
            more_is_better=False,
            note=f"p99 {took[int(len(took) * 0.99)]:.1f} s; {held} acknowledged, all in the "
            f"journal, once; {again} sent again",
        ),
    ]


def measure(lab: Lab) -> list[Row]:
    """Flood it for the seconds of the settings."""
    seconds = lab.settings.overload_s
    signed = [
        *lab.signed(20, 20_000 if seconds > 10 else 1000, 1),
        *lab.signed(4, 4 * _LARGE, 1),
    ]
    floods, faith, watch = Threads(), Threads(), Watch()
    with Mosquitto(lab.folder / "overload-broker") as broker, ExitStack() as stack:
        own = [lab.device(), lab.device()]
        root = lab.site([*(one.device for one in signed), *own])
        with _aggregator(lab, root, broker) as (process, url, metrics):
            senders = [Faithful(lab, own[0], 50), Faithful(lab, own[1], 1)]
            _faithful_mqtt(faith, lab, broker, stack, senders[0])
            _faithful_http(faith, url, stack, senders[1])
            sent = _flood_mqtt(floods, lab, broker, stack)
            told = _flood_http(floods, lab, url, stack)
            end = time.monotonic() + seconds
            while time.monotonic() < end and not floods.errors + faith.errors:
                time.sleep(1)
                _look(watch, process, broker, metrics)
            floods.end()
            for sender in senders:
                sender.ending = True
            _drain(senders, faith)
            faith.end()
    held = _check(root, senders)
    took = [value for sender in senders for value in sender.took]
    again = sum(sender.again for sender in senders)
    return _rows(watch, seconds, sent[0], told, again, took, held)
