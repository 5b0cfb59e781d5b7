"""What commands of peaq read: documents and hexadecimal text."""

from __future__ import annotations

import re
from typing import Final, NoReturn

from depin_id import strict_json
from depin_id.commands.common import read_input
from depin_id.did.peaq import read_value
from depin_id.errors import ConfigError
from depin_id.peaq.document import Document, DocumentSignature, create_document

MAX_INPUT: Final = 1 << 20
_HEX: Final = re.compile(r"(?:0x)?((?:[0-9a-fA-F]{2})*)", re.ASCII)


def wrong(what: str, hint: str = "") -> NoReturn:
    """Say that the command was not used rightly."""
    raise ConfigError("usage", what, hint=hint)


def from_hex(text: str, what: str) -> bytes:
    """Bytes of hexadecimal text, with or without 0x."""
    match = _HEX.fullmatch(text)
    if match is None:
        wrong(f"{what} is not hexadecimal")
    return bytes.fromhex(match[1])


def read_document(name: str, chain_id: int) -> Document:
    """A document of a file: JSON as ``peaq-sdk`` takes it, or a value from the chain."""
    data = read_input(name, max_bytes=MAX_INPUT).strip()
    if not data.startswith(b"{"):
        found = read_value(data.decode("ascii", "replace"), machine=False)
        assert isinstance(found, Document)
        return found
    value = strict_json.parse(data)
    known = {"name", "controller", "did_address", "verification_methods", "services", "signature"}
    if not isinstance(value, dict) or not set(value) <= known:
        wrong(f"the document has other members than {', '.join(sorted(known))}")
    signature = value.get("signature")
    if signature is not None:
        members = ("type", "issuer", "hash")
        if not isinstance(signature, dict) or set(signature) != set(members):
            wrong("a signature has type, issuer and hash")
        signature = DocumentSignature(*(signature[name] for name in members))
    methods, services = value.get("verification_methods", []), value.get("services", [])
    if not isinstance(methods, list) or not isinstance(services, list):
        wrong("verification_methods and services are lists")
    controller, subject = value.get("controller"), value.get("did_address")
    if type(controller) is not str or type(subject) not in (str, type(None)):
        wrong("the document names no controller", "0x and 40 digits, or an SS58 account")
    return create_document(
        controller,
        subject=subject,
        methods=methods,
        services=services,
        signature=signature,
        chain_id=chain_id,
    )
