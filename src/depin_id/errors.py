"""The one family of errors.

Every error that a public call raises on bad input is a :class:`DepinError` with a stable dotted
``code`` (the same vocabulary as the verdict table), a message that says what was wrong and where,
and a ``hint`` that says what to do about it.
"""

from __future__ import annotations

from typing import Any


class DepinError(Exception):
    """Base of every error of the SDK.

    Args:
        code: stable dotted name, for machines (``envelope.malformed``).
        message: what was wrong and where, for people.
        hint: what to do about it; empty when there is nothing to do.
    """

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.code}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text

    def to_json(self) -> dict[str, Any]:
        """The error as a JSON-ready mapping: ``code``, ``message``, ``hint``."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class EncodingError(DepinError):
    """Bytes are not the encoding they should be (CBOR, JSON, multibase, SenML)."""


class KeyRefused(DepinError):
    """A key was not admitted, or does not fit the algorithm it is used with."""


class SignatureInvalid(DepinError):
    """A signature does not verify over the received bytes."""


class EnvelopeError(DepinError):
    """A signed object has the wrong form: headers, kind, content type or position."""


class ReadingError(DepinError):
    """A reading, or a file of readings, cannot be taken as it is."""


class DIDError(DepinError):
    """A DID or DID URL has the wrong syntax, or its method cannot be resolved."""


class FetchError(DepinError):
    """Something was not fetched: its address is refused, or what came is not what it should be."""


class CredentialError(DepinError):
    """A credential, capability, status list or proof has the wrong form, or is not good here."""


class AttestationError(DepinError):
    """Evidence of a device, an attestation result, or what either is judged by, is not good."""


class NetworkError(DepinError):
    """A network card or a network's files are not what they should be."""


class StateError(DepinError):
    """Durable state (position, key file, journal, spool) is missing, locked or damaged."""


class ConfigError(DepinError):
    """A configuration, policy or profile file is wrong."""


class LogError(DepinError):
    """A transparency log, proof or checkpoint does not verify or has the wrong form."""


class DatasetError(DepinError):
    """A dataset file is damaged, or differs from the log that it claims to come from."""


class TransportError(DepinError):
    """A broker, file or port could not be used."""
