"""The folder of a DID and its keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from depin_id.did import Resolver
from depin_id.did.folder import DOCUMENT_FILE, SIGNING_FILE, DidFolder
from depin_id.errors import DepinError, DIDError, StateError


@pytest.mark.parametrize("method", ["key", "jwk"])
@pytest.mark.parametrize("curve", ["ed25519", "p256"])
def test_a_folder_signs_for_its_did(tmp_path: Path, method: Any, curve: Any) -> None:
    made = DidFolder.create(tmp_path / "o", method=method, curve=curve)
    again = DidFolder.open(tmp_path / "o")
    assert again.did == made.did and again.did.startswith(f"did:{method}:")
    assert again.method == method
    found = Resolver().resolve(again.did)
    assert found.document == again.document == made.document
    assert again.verification_method in again.document["assertionMethod"]
    again.public_key.verify(b"m", again.signer.sign(b"m"))
    with pytest.raises(StateError):
        DidFolder.create(tmp_path / "o", method=method, curve=curve)
    assert (tmp_path / "o" / SIGNING_FILE).stat().st_mode & 0o077 == 0


def test_the_private_key_is_read_when_it_is_used(tmp_path: Path) -> None:
    DidFolder.create(tmp_path, passphrase="long enough")
    sealed = DidFolder.open(tmp_path)
    assert sealed.did
    with pytest.raises(StateError) as caught:
        _ = sealed.signer
    assert caught.value.code == "key.passphrase"
    assert DidFolder.open(tmp_path, passphrase="long enough").signer.sign(b"m")
    (tmp_path / SIGNING_FILE).unlink()
    assert DidFolder.open(tmp_path).did


def test_keys_and_document_of_two_dids_do_not_go_together(tmp_path: Path) -> None:
    DidFolder.create(tmp_path / "a")
    DidFolder.create(tmp_path / "b")
    (tmp_path / "a" / SIGNING_FILE).replace(tmp_path / "b" / SIGNING_FILE)
    with pytest.raises(DIDError) as caught:
        _ = DidFolder.open(tmp_path / "b").signer
    assert caught.value.code == "did.folder_keys"


def test_a_document_that_is_not_that_of_its_did_is_refused(tmp_path: Path) -> None:
    made = DidFolder.create(tmp_path)
    file = tmp_path / DOCUMENT_FILE
    other = DidFolder.create(tmp_path / "other").document["verificationMethod"]
    bad: list[Any] = [
        {**made.document, "verificationMethod": other},
        {**made.document, "extra": 1},
        {**made.document, "id": "did:web:example.com"},
        {**made.document, "id": 5},
        {**made.document, "id": "nonsense"},
        [],
    ]
    for text in [*map(json.dumps, bad), "{", '{"id":1,"id":2}']:
        file.write_text(text)
        with pytest.raises(DepinError) as caught:
            DidFolder.open(tmp_path)
        assert caught.value.code.startswith("did.")
    file.unlink()
    with pytest.raises(DIDError) as missing:
        DidFolder.open(tmp_path)
    assert missing.value.code == "did.folder"
