"""``depin-id status`` as an issuer and a verifier use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from depin_id.cli import main
from depin_id.did.folder import DidFolder
from depin_id.keyfile import write_key
from depin_id.keys import SoftwareSigner

URL = "https://example.org/status/1"


class Desk:
    """A folder to work in; every command has to end with the code that is expected."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys
        self.owner = DidFolder.create(folder / "owner")

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def run(self, *arguments: str, code: int = 0) -> str:
        try:
            main(list(arguments))
            ended = 0
        except SystemExit as stopped:
            ended = int(stopped.code or 0)
        shown = self.capsys.readouterr()
        assert ended == code, shown.err + shown.out
        assert "Traceback" not in shown.err
        return shown.out if not code or shown.out else shown.err

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code))


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


def test_from_a_new_list_to_a_revocation(desk: Desk) -> None:
    book, signed, entry = desk.path("fleet.list"), desk.path("status.json"), desk.path("entry.json")
    assert desk.json("status", "new", book, "--url", URL)["entries"] == 131_072
    given = json.loads(desk.run("status", "give", book))
    assert given["type"] == "BitstringStatusListEntry" and given["statusListCredential"] == URL
    Path(entry).write_text(json.dumps(given))
    desk.run("status", "sign", book, "--as", desk.path("owner"), "-o", signed)
    check = ("status", "check", signed, "--entry", entry, "--issuer", desk.owner.did)
    assert desk.json(*check)["state"] == "valid"
    desk.run("status", "set", book, given["statusListIndex"], "revoked")
    desk.run("status", "sign", book, "--as", desk.path("owner"), "-o", signed)
    assert desk.json(*check, code=1)["code"] == "status.revoked"
    index = ("status", "check", signed, "--index", given["statusListIndex"])
    assert desk.json(*index, code=1)["state"] == "revoked"
    assert desk.json("status", "show", book)["set"] == {given["statusListIndex"]: 1}
    shown = desk.json("status", "verify", signed, "--issuer", desk.owner.did)
    assert (shown["issuer"], shown["set"], shown["purposes"]) == (desk.owner.did, 1, ["revocation"])
    assert "status.final" in desk.run(
        "status", "set", book, given["statusListIndex"], "valid", code=2
    )
    credential = desk.path("credential.json")
    Path(credential).write_text(json.dumps({"credentialStatus": [given]}))
    assert desk.json("status", "check", signed, "--entry", credential, code=1)["value"] == 1


def test_a_token_list_and_a_key_file(desk: Desk) -> None:
    write_key(desk.folder / "maker.key", SoftwareSigner.generate("p256"))
    book, signed = desk.path("tokens.list"), desk.path("status.cwt")
    desk.run("status", "new", book, "--url", URL, "--kind", "token", "--bits", "2", "--in-order")
    assert json.loads(desk.run("status", "give", book)) == {"status_list": {"idx": 0, "uri": URL}}
    desk.run("status", "set", book, "0", "suspended")
    desk.run("status", "sign", book, "--as", desk.path("maker.key"), "--ttl", "60", "-o", signed)
    assert desk.json("status", "check", signed, "--index", "0", code=1)["state"] == "suspended"
    assert desk.json("status", "check", signed, "--index", "1")["state"] == "valid"
    assert desk.json("status", "check", signed, "--index", "131072", code=3)["code"] == (
        "status.index"
    )
    assert desk.json("status", "verify", signed)["kind"] == "token"


def test_what_cannot_be_decided_has_a_code_of_its_own(desk: Desk) -> None:
    book, signed = desk.path("fleet.list"), desk.path("status.json")
    desk.run("status", "new", book, "--url", URL)
    desk.run(
        "status", "sign", book, "--as", desk.path("owner"), "--days", "0.00000002", "-o", signed
    )
    assert desk.json("status", "check", signed, "--index", "1", code=3)["code"] == "status.stale"
    assert desk.json("status", "verify", signed, code=3)["stale"]


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("usage", ("set", "book", "1", "suspended")),
        ("usage", ("set", "book", "1", "gone")),
        ("status.index", ("set", "book", "131072", "revoked")),
        ("status.value", ("set", "book", "1", "2")),
        ("state.exists", ("new", "book", "--url", URL)),
        ("status.malformed", ("new", "other", "--url", URL, "--bits", "2")),
        ("state.missing", ("give", "other")),
        ("usage", ("sign", "book", "--as", "owner", "--days", "0")),
        ("usage", ("check", "signed")),
        ("usage", ("check", "signed", "--index", "1", "--max-age", "0")),
        ("status.issuer", ("check", "signed", "--index", "1", "--issuer", "did:web:example.com")),
        ("status.entry", ("check", "signed", "--entry", "list")),
        ("json.malformed", ("verify", "book")),
        ("file.missing", ("verify", "other")),
    ],
)
def test_refusals(desk: Desk, code: str, arguments: tuple[str, ...]) -> None:
    desk.run("status", "new", desk.path("book"), "--url", URL)
    desk.run(
        "status", "sign", desk.path("book"), "--as", desk.path("owner"), "-o", desk.path("signed")
    )
    Path(desk.path("list")).write_text("[1]")
    names = {"book", "other", "signed", "owner", "list"}
    placed = [desk.path(one) if one in names else one for one in arguments]
    assert f"error: {code}: " in desk.run("status", *placed, code=2)
