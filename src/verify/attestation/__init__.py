"""Attestation: is the device genuine, healthy and the holder of its key, all of it now?

One interface (:class:`EvidenceHandler`), one file or package for each format of evidence, found by
media type. Everything is a pure function of bytes, challenge, time and :class:`Materials`.
"""

from verify.attestation.appraisal import Appraisal, appraise_evidence
from verify.attestation.handlers import EvidenceHandler, handler_for, handlers
from verify.attestation.materials import Anchor, Anchors, Materials, Model, Models, Revocations
from verify.attestation.model import (
    BoundKey,
    Expected,
    HardwareRoot,
    Measurement,
    VerifiedClaims,
)
from verify.attestation.steps import Steps

__all__ = [
    "Anchor",
    "Anchors",
    "Appraisal",
    "BoundKey",
    "EvidenceHandler",
    "Expected",
    "HardwareRoot",
    "Materials",
    "Measurement",
    "Model",
    "Models",
    "Revocations",
    "Steps",
    "VerifiedClaims",
    "appraise_evidence",
    "handler_for",
    "handlers",
]
