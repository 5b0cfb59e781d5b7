"""One corpus for the device library on every target: cases, and what Python makes of them.

File of cases: ``DPC1``, how many (u32), then each with its size (u32) in front. File of answers:
the same with ``DPA1``. All numbers are little-endian. `firmware_bridge/firmware/tests/replay.c`
runs a case: link it into an image, hand it each case, compare with the answer.

A case::

    u8 curve (1 Ed25519, 2 P-256), u8 flags (1 wall clock, 2 beacon, 4 result, 8 place), u8 kind
    u32 epoch, u32 n, prev (16), i64 uptime in ms, i64 wall clock in ms, u32 its error in s
    key (64: Ed25519 seed and public key; P-256 x and y), beacon (16), ear (16), text network
    kind 0, pack: u16 count, each: text name, text unit (empty: none), i64 mantissa, i16 exponent,
        i64 time in ms
    kind 1 status, 2 evidence: u16 size and bytes
    kind 3 document, 4 enrol: texts name, profile, owner, i32 latitude, i32 longitude; 4 also: nonce
        (16), u16 size and certificate
    kind 5, challenge; 7, identity: nothing more
    kind 6, attest: nonce (16), u64 expires, text media type, u16 size and evidence

A text is its size (u8), its bytes and a zero. An answer is a status (u8: 0, or the negated
``depin_status``) and, with 0, what was made. With P-256 the chip is a stand-in: r is the digest
that it was given, and s is the order less 1, which leaves as 1: a port makes it low.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple, cast

from depin_id import cbor
from depin_id.attestation.binding import Binding
from depin_id.attestation.message import attest_statement, sign_message
from depin_id.claims import NO_CLAIMS, Claims, Place
from depin_id.did.key import did_key
from depin_id.enrolment import Enrolment
from depin_id.envelope import CONTENT_EVIDENCE, CONTENT_SENML, CONTENT_STATUS, Provenance, seal
from depin_id.keys import Curve, PublicKey, SoftwareSigner
from depin_id.possession import enrol_statement, prove
from depin_id.printable import json_text
from depin_id.readings import Reading
from depin_id.sealing import to_records
from depin_id.senml import Decimal64, encode_pack
from depin_id.senml.units import PRIMARY_UNITS, SECONDARY_UNITS
from depin_id.statements import CHALLENGE, write_statement

PACK, STATUS, EVIDENCE, DOCUMENT, ENROL, ASK, ATTEST, IDENTITY = range(8)
WALL, BEACON, EAR, PLACE = 1, 2, 4, 8
MAX_READINGS: Final = 64
_START: Final = 1_700_000_000_000
_UNITS: Final = sorted(PRIMARY_UNITS) + sorted(SECONDARY_UNITS) + ["my-unit", "!", "~" * 16]
_NAMES: Final = ["LAeq", "temp", "a", "Z9-:./_", "x" * 128, "urn:dev:1", "pm/2.5", "0"]


class Row(NamedTuple):
    """A reading as the device gets it."""

    name: str
    unit: str | None
    mantissa: int
    exponent: int
    time_ms: int


class _Item(NamedTuple):
    """What the sealing of a reading looks at; units are free here, as they are on the wire."""

    name: str
    unit: str | None
    value: Decimal64
    time: Decimal64


class StandIn:
    """A chip whose signature shows what it was given to sign."""

    def __init__(self, key: PublicKey) -> None:
        self.public_key = key

    def sign(self, message: bytes) -> bytes:
        """The digest, and 1."""
        return sha256(message).digest() + bytes(31) + b"\x01"


@lru_cache(maxsize=64)
def signer(curve: Curve, number: int) -> SoftwareSigner:
    """A key of the corpus."""
    return SoftwareSigner(curve, sha256(b"depin corpus %d" % number).digest())


@dataclass(frozen=True)
class Case:
    """One call of the library, with the whole state before it."""

    curve: Curve
    key: int
    root: int
    flags: int
    kind: int
    epoch: int
    n: int
    prev: bytes
    uptime: int
    wall: int
    error: int
    beacon: bytes
    ear: bytes
    rows: tuple[Row, ...] = ()
    payload: bytes = b""
    texts: tuple[str, str, str] = ("", "", "")
    place: tuple[int, int] = (0, 0)
    nonce: bytes = bytes(16)
    expires: int = 0
    media_type: str = "x"
    status: int = field(default=0)

    @property
    def network(self) -> str:
        """The DID of the network."""
        return did_key(signer("ed25519" if self.root % 2 else "p256", self.root).public_key)

    @property
    def public(self) -> PublicKey:
        """The device's key."""
        return signer(self.curve, self.key).public_key

    def to_bytes(self) -> bytes:
        """The case in the form above."""
        key, secret = self.public.cose_key, signer(self.curve, self.key).secret
        raw = secret + key[-32:] if self.curve == "ed25519" else key[8:40] + key[43:]
        head = struct.pack(
            "<BBBII16sqqI64s16s16s",
            *(1 if self.curve == "ed25519" else 2, self.flags, self.kind, self.epoch, self.n),
            *(self.prev, self.uptime, self.wall, self.error, raw, self.beacon, self.ear),
        )
        return head + _text(self.network) + self._body()

    def _body(self) -> bytes:
        sized = struct.pack("<H", len(self.payload)) + self.payload
        if self.kind == PACK:
            return struct.pack("<H", len(self.rows)) + b"".join(map(_row, self.rows))
        if self.kind in (STATUS, EVIDENCE):
            return sized
        if self.kind == ATTEST:
            media = _text(self.media_type)
            return self.nonce + struct.pack("<Q", self.expires) + media + sized
        if self.kind in (DOCUMENT, ENROL):
            about = b"".join(map(_text, self.texts)) + struct.pack("<ii", *self.place)
            return about + (self.nonce + sized if self.kind == ENROL else b"")
        return b""

    def answer(self) -> bytes:
        """What the library has to answer."""
        return bytes([self.status]) + (b"" if self.status else self._made())

    def _made(self) -> bytes:
        key = self.public
        if self.kind in (PACK, STATUS, EVIDENCE):
            return self._envelope()
        if self.kind == ASK:
            return write_statement(CHALLENGE, key.thumbprint)
        if self.kind == ATTEST:
            bound = Binding(
                *(self.network, self.nonce, did_key(key), key.thumbprint, self.expires, self.epoch)
            )
            return attest_statement(
                sign_message(bound, self.media_type, self.payload, signer=self._chip())
            )
        if self.kind == IDENTITY:
            return did_key(key).encode().ljust(64, b"\0") + key.thumbprint + key.cose_key
        about = self.enrolment()
        if self.kind == DOCUMENT:
            return json_text(about.to_json()).encode()
        shown = self.payload
        proof = prove(
            self._chip(),
            about,
            nonce=self.nonce,
            network=self.network,
            certificate=shown or None,
        )
        return enrol_statement(proof, shown)

    def enrolment(self) -> Enrolment:
        """What the device says of itself."""
        name, profile, owner = self.texts
        place = Place(*self.place) if self.flags & PLACE else None
        return Enrolment.of(self.public, name=name, profile=profile, owner=owner, place=place)

    def _chip(self) -> SoftwareSigner | StandIn:
        return signer(self.curve, self.key) if self.curve == "ed25519" else StandIn(self.public)

    def _envelope(self) -> bytes:
        clock = self.error if self.flags & WALL else None
        content: int | str = CONTENT_SENML
        payload, claims = self.payload, NO_CLAIMS
        if self.kind == PACK:
            payload = encode_pack(to_records(self._items(), now=self._now(), clock=clock))
        else:
            content = CONTENT_STATUS if self.kind == STATUS else CONTENT_EVIDENCE
            # As Device.sign_status has it.
            claims = Claims(iat=None if clock is None else round(self.wall / 1000))
        if clock is None and self.flags & BEACON:
            claims = Claims(nonce=self.beacon)
        ear = self.ear if self.flags & EAR else None
        where = Provenance(self.epoch, self.n, self.prev, self.uptime // 1000, clock, ear)
        return seal(
            payload,
            content_type=content,
            provenance=where,
            network=self.network,
            signer=self._chip(),
            claims=claims,
        )

    def _now(self) -> float:
        return (self.wall if self.flags & WALL else _START + self.uptime) / 1000

    def _items(self) -> list[Reading]:
        shift = 0 if self.flags & WALL else _START
        return [
            cast(
                Reading,
                _Item(
                    row.name,
                    row.unit,
                    Decimal64(row.mantissa, row.exponent),
                    Decimal64(row.time_ms + shift, -3),
                ),
            )
            for row in self.rows
        ]


def _text(value: str) -> bytes:
    data = value.encode()
    return bytes([len(data)]) + data + b"\0"


def _row(row: Row) -> bytes:
    numbers = struct.pack("<qhq", row.mantissa, row.exponent, row.time_ms)
    return _text(row.name) + _text(row.unit or "") + numbers


def _number(rng: random.Random, bits: int) -> int:
    """Sizes evenly, so that every width of a head is met."""
    return rng.getrandbits(rng.randint(1, bits))


def _mantissa(rng: random.Random) -> int:
    size = _number(rng, 63)
    if rng.random() < 0.4:  # what has zeros at its end
        power = rng.randint(0, 18)
        size = size % 10 ** (18 - power) * 10**power
    if rng.random() < 0.05:
        size = rng.choice([2**63 - 1, 10**18, 922337203685477580, 922337203685477581])
    if rng.random() < 0.02:
        return -(2**63)
    return -size if rng.random() < 0.4 else size


def _rows(rng: random.Random, has_wall: bool, now: int) -> tuple[Row, ...]:
    count = rng.choice([1, 1, 2, 3, rng.randint(1, 30), rng.choice([23, 24, MAX_READINGS])])
    names = [rng.choice(_NAMES)] if rng.random() < 0.6 else rng.sample(_NAMES, 3)
    units: list[str | None] = list(rng.sample(_UNITS, rng.choice([1, 1, 2, 3])))
    if rng.random() < 0.2:
        units.append(None)
    rows = []
    step = rng.choice([0, 1, 10, 125, 1000, 60_000])
    when = now - step * rng.randint(0, count)
    for _ in range(count):
        mantissa, exponent = _mantissa(rng), rng.choice([0, -1, -2, -3, rng.randint(-18, 18)])
        if exponent > 0:
            mantissa %= 1000
        time = when if rng.random() < 0.9 else rng.randrange(0, 2 * now + 1)
        if has_wall:
            time = max(time, 2**28 * 1000)
        rows.append(
            Row(rng.choice(names), rng.choice(units), mantissa, exponent, min(max(time, 0), 2**50))
        )
        when += step
    return tuple(rows)


def _payload(rng: random.Random, most: int) -> bytes:
    return rng.randbytes(rng.choice([1, 23, 24, 200, 255, 256, rng.randint(1, most)]))


def make(rng: random.Random) -> Case:
    """A case, drawn from any source of randomness (hypothesis has one that it can shrink)."""
    curve: Curve = rng.choice(("ed25519", "p256"))
    kind = rng.choice([PACK] * 8 + [STATUS, EVIDENCE, DOCUMENT, ENROL, ASK, ATTEST, IDENTITY])
    flags = rng.getrandbits(4)
    uptime, wall = _number(rng, 37), _START + rng.randint(-(10**9), 10**12)
    printable = ["", "noise@1", 'quote " and \\ slash', "Straße 1", "x" * 128, "日本"]
    texts = cast(tuple[str, str, str], tuple(rng.choice(printable) for _ in range(3)))
    half = rng.choice([1, 10, 10**6, 10**7, 9 * 10**8])
    payload = _payload(rng, 500)
    if kind == STATUS:
        payload = cbor.encode({"profile": "noise@1", "firmware": payload[:32]})
    if kind == ENROL and rng.random() < 0.3:
        payload = b""
    return Case(
        curve=curve,
        key=rng.randint(1, 8),
        root=rng.randint(11, 14),
        flags=flags,
        kind=kind,
        epoch=_number(rng, 32),
        n=min(_number(rng, 32), 2**32 - 2),
        prev=rng.randbytes(16),
        uptime=uptime,
        wall=wall,
        error=_number(rng, 32),
        beacon=rng.randbytes(16),
        ear=rng.randbytes(16),
        rows=_rows(rng, bool(flags & WALL), wall if flags & WALL else uptime)
        if kind == PACK
        else (),
        payload=payload,
        texts=texts,
        place=(rng.randint(-half, half), rng.randint(-2 * half, 2 * half)),
        nonce=rng.randbytes(16),
        expires=_number(rng, 40),
        media_type=rng.choice(["application/eat+cwt", "x" * 120]),
    )


def generate(count: int, seed: int = 1) -> list[Case]:
    """The same cases for the same arguments."""
    rng = random.Random(seed)
    return [make(rng) for _ in range(count)]


def join(magic: bytes, items: Iterable[bytes]) -> bytes:
    """A file of cases (``DPC1``) or answers (``DPA1``)."""
    parts = list(items)
    sized = (struct.pack("<I", len(part)) + part for part in parts)
    return magic + struct.pack("<I", len(parts)) + b"".join(sized)


def split(data: bytes) -> list[bytes]:
    """The items of a file."""
    (count,) = struct.unpack_from("<I", data, 4)
    at, items = 8, []
    for _ in range(count):
        (size,) = struct.unpack_from("<I", data, at)
        items.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return items
