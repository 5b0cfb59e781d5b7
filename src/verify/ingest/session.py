"""What a client tells the broker when it connects, and which of its messages it takes."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from depin_id.envelope import MAX_BUNDLE
from verify.ingest.options import BrokerAddress

MAX_PACKET = 8 * MAX_BUNDLE
"""Largest packet an MQTT 5 broker may send; what is above 128 KiB is counted, not kept."""

# paho's own type says nothing of its attributes.
_properties: Callable[[int], Any] = Properties


@dataclass(frozen=True)
class LinkOptions:
    """What a link is told: see :class:`verify.ingest.mqtt.MqttSource`."""

    address: BrokerAddress
    context: ssl.SSLContext | None
    username: str | None
    password: str | None = field(repr=False)
    client_id: str
    prefix: str
    receive_maximum: int
    session_expiry_s: int
    protocol: str
    reconnect_min_s: float
    reconnect_max_s: float


def new_client(options: LinkOptions, version: MQTTProtocolVersion) -> paho.Client:
    """A client of a persistent session that acknowledges nothing by itself."""
    v5 = version is MQTTProtocolVersion.MQTTv5
    extra: dict[str, Any] = {} if v5 else {"clean_session": False}
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=options.client_id,
        protocol=version,
        reconnect_on_failure=False,
        manual_ack=True,
        **extra,
    )
    if options.username is not None:
        client.username_pw_set(options.username, options.password)
    if options.context is not None:
        client.tls_set_context(options.context)
    return client


def connect_properties(options: LinkOptions) -> Any:
    """The properties of an MQTT 5 CONNECT."""
    properties = _properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = options.session_expiry_s
    properties.ReceiveMaximum = options.receive_maximum
    properties.MaximumPacketSize = MAX_PACKET
    return properties


def part(client: paho.Client, patience_s: float) -> None:
    """Disconnect; with patience, so that the broker reads all that was sent.

    Closing a socket that still holds unread bytes resets the connection, and the broker would never
    see the last acknowledgements. So a copy of it stays open until the broker has closed its side.
    """
    sock = client.socket()
    if sock is None:
        return
    with suppress(OSError, ValueError):
        with socket.socket(fileno=os.dup(sock.fileno())) as copy:
            with suppress(Exception):  # whatever paho thinks of a broken connection
                client.disconnect()
            deadline = time.monotonic() + patience_s
            while (left := deadline - time.monotonic()) > 0:
                copy.settimeout(left)
                if not copy.recv(65_536):
                    break
    sock.close()


def judge(received: paho.MQTTMessage, prefix: str) -> tuple[str, str]:
    """Why a message is refused (empty when it is not), and the kid of its topic."""
    topic = received.topic
    kid = topic[len(prefix) :]
    if not topic.startswith(prefix) or not is_kid(kid):
        return "refused.topic", ""
    if received.retain:
        return "refused.retained", ""
    if len(received.payload) > MAX_BUNDLE:
        return "refused.oversized", ""
    return "", kid


def is_kid(text: str) -> bool:
    """Whether a topic segment is a kid: 16 lower-case hex digits."""
    return len(text) == 16 and all(c in "0123456789abcdef" for c in text)
