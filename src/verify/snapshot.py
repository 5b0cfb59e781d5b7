"""Snapshots of the state, so that a start replays only what came after.

A snapshot holds tracks and time slots, so it is sealed under a key of its own in the key store;
erasing a device destroys the keys of all snapshots before it. It is the columns of the state as
they stand in memory, in sealed pieces: a million devices are read in seconds.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import cbor2

from depin_id import cbor
from depin_id.durable import replace_file
from depin_id.errors import DepinError
from verify.checks.quota import Bucket
from verify.dense import Buffer
from verify.fold import Fold
from verify.identity.state import IdentityState
from verify.store import DataKey, Journal, KeyStore

VERSION = 6
_ORDER = sys.byteorder
"""Columns are read as they lie in memory, so only on such a machine."""
_MONTH = 197001
"""Snapshots' keys live under a month in which no device ever sent."""
_NAME = re.compile(r"state-([0-9]{12})-([0-9a-f]{32})\.snapshot")
_ANY = re.compile(r"\.?state-[0-9]{12}-([0-9a-f]{32})\.snapshot(?:\.tmp)?")
_MAGIC = b"depin-snapshot/2\n"
_LENGTH: Final = struct.Struct("<Q")
_PIECE: Final = 8 << 20
"""How much of a column is sealed at once, in bytes."""
_UNREADABLE: Final = (
    *(DepinError, OSError, cbor2.CBORError, struct.error),
    *(ValueError, TypeError, LookupError),
)
_TABLES: Final = ("registry", "subjects", "streams")


def _newest_leaf(journal: Journal, size: int) -> bytes:
    """Which history it is: another one of the same length ends in another leaf."""
    return hashlib.sha256(journal.entry(size - 1).leaf if size else b"").digest()


def _tables(fold: Fold) -> tuple[Any, ...]:
    return fold.registry, fold.state.subjects, fold.state.streams


def _head(fold: Fold, newest: bytes, columns: Mapping[str, Buffer]) -> bytes:
    """Everything that is not a column, and how long each column is."""
    state, tally = fold.state, fold.tally
    return cbor.encode_plain(
        [
            VERSION,
            _ORDER,
            newest,
            fold.size,
            fold.last_received_at,
            fold.card_bytes,
            fold.asserted_time,
            fold.policy.encoded,
            [profile.to_list() for profile in fold.profiles.values()],
            [[who, *bucket] for who, bucket in state.owners.items()],
            [[who, count] for who, count in state.children.items()],
            [state.windowed, [[window, *held] for window, held in state.windows.items()]],
            [[size, *beacon] for size, beacon in state.beacons.items()],
            [state.sighted, [[*seen, *kept] for seen, kept in state.sightings.items()]],
            fold.identity.pack(),
            [
                list(map(list, tally.verdicts.items())),
                list(map(list, tally.counted.items())),
                tally.readings,
                tally.sightings,
            ],
            [[name, len(column)] for name, column in columns.items()],
        ]
    )


def _restore_head(fold: Fold, data: bytes, newest: bytes, at: int) -> list[tuple[str, int]]:
    """Take the head of a snapshot; gives name and length of each column.

    Raises:
        ValueError: it is of another version or history.
    """
    version, order, leaf, size, last, *rest = cbor2.loads(data)
    if (version, order) != (VERSION, _ORDER):
        raise ValueError("of another version or machine")
    if leaf != newest or size != at:
        raise ValueError("of another history")
    card, asserted, policy, profiles, owners, children, windows, beacons, sightings, *more = rest
    fold.identity = IdentityState.unpack(more.pop(0))
    (verdicts, counted, readings, seen), columns = more
    fold.restore_settings(card, asserted, policy, profiles)
    state = fold.state
    state.owners = {who: Bucket(tokens, since) for who, tokens, since in owners}
    state.children = dict(children)
    state.windowed, known = windows
    state.windows = {window: (holder, number) for window, holder, number in known}
    state.beacons = {number: (since, root) for number, since, root in beacons}
    state.sighted, kept = sightings
    state.sightings = {(gateway, item): (holder, n) for gateway, item, holder, n in kept}
    fold.tally.verdicts, fold.tally.counted = dict(verdicts), dict(counted)
    fold.tally.readings, fold.tally.sightings = readings, seen
    fold.size, fold.last_received_at = size, last
    return [(name, length) for name, length in columns]


def _columns(fold: Fold) -> dict[str, Buffer]:
    return {
        f"{table}.{name}": column
        for table, part in zip(_TABLES, _tables(fold), strict=True)
        for name, column in part.columns().items()
    }


def _sealed(head: bytes, columns: Mapping[str, Buffer], key: DataKey) -> Iterator[bytes]:
    """The file: pieces in order, each sealed with its number, after its length."""
    yield _MAGIC
    for number, piece in enumerate(_pieces(head, columns)):
        sealed = key.seal(number, piece)
        yield _LENGTH.pack(len(sealed))
        yield sealed


def _parts(fold: Fold, newest: bytes, key: DataKey) -> Generator[bytes]:
    columns = _columns(fold)
    try:
        yield from _sealed(_head(fold, newest, columns), columns, key)
    finally:
        _release(columns)


def _release(columns: Mapping[str, Buffer]) -> None:
    # While somebody looks at a column it cannot grow, even after the disk was full.
    for column in columns.values():
        if isinstance(column, memoryview):
            column.release()


def _pieces(head: bytes, columns: Mapping[str, Buffer]) -> Iterator[bytes]:
    yield head
    for column in columns.values():
        for start in range(0, len(column), _PIECE):
            yield bytes(column[start : start + _PIECE])


def _opened(file: BinaryIO, key: DataKey) -> Iterator[bytes]:
    """The pieces of a file. Raises StateError ``state.sealed`` for what was not written there."""
    number = 0
    while length := file.read(_LENGTH.size):
        (size,) = _LENGTH.unpack(length)
        # Never more than there is, whatever the length says.
        yield key.open(number, file.read(min(size, os.fstat(file.fileno()).st_size)))
        number += 1


def _decode(file: BinaryIO, key: DataKey, newest: bytes, size: int) -> Fold:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("no snapshot of this form")
    pieces = _opened(file, key)
    fold = Fold()
    wanted = _restore_head(fold, next(pieces, b""), newest, size)
    found: dict[str, dict[str, Buffer]] = {table: {} for table in _TABLES}
    for name, length in wanted:
        column = bytearray()
        while len(column) < length:
            piece = next(pieces, b"")
            if not piece:
                raise ValueError("a snapshot that ends early")
            column += piece
        table, _, name = name.partition(".")
        found[table][name] = column
    for table, part in zip(_TABLES, _tables(fold), strict=True):
        part.restore(found.pop(table))
    return fold


def _snapshots(directory: Path) -> list[tuple[int, bytes, Path]]:
    found = []
    for path in directory.glob("*.snapshot"):
        match = _NAME.fullmatch(path.name)
        if match is not None:
            found.append((int(match[1]), bytes.fromhex(match[2]), path))
    return sorted(found, reverse=True)


def newest(directory: Path) -> Path | None:
    """The file of the newest snapshot; None without one."""
    found = _snapshots(directory)
    return found[0][2] if found else None


def covered(directory: Path) -> int:
    """How many entries the newest snapshot holds; 0 without one."""
    found = _snapshots(directory)
    return found[0][0] if found else 0


@dataclass(frozen=True)
class Copy:
    """The state as it was at a moment, to be written beside the thread that goes on changing it.

    Attributes:
        size: entries that it holds. path: of the snapshot it becomes.
    """

    size: int
    path: Path
    head: bytes
    columns: Mapping[str, bytes]
    key: DataKey

    def write(self) -> None:
        """Write the snapshot durably. Raises StateError."""
        replace_file(self.path, _sealed(self.head, self.columns, self.key))


def weight(fold: Fold) -> int:
    """Bytes that a copy of the state takes, about."""
    columns = _columns(fold)
    try:
        return sum(memoryview(column).nbytes for column in columns.values())
    finally:
        _release(columns)


def copy(
    fold: Fold,
    directory: Path,
    keys: KeyStore,
    journal: Journal,
    *,
    randomness: Callable[[int], bytes] = os.urandom,
) -> Copy:
    """Copy the state, for :meth:`Copy.write` and then :func:`drop_older`."""
    path, key = _begin(fold, directory, keys, randomness)
    columns = _columns(fold)
    try:
        head = _head(fold, _newest_leaf(journal, fold.size), columns)
        copied = {name: bytes(column) for name, column in columns.items()}
    finally:
        _release(columns)
    return Copy(fold.size, path, head, copied, key)


def save(
    fold: Fold,
    directory: Path,
    keys: KeyStore,
    journal: Journal,
    *,
    randomness: Callable[[int], bytes] = os.urandom,
) -> Path:
    """Write a snapshot durably and drop all older ones together with their keys."""
    path, key = _begin(fold, directory, keys, randomness)
    with closing(_parts(fold, _newest_leaf(journal, fold.size), key)) as parts:
        replace_file(path, parts)
    drop_older(directory, keys, path)
    return path


def _begin(
    fold: Fold, directory: Path, keys: KeyStore, randomness: Callable[[int], bytes]
) -> tuple[Path, DataKey]:
    directory.mkdir(mode=0o700, exist_ok=True)
    ref = randomness(16)
    keys.ensure([(ref, _MONTH)])
    path = directory / f"state-{fold.size:012d}-{ref.hex()}.snapshot"
    return path, keys.get(ref, _MONTH)


def drop_older(directory: Path, keys: KeyStore, newest: Path | None) -> None:
    """Drop all other snapshots with their keys, and what a crash left half written.

    A half is sealed under a key as well: while that is there, so is what it holds of a device.
    """
    for path in directory.iterdir():
        match = _ANY.fullmatch(path.name)
        if match is not None and path != newest:
            keys.erase(bytes.fromhex(match[1]))
            path.unlink(missing_ok=True)


def load(directory: Path, keys: KeyStore, journal: Journal) -> Fold:
    """The newest snapshot that can be read and is of this journal; else an empty fold.

    After an older journal was restored there may be one that is ahead of it, or, when the journal
    has grown again, one of what is no longer its history. A snapshot is a shortcut: whatever is
    wrong with one, the journal has everything.
    """
    for size, ref, path in _snapshots(directory):
        if size > journal.size:
            continue
        try:
            key = keys.get(ref, _MONTH)
            with path.open("rb") as file:
                return _decode(file, key, _newest_leaf(journal, size), size)
        except _UNREADABLE:
            continue
    return Fold()
