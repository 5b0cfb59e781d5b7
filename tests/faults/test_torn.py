"""Pages, tiles and snapshots that were half written when the power went.

What was acknowledged had been synced, so only what came after it can be torn by a power cut; a disk
that loses synced pages is damage, and has to be said, never guessed around.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from depin_id.errors import DepinError, StateError
from tests.endtoend.world import environment
from tests.faults.children import START_MS, envelopes, message
from tests.operations.support import begin, check, speak
from tests.paths import ROOT
from tests.verify.net import Net
from verify.aggregator import Aggregator
from verify.audit import audit
from verify.operations.backup import backup
from verify.operations.restore import restore
from verify.rebuild import rebuild

ROUNDS = 12


def killed(what: str, root: Path, network: str, number: int) -> list[str]:
    """Run a child that is killed; gives its lines. The last may say that it was not."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.children", what, str(root), network, str(number)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    lines = done.stdout.split("\n")[:-1]
    assert done.returncode == -signal.SIGKILL or (lines and lines[-1].startswith("left"))
    return lines


@pytest.fixture
def site(tmp_path: Path) -> Net:
    """A closed directory with one device that has not spoken."""
    net = Net(tmp_path / "site")
    net.device()
    net.close()
    return net


def _all_there(root: Path, network: str, acknowledged: int, sent: int) -> None:
    """What was acknowledged is known, the rest is taken once, and audit passes."""
    device, data = envelopes(network, sent)
    with Aggregator(root, clock=lambda: START_MS) as aggregator:
        told = [aggregator.ingest([message(device, item)])[0] for item in data]
        again = [aggregator.ingest([message(device, item)])[0] for item in data]
    assert all(summary.duplicates == 1 for summary in told[:acknowledged])
    assert all(summary.duplicates + summary.accepted == 1 for summary in told)
    assert all(summary.duplicates == 1 and not summary.accepted for summary in again)
    check(root, network)


def _log_of(root: Path) -> Path:
    (found,) = (root / "journal").glob("*-wal")
    return found


def test_a_torn_end_of_the_log_loses_nothing_that_was_acknowledged(
    site: Net, tmp_path: Path
) -> None:
    said = [int(line) for line in killed("ingest", site.root, site.did, ROUNDS)]
    synced = said[-1]
    dice = random.Random(20261)
    whole = _log_of(site.root).read_bytes()
    assert len(said) == ROUNDS and len(whole) >= synced > 0
    beyond = whole[synced:] or whole[-4120:]
    tears: list[Callable[[], bytes]] = [
        lambda: whole[:synced],
        lambda: whole[:synced] + beyond[: dice.randrange(1, len(beyond))],
        lambda: whole[:synced] + dice.randbytes(4120 + 17),
        lambda: whole[:synced] + whole[32 : 32 + 4120],  # a frame from before, as stale blocks are
        lambda: whole[:synced] + bytes(8192),
    ]
    for number, tear in enumerate(tears):
        root = tmp_path / f"torn-{number}"
        shutil.copytree(site.root, root)
        _log_of(root).write_bytes(tear())
        _all_there(root, site.did, ROUNDS, ROUNDS + 1)


def test_a_page_torn_while_the_log_is_folded_in_comes_from_the_log(
    site: Net, tmp_path: Path
) -> None:
    killed("ingest", site.root, site.did, ROUNDS)
    log = _log_of(site.root)
    path = log.with_name(log.name.removesuffix("-wal"))
    data = log.read_bytes()
    page_size = int.from_bytes(data[8:12], "big")
    pages = {
        int.from_bytes(data[at : at + 4], "big") for at in range(32, len(data), page_size + 24)
    }
    held = bytearray(path.read_bytes())
    torn = 0
    for page in sorted(pages):
        start = (page - 1) * page_size
        if start + page_size <= len(held) and page != 1:
            held[start + page_size // 2 : start + page_size] = b"\xff" * (page_size // 2)
            torn += 1
    assert torn
    path.write_bytes(bytes(held))
    _all_there(site.root, site.did, ROUNDS, ROUNDS + 1)


@pytest.mark.parametrize("damage", ["cut", "zeros", "log"])
def test_a_synced_page_that_the_disk_lost_is_said_and_restored(damage: str, tmp_path: Path) -> None:
    """Beyond what a program can prevent: it must not go on as if nothing were missing."""
    net = Net(tmp_path / "site")
    device = begin(net)
    backup(net.root, tmp_path / "copy", keys=tmp_path / "keys")
    sent = speak(net, device, 30)
    net.aggregator.publish()
    shutil.copytree(net.root / "public", tmp_path / "public")
    if damage == "log":
        # The process still runs: everything since the start is in the log alone.
        shutil.copytree(net.root, tmp_path / "damaged")
        net.close()
        shutil.rmtree(net.root)
        (tmp_path / "damaged").rename(net.root)
        log = _log_of(net.root)
        log.write_bytes(log.read_bytes()[: 32 + 4120 * 3])
    else:
        net.close()
        path = net.root / "journal" / "journal-000001.db"
        data = path.read_bytes()
        cut = data[:-4096]
        path.write_bytes(cut if damage == "cut" else cut[:-8192] + bytes(12_288))
    with pytest.raises(DepinError) as caught:
        net._open()
        audit(net.root)
    assert caught.value.code in ("state.corrupt", "state.rewrites_log"), caught.value
    shutil.rmtree(net.root)
    made = restore(
        tmp_path / "copy", net.root, keys=tmp_path / "keys", published=tmp_path / "public"
    )
    assert made.missing == 0 and made.entries > made.backup_entries
    net.reopen()
    assert net.send(device, *sent).duplicates == len(sent)
    net.close()
    check(net.root, net.did)


@pytest.mark.parametrize("number", [0, 3, 9, 21, 38, 52])
def test_killed_while_files_get_their_names_it_comes_back_by_itself(number: int, site: Net) -> None:
    lines = killed("publish", site.root, site.did, number)
    acknowledged = lines.count("acknowledged")
    assert acknowledged < 12, f"it was not killed: {lines[-1]}"
    _all_there(site.root, site.did, acknowledged, 12)


def _half(path: Path) -> None:
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data[: len(data) // 2])


def test_half_written_files_of_every_kind(site: Net, tmp_path: Path) -> None:
    """Our own writes are whole or absent; a disk may still hand back half of a file.

    Snapshots and leftovers are looked over by themselves. What is public says what is wrong, and
    `rebuild` makes it again from the journal.
    """
    device, sent = envelopes(site.did, 8)
    with Aggregator(site.root, clock=lambda: START_MS) as aggregator:
        for data in sent:
            aggregator.ingest([message(device, data)])
        aggregator.publish()
    folder = site.root / "public"
    size = max(int(p.name) for p in (folder / "log" / "tile" / "0" / "000.p").iterdir())
    kinds = {
        "snapshot": next((site.root / "snapshots").iterdir()),
        "tile": folder / "log" / "tile" / "0" / "000.p" / str(size),
        "bundle": folder / "log" / "tile" / "entries" / "000.p" / str(size),
        "entries": next((folder / "segments").glob("entries-*")),
        "readings": next((folder / "segments").glob("readings-*")),
        "checkpoint": folder / "log" / "checkpoint",
    }
    by_themselves = {"snapshot"}
    for kind, path in kinds.items():
        root = tmp_path / kind
        shutil.copytree(site.root, root)
        _half(root / path.relative_to(site.root))
        for leftover in ("journal/journal-000002.db.tmp", "public/log/tile/0/000.p/.tmp-x"):
            (root / leftover).write_bytes(b"half")
        if kind not in by_themselves:
            report = audit(root)
            assert not report.ok, kind
            rebuild(root)
        _all_there(root, site.did, 8, 9)


def test_a_checkpoint_that_cannot_be_read_does_not_let_the_log_shrink(site: Net) -> None:
    """Half a checkpoint still promised something: the tiles say how far."""
    device, sent = envelopes(site.did, 4)
    older = site.root.parent / "older"
    shutil.copytree(site.root / "journal", older)
    with Aggregator(site.root, clock=lambda: START_MS) as aggregator:
        for data in sent:
            aggregator.ingest([message(device, data)])
    shutil.rmtree(site.root / "journal")
    older.rename(site.root / "journal")
    (site.root / "public" / "log" / "checkpoint").write_bytes(b"")
    with pytest.raises(StateError) as caught:
        Aggregator(site.root)
    assert caught.value.code == "state.rewrites_log"
