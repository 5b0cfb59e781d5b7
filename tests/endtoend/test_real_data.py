"""Real recordings the whole way: signed, through a broker or a file, judged, kept, proved."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from depin_id.device import Device
from depin_id.envelope import bundle, parse_envelope
from depin_id.errors import ReadingError, StateError
from depin_id.network import NetworkCard
from depin_id.readings import Reading
from depin_id.senml import Decimal64
from tests.brokers import mosquitto
from tests.endtoend.recordings import Track, bus_trip, noise_monitor_day, phone_track
from tests.endtoend.world import (
    Publisher,
    check_acknowledged,
    check_audit,
    check_nothing_twice,
    journal,
    make_network,
    until,
)
from verify.aggregator import Aggregator
from verify.batch import Summary
from verify.entries import Enrolled
from verify.ingest.files import FileSource
from verify.ingest.mqtt import MqttSource

PACK = 60


class Wall:
    """A clock that stands where the recording is."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds

    def ms(self) -> int:
        return int(self.seconds * 1000)


# --- a day of a sound level meter, over a broker --------------------------------------------------


@contextmanager
def _running(root: Path, url: str, card: NetworkCard, wall: Wall) -> Iterator[None]:
    """The aggregator on a broker, in a thread, its clock the recording's."""
    stop, ready = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def on_event(kind: str, _: dict[str, object]) -> None:
        if kind == "mqtt.subscribed":
            ready.set()

    def work() -> None:
        try:
            with Aggregator(root, clock=wall.ms) as aggregator:
                source = MqttSource(
                    url,
                    card.name,
                    aggregator,
                    client_id="aggregator",
                    clock=wall.ms,
                    on_event=on_event,
                )
                source.run(stop)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        until(lambda: ready.is_set() or failed, "the aggregator's subscription")
        yield
    finally:
        stop.set()
        thread.join()
    if failed:
        raise failed[0]


def test_a_day_of_a_noise_monitor_through_a_broker(tmp_path: Path) -> None:
    """86,401 readings in packs of 60: every one is accepted, each second once."""
    rows = noise_monitor_day()
    assert len(rows) == 86_401
    began = time.monotonic()
    wall = Wall(rows[0][0])
    start = rows[0][0]
    with Device.create(
        tmp_path / "meter", profile="noise", wall=wall, monotonic=lambda: wall() - start
    ) as device:
        root, card = make_network(tmp_path, device.enrolment, clock=wall.ms)
        packs = 0
        with ExitStack() as stack:
            broker = stack.enter_context(mosquitto(tmp_path))
            stack.enter_context(_running(root, f"mqtt://127.0.0.1:{broker.port}", card, wall))
            publisher = stack.enter_context(Publisher(device, card, broker, resend_s=10))
            for at in range(0, len(rows), PACK):
                part = rows[at : at + PACK]
                wall.seconds = part[-1][0] + 0.3
                envelope = device.sign(
                    [
                        Reading("laeq", Decimal64.from_text(level), "dB", Decimal64(second))
                        for second, level in part
                    ],
                    network=card.network,
                )
                identity = parse_envelope(envelope).verify(card.network, device.public_key)
                assert publisher.send(envelope, [identity])
                packs += 1
            until(lambda: not publisher.unanswered, "acknowledgement of the last pack")
    took = time.monotonic() - began
    entries = list(journal(root))
    check_acknowledged(entries, publisher)
    check_nothing_twice(entries)
    assert {entry.code for entry in entries} == {"accepted"}
    counted = [row for entry in entries for row in entry.rows]
    print(
        f"\n{len(counted)} readings in {packs} packs, {len(publisher.acknowledged)} acknowledged, "
        f"{publisher.resent} resent, 0 rejected, {took:.1f} s with signing and broker"
    )
    assert len(publisher.acknowledged) == len(entries) == packs == 1441
    assert {row.code for row in counted} == {""}
    # What is kept is what was measured, each second once.
    kept = {(row.time_ms // 1000, Decimal64.from_text(row.value)) for row in counted}
    assert len(counted) == len(kept) == 86_401
    assert kept == {(second, Decimal64.from_text(level)) for second, level in rows}
    check_audit(root)


# --- recordings of phones and of a bus, from files ------------------------------------------------


class Replay:
    """An aggregator that takes recordings at asserted receipt times, and its devices."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.devices: dict[str, Device] = {}
        self.wall = Wall(0)
        self.root, self.card = make_network(folder, asserted=True)

    def device(self, name: str, profile: str) -> Device:
        if name not in self.devices:
            device = Device.create(
                self.folder / name, name=name, profile=profile, wall=self.wall, monotonic=self.wall
            )
            self.devices[name] = device
            with Aggregator(self.root) as aggregator:
                # From the beginning: what is replayed was received long ago.
                since = Enrolled(os.urandom(16), 0, device.enrolment)
                aggregator.administer([since])
        return self.devices[name]

    def take(
        self, name: str, track: Track, *, profile: str = "mobile-noise", pack: int = 30
    ) -> Summary:
        """Sign a recording as this device, write it to a file, and ingest the file."""
        device = self.device(name, profile)
        self.wall.seconds = track.end_s
        envelopes = [
            device.sign(
                [item for point in track.points[at : at + pack] for item in point],
                network=self.card.network,
            )
            for at in range(0, len(track.points), pack)
        ]
        file = self.folder / f"{name}.cbor"
        file.write_bytes(b"".join(bundle(envelopes)))
        asserted = int(track.end_s * 1000) + 500
        total = Summary()
        with Aggregator(self.root) as aggregator:
            for messages in FileSource([file], received_at=asserted).batches():
                summary, _ = aggregator.ingest(messages, asserted_ms=asserted)
                total.add(summary)
        return total

    def codes(self, name: str, field: str = "laeq") -> Counter[str]:
        """Codes of the judged records of one field of a device; "" for what counts."""
        did = self.devices[name].did
        return Counter(
            row.code
            for entry in journal(self.root)
            if entry.subject == did
            for row in entry.rows
            if row.name == field
        )

    def close(self) -> None:
        for device in self.devices.values():
            device.close()


@pytest.fixture
def replay(tmp_path: Path) -> Iterator[Replay]:
    made = Replay(tmp_path)
    yield made
    made.close()


def test_good_recordings_are_not_rejected(replay: Replay) -> None:
    points = 0
    for name in ("07efe9f7", "aaa26b2a", "umik", "lyon_track_1"):
        track = phone_track(name, altitude=True)
        summary = replay.take(name, track)
        codes = replay.codes(name)
        assert summary.rejected == {} and summary.indeterminate == {}
        assert sum(codes.values()) == len(track.points)
        assert set(codes) <= {"", "record.repeated"}, codes
        points += len(track.points)
        print(f"\n{name}: {len(track.points)} points, {dict(codes)}, {summary.readings} readings")
        assert codes["record.repeated"] == _second_in_a_slot(track)
    track = bus_trip()
    assert len(track.points) == 2144
    summary = replay.take("bus", track, profile="mobility", pack=120)
    codes = replay.codes("bus", "lat")
    print(f"\nbus: {len(track.points)} positions, {dict(codes)}")
    assert summary.rejected == {}
    assert codes == {"": 2144}
    check_nothing_twice(list(journal(replay.root)), slot_ms=250)
    check_audit(replay.root)


def _second_in_a_slot(track: Track, slot_ms: int = 250) -> int:
    """How many points share their slot with an earlier one."""
    times = [point[0].time for point in track.points]
    slots = {time.floor_scaled(-3) // slot_ms for time in times if time is not None}
    return len(times) - len(slots)


@pytest.mark.parametrize(
    ("name", "ages", "codes"),
    [
        ("1c9d12ee", True, {"location.out_of_range"}),
        ("426f00da", True, {"location.missing"}),
        ("88a20ba7", True, {"", "location.stale", "location.inaccurate"}),
        ("f720018a", True, {"", "location.missing", "location.stale"}),
        ("f720018a", False, {"", "location.missing", "location.speed"}),
    ],
)
def test_bad_recordings_get_their_code(
    replay: Replay, name: str, ages: bool, codes: set[str]
) -> None:
    track = phone_track(name, ages=ages)
    summary = replay.take("phone", track)
    found = replay.codes("phone")
    print(
        f"\n{name}{'' if ages else ' without fix ages'}: {len(track.points)} points, {dict(found)}"
    )
    # Each record has its own code; the envelopes are what a genuine phone signed.
    assert summary.rejected == {} and sum(found.values()) == len(track.points)
    assert set(found) == codes
    assert found["location.missing"] == sum(
        1 for point in track.points if not any(item.name == "lat" for item in point)
    )
    if name == "1c9d12ee":
        assert summary.readings == 0
    if "location.speed" in codes:
        # One jump at 164 m/s; the way back to normal is a matter of seconds.
        assert 0 < found["location.speed"] < 10
    if name == "88a20ba7":
        ages_s = [item.value for p in track.points for item in p if item.name == "fix-age"]
        late = [age for age in ages_s if isinstance(age, Decimal64) and abs(age.to_float()) > 10]
        assert len(late) >= found["location.stale"] > 0
        assert max(age.to_float() for age in late) > 20
    check_audit(replay.root)


def test_a_recording_sent_again_counts_once(replay: Replay) -> None:
    """The same walk twice, once with the altitude added: by the same phone, then by another."""
    track, again = phone_track("aaa26b2a", altitude=True), phone_track("fec26b2a")
    first = replay.take("phone", track)
    assert first.rejected == {} and replay.codes("phone") == {"": len(track.points)}
    before = list(journal(replay.root))
    # The same phone: its envelopes are genuine, its slots are filled.
    second = replay.take("phone", again)
    assert second.readings == 0 and second.rejected == {}
    added = list(journal(replay.root))[len(before) :]
    assert {row.code for e in added for row in e.rows if row.name == "laeq"} == {"record.repeated"}
    # Another phone: what was measured is somebody's already.
    stolen = replay.take("thief", again)
    assert (stolen.rejected, stolen.accepted) == ({"content.repeated": 1}, 0)
    check_audit(replay.root)


def test_a_walk_stolen_in_other_packs_is_seen(replay: Replay) -> None:
    """Cut otherwise, all packs but the last are still recognised by the windows inside them."""
    walk = phone_track("lyon_track_1")
    assert replay.take("walker", walk, pack=30).rejected == {}
    stolen = replay.take("thief", walk, pack=60)
    print(f"\nstolen walk of {len(walk.points)} points: {stolen.to_json()}")
    assert stolen.rejected == {"content.repeated": 8}
    assert stolen.accepted == 1


def test_a_damaged_export_is_the_loaders_matter() -> None:
    with pytest.raises(ReadingError) as error:
        phone_track("CORRUPT_track_00a20ba7")
    assert error.value.code == "reading.track"


def test_recordings_need_leave_to_assert_their_time(tmp_path: Path) -> None:
    """Without the leave of the genesis entry nothing old comes in under an old receipt time."""
    root, _ = make_network(tmp_path)
    with Aggregator(root) as aggregator, pytest.raises(StateError) as error:
        aggregator.ingest([], asserted_ms=1_475_832_442_723)
    assert error.value.code == "state.asserted_time"
