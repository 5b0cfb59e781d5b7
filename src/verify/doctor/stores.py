"""Journal, log, snapshots, quarantine: do they open, and do they agree?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from depin_id.errors import DepinError
from depin_id.network import load_card
from depin_id.networkdir import CARD_FILE
from verify.aggregator import HEARTBEAT_MS
from verify.doctor.diagnosis import Diagnosis, Setup, of_error
from verify.doctor.machine import holder
from verify.leaf import parse_leaf
from verify.log import NoteKey, read_checkpoint
from verify.log.tiles import TileLog
from verify.store import Journal, KeyStore
from verify.waiting_room import QUARANTINE_BYTES

SNAPSHOT_BEHIND = 1_000_000
WAL_BYTES = 256 << 20
CLOCK_BACK_MS = 5_000
_SNAPSHOT = re.compile(r"state-([0-9]{12})-[0-9a-f]{32}\.snapshot")


def check_journal(setup: Setup) -> Iterator[Diagnosis]:
    """The journal opens, with every file's head and last batch; all of it when asked."""
    work = setup.workspace
    with Journal.open(work.journal, read_only=True, traceless=True) as journal:
        if setup.deep:
            journal.verify()
        size = journal.size
        last = journal.entry(size - 1) if size else None
    if last is not None:
        yield from _clock(setup, parse_leaf(last.leaf).received_at)
    for path in sorted(work.journal.glob("*-wal")):
        used = path.stat().st_size
        if used > WAL_BYTES:
            yield Diagnosis(
                "journal.wal",
                "warning",
                f"its write-ahead log has {used >> 20} MiB: something reads it without end",
                str(path),
                "end long running readers (tail, audit, backups), or restart the aggregator",
            )
    newest = max(
        (int(m[1]) for m in map(_SNAPSHOT.fullmatch, _names(work.snapshots)) if m), default=0
    )
    if size - newest > SNAPSHOT_BEHIND:
        yield Diagnosis(
            "snapshot.behind",
            "warning",
            f"{size - newest} entries are newer than the newest snapshot: the next start is slow",
            str(work.snapshots),
            "restart the aggregator when it is convenient: it takes one when it ends",
        )


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*")] if folder.is_dir() else []


def _clock(setup: Setup, last_ms: int) -> Iterator[Diagnosis]:
    now = setup.now_ms()
    if last_ms - now > CLOCK_BACK_MS:
        yield Diagnosis(
            "clock.behind_log",
            "error",
            f"the clock is {(last_ms - now) / 1000:.0f} s behind the newest entry",
            str(setup.workspace.journal),
            "set it right: until then everything counts as received at that entry's time",
        )
    elif holder(setup) is not None and now - last_ms > 4 * HEARTBEAT_MS:
        yield Diagnosis(
            "journal.silent",
            "warning",
            f"an aggregator runs, and the newest entry is {(now - last_ms) // 1000} s old",
            str(setup.workspace.journal),
            "look at its messages: it beats every five minutes; the clock may have jumped ahead",
        )


def check_key_store(setup: Setup) -> Iterator[Diagnosis]:
    """The key store opens with its master key."""
    with KeyStore.open(setup.workspace.keys, read_only=True, traceless=True):
        yield from ()


def check_log(setup: Setup) -> Iterator[Diagnosis]:
    """The published log: signed by the card's key, of this journal, and not behind it."""
    work = setup.workspace
    card, _ = load_card(work.operating / CARD_FILE)
    key = NoteKey(card.log_origin, card.log_key.raw)
    if not (work.log / "checkpoint").exists():
        hint = "start the aggregator, or `depin-verify rebuild`"
        yield Diagnosis("log.none", "warning", "nothing is published yet", str(work.log), hint)
        return
    checkpoint = read_checkpoint(work.log, key.name, [key])
    with Journal.open(work.journal, read_only=True, traceless=True) as journal:
        size = journal.size
        leaf = journal.entry(checkpoint.size - 1).leaf if 0 < checkpoint.size <= size else None
    log = TileLog(work.log, card.log_origin, size=checkpoint.size)
    if checkpoint.size > size or (leaf is not None and log.leaf(checkpoint.size - 1) != leaf):
        yield Diagnosis(
            "state.rewrites_log",
            "error",
            f"the journal has {size} entries and does not continue the published log of "
            f"{checkpoint.size}",
            str(work.journal),
            "restore the newest journal; a published log is never rewritten",
        )
    elif log.root() != checkpoint.root:
        hint = "`depin-verify rebuild` sets damaged tiles aside and makes them again"
        what = "the tiles do not give the root that the checkpoint signs"
        yield Diagnosis("log.tile", "error", what, str(work.log), hint)
    elif checkpoint.size < size and holder(setup) is None:
        what = f"{size - checkpoint.size} entries of the journal are not published"
        hint = "start the aggregator, or `depin-verify rebuild`"
        yield Diagnosis("log.behind", "warning", what, str(work.log), hint)


def check_backlog(setup: Setup) -> Iterator[Diagnosis]:
    """What waits: bytes of unknown devices, and requests that nobody answers."""
    work = setup.workspace
    parked = 0
    if work.quarantine.is_dir():
        parked = sum(path.stat().st_size for path in work.quarantine.iterdir() if path.is_file())
    if parked > QUARANTINE_BYTES * 4 // 5:
        yield Diagnosis(
            "quarantine.full",
            "warning",
            f"{parked >> 20} MiB wait for enrolment or attestation; soon more is dropped",
            str(work.quarantine),
            "enrol those that belong here, let those attest that have to (`depin-verify "
            "attestations`); look at the broker's log for who sends the rest",
        )
    if not work.control.is_dir():
        return
    now_s = setup.now_ms() / 1000
    waiting = [p for p in work.control.glob("*.request") if now_s - p.stat().st_mtime > 60]
    if waiting:
        yield Diagnosis(
            "control.waiting",
            "warning",
            f"{len(waiting)} requests wait for an aggregator that does not answer",
            str(work.control),
            "start the aggregator; or remove them if nobody means them any more",
        )


def try_check(check: Iterator[Diagnosis], where: object) -> list[Diagnosis]:
    """All that a check finds; an error of ours is a finding too."""
    found: list[Diagnosis] = []
    try:
        found.extend(check)
    except DepinError as error:
        found.append(of_error(error, where))
    except OSError as error:
        what = str(error.strerror or error)
        found.append(Diagnosis("file.failed", "error", what, str(error.filename or where)))
    return found
