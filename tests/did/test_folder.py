"""The folder of a DID and its keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from depin_id.did import Resolver, folder
from depin_id.did.approving import APPROVED_FILE, approve
from depin_id.did.folder import DidFolder
from depin_id.did.keyring import SIGNING_FILE, Keyring
from depin_id.did.making import DOCUMENT_FILE
from depin_id.did.webvh import Pins, create, verify_log, witness_rule
from depin_id.did.webvh.authoring import update
from depin_id.errors import DepinError, DIDError, StateError
from depin_id.keys import SoftwareSigner


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
    with pytest.raises(DIDError):
        DidFolder.create(tmp_path / "o", method=method, curve=curve)
    with pytest.raises(DIDError):
        again.rotate()
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
    turned = _webvh(tmp_path / "log", passphrase="long enough").rotate(now_ms=NOW + DAY)
    assert turned.signer.public_key == turned.public_key
    with pytest.raises(StateError):
        DidFolder.open(tmp_path / "log").rotate(now_ms=NOW + 2 * DAY)


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
        {**made.document, "id": "did:key:z6MkeXATEjyXENzBXBxgC5EHk2JE5aqd7qMGGtDpLUH1e2Sj"},
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


NOW = 1_790_000_000_000
DAY = 86_400_000


def _webvh(path: Path, **options: Any) -> DidFolder:
    return DidFolder.create(path, method="webvh", place="example.com:acme", now_ms=NOW, **options)


@pytest.mark.parametrize("curve", ["ed25519", "p256"])
def test_a_history_is_made_rotated_and_ended(tmp_path: Path, curve: Any) -> None:
    made = _webvh(tmp_path, curve=curve)
    assert made.did.endswith(":example.com:acme") and made.verification_method.endswith("#key-1")
    secrets = {name: (tmp_path / name).read_bytes() for name in KEYS}
    first = made.public_key
    turned = made.rotate(now_ms=NOW + DAY)
    assert turned.did == made.did and turned.verification_method == f"{made.did}#key-2"
    assert turned.public_key != first and turned.public_key.curve == curve
    assert (tmp_path / "update.key").read_bytes() == secrets["next.key"]
    assert (tmp_path / "next.key").read_bytes() not in secrets.values()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*KEYS, "did.jsonl", ".lock"])
    turned.public_key.verify(b"m", turned.signer.sign(b"m"))
    only = DidFolder.open(tmp_path).rotate(signing=False, now_ms=NOW + 2 * DAY)
    assert only.public_key == turned.public_key and only.history is not None
    assert len(only.history) == 3
    resolver = Resolver(dids=tmp_path, now_ms=lambda: NOW + 9 * DAY)
    assert resolver.key(f"{made.did}#key-1", version_time=NOW) == first
    assert resolver.key(only.verification_method, relationship="capabilityInvocation")
    ended = only.deactivate(now_ms=NOW + 3 * DAY)
    assert ended.history is not None and ended.history.deactivated
    for use in (lambda: ended.signer, lambda: ended.verification_method, ended.rotate,
                ended.deactivate, only.rotate):  # fmt: skip
        with pytest.raises(DIDError) as caught:
            use()
        assert caught.value.code == "did.deactivated"
    assert resolver.resolve(made.did, no_cache=True).deactivated


KEYS = ("update.key", "next.key", "signing.key")


@pytest.mark.parametrize("cut", ["prepare", "log", "update.key", "next.key", "signing.key"])
def test_a_rotation_that_is_cut_off_loses_no_key(
    tmp_path: Path, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _webvh(tmp_path)

    class Cut(Exception):
        pass

    def stop(*_: Any, **__: Any) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        if cut == "log":
            patch.setattr(folder, "replace_file", stop)
        elif cut == "prepare":
            patch.setattr(Keyring, "_rename", stop)
            patch.setattr(folder, "replace_file", stop)
        else:
            rename = Keyring._rename

            def until(self: Any, old: str, new: str) -> None:
                if new == cut:
                    raise Cut
                rename(self, old, new)

            patch.setattr(Keyring, "_rename", until)
        with pytest.raises(Cut):
            made.rotate(now_ms=NOW + DAY)
    again = DidFolder.open(tmp_path, now_ms=NOW + DAY)
    again.public_key.verify(b"m", again.signer.sign(b"m"))
    turned = again.rotate(now_ms=NOW + 2 * DAY).rotate(now_ms=NOW + 3 * DAY)
    assert turned.history is not None
    assert len(turned.history) == (3 if cut in ("prepare", "log") else 4)
    turned.public_key.verify(b"m", turned.signer.sign(b"m"))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*KEYS, "did.jsonl", ".lock"])


def test_a_did_changes_with_the_announced_key_only(tmp_path: Path) -> None:
    made = _webvh(tmp_path)
    _webvh(tmp_path / "other")
    (tmp_path / "other" / "next.key").replace(tmp_path / "next.key")
    for change in (made.rotate, made.deactivate):
        with pytest.raises(DIDError) as caught:
            change(now_ms=NOW + DAY)
        assert caught.value.code == "did.folder_keys"
    assert len(DidFolder.open(tmp_path).history or ()) == 1


def test_what_a_history_needs_to_be_made(tmp_path: Path) -> None:
    with pytest.raises(DIDError):
        DidFolder.create(tmp_path / "a", method="webvh")
    with pytest.raises(DIDError):
        DidFolder.create(tmp_path / "a", method="webvh", place="127.0.0.1")
    with pytest.raises(DIDError):
        DidFolder.create(tmp_path / "a", method="key", place="example.com")
    unknown: Any = "web"
    with pytest.raises(DIDError):
        DidFolder.create(tmp_path / "a", method=unknown)
    assert not (tmp_path / "a").exists()
    service = {"id": "#files", "type": "Files", "serviceEndpoint": "https://example.com/{SCID}"}
    made = _webvh(tmp_path / "b", services=[service], portable=True)
    assert made.history is not None and made.history.last.parameters.portable
    assert made.document["service"][0]["serviceEndpoint"].endswith(made.history.scid)


def test_a_version_counts_when_its_witnesses_have_approved_it(tmp_path: Path) -> None:
    witnesses = [DidFolder.create(tmp_path / name) for name in "abc"]
    rule = witness_rule(2, [witness.public_key for witness in witnesses[:2]])
    path = tmp_path / "log"
    made = _webvh(path, witness=rule)
    assert made.pending is not None and made.history is None
    made.public_key.verify(b"m", made.signer.sign(b"m"))

    def ask(number: int, now_ms: int) -> None:
        proofs = path / "did-witness.json"
        before = proofs.read_bytes() if proofs.exists() else None
        log = (path / "did.jsonl").read_bytes()
        pins = Pins(tmp_path / "abc"[number] / APPROVED_FILE)
        _, after = approve(log, before, witnesses[number].signer, now_ms=now_ms, pins=pins)
        proofs.write_bytes(after)

    for change in (made.rotate, made.deactivate):
        with pytest.raises(DIDError) as early:
            change(now_ms=NOW + DAY)
        assert early.value.code == "did.webvh.witness"
    ask(0, NOW)
    assert DidFolder.open(path).history is None
    with pytest.raises(DIDError) as stranger:
        ask(2, NOW)
    assert stranger.value.code == "did.not_a_witness"
    ask(1, NOW)
    first = DidFolder.open(path)
    assert first.pending is None and first.history is not None
    with pytest.raises(DIDError) as done:
        ask(0, NOW)
    assert done.value.code == "did.nothing_to_approve"

    waiting = first.rotate(now_ms=NOW + DAY)
    assert waiting.pending is not None and waiting.public_key == first.public_key
    again = DidFolder.open(path)
    again.public_key.verify(b"m", again.signer.sign(b"m"))
    with pytest.raises(DIDError):
        again.rotate(now_ms=NOW + 2 * DAY)
    ask(0, NOW + DAY)
    ask(1, NOW + DAY)
    turned = DidFolder.open(path)
    assert turned.pending is None and turned.verification_method.endswith("#key-2")
    turned.public_key.verify(b"m", turned.signer.sign(b"m"))
    resolver = Resolver(dids=path, now_ms=lambda: NOW + 9 * DAY)
    assert resolver.resolve(made.did).document_metadata["versionNumber"] == 2
    turned.rotate(now_ms=NOW + 2 * DAY)
    ask(0, NOW + 2 * DAY)
    ask(1, NOW + 2 * DAY)
    third = DidFolder.open(path)
    third.public_key.verify(b"m", third.signer.sign(b"m"))
    assert third.verification_method.endswith("#key-3")
    log = (path / "did.jsonl").read_bytes()
    proofs = (path / "did-witness.json").read_bytes()
    for broken in (log[:-9], log + b"{}\n", b""):
        with pytest.raises(DIDError) as bad:
            approve(broken, proofs, witnesses[0].signer, now_ms=NOW + 9 * DAY, pins=Pins())
        assert bad.value.code == "did.webvh.log"


def test_a_witness_approves_one_of_two_histories(tmp_path: Path) -> None:
    witness, maker = SoftwareSigner.generate(), SoftwareSigner.generate()
    file = tmp_path / APPROVED_FILE
    one = create("example.com", maker, now_ms=NOW, witness=witness_rule(1, [witness.public_key]))

    def ask(log: bytes, proofs: bytes | None = None) -> bytes:
        return approve(log, proofs, witness, now_ms=NOW + 9 * DAY, pins=Pins(file))[1]

    def refused(log: bytes, proofs: bytes | None) -> str:
        with pytest.raises(DIDError) as caught:
            ask(log, proofs)
        return caught.value.code

    first = ask(one)
    history = verify_log(one, witness=first, now_ms=NOW)
    left, right = (
        update(history, maker, now_ms=NOW + DAY, parameters={"ttl": ttl}) for ttl in (1, 2)
    )
    second = ask(one + left, first)
    # The same again is the same answer; the other version of that number never gets one.
    assert ask(one + left, first) == second
    assert refused(one + right, first) == "did.log_forked"
    assert refused(one, None) == "did.log_rolled_back"
    grown = verify_log(one + left, witness=second, now_ms=NOW + DAY)
    third = update(grown, maker, now_ms=NOW + 2 * DAY)
    # Another witness of a fork is no way around it.
    ask(one + left + third, second)
    assert refused(one + right, first) == "did.log_rolled_back"
    assert file.stat().st_mode & 0o077 == 0
