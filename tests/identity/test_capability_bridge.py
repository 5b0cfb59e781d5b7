"""A bridge whose sensors are somebody else's: configured, signed, judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from depin_id.capability import Grant, Selector, issue
from depin_id.device import Device
from depin_id.errors import ConfigError, EnvelopeError
from depin_id.readings import reading
from depin_id.testing import NOW
from firmware_bridge import Spool
from firmware_bridge.config import load_config
from firmware_bridge.gateway import Gateway
from firmware_bridge.items import Behalf, SensorReadings
from tests.identity.delegated import OTHER, OWNER, OWNER_DID, SIGN_FOR, done, shown, signer, sound
from tests.identity.factory import Plant
from verify.entries import Enrolled

KEY = signer("bridge")
CONFIG = """
[bridge]
device = "gw"
card = "card.cbor"
spool = "spool"
[uplink]
url = "mqtt://127.0.0.1:1883"
[[source]]
kind = "lines"
name = "meter"
input = "stdin"
sensor = "lobby"
reading = [{ path = "laeq", name = "laeq", unit = "dB" }]
"""


def _chain(net: Plant, device: Device) -> bytes:
    grant = Grant(device.public_key, Selector.owned(), SIGN_FOR, NOW + 1000, issuer=OWNER_DID)
    return issue(grant, signer=OWNER, network=net.did)


def test_a_bridge_signs_for_an_owners_sensors(tmp_path: Path) -> None:
    with (
        Plant(tmp_path) as net,
        Device.create(
            tmp_path / "gw", role="gateway", signer=KEY, wall=lambda: float(NOW)
        ) as device,
        Spool.open(tmp_path / "spool") as spool,
    ):
        net.aggregator.administer([Enrolled(net.random(16), 0, device.enrolment)])
        data = _chain(net, device)
        proof = shown(net, KEY, data)
        cap = bytes.fromhex(done(net, "capability", chain=data.hex(), proof=proof.hex())["id"])
        gate = Gateway(device, net.did, spool)
        emit = gate.emitter("meter", "G1", Behalf(OWNER_DID, cap))
        emit((SensorReadings("lobby", (reading("laeq", 50, "dB", NOW),)),))
        gate.stop()
        gate.run()
        stored = [item.data for item in spool.peek()]
        net.send(device.public_key.kid.hex(), *stored)
        assert net.last.code == "accepted" and net.last.level == "G1"
        assert [content.subject for content in net.records()] == [f"{OWNER_DID}#lobby"]
        with pytest.raises(EnvelopeError):
            device.sign([reading("laeq", 50, "dB")], network=net.did, subject=f"{OWNER_DID}#x")
        sound(net)


def test_the_configuration_names_whose_and_by_which_capability(tmp_path: Path) -> None:
    with Plant(tmp_path / "net") as net, Device.create(tmp_path / "gw", role="gateway") as device:
        (tmp_path / "chain.cbor").write_bytes(_chain(net, device))
        path = tmp_path / "bridge.toml"
        lines = f'subject = "{OWNER_DID}"\ncapability = "chain.cbor"\n'
        path.write_text(CONFIG + lines)
        config = load_config(path)
        behalf = config.behalf(config.sources[0], device.public_key)
        assert behalf is not None and behalf.subject("lobby") == f"{OWNER_DID}#lobby"
        with pytest.raises(ConfigError, match="another key"):
            config.behalf(config.sources[0], OTHER.public_key)
        (tmp_path / "chain.cbor").write_bytes(b"\x80")
        with pytest.raises(ConfigError) as refused:
            config.behalf(config.sources[0], device.public_key)
        assert refused.value.code == "config.capability"
        path.write_text(CONFIG + 'capability = "chain.cbor"\n')
        with pytest.raises(ConfigError, match="stand together"):
            load_config(path)
        path.write_text(CONFIG)
        config = load_config(path)
        assert config.behalf(config.sources[0], device.public_key) is None
