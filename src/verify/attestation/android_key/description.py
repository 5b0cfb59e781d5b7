"""The key description: what Android's keystore says of an attested key.

Schema of attestation versions 1 to 4 (Keymaster) and 100 to 500 (KeyMint), as in the extension
1.3.6.1.4.1.11129.2.1.17 of the leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from verify.attestation.android_key import der

OID: Final = "1.3.6.1.4.1.11129.2.1.17"
SOFTWARE, TEE, STRONGBOX = 0, 1, 2
"""Security levels."""
MAX_CHALLENGE: Final = 128
MAX_PACKAGES: Final = 32


class RootOfTrust(NamedTuple):
    """How the device booted.

    Attributes:
        key: digest of the key that verifies its system. locked: whether its bootloader is.
        state: 0 verified, 1 self-signed, 2 unverified, 3 failed.
        hash: digest over everything that was verified; empty before attestation version 3.
    """

    key: bytes
    locked: bool
    state: int
    hash: bytes


class Application(NamedTuple):
    """Who asked for the key: packages with their versions, and digests of who signed them."""

    packages: tuple[tuple[str, int], ...]
    signers: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Authorizations:
    """What one environment enforces. Tags that are not known here are read and left out.

    Attributes:
        values: by the names of :data:`TAGS`.
    """

    values: Mapping[str, Any]

    def number(self, name: str) -> int | None:
        """An integer, if it is there."""
        found = self.values.get(name)
        return found if type(found) is int else None

    def text(self, name: str) -> str:
        """An OCTET STRING as text; empty if it is not there."""
        found = self.values.get(name)
        return found.decode("utf-8", "backslashreplace") if isinstance(found, bytes) else ""

    @property
    def purposes(self) -> frozenset[int]:
        """What the key may be used for; empty if nothing is said."""
        found = self.values.get("purposes")
        return found if isinstance(found, frozenset) else frozenset()

    @property
    def root_of_trust(self) -> RootOfTrust | None:
        """How the device booted."""
        found = self.values.get("root_of_trust")
        return found if isinstance(found, RootOfTrust) else None

    @property
    def application(self) -> Application | None:
        """Who asked for the key."""
        found = self.values.get("application")
        return found if isinstance(found, Application) else None


@dataclass(frozen=True, slots=True)
class KeyDescription:
    """The whole description.

    Attributes:
        version, keymint_version: of the attestation, and of what keeps the key.
        level, keymint_level: what made the attestation, and what keeps the key
            (:data:`SOFTWARE`, :data:`TEE`, :data:`STRONGBOX`).
        challenge: the slot of the challenge. unique_id: mostly empty.
        software, hardware: what is enforced by whom.
    """

    version: int
    level: int
    keymint_version: int
    keymint_level: int
    challenge: bytes
    unique_id: bytes
    software: Authorizations
    hardware: Authorizations


def read_description(data: bytes) -> KeyDescription:
    """Read the value of the extension.

    Raises EncodingError ``encoding.malformed``.
    """
    parts = der.sequence(der.read_one(data), 8)
    levels = der.enumerated(parts[1]), der.enumerated(parts[3])
    if not all(level in (SOFTWARE, TEE, STRONGBOX) for level in levels):
        der.malformed("no such security level")
    challenge, unique_id = der.octets(parts[4]), der.octets(parts[5])
    if len(challenge) > MAX_CHALLENGE or len(unique_id) > 64:
        der.malformed("a challenge or unique id that is too long")
    return KeyDescription(
        der.integer(parts[0]),
        levels[0],
        der.integer(parts[2]),
        levels[1],
        challenge,
        unique_id,
        _authorizations(parts[6]),
        _authorizations(parts[7]),
    )


def _authorizations(item: der.Item) -> Authorizations:
    values: dict[str, Any] = {}
    last = 0
    for tagged in der.sequence(item):
        value = der.explicit(tagged)
        if tagged.number <= last:
            der.malformed("tags that do not ascend")
        last = tagged.number
        known = TAGS.get(last)
        if known is not None:
            name, read = known
            values[name] = read(value)
    return Authorizations(values)


def _numbers(item: der.Item) -> frozenset[int]:
    return frozenset(map(der.integer, der.set_of(item)))


def _root_of_trust(item: der.Item) -> RootOfTrust:
    parts = der.sequence(item)
    if len(parts) not in (3, 4):
        der.malformed("a root of trust that has not three or four parts")
    key, locked, state = der.octets(parts[0]), der.boolean(parts[1]), der.enumerated(parts[2])
    digest = der.octets(parts[3]) if len(parts) == 4 else b""
    if state > 3 or max(len(key), len(digest)) > 64:
        der.malformed("no such state of boot, or a digest that is too long")
    return RootOfTrust(key, locked, state, digest)


def _application(item: der.Item) -> Application:
    packages, signers = der.sequence(der.read_one(der.octets(item)), 2)
    named = [der.sequence(one, 2) for one in der.set_of(packages)]
    digests = tuple(map(der.octets, der.set_of(signers)))
    if max(len(named), len(digests)) > MAX_PACKAGES:
        der.malformed("too many packages or signers")
    try:
        found = tuple((der.octets(name).decode(), der.integer(version)) for name, version in named)
    except UnicodeDecodeError:
        der.malformed("a package's name is no UTF-8")
    return Application(found, digests)


_Reader = Callable[[der.Item], Any]
TAGS: Final[Mapping[int, tuple[str, _Reader]]] = {
    1: ("purposes", _numbers),
    2: ("algorithm", der.integer),
    3: ("key_size", der.integer),
    4: ("block_modes", _numbers),
    5: ("digests", _numbers),
    6: ("paddings", _numbers),
    10: ("ec_curve", der.integer),
    11: ("ml_dsa_variant", der.integer),
    200: ("rsa_public_exponent", der.integer),
    203: ("rsa_oaep_mgf_digests", _numbers),
    303: ("rollback_resistance", der.null),
    305: ("early_boot_only", der.null),
    400: ("active_date_time", der.integer),
    401: ("origination_expire_date_time", der.integer),
    402: ("usage_expire_date_time", der.integer),
    405: ("usage_count_limit", der.integer),
    503: ("no_auth_required", der.null),
    504: ("user_auth_type", der.integer),
    505: ("auth_timeout", der.integer),
    506: ("allow_while_on_body", der.null),
    507: ("trusted_user_presence_required", der.null),
    508: ("trusted_confirmation_required", der.null),
    509: ("unlocked_device_required", der.null),
    600: ("all_applications", der.null),
    601: ("application_id", der.octets),
    701: ("creation_date_time", der.integer),
    702: ("origin", der.integer),
    703: ("rollback_resistant", der.null),
    704: ("root_of_trust", _root_of_trust),
    705: ("os_version", der.integer),
    706: ("os_patch_level", der.integer),
    709: ("application", _application),
    710: ("brand", der.octets),
    711: ("device", der.octets),
    712: ("product", der.octets),
    713: ("serial", der.octets),
    714: ("imei", der.octets),
    715: ("meid", der.octets),
    716: ("manufacturer", der.octets),
    717: ("model", der.octets),
    718: ("vendor_patch_level", der.integer),
    719: ("boot_patch_level", der.integer),
    720: ("device_unique", der.null),
    723: ("second_imei", der.octets),
    724: ("module_hash", der.octets),
}
"""What the tags of an authorization list are called here, and how each is read."""
