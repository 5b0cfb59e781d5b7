"""A device's key in a TPM: what lies in the device's folder only this TPM can use."""

from __future__ import annotations

import threading
from typing import Any, Final

from depin_id import cbor
from depin_id.attestation.tpm_structures import read_ecdsa, read_p256
from depin_id.attestation.tpm_tools import TpmTools
from depin_id.errors import AttestationError, EncodingError
from depin_id.keyfile import TPM_TYPE
from depin_id.keys import DigestSigner, PublicKey

MAX_BLOB: Final = 512
_FIELDS: Final = {"type", "curve", "public", "tpm_public", "tpm_private"}


class TpmSigner:
    """Signs with a P-256 key that was made in a TPM and cannot leave it.

    Make one with :meth:`new` or :meth:`of_file`. Thread-safe. Each signature is verified before it
    leaves, and has a low s.

    Attributes:
        tpm_public: TPM2B_PUBLIC. tpm_private: TPM2B_PRIVATE, sealed by the TPM for itself.
    """

    def __init__(self, public_key: PublicKey, tpm_public: bytes, tpm_private: bytes) -> None:
        self.tpm_public, self.tpm_private = tpm_public, tpm_private
        self._lock = threading.Lock()
        self._tools: TpmTools | None = None
        self._signer = DigestSigner(public_key, self._sign_digest)

    @classmethod
    def new(cls) -> TpmSigner:
        """Make a key in the TPM.

        Raises:
            AttestationError: as :meth:`~depin_id.attestation.tpm_tools.TpmTools.run`.
        """
        with TpmTools() as tools:
            tpm_public, tpm_private = tools.create_key()
        return cls(read_p256(tpm_public[2:]), tpm_public, tpm_private)

    @classmethod
    def of_file(cls, fields: dict[Any, Any]) -> TpmSigner:
        """The signer of a key file's fields; the TPM is not asked yet.

        Raises:
            EncodingError: ``key.malformed``. KeyRefused.
        """
        area: Any = fields.get("tpm_public")
        private: Any = fields.get("tpm_private")
        if set(fields) != _FIELDS or not _is_blob(area) or not _is_blob(private):
            raise EncodingError("key.malformed", "the fields are not those of a key in a TPM")
        try:
            public = read_p256(area[2:])
        except AttestationError as error:
            raise EncodingError("key.malformed", error.message) from error
        if fields["curve"] != "p256" or fields["public"] != public.cose_key:
            raise EncodingError("key.malformed", "the public key is not that of the TPM's")
        return cls(public, area, private)

    @property
    def key_file(self) -> bytes:
        """What a device's folder keeps: where the key is, not the key."""
        public = self.public_key
        fields = {"type": TPM_TYPE, "curve": public.curve, "public": public.cose_key}
        return cbor.encode(
            {**fields, "tpm_public": self.tpm_public, "tpm_private": self.tpm_private}
        )

    @property
    def public_key(self) -> PublicKey:
        """The admitted public half."""
        return self._signer.public_key

    def sign(self, message: bytes) -> bytes:
        """Sign in the TPM.

        Raises:
            AttestationError: as :meth:`~depin_id.attestation.tpm_tools.TpmTools.run`.
            SignatureInvalid: the TPM gave a wrong signature.
        """
        return self._signer.sign(message)

    def _sign_digest(self, digest: bytes) -> bytes:
        with self._lock:
            self._tools = self._tools or TpmTools()
            for last in (False, True):
                try:
                    return self._ask(self._tools, digest)
                except AttestationError as error:
                    if last or error.code != "attestation.tpm":
                        raise
                    # It may have been reset since the key was loaded.
                    self._tools.forget()
            raise AssertionError("unreachable")

    def _ask(self, tools: TpmTools, digest: bytes) -> bytes:
        context = tools.load_key("device", self.tpm_public, self.tpm_private)
        tools.run_object(
            *("tpm2_sign", "-Q", "-c", context, "-g", "sha256", "-s", "ecdsa"),
            *("-d", tools.write("digest", digest), "-o", str(tools.path("signature"))),
        )
        return read_ecdsa(tools.read("signature"))


def _is_blob(value: object) -> bool:
    return type(value) is bytes and 2 < len(value) <= MAX_BLOB
