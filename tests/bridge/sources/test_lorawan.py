"""ChirpStack and The Things Stack: one reading for each frame, its best link, and no replays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.claims import Link
from depin_id.errors import ConfigError, DepinError
from firmware_bridge.config import load_config
from firmware_bridge.sources.base import kinds
from firmware_bridge.sources.frames import Frame, FrameMemory
from tests.bridge.sources.hearing import Heard, make, message, values
from tests.bridge.sources.lorawan_shapes import (
    CHIRPSTACK,
    EUI,
    READINGS,
    TOPIC,
    TTN,
    TTN_TOPIC,
    chirpstack,
    ttn,
)

URL = {"url": "mqtt://127.0.0.1", "reading": READINGS}


def source(kind: str = "chirpstack", folder: Path | str = ".", **options: Any) -> Any:
    return make(kind, folder, **{**URL, **options})


def hear(one: Any, *messages: tuple[str, bytes]) -> Heard:
    heard = Heard()
    for topic, payload in messages:
        one.take(message(topic, payload), heard)
    return heard


def test_a_captured_chirpstack_uplink() -> None:
    heard = hear(source(), (TOPIC, chirpstack()))
    (item,) = heard.items
    assert item.sensor == EUI
    assert values(item) == {"temperature": "25.68 Cel", "humidity": "57.5 %RH"}
    # The better of two gateways, its numbers together and rounded down; the bad CRC is no link.
    assert item.link == Link(-66, 142)
    assert {str(reading.time) for reading in item.readings} == {"1700000000.25"}


def test_a_captured_ttn_uplink() -> None:
    heard = hear(source("ttn"), (TTN_TOPIC, ttn()))
    (item,) = heard.items
    assert item.sensor == "70b3d5499eaa6c64"
    assert values(item)["temperature"] == "28.225685119628906 Cel"
    assert item.link == Link(-3, 88)
    named = source("ttn", sensor="device_id", topic="v3/lopys2ttn@ttn/devices/{sensor}/up")
    assert hear(named, (TTN_TOPIC, ttn())).items[0].sensor == "lopy3sense"
    with pytest.raises(ConfigError):
        source("ttn", sensor="device_id")


def test_times_and_the_radio_as_readings() -> None:
    cases = [
        ("chirpstack", "server", TOPIC, chirpstack(), "1768898863.457927"),
        ("chirpstack", "gateway", TOPIC, chirpstack(), "1768898863.316547"),
        ("ttn", "server", TTN_TOPIC, ttn(), "1636306444.026085"),
        ("ttn", "gateway", TTN_TOPIC, ttn(), "1636306443.998416"),
    ]
    for kind, time, topic, payload, expected in cases:
        (item,) = hear(source(kind, time=time, radio=True), (topic, payload)).items
        assert {str(reading.time) for reading in item.readings} == {expected}
        found = values(item)
        counter = "18230" if kind == "chirpstack" else "30204"
        assert found["fcnt"] == f"{counter} count" and found["gateways"][0] in "23"
    # Through Packet Broker the other network and its gateway are kept.
    only = ttn(rx_metadata=TTN["uplink_message"]["rx_metadata"][2:])
    (item,) = hear(source("ttn", radio=True), (TTN_TOPIC, only)).items
    assert values(item)["gateway"] == "packetbroker/000013/ttnv2/eui-3133303725006a00"
    assert item.link == Link(-98, 70)
    # Without a time where one is configured, nothing is made up.
    heard = hear(source(time="gateway"), (TOPIC, chirpstack(rxInfo=None)))
    assert heard.items == [] and heard.refused == ["input.time"]


def test_three_copies_of_a_frame_are_one_reading() -> None:
    best = CHIRPSTACK["rxInfo"]
    copies = [
        (TOPIC, chirpstack(rxInfo=best)),
        (TOPIC, chirpstack(rxInfo=best[:1])),
        (TOPIC, chirpstack(rxInfo=best[1:], deduplicationId="another-window")),
    ]
    heard = hear(source(), *copies)
    assert len(heard.items) == 1 and heard.items[0].link == Link(-66, 142)
    assert heard.refused == ["frame.duplicate"] * 2


def test_a_copy_is_answered_only_when_the_first_is_durable() -> None:
    one, heard, answered = source(), Heard(hold=True), []
    one.take(message(TOPIC, chirpstack(), lambda: answered.append(1)), heard)
    one.take(message(TOPIC, chirpstack(), lambda: answered.append(2)), heard)
    assert heard.refused == ["frame.duplicate"] and answered == []
    heard.waiting[0]()
    assert sorted(answered) == [1, 2]


@pytest.mark.parametrize("kind", ["chirpstack", "ttn"])
def test_counters_go_forward_or_a_session_is_new(kind: str) -> None:
    def frame(count: int, session: str) -> tuple[str, bytes]:
        id = f"as:up:{session}-{count}-{len(sent)}"
        sent.append(id)
        if kind == "chirpstack":
            return TOPIC, chirpstack(fCnt=count, devAddr=session, deduplicationId=id)
        top = {"correlation_ids": [id]}
        return TTN_TOPIC, ttn(f_cnt=count or None, session_key_id=session, top=top)

    sent: list[str] = []
    one = source(kind)
    steps = [
        (5, "00000001", None),
        (7, "00000001", None),
        (6, "00000001", "frame.replayed"),
        (7, "00000001", "frame.duplicate"),
        (0, "00000002", None),
        (8, "00000001", "frame.replayed"),
        (1, "00000002", None),
    ]
    for count, session, refused in steps:
        heard = hear(one, frame(count, session))
        assert heard.refused == ([] if refused is None else [refused]), (count, session)
    # With counter_resets one may go back, but not to what was seen lately; and it cannot be G1.
    loose = source(kind, counter_resets=True)
    for count, refused in ((5, None), (3, None), (5, "frame.duplicate")):
        assert hear(loose, frame(count, "00000001")).refused == ([refused] if refused else [])


def test_a_join_begins_a_session_under_the_same_address_once() -> None:
    one = source()
    join = json.dumps(
        {
            "deduplicationId": "join-1",
            "time": "2026-01-20T08:00:00Z",
            "deviceInfo": CHIRPSTACK["deviceInfo"],
            "devAddr": "3610bd78",
        }
    ).encode()
    up = TOPIC.replace("/up", "/join")
    assert len(hear(one, (TOPIC, chirpstack(fCnt=100, deduplicationId="a"))).items) == 1
    assert hear(one, (up, join)).refused == ["chirpstack.join"]
    assert len(hear(one, (TOPIC, chirpstack(fCnt=1, deduplicationId="b"))).items) == 1
    # The join comes again (the broker repeats what was not answered): nothing is forgotten.
    heard = hear(one, (up, join), (TOPIC, chirpstack(fCnt=1, deduplicationId="c")))
    assert heard.refused == ["chirpstack.join", "frame.duplicate"]


def test_what_was_taken_is_remembered_over_a_restart(tmp_path: Path) -> None:
    for copies in range(3):
        one, heard = source(folder=tmp_path), Heard()
        one.memory.open()
        one.take(message(TOPIC, chirpstack()), heard)
        assert len(heard.items) == (0 if copies else 1)
        # Not closed: it was killed. A torn line at the end says nothing.
        with open(tmp_path / "in.frames", "ab") as file:
            file.write(b'["' + EUI.encode())
    assert (tmp_path / "in.frames").stat().st_mode & 0o077 == 0
    one.memory.close()


def test_the_memory_is_bounded_and_survives_any_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firmware_bridge.sources.frames.MAX_DEVICES", 8)
    monkeypatch.setattr("firmware_bridge.sources.frames.MAX_IDS", 8)
    monkeypatch.setattr("firmware_bridge.sources.frames._MAX_LINES", 20)
    path = tmp_path / "x.frames"
    path.write_bytes(b'[1,2]\n\xff\n[["a"],"b",1,"",[],null]\n' + b"[" * 9000 + b"\n{}\nnull\n")
    memory = FrameMemory(path)
    memory.open()
    for number in range(200):
        frame = Frame(f"d{number % 20}", "s", number, f"id{number}")
        memory.claim(frame)
        memory.settle(frame)
    assert len(path.read_bytes().splitlines()) <= 2 * 20
    memory.close()
    again = FrameMemory(path)
    again.open()
    with pytest.raises(DepinError):
        again.claim(Frame("d19", "s", 199, None))
    again.close()
    with pytest.raises(ConfigError):
        FrameMemory(tmp_path / "no" / "folder").open()


@pytest.mark.parametrize(
    ("kind", "topic", "payload", "code"),
    [
        ("chirpstack", TOPIC, chirpstack(fPort=0), "frame.empty"),
        ("chirpstack", TOPIC, chirpstack(data=None), "frame.empty"),
        ("chirpstack", TOPIC, chirpstack(object=None), "frame.undecoded"),
        ("chirpstack", TOPIC, chirpstack(devAddr=None), "input.type"),
        ("chirpstack", TOPIC, chirpstack(fCnt=-1), "input.type"),
        ("chirpstack", TOPIC, chirpstack(fCnt=1 << 32), "input.type"),
        ("chirpstack", TOPIC, chirpstack(object={"temperature": "25"}), "input.type"),
        ("chirpstack", TOPIC, chirpstack(rxInfo=[{}] * 257), "input.type"),
        ("chirpstack", TOPIC.replace(EUI, "0" * 16), chirpstack(), "frame.device"),
        ("chirpstack", TOPIC.replace("/up", "/status"), chirpstack(), "chirpstack.status"),
        ("chirpstack", TOPIC.replace("/up", "/log"), chirpstack(), "chirpstack.log"),
        ("chirpstack", TOPIC.replace("/up", "/odd"), chirpstack(), "chirpstack.event"),
        ("chirpstack", TOPIC, chirpstack()[:-1] + b',"fCnt":1}', "input.json"),
        (
            "chirpstack",
            TOPIC,
            chirpstack().replace(b"25.68", b"1" + b"0" * 400),
            "input.number",
        ),
        ("chirpstack", TOPIC, chirpstack().replace(b"25.68", b"1e400"), "input.number"),
        ("chirpstack", TOPIC, chirpstack().replace(b": -60", b": -1e999"), "input.type"),
        ("ttn", TTN_TOPIC, ttn(f_port=None), "frame.empty"),
        ("ttn", TTN_TOPIC, ttn(frm_payload=None), "frame.empty"),
        ("ttn", TTN_TOPIC, ttn(decoded_payload=None), "frame.undecoded"),
        ("ttn", TTN_TOPIC, ttn(top={"simulated": True}), "frame.simulated"),
        ("ttn", TTN_TOPIC, ttn(simulated="yes"), "frame.simulated"),
        ("ttn", TTN_TOPIC.replace("lopy3sense", "other"), ttn(), "frame.device"),
        ("ttn", TTN_TOPIC, json.dumps({**TTN, "uplink_message": 1}).encode(), "input.type"),
        ("ttn", TTN_TOPIC, ttn(ids={"dev_eui": "x"}), "input.type"),
        ("ttn", TTN_TOPIC, ttn(top={"correlation_ids": ["x"] * 65}), "input.type"),
    ],
)
def test_what_is_no_reading_is_refused(kind: str, topic: str, payload: bytes, code: str) -> None:
    answered: list[int] = []
    heard = Heard()
    source(kind).take(message(topic, payload, lambda: answered.append(1)), heard)
    assert (heard.items, heard.refused, answered) == ([], [code], [1])


def test_a_relayed_frame_has_no_link_and_zero_is_left_out() -> None:
    relayed = chirpstack(relayRxInfo={"devEui": "0" * 16, "snr": 3, "rssi": -50})
    assert hear(source(), (TOPIC, relayed)).items[0].link is None
    # Protobuf's JSON leaves zeros out: a first frame has no counter.
    rx = [{"gatewayId": "0016c001f1237a90", "rssi": -85}]
    item = hear(source(), (TOPIC, chirpstack(fCnt=None, rxInfo=rx))).items[0]
    assert item.link == Link(-85, None)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ODD = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(st.data(), ODD)
def test_any_member_may_be_anything(data: st.DataObject, odd: Any) -> None:
    """One member somewhere is something else: a reading or a reason, nothing else."""
    kind = data.draw(st.sampled_from(["chirpstack", "ttn"]))
    document = json.loads(chirpstack() if kind == "chirpstack" else ttn())
    place = document
    while True:
        steps = list(place) if isinstance(place, dict) else list(range(len(place)))
        step = data.draw(st.sampled_from(steps))
        if isinstance(place[step], dict | list) and place[step] and data.draw(st.booleans()):
            place = place[step]
            continue
        place[step] = odd
        break
    topic = TOPIC if kind == "chirpstack" else TTN_TOPIC
    heard = hear(SOURCES[kind], (topic, json.dumps(document).encode()))
    assert len(heard.items) + len(heard.refused) == 1


SOURCES = {kind: source(kind, counter_resets=True, radio=True) for kind in ("chirpstack", "ttn")}


@pytest.mark.parametrize("kind", ["chirpstack", "ttn"])
def test_g1_needs_a_protected_way_and_one_publisher(kind: str, tmp_path: Path) -> None:
    def why_not(**options: Any) -> str | None:
        found = kinds()[kind].options.model_validate({"kind": kind, **URL, **options})
        return found.unauthenticated()

    server = {"publishers": "network_server"}
    assert why_not(**server) is None  # loopback
    assert why_not(url="mqtts://lns.example.org", **server) is None
    assert "TLS" in (why_not(url="mqtt://lns.example.org", **server) or "")
    assert "publishers" in (why_not(url="mqtts://lns.example.org") or "")
    assert "counter_resets" in (why_not(counter_resets=True, **server) or "")
    file = tmp_path / "bridge.toml"
    text = (
        '[bridge]\ndevice="d"\ncard="c"\nspool="s"\n[uplink]\nurl="mqtt://127.0.0.1"\n[[source]]\n'
        f'kind="{kind}"\nlevel="G1"\npublishers="network_server"\nurl="mqtt://lns.example.org"\n'
        '[[source.reading]]\npath="t"\nname="t"\nunit="Cel"\n'
    )
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(file)
    assert error.value.code == "config.level"
    file.write_text(text.replace("mqtt://lns", "mqtts://lns"))
    assert load_config(file).sources[0].level == "G1"
    file.write_text(text.replace('publishers="network_server"', 'devices="mtls"'))
    with pytest.raises(ConfigError) as error:
        load_config(file)
    assert error.value.code == "config.invalid"
