"""The formats of evidence: one handler each, found by media type.

Other people's are entry points of the group ``depin_id.evidence``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final, Protocol, TypeVar

from depin_id.errors import AttestationError
from verify.attestation.materials import Anchors, Model
from verify.attestation.model import Expected, VerifiedClaims
from verify.attestation.steps import Steps

GROUP: Final = "depin_id.evidence"
Parsed = TypeVar("Parsed")


class EvidenceHandler(Protocol[Parsed]):
    """One format of evidence. Handlers hold no state; every method is pure.

    Attributes:
        name: short name of the format (``tpm2``): of its steps, anchors and models.
        media_types: what evidence of it is called, parameters included.
        max_bytes: bound on its size.
    """

    @property
    def name(self) -> str: ...

    @property
    def media_types(self) -> frozenset[str]: ...

    @property
    def max_bytes(self) -> int: ...

    def parse(self, raw: bytes, steps: Steps) -> Parsed:
        """Read evidence: form only, bounded in time and memory. No signature is looked at.

        Raises AttestationError.
        """

    def hints(self, parsed: Parsed) -> Mapping[str, str]:
        """What it claims to be of (``implementation``, ``app_id``): a model is chosen by it."""

    def verify(
        self,
        parsed: Parsed,
        *,
        anchors: Anchors,
        expected: Expected,
        model: Model,
        at: int,
        steps: Steps,
    ) -> VerifiedClaims:
        """Verify signatures, chain and everything that the format's checklist has.

        Args:
            anchors: of all formats. expected: what :attr:`VerifiedClaims.challenge_seen` and
                :attr:`VerifiedClaims.bound_key` will be compared with, by the caller.
            model: whose settings the format needs. at: time of the appraisal, ms since 1970.
            steps: every check becomes one.

        Raises:
            AttestationError: a check failed (:meth:`Steps.fail`).
        """


_BUILT_IN: Final[Mapping[str, str]] = {
    "fdo": "verify.attestation.fdo",
    "android-key": "verify.attestation.android_key",
    "app-attest": "verify.attestation.app_attest",
    "tpm2": "verify.attestation.tpm2",
    "idevid": "verify.attestation.idevid",
    "cca": "verify.attestation.cca",
    "eat": "verify.attestation.eat",
    "esp-tee": "verify.attestation.esp_tee",
    "psa": "verify.attestation.psa",
    "nitro": "verify.attestation.nitro",
    "open-dice": "verify.attestation.open_dice",
}
"""Format to the module that has its handler, as ``HANDLER``."""


def format_names() -> frozenset[str]:
    """Names of all formats; none of their modules is loaded."""
    return frozenset((*_BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))))


@cache
def handlers() -> Mapping[str, EvidenceHandler[Any]]:
    """All handlers by name. A name is one handler's; ours come first."""
    found: dict[str, EvidenceHandler[Any]] = {
        name: import_module(module).HANDLER for name, module in _BUILT_IN.items()
    }
    for entry in entry_points(group=GROUP):
        if entry.name not in found:
            found[entry.name] = entry.load()
    return found


@cache
def _by_media_type() -> Mapping[str, EvidenceHandler[Any]]:
    return {
        media_type: handler for handler in handlers().values() for media_type in handler.media_types
    }


def handler_for(media_type: str) -> EvidenceHandler[Any]:
    """The handler of a media type. Raises AttestationError ``attestation.format``."""
    found = _by_media_type().get(media_type)
    if found is None:
        raise AttestationError(
            "attestation.format",
            f"no format of evidence is called {media_type[:100]!r}",
            hint="the help of `depin-verify evidence` says which formats there are",
        )
    return found
