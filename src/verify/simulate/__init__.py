"""Simulated fleets: signed envelopes of any number of devices, some of which cheat, from a seed."""

from verify.simulate.cheats import CHEATS, Cheat, read_shares
from verify.simulate.fleet import Plan
from verify.simulate.writer import write

__all__ = ["CHEATS", "Cheat", "Plan", "read_shares", "write"]
