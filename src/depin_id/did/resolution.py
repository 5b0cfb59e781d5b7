"""What goes into a resolution and what comes out of it, in the terms of W3C DID Resolution 1.0.

Errors are known here by the short codes that DID Core 1.0 gave them (``notFound``); the current
text writes an address in their place, in an object after RFC 9457, which is how
:meth:`Resolution.to_json` prints them (section 11, "Errors").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from depin_id import rfc3339
from depin_id.errors import DepinError, DIDError, KeyRefused

MEDIA_TYPE: Final = "application/did"
MEDIA_TYPES: Final = (MEDIA_TYPE, "application/did+json", "application/did+ld+json")
"""What a document may be asked for as; the last two are the names of DID Core 1.0."""
_DID: Final = "https://www.w3.org/ns/did#"
_SECURITY: Final = "https://w3id.org/security#"
PROBLEMS: Final = {
    "invalidDid": (f"{_DID}INVALID_DID", "The DID is not valid"),
    "invalidDidDocument": (f"{_DID}INVALID_DID_DOCUMENT", "The DID document is not valid"),
    "invalidDidUrl": (f"{_DID}INVALID_DID_URL", "The DID URL is not valid"),
    "invalidOptions": (f"{_DID}INVALID_OPTIONS", "The options are not valid"),
    "notFound": (f"{_DID}NOT_FOUND", "Nothing was found"),
    "methodNotSupported": (f"{_DID}METHOD_NOT_SUPPORTED", "The DID method is not known here"),
    "featureNotSupported": (f"{_DID}FEATURE_NOT_SUPPORTED", "This is not supported here"),
    "representationNotSupported": (
        f"{_DID}REPRESENTATION_NOT_SUPPORTED",
        "The document does not come in this form",
    ),
    "internalError": (f"{_DID}INTERNAL_ERROR", "The DID could not be resolved"),
    "invalidPublicKey": (f"{_SECURITY}INVALID_PUBLIC_KEY", "A public key is not admissible"),
    "unsupportedPublicKeyType": (
        f"{_SECURITY}UNSUPPORTED_PUBLIC_KEY_TYPE",
        "A public key is of a type that is not used here",
    ),
    "invalidVerificationMethod": (
        f"{_SECURITY}INVALID_VERIFICATION_METHOD",
        "This is no verification method",
    ),
    "invalidRelationshipForVerificationMethod": (
        f"{_SECURITY}INVALID_RELATIONSHIP_FOR_VERIFICATION_METHOD",
        "The verification method may not be used for this",
    ),
}
"""Error codes: each with its address in the standard, and a title for people."""

_CODES: Final = {
    "did.malformed": "invalidDid",
    "did.url_malformed": "invalidDidUrl",
    "did.document": "invalidDidDocument",
    "did.options": "invalidOptions",
    "did.method_not_supported": "methodNotSupported",
    "did.feature_not_supported": "featureNotSupported",
    "did.representation_not_supported": "representationNotSupported",
    "did.not_found": "notFound",
    "did.key_not_supported": "unsupportedPublicKeyType",
    "did.verification_method": "invalidVerificationMethod",
    "did.relationship": "invalidRelationshipForVerificationMethod",
    "fetch.not_found": "notFound",
    "key.not_admissible": "invalidPublicKey",
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
MAX_VERSION_ID: Final = 256


def error_code(error: DepinError) -> str:
    """The standard's short code for an error of ours."""
    if error.code in _CODES:
        return _CODES[error.code]
    if error.code.startswith("did.webvh."):
        # A log that does not verify is, in the words of the method, a DID that is not valid.
        return "invalidDid"
    if error.code.startswith("peaq."):
        return "invalidDidDocument"
    if isinstance(error, KeyRefused):
        return "invalidPublicKey"
    return "internalError"


def parse_version_time(text: object) -> int:
    """A ``versionTime`` as milliseconds since 1970 (section 3.1, "Datetime").

    Raises:
        DIDError: ``did.options``.
    """
    found = rfc3339.milliseconds(text.upper() if isinstance(text, str) else None)
    if found is None:
        raise DIDError(
            "did.options", "the versionTime is not a time", hint="such as 2026-11-21T14:00:00Z"
        )
    return found


def show_time(milliseconds: int) -> str:
    """A time as metadata carry it: UTC, whole seconds.

    Raises:
        DIDError: ``did.options``: outside of the years 1 to 9999.
    """
    try:
        return (_EPOCH + milliseconds * _MS).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        raise DIDError("did.options", "the time is not between the years 1 and 9999") from None


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for beside the DID (section 4.1).

    Attributes:
        version_id: this version of the document.
        version_number: this version, from 1 on (a parameter of did:webvh).
        version_time: the version that held at this time, milliseconds since 1970.
        accept: media type of the document.
        no_cache: nothing that was kept from before.
    """

    version_id: str | None = None
    version_time: int | None = None
    version_number: int | None = None
    accept: str | None = None
    no_cache: bool = False

    def check(self) -> None:
        """Raises DIDError ``did.options``, ``did.representation_not_supported``."""
        wrong = None
        asked = (self.version_id, self.version_time, self.version_number)
        if sum(option is not None for option in asked) > 1:
            wrong = "only one of versionId, versionTime and versionNumber can be given"
        elif self.version_id is not None and not _is_version_id(self.version_id):
            wrong = f"a versionId is ASCII text of 1 to {MAX_VERSION_ID} characters"
        elif self.version_time is not None and type(self.version_time) is not int:
            wrong = "versionTime is not a number of milliseconds"
        elif self.version_number is not None and type(self.version_number) is not int:
            wrong = "versionNumber is not a number"
        if wrong is not None:
            raise DIDError("did.options", wrong)
        if self.accept is not None and self.accept not in MEDIA_TYPES:
            raise DIDError(
                "did.representation_not_supported",
                f"there is no {str(self.accept)[:60]!r} of a DID document",
                hint=f"ask for {MEDIA_TYPE}",
            )

    @property
    def versioned(self) -> bool:
        """Whether a version is asked for."""
        return (self.version_id, self.version_time, self.version_number) != (None, None, None)


def _is_version_id(text: object) -> bool:
    return (
        isinstance(text, str)
        and 0 < len(text) <= MAX_VERSION_ID
        and text.isascii()
        and text.isprintable()
    )


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a resolution gave (DID Resolution section 4).

    Attributes:
        document: the DID document, None on an error. A deactivated did:webvh keeps its last one
            beside ``deactivated``, as the method's test suite has it.
        document_metadata: about the document: ``created``, ``updated``, ``deactivated``,
            ``versionId``, ``nextVersionId``, ``canonicalId``, ``equivalentId`` and others.
        resolution_metadata: ``contentType``, or ``error`` (a key of :data:`PROBLEMS`), ``message``
            and ``code`` (ours).
    """

    document: dict[str, Any] | None
    document_metadata: dict[str, Any] = field(default_factory=dict)
    resolution_metadata: dict[str, str] = field(default_factory=dict)

    @property
    def error(self) -> str | None:
        """The error code, None when the DID was resolved."""
        return self.resolution_metadata.get("error")

    @property
    def deactivated(self) -> bool:
        """Whether the DID is deactivated: none of its keys may be used any more."""
        return self.document_metadata.get("deactivated") is True

    def to_json(self) -> dict[str, Any]:
        """The result as the standard writes it in JSON (section 4.5, 10.1)."""
        return {
            "didDocument": self.document,
            "didDocumentMetadata": self.document_metadata,
            "didResolutionMetadata": problem(self.resolution_metadata),
        }


@dataclass(frozen=True, slots=True)
class Dereferenced:
    """What a DID URL names (DID Resolution section 5).

    Attributes:
        content: a verification method, a service or a document; a list of addresses for a
            ``relativeRef``; None on an error.
        content_metadata: of the document that it is part of.
        metadata: ``contentType``, or ``error``, ``message`` and ``code``.
    """

    content: Any
    content_metadata: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def error(self) -> str | None:
        """The error code, None when something was found."""
        return self.metadata.get("error")

    def to_json(self) -> dict[str, Any]:
        """The result as the standard writes it in JSON."""
        return {
            "content": self.content,
            "contentMetadata": self.content_metadata,
            "dereferencingMetadata": problem(self.metadata),
        }


def failure(error: DepinError) -> dict[str, str]:
    """Resolution metadata of an error."""
    found = {"error": error_code(error), "message": error.message, "code": error.code}
    return found | {"hint": error.hint} if error.hint else found


def problem(metadata: dict[str, str]) -> dict[str, Any]:
    """Metadata with the error as an object (RFC 9457)."""
    if "error" not in metadata:
        return dict(metadata)
    address, title = PROBLEMS[metadata["error"]]
    hint = f" ({metadata['hint']})" if "hint" in metadata else ""
    error = {"type": address, "title": title, "detail": metadata.get("message", "") + hint}
    return {"error": error | ({"code": metadata["code"]} if "code" in metadata else {})}


def unversioned(document: dict[str, Any], options: Options) -> Resolution:
    """The resolution of a DID that has one document for ever.

    Raises:
        DIDError: ``did.not_found``: a version is asked for by name, and there is none.
    """
    if options.version_id is not None or options.version_number not in (None, 1):
        raise DIDError("did.not_found", "this DID has no version of that name")
    return Resolution(document, {}, {"contentType": MEDIA_TYPE})
