"""Positions that came with readings: present, possible, fresh, exact, and reached in time."""

from __future__ import annotations

from typing import Final, NamedTuple

from depin_id.claims import Place
from depin_id.senml import Decimal64
from verify.checks import Finding
from verify.checks.geo import distance_at_most_mm, distance_mm
from verify.profile import Profile

_LAT_E7: Final = 900_000_000
_LON_E7: Final = 1_800_000_000
_BEYOND: Final = 1 << 62


class Track(NamedTuple):
    """The newest adopted position of a subject: time in ms since 1970, degrees in 1e-7."""

    time_ms: int
    lat_e7: int
    lon_e7: int


class Fix(NamedTuple):
    """A judged position.

    Attributes:
        finding: what is wrong, or None.
        place: where it was, None when something is wrong.
        track: the track to go on with.
    """

    finding: Finding | None
    place: Place | None
    track: Track | None


def _wrong(code: str, measured: str, limit: str, track: Track | None) -> Fix:
    return Fix(Finding(f"location.{code}", measured, limit), None, track)


def judge_fix(
    lat: Decimal64 | None,
    lon: Decimal64 | None,
    *,
    accuracy: Decimal64 | None,
    fix_age: Decimal64 | None,
    nominal_ms: int,
    dated: bool,
    track: Track | None,
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
        track: where the subject was last.
        profile: the bounds.

    Returns:
        The place, or one of ``location.missing`` (also exactly 0, 0, which receivers give before
        their first fix), ``location.out_of_range``, ``location.inaccurate``, ``location.stale``,
        ``location.speed``. A position that is wrong is not adopted as the track, so after a real
        jump the subject recovers as time passes.
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


def _follow(place: Place, at_ms: int, error_mm: int, track: Track | None, profile: Profile) -> Fix:
    """Whether it can have come here from where it was."""
    here = Track(at_ms, place.lat_e7, place.lon_e7)
    if track is None:
        return Fix(None, place, here)
    before = Place(track.lat_e7, track.lon_e7)
    elapsed_ms = abs(at_ms - track.time_ms)
    # Both ends may be off by the stated error; a receiver states that of the 68 % circle.
    reach_mm = profile.max_speed_mm_s * elapsed_ms // 1000 + 2 * error_mm
    if distance_at_most_mm(before, place) > reach_mm:
        distance = distance_mm(before, place)
        if distance > reach_mm:
            measured = f"{distance} mm in {elapsed_ms} ms"
            return _wrong("speed", measured, f"{profile.max_speed_mm_s} mm/s", track)
    # What comes late is judged against the newest position and does not replace it.
    return Fix(None, place, here if at_ms >= track.time_ms else track)


def _beyond(degrees: Decimal64, limit_e7: int) -> bool:
    return abs(_scaled(degrees, 7)) > limit_e7 or abs(_scaled(degrees, 7, up=True)) > limit_e7


def _scaled(number: Decimal64, digits: int, *, up: bool = False) -> int:
    """The number in units of ``10**-digits``, rounded down or up and cut off at 2**62."""
    shift = number.exponent + digits
    mantissa = -number.mantissa if up else number.mantissa
    whole = int(mantissa * 10**shift if shift >= 0 else mantissa // 10**-shift)
    whole = max(-_BEYOND, min(_BEYOND, whole))
    return -whole if up else whole
