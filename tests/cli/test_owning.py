"""From the factory to the owner, with the command lines alone."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from depin_id.credentials.status.book import StatusBook
from depin_id.did.folder import DidFolder
from depin_id.did.multikey import encode_multikey
from depin_id.owners import read_claim, read_succession
from tests.cli.inside import run
from tests.owners.people import WALLETS

NONCE = "00112233445566778899aabbccddeeff"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network, a manufacturer, two devices, an owner and a batch."""
    folder: Path = tmp_path_factory.mktemp("owning")
    run("network", "new", "net", "--name", "demo", cwd=folder)
    for name in ("maker", "owner", "dev", "next"):
        run("device", "new", name, cwd=folder)
    rows = ["serial,key"]
    for number, name in enumerate(("dev", "next")):
        did = json.loads(run("device", "show", name, "--json", cwd=folder).stdout)["did"]
        rows.append(f"SN{number},{did}")
    (folder / "devices.csv").write_text("\n".join(rows))
    common = ("--model", "N1", "--hardware-revision", "B", "--key-protection", "software")
    checked = run("factory", "devices.csv", "--check", "--json", *common, cwd=folder)
    assert json.loads(checked.stdout)["devices"] == 2
    out = ("--out", "batch", "--batch", "7", "--as", "maker", "--labels", "sheet", "--json")
    made = json.loads(
        run(
            "factory", "-", *out, *common, cwd=folder, data=(folder / "devices.csv").read_bytes()
        ).stdout
    )
    assert made["devices"] == 2 and "labels" in made["files"]
    lines = (folder / "batch" / "certificates.jsonl").read_text().splitlines()
    (folder / "birth.json").write_text(lines[0])
    return folder


def did_of(place: Path, name: str) -> str:
    shown = json.loads(run("device", "show", name, "--json", cwd=place).stdout)
    return str(shown["did"])


def claim_of(place: Path, number: int) -> list[str]:
    line = (place / "batch" / "claims.csv").read_text().splitlines()[number + 1]
    return line.split(",")


def test_a_batch_that_is_refused_says_why(place: Path) -> None:
    (place / "bad.csv").write_text("serial,key\na,zz\na,zz\n")
    out = ("--out", "bad", "--batch", "8", "--key", "maker")
    done = run("factory", "bad.csv", *out, "--json", cwd=place, code=2)
    error = json.loads(done.stderr)["error"]
    assert error["code"] == "factory.refused" and error["counts"]["factory.key"] == 2
    said = run("factory", "bad.csv", *out, cwd=place, code=2).stderr.decode()
    assert "line 3: the serial a is on line 2 already" in said
    assert not (place / "bad").exists()
    for wrong in ((), ("--labels", "jpeg"), ("--no-claims", "--labels", "svg")):
        run("factory", "bad.csv", *wrong, cwd=place, code=2)


@pytest.mark.parametrize("kind", [None, *WALLETS])
def test_somebody_becomes_owner(place: Path, kind: str | None) -> None:
    _, device, code, text, _ = claim_of(place, 0)
    owner = did_of(place, "owner")
    more: tuple[str, ...] = ()
    if kind is not None:
        wallet = WALLETS[kind]
        arguments = ("--owner", owner, "--network", "net/card.cbor", "--nonce", NONCE)
        run("claim", "wallet", "message", wallet.account, *arguments, "-o", "m.txt", cwd=place)
        signature = wallet.sign((place / "m.txt").read_text()).hex()
        bound = ("claim", "wallet", "bind", "m.txt", "--signature", "0x" + signature)
        run(*bound, "-o", "wallet.json", cwd=place)
        said = json.loads(run(*bound, cwd=place).stdout)
        assert said == json.loads((place / "wallet.json").read_text())
        more = ("--wallet", "wallet.json")
    common = ("--owner", "owner", "--network", "net/card.cbor", "--nonce", NONCE, *more)
    run("claim", "make", text, *common, "-o", "claim.cbor", cwd=place)
    typed = run(
        "claim", "make", "-", "--device", device, *common, cwd=place, data=code.encode()
    ).stdout
    network = did_of_network(place)
    for data in ((place / "claim.cbor").read_bytes(), typed):
        found = read_claim(data, network=network)
        digest = json.loads((place / "birth.json").read_text())["credentialSubject"]["claimDigest"]
        assert found.owner == owner and found.opens(bytes.fromhex(digest))
    shown = run(
        *("claim", "show", "claim.cbor", "--network", "net/card.cbor"),
        *("--digest", digest, "--json"),
        cwd=place,
    )
    said = json.loads(shown.stdout)
    assert said["code"] == "right" and said["device"] == device
    assert said["wallet"] == (None if kind is None else WALLETS[kind].account)


def did_of_network(place: Path) -> str:
    shown = run("network", "show", "net/card.cbor", "--json", cwd=place)
    return str(json.loads(shown.stdout)["network"])


def test_codes_are_shown_checked_and_drawn(place: Path) -> None:
    _, device, code, text, _ = claim_of(place, 0)
    _, _, other, _, _ = claim_of(place, 1)
    shown = run("claim", "code", "show", text, "--json", cwd=place)
    assert json.loads(shown.stdout)["claim_code"] == code
    drawn = run(
        *("claim", "code", "show", code, "--device", device, "--qr"),
        *("--svg", "q.svg", "--png", "q.png"),
        cwd=place,
    ).stdout.decode()
    assert "\u2588" in drawn and (place / "q.png").read_bytes().startswith(b"\x89PNG")
    assert stat.S_IMODE((place / "q.svg").stat().st_mode) == 0o600
    right = ("claim", "code", "check", "-", "--certificate", "birth.json")
    run(*right, cwd=place, data=code.lower().encode())
    done = run(*right, cwd=place, data=other.encode(), code=2)
    assert b"claim.differs" in done.stderr
    wrong = code.replace(code[0], "7" if code[0] != "7" else "8", 1)
    done = run(*right, cwd=place, data=wrong.encode(), code=2)
    assert b"look at character 1 of group 1" in done.stderr
    fresh = json.loads(run("claim", "code", "new", "--device", device, "--json", cwd=place).stdout)
    assert re.fullmatch("([0-9A-Z]{4}-){6}[0-9A-Z]{4}", fresh["claim_code"])


@pytest.mark.parametrize(("role", "reason"), [("old", "rotation"), ("owner", "lost")])
def test_a_key_is_followed_by_another(place: Path, role: str, reason: str) -> None:
    device, following = did_of(place, "dev"), did_of(place, "next")
    network = ("--network", "net/card.cbor")
    offered = run(
        *("succession", "offer", "next", "--device", device, *network, "--nonce", NONCE),
        *("--reason", reason, "--last", "3:14", "-o", "offer.cbor"),
        cwd=place,
    )
    assert offered.stdout == b""
    voucher = "dev" if role == "old" else "owner"
    vouched = ("succession", "vouch", "offer.cbor", "--key", voucher, "--as", role, *network)
    data = run(*vouched, cwd=place).stdout
    assert read_succession(data, network=did_of_network(place)).last == (3, 14)
    shown = run("succession", "show", "-", *network, "--json", cwd=place, data=data)
    said = json.loads(shown.stdout)
    assert (said["new"], said["role"], said["reason"]) == (following, role, reason)
    done = run(*vouched[:-4], "--as", "friend", *network, cwd=place, code=2)
    assert b"usage" in done.stderr


@pytest.mark.parametrize("curve", ["ed25519", "p256"])
def test_makers_and_owners_with_a_history(place: Path, tmp_path: Path, curve: str) -> None:
    """A manufacturer and an owner with did:webvh: their keys are found by their DIDs."""
    for name in ("acme", "anna"):
        where = ("--place", f"example.com:{name}", "--curve", curve)
        run("did", "create", str(tmp_path / name), *where, cwd=tmp_path)
    acme, anna = (DidFolder.open(tmp_path / name) for name in ("acme", "anna"))
    assert acme.did.startswith("did:webvh:")
    out = ("--out", str(tmp_path / "batch"), "--batch", "9", "--key", str(tmp_path / "acme"))
    about = ("--model", "N1", "--hardware-revision", "B", "--key-protection", "tpm")
    run("factory", str(place / "devices.csv"), *out, *about, cwd=tmp_path)
    batch = json.loads((tmp_path / "batch" / "batch.json").read_text())
    assert batch["issuer"] == acme.did
    assert batch["proof"]["verificationMethod"] == acme.verification_method

    line = (tmp_path / "batch" / "claims.csv").read_text().splitlines()[1]
    network = ("--network", str(place / "net" / "card.cbor"))
    data = run(
        *("claim", "make", line.split(",")[3], "--owner", str(tmp_path / "anna")),
        *("--nonce", NONCE, *network),
        cwd=tmp_path,
    ).stdout
    found = read_claim(
        data,
        network=did_of_network(place),
        key_of={anna.verification_method: anna.public_key}.__getitem__,
    )
    assert found.owner == anna.did
    (tmp_path / "claim.cbor").write_bytes(data)
    done = run("claim", "show", "claim.cbor", *network, cwd=tmp_path, code=2)
    assert b"did.method_not_supported" in done.stderr
    key = ("--key", encode_multikey(anna.public_key))
    run("claim", "show", "claim.cbor", *network, *key, cwd=tmp_path)
    other = ("--key", encode_multikey(acme.public_key))
    done = run("claim", "show", "claim.cbor", *network, *other, cwd=tmp_path, code=2)
    assert b"signature.invalid" in done.stderr or b"key.algorithm" in done.stderr


def test_each_certificate_can_be_revoked(place: Path, tmp_path: Path) -> None:
    book = str(tmp_path / "fleet.list")
    run("status", "new", book, "--url", "https://example.com/status/1", cwd=tmp_path)
    out = ("--batch", "10", "--key", str(place / "maker"), "--status", book)
    about = ("--model", "N1", "--hardware-revision", "B", "--key-protection", "tpm")
    (tmp_path / "bad.csv").write_text((place / "devices.csv").read_text() + "\nx,y\n")
    run("factory", "bad.csv", "--out", "bad", *out, *about, cwd=tmp_path, code=2)
    assert StatusBook.open(Path(book)).given == 0, "none issued, none given out"
    run("factory", str(place / "devices.csv"), "--out", "batch", *out, *about, cwd=tmp_path)
    assert StatusBook.open(Path(book)).given == 2
    lines = (tmp_path / "batch" / "certificates.jsonl").read_text().splitlines()
    entries = {json.loads(line)["credentialStatus"]["statusListIndex"] for line in lines}
    assert len(entries) == 2
