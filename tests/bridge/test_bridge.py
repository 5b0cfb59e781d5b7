"""The whole bridge: gateway rules in memory, then as a process over a real broker, killed often."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from depin_id.device import Device
from depin_id.envelope import KIND_GATEWAY, bundle, open_gateway_payload, parse_envelope
from depin_id.readings import reading
from depin_id.senml import decode_pack
from firmware_bridge import Spool
from firmware_bridge.gateway import Gateway
from firmware_bridge.items import GatewayLimits, NativeEnvelope, SensorReadings
from tests.bridge.world import Aggregator, Net, until
from tests.brokers import mosquitto

ROOT = Path(__file__).resolve().parent.parent.parent


class Done:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def sign(device: Device, net: Net, value: float = 52.1) -> bytes:
    return device.sign([reading("LAeq", value, "dB")], network=net.card().network)


def gateway(
    device: Device, net: Net, spool: Spool, now: Callable[[], float] = lambda: 0.0, **limits: Any
) -> Gateway:
    return Gateway(device, net.card().network, spool, limits=GatewayLimits(**limits), monotonic=now)


def test_wraps_unchanged_bytes_and_drops_what_is_no_envelope(
    tmp_path: Path, net: Net, device: Device, gateway_device: Device
) -> None:
    native, done = sign(device, net), Done()
    with Spool.open(tmp_path / "spool") as spool:
        gate = gateway(gateway_device, net, spool)
        emit = gate.emitter("s", "G0")
        damaged = native[:-1] + bytes([native[-1] ^ 1])
        nested = gateway_device.wrap(native, network=net.card().network, received_at=1)
        items = [NativeEnvelope(data, 7) for data in (native, b"junk", damaged, nested, b"")]
        assert emit(items, done)
        gate.step(0)
        first, second = (parse_envelope(entry.data) for entry in spool.peek())
        assert open_gateway_payload(first.payload).raw == native
        # Its signature is wrong, which is for the aggregator to say: the bytes are carried.
        assert open_gateway_payload(second.payload).raw == damaged
        assert (first.kind, first.claims.iat, first.claims.level) == (KIND_GATEWAY, 7, "G0")
        first.verify(net.card().network, gateway_device.public_key)
        assert done.count == 1
        assert gate.counts.refused.total() == 3
        assert gate.counts.refused["s", "envelope.nested"] == 1


def test_answers_only_after_the_spool(
    tmp_path: Path, net: Net, device: Device, gateway_device: Device
) -> None:
    """A full spool answers nothing; with room again, everything is there and answered."""
    done = Done()
    with Spool.open(tmp_path / "spool", max_envelopes=2) as spool:
        gate = gateway(gateway_device, net, spool)
        emit = gate.emitter("s", "G0")
        emit([NativeEnvelope(sign(device, net, n), 1) for n in range(3)], done)
        worker = threading.Thread(target=gate.run)
        worker.start()
        try:
            until(lambda: len(spool) == 2)
            time.sleep(0.1)
            assert done.count == 0
            spool.release([spool.peek()[0].id])
            until(lambda: done.count == 1)
        finally:
            gate.stop()
            worker.join(30)


def test_packs_by_count_by_age_and_early_when_answers_are_waited_for(
    tmp_path: Path, net: Net, gateway_device: Device
) -> None:
    now = [0.0]

    def values() -> list[tuple[str | None, str | None, list[str]]]:
        found = []
        for entry in spool.peek():
            parsed = parse_envelope(entry.data)
            pack = decode_pack(parsed.payload)
            found.append((parsed.claims.sub, parsed.claims.level, [str(r.value) for r in pack]))
        spool.release([entry.id for entry in spool.peek()])
        return found

    def one(value: int, sensor: str = "a") -> list[SensorReadings]:
        return [SensorReadings(sensor, (reading("LAeq", value, "dB"),))]

    with Spool.open(tmp_path / "spool") as spool:
        gate = gateway(
            gateway_device, net, spool, lambda: now[0], batch_count=3, batch_age=10,
            max_unanswered=2, max_sensors=2,
        )  # fmt: skip
        emit, other = gate.emitter("s", "G1"), gate.emitter("other", "G0")
        for value in range(4):
            emit(one(value))
        gate.step(0)
        assert values() == [("#a", "G1", ["0", "1", "2"])]
        now[0] = 9.9
        gate.step(0)
        assert values() == []
        now[0] = 10
        gate.step(0)
        assert values() == [("#a", "G1", ["3"])]
        done = Done()
        emit(one(5, "b"), done)
        gate.step(0)
        assert values() == [] and done.count == 0
        emit(one(6, "b"), done)
        gate.step(0)
        assert values() == [("#b", "G1", ["5", "6"])] and done.count == 2
        emit(one(7, "c"), done)
        emit(one(8, "a b"), done)
        other(one(9, "a"), done)
        gate.step(0)
        assert done.count == 5
        assert gate.counts.refused == {
            ("s", "sensor.too_many"): 1, ("s", "envelope.claims"): 1, ("other", "sensor.taken"): 1,
        }  # fmt: skip


def test_a_reading_that_cannot_be_signed_costs_itself_only(
    tmp_path: Path, net: Net, gateway_device: Device
) -> None:
    done = Done()
    with Spool.open(tmp_path / "spool") as spool:
        gate = gateway(gateway_device, net, spool, batch_count=3)
        emit = gate.emitter("s", "G0")
        for time_ in (None, 5, None):
            emit([SensorReadings("a", (reading("LAeq", 1, "dB", time_),))], done)
        gate.step(0)
        packs = [decode_pack(parse_envelope(entry.data).payload) for entry in spool.peek()]
        assert sum(map(len, packs)) == 2 and done.count == 3
        assert gate.counts.refused == {("s", "reading.time"): 1}


def run_cli(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "firmware_bridge.cli", *map(str, arguments)],
        input=stdin, capture_output=True, text=True, timeout=60, env=environment(),
    )  # fmt: skip


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}


def write_config(folder: Path, net: Net, broker_port: int, sources: str, **bridge: Any) -> Path:
    net.write(folder / "card.cbor")
    extra = "".join(f"{key} = {json.dumps(value)}\n" for key, value in bridge.items())
    config = folder / "bridge.toml"
    config.write_text(
        '[bridge]\ndevice = "gateway-device"\ncard = "card.cbor"\nspool = "bridge.spool"\n'
        f"{extra}[uplink]\n"
        f'url = "mqtt://127.0.0.1:{broker_port}"\nack_timeout = 1.0\nretry_most = 0.3\n{sources}'
    )
    return config


class Process:
    """``depin-bridge run`` as a process."""

    def __init__(self, config: Path) -> None:
        self.log = config.parent / "bridge.log"
        self._begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "firmware_bridge.cli", "run", str(config), "--json-logs"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(),
            )  # fmt: skip

    def said(self) -> str:
        """What this process has logged; an earlier one may have written to the same file."""
        return self.log.read_bytes()[self._begin :].decode()

    def end(self, how: signal.Signals) -> int:
        if self._process.poll() is None:
            self._process.send_signal(how)
        return self._process.wait(30)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)


def test_killed_ten_times_under_load_nothing_is_lost(
    tmp_path: Path, net: Net, device: Device
) -> None:
    """Every envelope the broker was answered for is in the spool or acknowledged."""
    with Device.create(tmp_path / "gateway-device", role="gateway") as made:
        key = made.public_key
    with mosquitto(tmp_path) as broker, Aggregator(net, key) as aggregator:
        aggregator.connect(broker.port)
        config = write_config(
            tmp_path, net, broker.port,
            '[[source]]\nkind = "native_mqtt"\nname = "in"\ntopic = "in/#"\n'
            f'url = "mqtt://127.0.0.1:{broker.port}"\n',
        )  # fmt: skip
        publisher = paho.Client(
            CallbackAPIVersion.VERSION2, "publisher", protocol=MQTTProtocolVersion.MQTTv5
        )
        publisher.connect("127.0.0.1", broker.port)
        publisher.loop_start()
        sent: list[bytes] = []

        def seen_more_than(count: int) -> bool:
            return len(aggregator.seen) > count

        try:
            # Once, so that the broker holds the session before the first message.
            with Process(config) as process:
                until(lambda: process.said().count("connected, MQTT 5") >= 2)
            for life in range(10):
                with Process(config):
                    before = len(aggregator.seen)
                    for n in range(20):
                        envelope = sign(device, net, life * 100 + n)
                        sent.append(hashlib.sha256(envelope).digest())
                        publisher.publish("in/x", envelope, qos=1)
                    # Killed in the middle of work, each time at another place.
                    until(partial(seen_more_than, before + life))
            with Spool.open(tmp_path / "bridge.spool") as spool:
                released = spool.counts.released
            assert released <= len(aggregator.envelopes), "released without an acknowledgement"
            with Process(config) as process:
                until(lambda: aggregator.inner() >= set(sent), "all of it")
                assert process.end(signal.SIGTERM) == 0
            with Spool.open(tmp_path / "bridge.spool") as spool:
                assert spool.counts.released <= len(aggregator.envelopes)
        finally:
            publisher.disconnect()
            publisher.loop_stop()
        # Nothing signed twice at one position: each (epoch, n) has one identity.
        positions: dict[tuple[int, int], bytes] = {}
        for found, data in aggregator.envelopes.items():
            provenance = parse_envelope(data).provenance
            assert positions.setdefault((provenance.epoch, provenance.n), found) == found


def test_all_kinds_together_and_a_clean_end(tmp_path: Path, net: Net, device: Device) -> None:
    with Device.create(tmp_path / "gateway-device", role="gateway") as made:
        key = made.public_key
    drop = tmp_path / "drop"
    drop.mkdir()
    with mosquitto(tmp_path) as broker, Aggregator(net, key) as aggregator:
        aggregator.connect(broker.port)
        url = f'url = "mqtt://127.0.0.1:{broker.port}"\n'
        mapping = '[[source.reading]]\npath = "T.v"\nname = "temperature"\nunit = "Cel"\n'
        config = write_config(
            tmp_path, net, broker.port,
            f'[[source]]\nkind = "native_files"\nname = "drop"\npath = "drop"\nevery = 0.05\n'
            f'[[source]]\nkind = "mqtt_json"\nname = "json"\ntopic = "tele/{{sensor}}/S"\n{url}'
            f'level = "G1"\ndevices = "mtls"\n{mapping}',
            batch_age=0.1,
        )  # fmt: skip
        natives = [sign(device, net, n) for n in range(5)]
        (drop / "a.cbor").write_bytes(next(bundle(natives)))
        (drop / "big.cbor").write_bytes(bytes(200_000))
        (drop / "later.part").write_bytes(b"not yet")
        with Process(config) as process:
            wanted = {hashlib.sha256(native).digest() for native in natives}
            until(lambda: aggregator.inner() == wanted)
            until(lambda: process.said().count("connected, MQTT 5") >= 2)
            assert aggregator.client is not None
            for payload in (b'{"T":{"v":21.50}}', b'{"T":{"v":NaN}}', b"x", b'{"T":{"v":21.6}}'):
                aggregator.client.publish("tele/attic/S", payload, qos=1)

            def signed_for() -> list[str]:
                parsed = (parse_envelope(data) for data in list(aggregator.envelopes.values()))
                return [
                    str(record.value)
                    for envelope in parsed
                    if (envelope.claims.sub, envelope.claims.level) == ("#attic", "G1")
                    for record in decode_pack(envelope.payload)
                ]

            until(lambda: signed_for() == ["21.5", "21.6"])
            assert process.end(signal.SIGTERM) == 0
        lines = [json.loads(line) for line in process.log.read_text().splitlines()]
        counts = lines[-1]["counts"]
        assert counts["refused"]["json: input.json"] == 2
        assert counts["spool"]["envelopes"] == 0 or counts["spool"]["released"]
    assert sorted(path.name for path in drop.rglob("*.cbor")) == ["a.cbor", "big.cbor"]
    assert (drop / "done" / "a.cbor").exists() and (drop / "refused" / "big.cbor").exists()
    assert (drop / "later.part").exists()


def test_init_check_and_mistakes_in_the_configuration(tmp_path: Path, net: Net) -> None:
    card = net.write(tmp_path / "card.cbor")
    made = run_cli("init", tmp_path / "gw", "--network", card, "--url", "mqtts://b.example")
    assert made.returncode == 0, made.stderr
    config = tmp_path / "gw" / "bridge.toml"
    checked = run_cli("check", config)
    assert checked.returncode == 0, checked.stderr
    did = made.stdout.split("gateway: ")[1].split()[0]
    assert did.startswith("did:key:") and did in checked.stdout
    assert "mqtts://b.example:8883" in checked.stdout and "source drop" in checked.stdout
    good = config.read_text()
    mistakes = [
        (good.replace("batch_age = 10", 'batch_age = "10"'), "bridge.batch_age"),
        (good.replace("batch_age", "bach_age"), "bridge.bach_age"),
        (good.replace('"native_files"', '"telepathy"'), "source[0].kind"),
        (good.replace('path = "drop"', "path = 5", 1), "source[0]"),
        (good.replace("mqtts://", "ftp://"), "config.url"),
        (good.replace("[uplink]", "[uplink"), "config.toml"),
        (good + '[[source]]\nkind="lines"\ninput="stdin"\nsensor="a"\n'
         '[[source.reading]]\npath="x"\nname="x"\n', "has no unit"),
        ("", "bridge"),
    ]  # fmt: skip
    from depin_id.errors import ConfigError
    from firmware_bridge.cli import describe
    from firmware_bridge.config import load_config

    with Device.open(tmp_path / "gw" / "device") as device:
        for text, says in mistakes:
            config.write_text(text)
            with pytest.raises(ConfigError) as error:
                describe(load_config(config), device.enrolment)
            assert says in str(error.value), says
    failed = run_cli("run", config)
    assert failed.returncode == 2 and failed.stderr.startswith("error: config.invalid: ")
    assert "Traceback" not in failed.stderr and "hint: " in failed.stderr


def test_the_command_line_is_of_one_kind_with_the_others(tmp_path: Path, net: Net) -> None:
    """Help, usage errors and a running bridge: as ``depin-id`` and ``depin-verify`` do it."""
    net.write(tmp_path / "card.cbor")
    assert "Example: depin-bridge check" in run_cli("check", "-h").stdout
    made = run_cli("init", tmp_path / "gw", "--network", tmp_path / "card.cbor")
    config = tmp_path / "gw" / "bridge.toml"
    assert made.returncode == 0 and 'name = "laeq"' in config.read_text()
    with Device.open(tmp_path / "gw" / "device") as device:
        running = run_cli("check", config)
        assert running.returncode == 0 and device.did in running.stdout, running.stderr
    odd = tmp_path / os.fsdecode(b"gateway \xe4")
    assert run_cli("init", odd, "--network", tmp_path / "card.cbor").returncode == 0
    assert run_cli("check", odd / "bridge.toml").returncode == 0
    for code, arguments in (
        ("usage", ["run"]),
        ("usage", ["nonsense"]),
        ("network.file", ["init", tmp_path / "x", "--network", tmp_path]),
        ("config.url", ["init", tmp_path / "x", "--network", tmp_path / "card.cbor"]),
    ):
        failed = run_cli(*arguments, *(("--url", "ftp://b") if code == "config.url" else ()))
        assert failed.returncode == 2 and failed.stderr.startswith(f"error: {code}: "), code
        assert "hint: " in failed.stderr and not (tmp_path / "x").exists()


def test_lines_from_standard_input_reach_the_spool(tmp_path: Path, net: Net) -> None:
    """Without any broker: what was read before the end is spooled at the end."""
    Device.create(tmp_path / "gateway-device", role="gateway").close()
    config = write_config(
        tmp_path, net, 1,
        '[[source]]\nkind = "lines"\ninput = "stdin"\nformat = "plain"\nsensor = "m"\n'
        '[[source.reading]]\npath = "LAeq"\nname = "LAeq"\nunit = "dB"\n',
        batch_age=3600, status_every=0,
    )  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "firmware_bridge.cli", "run", str(config)],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    try:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write("LAeq 51 dB\nLAeq 52 dBA\n" + "x" * 10000 + "\nLAeq 53 dB")
        process.stdin.close()
        for line in process.stderr:
            if "ended" in line:
                break
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
    with Spool.open(tmp_path / "bridge.spool") as spool:
        (entry,) = spool.peek()
    assert [str(r.value) for r in decode_pack(parse_envelope(entry.data).payload)] == ["51", "53"]


_OTHER_THREAD = """
import signal, sys, threading
from firmware_bridge.cli import main

# The system may give a signal to any thread; here it can only be this one.
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
sys.argv[0] = "depin-bridge"
main()
"""


def test_a_signal_that_another_thread_takes_ends_it_too(tmp_path: Path, net: Net) -> None:
    Device.create(tmp_path / "gateway-device", role="gateway").close()
    config = write_config(
        tmp_path, net, 1,
        '[[source]]\nkind = "lines"\ninput = "stdin"\nformat = "plain"\nsensor = "m"\n'
        '[[source.reading]]\npath = "LAeq"\nname = "LAeq"\nunit = "dB"\n',
        status_every=0,
    )  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", _OTHER_THREAD, "run", str(config)],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    try:
        assert process.stderr is not None
        assert any("ended" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
