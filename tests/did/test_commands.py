"""``depin-id did`` and ``depin-id resolve`` as people type them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from depin_id.cli import main
from depin_id.did import Resolver
from depin_id.did.folder import DidFolder
from tests.paths import vectors


class Shell:
    """Runs commands, and gives what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object, code: int = 0) -> str:
        with pytest.raises(SystemExit) if code else _nothing() as caught:
            main([str(argument) for argument in arguments])
        if code:
            assert caught is not None and caught.value.code == code
        printed = self._capsys.readouterr()
        assert "Traceback" not in printed.err
        return printed.err if code and not printed.out else printed.out

    def json(self, *arguments: object, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code))


class _nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def test_the_life_of_a_did(shell: Shell, tmp_path: Path) -> None:
    folder, log = tmp_path / "my-did", tmp_path / "my-did" / "did.jsonl"
    word = tmp_path / "word"
    word.write_text("long enough\n")
    word.chmod(0o600)
    made = shell.json(
        "did", "create", folder, "--place", "example.com:acme", "--portable", "--curve", "p256",
        "--service", "files=Files=https://example.com/f", "--passphrase-file", word,
    )  # fmt: skip
    did = made["did"]
    assert made["publish_at"] == "https://example.com/acme/did.jsonl" and made["curve"] == "p256"
    first = DidFolder.open(folder, "long enough")
    first.public_key.verify(b"m", first.signer.sign(b"m"))
    for file in ("update.key", "next.key", "signing.key"):
        assert (folder / file).stat().st_mode & 0o077 == 0
    assert "passphrase" in shell("did", "rotate", folder, code=2)
    turned = shell.json("did", "rotate", folder, "--passphrase-file", word)
    assert turned["key"] != made["key"] and turned["verification_method"] == f"{did}#key-2"
    kept = shell.json("did", "rotate", folder, "--keep-signing-key", "--passphrase-file", word)
    assert kept["key"] == turned["key"]

    assert shell.json("did", "show", folder) == kept
    listed = shell.json("did", "history", folder)
    assert [version["number"] for version in listed["versions"]] == [1, 2, 3]
    assert listed["versions"][0]["until"] == listed["versions"][1]["since"]
    assert listed["versions"][0]["keys"] == [{"id": f"{did}#key-1", "key": made["key"]}]
    assert listed == shell.json("did", "history", log)
    text = shell("did", "history", folder)
    assert did in text and made["key"] in text and ".. now" in text

    names = [version["version_id"] for version in listed["versions"]]
    found = shell.json("resolve", did, "--log", log)
    assert found["didDocument"]["id"] == did
    assert found["didDocumentMetadata"]["versionId"] == names[2]
    assert found == shell.json("did", "resolve", did, "--dids", tmp_path)
    old = shell.json("resolve", did, "--log", log, "--version-id", names[0])
    assert old["didDocumentMetadata"]["nextVersionId"] == names[1]
    since = listed["versions"][0]["since"]
    assert old == shell.json("resolve", did, "--log", log, "--at", since)
    method = shell.json("resolve", f"{did}?versionId={names[0]}#key-1", "--log", log)
    assert method["content"]["publicKeyMultibase"] == made["key"]
    shown = shell("resolve", did, "--log", log)
    assert f"{did}#key-2 (p256): authentication, assertionMethod" in shown

    pins, short = tmp_path / "pins.json", tmp_path / "short.jsonl"
    shell("resolve", did, "--log", log, "--pins", pins)
    short.write_bytes(log.read_bytes().split(b"\n", 1)[0] + b"\n")
    shell("resolve", did, "--log", short)
    assert "did.log_rolled_back" in shell("resolve", did, "--log", short, "--pins", pins, code=2)

    moved = shell.json("did", "move", folder, "--place", "example.org", "--passphrase-file", word)
    assert moved["did"].endswith(":example.org")
    both = shell.json("resolve", did, "--log", log)
    assert both["didDocumentMetadata"]["canonicalId"] == moved["did"]
    assert set(both["didDocumentMetadata"]["equivalentId"]) == {did, moved["did"]}
    assert both["didDocument"]["id"] == moved["did"]
    assert "--yes" in shell("did", "deactivate", folder, "--passphrase-file", word, code=2)
    ended = shell.json("did", "deactivate", folder, "--yes", "--passphrase-file", word)
    assert ended["deactivated"] and "key" not in ended
    assert shell.json("resolve", did, "--dids", tmp_path)["didDocumentMetadata"]["deactivated"]
    assert ".. ended" in shell("did", "history", folder)


@pytest.mark.parametrize("method", ["key", "jwk"])
def test_a_did_that_is_its_key(shell: Shell, tmp_path: Path, method: str) -> None:
    made = shell.json("did", "create", tmp_path / "k", "--method", method)
    assert made["did"].startswith(f"did:{method}:") and "log" not in made
    found = shell.json("resolve", made["did"])
    assert found["didResolutionMetadata"] == {"contentType": "application/did"}
    assert found["didDocument"] == Resolver().resolve(made["did"]).document
    assert "did.folder" in shell("did", "rotate", tmp_path / "k", code=2)
    assert "did.folder" in shell("did", "history", tmp_path / "k", code=2)


def test_witnesses_approve(shell: Shell, tmp_path: Path) -> None:
    witness = shell.json("did", "create", tmp_path / "w", "--method", "key")["did"]
    folder = tmp_path / "my"
    made = shell.json(
        "did", "create", folder, "--place", "example.com", "--witness", witness, "--threshold", 1
    )
    assert "approval" in made["waits_for"]
    assert "did.webvh.witness" in shell("resolve", made["did"], "--dids", tmp_path, code=2)
    assert "did.webvh.witness" in shell("did", "history", folder, code=2)
    approved = shell.json("did", "witness", folder, "--as", tmp_path / "w")
    assert approved["approved"].startswith("1-")
    assert "waits_for" in shell.json("did", "rotate", folder)
    log = folder / "did.jsonl"
    shell("did", "witness", log, "--as", tmp_path / "w")
    found = shell.json(
        "resolve", made["did"], "--log", log, "--witness", folder / "did-witness.json"
    )
    assert found["didDocumentMetadata"]["versionNumber"] == 2
    assert "did.nothing_to_approve" in shell(
        "did", "witness", folder, "--as", tmp_path / "w", code=2
    )
    lonely = ("did", "create", tmp_path / "x", "--place", "example.com", "--threshold", 1)
    assert "--witness" in shell(*lonely, code=2)


def test_what_is_wrong_is_said(shell: Shell, tmp_path: Path) -> None:
    did = "did:web:example.com"
    site = tmp_path / "did.json"
    site.write_text(json.dumps({"id": did}))
    assert shell("resolve", did, "--log", site)
    for arguments, word in [
        (("resolve", "nonsense"), "did.malformed"),
        (("resolve", "did:other:x"), "methodNotSupported"),
        (("resolve", did), "did.not_found"),
        (("resolve", did, "--log", site, "--at", "yesterday"), "hint: such as"),
        (("resolve", did, "--log", site, "--at", "2026-11-21T14:00:00Z"), "featureNotSupported"),
        (("resolve", did, "--log", tmp_path / "none"), "file.missing"),
        (("resolve", did, "--witness", site), "--log"),
        (("resolve", did, "--log", "-", "--witness", "-"), "one file"),
        (("resolve", f"{did}#x", "--log", site), "did.not_found"),
        (("resolve", did, "--dids", tmp_path / "none"), "config.dids"),
        (("resolve", "did:web:127.0.0.1", "--fetch"), "did.malformed"),
        (("did", "create", tmp_path / "a"), "did.folder"),
        (("did", "create", tmp_path / "a", "--method", "web"), "usage"),
        (("did", "create", tmp_path / "a", "--place", "localhost"), "did.webvh.did"),
        (("did", "create", tmp_path / "a", "--method", "key", "--curve", "x"), "usage"),
        (("did", "create", tmp_path / "a", "--place", "example.com", "--service", "x"), "usage"),
        (("did", "history", site), "did.webvh.log"),
        (("did", "rotate", tmp_path / "a"), "did.folder"),
    ]:
        assert word in shell(*arguments, code=2), arguments
    refused = shell.json("resolve", "did:other:x", code=2)
    assert refused["didResolutionMetadata"]["error"]["type"].endswith("#METHOD_NOT_SUPPORTED")
    assert not (tmp_path / "a").exists()


def test_vectors_are_resolved_where_it_is_asked_for(shell: Shell) -> None:
    folder = vectors("didwebvh-test-suite/vectors") / "witness-threshold" / "rust"
    expected = json.loads((folder / "resolutionResult.json").read_bytes())
    did = expected["didDocument"]["id"]
    files = ("--log", folder / "did.jsonl", "--witness", folder / "did-witness.json")
    assert "did.webvh.key" in shell("resolve", did, *files, code=2)
    found = shell.json("resolve", did, *files, "--allow-published-keys")
    assert (
        found["didDocument"]["verificationMethod"]
        == (expected["didDocument"]["verificationMethod"])
    )
