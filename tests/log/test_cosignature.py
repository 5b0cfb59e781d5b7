"""Cosignatures: the form that others write and read, and everything in one that can be changed."""

from __future__ import annotations

import base64
from hashlib import sha256

import pytest
from nacl.signing import SigningKey

from depin_id.errors import DepinError, LogError
from depin_id.keys import SoftwareSigner
from depin_id.witness import MAX_WITNESSES, WitnessKey, WitnessPolicy
from tests.log.helpers import KEY, ORIGIN, entries, mth, signed
from verify.log import Checkpoint, NoteKey, cosign, cosignatures_of, verify_cosigned, verify_note
from verify.log.cosignature import with_cosignatures
from verify.log.note import split_note

# Keys that witnesses in operation publish (2026): only their text form is looked at here.
PUBLISHED = [
    "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
    "rgdd.se/poc-witness+db03732e+BCjJKlo6BU0xfIb8LutqerIFTWIXEA0L5n3tW3QyPFgG",
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
]
# The example of c2sp.org/tlog-cosignature, whose keys are not published.
EXAMPLE = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
\u2014 witness.HOST/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
""".replace("HOST", "example.com")  # noqa: E501

WITNESSES = [SoftwareSigner("ed25519", sha256(b"witness %d" % n).digest()) for n in range(3)]
KEYS = [WitnessKey(f"w{n}", signer.public_key) for n, signer in enumerate(WITNESSES)]
TIME = 1_679_315_147
CHECKPOINT = Checkpoint(ORIGIN, 5, mth(entries(5)))
NOTE = signed(CHECKPOINT)


def line(number: int, *, at: int = TIME, body: str = CHECKPOINT.body) -> str:
    return cosign(body, KEYS[number].name, WITNESSES[number], at)


def code(error: pytest.ExceptionInfo[DepinError]) -> str:
    return error.value.code


@pytest.mark.parametrize("vkey", PUBLISHED)
def test_published_keys_are_read_and_written(vkey: str) -> None:
    assert WitnessKey.parse(vkey).vkey == vkey
    with pytest.raises(LogError):
        NoteKey.parse(vkey)


def test_the_example_of_the_standard_has_the_time_that_it_says() -> None:
    body, signatures = split_note(EXAMPLE)
    name, _, blob = signatures[1]
    assert name.endswith("/w1") and len(blob) == 72
    assert int.from_bytes(blob[:8], "big") == TIME
    assert Checkpoint.parse(body).size == 20852163


def test_a_cosignature_is_the_standard_s_byte_for_byte() -> None:
    secret, public = WITNESSES[0].secret, WITNESSES[0].public_key.raw
    message = f"cosignature/v1\ntime {TIME}\n{CHECKPOINT.body}".encode()
    key_id = sha256(b"w0\n\x04" + public).digest()[:4]
    blob = key_id + TIME.to_bytes(8, "big") + SigningKey(secret).sign(message).signature
    assert line(0) == f"\u2014 w0 {base64.b64encode(blob).decode()}\n"
    assert KEYS[0].key_id == key_id


def test_the_log_s_readers_do_not_mind_cosignatures() -> None:
    note = with_cosignatures(NOTE, [line(0), line(1)])
    assert verify_note(note, [KEY])[0] == CHECKPOINT.body
    checkpoint, found = verify_cosigned(note, [KEY], WitnessPolicy(tuple(KEYS), 2))
    assert checkpoint == CHECKPOINT
    assert [(item.key.name, item.time) for item in found] == [("w0", TIME), ("w1", TIME)]


def test_too_few_is_an_error_of_its_own() -> None:
    policy = WitnessPolicy(tuple(KEYS), 2)
    for note in (NOTE, with_cosignatures(NOTE, [line(0)]), NOTE + line(0) + line(0, at=TIME + 1)):
        with pytest.raises(LogError) as caught:
            verify_cosigned(note, [KEY], policy)
        assert code(caught) == "log.witness_quorum" and caught.value.hint


def test_a_stranger_s_cosignature_counts_for_nobody() -> None:
    note = with_cosignatures(NOTE, [line(2)])
    with pytest.raises(LogError) as caught:
        verify_cosigned(note, [KEY], WitnessPolicy(tuple(KEYS[:2]), 1))
    assert code(caught) == "log.witness_quorum"


def test_a_log_is_no_witness_of_itself() -> None:
    log = SoftwareSigner("ed25519", sha256(b"the key of the test log").digest())
    assert log.public_key.raw == KEY.public_key
    own = WitnessKey("w", log.public_key)
    note = NOTE + cosign(CHECKPOINT.body, "w", log, TIME)
    assert len(cosignatures_of(note, [own])) == 1
    with pytest.raises(LogError) as caught:
        verify_cosigned(note, [KEY], WitnessPolicy((own,), 1))
    assert code(caught) == "log.witness_quorum"


@pytest.mark.parametrize("at", [0, 4, 11, 12, 43, 75])
def test_every_part_of_a_cosignature_is_covered(at: int) -> None:
    """Key id, time and signature; a changed key id makes it a stranger's."""
    encoded = line(0).rsplit(" ", 1)[1]
    blob = bytearray(base64.b64decode(encoded))
    blob[at] ^= 1
    note = f"{NOTE}\u2014 w0 {base64.b64encode(bytes(blob)).decode()}\n"
    with pytest.raises(LogError) as caught:
        verify_cosigned(note, [KEY], WitnessPolicy(tuple(KEYS[:1]), 1))
    assert code(caught) == ("log.witness_quorum" if at < 4 else "log.signature")


@pytest.mark.parametrize("length", [0, 71, 73])
def test_another_length_is_another_form(length: int) -> None:
    blob = KEYS[0].key_id + bytes(length)
    note = f"{NOTE}\u2014 w0 {base64.b64encode(blob).decode()}\n"
    with pytest.raises(LogError) as caught:
        cosignatures_of(note, KEYS)
    assert code(caught) == ("log.note" if not length else "log.cosignature")


def test_a_time_beyond_63_bits_is_refused() -> None:
    blob = KEYS[0].key_id + (1 << 63).to_bytes(8, "big") + bytes(64)
    with pytest.raises(LogError) as caught:
        cosignatures_of(f"{NOTE}\u2014 w0 {base64.b64encode(blob).decode()}\n", KEYS)
    assert code(caught) == "log.cosignature"
    with pytest.raises(LogError) as caught:
        line(0, at=-1)
    assert code(caught) == "log.cosignature"


def test_a_cosignature_of_another_checkpoint_does_not_move() -> None:
    other = Checkpoint(ORIGIN, 5, mth(entries(5, b"other")))
    with pytest.raises(LogError) as caught:
        cosignatures_of(NOTE + line(0, body=other.body), KEYS)
    assert code(caught) == "log.signature"


def test_of_a_witness_the_newest_line_stays() -> None:
    note = with_cosignatures(NOTE, [line(0), line(1)])
    again = with_cosignatures(note, [line(0, at=TIME + 5)])
    assert again.count("\u2014 w0 ") == 1 and again.startswith(NOTE)
    assert [item.time for item in cosignatures_of(again, KEYS)] == [TIME + 5, TIME]


def test_a_signer_of_another_key_is_found_at_once() -> None:
    class Wrong:
        public_key = WITNESSES[0].public_key

        def sign(self, message: bytes) -> bytes:
            return WITNESSES[1].sign(message)

    with pytest.raises(LogError) as caught:
        cosign(CHECKPOINT.body, "w0", Wrong(), TIME)
    assert code(caught) == "log.signature"


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "w0",
        "w0+00000000",
        KEYS[0].vkey.replace("w0+", "w1+", 1),
        KEYS[0].vkey[:-1],
        KEYS[0].vkey + "=",
        KEY.vkey,
        "w 0" + KEYS[0].vkey[2:],
        "x" * 300,
    ],
)
def test_other_texts_are_no_key(vkey: str) -> None:
    with pytest.raises(LogError) as caught:
        WitnessKey.parse(vkey)
    assert code(caught) == "log.key"


def test_a_key_of_small_order_is_no_witness() -> None:
    blob = b"\x04\x01" + bytes(31)
    key_id = sha256(b"w\n" + blob).digest()[:4].hex()
    with pytest.raises(DepinError) as caught:
        WitnessKey.parse(f"w+{key_id}+{base64.b64encode(blob).decode()}")
    assert code(caught) == "key.not_admissible"


def test_a_policy_asks_for_something() -> None:
    twice = (KEYS[0], WitnessKey("another-name", KEYS[0].public))
    many = tuple(
        WitnessKey("w", SoftwareSigner("ed25519", sha256(b"%d" % n).digest()).public_key)
        for n in range(MAX_WITNESSES + 1)
    )
    for keys, quorum in (
        ((), 0),
        ((), 1),
        (KEYS, 0),
        (KEYS, 4),
        (KEYS, True),
        (twice, 1),
        (many, 1),
    ):
        with pytest.raises(LogError) as caught:
            WitnessPolicy(tuple(keys), quorum)
        assert code(caught) == "log.witness_policy"
