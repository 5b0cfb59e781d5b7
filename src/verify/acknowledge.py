"""Signed acknowledgements of what was committed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from depin_id.ack import Ack, AckItem, challenge_nonce, sign_ack, split_items
from depin_id.keys import Signer
from verify.batch import Answer, Batch, Reply
from verify.fold import Fold
from verify.identity.desk import Told
from verify.ingest import Downlink
from verify.leaf import EnvelopeLeaf, parse_leaf
from verify.log import leaf_hash
from verify.sealing import SealedEntry
from verify.store import Journal

_PER_MS = 4096
FIRST_CARD = 1
MAX_TOLD = 65_536
"""How many recipients are remembered to have got the card; beyond it they get it again."""


class Acknowledger:
    """Makes acknowledgements; numbers rise for every recipient, also over restarts."""

    def __init__(self, fold: Fold, journal: Journal, signer: Signer) -> None:
        self._fold = fold
        self._journal = journal
        self.signer = signer
        self._told: set[bytes] = set()
        self._told_card = b""
        # Above whatever was said before a restart, unless the clock was set back far.
        self._number = (fold.last_received_at + 1) * _PER_MS

    def answer(self, batch: Batch, sealed: list[SealedEntry], now_ms: int) -> list[Downlink]:
        """One or more acknowledgements per publisher of a committed batch, and per request."""
        downlinks = self._answer(Reply(batch.answers, batch.nonces), batch, sealed, now_ms, 0)
        for gateway, reply in batch.carried.items():
            # Signed for the device, for it believes nothing else; who carried it knows the way.
            downlinks += self._answer(reply, batch, sealed, now_ms, 0, gateway)
        for number, reply in batch.replies.items():
            if reply.answers:
                found = self._answer(reply, batch, sealed, now_ms, number)
            else:
                found = [Downlink(b"", b"", number, reply.refused or "envelope.malformed")]
            downlinks += [replace(found[0], forged=reply.forged), *found[1:]]
        return downlinks

    def tell(self, told: Sequence[Told], now_ms: int) -> list[Downlink]:
        """What became of statements: to who asked, by the way that he asked."""
        downlinks = []
        for message, identity, result in told:
            data, number, to = result.answer, message.reply, result.recipient
            if data is None and to:
                item = self._item(Answer(identity, result.code, result.entry), 0, [])
                data = self._sign(to, (item,), None, now_ms)
            if number:
                downlinks.append(Downlink(b"", data or b"", number, result.code))
            elif data is not None:
                kid = bytes.fromhex(message.principal)
                downlinks += [Downlink(kid, card.data) for card in self._card_for(to, [])]
                downlinks.append(Downlink(kid, data))
        return downlinks

    def _answer(
        self,
        reply: Reply,
        batch: Batch,
        sealed: list[SealedEntry],
        now_ms: int,
        number: int,
        gateway: bytes = b"",
    ) -> list[Downlink]:
        first = batch.drafts[0].index if batch.drafts else self._journal.size
        downlinks = []
        for thumbprint, answers in reply.answers.items():
            if not number and not gateway:
                downlinks += self._card_for(thumbprint, answers)
            items = [self._item(answer, first, sealed) for answer in answers]
            for part in split_items(items):
                data = self._sign(thumbprint, part, reply.nonces.get(thumbprint), now_ms)
                downlinks.append(Downlink(gateway or thumbprint[:8], data, number))
        return downlinks

    def _card_for(self, thumbprint: bytes, answers: list[Answer]) -> list[Downlink]:
        """The card, before what is signed by a key that the recipient may not know yet.

        Told once to each, and again when something comes twice: an acknowledgement that was not
        understood frees nothing. The first card of a network came with the device.
        """
        data = self._fold.card_bytes
        if self._fold.card.number <= FIRST_CARD:
            return []
        if self._told_card != data or len(self._told) >= MAX_TOLD:
            self._told, self._told_card = set(), data
        twice = any(answer.entry is not None and not answer.code for answer in answers)
        if thumbprint in self._told and not twice:
            return []
        self._told.add(thumbprint)
        return [Downlink(thumbprint[:8], data)]

    def _item(self, answer: Answer, first: int, sealed: list[SealedEntry]) -> AckItem:
        if answer.entry is None:
            return AckItem(answer.id, answer.code, None, None)
        at = answer.entry - first
        known = 0 <= at < len(sealed)
        leaf = sealed[at].leaf if known else self._journal.entry(answer.entry).leaf
        code = answer.code or _code(leaf)
        return AckItem(answer.id, code, answer.entry, leaf_hash(leaf))

    def _sign(
        self,
        thumbprint: bytes,
        items: tuple[AckItem, ...],
        nonce: bytes | None,
        now_ms: int,
    ) -> bytes:
        card = self._fold.card
        self._number = max(self._number + 1, now_ms * _PER_MS)
        ack = Ack(
            thumbprint,
            self._number,
            now_ms,
            nonce,
            card.log_origin,
            items,
            self._beacon(thumbprint),
        )
        return sign_ack(ack, network=card.network, signer=self.signer)

    def _beacon(self, thumbprint: bytes) -> bytes | None:
        beacons = self._fold.state.beacons
        if not beacons:
            return None
        size = next(reversed(beacons))
        return challenge_nonce(size, beacons[size][1], thumbprint)


def _code(leaf: bytes) -> str:
    read = parse_leaf(leaf)
    return read.code if isinstance(read, EnvelopeLeaf) else "accepted"
