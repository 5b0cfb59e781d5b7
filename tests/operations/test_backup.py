"""Backup and restore: nothing that was published is ever taken back."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import verify.operations.backup as backups
from depin_id.errors import DepinError, StateError
from depin_id.readings import Reading, reading
from tests.operations.support import begin, check, speak, tree
from tests.verify.net import Net, level
from verify.aggregator import Aggregator
from verify.operations.backup import backup
from verify.operations.recover import Material
from verify.operations.restore import restore
from verify.reading import Reader
from verify.receipt import check_receipt, make_receipt


def refused(code: str, call: Callable[[], object]) -> DepinError:
    with pytest.raises(DepinError) as caught:
        call()
    assert caught.value.code == code, caught.value
    assert caught.value.hint
    return caught.value


POLICY_LATER = 'default_profile = "noise"\n[quota]\ndevice_per_minute = 900\n'


def said(net: Net, value: float) -> list[Reading]:
    return [level(value, net.now_ms / 1000)]


class Disaster:
    """A network whose aggregator was backed up, went on, and was lost but for what it published."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.net = Net(folder / "live")
        self.device = begin(self.net)
        self.copy, self.keys = folder / "copy", folder / "keys"
        self.target = folder / "again"

    def back_up(self) -> None:
        backup(self.net.root, self.copy, keys=self.keys)

    def lose(self) -> Path:
        """Everything but what is public."""
        self.net.close()
        self.public = self.folder / "public"
        shutil.copytree(self.net.root / "public", self.public)
        shutil.rmtree(self.net.root)
        return self.public

    def reopen(self) -> Net:
        """The restored directory in the place of the lost one."""
        self.target.rename(self.net.root)
        self.net.aggregator = self.net._open()
        return self.net


@pytest.fixture
def disaster(tmp_path: Path) -> Disaster:
    return Disaster(tmp_path)


def test_a_restored_backup_goes_on_as_if_nothing_had_been(disaster: Disaster) -> None:
    net, device = disaster.net, disaster.device
    net.send("somebody", net.make("stranger").next())
    net.aggregator.journal.rotate()
    sent = speak(net, device, 2)
    net.aggregator.publish()
    (net.root / "witnesses.toml").write_text("quorum = 0\n")
    disaster.back_up()
    public = disaster.lose()
    made = restore(disaster.copy, disaster.target, keys=disaster.keys, published=public)
    assert (made.missing, made.read_only) == (0, False)
    assert made.entries == made.backup_entries >= made.published > 0
    again = disaster.reopen()
    assert (again.root / "witnesses.toml").read_text() == "quorum = 0\n"
    assert again.aggregator.quarantine.counts().parked == 1
    assert again.send(device, *sent).duplicates == 2
    speak(again, device, 2)
    again.close()
    check(again.root, again.did)
    # The tiles that anyone has are a prefix of those that are served now.
    before = {k: v for k, v in tree(public / "log").items() if ".p/" not in k and k != "checkpoint"}
    assert before.items() <= tree(again.root / "public" / "log").items()


def test_backing_up_a_running_aggregator_is_consistent_and_incremental(tmp_path: Path) -> None:
    copy, keys = tmp_path / "copy", tmp_path / "keys"
    with Net(tmp_path / "live") as net:
        device = begin(net)
        net.aggregator.journal.rotate()
        first = backup(net.root, copy, keys=keys)
        failures: list[BaseException] = []
        stop = threading.Event()

        def repeat() -> None:
            try:
                while not stop.is_set():
                    backup(net.root, copy, keys=keys)
            except BaseException as error:
                failures.append(error)

        worker = threading.Thread(target=repeat)
        worker.start()
        try:
            for number in range(40):
                speak(net, device, 1)
                if number % 10 == 9:
                    net.aggregator.journal.rotate()
        finally:
            stop.set()
            worker.join()
        assert not failures
        last = backup(net.root, copy, keys=keys, check_all=True)
        again = backup(net.root, copy, keys=keys)
        assert last.entries == net.size > first.entries
        assert again.copied < again.size and again.digest == last.digest
        sealed = [p for p in (copy / "journal").iterdir() if "000001" in p.name]
        assert len(sealed) == 1  # of every sealed file there is one copy, of the open one the last
        assert len(list((copy / "journal").glob("*.db.*"))) == len(net.aggregator.journal.files())
        public = net.root / "public"
        net.aggregator.publish()
        backup(net.root, copy, keys=keys)
        restore(copy, tmp_path / "again", keys=keys, published=public)
    with Aggregator(tmp_path / "again") as opened:
        assert opened.journal.size == last.entries
    check(tmp_path / "again", net.did)


def test_keys_are_apart_and_a_backup_alone_opens_nothing(disaster: Disaster) -> None:
    disaster.back_up()
    names = set(tree(disaster.copy))
    assert not [name for name in names if "key" in name.lower()]
    secret = (disaster.net.root / "keys" / "master.key").read_bytes()
    assert not [p for p in disaster.copy.rglob("*") if p.is_file() and secret in p.read_bytes()]
    assert all(p.stat().st_mode & 0o077 == 0 for p in disaster.copy.rglob("*") if p.is_file())
    root = disaster.net.root
    for inside in (root / "b", root, root.parent):
        refused("state.argument", partial(backup, root, inside))
    refused(
        "state.argument",
        lambda: backup(disaster.net.root, disaster.copy, keys=disaster.copy / "keys"),
    )
    disaster.lose()
    made = restore(disaster.copy, disaster.target, nothing_newer=True)
    assert not made.keys
    refused("state.missing", lambda: Reader(disaster.target))


def test_a_newer_backup_is_not_put_under_an_older_journal(disaster: Disaster) -> None:
    net = disaster.net
    older = disaster.folder / "older"
    net.aggregator.journal.rotate()
    backup(net.root, older, keys=disaster.folder / "older-keys")
    speak(net, disaster.device, 2)
    net.aggregator.journal.rotate()
    disaster.back_up()
    held = tree(disaster.copy)
    net.close()
    restore(older, disaster.target, keys=disaster.folder / "older-keys", nothing_newer=True)
    refused("state.ahead", lambda: backup(disaster.target, disaster.copy))
    with Net(disaster.folder / "other") as other:
        refused("state.foreign", lambda: backup(other.root, disaster.copy))
    assert tree(disaster.copy) == held
    (disaster.folder / "full").mkdir()
    (disaster.folder / "full" / "letter").write_text("mine")
    refused("state.exists", lambda: backup(disaster.target, disaster.folder / "full"))


def test_cut_off_it_leaves_the_older_backup_whole_and_can_be_repeated(
    disaster: Disaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cut(Exception):
        pass

    def cut(*_: Any) -> None:
        raise Cut

    for earlier in (False, True):  # the first backup of all, and one over an older one
        held = disaster.net.size if earlier else 0
        speak(disaster.net, disaster.device, 2)
        with monkeypatch.context() as patch, pytest.raises(Cut):
            patch.setattr(backups, "write_manifest", cut)
            disaster.back_up()
        if earlier:
            made = restore(disaster.copy, disaster.folder / "older", nothing_newer=True)
            assert made.entries == held
        disaster.back_up()
        assert backup(disaster.net.root, disaster.copy).entries == disaster.net.size
    again = disaster.folder / "again"
    leftover = disaster.folder / ".again.restoring"
    (leftover / "journal").mkdir(parents=True)
    restore(disaster.copy, again, keys=disaster.keys, nothing_newer=True)
    assert not leftover.exists()
    check(again, disaster.net.did)


def test_a_changed_backup_is_refused_and_leaves_nothing(disaster: Disaster) -> None:
    disaster.back_up()
    files = [p for p in disaster.copy.rglob("*") if p.is_file() and p.name != ".backup.lock"]
    assert len(files) > 5
    for path in files:
        data = path.read_bytes()
        path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
        with pytest.raises(StateError) as caught:
            restore(disaster.copy, disaster.target, nothing_newer=True)
        assert caught.value.code in ("state.corrupt", "state.manifest"), path
        path.unlink()
        with pytest.raises(StateError):
            restore(disaster.copy, disaster.target, nothing_newer=True)
        path.write_bytes(data)
    manifest = disaster.copy / "manifest.json"
    content = json.loads(manifest.read_text())
    content["files"][0]["path"] = "../outside"
    manifest.write_text(json.dumps(content))
    refused("state.manifest", lambda: restore(disaster.copy, disaster.target, nothing_newer=True))
    assert not any(disaster.target.iterdir()) and not list(disaster.folder.glob(".*restoring"))


def test_nobody_restores_without_saying_what_was_published(disaster: Disaster) -> None:
    disaster.back_up()
    refused("restore.unknown", lambda: restore(disaster.copy, disaster.target))
    disaster.target.mkdir(exist_ok=True)
    (disaster.target / "here").write_text("something")
    refused("state.exists", lambda: restore(disaster.copy, disaster.target, nothing_newer=True))


def test_what_was_published_since_is_made_again_byte_for_byte(disaster: Disaster) -> None:
    net, device = disaster.net, disaster.device
    late, sensor, gone = net.device("late"), net.device("sensor"), net.device("gone")
    gateway = net.gateway()
    for one in (late, sensor, gone):
        speak(net, one, 1)
    net.send(gateway, gateway.wrap(sensor.next(said(net, 40))))
    disaster.back_up()
    sent = speak(net, device, 3)
    net.policy(POLICY_LATER)
    inner = sensor.next(said(net, 41))
    outer = gateway.wrap(inner)
    assert net.send(gateway, outer).accepted == 1
    sent += [inner, outer, *speak(net, late, 2)]
    refused_one = device.next([reading("laeq", 10**6, "dB", net.now_ms / 1000)])
    net.send(device, refused_one, b"\x01")
    net.revoke(gone)
    net.advance(30)
    sent += [refused_one, *speak(net, device, 1)]
    fresh = net.rotate(late)
    sent += speak(net, fresh, 1)
    net.aggregator.publish()
    leaves = [entry.leaf for entry in net.aggregator.journal.entries()]
    public = disaster.lose()
    material = Material(
        policies=[net.policy_entry(POLICY_LATER)],
        keys=[fresh.key],
    )
    made = restore(
        disaster.copy, disaster.target, keys=disaster.keys, published=public, material=material
    )
    assert (made.missing, made.unsigned, made.read_only) == (0, 0, False)
    assert made.entries == len(leaves) > made.backup_entries
    again = disaster.reopen()
    assert [entry.leaf for entry in again.aggregator.journal.entries()] == leaves
    counted = again.send(device, *sent)
    assert counted.accepted == 0 and counted.duplicates == len(sent)
    speak(again, device, 1)
    again.close()
    check(again.root, again.did)


def test_what_cannot_be_made_again_is_named_and_nothing_signs(disaster: Disaster) -> None:
    net = disaster.net
    disaster.back_up()
    held = net.size
    speak(net, disaster.device, 1)
    net.device("newcomer")
    speak(net, disaster.device, 1)
    net.aggregator.publish()
    size = net.size
    public = disaster.lose()
    how: dict[str, Any] = {"keys": disaster.keys, "published": public}
    error = refused("restore.behind", lambda: restore(disaster.copy, disaster.target, **how))
    assert f"[{held + 1}, {size}) are missing" in error.message
    assert f"entry {held + 1} (enrol)" in error.message and "is not in this backup" in error.message
    assert "1 enrol" in error.message and "1 were made again" in error.message
    assert not any(disaster.target.iterdir())
    # A copy of the log may come from anywhere: what it links to is not published.
    (public / "log" / "tile" / "0" / "linked").symlink_to(disaster.keys / "manifest.json")
    (public / "log" / "tile" / "folder").symlink_to(disaster.keys)
    made = restore(disaster.copy, disaster.target, read_only=True, **how)
    assert not {"linked", "folder"} & {path.name for path in disaster.target.rglob("*")}
    assert made.read_only and made.missing == size - held - 1
    before = tree(disaster.target / "public")
    refused("state.rewrites_log", lambda: Aggregator(disaster.target))
    assert tree(disaster.target / "public") == before
    with Reader(disaster.target) as reader:
        assert reader.size == held + 1
        assert reader.checkpoint() is not None


def test_only_a_checkpoint_is_enough_to_refuse(disaster: Disaster) -> None:
    net = disaster.net
    disaster.back_up()
    speak(net, disaster.device, 2)
    net.aggregator.publish()
    seen = disaster.folder / "witness"
    seen.write_bytes((net.root / "public" / "log" / "checkpoint").read_bytes())
    disaster.lose()
    how: dict[str, Any] = {"keys": disaster.keys, "checkpoints": [seen]}
    error = refused("restore.behind", lambda: restore(disaster.copy, disaster.target, **how))
    assert "only a checkpoint" in error.message
    restore(disaster.copy, disaster.target, read_only=True, **how)
    refused("state.rewrites_log", lambda: Aggregator(disaster.target))


def test_without_its_segments_envelopes_come_from_spools(disaster: Disaster) -> None:
    net = disaster.net
    disaster.back_up()
    sent = speak(net, disaster.device, 3)
    net.aggregator.publish()
    public = disaster.lose()
    shutil.rmtree(public / "segments")
    how: dict[str, Any] = {"keys": disaster.keys, "published": public}
    error = refused("restore.behind", lambda: restore(disaster.copy, disaster.target, **how))
    assert "no segment holds its envelope" in error.message
    # Other bytes at the same position are not what was published.
    other = disaster.device.envelope(said(net, 77), n=3)
    wrong = Material(envelopes=[other, b"junk"])
    refused(
        "restore.behind", lambda: restore(disaster.copy, disaster.target, material=wrong, **how)
    )
    made = restore(disaster.copy, disaster.target, material=Material(envelopes=sent), **how)
    assert made.missing == 0
    again = disaster.reopen()
    again.close()
    check(again.root, again.did)


def test_another_history_is_refused_and_the_first_difference_named(disaster: Disaster) -> None:
    net, device = disaster.net, disaster.device
    net.close()
    shutil.copytree(net.root, disaster.folder / "twin")
    net.reopen()
    forked = net.size
    speak(net, device, 2)
    net.aggregator.publish()
    public = disaster.folder / "public"
    shutil.copytree(net.root / "public", public)
    net.close()
    shutil.rmtree(net.root)
    shutil.copytree(disaster.folder / "twin", net.root)
    net.reopen()
    speak(net, net.device("twin"), 4)
    disaster.back_up()
    how: dict[str, Any] = {"keys": disaster.keys, "published": public}
    error = refused("restore.forked", lambda: restore(disaster.copy, disaster.target, **how))
    assert f"entry {forked} is the first that differs" in error.message
    refused(
        "restore.forked", lambda: restore(disaster.copy, disaster.target, read_only=True, **how)
    )
    net.close()


def test_a_checkpoint_of_somebody_else_says_nothing(disaster: Disaster) -> None:
    disaster.back_up()
    with Net(disaster.folder / "other") as other:
        note = other.root / "public" / "log" / "checkpoint"
        refused(
            "log.signature",
            lambda: restore(disaster.copy, disaster.target, checkpoints=[note]),
        )


def test_erased_stays_erased_after_an_older_backup(disaster: Disaster) -> None:
    net, device = disaster.net, disaster.device
    other = net.device("other")
    speak(net, other, 2)
    disaster.back_up()
    net.erase(other)
    net.aggregator.publish()
    public = disaster.lose()
    made = restore(disaster.copy, disaster.target, keys=disaster.keys, published=public)
    assert made.missing == 0 and made.entries > made.backup_entries
    again = disaster.reopen()
    ref = again.fold.state.subjects[again.fold.state.by_did[other.did]].ref
    assert again.aggregator.keys.erased(ref)
    speak(again, device, 1)
    again.close()
    check(again.root, again.did)


def test_an_erasure_while_copying_copies_keys_and_journal_again(
    disaster: Disaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = disaster.net
    other = net.device("other")
    speak(net, other, 1)
    real = backups._copy_keys
    rounds: list[int] = []

    def meanwhile(*arguments: Any) -> None:
        if not rounds:
            net.erase(other)
        rounds.append(1)
        real(*arguments)

    monkeypatch.setattr(backups, "_copy_keys", meanwhile)
    disaster.back_up()
    assert len(rounds) == 2
    net.aggregator.publish()
    public = disaster.lose()
    restore(disaster.copy, disaster.target, keys=disaster.keys, published=public)
    again = disaster.reopen()
    again.close()
    check(again.root, again.did)


def test_a_receipt_from_before_the_disaster_holds_after_it(disaster: Disaster) -> None:
    net = disaster.net
    speak(net, disaster.device, 2)
    net.aggregator.publish()
    with Reader(net.root) as reader:
        receipt = make_receipt(reader, net.size - 1)
    disaster.back_up()
    public = disaster.lose()
    restore(disaster.copy, disaster.target, keys=disaster.keys, published=public)
    assert check_receipt(receipt, network=net.did).to_json()["verdict"] == "accepted"
