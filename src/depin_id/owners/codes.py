"""Claim codes: the secret that is printed at the factory and makes its finder the first owner.

A code is 128 bits of randomness, as 28 characters of Crockford's base32 in seven groups: 26 of the
secret and two check symbols of a Reed-Solomon code over GF(32), so that any two wrong characters
are noticed, and one is found. The birth certificate holds only :func:`claim_digest`.

The secret never travels: it is the seed of an Ed25519 key that signs for the new owner, so that
whoever overhears a claim, or reads it in a log, cannot claim for himself.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NoReturn

import nacl.bindings

from depin_id import cbor
from depin_id.did.key import did_key, parse_did_key
from depin_id.errors import CredentialError
from depin_id.keys import PublicKey, SoftwareSigner, admit

SECRET_BYTES: Final = 16
CODE_CHARACTERS: Final = 28
GROUP: Final = 4
QR_PREFIX: Final = "DEPIN1:"
MAX_TYPED: Final = 256
"""What is looked at of a typed code or a scanned text, in characters."""

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES: Final = {
    **{character: value for value, character in enumerate(_ALPHABET)},
    "O": 0,
    "I": 1,
    "L": 1,
}
_PAIRS: Final = [first + second for first in _ALPHABET for second in _ALPHABET]
_SEED_TAG: Final = b"depin/1 claim seed\0"
_SEPARATORS: Final = re.compile(r"[\s\-\u2010-\u2015\u2212.]")
_CURVES: Final = {"E": "ed25519", "P": "p256"}
_LETTERS: Final = {curve: letter for letter, curve in _CURVES.items()}


def _powers() -> list[int]:
    """The powers of a generator of GF(32) = GF(2)[x] / (x^5 + x^2 + 1), 31 of them."""
    found, value = [], 1
    for _ in range(31):
        found.append(value)
        value <<= 1
        if value & 32:
            value ^= 0b100101
    return found


_EXP: Final = _powers()
_LOG: Final = {value: power for power, value in enumerate(_EXP)}


def _times(value: int, power: int) -> int:
    """``value`` times the generator to the power."""
    return 0 if value == 0 else _EXP[(_LOG[value] + power) % 31]


def _wrong(what: str, hint: str = "") -> NoReturn:
    raise CredentialError(
        "claim.code", f"the claim code {what}", hint=hint or "type it again as it is printed"
    )


def _base32(data: bytes) -> str:
    """Crockford's base32, bits from the left, the last character filled with zeros."""
    count = -(-len(data) * 8 // 5)
    odd = count & 1
    # Two characters a step: a factory writes a hundred thousand of these.
    number = int.from_bytes(data, "big") << (count * 5 - len(data) * 8) + 5 * odd
    pairs = [_PAIRS[number >> 10 * at & 1023] for at in range((count + odd) // 2 - 1, -1, -1)]
    return "".join(pairs)[:count]


def _bytes(values: list[int], size: int) -> bytes | None:
    """What :func:`_base32` wrote; None when a filling bit is set: one text for each value."""
    number = 0
    for value in values:
        number = number << 5 | value
    number, filling = divmod(number, 1 << (len(values) * 5 - size * 8))
    return None if filling else number.to_bytes(size, "big")


def _syndromes(values: list[int]) -> tuple[int, int]:
    first = second = 0
    for power, value in enumerate(values):
        first ^= value
        second ^= _times(value, power)
    return first, second


def _checks(values: list[int]) -> list[int]:
    """The two symbols that make both syndromes of the 28 zero."""
    at = len(values)
    first, second = _syndromes(values)
    # a + b = first and a g^at + b g^(at+1) = second, in a field where minus is plus.
    rest = second ^ _times(first, at)
    low = _times(rest, -_LOG[_EXP[at] ^ _EXP[at + 1]] % 31) if rest else 0
    return [first ^ low, low]


def _check(values: list[int]) -> None:
    first, second = _syndromes(values)
    if not first and not second:
        return
    hint = ""
    if first and second:
        at = (_LOG[second] - _LOG[first]) % 31
        if at < len(values):
            hint = f"look at character {at % GROUP + 1} of group {at // GROUP + 1}"
    _wrong("is mistyped: its check symbols do not fit", hint)


@dataclass(frozen=True)
class ClaimCode:
    """A claim code. ``repr`` and ``str`` do not show it: :attr:`text` does.

    Attributes:
        secret: 16 bytes.
    """

    secret: bytes

    def __post_init__(self) -> None:
        if type(self.secret) is not bytes or len(self.secret) != SECRET_BYTES:
            _wrong(f"is not {SECRET_BYTES} bytes", "make one with ClaimCode.generate()")

    def __repr__(self) -> str:
        return "ClaimCode(...)"

    @classmethod
    def generate(cls, random: Callable[[int], bytes] = os.urandom) -> ClaimCode:
        """A fresh code."""
        return cls(random(SECRET_BYTES))

    @classmethod
    def parse(cls, typed: str) -> ClaimCode:
        """Read what somebody typed.

        Upper and lower case, spaces and dashes do not matter; O is read as 0, I and L as 1.

        Raises:
            CredentialError: ``claim.code``: another length, a character that no code has, or check
                symbols that do not fit (any one or two wrong characters).
        """
        if type(typed) is not str or len(typed) > MAX_TYPED:
            _wrong(f"is over {MAX_TYPED} characters")
        text = _SEPARATORS.sub("", typed).upper()
        if len(text) != CODE_CHARACTERS:
            _wrong(f"has {len(text)} characters instead of {CODE_CHARACTERS}")
        for at, character in enumerate(text):
            if character not in _VALUES:
                _wrong(
                    f"has {character!r}, which occurs in none",
                    f"look at character {at % GROUP + 1} of group {at // GROUP + 1}",
                )
        values = [_VALUES[character] for character in text]
        _check(values)
        secret = _bytes(values[:-2], SECRET_BYTES)
        if secret is None:
            _wrong("is none that was ever made")
        return cls(secret)

    @cached_property
    def compact(self) -> str:
        """The 28 characters without groups."""
        body = _base32(self.secret)
        checks = _checks([_VALUES[character] for character in body])
        return body + "".join(_ALPHABET[value] for value in checks)

    @property
    def text(self) -> str:
        """The code for people: seven groups of four."""
        code = self.compact
        return "-".join(code[at : at + GROUP] for at in range(0, len(code), GROUP))

    @property
    def _seed(self) -> bytes:
        return hashlib.sha256(_SEED_TAG + self.secret).digest()

    @cached_property
    def signer(self) -> SoftwareSigner:
        """The key that signs for the new owner."""
        return SoftwareSigner("ed25519", self._seed)

    def digest(self, device: str) -> bytes:
        """The ``claimDigest`` of this code's device (its DID): 32 bytes."""
        # Not by the signer: a factory makes a hundred thousand, and these are no one else's keys.
        public, _ = nacl.bindings.crypto_sign_seed_keypair(self._seed)
        return _digest(device, public)

    def opens(self, device: str, digest: bytes) -> bool:
        """Whether this is the code of a device whose certificate has this digest."""
        return hmac.compare_digest(self.digest(device), digest)


def _digest(device: str, claim_key: bytes) -> bytes:
    return hashlib.sha256(cbor.encode_plain(["depin/1 claim", device, claim_key])).digest()


def claim_digest(device: str, claim_key: PublicKey) -> bytes:
    """``claimDigest``: SHA-256 of det-CBOR["depin/1 claim", device DID, claim key], 32 bytes.

    Args:
        device: the device's DID.
        claim_key: the Ed25519 key whose seed is SHA-256("depin/1 claim seed" || 0 || secret).
    """
    return _digest(device, claim_key.raw)


def qr_text(key: PublicKey, code: ClaimCode) -> str:
    """What a label's QR code says: ``DEPIN1:``, the device's key and the code; 89 or 90 characters.

    Every character is one of QR's alphanumeric mode, and the text fits version 4 with error
    correction M (33 x 33 modules).
    """
    return f"{QR_PREFIX}{_LETTERS[key.curve]}{_base32(key.raw)}:{code.compact}"


@dataclass(frozen=True)
class Label:
    """What a scanned label says.

    Attributes:
        key: the device's admitted key.
        code: the claim code.
    """

    key: PublicKey
    code: ClaimCode

    @property
    def device(self) -> str:
        """The device's did:key."""
        return did_key(self.key)


def _label_wrong(what: str) -> NoReturn:
    raise CredentialError(
        "claim.label",
        f"the scanned text {what}",
        hint=f"a label begins with {QR_PREFIX}; scan it again or type the code",
    )


def read_qr(text: str) -> Label:
    """Read a scanned label.

    Raises:
        CredentialError: ``claim.label``, ``claim.code``.
        KeyRefused: the device's key is not admissible.
    """
    if type(text) is not str or len(text) > MAX_TYPED:
        _label_wrong(f"is over {MAX_TYPED} characters")
    prefix, device, code = (*text.strip().upper().split(":"), "", "", "")[:3]
    if prefix + ":" != QR_PREFIX or text.count(":") != 2:
        _label_wrong("is not that of a device's label")
    curve = _CURVES.get(device[:1])
    size = 33 if curve == "p256" else 32
    if curve is None or len(device) != 1 + -(-size * 8 // 5) or set(device[1:]) - set(_ALPHABET):
        _label_wrong("names no device")
    raw = _bytes([_VALUES[character] for character in device[1:]], size)
    if raw is None:
        _label_wrong("names no device")
    return Label(admit(curve, raw), ClaimCode.parse(code))


def read_label(text: str, device: str | None = None) -> Label:
    """A label from a scanned text, or from a typed code and the device's did:key.

    Raises:
        CredentialError: ``claim.label`` (another device than ``device`` as well), ``claim.code``.
        DIDError, KeyRefused: the device.
    """
    if type(text) is str and text.strip().upper().startswith(QR_PREFIX):
        label = read_qr(text)
        if device is not None and label.device != device:
            _label_wrong("is that of another device")
        return label
    code = ClaimCode.parse(text)
    if device is None:
        raise CredentialError(
            "claim.label", "a typed code does not say which device it is of", hint="name the device"
        )
    return Label(parse_did_key(device), code)
