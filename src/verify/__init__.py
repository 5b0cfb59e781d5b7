"""The aggregator: it verifies provenance and attestation before data is accepted."""

from verify.policy import Policy
from verify.verdict import Accepted, Indeterminate, Rejected, Verdict
from verify.verifier import Verified, Verifier

__all__ = ["Accepted", "Indeterminate", "Policy", "Rejected", "Verdict", "Verified", "Verifier"]
