"""Plain Entity Attestation Tokens (RFC 9711) as CWT (RFC 8392), signed by a key that is pinned.

The challenge is in the nonce. With ``cnf`` the token names the device's key, which the signer so
vouches for; without, the challenge is all that binds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, cast

from cryptography import x509

from depin_id.attestation.result import Assurance
from depin_id.errors import KeyRefused
from depin_id.keys import PublicKey, admit
from verify.attestation.foreign_cbor import Tag
from verify.attestation.foreign_claims import ForeignClaims, read_claims
from verify.attestation.foreign_cose import (
    ECDSA,
    EDDSA,
    KID,
    PSS,
    X5CHAIN,
    CoseMessage,
    CoseRules,
    load_key,
    open_message,
)
from verify.attestation.identifiers import certificate_identifiers, key_identifier, spki_of
from verify.attestation.materials import Anchor, Anchors, Model
from verify.attestation.model import BoundKey, Expected, HardwareRoot, Measurement, VerifiedClaims
from verify.attestation.public_keys import admitted
from verify.attestation.steps import Steps
from verify.attestation.x509path import PathRules, read_certificates, verify_path

RULES: Final = CoseRules(ECDSA | EDDSA | PSS, unprotected=frozenset((KID, X5CHAIN)))
LEEWAY_MS: Final = 60_000
"""How far a device's clock may be ahead, for ``nbf`` and ``iat``."""
KEPT_BY: Final = frozenset(("firmware", "secure-element", "tee", "strongbox", "tpm"))
_CWT_TAG: Final = b"\xd8\x3d"
_NONCES: Final = range(8, 65)
_UEIDS: Final = range(7, 34)
_SECONDS: Final = 1 << 40
_MAX_PARTS: Final = 16
_NAMES: Final = frozenset(("kid", "ueid", "instance"))


@dataclass(frozen=True, slots=True)
class EatToken:
    """A token as it was read; no signature is looked at.

    Attributes:
        profile, ueid, kid: empty where it has none. nonce: its challenge.
        chain: certificates of its header, DER, leaf first. ids: what models match on.
        key: that ``cnf`` names. confirmed: whether there is a ``cnf``.
        secure: None when the token says nothing. boots: its boot count.
        audience: whom it is for. expires, not_before, issued: ms since 1970.
        measurements: digests of what it brings as measurements and manifests.
    """

    message: CoseMessage
    nonce: bytes
    kid: bytes
    chain: tuple[bytes, ...]
    profile: str = ""
    ueid: bytes = b""
    ids: Mapping[str, str] = field(default_factory=dict)
    key: PublicKey | None = None
    confirmed: bool = False
    secure: bool | None = None
    boots: int | None = None
    audience: tuple[str, ...] | None = None
    expires: int | None = None
    not_before: int | None = None
    issued: int | None = None
    measurements: tuple[Measurement, ...] = ()


def read_token(raw: bytes, steps: Steps, max_bytes: int) -> EatToken:
    """Read a token: form only. Raises AttestationError."""
    inner = raw[2:] if raw.startswith(_CWT_TAG) else raw
    message = open_message(inner, RULES, max_bytes=max_bytes, name="eat", steps=steps)
    chain = _chain(message, steps)
    kid = message.header(KID)
    if kid is not None and (type(kid) is not bytes or not 0 < len(kid) <= 64):
        steps.fail("eat.kid", "malformed", "kid is no short byte string")
    if chain and KID in message.unprotected:
        steps.fail("eat.kid", "malformed", "a kid that nobody reads, beside a chain")
    claims = read_claims(message.payload, name="eat", steps=steps, max_bytes=max_bytes)
    if 266 in claims.claims:
        # What a submodule says may contradict all of the rest.
        claims.fail("submods", "submodules are not read")
    profile, ids = _profile(claims), _ids(claims)
    ueid = _ueid(claims)
    if profile:
        ids["profile"] = profile
    if ueid:
        ids["ueid"] = ueid.hex()
    confirmed = 8 in claims.claims
    token = EatToken(
        message=message,
        nonce=claims.nonce(10, "nonce", _NONCES),
        kid=kid or b"",
        chain=chain,
        profile=profile,
        ueid=ueid,
        ids=ids,
        key=_confirmed(claims) if confirmed else None,
        confirmed=confirmed,
        secure=_secure(claims) if claims.succeeded(274) else False,
        boots=_boots(claims),
        audience=_audience(claims),
        expires=_date(claims, 4, "exp"),
        not_before=_date(claims, 5, "nbf"),
        issued=_date(claims, 6, "iat"),
        measurements=(*_parts(claims, 273, "measurements"), *_parts(claims, 272, "manifests")),
    )
    steps.passed("eat.claims", f"{len(claims.claims)} claims")
    return token


def _chain(message: CoseMessage, steps: Steps) -> tuple[bytes, ...]:
    """x5chain (RFC 9360): one certificate as a byte string, more as an array of them."""
    found = message.header(X5CHAIN)
    if found is None:
        return ()
    if type(found) is bytes:
        return (found,)
    if type(found) is not list or len(found) < 2 or any(type(der) is not bytes for der in found):
        steps.fail("eat.x5chain", "malformed", "x5chain is no list of certificates")
    return tuple(found)


def _profile(claims: ForeignClaims) -> str:
    value = claims.claims.get(265, "")
    if type(value) is Tag and value.tag == 111 and type(value.value) is bytes:
        return f"oid:{value.value.hex()[:200]}"
    return claims.text(265, "profile") if value != "" else ""


def _ueid(claims: ForeignClaims) -> bytes:
    if 256 not in claims.claims:
        return b""
    ueid = claims.octets(256, "ueid", _UEIDS)
    if not 1 <= ueid[0] <= 3:
        claims.fail("ueid", "a UEID of no known type")
    return ueid


def _ids(claims: ForeignClaims) -> dict[str, str]:
    ids: dict[str, str] = {}
    oem = claims.claims.get(258)
    if type(oem) is int and 0 <= oem < 1 << 32:
        ids["oemid"] = str(oem)
    elif oem is not None:
        ids["oemid"] = claims.octets(258, "oemid", (3, 16)).hex()
    if 259 in claims.claims:
        ids["hwmodel"] = claims.octets(259, "hwmodel", range(1, 33)).hex()
    if 270 in claims.claims:
        ids["swname"] = claims.text(270, "swname")
    for label, name in ((260, "hwversion"), (271, "swversion")):
        if label in claims.claims:
            found = claims.claims[label]
            named = type(found) is list and 1 <= len(found) <= 2 and type(found[0]) is str
            if not named or len(found[0]) > 64:
                claims.fail(name, "a version is [text] or [text, scheme]")
            ids[name] = found[0]
    return ids


def _confirmed(claims: ForeignClaims) -> PublicKey | None:
    """The key of ``cnf`` (RFC 8747): ``{1: COSE_Key}``; None for one that signs no readings."""
    cnf = claims.claims.get(8)
    key = cnf.get(1) if type(cnf) is dict and len(cnf) == 1 else None
    if type(key) is not dict or -4 in key or not set(key) <= {1, 2, 3, 4, -1, -2, -3}:
        claims.fail("cnf", "no public COSE_Key in it")
    x, y = key.get(-2), key.get(-3)
    try:
        if key.get(1) == 1 and key.get(-1) == 6 and type(x) is bytes and y is None:
            return _admitted("ed25519", x)
        if key.get(1) == 2 and key.get(-1) == 1 and type(x) is bytes and len(x) == 32:
            return _p256(claims, x, y)
    except KeyRefused as error:
        claims.fail("cnf", error.message)
    if key.get(1) == 2 and key.get(-1) in (2, 3):
        return None
    claims.fail("cnf", "a key of a kind that is not known")


@lru_cache(maxsize=1024)
def _admitted(curve: str, raw: bytes) -> PublicKey:
    """A device attests again and again, with the same key."""
    return admit(curve, raw)


def _p256(claims: ForeignClaims, x: bytes, y: Any) -> PublicKey:
    if type(y) is bool:
        return _admitted("p256", (b"\x03" if y else b"\x02") + x)
    if type(y) is not bytes or len(y) != 32:
        claims.fail("cnf", "a key without its y")
    return _admitted("p256", b"\x04" + x + y)


def _secure(claims: ForeignClaims) -> bool | None:
    """False when debugging is enabled or boot is not the maker's; None when neither is told."""
    boot = claims.claims.get(262)
    if 262 in claims.claims and type(boot) is not bool:
        claims.fail("oemboot", "oemboot is no truth value")
    if 263 not in claims.claims:
        return False if boot is False else None
    debug = claims.integer(263, "dbgstat", range(5))
    return debug != 0 and boot is not False


def _boots(claims: ForeignClaims) -> int | None:
    return claims.integer(267, "bootcount", range(1 << 63)) if 267 in claims.claims else None


def _audience(claims: ForeignClaims) -> tuple[str, ...] | None:
    if 3 not in claims.claims:
        return None
    value = claims.claims[3]
    found = value if type(value) is list else [value]
    if len(found) > _MAX_PARTS or any(type(item) is not str for item in found):
        claims.fail("audience", "an audience is a text, or a list of texts")
    return tuple(found)


def _date(claims: ForeignClaims, label: int, step: str) -> int | None:
    """A NumericDate (RFC 8392): seconds, untagged, as ms."""
    if label not in claims.claims:
        return None
    value = claims.claims[label]
    if type(value) not in (int, float) or not 0 <= value < _SECONDS:
        claims.fail(step, "no time in seconds")
    return int(value * 1000)


def _parts(claims: ForeignClaims, label: int, name: str) -> list[Measurement]:
    """Measurements or manifests: the digest of each as it stands, by its position."""
    found = claims.claims.get(label, [])
    if type(found) is not list or len(found) > _MAX_PARTS or (not found and label in claims.claims):
        claims.fail(name, f"claim {label} is no list, an empty one, or too long")
    measured = []
    for index, item in enumerate(found):
        good = type(item) is list and len(item) == 2 and type(item[0]) in (int, str)
        if not good or type(item[1]) is not bytes:
            claims.fail(name, "an item is not a content type and a byte string")
        digest = hashlib.sha256(item[1]).digest()
        measured.append(Measurement(name=f"{name}.{index}", digest=digest))
    return measured


@dataclass(frozen=True, slots=True)
class _Signer:
    anchor: Anchor
    spki: bytes
    chain: Sequence[x509.Certificate] = ()
    not_after: int | None = None


class EatHandler:
    """See :class:`~verify.attestation.handlers.EvidenceHandler`.

    The signer's key is an anchor's that has the token's ``kid``, or its ``ueid`` (also called
    ``instance``), as id; or that of a chain in ``x5chain`` up to an anchor that is a certificate.
    What keeps it the anchor says (``assurance``); where none does, nothing.

    Settings of models: ``profile`` that the token has to name exactly; ``audience`` that it may
    name; ``cnf_protected`` true when the signer vouches that the key of ``cnf`` cannot leave.
    """

    name = "eat"
    media_types = frozenset(("application/eat+cwt",))
    max_bytes = 32_768

    def parse(self, raw: bytes, steps: Steps) -> EatToken:
        """See EvidenceHandler."""
        return read_token(raw, steps, self.max_bytes)

    def hints(self, parsed: EatToken) -> Mapping[str, str]:
        """See EvidenceHandler."""
        return parsed.ids

    def verify(
        self,
        parsed: EatToken,
        *,
        anchors: Anchors,
        expected: Expected,
        model: Model,
        at: int,
        steps: Steps,
    ) -> VerifiedClaims:
        """See EvidenceHandler."""
        profile = model.settings.get("profile", parsed.profile)
        steps.require(parsed.profile == profile, "eat.profile", "claims", parsed.profile)
        addressed = parsed.audience is None or model.settings.get("audience") in parsed.audience
        steps.require(addressed, "eat.audience", "claims", "an audience is this verifier")
        signer = _signer(parsed, anchors, at, steps)
        _check_dates(parsed, at, steps)
        protected = parsed.key is not None and model.settings.get("cnf_protected") is True
        bound = BoundKey(how="challenge")
        if parsed.confirmed:
            bound = BoundKey(how="attested", key=parsed.key, protected=protected)
        identifiers = {key_identifier(signer.spki)} | certificate_identifiers(signer.chain, "eat")
        if parsed.ueid:
            identifiers.add(f"ueid:{parsed.ueid.hex()}")
        said = signer.anchor.ids.get("assurance", "")
        ends = [end for end in (parsed.expires, signer.not_after) if end is not None]
        return VerifiedClaims(
            challenge_seen=parsed.nonce,
            bound_key=bound,
            root=HardwareRoot(
                id=hashlib.sha256(parsed.ueid or signer.spki).digest(),
                unique=bool(parsed.ueid) or signer.anchor.ids.get("unique") != "no",
                assurance=cast("Assurance", said) if said in KEPT_BY else "software",
            ),
            identifiers=frozenset(identifiers),
            anchors=(signer.anchor.digest,),
            device_ids=parsed.ids,
            measurements=parsed.measurements,
            # Where something is to be approved, a token that measures nothing is not.
            measures=bool(parsed.measurements or model.references),
            secure=parsed.secure,
            counters={} if parsed.boots is None else {"bootcount": parsed.boots},
            not_after=min(ends, default=None),
        )


def _signer(parsed: EatToken, anchors: Anchors, at: int, steps: Steps) -> _Signer:
    if parsed.chain:
        return _signer_of_chain(parsed, anchors, at, steps)
    if parsed.kid:
        found = anchors.find("eat", kid=parsed.kid.hex())
    elif parsed.ueid:
        ueid = parsed.ueid.hex()
        found = anchors.find("eat", ueid=ueid) + anchors.find("eat", instance=ueid)
    else:
        found = ()
    steps.require(bool(found), "eat.anchor", "anchor", f"{len(found)} of this kid or UEID")
    for anchor in found[:8]:
        with steps.typed("eat.anchor", "anchor"):
            key = load_key(anchor.spki)
        if parsed.message.verifies(key):
            steps.passed("eat.signature", anchor.name)
            pinned = anchor.ids.get("ueid", anchor.ids.get("instance", parsed.ueid.hex()))
            steps.require(pinned == parsed.ueid.hex(), "eat.ueid", "claims", "that of the key")
            return _Signer(anchor, anchor.spki)
    steps.fail("eat.signature", "signature", "by none of the keys that it may be")


def _signer_of_chain(parsed: EatToken, anchors: Anchors, at: int, steps: Steps) -> _Signer:
    # A device's own key is pinned by its id, and begins no chain.
    roots = [
        anchor
        for anchor in anchors.of("eat")
        if anchor.certificate and _NAMES.isdisjoint(anchor.ids)
    ]
    certificates = read_certificates(parsed.chain, "eat.x5chain", steps)
    path = verify_path(certificates, roots, at=at, rules=PathRules(), name="eat", steps=steps)
    _check_usage(certificates[0], steps)
    spki = spki_of(certificates[0])
    with steps.typed("eat.x5chain", "algorithm"):
        key = load_key(spki)
        admitted(key)
    good = parsed.message.verifies(key)
    steps.require(good, "eat.signature", "signature", path.anchor.name)
    return _Signer(path.anchor, spki, certificates, path.not_after)


def _check_usage(leaf: x509.Certificate, steps: Steps) -> None:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    steps.require(usage.digital_signature, "eat.usage", "chain", "the leaf may sign")


def _check_dates(parsed: EatToken, at: int, steps: Steps) -> None:
    if parsed.expires is not None:
        steps.require(at < parsed.expires, "eat.exp", "expired", "it has expired")
    for name, since in (("nbf", parsed.not_before), ("iat", parsed.issued)):
        if since is not None:
            steps.require(since <= at + LEEWAY_MS, f"eat.{name}", "expired", "of the future")


HANDLER: Final = EatHandler()
