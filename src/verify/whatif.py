"""What another policy would have said: the journal judged again under it, and nothing written.

Two states grow side by side: the one that was, which opens what is stored, and the one that would
have been. Up to the first entry asked for they are the same; from there on the second is under the
new policy alone. What the old policy only counted (over quota, not authenticated) left no bytes, so
nothing can say what the new one would have made of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from depin_id.errors import StateError
from verify import snapshot
from verify.appraise import judge
from verify.authenticate import authenticate, open_inner
from verify.checks.sequence import Recorded
from verify.entries import Admin, Erased, Judged, PolicySet
from verify.entry_private import Private
from verify.fold import Fold
from verify.policy import Policy
from verify.profile import load_profiles
from verify.reappraise import Redraft
from verify.replay import OpenedEntry, Opener, leaf_time
from verify.setup import policy_entry
from verify.store import Journal, KeyStore, StoredEntry
from verify.verdict import REPEATED
from verify.workspace import Workspace
from verify.world import Receipt, Refusal

EXAMPLES = 5
"""How many indexes are named for each kind of change."""
DEVICES = 20
FIRST = 2
"""Genesis and the first policy come before anything can be judged."""
_EVERY = 1024
_CONTENT = "content.repeated"


@dataclass(slots=True)
class Change:
    """Envelopes that had one verdict and would have another.

    Attributes:
        count: how many. before, after: readings that count in them.
        examples: indexes of the first.
    """

    count: int = 0
    before: int = 0
    after: int = 0
    examples: list[int] = field(default_factory=list)


@dataclass
class WhatIf:
    """What would differ.

    Attributes:
        start, stop: the entries [start, stop) that were looked at.
        policy, was: digests, hex, of the new policy and of the one in force at the end.
        envelopes: judged again. same: with the same verdict and as many readings that count.
        erased: cannot be judged; taken as they were.
        before, after: readings that count.
        changes: by (verdict then, verdict now).
        devices: readings before, after and envelopes changed, of devices with a change.
    """

    start: int
    stop: int
    policy: str
    was: str = ""
    envelopes: int = 0
    same: int = 0
    erased: int = 0
    before: int = 0
    after: int = 0
    changes: dict[tuple[str, str], Change] = field(default_factory=dict)
    devices: dict[str, Change] = field(default_factory=dict)

    def note(self, index: int, did: str, old: tuple[str, int], new: tuple[str, int]) -> None:
        """Compare (verdict, readings that count) of one envelope."""
        self.envelopes += 1
        self.before += old[1]
        self.after += new[1]
        if old == new:
            self.same += 1
            return
        kinds = self.changes.setdefault((old[0], new[0]), Change())
        for change in (kinds, self.devices.setdefault(did, Change())):
            change.count += 1
            change.before += old[1]
            change.after += new[1]
            if len(change.examples) < EXAMPLES:
                change.examples.append(index)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; the devices with the most changes."""
        kinds = sorted(self.changes.items(), key=lambda item: (-item[1].count, item[0]))
        devices = sorted(self.devices.items(), key=lambda item: (-item[1].count, item[0]))
        return {
            "from": self.start,
            "to": self.stop,
            "policy": {"was": self.was, "new": self.policy},
            "envelopes": self.envelopes,
            "same": self.same,
            "changed": self.envelopes - self.same,
            "erased": self.erased,
            "readings": {
                "was": self.before,
                "new": self.after,
                "difference": self.after - self.before,
            },
            "changes": [{"was": old, "new": new, **_shown(change)} for (old, new), change in kinds],
            "devices": [{"did": did, **_shown(change)} for did, change in devices[:DEVICES]],
            "devices_changed": len(devices),
        }


def _shown(change: Change) -> dict[str, Any]:
    return {
        "count": change.count,
        "readings": {"was": change.before, "new": change.after},
        "examples": change.examples,
    }


def whatif(
    root: Path,
    policy_text: str,
    *,
    source: str = "policy.toml",
    profiles: Path | None = None,
    start: int = 0,
    since_ms: int | None = None,
    stop: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> WhatIf:
    """Judge entries again under another policy. The aggregator may be running; nothing is written.

    Args:
        root: the aggregator's directory.
        policy_text: TOML of the policy. source: its name, for messages.
        profiles: a folder of profiles; None is the aggregator's own.
        start, stop: entries [start, stop); the new policy is in force from ``start`` on.
        since_ms: instead of ``start``, the first entry received then or later (ms since 1970).
        progress: called with (entries done, in all) now and then.

    Raises:
        ConfigError: ``policy.invalid``. StateError: the stores cannot be read.
    """
    workspace = Workspace(root)
    workspace.check()
    folder = profiles or (workspace.profiles if workspace.profiles.is_dir() else None)
    known = load_profiles(folder)
    policy = Policy.from_toml(policy_text, profiles=known, source=source)
    entry = policy_entry(policy, known)

    def run(traceless: bool) -> WhatIf:
        with (
            Journal.open(workspace.journal, read_only=True, traceless=traceless) as journal,
            KeyStore.open(workspace.keys, read_only=True, traceless=traceless) as keys,
        ):
            end = journal.size if stop is None else min(stop, journal.size)
            report = WhatIf(max(start, FIRST), max(end, FIRST), policy.digest.hex())
            _Work(workspace, journal, keys, report, entry, since_ms).run(progress)
            return report

    try:
        return run(True)
    except StateError as error:
        if error.code != "state.corrupt":
            raise
        # An aggregator may have started meanwhile.
        return run(False)


class _Work:
    """The two states, and one entry after the other."""

    def __init__(
        self,
        workspace: Workspace,
        journal: Journal,
        keys: KeyStore,
        report: WhatIf,
        policy: PolicySet,
        since_ms: int | None,
    ) -> None:
        self._journal, self._keys, self._report = journal, keys, report
        self._policy, self._since_ms = policy, since_ms
        self._was, self._now = self._begin(workspace), self._begin(workspace)
        self._opener = Opener(self._was, keys)
        self._switched = False

    def _begin(self, workspace: Workspace) -> Fold:
        """A state to start from: the snapshot when it is from before what is asked for."""
        fold = snapshot.load(workspace.snapshots, self._keys, self._journal)
        if self._since_ms is None:
            early = fold.size <= self._report.start
        else:
            early = fold.last_received_at < self._since_ms
        return fold if early else Fold()

    def run(self, progress: Callable[[int, int], None] | None) -> None:
        report, first = self._report, self._was.size
        for stored in self._journal.entries(first, report.stop):
            if not self._switched and self._starts(stored):
                self._switch(stored.index)
            opened = self._open(stored)
            if isinstance(opened.entry, Judged):
                self._judged(opened, opened.entry)
            else:
                self._administer(opened.entry, opened.at)
            if progress is not None and stored.index % _EVERY == 0:
                progress(stored.index - first, report.stop - first)
        if not self._switched:
            report.start = report.stop
        report.was = self._was.policy.digest.hex() if self._was.size > 1 else ""

    def _starts(self, stored: StoredEntry) -> bool:
        if stored.index < FIRST:
            return False
        if self._since_ms is not None:
            return leaf_time(stored) >= self._since_ms
        return stored.index >= self._report.start

    def _switch(self, index: int) -> None:
        self._switched, self._report.start = True, index
        self._now.apply(self._policy, self._now.last_received_at, None)

    def _open(self, stored: StoredEntry) -> OpenedEntry:
        try:
            return self._opener.open(stored)
        except StateError as error:
            if error.code != "state.erased":
                raise
            # Erased by a running aggregator between two looks at the keys.
            return self._opener.open(stored)

    def _administer(self, entry: Admin, at: int) -> None:
        self._was.apply(entry, at, None)
        if isinstance(entry, PolicySet) and self._switched:
            return
        if isinstance(entry, Erased):
            known = self._now.state.by_ref
            refs = tuple(
                ref
                for ref, index in known.items()
                if (did := self._now.did_of(index)) == entry.did or did.startswith(f"{entry.did}#")
            )
            entry = replace(entry, refs=refs)
        self._now.apply(entry, at, None)

    def _judged(self, opened: OpenedEntry, entry: Judged) -> None:
        stored, private = opened.stored, opened.private
        did = entry.change.subject_did
        mirrored = self._mirrored(entry)
        if not self._switched:
            self._was.apply(entry, opened.at, private)
            self._now.apply(mirrored, opened.at, private)
            return
        old = (_code(entry), entry.readings)
        new = None if private is None else self._again(opened, entry, private)
        if new is None:
            self._report.erased += 1
            self._now.apply(mirrored, opened.at, private)
            new = old
        self._was.apply(entry, opened.at, private)
        self._report.note(stored.index, did, old, new)

    def _mirrored(self, entry: Judged) -> Judged:
        """The same entry, in the numbers of the other state."""
        change, state = entry.change, self._now.state
        holders = [
            state.by_did.get(self._was.did_of(index))
            if index < len(self._was.state.subjects)
            else None
            for index in entry.sealed_by
        ]
        subject = state.by_did.get(change.subject_did)
        stream = None if subject is None else state.streams.find(change.thumbprint, subject)
        ref = entry.ref
        if subject is None and ref is None:
            index = self._was.state.by_did[change.subject_did]
            ref = self._was.state.subjects[index].ref
        own = len(state.subjects) if subject is None else subject
        sealed_by = (own, *(index for index in holders[1:] if index is not None))
        moved = replace(change, subject=subject, stream=stream)
        return entry._replace(change=moved, ref=ref, sealed_by=sealed_by)

    def _again(
        self, opened: OpenedEntry, entry: Judged, private: Private
    ) -> tuple[str, int] | None:
        """(Verdict, readings that count) under the new policy; None when that cannot be known."""
        fold = self._now
        world = fold.world(self._recorded(entry.change.stream, opened.stored.index))
        receipt = Receipt(opened.at, entry.receipt_flags)
        auth = authenticate(private.envelope, world)
        if isinstance(auth, Refusal):
            return auth.code, 0
        inner = open_inner(auth.envelope, world)
        judgement = judge(auth, receipt, world, inner)
        code = judgement.verdict.code
        if entry.code == _CONTENT != code and self._report.erased:
            # What it repeated may be what was erased.
            return None
        if judgement.action != "entry":
            return ("duplicate" if judgement.action == "duplicate" else code), 0
        was = self._was.state
        ref = entry.ref
        if ref is None and (known := was.by_did.get(entry.change.subject_did)) is not None:
            ref = was.subjects[known].ref
        draft = Redraft(fold, ref).redraft(auth, judgement, receipt, inner)
        if draft is None:
            return code, 0
        return _code(draft.entry), draft.entry.readings

    def _recorded(self, stream: int | None, index: int) -> Callable[..., Recorded | None]:
        """What stands at a position of the stream: they are used up whatever the verdict."""

        def lookup(_: int, epoch: int, n: int) -> Recorded | None:
            if stream is None:
                return None
            found = self._journal.position(stream, epoch, n, before=index)
            return None if found is None else Recorded(found.entry, found.id, found.prev)

        return lookup


def _code(entry: Judged) -> str:
    return REPEATED if entry.repeated else entry.code
