"""The factory's list as it grows: one line a device, appended when the device is tested."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

from depin_id.did.key import did_key
from depin_id.durable import os_failure, sync_directory, write_all
from depin_id.enrolment import Enrolment
from depin_id.errors import ConfigError, StateError
from depin_id.factory.faults import Faults
from depin_id.factory.keytext import KeyFault, parse_key
from depin_id.factory.rows import COLUMNS, Defaults, read_rows
from depin_id.keys import PublicKey, SoftwareSigner

HEADER: Final = (
    *("serial", "key", "model", "hardware_revision", "key_protection"),
    *("profile", "name", "owner", "role", "mac"),
)
"""Columns of a file that is begun here."""
MAX_FILE: Final = 1 << 28


def _refused(code: str, what: str, hint: str = "") -> NoReturn:
    raise StateError(f"provision.{code}", what, hint=hint)


def _row(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


class FactoryLine:
    """What the factory is told of one device, beside its key; checked as the factory will.

    Args:
        serial: what is on its label.
        about: other columns of docs/identity/factory.md; empty ones may be given to the factory.

    Raises:
        ConfigError: ``provision.field``: what is wrong with it.
    """

    def __init__(self, serial: str, **about: str) -> None:
        unknown = about.keys() - set(COLUMNS) | about.keys() & {"key", "curve", "lat", "lon"}
        if unknown:
            raise ConfigError("provision.field", f"there is no column {min(unknown)[:40]!r}")
        self.fields = {"serial": serial} | {name: value for name, value in about.items() if value}
        # Before a device is touched: a serial that is refused later would be on a locked one.
        self.check(SoftwareSigner.generate().public_key)

    @property
    def serial(self) -> str:
        """Of the device."""
        return self.fields["serial"]

    def cells(self, key: PublicKey) -> dict[str, str]:
        """The line by columns."""
        return self.fields | {"key": did_key(key)}

    def check(self, key: PublicKey) -> Enrolment:
        """The enrolment that the factory will make of it. Raises ConfigError."""
        cells = self.cells(key)
        text = _row(list(cells)) + _row(list(cells.values()))
        faults = Faults()
        # Any values for all: whoever gives the list to the factory may give others.
        defaults = Defaults(model="-", hardware_revision="-", key_protection="software")
        rows = list(read_rows(io.BytesIO(text.encode()), defaults=defaults, faults=faults))
        if faults or len(rows) != 1:
            why = "; ".join(fault.message for fault in faults.listed) or "it is no single line"
            raise ConfigError("provision.field", why[:500])
        return rows[0].enrolment

    def text(self, key: PublicKey) -> str:
        """Header and line, CSV."""
        cells = self.cells(key)
        return _row(list(HEADER)) + _row([cells.get(name, "") for name in HEADER])


class FactoryFile:
    """The list as a file, which several stations may append to at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def _open(self, flags: int) -> Iterator[tuple[int, str]]:
        """The file, locked, and its text."""
        try:
            handle = os.open(self._path, flags | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:
            yield -1, ""
            return
        except OSError as error:
            raise os_failure(error, self._path) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            with open(handle, "rb", closefd=False) as file:
                data = file.read(MAX_FILE + 1)
            if len(data) > MAX_FILE:
                _refused("file", f"{self._path} is over {MAX_FILE} bytes", "begin another one")
            yield handle, data.decode("utf-8-sig")
        except UnicodeDecodeError:
            _refused("file", f"{self._path} is not UTF-8 text")
        except OSError as error:
            raise os_failure(error, self._path) from error
        finally:
            os.close(handle)

    def look(self, line: FactoryLine, key: PublicKey | None) -> None:
        """Refuse a device whose line could not be appended. ``key`` is None for a new device.

        Raises:
            StateError: ``provision.serial``, ``provision.device``, ``provision.file``.
        """
        with self._open(os.O_RDONLY) as (_, text):
            self._find(text, line, key)

    def append(self, line: FactoryLine, key: PublicKey) -> bool:
        """Append a device, durably; gives whether it was not in the file already.

        Raises: as :meth:`look`.
        """
        with self._open(os.O_RDWR | os.O_CREAT | os.O_APPEND) as (handle, text):
            columns, found = self._find(text, line, key)
            if found:
                return False
            cells = line.cells(key)
            row = _row([cells.get(name, "") for name in columns])
            write_all(handle, ((_row(columns) if not text else "") + row).encode())
            os.fsync(handle)
        sync_directory(self._path.parent)
        return True

    def _find(self, text: str, line: FactoryLine, key: PublicKey | None) -> tuple[list[str], bool]:
        """The file's columns, and whether exactly this device is in it."""
        if not text:
            return list(HEADER), False
        if not text.endswith("\n"):
            _refused(
                "file",
                f"the last line of {self._path} has no end",
                "a power cut may have cut it off: complete or remove it",
            )
        rows = csv.reader(text.splitlines())
        columns = [name.strip().lower() for name in next(rows)]
        unknown = sorted(set(columns) - set(COLUMNS) | {"serial", "key"} - set(columns))
        lacking = sorted(line.fields.keys() - set(columns))
        if unknown or lacking:
            what = f"does not know {unknown[0]!r}" if unknown else f"has no column {lacking[0]!r}"
            _refused("file", f"the header of {self._path} {what}", "use another file")
        at, key_at = columns.index("serial"), columns.index("key")
        mine = None if key is None else did_key(key)
        for cells in rows:
            if len(cells) != len(columns):
                continue
            same = cells[at].strip().lower() == line.serial.lower()
            if same and (key is None or not self._is(cells[key_at], cells, columns, key)):
                _refused("serial", f"{line.serial} is another device's in {self._path}")
            if same:
                return columns, True
            if mine is not None and cells[key_at] == mine:
                _refused("device", f"this device is in {self._path} already, as {cells[at][:64]}")
        return columns, False

    @staticmethod
    def _is(text: str, cells: list[str], columns: list[str], key: PublicKey) -> bool:
        curve = cells[columns.index("curve")] if "curve" in columns else ""
        try:
            return parse_key(text.strip(), curve.strip()) == key
        except KeyFault:
            return False
