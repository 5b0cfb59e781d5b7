"""AWS Nitro Enclaves: an attestation document of the Nitro Security Module.

A COSE_Sign1 without tag, by a key that lives three hours, under Amazon's root. Anybody can rent an
enclave and run in it what he likes: what the enclave says of a key is worth what its measured image
is worth. So the key counts as attested, and as kept only where the model's policy says that its
approved image keeps it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from depin_id.errors import DepinError, EncodingError
from depin_id.keys import PublicKey
from verify.attestation import foreign_cbor, foreign_cose
from verify.attestation.foreign_cose import CoseMessage, CoseRules
from verify.attestation.materials import Anchors, Model
from verify.attestation.model import BoundKey, Expected, HardwareRoot, Measurement, VerifiedClaims
from verify.attestation.public_keys import read_spki
from verify.attestation.steps import Steps
from verify.attestation.x509path import read_certificates, verify_strict

NAME: Final = "nitro"
MEDIA_TYPE: Final = "application/vnd.aws.nitro+cose"
MAX_DOCUMENT: Final = 16_384
MAX_SKEW_MS: Final = 60_000
"""How far the document's clock may be ahead of the time of the appraisal."""
ES384: Final = -35
_RULES: Final = CoseRules(frozenset((ES384,)), untagged="Signature1")
_NEEDED: Final = frozenset(("module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"))
_OPTIONAL: Final[Mapping[str, int]] = {"public_key": 1024, "user_data": 512, "nonce": 512}
_DIGEST: Final = "SHA384"
_DIGEST_BYTES: Final = 48
_MAX_PCRS: Final = 32
_IMAGE: Final = ("pcr0", "pcr8")
"""Measurement of the image, and of the certificate that signed it."""
_MAX_CERTIFICATE: Final = 1024
_MAX_BUNDLE: Final = 7


@dataclass(frozen=True, slots=True)
class Document:
    """A document that was read.

    Attributes:
        cose: its envelope. certificates: leaf first, the root last.
        timestamp: ms since 1970. pcrs: by number, 48 bytes each.
        public_key, user_data, nonce: as the enclave gave them; empty when it did not.
    """

    cose: CoseMessage
    certificates: tuple[x509.Certificate, ...]
    module_id: str
    timestamp: int
    pcrs: Mapping[int, bytes]
    public_key: bytes
    user_data: bytes
    nonce: bytes


class Handler:
    """``application/vnd.aws.nitro+cose``."""

    name = NAME
    media_types = frozenset((MEDIA_TYPE,))
    max_bytes = MAX_DOCUMENT

    def parse(self, raw: bytes, steps: Steps) -> Document:
        cose = foreign_cose.open_message(
            raw, _RULES, max_bytes=MAX_DOCUMENT, name=NAME, steps=steps
        )
        only = set(cose.protected) == {foreign_cose.ALG}
        steps.require(only, "nitro.headers", "malformed", "the protected header is exactly alg")
        try:
            fields = foreign_cbor.decode(cose.payload, max_bytes=MAX_DOCUMENT, max_depth=4)
        except EncodingError as error:
            steps.fail("nitro.document", "malformed", error.message)
        steps.require(isinstance(fields, dict), "nitro.document", "malformed", "a map")
        return _document(cose, fields, steps)

    def hints(self, parsed: Document) -> Mapping[str, str]:
        return _ids(parsed)

    def verify(
        self,
        parsed: Document,
        *,
        anchors: Anchors,
        expected: Expected,
        model: Model,
        at: int,
        steps: Steps,
    ) -> VerifiedClaims:
        leaf = parsed.certificates[0]
        key = leaf.public_key()
        fits = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1)
        steps.require(fits, "nitro.key", "algorithm", "the certificate's key is of P-384")
        _check_time(parsed, at, steps)
        good = isinstance(key, ec.EllipticCurvePublicKey) and parsed.cose.verifies(key)
        steps.require(good, "nitro.signature", "signature", "by the certificate's key")
        names = zip(parsed.certificates, parsed.certificates[1:], strict=False)
        linked = all(child.issuer == parent.subject for child, parent in names)
        steps.require(linked, "nitro.cabundle", "chain", "from the root to the issuer, in order")
        path = verify_strict(parsed.certificates, anchors.of(NAME), at=at, name=NAME, steps=steps)
        last = path.certificates[-1]
        own = last.public_bytes(Encoding.DER) == path.anchor.certificate
        steps.require(own, "nitro.root", "anchor", "the bundle begins with the pinned root")
        steps.require(len(parsed.nonce) >= 8, "nitro.nonce", "challenge", "8 bytes or more")
        return VerifiedClaims(
            challenge_seen=parsed.nonce,
            bound_key=_bound(parsed, steps),
            root=HardwareRoot(
                id=hashlib.sha256(_ids(parsed)["instance"].encode()).digest(),
                unique=False,
                assurance="tee",
            ),
            identifiers=path.identifiers(NAME),
            anchors=(path.anchor.digest,),
            device_ids=_ids(parsed),
            measurements=_measurements(parsed.pcrs),
            measures=True,
            # The others say on what it runs and by whom it was started.
            firmware=any(item.name in _IMAGE for item in model.references),
            # In debug mode the console is open, and the PCRs are zeros.
            secure=any(parsed.pcrs[0]),
            not_after=path.not_after,
        )


def _document(cose: CoseMessage, fields: dict[Any, Any], steps: Steps) -> Document:
    """Fields and limits as AWS documents them; nothing else is taken."""
    known = _NEEDED <= set(fields) <= _NEEDED | set(_OPTIONAL)
    steps.require(known, "nitro.fields", "malformed", "six fields, and three optional ones")
    module_id, timestamp = fields["module_id"], fields["timestamp"]
    named = type(module_id) is str and 0 < len(module_id) <= 128 and module_id.isascii()
    steps.require(named, "nitro.module_id", "malformed", "1 to 128 characters")
    steps.require(fields["digest"] == _DIGEST, "nitro.digest", "malformed", _DIGEST)
    dated = type(timestamp) is int and 0 < timestamp < 1 << 53
    steps.require(dated, "nitro.timestamp", "malformed", "ms since 1970")
    pcrs = _pcrs(fields["pcrs"], steps)
    certificate, bundle = fields["certificate"], fields["cabundle"]
    several = type(bundle) is list and 0 < len(bundle) <= _MAX_BUNDLE
    steps.require(several, "nitro.cabundle", "malformed", f"1 to {_MAX_BUNDLE} certificates")
    for der in (certificate, *bundle):
        sized = type(der) is bytes and 0 < len(der) <= _MAX_CERTIFICATE
        steps.require(sized, "nitro.certificate", "malformed", "1 to 1024 bytes")
    more: dict[str, bytes] = {}
    for name, most in _OPTIONAL.items():
        value = fields.get(name)
        sized = value is None or (type(value) is bytes and len(value) <= most)
        steps.require(sized, f"nitro.{name}", "malformed", f"at most {most} bytes")
        more[name] = value or b""
    chain = read_certificates([certificate, *reversed(bundle)], "nitro.certificates", steps)
    return Document(cose, tuple(chain), module_id, timestamp, pcrs, **more)


def _pcrs(value: Any, steps: Steps) -> dict[int, bytes]:
    some = type(value) is dict and 0 < len(value) <= _MAX_PCRS
    steps.require(some, "nitro.pcrs", "malformed", f"1 to {_MAX_PCRS} of them")
    for number, digest in value.items():
        numbered = type(number) is int and 0 <= number < _MAX_PCRS
        sized = type(digest) is bytes and len(digest) == _DIGEST_BYTES
        steps.require(numbered and sized, "nitro.pcrs", "malformed", "0 to 31, 48 bytes each")
    steps.require(0 in value, "nitro.pcrs", "malformed", "PCR 0, the image")
    return dict(value)


def _check_time(document: Document, at: int, steps: Steps) -> None:
    """The document is of the time in which its certificate lives, and not of the future."""
    leaf = document.certificates[0]
    start, end = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    within = start * 1000 <= document.timestamp <= end * 1000
    steps.require(within, "nitro.time", "expired", "the document's time is its certificate's")
    past = document.timestamp <= at + MAX_SKEW_MS
    steps.require(past, "nitro.time", "expired", "the document is of the future")


def _measurements(pcrs: Mapping[int, bytes]) -> tuple[Measurement, ...]:
    """The registers that something went into; the others are zeros."""
    return tuple(
        Measurement(name=f"pcr{number}", digest=value)
        for number, value in sorted(pcrs.items())
        if any(value)
    )


def _bound(document: Document, steps: Steps) -> BoundKey:
    """The key that the enclave put in: SubjectPublicKeyInfo or COSE_Key, and nothing beside it."""
    for name, value in (("public_key", document.public_key), ("user_data", document.user_data)):
        key = _key(value)
        if key is not None:
            steps.passed("nitro.bound", name)
            return BoundKey(how="attested", key=key)
    steps.passed("nitro.bound", "by the challenge alone")
    return BoundKey(how="challenge")


def _key(value: bytes) -> PublicKey | None:
    if not 32 < len(value) <= 128:
        return None
    try:
        found = read_spki(value)
        return found if isinstance(found, PublicKey) else PublicKey.from_cose_key(value)
    except DepinError:
        return None


def _ids(document: Document) -> dict[str, str]:
    """The module's name (``i-...-enc...``), and that of the instance that it belongs to."""
    return {"module_id": document.module_id, "instance": document.module_id.partition("-enc")[0]}


HANDLER: Final = Handler()
