"""Where documents and logs come from: files first, the network only where it was asked for."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

from depin_id.did.fetch import Fetcher
from depin_id.did.syntax import parse_did
from depin_id.durable import os_failure, read_file
from depin_id.errors import ConfigError, DepinError, DIDError

DOCUMENT: Final = "did.json"
LOG: Final = "did.jsonl"
WITNESS: Final = "did-witness.json"
MAX_BYTES: Final = {DOCUMENT: 1 << 18, LOG: 1 << 24, WITNESS: 1 << 22}
TYPES: Final = {
    DOCUMENT: (
        "application/did",
        "application/did+json",
        "application/did+ld+json",
        "application/json",
        "application/ld+json",
    ),
    LOG: (
        "application/json",
        "application/json-lines",
        "application/jsonl",
        "application/jsonlines",
        "application/octet-stream",
        "application/x-jsonlines",
        "application/x-ndjson",
        "text/jsonl",
        "text/plain",
    ),
    WITNESS: ("application/json", "application/octet-stream", "text/plain"),
}
"""What servers call such files."""
MAX_FOLDERS: Final = 100_000


class Source(Protocol):
    """Gives the files of a DID."""

    def read(self, did: str, name: str, url: str) -> bytes | None:
        """A file of a DID, None when there is none here.

        Args:
            did: as it is resolved.
            name: ``did.json``, ``did.jsonl`` or ``did-witness.json``.
            url: where it is published.

        Raises:
            StateError, FetchError: it cannot be read.
        """
        ...


class MemorySource:
    """Files that are at hand.

    Args:
        files: by DID, then by name.
    """

    def __init__(self, files: Mapping[str, Mapping[str, bytes]]) -> None:
        self._files = files

    def read(self, did: str, name: str, url: str) -> bytes | None:
        """See :meth:`Source.read`."""
        return self._files.get(did, {}).get(name)


class WebSource:
    """Files where they are published.

    Args:
        fetcher: allowed to use the network, or every read is ``fetch.off``.
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    def read(self, did: str, name: str, url: str) -> bytes | None:
        """See :meth:`Source.read`."""
        try:
            return self._fetcher.fetch(url, types=TYPES[name], max_bytes=MAX_BYTES[name])
        except DepinError as error:
            if error.code == "fetch.not_found":
                return None
            raise


class Sources:
    """Several sources: the first that has the DID at all answers for it.

    The log of one source is never put together with the witness proofs of another.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources = tuple(sources)

    def read(self, did: str, name: str, url: str) -> bytes | None:
        """See :meth:`Source.read`."""
        return self.choose(did, name, url)[0]

    def choose(self, did: str, name: str, url: str) -> tuple[bytes | None, Source]:
        """A file, and the source that has it, for the files beside it."""
        for source in self._sources:
            found = source.read(did, name, url)
            if found is not None:
                return found, source
        return None, self


class FileSource:
    """A folder of folders, each with the files of one DID: no network is needed.

    The folder may also hold the files of one DID itself. A folder's name is free; which DID it is
    for stands in its files. A log also answers for the DIDs that it had before it moved: it is
    found by its SCID.

    Args:
        path: the folder. It is read again when a folder was added or removed.

    Raises:
        ConfigError: ``config.dids``, it is no folder, or two folders are for one DID.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._stamp = -1
        self._folders: dict[str, Path] = {}
        self._index()

    def read(self, did: str, name: str, url: str) -> bytes | None:
        """See :meth:`Source.read`. Raises ConfigError as the class."""
        self._index()
        folder = self._folders.get(_key(did))
        if folder is None:
            return None
        return read_file(folder / name, max_bytes=MAX_BYTES[name])

    def _index(self) -> None:
        with self._lock:
            try:
                stamp = self.path.stat().st_mtime_ns
                if stamp == self._stamp:
                    return
                names = sorted(entry for entry in self.path.iterdir() if entry.is_dir())
            except (FileNotFoundError, NotADirectoryError):
                raise ConfigError("config.dids", f"{self.path} is not a folder") from None
            except OSError as error:
                raise os_failure(error, self.path) from error
            if len(names) > MAX_FOLDERS:
                raise ConfigError("config.dids", f"{self.path} has over {MAX_FOLDERS} folders")
            found: dict[str, Path] = {}
            for folder in (self.path, *names):
                key = _named(folder)
                if key is None:
                    continue
                # Two names of one folder, such as a symbolic link to it, are no contradiction.
                if found.setdefault(key, folder).resolve() != folder.resolve():
                    raise ConfigError(
                        "config.dids",
                        f"{found[key].name} and {folder.name} are for one DID",
                        hint="keep the newer one",
                    )
            self._folders, self._stamp = found, stamp


def _key(did: str) -> str:
    """What a DID is found by: a did:webvh by its SCID, so that it may move."""
    parts = did.split(":", 3)
    return ":".join(parts[:3]) if did.startswith("did:webvh:") else did


def _named(folder: Path) -> str | None:
    """Which DID a folder is for; whether that is true shows when it is resolved."""
    for name, where in ((LOG, _of_log), (DOCUMENT, _of_document)):
        data = read_file(folder / name, max_bytes=MAX_BYTES[name])
        if data is None:
            continue
        try:
            return _key(str(parse_did(where(data))))
        except (DIDError, ValueError, KeyError, TypeError, RecursionError):
            return None
    return None


def _of_log(data: bytes) -> str:
    first = json.loads(data.split(b"\n", 1)[0])
    return str(first["state"]["id"])


def _of_document(data: bytes) -> str:
    return str(json.loads(data)["id"])


def make_source(
    folder: str | Path | None = None,
    *,
    files: Mapping[str, Mapping[str, bytes]] | None = None,
    fetcher: Fetcher | None = None,
) -> Sources:
    """The usual order: files at hand, a folder, and the network where a fetcher is given.

    Raises:
        ConfigError: ``config.dids``.
    """
    makers: list[tuple[bool, Callable[[], Source]]] = [
        (files is not None, lambda: MemorySource(files or {})),
        (folder is not None, lambda: FileSource(folder or "")),
        (fetcher is not None, lambda: WebSource(fetcher or Fetcher())),
    ]
    return Sources(make() for wanted, make in makers if wanted)
