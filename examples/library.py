"""The library in twenty lines: a network, a device, a signed reading, a verdict.

python examples/library.py
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from depin_id import Device, NetworkDir, reading
from verify import Accepted, Indeterminate, Rejected, Verifier


def main() -> None:
    """Sign a reading, verify it, then change one bit and verify again."""
    with tempfile.TemporaryDirectory() as folder:
        network = NetworkDir.create(Path(folder, "net"), "quiet-city")
        with Device.create(Path(folder, "dev"), name="roof", profile="noise@1") as device:
            envelope = device.sign([reading("laeq", 54.2, "dB")], network=network.card.network)
            verifier = Verifier(network.card, [device.enrolment])
    print(f"{device.did} signed {len(envelope)} bytes")
    changed = envelope[:-1] + bytes([envelope[-1] ^ 1])
    for title, data in [("as signed", envelope), ("one bit changed", changed)]:
        match verifier.verify(data, time.time_ns() // 1_000_000):
            case Accepted() as verdict:
                print(f"{title}: accepted, level {verdict.level}")
            case Rejected(code=code) | Indeterminate(code=code):
                print(f"{title}: refused, {code}")


if __name__ == "__main__":
    main()
