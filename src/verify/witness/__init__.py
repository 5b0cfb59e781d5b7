"""Witnesses of logs (c2sp.org/tlog-witness): being one, and asking them."""

from verify.witness.asking import Asker, AskingThread, Round
from verify.witness.client import WitnessClient
from verify.witness.core import Reply, Witness
from verify.witness.request import AddCheckpoint, format_request
from verify.witness.server import WitnessServer, application
from verify.witness.settings import Asked, WitnessSettings, load_settings, parse_settings
from verify.witness.store import WatchedLog, WitnessDir

__all__ = [
    "AddCheckpoint",
    "Asked",
    "Asker",
    "AskingThread",
    "Reply",
    "Round",
    "WatchedLog",
    "Witness",
    "WitnessClient",
    "WitnessDir",
    "WitnessServer",
    "WitnessSettings",
    "application",
    "format_request",
    "load_settings",
    "parse_settings",
]
