"""An issuer's record: indices are given out once, revocation is for ever, files survive."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from depin_id.credentials.status import StatusBook, StatusStore, issue_bitstring
from depin_id.durable import FileLock
from depin_id.errors import DepinError
from tests.status.world import (
    COUNT,
    DID,
    ISSUER,
    METHOD,
    NOW_MS,
    URI,
    bitstring,
    entries,
    key_of,
    token,
)


def made(path: Path, **changes: object) -> Path:
    StatusBook.create(path, uri=URI, **changes)  # type: ignore[arg-type]
    return path


def code_of(action: object) -> str:
    with pytest.raises(DepinError) as caught:
        action()  # type: ignore[operator]
    return caught.value.code


@pytest.mark.parametrize("at_random", [True, False])
def test_no_index_is_given_twice(tmp_path: Path, at_random: bool) -> None:
    path = made(tmp_path / "list", kind="token", count=64, random=at_random)
    below = random.Random(1).randrange
    seen = []
    for _ in range(8):
        with StatusBook.change(path) as book:
            seen += [book.give(below=below) for _ in range(8)]
    assert sorted(seen) == list(range(64))
    assert (seen == sorted(seen)) is not at_random
    with StatusBook.change(path) as book:
        assert code_of(book.give) == "status.full"
        assert book.given == 64


def test_what_fails_is_not_written(tmp_path: Path) -> None:
    path = made(tmp_path / "list")
    with pytest.raises(ZeroDivisionError), StatusBook.change(path) as book:
        book.give()
        raise ZeroDivisionError
    assert StatusBook.open(path).given == 0


def test_revocation_is_for_ever_and_suspension_is_not(tmp_path: Path) -> None:
    revoking = made(tmp_path / "revoking")
    with StatusBook.change(revoking) as book:
        book.set(5, 1)
        book.set(5, 1)
        assert code_of(lambda: book.set(5, 0)) == "status.final"
    assert StatusBook.open(revoking).set_entries() == {5: 1}
    suspending = made(tmp_path / "suspending", purpose="suspension")
    with StatusBook.change(suspending) as book:
        book.set(5, 1)
        book.set(5, 0)
        assert book[5] == 0
    tokens = made(tmp_path / "tokens", kind="token", size=2, count=64)
    with StatusBook.change(tokens) as book:
        book.set(5, 2)
        book.set(5, 0)
        book.set(5, 1)
        assert code_of(lambda: book.set(5, 2)) == "status.final"
        assert code_of(lambda: book.set(5, 4)) == "status.value"
        assert code_of(lambda: book.set(64, 1)) == "status.index"
        assert code_of(lambda: book[-1]) == "status.index"
        assert code_of(lambda: book.entry(64)) == "status.index"


def test_from_the_record_to_the_answer(tmp_path: Path) -> None:
    path = made(tmp_path / "list")
    with StatusBook.change(path) as book:
        index, other = book.give(), book.give()
        book.set(index, 1)
    book = StatusBook.open(path)
    data = bitstring()
    held = StatusStore(key_of=key_of)
    assert book.entries.table == entries({index: 1}).table
    held.add(data)
    assert held.check(book.entry(index), now_ms=NOW_MS).ok
    signed = issue_bitstring(
        book.entries,
        uri=book.uri,
        purpose=book.purpose,
        issuer=DID,
        signer=ISSUER,
        verification_method=METHOD,
        now_ms=NOW_MS + 1000,
    )
    held.add(signed)
    assert held.check(book.entry(index), now_ms=NOW_MS, issuer=DID).state == "revoked"
    assert held.check(book.entry(other), now_ms=NOW_MS, issuer=DID).ok


def test_a_token_entry(tmp_path: Path) -> None:
    book = StatusBook.open(made(tmp_path / "list", kind="token", size=2, count=1024))
    held = StatusStore(key_of=key_of)
    held.add(token())
    assert held.check(book.entry(9), now_ms=NOW_MS).ok


def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = made(tmp_path / "list")
    with FileLock(tmp_path / ".list.lock", path):

        def change() -> None:
            with StatusBook.change(path):
                pass

        assert code_of(change) == "state.locked"


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("status.purpose", {"purpose": "fun"}),
        ("status.length", {"count": COUNT - 8}),
        ("status.length", {"count": COUNT + 1}),
        ("status.length", {"count": 1 << 23}),
        ("status.malformed", {"size": 9}),
        ("status.malformed", {"kind": "token", "size": 3}),
        ("status.malformed", {"uri": ""}),
    ],
)
def test_records_that_are_not_made(tmp_path: Path, code: str, changes: dict[str, object]) -> None:
    given = {"uri": URI} | changes
    assert code_of(lambda: StatusBook.create(tmp_path / "list", **given)) == code  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_record_is_never_overwritten(tmp_path: Path) -> None:
    path = made(tmp_path / "list")
    assert code_of(lambda: made(path)) == "state.exists"
    assert code_of(lambda: StatusBook.open(tmp_path / "none")) == "state.missing"


def test_damaged_records(tmp_path: Path) -> None:
    path = made(tmp_path / "list", kind="token", count=8)
    good = path.read_bytes()
    for data in (b"", b"\xa0", good[:-1], good + b"\x00", good.replace(b"token", b"tokem")):
        path.write_bytes(data)
        assert code_of(lambda: StatusBook.open(path)) == "status.book"
