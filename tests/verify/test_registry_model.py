"""A registry in columns is what its dictionaries would be, also after a snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.claims import Place
from depin_id.did.multikey import encode_multikey
from depin_id.enrolment import Enrolment
from depin_id.errors import ConfigError
from depin_id.keys import PublicKey, SoftwareSigner
from verify import columns
from verify.registry import Registry
from verify.subjects import Subjects


def _copied(columns: Any) -> dict[str, Any]:
    """Columns as a snapshot gives them back."""
    return {name: bytearray(column) for name, column in columns.items()}


_KEYS = [
    SoftwareSigner.generate("p256" if number % 3 == 0 else "ed25519").public_key
    for number in range(8)
]
_ENROLMENTS = [
    Enrolment.of(
        key,
        name=("", "at home", "Ænima\N{SNOWMAN}")[number % 3],
        profile=("noise", "", "x@1")[number % 3],
        owner="did:example:them" if number % 2 else "",
        role="gateway" if number == 5 else "device",
        place=Place(-900_000_000, 1_800_000_000) if number % 2 else None,
    )
    for number, key in enumerate(_KEYS)
]


@dataclass
class _Known:
    """What the registry should say of a device."""

    enrolment: Enrolment
    subject: int
    keys: list[list[Any]] = field(default_factory=list)
    revoked: int | None = None
    erased: bool = False


class _Model:
    """A registry of dictionaries."""

    def __init__(self) -> None:
        self.devices: dict[str, _Known] = {}
        self.holders: dict[bytes, tuple[str, list[Any]]] = {}

    def add_key(self, did: str, key: PublicKey, since: int) -> None:
        period = [key, since, None, None]
        self.devices[did].keys.append(period)
        self.holders[key.thumbprint] = did, period

    def enrol(self, number: int, at: int) -> str:
        enrolment = _ENROLMENTS[number]
        if enrolment.did in self.devices:
            return "registry.duplicate_device"
        if enrolment.key.thumbprint in self.holders:
            return "registry.duplicate_key"
        self.devices[enrolment.did] = _Known(enrolment, number)
        self.add_key(enrolment.did, enrolment.key, at)
        return ""

    def rotate(self, number: int, other: int, at: int) -> str:
        key, did = _KEYS[other], _ENROLMENTS[number].did
        if key.thumbprint in self.holders:
            return "registry.duplicate_key"
        if did not in self.devices:
            return "registry.unknown_device"
        if self.devices[did].erased:
            return "registry.erased"
        self.devices[did].keys[-1][2] = at
        self.add_key(did, key, at)
        return ""

    def revoke(self, number: int, at: int) -> str:
        device = self.devices.get(_ENROLMENTS[number].did)
        if device is None:
            return "registry.unknown_device"
        device.revoked = at if device.revoked is None else min(at, device.revoked)
        return ""

    def erase(self, number: int) -> str:
        device = self.devices.get(_ENROLMENTS[number].did)
        if device is None:
            return "registry.unknown_device"
        device.erased, device.enrolment = True, Enrolment.of(device.enrolment.key)
        return ""

    def suspend(self, number: int, at: int) -> str:
        held = self.holders.get(_KEYS[number].thumbprint)
        if held is not None and held[1][3] is None:
            held[1][3] = at
        return ""


def _carry_out(registry: Registry, op: tuple[str, int, int, int]) -> str:
    kind, number, other, at = op
    did = _ENROLMENTS[number].did
    try:
        match kind:
            case "enrol":
                registry.enrol(_ENROLMENTS[number], number, at)
            case "rotate":
                registry.rotate(did, _KEYS[other], at)
            case "revoke":
                registry.revoke(did, at)
            case "erase":
                registry.erase(did)
            case _:
                registry.suspend(_KEYS[number].thumbprint, at)
    except ConfigError as error:
        return error.code
    return ""


def _expected(model: _Model, op: tuple[str, int, int, int]) -> str:
    kind, number, other, at = op
    match kind:
        case "enrol":
            return model.enrol(number, at)
        case "rotate":
            return model.rotate(number, other, at)
        case "revoke":
            return model.revoke(number, at)
        case "erase":
            return model.erase(number)
        case _:
            return model.suspend(number, at)


def _check_registry(registry: Registry, model: _Model) -> None:
    assert [device.did for device in registry] == list(model.devices)
    for did, known in model.devices.items():
        device = registry.device(did)
        assert device is not None
        assert (device.enrolment, device.subject) == (known.enrolment, known.subject)
        assert (device.revoked_at, device.erased) == (known.revoked, known.erased)
        assert [[p.key, p.since, p.until, p.suspended_at] for p in device.keys] == known.keys
    for number, key in enumerate(_KEYS):
        held, wanted = registry.holder(key.thumbprint), model.holders.get(key.thumbprint)
        assert registry.candidates(key.kid) == (() if wanted is None else (key.thumbprint,))
        if wanted is None:
            assert held is None
        else:
            assert held is not None
            assert (held[0].did, held[1].key, held[1].since) == (wanted[0], *wanted[1][:2])
        did = _ENROLMENTS[number].did
        assert (registry.device(did) is not None) == (did in model.devices)
    profiles = [(d.subject, d.enrolment.profile) for d in model.devices.values() if not d.erased]
    assert list(registry.profiles()) == profiles


_NUMBER = st.integers(0, len(_KEYS) - 1)
_KINDS = st.sampled_from(("enrol", "enrol", "enrol", "rotate", "revoke", "erase", "suspend"))


@given(
    ops=st.lists(st.tuples(_KINDS, _NUMBER, _NUMBER, st.integers(0, 9)), max_size=30),
    again=st.sets(st.integers(0, 30), max_size=3),
)
def test_a_registry_is_what_its_dictionaries_would_be(
    ops: Sequence[tuple[str, int, int, int]], again: set[int]
) -> None:
    registry, model = Registry(), _Model()
    for number, op in enumerate(ops):
        assert _carry_out(registry, op) == _expected(model, op)
        if number in again:
            held = _copied(registry.columns())
            registry = Registry()
            registry.restore(held)
    _check_registry(registry, model)


def test_other_spellings_of_a_did_are_nobody() -> None:
    registry = Registry()
    did = registry.enrol(_ENROLMENTS[1], 0, 0).did
    assert registry.device(did) is not None
    point = b"\x02" + bytes(31) + b"\x05"  # no point of the curve
    for other in (
        *("", "did:key:", "did:web:example.com", did + "x", did[:-1], did + "#" + did[8:]),
        *("did:key:z1" + did[9:], did.upper(), "did:key:z" + "1" * 5000, "did:key:z0", "\ud800"),
        "did:key:" + Enrolment.of(_KEYS[0]).did[8:40],
        _did_of_point(point),
    ):
        assert registry.device(other) is None


def _did_of_point(raw: bytes) -> str:
    return "did:key:" + encode_multikey(PublicKey("p256", raw))


def test_an_erased_device_is_in_no_column() -> None:
    registry = Registry()
    enrolment = Enrolment.of(
        _KEYS[1], name="at their home", owner="did:example:owner", place=Place(451234567, 201234567)
    )
    device = registry.enrol(enrolment, 0, 0)
    other = registry.enrol(_ENROLMENTS[2], 1, 0)
    assert registry.holder(_KEYS[1].thumbprint) is not None
    registry.erase(device.did)
    stored = b"".join(bytes(column) for column in registry.columns().values())
    for secret in (b"home", b"did:example", (451234567).to_bytes(4, "little")):
        assert secret not in stored
    # Whoever holds a view sees it too, and the one beside it lost nothing.
    assert device.enrolment == Enrolment.of(_KEYS[1])
    assert other.enrolment == _ENROLMENTS[2]


def test_columns_that_do_not_fit_are_refused() -> None:
    registry = Registry()
    registry.enrol(_ENROLMENTS[1], 0, 0)
    for name in registry.columns():
        whole = bytes(registry.columns()[name])
        for other in (whole[:-1], whole * 2):
            if other == whole:
                continue
            held = _copied(registry.columns())
            held[name] = bytearray(other)
            with pytest.raises((ValueError, KeyError)):
                Registry().restore(held)


def test_names_that_hash_alike_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody finds such names in a test's time, so here every hash is the same."""
    monkeypatch.setattr(columns, "hash", lambda _: 7, raising=False)
    kept, registry = Subjects(), Registry()
    for number, enrolment in enumerate(_ENROLMENTS):
        kept.add(enrolment.did, bytes([number] * 16))
        registry.enrol(enrolment, number, 0)
    for _ in range(2):
        for number, enrolment in enumerate(_ENROLMENTS):
            assert kept.with_did(enrolment.did) == kept.with_ref(bytes([number] * 16)) == number
            assert registry.candidates(enrolment.key.kid) == (enrolment.key.thumbprint,)
            held = registry.device(enrolment.did)
            assert held is not None
            assert held.subject == number
        assert (kept.with_did("did:nobody"), registry.candidates(bytes(8))) == (None, ())
        held_subjects, held_devices = _copied(kept.columns()), _copied(registry.columns())
        kept, registry = Subjects(), Registry()
        kept.restore(held_subjects)
        registry.restore(held_devices)
