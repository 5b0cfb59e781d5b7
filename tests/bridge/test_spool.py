"""The spool: order, durability, bounds, damage."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depin_id.errors import DepinError, StateError
from firmware_bridge.spool import Policy, Spool


def item(number: int, size: int = 10) -> tuple[bytes, bytes]:
    return number.to_bytes(32, "big"), (number % 251).to_bytes(1, "big") * size


def test_first_in_first_out_once_and_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    with Spool.open(path) as spool:
        assert spool.put([item(1), item(2), item(1)]) == 2
        assert spool.put([item(2), item(3)]) == 1
        assert spool.release([item(2)[0], item(9)[0]]) == 1
    with Spool.open(path) as spool:
        found = spool.peek()
        assert [(entry.id, entry.data) for entry in found] == [item(1), item(3)]
        assert spool.peek(after=found[0].seq) == found[1:]
        assert spool.peek(limit=1) == found[:1]
        assert spool.peek(max_bytes=15) == found[:1]
        assert spool.peek(max_bytes=1) == found[:1], "one is always given"
        assert spool.counts.released == 1
        # A place in the order is never used twice, even by an empty spool that was reopened.
        spool.release([item(1)[0], item(3)[0]])
        last = spool.last
    with Spool.open(path) as spool:
        spool.put([item(4)])
        assert spool.peek()[0].seq > last


def test_refuse_at_the_bound_keeps_what_is_there(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "spool", max_bytes=100, max_envelopes=3) as spool:
        spool.put([item(1), item(2)])
        for more in ([item(3), item(4)], [item(3, 81)]):
            with pytest.raises(StateError) as error:
                spool.put(more)
            assert error.value.code == "spool.full"
        assert [entry.id for entry in spool.peek()] == [item(1)[0], item(2)[0]]
        spool.put([item(3, 80)])
        assert spool.counts.bytes == 100


def test_drop_oldest_counts_durably(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    with Spool.open(path, max_bytes=100, max_envelopes=3, policy="drop_oldest") as spool:
        spool.put([item(1), item(2), item(3)])
        spool.put([item(4)])
        spool.put([item(5, 85)])
        with pytest.raises(StateError):
            spool.put([item(6, 101)])
    with Spool.open(path, max_bytes=100, max_envelopes=3, policy="drop_oldest") as spool:
        assert [entry.id for entry in spool.peek()] == [item(4)[0], item(5)[0]]
        assert (spool.counts.dropped, spool.counts.dropped_bytes) == (3, 30)


POLICIES: list[Policy] = ["refuse", "drop_oldest"]


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.booleans(), st.lists(st.integers(0, 12), max_size=5)), min_size=1, max_size=12
    ),
    st.sampled_from(POLICIES),
)
def test_against_a_model(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, list[int]]], policy: Policy
) -> None:
    path = tmp_path_factory.mktemp("spool") / "spool"
    model: dict[int, bytes] = {}
    spool = Spool.open(path, max_envelopes=6, policy=policy)
    try:
        for put, numbers in steps:
            if put:
                new = [n for n in dict.fromkeys(numbers) if n not in model]
                try:
                    assert spool.put([item(n) for n in numbers]) == len(new)
                except StateError:
                    assert policy == "refuse" and len(model) + len(new) > 6
                    continue
                for _ in range(len(model) + len(new) - 6):
                    del model[next(iter(model))]
                model.update((n, item(n)[1]) for n in new)
            else:
                wanted = {n for n in numbers if n in model}
                assert spool.release([item(n)[0] for n in set(numbers)]) == len(wanted)
                for n in wanted:
                    del model[n]
            found = [(entry.id, entry.data) for entry in spool.peek()]
            assert found == [item(n) for n in model]
            assert spool.counts.envelopes == len(spool) == len(model)
            assert spool.counts.bytes == 10 * len(model)
    finally:
        spool.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "spool"), pytest.raises(StateError) as error:
        Spool.open(tmp_path / "spool")
    assert error.value.code == "state.locked"
    Spool.open(tmp_path / "spool").close()


def test_a_flipped_byte_is_set_aside_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    with Spool.open(path) as spool:
        spool.put([item(1), item(2), item(3)])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE envelopes SET data = x'00' WHERE id = ?", (item(2)[0],))
    connection.close()
    with Spool.open(path) as spool:
        assert [entry.id for entry in spool.peek()] == [item(1)[0], item(3)[0]]
        assert spool.counts.damaged == 1 and len(spool) == 2


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" * 300])
def test_what_is_no_spool_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "spool"
    path.write_bytes(content)
    with pytest.raises(StateError) as error:
        Spool.open(path)
    assert error.value.code == "spool.corrupt"
    assert path.read_bytes() == content


def test_another_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (x)")
    connection.close()
    with pytest.raises(StateError) as error:
        Spool.open(path)
    assert error.value.code == "spool.corrupt"


def test_bad_calls_are_our_errors(tmp_path: Path) -> None:
    with pytest.raises(StateError):
        Spool.open(tmp_path / "missing" / "spool")
    with pytest.raises(StateError):
        Spool.open(tmp_path / "spool", max_bytes=0)
    spool = Spool.open(tmp_path / "spool")
    for bad in ((b"short", b"data"), (bytes(32), b""), (bytes(32), bytes(200_000))):
        with pytest.raises(DepinError):
            spool.put([bad])
    spool.close()
    with pytest.raises(StateError) as error:
        spool.put([item(1)])
    assert error.value.code == "spool.closed"


def test_put_survives_kill(tmp_path: Path) -> None:
    """What ``put`` returned for is there after SIGKILL."""
    path = tmp_path / "spool"
    program = (
        "import sys\n"
        "from firmware_bridge.spool import Spool\n"
        "spool = Spool.open(sys.argv[1])\n"
        "for n in range(1, 10**6):\n"
        "    spool.put([(n.to_bytes(32, 'big'), b'x' * 50)])\n"
        "    print(n, flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    try:
        assert child.stdout is not None
        last = 0
        while last < 50:
            last = int(child.stdout.readline())
    finally:
        child.kill()
        rest = child.stdout.read().split() if child.stdout else []
        child.wait()
    last = max([last, *map(int, rest)])
    with Spool.open(path) as spool:
        found = [int.from_bytes(entry.id, "big") for entry in spool.peek(10**6, 10**9)]
    assert found[:last] == list(range(1, last + 1)) and len(found) <= last + 1
