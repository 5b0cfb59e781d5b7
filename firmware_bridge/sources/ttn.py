"""Uplinks of The Things Stack v3, and so of The Things Network (JSON over MQTT)."""

from __future__ import annotations

import re
from typing import Any, Literal

from depin_id.errors import ConfigError, ReadingError
from firmware_bridge.mapping import sensor_name
from firmware_bridge.sources.base import Context, Kind
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
_MAX_CORRELATIONS = 64
_IDS = ("as:up:", "ns:uplink:", "gs:uplink:", "pba:uplink:")


class TtnOptions(LorawanOptions):
    """``kind = "ttn"``: the path of a reading starts in the uplink's ``decoded_payload``.

    The sensor is the device's ``dev_eui``, or its ``device_id``, which is unique only within one
    application: then the topic has to name that.
    """

    topic: str = "v3/+/devices/{sensor}/up"
    sensor: Literal["dev_eui", "device_id"] = "dev_eui"


class Ttn(LorawanSource):
    """Readings from uplinks; what was simulated on the console is refused."""

    server = "The Things Stack"
    _options: TtnOptions

    def __init__(self, options: TtnOptions, context: Context) -> None:
        super().__init__(options, context)
        if options.sensor == "device_id" and options.topic.split("/")[1:2] in (["+"], ["#"], []):
            raise ConfigError(
                "config.mapping",
                f"source {context.name}: device_id is unique only within one application",
                hint="name the application in the topic (v3/app@tenant/devices/{sensor}/up)",
            )

    def parse(self, topic: str, payload: bytes) -> Uplink | None:
        """See :class:`LorawanSource`."""
        document = table(parse(payload), "the message")
        ids = table(document.get("end_device_ids"), "end_device_ids")
        device = text(ids.get("device_id"), "end_device_ids.device_id", limit=64)
        if self._pattern.sensor(topic) != device:
            raise ReadingError("frame.device", f"the topic is another device's than {device!r}")
        if "uplink_message" not in document:
            raise ReadingError("ttn.event", "no uplink")
        uplink = table(document["uplink_message"], "uplink_message")
        if any(part.get("simulated", False) is not False for part in (document, uplink)):
            raise ReadingError("frame.simulated", f"{device}: no device has sent this")
        port = counter(uplink.get("f_port"), "f_port", most=_MAX_PORT)
        if port == 0 or not uplink.get("frm_payload"):
            raise ReadingError("frame.empty", f"{device}: nothing of the application in it")
        if "decoded_payload" not in uplink:
            raise ReadingError(
                "frame.undecoded",
                f"{device}: the server did not decode it",
                hint="give the device or its application a payload formatter",
            )
        application = table(ids.get("application_ids"), "application_ids")
        whose = text(application.get("application_id"), "application_id", limit=64)
        frame = Frame(
            f"{whose}/{device}",
            # Without a join (ABP) there is no key's name: its address has the one session.
            text(uplink.get("session_key_id", ids.get("dev_addr")), "session_key_id"),
            counter(uplink.get("f_cnt"), "f_cnt"),
            _id(document.get("correlation_ids")),
        )
        return Uplink(
            frame,
            self._name(ids, device),
            uplink["decoded_payload"],
            _receptions(uplink),
            uplink.get("received_at"),
        )

    def _name(self, ids: dict[str, Any], device: str) -> str:
        name = device
        if self._options.sensor == "dev_eui":
            name = text(ids.get("dev_eui"), "end_device_ids.dev_eui", limit=16).lower()
            if _EUI.fullmatch(name) is None:
                raise ReadingError("input.type", "end_device_ids.dev_eui is no EUI")
        return sensor_name(name, self._options.names, self._options.prefix)


def _id(correlations: Any) -> str | None:
    """The most telling of the ids that the stack gave this uplink on its way."""
    if correlations is None:
        return None
    if not isinstance(correlations, list) or len(correlations) > _MAX_CORRELATIONS:
        raise ReadingError("input.type", f"correlation_ids is no list of {_MAX_CORRELATIONS}")
    found = sorted(text(item, "correlation_ids[]") for item in correlations)
    return next((item for start in _IDS for item in found if item.startswith(start)), None)


def _receptions(uplink: dict[str, Any]) -> tuple[Reception, ...]:
    entries = uplink.get("rx_metadata", [])
    if not isinstance(entries, list) or len(entries) > MAX_GATEWAYS:
        raise ReadingError("input.type", f"rx_metadata is no list of at most {MAX_GATEWAYS}")
    found = []
    for entry in entries:
        rx = table(entry, "rx_metadata[]")
        heard = link(rx.get("rssi"), rx.get("snr"))
        found.append(Reception(_gateway(rx), heard, rx.get("time")))
    return tuple(found)


def _gateway(rx: dict[str, Any]) -> str:
    """The gateway's id; of another network's, behind Packet Broker, with the network's."""
    broker = rx.get("packet_broker")
    if broker is None:
        ids = table(rx.get("gateway_ids"), "gateway_ids")
        return text(ids.get("gateway_id"), "gateway_ids.gateway_id", limit=64)
    broker = table(broker, "packet_broker")
    names = ("forwarder_net_id", "forwarder_tenant_id", "forwarder_gateway_id")
    parts = [text(broker[name], name, limit=64) for name in names if name in broker]
    return "packetbroker/" + "/".join(parts)


KINDS = {"ttn": Kind(TtnOptions, Ttn)}
