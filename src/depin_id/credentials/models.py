"""The credentials of this house as W3C Verifiable Credentials 2.0, typed.

Members stand in the order of RFC 8785, and nothing in them is written in two ways: no floats
(measured figures are decimal texts), no nulls, moments in one spelling. So what a model writes is
canonical as it is, and bytes that a model takes and writes back unchanged are canonical too.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints
from pydantic.alias_generators import to_camel

from depin_id import strict_json
from depin_id.credentials.moments import PATTERN
from depin_id.jcs import canonicalize

V2: Final = "https://www.w3.org/ns/credentials/v2"
TERMS: Final = "https://www.w3.org/ns/credentials/undefined-terms/v2"
CONTEXT: Final = (V2, TERMS)
"""Every ``@context``, in this order. The second gives every other term a meaning of the issuer's;
what it is stands in docs/schemas."""
MAX_STATUS_BYTES: Final = 4096
MAX_LEAVES: Final = 1 << 32

Context = tuple[
    Literal["https://www.w3.org/ns/credentials/v2"],
    Literal["https://www.w3.org/ns/credentials/undefined-terms/v2"],
]
_DID = r"did:[a-z0-9]+:(?:(?:[A-Za-z0-9._-]|%[0-9A-Fa-f]{2})*:)*(?:[A-Za-z0-9._-]|%[0-9A-Fa-f]{2})+"
DidText = Annotated[str, StringConstraints(max_length=512, pattern=f"^{_DID}$")]
MethodText = Annotated[
    str, StringConstraints(max_length=1024, pattern=f"^{_DID}#[A-Za-z0-9._~:=%-]+$")
]
Text = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\p{C}\p{Zl}\p{Zp}]+$")
]
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Moment = Annotated[str, StringConstraints(pattern=PATTERN)]
Multikey = Annotated[str, StringConstraints(pattern="^z[1-9A-HJ-NP-Za-km-z]{40,64}$")]
Url = Annotated[str, StringConstraints(max_length=512, pattern=r"^[a-z][a-z0-9+.-]*:[!-~]+$")]
Decimal = Annotated[str, StringConstraints(pattern=r"^-?(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,12})?$")]
Positive = Annotated[str, StringConstraints(pattern=r"^(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,12})?$")]
_PART = "(?:[0-9]{0,6}[1-9])"
Latitude = Annotated[
    str,
    StringConstraints(pattern=rf"^(?:0|-?(?:90|0\.{_PART}|(?:[1-9]|[1-8][0-9])(?:\.{_PART})?))$"),
]
Longitude = Annotated[
    str,
    StringConstraints(
        pattern=rf"^(?:0|-?(?:180|0\.{_PART}|(?:[1-9][0-9]?|1[0-7][0-9])(?:\.{_PART})?))$"
    ),
]


class Model(BaseModel):
    """Strict and frozen; members of JSON are in camel case."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


class Proof(Model):
    """A Data Integrity proof of a suite over canonical JSON."""

    context: Context = Field(alias="@context")
    created: Moment | None = None
    cryptosuite: Literal["eddsa-jcs-2022", "ecdsa-jcs-2019"]
    expires: Moment | None = None
    proof_purpose: Annotated[str, StringConstraints(max_length=64)]
    proof_value: Annotated[str, StringConstraints(pattern="^z[1-9A-HJ-NP-Za-km-z]{64,140}$")]
    type: Literal["DataIntegrityProof"]
    verification_method: MethodText


class BatchProof(Model):
    """That a credential is a leaf under the root which a production batch's credential signs.

    Attributes:
        batch: digest of the credential of the batch, hex.
        index, size: which leaf of how many.
        path: the inclusion path (RFC 6962) from below, its hashes one behind the other, as
            multibase base64url (``u``, no padding).
    """

    batch: Digest
    index: Annotated[int, Field(ge=0, lt=MAX_LEAVES)]
    path: Annotated[str, StringConstraints(pattern="^u[A-Za-z0-9_-]{0,1366}$")]
    size: Annotated[int, Field(ge=1, le=MAX_LEAVES)]
    type: Literal["MerkleBatchProof"]


def _canonical(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with its members in canonical order, at every depth."""
    plain = all(type(item) is str and len(item) <= 512 for item in entry.values())
    if plain and list(entry) == sorted(entry):
        return entry
    found: dict[str, Any] = strict_json.parse(canonicalize(entry), max_bytes=MAX_STATUS_BYTES)
    return found


StatusEntry = Annotated[
    dict[Annotated[str, StringConstraints(pattern="^[!-~]{1,64}$")], JsonValue],
    Field(min_length=1, max_length=16),
    AfterValidator(_canonical),
]
"""An entry of a status list, of whatever type: what is in it is the list's business."""


class Credential(Model):
    """What all credentials say; make one of the classes below.

    ``@context`` and ``type`` are the same for all of a class, and the proof is no part of what is
    said: the three stand in the document only.

    Attributes:
        credential_status: where its revocation is looked up.
        id: a name for it, where it has one.
        issuer: DID of who signs.
        valid_from, valid_until: the validity, both ends in it.
    """

    TYPE: ClassVar[str] = ""

    credential_status: StatusEntry | None = None
    credential_subject: Any
    id: Url | None = None
    issuer: DidText
    valid_from: Moment
    valid_until: Moment | None = None


class BirthSubject(Model):
    """What a manufacturer says of a device.

    Attributes:
        batch: production batch.
        claim_digest: SHA-256 that a claim code has to match, hex.
        id: DID of the device.
        key: its public key as multikey; for did:key and did:jwk that of the DID.
    """

    batch: Text
    claim_digest: Digest | None = None
    hardware_revision: Text
    id: DidText
    key: Multikey
    key_protection: Literal["software", "tee", "tpm", "secure-element"]
    model: Text
    serial: Text


class BirthCertificate(Credential):
    """Manufacturer to device: signed by itself, or as a leaf of a batch."""

    TYPE: ClassVar[str] = "DeviceBirthCertificate"

    credential_subject: BirthSubject


class BatchSubject(Model):
    """A production batch.

    Attributes:
        batch: its name, as in each certificate.
        root: RFC 6962 root over the certificates, hex.
        size: how many there are.
    """

    batch: Text
    root: Digest
    size: Annotated[int, Field(ge=1, le=MAX_LEAVES)]


class ProductionBatch(Credential):
    """Manufacturer to all devices of a batch at once."""

    TYPE: ClassVar[str] = "ProductionBatch"

    credential_subject: BatchSubject


class OwnershipSubject(Model):
    """Who owns a device from ``valid_from`` on.

    Attributes:
        id: DID of the device.
        owner: DID of the new owner.
        previous: digest of the credential before: the birth certificate, or the transfer to whom
            signs this one; hex.
    """

    id: DidText
    owner: DidText
    previous: Digest


class Ownership(Credential):
    """Owner before (at first the manufacturer, or who claims) to the owner after.

    It has no end of its own: an ownership ends with the next transfer.
    """

    TYPE: ClassVar[str] = "DeviceOwnership"

    credential_subject: OwnershipSubject
    valid_until: None = None


class CalibrationSubject(Model):
    """What a laboratory found.

    Attributes:
        coverage_factor: k of the uncertainty.
        id: DID of the device.
        quantity, unit: what was compared, such as ``sound pressure level`` and ``dB``.
        reference: the standard it was compared with, traceable.
        uncertainty: expanded, in the unit.
    """

    coverage_factor: Positive
    id: DidText
    quantity: Text
    reference: Text
    uncertainty: Positive
    unit: Text


class Calibration(Credential):
    """Laboratory to device, for a time."""

    TYPE: ClassVar[str] = "DeviceCalibration"

    credential_subject: CalibrationSubject
    valid_until: Moment


class LocationSubject(Model):
    """Where a device stands (WGS 84).

    Attributes:
        accuracy: radius in metres.
        altitude: metres above the ellipsoid.
        id: DID of the device.
        latitude, longitude: degrees, at most seven decimals.
    """

    accuracy: Positive
    altitude: Decimal | None = None
    id: DidText
    latitude: Latitude
    longitude: Longitude


class Location(Credential):
    """Whoever saw it to device, for a time."""

    TYPE: ClassVar[str] = "DeviceLocation"

    credential_subject: LocationSubject
    valid_until: Moment


TYPES: Final[dict[str, type[Credential]]] = {
    model.TYPE: model
    for model in (BirthCertificate, ProductionBatch, Ownership, Calibration, Location)
}
"""Every type that is taken, by its second name."""
