"""The keys of devices, one a month, wrapped by a master key; erasing one is for ever.

They live apart from the journal and its backups, so that one deletion here erases everywhere.
Every key has a slot of fixed size that is never moved and is overwritten in place: a B-tree that
moves its cells leaves copies behind, and a copy would outlive the erasure.
"""

from __future__ import annotations

import hmac
import os
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from depin_id.closing import Closing
from depin_id.durable import DirectoryLock, create_file, make_directory, os_failure, sync_directory
from depin_id.errors import StateError
from verify.store.data_key import DataKey
from verify.store.database import (
    check_schema,
    connect,
    corrupt,
    guarded,
    is_quiet,
    transaction,
    truncate_wal,
    use_wal,
)

SCHEMA = 1
_WRAPPED = 24 + 32 + 16
_TABLES = """
CREATE TABLE meta(schema INTEGER NOT NULL, proof BLOB NOT NULL);
CREATE TABLE slots(id INTEGER PRIMARY KEY, wrapped BLOB NOT NULL);
CREATE TABLE keys(ref BLOB NOT NULL, month INTEGER NOT NULL, slot INTEGER NOT NULL,
    PRIMARY KEY(ref, month)) WITHOUT ROWID;
CREATE TABLE erased(ref BLOB PRIMARY KEY, time INTEGER NOT NULL) WITHOUT ROWID;
"""
_PROOF = b"depin-keys/1"
_STANDING = """
SELECT EXISTS (SELECT 1 FROM keys WHERE ref = ?1 AND month = ?2),
    EXISTS (SELECT 1 FROM erased WHERE ref = ?1)
"""
_FIND = """
SELECT wrapped FROM keys LEFT JOIN slots ON slots.id = keys.slot WHERE ref = ? AND month = ?
"""

Pair = tuple[bytes, int]


class KeyStore(Closing):
    """Data keys by (device reference of 16 bytes, month as yyyymm). One thread at a time.

    Another process may read (``read_only=True``) while one writes.
    """

    def __init__(
        self,
        path: Path,
        master: bytes,
        *,
        randomness: Callable[[int], bytes],
        clock: Callable[[], float],
        cache: int,
        read_only: bool,
        traceless: bool = False,
    ) -> None:
        """Use :meth:`create` or :meth:`open`."""
        self.path = path
        self._master = master
        self._randomness = randomness
        self._clock = clock
        self._limit = max(cache, 1)
        self._cache: OrderedDict[Pair, DataKey] = OrderedDict()
        self._lock = None if read_only else DirectoryLock(path.parent, "keys.lock")
        try:
            self._connection = self._connect(read_only, traceless)
        except BaseException:
            self._release()
            raise

    @classmethod
    def create(
        cls,
        directory: Path,
        *,
        master: bytes | None = None,
        randomness: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = time.time,
        cache: int = 100_000,
    ) -> KeyStore:
        """Makes an empty store and opens it.

        Args:
            directory: made when missing.
            master: 32 bytes, from a KMS for instance; None makes the file ``master.key``.
            randomness: gives so many random bytes.
            clock: seconds, unix: the time of tombstones.
            cache: how many keys to keep unwrapped in memory.

        Raises:
            StateError: ``state.exists``, ``state.argument``, ``state.io``, ``state.full``.
        """
        make_directory(directory)
        path = directory / "keys.db"
        with DirectoryLock(directory, "keys.lock"):
            if path.exists():
                raise StateError("state.exists", f"{path} exists already", hint="open it instead")
            secret = _checked_master(randomness(32) if master is None else master)
            if master is None:
                create_file(directory / "master.key", secret, mode=0o600)
            _write_empty(path, _wrap(secret, _PROOF, bytes(32), randomness))
        return cls.open(directory, master=secret, randomness=randomness, clock=clock, cache=cache)

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        master: bytes | None = None,
        randomness: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = time.time,
        cache: int = 100_000,
        read_only: bool = False,
        traceless: bool = False,
    ) -> KeyStore:
        """Opens a store; arguments as :meth:`create`.

        Args:
            read_only: beside a writer, or without the right to write.
            traceless: read-only, and no file is left beside a store at rest.

        Raises:
            StateError: ``state.missing``, ``state.locked``, ``state.schema``, ``state.corrupt``,
                ``state.master_key`` (not the key that wrapped these), ``state.permissions`` (others
                may read ``master.key``).
        """
        secret = _read_master(directory / "master.key") if master is None else master
        return cls(
            directory / "keys.db",
            _checked_master(secret),
            randomness=randomness,
            clock=clock,
            cache=cache,
            read_only=read_only,
            traceless=traceless,
        )

    def ensure(self, pairs: Iterable[Pair]) -> None:
        """Makes the keys that are missing, durably, in one transaction; before their first use.

        Raises:
            StateError: ``state.erased`` when any of the devices was forgotten (no key is made),
                ``state.argument``, ``state.full``, ``state.io``, ``state.read_only``.
        """
        missing = []
        for pair in dict.fromkeys(pairs):
            if pair in self._cache:
                continue
            with guarded(self.path):
                there, erased = self._connection.execute(_STANDING, _checked(pair)).fetchone()
            if there:
                continue
            self._writable()
            if erased:
                raise _erased(*pair)
            missing.append(pair)
        if missing:
            self._make(missing)

    def _make(self, pairs: Sequence[Pair]) -> None:
        made = []
        for pair in pairs:
            secret = self._randomness(32)
            made.append((secret, _wrap(self._master, _name(pair), secret, self._randomness)))
        with transaction(self._connection, self.path):
            execute, many = self._connection.execute, self._connection.executemany
            first = execute("SELECT coalesce(max(id), 0) + 1 FROM slots").fetchone()[0]
            many(
                "INSERT INTO slots VALUES (?,?)",
                [(slot, wrapped) for slot, (_, wrapped) in enumerate(made, first)],
            )
            many(
                "INSERT INTO keys VALUES (?,?,?)",
                [(*pair, slot) for slot, pair in enumerate(pairs, first)],
            )
        for pair, (secret, _) in zip(pairs, made, strict=True):
            self._remember(pair, DataKey(secret))

    def get(self, ref: bytes, month: int) -> DataKey:
        """The key of a device and month.

        Raises:
            StateError: ``state.erased`` (destroyed), ``state.key_missing`` (never made),
                ``state.corrupt``.
        """
        pair = (ref, month)
        key = self._cache.get(pair)
        if key is not None and self._lock is None and self.erased(ref):
            # Another process forgot the device since a reader looked.
            del self._cache[pair]
            raise _erased(ref, month)
        if key is not None:
            self._cache.move_to_end(pair)
            return key
        with guarded(self.path):
            row = self._connection.execute(_FIND, _checked(pair)).fetchone()
        if row is None:
            if self.erased(ref):
                raise _erased(ref, month)
            raise StateError(
                "state.key_missing",
                f"there is no key of device {ref.hex()} for {month}",
                hint="restore the newest key store, then repeat the erasures since",
            )
        wrapped = row[0] if isinstance(row[0], bytes) else b""
        if wrapped == bytes(_WRAPPED):
            raise _erased(ref, month)
        key = DataKey(_unwrap(self._master, _name(pair), wrapped, self.path))
        self._remember(pair, key)
        return key

    def erase(self, ref: bytes) -> int:
        """Destroys all keys of a device for ever, and says how many there were.

        When this returns, their bytes are in no file of the store. What a disk keeps of
        overwritten blocks is beyond a program: keep `master` elsewhere, on encrypted disks.

        Raises:
            StateError: ``state.locked`` when a reader keeps old bytes alive: the keys are
                destroyed, erase again once it is gone; ``state.io``, ``state.read_only``.
        """
        return self.erase_again([ref])

    def erase_again(self, refs: Iterable[bytes]) -> int:
        """Repeats erasures, for a store restored from before them; as :meth:`erase`.

        Erasing what is erased is harmless; the first time of erasure stays.
        """
        self._writable()
        refs = [_checked((ref, 1))[0] for ref in refs]
        destroyed, now = 0, int(self._clock())
        with transaction(self._connection, self.path):
            for ref in refs:
                slots = self._connection.execute(
                    "SELECT slot, month FROM keys WHERE ref = ?", (ref,)
                ).fetchall()
                for slot, month in slots:
                    self._cache.pop((ref, month), None)
                    # Same size, so SQLite writes over the old bytes where they are.
                    self._connection.execute(
                        "UPDATE slots SET wrapped = ? WHERE id = ?", (bytes(_WRAPPED), slot)
                    )
                self._connection.execute("DELETE FROM keys WHERE ref = ?", (ref,))
                self._connection.execute("INSERT OR IGNORE INTO erased VALUES (?,?)", (ref, now))
                destroyed += len(slots)
        self._forget_log()
        return destroyed

    def erased(self, ref: bytes) -> bool:
        """Whether the device was forgotten."""
        return self.erased_at(ref) is not None

    def erased_at(self, ref: bytes) -> int | None:
        """When the device was forgotten (seconds, unix), or None."""
        with guarded(self.path):
            row = self._connection.execute(
                "SELECT time FROM erased WHERE ref = ?", (ref,)
            ).fetchone()
        return None if row is None else int(row[0])

    def derived(self, purpose: str) -> bytes:
        """A key of 32 bytes for something else than wrapping, the same as long as the master is."""
        return hmac.digest(self._master, f"depin-derived/1 {purpose}".encode(), "sha256")

    def close(self) -> None:
        """Closes the store and drops the keys in memory; more than once is harmless."""
        self._cache.clear()
        with guarded(self.path):
            self._connection.close()
        self._release()

    def _connect(self, read_only: bool, traceless: bool) -> sqlite3.Connection:
        immutable = read_only and traceless and is_quiet(self.path)
        connection = connect(self.path, read_only=read_only, immutable=immutable)
        try:
            check_schema(connection, self.path, known=SCHEMA)
            with guarded(self.path):
                proof = connection.execute("SELECT proof FROM meta").fetchone()[0]
                if not read_only:
                    use_wal(connection, self.path)
                    connection.execute("PRAGMA secure_delete=ON")
            try:
                _unwrap(self._master, _PROOF, proof, self.path)
            except StateError as error:
                raise StateError(
                    "state.master_key",
                    f"{self.path} was not wrapped by this master key",
                    hint="give the master key that the store was made with",
                ) from error
            if not read_only:
                with guarded(self.path):
                    truncate_wal(connection)  # what an erasure before a crash left behind
        except BaseException:
            connection.close()
            raise
        return connection

    def _forget_log(self) -> None:
        with guarded(self.path):
            emptied = truncate_wal(self._connection)
        if not emptied:
            text = f"{self.path}: a reader keeps erased bytes in the log"
            raise StateError("state.locked", text, hint="close the reader, then erase again")

    def _remember(self, pair: Pair, key: DataKey) -> None:
        self._cache[pair] = key
        while len(self._cache) > self._limit:
            self._cache.popitem(last=False)

    def _writable(self) -> None:
        if self._lock is None:
            raise StateError(
                "state.read_only", f"{self.path} is not open for writing", hint="open it for that"
            )

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _write_empty(path: Path, proof: bytes) -> None:
    temporary = path.with_name("keys.db.tmp")
    with guarded(path):
        temporary.unlink(missing_ok=True)
        connection = connect(temporary, create=True)
        try:
            os.chmod(temporary, 0o600)
            connection.executescript(_TABLES)
            connection.execute("INSERT INTO meta VALUES (?,?)", (SCHEMA, proof))
        finally:
            connection.close()
        temporary.rename(path)
    sync_directory(path.parent)


def _read_master(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise StateError(
                    "state.permissions", f"{path} can be read by others", hint=f"chmod 600 {path}"
                )
            return file.read(64)
    except FileNotFoundError as error:
        raise StateError(
            "state.missing", f"{path} does not exist", hint="restore it, or give the master key"
        ) from error
    except OSError as error:
        raise os_failure(error, path) from error


def _checked_master(master: bytes) -> bytes:
    if len(master) != 32:
        raise StateError(
            "state.argument", f"a master key has 32 bytes, not {len(master)}", hint="check it"
        )
    return master


def _checked(pair: Pair) -> Pair:
    ref, month = pair
    if len(ref) != 16 or not 1 <= month < 1 << 31:
        raise StateError(
            "state.argument",
            f"device reference of {len(ref)} bytes, month {month}",
            hint="16 bytes and yyyymm are needed",
        )
    return pair


def _erased(ref: bytes, month: int) -> StateError:
    return StateError(
        "state.erased",
        f"the keys of device {ref.hex()} were destroyed (asked for {month})",
        hint="nothing can bring them back; the leaves stay verifiable",
    )


def _name(pair: Pair) -> bytes:
    return b"depin-wrap/1" + pair[0] + pair[1].to_bytes(4, "big")


def _wrap(master: bytes, name: bytes, secret: bytes, randomness: Callable[[int], bytes]) -> bytes:
    nonce = randomness(24)
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(secret, name, nonce, master)


def _unwrap(master: bytes, name: bytes, wrapped: bytes, path: Path) -> bytes:
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(wrapped[24:], name, wrapped[:24], master)
    except (CryptoError, ValueError, TypeError) as error:
        raise corrupt(path, "a wrapped key does not open") from error
