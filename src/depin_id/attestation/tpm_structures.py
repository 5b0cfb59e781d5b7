"""The few structures of a TPM that a device reads of its own TPM (TCG TPM 2.0, part 2)."""

from __future__ import annotations

import struct
from typing import Final, NoReturn

from depin_id.errors import AttestationError
from depin_id.keys import PublicKey, admit

ALG_ECC: Final = 0x0023
ALG_SHA256: Final = 0x000B
ALG_ECDSA: Final = 0x0018
ALG_NULL: Final = 0x0010
CURVE_P256: Final = 0x0003
USER_WITH_AUTH: Final = 1 << 6
_CREDENTIAL: Final = struct.pack(">II", 0xBADCC0DE, 1)
"""How tpm2-tools begin the file of a credential: their own mark and version."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        found = self._data[self._at : self._at + size]
        if len(found) != size:
            _wrong("it is cut off")
        self._at += size
        return found

    def number(self, size: int = 2) -> int:
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        return self.take(self.number())

    def end(self) -> None:
        if self._at != len(self._data):
            _wrong("something follows it")


def read_p256(area: bytes) -> PublicKey:
    """The key of a TPMT_PUBLIC: a P-256 key that signs with ECDSA and SHA-256.

    Raises:
        AttestationError: ``attestation.tpm``, another one. KeyRefused.
    """
    reader = _Reader(area)
    if (reader.number(), reader.number()) != (ALG_ECC, ALG_SHA256):
        _wrong("the key is not of an elliptic curve")
    reader.number(4)
    reader.sized()
    if [reader.number() for _ in range(5)] != [
        *(ALG_NULL, ALG_ECDSA, ALG_SHA256, CURVE_P256, ALG_NULL)
    ]:
        _wrong("the key is not one of P-256 for ECDSA with SHA-256")
    x, y = reader.sized(), reader.sized()
    reader.end()
    if max(len(x), len(y)) > 32:
        _wrong("a coordinate has over 32 bytes")
    return admit("p256", b"\x04" + x.rjust(32, b"\0") + y.rjust(32, b"\0"))


def read_ecdsa(data: bytes) -> bytes:
    """r || s (64 bytes) of a TPMT_SIGNATURE. Raises AttestationError ``attestation.tpm``."""
    reader = _Reader(data)
    if (reader.number(), reader.number()) != (ALG_ECDSA, ALG_SHA256):
        _wrong("the signature is not ECDSA with SHA-256")
    r, s = reader.sized(), reader.sized()
    reader.end()
    if max(len(r), len(s)) > 32:
        _wrong("a part of the signature has over 32 bytes")
    return r.rjust(32, b"\0") + s.rjust(32, b"\0")


def attributes(area: bytes) -> int:
    """objectAttributes of a TPMT_PUBLIC. Raises AttestationError ``attestation.tpm``."""
    reader = _Reader(area)
    reader.take(4)
    return reader.number(4)


def quoted_digest(attest: bytes) -> bytes:
    """pcrDigest of a quote: it ends with it. Raises AttestationError ``attestation.tpm``."""
    if attest[-34:-32] != b"\x00\x20":
        _wrong("the quote does not end with a SHA-256 digest")
    return attest[-32:]


def certificate(data: bytes) -> bytes:
    """The DER certificate at the start of an NV index, which may be larger than it.

    Raises AttestationError ``attestation.tpm``.
    """
    if data[:2] != b"\x30\x82" or len(data) < 4 + int.from_bytes(data[2:4], "big"):
        _wrong("the index does not hold a certificate")
    return data[: 4 + int.from_bytes(data[2:4], "big")]


def credential_file(credential: bytes) -> bytes:
    """A credential as tpm2_activatecredential takes it.

    Args:
        credential: TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET, one after the other.

    Raises AttestationError ``attestation.credential``.
    """
    if credential.startswith(_CREDENTIAL):
        credential = credential[len(_CREDENTIAL) :]
    reader = _Reader(credential)
    try:
        reader.sized()
        reader.sized()
        reader.end()
    except AttestationError as error:
        raise AttestationError(
            "attestation.credential", f"not a TPM's credential: {error.message}"
        ) from error
    return _CREDENTIAL + credential


def _wrong(what: str) -> NoReturn:
    raise AttestationError("attestation.tpm", f"a structure of the TPM: {what}")
