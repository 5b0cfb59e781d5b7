"""The signed content: packs of readings, sightings, status reports, hashes and evidence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from depin_id import cbor
from depin_id.ack import challenge_nonce
from depin_id.envelope import CONTENT_SENML, CONTENT_SIGN1, CONTENT_STATUS, MAX_STATUS
from depin_id.errors import EncodingError
from depin_id.senml import Columns, Record, decode_columns
from verify.checks.clock import Anchor, Sealing, sealing_of
from verify.checks.contents import Kept
from verify.checks.identity import signer_of
from verify.checks.location import Track
from verify.checks.pack import PackOutcome, judge_pack
from verify.checks.slots import Ranges, changes
from verify.columns import RecordColumns, Rows
from verify.leaf import MAX_RECORDS_BYTES, RecordsContent
from verify.profile import Profile, find_profile
from verify.state import Sighted, Subject
from verify.verdict import REPEATED, Rejected, fault_of
from verify.world import Authenticated, Change, Receipt, Refusal, World

_UNPAID = ("time.unbounded", "time.interval_wide")
_ROW_BYTES = 300
"""More than a judged record takes beside its value: name, unit, times, place, code and flags."""


_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Content(NamedTuple):
    """What the payload came to."""

    refusal: Rejected | None = None
    records: RecordsContent | None = None
    quality: int = 100
    flags: tuple[str, ...] = ()
    anchor: Anchor | None = None
    series: Mapping[str, Ranges] = _NOTHING
    track: Track | None = None
    windows: tuple[bytes, ...] = ()
    carried: Mapping[str, Kept] = _NOTHING
    sighted: Sighted | None = None


def _refused(code: str, measured: str = "", limit: str = "") -> Rejected:
    return Rejected(code, fault_of(code), measured, limit)


def judge_payload(
    auth: Authenticated,
    receipt: Receipt,
    world: World,
    change: Change,
    inner: Authenticated | Refusal | None,
) -> Content:
    """Judge the content by its type."""
    content_type = auth.envelope.content_type
    if content_type == CONTENT_SIGN1:
        return _judge_sighting(auth, receipt, world, inner)
    if content_type == CONTENT_STATUS:
        return _judge_status(auth.envelope.payload)
    if content_type != CONTENT_SENML:
        return Content()
    return _judge_pack(auth, receipt, world, change)


def _judge_sighting(
    auth: Authenticated, receipt: Receipt, world: World, inner: Authenticated | Refusal | None
) -> Content:
    """A gateway counts once for an envelope, however often it wraps it."""
    flags = _sighting_flags(inner) + _lag_flags(auth, receipt, world)
    if not isinstance(inner, Authenticated):
        return Content(flags=flags)
    seen = (auth.device.subject, inner.id[:16])
    if seen in world.state.sightings or inner.device.erased:
        return Content(flags=(*flags, REPEATED))
    return Content(flags=flags, sighted=seen)


def _sighting_flags(inner: Authenticated | Refusal | None) -> tuple[str, ...]:
    """What is wrong inside is told on the gateway's stream; the sighting itself stands."""
    if isinstance(inner, Authenticated):
        return ()
    if inner is None or inner.kid is None:
        return ("inner.malformed",)
    return ("inner.unknown",) if inner.code == "device.unknown" else ("inner.invalid",)


def _lag_flags(auth: Authenticated, receipt: Receipt, world: World) -> tuple[str, ...]:
    """Whether the gateway says it received the envelope too long ago, or later than we did."""
    seen, rules = auth.envelope.claims.iat, world.policy
    if seen is None:
        return ("sighting.undated",)
    if receipt.at - seen * 1000 > rules.gateway.max_lag_s * 1000:
        return ("sighting.lagging",)
    if seen * 1000 - receipt.at > rules.time.max_future_s * 1000:
        return ("sighting.future",)
    return ()


def _judge_status(payload: bytes) -> Content:
    try:
        value = cbor.decode(payload, max_bytes=MAX_STATUS)
    except EncodingError as error:
        return Content(_refused("payload.malformed", error.code))
    if not isinstance(value, dict):
        return Content(_refused("payload.malformed", "a status is a map"))
    return Content()


def _beacon_time(auth: Authenticated, world: World) -> int | None:
    """When the checkpoint was made that the echoed downlink nonce names, ms since 1970."""
    nonce = auth.envelope.claims.nonce
    if nonce is None or len(nonce) != 16:
        return None
    size = int.from_bytes(nonce[:8], "big")
    beacon = world.state.beacons.get(size)
    if beacon is None or challenge_nonce(size, beacon[1], auth.thumbprint) != nonce:
        return None
    return beacon[0]


def _profile(auth: Authenticated, world: World) -> Profile | None:
    named = auth.device.enrolment.profile if auth.envelope.claims.sub is None else ""
    return find_profile(world.profiles, named or world.policy.default_profile or "")


def _judge_pack(auth: Authenticated, receipt: Receipt, world: World, change: Change) -> Content:
    envelope = auth.envelope
    held = None if change.stream is None else world.state.streams.anchor(change.stream)
    sealing, anchor, time_flags, unusable = sealing_of(
        envelope.provenance,
        envelope.claims,
        receipt.at,
        held,
        _beacon_time(auth, world),
        world.policy,
    )
    if unusable is not None:
        refusal = _refused(unusable.code, unusable.measured, unusable.limit)
        return Content(refusal, anchor=anchor)
    profile = _profile(auth, world)
    if profile is None:
        named = auth.device.enrolment.profile or world.policy.default_profile or "none"
        return Content(_refused("profile.unknown", named), anchor=anchor)
    try:
        records: Columns | list[Record]
        if auth.pack is not None and len(auth.pack.names) <= profile.max_records:
            records = auth.pack
        else:
            records = decode_columns(
                envelope.payload, subject=change.subject_did, max_records=profile.max_records
            )
    except EncodingError as error:
        code = {"senml.empty": "payload.empty", "senml.too_many": "profile.too_many"}
        refusal = _refused(code.get(error.code, "payload.malformed"), error.code, error.message)
        return Content(refusal, anchor=anchor)
    return _judge_readings(
        auth, receipt, world, change, profile, records, sealing, anchor, time_flags
    )


def _judge_readings(
    auth: Authenticated,
    receipt: Receipt,
    world: World,
    change: Change,
    profile: Profile,
    records: Columns | list[Record],
    sealing: Sealing,
    anchor: Anchor | None,
    time_flags: tuple[str, ...],
) -> Content:
    subject = (
        Subject(change.subject_did, b"")
        if change.subject is None
        else world.state.subjects[change.subject]
    )
    place = auth.device.enrolment.place
    outcome = judge_pack(
        records,
        profile=profile,
        policy=world.policy,
        sealing=sealing,
        received_at=receipt.at,
        state=subject.for_records(),
        registered=place,
    )
    found, columns = outcome.refusal, outcome.columns
    if found is not None or columns is None:
        assert found is not None
        return Content(_refused(found.code, found.measured, found.limit), anchor=anchor)
    flags = set(time_flags)
    sent = outcome.windows
    looked = (*sent, *_kept(auth, sent)) if _is_gateway(auth) else sent
    others = {world.state.holder_of(window) for window in looked}
    if others - {change.subject, None}:
        # What was refused is kept too: the rest of the window is as much a copy as its beginning.
        refusal = _refused("content.repeated")
        return Content(refusal, anchor=anchor, carried=outcome.carried)
    series = {
        name: changes(subject.series.get(name, ()), ranges)
        for name, ranges in outcome.series.items()
    }
    signer = signer_of(auth, world)
    return _accept(auth, signer, change, outcome, columns, series, anchor, flags)


def _is_gateway(auth: Authenticated) -> bool:
    return auth.device.enrolment.role == "gateway"


def _kept(auth: Authenticated, windows: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """How windows are remembered: those of a gateway apart from those of devices.

    Who carries an envelope can read it and could sell its content first, so a device's content is
    held against other devices' only, a gateway's against everybody's.
    """
    return tuple(window + b"g" for window in windows) if _is_gateway(auth) else windows


def _accept(
    auth: Authenticated,
    signer: str,
    change: Change,
    outcome: PackOutcome,
    columns: RecordColumns,
    series: Mapping[str, Ranges],
    anchor: Anchor | None,
    flags: set[str],
) -> Content:
    tally = columns.tally()
    if tally.counted < tally.measured:
        flags.add("record.refused")
    flags.update(flag for flag in tally.flags if flag in _UNPAID)
    content = RecordsContent(
        signer, auth.thumbprint, change.subject_did, Rows(columns), outcome.reasons
    )
    if columns.size * _ROW_BYTES + len(auth.envelope.payload) > MAX_RECORDS_BYTES:
        size = len(content.encode())
        if size > MAX_RECORDS_BYTES:
            # Base fields are sent once and judged in every record: nobody could read it again.
            limit = f"{MAX_RECORDS_BYTES} bytes"
            return Content(_refused("profile.too_many", f"{size} bytes", limit), anchor=anchor)
    quality = 100 * tally.counted // tally.measured if tally.measured else 100
    return Content(
        records=content,
        quality=quality,
        flags=tuple(flags),
        anchor=anchor,
        series=series,
        track=outcome.track,
        windows=_kept(auth, outcome.windows),
        carried=outcome.carried,
    )
