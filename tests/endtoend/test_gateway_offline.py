"""A broker away for longer than the spool holds: drops are told, and explain each gap."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from depin_id.device import Device
from depin_id.envelope import parse_envelope
from depin_id.networkdir import NetworkDir
from depin_id.senml import decode_pack
from tests.brokers import Mosquitto
from tests.endtoend.world import (
    aggregator_process,
    bridge_process,
    check_audit,
    check_nothing_twice,
    journal,
    make_network,
    until,
)
from verify.gaps import find_gaps
from verify.reading import Reader

BOUND = 6
SENSORS = ("hall", "yard")
POLICY = 'default_profile = "noise"\n[quota]\ndevice_per_minute = 0\n'


class House:
    """Sensors on a broker of their own, which go on whatever happens behind the bridge."""

    def __init__(self, port: int) -> None:
        self.sent = 0
        self.second = int(time.time()) - 3000
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, "house", protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def speak(self, rounds: int) -> None:
        for _ in range(rounds):
            self.second += 1
            for sensor in SENSORS:
                said = json.dumps({"v": 40 + self.sent % 30, "t": self.second})
                self._client.publish(f"house/{sensor}", said, qos=1).wait_for_publish(30)
            self.sent += 1

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def _configure(folder: Path, card: bytes, uplink: int, house: int) -> Path:
    (folder / "card.cbor").write_bytes(card)
    config = folder / "bridge.toml"
    config.write_text(
        '[bridge]\ndevice = "gateway"\ncard = "card.cbor"\nspool = "spool"\nbatch_count = 1\n'
        f'spool_max_envelopes = {BOUND}\nspool_policy = "drop_oldest"\n'
        f'[uplink]\nurl = "mqtt://127.0.0.1:{uplink}"\nack_timeout = 0.5\nretry_most = 0.2\n'
        f'[[source]]\nkind = "mqtt_json"\nname = "house"\nurl = "mqtt://127.0.0.1:{house}"\n'
        'topic = "house/{sensor}"\ntime = "t"\n'
        '[[source.reading]]\npath = "v"\nname = "laeq"\nunit = "dB"\n'
    )
    return config


def _spool(path: Path) -> dict[str, int]:
    """What a spool says of itself, beside the bridge that has it."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as file:
        found = {str(name): int(value) for name, value in file.execute("SELECT * FROM counters")}
        for table in ("envelopes", "drops"):
            found[table] = file.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return found


def _empty(path: Path) -> bool:
    found = _spool(path)
    return found["envelopes"] == 0 == found["drops"]


def _newest(path: Path) -> int:
    """The time of the newest reading in a spool, seconds since 1970."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as file:
        row = file.execute("SELECT data FROM envelopes ORDER BY seq DESC LIMIT 1").fetchone()
    (record,) = decode_pack(parse_envelope(row[0]).payload)
    assert record.time is not None
    return int(record.time.mantissa * 10**record.time.exponent)


def test_what_was_dropped_is_reported_and_explains_every_gap(tmp_path: Path) -> None:
    gateway = Device.create(tmp_path / "gateway", role="gateway")
    key, did, enrolment = gateway.public_key, gateway.did, gateway.enrolment
    gateway.close()
    root, _ = make_network(tmp_path, enrolment, policy=POLICY)
    spool = tmp_path / "spool"
    with (
        Mosquitto(tmp_path / "uplink", persistence=True) as broker,
        Mosquitto(tmp_path / "house", extra=("log_type subscribe",)) as local,
        aggregator_process(root, broker) as aggregator,
    ):
        signed = NetworkDir(tmp_path / "net").card_bytes
        config = _configure(tmp_path, signed, broker.port, local.port)
        house = House(local.port)
        try:
            with bridge_process(config) as bridge:
                until(lambda: "house/+" in local.log, "the source", process=bridge)
                house.speak(3)
                until(lambda: _spool(spool).get("released", 0) >= 6, "the first", process=bridge)
                broker.stop()
                house.speak(12)
                until(lambda: _spool(spool).get("dropped", 0) >= 12, "drops", process=bridge)
                house.speak(3)
                bridge.kill()
            house.speak(3)
            with bridge_process(config) as bridge:
                house.speak(9)
                # Else the rest would come while they leave: dropped, and arrived all the same.
                until(lambda: _newest(spool) == house.second, "all of it", process=bridge)
                assert _spool(spool)["dropped"] >= 48
                broker.start()
                until(lambda: _spool(spool).get("reported", 0) >= 48, "a report", process=bridge)
                until(lambda: _empty(spool), "acknowledgements", process=bridge)
                taken = _spool(spool)["released"]
                house.speak(2)
                until(lambda: _spool(spool)["released"] >= taken + 4, "the last", process=bridge)
                bridge.finish()
            assert aggregator.running
            aggregator.finish()
        finally:
            house.close()
    counters = _spool(spool)
    entries = list(journal(root))
    check_nothing_twice(entries)
    with Reader(root) as reader:
        told = {found.subject: found for found in find_gaps(reader, key.kid.hex())}
    assert set(told) == {did, *(f"{did}#{sensor}" for sensor in SENSORS)}
    for found in told.values():
        assert not found.contradictions and not found.refused, found.text
        assert all(gap.explained_count == gap.missing for gap in found.gaps), found.text
    explained = sum(found.explained + found.beyond for found in told.values())
    assert explained == counters["dropped"] == counters["reported"] >= 48
    assert all(told[f"{did}#{sensor}"].missing > 10 for sensor in SENSORS)
    # What is not in the journal is a gap, and what is in a gap is not in the journal.
    places = {(entry.subject, *entry.position) for entry in entries}
    for found in told.values():
        for gap in found.gaps:
            span = range(gap.first, gap.last + 1)
            assert not places & {(found.subject, gap.epoch, n) for n in span}
            assert {(found.subject, gap.epoch, gap.first - 1)} <= places or gap.first == 0
    check_audit(root)
