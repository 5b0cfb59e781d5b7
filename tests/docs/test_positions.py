"""The table of positions in docs/protocol.md, row by row, against the code that judges them."""

from __future__ import annotations

import re

import pytest

from depin_id.envelope import NO_PREV, Provenance
from tests.docs.examples import FILE
from verify.checks.sequence import Recorded, stand
from verify.state import Mark

HEAD, OTHER, ID = b"\x01" * 16, b"\x02" * 16, b"\x03" * 32
MARK = Mark(5, 10, 0b101, HEAD)  # epoch 5: 10 and 8 are used, 9 is not
HELD = {
    (5, 8): Recorded(3, b"\x08" * 32, OTHER),
    (5, 10): Recorded(4, HEAD + bytes(16), ID[:16]),
}

ROWS: list[tuple[str, Mark | None, int, int, bytes, str, tuple[str, ...]]] = [
    ("first of the stream, n = 0, zeros", None, 5, 0, NO_PREV, "fresh", ()),
    ("first of the stream, otherwise", None, 5, 1, OTHER, "fresh", ("sequence.gap",)),
    ("same epoch, n = N + 1 | H", MARK, 5, 11, HEAD, "fresh", ()),
    ("same epoch, n = N + 1 | other", MARK, 5, 11, OTHER, "broken", ()),
    ("same epoch, n > N + 1", MARK, 5, 12, OTHER, "fresh", ("sequence.gap",)),
    ("later epoch, n = 0 | H", MARK, 6, 0, HEAD, "fresh", ()),
    ("later epoch, n = 0 | zeros", MARK, 6, 0, NO_PREV, "fresh", ("chain.tail_unknown",)),
    ("later epoch, otherwise", MARK, 6, 3, OTHER, "fresh", ("sequence.gap",)),
    ("at or below (E, N), unused, neighbours agree", MARK, 5, 9, b"\x08" * 16, "late", ("late",)),
    ("at or below (E, N), unused, neighbours agree", MARK, 4, 2, OTHER, "late",
     ("late", "sequence.gap")),
    ("at or below (E, N), unused, a known neighbour", MARK, 5, 9, OTHER, "broken", ()),
]  # fmt: skip


@pytest.mark.parametrize(("row", "mark", "epoch", "n", "prev", "status", "flags"), ROWS)
def test_a_row_of_the_table(
    row: str,
    mark: Mark | None,
    epoch: int,
    n: int,
    prev: bytes,
    status: str,
    flags: tuple[str, ...],
) -> None:
    found = stand(mark, Provenance(epoch, n, prev, 0), ID, lambda *at: HELD.get(at))
    assert (found.status, found.flags) == (status, flags)
    assert found.mark is not None


@pytest.mark.parametrize(("identity", "status"), [(b"\x08" * 32, "duplicate"), (ID, "forked")])
def test_a_used_position(identity: bytes, status: str) -> None:
    found = stand(MARK, Provenance(5, 8, OTHER, 0), identity, lambda *at: HELD.get(at))
    assert found.status == status and found.mark is None and found.recorded == HELD[5, 8]


def test_the_table_has_these_rows_and_no_others() -> None:
    text = FILE.read_text()
    table = text[text.index("| position | `prev` | result |") :].split("\n\n")[0].splitlines()[2:]
    lines = [re.sub(r"^\| (.*?) \| ?(.*?) ?\| .*$", r"\1 | \2", line) for line in table]
    names = {row for row, *_ in ROWS} | {"used, same id", "used, other id"}
    assert len(lines) == 12
    assert all(any(line.startswith(name) for name in names) for line in lines)
