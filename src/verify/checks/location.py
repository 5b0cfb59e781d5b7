"""Positions that came with readings: present, possible, fresh, exact, and reached in time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from depin_id.claims import Place
from depin_id.senml import Decimal64
from verify.checks import Finding
from verify.checks.geo import distance_at_most_mm, distance_mm
from verify.profile import Profile

_LAT_E7: Final = 900_000_000
_LON_E7: Final = 1_800_000_000
_BEYOND: Final = 1 << 62


MAX_SPOTS: Final = 32
"""How many adopted positions of a subject are remembered."""


class Spot(NamedTuple):
    """An adopted position: ms since 1970, degrees in 1e-7, its stated error."""

    time_ms: int
    lat_e7: int
    lon_e7: int
    error_mm: int = 0


Track = tuple[Spot, ...]
"""Adopted positions of a subject in the order of time, one at a time; the last is the newest."""


class Fix(NamedTuple):
    """A judged position.

    Attributes:
        finding: what is wrong, or None.
        place: where it was, None when something is wrong.
        track: the track to go on with, not yet thinned (:func:`thinned`).
    """

    finding: Finding | None
    place: Place | None
    track: Track


def _wrong(code: str, measured: str, limit: str, track: Track) -> Fix:
    return Fix(Finding(f"location.{code}", measured, limit), None, track)


def judge_fix(
    lat: Decimal64 | None,
    lon: Decimal64 | None,
    *,
    accuracy: Decimal64 | None,
    fix_age: Decimal64 | None,
    nominal_ms: int,
    dated: bool,
    track: Track,
    profile: Profile,
) -> Fix:
    """Judge the position of a reading.

    Args:
        lat, lon: degrees; None when the pack has none for this reading.
        accuracy: error in metres, None when not stated.
        fix_age: how much older than the reading it is, in seconds; None when not stated.
        nominal_ms: time of the reading.
        dated: whether that time has a lower bound. Without one, speed says nothing and the
            position is not adopted.
        track: where the subject was before and after, as far as it is remembered.
        profile: the bounds.

    Returns:
        The place, or one of ``location.missing`` (also exactly 0, 0, which receivers give before
        their first fix), ``location.out_of_range``, ``location.inaccurate``, ``location.stale``,
        ``location.speed``. A position that is wrong is not adopted into the track, so after a
        real jump the subject recovers as time passes.
    """
    if lat is None or lon is None or (lat.mantissa == 0 and lon.mantissa == 0):
        shown = "none" if lat is None or lon is None else "0, 0"
        return _wrong("missing", shown, "lat and lon", track)
    lat_e7, lon_e7 = _scaled(lat, 7), _scaled(lon, 7)
    if _beyond(lat, _LAT_E7) or _beyond(lon, _LON_E7):
        return _wrong("out_of_range", f"{lat}, {lon}", "90, 180", track)
    error_mm = 0 if accuracy is None else _scaled(accuracy, 3, up=True)
    allowed_mm = profile.max_accuracy_mm
    if error_mm < 0 or (allowed_mm is not None and error_mm > allowed_mm):
        limit = "0 mm or more" if allowed_mm is None else f"0 to {allowed_mm} mm"
        return _wrong("inaccurate", f"{accuracy} m", limit, track)
    age_ms = 0 if fix_age is None else _scaled(fix_age, 3, up=True)
    if abs(age_ms) > profile.max_fix_age_ms:
        return _wrong("stale", f"{fix_age} s", f"{profile.max_fix_age_ms} ms", track)
    place = Place(lat_e7, lon_e7)
    if not dated:
        return Fix(None, place, track)
    return _follow(place, nominal_ms - age_ms, error_mm, track, profile)


def _follow(place: Place, at_ms: int, error_mm: int, track: Track, profile: Profile) -> Fix:
    """Whether it can have come here from where it was, and gone on to where it was next.

    What comes late is held against its neighbours in time too: a way filled in backwards is a way.
    """
    here = Spot(at_ms, place.lat_e7, place.lon_e7, error_mm)
    at = bisect_right(track, at_ms, key=_time)
    # Both ends may be off by the stated error; a receiver states that of the 68 % circle.
    if at:
        finding = _too_fast(track[at - 1], here, error_mm, profile)
        if finding is not None:
            return Fix(finding, None, track)
    if at < len(track):
        # What is remembered was measured with an error of its own: that is not this one's fault.
        finding = _too_fast(here, track[at], max(error_mm, track[at].error_mm), profile)
        if finding is not None:
            return Fix(finding, None, track)
    if at and track[at - 1].time_ms == at_ms:
        return Fix(None, place, track)
    return Fix(None, place, (*track[:at], here, *track[at:]))


def _time(spot: Spot) -> int:
    return spot.time_ms


def _too_fast(a: Spot, b: Spot, error_mm: int, profile: Profile) -> Finding | None:
    """What is wrong with the way from one spot to a later one."""
    start, end = Place(a.lat_e7, a.lon_e7), Place(b.lat_e7, b.lon_e7)
    elapsed_ms = b.time_ms - a.time_ms
    reach_mm = profile.max_speed_mm_s * elapsed_ms // 1000 + 2 * error_mm
    if distance_at_most_mm(start, end) <= reach_mm:
        return None
    distance = distance_mm(start, end)
    if distance <= reach_mm:
        return None
    measured = f"{distance} mm in {elapsed_ms} ms"
    return Finding("location.speed", measured, f"{profile.max_speed_mm_s} mm/s")


def thinned(track: Track, earliest_ms: int) -> Track:
    """What is remembered of a track: at most :data:`MAX_SPOTS` spots, spread over its time.

    Of what is before ``earliest_ms``, when nothing can come in any more, the newest stays. Then
    the spot goes whose neighbours are closest in time, again and again, never the first or last:
    no gap becomes longer than two fifteenths of the time from ``earliest_ms`` on.
    """
    if len(track) <= MAX_SPOTS:
        return track
    track = track[max(0, bisect_right(track, earliest_ms, key=_time) - 1) :]
    gone = _closest(track, len(track) - MAX_SPOTS)
    return tuple(spot for index, spot in enumerate(track) if index not in gone)


def _closest(track: Sequence[Spot], excess: int) -> set[int]:
    """Which spots to leave out; of two with equal gaps the older one."""
    before, after = list(range(-1, len(track) - 1)), list(range(1, len(track) + 1))

    def gap(index: int) -> tuple[int, int]:
        return track[after[index]].time_ms - track[before[index]].time_ms, index

    queue = [gap(index) for index in range(1, len(track) - 1)]
    heapify(queue)
    gone: set[int] = set()
    while len(gone) < excess:
        found = heappop(queue)
        index = found[1]
        # A gap that has grown since stands in the queue again.
        if index in gone or found != gap(index):
            continue
        gone.add(index)
        left, right = before[index], after[index]
        after[left], before[right] = right, left
        for neighbour in (left, right):
            if 0 < neighbour < len(track) - 1:
                heappush(queue, gap(neighbour))
    return gone


def _beyond(degrees: Decimal64, limit_e7: int) -> bool:
    return abs(_scaled(degrees, 7)) > limit_e7 or abs(_scaled(degrees, 7, up=True)) > limit_e7


def _scaled(number: Decimal64, digits: int, *, up: bool = False) -> int:
    """The number in units of ``10**-digits``, rounded down or up and cut off at 2**62."""
    shift = number.exponent + digits
    mantissa = -number.mantissa if up else number.mantissa
    whole = int(mantissa * 10**shift if shift >= 0 else mantissa // 10**-shift)
    whole = max(-_BEYOND, min(_BEYOND, whole))
    return -whole if up else whole
