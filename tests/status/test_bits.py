"""Packing and decompression: figures of the standards, and what is refused."""

from __future__ import annotations

import base64
import gzip as python_gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.credentials.status import StatusList, decode_list, encode_list
from depin_id.credentials.status.bits import Order, deflate, gunzip, gzip, inflate, pack
from depin_id.errors import CredentialError


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def refused(code: str, action: object) -> None:
    with pytest.raises(CredentialError) as caught:
        action()  # type: ignore[operator]
    assert caught.value.code == code


def test_example_of_one_bit() -> None:
    """draft-ietf-oauth-status-list-21, sections 4.1 and 4.2."""
    statuses = [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]
    packed = inflate(unpadded("eNrbuRgAAhcBXQ"))
    assert packed == bytes((0xB9, 0xA3))
    assert list(StatusList(packed, 1, "right").table) == statuses
    assert pack(bytes(statuses), 1, "right") == packed
    assert deflate(packed) == unpadded("eNrbuRgAAhcBXQ")


def test_example_of_two_bits() -> None:
    """draft-ietf-oauth-status-list-21, sections 4.1 and 4.2."""
    statuses = [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]
    packed = inflate(unpadded("eNo76fITAAPfAgc"))
    assert packed == bytes((0xC9, 0x44, 0xF9))
    assert list(StatusList(packed, 2, "right").table) == statuses
    assert pack(bytes(statuses), 2, "right") == packed
    assert deflate(packed) == unpadded("eNo76fITAAPfAgc")


def test_example_of_a_million_entries() -> None:
    """draft-ietf-oauth-status-list-21, appendix C.1: 2^20 entries of one bit."""
    lst = (
        "eNrt3AENwCAMAEGogklACtKQPg9LugC9k_ACvreiogE"
        "AAKkeCQAAAAAAAAAAAAAAAAAAAIBylgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        "AAAAAAAAAAAAAAAAAAAXG9IAAAAAAAAAPwsJAAAAAAAAAAAAAAAvhsSAAAAAAAAAAA"
        "A7KpLAAAAAAAAAAAAAAAAAAAAAJsLCQAAAAAAAAAAADjelAAAAAAAAAAAKjDMAQAAA"
        "ACAZC8L2AEb"
    )
    at = (0, 1993, 25460, 159495, 495669, 554353, 645645, 723232, 854545, 934534, 1000345)
    entries = StatusList(inflate(unpadded(lst)), 1, "right")
    assert len(entries) == 1 << 20
    assert [index for index, value in enumerate(entries.table) if value] == list(at)


def test_example_of_a_million_entries_of_two_bits() -> None:
    """draft-ietf-oauth-status-list-21, appendix C.2: 2^20 entries of two bits.

    Beginning and end of the published text; the end holds the Adler-32 of all of the list.
    """
    statuses = {0: 1, 1993: 2, 25460: 1, 159495: 3, 495669: 1, 554353: 1, 645645: 2, 723232: 1}
    statuses |= {854545: 1, 934534: 2, 1000345: 3}
    table = bytes(statuses.get(index, 0) for index in range(1 << 20))
    packed = pack(table, 2, "right")
    text = base64.urlsafe_b64encode(deflate(packed)).decode().rstrip("=")
    assert text.startswith("eNrt2zENACEQAEEuoaBABP5VIO01fCjIHTMStt9ovGVIAAAAAABAbiEBAAA")
    assert text.endswith("EBqH81gAQw")
    assert StatusList(inflate(unpadded(text)), 2, "right").table == table


def test_example_of_an_empty_bitstring() -> None:
    """Bitstring Status List 1.0, section 2.2, example 3: 131,072 entries of 0, byte by byte."""
    text = "uH4sIAAAAAAAAA-3BMQEAAADCoPVPbQwfoAAAAAAAAAAAAAAAAAAAAIC3AYbSVKsAQAAA"
    assert decode_list(text) == bytes(16_384)
    assert encode_list(bytes(16_384)) == text


def test_the_first_index_is_the_left_most_bit() -> None:
    """Bitstring Status List 1.0, section 3.3: index 0 is the left-most bit."""
    assert pack(b"\x01" + bytes(15), 1, "left") == b"\x80\x00"
    assert pack(bytes(15) + b"\x01", 1, "left") == b"\x00\x01"
    assert pack(b"\x01\x02\x03\x00", 2, "left") == bytes((0b01101100,))


@given(st.data(), st.sampled_from(((1, "right"), (2, "right"), (4, "right"), (8, "right"))))
def test_any_list_comes_back_right(data: st.DataObject, form: tuple[int, Order]) -> None:
    check_round_trip(data, *form)


@given(st.data(), st.integers(1, 8))
def test_any_list_comes_back_left(data: st.DataObject, size: int) -> None:
    check_round_trip(data, size, "left")


def check_round_trip(data: st.DataObject, size: int, order: Order) -> None:
    table = bytes(data.draw(st.lists(st.integers(0, (1 << size) - 1), max_size=70)))
    entries = StatusList(pack(table, size, order), size, order)
    assert entries.table[: len(table)] == table
    assert not any(entries.table[len(table) :])
    for index, value in enumerate(table):
        assert entries[index] == value
    assert entries.statuses(range(len(table))) == table
    assert entries.statuses(iter(range(len(table)))) == table


@pytest.mark.parametrize("index", [-1, 16, 1 << 70])
def test_there_is_nothing_outside(index: int) -> None:
    entries = StatusList(b"\xff\xff")
    refused("status.index", lambda: entries[index])
    refused("status.index", lambda: entries.statuses([0, index]))


@pytest.mark.parametrize("size", [0, 9, -1, True, 1.0, None])
def test_sizes_that_are_not(size: int) -> None:
    refused("status.malformed", lambda: StatusList(b"\x00", size))


def test_a_status_that_does_not_fit() -> None:
    refused("status.malformed", lambda: pack(b"\x02", 1, "left"))


@pytest.mark.parametrize(("shrink", "grow"), [(gzip, gunzip), (deflate, inflate)])
def test_a_bomb_is_left_alone(shrink: object, grow: object) -> None:
    bomb = shrink(bytes(1 << 24))  # type: ignore[operator]
    assert len(bomb) < 1 << 15
    refused("status.too_large", lambda: grow(bomb))  # type: ignore[operator]
    assert grow(bomb, max_bytes=1 << 24) == bytes(1 << 24)  # type: ignore[operator]
    refused("status.too_large", lambda: grow(bytes((1 << 21) + 1)))  # type: ignore[operator]


def test_a_bomb_in_a_bomb_stays_shut() -> None:
    """Only one layer is opened: what is inside is a list, whatever it looks like."""
    inner = gzip(bytes(1 << 20))
    assert gunzip(gzip(inner)) == inner


@pytest.mark.parametrize(
    "data",
    [b"", b"no", gzip(b"cut")[:-1], gzip(b"two") + gzip(b"two"), zlib.compress(b"other")],
)
def test_what_is_no_gzip(data: bytes) -> None:
    refused("status.malformed", lambda: gunzip(data))


def test_gzip_of_others_is_read() -> None:
    assert gunzip(python_gzip.compress(b"list", mtime=7)) == b"list"


@pytest.mark.parametrize("text", [None, "", "z1", "uA", "u===", "u AA", "u\u00e9", "uAAAA"])
def test_what_is_no_encoded_list(text: object) -> None:
    refused("status.malformed", lambda: decode_list(text))
