"""Where archived files go: a folder, or a bucket of an S3-compatible store.

What lies in a place is never overwritten. Credentials of a store come from the environment (the
``AWS_`` variables) or from the machine's role, never from a command line or a file of ours.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from depin_id.durable import make_directory, sync_directory
from depin_id.errors import ConfigError, StateError, TransportError
from verify.operations.copying import copy_file, digest_of
from verify.store.database import guarded

_CHUNK = 4 << 20
_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class Place(ABC):
    """A place for files that are written once.

    Attributes:
        name: as people write it, without anything secret.
    """

    name: str

    @abstractmethod
    def digest(self, file: str) -> tuple[int, str] | None:
        """Size and SHA-256 (hex) of what lies there, read back; None when nothing does."""

    @abstractmethod
    def _put(self, source: Path, file: str) -> None:
        """Write a file that is not there."""

    @abstractmethod
    def get(self, file: str, target: Path, *, most: int | None = None) -> tuple[int, str]:
        """Fetch a file durably; gives size and SHA-256 of what came.

        Args:
            most: bytes that it may have; whatever a store sends, no more than these and a few
                megabytes are written.

        Raises:
            StateError: ``state.missing``, ``state.foreign`` when it has more, ``state.full``,
                ``state.io``. TransportError: as the place says.
        """

    def put(self, source: Path, file: str) -> tuple[int, str]:
        """Bring a file there, and read it back; gives size and SHA-256.

        A file that is there with the same content is left alone.

        Raises:
            StateError: ``archive.differs`` when something else has its name, or comes back.
            TransportError: ``archive.store``, ``archive.refused``.
        """
        expected = digest_of(source)
        found = self.digest(file)
        if found is None:
            self._put(source, file)
            found = self.digest(file)
        if found != expected:
            raise StateError(
                "archive.differs",
                f"{file} in {self.name} is not {source}",
                hint="one place (folder or prefix) for one aggregator; nothing there is replaced",
            )
        return expected


class Folder(Place):
    """A folder, best on another disk or machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = str(folder)

    def digest(self, file: str) -> tuple[int, str] | None:
        path = self.folder / file
        return digest_of(path) if path.exists() else None

    def _put(self, source: Path, file: str) -> None:
        make_directory(self.folder)
        beside = self.folder / f".{file}.tmp"
        copy_file(source, beside, mode=0o400)
        with guarded(beside):
            os.rename(beside, self.folder / file)
        sync_directory(self.folder)

    def get(self, file: str, target: Path, *, most: int | None = None) -> tuple[int, str]:
        path = self.folder / file
        if not path.exists():
            raise _missing(file, self.name)
        if most is not None and path.stat().st_size > most:
            raise foreign(file, self.name)
        return copy_file(path, target)


class Bucket(Place):
    """A prefix in a bucket of an S3-compatible store, through the library obstore."""

    def __init__(self, bucket: str, prefix: str, endpoint: str | None) -> None:
        if importlib.util.find_spec("obstore") is None:
            raise ConfigError(
                "archive.library",
                "archives in S3 need the library obstore",
                hint='pip install "depin-id[s3]"',
            )
        from obstore.store import S3Store

        self.name = f"s3://{bucket}/{prefix}".rstrip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        options: dict[str, Any] = {}
        if endpoint is not None:
            options["endpoint"] = endpoint
        plain = (endpoint or "").startswith("http:")
        with self._said():
            self._store = S3Store(
                bucket,
                client_options={"allow_http": plain, "timeout": "60s", "connect_timeout": "10s"},
                retry_config={"max_retries": 4},
                **options,
            )

    def digest(self, file: str) -> tuple[int, str] | None:
        hasher, size = hashlib.sha256(), 0
        try:
            with self._said():
                for chunk in self._chunks(file):
                    hasher.update(chunk)
                    size += len(chunk)
        except FileNotFoundError:
            return None
        return size, hasher.hexdigest()

    def _put(self, source: Path, file: str) -> None:
        import obstore

        try:
            with self._said():
                obstore.put(self._store, self._prefix + file, source, chunk_size=8 << 20)
        except FileNotFoundError as error:
            raise TransportError(
                "archive.store", f"{self.name}: {_plain(error)}", hint="make the bucket first"
            ) from None

    def get(self, file: str, target: Path, *, most: int | None = None) -> tuple[int, str]:
        hasher, size = hashlib.sha256(), 0
        with guarded(target):
            target.unlink(missing_ok=True)
            handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with open(handle, "wb") as writer:
                try:
                    with self._said():
                        for chunk in self._chunks(file):
                            hasher.update(chunk)
                            size += len(chunk)
                            writer.write(chunk)
                            if most is not None and size > most:
                                raise foreign(file, self.name)
                except FileNotFoundError as error:
                    raise _missing(file, self.name) from error
                writer.flush()
                os.fsync(handle)
        return size, hasher.hexdigest()

    def _chunks(self, file: str) -> Iterator[Any]:
        import obstore

        yield from obstore.get(self._store, self._prefix + file).stream(min_chunk_size=_CHUNK)

    @contextmanager
    def _said(self) -> Iterator[None]:
        """What the library raises, as an error of ours that gives away no credentials."""
        from obstore import exceptions

        try:
            yield
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise TransportError(
                "archive.refused",
                f"{self.name} refuses these credentials: {_plain(error)}",
                hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of one who may write",
            ) from None
        except exceptions.BaseError as error:
            raise TransportError(
                "archive.store",
                f"{self.name}: {_plain(error)}",
                hint="check the bucket, --endpoint and AWS_REGION; the command can be repeated",
            ) from None


def _plain(error: Exception) -> str:
    """The first line of an error, bounded, with nothing in it that is in the environment."""
    text = str(error).split("\n", 1)[0]
    for name in _SECRETS:
        value = os.environ.get(name)
        if value:
            text = text.replace(value, "***")
    return text[:300]


def _missing(file: str, name: str) -> StateError:
    return StateError(
        "state.missing", f"{name} has no {file}", hint="name the place that it was archived to"
    )


def foreign(file: str, name: str) -> StateError:
    """The error for a file that is another than the one that was archived."""
    return StateError(
        "state.foreign",
        f"{file} in {name} is not the file that was archived from here",
        hint="name the place that it was archived to",
    )


def open_place(text: str, *, endpoint: str | None = None) -> Place:
    """A place by its name: a path, or ``s3://bucket/prefix``.

    Args:
        endpoint: URL of an S3-compatible store; None is what the environment says, or Amazon's.

    Raises:
        ConfigError: ``archive.place``, ``archive.library``.
    """
    if "://" not in text:
        if endpoint is not None:
            raise ConfigError("archive.place", f"{text} is a folder and has no endpoint")
        return Folder(Path(text))
    found = urlsplit(text)
    prefix = found.path.strip("/")
    wrong = found.scheme != "s3" or not _BUCKET.fullmatch(found.netloc) or found.query
    if wrong or found.fragment or ".." in prefix.split("/"):
        # The text itself is not repeated: somebody may have put a password into it.
        raise ConfigError(
            "archive.place",
            "the place is neither a folder nor s3://BUCKET/PREFIX",
            hint="credentials do not belong there: set the AWS_ variables of the environment",
        )
    if endpoint is not None:
        _check_endpoint(endpoint)
    return Bucket(found.netloc, prefix, endpoint)


def _check_endpoint(endpoint: str) -> None:
    found = urlsplit(endpoint)
    if found.scheme not in ("http", "https") or not found.hostname or "@" in found.netloc:
        raise ConfigError(
            "archive.place",
            "the endpoint is not http(s)://HOST[:PORT]",
            hint="credentials do not belong there: set the AWS_ variables of the environment",
        )
