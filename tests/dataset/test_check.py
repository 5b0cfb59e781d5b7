"""The audit: every cell, row and file that is not what the log says is found and named."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import h3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from depin_id.errors import DatasetError, DepinError, LogError
from depin_id.keys import SoftwareSigner, admit
from depin_id.network import NetworkCard, network_did, sign_card
from tests.dataset.support import (
    KEY,
    ORIGIN,
    START,
    entries,
    publish,
    publish_log,
    refuses,
    rewrite,
    snapshot,
    with_cell,
)
from verify.dataset import verify_dataset
from verify.dataset.schema import ENTRY_SCHEMA, READING_SCHEMA
from verify.log import NoteKey

COUNT = 24
SPAN = "10-20"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    publish(folder, COUNT, segment=10)
    return folder


@pytest.fixture
def public(published: Path, tmp_path: Path) -> Path:
    shutil.copytree(published, tmp_path / "public")
    return tmp_path / "public"


def check(public: Path) -> None:
    verify_dataset(public, keys=[KEY])


def other_cells(field: Any, cell: Any) -> list[Any]:
    """Values that a cell of a column might be changed to: a near one, an empty one, none."""
    kind = field.type
    others: list[Any] = [None] if field.nullable else []
    if pa.types.is_integer(kind) or pa.types.is_timestamp(kind):
        number = int(cell.timestamp() * 1000 + 0.5) if hasattr(cell, "timestamp") else cell
        others += [(number or 0) + 1, (number or 0) - 1, 0]
    elif pa.types.is_float64(kind):
        others += [(cell or 0.0) + 1e-7, -0.0 if cell == 0 else -(cell or 1.0), float("nan")]
    elif pa.types.is_boolean(kind):
        others += [not cell]
    elif pa.types.is_list(kind):
        others += [[*(cell or []), "late2"], [], ["late", "late"]]
    elif kind == pa.string():
        others += ["", (cell or "") + "x", (cell or "X").swapcase()]
    else:
        others += [b"", (cell or b"") + b"x", bytes([(cell or b"0")[0] ^ 1]) + (cell or b"0")[1:]]
    return [other for other in others if other != cell or str(other) != str(cell)]


@pytest.mark.parametrize("name", ENTRY_SCHEMA.names)
def test_every_column_of_the_entry_table(public: Path, name: str) -> None:
    changed(public, "entries", name, {"dataset.entries", "dataset.leaf", "dataset.commitment"})


@pytest.mark.parametrize("name", READING_SCHEMA.names)
def test_every_column_of_the_reading_table(public: Path, name: str) -> None:
    changed(public, "readings", name, {"dataset.readings"})


def changed(public: Path, table: str, name: str, codes: set[str]) -> None:
    path = public / f"segments/{table}-{SPAN}.parquet"
    original = path.read_bytes()
    stored = pq.ParquetFile(path).read()
    cells = stored.column(name).to_pylist()
    kinds = {str(type(cell)): row for row, cell in enumerate(cells)}
    rewrite(path, lambda t: t)
    check(public)
    tried = 0
    for row in {0, len(cells) - 1, len(cells) // 2, *kinds.values()}:
        for other in other_cells(stored.schema.field(name), cells[row]):
            path.write_bytes(original)
            rewrite(path, partial(with_cell, row=row, name=name, cell=other))
            with pytest.raises(DatasetError) as caught:
                check(public)
            assert caught.value.code in codes, (row, other, caught.value)
            tried += 1
    assert tried >= 2


@pytest.mark.parametrize("table", ["entries", "readings"])
def test_rows_dropped_added_doubled_or_moved(public: Path, table: str) -> None:
    path = public / f"segments/{table}-{SPAN}.parquet"
    original = path.read_bytes()
    count = pq.ParquetFile(path).metadata.num_rows
    order = list(range(count))
    changes = {
        "first dropped": order[1:],
        "last dropped": order[:-1],
        "middle dropped": order[:4] + order[5:],
        "none left": [],
        "doubled": order[:3] + order[2:],
        "one more": [*order, 0],
        "moved": [*order[:3], order[4], order[3], *order[5:]],
        "turned": order[::-1],
    }
    for what, rows in changes.items():
        path.write_bytes(original)
        rewrite(path, partial(pa.Table.take, indices=pa.array(rows, pa.int64())))
        with pytest.raises(DatasetError) as caught:
            check(public)
        assert caught.value.code in {
            f"dataset.{table}",
            "dataset.leaf",
            "dataset.corrupt",
        }, (what, caught.value)


def test_a_number_that_is_not_exact(public: Path) -> None:
    """A mantissa and exponent that mean the same double are found, too."""
    path = public / f"segments/readings-{SPAN}.parquet"
    row = pq.ParquetFile(path).read().column("mantissa").to_pylist().index(2145)

    def change(table: Any) -> Any:
        return with_cell(with_cell(table, row, "mantissa", 21450), row, "exponent", -3)

    rewrite(path, change)
    error = refuses("dataset.readings", lambda: check(public))
    assert "mantissa" in error.message and f"row {row} " in error.message


def test_a_cell_on_the_border_may_be_the_other_one(public: Path) -> None:
    from verify.dataset.rows import same_cell

    cell = h3.latlng_to_cell(48.1, 11.5, 9)
    (lat, lon), (lat2, lon2) = h3.cell_to_boundary(cell)[:2]
    lat, lon = (lat + lat2) / 2, (lon + lon2) / 2
    both = {h3.latlng_to_cell(lat + a, lon + b, 9) for a in (0, 1e-9, -1e-9) for b in (-1e-9, 1e-9)}
    assert all(same_cell(other, lat, lon, 9) for other in both)
    middle = h3.cell_to_latlng(cell)
    ring = set(h3.grid_disk(cell, 1)) - {cell}
    assert same_cell(cell, middle[0], middle[1], 9)
    assert not any(same_cell(other, middle[0], middle[1], 9) for other in (*ring, None, ""))


def test_gaps_overlaps_and_strangers(public: Path, tmp_path: Path) -> None:
    segments = public / "segments"
    (segments / "readings-10-20.parquet").rename(tmp_path / "readings")
    assert "readings-10-20" in refuses("dataset.gap", lambda: check(public)).message
    (segments / "entries-10-20.parquet").rename(tmp_path / "entries")
    assert "[10, 20)" in refuses("dataset.gap", lambda: check(public)).message
    for table in ("entries", "readings"):
        shutil.copy(tmp_path / table, segments / f"{table}-10-20.parquet")
    check(public)
    for table in ("entries", "readings"):
        shutil.copy(tmp_path / table, segments / f"{table}-10-21.parquet")
    refuses("dataset.overlap", lambda: check(public))
    for table in ("entries", "readings"):
        (segments / f"{table}-10-21.parquet").rename(segments / f"{table}-24-34.parquet")
    refuses("dataset.beyond", lambda: check(public))
    for table in ("entries", "readings"):
        (segments / f"{table}-24-34.parquet").unlink()
    for name in ("readings-0-10.copy.parquet", "entries-00-10.parquet", "more.PARQUET"):
        shutil.copy(tmp_path / "readings", segments / name)
        refuses("dataset.name", lambda: check(public))
        (segments / name).unlink()
    # A segment in another's place.
    for table in ("entries", "readings"):
        shutil.copy(segments / f"{table}-0-10.parquet", segments / f"{table}-10-20.parquet")
    refuses("dataset.entries", lambda: check(public))


def test_a_dataset_that_stops_short_says_how_far(public: Path) -> None:
    publish_log(public, [item.leaf for item in entries(30)])
    report = verify_dataset(public, keys=[KEY])
    assert (report.covered, report.checkpoint.size, report.complete) == (24, 30, False)
    shutil.rmtree(public / "segments")
    report = verify_dataset(public, keys=[KEY])
    assert (report.covered, report.segments, report.complete) == (0, 0, False)


def test_the_log_comes_first(public: Path) -> None:
    for keys in ([], [NoteKey("log.example/other", KEY.public_key)]):
        with pytest.raises(LogError) as caught:
            verify_dataset(public, keys=keys)
        assert caught.value.code == "log.signature"
    bundle = next((public / "log/tile/entries/000.p").iterdir())
    data = bytearray(bundle.read_bytes())
    data[-1] ^= 1
    bundle.write_bytes(data)
    with pytest.raises(LogError):
        check(public)
    shutil.rmtree(public / "log")
    refuses("dataset.io", lambda: check(public))


def test_the_dataset_of_another_log(public: Path) -> None:
    shutil.rmtree(public / "log")
    publish_log(public, [item.leaf for item in entries(12)] + [b"\x80"] * 12)
    error = refuses("dataset.leaf", lambda: check(public))
    assert "entry 12 " in error.message


def test_the_key_of_the_card(public: Path) -> None:
    refuses("dataset.key", lambda: verify_dataset(public, keys=None))
    root = SoftwareSigner.generate("ed25519")
    card = NetworkCard(
        network=network_did(root.public_key),
        name="net",
        number=1,
        not_before=START // 1000,
        not_after=START // 1000 + 10,
        ack_keys=(root.public_key,),
        log_origin=ORIGIN,
        log_key=admit("ed25519", KEY.public_key),
    )
    (public / "card.cbor").write_bytes(sign_card(card, root))
    assert verify_dataset(public, keys=None).network == card.network
    assert verify_dataset(public, keys=None, network=card.network).readings > 0
    assert verify_dataset(public, keys=[KEY]).network is None
    with pytest.raises(DepinError) as caught:
        verify_dataset(public, keys=None, network=card.network[:-1] + "x")
    assert caught.value.code == "network.foreign"


def test_pipes_and_folders_do_not_block(public: Path) -> None:
    path = public / f"segments/readings-{SPAN}.parquet"
    path.unlink()
    os.mkfifo(path)
    refuses("dataset.corrupt", lambda: check(public))
    path.unlink()
    path.mkdir()
    refuses("dataset.corrupt", lambda: check(public))
    assert snapshot(public)
