"""did:peaq, both generations, from documents that somebody else read from the chain.

A wallet's address or an account (generation A) resolves to what its 0x800 attribute holds, a number
(generation B) to what the MachineRegistry answers. Nothing here asks a chain: a file or a function
gives the value as hexadecimal text. A result says ``trust: attribute-only`` in its document
metadata, because that is all a value from the chain shows, unless an issuer who is trusted here
signed the document; :mod:`depin_id.peaq.trust` has what else makes it more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from depin_id import strict_json
from depin_id.did.resolution import MEDIA_TYPE, Options, Resolution
from depin_id.did.syntax import Did
from depin_id.durable import read_file
from depin_id.errors import (
    CredentialError,
    DIDError,
    EncodingError,
    SignatureInvalid,
    TransportError,
)
from depin_id.peaq.document import MAX_BYTES, Document, decode_value
from depin_id.peaq.identifier import parse_peaq_did
from depin_id.peaq.machine import MachineDocument, decode_machine_document
from depin_id.peaq.resolved import did_document
from depin_id.peaq.trust import MachineKeys, vouched_by_issuer

Source = Mapping[str, str] | Callable[[str], str | None]
"""By DID, hexadecimal text: the attribute's value (generation A), or what ``didDocument`` returned
(generation B). None, or no entry: there is none."""

FILE: Final = "peaq.json"
"""What such a file is called in a folder of DIDs."""
MAX_FILE: Final = 1 << 24
TRUST: Final = "attribute-only"
_HEX: Final = re.compile(r"(?:0x)?((?:[0-9a-fA-F]{2})+)", re.ASCII)


def file_source(path: Path) -> dict[str, str]:
    """A JSON file of DIDs and their values, at most 16 MiB.

    Raises:
        EncodingError: ``json.malformed``, ``json.too_large``, ``peaq.source``.
        TransportError: ``file.missing``.
        StateError: it cannot be read.
    """
    data = read_file(path, max_bytes=MAX_FILE)
    if data is None:
        raise TransportError("file.missing", f"there is no file {path}")
    value = strict_json.parse(data, max_bytes=MAX_FILE)
    if not isinstance(value, dict) or any(type(text) is not str for text in value.values()):
        raise EncodingError("peaq.source", f"{path.name} is not an object of DIDs and their values")
    return value


class PeaqMethod:
    """The DID method. See :class:`depin_id.did.resolver.Method`.

    Args:
        source: gives the value of a DID, as the caller spells it. None: nothing is found.
        issuers: whose signature in a document makes it more than an attribute (generation A).
        allow_published: take keys whose private half is published (test vectors only).
    """

    name = "peaq"

    def __init__(
        self,
        source: Source | None = None,
        *,
        issuers: Iterable[MachineKeys] = (),
        allow_published: bool = False,
    ) -> None:
        self._source = {} if source is None else source
        self._issuers = tuple(issuers)
        self._allow_published = allow_published

    def read(self, did: Did | str) -> Document | MachineDocument:
        """The document as the chain holds it.

        Raises:
            DIDError: ``did.malformed``, ``did.not_found``: there is none, or it is that of another.
            EncodingError: ``peaq.document_malformed``, ``peaq.document_too_large``,
                ``peaq.source``, ``abi.malformed``, ``abi.too_large``.
            ConfigError: ``config.extra``.
        """
        text = str(did)
        subject = parse_peaq_did(text)
        value = self._source.get(text) if isinstance(self._source, Mapping) else self._source(text)
        if value is None:
            raise DIDError(
                "did.not_found",
                f"there is no document of {text}",
                hint="give what a node of the chain answered, in a file of DIDs and values",
            )
        found = read_value(value, machine=subject.form == "machine")
        if parse_peaq_did(found.id) != subject:
            raise DIDError("did.not_found", f"the document found is that of {found.id[:120]}")
        return found

    def resolve(self, did: Did, options: Options) -> Resolution:
        """The DID document; its metadata say ``trust``: ``attribute-only``, or ``issuer``.

        Raises:
            DIDError, EncodingError, ConfigError: as :meth:`read`; ``did.key_not_supported``;
                ``did.feature_not_supported`` for versions: the chain's value has no history here.
            KeyRefused: ``key.not_admissible``.
        """
        if options.versioned:
            raise DIDError(
                "did.feature_not_supported",
                "a value from the chain has no history: which version held when is not known",
            )
        found = self.read(did)
        document = did_document(found, allow_published=self._allow_published)
        vouched = isinstance(found, Document) and self._vouched(found)
        metadata = {
            "trust": "issuer" if vouched else TRUST,
            "verified": vouched,
            "generation": "B" if isinstance(found, MachineDocument) else "A",
        }
        return Resolution(document, metadata, {"contentType": MEDIA_TYPE})

    def _vouched(self, document: Document) -> bool:
        try:
            vouched_by_issuer(document, self._issuers, allow_published=self._allow_published)
        except (CredentialError, SignatureInvalid):
            return False
        return True


def read_value(text: str, *, machine: bool) -> Document | MachineDocument:
    """A document from hexadecimal text: the value on the chain, or for an attribute its own text.

    Args:
        text: with or without 0x.
        machine: generation B.

    Raises:
        EncodingError: as :meth:`PeaqMethod.read`.
    """
    match = _HEX.fullmatch(text) if type(text) is str and len(text) <= 4 * MAX_BYTES + 2 else None
    if match is None:
        raise EncodingError("peaq.source", "a value from the chain is not hexadecimal text")
    data = bytes.fromhex(match[1])
    if machine:
        return decode_machine_document(data)
    # The attribute is text itself: as it stands, or in hexadecimal once more, as RPC nodes show it.
    return decode_value(data if data[:1] == b"0" else match[1].lower().encode())
