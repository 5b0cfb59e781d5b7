"""What every release wrote is opened, audited, continued and rebuilt by this one."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from depin_id.testing import NOW, TestDevice
from tests.operations.golden import FOLDER, NEWEST, tell, unpack
from tests.operations.support import check, tree
from tests.verify.net import level
from verify.aggregator import Aggregator
from verify.audit import audit
from verify.ingest import Message
from verify.reading import Reader
from verify.rebuild import rebuild
from verify.store import Journal
from verify.store.journal_schema import SCHEMA

FILES = sorted(FOLDER.glob("aggregator-v*.tar.xz"))
LATER_MS = (NOW + 3600) * 1000


def test_every_schema_version_up_to_this_one_is_kept() -> None:
    versions = [int(re.findall(r"-v(\d+)\.", path.name)[0]) for path in FILES]
    assert versions == list(range(1, SCHEMA + 1))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_a_golden_directory_works_on(file: Path, tmp_path: Path) -> None:
    root = unpack(file, tmp_path / "agg")
    if file != NEWEST:
        pytest.skip("older versions are migrated first: see test_migrate")
    before = tree(root / "public" / "log")
    journal = tree(root / "journal")
    with Reader(root) as reader:
        network, entries = reader.fold.card.network, reader.size
        assert reader.fold.tally.verdicts["sequence.forked"] == 1
        assert sum(device.erased for device in reader.fold.registry) == 1
    with Aggregator(root, clock=lambda: LATER_MS) as opened:
        assert opened.quarantine.counts().parked == 1
        opened.publisher.publish_dataset()
    assert tree(root / "public" / "log") == before
    assert check(root, network) == entries
    # Rebuilt from nothing but the journal, everything public is what it was, byte for byte.
    segments = tree(root / "public" / "segments")
    for folder in (root / "public" / "log", root / "public" / "segments", root / "snapshots"):
        shutil.rmtree(folder)
    assert rebuild(root).checkpoint.size == entries
    made = tree(root / "public" / "log")
    assert made.items() <= before.items()  # older partial tiles are not made again
    assert {"checkpoint", f"tile/0/000.p/{entries}", f"tile/entries/000.p/{entries}"} == set(made)
    assert tree(root / "public" / "segments") == segments
    sealed = {name: digest for name, digest in journal.items() if "000003" not in name}
    assert sealed.items() <= tree(root / "journal").items()
    _continue(root, network)
    assert check(root, network) == entries + 2


def _continue(root: Path, network: str) -> None:
    """What was taken is known, and the next position counts."""
    device = TestDevice(network, "device", seed="net")
    told = []
    for number in range(6):
        told.append(device.next([level(50 + number, NOW + 2 * number)]))
    now = LATER_MS
    with Aggregator(root, clock=lambda: now) as opened:
        assert opened.fold.registry.device(device.did) is not None
        head = opened.fold.state.streams.find(device.key.thumbprint, 0)
        assert head is not None
        mark = opened.fold.state.streams.mark(head)
        assert mark is not None
        fresh = device.envelope([level(55, NOW + 3500)], n=mark.n + 1, prev=mark.head)
        message = Message(fresh, device.key.kid.hex(), now, "test", None)
        assert opened.ingest([message])[0].accepted == 1
        assert opened.ingest([message])[0].duplicates == 1


def test_the_same_story_is_written_the_same_way_today(tmp_path: Path) -> None:
    """Leaves, deltas and sealed parts are a format: whoever changes them adds a version."""
    root = unpack(NEWEST, tmp_path / "kept")
    net = tell(tmp_path / "told")
    with (
        Journal.open(root / "journal", read_only=True) as kept,
        Journal.open(net.root / "journal", read_only=True) as told,
    ):
        assert list(kept.entries()) == list(told.entries())
        assert [info.digest for info in kept.files()] == [info.digest for info in told.files()]
    assert tree(root / "public" / "log") == tree(net.root / "public" / "log")


def test_a_changed_byte_in_a_golden_journal_is_found(tmp_path: Path) -> None:
    root = unpack(NEWEST, tmp_path / "agg")
    path = root / "journal" / "journal-000001.db"
    with Journal.open(root / "journal", read_only=True) as journal:
        leaf = journal.entry(8).leaf
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data.replace(leaf, leaf[:-1] + bytes([leaf[-1] ^ 1])))
    path.chmod(0o444)
    report = audit(root)
    assert not report.ok and report.stage == "journal"
