"""The device: times, claims, downlink, key files, folders."""

from __future__ import annotations

import dataclasses
import os
import stat
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from depin_id import (
    AckItem,
    Device,
    Link,
    NetworkDir,
    Place,
    cbor,
    parse_envelope,
    read_card,
    reading,
)
from depin_id.ack import MAX_ACK_ITEMS, Ack, sign_ack
from depin_id.envelope import CONTENT_STATUS, open_gateway_payload
from depin_id.errors import (
    ConfigError,
    DepinError,
    DIDError,
    EncodingError,
    EnvelopeError,
    NetworkError,
    ReadingError,
    StateError,
)
from depin_id.keyfile import read_key, write_key
from depin_id.keys import CallbackSigner, SoftwareSigner
from depin_id.netstate import MAX_NETWORKS
from depin_id.network import sign_card
from depin_id.senml import decode_pack
from depin_id.testing import TestNetwork, some_readings

NOW = 1_760_000_000.25
NET = TestNetwork()


def make(directory: Path, **about: Any) -> Device:
    return Device.create(directory, wall=lambda: NOW, **about)


def times(envelope: bytes) -> list[str]:
    return [str(record.time) for record in decode_pack(parse_envelope(envelope).payload)]


# --- signing -----------------------------------------------------------------------------------


def test_times(tmp_path: Path) -> None:
    mixed = [reading("a", 1), reading("b", 2, time=Decimal("1759999990.5"))]
    with make(tmp_path / "d") as device:
        assert times(device.sign(mixed, network=NET.did)) == ["1760000000", "1759999990.5"]
        exact = times(device.sign(mixed, network=NET.did, clock=0))
        assert exact == ["1760000000.25", "1759999990.5"]
        relative = device.sign(mixed, network=NET.did, clock=None)
        assert times(relative) == ["0", "-9.75"]
        assert parse_envelope(relative).provenance.clock is None
        with pytest.raises(ReadingError, match="reading.time"):
            device.sign([reading("a", 1, time=5)], network=NET.did)


def test_uptime_is_since_opening(tmp_path: Path) -> None:
    ticks = iter([100.0, 100.9, 175.2, 90.0])
    with Device.create(tmp_path / "d", monotonic=lambda: next(ticks)) as device:
        found = [parse_envelope(device.sign([reading("a", 1)], network=NET.did)) for _ in range(3)]
    assert [envelope.provenance.uptime for envelope in found] == [0, 75, 0]


def test_status_hash_and_claims(tmp_path: Path) -> None:
    with make(tmp_path / "d") as device:
        status = parse_envelope(device.sign_status({"profile": "noise@1"}, network=NET.did))
        assert status.content_type == CONTENT_STATUS and status.claims.iat == int(NOW)
        assert cbor.decode(status.payload) == {"profile": "noise@1"}
        image = parse_envelope(device.sign_hash(bytes(32), network=NET.did, preimage_type=50))
        assert image.payload_hash is not None and image.payload == bytes(32)
        with pytest.raises(EnvelopeError):
            device.sign_hash(bytes(31), network=NET.did)
        own = device.sign([reading("a", 1)], network=NET.did, self_describing=True)
        assert parse_envelope(own).claims.iss == device.did
        made = device.sign([reading("a", 1)], network=NET.did, subject="#s", level="G0")
        assert (parse_envelope(made).claims.sub, parse_envelope(made).claims.level) == ("#s", "G0")
        last = parse_envelope(device.sign([reading("a", 1)], network=NET.did))
        assert last.provenance.ear is None and last.provenance.n == 3


def test_what_is_refused_uses_no_position(tmp_path: Path) -> None:
    with make(tmp_path / "d") as device:
        cases: list[tuple[type[DepinError], dict[str, Any]]] = [
            (EncodingError, {"readings": []}),
            (EncodingError, {"readings": [reading("a", "x" * 4000)] * 40}),
            (DIDError, {"network": "demo"}),
            (DIDError, {"network": "did:web:example.org"}),
            (EnvelopeError, {"subject": "no hash"}),
            (EnvelopeError, {"level": "D3"}),
        ]
        for error, how in cases:
            with pytest.raises(error):
                device.sign(**{"readings": [reading("a", 1)], "network": NET.did, **how})
        with pytest.raises(EnvelopeError):
            device.sign([reading("a", 1)], network=NET.did, clock=-1)
        with pytest.raises(EncodingError, match="too_large"):  # no aggregator would take it
            device.sign_status({"calibration": "x" * 5000}, network=NET.did)
        assert parse_envelope(device.sign([reading("a", 1)], network=NET.did)).provenance.n == 0
    with pytest.raises(StateError, match="state.closed"):
        device.sign([reading("a", 1)], network=NET.did)


def test_a_gateway_wraps_unchanged_bytes(tmp_path: Path) -> None:
    inner = NET.device().envelope()
    with make(tmp_path / "g", role="gateway") as gateway, make(tmp_path / "d") as device:
        outer = parse_envelope(
            gateway.wrap(
                inner, network=NET.did, received_at=int(NOW), link=Link(-90, 75), place=Place(1, 2)
            )
        )
        outer.verify(NET.did, gateway.public_key)
        assert open_gateway_payload(outer.payload).raw == inner
        assert (outer.claims.level, outer.claims.link) == ("G1", Link(-90, 75))
        with pytest.raises(EnvelopeError, match="envelope.nested"):
            gateway.wrap(outer.raw, network=NET.did, received_at=1)
        with pytest.raises(ConfigError, match="device.role"):
            device.wrap(inner, network=NET.did, received_at=1)


# --- downlink ------------------------------------------------------------------------------------


def test_acknowledgements_rise_and_leave_a_beacon(tmp_path: Path) -> None:
    with make(tmp_path / "d") as device:
        item = AckItem(bytes(32), "time.stale", 7, bytes(32))
        data = NET.ack(device.public_key, 5, [bytes(32), item], beacon=b"beacon-1")
        assert [found.code for found in device.take_ack(data, card=NET.card).items] == [
            "accepted",
            "time.stale",
        ]
        with pytest.raises(EnvelopeError, match="ack.replayed"):
            device.take_ack(data, card=NET.card)
    with Device.open(tmp_path / "d", wall=lambda: NOW) as device:
        for number in (4, 5):
            with pytest.raises(EnvelopeError, match="ack.replayed"):
                device.take_ack(NET.ack(device.public_key, number), card=NET.card)
        quiet = parse_envelope(device.sign([reading("a", 1)], network=NET.did))
        asked = parse_envelope(device.sign([reading("a", 1)], network=NET.did, echo=True))
        blind = parse_envelope(device.sign([reading("a", 1)], network=NET.did, clock=None))
        assert [e.claims.nonce for e in (quiet, asked, blind)] == [None, b"beacon-1", b"beacon-1"]
        # Without a new beacon the old one stays; numbers of another network are its own.
        device.take_ack(NET.ack(device.public_key, 6), card=NET.card)
        other = TestNetwork("other")
        device.take_ack(other.ack(device.public_key, 1), card=other.card)
        assert device._networks.get(NET.did).beacon == b"beacon-1"


def test_a_device_remembers_a_bounded_number_of_networks(tmp_path: Path) -> None:
    with make(tmp_path / "d") as device:
        for number in range(MAX_NETWORKS):
            device.take_card(TestNetwork(f"n{number}").card_bytes)
        with pytest.raises(StateError, match="state.too_many"):
            device.take_card(TestNetwork("one-more").card_bytes)


def test_an_acknowledgement_has_a_bounded_number_of_items(tmp_path: Path) -> None:
    items = [AckItem(bytes(32), "accepted", None, None)] * (MAX_ACK_ITEMS + 1)
    with make(tmp_path / "d") as device:
        ack = Ack(device.public_key.thumbprint, 1, 0, None, NET.card.log_origin, (), None)
        for count in (MAX_ACK_ITEMS, MAX_ACK_ITEMS + 1):
            said = dataclasses.replace(ack, items=tuple(items[:count]))
            data = sign_ack(said, network=NET.did, signer=NET.ack_signer)
            if count == MAX_ACK_ITEMS:
                assert len(device.take_ack(data, card=NET.card).items) == count
            else:
                with pytest.raises(EnvelopeError, match="ack.malformed"):
                    device.take_ack(data, card=NET.card)


def test_acknowledgements_of_others_are_refused(tmp_path: Path) -> None:
    other = TestNetwork("other")
    with make(tmp_path / "d") as device:
        key = device.public_key
        good = NET.ack(key, 9)
        for data in (
            NET.ack(SoftwareSigner.generate().public_key, 9),
            other.ack(key, 9),
            NET.resume(key, bytes(16), 9),
            good[:-1] + bytes([good[-1] ^ 1]),
            good[:-1],
            b"",
        ):
            with pytest.raises(DepinError):
                device.take_ack(data, card=NET.card)
        device.take_ack(good, card=NET.card)


def test_cards_only_go_forward(tmp_path: Path) -> None:
    net = TestNetwork("cards")
    old, old_bytes = net.card, net.card_bytes
    net.reissue()
    with make(tmp_path / "d") as device:
        assert device.take_card(old_bytes, network=net.did) == old
        assert device.take_card(old_bytes) == old
        device.take_card(net.card_bytes)
        with pytest.raises(NetworkError, match="network.foreign"):
            device.take_card(NET.card_bytes, network=net.did)
    with Device.open(tmp_path / "d") as device:
        assert device.card(net.did) == net.card_bytes
        with pytest.raises(NetworkError, match="network.card_old"):
            device.take_card(old_bytes)
        with pytest.raises(NetworkError, match="network.card_old"):
            device.take_ack(TestNetwork("cards").ack(device.public_key, 1), card=old)


def test_damaged_network_state_refuses_what_it_cannot_compare(tmp_path: Path) -> None:
    make(tmp_path / "d").close()
    (tmp_path / "d" / "networks.cbor").write_bytes(b"\xa1\x00")
    with Device.open(tmp_path / "d") as device:
        device.sign([reading("a", 1)], network=NET.did)
        with pytest.raises(StateError, match="state.damaged"):
            device.take_ack(NET.ack(device.public_key, 1), card=NET.card)


# --- key files and folders ----------------------------------------------


@pytest.mark.parametrize("curve", ["ed25519", "p256"])
def test_key_files(tmp_path: Path, curve: Any) -> None:
    signer = SoftwareSigner.generate(curve)
    old = os.umask(0)
    try:
        write_key(tmp_path / "k", signer)
        write_key(tmp_path / "s", signer, passphrase="öffne")
    finally:
        os.umask(old)
    for name, passphrase in (("k", None), ("s", "öffne")):
        path = tmp_path / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert read_key(path, passphrase=passphrase).secret == signer.secret
        with pytest.raises(StateError, match="state.exists"):
            write_key(path, signer)
        for mode in (0o640, 0o604, 0o620, 0o602):
            path.chmod(mode)
            with pytest.raises(StateError, match="chmod 600"):
                read_key(path, passphrase=passphrase)
    assert signer.secret not in (tmp_path / "s").read_bytes()
    (tmp_path / "s").chmod(0o600)
    for wrong in (None, "", "offne"):
        with pytest.raises(StateError, match="key.passphrase"):
            read_key(tmp_path / "s", passphrase=wrong)


@pytest.mark.parametrize(
    "at, value", [(0, 10**9), (0, 0), (1, 1 << 40), (1, 0), (1, "x"), (2, b""), (3, None)]
)
def test_a_hostile_key_file_takes_no_memory(tmp_path: Path, at: int, value: Any) -> None:
    write_key(tmp_path / "s", SoftwareSigner.generate(), passphrase="p")
    fields = cbor.decode((tmp_path / "s").read_bytes())
    fields["sealed"][at] = value
    (tmp_path / "s").write_bytes(cbor.encode(fields))
    with pytest.raises(StateError, match="key.file"):
        read_key(tmp_path / "s", passphrase="p")


def test_a_changed_key_file_is_refused_at_every_byte(tmp_path: Path) -> None:
    write_key(tmp_path / "k", SoftwareSigner.generate())
    good = (tmp_path / "k").read_bytes()
    for at in range(len(good)):
        (tmp_path / "k").write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(DepinError):
            read_key(tmp_path / "k")


def test_devices_with_a_signer_of_their_own(tmp_path: Path) -> None:
    inner = SoftwareSigner.generate("p256")
    signer = CallbackSigner(inner.public_key, inner.sign)
    with Device.create(tmp_path / "d", signer=signer) as device:
        assert device.public_key == inner.public_key
    assert not (tmp_path / "d" / "key.cbor").exists()
    with Device.open(tmp_path / "d", signer=signer) as device:
        device.sign([reading("a", 1)], network=NET.did)
    with pytest.raises(StateError, match="state.signer"):
        Device.open(tmp_path / "d", signer=SoftwareSigner.generate())
    with pytest.raises(StateError, match="state.missing"):
        Device.open(tmp_path / "d")


def test_devices_that_are_not_there_or_there_twice(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="state.missing"):
        Device.open(tmp_path / "none")
    with pytest.raises(StateError, match="state.incomplete"):
        Device.open(tmp_path)
    make(tmp_path / "d").close()
    with pytest.raises(StateError, match="state.exists"):
        make(tmp_path / "d")
    (tmp_path / "d" / "device.cbor").write_bytes(b"\x00")
    with pytest.raises(StateError, match="state.damaged"):
        Device.open(tmp_path / "d")


def test_network_folder(tmp_path: Path) -> None:
    made = NetworkDir.create(tmp_path / "n", "demo", passphrase="p", wall=lambda: NOW)
    assert stat.S_IMODE((tmp_path / "n" / "root.key").stat().st_mode) == 0o600
    assert read_card(made.card_bytes, network=made.card.network) == made.card
    assert made.card.valid_at(int(NOW)) and not made.card.valid_at(int(NOW) - 1)
    with pytest.raises(StateError, match="key.passphrase"):
        NetworkDir(tmp_path / "n")
    second = made.reissue(new_log=True, wall=lambda: NOW)
    assert second.card.number == 2 and second.card.network == made.card.network
    assert second.card.ack_keys == (second.ack_signer.public_key, made.ack_signer.public_key)
    assert second.log_signer.public_key != made.log_signer.public_key
    third = second.reissue(keep_old_ack=False, new_ack=False, wall=lambda: NOW)
    assert third.card.ack_keys == (second.ack_signer.public_key,)
    with pytest.raises(NetworkError, match="card_old"):
        second.reissue()
    with pytest.raises(StateError, match="state.exists"):
        NetworkDir.create(tmp_path / "n", "demo")
    with pytest.raises(NetworkError, match="network.name"):
        NetworkDir.create(tmp_path / "m", "No Such Name")
    (tmp_path / "n" / "card.cbor").write_bytes(made.card_bytes)
    assert NetworkDir(tmp_path / "n", passphrase="p").card.number == 1
    with pytest.raises(NetworkError, match="log key"):
        dataclasses.replace(made.card, log_key=SoftwareSigner.generate("p256").public_key)
    swapped = dataclasses.replace(made.card, number=2)
    (tmp_path / "n" / "card.cbor").write_bytes(sign_card(swapped, made.root))
    with pytest.raises(NetworkError, match="network.keys"):
        NetworkDir(tmp_path / "n", passphrase="p")


def test_sizes_on_the_wire(tmp_path: Path) -> None:
    """What docs promise: one, ten and sixty readings with position and chain."""
    with make(tmp_path / "d") as device:
        found = [len(device.sign(some_readings(count), network=NET.did)) for count in (1, 10, 60)]
    assert found[0] <= 145 and found[1] <= 235 and found[2] <= 800, found
