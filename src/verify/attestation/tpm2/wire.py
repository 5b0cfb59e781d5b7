"""What a TPM signs (TPM 2.0 Part 2): TPMS_ATTEST and TPMT_SIGNATURE, read strictly.

Everything is big-endian; whatever follows a structure, or is of another kind, is refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, NoReturn

from depin_id.errors import EncodingError

GENERATED: Final = 0xFF544347
"""TPM_GENERATED_VALUE: a restricted key signs nothing that begins so, but what its TPM made."""
ATTEST_CERTIFY: Final = 0x8017
ATTEST_QUOTE: Final = 0x8018
SHA1: Final = 0x0004
SHA256: Final = 0x000B
SHA384: Final = 0x000C
SHA512: Final = 0x000D
DIGESTS: Final = {SHA1: "sha1", SHA256: "sha256", SHA384: "sha384", SHA512: "sha512"}
RSASSA: Final = 0x0014
RSAPSS: Final = 0x0016
ECDSA: Final = 0x0018
MAX_STRUCTURE: Final = 4096
_MAX_NAME: Final = 2 + 64
_MAX_DATA: Final = 66
_MAX_BANKS: Final = 16
_HEAD: Final = struct.Struct(">IH")
_CLOCK: Final = struct.Struct(">QIIBQ")


class Reader:
    """Reads big-endian numbers and sized buffers; raises EncodingError ``encoding.malformed``."""

    __slots__ = ("_at", "_data", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data, self._what, self._at = data, what, 0
        if type(data) is not bytes or not 0 < len(data) <= MAX_STRUCTURE:
            self.wrong(f"not 1 to {MAX_STRUCTURE} bytes")

    def wrong(self, why: str) -> NoReturn:
        """Refuse the structure."""
        raise EncodingError("encoding.malformed", f"{self._what}: {why}, at byte {self._at}")

    def take(self, count: int) -> bytes:
        """That many bytes."""
        found = self._data[self._at : self._at + count]
        if len(found) != count:
            self.wrong("it ends too early")
        self._at += count
        return found

    def numbers(self, form: struct.Struct) -> tuple[int, ...]:
        """Several numbers at once."""
        return form.unpack(self.take(form.size))

    def u8(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def u16(self) -> int:
        """Two bytes."""
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        """Four bytes."""
        return int.from_bytes(self.take(4), "big")

    def sized(self, most: int) -> bytes:
        """A TPM2B: its size in two bytes, then that many."""
        size = self.u16()
        if size > most:
            self.wrong(f"a buffer of {size} bytes, at most {most} are allowed")
        return self.take(size)

    def end(self) -> None:
        """Nothing may follow."""
        if self._at != len(self._data):
            self.wrong(f"{len(self._data) - self._at} bytes follow it")


@dataclass(frozen=True, slots=True)
class Quoted:
    """TPMS_QUOTE_INFO: which PCRs of which banks, and the digest over their values."""

    selection: tuple[tuple[int, tuple[int, ...]], ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class Certified:
    """TPMS_CERTIFY_INFO: the Name of the key that was certified, and its qualified name."""

    name: bytes
    qualified_name: bytes


@dataclass(frozen=True, slots=True)
class Attest:
    """TPMS_ATTEST.

    Attributes:
        signer: qualified name of the key that signed. extra: the caller's qualifying data.
        clock: ms that the TPM ran. resets, restarts: how often it was reset, and since then
            restarted. safe: whether the clock has not gone backwards. firmware: its version.
            (The last four are obscured for keys outside the endorsement and platform hierarchies.)
        attested: by kind.
    """

    signer: bytes
    extra: bytes
    clock: int
    resets: int
    restarts: int
    safe: bool
    firmware: int
    attested: Quoted | Certified


def read_attest(data: bytes) -> Attest:
    """Read a TPMS_ATTEST of a quote or of a certified key.

    Raises EncodingError ``encoding.malformed``: not of a TPM, of another kind, or not exactly one.
    """
    reader = Reader(data, "TPMS_ATTEST")
    magic, kind = reader.numbers(_HEAD)
    if magic != GENERATED:
        reader.wrong("the magic value is not a TPM's")
    if kind not in (ATTEST_QUOTE, ATTEST_CERTIFY):
        reader.wrong(f"of type {kind:#06x}, neither a quote nor a certified key")
    signer = reader.sized(_MAX_NAME)
    extra = reader.sized(_MAX_DATA)
    clock, resets, restarts, safe, firmware = reader.numbers(_CLOCK)
    if safe > 1:
        reader.wrong("a flag that is neither yes nor no")
    attested = _read_quoted(reader) if kind == ATTEST_QUOTE else _read_certified(reader)
    reader.end()
    return Attest(signer, extra, clock, resets, restarts, safe == 1, firmware, attested)


def _read_quoted(reader: Reader) -> Quoted:
    count = reader.u32()
    if count > _MAX_BANKS:
        reader.wrong(f"a selection of {count} banks")
    selection = []
    for _ in range(count):
        bank, size = reader.u16(), reader.u8()
        if size > 4:
            reader.wrong(f"a selection of {8 * size} PCRs")
        bits = int.from_bytes(reader.take(size), "little")
        selection.append((bank, tuple(index for index in range(8 * size) if bits >> index & 1)))
    return Quoted(tuple(selection), reader.sized(64))


def _read_certified(reader: Reader) -> Certified:
    return Certified(reader.sized(_MAX_NAME), reader.sized(_MAX_NAME))


@dataclass(frozen=True, slots=True)
class Signature:
    """TPMT_SIGNATURE.

    Attributes:
        scheme: :data:`ECDSA`, :data:`RSASSA` or :data:`RSAPSS`. digest: which hash.
        parts: ``(r, s)``, or the one number of RSA.
    """

    scheme: int
    digest: int
    parts: tuple[bytes, ...]


def read_signature(data: bytes) -> Signature:
    """Read a TPMT_SIGNATURE. Raises EncodingError ``encoding.malformed``."""
    reader = Reader(data, "TPMT_SIGNATURE")
    scheme = reader.u16()
    if scheme not in (ECDSA, RSASSA, RSAPSS):
        reader.wrong(f"of scheme {scheme:#06x}, neither ECDSA nor RSA")
    digest = reader.u16()
    count, most = (2, 66) if scheme == ECDSA else (1, 512)
    parts = tuple(reader.sized(most) for _ in range(count))
    reader.end()
    return Signature(scheme, digest, parts)
