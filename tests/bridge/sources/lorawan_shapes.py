"""Uplinks in the shapes that network servers were seen to publish; ids are others' no more.

ChirpStack: a capture of a temperature sensor heard by two gateways (CN470, 2026-01, the log of an
application), one of a powerline sensor with ``gwTime`` (EU868, 2026-05, a database dump), one of an
LHT65N with ``fCnt`` 0 (2026-08, notes on ingest); joins, status and logs as ChirpStack's v4
``integration.proto`` names their fields. The Things Stack: a capture of a pycom board heard by two
gateways and Packet Broker (2021-11, notes of a course), one of a Milesight AM107 through Packet
Broker alone (2021-08, a message converter), and the data formats of its documentation.
"""

from __future__ import annotations

import json
from typing import Any

EUI = "ffffff200000b703"
TOPIC = f"application/3ef9e6b9-ec54-4eda-86b8-a5fb46899f39/device/{EUI}/event/up"

CHIRPSTACK: dict[str, Any] = {
    "deduplicationId": "5d9a3908-c0d9-4feb-bf6d-a61ca48b9ebf",
    "time": "2026-01-20T08:47:43.457927819+00:00",
    "deviceInfo": {
        "tenantId": "af1374c6-87f5-4986-93cd-57857e412930",
        "tenantName": "ChirpStack",
        "applicationId": "3ef9e6b9-ec54-4eda-86b8-a5fb46899f39",
        "applicationName": "all_sensor",
        "deviceProfileId": "758152b6-0462-4467-b1c7-9d7dfdbdd753",
        "deviceProfileName": "AN-303_CN470_OTAA_ClassA",
        "deviceName": EUI,
        "devEui": EUI,
        "deviceClassEnabled": "CLASS_A",
        "tags": {},
    },
    "devAddr": "3610bd78",
    "adr": True,
    "dr": 5,
    "fCnt": 18230,
    "fPort": 210,
    "confirmed": True,
    "data": "AAEDBA4VfQB3ARAKCBICPwMB",
    "object": {
        "batteryVoltage": 3.605,
        "humidity": 57.5,
        "tamper": 1.0,
        "temperature": 25.68,
        "model": "AN-303",
    },
    "rxInfo": [
        {
            "gatewayId": "0010502df4563610",
            "uplinkId": 139693,
            "nsTime": "2026-01-20T08:47:43.311799857+00:00",
            "rssi": -60,
            "snr": 14.0,
            "channel": 3,
            "location": {},
            "context": "ZNkuEA==",
            "crcStatus": "CRC_OK",
        },
        {
            "gatewayId": "0011502df4563610",
            "uplinkId": 144484,
            "gwTime": "2026-01-20T08:47:43.316547+00:00",
            "rssi": -66,
            "snr": 14.25,
            "channel": 3,
            "location": {},
            "context": "4xwvEA==",
            "crcStatus": "CRC_OK",
        },
        {"gatewayId": "0016c001f1237a90", "rssi": -10, "snr": 20, "crcStatus": "BAD_CRC"},
    ],
    "txInfo": {
        "frequency": 482100000,
        "modulation": {"lora": {"bandwidth": 125000, "spreadingFactor": 7, "codeRate": "CR_4_5"}},
    },
    "regionConfigId": "cn470",
}

TTN_TOPIC = "v3/lopys2ttn@ttn/devices/lopy3sense/up"
TTN: dict[str, Any] = {
    "end_device_ids": {
        "device_id": "lopy3sense",
        "application_ids": {"application_id": "lopys2ttn"},
        "dev_eui": "70B3D5499EAA6C64",
        "join_eui": "70B3D57ED002AE7C",
        "dev_addr": "260B2681",
    },
    "correlation_ids": [
        "as:up:01FKXQDQYE7A7B77H972D8FCSQ",
        "gs:conn:01FKNQ3QGSJ3HBS3VMRMY0HNK8",
        "gs:uplink:01FKXQDQQRY2GVG26DR4DK987B",
        "ns:uplink:01FKXQDQQTX3QYTSM0DRXVHH8R",
        "rpc:/ttn.lorawan.v3.GsNs/HandleUplink:01FKXQDQQSC1GRVAC6QM60DGKM",
    ],
    "received_at": "2021-11-07T17:34:04.239434664Z",
    "uplink_message": {
        "session_key_id": "AXx9ahQWLrp45Lpno7DT9w==",
        "f_port": 2,
        "f_cnt": 30204,
        "frm_payload": "QeHONEIH7Wi/gAAA",
        "decoded_payload": {
            "humidity": 33.981842041015625,
            "lux": -1,
            "temperature": 28.225685119628906,
        },
        "rx_metadata": [
            {
                "gateway_ids": {"gateway_id": "rak-gtw-grc", "eui": "B827EBFFFE336296"},
                "timestamp": 4058875412,
                "rssi": -99,
                "channel_rssi": -99,
                "snr": 6,
                "channel_index": 7,
            },
            {
                "gateway_ids": {"gateway_id": "main-gtw-grc", "eui": "B827EBFFFE7FE28A"},
                "time": "2021-11-07T17:34:03.998416Z",
                "timestamp": 1479021484,
                "rssi": -3,
                "channel_rssi": -3,
                "snr": 8.8,
                "channel_index": 7,
            },
            {
                "gateway_ids": {"gateway_id": "packetbroker"},
                "packet_broker": {
                    "message_id": "01FKXQDQSE6Q1J45XW56TCP51W",
                    "forwarder_net_id": "000013",
                    "forwarder_tenant_id": "ttnv2",
                    "forwarder_cluster_id": "ttn-v2-eu-3",
                    "forwarder_gateway_eui": "3133303725006A00",
                    "forwarder_gateway_id": "eui-3133303725006a00",
                    "home_network_net_id": "000013",
                    "home_network_tenant_id": "ttn",
                },
                "time": "2021-11-07T17:34:26.196177Z",
                "rssi": -98,
                "channel_rssi": -98,
                "snr": 7,
            },
        ],
        "settings": {
            "data_rate": {"lora": {"bandwidth": 125000, "spreading_factor": 12}},
            "coding_rate": "4/5",
            "frequency": "867900000",
            "timestamp": 1479021484,
            "time": "2021-11-07T17:34:03.998416Z",
        },
        "received_at": "2021-11-07T17:34:04.026085747Z",
        "consumed_airtime": "1.482752s",
        "network_ids": {"net_id": "000013", "tenant_id": "ttn", "cluster_id": "ttn-eu1"},
    },
}

READINGS = [
    {"path": "temperature", "name": "temperature", "unit": "Cel"},
    {"path": "humidity", "name": "humidity", "unit": "%RH", "required": False},
]


def chirpstack(**changed: Any) -> bytes:
    """The capture with some of its members changed; None takes one out."""
    document = {**CHIRPSTACK, **changed}
    return json.dumps({key: value for key, value in document.items() if value is not None}).encode()


def ttn(ids: dict[str, Any] | None = None, top: dict[str, Any] | None = None, **up: Any) -> bytes:
    """The capture with changes to ids, to the message and to the uplink."""
    message = {**TTN["uplink_message"], **up}
    message = {key: value for key, value in message.items() if value is not None}
    return json.dumps(
        {
            **TTN,
            "end_device_ids": {**TTN["end_device_ids"], **(ids or {})},
            "uplink_message": message,
            **(top or {}),
        }
    ).encode()
