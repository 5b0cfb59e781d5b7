"""Evidence of a TPM 2.0 as a device sends it: the TPM's own structures in one CBOR map.

What stands in the structures is for the verifier to read (``verify.attestation.tpm2``); here only
the form of the map is checked: which members there are, their types and sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from depin_id import cbor
from depin_id.errors import AttestationError, EncodingError

MEDIA_TYPE: Final = "application/vnd.depin.tpm2+cbor"
MAX_EVIDENCE: Final = 65_536
MAX_STRUCTURE: Final = 4096
"""Bound on one structure of the TPM, in bytes."""
MAX_CERTIFICATE: Final = 16_384
MAX_CERTIFICATES: Final = 8
MAX_EVENT_LOG: Final = 49_152
PCRS: Final = 24
"""How many PCRs a bank has."""
_DIGEST: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Tpm2Evidence:
    """What a TPM says, and the certificates of its keys.

    Attributes:
        quote: TPMS_ATTEST of TPM2_Quote; its qualifying data is the challenge.
        quote_signature: TPMT_SIGNATURE over it by the attestation key (AK).
        ak_public: TPMT_PUBLIC of the AK, without the size in front of it.
        ak_chain: certificates of the AK, DER, leaf first; empty when it has none.
        ek_chain: certificates of the endorsement key (EK), DER, leaf first; may be empty only when
            the AK has its own.
        certify, certify_signature: TPMS_ATTEST of TPM2_Certify of the device's key, and the AK's
            signature over it; both None when that key is not in the TPM.
        key_public: TPMT_PUBLIC of the device's key; None as above.
        pcrs: values of the SHA-256 bank that were quoted, by index.
        event_log: of the firmware (TCG PC Client), or None.

    Raises:
        AttestationError: ``attestation.malformed``, a member has the wrong form.
    """

    quote: bytes
    quote_signature: bytes
    ak_public: bytes
    ak_chain: Sequence[bytes] = ()
    ek_chain: Sequence[bytes] = ()
    certify: bytes | None = None
    certify_signature: bytes | None = None
    key_public: bytes | None = None
    pcrs: Mapping[int, bytes] = field(default_factory=dict)
    event_log: bytes | None = None

    def __post_init__(self) -> None:
        for name in ("quote", "quote_signature", "ak_public"):
            _check_bytes(getattr(self, name), name, MAX_STRUCTURE)
        certified = (self.certify, self.certify_signature, self.key_public)
        if len({part is None for part in certified}) != 1:
            _wrong("a certified key needs all of attest, signature and public area, or none")
        for part in certified:
            if part is not None:
                _check_bytes(part, "a structure of the certified key", MAX_STRUCTURE)
        for chain in (self.ak_chain, self.ek_chain):
            if not isinstance(chain, list | tuple) or len(chain) > MAX_CERTIFICATES:
                _wrong(f"a chain is no array of at most {MAX_CERTIFICATES} certificates")
            for certificate in chain:
                _check_bytes(certificate, "a certificate", MAX_CERTIFICATE)
        if not self.ak_chain and not self.ek_chain:
            _wrong("neither of the two keys has a certificate")
        if not isinstance(self.pcrs, Mapping) or not 0 < len(self.pcrs) <= PCRS:
            _wrong("there are no PCR values, or too many")
        for index, digest in self.pcrs.items():
            if type(index) is not int or not 0 <= index < PCRS:
                _wrong("a PCR has no index of the bank")
            if type(digest) is not bytes or len(digest) != _DIGEST:
                _wrong("a PCR value is not of the SHA-256 bank")
        if self.event_log is not None:
            _check_bytes(self.event_log, "the event log", MAX_EVENT_LOG)

    def encode(self) -> bytes:
        """The one encoding of it. Raises AttestationError ``attestation.malformed``: too large."""
        members: list[Any] = [
            self.quote,
            self.quote_signature,
            self.ak_public,
            list(self.ak_chain),
            list(self.ek_chain),
            self.certify,
            self.certify_signature,
            self.key_public,
            dict(self.pcrs),
            self.event_log,
        ]
        data = cbor.encode(dict(enumerate(members, start=1)))
        if len(data) > MAX_EVIDENCE:
            _wrong(f"{len(data)} bytes, {MAX_EVIDENCE} are allowed")
        return data


def read(data: bytes) -> Tpm2Evidence:
    """Read the map strictly; nothing of the TPM's structures is looked at.

    Raises:
        AttestationError: ``attestation.malformed``.
    """
    try:
        members: Any = cbor.decode(data, max_bytes=MAX_EVIDENCE, max_depth=2)
    except EncodingError as error:
        _wrong(error.message)
    if not isinstance(members, dict) or set(members) != set(range(1, 11)):
        _wrong("not the map of ten members")
    for label in (4, 5):
        if not isinstance(members[label], list | tuple):
            _wrong("a chain is no array")
    return Tpm2Evidence(
        quote=members[1],
        quote_signature=members[2],
        ak_public=members[3],
        ak_chain=tuple(members[4]),
        ek_chain=tuple(members[5]),
        certify=members[6],
        certify_signature=members[7],
        key_public=members[8],
        pcrs=members[9],
        event_log=members[10],
    )


def _check_bytes(value: object, name: str, most: int) -> None:
    if type(value) is not bytes or not 0 < len(value) <= most:
        _wrong(f"{name} is not 1 to {most} bytes")


def _wrong(what: str) -> NoReturn:
    raise AttestationError("attestation.malformed", f"evidence of a TPM: {what}")
