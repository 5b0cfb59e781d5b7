"""Uplinks of ChirpStack v4 (its JSON over MQTT), decoded there by the device profile's codec."""

from __future__ import annotations

import re
from typing import Any

from depin_id.errors import ReadingError
from firmware_bridge.mapping import sensor_name
from firmware_bridge.sources.base import Kind
from firmware_bridge.sources.frames import Frame
from firmware_bridge.sources.lorawan import (
    MAX_GATEWAYS,
    LorawanOptions,
    LorawanSource,
    Reception,
    Uplink,
    counter,
    link,
    table,
    text,
)
from firmware_bridge.strict_json import parse

_EUI = re.compile(r"[0-9a-f]{16}")
_MAX_PORT = 255


class ChirpstackOptions(LorawanOptions):
    """``kind = "chirpstack"``: the path of a reading starts in the uplink's ``object``."""

    topic: str = "application/+/device/{sensor}/event/+"


class Chirpstack(LorawanSource):
    """Readings from uplink events; all other events are counted, and a join begins a session."""

    server = "ChirpStack"

    def parse(self, topic: str, payload: bytes) -> Uplink | None:
        """See :class:`LorawanSource`."""
        event = topic.rsplit("/", 1)[-1]
        document = table(parse(payload), "the message")
        info = table(document.get("deviceInfo"), "deviceInfo")
        device = text(info.get("devEui"), "deviceInfo.devEui", limit=16).lower()
        if _EUI.fullmatch(device) is None:
            raise ReadingError("input.type", "deviceInfo.devEui is no EUI")
        if (self._pattern.sensor(topic) or "").lower() != device:
            raise ReadingError("frame.device", f"the topic is another device's than {device}")
        id = text(document.get("deduplicationId"), "deduplicationId")
        if event == "up":
            return self._uplink(document, device, id)
        if event == "join":
            self.memory.joined(device, id)
        raise ReadingError(f"chirpstack.{event if event in _EVENTS else 'event'}", "no uplink")

    def _uplink(self, document: dict[str, Any], device: str, id: str) -> Uplink:
        port = counter(document.get("fPort"), "fPort", most=_MAX_PORT)
        if port == 0 or not document.get("data"):
            raise ReadingError("frame.empty", f"{device}: nothing of the application in it")
        # A frame without these was not one of a session, so nobody has checked its MIC.
        address = text(document.get("devAddr"), "devAddr", limit=8)
        if "object" not in document:
            raise ReadingError(
                "frame.undecoded",
                f"{device}: the server did not decode it",
                hint="give the device profile a codec",
            )
        frame = Frame(device, address, counter(document.get("fCnt"), "fCnt"), id)
        return Uplink(
            frame,
            sensor_name(device, self._options.names, self._options.prefix),
            document["object"],
            _receptions(document),
            document.get("time"),
        )


def _receptions(document: dict[str, Any]) -> tuple[Reception, ...]:
    entries = document.get("rxInfo", [])
    if not isinstance(entries, list) or len(entries) > MAX_GATEWAYS:
        raise ReadingError("input.type", f"rxInfo is no list of at most {MAX_GATEWAYS}")
    # Of a relayed frame this is how the relay was heard, not the device.
    relayed = document.get("relayRxInfo") is not None
    found = []
    for entry in entries:
        rx = table(entry, "rxInfo[]")
        if rx.get("crcStatus") == "BAD_CRC":
            continue
        gateway = text(rx.get("gatewayId"), "rxInfo[].gatewayId", limit=32)
        heard = None if relayed else link(rx.get("rssi"), rx.get("snr"))
        found.append(Reception(gateway, heard, rx.get("gwTime")))
    return tuple(found)


_EVENTS = frozenset(("join", "status", "ack", "txack", "log", "location", "integration", "error"))

KINDS = {"chirpstack": Kind(ChirpstackOptions, Chirpstack)}
