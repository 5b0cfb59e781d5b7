"""What devices do: measure, seal, fail, go offline, send twice; and how some of them cheat."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from depin_id.claims import Place
from depin_id.envelope import CONTENT_SENML, NO_PREV, PREV_BYTES, Provenance, seal
from depin_id.keys import PublicKey, SoftwareSigner
from depin_id.readings import Reading
from depin_id.sealing import to_records
from depin_id.senml import Decimal64, encode_pack
from verify.simulate.cheats import CHEATS, DUPLICATE, distort
from verify.simulate.fleet import Member, Plan
from verify.simulate.signals import PERIODS, signal_of
from verify.verdict import ACCEPTED

WHOLE_WINDOW: Final = 31
"""So many measurements in a row hold a whole window of the content check, wherever it begins."""
FLOOD_ABOVE: Final = 50
"""Envelopes above the burst that a device over its quota sends."""

# Misfortunes of honest devices: one in so many packs.
_OFFLINE, _REBOOT, _LOST, _TWICE, _SWAPPED = 60, 120, 400, 80, 80
_PLAIN: Final = ("cloned-key", "unknown-device", "over-quota", "teleport")
"""Cheats whose verdict would depend on such a misfortune too."""
_ALWAYS: Final = ("constant", "spoofed-location", "unknown-device")


class Sent(NamedTuple):
    """An envelope on its way.

    Attributes:
        id: identity, 32 bytes (of altered bytes, their SHA-256). cheat: "" where it is honest.
        outcomes: what may become of it: verdict codes, or ``duplicate``.
        records: the code that records of it must get; "" when all must count.
        readings, at: what was sealed, and when.
    """

    data: bytes
    id: bytes
    cheat: str
    outcomes: tuple[str, ...]
    records: str
    readings: Sequence[Reading]
    at: int


class Delivery(NamedTuple):
    """What a device, or who speaks for it, sends at once."""

    at: int
    member: Member
    sent: list[Sent]


class _Pen:
    """Signs, and keeps the identity of what it signed."""

    __slots__ = ("_signer", "identity")

    def __init__(self, signer: SoftwareSigner) -> None:
        self._signer = signer
        self.identity = b""

    @property
    def public_key(self) -> PublicKey:
        return self._signer.public_key

    def sign(self, message: bytes) -> bytes:
        self.identity = hashlib.sha256(message).digest()
        return self._signer.sign(message)


@dataclass(slots=True)
class _Voice:
    """A key with its position; a copy is a second machine with the same key."""

    member: Member
    network: str
    pen: _Pen
    booted: int
    epoch: int = 1
    n: int = 0
    head: bytes = NO_PREV

    def seal(self, readings: Sequence[Reading], at: int, clock: int = 1) -> tuple[bytes, bytes]:
        """An envelope, and its identity."""
        data = seal(
            encode_pack(to_records(readings, now=at, clock=clock)),
            content_type=CONTENT_SENML,
            provenance=Provenance(self.epoch, self.n, self.head, max(0, at - self.booted), clock),
            network=self.network,
            signer=self.pen,
        )
        self.n += 1
        self.head = self.pen.identity[:PREV_BYTES]
        return data, self.pen.identity

    def reboot(self, at: int, *, keeps_head: bool) -> None:
        """The next boot counter; without the head as after a power cut."""
        self.booted, self.epoch, self.n = at, self.epoch + 1, 0
        if not keeps_head:
            self.head = NO_PREV


def _voice(member: Member, network: str) -> _Voice:
    chance = member.chance("boot")
    booted = member.plan.start - chance.below(86_400)
    return _Voice(member, network, _Pen(member.signer()), booted, epoch=chance.between(1, 40))


class _Life:
    """One device from the start to the end of a run."""

    def __init__(self, member: Member, network: str) -> None:
        self.member, self.plan = member, member.plan
        self.voice = _voice(member, network)
        self._chance = member.chance("life")
        self._plain = member.cheat in _PLAIN
        self._moments: list[list[Reading]] = []
        self._outbox: list[Sent] = []
        self._after: list[Sent] = []
        self._packs = 0
        self._offline_until = self._down_until = 0

    def deliveries(self) -> Iterator[Delivery]:
        """What it sends, in the order of time."""
        member, plan = self.member, self.plan
        signal = signal_of(member.kind, member.chance("signal"), self._place())
        period = PERIODS[member.kind]
        phase = self._chance.below(plan.pack)
        frozen: list[Reading] | None = None
        for step, at in enumerate(range(plan.start, plan.start + plan.run_s, period)):
            found = signal.step(at)
            if at < self._down_until:
                continue
            if member.cheat == "constant":
                frozen = frozen or found
                found = [
                    replace(item, time=new.time) for item, new in zip(frozen, found, strict=True)
                ]
            self._moments.append(found)
            if (step + phase + 1) % plan.pack == 0 or len(self._moments) >= plan.pack:
                self._seal(at)
                yield from self._send(at)
                self._misfortune(at)
        if self._moments:
            self._seal(plan.start + plan.run_s)
        yield from self._send(plan.start + plan.run_s + 60, last=True)

    def _place(self) -> Place:
        if self.member.cheat != "spoofed-location":
            return self.member.place
        return Place(-self.member.place.lat_e7, self.member.place.lon_e7)

    def _seal(self, at: int) -> None:
        member, plan = self.member, self.plan
        cheat = member.cheat
        readings, code = distort(cheat, member.kind, self._moments, self._packs, plan.run_s)
        self._moments = []
        self._packs += 1
        data, identity = self.voice.seal(readings, at)
        outcome = CHEATS[cheat].code if cheat == "unknown-device" else ACCEPTED
        name = cheat if code or cheat in _ALWAYS else ""
        sent = Sent(data, identity, name, (outcome,), code, readings, at)
        if not self._plain and self._chance.one_in(_LOST):
            return
        if not self._plain and self._chance.one_in(_SWAPPED):
            self._after.append(sent)
        else:
            self._outbox.append(sent)

    def _send(self, at: int, *, last: bool = False) -> Iterator[Delivery]:
        """What is ready, unless it is offline."""
        if not last and (at < self._offline_until or len(self._outbox) < self.plan.bundle):
            return
        ready, self._outbox = [*self._outbox, *self._after], []
        self._after = []
        if ready:
            yield Delivery(at, self.member, ready)
        if self._plain:
            return
        for sent in ready:
            if self._chance.one_in(_TWICE):
                # At least once: the transport did not hear that it had arrived.
                again = sent._replace(outcomes=(DUPLICATE,), records="", cheat="")
                yield Delivery(at + 1, self.member, [again])

    def _misfortune(self, at: int) -> None:
        if self._plain:
            return
        if at >= self._offline_until and self._chance.one_in(_OFFLINE):
            self._offline_until = at + self._chance.between(30, 1_800)
        if self._chance.one_in(_REBOOT):
            self._down_until = at + self._chance.between(5, 90)
            self.voice.reboot(self._down_until, keeps_head=self._chance.one_in(2))


def deliveries(member: Member, network: str) -> Iterator[Delivery]:
    """What a device sends in a run, and what is sent in its name, in the order of time."""
    if member.cheat == "copied" and member.victim is not None:
        return _copies(member, member.plan.member(member.victim), network)
    life = _Life(member, network)
    if member.cheat == "cloned-key":
        return _cloned(life)
    if member.cheat == "replayed":
        return _replayed(life)
    if member.cheat == "tampered":
        return _tampered(life)
    return _flooded(life) if member.cheat == "over-quota" else life.deliveries()


def block(plan: Plan, number: int, network: str) -> Iterator[Delivery]:
    """What a group of devices sends, in the order of time."""
    lives = [deliveries(plan.member(index), network) for index in plan.block(number)]
    return heapq.merge(*lives, key=_at)


def everyone(plan: Plan, network: str) -> Iterator[Delivery]:
    """What the whole fleet sends, in the order of time; it holds all devices at once."""
    blocks = [block(plan, number, network) for number in range(plan.blocks)]
    return heapq.merge(*blocks, key=_at)


def _at(delivery: Delivery) -> int:
    return delivery.at


def _replayed(life: _Life) -> Iterator[Delivery]:
    """Somebody who heard it sends all of it again, a little later."""
    for delivery in life.deliveries():
        yield delivery
        again = [
            sent._replace(outcomes=(DUPLICATE,), records="", cheat="replayed")
            for sent in delivery.sent
        ]
        yield Delivery(delivery.at + 2, delivery.member, again)


def _tampered(life: _Life) -> Iterator[Delivery]:
    """Somebody on the way lets an altered copy go ahead."""
    for delivery in life.deliveries():
        if delivery.sent[0].outcomes == (ACCEPTED,):
            altered = [_altered(sent) for sent in delivery.sent]
            yield Delivery(delivery.at, delivery.member, altered)
        yield delivery


def _altered(sent: Sent) -> Sent:
    # The last byte of the payload: 64 bytes of signature and their head of two follow.
    at = len(sent.data) - 67
    data = sent.data[:at] + bytes((sent.data[at] ^ 1,)) + sent.data[at + 1 :]
    outcomes = (CHEATS["tampered"].code,)
    return sent._replace(
        data=data, id=hashlib.sha256(data).digest(), cheat="tampered", outcomes=outcomes
    )


def _copies(member: Member, victim: Member, network: str) -> Iterator[Delivery]:
    """It hears what another sends, and signs the same values as its own."""
    voice = _voice(member, network)
    for delivery in _Life(victim, network).deliveries():
        sent = [
            _copy(voice, heard, delivery.at + 2, member.records)
            for heard in delivery.sent
            if heard.outcomes == (ACCEPTED,)
        ]
        if sent:
            yield Delivery(delivery.at + 2, member, sent)


def _copy(voice: _Voice, heard: Sent, at: int, records: int) -> Sent:
    data, identity = voice.seal(heard.readings, at)
    code = CHEATS["copied"].code
    sure = len(heard.readings) >= WHOLE_WINDOW * records
    outcomes = (code,) if sure else (ACCEPTED, code)
    return Sent(data, identity, "copied", outcomes, "", heard.readings, at)


def _cloned(life: _Life) -> Iterator[Delivery]:
    """After a third of the run a second machine goes on from a copy of the device's storage."""
    plan, member = life.plan, life.member
    spare, clone = copy(life.voice), None
    for delivery in life.deliveries():
        if clone is None and delivery.at < plan.start + plan.run_s // 3:
            yield delivery
            spare = copy(life.voice)
            continue
        if clone is None:
            clone = spare
            yield delivery
        else:
            # The key is suspended: what its owner sends does not count any more either.
            late = [
                sent._replace(outcomes=("key.suspended",), cheat="cloned-key")
                for sent in delivery.sent
            ]
            yield Delivery(delivery.at, member, late)
        yield Delivery(delivery.at + 1, member, [_forked(clone, sent) for sent in delivery.sent])


def _forked(clone: _Voice, sent: Sent) -> Sent:
    readings = sent.readings[: max(1, len(sent.readings) - 1)]
    at = sent.at + 1
    data, identity = clone.seal(readings, at)
    return Sent(data, identity, "cloned-key", (CHEATS["cloned-key"].code,), "", readings, at)


def _flooded(life: _Life) -> Iterator[Delivery]:
    """One device sends more than its quota at once, each envelope with a time of its own."""
    plan, member = life.plan, life.member
    outcomes = (ACCEPTED, CHEATS["over-quota"].code)
    flood = True
    for delivery in life.deliveries():
        sent = [item._replace(outcomes=outcomes, cheat="over-quota") for item in delivery.sent]
        yield Delivery(delivery.at, member, sent)
        if not flood:
            continue
        flood = False
        first = delivery.sent[0].readings[: member.records]
        for count in range(1, plan.burst + FLOOD_ABOVE + 1):
            when = Decimal64(plan.start - count * PERIODS[member.kind])
            readings = [replace(item, time=when) for item in first]
            data, identity = life.voice.seal(readings, delivery.at)
            one = Sent(data, identity, "over-quota", outcomes, "", readings, delivery.at)
            yield Delivery(delivery.at, member, [one])
