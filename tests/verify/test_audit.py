"""Audit: silent on an honest directory, and names the first thing that was tampered with."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
import pytest

from depin_id.readings import reading
from tests.verify._reading_world import (
    House,
    Row,
    build,
    copied,
    rewrite,
    rows_of,
)
from verify.aggregator import Aggregator
from verify.audit import audit
from verify.dataset import Dataset, verify_dataset
from verify.entries import PolicySet, encode_admin
from verify.leaf import AdminLeaf, EnvelopeLeaf, parse_leaf
from verify.log import Checkpoint, sign_checkpoint
from verify.policy import Policy
from verify.store import KeyStore
from verify.workspace import Workspace

Change = Callable[[list[Row]], list[Row]]
ACCEPTED, IMPOSSIBLE, CARRIED, SIGHTING, FORKED, ROTATED = 7, 8, 10, 11, 37, 41


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return build(tmp_path_factory.mktemp("house"))


def found(root: Path) -> tuple[str, int | None, str]:
    """Stage, index and subject of the first difference."""
    report = audit(root)
    assert not report.ok and report.difference is not None
    assert report.to_json()["difference"]["stage"] == report.stage
    return report.stage, report.difference.index, report.difference.what


def after(house: House, tmp_path: Path, change: Change) -> tuple[str, int | None, str]:
    with copied(house, tmp_path) as root:
        rewrite(root, change)
        return found(root)


def delta_with(index: int, edit: Callable[[list[Any]], None]) -> Change:
    def change(rows: list[Row]) -> list[Row]:
        value = cbor2.loads(rows[index].entry.delta)
        edit(value)
        entry = replace(rows[index].entry, delta=cbor2.dumps(value))
        return [*rows[:index], replace(rows[index], entry=entry), *rows[index + 1 :]]

    return change


def leaf_with(index: int, **changes: Any) -> Change:
    def change(rows: list[Row]) -> list[Row]:
        leaf = parse_leaf(rows[index].entry.leaf)
        entry = replace(rows[index].entry, leaf=leaf._replace(**changes).encode())
        return [*rows[:index], replace(rows[index], entry=entry), *rows[index + 1 :]]

    return change


def tick_of(rows: Sequence[Row]) -> int:
    return next(
        index
        for index, row in enumerate(rows)
        if isinstance(leaf := parse_leaf(row.entry.leaf), AdminLeaf) and leaf.kind == 8
    )


# --- honest -------------------------------------------------------------------------------------


def test_an_honest_directory_passes(house: House) -> None:
    stages: list[str] = []
    report = audit(house.root, progress=lambda stage, *_: stages.append(stage))
    assert report.ok, report.to_json()
    assert report.counts.reappraised == 30 and report.counts.administration == 21
    assert report.ticks >= 5 and report.log_size == report.entries == report.covered == 51
    assert set(stages) == {"journal", "entries", "tree", "log"}


def test_it_is_the_same_again_and_without_snapshots(house: House, tmp_path: Path) -> None:
    """Law 3: the same journal comes to the same verdicts, as often as it is asked."""
    with copied(house, tmp_path) as root:
        shutil.rmtree(root / "snapshots")
        assert audit(root).to_json() == audit(house.root).to_json()


def test_it_runs_beside_the_aggregator(house: House, tmp_path: Path) -> None:
    with copied(house, tmp_path) as root, Aggregator(root, clock=house.clock) as aggregator:
        house.take(aggregator, house.pack("chatty", 20))
        assert audit(root).ok


def test_a_rewritten_but_equal_journal_passes(house: House, tmp_path: Path) -> None:
    with copied(house, tmp_path) as root:
        rewrite(root, lambda rows: rows)
        assert audit(root).ok


def erase(house: House, root: Path, name: str) -> None:
    with Aggregator(root, clock=house.clock) as aggregator:
        device = aggregator.fold.registry.device(house.devices[name].did)
        assert device is not None
        aggregator.erase(device)
        house.take(aggregator, house.pack(name, 50.5, 1))


@pytest.mark.parametrize("name", ["one", "two", "gate"])
def test_what_was_erased_leaves_the_audit_whole(house: House, tmp_path: Path, name: str) -> None:
    with copied(house, tmp_path) as root:
        erase(house, root, name)
        report = audit(root)
        assert report.ok, report.to_json()
        assert report.counts.erased >= 4 and report.counts.reappraised < 30


def _repeat(house: House, aggregator: Aggregator, first: str, second: str, size: int = 32) -> None:
    """The readings of one device, word for word again from another, in packs of a size."""
    now = house.clock.ms // 1000
    values = [reading("laeq", 40 + i / 2, "dB", now - 40 + i) for i in range(32)]
    for name in (first, second):
        for at in range(0, 32, size):
            pack = house.devices[name].sign(values[at : at + size], network=house.did)
            house.take(aggregator, pack)
            house.clock.ms += 60_000


def test_a_copy_in_small_packs_of_erased_values_stays_refused(tmp_path: Path) -> None:
    house = build(tmp_path)
    with house.aggregator() as aggregator:
        house.clock.ms += 3_600_000
        _repeat(house, aggregator, "chatty", "stranger", 4)
        refused = aggregator.fold.tally.verdicts["content.repeated"]
        assert refused >= 2
    assert audit(house.root).ok
    erase(house, house.root, "chatty")
    report = audit(house.root)
    assert report.ok and report.counts.undecidable == refused, report.to_json()


def test_a_copy_of_erased_values_stays_refused(tmp_path: Path) -> None:
    house = build(tmp_path)
    with house.aggregator() as aggregator:
        house.clock.ms += 3_600_000
        _repeat(house, aggregator, "chatty", "stranger")
        assert aggregator.fold.tally.verdicts.get("content.repeated") == 1
    assert audit(house.root).ok
    erase(house, house.root, "chatty")
    report = audit(house.root)
    assert report.ok and report.counts.undecidable == 1, report.to_json()


# --- tampered entries ---------------------------------------------------------------------------


def test_flipped_verdicts(house: House, tmp_path: Path) -> None:
    def accept(value: list[Any]) -> None:
        value[11][0] = value[11][1] = "accepted"

    def refuse(value: list[Any]) -> None:
        value[11][:2] = ["rejected", "device.revoked"]

    assert after(house, tmp_path, delta_with(FORKED, accept)) == ("entries", FORKED, "outcome")
    assert after(house, tmp_path, delta_with(ACCEPTED, refuse)) == ("entries", ACCEPTED, "outcome")


def test_state_changes(house: House, tmp_path: Path) -> None:
    def more(value: list[Any]) -> None:
        value[11][6] += 1

    def tokens(value: list[Any]) -> None:
        value[7][0] += 1000

    def unsuspended(value: list[Any]) -> None:
        value[10] = False

    assert after(house, tmp_path, delta_with(IMPOSSIBLE, more))[1:] == (IMPOSSIBLE, "readings")
    assert after(house, tmp_path, delta_with(CARRIED, tokens))[1:] == (CARRIED, "delta")
    assert after(house, tmp_path, delta_with(FORKED, unsuspended))[1:] == (FORKED, "delta")


def test_changed_leaves(house: House, tmp_path: Path) -> None:
    for change, what in (
        ({"level": "D2"}, "leaf level"),
        ({"flags": ("late",)}, "leaf flags"),
        ({"policy": bytes(16)}, "leaf policy"),
        ({"device": bytes(16)}, "leaf device"),
        ({"records": bytes(32)}, "leaf records"),
        ({"envelope": bytes(32)}, "leaf envelope"),
        ({"n": 3}, "leaf n"),
    ):
        got = after(house, tmp_path, leaf_with(ACCEPTED, **change))
        assert got == ("entries", ACCEPTED, what)


def test_dropped_swapped_and_doubled_entries(house: House, tmp_path: Path) -> None:
    drop = after(house, tmp_path, lambda rows: rows[:ACCEPTED] + rows[ACCEPTED + 1 :])
    assert drop[0] == "entries" and drop[1] == ACCEPTED
    swap = after(
        house,
        tmp_path,
        lambda rows: [*rows[:ACCEPTED], rows[8], rows[7], *rows[9:]],
    )
    assert swap[0] == "entries" and swap[1] == ACCEPTED
    tail = after(house, tmp_path, lambda rows: rows[:-1])
    assert tail == ("log", None, "size of the checkpoint")
    headless = after(house, tmp_path, lambda rows: rows[1:])
    assert headless == ("entries", 0, "kind")


def test_hidden_envelopes(house: House, tmp_path: Path) -> None:
    """A sealed part that is emptied, or keys destroyed, without an entry that says so."""

    def empty(rows: list[Row]) -> list[Row]:
        hidden = replace(rows[ACCEPTED], entry=replace(rows[ACCEPTED].entry, sealed=b""))
        return [*rows[:ACCEPTED], hidden, *rows[ACCEPTED + 1 :]]

    assert after(house, tmp_path, empty) == ("entries", ACCEPTED, "sealed part")
    with copied(house, tmp_path) as root:
        leaf = parse_leaf(rows_of(root)[ACCEPTED].entry.leaf)
        assert isinstance(leaf, EnvelopeLeaf)
        with KeyStore.open(Workspace(root).keys) as keys:
            keys.erase(leaf.device)
        stage, _, what = found(root)
    assert (stage, what) == ("entries", "keys")


def test_a_position_that_was_freed(house: House, tmp_path: Path) -> None:
    def free(rows: list[Row]) -> list[Row]:
        return [*rows[:-3], *[replace(row, position=None) for row in rows[-3:]]]

    stage, index, what = after(house, tmp_path, free)
    assert (stage, what) == ("entries", "consumed position") and index is not None


def test_another_policy(house: House, tmp_path: Path) -> None:
    """With the leaf changed to fit, the verdicts under it no longer do."""

    def lenient(rows: list[Row]) -> list[Row]:
        old = cbor2.loads(rows[1].entry.delta)
        policy = Policy.from_encoded(old[1]).model_copy(update={"default_profile": ""})
        delta, _ = encode_admin(PolicySet(policy.encoded, tuple(old[2])))
        leaf = AdminLeaf(2, parse_leaf(rows[1].entry.leaf).received_at, [policy.digest, 1])
        entry = replace(rows[1].entry, delta=delta, leaf=leaf.encode())
        return [rows[0], replace(rows[1], entry=entry), *rows[2:]]

    assert after(house, tmp_path, lenient)[1:] == (ACCEPTED, "leaf policy")
    bare = leaf_with(1, body=[bytes(32), 1])
    assert after(house, tmp_path, bare) == ("entries", 1, "leaf")


def test_time_that_goes_back(house: House, tmp_path: Path) -> None:
    at = tick_of(rows_of(house.root))
    early = leaf_with(at, received_at=house.clock.ms - 10_000_000)
    assert after(house, tmp_path, early) == ("entries", at, "receipt time")


def test_a_tick_with_another_root(house: House, tmp_path: Path) -> None:
    at = tick_of(rows_of(house.root))

    def lie(rows: list[Row]) -> list[Row]:
        value = cbor2.loads(rows[at].entry.delta)
        value[2] = bytes(32)
        entry = replace(rows[at].entry, delta=cbor2.dumps(value))
        rows = [*rows[:at], replace(rows[at], entry=entry), *rows[at + 1 :]]
        return leaf_with(at, body=[value[1], value[2]])(rows)

    stage, index, what = after(house, tmp_path, lie)
    assert (stage, index) == ("tree", at) and what.startswith("root at size")


def test_deltas_of_another_shape_are_differences(house: House, tmp_path: Path) -> None:
    def garble(value: list[Any]) -> None:
        value[5] = [0]

    def astray(value: list[Any]) -> None:
        value[1] = value[3] = 999

    for edit in (garble, astray):
        stage, index, _ = after(house, tmp_path, delta_with(IMPOSSIBLE, edit))
        assert (stage, index) == ("entries", IMPOSSIBLE)


# --- tampered files -----------------------------------------------------------------------------


def _flip(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("pattern", "at"),
    [
        ("public/log/tile/entries/000.p/51", 300),
        ("public/log/tile/0/000.p/51", 32 * 7),
        ("public/log/checkpoint", 60),
        ("public/log/checkpoint", -5),
        ("public/segments/entries-*.parquet", 1500),
        ("public/segments/readings-*.parquet", 400),
    ],
)
def test_public_files(house: House, tmp_path: Path, pattern: str, at: int) -> None:
    with copied(house, tmp_path) as root:
        (path,) = root.glob(pattern)
        _flip(path, at)
        assert found(root)[0] == "log"


def test_readings_that_were_left_out_under_the_pretext_of_erasure(
    house: House, tmp_path: Path
) -> None:
    with copied(house, tmp_path) as root:
        public = Workspace(root).public
        assert verify_dataset(public, keys=None).withheld == 0
        assert Dataset(public).rewrite_without([ACCEPTED]) == 1
        report = verify_dataset(public, keys=None)
        assert (report.closed, report.withheld) == (1, 1)
        assert found(root)[2] == "dataset.withheld"


def test_the_public_card(house: House, tmp_path: Path) -> None:
    with copied(house, tmp_path) as root:
        _flip(root / "public/card.cbor", 60)
        assert found(root)[0] == "card"
        (root / "public/card.cbor").unlink()
        assert found(root)[0] == "card"


def test_a_checkpoint_of_another_tree(house: House, tmp_path: Path) -> None:
    network = house.network
    card, signer = network.card, network.log_signer
    with copied(house, tmp_path) as root:
        lie = Checkpoint(card.log_origin, 51, bytes(32))
        note = sign_checkpoint(lie, card.log_origin, card.log_key.raw, signer.sign)
        (root / "public/log/checkpoint").write_text(note)
        assert found(root)[0] == "log"


def test_the_journal_s_bytes(house: House, tmp_path: Path) -> None:
    with copied(house, tmp_path) as root:
        (path,) = (root / "journal").glob("*.db")
        data = path.read_bytes()
        at = data.index(rows_of(root)[ACCEPTED].entry.leaf) + 40
        _flip(path, at)
        assert found(root)[0] == "journal"


def test_a_whole_other_log_is_not_the_journal_s(house: House, tmp_path: Path) -> None:
    """Log and dataset are whole and signed by the right key, but of another history."""
    with copied(house, tmp_path / "a") as root, copied(house, tmp_path / "b") as other:
        for path, value in ((root, 20.5), (other, 21.5)):
            with Aggregator(path, clock=house.clock) as aggregator:
                house.take(aggregator, house.pack("stranger", value))
            assert audit(path).ok
        shutil.rmtree(root / "public")
        shutil.copytree(other / "public", root / "public")
        assert found(root) == ("log", None, "root of the checkpoint")
