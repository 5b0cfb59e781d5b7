"""A running bridge takes up another configuration: nothing is lost, nothing comes twice."""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from depin_id.device import Device
from depin_id.envelope import parse_envelope
from depin_id.senml import decode_pack
from firmware_bridge import Spool
from firmware_bridge.cli import main
from firmware_bridge.config import load_config
from firmware_bridge.logs import BURST, WINDOW, Flood, ForPeople
from firmware_bridge.service import Bridge
from tests.bridge.test_bridge import write_config
from tests.bridge.world import Net, until
from tests.brokers import mosquitto


def source(name: str, port: int, **more: Any) -> str:
    extra = "".join(f"{key} = {json.dumps(value)}\n" for key, value in more.items())
    return (
        f'[[source]]\nkind = "mqtt_json"\nname = "{name}"\ntopic = "{name}/{{sensor}}"\n'
        f'url = "mqtt://127.0.0.1:{port}"\n{extra}'
        '[[source.reading]]\npath = "v"\nname = "n"\nunit = "Cel"\n'
    )


@contextmanager
def running(config: Path) -> Iterator[Bridge]:
    bridge = Bridge(load_config(config))
    thread = threading.Thread(target=bridge.run)
    thread.start()
    try:
        yield bridge
    finally:
        bridge.stop()
        thread.join(60)
        bridge.close()
    assert not thread.is_alive()


def spooled(path: Path) -> Counter[tuple[str | None, str]]:
    found: Counter[tuple[str | None, str]] = Counter()
    with Spool.open(path) as spool:
        for entry in spool.peek(1 << 20, 1 << 30):
            parsed = parse_envelope(entry.data)
            found.update((parsed.claims.sub, str(r.value)) for r in decode_pack(parsed.payload))
    return found


def test_reloads_under_load_lose_and_repeat_nothing(tmp_path: Path, net: Net) -> None:
    Device.create(tmp_path / "gateway-device", role="gateway").close()
    with mosquitto(tmp_path) as broker:
        port = broker.port
        options = {"batch_age": 0.15, "batch_count": 7}

        def write(*sources: str, **more: Any) -> Path:
            return write_config(tmp_path, net, port, "".join(sources), **{**options, **more})

        a, b = source("a", port), source("b", port)
        config = write(a, b)
        client = paho.Client(
            CallbackAPIVersion.VERSION2, "sensors", protocol=MQTTProtocolVersion.MQTTv5
        )
        client.connect("127.0.0.1", port)
        client.loop_start()
        enough, sent = threading.Event(), [0]

        def speak() -> None:
            while not enough.is_set():
                for name in ("a", "b"):
                    client.publish(f"{name}/{name}1", json.dumps({"v": sent[0]}), qos=1)
                sent[0] += 1
                time.sleep(0.004)

        with running(config) as bridge:

            def reload(problem: str = "") -> None:
                before = bridge.reloads, bridge.reload_problem
                running_before = dict(bridge.sources.alive())
                bridge.want_reload()
                until(lambda: (bridge.reloads, bridge.reload_problem) != before, "the reload")
                assert problem in bridge.reload_problem
                if problem:
                    assert bridge.reloads == before[0]
                    assert bridge.sources.alive() == running_before

            # The broker holds a message from the first subscription on, and tells nobody of it.
            until(lambda: broker.log.count("New client connected") >= 4, "all connections")
            time.sleep(0.5)
            speaker = threading.Thread(target=speak)
            speaker.start()
            threads = {name: item.thread for name, item in bridge.sources._working.items()}
            for round_ in range(3):
                write(source("a", port, time_unit=("ms", "s", "ms")[round_]), b)
                reload()
            # Only what changed was replaced.
            assert bridge.sources._working["b"].thread is threads["b"]
            assert bridge.sources._working["a"].thread is not threads["a"]
            write(a.replace('"Cel"', '"furlong"'), b)
            reload("furlong")
            write(a, b, metrics="127.0.0.1:0")
            reload("bridge.metrics cannot change while the bridge runs")
            config.write_text("[bridge\n")
            reload("config.toml")
            uplink = bridge.uplink
            text = write(a, b, batch_count=9, log_level="warning").read_text()
            config.write_text(text.replace("retry_most = 0.3", "retry_most = 0.4"))
            try:
                reload()
                assert bridge.gateway.limits.batch_count == 9 and bridge.uplink is not uplink
                assert logging.getLogger("depin_bridge").level == logging.WARNING
                until(lambda: bridge.uplink.connected, "the new uplink")
            finally:
                logging.getLogger("depin_bridge").setLevel(logging.INFO)
            # One goes, and its sensors' names are free for another.
            write(b)
            reload()
            assert list(bridge.sources.alive()) == ["b"]
            write(a, b)
            reload()
            enough.set()
            speaker.join()
            until(lambda: bridge.gateway.counts.taken.total() >= 2 * sent[0], "all of it")
        client.disconnect()
        client.loop_stop()
    wanted: Counter[tuple[str | None, str]] = Counter(
        (f"#{name}1", str(n)) for name in ("a", "b") for n in range(sent[0])
    )
    found = spooled(tmp_path / "bridge.spool")
    assert not wanted - found, "lost"
    assert not found - wanted, "repeated"


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_metrics_health_and_status(
    tmp_path: Path, net: Net, capsys: pytest.CaptureFixture[str]
) -> None:
    Device.create(tmp_path / "gateway-device", role="gateway").close()
    drop = '[[source]]\nkind = "native_files"\nname = "drop"\npath = "drop"\n'
    config = write_config(tmp_path, net, 1, drop, metrics="127.0.0.1:0", spool_max_envelopes=1)
    with running(config) as bridge:
        web = until(lambda: bridge.web)
        status, text = get(web.port, "/healthz")
        health = json.loads(text)
        assert status == 200 and health["ok"] and health["spool"]["writable"]
        assert not health["uplink"]["connected"] and health["clock"]["believed"]
        assert get(web.port, "/nothing")[0] == 404
        emit = bridge.gateway.emitter("drop", "G0")
        for n in range(2000):
            emit.refuse(f"code.{n}")
        bridge.spool.put([(bytes(32), b"x")], at=int(time.time()) - 100)
        status, text = get(web.port, "/healthz")
        health = json.loads(text)
        assert status == 503 and "full" in health["spool"]["problem"]
        assert 100 <= health["spool"]["oldest_s"] < 1000
        status, text = get(web.port, "/metrics")
        assert status == 200 and "\ndepin_bridge_spool_writable 0.0\n" in text
        assert "\ndepin_bridge_spool_envelopes 1.0\n" in text
        # Whoever makes up reasons without end makes no series without end.
        assert text.count("depin_bridge_refused_total{") <= 514
        asked = config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{web.port}")
        (tmp_path / "asked.toml").write_text(asked)
        with pytest.raises(SystemExit) as end:
            main(["status", str(tmp_path / "asked.toml")])
        assert end.value.code == 1
        said = capsys.readouterr().out
        assert "uplink: offline" in said and "source drop: at work" in said
        # A second bridge at the same address works without metrics.
        with pytest.raises(SystemExit):
            main(["status", str(tmp_path / "asked.toml"), "--json"])
        assert json.loads(capsys.readouterr().out)["running"] is True
    with pytest.raises(SystemExit):
        main(["status", str(tmp_path / "asked.toml"), "--json"])
    assert json.loads(capsys.readouterr().out)["spool"]["envelopes"] == 1


def test_a_cause_speaks_five_times_a_minute() -> None:
    now = [0.0]
    flood, lines = Flood(lambda: now[0]), []

    def say(source: str) -> None:
        record = logging.LogRecord(
            "depin_bridge.x", logging.WARNING, "", 0, "%s: %s", (source, "bad"), None
        )
        if flood.filter(record):
            lines.append(ForPeople().format(record))

    for _ in range(100):
        say("one")
    say("two")
    assert len(lines) == BURST + 1
    now[0] = WINDOW
    say("one")
    assert lines[-1].endswith("one: bad (95 more like it were left out)")
    for number in range(5000):
        say(f"source-{number}")
    assert len(flood._causes) <= 1100
