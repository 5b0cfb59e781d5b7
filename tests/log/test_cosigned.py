"""Cosignatures beside the checkpoint: they come late, and nothing ever goes back."""

from __future__ import annotations

import shutil
import threading
from hashlib import sha256
from pathlib import Path

import pytest

from depin_id.errors import LogError
from depin_id.keys import SoftwareSigner
from depin_id.witness import WitnessKey, WitnessPolicy
from tests.log.helpers import KEY, ORIGIN, entries, published_log, signed
from verify.log import TileLog, cosign, cosignatures_of, read_checkpoint, verify_log
from verify.log.cosigned import (
    CHECKPOINT,
    WITNESSED,
    keep_cosignatures,
    read_note,
    verify_witnessed,
)
from verify.log.note import split_note

SIGNERS = [SoftwareSigner("ed25519", sha256(b"witness %d" % n).digest()) for n in range(3)]
KEYS = tuple(WitnessKey(f"w{n}", signer.public_key) for n, signer in enumerate(SIGNERS))
TWO = WitnessPolicy(KEYS, 2)


def line(note: str, number: int, at: int = 1000) -> str:
    return cosign(split_note(note)[0], f"w{number}", SIGNERS[number], at)


def grow(log: TileLog, count: int) -> str:
    log.append(entries(count, b"%d" % log.size))
    log.flush()
    note = signed(log.checkpoint())
    log.publish_checkpoint(note)
    return note


def names(folder: Path, name: str) -> set[str]:
    found = read_note(folder, name, KEY)
    return set() if found is None else {item.key.name for item in cosignatures_of(found[0], KEYS)}


def sizes(folder: Path) -> tuple[int | None, int | None]:
    found = [read_note(folder, name, KEY) for name in (CHECKPOINT, WITNESSED)]
    first, second = (None if item is None else item[1].size for item in found)
    return first, second


def test_lines_come_one_by_one_and_the_quorum_makes_the_second_file(tmp_path: Path) -> None:
    log = published_log(tmp_path, 5)
    note = (tmp_path / CHECKPOINT).read_text()
    assert not keep_cosignatures(tmp_path, KEY, note, [line(note, 0)], TWO)
    assert names(tmp_path, CHECKPOINT) == {"w0"} and sizes(tmp_path) == (5, None)
    assert keep_cosignatures(tmp_path, KEY, note, [line(note, 2)], TWO)
    assert names(tmp_path, CHECKPOINT) == names(tmp_path, WITNESSED) == {"w0", "w2"}
    assert keep_cosignatures(tmp_path, KEY, note, [line(note, 1)], TWO)
    assert names(tmp_path, WITNESSED) == {"w0", "w1", "w2"}
    # The same checkpoint published again keeps them; who reads the log does not mind them.
    log.publish_checkpoint(note)
    assert names(tmp_path, CHECKPOINT) == {"w0", "w1", "w2"}
    assert verify_log(tmp_path, ORIGIN, [KEY]).size == 5


def test_a_late_witness_takes_nothing_back(tmp_path: Path) -> None:
    log = published_log(tmp_path, 5)
    old = (tmp_path / CHECKPOINT).read_text()
    new = grow(log, 4)
    assert keep_cosignatures(tmp_path, KEY, old, [line(old, 0), line(old, 1)], TWO)
    assert (tmp_path / CHECKPOINT).read_text() == new and sizes(tmp_path) == (9, 5)
    assert keep_cosignatures(tmp_path, KEY, new, [line(new, 0), line(new, 1)], TWO)
    assert sizes(tmp_path) == (9, 9)
    assert keep_cosignatures(tmp_path, KEY, old, [line(old, n) for n in range(3)], TWO)
    assert sizes(tmp_path) == (9, 9) and names(tmp_path, WITNESSED) == {"w0", "w1"}


def test_what_does_not_verify_is_not_kept(tmp_path: Path) -> None:
    log = published_log(tmp_path, 5)
    old = (tmp_path / CHECKPOINT).read_text()
    grow(log, 1)
    before = (tmp_path / CHECKPOINT).read_bytes()
    note = before.decode()
    with pytest.raises(LogError) as caught:
        keep_cosignatures(tmp_path, KEY, note, [line(old, 0)], TWO)
    assert caught.value.code == "log.signature"
    with pytest.raises(LogError):
        keep_cosignatures(tmp_path, KEY, note.replace("\n6\n", "\n7\n"), [line(note, 0)], TWO)
    assert (tmp_path / CHECKPOINT).read_bytes() == before and sizes(tmp_path) == (6, None)


def test_the_tiles_are_those_that_the_witnesses_have_seen(tmp_path: Path) -> None:
    log = published_log(tmp_path / "log", 300)
    with pytest.raises(LogError) as caught:
        verify_witnessed(tmp_path / "log", KEY, TWO)
    assert caught.value.code == "log.witness_quorum"
    note = (tmp_path / "log" / CHECKPOINT).read_text()
    keep_cosignatures(tmp_path / "log", KEY, note, [line(note, 0), line(note, 1)], TWO)
    grow(log, 300)
    checkpoint, found = verify_witnessed(tmp_path / "log", KEY, TWO)
    assert checkpoint.size == 300 and len(found) == 2
    # Another history in the tiles, under the same key, beside what the witnesses have seen.
    other = TileLog(tmp_path / "other", ORIGIN)
    grow(other, 500)
    shutil.copy(tmp_path / "log" / WITNESSED, tmp_path / "other" / WITNESSED)
    assert verify_log(tmp_path / "other", ORIGIN, [KEY]).size == 500
    with pytest.raises(LogError) as caught:
        verify_witnessed(tmp_path / "other", KEY, TWO)
    assert caught.value.code == "log.differs"


def test_a_damaged_second_file_is_replaced(tmp_path: Path) -> None:
    published_log(tmp_path, 5)
    (tmp_path / WITNESSED).write_text("damaged")
    note = (tmp_path / CHECKPOINT).read_text()
    assert keep_cosignatures(tmp_path, KEY, note, [line(note, 0), line(note, 1)], TWO)
    assert sizes(tmp_path) == (5, 5)


def test_publishing_and_cosigning_at_once_never_go_back(tmp_path: Path) -> None:
    log = published_log(tmp_path, 1)
    ended, wrong = threading.Event(), list[BaseException]()

    def cosigning() -> None:
        try:
            while not ended.is_set():
                note = (tmp_path / CHECKPOINT).read_text()
                keep_cosignatures(tmp_path, KEY, note, [line(note, 0), line(note, 1)], TWO)
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=cosigning)
    thread.start()
    try:
        for size in range(2, 60):
            grow(log, 1)
            assert read_checkpoint(tmp_path, ORIGIN, [KEY]).size == size
    finally:
        ended.set()
        thread.join()
    assert not wrong
    newest, witnessed = sizes(tmp_path)
    assert newest == 59 and witnessed is not None and witnessed <= 59
