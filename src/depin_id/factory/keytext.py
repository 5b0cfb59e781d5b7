"""Public keys as factories write them: did:key, multikey, COSE_Key or raw bytes in hexadecimal."""

from __future__ import annotations

import re
from typing import Final

from depin_id import cbor
from depin_id._published_keys import is_published
from depin_id.did.key import did_key
from depin_id.did.multikey import split_multikey
from depin_id.errors import DepinError
from depin_id.keys import Curve, PublicKey, admit

MAX_KEY_TEXT: Final = 512
_NAMES: Final[dict[str, Curve]] = {
    "ed25519": "ed25519",
    "p256": "p256",
    "p-256": "p256",
    "secp256r1": "p256",
    "prime256v1": "p256",
}
_DID: Final = "did:key:"
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})+")
_SIZES: Final[dict[Curve, tuple[int, ...]]] = {"ed25519": (32,), "p256": (33, 65)}
_COSE_CURVES: Final = (6, 1)
"""Ed25519 and P-256, as COSE numbers them."""


class KeyFault(Exception):
    """A key that is not taken.

    Attributes:
        code: ``factory.key``, ``factory.curve``, ``factory.point`` or ``factory.test_key``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _fault(error: DepinError) -> KeyFault:
    if error.code == "key.not_admissible":
        return KeyFault("factory.point", error.message)
    code = "factory.curve" if error.code == "did.key_not_supported" else "factory.key"
    return KeyFault(code, error.message)


def _curve(name: str) -> Curve | None:
    if not name:
        return None
    curve = _NAMES.get(name.lower())
    if curve is None:
        raise KeyFault("factory.curve", f"the curve {name[:20]!r} is neither ed25519 nor p256")
    return curve


def _of_cose(data: bytes) -> PublicKey:
    value = cbor.decode(data, max_bytes=MAX_KEY_TEXT)
    if isinstance(value, dict) and 1 in value and value.get(-1) not in _COSE_CURVES:
        raise KeyFault("factory.curve", f"a COSE_Key on curve {str(value.get(-1))[:20]}")
    return PublicKey.from_cose_key(data, allow_published=True)


def _of_multikey(text: str) -> PublicKey:
    curve, raw = split_multikey(text)
    if len(raw) != _SIZES[curve][0]:
        raise KeyFault("factory.key", f"a multikey of {curve} with {len(raw)} bytes")
    key = admit(curve, raw, allow_published=True)
    if did_key(key) != _DID + text:
        raise KeyFault("factory.key", "the multikey is not the one spelling of its key")
    return key


def parse_key(text: str, curve_name: str = "") -> PublicKey:
    """The admitted key of a text.

    Args:
        text: ``did:key:z...``, ``z...``, the COSE_Key in hexadecimal, or, with a curve, the raw key
            in hexadecimal (32 bytes Ed25519; a SEC1 point of P-256).
        curve_name: ``ed25519`` or ``p256`` (also ``P-256``, ``secp256r1``, ``prime256v1``); for
            keys that say their curve it has to agree.

    Raises:
        KeyFault: why it is not taken.
    """
    if not 0 < len(text) <= MAX_KEY_TEXT:
        raise KeyFault("factory.key", f"the key is empty or over {MAX_KEY_TEXT} characters")
    curve = _curve(curve_name)
    try:
        if text.startswith((_DID, "z")):
            key = _of_multikey(text.removeprefix(_DID))
        elif _HEX.fullmatch(text) is None:
            raise KeyFault("factory.key", "the key is neither did:key, multikey nor hexadecimal")
        elif text[:2] in ("a3", "a4", "A3", "A4") and len(text) > 66 and len(text) != 130:
            key = _of_cose(bytes.fromhex(text))
        elif curve is None:
            raise KeyFault("factory.curve", "a raw key needs the column curve beside it")
        elif len(text) // 2 not in _SIZES[curve]:
            raise KeyFault("factory.key", f"{len(text) // 2} bytes are no raw key of {curve}")
        else:
            key = admit(curve, bytes.fromhex(text), allow_published=True)
    except DepinError as error:
        raise _fault(error) from None
    if curve is not None and key.curve != curve:
        raise KeyFault("factory.curve", f"the key is on {key.curve}, the column says {curve}")
    if is_published(key.raw):
        raise KeyFault("factory.test_key", "the private half of this key is published")
    return key
