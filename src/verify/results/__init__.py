"""Attestation results in the journal: what was appraised, what it was judged by, what was revoked.

How one piece of evidence is appraised is in :mod:`verify.attestation`.
"""
