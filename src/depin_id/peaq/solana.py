"""Events of machines that live on Solana: the instruction ``submit_event`` and its accounts.

Borsh with machine numbers and amounts as 32 bytes, big-endian; the rest is little-endian.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from depin_id import base58
from depin_id.errors import DepinError, EncodingError
from depin_id.peaq.events import Event, refuse

KEY_BYTES: Final = 32
MAX_METADATA: Final = 256
DISCRIMINATOR: Final = hashlib.sha256(b"global:submit_event").digest()[:8]
SYSTEM_PROGRAM: Final = bytes(KEY_BYTES)
_FIXED: Final = 32 + 1 + 32 + 8 + 32 + 1 + 8 + 32
_PRIME: Final = (1 << 255) - 19
_D: Final = -121665 * pow(121666, -1, _PRIME) % _PRIME


@dataclass(frozen=True, slots=True)
class Programs:
    """Programs of a deployment, 32 bytes each; the default is peaq's on Solana's main network."""

    event_registry: bytes = base58.decode("AWMkhnccpjuMgUDqWfFG38DCiKTqC3KsLhrzivEPWb77")
    machine_registry: bytes = base58.decode("AgR8exgW2mwpf4v2PpojYuDHXVBThZtenS6XYjV4JnUD")
    subscription_terminal: bytes = base58.decode("4EFBHr9AyazPA6cxZRYYU5eK6uguogG5YhPQX6cs6A9d")


@dataclass(frozen=True, slots=True)
class Account:
    """An account of an instruction: its role, address, and whether it signs and is written."""

    role: str
    address: bytes
    signs: bool = False
    written: bool = False

    def to_json(self) -> dict[str, Any]:
        """As wallets take it."""
        return {
            "role": self.role,
            "pubkey": base58.encode(self.address),
            "isSigner": self.signs,
            "isWritable": self.written,
        }


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: program, accounts in their order, data."""

    program: bytes
    accounts: tuple[Account, ...]
    data: bytes

    def to_json(self) -> dict[str, Any]:
        """``programId``, ``keys`` and ``data`` (hexadecimal)."""
        return {
            "programId": base58.encode(self.program),
            "keys": [account.to_json() for account in self.accounts],
            "data": self.data.hex(),
        }


def parse_key(text: str) -> bytes:
    """The 32 bytes of a Solana address.

    Raises:
        EncodingError: ``peaq.account_malformed``.
    """
    try:
        found = base58.decode(text) if type(text) is str and len(text) <= 44 else b""
    except DepinError:
        found = b""
    if len(found) != KEY_BYTES:
        raise EncodingError("peaq.account_malformed", "not a Solana address of 32 bytes in base58")
    return found


def _on_curve(data: bytes) -> bool:
    """Whether the bytes are the y of a point of edwards25519, of whatever order."""
    y = int.from_bytes(data, "little") & (1 << 255) - 1
    square = y * y % _PRIME
    x_square = (square - 1) * pow(_D * square + 1, -1, _PRIME) % _PRIME
    return x_square == 0 or pow(x_square, (_PRIME - 1) // 2, _PRIME) == 1


def program_address(seeds: Sequence[bytes], program: bytes) -> bytes:
    """The address that a program owns for seeds, the first off the curve from bump 255 down.

    Args:
        seeds: at most 15 of at most 32 bytes.

    Raises:
        EncodingError: ``peaq.account_malformed``.
    """
    if len(seeds) > 15 or any(len(seed) > 32 for seed in seeds) or len(program) != KEY_BYTES:
        raise EncodingError("peaq.account_malformed", "at most 15 seeds of at most 32 bytes")
    for bump in range(255, -1, -1):
        parts = b"".join((*seeds, bytes((bump,)), program, b"ProgramDerivedAddress"))
        found = hashlib.sha256(parts).digest()
        if not _on_curve(found):
            return found
    raise EncodingError("peaq.account_malformed", "these seeds have no program address")


def _text(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


def encode_event(event: Event) -> bytes:
    """The data of ``submit_event``.

    Raises:
        EncodingError: ``peaq.event``, metadata over 256 bytes.
    """
    if len(event.metadata) > MAX_METADATA:
        refuse("metadata", f"at most {MAX_METADATA} bytes on Solana")
    return b"".join(
        (
            DISCRIMINATOR,
            event.machine_id.to_bytes(32, "big"),
            bytes((event.event_type,)),
            event.value.to_bytes(32, "big"),
            event.timestamp.to_bytes(8, "little"),
            event.data_hash,
            bytes((event.trust_level,)),
            event.source_chain_id.to_bytes(8, "little"),
            event.source_tx_hash,
            _text(event.metadata),
            _text(event.currency.encode()),
        )
    )


def decode_event(data: bytes) -> Event:
    """Read the data of ``submit_event``, the inverse of :func:`encode_event`.

    Raises:
        EncodingError: ``peaq.event``.
    """
    data = bytes(data)
    body, limit = data[8:], _FIXED + 8 + MAX_METADATA + 10
    if data[:8] != DISCRIMINATOR or not _FIXED + 8 <= len(body) <= limit:
        raise EncodingError("peaq.event", "the data are not those of submit_event")
    rest = body[_FIXED:]
    metadata, rest = _take(rest)
    currency, rest = _take(rest)
    if rest or not currency.isascii():
        raise EncodingError("peaq.event", "something follows the event")
    return Event(
        machine_id=int.from_bytes(body[:32], "big"),
        event_type=body[32],
        value=int.from_bytes(body[33:65], "big"),
        timestamp=int.from_bytes(body[65:73], "little"),
        data_hash=body[73:105],
        trust_level=body[105],
        source_chain_id=int.from_bytes(body[106:114], "little"),
        source_tx_hash=body[114:146],
        metadata=metadata,
        currency=currency.decode(),
    )


def _take(data: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(data[:4], "little")
    if len(data) < 4 + length:
        raise EncodingError("peaq.event", "the data end before what they say")
    return data[4 : 4 + length], data[4 + length :]


def submit_event(
    event: Event, submitter: bytes, *, programs: Programs | None = None
) -> Instruction:
    """The instruction for one event, signed and paid by the submitter (32 bytes).

    Raises:
        EncodingError: ``peaq.event``, ``peaq.account_malformed``.
    """
    if len(submitter) != KEY_BYTES:
        raise EncodingError("peaq.account_malformed", "a submitter is a key of 32 bytes")
    used, machine = programs or Programs(), event.machine_id.to_bytes(32, "big")
    registry, terminal = used.event_registry, used.subscription_terminal
    accounts = (
        Account("submitter", submitter, signs=True, written=True),
        Account("event_registry", program_address([b"EventRegistry"], registry)),
        Account("machine", program_address([b"Machine", machine], used.machine_registry)),
        Account(
            "subscription_terminal",
            program_address([b"SubscriptionTerminal", machine], terminal),
        ),
        Account(
            "machine_event_log",
            program_address([b"MachineEventLog", machine], registry),
            written=True,
        ),
        Account("system_program", SYSTEM_PROGRAM),
    )
    return Instruction(registry, accounts, encode_event(event))
