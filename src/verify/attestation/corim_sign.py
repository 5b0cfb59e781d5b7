"""The envelope of a CoRIM: a COSE_Sign1, as others write it, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from depin_id.errors import AttestationError, EncodingError, KeyRefused
from verify.attestation import foreign_cbor, foreign_cose
from verify.attestation.materials import Anchor

MAX_CORIM: Final = 1 << 20
MAX_ITEMS: Final = 65_536
MAX_DEPTH: Final = 24
_META: Final = 8
_SIGN1: Final = 18
_EPOCH: Final = 1
_HEADERS: Final = frozenset((foreign_cose.ALG, foreign_cose.CONTENT_TYPE, foreign_cose.KID, _META))
_TYPES: Final = ("application/rim+cbor", "application/corim-unsigned+cbor")
_RULES: Final = foreign_cose.CoseRules(foreign_cose.ECDSA | foreign_cose.EDDSA)


@dataclass(frozen=True)
class Envelope:
    """A CoRIM taken out of its envelope.

    Attributes:
        payload: the CoRIM, read. message: its envelope; None when it is unsigned.
        not_before, not_after: of the signature, ms since 1970.
    """

    payload: Any
    message: foreign_cose.CoseMessage | None = None
    not_before: int | None = None
    not_after: int | None = None

    def signer(self, signers: Sequence[Anchor]) -> str:
        """Name of the anchor whose key signed it. Raises AttestationError."""
        if not signers:
            raise AttestationError("attestation.anchor", "no trust anchor signs CoRIMs")
        for anchor in signers:
            try:
                key = foreign_cose.load_key(anchor.spki)
            except ValueError:
                continue
            if self.message is not None and self.message.verifies(key):
                return anchor.name
        raise AttestationError(
            "attestation.signature", f"none of {len(signers)} trust anchors signed this CoRIM"
        )


def open_envelope(data: bytes) -> Envelope:
    """Read the envelope; nothing is verified. Raises AttestationError ``attestation.corim``."""
    value = loose_cbor(data, "the file")
    if getattr(value, "tag", None) != _SIGN1:
        return Envelope(value)
    try:
        message = foreign_cose.from_value(value, _RULES)
    except (EncodingError, KeyRefused) as error:
        refuse(error.message)
    content = message.protected.get(foreign_cose.CONTENT_TYPE, _TYPES[0])
    if not _HEADERS.issuperset(message.protected) or content not in _TYPES:
        refuse("a header or content type that is not known")
    begins, ends = _meta(message.protected.get(_META))
    return Envelope(loose_cbor(message.payload, "the CoRIM"), message, begins, ends)


def _meta(value: Any) -> tuple[int | None, int | None]:
    if value is None:
        return None, None
    if type(value) is not bytes:
        refuse("its meta data are no byte string")
    meta = loose_cbor(value, "its meta data")
    if not isinstance(meta, Mapping) or not set(meta) <= {0, 1}:
        refuse("its meta data have another form")
    return validity(meta.get(1, {}))


def validity(value: Any) -> tuple[int | None, int | None]:
    """Begin and end of a validity-map, ms since 1970. Raises AttestationError."""
    if not isinstance(value, Mapping) or not set(value) <= {0, 1}:
        refuse("a validity of another form")
    begins, ends = (_moment(value[label]) if label in value else None for label in (0, 1))
    return begins, ends


def _moment(value: Any) -> int:
    seconds = value.value if getattr(value, "tag", None) == _EPOCH else value
    if type(seconds) is not int or not 0 <= seconds < 1 << 40:
        refuse("a time that is no whole number of seconds")
    return int(seconds) * 1000


def loose_cbor(data: bytes, what: str) -> Any:
    """Exactly one item of CBOR that need not be deterministic: others sign as they please.

    Raises AttestationError ``attestation.corim``.
    """
    try:
        return foreign_cbor.decode(
            data, max_bytes=MAX_CORIM, max_depth=MAX_DEPTH, max_items=MAX_ITEMS
        )
    except EncodingError as error:
        refuse(f"{what}: {error.message}")


def refuse(what: str) -> NoReturn:
    """Raise AttestationError ``attestation.corim``."""
    raise AttestationError("attestation.corim", f"CoRIM: {what}")
