"""Receipts: whole ones check offline, and nothing in one can be changed unnoticed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id import cbor
from depin_id.envelope import MAX_BUNDLE
from depin_id.errors import DepinError
from depin_id.keys import SoftwareSigner
from depin_id.network import MAX_CARD_BYTES, network_did, sign_card
from depin_id.networkdir import NetworkDir
from depin_id.senml import Decimal64
from depin_id.senml.records import MAX_RECORDS
from depin_id.testing import NOW
from tests.verify._reading_world import House, build, copied
from tests.verify.net import Net, level
from verify import subjects
from verify.aggregator import Aggregator
from verify.entries import Judged
from verify.leaf import (
    MAX_LEAF,
    MAX_TIME_MS,
    AdminLeaf,
    EnvelopeLeaf,
    RecordRow,
    RecordsContent,
    commitment,
    parse_leaf,
)
from verify.log import Checkpoint, TlogProof, leaf_hash, sign_checkpoint
from verify.log.note import MAX_NOTE_BYTES
from verify.reading import Peek, Reader
from verify.receipt import MAX_RECEIPT, check_receipt, make_receipt
from verify.verdict import CODES, FLAGS

FORMAT, CARD, LEAF, PROOF, ENVELOPE, RECORDS, SALT, KEY = range(1, 9)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return build(tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="module")
def reader(house: House) -> Iterator[Reader]:
    with Reader(house.root) as opened:
        yield opened


@pytest.fixture(scope="module")
def receipts(reader: Reader) -> list[bytes]:
    return [make_receipt(reader, index) for index in range(reader.size)]


def find(reader: Reader, code: str, **about: Any) -> int:
    for index in range(reader.size):
        entry = reader.opened(index).entry
        if isinstance(entry, Judged) and entry.code == code:
            if all(getattr(entry, name) == value for name, value in about.items()):
                return index
    raise AssertionError(code)


def changed(data: bytes, **parts: Any) -> bytes:
    value = cbor.decode(data, max_bytes=MAX_RECEIPT)
    for name, part in parts.items():
        label = globals()[name]
        if part is None:
            value.pop(label, None)
        else:
            value[label] = part
    return cbor.encode(value)


def parts_of(data: bytes) -> dict[int, Any]:
    value = cbor.decode(data, max_bytes=MAX_RECEIPT)
    assert isinstance(value, dict)
    return value


def test_every_entry_has_a_receipt_that_checks(
    house: House, reader: Reader, receipts: list[bytes]
) -> None:
    seen = set()
    for index, data in enumerate(receipts):
        checked = check_receipt(data, network=house.did)
        opened = reader.opened(index)
        assert checked.index == index and checked.pinned
        assert checked.to_json()["received_at"] == opened.at
        assert cbor.encode(parts_of(data)) == data
        if isinstance(opened.entry, Judged):
            assert isinstance(checked.leaf, EnvelopeLeaf) and opened.private is not None
            assert checked.leaf.code == opened.entry.code
            assert checked.envelope is not None and checked.envelope.raw == opened.private.envelope
            seen.add(checked.leaf.code)
    assert seen >= {"accepted", "sequence.forked", "key.suspended", "key.rotated", "device.revoked"}


def test_one_shows_what_was_measured(house: House, receipts: list[bytes]) -> None:
    shown = check_receipt(receipts[7]).to_json()
    assert shown["network_pinned"] is False and shown["did"] == house.devices["one"].did
    assert shown["verdict"] == "accepted" and shown["level"] == "D1" and not shown["erased"]
    assert [row["value"] for row in shown["readings"]] == ["60.5", "60.6", "60.7", "60.8", "60.9"]
    refused = check_receipt(receipts[8]).to_json()["readings"][0]
    assert refused["code"] == "value.out_of_range" and not refused["counts"]


def test_a_rotated_key_is_told_apart(house: House, reader: Reader, receipts: list[bytes]) -> None:
    rotated = house.devices["rotated"].public_key.thumbprint
    at = next(
        index
        for index in range(reader.size)
        if isinstance(entry := reader.opened(index).entry, Judged)
        and entry.change.thumbprint == rotated
    )
    checked = check_receipt(receipts[at], network=house.did)
    assert checked.rotated and checked.did == house.devices["one"].did
    assert not check_receipt(receipts[7]).rotated


def test_another_network_is_refused(house: House, receipts: list[bytes], tmp_path: Path) -> None:
    other = NetworkDir.create(tmp_path / "other", "demo", log_origin=house.network.card.log_origin)
    with pytest.raises(DepinError, match="network"):
        check_receipt(receipts[7], network=other.card.network)
    with pytest.raises(DepinError):
        check_receipt(changed(receipts[7], CARD=other.card_bytes), network=house.did)
    # Without a pinned network the card of another one still has another log key.
    with pytest.raises(DepinError) as refused:
        check_receipt(changed(receipts[7], CARD=other.card_bytes))
    assert refused.value.code == "log.signature"


def test_every_part_belongs_to_the_others(house: House, receipts: list[bytes]) -> None:
    """Each part replaced by the same part of another entry's receipt, or left out."""
    mine = parts_of(receipts[7])
    others = [parts_of(receipts[index]) for index in (8, 10, 41)]
    for label in mine:
        name = {v: k for k, v in globals().items() if k.isupper() and type(v) is int}[label]
        for other in others:
            if other[label] != mine[label]:
                with pytest.raises(DepinError):
                    check_receipt(changed(receipts[7], **{name: other[label]}), network=house.did)
        with pytest.raises(DepinError):
            check_receipt(changed(receipts[7], **{name: None}), network=house.did)
        with pytest.raises(DepinError):
            check_receipt(changed(receipts[7], **{name: 1}), network=house.did)


def _forge(data: bytes, house: House, **leaf_changes: Any) -> dict[int, Any]:
    """A receipt whose leaf, tree and checkpoint were made by whoever holds the log's key."""
    value = parts_of(data)
    old = parse_leaf(value[LEAF])
    assert isinstance(old, EnvelopeLeaf)
    value[LEAF] = old._replace(**leaf_changes).encode()
    value[PROOF] = _proof(value[LEAF], house).format()
    return value


def _proof(leaf: bytes, house: House) -> TlogProof:
    """That the leaf is the only one of a log, signed by the network's log key."""
    network = house.network
    signer, card = network.log_signer, network.card
    head = Checkpoint(card.log_origin, 1, leaf_hash(leaf))
    note = sign_checkpoint(head, card.log_origin, card.log_key.raw, signer.sign)
    return TlogProof(0, (), note)


def test_a_receipt_holds_nothing_that_nothing_proves(house: House, receipts: list[bytes]) -> None:
    value = _forge(receipts[7], house)
    assert _refused(value | {KEY + 1: b"more"}, house) == "receipt.form"
    proof = replace(_proof(value[LEAF], house), extra=b"more")
    assert _refused(value | {PROOF: proof.format()}, house) == "receipt.form"
    for kind, code in ((1, None), (31, "receipt.leaf"), (200, "receipt.leaf")):
        leaf = AdminLeaf(kind, 1, []).encode()
        alone = {part: value[part] for part in (FORMAT, CARD)}
        alone |= {LEAF: leaf, PROOF: _proof(leaf, house).format()}
        if code is None:
            check_receipt(cbor.encode(alone), network=house.did)
        else:
            assert _refused(alone, house) == code


def _refused(value: dict[int, Any], house: House) -> str:
    with pytest.raises(DepinError) as error:
        check_receipt(cbor.encode(value), network=house.did)
    return error.value.code


def test_a_log_of_one_leaf_has_an_empty_proof(house: House, receipts: list[bytes]) -> None:
    checked = check_receipt(cbor.encode(_forge(receipts[7], house)), network=house.did)
    assert checked.index == 0 and checked.checkpoint.size == 1


def test_a_lying_log_is_caught(house: House, receipts: list[bytes]) -> None:
    """The operator holds the log's key; the device's signature still binds him."""
    data = receipts[7]
    value = parts_of(data)
    salt = value[SALT]
    content = RecordsContent.decode(value[RECORDS])
    assert _refused(_forge(data, house, n=9), house) == "receipt.position"
    assert _refused(_forge(data, house, code="splendid"), house) == "receipt.verdict"
    assert _refused(_forge(data, house, level=""), house) == "receipt.verdict"
    assert _refused(_forge(data, house, envelope=bytes(32)), house) == "receipt.commitment"
    assert _refused(_forge(data, house, records=None), house) == "receipt.commitment"
    first, *rest = content.rows
    rows = (replace(first, name="lceq"), *rest)
    other_value = (replace(first, value=Decimal64(1)), *rest)
    other_unit = (replace(first, unit="W"), *rest)
    for code, lie in (
        ("receipt.records", replace(content, rows=rows)),
        ("receipt.records", replace(content, rows=other_value)),
        ("receipt.records", replace(content, rows=other_unit)),
        ("receipt.records", replace(content, rows=content.rows[1:])),
        ("receipt.records", replace(content, rows=content.rows[:-1])),
        ("receipt.subject", replace(content, subject=content.subject + "#s9")),
        ("receipt.key", replace(content, thumbprint=bytes(32))),
    ):
        records = lie.encode()
        forged = _forge(data, house, records=commitment(salt, records))
        assert _refused(forged | {RECORDS: records}, house) == code
    envelope = bytearray(value[ENVELOPE])
    envelope[-1] ^= 1
    forged = _forge(data, house, envelope=commitment(salt, bytes(envelope)))
    assert _refused(forged | {ENVELOPE: bytes(envelope)}, house) == "signature.invalid"
    other = house.devices["three"].public_key.cose_key
    assert _refused(_forge(data, house) | {KEY: other}, house) == "receipt.key"


def test_an_expired_or_older_card_is_still_the_network(house: House, receipts: list[bytes]) -> None:
    """A receipt is checked years later: the card's validity is not the reader's clock's matter."""
    root = house.network.root
    card = replace(house.network.card, not_before=1, not_after=2)
    checked = check_receipt(changed(receipts[7], CARD=sign_card(card, root)), network=house.did)
    assert checked.card.not_after == 2
    stranger = SoftwareSigner.generate()
    foreign = sign_card(replace(card, network=network_did(stranger.public_key)), stranger)
    with pytest.raises(DepinError):
        check_receipt(changed(receipts[7], CARD=foreign), network=house.did)


@given(st.data())
def test_no_changed_byte_is_accepted(
    house: House, receipts: list[bytes], data: st.DataObject
) -> None:
    receipt = bytearray(receipts[data.draw(st.sampled_from([7, 8, 11, 17, 37, 41]))])
    at = data.draw(st.integers(0, len(receipt) - 1))
    receipt[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DepinError):
        check_receipt(bytes(receipt), network=house.did)


@given(st.binary(max_size=200))
def test_hostile_bytes_give_our_errors(data: bytes) -> None:
    with pytest.raises(DepinError):
        check_receipt(data)


_JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.binary(max_size=40)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from([CARD, LEAF, PROOF, ENVELOPE, RECORDS, SALT, KEY]), _JUNK, st.booleans())
def test_hostile_parts_give_our_errors(
    house: House, receipts: list[bytes], label: int, junk: Any, packed: bool
) -> None:
    value = parts_of(receipts[7])
    value[label] = cbor.encode(junk) if packed else junk
    with pytest.raises(DepinError):
        check_receipt(cbor.encode(value))


@given(_JUNK)
def test_records_of_a_lying_log_give_our_errors(
    house: House, receipts: list[bytes], junk: Any
) -> None:
    value = parts_of(receipts[7])
    found = cbor.decode(value[RECORDS])
    found[4] = [[junk] * 9, junk]
    records = cbor.encode(found)
    forged = _forge(receipts[7], house, records=commitment(value[SALT], records))
    _refused(forged | {RECORDS: records}, house)


def test_what_is_not_published_has_none_yet(house: House, tmp_path: Path) -> None:
    with copied(house, tmp_path) as root:
        (root / "public" / "log" / "checkpoint").unlink()
        with Reader(root) as reader, pytest.raises(DepinError) as refused:
            make_receipt(reader, 7)
    assert refused.value.code == "receipt.unpublished"


def test_an_erased_envelope_proves_its_leaf(house: House, tmp_path: Path) -> None:
    with copied(house, tmp_path) as root:
        with Aggregator(root, clock=house.clock) as aggregator:
            device = aggregator.fold.registry.device(house.devices["one"].did)
            assert device is not None
            aggregator.erase(device)
        with Reader(root) as reader:
            erased, other = make_receipt(reader, 7), make_receipt(reader, 10)
    checked = check_receipt(erased, network=house.did)
    assert checked.closed and checked.to_json()["erased"] and checked.envelope is None
    assert check_receipt(other, network=house.did).envelope is not None


def test_size_and_time(house: House, receipts: list[bytes]) -> None:
    """A receipt of five readings is about 1.5 KiB; the bound is loose, machines are shared."""
    assert max(map(len, receipts)) < 2048
    network, best = house.did, 1.0
    for _ in range(30):
        start = time.perf_counter()
        check_receipt(receipts[7], network=network)
        best = min(best, time.perf_counter() - start)
    assert best < 0.010


def test_the_first_entry_of_a_log_has_a_path(tmp_path: Path) -> None:
    """A log begins with several entries: the empty path of a lone leaf has no COSE receipt."""
    with Net(tmp_path) as net:
        net.aggregator.idle(net.now_ms + 3_600_000)
    with Reader(net.root) as reader:
        leaves = [parse_leaf(reader.opened(index).stored.leaf) for index in range(2)]
        assert [leaf.kind for leaf in leaves if isinstance(leaf, AdminLeaf)] == [1, 2]
        assert TlogProof.parse(parts_of(make_receipt(reader, 0))[PROOF]).hashes


def test_no_envelope_that_is_accepted_is_too_large_for_a_receipt(tmp_path: Path) -> None:
    first = {-4: "u" * 16, -3: NOW, 0: "laeq", 1: "dB", 2: 50}
    payload = cbor.encode([first, *({0: "b", 3: "y" * 22} for _ in range(MAX_RECORDS - 1))])
    with Net(tmp_path) as net:
        device = net.device()
        assert net.codes(device, device.next(payload=payload)) == ["accepted"]
        net.reopen()
        net.aggregator.idle(net.now_ms + 3_600_000)
    with Reader(net.root) as reader:
        data = make_receipt(reader, find(reader, "accepted"))
    assert len(data) > 500_000
    checked = check_receipt(data, network=net.did)
    assert checked.records is not None and len(checked.records.rows) == MAX_RECORDS


def test_the_bounds_hold_whatever_a_pack_becomes() -> None:
    """The longest names, units, codes and flags, and as much text as an envelope takes."""
    longest = sorted(FLAGS, key=len)[-4:]
    row = RecordRow(
        *("n" * 128, "u" * 16, "t" * (MAX_BUNDLE // MAX_RECORDS), MAX_TIME_MS, MAX_TIME_MS),
        *(-900_000_000, -1_800_000_000, max(CODES, key=len), tuple(longest)),
    )
    content = RecordsContent("d" * 256, bytes(32), "d" * 321, (row,) * MAX_RECORDS).encode()
    assert len(RecordsContent.decode(content).rows) == MAX_RECORDS
    assert len(content) + MAX_BUNDLE + MAX_CARD_BYTES + MAX_LEAF + MAX_NOTE_BYTES < MAX_RECEIPT


def test_who_makes_receipts_beside_the_live_state_leaves_its_objects_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread makes them: an object pushed out while it is changed forgets what it paid."""
    monkeypatch.setattr(subjects, "_RECENT", 1)
    with Net(tmp_path) as net:
        first, second = net.device("first"), net.device("second")
        for device in (first, second):
            assert net.codes(device, device.next([level()])) == ["accepted"]
        net.aggregator.publish()
        leaves = [parse_leaf(entry.leaf) for entry in net.aggregator.journal.entries()]
        last = max(n for n, leaf in enumerate(leaves) if isinstance(leaf, EnvelopeLeaf))
        state, registry = net.fold.state, net.fold.registry
        changed = state.subjects.change(0)
        before = list(registry._recent)
        with Peek(net.root, net.fold) as peek:
            receipt = make_receipt(peek, last)
        assert check_receipt(receipt, network=net.did).did == second.did
        assert list(registry._recent) == before
        changed.fill({"other": ((5, 6),)})
        assert state.subjects[1].series and state.subjects[0].series["other"] == ((5, 6),)
