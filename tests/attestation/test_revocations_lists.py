"""Lists of what is revoked: of Google, of X.509 issuers, and of the operator's own."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from depin_id.errors import AttestationError
from tests.attestation.ca import NOW, START, Authority, new_key
from tests.paths import vectors
from verify.attestation import Anchor, Anchors, Revocations
from verify.attestation import bundles as made
from verify.attestation.identifiers import certificate_identifiers, issuer_scope, serial_identifier
from verify.attestation.materials import RevocationSnapshot
from verify.attestation.revocation_lists import (
    CrlEntry,
    check_crl,
    crl_snapshot,
    read_list,
    serials_of,
)

DAY = 86_400_000
FORMAT = frozenset({"idevid"})
ROOT = Authority("root")
MIDDLE = Authority("middle", parent=ROOT)
OTHER = Authority("other")
LEAF = MIDDLE.issue("leaf", new_key().public_key(), serial=0x51)
ONLY_SOME = x509.IssuingDistributionPoint(None, None, True, False, None, False, False)
FROM = datetime.fromtimestamp(NOW / 1000, UTC)


STATUS = '{"entries": {"6681": {"status": "REVOKED", "reason": "KEY_COMPROMISE"}}}'


def _crl(
    issuer: Authority = MIDDLE,
    *,
    serials: tuple[int, ...] = (0x51,),
    name: Authority | None = None,
    start: datetime = FROM,
    days: int = 7,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name((name or issuer).certificate.subject)
        .last_update(start)
        .next_update(start + timedelta(days=days))
    )
    for serial in serials:
        reason = x509.CRLReason(x509.ReasonFlags.key_compromise)
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start)
        builder = builder.add_revoked_certificate(revoked.add_extension(reason, False).build())
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def _entry(data: bytes, issuer: Authority = MIDDLE) -> CrlEntry:
    return CrlEntry(data, (issuer.certificate.public_bytes(Encoding.DER),), FORMAT)


def _snapshot(entry: CrlEntry, *anchors: Anchor) -> RevocationSnapshot | None:
    bundles = [
        ("anchors", "a", made.bundle_anchors(anchors or [ROOT.anchor("idevid")])),
        ("revocations", "r", made.bundle_revocations([entry])),
    ]
    found = made.materials_from(bundles, max_age_ms=7 * DAY).revocations.snapshots
    return found[0] if found else None


# --- Google's ------------------------------------------------------------------------------------


def test_keys_of_googles_list_are_read_in_both_ways() -> None:
    assert serials_of("cc66") == (0xCC66,)
    assert serials_of("CC66") == (0xCC66,)
    assert serials_of("6681") == (0x6681, 6681)
    for text in ("", "0x1", "-1", "zz", "1" * 65, " 1", "१"):
        with pytest.raises(AttestationError):
            serials_of(text)


def test_googles_list_is_read() -> None:
    data = vectors("attestation/android-key-attestation/status.json").read_bytes()
    found = read_list(data, taken=NOW, covers=frozenset())
    assert isinstance(found, RevocationSnapshot)
    assert found.covers == {"android-key"} and found.taken == NOW and found.expires is None
    entries = json.loads(data)["entries"]
    decimal = [key for key in entries if key.isdecimal()]
    assert decimal and len(found.revoked) == len(entries) + len(decimal)
    assert found.revoked["cert:android-key:cc66e9a93713b6e643b26c15879786f7"] == (
        "SUSPENDED KEY_COMPROMISE"
    )
    number = int("6681152659205225093")
    assert serial_identifier("android-key", number) in found.revoked
    certificate = x509.load_der_x509_certificate(
        MIDDLE.issue("leaf", new_key().public_key(), serial=number)[0]
    )
    revocations = Revocations([found])
    assert revocations.revoked(certificate_identifiers([certificate], "android-key"))
    assert not revocations.revoked(certificate_identifiers([certificate], "idevid"))
    (again,) = made.materials_from(
        [("revocations", "r", made.bundle_revocations([found]))], max_age_ms=DAY
    ).revocations.snapshots
    assert again == found


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"entries": []}',
        '{"entries": {"xyz": {"status": "REVOKED"}}}',
        '{"entries": {"1f": {"status": "GOOD"}}}',
        '{"entries": {"1f": "REVOKED"}}',
        '{"entries": {"1f": {"status": "REVOKED"}, "1f": {"status": "REVOKED"}}}',
        '{"entries": ',
    ],
)
def test_another_status_list_is_refused(text: str) -> None:
    with pytest.raises(AttestationError) as caught:
        read_list(text.encode(), taken=NOW, covers=frozenset())
    assert caught.value.code == "attestation.list"


# --- X.509 ---------------------------------------------------------------------------------------


def test_a_crl_under_a_chain_to_an_anchor_revokes() -> None:
    found = _snapshot(_entry(_crl()))
    assert found is not None
    scope = issuer_scope(MIDDLE.certificate.subject)
    assert found.covers == {"idevid", scope}
    assert found.revoked == {serial_identifier(scope, 0x51): "key_compromise"}
    assert (found.taken, found.expires) == (NOW, NOW + 7 * DAY)
    leaf = x509.load_der_x509_certificate(LEAF[0])
    revocations = Revocations([found], max_age_ms=30 * DAY)
    assert revocations.revoked(certificate_identifiers([leaf], "idevid"))
    assert revocations.is_current("idevid", NOW)
    assert not revocations.is_current("idevid", NOW + 7 * DAY)
    assert not revocations.is_current("idevid", NOW - 1)
    assert not revocations.is_current("psa", NOW)
    shown = made.describe("revocations", made.bundle_revocations([_entry(_crl())]))
    assert shown[0]["revoked"] == 1 and shown[0]["expires"] == NOW + 7 * DAY


def test_pem_and_a_root_as_issuer() -> None:
    crl = x509.load_der_x509_crl(_crl(ROOT))
    issuers = [ROOT.certificate.public_bytes(Encoding.DER)]
    pem = crl.public_bytes(Encoding.PEM)
    entry = read_list(pem, taken=0, covers=FORMAT, issuers=issuers)
    assert isinstance(entry, CrlEntry)
    assert _snapshot(entry) is not None


def test_a_crl_that_no_anchor_vouches_for_gives_nothing() -> None:
    assert _snapshot(_entry(_crl()), OTHER.anchor("idevid")) is None
    assert _snapshot(_entry(_crl()), ROOT.anchor("another")) is None
    late = _crl(start=START + timedelta(days=4000))
    assert _snapshot(_entry(late)) is None


@pytest.mark.parametrize(
    ("data", "issuer"),
    [
        (_crl(OTHER, name=MIDDLE), MIDDLE),
        (_crl(MIDDLE), ROOT),
        (b"0\x00", MIDDLE),
        (_crl(extensions=((x509.DeltaCRLIndicator(1), True),)), MIDDLE),
        (
            _crl(
                extensions=(
                    (
                        x509.IssuingDistributionPoint(None, None, True, False, None, False, False),
                        True,
                    ),
                )
            ),
            MIDDLE,
        ),
        (_crl()[:-1] + b"\x00", MIDDLE),
        (_crl() + b"\x00", MIDDLE),
    ],
)
def test_a_crl_that_is_not_its_issuers_is_refused(data: bytes, issuer: Authority) -> None:
    with pytest.raises(AttestationError) as caught:
        check_crl(_entry(data, issuer))
    assert caught.value.code in ("attestation.list", "attestation.signature")


def test_who_may_not_sign_lists_may_not() -> None:
    key = new_key()
    (leaf, *_) = MIDDLE.issue("signer", key.public_key())
    certificate = x509.load_der_x509_certificate(leaf)
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(certificate.subject)
        .last_update(FROM)
        .next_update(FROM + timedelta(days=7))
        .sign(key, hashes.SHA256())
    )
    with pytest.raises(AttestationError, match="may not sign"):
        check_crl(CrlEntry(crl.public_bytes(Encoding.DER), (leaf,), FORMAT))


def test_no_byte_of_a_crl_is_free() -> None:
    data = _crl()
    assert crl_snapshot(_entry(data), _anchors()).revoked
    for at in range(len(data)):
        changed = bytes([*data[:at], data[at] ^ 1, *data[at + 1 :]])
        with pytest.raises(AttestationError):
            crl_snapshot(_entry(changed), _anchors())


def _anchors() -> Anchors:
    return Anchors([ROOT.anchor("idevid")])


def test_a_crl_needs_its_issuer_and_what_it_covers() -> None:
    for issuers, covers in ((), FORMAT), ((MIDDLE.certificate.public_bytes(Encoding.DER),), ()):
        with pytest.raises(AttestationError):
            read_list(_crl(), taken=0, covers=frozenset(covers), issuers=issuers)


# --- our own -------------------------------------------------------------------------------------

OWN = f"""
covers = ["psa"]
taken = 2026-03-22T00:00:00Z
expires = 2026-03-29T00:00:00Z
[[revoked]]
key = "{"ab" * 32}"
reason = "leaked"
[[revoked]]
serial = "1F"
of = "psa"
"""


def test_a_list_of_our_own() -> None:
    found = read_list(OWN.encode(), taken=5, covers=frozenset({"eat"}))
    assert isinstance(found, RevocationSnapshot)
    assert found.covers == {"psa", "eat"}
    assert found.revoked == {f"key:{'ab' * 32}": "leaked", "cert:psa:1f": ""}
    assert found.expires is not None and found.expires - found.taken == 7 * DAY
    empty = read_list(b"", taken=5, covers=frozenset({"eat"}))
    assert isinstance(empty, RevocationSnapshot)
    assert (empty.taken, empty.expires, dict(empty.revoked)) == (5, None, {})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "other = 1",
        "covers = 'psa'",
        "covers = ['psa']\ntaken = 5",
        "covers = ['psa']\ntaken = 2026-03-22T00:00:00",
        "covers = ['psa']\nrevoked = 1",
        "covers = ['psa']\n[[revoked]]\nkey = 'ab'",
        "covers = ['psa']\n[[revoked]]\nserial = '1f'",
        "covers = ['psa']\n[[revoked]]\nserial = 31\nof = 'psa'",
        "covers = ['psa']\n[[revoked]]\nserial = '1f'\nof = 'psa'\nreason = 5",
        "covers = ['psa']\n[[revoked]]\nserial = '1f'\nof = 'psa'\nother = 5",
        "covers = [",
    ],
)
def test_a_list_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(AttestationError) as caught:
        read_list(text.encode(), taken=5, covers=frozenset())
    assert caught.value.code == "attestation.list"


def test_a_list_says_nothing_when_it_is_old_but_what_is_on_it_stays_revoked() -> None:
    found = read_list(OWN.encode(), taken=5, covers=frozenset())
    revocations = made.materials_from(
        [("revocations", "r", made.bundle_revocations([found]))], max_age_ms=2 * DAY
    ).revocations
    assert isinstance(found, RevocationSnapshot)
    assert revocations.is_current("psa", found.taken + DAY)
    assert not revocations.is_current("psa", found.taken + 2 * DAY)
    assert revocations.revoked(["cert:psa:1f"])
    assert not Revocations().is_current("psa", found.taken)
