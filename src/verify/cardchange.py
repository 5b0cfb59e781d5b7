"""A new network card for an aggregator, whether it runs, stands, or cannot start for want of a key.

The entry is written without the operating keys: a lost key is no reason not to take the card that
replaces it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from depin_id.errors import StateError
from depin_id.network import read_card
from verify import snapshot
from verify.aggregator import Aggregator, wall_clock
from verify.batch import Batch
from verify.control import ask
from verify.entries import CardSet
from verify.operating import check_successor, stage
from verify.replay import journal_lookup, replay
from verify.sealing import seal_all
from verify.store import Journal, KeyStore, NewBatch
from verify.workspace import Workspace


def activate(root: Path, data: bytes) -> Any:
    """Put a new card in force: an entry of the log, then its keys sign.

    Args:
        root: the aggregator's directory; the private keys that the card names are in ``network/``.
        data: the signed card.

    Returns:
        ``{"card": number, "index": of the entry}``.

    Raises:
        NetworkError: ``network.card_old``, ``network.foreign``, ``network.expired``,
            ``network.renamed``, ``network.keys``, ``network.card``. StateError: the stores.
    """
    workspace = Workspace(root)
    workspace.check()
    read_card(data)  # what is no card is refused before anybody is asked
    try:
        journal = Journal.open(workspace.journal)
    except StateError as error:
        if error.code != "state.locked":
            raise
        return ask(workspace, {"op": "card", "card": data.hex()})
    with journal, KeyStore.open(workspace.keys) as keys:
        made = _write(workspace, journal, keys, data)
    # Opening it settles the keys, signs a checkpoint with the new one and publishes the card.
    with Aggregator(root):
        return made


def _write(workspace: Workspace, journal: Journal, keys: KeyStore, data: bytes) -> dict[str, int]:
    fold = snapshot.load(workspace.snapshots, keys, journal)
    replay(journal, keys, fold)
    now = max(wall_clock(), fold.last_received_at)
    card = read_card(data, network=fold.card.network)
    check_successor(fold.card, card, now // 1000)
    stage(workspace.operating, card)
    batch = Batch(fold, journal_lookup(journal), os.urandom)
    index = fold.size
    batch.add_admin(CardSet(data), now)
    sealed = seal_all(batch.drafts, fold, keys)
    journal.append(
        NewBatch(
            received_at=now,
            leaves=[entry.leaf for entry in sealed],
            deltas=[entry.delta for entry in sealed],
            sealed=[entry.sealed for entry in sealed],
            positions=[],
        )
    )
    return {"card": card.number, "index": index}
