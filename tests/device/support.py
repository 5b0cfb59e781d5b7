"""A child that signs in a loop until it is killed."""

from __future__ import annotations

import sys
from pathlib import Path

from depin_id import Device, reading
from depin_id.testing import TestNetwork

NETWORK = TestNetwork("device-tests")


def sign_for_ever(directory: str, output: str) -> None:
    """Append every envelope to a file the moment it is signed."""
    with Device.open(directory) as device, open(output, "ab", buffering=0) as file:
        print("ready", flush=True)
        for subject in [None, "#a", "#b"] * 100_000:
            file.write(
                device.sign([reading("LAeq", 50, "dB")], network=NETWORK.did, subject=subject)
            )


if __name__ == "__main__":
    sign_for_ever(*map(str, map(Path, sys.argv[1:3])))
