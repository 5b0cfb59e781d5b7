"""Rows in columns behave like objects in dictionaries, also after a snapshot."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify import subjects
from verify.checks.clock import Anchor
from verify.checks.location import Spot
from verify.checks.quota import Bucket
from verify.dense import HashIndex, Texts
from verify.streams import Mark, Streams
from verify.subjects import Named, Referred, Subjects


def _copied(columns: Any) -> dict[str, Any]:
    """Columns as a snapshot gives them back."""
    return {name: bytearray(column) for name, column in columns.items()}


# --- the index --------------------------------------------------------------------------------


@given(
    keys=st.lists(st.integers(0, 300), max_size=200),
    asked=st.lists(st.integers(0, 400), max_size=40),
    fill_at=st.integers(0, 200),
)
def test_an_index_finds_every_row_of_a_key_in_order(
    keys: Sequence[int], asked: Sequence[int], fill_at: int
) -> None:
    index, model = HashIndex(), dict[bytes, list[int]]()
    for row, number in enumerate(keys):
        if row == fill_at:
            index.fill(b"%d" % key for key in keys[:row])
        key = b"%d" % number
        index.add(key, row)
        model.setdefault(key, []).append(row)
    for number in (*keys, *asked):
        key = b"%d" % number
        assert [row for row in index.rows(key) if keys[row] == number] == model.get(key, [])


class _Colliding(bytes):
    """A key whose hash is chosen: a real one cannot be."""

    def __hash__(self) -> int:
        return self[0]


@pytest.mark.parametrize("how", ["add", "fill"])
@pytest.mark.parametrize("place", [0, 5, 63, 127, 255])
def test_rows_whose_hashes_collide_are_all_candidates(place: int, how: str) -> None:
    """At every place of the table, its end too, where what does not fit goes to the beginning."""
    index = HashIndex()
    names = [_Colliding([place, number]) for number in range(100)]
    others = [_Colliding([number % 256, 1]) for number in range(place + 1, place + 30)]
    if how == "fill":
        index.fill([*names, *others])
    else:
        for row, name in enumerate([*names, *others]):
            index.add(name, row)
    assert index.rows(names[0])[:100] == tuple(range(100))
    for row, other in enumerate(others, 100):
        assert row in index.rows(other)
    assert index.rows(_Colliding([(place + 40) % 256])) == ()


def test_an_index_of_many_rows_is_the_same_grown_or_filled() -> None:
    names = [hashlib.sha256(b"%d" % number).digest() for number in range(3000)]
    grown, filled = HashIndex(), HashIndex()
    for row, name in enumerate(names):
        grown.add(name, row)
    filled.fill(names)
    for index in (grown, filled):
        assert all(row in index.rows(name) for row, name in enumerate(names))
        assert not any(index.rows(name[:8]) for name in names[:200])


def test_what_is_wiped_is_nowhere_and_its_neighbours_stay() -> None:
    texts = Texts()
    for text in (b"one", b"", b"secret", b"three"):
        texts.append(text)
    texts.wipe(2)
    assert list(texts) == [b"one", b"", bytes(6), b"three"]
    data, ends = texts.columns()
    assert b"secret" not in data
    again = Texts()
    again.restore(bytes(data), ends.tobytes())
    assert [again[row] for row in range(4)] == list(texts)
    for wrong in (data[:-1], data + b"x"):
        with pytest.raises(ValueError, match="end elsewhere"):
            again.restore(bytes(wrong), ends.tobytes())


# --- streams ----------------------------------------------------------------------------------

_THUMBPRINTS = [bytes([number] * 32) for number in range(4)]


@given(
    ops=st.lists(
        st.tuples(
            st.integers(0, 3), st.integers(0, 5), st.integers(0, 3), st.integers(0, (1 << 62) - 1)
        ),
        max_size=40,
    ),
    again=st.sets(st.integers(0, 40), max_size=3),
)
def test_streams_are_what_a_dictionary_would_be(
    ops: Sequence[tuple[int, int, int, int]], again: set[int]
) -> None:
    streams, model = Streams(), dict[tuple[bytes, int], list[Any]]()
    for at, (thumb, subject, kind, value) in enumerate(ops):
        key = (_THUMBPRINTS[thumb], subject)
        stream = streams.find(*key)
        assert (stream is None) == (key not in model)
        if stream is None:
            stream = streams.add(*key)
            model[key] = [None, None, None]
        if kind == 0:
            mark = Mark(value % (1 << 32), value, value * 4 + 3, value.to_bytes(16, "big"))
            streams.set_mark(stream, mark)
            model[key][0] = mark
        elif kind == 1:
            anchor = Anchor(value, None if value % 2 else -value, value // 2)
            streams.set_anchor(stream, anchor)
            model[key][1] = anchor
        elif kind == 2:
            bucket = Bucket(value, value // 3)
            streams.set_bucket(stream, bucket)
            model[key][2] = bucket
        if at in again:
            held, rows = _copied(streams.columns()), streams.rows()
            streams = Streams()
            streams.restore(held)
            assert streams.rows() == rows
    assert (streams.keys(), len(streams)) == (list(model), len(model))
    for number, ((thumbprint, subject), found) in enumerate(model.items()):
        assert streams.find(thumbprint, subject) == number
        assert [streams.mark(number), streams.anchor(number), streams.bucket(number)] == found
    for thumb, thumbprint in enumerate(_THUMBPRINTS):
        under = [number for number, key in enumerate(model) if key[0] == thumbprint]
        assert streams.under(thumbprint) == under
        of = [number for number, key in enumerate(model) if key[1] == thumb]
        assert streams.of(thumb) == of
    assert streams.find(_THUMBPRINTS[0], 1000) is None


# --- subjects ---------------------------------------------------------------------------------

_DID = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"
_DIDS = [_DID, f"{_DID}#a", "did:example:1", "z6Mk", "did:key:x", ""]


@given(
    ops=st.lists(
        st.tuples(
            st.sampled_from(("add", "fill", "move", "carry", "erase", "look")), st.integers(0, 7)
        ),
        max_size=40,
    ),
    again=st.sets(st.integers(0, 40), max_size=3),
)
def test_subjects_are_what_a_list_would_be(ops: Sequence[tuple[str, int]], again: set[int]) -> None:
    kept, model = Subjects(), list[subjects.Subject]()
    with pytest.MonkeyPatch.context() as patched:
        # Two are objects, all others rest as bytes.
        patched.setattr(subjects, "_RECENT", 2)
        for at, (kind, number) in enumerate(ops):
            index = number % len(model) if model else 0
            if kind == "add" or not model:
                ref = bytes([len(model)] * 16)
                did = _DIDS[number] if number < len(_DIDS) else f"did:example:x{at}"
                assert kept.add(did, ref) == len(model)
                model.append(subjects.Subject(did, ref))
            elif kind == "erase":
                kept.erase(index)
                gone = model[index]
                gone.series, gone.track, gone.carried, gone.erased = {}, None, {}, True
            elif kind == "look":
                assert kept[index] == model[index]
            else:
                for subject in (kept.change(index), model[index]):
                    _change(subject, kind, at)
            if at in again:
                held = _copied(kept.columns())
                kept = Subjects()
                kept.restore(held)
        assert list(kept) == model == kept[:]
        assert [list(s.carried) for s in kept] == [list(s.carried) for s in model]
        assert kept.erased() == [index for index, s in enumerate(model) if s.erased]
        personal = {i for i, s in enumerate(model) if s.series or s.track or s.carried}
        assert personal <= set(kept.filled())
    assert dict(Named(kept)) == {s.did: index for index, s in enumerate(model)}
    assert dict(Referred(kept)) == {s.ref: index for index, s in enumerate(model)}
    owner = _DIDS[0]
    wanted = [i for i, s in enumerate(model) if s.did == owner or s.did.startswith(owner + "#")]
    assert kept.of_device(owner) == wanted
    assert (kept.with_did("did:nobody"), kept.with_ref(b"\xff" * 16)) == (None, None)


def _change(subject: subjects.Subject, kind: str, at: int) -> None:
    if kind == "fill":
        subject.fill({f"n{at % 3}": ((at, at + 1),)})
    elif kind == "move":
        subject.track = (*(subject.track or ()), Spot(at, -at, at, at))
    else:
        subject.carry({f"k{at % 3}": ((at, bytes(13)),)})
