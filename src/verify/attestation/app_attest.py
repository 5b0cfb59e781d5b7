"""Apple App Attest: a key in the Secure Enclave, of one genuine instance of one app.

The key signs assertions of the app and nothing else, so the device's key is tied in by the
challenge alone: the client data that Apple hashes into the certificate's nonce *is* the challenge.

Evidence is deterministic CBOR ``{1: attestation object, 2: client data, 3: key id}``. Apple's
object also holds a receipt, for its own fraud metric. No signature ties it to the rest, so it has
no place in evidence; :func:`pack` leaves it out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from depin_id import cbor
from depin_id.errors import AttestationError
from verify.attestation.foreign_cbor import decode as decode_foreign
from verify.attestation.identifiers import spki_of
from verify.attestation.materials import Anchors, Model
from verify.attestation.model import (
    BoundKey,
    Expected,
    HardwareRoot,
    Measurement,
    VerifiedClaims,
)
from verify.attestation.steps import Steps
from verify.attestation.x509path import read_certificates, verify_strict

NAME: Final = "app-attest"
MEDIA_TYPE: Final = "application/vnd.apple.app-attest+cbor"
MAX_BYTES: Final = 16_384
MAX_OBJECT: Final = 32_768
"""Bound on Apple's own object, with its receipt."""
MAX_ASSERTION: Final = 1024
FORMAT: Final = "apple-appattest"
NONCE_OID: Final = "1.2.840.113635.100.8.2"
ENVIRONMENTS: Final[Mapping[str, bytes]] = {
    "production": b"appattest" + bytes(7),
    "development": b"appattestdevelop",
}
_OBJECT, _CLIENT_DATA, _KEY_ID = 1, 2, 3
_NONCE_HEAD: Final = bytes.fromhex("3024a1220420")
_KEY_HEAD, _KEY_MIDDLE = bytes.fromhex("a5010203262001215820"), bytes.fromhex("225820")
"""COSE_Key of EC2, ES256, P-256 around its coordinates (RFC 9053 section 7.1)."""
_ATTESTED: Final = 0x40
_HEAD: Final = 55
"""Bytes of authenticator data before the credential id."""
MAX_COUNTER: Final = 2**32 - 1


class AuthenticatorData(NamedTuple):
    """Authenticator data (WebAuthn section 6.1) with one attested credential, nothing after it.

    Attributes:
        app: SHA-256 of the app id. counter: of uses. aaguid: 16 bytes. credential: its id.
        key: all that is left; has to be the COSE_Key of the leaf's key, in its one encoding.
    """

    app: bytes
    flags: int
    counter: int
    aaguid: bytes
    credential: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Parsed:
    """Evidence as it was read."""

    certificates: Sequence[x509.Certificate]
    signed: bytes
    data: AuthenticatorData
    client_data: bytes
    key_id: bytes


class AppAttest:
    """The handler (:class:`~verify.attestation.handlers.EvidenceHandler`)."""

    name = NAME
    media_types = frozenset((MEDIA_TYPE,))
    max_bytes = MAX_BYTES

    def parse(self, raw: bytes, steps: Steps) -> Parsed:
        """Read evidence and the attestation object in it."""
        step = f"{NAME}.form"
        value = cbor.decode(raw, max_bytes=MAX_BYTES)
        parts = value if isinstance(value, dict) else {}
        fits = set(parts) == {_OBJECT, _CLIENT_DATA, _KEY_ID}
        fits = fits and all(type(part) is bytes for part in parts.values())
        steps.require(fits, step, "malformed", "attestation object, client data, key id")
        found = cbor.decode(parts[_OBJECT], max_bytes=MAX_BYTES)
        fits = isinstance(found, dict) and set(found) == {"fmt", "attStmt", "authData"}
        steps.require(fits, step, "malformed", "an attestation object")
        steps.require(found["fmt"] == FORMAT, f"{NAME}.fmt", "malformed", str(found["fmt"])[:40])
        statement, signed = found["attStmt"], found["authData"]
        bare = isinstance(statement, dict) and set(statement) == {"x5c"}
        # Nothing signs the receipt together with the rest: whoever carries it could change it.
        steps.require(bare, f"{NAME}.statement", "malformed", "x5c alone, without the receipt")
        fits = isinstance(statement["x5c"], list) and type(signed) is bytes
        steps.require(fits, step, "malformed", "certificates and authenticator data")
        size = len(parts[_CLIENT_DATA])
        steps.require(8 <= size <= 512, f"{NAME}.challenge", "malformed", f"{size} bytes")
        certificates = read_certificates(statement["x5c"], f"{NAME}.certificates", steps)
        data = _authenticator_data(signed, steps)
        return Parsed(certificates, signed, data, parts[_CLIENT_DATA], parts[_KEY_ID])

    def hints(self, parsed: Parsed) -> Mapping[str, str]:
        """App and environment."""
        return _device_ids(parsed.data)

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
        """Verify as Apple asks its servers to, "Validating apps that connect to your server"."""
        leaf, data = parsed.certificates[0], parsed.data
        path = verify_strict(parsed.certificates, anchors.of(NAME), at=at, name=NAME, steps=steps)
        nonce = _nonce(parsed.signed, parsed.client_data)
        found = _extension(leaf)
        fits = found is not None and compare_digest(found, _NONCE_HEAD + nonce)
        steps.require(fits, f"{NAME}.nonce", "signature", "the certificate's nonce")
        _check_key(leaf, parsed, steps)
        _check_app(data, model, steps)
        steps.require(data.counter == 0, f"{NAME}.counter", "claims", f"counter {data.counter}")
        return VerifiedClaims(
            challenge_seen=parsed.client_data,
            bound_key=BoundKey(how="challenge"),
            root=HardwareRoot(
                id=hashlib.sha256(spki_of(leaf)).digest(), unique=True, assurance="tee"
            ),
            identifiers=path.identifiers(NAME),
            anchors=(path.anchor.digest,),
            device_ids=_device_ids(data),
            measurements=(Measurement(name="app", digest=data.app),),
            measures=True,
            firmware=False,
            not_after=path.not_after,
        )


HANDLER: Final = AppAttest()


def pack(attestation_object: bytes, client_data: bytes, key_id: bytes) -> bytes:
    """Evidence of what Apple's ``attestKey`` gave, without the receipt.

    Args:
        attestation_object: as it came from the system. client_data: the challenge, whose SHA-256
            was given to ``attestKey``. key_id: 32 bytes, decoded.

    Raises:
        AttestationError: ``attestation.malformed``, it is no attestation object.
    """
    found = decode_foreign(attestation_object, max_bytes=MAX_OBJECT)
    statement = found.get("attStmt") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(statement, dict):
        raise AttestationError("attestation.malformed", "it is no attestation object")
    kept = {name: value for name, value in statement.items() if name != "receipt"}
    whole = cbor.encode({**found, "attStmt": kept})
    return cbor.encode({_OBJECT: whole, _CLIENT_DATA: client_data, _KEY_ID: key_id})


def verify_assertion(
    raw: bytes,
    *,
    challenge: bytes,
    spki: bytes,
    app_id: str,
    counter: int,
    steps: Steps | None = None,
) -> int:
    """Verify an assertion of an attested key: the same instance of the app is still there.

    Args:
        raw: CBOR as ``generateAssertion`` gave it. challenge: the client data whose SHA-256 it was
            asked for. spki: SubjectPublicKeyInfo (DER) of the attested key: its SHA-256 is the
            root of the attestation's result. app_id: team and bundle ("TEAM.example.app").
        counter: of the last assertion that was taken, 0 after the attestation.
        steps: every check becomes one.

    Returns:
        The counter to store: the next assertion has to have a higher one.

    Raises:
        AttestationError: ``attestation.malformed``, ``.signature``, ``.claims``, ``.key``.
    """
    taken = Steps() if steps is None else steps
    name = f"{NAME}.assertion"
    with taken.typed(f"{name}.form"):
        small = isinstance(raw, bytes) and len(raw) <= MAX_ASSERTION
        taken.require(small, f"{name}.form", "malformed", f"at most {MAX_ASSERTION} bytes")
        found = decode_foreign(raw, max_bytes=MAX_ASSERTION)
        parts = found if isinstance(found, dict) else {}
        fits = set(parts) == {"signature", "authenticatorData"}
        fits = fits and all(type(part) is bytes for part in parts.values())
        taken.require(fits, f"{name}.form", "malformed", "signature, authenticator data")
        data: bytes = parts["authenticatorData"]
        taken.require(len(data) == 37, f"{name}.data", "malformed", f"{len(data)} bytes")
    with taken.typed(f"{name}.key", "key"):
        key = load_der_public_key(spki)
        p256 = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
        taken.require(p256, f"{name}.key", "key", "a key of P-256")
    valid = _verifies(key, parts["signature"], _nonce(data, challenge))
    taken.require(valid, f"{name}.signature", "signature", "over this challenge")
    same = compare_digest(data[:32], _app_hash(app_id))
    taken.require(same, f"{name}.app", "claims", data[:32].hex())
    seen = int.from_bytes(data[33:37], "big")
    taken.require(seen > counter, f"{name}.counter", "claims", f"{seen} after {counter}")
    return seen


def _verifies(key: object, signature: bytes, message: bytes) -> bool:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        key.verify(signature, message, ec.ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def _nonce(signed: bytes, client_data: bytes) -> bytes:
    return hashlib.sha256(signed + hashlib.sha256(client_data).digest()).digest()


def _app_hash(app_id: str) -> bytes:
    return hashlib.sha256(app_id.encode("utf-8", "surrogatepass")).digest()


def _authenticator_data(data: bytes, steps: Steps) -> AuthenticatorData:
    step = f"{NAME}.authenticator_data"
    steps.require(_HEAD < len(data) <= 512, step, "malformed", f"{len(data)} bytes")
    flags, size = data[32], int.from_bytes(data[53:55], "big")
    steps.require(flags == _ATTESTED, step, "malformed", f"flags {flags:02x}")
    steps.require(size == 32 and len(data) > _HEAD + size, step, "malformed", f"id of {size} bytes")
    counter = int.from_bytes(data[33:37], "big")
    credential = data[_HEAD : _HEAD + size]
    key = data[_HEAD + size :]
    return AuthenticatorData(data[:32], flags, counter, data[37:53], credential, key)


def _check_key(leaf: x509.Certificate, parsed: Parsed, steps: Steps) -> None:
    key = leaf.public_key()
    p256 = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    steps.require(p256, f"{NAME}.key", "key", "a key of P-256")
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    same = parsed.data.key == _KEY_HEAD + point[1:33] + _KEY_MIDDLE + point[33:]
    steps.require(same, f"{NAME}.public_key", "key", "the leaf's and the credential's are one")
    key_id = hashlib.sha256(point).digest()
    steps.require(parsed.key_id == key_id, f"{NAME}.key_id", "key", "SHA-256 of the key")
    same = parsed.data.credential == key_id
    steps.require(same, f"{NAME}.credential_id", "key", "the key id")


def _check_app(data: AuthenticatorData, model: Model, steps: Steps) -> None:
    app_id: Any = model.settings.get("app_id")
    named = isinstance(app_id, str) and bool(app_id)
    steps.require(named, f"{NAME}.app_id", "claims", "a model that names the app")
    same = compare_digest(data.app, _app_hash(app_id))
    steps.require(same, f"{NAME}.app", "claims", data.app.hex())
    environment: Any = model.settings.get("environment", "production")
    aaguid = ENVIRONMENTS.get(environment) if isinstance(environment, str) else None
    fits = data.aaguid == aaguid
    steps.require(fits, f"{NAME}.environment", "claims", data.aaguid.decode("ascii", "replace"))


def _device_ids(data: AuthenticatorData) -> dict[str, str]:
    environments = {aaguid: name for name, aaguid in ENVIRONMENTS.items()}
    environment = environments.get(data.aaguid, "")
    return {"aaguid": data.aaguid.hex(), "app": data.app.hex(), "environment": environment}


def _extension(certificate: x509.Certificate) -> bytes | None:
    for extension in certificate.extensions:
        if extension.oid.dotted_string == NONCE_OID:
            value = extension.value
            return value.value if isinstance(value, x509.UnrecognizedExtension) else None
    return None
