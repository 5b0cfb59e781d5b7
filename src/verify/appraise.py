"""The pure pipeline: (envelope bytes, receipt, world) to a verdict. No I/O, clock or randomness.

It has two steps. :func:`authenticate` looks at form, key and signature. :func:`judge` looks at who
may speak, position and chain, quota, time and content. Anyone can run them again over the journal
and get the same verdicts bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from depin_id.capability import Capability
from verify.checks import quota
from verify.checks.attestation import Ground, ground_of
from verify.checks.capability import find_capability, purse_of, refuse_use, spend
from verify.checks.identity import refuse_key, refuse_level, refuse_speaker, speaks_for
from verify.checks.payload import Content, judge_payload
from verify.checks.sequence import Recorded, Standing, stand
from verify.verdict import Accepted, Indeterminate, Rejected, Verdict, fault_of
from verify.world import Authenticated, Change, Judgement, Receipt, Refusal, World

RULES = 1
"""The rules version of this module: a change that can alter a verdict makes a new one."""

MAX_SUBJECTS = 1024
"""Sensors one gateway may speak for; what comes beyond is counted, so streams stay bounded."""


_NOWHERE = Ground("")


@dataclass(slots=True)
class _Case:
    """An authenticated envelope on its way through the checks."""

    auth: Authenticated
    receipt: Receipt
    world: World
    change: Change
    standing: Standing
    capability: Capability | None = None
    ground: Ground = _NOWHERE


def _place(
    auth: Authenticated, world: World
) -> tuple[Change, Standing, Capability | None] | Rejected:
    """Its stream and where it stands there; Rejected when it may not open another stream."""
    sub, role = auth.envelope.claims.sub, auth.device.enrolment.role
    if sub is not None and role != "gateway":
        # No stream is opened for it: each would bring a quota and a data key of its own.
        if auth.device.erased:
            return _rejected("device.erased")
        return Rejected("subject.refused", "device", sub, "only a gateway signs for sensors")
    cap, capability = auth.envelope.claims.cap, None
    if cap is not None:
        found = find_capability(auth, cap, world)
        if isinstance(found, Rejected):
            return found
        capability = found
    subject_did = speaks_for(auth)
    state = world.state
    subject = state.subject_of(subject_did)
    if subject is None and state.children.get(auth.device.did, 0) >= MAX_SUBJECTS:
        return Rejected("subject.refused", "gateway", f"more than {MAX_SUBJECTS} subjects")
    stream = None if subject is None else state.streams.find(auth.thumbprint, subject)
    at = auth.envelope.provenance

    def lookup(epoch: int, n: int) -> Recorded | None:
        return None if stream is None else world.recorded(stream, epoch, n)

    mark = None if stream is None else state.streams.mark(stream)
    standing = stand(mark, at, auth.id, lookup)
    change = Change(
        thumbprint=auth.thumbprint,
        subject_did=subject_did,
        parent=auth.device.did,
        subject=subject,
        stream=stream,
        epoch=at.epoch,
        n=at.n,
        id=auth.id,
        prev=at.prev,
        consumes=standing.status not in ("duplicate", "forked"),
        mark=standing.mark,
    )
    return change, standing, capability


def _charge(case: _Case) -> Rejected | None:
    """Take one envelope from the quotas of device and owner."""
    rules, change, world = case.world.policy.quota, case.change, case.world
    gateway = case.auth.device.enrolment.role == "gateway"
    rate = rules.gateway_per_minute if gateway else rules.device_per_minute
    burst = rules.gateway_burst if gateway else rules.device_burst
    held = None if change.stream is None else world.state.streams.bucket(change.stream)
    bucket, allowed = quota.take(held, case.receipt.at, rate, burst)
    if not allowed:
        return Rejected("quota.exceeded", "owner", f"over {rate} a minute", f"burst {burst}")
    change.bucket = bucket
    device, owners = case.auth.device, world.identity.owners
    owner = device.enrolment.owner
    if owners and device.did in owners:
        # Whose it is rests sealed, so it is not written out beside every envelope either.
        owner = world.identity.owner_of(device.did, case.receipt.at)
        owner = owner and purse_of(owner)
    # Who still has a key that was revoked or rotated away must not use up the owner's others.
    silent = refuse_key(device, case.auth.period, case.receipt.at) is not None
    if owner and rules.owner_per_minute and not silent:
        purse, allowed = quota.take(
            world.state.owners.get(owner),
            case.receipt.at,
            rules.owner_per_minute,
            rules.owner_burst,
        )
        if not allowed:
            limit = f"burst {rules.owner_burst}"
            return Rejected(
                "quota.exceeded", "owner", f"over {rules.owner_per_minute} a minute", limit
            )
        change.owner = (owner, purse)
    return None


def _rejected(code: str, measured: str = "", limit: str = "") -> Rejected:
    return Rejected(code, fault_of(code), measured, limit)


def _refuse_position(case: _Case) -> Rejected | None:
    at = case.auth.envelope.provenance
    if case.standing.status == "forked" and case.standing.recorded is not None:
        case.change.suspend = True
        first = case.standing.recorded.id.hex()[:16]
        return _rejected(
            "sequence.forked", f"{case.auth.id.hex()[:16]} at {at.epoch}/{at.n}", first
        )
    if case.standing.status == "broken":
        return _rejected("chain.broken", f"prev {at.prev.hex()} at {at.epoch}/{at.n}")
    return None


def _refuse_subject(case: _Case) -> Rejected | None:
    """Refuse what is signed for a subject that was erased; its own device has no such envelope."""
    index = case.change.subject
    if index is None or not case.world.state.subjects[index].erased:
        return None
    return _rejected("device.erased")


def judge(
    auth: Authenticated,
    receipt: Receipt,
    world: World,
    inner: Authenticated | Refusal | None = None,
) -> Judgement:
    """Judge an authenticated envelope.

    Args:
        auth: from :func:`authenticate`.
        receipt: when the aggregator received it.
        world: the state as of the entry before.
        inner: for a gateway envelope, what it holds (:func:`open_inner`).
    """
    placed = _place(auth, world)
    if isinstance(placed, Rejected):
        return Judgement("counted", placed)
    change, standing, capability = placed
    if standing.status == "duplicate":
        return Judgement("duplicate", Accepted(100, ""), recorded=standing.recorded)
    case = _Case(auth, receipt, world, change, standing, capability)
    over = _charge(case)
    if over is not None:
        return Judgement("counted", over)
    refused = _refuse_position(case) or refuse_speaker(auth, receipt)
    if refused is None:
        ground = ground_of(auth, receipt, world)
        if isinstance(ground, Indeterminate):
            return Judgement("waiting", ground)
        case.ground, change.result = ground, ground.result
        refused = refuse_level(ground.level, world)
    if refused is None and capability is not None:
        refused = _refuse_subject(case) or refuse_use(capability, auth, receipt, world)
        if refused is None:
            spent = spend(capability, change.subject_did, receipt, world)
            if isinstance(spent, Rejected):
                return Judgement("counted", spent)
            change.spent = spent
    if refused is not None:
        return _entry(case, refused)
    return _judge_content(case, inner)


def _judge_content(case: _Case, inner: Authenticated | Refusal | None) -> Judgement:
    content = judge_payload(case.auth, case.receipt, case.world, case.change, inner)
    if content.anchor is not None:
        case.change.anchor = content.anchor
    case.change.carried = content.carried
    if content.refusal is not None:
        return _entry(case, content.refusal)
    case.change.series = content.series
    case.change.track = content.track
    case.change.windows = content.windows
    case.change.sighted = content.sighted
    flags = {*case.standing.flags, *case.receipt.flags, *case.ground.flags, *content.flags}
    verdict = Accepted(content.quality, case.ground.level, tuple(sorted(flags)))
    return _entry(case, verdict, content)


def _entry(case: _Case, verdict: Verdict, content: Content | None = None) -> Judgement:
    if isinstance(verdict, Rejected) and case.receipt.flags:
        flags = tuple(sorted({*verdict.flags, *case.receipt.flags}))
        verdict = Rejected(verdict.code, verdict.at_fault, verdict.measured, verdict.limit, flags)
    records = content.records if content is not None else None
    return Judgement("entry", verdict, case.change, records, case.standing.recorded)


def verdict_of_refusal(refusal: Refusal) -> Verdict:
    """The verdict on bytes that could not be authenticated."""
    if refusal.code == "device.unknown":
        return Indeterminate("device.unknown", "enrolment", refusal.measured)
    return Rejected(refusal.code, fault_of(refusal.code), refusal.measured)
