"""One batch: bytes as received to drafts of entries, in order, against the state as it grows.

Nothing here is durable. The aggregator seals the drafts, writes them in one transaction and only
then acknowledges.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from depin_id.envelope import split_bundle
from depin_id.errors import EncodingError
from verify.appraise import judge
from verify.authenticate import authenticate, authenticate_all, open_inner
from verify.checks.sequence import Recorded
from verify.entries import (
    Admin,
    Judged,
    encode_admin,
    encode_judged,
)
from verify.entry_private import Private, encode_private
from verify.fold import Fold
from verify.identity.desk import Told
from verify.leaf import RecordsContent
from verify.signatures import SignatureChecker
from verify.store import Parked, Position
from verify.store.quarantine import WAITING
from verify.verdict import ACCEPTED, AGAIN, REPEATED, Accepted, Indeterminate, Rejected, Verdict
from verify.world import Authenticated, Change, Judgement, Receipt, Refusal, World

PARKED, ASSERTED = "parked", "time.asserted"
"""Flags of receipt times."""
MAX_COUNTED_ROWS = 256
"""Principals and codes told apart in one counted entry; the rest is summed up."""


@dataclass(slots=True)
class EnvelopeDraft:
    """An envelope's entry before it is sealed."""

    index: int
    at: int
    entry: Judged
    verdict: Verdict
    delta: bytes
    envelope: bytes
    records: bytes | None
    private: bytes
    content: RecordsContent | None


@dataclass(slots=True)
class AdminDraft:
    """An entry of administration before it is sealed."""

    index: int
    at: int
    entry: Admin
    delta: bytes
    registration: bytes | None


Draft = EnvelopeDraft | AdminDraft


class Answer(NamedTuple):
    """What an acknowledgement will say of one envelope; ``entry`` is its index, if it has one."""

    id: bytes
    code: str
    entry: int | None


@dataclass(slots=True)
class Reply:
    """What a request is answered with, apart from what others sent of the same devices.

    Attributes:
        answers, nonces: as those of a batch. refused: why nothing could be authenticated.
        forged: signatures that were checked in vain.
    """

    answers: dict[bytes, list[Answer]] = field(default_factory=dict)
    nonces: dict[bytes, bytes] = field(default_factory=dict)
    refused: str = ""
    forged: int = 0


class Parking(NamedTuple):
    """Bytes for the quarantine."""

    principal: str
    kid: bytes
    at: int
    data: bytes
    id: bytes = b""
    """Of an envelope that verifies and waits; empty for what cannot be authenticated."""


@dataclass(slots=True)
class Summary:
    """What a batch, or an ingest of many, came to."""

    accepted: int = 0
    duplicates: int = 0
    sightings: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    indeterminate: dict[str, int] = field(default_factory=dict)
    quarantined: int = 0
    readings: int = 0

    def add(self, other: Summary) -> None:
        """Add another batch's counts."""
        self.accepted += other.accepted
        self.duplicates += other.duplicates
        self.sightings += other.sightings
        self.quarantined += other.quarantined
        self.readings += other.readings
        for mine, theirs in (
            (self.rejected, other.rejected),
            (self.indeterminate, other.indeterminate),
        ):
            for code, count in theirs.items():
                mine[code] = mine.get(code, 0) + count

    def to_json(self) -> dict[str, object]:
        """As a JSON-ready mapping."""
        return {
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": dict(sorted(self.rejected.items())),
            "indeterminate": dict(sorted(self.indeterminate.items())),
            "quarantined": self.quarantined,
            "readings": self.readings,
            "sightings": self.sightings,
        }


class Batch:
    """Takes envelopes in order and collects what has to be written and said.

    Args:
        fold: the state; it is changed as entries are drafted, so a batch that cannot be written
            leaves it ahead of the journal and the aggregator has to be opened again.
        recorded: what the journal holds at (stream, epoch, n).
        randomness: gives so many random bytes, for references of new subjects.
    """

    def __init__(
        self,
        fold: Fold,
        recorded: Callable[[int, int, int], Recorded | None],
        randomness: Callable[[int], bytes],
    ) -> None:
        self._fold = fold
        self._journal = recorded
        self._randomness = randomness
        self._world: World | None = None
        self._new: dict[tuple[int, int, int], Recorded] = {}
        self._counted: dict[tuple[str, str], int] = {}
        self.drafts: list[Draft] = []
        self.positions: list[Position] = []
        self.parked: list[Parking] = []
        self.answers: dict[bytes, list[Answer]] = {}
        self.nonces: dict[bytes, bytes] = {}
        self.replies: dict[int, Reply] = {}
        self.carried: dict[bytes, Reply] = {}  # by the gateway's kid: for devices it carries for
        self.summary = Summary()

    def take_messages(
        self,
        messages: Iterable[tuple[bytes, str, int]],
        receipt: Receipt,
        checker: SignatureChecker,
    ) -> None:
        """Judge all envelopes of messages (bundles) that were received together.

        Args:
            messages: the bytes of each, who sent it, and the request to answer (0 for none).
        """
        parts: list[tuple[bytes, str, Reply | None]] = []
        for data, principal, number in messages:
            reply = self.replies.setdefault(number, Reply()) if number else None
            try:
                parts += [(part, principal, reply) for part in split_bundle(data)]
            except EncodingError as error:
                self._count(principal, error.code)
                if reply is not None:
                    reply.refused = error.code
        found = authenticate_all([part for part, _, _ in parts], self._now, checker)
        for (data, principal, reply), auth in zip(parts, found, strict=True):
            self._take(auth, data, receipt, principal, reply)

    def take(self, data: bytes, receipt: Receipt, principal: str) -> None:
        """Judge one envelope."""
        self._take(authenticate(data, self._now), data, receipt, principal, None)

    def take_up(self, item: Parked) -> bool:
        """Judge what was parked, at its original receipt time; False when it goes on waiting."""
        before = len(self.parked)
        self.take(item.data, Receipt(item.received_at, (PARKED,)), item.principal)
        if all(parking.data != item.data for parking in self.parked[before:]):
            return True
        del self.parked[before:]
        return False

    def _take(
        self,
        auth: Authenticated | Refusal,
        data: bytes,
        receipt: Receipt,
        principal: str,
        reply: Reply | None,
    ) -> None:
        if isinstance(auth, Refusal):
            if reply is not None:
                reply.refused = auth.code
                reply.forged += auth.code == "signature.invalid"
            self._refuse(auth, data, receipt, principal)
            return
        world = self._now
        inner = open_inner(auth.envelope, world)
        ahead = judge(auth, receipt, world, inner) if inner is not None else None
        answers: list[Answer] = []
        if ahead is not None and ahead.action == "entry":
            # The inner envelope comes first: its verdict depends on its own bytes alone.
            answers += self._take_inner(inner, auth, receipt)
            if answers and answers[0].code == "quota.exceeded":
                # Or a device over its quota would use up that of the gateway that carries it.
                ahead = Judgement("counted", Rejected("quota.exceeded", "owner"))
            else:
                ahead = None
        elif isinstance(inner, Authenticated) and ahead is not None:
            answers += self._known_inner(inner, receipt, world)
        judgement = ahead if ahead is not None else judge(auth, receipt, world, inner)
        answers.append(self._settle(auth, judgement, receipt, principal, inner))
        kid = auth.envelope.kid
        if reply is not None:
            self._tell(reply, auth, answers)
        elif principal == kid.hex():
            self._tell(Reply(self.answers, self.nonces), auth, answers)
            told = inner if isinstance(inner, Authenticated) and answers[1:] else auth
            if told.thumbprint != auth.thumbprint:
                self._tell(self.carried.setdefault(kid, Reply()), told, answers[:1])

    def _tell(self, reply: Reply, auth: Authenticated, answers: list[Answer]) -> None:
        reply.answers.setdefault(auth.thumbprint, []).extend(answers)
        if auth.envelope.claims.nonce is not None:
            reply.nonces[auth.thumbprint] = auth.envelope.claims.nonce

    def add_admin(self, entry: Admin, at: int) -> AdminDraft:
        """Draft and apply an entry of administration."""
        index = self._fold.size
        self._fold.apply(entry, at, None)
        self._world = None  # card and policy may be others now
        delta, registration = encode_admin(entry)
        draft = AdminDraft(index, at, entry, delta, registration)
        self.drafts.append(draft)
        return draft

    def count_refused(self, told: Iterable[Told]) -> None:
        """Count the statements that were refused."""
        for message, _, result in told:
            if result.code != ACCEPTED:
                self._count(message.principal, result.code)

    def counted_rows(self) -> tuple[tuple[str, str, int], ...]:
        """What was counted, most first; beyond 256 rows it is summed up by code."""
        rows = sorted(self._counted.items(), key=lambda item: (-item[1], item[0]))
        kept = [(who, code, count) for (who, code), count in rows[:MAX_COUNTED_ROWS]]
        rest: dict[str, int] = {}
        for (_, code), count in rows[MAX_COUNTED_ROWS:]:
            rest[code] = rest.get(code, 0) + count
        return (*kept, *(("others", code, count) for code, count in sorted(rest.items())))

    @property
    def _now(self) -> World:
        """What envelopes are judged against: it grows with every entry."""
        if self._world is None:
            self._world = self._fold.world(self._recorded)
        return self._world

    def _recorded(self, stream: int, epoch: int, n: int) -> Recorded | None:
        found = self._new.get((stream, epoch, n))
        return found if found is not None else self._journal(stream, epoch, n)

    def _take_inner(
        self, inner: Authenticated | Refusal | None, outer: Authenticated, receipt: Receipt
    ) -> list[Answer]:
        carrier = outer.envelope.kid.hex()
        if isinstance(inner, Authenticated):
            judgement = judge(inner, receipt, self._now)
            return [self._settle(inner, judgement, receipt, carrier, None)]
        if inner is not None:
            self._refuse(inner, outer.envelope.payload, receipt, carrier)
        return []

    def _known_inner(self, inner: Authenticated, receipt: Receipt, world: World) -> list[Answer]:
        """The answer on what a gateway envelope holds that came before: for its device to read."""
        judgement = judge(inner, receipt, world)
        if judgement.action == "duplicate" and judgement.recorded is not None:
            return [Answer(inner.id, "", judgement.recorded.entry)]
        return []

    def _refuse(self, refusal: Refusal, data: bytes, receipt: Receipt, principal: str) -> None:
        if refusal.code == "device.unknown" and refusal.kid is not None:
            self.parked.append(Parking(principal, refusal.kid, receipt.at, data))
            counts = self.summary.indeterminate
            counts[refusal.code] = counts.get(refusal.code, 0) + 1
            self._counted_only(principal, refusal.code)
            return
        self._count(principal, refusal.code)

    def _count(self, principal: str, code: str) -> None:
        self.summary.rejected[code] = self.summary.rejected.get(code, 0) + 1
        self._counted_only(principal, code)

    def _counted_only(self, principal: str, code: str) -> None:
        key = (principal[:64], code)
        self._counted[key] = self._counted.get(key, 0) + 1

    def _settle(
        self,
        auth: Authenticated,
        judgement: Judgement,
        receipt: Receipt,
        principal: str,
        inner: Authenticated | Refusal | None,
    ) -> Answer:
        if judgement.action == "duplicate" and judgement.recorded is not None:
            self.summary.duplicates += 1
            return Answer(auth.id, "", judgement.recorded.entry)
        if judgement.action == "waiting":
            return self._wait(auth, judgement.verdict, receipt)
        if judgement.action == "counted" or judgement.change is None:
            self._count(auth.device.did, judgement.verdict.code)
            return Answer(auth.id, judgement.verdict.code, None)
        return self._draft(auth, judgement, judgement.change, receipt, inner)

    def _wait(self, auth: Authenticated, verdict: Verdict, receipt: Receipt) -> Answer:
        """Keep an envelope whose device has to attest first; it is told so."""
        kid, did = auth.envelope.kid, auth.device.did
        if ASSERTED not in receipt.flags:
            # Of what was taken up it would not be known any more that its time was asserted.
            self.parked.append(Parking(WAITING + did, kid, receipt.at, auth.envelope.raw, auth.id))
        if PARKED not in receipt.flags:
            counts = self.summary.indeterminate
            counts[verdict.code] = counts.get(verdict.code, 0) + 1
            self._counted_only(did, verdict.code)
        return Answer(auth.id, verdict.code, None)

    def ask_again(self, refused: Collection[bytes]) -> None:
        """What there was no room for: who sent it is told to keep it."""
        replies = (*self.replies.values(), *self.carried.values())
        for told in (self.answers, *(reply.answers for reply in replies)):
            for thumbprint, answers in told.items():
                told[thumbprint] = [
                    answer._replace(code=AGAIN) if answer.id in refused else answer
                    for answer in answers
                ]

    def _draft(
        self,
        auth: Authenticated,
        judgement: Judgement,
        change: Change,
        receipt: Receipt,
        inner: Authenticated | Refusal | None,
    ) -> Answer:
        fold, verdict = self._fold, judgement.verdict
        index = fold.size
        ref = self._randomness(16) if change.subject is None else None
        subject = len(fold.state.subjects) if change.subject is None else change.subject
        sealed_by: tuple[int, ...] = (subject,)
        if isinstance(inner, Authenticated):
            sealed_by = (subject, inner.device.subject)
        counted = 0
        if judgement.records is not None:
            counted = judgement.records.columns.tally().counted
        entry = Judged(
            change,
            type(verdict).__name__.lower(),
            verdict.code,
            verdict.quality if isinstance(verdict, Accepted) else 0,
            "" if isinstance(verdict, Accepted) else verdict.measured,
            "" if isinstance(verdict, Accepted) else verdict.limit,
            "nobody" if isinstance(verdict, Accepted | Indeterminate) else verdict.at_fault,
            counted,
            inner is not None,
            isinstance(verdict, Accepted) and REPEATED in verdict.flags,
            len(change.windows),
            receipt.flags,
            sealed_by,
            ref,
        )
        delta = encode_judged(entry)
        records = None if judgement.records is None else judgement.records.encode()
        raw = auth.envelope.raw
        reasons = {} if judgement.records is None else judgement.records.reasons
        private = encode_private(change, raw, records, reasons)
        personal = Private(
            raw,
            records,
            dict(change.series),
            change.track,
            change.windows,
            change.carried,
            change.sighted,
        )
        fold.apply_judged(entry, receipt.at, personal)
        self.drafts.append(
            EnvelopeDraft(
                index,
                receipt.at,
                entry,
                verdict,
                delta,
                raw,
                records,
                private,
                judgement.records,
            )
        )
        self._consume(change, index)
        self._sum_up(entry, verdict)
        return Answer(auth.id, verdict.code, index)

    def _consume(self, change: Change, index: int) -> None:
        if not change.consumes or change.stream is None:
            return
        at = (change.stream, change.epoch, change.n)
        self._new[at] = Recorded(index, change.id, change.prev)
        self.positions.append(Position(*at, index, change.id, change.prev))

    def _sum_up(self, entry: Judged, verdict: Verdict) -> None:
        summary = self.summary
        if isinstance(verdict, Accepted):
            summary.readings += entry.readings
            if entry.repeated:
                summary.duplicates += 1
            elif entry.sighting:
                summary.sightings += 1
            else:
                summary.accepted += 1
        else:
            summary.rejected[verdict.code] = summary.rejected.get(verdict.code, 0) + 1
