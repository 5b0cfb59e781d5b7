"""What is written piece by piece is what the general encoder writes, and reads back."""

from __future__ import annotations

from typing import Any

import cbor2
from hypothesis import given
from hypothesis import strategies as st

from depin_id import cbor
from verify.checks.clock import Anchor
from verify.checks.location import Spot
from verify.checks.quota import Bucket
from verify.entries import (
    Judged,
    decode_delta,
    encode_judged,
)
from verify.entry_private import decode_private, encode_private
from verify.leaf import EnvelopeLeaf, parse_leaf
from verify.state import Mark
from verify.world import Change

UINT = st.integers(0, 2**32 - 1) | st.sampled_from([0, 23, 24, 255, 256, 1023, 1024, 65536])
TIME = st.integers(-(2**50), 2**50)
TEXT = st.text(max_size=30)
DIGEST = st.binary(min_size=32, max_size=32)
HALF = st.binary(min_size=16, max_size=16)
RANGES = st.lists(st.tuples(TIME, TIME), max_size=4).map(tuple)
KEPT = st.lists(st.tuples(TIME, st.binary(max_size=40)), max_size=3).map(tuple)


def canonical(data: bytes) -> bool:
    return cbor.encode(cbor2.loads(data), max_depth=16) == data


@st.composite
def changes(draw: st.DrawFn) -> Change:
    spots = st.lists(st.builds(Spot, *[TIME] * len(Spot._fields)), max_size=3).map(tuple)
    return Change(
        thumbprint=draw(DIGEST),
        subject_did=draw(TEXT),
        parent=draw(TEXT),
        subject=draw(st.none() | UINT),
        stream=draw(st.none() | UINT),
        epoch=draw(UINT),
        n=draw(UINT),
        id=draw(DIGEST),
        prev=draw(HALF),
        consumes=draw(st.booleans()),
        mark=draw(st.none() | st.builds(Mark, UINT, UINT, st.integers(0, 2**64 - 1), HALF)),
        bucket=draw(st.none() | st.builds(Bucket, TIME, TIME)),
        owner=draw(st.none() | st.tuples(TEXT, st.builds(Bucket, TIME, TIME))),
        anchor=draw(st.none() | st.builds(Anchor, UINT, st.none() | TIME, TIME)),
        suspend=draw(st.booleans()),
        series=draw(st.dictionaries(TEXT, RANGES, max_size=3)),
        track=draw(st.none() | spots),
        windows=draw(st.lists(HALF, max_size=3).map(tuple)),
        carried=draw(st.dictionaries(TEXT, KEPT, max_size=3)),
        sighted=draw(st.none() | st.tuples(UINT, HALF)),
    )


@given(changes(), st.data())
def test_deltas(change: Change, draw: st.DataObject) -> None:
    ref = None if change.subject is not None else draw.draw(HALF)
    verdict = [draw.draw(TEXT), draw.draw(TEXT), draw.draw(st.integers(0, 100))]
    verdict += [draw.draw(TEXT) for _ in range(3)]
    counts: list[Any] = [draw.draw(UINT), draw.draw(st.booleans()), draw.draw(st.booleans())]
    flags = draw.draw(st.lists(TEXT, max_size=2).map(tuple))
    sealed_by = draw.draw(st.lists(UINT, min_size=1, max_size=2).map(tuple))
    fields: list[Any] = [change, *verdict, *counts, draw.draw(UINT), flags, sealed_by, ref]
    entry = Judged(*fields)
    data = encode_judged(entry)
    assert canonical(data)
    read = decode_delta(data, None, lambda subject: change.subject_did)
    assert isinstance(read, Judged)
    assert encode_judged(read) == data
    assert read[1:] == entry[1:]
    again = read.change
    assert (again.mark, again.bucket, again.owner) == (change.mark, change.bucket, change.owner)
    assert (again.anchor, again.id, again.n) == (change.anchor, change.id, change.n)


@given(changes(), st.binary(max_size=300), st.none() | st.binary(max_size=300), st.data())
def test_private_parts(
    change: Change, envelope: bytes, records: bytes | None, draw: st.DataObject
) -> None:
    reasons = draw.draw(st.dictionaries(UINT, st.tuples(TEXT, TEXT), max_size=3))
    data = encode_private(change, envelope, records, reasons)
    assert canonical(data)
    read = decode_private(data)
    assert (read.envelope, read.records, read.reasons) == (envelope, records, reasons)
    assert (read.series, read.track) == (change.series, change.track)
    assert (read.windows, read.carried) == (change.windows, change.carried)
    assert read.sighted == change.sighted


@given(
    st.builds(
        EnvelopeLeaf,
        HALF,
        UINT,
        UINT,
        DIGEST,
        st.none() | DIGEST,
        st.text("abcdef._", min_size=1, max_size=60),
        st.lists(st.text("abc._", min_size=1, max_size=30), max_size=4, unique=True).map(
            lambda flags: tuple(sorted(flags))
        ),
        st.sampled_from(["", "D1", "G0"]),
        st.integers(0, 2**50),
        HALF,
        st.integers(0, 2**40),
    )
)
def test_leaves(leaf: EnvelopeLeaf) -> None:
    data = leaf.encode()
    assert canonical(data)
    assert parse_leaf(data) == leaf
