"""The commands of witnesses and of those who ask for them."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest

from depin_id.cli import main as depin_id
from depin_id.network import load_card
from depin_id.networkdir import NetworkDir
from tests.log.helpers import KEY
from tests.verify.cli_site import Site
from tests.witness.world import FALSE, TRUE, Live, live
from verify.log import Equivocation, NoteKey, TileLog, sign_checkpoint
from verify.log.cosigned import CHECKPOINT


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Site]:
    made = Site(tmp_path, capsys)
    made.init()
    yield made
    made.close()


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Live]:
    with live(tmp_path / "wit", "witness.example/w1") as made:
        yield made


def test_a_witness_from_nothing(site: Site) -> None:
    directory, card = site.folder / "own", site.folder / "net" / "card.cbor"
    made = site.ok("witness", "init", directory, "--name", "witness.example/w1", "--json").json
    assert made["key"].startswith("witness.example/w1+")
    site.ok("witness", "add-log", directory, "--card", card)
    key = NoteKey("log.example/other", bytes.fromhex(made_key(made["key"]))).vkey
    added = site.ok("witness", "add-log", directory, "--key", key, "--origin", "a log", "--json")
    assert added.json == {"origin": "a log", "keys": [key]}
    shown = site.ok("witness", "show", directory, "--json").json
    assert shown["key"] == made["key"] and shown["evidence"] == []
    assert [log["size"] for log in shown["logs"]] == [0, 0]
    assert "a log at 0" in site.ok("witness", "show", directory).out


def made_key(vkey: str) -> str:
    return b64decode(vkey.split("+", 2)[2])[1:].hex()


def test_usage_is_said_in_one_line(site: Site) -> None:
    directory = site.folder / "own"
    for arguments in (
        ("witness", "init", directory, "--name", "two words"),
        ("witness", "add-log", directory, "--card", site.folder / "net" / "card.cbor"),
        ("witness", "show", directory),
        ("witness", "run", directory),
        ("witnesses", site.root),
        ("witnesses", site.root, site.folder / "policy.toml"),
        ("compare-checkpoints", "a", "b"),
        ("check-equivocation", "a", "--key", "x"),
        ("receipt", site.root, "--index", "0", "-o", directory, "--format", "jws"),
        ("check-receipt", "a", "--witness", "x"),
        ("check-receipt", "a", "--quorum", "1"),
    ):
        result = site.run(*arguments)
        assert result.code == 2 and result.err.startswith("error: "), arguments
    site.ok("witness", "init", directory, "--name", "w")
    for options in (("--port", "1", "--host", "256.1.1.1"), ("--cert", directory / "witness.key")):
        result = site.run("witness", "run", directory, *options)
        assert result.code == 2 and "transport." in result.err


def test_a_log_is_witnessed_and_a_reader_asks_for_it(site: Site, witness: Live) -> None:
    card = site.folder / "net" / "card.cbor"
    log = load_card(card)[0]
    witness.watch(NoteKey(log.log_origin, log.log_key.raw))
    settings = site.folder / "witnesses.toml"
    settings.write_text(f'quorum = 1\n[[witness]]\nurl = "{witness.url}"\nkey = "{witness.vkey}"\n')
    shown = site.ok("witnesses", site.root, settings, "--json").json
    assert shown["witnessed_size"] is None and shown["witnesses"][0]["cosigned_size"] is None
    out = site.folder / "one.receipt"
    site.ok("receipt", site.root, "--index", "0", "-o", out)
    asked = ("check-receipt", out, "--network", site.network, "--witness", witness.vkey)
    early = site.run(*asked, "--json")
    assert early.code == 2
    error = json.loads(early.err)["error"]
    assert error["code"] == "log.witness_quorum" and error["hint"]

    found = site.ok("witnesses", site.root, "--ask", "--json").json
    assert found["asked"]["quorum"] and found["witnessed_size"] == found["size"] == 2
    assert "cosigned 2" in site.ok("witnesses", site.root).out
    for form in ("tlog-proof", "cose"):
        site.ok("receipt", site.root, "--index", "0", "-o", out, "--format", form)
        assert site.ok(*asked, "--json").json["witnesses"] == [
            {"name": "witness.example/w1", "time": witness.now}
        ]
        assert "witness.example/w1 at" in site.ok(*asked).out
    dataset = ("verify-dataset", site.root, "--network", site.network)
    assert site.ok(*dataset, "--json").json["witnessed"] is None
    assert site.ok(*dataset, "--witness", witness.vkey, "--json").json["witnessed"] == 2
    other = site.ok("witness", "init", site.folder / "w2", "--name", "w2", "--json").json["key"]
    assert site.run(*asked, "--witness", other).code == 2
    refused = site.run(*dataset, "--witness", other, "--json")
    assert refused.code == 1 and refused.json["code"] == "log.witness_quorum"
    assert site.run(*asked, "--witness", other, "--quorum", "1").code == 0


def test_without_a_quorum_asking_ends_with_1(site: Site) -> None:
    key = site.ok("witness", "init", site.folder / "w", "--name", "w", "--json").json["key"]
    settings = site.folder / "witnesses.toml"
    settings.write_text(f'quorum = 1\n[[witness]]\nurl = "http://127.0.0.1:1"\nkey = "{key}"\n')
    result = site.run("witnesses", site.root, settings, "--ask")
    assert result.code == 1 and "witness.unreachable" in result.out


def test_the_card_names_witnesses_and_receipts_have_to_keep_to_it(
    site: Site, witness: Live
) -> None:
    net = site.folder / "net"
    plain = NetworkDir(net).card
    assert plain.witnesses is None
    depin_id(["network", "witnesses", str(net), "--witness", witness.vkey])
    opened = NetworkDir(net)
    assert opened.card.number == plain.number + 1 and opened.card.witnesses is not None
    assert opened.card.ack_keys == plain.ack_keys and opened.card.log_key == plain.log_key
    root = site.folder / "second"
    site.ok("init", root, "--network", net)
    out = site.folder / "one.receipt"
    site.ok("receipt", root, "--index", "0", "-o", out)
    refused = site.run("check-receipt", out, "--network", site.network)
    assert refused.code == 2 and "log.witness_quorum" in refused.err
    witness.watch(NoteKey(opened.card.log_origin, opened.card.log_key.raw))
    settings = site.folder / "witnesses.toml"
    settings.write_text(f'quorum = 1\n[[witness]]\nurl = "{witness.url}"\nkey = "{witness.vkey}"\n')
    site.ok("witnesses", root, settings, "--ask")
    site.ok("receipt", root, "--index", "0", "-o", out)
    site.ok("check-receipt", out, "--network", site.network)
    # A reissue keeps them.
    assert opened.reissue().card.witnesses == opened.card.witnesses


def test_checkpoints_are_compared(site: Site, tmp_path: Path) -> None:
    card = site.folder / "net" / "card.cbor"
    network = NetworkDir(site.folder / "net")
    log = site.root / "public" / "log"
    mine = site.folder / "one.receipt"
    site.ok("receipt", site.root, "--index", "0", "-o", mine)
    cose = site.folder / "two.receipt"
    site.ok("receipt", site.root, "--index", "1", "-o", cose, "--format", "cose")
    forged = TileLog(tmp_path / "forged", network.card.log_origin)
    forged.append([b"one", b"two", b"three"])
    forged.flush()
    theirs = tmp_path / "theirs"

    def sign() -> None:
        theirs.write_text(
            sign_checkpoint(
                forged.checkpoint(),
                network.card.log_origin,
                network.card.log_key.raw,
                network.log_signer.sign,
            )
        )

    sign()
    for first in (mine, cose, log / CHECKPOINT):
        same = site.ok("compare-checkpoints", first, mine, "--card", card, "--json")
        assert same.json["one_history"] is True
        undecided = site.run("compare-checkpoints", first, theirs, "--card", card)
        assert undecided.code == 2 and "log.undecided" in undecided.err
        proof = tmp_path / "split.json"
        found = site.run(
            *("compare-checkpoints", first, theirs, "--card", card, "--log", tmp_path / "forged"),
            *("-o", proof, "--json"),
        )
        assert found.code == 1 and found.json["sizes"] == [2, 3]
        checked = site.ok("check-equivocation", proof, "--card", card, "--json")
        assert checked.json["two_histories"] is True
    for wrong in (site.folder / "policy.toml", card):
        result = site.run("compare-checkpoints", wrong, mine, "--card", card)
        assert result.code == 2
    path = tmp_path / "other.json"
    path.write_text(Equivocation(TRUE.head(20), FALSE.head(20)).format())
    assert site.ok("check-equivocation", path, "--key", KEY.vkey).out
    assert site.run("check-equivocation", path, "--card", card).code == 2
