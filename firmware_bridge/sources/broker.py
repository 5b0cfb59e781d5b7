"""What sources at a broker share: a kept session, and answers only after the spool."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

from depin_id.errors import TransportError
from firmware_bridge.mqtt import Connection, Message, Session, Subscription
from firmware_bridge.options import MqttOptions

Take = Callable[[Message], None]


class BrokerInput:
    """Receives messages until told to stop; the broker keeps the session while we are away.

    Args:
        topic: the filter, or filters, to subscribe with.
        take: gets each message, in the connection's thread; what it does not answer
            (``message.done``) the broker sends again after a reconnect.
        keep: let the broker hold messages while we are away; None: at QoS 1. Not for readings
            that get the time of their receipt: what waited would get a wrong one.
        settings: whether a topic carries what stays true (no readings), so that retained messages
            of it are taken.
        refuse: called with ``mqtt.retained`` for other retained messages: they may be of any age.
    """

    def __init__(
        self,
        options: MqttOptions,
        topic: str | Sequence[str],
        client_id: str,
        qos: int,
        take: Take,
        *,
        keep: bool | None = None,
        settings: Callable[[str], bool] = lambda topic: False,
    ) -> None:
        self._take, self._settings = take, settings
        self._session: Session | None = None
        topics = (topic,) if isinstance(topic, str) else tuple(topic)
        keep = qos > 0 if keep is None else keep
        subscription = Subscription(topics, client_id, qos=qos, keep=keep)
        self.connection = Connection(options, subscription, self)

    def run(self, stop: threading.Event, refuse: Callable[[str], None]) -> None:
        """Work until ``stop`` is set."""
        self._refuse = refuse
        self.connection.run(stop)

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish soon, if there is a connection then; from any thread."""

        def work() -> None:
            if self._session is not None:
                with contextlib.suppress(TransportError):
                    self._session.publish(topic, payload)

        self.connection.post(work)

    def on_up(self, session: Session) -> None:
        """Messages come by themselves."""
        self._session = session

    def on_down(self) -> None:
        """Unanswered messages come again."""
        self._session = None

    def tick(self) -> float:
        """Nothing to do."""
        return 1.0

    def on_message(self, message: Message) -> None:
        """Hand a message on."""
        if message.retain and not self._settings(message.topic):
            self._refuse("mqtt.retained")
            message.done()
            return
        self._take(message)
