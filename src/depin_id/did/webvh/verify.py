"""Verifying whole logs: a state machine over the entries, then the witnesses over all of it.

The order of an entry's checks is that of :meth:`_Log.take`; whichever fails first names the reason.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from depin_id.did.webvh.entry import Entry, entry_hash, lines, read_entry, scid_of
from depin_id.did.webvh.history import History, Version
from depin_id.did.webvh.location import parse_location
from depin_id.did.webvh.parameters import (
    MAX_KEYS,
    Parameters,
    WitnessRule,
    apply,
    key_count,
)
from depin_id.did.webvh.proofs import check_proof, proof_list
from depin_id.did.webvh.refusal import refusal, refuse
from depin_id.did.webvh.times import milliseconds
from depin_id.did.webvh.witnesses import approvals, approved, rule_for
from depin_id.errors import DIDError


@dataclass
class _Log:
    """What is verified so far."""

    now_ms: int
    allow_published: bool
    versions: list[Version] = field(default_factory=list)
    rules: list[WitnessRule] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    keys: int = 0

    def take(self, entry: Entry) -> None:
        """Verify the next entry."""
        last = self.versions[-1] if self.versions else None
        before = last.parameters if last else None
        if entry.number != len(self.versions) + 1:
            refuse("version_id", f"entry {len(self.versions) + 1} has the number {entry.number}")
        if before is not None and before.deactivated:
            refuse("deactivated", f"entry {entry.number} follows the deactivation")
        self.keys += key_count(entry.parameters)
        if self.keys > MAX_KEYS:
            refuse("too_large", f"the log has over {MAX_KEYS} update keys and witnesses")
        after = apply(before, entry.parameters, allow_published=self.allow_published)
        self._time(entry)
        if last is None and scid_of(entry, after.scid) != after.scid:
            refuse("scid", "the SCID is not the hash of the first entry")
        if entry_hash(entry, last.version_id if last else after.scid) != entry.entry_hash:
            refuse("entry_hash", f"the hash of entry {entry.number} is not that of its content")
        did = self._name(entry.state, last, after)
        self._proof(entry, before, after)
        self.versions.append(
            Version(
                entry.version_id,
                entry.number,
                entry.version_time,
                milliseconds(entry.time),
                did,
                entry.state,
                after,
                self.allow_published,
            )
        )
        self.rules.append(rule_for(before, after))
        self.times.append(entry.time)

    def _time(self, entry: Entry) -> None:
        if self.times and entry.time <= self.times[-1]:
            refuse("version_time", f"entry {entry.number} is not later than the entry before it")
        if entry.time > self.now_ms * 1_000_000:
            refuse("version_time", f"the versionTime of entry {entry.number} is in the future")

    def _name(self, state: dict[str, Any], last: Version | None, after: Parameters) -> str:
        did: Any = state.get("id")
        if last is not None and did == last.did:
            return last.did
        location = parse_location(did)
        if location.scid != after.scid:
            refuse("did", "the id of the document has another SCID")
        if last is not None:
            if not after.portable:
                refuse("portable", "the DID moves, and is not portable")
            known = state.get("alsoKnownAs")
            if not isinstance(known, list) or last.did not in known:
                refuse("portable", "the DID moves, and does not name its former DID")
        return location.did

    def _proof(self, entry: Entry, before: Parameters | None, after: Parameters) -> None:
        # With pre-rotation the keys that the entry brings sign it, else those before it.
        active = after if before is None or before.next_key_hashes else before
        canonical = entry.canonical(entry.version_id)
        for proof in proof_list(entry.proof):
            key = check_proof(canonical, proof, entry.time, allow_published=self.allow_published)
            if key not in active.update_keys:
                refuse("not_authorised", f"the key that signed entry {entry.number} may not")

    def approved(self, witness: bytes | None, first: int = 1) -> int:
        """Up to which version the witnesses approved, of those from ``first`` on."""
        rules = {rule for rule in self.rules[first - 1 :] if rule}
        if not rules:
            return len(self.versions)
        numbers = {version.version_id: version.number for version in self.versions}
        keys = {key for rule in rules for key in rule.witnesses}
        last = approvals(
            witness if witness is not None else b"[]",
            numbers,
            self.times,
            witnesses=keys,
            allow_published=self.allow_published,
        )
        return approved(self.rules, last, first)

    def history(self, data: bytes, count: int) -> History:
        """What is verified of the log, up to a version."""
        return History(
            tuple(self.versions[:count]),
            tuple(self.rules[:count]),
            tuple(self.times[:count]),
            _prefix(data),
        )


def _ended(data: bytes) -> bytes:
    """With the end of line that the last one may lack."""
    return data if not isinstance(data, bytes) or data.endswith(b"\n") else data + b"\n"


def _prefix(data: bytes) -> tuple[int, bytes]:
    """Length and digest by which verified bytes are known again."""
    ended = _ended(data) if data else b""
    return len(ended), hashlib.sha256(ended).digest()


def _read(log: _Log, data: bytes) -> DIDError | None:
    """Take every entry of the data up to the first that is refused."""
    try:
        for line in lines(data):
            log.take(read_entry(line))
    except DIDError as error:
        return error
    return None if log.versions else refusal("log", "the log has no entry")


def _is_of(versions: list[Version], did: str | None) -> bool:
    return did is None or any(version.did == did for version in versions)


def _finish(
    log: _Log, data: bytes, did: str | None, witness: bytes | None, first: int = 1
) -> History:
    if not _is_of(log.versions, did):
        refuse("did", "the log is that of another DID")
    if (reach := log.approved(witness, first)) < len(log.versions):
        refuse("witness", f"version {reach + 1} has not the approval of enough witnesses")
    return log.history(data, len(log.versions))


def verify_log(
    data: bytes,
    *,
    did: str | None = None,
    witness: bytes | None = None,
    now_ms: int,
    allow_published: bool = False,
) -> History:
    """Verify a whole log.

    Args:
        data: ``did.jsonl``. did: the DID that is asked for, the name of at least one version.
        witness: ``did-witness.json``, needed where the log names witnesses.
        now_ms: milliseconds since 1970; entries of later times are refused.
        allow_published: take keys whose private half is published (test vectors only).

    Raises:
        DIDError: ``did.webvh.*``: did, log, too_large, version_id, version_time, parameters,
            method_version, scid, entry_hash, proof, not_authorised, key, pre_rotation, portable,
            deactivated, witness.
    """
    log = _Log(now_ms, allow_published)
    if (error := _read(log, data)) is not None:
        raise error
    return _finish(log, data, did, witness)


def verify_prefix(
    data: bytes,
    *,
    did: str | None = None,
    witness: bytes | None = None,
    now_ms: int,
    allow_published: bool = False,
) -> tuple[History | None, DIDError | None]:
    """Verify as much of a log as is good: versions before the first refused one may be resolved.

    Takes what :func:`verify_log` takes.

    Returns:
        The good versions (None without any), and why the log ends there (None: all is good).
    """
    log = _Log(now_ms, allow_published)
    error = _read(log, data)
    if not log.versions:
        return None, error
    try:
        if not _is_of(log.versions, did):
            refuse("did", "the log is that of another DID")
        reach = log.approved(witness)
    except DIDError as refused:
        return None, refused
    if reach < len(log.versions):
        error = refusal("witness", f"version {reach + 1} has not the approval of enough witnesses")
    # Without bytes it is the prefix of nothing: what comes later is verified from the start.
    return (log.history(data if error is None else b"", reach) if reach else None), error


def extend(history: History, data: bytes, *, witness: bytes | None = None, now_ms: int) -> History:
    """Verify a log of which a history is known: only what is new is verified.

    Args:
        history: verified before. data: the whole log as it is now.
        witness: ``did-witness.json`` as it is now. now_ms: as in :func:`verify_log`.

    Raises:
        DIDError: ``did.log_rolled_back``: versions that were seen are missing;
            ``did.log_forked``: another version stands in the place of one that was seen; and as
            :func:`verify_log`.
    """
    data, allow = _ended(data), history.last.allow_published
    length, digest = history.prefix
    if not length or hashlib.sha256(data[:length]).digest() != digest:
        whole = verify_log(data, witness=witness, now_ms=now_ms, allow_published=allow)
        check_extends(whole, history.scid, len(history), history.last.version_id)
        return whole
    log = _Log(now_ms, allow, list(history.versions), list(history.rules), list(history.times))
    rest = data[length:]
    if (error := _read(log, rest)) is not None:
        raise error
    return _finish(log, data, None, witness, len(history) + 1)


def check_extends(history: History, scid: str, number: int, version_id: str) -> None:
    """Check that a history goes on from a version that was seen before.

    Raises:
        DIDError: ``did.log_rolled_back``, ``did.log_forked``, ``did.webvh.scid``.
    """
    if history.scid != scid:
        refuse("scid", "the log is that of another SCID")
    if len(history) < number:
        raise DIDError(
            "did.log_rolled_back",
            f"the log ends with version {len(history)}, and version {number} was seen before",
            hint="whoever serves it withholds versions: ask another source, such as a watcher",
        )
    if history.number(number).version_id != version_id:
        raise DIDError(
            "did.log_forked",
            f"version {number} is another than the one that was seen before",
            hint="somebody with its keys signed two histories: keep both as evidence",
        )


def verify_next(
    history: History | None, line: bytes, *, now_ms: int, allow_published: bool = False
) -> None:
    """Verify one more entry, but not the approval of witnesses: it is yet to be asked for.

    Args:
        history: what it goes on from, None for a first entry. line: the entry.

    Raises:
        DIDError: as :func:`verify_log`.
    """
    log = _Log(now_ms, allow_published)
    if history is not None:
        log = _Log(now_ms, allow_published, list(history.versions), [], [history.times[-1]])
    log.take(read_entry(line.removesuffix(b"\n")))


def may_need_witnesses(data: bytes) -> bool:
    """Whether ``did-witness.json`` should be fetched along with a log; nothing is verified.

    A log that hides the name of the parameter is refused later, for want of the proofs.
    """
    return b'"witness"' in data
