"""A gateway that was attested from the command line goes on in that boot when its bridge starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from depin_id import Device, parse_envelope, reading
from depin_id.ack import Challenge
from depin_id.carried import machine_boot
from depin_id.testing import TestNetwork
from firmware_bridge.cli import main
from firmware_bridge.config import load_config
from firmware_bridge.service import Bridge

NET = TestNetwork("bridge-boot")


def test_the_bridge_goes_on_in_the_boot_that_was_attested(tmp_path: Path) -> None:
    if machine_boot() is None:
        pytest.skip("this machine does not tell one boot from another")
    (tmp_path / "card.cbor").write_bytes(NET.card_bytes)
    folder = tmp_path / "gw"
    main(["init", str(folder), "--network", str(tmp_path / "card.cbor")])
    with Device.open(folder / "device", boot=machine_boot()) as device:
        asked = Challenge(device.public_key.thumbprint, bytes(16), 1)
        attested = device.binding(asked, NET.did).boot
    bridge = Bridge(load_config(folder / "bridge.toml"))
    try:
        signed = bridge.device.sign([reading("LAeq", 50)], network=NET.did)
    finally:
        bridge.close()
    at = parse_envelope(signed).provenance
    assert (at.epoch, at.n) == (attested, 0)
