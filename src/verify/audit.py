"""Audit: from the journal alone, everything again, compared with everything that is stored.

It may run beside a running aggregator; it looks at the entries that were there when it began.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from depin_id.errors import DatasetError, DepinError
from depin_id.network import load_card
from verify.dataset import DatasetReport, verify_dataset
from verify.entries import ERASE, Erased, decode_delta, delta_kind
from verify.identity.histories_review import HistoriesReview
from verify.log import Checkpoint, NoteKey, leaf_hash
from verify.log.files import read_bounded
from verify.log.merkle import EMPTY_ROOT, Frontier
from verify.log.note import MAX_NOTE_BYTES
from verify.reappraise import Counts, Difference, Reappraiser, check_forgotten, difference_of
from verify.store import Journal, KeyStore
from verify.workspace import Workspace

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, in all)."""

_TRIES = 5
_EVERY = 1024
_T = TypeVar("_T")


@dataclass
class AuditReport:
    """What an audit found.

    Attributes:
        entries: of the journal when it began; all were looked at unless there is a difference.
        counts: what they were.
        histories: how many were held against their log.
        ticks: checkpoints named by entries, each compared with the tree at its size.
        files: of the journal.
        network: its DID.
        policy: digest of the policy in force, hex.
        log_size, log_root: of the published checkpoint; None without one.
        covered: the public segments hold the entries [0, covered).
        readings_published: rows of the public reading table.
        difference: the first thing that is not as it should be, or None.
        stage: the stage it was found in: journal, entries, tree, log or card.
    """

    entries: int = 0
    counts: Counts = field(default_factory=Counts)
    histories: HistoriesReview = field(default_factory=HistoriesReview)
    ticks: int = 0
    files: int = 0
    network: str = ""
    policy: str = ""
    log_size: int | None = None
    log_root: str = ""
    covered: int = 0
    readings_published: int = 0
    difference: Difference | None = None
    stage: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything is as it should be."""
        return self.difference is None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        found: dict[str, Any] = {
            "ok": self.ok,
            "network": self.network,
            "policy": self.policy,
            "entries": self.entries,
            **asdict(self.counts),
            "histories": {
                "checked": self.histories.checked,
                "unchecked": self.histories.unchecked,
            },
            "ticks": self.ticks,
            "journal_files": self.files,
            "log": {"size": self.log_size, "root": self.log_root},
            "dataset": {"covered": self.covered, "readings": self.readings_published},
        }
        if self.difference is not None:
            found["difference"] = {
                "stage": self.stage,
                "index": self.difference.index,
                "what": self.difference.what,
                "expected": self.difference.expected,
                "found": self.difference.found,
            }
        return found


def audit(root: Path, *, dids: Path | None = None, progress: Progress | None = None) -> AuditReport:
    """Audit an aggregator's directory, read-only.

    The journal's own chain; every verdict judged again; the Merkle tree against ticks, tiles and
    the signed checkpoint; the public segments against the log. Memory is that of the state.

    Args:
        dids: a folder of DIDs' files, to hold the histories that were taken against.
        progress: called with (stage, done, in all) now and then.

    Returns:
        The report; ``ok`` says whether nothing differs.

    Raises:
        StateError: ``state.missing``, ``state.permissions``, ``state.master_key``: the directory
            cannot be looked at at all; ``state.archived``: a file of the journal that is needed is
            in an archive. Everything else is in the report.
    """
    workspace = Workspace(Path(root))
    workspace.check()
    report = AuditReport()
    say: Progress = progress if progress is not None else lambda *_: None
    try:
        journal = Journal.open(workspace.journal, read_only=True)
    except DepinError as error:
        report.stage, report.difference = "journal", difference_of(error, None)
        return report
    with journal, KeyStore.open(workspace.keys, read_only=True) as keys:
        _run(_Audit(workspace, journal, keys, report, say, dids), report)
    return report


def _run(work: _Audit, report: AuditReport) -> None:
    stages: Sequence[tuple[str, Callable[[], None]]] = (
        ("journal", work.check_journal),
        ("entries", work.check_entries),
        ("tree", work.check_tree),
        ("card", work.check_card),
        ("log", work.check_public),
    )
    for name, stage in stages:
        report.stage = name
        try:
            stage()
        except Difference as difference:
            report.difference = difference
            return
        except DepinError as error:
            if error.code == "state.archived":
                raise  # nothing differs: it cannot be looked at from here
            report.difference = difference_of(error, work.at)
            return
    report.stage = ""


class _Audit:
    """The stages, in order; each needs the one before."""

    def __init__(
        self,
        workspace: Workspace,
        journal: Journal,
        keys: KeyStore,
        report: AuditReport,
        say: Progress,
        dids: Path | None = None,
    ) -> None:
        self._workspace = workspace
        self._journal = journal
        self._keys = keys
        self._report = report
        self._say = say
        self._work = Reappraiser(journal, keys, dids)
        self._roots: Mapping[int, bytes] = {}
        self.at: int | None = None
        report.entries = journal.size
        report.files = len(journal.files())
        report.network = journal.network
        report.counts = self._work.counts
        report.histories = self._work.histories

    def check_journal(self) -> None:
        """The journal's own chain of digests."""
        self._say("journal", 0, self._report.entries)
        self._journal.verify()
        self._say("journal", self._report.entries, self._report.entries)

    def check_entries(self) -> None:
        """Every entry judged again."""
        size = self._report.entries
        if size < 2:
            raise Difference(None, "genesis", "a card and a policy", f"{size} entries")
        for stored in self._journal.entries(0, size):
            self.at = stored.index
            self._work.take(stored)
            if stored.index % _EVERY == 0:
                self._say("entries", stored.index, size)
        self.at = None
        self._work.finish()
        self._say("entries", size, size)
        check_forgotten(self._work, self._erased_later)
        self._report.policy = self._work.fold.policy.digest.hex()

    def _erased_later(self) -> set[bytes]:
        self._journal.refresh()
        found: set[bytes] = set()
        for stored in self._journal.entries(self._report.entries):
            if delta_kind(stored.delta) == ERASE:
                entry = decode_delta(stored.delta, None, str)
                if isinstance(entry, Erased):
                    found.update(entry.refs)
        return found

    def check_tree(self) -> None:
        """The roots that ticks name are true roots of the tree at their sizes."""
        ticks = self._work.ticks
        self._roots = self._roots_at({size for _, size, _ in ticks}, self._report.entries)
        for index, size, root in ticks:
            if self._roots[size] != root:
                raise Difference(index, f"root at size {size}", self._roots[size], root)
        self._report.ticks = len(ticks)

    def _roots_at(self, sizes: set[int], stop: int) -> dict[int, bytes]:
        """Roots over the first leaves of the journal; memory is one hash a level and a root."""
        tree = Frontier()
        roots = {0: EMPTY_ROOT} if 0 in sizes else {}
        for stored in self._journal.entries(0, stop):
            tree.add(leaf_hash(stored.leaf))
            if tree.size in sizes:
                roots[tree.size] = tree.root()
            if stored.index % _EVERY == 0:
                self._say("tree", stored.index, stop)
        return roots

    def check_card(self) -> None:
        """The public card is the network's, and not older than the journal's."""
        own = self._work.fold.card
        card, data = load_card(self._workspace.card, network=own.network)
        if card.number < own.number or (
            card.number == own.number and data != self._work.fold.card_bytes
        ):
            raise Difference(None, "public card", own.number, card.number)

    def check_public(self) -> None:
        """Tiles, checkpoint and segments, against each other and against the journal."""
        card = self._work.fold.card
        keys = [NoteKey(card.log_origin, card.log_key.raw)]
        checked = self._steadily(lambda: self._verify(keys))
        if checked is None:
            return
        self._compare(checked.checkpoint)
        self._report.covered = checked.covered
        self._report.readings_published = checked.readings

    def _verify(self, keys: list[NoteKey]) -> DatasetReport:
        found = verify_dataset(
            self._workspace.public,
            keys=keys,
            progress=lambda done, total: self._say("log", done, total),
        )
        if found.withheld:
            raise DatasetError(
                "dataset.withheld",
                f"{found.withheld} entries are closed in the segments, and nobody erased them",
            )
        return found

    def _steadily(self, check: Callable[[], _T]) -> _T:
        """A running aggregator replaces partial tiles and segments: look again if it did."""
        for left in reversed(range(_TRIES)):
            before = self._published()
            try:
                return check()
            except DepinError:
                if left == 0 or before == self._published():
                    raise
        raise AssertionError("unreachable")

    def _published(self) -> tuple[bytes | None, list[tuple[str, int]]]:
        """What changes whenever the public files do."""
        folder = self._workspace.segments
        files: list[tuple[str, int]] = []
        for path in folder.glob("*.parquet"):
            with suppress(OSError):
                files.append((path.name, path.stat().st_mtime_ns))
        return read_bounded(self._workspace.log / "checkpoint", MAX_NOTE_BYTES), sorted(files)

    def _compare(self, checkpoint: Checkpoint) -> None:
        """The published tree is the journal's."""
        self._report.log_size, self._report.log_root = checkpoint.size, checkpoint.root.hex()
        # The journal is written before the log: a checkpoint is never ahead of it for good.
        self._journal.refresh()
        if checkpoint.size > self._journal.size:
            raise Difference(
                None, "size of the checkpoint", f"at most {self._journal.size}", checkpoint.size
            )
        roots = self._roots_at({checkpoint.size}, checkpoint.size)
        if roots[checkpoint.size] != checkpoint.root:
            raise Difference(
                None, "root of the checkpoint", roots[checkpoint.size], checkpoint.root
            )
