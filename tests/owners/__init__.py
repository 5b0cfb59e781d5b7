"""Owners: codes, claims, wallets, succession."""
