"""The aggregator: it verifies provenance and attestation before data is accepted."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from verify.policy import Policy
    from verify.verdict import Accepted, Indeterminate, Rejected, Verdict
    from verify.verifier import Verified, Verifier

__all__ = ["Accepted", "Indeterminate", "Policy", "Rejected", "Verdict", "Verified", "Verifier"]

# Loaded when asked for: every module of this package imports the package, and a command that only
# reads a folder needs no verifier.
_FROM: Final = {"Policy": "policy", "Verified": "verifier", "Verifier": "verifier"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"verify.{_FROM.get(name, 'verdict')}"), name)
