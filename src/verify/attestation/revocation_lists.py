"""What is revoked, from the lists that manufacturers publish and from the operator's own.

A list says when it was taken: what it says holds for as long as the aggregator's maximum age, and
a list that nobody renews affirms nothing. What is on a list stays revoked, however old.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from depin_id import strict_json
from depin_id.errors import AttestationError, DepinError
from verify.attestation.anchor_keys import UNREADABLE
from verify.attestation.identifiers import issuer_scope, serial_identifier
from verify.attestation.materials import Anchors, RevocationSnapshot
from verify.attestation.steps import Steps
from verify.attestation.x509path import PathRules, is_bound, read_certificates, verify_path

ANDROID: Final = "android-key"
"""Format that Google's status list is of."""
MAX_LIST: Final = 1 << 22
MAX_ENTRIES: Final = 100_000
MAX_SERIAL: Final = 64
_HEX: Final = re.compile(r"[0-9a-fA-F]{1,64}")
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")
_ISSUER_RULES: Final = PathRules(leaf_may_be_ca=True, dates="check", key_usage=True)


@dataclass(frozen=True)
class CrlEntry:
    """An X.509 CRL as it was published, to be verified whenever it is read.

    Attributes:
        data: DER. issuers: the issuing certificate first, then those up to (not with) an anchor;
            DER. covers: formats that the operator says it is the list of.
    """

    data: bytes
    issuers: tuple[bytes, ...]
    covers: frozenset[str]


ListEntry = RevocationSnapshot | CrlEntry


def read_list(
    data: bytes, *, taken: int, covers: frozenset[str], issuers: Sequence[bytes] = ()
) -> ListEntry:
    """Read a list of any kind: Google's status.json, a CRL (PEM, DER), or our TOML.

    Args:
        taken: ms since 1970, when it was fetched; a list of our own may say so itself.
        covers: formats that it speaks for; Google's list is of Android keys in any case.
        issuers: for a CRL: DER certificates, the issuing one first.

    Raises:
        AttestationError: ``attestation.list``.
    """
    if len(data) > MAX_LIST:
        _refuse(f"it is over {MAX_LIST} bytes")
    start = data.lstrip()[:1]
    if start == b"{":
        return _google(data, taken, covers)
    if start == b"\x30" or data.lstrip().startswith(b"-----BEGIN X509 CRL"):
        return _crl_entry(data, issuers, covers)
    return _own(data, taken, covers)


# --- Google's -----------------------------------------------------------------------------------


def _google(data: bytes, taken: int, covers: frozenset[str]) -> RevocationSnapshot:
    try:
        value = strict_json.parse(data, max_bytes=MAX_LIST)
    except DepinError as error:
        _refuse(error.message)
    entries = value.get("entries") if isinstance(value, dict) else None
    if not isinstance(entries, dict) or len(entries) > MAX_ENTRIES:
        _refuse("no status list with entries")
    revoked: dict[str, str] = {}
    for serial, entry in entries.items():
        status = entry.get("status") if isinstance(entry, dict) else None
        if status not in ("REVOKED", "SUSPENDED"):
            _refuse(f"the status of {serial[:40]!r} is neither REVOKED nor SUSPENDED")
        reason = str(entry.get("reason", ""))[:80]
        for number in serials_of(serial):
            revoked[serial_identifier(ANDROID, number)] = f"{status} {reason}".strip()
    return RevocationSnapshot(covers | {ANDROID}, revoked, taken)


def serials_of(text: str) -> tuple[int, ...]:
    """The serial numbers that a key of Google's list may mean.

    The list is documented as hexadecimal, but the older entries are decimal and nothing tells them
    apart. Digits alone are therefore read both ways: a serial revoked too much meets nobody (64
    bits and more are random), one revoked too little lets a leaked key in.
    """
    if _HEX.fullmatch(text) is None:
        _refuse(f"{text[:40]!r} is no serial number")
    return (int(text, 16), int(text)) if text.isdecimal() else (int(text, 16),)


# --- X.509 --------------------------------------------------------------------------------------


def _crl_entry(data: bytes, issuers: Sequence[bytes], covers: frozenset[str]) -> CrlEntry:
    entry = CrlEntry(_load_crl(data).public_bytes(Encoding.DER), tuple(issuers), covers)
    check_crl(entry)
    return entry


def _load_crl(data: bytes) -> x509.CertificateRevocationList:
    try:
        if data.lstrip().startswith(b"-----"):
            crl = x509.load_pem_x509_crl(data)
        else:
            crl = x509.load_der_x509_crl(data)
        # Reading is lazy: what cannot be read has to show here.
        _ = crl.issuer, crl.last_update_utc, crl.next_update_utc, crl.signature_algorithm_oid
        known = (x509.CRLNumber, x509.AuthorityKeyIdentifier)
        for extension in crl.extensions:
            # An indirect CRL, a delta, or one of some reasons alone says less than it seems.
            if extension.critical and not isinstance(extension.value, known):
                _refuse(f"a critical extension of a CRL: {extension.oid.dotted_string}")
        return crl
    except UNREADABLE as error:
        _refuse(f"no CRL that can be read ({type(error).__name__})")


def _load_issuers(entry: CrlEntry) -> list[x509.Certificate]:
    return read_certificates(entry.issuers, "crl.issuers", Steps())


def check_crl(entry: CrlEntry) -> x509.CertificateRevocationList:
    """Check that its issuing certificate signed a CRL and may; not that anybody trusts that.

    Raises:
        AttestationError: ``attestation.list``, ``attestation.signature``.
    """
    crl = _load_crl(entry.data)
    if not entry.issuers:
        _refuse("a CRL without the certificate of its issuer")
    if not entry.covers:
        _refuse("a CRL that is of no format")
    issuer = _load_issuers(entry)[0]
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        may = usage.crl_sign
    except x509.ExtensionNotFound:
        may = False
    if crl.issuer != issuer.subject or not may:
        _refuse("its issuer is not the certificate, or may not sign CRLs")
    if crl.next_update_utc is None or crl.next_update_utc <= crl.last_update_utc:
        _refuse("a CRL that does not say when the next one comes")
    algorithm = crl.signature_hash_algorithm
    if algorithm is not None and algorithm.name in ("md5", "sha1"):
        _refuse(f"a CRL signed over {algorithm.name}")
    try:
        key = issuer.public_key()
        valid = (
            isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey)
            and is_bound(entry.data, crl.tbs_certlist_bytes, crl.signature)
            and crl.is_signature_valid(key)
        )
    except UNREADABLE:
        valid = False
    if not valid:
        raise AttestationError("attestation.signature", "a CRL's signature does not verify")
    if len(crl) > MAX_ENTRIES:
        _refuse(f"a CRL with over {MAX_ENTRIES} entries")
    return crl


def crl_snapshot(entry: CrlEntry, anchors: Anchors) -> RevocationSnapshot:
    """Verify a CRL up to an anchor of one of the formats it covers; gives what it says.

    The chain is verified as of the CRL's own date: no clock decides what is revoked.

    Raises:
        AttestationError: ``attestation.list``, ``.signature``, ``.chain``, ``.anchor``,
            ``.expired``.
    """
    crl = check_crl(entry)
    taken = int(crl.last_update_utc.timestamp()) * 1000
    trusted = [anchor for name in sorted(entry.covers) for anchor in anchors.of(name)]
    chain = _load_issuers(entry)
    issuer = entry.issuers[0]
    if not (len(chain) == 1 and any(anchor.certificate == issuer for anchor in trusted)):
        rules = _ISSUER_RULES
        verify_path(chain, trusted, at=taken, rules=rules, name="crl", steps=Steps())
    scope = issuer_scope(crl.issuer)
    try:
        revoked = {serial_identifier(scope, item.serial_number): _crl_reason(item) for item in crl}
    except UNREADABLE as error:
        _refuse(f"an entry of a CRL cannot be read ({type(error).__name__})")
    assert crl.next_update_utc is not None
    expires = int(crl.next_update_utc.timestamp()) * 1000
    return RevocationSnapshot(entry.covers | {scope}, revoked, taken, expires)


def _crl_reason(item: x509.RevokedCertificate) -> str:
    """Why: its reason, whatever else it says; of an entry of another issuer nothing is taken."""
    reason = "unspecified"
    for extension in item.extensions:
        if isinstance(extension.value, x509.CRLReason):
            reason = str(extension.value.reason.name)
        elif extension.critical:
            _refuse(f"a critical extension of an entry: {extension.oid.dotted_string}")
    return reason


# --- our own ------------------------------------------------------------------------------------


def _own(data: bytes, taken: int, covers: frozenset[str]) -> RevocationSnapshot:
    try:
        value = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse(f"no status.json, CRL or TOML ({type(error).__name__})")
    unknown = set(value) - {"covers", "taken", "expires", "revoked"}
    if unknown:
        _refuse(f"it has {sorted(unknown)[0][:40]!r}, which is not known")
    named = value.get("covers", [])
    if not isinstance(named, list) or not all(isinstance(item, str) for item in named):
        _refuse("'covers' is a list of formats")
    rows = value.get("revoked", [])
    if not isinstance(rows, list) or len(rows) > MAX_ENTRIES:
        _refuse("'revoked' is a list of tables")
    revoked: dict[str, str] = {}
    for row in rows:
        identifier, reason = _row(row)
        revoked[identifier] = reason
    begun = _moment(value.get("taken"), taken)
    ends = _moment(value.get("expires"), None)
    everything = covers | frozenset(named)
    if not everything:
        _refuse("it does not say what it covers")
    assert begun is not None
    return RevocationSnapshot(everything, revoked, begun, ends)


def _row(row: Any) -> tuple[str, str]:
    """One of ``[[revoked]]``: a serial number with format or issuer, a key, or an identifier."""
    if not isinstance(row, Mapping) or not set(row) <= {"serial", "of", "key", "reason"}:
        _refuse("an entry of 'revoked' has serial and of, or key, and a reason")
    reason = row.get("reason", "")
    if not isinstance(reason, str) or len(reason) > 200:
        _refuse("a reason is a short text")
    key, serial, scope = row.get("key"), row.get("serial"), row.get("of")
    if isinstance(key, str) and serial is None and _FINGERPRINT.fullmatch(key):
        return f"key:{key}", reason
    if key is None and isinstance(serial, str) and isinstance(scope, str) and scope:
        if _HEX.fullmatch(serial) is not None and len(scope) <= 64:
            return serial_identifier(scope, int(serial, 16)), reason
    _refuse("'serial' is hexadecimal and needs 'of'; 'key' is the SHA-256 of its SPKI, 64 digits")


def _moment(value: Any, default: int | None) -> int | None:
    if value is None:
        return default
    if not isinstance(value, datetime) or value.tzinfo is None:
        _refuse("a time is written 2026-01-31T00:00:00Z")
    return int(value.timestamp() * 1000)


def _refuse(what: str) -> NoReturn:
    raise AttestationError("attestation.list", f"a list of what is revoked: {what}")
