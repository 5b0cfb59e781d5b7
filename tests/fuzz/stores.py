"""Targets: files that a program finds again, whatever happened to them meanwhile."""

from __future__ import annotations

import struct
from pathlib import Path

from depin_id import cbor
from depin_id.device_file import DEVICE_FILE, read_enrolment
from depin_id.durable import read_file
from depin_id.errors import DepinError
from depin_id.keyfile import read_key, write_key
from depin_id.netstate import NETWORKS_FILE, NetworkStates
from depin_id.position import HEADS_FILE, POSITION_FILE, RESUME_FILE, PositionStore
from firmware_bridge.spool import Spool
from tests.fuzz.material import MATERIAL
from tests.fuzz.target import target
from tests.fuzz.texts import FOLDER
from tests.fuzz.wire import DEVICE, KEY, NETWORK
from verify.store import Journal

_EDIT = struct.Struct(">HH")


def _patched(base: bytes, edits: bytes) -> bytes:
    """A file with bytes changed: each edit is where (in 65536ths, two steps of two bytes) and what.

    The last byte of the input decides whether the end is cut off.
    """
    data = bytearray(base)
    for start in range(0, len(edits) - 4, 5):
        coarse, fine = _EDIT.unpack_from(edits, start)
        data[(coarse * len(data) // 65536 + fine) % len(data)] = edits[start + 4]
    if edits and edits[-1] > 200:
        del data[len(data) * (256 - edits[-1]) // 56 :]
    return bytes(data)


def _fresh(name: str) -> Path:
    folder = FOLDER / name
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    return folder


def take_journal(edits: bytes) -> None:
    """A damaged journal: noticed, or read as it was; never another error."""
    folder = _fresh("journal")
    (folder / "journal-000001.db").write_bytes(_patched(MATERIAL.journal, edits))
    with Journal.open(folder, read_only=True) as journal:
        for entry in journal.entries():
            assert isinstance(entry.leaf, bytes)
        journal.position(0, 1, 0)
        journal.verify()


def take_spool(edits: bytes) -> None:
    """A damaged spool."""
    folder = _fresh("spool")
    (folder / "spool.db").write_bytes(_patched(MATERIAL.spool, edits))
    with Spool.open(folder / "spool.db") as spool:
        spool.put([(bytes(range(32)), bytes(100))])
        for held in spool.peek():
            assert isinstance(held.data, bytes)
        spool.release([bytes(range(32))])


def take_key_file(data: bytes) -> None:
    """A key file of mode 0600, and a device's description."""
    folder = _fresh("key")
    for name in ("a.key", DEVICE_FILE):
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o600)
    for read in (lambda: read_key(folder / "a.key"), lambda: read_enrolment(folder)):
        try:
            read()
        except DepinError as error:
            assert error.code


def take_device(data: bytes) -> None:
    """The files of a device's directory: a damaged one is refused or set aside, never fatal."""
    folder = _fresh("device")
    kind, body = (data[0] if data else 0), data[1:]
    PositionStore.create(folder, KEY.thumbprint)
    names = (POSITION_FILE, HEADS_FILE, RESUME_FILE, NETWORKS_FILE)
    name = names[kind % len(names)]
    if name == POSITION_FILE:
        body = _patched(read_file(folder / POSITION_FILE) or b"", body)
    (folder / name).write_bytes(body)
    (folder / name).chmod(0o600)
    NetworkStates(folder).get(NETWORK.did)
    store = PositionStore(folder, KEY.thumbprint)
    with store.take(NETWORK.did, None) as position:
        position.used(b"message")


def _key_file() -> bytes:
    path = _fresh("seed") / "a.key"
    write_key(path, DEVICE.signer)
    return path.read_bytes()


_HEADS = cbor.encode({"a": 1})
target("journal", take_journal, [b"", bytes(5), bytes(range(100, 120)), b"\xff"])
target("spool", take_spool, [b"", bytes(5), bytes(range(100, 120)), b"\xff"])
target("key-file", take_key_file, [_key_file(), cbor.encode(DEVICE.enrolment.to_list())])
target(
    "device",
    take_device,
    [b"\x00", b"\x00" + bytes(10), b"\x01" + _HEADS, b"\x02" + cbor.encode([{}, []]), b"\x03\xa0"],
)
