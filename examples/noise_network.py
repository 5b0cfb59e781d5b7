"""A street of five noise sensors and one cheat, from the first signature to a receipt.

No broker: the signed bytes are handed over in memory. ``depin-verify demo`` shows the same with a
broker, a bridge and many more ways to cheat.

    python examples/noise_network.py --dir street
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from depin_id import DepinError, Device, NetworkDir, Place, Reading, reading
from verify.admin import enrol
from verify.aggregator import Aggregator
from verify.audit import audit
from verify.dataset import export
from verify.explain import explain
from verify.ingest import Message
from verify.reading import Reader
from verify.receipt import check_receipt, make_receipt
from verify.setup import init

SENSORS = 5
SECONDS = 60


def levels(sensor: int, end: int) -> list[Reading]:
    """A minute of plausible levels, one a second, the last one at ``end``."""
    return [
        reading(
            "laeq",
            round(48 + 2 * sensor + (second * (7 + sensor) % 60) / 10, 1),
            "dB",
            end - SECONDS + 1 + second,
        )
        for second in range(SECONDS)
    ]


@dataclass
class Street:
    """An aggregator, its network, and what hands bytes to it."""

    aggregator: Aggregator
    network: str

    def hand_in(self, who: str, device: Device, envelope: bytes) -> None:
        """Give bytes to the aggregator as a transport would, and print what it made of them."""
        at = time.time_ns() // 1_000_000
        sender = device.public_key.kid.hex()
        told, _ = self.aggregator.ingest([Message(envelope, sender, at, "example", None)])
        told_of = list(told.rejected | told.indeterminate)
        if told.duplicates:
            told_of.append("seen before")
        if told.accepted:
            told_of.append(f"authentic, {told.readings} readings count")
        print(f"{who}: {', '.join(told_of)}")


def honest(street: Street, sensors: list[Device], now: int) -> list[bytes]:
    """Every sensor hands in a minute."""
    envelopes = []
    for number, sensor in enumerate(sensors):
        envelope = sensor.sign(levels(number, now), network=street.network)
        street.hand_in(f"sensor {number + 1}", sensor, envelope)
        envelopes.append(envelope)
    return envelopes


def cheat(street: Street, cheater: Device, victim: bytes, now: int) -> None:
    """What a cheat tries, one after the other."""
    changed = bytearray(victim)
    changed[len(changed) // 2] ^= 1
    street.hand_in("another's envelope with a bit changed", cheater, bytes(changed))
    street.hand_in("another's envelope once more", cheater, victim)
    copied = cheater.sign(levels(0, now), network=street.network)
    street.hand_in("another's values under one's own key", cheater, copied)
    loud = cheater.sign([reading("laeq", 185, "dB", now)], network=street.network)
    street.hand_in("185 dB on a street", cheater, loud)
    early = cheater.sign([reading("laeq", 55, "dB", now + 3600)], network=street.network)
    street.hand_in("measured in an hour from now", cheater, early)


def prove(folder: Path, network: str, sensor: Device, cheater: Device) -> None:
    """Explain a refusal, write a receipt and check it, export what counts, audit everything."""
    with Reader(folder / "aggregator") as reader:
        (refused,) = reader.find(did=cheater.did, position=(1, 0))
        print("\nwhy:", explain(reader, refused).text, sep="\n")
        (accepted,) = reader.find(did=sensor.did, position=(1, 0))
        receipt = make_receipt(reader, accepted)
    (folder / "first.receipt").write_bytes(receipt)
    checked = check_receipt(receipt, network=network)
    print(f"\nreceipt: {len(receipt)} bytes, holds: entry {checked.index} of the log")
    count = export(folder / "aggregator" / "public", "csv", folder / "readings.csv")
    print(f"export: {count} readings in {folder / 'readings.csv'}")
    print(
        f"audit: {'every verdict is the same again' if audit(folder / 'aggregator').ok else 'no'}"
    )


def run(folder: Path) -> None:
    """The whole street in one folder."""
    network = NetworkDir.create(folder / "network", "noise-street")
    init(folder / "aggregator", folder / "network")
    devices = [
        Device.create(
            folder / f"sensor-{number + 1}",
            name=f"lamp post {number + 1}",
            profile="noise@1",
            place=Place(481_400_000 + 4_000 * number, 115_800_000),
        )
        for number in range(SENSORS + 1)
    ]
    *sensors, cheater = devices
    now = int(time.time())
    try:
        with Aggregator(folder / "aggregator") as aggregator:
            taken = enrol(aggregator, [device.enrolment for device in devices])
            print(f"{len(taken['enrolled'])} devices enrolled, one of them a cheat")
            street = Street(aggregator, network.card.network)
            envelopes = honest(street, sensors, now)
            cheat(street, cheater, envelopes[0], now)
        prove(folder, network.card.network, sensors[0], cheater)
    finally:
        for device in devices:
            device.close()


def main(argv: list[str] | None = None) -> None:
    """Run the street in the folder that the command line names, or in a temporary one."""
    parser = argparse.ArgumentParser(description="Five noise sensors, one cheat.")
    parser.add_argument("--dir", type=Path, help="a folder to make and keep")
    arguments = parser.parse_args(argv)
    try:
        if arguments.dir is not None:
            run(arguments.dir)
            return
        with tempfile.TemporaryDirectory() as folder:
            run(Path(folder))
    except DepinError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
