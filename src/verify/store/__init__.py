"""Durable state of the aggregator: the journal, the keys of devices, the quarantine."""

from __future__ import annotations

from verify.store.data_key import DataKey, commitment
from verify.store.journal import Journal
from verify.store.journal_chain import JournalFileInfo
from verify.store.keystore import KeyStore
from verify.store.packing import NewBatch, Position, StoredBatch, StoredEntry
from verify.store.quarantine import Parked, Quarantine, QuarantineCounts

__all__ = [
    "DataKey",
    "Journal",
    "JournalFileInfo",
    "KeyStore",
    "NewBatch",
    "Parked",
    "Position",
    "Quarantine",
    "QuarantineCounts",
    "StoredBatch",
    "StoredEntry",
    "commitment",
]
