"""Where documents and logs come from: files first, the network only where it was asked for."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

from depin_id.did.fetch import Fetcher
from depin_id.did.syntax import parse_did
from depin_id.durable import os_failure, read_file
from depin_id.errors import ConfigError, DepinError

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
MAX_FIRST: Final = 1 << 20
"""The longest first line of a log that is looked at to see whose it is."""
LOOK_AGAIN_S: Final = 1.0


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
        path: the folder. What is new in it is seen when it is asked for, within a second.
        clock: steady seconds.

    Raises:
        ConfigError: ``config.dids``, it is no folder, or two folders are for one DID.
    """

    def __init__(self, path: str | Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = Path(path)
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = -1.0
        self._stamp = -1
        self._names: dict[Path, tuple[int, str | None]] = {}
        self._folders: dict[str, Path] = {}
        self._index(again=True)

    def read(self, did: str, name: str, url: str) -> bytes | None:
        """See :meth:`Source.read`. Raises ConfigError as the class."""
        self._index(again=False)
        if (folder := self._folders.get(_key(did))) is None:
            # Its files may have come into a folder that was there.
            self._index(again=self._clock() - self._looked >= LOOK_AGAIN_S)
            folder = self._folders.get(_key(did))
        return None if folder is None else read_file(folder / name, max_bytes=MAX_BYTES[name])

    def _index(self, *, again: bool) -> None:
        with self._lock:
            try:
                stamp = self.path.stat().st_mtime_ns
                if stamp == self._stamp and not again:
                    return
                names = sorted(entry for entry in self.path.iterdir() if entry.is_dir())
                if len(names) > MAX_FOLDERS:
                    raise ConfigError("config.dids", f"{self.path} has over {MAX_FOLDERS} folders")
                self._names = {folder: self._name(folder) for folder in (self.path, *names)}
            except (FileNotFoundError, NotADirectoryError):
                raise ConfigError("config.dids", f"{self.path} is not a folder") from None
            except OSError as error:
                raise os_failure(error, self.path) from error
            self._folders, self._stamp = self._by_did(), stamp
            self._looked = self._clock()

    def _name(self, folder: Path) -> tuple[int, str | None]:
        """When a folder changed last, and which DID it is for; known ones are not read again."""
        changed = folder.stat().st_mtime_ns
        known = self._names.get(folder)
        if known is not None and known[0] == changed and known[1] is not None:
            return known
        return changed, _named(folder)

    def _by_did(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for folder, (_, key) in self._names.items():
            # Two names of one folder, such as a symbolic link to it, are no contradiction.
            if key is not None and found.setdefault(key, folder).resolve() != folder.resolve():
                raise ConfigError(
                    "config.dids",
                    f"{found[key].name} and {folder.name} are for one DID",
                    hint="keep the newer one",
                )
        return found


def _key(did: str) -> str:
    """What a DID is found by: a did:webvh by its SCID, so that it may move."""
    parts = did.split(":", 3)
    return ":".join(parts[:3]) if did.startswith("did:webvh:") else did


def _named(folder: Path) -> str | None:
    """Which DID a folder is for; whether that is true shows when it is resolved."""
    try:
        if (folder / LOG).is_file():
            with open(folder / LOG, "rb") as file:
                did = json.loads(file.readline(MAX_FIRST))["state"]["id"]
        elif (data := read_file(folder / DOCUMENT, max_bytes=MAX_BYTES[DOCUMENT])) is not None:
            did = json.loads(data)["id"]
        else:
            return None
        return _key(str(parse_did(did)))
    except (OSError, DepinError, ValueError, KeyError, TypeError, RecursionError):
        return None


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
