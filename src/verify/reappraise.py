"""Judging every stored entry again, against the state as it was, with the code that judged it.

A difference names the index and the thing that differs. What was erased cannot be judged again:
its leaf and its state change are checked for agreeing with each other, and folded as they are. What
was only counted left no evidence, so its numbers are the operator's word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from depin_id.errors import DepinError, StateError
from verify.appraise import judge
from verify.authenticate import authenticate, open_inner
from verify.batch import Batch, EnvelopeDraft
from verify.entries import (
    ENROL,
    ROTATE,
    Admin,
    Enrolled,
    Erased,
    Genesis,
    Judged,
    PolicySet,
    Rotated,
    Tick,
    encode_admin,
)
from verify.entry_private import Private
from verify.fold import Fold
from verify.identity import entries as identity
from verify.identity.histories_review import HistoriesReview
from verify.identity.owners_review import OwnersReview
from verify.identity.rescoring_review import RescoringReview
from verify.identity.review import EvidenceReview
from verify.leaf import AdminLeaf, EnvelopeLeaf, Leaf, commitment, parse_leaf
from verify.replay import OpenedEntry, Opener, journal_lookup
from verify.results.review import ResultsReview
from verify.sealing import admin_leaf, envelope_leaf, month_of
from verify.store import Journal, KeyStore, StoredEntry
from verify.verdict import ACCEPTED, REPEATED
from verify.world import Authenticated, Judgement, Receipt, Refusal

_RECEIPT_FLAGS = {"parked", "time.asserted"}
_CONTENT = "content.repeated"


class Difference(Exception):
    """The first thing that is not as it should be. Never leaves the audit: it is reported.

    Args:
        index: of the entry, None when it is about no single one.
        what: differs. expected, found: as text.
    """

    def __init__(self, index: int | None, what: str, expected: object, found: object) -> None:
        super().__init__(what)
        self.index, self.what = index, what
        self.expected, self.found = _text(expected), _text(found)


def _text(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


@dataclass(slots=True)
class Counts:
    """What was looked at.

    Attributes:
        administration: entries that judge no envelope.
        reappraised: envelopes judged again, with the same result.
        erased: entries whose content is gone; their leaves are intact.
        undecidable: envelopes judged as repeating what has been erased since.
        accepted, readings: of all envelopes.
    """

    administration: int = 0
    reappraised: int = 0
    erased: int = 0
    undecidable: int = 0
    accepted: int = 0
    readings: int = 0


class Redraft(Batch):
    """Makes the draft of one entry again; ``ref`` is the reference that was drawn for it."""

    def __init__(self, fold: Fold, ref: bytes | None) -> None:
        super().__init__(fold, lambda *_: None, lambda size: (ref or b"").ljust(size, b"\0"))

    def redraft(
        self,
        auth: Authenticated,
        judgement: Judgement,
        receipt: Receipt,
        inner: Authenticated | Refusal | None,
    ) -> EnvelopeDraft | None:
        """The draft, applied to the fold; None when the judgement gives no entry."""
        self._settle(auth, judgement, receipt, "", inner)
        found = self.drafts[-1] if self.drafts else None
        return found if isinstance(found, EnvelopeDraft) else None


class Reappraiser:
    """Takes the entries of a journal one after the other.

    Attributes:
        counts: what was looked at.
        ticks: (index, size, root) of every tick.
        erased_refs: subjects whose content is gone, each with the first entry that shows it.
        forgotten: subjects that an entry of erasure names.
        histories: what was held against the logs in ``dids``, a folder of DIDs' files.
    """

    def __init__(self, journal: Journal, keys: KeyStore, dids: Path | None = None) -> None:
        self._journal = journal
        self._keys = keys
        self.fold = Fold()
        self._opener = Opener(self.fold, keys)
        self.counts = Counts()
        self.ticks: list[tuple[int, int, bytes]] = []
        self.erased_refs: dict[bytes, int] = {}
        self.forgotten: set[bytes] = set()
        self._evidence, self._owners = EvidenceReview(), OwnersReview()
        self._rescoring, self.histories = RescoringReview(journal), HistoriesReview(dids)
        self._results = ResultsReview()

    def take(self, stored: StoredEntry) -> None:
        """Check one entry and apply it.

        Raises:
            Difference: something about it differs. DepinError: it cannot be read.
        """
        try:
            self._take(stored)
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            # A state change that names what is not there, or has fields of other types.
            what = f"{type(error).__name__}: {error}"
            raise Difference(stored.index, "entry", "one that fits the state", what) from error

    def _take(self, stored: StoredEntry) -> None:
        opened = self._open(stored)
        self._check_time(opened)
        self._check_begin(opened)
        reviews = (
            self._evidence,
            self._owners,
            self._rescoring,
            self._results,
            self.histories,
        )
        for review in reviews:
            _stands(stored.index, review.take(self.fold, opened.entry, opened.at))
        if isinstance(opened.entry, Judged):
            self._take_judged(opened, opened.entry, parse_leaf(stored.leaf))
        else:
            self._take_admin(opened, opened.entry, parse_leaf(stored.leaf))

    def finish(self) -> None:
        """After the last entry: nothing is left that another one has to follow on."""
        wrong = self._evidence.finish(self.fold) or self._owners.finish()
        wrong = wrong or self._rescoring.finish() or self._results.finish()
        _stands(self.fold.size - 1, wrong)

    def _open(self, stored: StoredEntry) -> OpenedEntry:
        try:
            return self._opener.open(stored)
        except StateError as error:
            if error.code != "state.erased":
                raise
            # Erased by a running aggregator between two looks at the keys.
            return self._opener.open(stored)

    # --- order and time -------------------------------------------------------------------------

    def _check_begin(self, opened: OpenedEntry) -> None:
        index, entry = opened.stored.index, opened.entry
        expected = {0: Genesis, 1: PolicySet}.get(index)
        if expected is not None and not isinstance(entry, expected):
            raise Difference(index, "kind", expected.__name__, type(entry).__name__)
        if index and isinstance(entry, Genesis):
            raise Difference(index, "kind", "no second beginning", "Genesis")

    def _check_time(self, opened: OpenedEntry) -> None:
        entry, index = opened.entry, opened.stored.index
        flags = entry.receipt_flags if isinstance(entry, Judged) else ()
        if set(flags) - _RECEIPT_FLAGS:
            raise Difference(index, "receipt flags", sorted(_RECEIPT_FLAGS), flags)
        if "time.asserted" in flags and not self.fold.asserted_time:
            raise Difference(index, "receipt time", "no asserted time", opened.at)
        if not flags and opened.at < self.fold.last_received_at:
            raise Difference(
                index, "receipt time", f"{self.fold.last_received_at} or later", opened.at
            )

    # --- administration -------------------------------------------------------------------------

    def _take_admin(self, opened: OpenedEntry, entry: Admin, leaf: Leaf) -> None:
        stored, fold = opened.stored, self.fold
        fold.apply(entry, opened.at, None)
        delta, registration = encode_admin(entry)
        _same(stored.index, "delta", delta, stored.delta)
        proof = self._registration(opened, entry, registration, leaf)
        _same(stored.index, "leaf", admin_leaf(entry, opened.at, fold, proof).encode(), stored.leaf)
        if isinstance(entry, Genesis) and fold.card.network != self._journal.network:
            raise Difference(stored.index, "network", self._journal.network, fold.card.network)
        if isinstance(entry, Tick):
            if not 0 <= entry.size <= stored.index:
                raise Difference(stored.index, "tick", f"0 to {stored.index}", entry.size)
            self.ticks.append((stored.index, entry.size, entry.root))
        if isinstance(entry, Erased):
            self.forgotten.update(entry.refs)
        self.counts.administration += 1

    def _registration(
        self, opened: OpenedEntry, entry: Admin, registration: bytes | None, leaf: Leaf
    ) -> bytes | None:
        """The commitment to a registration: made again, or the leaf's own when it is erased."""
        index = opened.stored.index
        if isinstance(entry, Enrolled | identity.Sealed):
            ref = entry.ref
        elif isinstance(entry, Rotated):
            state = self.fold.state
            ref = state.subjects[state.by_did[entry.did]].ref
        else:
            if opened.stored.sealed:
                raise Difference(index, "sealed part", "none", opened.stored.sealed)
            return None
        if self._keys.erased(ref):
            self._note_erased(ref, index)
            proof = _proof_in(leaf)
            if proof is None:
                raise Difference(index, "leaf", "a commitment to the registration", "none")
            return proof
        key = self._keys.get(ref, month_of(opened.at))
        content = registration or b""
        _same(index, "registration", content, key.open(index, opened.stored.sealed))
        return commitment(key.salt(index), content)

    def _note_erased(self, ref: bytes, index: int) -> None:
        self.erased_refs.setdefault(ref, index)

    # --- envelopes ------------------------------------------------------------------------------

    def _take_judged(self, opened: OpenedEntry, entry: Judged, leaf: Leaf) -> None:
        index = opened.stored.index
        if not isinstance(leaf, EnvelopeLeaf):
            raise Difference(index, "leaf", "an envelope's", "administration's")
        if opened.private is None:
            self._take_erased(opened, entry, leaf)
        else:
            self._judge_again(opened, entry, leaf, opened.private)
        self._check_position(index, entry)
        self.counts.accepted += entry.code == ACCEPTED
        self.counts.readings += entry.readings

    def _check_position(self, index: int, entry: Judged) -> None:
        change = entry.change
        if change.stream is None:
            raise Difference(index, "stream", "a stream", None)
        at = self._journal.position(change.stream, change.epoch, change.n, before=index + 1)
        holds = None if at is None or at.entry != index else (at.id, at.prev)
        expected = (change.id, change.prev) if change.consumes else None
        if holds != expected:
            raise Difference(index, "consumed position", expected, holds)

    def _take_erased(self, opened: OpenedEntry, entry: Judged, leaf: EnvelopeLeaf) -> None:
        """Nothing to judge: leaf and delta must say the same, and the keys must be gone."""
        index, state = opened.stored.index, self.fold.state
        refs = [
            state.subjects[item].ref if item < len(state.subjects) else entry.ref or b""
            for item in entry.sealed_by
        ]
        gone = [ref for ref in refs if self._keys.erased(ref)]
        known = any(
            state.subjects[item].erased for item in entry.sealed_by if item < len(state.subjects)
        )
        if not gone and not known:
            raise Difference(index, "sealed part", "the envelope", "nothing, but not erased")
        for ref in gone:
            self._note_erased(ref, index)
        self._check_said(index, entry, leaf, refs[0])
        self.fold.apply(entry, opened.at, None)
        self.counts.erased += 1

    def _check_said(self, index: int, entry: Judged, leaf: EnvelopeLeaf, ref: bytes) -> None:
        """Leaf and delta say the same, as far as that can be known without judging."""
        change, policy = entry.change, self.fold.policy
        said = (leaf.device, leaf.epoch, leaf.n, leaf.code, leaf.policy, leaf.rules)
        meant = (ref, change.epoch, change.n, entry.code, policy.digest[:16], policy.rules)
        if said != meant:
            raise Difference(index, "leaf", meant, said)
        if (REPEATED in leaf.flags) != entry.repeated:
            raise Difference(index, "flags", entry.repeated, leaf.flags)
        if not set(entry.receipt_flags) <= set(leaf.flags):
            raise Difference(index, "flags", entry.receipt_flags, leaf.flags)
        if (leaf.code == ACCEPTED) != bool(leaf.level) or (entry.outcome == ACCEPTED) != (
            leaf.code == ACCEPTED
        ):
            raise Difference(index, "level", entry.outcome, (leaf.code, leaf.level))

    def _judge_again(
        self, opened: OpenedEntry, entry: Judged, leaf: EnvelopeLeaf, private: Private
    ) -> None:
        index = opened.stored.index
        world = self.fold.world(journal_lookup(self._journal, before=index))
        receipt = Receipt(opened.at, entry.receipt_flags)
        auth = authenticate(private.envelope, world)
        if isinstance(auth, Refusal):
            raise Difference(index, "signature", "an envelope that verifies", auth.code)
        inner = open_inner(auth.envelope, world)
        judgement = judge(auth, receipt, world, inner)
        if judgement.action != "entry":
            raise Difference(index, "verdict", judgement.action, entry.code)
        if self._rests_on_erased(judgement, entry):
            self._take_undecidable(opened, entry, leaf, private)
            return
        draft = Redraft(self.fold, entry.ref).redraft(auth, judgement, receipt, inner)
        if draft is None:
            raise Difference(index, "verdict", "no entry", entry.code)
        self._compare(opened, entry, private, draft)
        entry.change.stream = draft.entry.change.stream
        self.counts.reappraised += 1

    def _take_undecidable(
        self, opened: OpenedEntry, entry: Judged, leaf: EnvelopeLeaf, private: Private
    ) -> None:
        index = opened.stored.index
        self.fold.apply(entry, opened.at, private)
        ref = self.fold.state.subjects[entry.sealed_by[0]].ref
        self._check_said(index, entry, leaf, ref)
        held = commitment(opened.salt or b"", private.envelope)
        if (leaf.envelope, leaf.records, private.records) != (held, None, None):
            raise Difference(index, "leaf envelope", held, leaf.envelope)
        self.counts.undecidable += 1

    def _rests_on_erased(self, judgement: Judgement, entry: Judged) -> bool:
        """Whether it was refused for repeating another device's values, which may be erased."""
        return (
            entry.code == _CONTENT
            and judgement.verdict.code != _CONTENT
            and bool(self.counts.erased)
        )

    def _compare(
        self, opened: OpenedEntry, entry: Judged, private: Private, draft: EnvelopeDraft
    ) -> None:
        index, stored = opened.stored.index, opened.stored
        if draft.delta != stored.delta:
            _name_field(index, draft.entry, entry)
            raise Difference(index, "delta", draft.delta, stored.delta)
        _same(index, "records", draft.records, private.records)
        change = draft.entry.change
        again = (
            dict(change.series),
            change.track,
            tuple(change.windows),
            dict(change.carried),
            change.sighted,
        )
        held = (
            private.series,
            private.track,
            private.windows,
            private.carried,
            private.sighted,
        )
        if again != held:
            raise Difference(index, "sealed state change", again, held)
        salt = opened.salt or b""
        leaf = envelope_leaf(
            draft,
            self.fold.state.subjects[draft.entry.sealed_by[0]].ref,
            commitment(salt, draft.envelope),
            None if draft.records is None else commitment(salt, draft.records),
            self.fold.policy,
        )
        if leaf.encode() != stored.leaf:
            _name_leaf_field(index, leaf, stored.leaf)
            raise Difference(index, "leaf", leaf.encode(), stored.leaf)


def _proof_in(leaf: Leaf) -> bytes | None:
    if not isinstance(leaf, AdminLeaf):
        return None
    body = leaf.body
    if not isinstance(body, list) or not body:
        return None
    proof = body[2] if leaf.kind in (ENROL, ROTATE) and len(body) > 2 else body[-1]
    return proof if isinstance(proof, bytes) and len(proof) == 32 else None


def _stands(index: int, wrong: str) -> None:
    if wrong:
        raise Difference(index, "evidence", "what the entry stands on", wrong)


def _same(index: int, what: str, expected: bytes | None, found: bytes | None) -> None:
    if expected != found:
        raise Difference(index, what, expected, found)


def _name_field(index: int, expected: Judged, found: Judged) -> None:
    """Raise the Difference of the first field; the state change has no name but ``delta``."""
    for name in Judged._fields:
        again, held = getattr(expected, name), getattr(found, name)
        if name != "change" and again != held:
            raise Difference(index, name, again, held)


def _name_leaf_field(index: int, expected: EnvelopeLeaf, data: bytes) -> None:
    """Raise the Difference of the first field of a leaf."""
    found = parse_leaf(data)
    for name in EnvelopeLeaf._fields:
        again, held = getattr(expected, name), getattr(found, name, None)
        if again != held:
            raise Difference(index, f"leaf {name}", again, held)


def check_forgotten(work: Reappraiser, later: Callable[[], set[bytes]]) -> None:
    """Whatever cannot be opened must be named by an entry of erasure.

    Args:
        later: gives the subjects that entries after the audited ones erased; a running aggregator
            may have erased something meanwhile.

    Raises:
        Difference: keys are gone, and no entry says so.
    """
    unexplained = {
        ref: index for ref, index in work.erased_refs.items() if ref not in work.forgotten
    }
    if not unexplained:
        return
    known = later()
    for ref, index in unexplained.items():
        if ref not in known:
            raise Difference(index, "keys", "an entry of erasure", f"keys of {ref.hex()} are gone")


def difference_of(error: DepinError, index: int | None) -> Difference:
    """An error of a store, log or dataset, as a difference."""
    return Difference(index, error.code, "what can be read and verified", error.message)
