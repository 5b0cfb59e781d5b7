"""The files of a log on disk: bounded reads, durable writes, nothing published ever changed."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from depin_id.errors import LogError
from verify.log.layout import (
    ENTRIES,
    MAX_BUNDLE_BYTES,
    TILE_BYTES,
    TILE_WIDTH,
    tile_path,
    tile_prefix,
)

_TEMPORARY = ".tmp-"


def read_bounded(path: Path, limit: int) -> bytes | None:
    """The content of a file of at most ``limit`` bytes; None when there is no such file.

    Raises:
        LogError: ``log.tile`` when it is longer, ``log.io`` when it cannot be read.
    """
    try:
        # A log that came in an archive may hold pipes and devices, which would block the reader.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise LogError("log.tile", f"{path} is not a regular file")
            with os.fdopen(handle, "rb", closefd=False) as file:
                data = file.read(limit + 1)
        finally:
            os.close(handle)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LogError("log.io", f"cannot read {path}: {error}") from error
    if len(data) > limit:
        raise LogError("log.tile", f"{path} is longer than {limit} bytes")
    return data


def stored_widths(directory: Path, level: int, index: int) -> list[int]:
    """Widths of the partial tiles stored for a tile, ascending. Other names are ignored.

    Raises:
        LogError: ``log.io`` when the folder cannot be read.
    """
    folder = (directory / tile_path(level, index, 1)).parent
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise LogError("log.io", f"cannot read {folder}: {error}") from error
    widths = (_width(name) for name in names)
    return sorted(width for width in widths if 0 < width < TILE_WIDTH)


def read_tile(directory: Path, level: int, index: int, width: int) -> bytes:
    """The first ``width`` hashes (entries) of a tile, from the narrowest stored file that has them.

    Raises:
        LogError: ``log.tile`` when no stored file has them, or it is damaged.
    """
    widths = [stored for stored in stored_widths(directory, level, index) if stored >= width]
    for stored in (*widths, TILE_WIDTH):
        data = read_stored(directory, level, index, stored)
        if data is not None:
            return tile_prefix(level, data, width)
    raise LogError(
        "log.tile",
        f"{tile_path(level, index, width)} is missing in {directory}",
        hint="open the log at an older size and append the same entries again",
    )


def read_stored(directory: Path, level: int, index: int, width: int) -> bytes | None:
    """One stored tile file, checked for its length; None when there is no such file.

    Raises:
        LogError: ``log.tile`` when it is cut off or has too much, ``log.io``.
    """
    name = tile_path(level, index, width)
    data = read_bounded(directory / name, MAX_BUNDLE_BYTES if level == ENTRIES else TILE_BYTES)
    if data is None:
        return None
    try:
        whole = len(tile_prefix(level, data, width)) == len(data)
        wrong = "" if whole else "it has more than its width"
    except LogError as error:
        wrong = error.message
    if wrong:
        raise LogError(
            "log.tile",
            f"{name} is damaged: {wrong}",
            hint="remove it, open the log at an older size and append the same entries again",
        )
    return data


def stored_size(directory: Path) -> int:
    """How many leaf hashes are stored: full tiles of level 0 from the first on, and a partial one.

    Raises:
        LogError: ``log.io`` when a folder cannot be read.
    """
    known, missing = 0, 1  # every tile below `known` is stored, the tile at `missing` - 1 is not
    while _is_full(directory, missing - 1):
        known, missing = missing, missing * 2
    while missing - known > 1:
        middle = (known + missing) // 2
        if _is_full(directory, middle - 1):
            known = middle
        else:
            missing = middle
    return known * TILE_WIDTH + max(stored_widths(directory, 0, known), default=0)


def publish(path: Path, data: bytes, directories: set[Path]) -> None:
    """Write a file so that after a crash it is whole or absent.

    The content is on disk before the name is; the folders whose entries changed are added to
    ``directories``, to be synced once by :func:`sync_directories`.

    Raises:
        LogError: ``log.io`` when the disk refuses.
    """
    folder = path.parent
    try:
        _make_folder(folder, directories)
        handle, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise LogError("log.io", f"cannot write {path}: {error}") from error
    directories.add(folder)


def sync_directories(directories: set[Path]) -> None:
    """Make the names in these folders durable, and empty the set.

    Raises:
        LogError: ``log.io`` when the disk refuses.
    """
    try:
        for folder in sorted(directories, key=lambda path: len(path.parts), reverse=True):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    except OSError as error:
        raise LogError("log.io", f"cannot sync the folders of the log: {error}") from error
    directories.clear()


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a log's folder while its checkpoint is read and replaced, against threads and processes.

    Raises:
        LogError: ``log.io`` when there is no such folder.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise LogError("log.io", f"cannot open {folder}: {error}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def drop_partials(directory: Path, level: int, index: int) -> None:
    """Remove the partial tiles of a tile that is stored in full (tlog-tiles allows it).

    What cannot be removed stays: it takes room and says nothing wrong.
    """
    folder = (directory / tile_path(level, index, 1)).parent
    with suppress(OSError):
        for name in os.listdir(folder):
            os.unlink(folder / name)
        folder.rmdir()


def check_unchanged(directory: Path, level: int, index: int, data: bytes, width: int) -> list[int]:
    """Compare a tile to be written with every stored file of the same tile.

    Returns:
        The widths that are stored.

    Raises:
        LogError: ``log.rewrite`` when a stored file says something else.
    """
    present: list[int] = []
    for stored in (*stored_widths(directory, level, index), TILE_WIDTH):
        old = read_stored(directory, level, index, stored)
        if old is None:
            continue
        present.append(stored)
        common = min(stored, width)
        if tile_prefix(level, old, common) != tile_prefix(level, data, common):
            raise LogError(
                "log.rewrite",
                f"{tile_path(level, index, stored)} is published and would change",
                hint="a published log is never rewritten: restore the journal that made it",
            )
    return present


def _is_full(directory: Path, index: int) -> bool:
    path = directory / tile_path(0, index)
    try:
        return path.is_file()
    except OSError as error:
        raise LogError("log.io", f"cannot read {path}: {error}") from error


def _make_folder(folder: Path, directories: set[Path]) -> None:
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        directories.add(path.parent)


def _width(name: str) -> int:
    return (
        int(name) if name.isascii() and name.isdigit() and len(name) < 4 and name[0] != "0" else 0
    )
