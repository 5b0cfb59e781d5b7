"""Events that the EventRegistry stores: fields and the hash of the raw data, and no signature.

``trust_level`` is what the sender declares, not what anybody checked: peaq's rating believes it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from depin_id.errors import EncodingError
from depin_id.evm import keccak256
from depin_id.peaq import abi
from depin_id.peaq.calls import BATCH, MAINNET, Call
from depin_id.peaq.identifier import MAX_MACHINE_ID

REGISTRY: Final = bytes.fromhex("a1e7f1d7b24dab55dc92491e6d9b89f6e925ad1e")
"""The EventRegistry on peaq's main network."""
REVENUE: Final = 0
ACTIVITY: Final = 1
SELF_REPORTED: Final = 0
ON_CHAIN: Final = 1
HARDWARE: Final = 2
SOURCE_CHAINS: Final = frozenset((0, 3338, 1, 8453, 137, 42161, 10))
MAX_METADATA: Final = 4096
MAX_BATCH: Final = 256
ZERO: Final = bytes(32)
_CURRENCY: Final = re.compile(r"[A-Z0-9]{3,10}", re.ASCII)
_TYPES: Final = "(uint256,uint8,uint256,string,uint256,bytes32,uint8,uint256,bytes32,bytes)"
_SIGNATURE: Final = "submitEvent" + _TYPES
_BATCH_TYPES: Final = "(address[],uint256[],bytes[],uint64[])"


def refuse(field: str, what: str) -> NoReturn:
    """Say which field is wrong."""
    raise EncodingError("peaq.event", f"{field}: {what}")


@dataclass(frozen=True, slots=True)
class Event:
    """An event, checked when it is made.

    Attributes:
        machine_id: 1 to 2^256 - 1.
        event_type: 0 revenue, 1 activity.
        value: amount in the currency's smallest unit.
        timestamp: seconds since 1970.
        currency: 3 to 10 capitals or digits for revenue, empty for activity.
        data_hash: :func:`data_hash` of the raw data.
        trust_level: 0 self-reported, 1 on-chain (needs ``source_tx_hash``), 2 hardware (needs raw
            data).
        source_chain_id: where it happened.
        source_tx_hash: 32 bytes, zero for none.
        metadata: at most 4096 bytes.
    """

    machine_id: int
    event_type: int
    value: int
    timestamp: int
    currency: str = ""
    data_hash: bytes = ZERO
    trust_level: int = SELF_REPORTED
    source_chain_id: int = 0
    source_tx_hash: bytes = ZERO
    metadata: bytes = b""

    def __post_init__(self) -> None:
        _number("machine_id", self.machine_id, 1, MAX_MACHINE_ID)
        _number("event_type", self.event_type, REVENUE, ACTIVITY)
        _number("value", self.value, 0, MAX_MACHINE_ID)
        _number("timestamp", self.timestamp, 1, (1 << 64) - 1)
        _number("trust_level", self.trust_level, SELF_REPORTED, HARDWARE)
        _number("source_chain_id", self.source_chain_id, 0, (1 << 64) - 1)
        for name, data in (("data_hash", self.data_hash), ("source_tx_hash", self.source_tx_hash)):
            if type(data) is not bytes or len(data) != 32:
                refuse(name, "32 bytes, or left out")
        if type(self.metadata) is not bytes or len(self.metadata) > MAX_METADATA:
            refuse("metadata", f"at most {MAX_METADATA} bytes")
        if type(self.currency) is not str:
            refuse("currency", "a text")
        if self.event_type == REVENUE and not _CURRENCY.fullmatch(self.currency):
            refuse("currency", "revenue has 3 to 10 capitals or digits, such as USD")
        if self.event_type == ACTIVITY and self.currency:
            refuse("currency", "activity has none")
        if self.trust_level == ON_CHAIN and self.source_tx_hash == ZERO:
            refuse("source_tx_hash", "trust level 1 names the transaction")
        if self.trust_level == HARDWARE and self.data_hash == ZERO:
            refuse("raw_data", "trust level 2 without data shows nothing")

    def values(self) -> tuple[object, ...]:
        """The arguments of ``submitEvent``."""
        return (
            *(self.machine_id, self.event_type, self.value, self.currency, self.timestamp),
            *(self.data_hash, self.trust_level, self.source_chain_id),
            *(self.source_tx_hash, self.metadata),
        )


def _number(field: str, value: object, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        refuse(field, f"an integer of {least} to {most}")


def data_hash(raw: bytes | None) -> bytes:
    """keccak256 of raw data, 32 zero bytes for none; empty data are refused, as peaq does."""
    if raw is None:
        return ZERO
    if not raw:
        refuse("raw_data", "left out, or not empty")
    return keccak256(raw)


def event_data(event: Event) -> bytes:
    """Call data of ``submitEvent``.

    Raises:
        EncodingError: ``peaq.event``, a source chain that the registry does not take.
    """
    if event.source_chain_id not in SOURCE_CHAINS:
        refuse("source_chain_id", f"one of {sorted(SOURCE_CHAINS)}")
    return abi.call(_SIGNATURE, event.values())


def submit_event(event: Event, *, chain_id: int = MAINNET, registry: bytes = REGISTRY) -> Call:
    """One event. Raises as :func:`event_data`; ConfigError ``config.extra``."""
    return Call(registry, event_data(event), chain_id)


def submit_batch(
    events: Sequence[Event], *, chain_id: int = MAINNET, registry: bytes = REGISTRY
) -> Call:
    """1 to 256 events in one transaction: all of them, or none.

    Raises:
        EncodingError: ``peaq.event``.
    """
    if not 1 <= len(events) <= MAX_BATCH:
        refuse("events", f"1 to {MAX_BATCH} of them")
    inner = [event_data(event) for event in events]
    values = [[registry] * len(inner), [0] * len(inner), inner, [0] * len(inner)]
    return Call(BATCH, abi.call("batchAll" + _BATCH_TYPES, values), chain_id)


def decode_event(data: bytes) -> Event:
    """Read call data of ``submitEvent``.

    Raises:
        EncodingError: ``abi.malformed``, ``abi.too_large``, ``peaq.event``.
    """
    if data[:4] != abi.selector(_SIGNATURE):
        raise EncodingError("peaq.event", "the call data are not those of submitEvent")
    machine, kind, value, currency, when, digest, trust, chain, tx, metadata = abi.decode(
        _TYPES, data[4:], max_bytes=1 << 14
    )
    return Event(machine, kind, value, when, currency, digest, trust, chain, tx, metadata)


def decode_batch(data: bytes, *, registry: bytes = REGISTRY) -> list[Event]:
    """Read call data of ``batchAll`` that hold events only.

    Raises:
        EncodingError: as :func:`decode_event`; ``peaq.event`` for a call of another contract, or
            one that sends coins.
    """
    if data[:4] != abi.selector("batchAll" + _BATCH_TYPES):
        raise EncodingError("peaq.event", "the call data are not those of batchAll")
    targets, values, inner, gas = abi.decode(_BATCH_TYPES, data[4:], max_bytes=1 << 22)
    count = len(inner)
    if not 1 <= count <= MAX_BATCH or targets != [registry] * count or any(values) or any(gas):
        raise EncodingError("peaq.event", "the batch does something else than submitting events")
    if len(values) != count or len(gas) != count:
        raise EncodingError("peaq.event", "the lists of the batch differ in length")
    return [decode_event(part) for part in inner]
