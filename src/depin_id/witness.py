"""Witnesses of a log: their keys, and how many of them have to have seen the same log.

A witness is its public key (c2sp.org/tlog-cosignature, Ed25519, type 04); the name beside it is for
people, and a cosignature does not commit to it.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from depin_id.errors import LogError
from depin_id.keys import PublicKey, admit

MAX_WITNESSES = 32
_MAX_VKEY = 256
_NAME = re.compile(r"[!-*,-~]{1,128}")
_TYPE = b"\x04"


@dataclass(frozen=True)
class WitnessKey:
    """The public half of a witness's key.

    Args:
        name: 1 to 128 visible ASCII characters without a plus, best a URL without its scheme.
        public: the Ed25519 key, admitted.

    Raises:
        LogError: ``log.key`` when the name is another, or the key is on another curve.
    """

    name: str
    public: PublicKey

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or _NAME.fullmatch(self.name) is None:
            raise LogError(
                "log.key",
                f"{str(self.name)[:40]!r} is not the name of a witness",
                hint="use 1 to 128 visible ASCII characters without a plus, such as a host name",
            )
        if self.public.curve != "ed25519":
            raise LogError("log.key", f"the key of witness {self.name!r} is not an Ed25519 key")

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that stand before each cosignature: a hint, not a proof."""
        return sha256(self.name.encode() + b"\n" + _TYPE + self.public.raw).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key as text, ``name+hex(id)+base64(04 || public key)``."""
        encoded = b64encode(_TYPE + self.public.raw).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def parse(cls, vkey: str) -> WitnessKey:
        """Read a key from its text form.

        Raises:
            LogError: ``log.key`` when the form, the type or the id is wrong.
            KeyRefused: ``key.not_admissible``.
        """
        parts = vkey.split("+", 2) if len(vkey) <= _MAX_VKEY else []  # base64 has plus signs too
        if len(parts) != 3:
            raise LogError("log.key", "the key of a witness is written name+id+base64")
        name, key_id, encoded = parts
        try:
            blob = b64decode(encoded.encode(), validate=True)
        except (Base64Error, ValueError):
            blob = b""
        if blob[:1] != _TYPE or b64encode(blob).decode() != encoded:
            raise LogError(
                "log.key",
                f"the key {name[:40]!r} is not an Ed25519 key of a witness (type 04)",
                hint="`depin-verify witness show` prints it; a log's own key has type 01",
            )
        key = cls(name, admit("ed25519", blob[1:]))
        if key.key_id.hex() != key_id:
            raise LogError("log.key", f"the id of key {name!r} does not belong to its public key")
        return key


@dataclass(frozen=True)
class WitnessPolicy:
    """Which witnesses are trusted, and how many of them have to have cosigned.

    Args:
        keys: of the witnesses, 1 to 32, each public key once.
        quorum: how many of them, at least 1: nothing to check is no permission.

    Raises:
        LogError: ``log.witness_policy``.
    """

    keys: tuple[WitnessKey, ...]
    quorum: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", tuple(self.keys))
        count = len(self.keys)
        if not 1 <= count <= MAX_WITNESSES:
            raise LogError(
                "log.witness_policy", f"{count} witnesses are named, 1 to {MAX_WITNESSES} can be"
            )
        if len({key.public.raw for key in self.keys}) != count:
            raise LogError(
                "log.witness_policy",
                "one public key stands for two witnesses",
                hint="name every witness once: under two names it would count twice",
            )
        if type(self.quorum) is not int or not 1 <= self.quorum <= count:
            raise LogError(
                "log.witness_policy",
                f"a quorum of {self.quorum!r} among {count} witnesses",
                hint="the quorum is at least 1 and at most the number of witnesses",
            )

    def to_list(self) -> list[Any]:
        """The policy as it stands in a network card."""
        return [self.quorum, [[key.name, key.public.raw] for key in self.keys]]

    @classmethod
    def from_list(cls, value: Any) -> WitnessPolicy:
        """Read the policy of a card.

        Raises:
            LogError: ``log.witness_policy``, ``log.key``. KeyRefused.
        """
        if not isinstance(value, list) or len(value) != 2 or not isinstance(value[1], list):
            raise LogError("log.witness_policy", "it is not a quorum and a list of witnesses")
        quorum, rows = value
        if len(rows) > MAX_WITNESSES or not all(
            isinstance(row, list) and len(row) == 2 and isinstance(row[1], bytes) for row in rows
        ):
            raise LogError("log.witness_policy", "a witness is not a name and a public key")
        return cls(tuple(WitnessKey(name, admit("ed25519", raw)) for name, raw in rows), quorum)
