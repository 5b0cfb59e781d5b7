"""The folder of somebody who has a DID: its document or log, and the keys that sign for it.

``did.json`` and ``signing.key`` for a DID that is one key (did:key, did:jwk).
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

from depin_id.did.document import key_document
from depin_id.did.jwk import did_jwk, parse_did_jwk
from depin_id.did.key import did_key, parse_did_key
from depin_id.did.syntax import parse_did
from depin_id.durable import DirectoryLock, create_file, make_directory, read_file
from depin_id.errors import DIDError, EncodingError, KeyRefused
from depin_id.keyfile import read_key, write_key
from depin_id.keys import Curve, PublicKey, SoftwareSigner
from depin_id.printable import json_text
from depin_id.strict_json import parse

DOCUMENT_FILE: Final = "did.json"
SIGNING_FILE: Final = "signing.key"
MAX_DOCUMENT: Final = 1 << 16
KeyMethods = Literal["key", "jwk"]


def _refuse(code: str, message: str, hint: str) -> NoReturn:
    raise DIDError(code, message, hint=hint)


class DidFolder:
    """A DID and its keys in one folder. Make one with :meth:`create`, or :meth:`open` it.

    Attributes:
        path: the folder.
        did: the DID.
        document: its DID document as of now.
        verification_method: DID URL of the key that signs for it.
        public_key: the public half of that key, admitted.
    """

    def __init__(
        self,
        path: Path,
        document: dict[str, Any],
        verification_method: str,
        public_key: PublicKey,
        *,
        passphrase: str | None = None,
    ) -> None:
        self.path = path
        self.did: str = document["id"]
        self.document = document
        self.verification_method = verification_method
        self.public_key = public_key
        self._passphrase = passphrase

    @property
    def method(self) -> str:
        """Name of the DID's method, such as ``key``."""
        return parse_did(self.did).method

    @cached_property
    def signer(self) -> SoftwareSigner:
        """The private key, read when it is asked for.

        Raises:
            StateError: the key file is missing, or its passphrase. DIDError: ``did.folder_keys``.
        """
        signer = read_key(self.path / SIGNING_FILE, passphrase=self._passphrase)
        if signer.public_key != self.public_key:
            _refuse(
                "did.folder_keys",
                f"{self.path / SIGNING_FILE} is not the key of {self.verification_method}",
                "put key files and document of one DID together",
            )
        return signer

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        method: KeyMethods = "key",
        curve: Curve = "ed25519",
        passphrase: str | None = None,
    ) -> DidFolder:
        """Make a folder with a fresh key.

        Args:
            path: made when it is not there; may not hold a DID yet.
            method: ``key`` or ``jwk``.
            curve: of the key that signs.
            passphrase: seals the key file.

        Raises:
            StateError: ``state.exists``, ``state.io``, ``state.locked``.
            DIDError: ``did.method_not_supported``.
        """
        folder = Path(path)
        signer = SoftwareSigner.generate(curve)
        document, method_id = _key_document(method, signer.public_key)
        make_directory(folder)
        with DirectoryLock(folder):
            write_key(folder / SIGNING_FILE, signer, passphrase=passphrase)
            text = json_text(document, indent=2) + "\n"
            create_file(folder / DOCUMENT_FILE, text.encode(), mode=0o644)
        return cls(folder, document, method_id, signer.public_key, passphrase=passphrase)

    @classmethod
    def open(cls, path: str | Path, passphrase: str | None = None) -> DidFolder:
        """Open a folder; the private key is only read when it is used.

        Raises:
            DIDError: ``did.folder``, there is no DID in it or its document is not that of its DID;
                ``did.*`` and KeyRefused for what is wrong with the DID itself. StateError: a file.
        """
        folder = Path(path)
        data = read_file(folder / DOCUMENT_FILE, max_bytes=MAX_DOCUMENT)
        if data is None:
            _refuse(
                "did.folder",
                f"there is no DID in {folder}: no {DOCUMENT_FILE}",
                "make one with: depin-id did create",
            )
        try:
            document = parse(data)
        except EncodingError as error:
            raise DIDError("did.folder", f"{folder / DOCUMENT_FILE}: {error.message}") from error
        named = document.get("id") if isinstance(document, dict) else None
        expected, method_id, key = _of_did(folder, named)
        if document != expected:
            _refuse(
                "did.folder",
                f"{folder / DOCUMENT_FILE} is not the document of {named}",
                "a DID that is a key has exactly one document: restore the file",
            )
        return cls(folder, expected, method_id, key, passphrase=passphrase)


def _key_document(method: str, key: PublicKey) -> tuple[dict[str, Any], str]:
    if method == "key":
        did = did_key(key)
        method_id = f"{did}#{parse_did(did).id}"
    elif method == "jwk":
        did = did_jwk(key)
        method_id = f"{did}#0"
    else:
        _refuse("did.method_not_supported", f"a key alone makes no did:{method[:20]}", "key or jwk")
    return key_document(did, method_id, key), method_id


def _of_did(folder: Path, did: object) -> tuple[dict[str, Any], str, PublicKey]:
    """Document, method and key of a DID that is one key."""
    method = parse_did(did).method if isinstance(did, str) else ""
    if not isinstance(did, str) or method not in ("key", "jwk"):
        _refuse(
            "did.folder",
            f"{folder / DOCUMENT_FILE} is not the document of a did:key or did:jwk",
            "see docs/identity/resolving.md",
        )
    try:
        key = parse_did_key(did) if method == "key" else parse_did_jwk(did)
    except KeyRefused as error:
        raise DIDError("did.folder_keys", f"the key of {did} is not admissible") from error
    return (*_key_document(method, key), key)
