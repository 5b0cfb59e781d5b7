"""The bridge: carries signed envelopes over MQTT, and signs for sensors that cannot.

As a library it is a durable :class:`Spool`, an :class:`Uplink` that empties it on signed
acknowledgements, and :class:`Sender`/:func:`send` for devices that run Python. As a program it is
``depin-bridge``.
"""

from firmware_bridge.options import MqttOptions
from firmware_bridge.sender import Sender, send
from firmware_bridge.spool import Spool, SpoolCounts, Spooled
from firmware_bridge.uplink import Uplink, UplinkCounts

__all__ = [
    "MqttOptions",
    "Sender",
    "Spool",
    "SpoolCounts",
    "Spooled",
    "Uplink",
    "UplinkCounts",
    "send",
]
