"""Signed data packages of peaq's Stream feature, verified with a key that the DID names.

peaq's own verifier takes replays, any timestamp, negative sequence numbers and both forms of a
signature, and cannot verify for the machines that its version 0.12 numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from depin_id.errors import EncodingError, EnvelopeError, SignatureInvalid
from depin_id.evm import recover_address
from depin_id.peaq import canonical
from depin_id.peaq.bounds import MAX_SEQUENCE, Memory, Window, parse_moment
from depin_id.peaq.canonical import Dialect
from depin_id.peaq.trust import MachineKeys, Trust, subject_of

MAX_TEXT: Final = 256
_SIGNATURE: Final = re.compile(r"0x([0-9a-f]{128})(1b|1c)")
_MEMBERS: Final = frozenset(
    "did timestamp schema_version sequence_number payload signature signing_key_id".split()
)
_WINDOW: Final = Window()


@dataclass(frozen=True, slots=True)
class Package:
    """A package as it arrived, its form checked and nothing else.

    Attributes:
        did, timestamp, schema_version, sequence_number, payload: what is signed.
        signature: 65 bytes. signing_key_id: a name that nobody signed.
        portable: whether every language signs the same bytes for it.
    """

    did: str
    timestamp: str
    schema_version: str
    sequence_number: int
    payload: Mapping[str, Any]
    signature: bytes
    signing_key_id: str
    portable: bool

    def message(self, dialect: Dialect = "python") -> bytes:
        """What the machine's wallet signs. Raises EncodingError ``json.not_canonical``."""
        return signing_input(
            self.did,
            self.timestamp,
            self.schema_version,
            self.sequence_number,
            self.payload,
            dialect=dialect,
        )


@dataclass(frozen=True, slots=True)
class VerifiedPackage:
    """A package whose signer the DID names.

    Attributes:
        package: what was signed. time_ms: its moment, milliseconds since 1970.
        signer: the wallet, 20 bytes. trust: on whose word it is the machine's.
        dialect: the form in which it was signed.
    """

    package: Package
    time_ms: int
    signer: bytes
    trust: Trust
    dialect: Dialect


def _refuse(what: str, code: str = "peaq.package_malformed") -> NoReturn:
    raise EnvelopeError(code, what)


def signing_input(
    did: str,
    timestamp: str,
    schema_version: str,
    sequence_number: int,
    payload: Mapping[str, Any],
    *,
    dialect: Dialect = "python",
) -> bytes:
    """The canonical JSON of a package that goes to the wallet's ``personal_sign`` (EIP-191)."""
    return canonical.write(
        {
            "did": did,
            "payload": payload,
            "schemaVersion": schema_version,
            "sequenceNumber": sequence_number,
            "timestamp": timestamp,
        },
        dialect,
    )


def sign_package(
    did: str,
    timestamp: str,
    schema_version: str,
    sequence_number: int,
    payload: dict[str, Any],
    *,
    personal_sign: Callable[[bytes], bytes],
    signing_key_id: str = "#keys-1",
) -> dict[str, Any]:
    """A package, JSON-ready, as peaq's own packages write it.

    Args:
        personal_sign: the wallet: takes the message and gives r || s || v with v 27 or 28.

    Raises:
        EnvelopeError, EncodingError: what :func:`parse_package` refuses.
    """
    found = {
        "did": did,
        "timestamp": timestamp,
        "schema_version": schema_version,
        "sequence_number": sequence_number,
        "payload": payload,
        "signature": "0x" + "00" * 64 + "1b",
        "signing_key_id": signing_key_id,
    }
    found["signature"] = "0x" + personal_sign(package_of(found).message()).hex()
    package_of(found)
    return found


def parse_package(data: bytes | str) -> Package:
    """Read a package's JSON.

    Raises:
        EncodingError: ``json.malformed``, ``json.too_large``.
        EnvelopeError: ``peaq.package_malformed``, ``peaq.sequence``: not 0 to 2^64 - 1.
        SignatureInvalid: ``signature.invalid``, not 0x and 65 bytes with v 27 or 28.
    """
    return package_of(canonical.parse(data))


def package_of(value: Mapping[str, Any]) -> Package:
    """A package of a JSON value. Raises as :func:`parse_package`."""
    if not isinstance(value, dict) or value.keys() != _MEMBERS:
        _refuse(f"a package has the members {', '.join(sorted(_MEMBERS))}, and no others")
    names = ("did", "timestamp", "schema_version", "signing_key_id")
    for name in names:
        if type(value[name]) is not str or not 1 <= len(value[name]) <= MAX_TEXT:
            _refuse(f"{name} is not a text of 1 to {MAX_TEXT} characters")
    number, payload, signature = value["sequence_number"], value["payload"], value["signature"]
    if type(number) is not int or not 0 <= number <= MAX_SEQUENCE:
        _refuse("sequence_number is not an integer of 0 to 2^64 - 1", "peaq.sequence")
    if not isinstance(payload, dict):
        _refuse("payload is not an object")
    match = _SIGNATURE.fullmatch(signature) if type(signature) is str else None
    if match is None:
        raise SignatureInvalid(
            "signature.invalid",
            "the signature is not 0x and 65 bytes in lower case with v 27 or 28",
        )
    texts = [value[name] for name in names]
    portable = canonical.check(payload) & canonical.check(texts) & canonical.check(number)
    return Package(
        *(texts[0], texts[1], texts[2], number, payload),
        *(bytes.fromhex(match[1] + match[2]), texts[3], portable),
    )


def verify_package(
    package: Package | bytes | str,
    keys: MachineKeys,
    *,
    now_ms: int,
    memory: Memory | None,
    window: Window = _WINDOW,
    dialects: tuple[Dialect, ...] = ("python",),
    allow_attribute: bool = False,
) -> VerifiedPackage:
    """Verify a package: that a key which its DID names signed it, lately, and for the first time.

    Args:
        package: parsed, or its JSON.
        keys: what the DID names, and on whose word (:mod:`depin_id.peaq.trust`).
        now_ms: milliseconds since 1970.
        memory: what was taken before. None is for looking at one package only.
        window: how old it may be, and how far ahead.
        dialects: forms in which machines may have signed.
        allow_attribute: believe a document that only an attribute on the chain vouches for.

    Raises:
        EncodingError, EnvelopeError, SignatureInvalid: as :func:`parse_package`;
            ``peaq.timestamp_malformed``, ``peaq.timestamp_old``, ``peaq.timestamp_future``,
            ``peaq.replayed``; ``signature.malleable`` for a high s.
        CredentialError: ``peaq.another_did``, ``peaq.key_not_named``, ``peaq.attribute_only``.
        StateError: ``peaq.memory_full``.
        ConfigError: ``config.extra``.
    """
    if not isinstance(package, Package):
        package = parse_package(package)
    subject_of(package.did, keys)
    when = parse_moment(package.timestamp)
    window.check(when, now_ms)
    signer, trust, dialect = _signer(package, keys, dialects, allow_attribute)
    if memory is not None:
        memory.take(keys.did, package.sequence_number)
    return VerifiedPackage(package, when, signer, trust, dialect)


def _signer(
    package: Package, keys: MachineKeys, dialects: tuple[Dialect, ...], allow_attribute: bool
) -> tuple[bytes, Trust, Dialect]:
    known = keys.addresses | {keys.did.raw}
    found: tuple[bytes, Dialect] | None = None
    for dialect in dialects[:1] if package.portable else dialects:
        try:
            message = package.message(dialect)
        except EncodingError:
            continue
        address = recover_address(message, package.signature)
        if address in known or found is None:
            found = address, dialect
        if address in known:
            break
    if found is None:
        _refuse("none of the forms asked for can say this package", "peaq.dialect")
    return found[0], keys.require_address(found[0], allow_attribute=allow_attribute), found[1]
