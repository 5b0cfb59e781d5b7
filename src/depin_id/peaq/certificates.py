"""Certificates of secure elements: a leaf, its path to a root, and the P-256 key that it certifies.

No root is built in: the manufacturer's certificates are given as files.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NoReturn

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from depin_id.errors import ConfigError, CredentialError

MAX_BYTES: Final = 1 << 14
MAX_CERTIFICATES: Final = 16
_UNREADABLE: Final = (
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
_LEAF: Final = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.CRITICAL, None)
    .require_present(x509.KeyUsage, Criticality.CRITICAL, None)
)


def _refuse(what: str) -> NoReturn:
    raise CredentialError(
        "peaq.certificate",
        f"the chip's certificate is not trusted: {what}",
        hint="it has to lead to one of the manufacturer's roots",
    )


def _load(data: bytes) -> x509.Certificate:
    pem = data.lstrip().startswith(b"-----BEGIN")
    read = x509.load_pem_x509_certificate if pem else x509.load_der_x509_certificate
    try:
        if len(data) <= MAX_BYTES:
            return read(data)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        pass
    raise ConfigError("config.certificate", "a certificate is neither DER nor PEM")


class CertificatePath:
    """Checks leaf certificates against roots that the caller trusts.

    Args:
        roots: DER or PEM, 1 to 16 of them.
        intermediates: DER or PEM.

    Raises:
        ConfigError: ``config.certificate``.
    """

    def __init__(self, roots: Sequence[bytes], intermediates: Sequence[bytes] = ()) -> None:
        if not roots or len(roots) + len(intermediates) > MAX_CERTIFICATES:
            raise ConfigError("config.certificate", f"1 to {MAX_CERTIFICATES} certificates")
        self._store = Store([_load(data) for data in roots])
        self._between = [_load(data) for data in intermediates]

    def __call__(self, leaf: bytes, now_ms: int) -> bytes:
        """The certified P-256 point, 65 bytes.

        Args:
            leaf: DER. now_ms: milliseconds since 1970.

        Raises:
            CredentialError: ``peaq.certificate``.
        """
        try:
            certificate = x509.load_der_x509_certificate(leaf)
            key = certificate.public_key()
            usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
            constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
            (
                PolicyBuilder()
                .store(self._store)
                .time(datetime.fromtimestamp(now_ms / 1000, UTC))
                .max_chain_depth(3)
                .extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=_LEAF)
                .build_client_verifier()
                .verify(certificate, self._between)
            )
        except (*_UNREADABLE, UnsupportedAlgorithm, ValueError, OverflowError, OSError) as error:
            _refuse(f"it cannot be read: {type(error).__name__}")
        except x509.ExtensionNotFound:
            _refuse("it does not say what its key is for")
        except VerificationError as error:
            _refuse(str(error)[:160] or type(error).__name__)
        if constraints.value.ca or not usage.digital_signature or usage.key_cert_sign:
            _refuse("its key is not for signatures alone")
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
            _refuse("its key is not one of P-256")
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
