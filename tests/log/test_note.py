"""Notes, checkpoints and receipts: published examples, mutations, noise."""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from depin_id.errors import LogError
from tests.log.helpers import KEY, ORIGIN, PUBLIC_KEY, entries, mth, published_log, sign, signed
from verify.log import (
    EMPTY_ROOT,
    Checkpoint,
    NoteKey,
    TlogProof,
    sign_checkpoint,
    sign_note,
    verify_checkpoint,
    verify_note,
    verify_tlog_proof,
)

# golang.org/x/mod/sumdb/note, example_test.go.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_PRIVATE = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETER_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER_NOTE = (
    PETER_TEXT + "\n\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2p"
    "ZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# c2sp.org/tlog-checkpoint, the example (its public key is not published).
SOFA = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/"
    "Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)
CHECKPOINT = Checkpoint(ORIGIN, 13, mth(entries(13)))


def refused(code: str, text: bytes | str, keys: list[NoteKey] | None = None) -> None:
    with pytest.raises(LogError) as caught:
        verify_checkpoint(text, [KEY] if keys is None else keys)
    assert caught.value.code == code


def test_published_note_of_go() -> None:
    key = NoteKey.parse(PETER)
    assert (key.name, key.key_id.hex(), key.vkey) == ("PeterNeumann", "c74f20a3", PETER)
    assert verify_note(PETER_NOTE.encode(), [key]) == (PETER_TEXT, (key,))
    private = SigningKey(b64decode(PETER_PRIVATE)[1:])
    made = sign_note(
        PETER_TEXT, key.name, key.public_key, lambda message: private.sign(message).signature
    )
    assert made == PETER_NOTE


def test_published_checkpoint_of_c2sp() -> None:
    body, _, _ = SOFA.partition("\n\n")
    checkpoint = Checkpoint.parse(body + "\n")
    assert checkpoint.origin == "example.com/behind-the-sofa"
    assert checkpoint.size == 20852163
    assert checkpoint.body == body + "\n"
    refused("log.signature", SOFA)


def test_checkpoint_roundtrip_with_unknown_signatures_and_extensions() -> None:
    note = signed(CHECKPOINT)
    assert verify_checkpoint(note, [KEY]) == CHECKPOINT
    assert verify_checkpoint(note.encode(), iter([KEY])) == CHECKPOINT
    other = "\u2014 witness.example/w " + b64encode(b"\x01\x02\x03\x04" + bytes(72)).decode() + "\n"
    assert verify_checkpoint(note + other * 16, [KEY]) == CHECKPOINT
    # Another id under our name is another key (a rotation), and not ours to verify.
    same_name = f"\u2014 {ORIGIN} " + b64encode(bytes(68)).decode() + "\n"
    assert verify_checkpoint(note + same_name, [KEY]) == CHECKPOINT
    extended = Checkpoint(ORIGIN, 13, CHECKPOINT.root, ("one", "two words"))
    assert verify_checkpoint(signed(extended), [KEY]) == extended


def test_no_key_no_trust() -> None:
    note = signed(CHECKPOINT)
    refused("log.signature", note, [])
    stranger = NoteKey(ORIGIN, bytes(SigningKey(bytes(32)).verify_key))
    refused("log.signature", note, [stranger])
    # A known key whose signature is wrong spoils the note, whoever else signed it.
    wrong = f"\u2014 {ORIGIN} " + b64encode(stranger.key_id + bytes(64)).decode() + "\n"
    refused("log.signature", note + wrong, [KEY, stranger])


def test_the_key_of_one_log_does_not_speak_for_another() -> None:
    foreign = Checkpoint("other.example/log", 13, CHECKPOINT.root)
    note = sign_checkpoint(foreign, ORIGIN, PUBLIC_KEY, sign)
    refused("log.origin", note)
    assert verify_checkpoint(note, [KEY], origin="other.example/log") == foreign
    with pytest.raises(LogError, match="log.origin"):
        verify_checkpoint(signed(CHECKPOINT), [KEY], origin="other.example/log")


def test_each_flipped_bit_of_a_checkpoint_is_refused() -> None:
    note = signed(CHECKPOINT).encode()
    for bit in range(len(note) * 8):
        changed = bytearray(note)
        changed[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(LogError):
            verify_checkpoint(bytes(changed), [KEY])
    for end in range(len(note)):
        with pytest.raises(LogError):
            verify_checkpoint(note[:end], [KEY])


@pytest.mark.parametrize(
    "body",
    [
        "",
        "\n",
        f"{ORIGIN}\n1\n",
        f"{ORIGIN}\n01\n{{root}}\n",
        f"{ORIGIN}\n+1\n{{root}}\n",
        f"{ORIGIN}\n1 \n{{root}}\n",
        f"{ORIGIN}\n\u0661\n{{root}}\n",
        f"{ORIGIN}\n\n{{root}}\n",
        f"{ORIGIN}\n9223372036854775808\n{{root}}\n",
        f"{ORIGIN}\n{'9' * 5000}\n{{root}}\n",
        f"{ORIGIN}\n0\n{{root}}\n",
        "\n1\n{root}\n",
        f"{ORIGIN}\n1\n{{root}}",
        f"{ORIGIN}\n1\n{{root}}\n\n",
        f"{ORIGIN}\n1\n {{root}}\n",
        f"{ORIGIN}\n1\n{{root}}=\n",
        f"{ORIGIN}\n1\nAAAA\n",
        f"{ORIGIN}\r\n1\n{{root}}\n",
        f"{ORIGIN}\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=\n",
        f"{ORIGIN}\n1\n47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=\n",
    ],
)
def test_other_forms_of_a_checkpoint_are_refused(body: str) -> None:
    with pytest.raises(LogError) as caught:
        Checkpoint.parse(body.format(root=b64encode(bytes(32)).decode()))
    assert caught.value.code == "log.checkpoint"


def test_limits() -> None:
    note = signed(CHECKPOINT)
    line = "\u2014 w " + b64encode(bytes(68)).decode() + "\n"
    assert verify_checkpoint(note + line * 63, [KEY]) == CHECKPOINT
    refused("log.note", note + line * 64)
    refused("log.note", note + "\u2014 w " + b64encode(bytes(50_000)).decode() + "\n")
    refused("log.note", note.replace(" ", "\u00a0", 1))
    refused("log.note", note.replace("\u2014", "-"))
    refused("log.note", note + "\n")
    refused("log.note", note.encode() + b"\xff\n")


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\nb", "a\u2003b", "a\x00b", "n" * 256, "\ud800"]
)
def test_bad_key_names_are_refused(name: str) -> None:
    with pytest.raises(LogError, match="log.key"):
        NoteKey(name, PUBLIC_KEY)


def test_bad_keys_are_refused() -> None:
    neutral = b"\x01" + bytes(31)
    mixed = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
    for key in (b"", bytes(32), neutral, mixed, b"\xff" * 32, PUBLIC_KEY + b"\x00"):
        with pytest.raises(LogError, match="log.key"):
            NoteKey("a", key)
    name, key_id, encoded = PETER.split("+", 2)
    cosigner = b64encode(b"\x04" + NoteKey.parse(PETER).public_key).decode()
    for text in (
        "",
        name,
        f"{name}+{key_id}",
        f"{name}+{key_id.upper()}+{encoded}",
        f"{name}+00000000+{encoded}",
        f"{name}x+{key_id}+{encoded}",
        f"{name}+{key_id}+{encoded[:-4]}",
        f"{name}+{key_id}+{encoded}\n",
        f"{name}+{key_id}+{cosigner}",
        "a" * 100_000,
    ):
        with pytest.raises(LogError, match="log.key"):
            NoteKey.parse(text)


def test_a_signer_with_another_key_is_found_at_once() -> None:
    for wrong in (lambda _: bytes(64), lambda _: b"", SigningKey(bytes(32)).sign):
        with pytest.raises(LogError, match="log.signature"):
            sign_checkpoint(CHECKPOINT, ORIGIN, PUBLIC_KEY, wrong)


def test_published_forms_of_proofs() -> None:
    """Texts of github.com/transparency-dev/formats, proof/tlog_proof_test.go."""
    one, two = sha256(b"hash1").digest(), sha256(b"hash2").digest()
    one64, two64 = b64encode(one).decode(), b64encode(two).decode()
    extra64 = b64encode(b"extra information").decode()
    for proof, text in (
        (
            TlogProof(5, (one, two), "test checkpoint\n"),
            f"c2sp.org/tlog-proof@v1\nindex 5\n{one64}\n{two64}\n\ntest checkpoint\n",
        ),
        (
            TlogProof(10, (one,), "checkpoint data\n", b"extra information"),
            f"c2sp.org/tlog-proof@v1\nextra {extra64}\nindex 10\n{one64}\n\ncheckpoint data\n",
        ),
        (
            TlogProof(0, (), "checkpoint\n"),
            "c2sp.org/tlog-proof@v1\nindex 0\n\ncheckpoint\n",
        ),
    ):
        assert proof.format() == text
        assert TlogProof.parse(text) == proof


@pytest.fixture(scope="module")
def receipt(tmp_path_factory: pytest.TempPathFactory) -> str:
    log = published_log(tmp_path_factory.mktemp("log"), 13)
    note = (log.directory / "checkpoint").read_text(encoding="utf-8")
    return TlogProof(6, tuple(log.inclusion_proof(6)), note).format()


def test_receipt(receipt: str) -> None:
    assert verify_tlog_proof(receipt, entries(13)[6], [KEY]) == CHECKPOINT
    assert verify_tlog_proof(receipt.encode(), entries(13)[6], [KEY], origin=ORIGIN) == CHECKPOINT
    for leaf, keys in ((entries(13)[7], [KEY]), (b"", [KEY]), (entries(13)[6], [])):
        with pytest.raises(LogError):
            verify_tlog_proof(receipt, leaf, keys)


def test_each_flipped_bit_of_a_receipt_is_refused(receipt: str) -> None:
    data, leaf = receipt.encode(), entries(13)[6]
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(LogError):
            verify_tlog_proof(bytes(changed), leaf, [KEY])


def test_other_forms_of_a_receipt_are_refused(receipt: str) -> None:
    leaf = entries(13)[6]
    for old, new in (
        ("@v1\n", "@v1\r\n"),
        ("@v1\n", "@v1\nextra \n"),
        ("@v1\n", "@v1\nextra !!\n"),
        ("@v1\n", "@v1\nextra AA==\nextra AA==\n"),
        ("index 6", "index 06"),
        ("index 6", "index -6"),
        ("index 6\n", ""),
        ("index 6\n", "index 6\nindex 6\n"),
        ("index 6\n", "index 6\n\n"),
        ("index 6\n", "index 6\n" + b64encode(bytes(32)).decode() + "\n"),
        ("index 6\n", "index 6\n" + (b64encode(bytes(32)).decode() + "\n") * 64),
    ):
        assert old in receipt
        with pytest.raises(LogError):
            verify_tlog_proof(receipt.replace(old, new, 1), leaf, [KEY])
    with_extra = receipt.replace("@v1\n", "@v1\nextra AAEC\n", 1)
    assert verify_tlog_proof(with_extra, leaf, [KEY]) == CHECKPOINT
    assert TlogProof.parse(with_extra).extra == b"\x00\x01\x02"
    with pytest.raises(LogError):
        verify_tlog_proof(receipt + "A" * 300_000, leaf, [KEY])


FRAGMENTS = st.sampled_from(
    [b"c2sp.org/tlog-proof@v1\n", b"index 1\n", b"extra ", b"\n", b"\n\n", b"\xe2\x80\x94 ", b"a "]
    + [ORIGIN.encode() + b"\n", b"0\n", b64encode(EMPTY_ROOT) + b"\n", KEY.vkey.encode(), b"+"]
)


@given(st.lists(st.one_of(FRAGMENTS, st.binary(max_size=40)), max_size=12).map(b"".join))
def test_noise_raises_only_our_errors(noise: bytes) -> None:
    for call in (
        lambda: verify_checkpoint(noise, [KEY]),
        lambda: verify_tlog_proof(noise, b"", [KEY]),
        lambda: NoteKey.parse(noise.decode("latin-1")),
        lambda: Checkpoint.parse(noise.decode("latin-1")) and None,
    ):
        try:
            call()
        except LogError:
            continue
        # What parses without an error is of its form: it comes out as it went in.
    try:
        proof = TlogProof.parse(noise)
    except LogError:
        return
    assert proof.format().encode() == noise


def test_a_checkpoint_is_not_published_for_another_log(tmp_path: Path) -> None:
    log = published_log(tmp_path, 13)
    for checkpoint in (
        Checkpoint("other.example/log", 13, CHECKPOINT.root),
        Checkpoint(ORIGIN, 13, bytes(32)),
        Checkpoint(ORIGIN, 14, CHECKPOINT.root),
    ):
        note = sign_checkpoint(checkpoint, ORIGIN, PUBLIC_KEY, sign)
        with pytest.raises(LogError, match="log.checkpoint"):
            log.publish_checkpoint(note)
    with pytest.raises(LogError, match="log.rewrite"):
        log.publish_checkpoint(signed(Checkpoint(ORIGIN, 5, log.root(5))))


@pytest.mark.parametrize("body", ["", "no end", "\ud800\n", "a\tb\n", "x" * 70_000 + "\n"])
def test_texts_that_cannot_be_notes_are_not_signed(body: str) -> None:
    with pytest.raises(LogError, match="log.note"):
        sign_note(body, ORIGIN, PUBLIC_KEY, sign)
