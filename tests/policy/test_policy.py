"""Policies: defaults, hashing, and errors that say where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id import cbor
from depin_id.errors import ConfigError
from verify.policy import Policy
from verify.profile import load_profiles, parse_profile

EXAMPLE = """\
# A stricter network.
rules = 1
default_profile = "noise"
cell_resolution = 8

[time]
max_future_s = 5
max_age_s = 86_400

[quota]
owner_per_minute = 600
owner_burst = 6000

[levels]
minimum = "D1"
"""


def test_an_empty_file_is_a_policy() -> None:
    policy = Policy.from_toml("")
    assert (policy.rules, policy.default_profile, policy.cell_resolution) == (1, "", 9)
    assert (policy.time.max_future_s, policy.time.max_age_s) == (30, 2_592_000)
    assert (policy.quota.device_per_minute, policy.quota.device_burst) == (120, 3600)
    assert policy.levels.minimum == "G0" and not policy.algorithms.allow_deprecated
    assert set(policy.profiles) == {"noise", "weather", "mobility", "mobile-noise"}


@pytest.mark.parametrize("text", ["", EXAMPLE])
def test_both_written_forms_give_it_back(text: str) -> None:
    policy = Policy.from_toml(text)
    assert Policy.from_toml(policy.to_toml()) == policy
    again = Policy.from_encoded(policy.encoded)
    assert again == policy and again.digest == policy.digest and len(policy.digest) == 32
    assert cbor.decode(policy.encoded)[0] == "depin/policy/1"


def test_every_setting_and_every_profile_changes_the_digest() -> None:
    digests = {Policy.from_toml(text).digest for text in ("", EXAMPLE)}
    for line in (
        "cell_resolution = 8",
        'default_profile = "noise"',
        "[time]\nmax_interval_s = 901",
        "[quota]\ndevice_burst = 3601",
        'levels.minimum = "D2"',
        "algorithms.allow_deprecated = true",
        "gateway.max_lag_s = 1",
    ):
        digests.add(Policy.from_toml(line).digest)
    profiles = dict(load_profiles())
    text = 'name = "noise"\nversion = 2\n[fields]\nlaeq = { unit = "dB", maximum = "139.9" }'
    profiles["noise"] = parse_profile(text)
    digests.add(Policy.from_toml("", profiles=profiles).digest)
    assert len(digests) == 10


def test_a_changed_copy_has_its_own_digest() -> None:
    policy = Policy.from_toml("")
    before = policy.digest
    assert policy.model_copy(update={"cell_resolution": 3}).digest != before == policy.digest


def test_a_file_can_pin_its_profiles() -> None:
    text = Policy.from_toml("").to_toml()
    changed = dict(load_profiles())
    changed["noise"] = parse_profile('name = "noise"\nversion = 9\nopen_names = true\nfields = {}')
    with pytest.raises(ConfigError, match="profiles.noise"):
        Policy.from_toml(text, profiles=changed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules = 2", "line 1: rules"),
        ("\n\nmaximum = 1", "line 3: maximum is not known"),
        ("[time]\nmax_future = 3", "line 2: time.max_future is not known"),
        ("[time]\n# soon\nmax_future_s = -1", "line 3: time.max_future_s"),
        ("[time]\nmax_future_s = 1.5", "line 2: time.max_future_s.*1.5"),
        ("[time]\nmax_future_s = true", "line 2: time.max_future_s"),
        ('[time]\nmax_future_s = "3"', "line 2: time.max_future_s"),
        ("[time]\nmax_clock_error_s = 4000", "line 1: time: unusable_clock_error_s is below"),
        ("[quota]\nowner_per_minute = 5", "line 1: quota: owner_per_minute needs owner_burst"),
        ('levels.minimum = "D9"', "line 1: levels.minimum"),
        ("cell_resolution = 16", "line 1: cell_resolution"),
        ('default_profile = "sound"', "default_profile: there is no profile 'sound'"),
        ("[time\nmax_age_s = 3", "line 1, column 6"),
        ("rules = 1\nrules = 1", "Cannot overwrite"),
        ("rules = nan", "nan"),
        ("[" * 100_000, "policy.toml"),
        ("#" * 300_000, "no text of at most"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Policy.from_toml(text)
    assert caught.value.code == "policy.invalid"


@given(st.binary(max_size=40) | st.text(max_size=20).map(lambda t: cbor.encode([t, {}])))
def test_bytes_that_are_no_policy(data: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        Policy.from_encoded(data)
    assert caught.value.code == "policy.invalid"


def test_an_encoded_policy_has_one_form() -> None:
    head, content = cbor.decode(Policy.from_toml("").encoded)
    for wrong in (
        [head, content | {"more": 1}],
        [head, content | {"rules": 2}],
        [head, content | {"cell_resolution": 9.0}],
        [head, {key: content[key] for key in content if key != "time"}],
        ["depin/policy/2", content],
        [head, content, 1],
    ):
        with pytest.raises(ConfigError):
            Policy.from_encoded(cbor.encode(wrong))
