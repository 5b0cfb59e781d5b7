"""Credentials of devices: birth, ownership, calibration, location (W3C VC Data Model 2.0).

signed = credentials.issue(certificate, signer, verification_method=..., created=...)
verified = credentials.verify(data, key_of=..., now_ms=..., expected_subject=device_did)
"""

from depin_id.credentials.batch import (
    batch_digest,
    batch_proof,
    leaf_hash,
    sign_batch,
    verify_birth,
)
from depin_id.credentials.issuing import issue
from depin_id.credentials.models import (
    CONTEXT,
    TYPES,
    BatchProof,
    BatchSubject,
    BirthCertificate,
    BirthSubject,
    Calibration,
    CalibrationSubject,
    Credential,
    Location,
    LocationSubject,
    Ownership,
    OwnershipSubject,
    ProductionBatch,
)
from depin_id.credentials.protocol import KeyOf, StatusCheck, StatusResult
from depin_id.credentials.subject_key import device_key
from depin_id.credentials.verifying import Verified, verify
from depin_id.credentials.wire import MAX_CREDENTIAL, write

__all__ = [
    "CONTEXT",
    "MAX_CREDENTIAL",
    "TYPES",
    "BatchProof",
    "BatchSubject",
    "BirthCertificate",
    "BirthSubject",
    "Calibration",
    "CalibrationSubject",
    "Credential",
    "KeyOf",
    "Location",
    "LocationSubject",
    "Ownership",
    "OwnershipSubject",
    "ProductionBatch",
    "StatusCheck",
    "StatusResult",
    "Verified",
    "batch_digest",
    "batch_proof",
    "device_key",
    "issue",
    "leaf_hash",
    "sign_batch",
    "verify",
    "verify_birth",
    "write",
]
