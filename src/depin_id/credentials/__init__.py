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
from depin_id.credentials.moments import format_moment, parse_moment
from depin_id.credentials.ownership import ClaimCheck, Owner, Owners, verify_chain
from depin_id.credentials.protocol import KeyOf, StatusCheck, StatusResult
from depin_id.credentials.subject_key import device_key
from depin_id.credentials.verifying import Verified, verify
from depin_id.credentials.wire import MAX_CREDENTIAL, make, write

__all__ = [
    "BatchProof",
    "BatchSubject",
    "BirthCertificate",
    "BirthSubject",
    "CONTEXT",
    "Calibration",
    "CalibrationSubject",
    "ClaimCheck",
    "Credential",
    "KeyOf",
    "Location",
    "LocationSubject",
    "MAX_CREDENTIAL",
    "Owner",
    "Owners",
    "Ownership",
    "OwnershipSubject",
    "ProductionBatch",
    "StatusCheck",
    "StatusResult",
    "TYPES",
    "Verified",
    "batch_digest",
    "batch_proof",
    "device_key",
    "format_moment",
    "issue",
    "leaf_hash",
    "make",
    "parse_moment",
    "sign_batch",
    "verify",
    "verify_birth",
    "verify_chain",
    "write",
]
