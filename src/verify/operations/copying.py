"""Copies that are whole, durable, read back, and named by a manifest with their digests.

A stored file carries the first digits of its digest in its name, so a newer copy never lies over an
older one: until the new manifest is in place the old one describes a whole backup.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from depin_id.durable import make_directory, os_failure, read_file, replace_file, sync_directory
from depin_id.errors import StateError
from verify.store.database import connect, guarded

MANIFEST: Final = "manifest.json"
MAX_MANIFEST: Final = 16 << 20
_CHUNK: Final = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")
_STORED = re.compile(r".+\.[0-9a-f]{16}|\..+\.tmp")


@dataclass(frozen=True, slots=True)
class Copied:
    """A copied file.

    Attributes:
        path: its name below the folder it was copied from, with slashes.
        size: in bytes.
        sha256: hex.
        chain: for a file of the journal, the digest that ends its chain, hex; else empty.
    """

    path: str
    size: int
    sha256: str
    chain: str = ""

    @property
    def stored(self) -> str:
        """Its name below the backup's folder."""
        return f"{self.path}.{self.sha256[:16]}"

    def to_json(self) -> dict[str, Any]:
        """As it stands in a manifest."""
        found = {"path": self.path, "bytes": self.size, "sha256": self.sha256}
        return found | ({"chain": self.chain} if self.chain else {})


def digest_of(path: Path) -> tuple[int, str]:
    """Size and SHA-256 (hex) of a file. Raises StateError."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return os.fstat(file.fileno()).st_size, digest
    except FileNotFoundError as error:
        raise StateError(
            "state.missing", f"{path} does not exist", hint="take another copy"
        ) from error
    except OSError as error:
        raise os_failure(error, path) from error


def copy_file(source: Path, target: Path, *, mode: int = 0o600) -> tuple[int, str]:
    """Copy a file that does not change meanwhile, durably; gives size and SHA-256 of what was read.

    Args:
        target: made, or replaced.
        mode: permission bits, from the first byte on.

    Raises:
        StateError: ``state.missing``, ``state.full``, ``state.io``.
    """
    digest, size = hashlib.sha256(), 0
    try:
        reader = source.open("rb")
    except OSError as error:
        raise os_failure(error, source) from error
    with reader, guarded(target):
        target.unlink(missing_ok=True)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with open(handle, "wb") as writer:
            os.fchmod(handle, mode)
            while chunk := reader.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                writer.write(chunk)
            writer.flush()
            os.fsync(handle)
    return size, digest.hexdigest()


def copy_database(source: Path, target: Path) -> None:
    """Copy a database that another process may write to, as of one moment (SQLite's backup).

    The copy is one plain file of mode 0600: nothing beside it belongs to it.

    Raises:
        StateError: of the stores.
    """
    with guarded(target):
        target.unlink(missing_ok=True)
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    with closing(connect(source, read_only=True)) as reader, guarded(target):
        with closing(sqlite3.connect(target, isolation_level=None)) as writer:
            reader.backup(writer)  # all pages in one step: one read transaction, one moment
            writer.execute("PRAGMA journal_mode=DELETE")
        with target.open("rb") as file:
            os.fsync(file.fileno())


class Store:
    """The folder that copies go into.

    Attributes:
        written: bytes that were copied; what was there already does not count.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written = 0

    def beside(self, path: str) -> Path:
        """Where a copy is made before it has its name."""
        name = PurePosixPath(path)
        make_directory(self.folder / name.parent)
        return self.folder / name.parent / f".{name.name}.tmp"

    def keep_file(self, source: Path, path: str, chain: str = "") -> Copied:
        """Copy a file that does not change. Raises StateError."""
        beside = self.beside(path)
        size, sha256 = copy_file(source, beside)
        return self.keep(beside, Copied(path, size, sha256, chain))

    def keep_database(self, source: Path, path: str, chain: str = "") -> Copied:
        """Copy a database that may be written to. Raises StateError."""
        beside = self.beside(path)
        copy_database(source, beside)
        return self.keep(beside, Copied(path, *digest_of(beside), chain))

    def keep(self, beside: Path, item: Copied) -> Copied:
        """Give a copy its name, once it was read back and is what it should be.

        Raises:
            StateError: ``state.corrupt`` when the disk gives other bytes than were written.
        """
        check_bytes(beside, item)
        with guarded(beside):
            os.rename(beside, self.folder / item.stored)
        sync_directory((self.folder / item.stored).parent)
        self.written += item.size
        return item

    def holds(self, item: Copied) -> bool:
        """Whether a copy is there in its full size."""
        try:
            return (self.folder / item.stored).stat().st_size == item.size
        except OSError:
            return False

    def tidy(self, kept: Iterable[Copied]) -> None:
        """Remove what no manifest names any more; what cannot be removed only takes room."""
        names = {self.folder / item.stored for item in kept}
        folders = [self.folder, *(p for p in self.folder.rglob("*") if p.is_dir())]
        for folder in folders:
            for path in folder.iterdir():
                if path not in names and path.is_file() and _STORED.fullmatch(path.name):
                    with contextlib.suppress(OSError):
                        path.unlink()


def check_bytes(path: Path, item: Copied) -> None:
    """Refuse a file that is not what the manifest says. Raises StateError ``state.corrupt``."""
    if digest_of(path) != (item.size, item.sha256):
        raise StateError(
            "state.corrupt",
            f"{path} is not the {item.path} of its manifest",
            hint="take another copy: this one was changed or is damaged",
        )


def _digest(content: dict[str, Any]) -> str:
    plain = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()


def write_manifest(folder: Path, fields: dict[str, Any], files: Iterable[Copied]) -> str:
    """Write the manifest, last of all: a folder without one is no whole copy. Gives its digest."""
    content = fields | {"files": [item.to_json() for item in files]}
    digest = _digest(content)
    text = json.dumps(content | {"sha256": digest}, indent=2) + "\n"
    replace_file(folder / MANIFEST, text.encode())
    return digest


def read_manifest(folder: Path, form: str) -> tuple[dict[str, Any], list[Copied]]:
    """Read the manifest of a folder.

    Args:
        form: what its field ``format`` has to be.

    Raises:
        StateError: ``state.missing``, ``state.manifest``.
    """
    path = folder / MANIFEST
    data = read_file(path, max_bytes=MAX_MANIFEST)
    if data is None:
        raise StateError(
            "state.missing",
            f"{path} does not exist",
            hint="name a folder that `depin-verify backup` wrote to its end",
        )
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.get("format") != form:
        raise _bad(path, f"is not a manifest of the form {form}")
    if content.pop("sha256", None) != _digest(content):
        raise _bad(path, "was changed: its digest is another")
    files = content.get("files")
    if not isinstance(files, list) or type(content.get("network")) is not str:
        raise _bad(path, "names no files, or no network")
    return content, [_copied(item, path) for item in files]


def _copied(item: Any, source: Path) -> Copied:
    found = item if isinstance(item, dict) else {}
    path, size, sha256 = found.get("path"), found.get("bytes"), found.get("sha256")
    chain = found.get("chain", "")
    if (
        isinstance(path, str)
        and isinstance(chain, str)
        and isinstance(sha256, str)
        and type(size) is int
        and size >= 0
        and _DIGEST.fullmatch(sha256)
        and not path.startswith("/")
        and PurePosixPath(path).name
        and ".." not in PurePosixPath(path).parts
    ):
        return Copied(path, size, sha256, chain)
    raise _bad(source, "names a file without path, size or digest")


def _bad(path: Path, what: str) -> StateError:
    return StateError(
        "state.manifest", f"{path} {what}", hint="take another copy, or another release"
    )


def empty_folder(folder: Path) -> None:
    """Make a folder (mode 0700), or take an empty one.

    Raises:
        StateError: ``state.exists`` when something is in it, ``state.io``.
    """
    make_directory(folder)
    with guarded(folder):
        if any(folder.iterdir()):
            raise StateError(
                "state.exists", f"{folder} is not empty", hint="name an empty or new folder"
            )
