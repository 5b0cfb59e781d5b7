"""Entries that were published and are not in a backup: made again, byte for byte.

The public segments hold the envelopes themselves, and the log says when they came. So each is
judged again as it was, sealed under the same key, and taken only if its leaf is the published one.
What nothing leads to ends it: an entry that is not exactly known is never made up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from depin_id import cbor
from depin_id.enrolment import Enrolment
from depin_id.envelope import parse_envelope
from depin_id.errors import DepinError, StateError
from depin_id.keys import PublicKey
from verify.batch import Batch
from verify.entries import (
    CARD,
    COUNTED,
    ENROL,
    ERASE,
    KIND_NAMES,
    POLICY,
    REVOKE,
    ROTATE,
    TICK,
    Admin,
    CardSet,
    Counted,
    Enrolled,
    Erased,
    PolicySet,
    Revoked,
    Rotated,
    Tick,
)
from verify.fold import Fold
from verify.leaf import KIND_ENVELOPE, AdminLeaf, EnvelopeLeaf, Leaf, commitment, parse_leaf
from verify.operations.published import Published
from verify.policy import Policy
from verify.replay import journal_lookup
from verify.sealing import SealedEntry, month_of, seal_all
from verify.store import DataKey, Journal, KeyStore, NewBatch
from verify.world import Receipt

RECEIPT_FLAGS = frozenset({"parked", "time.asserted"})
LOST_REASON = "restored from the public log; the reason was lost"
_CHUNK = 256


@dataclass(slots=True)
class Material:
    """What an operator has at hand beside what was published.

    Attributes:
        envelopes: of spools and files. enrolments: documents. policies: as entries.
        keys: new keys of devices that were rotated. cards: signed network cards.
    """

    envelopes: list[bytes] = field(default_factory=list)
    enrolments: list[Enrolment] = field(default_factory=list)
    policies: list[PolicySet] = field(default_factory=list)
    keys: list[PublicKey] = field(default_factory=list)
    cards: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Missing:
    """A published entry that cannot be made again, and why."""

    index: int
    kind: str
    received_at: int
    why: str
    device: str = ""
    position: tuple[int, int] | None = None

    def __str__(self) -> str:
        who = f" of {self.device}" if self.device else ""
        at = "" if self.position is None else f" at {self.position[0]}/{self.position[1]}"
        return f"entry {self.index} ({self.kind}{who}{at}): {self.why}"

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        found: dict[str, Any] = {
            "index": self.index,
            "kind": self.kind,
            "received_at": self.received_at,
            "why": self.why,
        }
        if self.device:
            found["device"] = self.device
        if self.position is not None:
            found["position"] = list(self.position)
        return found


class _Unknown(Exception):
    """Why an entry cannot be made again."""


class Recovery:
    """Makes published entries again, from the end of a journal on.

    Args:
        journal: open for writing. keys: of the same backup. fold: the state at its end.
    """

    def __init__(
        self,
        journal: Journal,
        keys: KeyStore,
        fold: Fold,
        published: Published,
        material: Material,
    ) -> None:
        self._journal, self._keys, self._fold = journal, keys, fold
        self._published, self._material = published, material
        self._cards = [*material.cards, published.card_bytes]
        self._by_position: dict[tuple[int, int], list[bytes]] = {}
        for data in material.envelopes:
            with suppress(DepinError):
                at = parse_envelope(data).provenance
                self._by_position.setdefault((at.epoch, at.n), []).append(data)

    def run(self, stop: int, progress: Callable[[int, int], None] | None = None) -> Missing | None:
        """Append entries up to ``stop``; gives the first that cannot be made again, if any.

        Raises:
            StateError, LogError, DatasetError: stores, tiles or segments cannot be read or written.
        """
        first = self._journal.size
        segments = self._published.envelopes(first, stop)
        ahead: tuple[int, bytes] | None = next(segments, None)
        leaves = list[bytes]()
        batch, sealed, at = self._batch(), list[SealedEntry](), 0
        missing: Missing | None = None
        for index, leaf in enumerate(self._published.leaves(first, stop), first):
            while ahead is not None and ahead[0] < index:
                ahead = next(segments, None)
            content = ahead[1] if ahead is not None and ahead[0] == index else None
            parsed = parse_leaf(leaf)
            try:
                sealed.append(self._again(batch, index, leaf, parsed, content))
            except _Unknown as error:
                missing = self._missing(index, parsed, str(error))
                break
            except DepinError as error:
                missing = self._missing(index, parsed, str(error))
                break
            leaves.append(leaf)
            at = max(at, parsed.received_at)
            if len(sealed) == _CHUNK:
                self._write(batch, sealed, at)
                batch, sealed = self._batch(), []
                if progress is not None:
                    progress(index - first, stop - first)
        self._write(batch, sealed, at)
        return missing

    def _batch(self) -> Batch:
        return Batch(self._fold, journal_lookup(self._journal), self._reference)

    def _reference(self, size: int) -> bytes:
        return self._ref[:size]

    def _write(self, batch: Batch, sealed: Sequence[SealedEntry], at: int) -> None:
        """Append what was made again; the entry that failed last, if any, is left out."""
        if not sealed:
            return
        end = self._journal.size + len(sealed)
        self._journal.append(
            NewBatch(
                received_at=at,
                leaves=[entry.leaf for entry in sealed],
                deltas=[entry.delta for entry in sealed],
                sealed=[entry.sealed for entry in sealed],
                positions=[position for position in batch.positions if position.entry < end],
            )
        )

    def _again(
        self, batch: Batch, index: int, leaf: bytes, parsed: Leaf, content: bytes | None
    ) -> SealedEntry:
        made = len(batch.drafts)
        if isinstance(parsed, EnvelopeLeaf):
            self._ref = parsed.device
            data = self._envelope(index, parsed, content)
            flags = tuple(sorted(RECEIPT_FLAGS & set(parsed.flags)))
            batch.take(data, Receipt(parsed.received_at, flags), "")
        else:
            batch.add_admin(self._entry(index, parsed), parsed.received_at)
        drafts = batch.drafts[made:]
        if len(drafts) != 1:
            raise _Unknown(f"judged again it gives {len(drafts)} entries")
        self._check_keys(drafts[0])
        entry = seal_all(drafts, self._fold, self._keys)[0]
        if entry.leaf != leaf:
            raise _Unknown("made again, its leaf is another than the published one")
        return entry

    def _check_keys(self, draft: Any) -> None:
        """Sealing would make keys that are missing, and other salts with them."""
        state, month = self._fold.state, month_of(draft.at)
        for index in getattr(draft.entry, "sealed_by", ()):
            subject = state.subjects[index]
            if not subject.erased:
                self._key(subject.ref, month)

    def _salt(self, ref: bytes, index: int, at: int) -> bytes:
        return self._key(ref, month_of(at)).salt(index)

    def _key(self, ref: bytes, month: int) -> DataKey:
        try:
            return self._keys.get(ref, month)
        except StateError as error:
            if error.code == "state.erased":
                raise _Unknown("its device was erased since") from error
            if error.code == "state.key_missing":
                raise _Unknown(f"its data key of {month} is not in this backup of keys") from error
            raise

    # --- envelopes ------------------------------------------------------------------------------

    def _envelope(self, index: int, leaf: EnvelopeLeaf, content: bytes | None) -> bytes:
        """The bytes that the leaf commits to."""
        salt = self._salt(leaf.device, index, leaf.received_at)
        candidates = [] if content is None else [content]
        for data in candidates + self._by_position.get((leaf.epoch, leaf.n), []):
            if commitment(salt, data) == leaf.envelope:
                return data
        if content is not None:
            raise _Unknown("its published envelope does not fit its leaf under this backup's keys")
        raise _Unknown("no segment holds its envelope, and it was not supplied")

    # --- administration -------------------------------------------------------------------------

    def _entry(self, index: int, leaf: AdminLeaf) -> Admin:
        body: Any = leaf.body
        try:
            match leaf.kind:
                case kind if kind == TICK:
                    return Tick(body[0], body[1])
                case kind if kind == COUNTED:
                    return Counted(tuple(("restored", code, count) for code, count in body))
                case kind if kind == REVOKE:
                    return Revoked(self._did(body[0]), body[1], LOST_REASON)
                case kind if kind == ERASE:
                    refs = tuple(body[0])
                    return Erased(self._did(refs[0]).partition("#")[0], refs)
                case kind if kind == CARD:
                    return CardSet(self._card(body[0]))
                case kind if kind == POLICY:
                    return self._policy(body[0])
                case kind if kind == ENROL:
                    return self._enrolled(index, leaf)
                case kind if kind == ROTATE:
                    return self._rotated(index, leaf)
        except (LookupError, TypeError, ValueError) as error:
            raise _Unknown(
                f"its leaf has another form than this version writes: {error}"
            ) from error
        raise _Unknown("it is of a kind that this version does not write")

    def _did(self, ref: bytes) -> str:
        state = self._fold.state
        if ref not in state.by_ref:
            raise _Unknown("its device is not known")
        return state.subjects[state.by_ref[ref]].did

    def _card(self, digest: bytes) -> bytes:
        for card in self._cards:
            if hashlib.sha256(card).digest() == digest:
                return card
        raise _Unknown("its network card is not at hand: name it with --card")

    def _policy(self, digest: bytes) -> PolicySet:
        for policy in self._material.policies:
            if Policy.from_encoded(policy.encoded).digest == digest:
                return policy
        raise _Unknown("its policy is not at hand: name it with --policy")

    def _enrolled(self, index: int, leaf: AdminLeaf) -> Enrolled:
        ref, since, proof = leaf.body
        salt = self._salt(ref, index, leaf.received_at)
        for enrolment in self._material.enrolments:
            if commitment(salt, cbor.encode(enrolment.to_list())) == proof:
                return Enrolled(ref, since, enrolment)
        raise _Unknown("its enrolment document is not at hand: name it with --enrolments")

    def _rotated(self, index: int, leaf: AdminLeaf) -> Rotated:
        ref, since, proof, *until = leaf.body
        salt = self._salt(ref, index, leaf.received_at)
        for key in self._material.keys:
            if commitment(salt, key.cose_key) == proof:
                return Rotated(self._did(ref), key, since, *until)
        raise _Unknown("its new key is not at hand: name it with --new-key")

    # --- what is missing ------------------------------------------------------------------------

    def _missing(self, index: int, leaf: Leaf, why: str) -> Missing:
        return describe(index, leaf, self._fold, why)


def describe(index: int, leaf: Leaf, fold: Fold | None, why: str) -> Missing:
    """A published entry that is not in the journal, in words."""
    if isinstance(leaf, AdminLeaf):
        kind = KIND_NAMES.get(leaf.kind, str(leaf.kind))
        return Missing(index, kind, leaf.received_at, why)
    device = leaf.device.hex()
    if fold is not None and leaf.device in fold.state.by_ref:
        device = fold.state.subjects[fold.state.by_ref[leaf.device]].did
    name = f"{KIND_NAMES[KIND_ENVELOPE]}, {leaf.code}"
    return Missing(index, name, leaf.received_at, why, device, (leaf.epoch, leaf.n))
