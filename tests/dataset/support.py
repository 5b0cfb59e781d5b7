"""A small network's log and dataset, the same bytes in every run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from nacl.signing import SigningKey

from depin_id.errors import DatasetError
from depin_id.senml import Decimal64
from verify.dataset import Dataset, OpenEntry
from verify.leaf import AdminLeaf, EnvelopeLeaf, RecordRow, RecordsContent, commitment
from verify.log import NoteKey, TileLog, sign_checkpoint

ORIGIN = "log.example/dataset"
SIGNING_KEY = SigningKey(sha256(b"the key of the log of the dataset").digest())
KEY = NoteKey(ORIGIN, bytes(SIGNING_KEY.verify_key))
START = 1_760_000_000_000
VALUES: list[Decimal64 | str | bool | bytes] = [
    Decimal64(2145, -2),
    Decimal64(-7, -18),
    Decimal64(9, 18),
    Decimal64(2**63 - 1),
    Decimal64(0),
    "=1+1",
    True,
    False,
    b"\x00\xff",
    '-heißer, "Wind"\n',
]


def blob(*parts: object) -> bytes:
    return sha256(repr(parts).encode()).digest()


def content(index: int, records: int) -> RecordsContent:
    device = index % 3
    rows = tuple(
        RecordRow(
            name=f"did:example:{device}:{'temperature' if n % 2 else 'wind'}",
            unit="Cel" if n % 2 else "",
            value=VALUES[(index + n) % len(VALUES)],
            time_lo=None if n % 4 == 3 else START + index * 1000 + n,
            time_hi=START + index * 1000 + n + 5,
            lat_e7=None if device == 2 else 481_234_567 + index,
            lon_e7=None if device == 2 else -115_000_001 - n,
            code="value.out_of_range" if n % 5 == 4 else "",
            flags=("record.repeated",) if n % 3 == 2 else (),
        )
        for n in range(records)
    )
    return RecordsContent(
        f"did:example:{device}", blob("key", device), f"did:example:{device}", rows
    )


def entry(index: int, records: int = 4) -> OpenEntry:
    """Administration at 0 and every tenth, a refusal at every seventh, a closed one at every 11th.

    Every refusal that is a multiple of 3 has records (which do not count).
    """
    if index % 10 == 0:
        leaf = AdminLeaf(1, START + index * 1000, ["enrolled", index]).encode()
        return OpenEntry(index, leaf, None, None, None)
    salt, envelope = blob("salt", index), blob("envelope", index) * (1 + index % 5)
    code = "sequence.forked" if index % 7 == 0 else "accepted"
    opens = content(index, records).encode() if code == "accepted" or index % 3 == 0 else None
    leaf = EnvelopeLeaf(
        device=blob("device", index % 3)[:16],
        epoch=1,
        n=index,
        envelope=commitment(salt, envelope),
        records=None if opens is None else commitment(salt, opens),
        code=code,
        flags=("late",) if index % 4 == 0 else (),
        level="D1" if code == "accepted" else "",
        received_at=START + index * 1000 + 10,
        policy=blob("policy")[:16],
        rules=1,
    ).encode()
    found = OpenEntry(index, leaf, salt, envelope, opens)
    return found.closed() if index % 11 == 0 else found


def entries(count: int, start: int = 0) -> list[OpenEntry]:
    return [entry(index) for index in range(start, count)]


def sign(message: bytes) -> bytes:
    return SIGNING_KEY.sign(message).signature


def publish_log(public: Path, leaves: Sequence[bytes]) -> None:
    log = TileLog(public / "log", ORIGIN)
    log.append(leaves[log.size :])
    log.flush()
    log.publish_checkpoint(sign_checkpoint(log.checkpoint(), ORIGIN, KEY.public_key, sign))


def publish(
    public: Path, count: int, *, segment: int = 40, made: list[OpenEntry] | None = None
) -> Dataset:
    """A log and dataset of ``count`` entries."""
    made = entries(count) if made is None else made
    publish_log(public, [item.leaf for item in made])
    dataset = Dataset(public, segment_entries=segment)
    dataset.flush(made, count)
    return dataset


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def refuses(code: str, call: Callable[[], object]) -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        call()
    assert caught.value.code == code, caught.value
    return caught.value


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    """Write a table again with a change; the metadata of its schema stays."""
    table = pq.ParquetFile(path).read()
    changed = change(table)
    pq.write_table(changed.cast(table.schema), path, compression="zstd", store_schema=True)


def with_cell(table: Any, row: int, name: str, cell: Any) -> Any:
    """The table with another cell."""
    field = table.schema.field(name)
    column = table.column(name)
    if pa.types.is_timestamp(field.type):
        column = column.cast(pa.int64())
    cells = column.to_pylist()
    cells[row] = cell
    place = table.schema.get_field_index(name)
    return table.set_column(place, field, pa.array(cells, type=field.type))
