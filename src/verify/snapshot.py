"""Snapshots of the state, so that a start replays only what came after.

A snapshot holds tracks and time slots, so it is sealed under a key of its own in the key store;
erasing a device destroys the keys of all snapshots before it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2

from depin_id import cbor
from depin_id.durable import replace_file
from depin_id.enrolment import Enrolment
from depin_id.errors import DepinError
from depin_id.keys import PublicKey
from verify.checks.location import Spot
from verify.checks.quota import Bucket
from verify.fold import Fold
from verify.registry import Device, KeyPeriod
from verify.store import Journal, KeyStore

VERSION = 3
_MONTH = 197001
"""Snapshots' keys live under a month in which no device ever sent."""
_NAME = re.compile(r"state-([0-9]{12})-([0-9a-f]{32})\.snapshot")
_MAGIC = b"depin-snapshot/1\n"


def _device(device: Device) -> list[Any]:
    keys = [[p.key.cose_key, p.since, p.until, p.suspended_at] for p in device.keys]
    enrolment = device.enrolment.to_list()
    return [enrolment, device.subject, keys, device.revoked_at, device.erased]


def _newest_leaf(journal: Journal, size: int) -> bytes:
    """Which history it is: another one of the same length ends in another leaf."""
    return hashlib.sha256(journal.entry(size - 1).leaf if size else b"").digest()


def _encode(fold: Fold, newest: bytes) -> bytes:
    state = fold.state
    subjects = [
        [
            subject.did,
            subject.ref,
            [[name, [list(pair) for pair in ranges]] for name, ranges in subject.series.items()],
            None if subject.track is None else [list(spot) for spot in subject.track],
            [[key, [list(pair) for pair in kept]] for key, kept in subject.carried.items()],
            subject.erased,
        ]
        for subject in state.subjects
    ]
    return cbor.encode_plain(
        [
            VERSION,
            newest,
            fold.size,
            fold.last_received_at,
            fold.card_bytes,
            fold.asserted_time,
            fold.policy.encoded,
            [profile.to_list() for profile in fold.profiles.values()],
            [_device(device) for device in fold.registry],
            subjects,
            [[who, *bucket] for who, bucket in state.owners.items()],
            [[who, count] for who, count in state.children.items()],
            [state.windowed, [[window, *held] for window, held in state.windows.items()]],
            [[size, *beacon] for size, beacon in state.beacons.items()],
            [state.sighted, [[*seen, *kept] for seen, kept in state.sightings.items()]],
            [[thumbprint, subject] for thumbprint, subject in state.streams.keys()],
            state.streams.rows(),
            [
                list(map(list, fold.tally.verdicts.items())),
                list(map(list, fold.tally.counted.items())),
                fold.tally.readings,
                fold.tally.sightings,
            ],
        ]
    )


def _decode(data: bytes, newest: bytes) -> Fold:
    (
        version,
        leaf,
        size,
        last,
        card,
        asserted,
        policy,
        profiles,
        devices,
        subjects,
        owners,
        children,
        windows,
        beacons,
        sightings,
        streams,
        rows,
        tally,
    ) = cbor2.loads(data)
    if version != VERSION:
        raise ValueError("unknown version")
    if leaf != newest:
        raise ValueError("of another history")
    fold = Fold()
    fold.restore_settings(card, asserted, policy, profiles)
    for did, ref, series, track, carried, erased in subjects:
        subject = fold.state.subjects[fold.state.add_subject(did, ref)]
        subject.series = {name: tuple(tuple(p) for p in pairs) for name, pairs in series}
        subject.track = None if track is None else tuple(Spot(*spot) for spot in track)
        subject.carried = {key: tuple(tuple(p) for p in kept) for key, kept in carried}
        subject.erased = erased
    for item in devices:
        _restore_device(fold, item)
    state = fold.state
    state.owners = {who: Bucket(tokens, at) for who, tokens, at in owners}
    state.children = dict(children)
    state.windowed, known = windows
    state.windows = {window: (holder, at) for window, holder, at in known}
    state.beacons = {number: (at, root) for number, at, root in beacons}
    state.sighted, kept = sightings
    state.sightings = {(gateway, item): (holder, at) for gateway, item, holder, at in kept}
    state.streams.restore([(thumbprint, index) for thumbprint, index in streams], rows)
    fold.tally.verdicts, fold.tally.counted = dict(tally[0]), dict(tally[1])
    fold.tally.readings, fold.tally.sightings = tally[2], tally[3]
    fold.size, fold.last_received_at = size, last
    return fold


def _restore_device(fold: Fold, item: list[Any]) -> None:
    enrolment, subject, keys, revoked_at, erased = item
    periods = [
        KeyPeriod(PublicKey.from_cose_key(key), since, until, suspended)
        for key, since, until, suspended in keys
    ]
    fold.registry.restore(
        Device(Enrolment.from_list(enrolment), subject, periods, revoked_at, erased)
    )


def _snapshots(directory: Path) -> list[tuple[int, bytes, Path]]:
    found = []
    for path in directory.glob("*.snapshot"):
        match = _NAME.fullmatch(path.name)
        if match is not None:
            found.append((int(match[1]), bytes.fromhex(match[2]), path))
    return sorted(found, reverse=True)


def save(
    fold: Fold,
    directory: Path,
    keys: KeyStore,
    journal: Journal,
    *,
    randomness: Callable[[int], bytes] = os.urandom,
) -> Path:
    """Write a snapshot durably and drop all older ones together with their keys."""
    directory.mkdir(mode=0o700, exist_ok=True)
    older = _snapshots(directory)
    ref = randomness(16)
    keys.ensure([(ref, _MONTH)])
    sealed = keys.get(ref, _MONTH).seal(fold.size, _encode(fold, _newest_leaf(journal, fold.size)))
    path = directory / f"state-{fold.size:012d}-{ref.hex()}.snapshot"
    replace_file(path, _MAGIC + sealed)
    for _, old_ref, old in older:
        keys.erase(old_ref)
        old.unlink(missing_ok=True)
    return path


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
            data = path.read_bytes()
            if data.startswith(_MAGIC):
                opened = keys.get(ref, _MONTH).open(size, data[len(_MAGIC) :])
                return _decode(opened, _newest_leaf(journal, size))
        except (DepinError, OSError, cbor2.CBORError, ValueError, TypeError):
            continue
    return Fold()
