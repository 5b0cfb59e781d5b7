"""Profiles: the built-in ones, those of a folder, and errors that say where."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.errors import ConfigError
from depin_id.senml import Decimal64
from verify.profile import Field, load_profiles, parse_profile

EXAMPLE = """\
name = "air"
version = 3
location = "registered"
slot_ms = 60000

[fields]
pm25 = { unit = "ug/m3", minimum = 0, maximum = 999.9, required = true }
state = { kind = "text" }

[fields.door]
kind = "bool"
"""
RECORDS = """\
name = "walk"
version = 1
location = "records"
max_speed_mm_s = 3000
max_fix_age_ms = 1000
[fields]
lat = { unit = "lat", context = true }
lon = { unit = "lon", context = true }
x = { unit = "dB" }
"""


def test_the_built_in_profiles() -> None:
    profiles = load_profiles()
    assert list(profiles) == ["mobile-noise", "mobility", "noise", "weather"]
    assert all(len(profile.digest) == 32 for profile in profiles.values())
    assert len({profile.digest for profile in profiles.values()}) == 4
    noise = profiles["noise"]
    assert noise.required == {"laeq"} and noise.fields["laeq"].unit == "dB"
    assert profiles["mobile-noise"].location == "records"


def test_a_profile_as_it_is_written() -> None:
    profile = parse_profile(EXAMPLE)
    assert (profile.name, profile.version, profile.slot_ms) == ("air", 3, 60_000)
    assert profile.period_ms == profile.slot_ms and not profile.open_names
    assert profile.fields["pm25"].maximum == Decimal64(9999, -1)
    assert profile.fields["door"].kind == "bool" and profile.fields["state"].unit == ""
    with pytest.raises(TypeError):
        vars(profile)["fields"]["more"] = profile.fields["pm25"]


def test_everything_changes_the_digest_but_spelling_does_not() -> None:
    base = parse_profile(EXAMPLE).digest
    assert parse_profile(EXAMPLE.replace("999.9", '"9.999e2"') + "# more\n").digest == base
    changed = {
        parse_profile(EXAMPLE.replace(old, new)).digest
        for old, new in (
            ("version = 3", "version = 4"),
            ("999.9", "999.8"),
            ("minimum = 0, ", ""),
            ("60000", "60001"),
            ("required = true", "required = false"),
            ('"bool"', '"text"'),
            ("[fields]", "open_names = true\n[fields]"),
            ("[fields]", "max_records = 60\n[fields]"),
            ("registered", "none"),
        )
    }
    assert len(changed) == 9 and base not in changed


@given(
    st.integers(-(10**12), 10**12),
    st.integers(-6, 3),
    st.integers(-(10**12), 10**12),
    st.integers(-6, 3),
)
def test_bounds_by_exponent_are_exact(a: int, b: int, c: int, d: int) -> None:
    bound, value = Decimal64(a, b), Decimal64(c, d)
    field = Field("x", "", minimum=bound, maximum=bound)
    low, high = field.mantissas[value.exponent + 18]
    assert (low <= value.mantissa) == (bound <= value)
    assert (value.mantissa <= high) == (value <= bound)


def test_a_folder_adds_and_replaces(tmp_path: Path) -> None:
    (tmp_path / "air.toml").write_text(EXAMPLE)
    (tmp_path / "mine.toml").write_text(EXAMPLE.replace('"air"', '"noise"'))
    (tmp_path / "notes.txt").write_text("not a profile")
    profiles = load_profiles(tmp_path)
    assert set(profiles) == {"air", "mobile-noise", "mobility", "noise", "weather"}
    assert "pm25" in profiles["noise"].fields


def test_a_folder_that_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        load_profiles(tmp_path / "none")
    (tmp_path / "a.toml").write_text(EXAMPLE)
    (tmp_path / "b.toml").write_text(EXAMPLE)
    with pytest.raises(ConfigError, match="b.toml: another file"):
        load_profiles(tmp_path)
    (tmp_path / "b.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="b.toml cannot be read"):
        load_profiles(tmp_path)


@pytest.mark.parametrize(
    ("base", "old", "new", "message"),
    [
        (EXAMPLE, "ug/m3", "µg/m3", "line 7: fields.pm25: .*not a registered"),
        (EXAMPLE, "999.9", "-1", "line 7: fields.pm25: minimum 0 is above maximum -1"),
        (EXAMPLE, "999.9", '"many"', "line 7: fields.pm25.maximum"),
        (EXAMPLE, "999.9", "1e99", "the number needs more digits"),
        (EXAMPLE, "999.9", "99999999999999999999", "line 7: fields.pm25.maximum"),
        (EXAMPLE, "999.9", "inf", "inf"),
        (EXAMPLE, "999.9", "true", "line 7: fields.pm25.maximum"),
        (EXAMPLE, "required", "needed", "line 7: fields.pm25.needed is not known"),
        (EXAMPLE, '"text"', '"text", minimum = 0', "line 8: fields.state: a text has no minimum"),
        (EXAMPLE, '"bool"', '"data"', "line 11: fields.door.kind"),
        (EXAMPLE, '"air"', '"Air"', "line 1: name"),
        (EXAMPLE, "version = 3", "", "version"),
        (EXAMPLE, "60000", "-1", "line 4: slot_ms"),
        (EXAMPLE, '"text"', '"text", context = true', "context has a meaning only"),
        (EXAMPLE, "state =", '"a b" =', "fields"),
        (EXAMPLE, "[fields]", "[fields", "line 6, column 8"),
        (RECORDS, 'lat = { unit = "lat", context = true }\n', "", "needs a field lat"),
        (RECORDS, 'unit = "lon"', 'unit = "deg"', "the field lon carries the position"),
        (RECORDS, "max_speed_mm_s = 3000\n", "", "needs max_speed_mm_s"),
        (RECORDS, "context = true", "context = true, required = true", "cannot be required"),
    ],
)
def test_what_is_wrong_is_named(base: str, old: str, new: str, message: str) -> None:
    parse_profile(base)
    with pytest.raises(ConfigError, match=message) as caught:
        parse_profile(base.replace(old, new), source="air.toml")
    assert caught.value.code == "profile.invalid" and "air.toml" in str(caught.value)


def test_a_profile_that_nothing_could_pass() -> None:
    with pytest.raises(ConfigError, match="nothing could pass"):
        parse_profile('name = "x"\nversion = 1\nfields = {}')
