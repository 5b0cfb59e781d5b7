"""What sources at a broker share: a kept session, and answers only after the spool."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from depin_id.errors import TransportError
from firmware_bridge.mqtt import Connection, Message, Session, Subscription
from firmware_bridge.options import MqttOptions

Take = Callable[[Message], None]


class BrokerInput:
    """Receives messages until told to stop; the broker keeps the session while we are away.

    Args:
        take: gets each message, in the connection's thread; what it does not answer
            (``message.done``) the broker sends again after a reconnect.
        refuse: called with ``mqtt.retained`` for retained messages, which may be of any age.
    """

    def __init__(
        self, options: MqttOptions, topic: str, client_id: str, qos: int, take: Take
    ) -> None:
        self._take = take
        self._session: Session | None = None
        subscription = Subscription((topic,), client_id, qos=qos, keep=qos > 0)
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
        if message.retain:
            self._refuse("mqtt.retained")
            message.done()
            return
        self._take(message)
