"""Files of bundles: every byte once, cut at envelopes; hostile and unreadable files."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id import cbor
from depin_id.envelope import MAX_BUNDLE
from depin_id.errors import EncodingError, TransportError
from verify.ingest import Message
from verify.ingest.files import FileSource, read_offset

ITEMS = st.lists(
    st.one_of(
        st.integers(0, 1 << 40).map(cbor.encode),
        st.integers(0, 300_000 // 8).map(lambda n: cbor.encode([1, bytes(n)])),
        st.just(cbor.encode(bytes(MAX_BUNDLE - 5))),
    ),
    max_size=60,
)


def read(source: FileSource) -> list[Message]:
    return [message for batch in source.batches() for message in batch]


def sequence(data: bytes) -> list[bytes]:
    """The items of a CBOR Sequence; what cannot be split further is one."""
    found, at = [], 0
    while at < len(data):
        try:
            end = cbor.item_end(data, at)
        except EncodingError:
            end = len(data)
        found.append(data[at:end])
        at = end
    return found


def parts(messages: list[Message]) -> list[bytes]:
    return [part for message in messages for part in sequence(message.data)]


@given(
    items=ITEMS,
    batch_bytes=st.integers(1, 1 << 20),
    envelopes=st.integers(1, 50),
    at=st.integers(0),
)
def test_every_envelope_once_and_from_any_offset(
    items: list[bytes], batch_bytes: int, envelopes: int, at: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.cbor"
        path.write_bytes(b"".join(items))
        options: dict[str, Any] = {"batch_bytes": batch_bytes, "batch_envelopes": envelopes}
        source = FileSource([path], received_at=7, **options)
        batches = list(source.batches())
        messages = [message for batch in batches for message in batch]
        assert b"".join(message.data for message in messages) == path.read_bytes()
        assert parts(messages) == items
        for batch in batches:
            assert len(batch) == 1 or sum(len(m.data) for m in batch) <= batch_bytes
            assert len(parts(batch)) <= envelopes
        if messages:
            cut = at % len(messages)
            resume = {"file:a.cbor": messages[cut].offset or b""}
            rest = read(FileSource([path], received_at=7, resume=resume, **options))
            assert rest == messages[cut + 1 :]


@given(data=st.binary(max_size=300), tail=st.sampled_from([b"", bytes(3 * MAX_BUNDLE)]))
def test_any_bytes_become_bounded_messages(data: bytes, tail: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.cbor"
        path.write_bytes(data + tail)
        events: list[dict[str, object]] = []
        source = FileSource([path], received_at=7, on_event=lambda _, detail: events.append(detail))
        messages = read(source)
    joined = b"".join(message.data for message in messages)
    assert all(len(message.data) <= MAX_BUNDLE for message in messages)
    assert (data + tail).startswith(joined)
    skipped = sum(int(str(event["skipped"])) for event in events)
    assert len(joined) + skipped == len(data + tail)
    if len(data + tail) <= MAX_BUNDLE:
        assert parts(messages) == sequence(data)


@pytest.mark.parametrize(
    "bad",
    [
        b"\xff" * 400_000,
        cbor.encode(bytes(MAX_BUNDLE)),
        b"\x9b" + b"\xff" * 8 + bytes(300_000),
        b"\x5b" + b"\xff" * 8,
        b"\x81" * 400_000,
        b"\x82\x01",
    ],
)
def test_a_damaged_tail_is_one_bounded_message(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "a.cbor"
    good = [cbor.encode([n, bytes(100)]) for n in range(3000)]
    path.write_bytes(b"".join(good) + bad)
    seen: list[tuple[str, dict[str, object]]] = []
    source = FileSource([path], received_at=1, on_event=lambda *event: seen.append(event))
    messages = read(source)
    assert parts(messages[:-1]) == good
    assert messages[-1].data == bad[:MAX_BUNDLE]
    assert [kind for kind, _ in seen] == ["file.damaged"]
    assert source.damaged_bytes == len(bad)
    assert read_offset(messages[-1].offset or b"") == path.stat().st_size


def test_folders_progress_names_and_clock(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        for name in ("b.cbor", "a.cbor", "ignored.txt"):
            (folder / name).write_bytes(cbor.encode(f"{folder.name}/{name}"))
    os.mkfifo(one / "pipe.cbor")
    seen: list[tuple[int, int | None]] = []
    ticks = iter(range(100))
    source = FileSource(
        [one, two / "b.cbor", one / "b.cbor"][:2],
        received_at=lambda: next(ticks),
        progress=lambda *step: seen.append(step),
    )
    messages = read(source)
    assert [m.source for m in messages] == ["file:one/a.cbor", "file:one/b.cbor", "file:b.cbor"]
    assert source.sources == [m.principal for m in messages]
    assert [m.received_at for m in messages] == [0, 1, 2]
    total = sum(len(m.data) for m in messages)
    assert seen[0] == (0, total) and seen[-1] == (total, total)
    names = FileSource([one / "a.cbor", two / "a.cbor"], received_at=0).sources
    assert names == [f"file:{one / 'a.cbor'}", f"file:{two / 'a.cbor'}"]


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    file = tmp_path / "f.cbor"
    file.write_bytes(b"\x01")
    for paths in ([tmp_path / "missing"], [empty], [fifo], [], [file, file], ["nul\0byte"]):
        with pytest.raises(TransportError) as refused:
            FileSource(paths, received_at=0)
        assert refused.value.code == "transport.file"
        if paths:
            assert Path(paths[0]).name in str(refused.value) or paths == [file, file]
    source = FileSource([file], received_at=0)
    file.unlink()
    with pytest.raises(TransportError, match=r"f\.cbor"):
        read(source)


def test_an_offset_of_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.cbor"
    path.write_bytes(cbor.encode([1, bytes(10)]) * 3)
    offset = read(FileSource([path], received_at=0))[-1].offset or b""
    for content in (cbor.encode([2, bytes(10)]) * 3, b"\x01"):
        path.write_bytes(content)
        with pytest.raises(TransportError) as refused:
            read(FileSource([path], received_at=0, resume={"file:a.cbor": offset}))
        assert refused.value.code == "transport.offset"
    with pytest.raises(TransportError):
        read(FileSource([path], received_at=0, resume={"file:a.cbor": b"short"}))


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in"
    path.write_bytes(cbor.encode("x" * 100) * 2000)
    with path.open("rb") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        seen: list[int | None] = []
        source = FileSource(["-"], received_at=0, progress=lambda _done, total: seen.append(total))
        messages = read(source)
        assert not stream.closed
    assert b"".join(m.data for m in messages) == path.read_bytes()
    assert {m.source for m in messages} == {"file:stdin"}
    assert set(seen) == {None}
