"""base64url and moments: the one reader of each that every format shares."""

from __future__ import annotations

import pytest

from depin_id import base64url, rfc3339
from depin_id.errors import EncodingError


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"", ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (b"\xfb\xff", "-_8")],
)
def test_base64url_has_one_spelling(data: bytes, text: str) -> None:
    """Texts of RFC 4648 section 10 and its second alphabet."""
    assert base64url.encode(data) == text
    assert base64url.decode(text) == data


@pytest.mark.parametrize("text", ["Zg==", "Zh", "A", "+/8", "Zg\n", "Z g", "é", "-_9"])
def test_other_spellings_of_base64url_are_refused(text: str) -> None:
    with pytest.raises(EncodingError, match="base64url"):
        base64url.decode(text)


def test_moments_are_exact_whatever_their_zone() -> None:
    """The first two are of RFC 3339 section 5.8."""
    assert rfc3339.milliseconds("1985-04-12T23:20:50.52Z") == 482_196_050_520
    assert rfc3339.milliseconds("1996-12-19T16:39:57-08:00") == 851_042_397_000
    assert rfc3339.nanoseconds("1970-01-01T00:00:00.000000001Z") == 1
    assert rfc3339.milliseconds("1969-12-31T23:59:59.9995Z") == -1
    assert rfc3339.milliseconds("1970-01-01T00:00:00+00:00", utc=True) == 0


@pytest.mark.parametrize(
    "text",
    [
        *("2026-02-29T00:00:00Z", "2026-11-21T24:00:00Z", "2026-11-21T23:59:60Z"),
        *("2026-11-21T14:00:00", "2026-11-21", "2026-11-21 14:00:00Z", "20261121T140000Z"),
        *("2026-11-21T14:00:00+25:00", "2026-11-21T14:00:00.Z", "2026-11-21T14:00:00z", ""),
        *("2026-11-21T14:00:00.0000000001Z", "٢٠٢٦-11-21T14:00:00Z", None, 0),
    ],
)
def test_what_is_no_moment_is_none(text: object) -> None:
    """Without a zone above all: whose clock it is would depend on the machine that reads it."""
    assert rfc3339.nanoseconds(text) is None


def test_other_zones_are_refused_where_a_standard_has_utc_only() -> None:
    assert rfc3339.nanoseconds("1996-12-19T16:39:57-08:00", utc=True) is None
