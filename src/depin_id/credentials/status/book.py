"""An issuer's own record of a status list: which indices were given out, and what they say.

One file, replaced whole and durably; an index is written down before anybody gets it, so a crash
never gives one out twice. Two processes do not write at once.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from depin_id import cbor
from depin_id.credentials.status.bits import MAX_PACKED, StatusList, check_size, pack
from depin_id.credentials.status.bitstring import MIN_ENTRIES, PURPOSES, BitstringEntry
from depin_id.credentials.status.signed import Kind, check_uri, refuse
from depin_id.credentials.status.token import INVALID, SIZES, TokenEntry
from depin_id.durable import FileLock, create_file, read_file, replace_file
from depin_id.errors import CredentialError, EncodingError, StateError

TYPE: Final = "depin-status/1"
MAX_ENTRIES: Final = 1 << 22
_MAX_FILE: Final = 2 * MAX_PACKED + 8192
_FIELDS: Final = {
    *("type", "kind", "uri", "purpose", "messages"),
    *("size", "count", "random", "table", "given"),
}
_TRIES: Final = 64


def _damaged(path: Path, what: str) -> NoReturn:
    raise StateError("status.book", f"{path}: {what}", hint="restore the file from a backup")


class StatusBook:
    """The record of one list. Make one with :meth:`create`, or :meth:`open` it.

    Attributes:
        path: its file. kind: ``bitstring`` or ``token``. uri: where the signed list is found.
        purpose: of a bitstring list; empty for a token list. size: bits of an entry.
        messages: what each number of a bitstring list means, where there is something to say.
        random: whether indices are given out at random, which says nothing of when, or in order.
    """

    def __init__(self, path: Path, fields: dict[str, Any]) -> None:
        self.path = path
        self.kind: Kind = fields["kind"]
        self.uri: str = fields["uri"]
        self.purpose: str = fields["purpose"]
        self.messages: tuple[str, ...] = tuple(fields["messages"])
        self.size: int = fields["size"]
        self.random: bool = fields["random"]
        count: int = fields["count"]
        self._table = bytearray(StatusList(fields["table"], self.size).table[:count])
        self._given = bytearray(StatusList(fields["given"]).table[:count])

    def __len__(self) -> int:
        """How many entries the list has."""
        return len(self._table)

    def __getitem__(self, index: int) -> int:
        """The status at an index. Raises CredentialError ``status.index``."""
        return self._table[self._checked(index)]

    @property
    def given(self) -> int:
        """How many indices were given out."""
        return sum(self._given)

    @property
    def entries(self) -> StatusList:
        """What the list says now, for signing."""
        return StatusList(pack(bytes(self._table), self.size, "left"), self.size)

    def set_entries(self) -> dict[int, int]:
        """The indices whose status is not 0, with it."""
        return {index: value for index, value in enumerate(self._table) if value}

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        uri: str,
        kind: Kind = "bitstring",
        purpose: str = "revocation",
        messages: Sequence[str] = (),
        size: int = 1,
        count: int = MIN_ENTRIES,
        random: bool = True,
    ) -> StatusBook:
        """A new record with nothing given out; never over a file that is there.

        Args:
            path: of the record. uri: where the signed list is going to be found.
            kind, purpose, size, random: see the class. count: entries, a multiple of 8.
            messages: one for each number; a bitstring list of more than one bit has to have them.

        Raises:
            CredentialError: ``status.malformed``, ``status.purpose``, ``status.length``.
            StateError: ``state.exists``, ``state.io``.
        """
        if kind == "token":
            purpose = ""
            if size not in SIZES or messages:
                refuse("malformed", "a token list has 1, 2, 4 or 8 bits, and no messages")
        elif purpose not in PURPOSES:
            refuse("purpose", f"a purpose is one of {', '.join(PURPOSES)}")
        elif len(messages) != 1 << check_size(size) and (messages or size > 1):
            refuse("malformed", f"entries of {size} bits have {1 << size} messages")
        least = 8 if kind == "token" else MIN_ENTRIES
        if type(count) is not int or not least <= count <= MAX_ENTRIES or count % 8:
            refuse("length", f"a list has {least} to {MAX_ENTRIES} entries, a multiple of 8")
        fields = {
            "type": TYPE,
            "kind": kind,
            "uri": check_uri(uri),
            "purpose": purpose,
            "messages": list(messages),
            "size": check_size(size),
            "count": count,
            "random": random,
            "table": bytes(count * size // 8),
            "given": bytes(count // 8),
        }
        create_file(path, cbor.encode(fields), mode=0o600)
        return cls(path, fields)

    @classmethod
    def open(cls, path: Path) -> StatusBook:
        """Read a record; raises StateError ``state.missing``, ``status.book``, ``state.io``."""
        data = read_file(path, max_bytes=_MAX_FILE)
        if data is None:
            raise StateError(
                "state.missing", f"there is no {path}", hint="make one: depin-id status new"
            )
        try:
            fields = cbor.decode(data, max_bytes=_MAX_FILE, max_depth=3)
        except EncodingError as error:
            _damaged(path, error.message)
        _check(path, fields)
        return cls(path, fields)

    @classmethod
    @contextlib.contextmanager
    def change(cls, path: Path) -> Iterator[StatusBook]:
        """Open a record to change it, alone; written durably when the block ends well.

        Raises:
            StateError: ``state.locked`` while another process changes it; as :meth:`open`.
        """
        if not path.parent.is_dir():
            raise StateError("state.missing", f"there is no folder {path.parent}")
        with FileLock(path.with_name(f".{path.name}.lock"), path):
            book = cls.open(path)
            yield book
            book._write()

    def _write(self) -> None:
        fields = {
            "type": TYPE,
            "kind": self.kind,
            "uri": self.uri,
            "purpose": self.purpose,
            "messages": list(self.messages),
            "size": self.size,
            "count": len(self._table),
            "random": self.random,
            "table": pack(bytes(self._table), self.size, "left"),
            "given": pack(bytes(self._given), 1, "left"),
        }
        replace_file(self.path, cbor.encode(fields))

    def _checked(self, index: int) -> int:
        if type(index) is not int or not 0 <= index < len(self._table):
            refuse("index", f"there is no entry {str(index)[:20]} of {len(self._table)}")
        return index

    def give(self, *, below: Callable[[int], int] = secrets.randbelow) -> int:
        """An index that nobody has; never the same again.

        Hand it out only after :meth:`change` has ended: then it is written down.

        Args:
            below: a random number from 0 to below its argument.

        Raises:
            CredentialError: ``status.full``.
        """
        index = self._free(below)
        self._given[index] = 1
        return index

    def _free(self, below: Callable[[int], int]) -> int:
        count = len(self._given)
        if self.random:
            for _ in range(_TRIES):
                index = below(count)
                if not self._given[index]:
                    return index
            free = [index for index, given in enumerate(self._given) if not given]
            if free:
                return free[below(len(free))]
        elif (index := self._given.find(0)) >= 0:
            return index
        raise CredentialError(
            "status.full",
            f"all {count} entries of {self.uri} were given out",
            hint="make another list with another URL",
        )

    def set(self, index: int, value: int) -> None:
        """Set the status of an index.

        Raises:
            CredentialError: ``status.index``; ``status.value`` when it does not fit;
                ``status.final`` for a revocation that is to be taken back.
        """
        self._checked(index)
        if type(value) is not int or not 0 <= value < 1 << self.size:
            refuse("value", f"{str(value)[:20]} does not fit {self.size} bits")
        revoked = self.purpose == "revocation" or (
            self.kind == "token" and self._table[index] == INVALID
        )
        if self._table[index] and revoked and value != self._table[index]:
            refuse("final", f"entry {index} is revoked, which is for ever", "issue a new one")
        self._table[index] = value

    def entry(self, index: int) -> dict[str, Any]:
        """What stands in the credential: its ``credentialStatus``. Raises ``status.index``."""
        index = self._checked(index)
        if self.kind == "token":
            return TokenEntry(self.uri, index).to_json()
        return BitstringEntry(self.uri, index, self.purpose, self.size, self.messages).to_json()


def _check(path: Path, fields: Any) -> None:
    if not isinstance(fields, dict) or set(fields) != _FIELDS or fields["type"] != TYPE:
        _damaged(path, "it is no record of a status list")
    count, size = fields["count"], fields["size"]
    if fields["kind"] not in ("bitstring", "token") or type(fields["random"]) is not bool:
        _damaged(path, "its kind is not known")
    if type(size) is not int or not 1 <= size <= 8 or type(count) is not int:
        _damaged(path, "size or count are not what they should be")
    if not 0 < count <= MAX_ENTRIES or count % 8:
        _damaged(path, "size or count are not what they should be")
    table, given = fields["table"], fields["given"]
    if not isinstance(table, bytes) or not isinstance(given, bytes):
        _damaged(path, "its table is no byte string")
    if len(table) * 8 != count * size or len(given) * 8 != count:
        _damaged(path, "its table is of another length")
    messages = fields["messages"]
    if not isinstance(messages, list) or not all(isinstance(text, str) for text in messages):
        _damaged(path, "its messages are no texts")
    if not isinstance(fields["uri"], str) or fields["purpose"] not in ("", *PURPOSES):
        _damaged(path, "URL or purpose are not what they should be")
