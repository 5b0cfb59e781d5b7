"""What commands of identity share: who signs, whose keys they take, for which network."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from depin_id.commands.common import read_passphrase
from depin_id.device_file import DEVICE_FILE, read_enrolment
from depin_id.device_store import KEY_FILE
from depin_id.did.folder import DidFolder
from depin_id.did.multikey import decode_multikey
from depin_id.did.resolver import Resolver
from depin_id.errors import ConfigError, DIDError, StateError
from depin_id.keyfile import open_key, read_key
from depin_id.keys import PublicKey
from depin_id.owners.party import KeyOf, Party, key_in_did

SIGNS: Final = "Who signs: a key file, a device's folder or a DID's folder."
Signing = Annotated[Path, typer.Option("--as", metavar="KEY|FOLDER", help=SIGNS)]
Network = Annotated[
    str, typer.Option(metavar="CARD|DID", help="The network: the file of its card, or its DID.")
]
Nonce = Annotated[str, typer.Option(metavar="HEX", help="Of the network's challenge.")]
Output = Annotated[str, typer.Option("-o", "--out", metavar="FILE", help="- is stdout.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Dids = Annotated[
    Path | None, typer.Option(metavar="DIR", help="A folder of folders of DIDs, read offline.")
]
PassphraseFile = Annotated[Path | None, typer.Option(help="Its first line opens the key file.")]


def open_party(path: Path, passphrase_file: Path | None = None) -> Party:
    """The party of a path. A device's folder is not locked: nothing of its position is used.

    Raises:
        StateError: ``state.missing``, ``state.signer``, and as key files do. DIDError: the folder.
        ConfigError: the passphrase.
    """
    passphrase = read_passphrase(passphrase_file)
    if not path.is_dir():
        return Party.of_key(read_key(path, passphrase=passphrase))
    if not os.path.lexists(path / DEVICE_FILE):
        folder = DidFolder.open(path, passphrase)
        return Party(folder.verification_method, folder.signer)
    enrolment = read_enrolment(path)
    party = Party.of_key(open_key(path / KEY_FILE, passphrase=passphrase))
    if party.signer.public_key != enrolment.key:
        raise StateError("state.signer", f"the key in {path} is not that of its device")
    return party


def read_nonce(text: str) -> bytes:
    """A nonce in hexadecimal. Raises ConfigError ``usage``."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if not 8 <= len(found) <= 32:
        raise ConfigError(
            "usage", "--nonce is 8 to 32 bytes in hexadecimal", hint="ask the network for one"
        )
    return found


def key_finder(multikey: str | None) -> KeyOf:
    """Keys that DIDs hold, or the one that is given."""
    if multikey is None:
        return key_in_did
    key = decode_multikey(multikey)
    return lambda method: key


def binary_output(name: str) -> None:
    """Refuse (ConfigError ``usage``) to write bytes to a terminal."""
    if name == "-" and sys.stdout.isatty():
        raise ConfigError("usage", "the output is binary", hint="give -o FILE, or use a pipe")


def resolver_of(dids: Path | None) -> Resolver:
    """Resolves from files alone: nothing is fetched."""
    return Resolver(dids=dids)


def key_of_did(
    resolver: Resolver, named: str, relationship: str, version_time: str | None = None
) -> PublicKey:
    """The key of a DID URL, or the first key that a DID has for this relationship.

    Raises:
        DIDError: ``did.*``. KeyRefused.
    """
    if "#" not in named:
        found = resolver.resolve(named)
        if found.document is None:
            raise DIDError(
                "did.not_found",
                f"{named[:120]}: {found.resolution_metadata.get('message', found.error)}",
                hint="give its folder with --dids",
            )
        methods = found.document.get(relationship)
        first = methods[0] if isinstance(methods, list) and methods else None
        if isinstance(first, dict):
            first = first.get("id")
        if not isinstance(first, str):
            raise DIDError("did.relationship", f"{named[:120]} has no key for {relationship}")
        named = named + first if first.startswith("#") else first
    return resolver.key(named, relationship=relationship, version_time=version_time)


def list_keys(resolver: Resolver) -> Callable[[str, str, str | None], PublicKey]:
    """Keys for status lists: those of now, whatever a list says of when it was made.

    A thief of a retired key dates what he signs as he likes.
    """
    return lambda method, issuer, _created: key_of_did(resolver, method, "assertionMethod")


def audience_key(text: str, resolver: Resolver) -> PublicKey:
    """The key of a did:key, another DID, a DID URL, or a multikey. Raises DIDError, KeyRefused."""
    if text.startswith("did:"):
        return key_of_did(resolver, text, "authentication")
    return decode_multikey(text)


def wall_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
