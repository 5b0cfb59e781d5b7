"""What the registry refuses, each rule by itself."""

from __future__ import annotations

import pytest

from depin_id.enrolment import Enrolment
from depin_id.errors import ConfigError
from depin_id.keys import PublicKey, SoftwareSigner
from verify.registry import MAX_CANDIDATES, Registry


def _key(thumbprint: bytes | None = None) -> PublicKey:
    key = SoftwareSigner.generate().public_key
    if thumbprint is not None:
        # Nobody finds real keys that share 8 bytes of a digest in a test's time.
        key.__dict__["thumbprint"] = thumbprint
    return key


def test_a_kid_has_a_bounded_number_of_keys() -> None:
    """Or an envelope would cost as many verifications as somebody enrolled keys for it."""
    registry = Registry()
    keys = [_key(b"same kid" + bytes([n] * 24)) for n in range(MAX_CANDIDATES + 1)]
    for subject, key in enumerate(keys[:-1]):
        registry.enrol(Enrolment.of(key), subject, 0)
    assert registry.candidates(b"same kid") == tuple(key.thumbprint for key in keys[:-1])
    with pytest.raises(ConfigError, match="registry.kid_crowded"):
        registry.enrol(Enrolment.of(keys[-1]), MAX_CANDIDATES, 0)
    with pytest.raises(ConfigError, match="registry.kid_crowded"):
        registry.rotate(Enrolment.of(keys[0]).did, keys[-1], 1)


def test_a_key_and_a_device_are_taken_once() -> None:
    registry, one, two, third = Registry(), _key(), _key(), _key()
    registry.enrol(Enrolment.of(one), 0, 0)
    registry.enrol(Enrolment.of(two), 1, 0)
    with pytest.raises(ConfigError, match="registry.duplicate_device"):
        registry.enrol(Enrolment.of(one), 2, 0)
    with pytest.raises(ConfigError, match="registry.duplicate_key"):
        registry.rotate(Enrolment.of(one).did, two, 1)
    registry.rotate(Enrolment.of(one).did, third, 1)
    with pytest.raises(ConfigError, match="registry.duplicate_key"):
        registry.enrol(Enrolment.of(third), 2, 2)
    # The key it had before is not free again.
    with pytest.raises(ConfigError, match="registry.duplicate_key"):
        registry.rotate(Enrolment.of(two).did, one, 2)


def test_what_ended_earlier_does_not_end_later() -> None:
    """A second revocation or fork must not take back what the first one ended."""
    registry, key = Registry(), _key()
    device = registry.enrol(Enrolment.of(key), 0, 0)
    for at, kept in ((50, 50), (70, 50), (30, 30)):
        registry.revoke(device.did, at)
        assert device.revoked_at == kept
    for at in (40, 60):
        registry.suspend(key.thumbprint, at)
        assert device.keys[0].suspended_at == 40
