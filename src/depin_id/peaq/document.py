"""Documents of generation A (``peaq-sdk``): what a device's attribute at precompile 0x800 holds.

On the chain stands the hexadecimal text of the protobuf, as ASCII, without 0x.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from depin_id import base58
from depin_id.errors import EncodingError
from depin_id.evm import checksum_address
from depin_id.peaq import protobuf
from depin_id.peaq.identifier import PeaqDid, parse_peaq_did
from depin_id.peaq.protobuf import refuse, text, write

MAX_BYTES: Final = 1 << 16
MAX_PARTS: Final = 64
MAX_TEXT: Final = 2048

RECOVERY: Final = "EcdsaSecp256k1RecoveryMethod2020"
ED25519: Final = "Ed25519VerificationKey2020"
SR25519: Final = "Sr25519VerificationKey2020"
TYPES: Final = (RECOVERY, ED25519, SR25519)
MULTICODECS: Final = {
    RECOVERY: bytes.fromhex("e701"),
    ED25519: bytes.fromhex("ed01"),
    SR25519: bytes.fromhex("ef01"),
}
_HEX: Final = re.compile(rb"(?:[0-9a-f]{2})+")


@dataclass(frozen=True, slots=True)
class Method:
    """A verification method: DID URL, type, controller, and the key as multibase or CAIP-10."""

    id: str
    type: str
    controller: str
    multibase: str


@dataclass(frozen=True, slots=True)
class Service:
    """A service: id, type, and an endpoint, data, or both."""

    id: str
    type: str
    endpoint: str = ""
    data: str = ""


@dataclass(frozen=True, slots=True)
class DocumentSignature:
    """Somebody's word for the document: type of key, DID of the issuer, text of the signature."""

    type: str
    issuer: str
    hash: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document of generation A, in the order of its fields on the wire."""

    id: str
    controller: str
    methods: tuple[Method, ...] = ()
    signature: DocumentSignature | None = None
    services: tuple[Service, ...] = ()
    authentications: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """The protobuf.

        Raises:
            EncodingError: ``peaq.document_malformed``, what :func:`decode_document` would refuse.
        """
        try:
            data = _write(self)
        except (UnicodeEncodeError, AttributeError, TypeError):
            refuse("a part of the document is not a text")
        decode_document(data)
        return data

    def on_chain(self) -> bytes:
        """The attribute's value: hexadecimal ASCII. Raises as :meth:`encode`."""
        return self.encode().hex().encode()

    def unsigned(self) -> Document:
        """The document without anybody's signature: what an issuer signs."""
        return replace(self, signature=None)


def _write(document: Document) -> bytes:
    fields: list[tuple[int, bytes | str]] = [(1, document.id), (2, document.controller)]
    for method in document.methods:
        parts = (method.id, method.type, method.controller, method.multibase)
        fields.append((3, write(enumerate(parts, 1))))
    if (signed := document.signature) is not None:
        fields.append((4, write([(1, signed.type), (2, signed.issuer), (3, signed.hash)])))
    for service in document.services:
        named = [(1, service.id), (2, service.type), (3, service.endpoint), (4, service.data)]
        fields.append((5, write((number, part) for number, part in named if part)))
    fields += [(6, reference) for reference in document.authentications]
    return write(fields)


def decode_document(data: bytes) -> Document:
    """Read a protobuf; encoded again it is the same bytes.

    Raises:
        EncodingError: ``peaq.document_malformed``, or ``peaq.document_too_large``: over 64 KiB, or
            more than 64 of a part.
    """
    if len(data) > MAX_BYTES:
        raise EncodingError("peaq.document_too_large", f"over {MAX_BYTES} bytes")
    found: dict[int, list[bytes]] = {number: [] for number in range(1, 7)}
    for number, content in protobuf.read(bytes(data), 6):
        found[number].append(content)
        if len(found[number]) > MAX_PARTS:
            raise EncodingError("peaq.document_too_large", f"over {MAX_PARTS} of field {number}")
    document = Document(
        _one(found[1], "id"),
        _one(found[2], "controller"),
        tuple(Method(*_texts(part, ("id", "type", "controller", "key"))) for part in found[3]),
        DocumentSignature(*_texts(found[4][0], ("type", "issuer", "hash"))) if found[4] else None,
        tuple(map(_service, found[5])),
        tuple(text(part, "an authentication", MAX_TEXT) for part in found[6]),
    )
    if len(found[4]) > 1 or _write(document) != data:
        refuse("the document is another encoding of what it says")
    return document


def decode_value(value: bytes) -> Document:
    """Read an attribute's value as it stands on the chain: hexadecimal ASCII of the protobuf.

    Raises:
        EncodingError: as :func:`decode_document`.
    """
    if len(value) > 2 * MAX_BYTES:
        raise EncodingError("peaq.document_too_large", f"over {2 * MAX_BYTES} bytes")
    if not _HEX.fullmatch(value):
        refuse("the attribute is not the hexadecimal text of a document, in lower case")
    return decode_document(bytes.fromhex(value.decode()))


def _one(parts: list[bytes], what: str) -> str:
    if len(parts) != 1:
        refuse(f"the document has {len(parts)} of {what} instead of one")
    return text(parts[0], what, MAX_TEXT)


def _parts(data: bytes, known: int) -> dict[int, bytes]:
    fields = list(protobuf.read(data, known))
    found = dict(fields)
    if len(found) != len(fields):
        refuse("a field stands twice")
    return found


def _texts(data: bytes, names: tuple[str, ...]) -> list[str]:
    found = _parts(data, len(names))
    return [text(found.get(at, b""), name, MAX_TEXT) for at, name in enumerate(names, 1)]


def _service(data: bytes) -> Service:
    found = _parts(data, 4)
    if not found.keys() & {3, 4}:
        refuse("a service has neither endpoint nor data")
    head = [text(found.get(at, b""), name, MAX_TEXT) for at, name in ((1, "id"), (2, "type"))]
    tail = [text(found[at], "a service", MAX_TEXT) if at in found else "" for at in (3, 4)]
    return Service(*head, *tail)


def encode_multibase(method_type: str, key: bytes) -> str:
    """z, base58 of multicodec and key, for one of the three method types.

    Raises:
        EncodingError: ``peaq.field``, another type.
    """
    if method_type not in MULTICODECS:
        raise EncodingError("peaq.field", f"{method_type!r} is not a method type of peaq")
    return "z" + base58.encode(MULTICODECS[method_type] + key)


def create_document(
    controller: str,
    *,
    subject: str | None = None,
    methods: Sequence[dict[str, Any]] = (),
    services: Sequence[dict[str, Any]] = (),
    signature: DocumentSignature | None = None,
    chain_id: int = 3338,
) -> Document:
    """A document with peaq's own defaults.

    Args:
        controller: address or SS58 account that controls it.
        subject: address or account of the device; None: the controller itself.
        methods: each with ``type``, and where the defaults are not meant ``id``, ``controller``,
            ``public_key_multibase``.
        services: each with ``id``, ``type``, and ``service_endpoint``, ``data``, or both.
        signature: an issuer's.
        chain_id: of the default ``eip155:`` key.

    Raises:
        DIDError: ``did.malformed``, an address or account that is none.
        EncodingError: ``peaq.field``, ``peaq.document_malformed``.
    """
    owner = parse_peaq_did(f"did:peaq:{controller}")
    did = f"did:peaq:{controller if subject is None else subject}"
    if "machine" in (owner.form, parse_peaq_did(did).form):
        raise EncodingError("peaq.field", "documents of generation A are for addresses, accounts")
    found, controlled = [], f"did:peaq:{controller}"
    for number, method in enumerate(methods, 1):
        kind = _field(method, "type")
        if kind not in TYPES:
            raise EncodingError("peaq.field", f"{kind!r} is no method type of peaq")
        found.append(
            Method(
                _field(method, "id", f"{did}#keys-{number}"),
                kind,
                _field(method, "controller", controlled),
                _field(method, "public_key_multibase", _default_key(kind, owner, chain_id)),
            )
        )
    document = Document(
        did,
        controlled,
        tuple(found),
        signature,
        tuple(
            Service(
                _field(service, "id"),
                _field(service, "type"),
                _field(service, "service_endpoint", ""),
                _field(service, "data", ""),
            )
            for service in services
        ),
        tuple(method.id for method in found),
    )
    document.encode()
    return document


def _field(given: dict[str, Any], name: str, default: str | None = None) -> str:
    value = given.get(name, default) if isinstance(given, dict) else None
    if type(value) is not str:
        raise EncodingError("peaq.field", f"{name} is missing, or no text")
    return value


def _default_key(kind: str, owner: PeaqDid, chain_id: int) -> str | None:
    if owner.form == "evm":
        if kind == RECOVERY:
            return f"eip155:{chain_id}:{checksum_address(owner.raw)}"
        return None
    return None if kind == RECOVERY else encode_multibase(kind, owner.raw)
