"""The file that says who the device in a directory is; it holds nothing secret."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from depin_id import cbor
from depin_id.durable import create_file, read_file
from depin_id.enrolment import Enrolment
from depin_id.errors import DepinError, StateError

DEVICE_FILE: Final = "device.cbor"


def write_enrolment(path: Path, enrolment: Enrolment) -> None:
    """Write it durably into a device's directory. Raises StateError when there is one."""
    create_file(path / DEVICE_FILE, cbor.encode(enrolment.to_list()))


def read_enrolment(path: Path) -> Enrolment:
    """Who the device in a directory is, without opening it.

    Raises:
        StateError: ``state.missing``, ``state.incomplete``, ``state.damaged``, ``state.io``.
    """
    data = read_file(path / DEVICE_FILE, max_bytes=4096)
    if data is None:
        raise StateError(
            "state.incomplete",
            f"{path} holds no device",
            hint="make one with `depin-id device new`, in an empty directory",
        )
    try:
        return Enrolment.from_list(cbor.decode(data))
    except DepinError as error:
        raise StateError(
            "state.damaged",
            f"{path / DEVICE_FILE} is damaged: {error.message}",
            hint="restore the file from a backup; it holds nothing secret",
        ) from error
