"""Enrolled devices and the history of their keys, as a fold of the journal's entries.

A device is known by its DID; it speaks through keys, each valid from one receipt time to another.
Keys are chosen by the aggregator's receipt time, never by the device's clock. One thumbprint
belongs to one DID for ever.

Devices and keys are rows of columns; :class:`Device` and :class:`KeyPeriod` are views of a row, so
whoever holds one sees what is true now.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

from depin_id import cbor
from depin_id.claims import Place
from depin_id.did.key import did_key, thumbprint_of
from depin_id.enrolment import Enrolment
from depin_id.errors import ConfigError, EncodingError
from depin_id.keys import PublicKey
from verify.dense import Buffer, Column, HashIndex, fill, pieces
from verify.device_columns import POINT, THUMBPRINT, DeviceColumns, KeyColumns
from verify.identity.entries import KeySpan, by_key

MAX_CANDIDATES = 4
"""How many keys with one kid are tried; further ones are refused at enrolment."""

_RECENT: Final = 16_384
"""How many devices that spoke last are kept as objects."""
_NONE: Final = -(1 << 62)
_NOTHING: Final = -1
_KID: Final = 8
_ERASED, _GATEWAY, _PLACED = 1, 2, 4


def _named(data: bytes) -> dict[int, str]:
    try:
        return dict(cbor.decode(data, max_bytes=len(data)))
    except (EncodingError, TypeError) as error:
        raise ValueError("names of devices that are none") from error


def _optional(value: int) -> int | None:
    return None if value == _NONE else value


class KeyPeriod:
    """A key and when it counts."""

    __slots__ = ("_key", "_keys", "_row")

    def __init__(self, keys: KeyColumns, row: int) -> None:
        self._keys, self._row = keys, row
        self._key: PublicKey | None = None

    @property
    def key(self) -> PublicKey:
        """The key; it was admitted when it was enrolled."""
        if self._key is None:
            self._key = self._keys.key(self._row)
        return self._key

    @property
    def since(self) -> int:
        """Receipt time in ms from which it counts."""
        return self._keys.since[self._row]

    @property
    def until(self) -> int | None:
        """Receipt time in ms from which it does not count any more, or None."""
        return _optional(self._keys.until[self._row])

    @property
    def suspended_at(self) -> int | None:
        """Receipt time in ms at which it was seen to fork, or None."""
        return _optional(self._keys.suspended[self._row])

    @property
    def compromised_at(self) -> int | None:
        """Receipt time in ms from which it was somebody else's too, or None."""
        return _optional(self._keys.compromised[self._row])


class Device:
    """One enrolled device."""

    __slots__ = ("_as_of", "_enrolment", "_registry", "_row")

    def __init__(self, registry: Registry, row: int) -> None:
        self._registry, self._row = registry, row
        self._enrolment: Enrolment | None = None
        self._as_of = 0

    @property
    def enrolment(self) -> Enrolment:
        """As accepted; of an erased device only the key is left."""
        if self._enrolment is None or self._as_of != self._registry.erasures:
            self._enrolment = self._registry.enrolment(self._row)
            self._as_of = self._registry.erasures
        return self._enrolment

    @property
    def did(self) -> str:
        """The device's DID."""
        return self.enrolment.did

    @property
    def subject(self) -> int:
        """Index of its own subject in the state."""
        return self._registry.devices.subject[self._row]

    @property
    def keys(self) -> list[KeyPeriod]:
        """Its keys in the order of their validity."""
        return self._registry.periods(self._row)

    @property
    def revoked_at(self) -> int | None:
        """Receipt time in ms from which nothing of it is accepted, or None."""
        return _optional(self._registry.devices.revoked[self._row])

    @property
    def erased(self) -> bool:
        """Whether its data were erased on request."""
        return bool(self._registry.devices.flags[self._row] & _ERASED)


class Counts(NamedTuple):
    """How many devices there are, and how many of them may not speak."""

    enrolled: int
    revoked: int
    erased: int
    suspended: int


class Registry:
    """All devices, found by DID, thumbprint and kid.

    Attributes:
        devices, keys: the columns; only views read them.
        erasures: how many devices were erased since it was made.
    """

    def __init__(self) -> None:
        self.devices, self.keys = DeviceColumns(), KeyColumns()
        self.erasures = 0
        self._by_kid = HashIndex()
        self._by_name: dict[str, int] = {}
        self._recent: OrderedDict[bytes, tuple[Device, KeyPeriod]] = OrderedDict()
        self._hinted: dict[bytes, tuple[bytes, ...]] = {}

    def __len__(self) -> int:
        return len(self.devices.flags)

    def __iter__(self) -> Iterator[Device]:
        return (Device(self, row) for row in range(len(self)))

    def device(self, did: str) -> Device | None:
        """The device with this DID."""
        row = self._find(did)
        return None if row is None else Device(self, row)

    def holder(self, thumbprint: bytes) -> tuple[Device, KeyPeriod] | None:
        """Whose key has this thumbprint."""
        recent = self._recent
        found = recent.get(thumbprint)
        if found is not None:
            recent.move_to_end(thumbprint)
            return found
        row = self._key_row(thumbprint)
        if row is None:
            return None
        found = Device(self, self.keys.device[row]), KeyPeriod(self.keys, row)
        recent[thumbprint] = found
        if len(recent) > _RECENT:
            recent.popitem(last=False)
        return found

    def key(self, thumbprint: bytes) -> PublicKey | None:
        """The key with this thumbprint, whoever holds it; from any thread."""
        row = self._key_row(thumbprint)
        return None if row is None else self.keys.key(row)

    def candidates(self, kid: bytes) -> tuple[bytes, ...]:
        """Thumbprints of the keys with this kid, at most four."""
        found = self._hinted.get(kid)
        if found is None:
            rows = map(self.keys.thumbprint, self._by_kid.rows(kid))
            found = tuple(thumbprint for thumbprint in rows if thumbprint[:_KID] == kid)
            if found:
                if len(self._hinted) >= _RECENT:
                    self._hinted.clear()
                self._hinted[kid] = found
        return found

    def check_new_key(self, key: PublicKey) -> None:
        """Refuse a key that is already somebody's, or one too many for its kid.

        Raises ConfigError ``registry.duplicate_key`` or ``registry.kid_crowded``.
        """
        row = self._key_row(key.thumbprint)
        if row is not None:
            raise ConfigError(
                "registry.duplicate_key",
                f"the key is already enrolled, for {self._did(self.keys.device[row])}",
                hint="one key belongs to one device for ever; make a new key",
            )
        if len(self.candidates(key.kid)) >= MAX_CANDIDATES:
            raise ConfigError(
                "registry.kid_crowded",
                f"{MAX_CANDIDATES} keys share the kid {key.kid.hex()} already",
                hint="make a new key",
            )

    def check_new_device(self, enrolment: Enrolment) -> None:
        """Refuse a DID that is enrolled already (ConfigError ``registry.duplicate_device``)."""
        if self._find(enrolment.did) is not None:
            raise ConfigError(
                "registry.duplicate_device",
                f"{enrolment.did} is enrolled already",
                hint="`depin-verify rotate` gives a new key; erased or revoked it needs a new DID",
            )
        self.check_new_key(enrolment.key)

    def known(self, did: str) -> Device:
        """The device with this DID. Raises ConfigError ``registry.unknown_device``."""
        return Device(self, self._known(did))

    def enrol(self, enrolment: Enrolment, subject: int, since: int) -> Device:
        """Add a device whose key counts from receipt time ``since`` (ms). Raises ConfigError."""
        self.check_new_device(enrolment)
        devices, row, place = self.devices, len(self), enrolment.place
        devices.subject.append(subject)
        devices.revoked.append(_NONE)
        devices.lat.append(0 if place is None else place.lat_e7)
        devices.lon.append(0 if place is None else place.lon_e7)
        devices.flags.append(
            (0 if place is None else _PLACED) | (_GATEWAY if enrolment.role == "gateway" else 0)
        )
        about = f"{enrolment.name}\n{enrolment.profile}\n{enrolment.owner}"
        devices.about.append(about.encode())
        if not enrolment.is_did_key:
            self._name(row, enrolment.did)
        devices.first.append(len(self.keys.device))
        devices.last.append(_NOTHING)
        self._add_key(row, enrolment.key, since)
        return Device(self, row)

    def rotate(self, did: str, key: PublicKey, since: int, until: int | None = None) -> None:
        """Give a device a new key from receipt time ``since`` (ms); the old one ends there.

        Args:
            until: when the old one ends, if not then: what it signed may still be under way.

        Raises ConfigError, ``registry.erased`` when there is nothing left to give a key to.
        """
        self.check_new_key(key)
        row = self._known(did)
        if self.devices.flags[row] & _ERASED:
            raise ConfigError(
                "registry.erased", f"{did[:100]} was erased", hint="enrol it anew, with a new key"
            )
        self._end(self.devices.last[row], since if until is None else until)
        self._add_key(row, key, since)

    def follow(self, did: str, spans: Iterable[KeySpan], grace: int = 0) -> None:
        """Give a device the keys of its DID's history: new ones are added, old ones end.

        Args:
            grace: how long (ms) a key counts before its time, for a device that turned first, and
                after its end, for what was under way.

        Raises ConfigError, ``registry.duplicate_key`` for a key of another device.
        """
        row = self._known(did)
        first = self.devices.first[row]
        found = [(span, PublicKey.from_cose_key(span.key)) for span in by_key(spans)]
        held = [self._key_row(key.thumbprint) for _, key in found]
        for (_, key), at in zip(found, held, strict=True):
            # All of them before anything changes.
            if at is None or self.keys.device[at] != row:
                self.check_new_key(key)
        for (span, key), at in zip(found, held, strict=True):
            if at is None:
                at = len(self.keys.device)
                self._add_key(row, key, max(self.keys.since[first], span.since - grace))
            if span.until is not None:
                self._end(at, span.until + grace)

    def compromise(self, thumbprint: bytes, since: int) -> None:
        """Accept nothing under a key from receipt time ``since`` (ms) on, for ever."""
        row = self._key_row(thumbprint)
        if row is not None:
            held = self.keys.compromised[row]
            self.keys.compromised[row] = since if held == _NONE else min(since, held)

    def revoke(self, did: str, since: int) -> None:
        """Accept nothing of a device from receipt time ``since`` (ms) on. Raises ConfigError."""
        row, revoked = self._known(did), self.devices.revoked
        revoked[row] = since if revoked[row] == _NONE else min(since, revoked[row])

    def erase(self, did: str) -> None:
        """Mark a device as erased. Its thumbprints stay taken. Raises ConfigError."""
        row, devices = self._known(did), self.devices
        devices.flags[row] = _ERASED
        # Name, owner and place are forgotten too: this is what the journal alone still gives.
        devices.about.wipe(row)
        devices.lat[row] = devices.lon[row] = 0
        self.erasures += 1
        self._recent.clear()

    def suspend(self, thumbprint: bytes, at: int) -> None:
        """Accept nothing more under a key that forked, until it is rotated."""
        row = self._key_row(thumbprint)
        if row is not None and self.keys.suspended[row] == _NONE:
            self.keys.suspended[row] = at

    def counts(self) -> Counts:
        """How many devices there are of each kind."""
        devices, suspended = self.devices, self.keys.suspended
        return Counts(
            len(self),
            sum(1 for at in devices.revoked if at != _NONE),
            sum(1 for flags in devices.flags if flags & _ERASED),
            sum(1 for key in devices.last if suspended[key] != _NONE),
        )

    # --- rows ---------------------------------------------------------------------------------

    def enrolment(self, row: int) -> Enrolment:
        """The enrolment of the device in a row."""
        devices = self.devices
        flags = devices.flags[row]
        key, did = self.keys.key(devices.first[row]), self._did(row)
        if flags & _ERASED:
            return Enrolment(did, key)
        name, profile, owner = devices.about[row].decode().split("\n")
        place = Place(devices.lat[row], devices.lon[row]) if flags & _PLACED else None
        role: Literal["device", "gateway"] = "gateway" if flags & _GATEWAY else "device"
        return Enrolment(did, key, name, profile, owner, role, place)

    def periods(self, row: int) -> list[KeyPeriod]:
        """The keys of the device in a row."""
        found, key = [], self.devices.last[row]
        while key != _NOTHING:
            found.append(KeyPeriod(self.keys, key))
            key = self.keys.before[key]
        return found[::-1]

    def profiles(self) -> Iterator[tuple[int, str]]:
        """Of each device that is not erased: its subject, and the profile it was enrolled with."""
        devices = self.devices
        for subject, flags, about in zip(
            devices.subject, devices.flags, devices.about, strict=True
        ):
            if not flags & _ERASED:
                yield subject, about.split(b"\n")[1].decode()

    def columns(self) -> dict[str, Buffer]:
        """Everything as columns, for a snapshot."""
        text, ends = self.devices.about.columns()
        named = bytearray(cbor.encode_plain(list(map(list, self.devices.named.items()))))
        found: dict[str, Column] = {"about": text, "about.ends": ends, "named": named}
        found |= {f"device.{name}": column for name, column in self.devices.columns().items()}
        found |= {f"key.{name}": column for name, column in self.keys.columns().items()}
        return {name: memoryview(column).cast("B") for name, column in found.items()}

    def restore(self, columns: dict[str, Buffer]) -> None:
        """Take what :meth:`columns` gave, out of it.

        Raises:
            ValueError, KeyError: it is something else.
        """
        devices, keys = DeviceColumns(), KeyColumns()
        devices.about.restore(columns.pop("about"), columns.pop("about.ends"))
        devices.named = _named(bytes(columns.pop("named")))
        for prefix, table in (("device", devices), ("key", keys)):
            for name, column in table.columns().items():
                fill(column, columns.pop(f"{prefix}.{name}"))
        if {len(column) for column in devices.columns().values()} != {len(devices.about)}:
            raise ValueError("columns of devices differ in length")
        count = len(keys.device)
        wide = {"points": POINT * count, "thumbprints": THUMBPRINT * count}
        if any(len(column) != wide.get(name, count) for name, column in keys.columns().items()):
            raise ValueError("columns of keys differ in length")
        self.devices, self.keys = devices, keys
        self._by_name = {did: row for row, did in devices.named.items()}
        self._recent.clear()
        self._by_kid, self._hinted = HashIndex(), {}
        self._by_kid.fill(entry[:_KID] for entry in pieces(keys.thumbprints, THUMBPRINT))

    def _find(self, did: str) -> int | None:
        if did in self._by_name:
            return self._by_name[did]
        thumbprint = thumbprint_of(did)
        row = None if thumbprint is None else self._key_row(thumbprint)
        if row is None or self.keys.before[row] != _NOTHING:
            return None
        device = self.keys.device[row]
        return device if self._did(device) == did else None

    def _known(self, did: str) -> int:
        row = self._find(did)
        if row is None:
            raise ConfigError(
                "registry.unknown_device",
                f"{did[:100]} is not enrolled",
                hint="give the DID as `depin-id device show` prints it",
            )
        return row

    def _did(self, device: int) -> str:
        named = self.devices.named.get(device)
        return did_key(self.keys.key(self.devices.first[device])) if named is None else named

    def _name(self, device: int, did: str) -> None:
        self.devices.named[device] = did
        self._by_name[did] = device

    def _end(self, key: int, until: int) -> None:
        held = self.keys.until[key]
        self.keys.until[key] = until if held == _NONE else min(until, held)

    def _key_row(self, thumbprint: bytes) -> int | None:
        for row in self._by_kid.rows(thumbprint[:_KID]):
            if self.keys.thumbprint(row) == thumbprint:
                return row
        return None

    def _add_key(self, device: int, key: PublicKey, since: int) -> None:
        keys, row = self.keys, len(self.keys.device)
        keys.device.append(device)
        keys.before.append(self.devices.last[device])
        keys.since.append(since)
        keys.until.append(_NONE)
        keys.suspended.append(_NONE)
        keys.compromised.append(_NONE)
        keys.points += key.raw.rjust(POINT, b"\0")
        keys.thumbprints += key.thumbprint
        self.devices.last[device] = row
        self._by_kid.add(key.thumbprint[:_KID], row)
        self._hinted.pop(key.kid, None)
