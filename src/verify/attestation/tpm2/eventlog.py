"""The event log of a PC's firmware (TCG PC Client Platform Firmware Profile, section 10).

The log is nobody's word: only what replays to the quoted PCRs counts, and of an event's data only
what its digest confirms. Logs of the old form have SHA-1 alone and are refused.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from depin_id.errors import EncodingError
from verify.attestation.tpm2 import wire

MAX_LOG: Final = 49_152
PCRS: Final = 24
_NO_ACTION: Final = 0x00000003
_SPEC_ID: Final = b"Spec ID Event03\0"
_LOCALITY: Final = b"StartupLocality\0"
_MAX_BANKS: Final = 8
_SIZES: Final = {wire.SHA1: 20, wire.SHA256: 32, wire.SHA384: 48, wire.SHA512: 64, 0x12: 32}
_GLOBAL_VARIABLE: Final = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
_SECURE_BOOT: Final = "SecureBoot".encode("utf-16-le")
_SECURE_BOOT_PCR: Final = 7


@dataclass(frozen=True, slots=True)
class Event:
    """One event that was extended.

    Attributes:
        pcr: index. kind: event type. digest: of the SHA-256 bank. data: what the firmware noted.
    """

    pcr: int
    kind: int
    digest: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class EventLog:
    """A log in the crypto agile form. locality: at which the TPM was started: PCR 0 begins so."""

    events: tuple[Event, ...]
    locality: int = 0

    def replay(self) -> dict[int, bytes]:
        """The PCRs of the SHA-256 bank as they are after all events, those without events too."""
        found = {index: bytes(32) for index in range(PCRS)}
        found |= dict.fromkeys(range(17, 23), b"\xff" * 32)
        found[0] = self.locality.to_bytes(32, "big")
        for event in self.events:
            found[event.pcr] = hashlib.sha256(found[event.pcr] + event.digest).digest()
        return found

    def secure_boot(self) -> bool | None:
        """Whether Secure Boot was on, from the first event of PCR 7; None when that does not say.

        Firmware measures the variable first of all there; whatever comes later may be anybody's.
        """
        first = next((item for item in self.events if item.pcr == _SECURE_BOOT_PCR), None)
        if first is None or hashlib.sha256(first.data).digest() != first.digest:
            return None
        head, rest = first.data[:32], first.data[32:]
        if len(head) != 32 or head[:16] != _GLOBAL_VARIABLE:
            return None
        name_size, size = struct.unpack("<QQ", head[16:])
        name, value = rest[: 2 * name_size], rest[2 * name_size :]
        if name != _SECURE_BOOT or len(value) != size:
            return None
        return value == b"\x01"


class _Reader:
    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        found = self.data[self.at : self.at + count]
        if len(found) != count:
            _wrong("it ends inside an event")
        self.at += count
        return found

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "little")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")


def read_event_log(data: bytes) -> EventLog:
    """Read a log of the crypto agile form, all of it.

    Raises EncodingError: ``encoding.malformed``; ``encoding.unsupported`` for a log of the old form
    and for one without the SHA-256 bank.
    """
    if not 0 < len(data) <= MAX_LOG:
        _wrong(f"not 1 to {MAX_LOG} bytes")
    reader = _Reader(data)
    banks = _read_head(reader)
    events: list[Event] = []
    locality: int | None = None
    while reader.at < len(data):
        event = _read_event(reader, banks)
        if event.kind != _NO_ACTION:
            events.append(event)
        elif event.data[:16] == _LOCALITY:
            if locality is not None or len(event.data) != 17 or event.data[16] not in (0, 3, 4):
                _wrong("a locality that is none, or given twice")
            locality = event.data[16]
    return EventLog(tuple(events), locality or 0)


def _read_head(reader: _Reader) -> Mapping[int, int]:
    """The first event, in the old form: it names the banks."""
    pcr, kind, digest = reader.u32(), reader.u32(), reader.take(20)
    size = reader.u32()
    if size > MAX_LOG:
        _wrong("an event that is too large")
    event = _Reader(reader.take(size))
    if kind != _NO_ACTION or event.data[:16] != _SPEC_ID:
        raise EncodingError("encoding.unsupported", "event log: of the old form, SHA-1 alone")
    if pcr or any(digest):
        _wrong("its head is extended into a PCR")
    event.take(16)
    platform, version = event.u32(), event.take(3)
    if platform > 1 or version[:2] != b"\x00\x02" or event.take(1)[0] not in (1, 2):
        _wrong("a head of another version")
    count = event.u32()
    if not 0 < count <= _MAX_BANKS:
        _wrong(f"{count} banks")
    banks: dict[int, int] = {}
    for _ in range(count):
        bank, length = event.u16(), event.u16()
        if bank in banks or _SIZES.get(bank) != length:
            _wrong("a bank twice, or of another size")
        banks[bank] = length
    event.take(event.take(1)[0])
    if event.at != len(event.data):
        _wrong("bytes follow its head")
    if wire.SHA256 not in banks:
        raise EncodingError("encoding.unsupported", "event log: without the SHA-256 bank")
    return banks


def _read_event(reader: _Reader, banks: Mapping[int, int]) -> Event:
    pcr, kind, count = reader.u32(), reader.u32(), reader.u32()
    if count != len(banks):
        _wrong(f"an event of {count} banks, the head names {len(banks)}")
    digests: dict[int, bytes] = {}
    for _ in range(count):
        bank = reader.u16()
        if bank in digests or bank not in banks:
            _wrong("an event with a bank twice, or with one that the head does not name")
        digests[bank] = reader.take(banks[bank])
    data = reader.take(reader.u32())
    digest = digests[wire.SHA256]
    if kind == _NO_ACTION:
        if any(digest):
            _wrong("a digest of what is extended nowhere")
    elif pcr >= PCRS:
        _wrong(f"PCR {pcr}")
    return Event(pcr, kind, digest, data)


def _wrong(what: str) -> NoReturn:
    raise EncodingError("encoding.malformed", f"event log: {what}")
