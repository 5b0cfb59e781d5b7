"""Answers to what a broker delivers (QoS 1): in order, and each message handed over once.

A broker sends again what it has no answer to when we come back, marked as such and under the same
number. What was handed over before is then not handed over again: it is answered when, or as soon
as, the first of it is dealt with.
"""

from __future__ import annotations

import collections
import hashlib
from dataclasses import dataclass

import paho.mqtt.client as paho

_REMEMBERED = 4096
"""Newest messages that are known by their number, answered ones too: an answer may get lost."""


@dataclass(slots=True, eq=False)
class Answer:
    """The answer that a message waits for."""

    mid: int
    qos: int
    digest: bytes
    ready: bool = False
    queued: bool = False


class Answers:
    """The answers of one session, over all its connections; for the connection's thread."""

    def __init__(self) -> None:
        self._client: paho.Client | None = None
        self._due: collections.deque[Answer] = collections.deque()
        self._known: collections.OrderedDict[int, Answer] = collections.OrderedDict()

    def begin(self, client: paho.Client) -> None:
        """Another connection: what was not answered on the last one comes again."""
        for answer in self._due:
            answer.queued = False
        self._due.clear()
        self._client = client

    def meet(self, message: paho.MQTTMessage, topic: bytes) -> tuple[Answer, bool]:
        """The answer that a message gets, and whether it was handed over before."""
        digest = hashlib.sha256(b"%d %b%b" % (len(topic), topic, bytes(message.payload))).digest()
        known = self._known.get(message.mid)
        again = message.dup and known is not None and known.digest == digest
        answer = known if again and known else Answer(message.mid, message.qos, digest)
        self._known[message.mid] = answer
        self._known.move_to_end(message.mid)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        if not answer.queued:
            answer.queued = True
            self._due.append(answer)
        self._send()
        return answer, again

    def ready(self, answer: Answer) -> None:
        """A message is dealt with."""
        answer.ready = True
        self._send()

    def _send(self) -> None:
        """In the order of arrival (MQTT 3.1.1, 4.6): some brokers hang up on any other."""
        while self._client is not None and self._due and self._due[0].ready:
            due = self._due.popleft()
            due.queued = False
            if self._client.is_connected():
                self._client.ack(due.mid, due.qos)
