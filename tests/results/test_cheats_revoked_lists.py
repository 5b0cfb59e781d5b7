"""A list that an issuer signed takes back what stood on a certificate, like any other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from depin_id.errors import ConfigError
from depin_id.testing import NOW
from tests.results.attesting import AttestingNet, issuer, maker, material
from tests.results.test_ground import at, checked
from verify.attestation.bundles import bundle_revocations
from verify.attestation.materials import RevocationSnapshot
from verify.attestation.revocation_lists import CrlEntry


def crl_of(serial: int) -> CrlEntry:
    """The issuer's list with one serial number."""
    day = datetime.fromtimestamp(NOW, UTC)
    item = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(day).build()
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer().certificate.subject)
        .last_update(day)
        .next_update(day + timedelta(days=30))
        .add_revoked_certificate(item)
        .sign(issuer().key, hashes.SHA256())
    )
    chain = (issuer().certificate.public_bytes(Encoding.DER),)
    return CrlEntry(made.public_bytes(Encoding.DER), chain, frozenset({"idevid"}))


def test_a_crl_takes_back_what_stood_on_a_certificate(tmp_path: Path) -> None:
    with AttestingNet(tmp_path) as net:
        device = net.chip()
        assert maker().parent is None
        net.attest(device, serial=77)
        net.send(device, device.next(at(1)))
        answer = material(net, "revocations", "crl", bundle_revocations([crl_of(77)]))
        assert [row["readings"] for row in answer["touched"]] == [1]
        assert net.codes(device, device.next(at(2))) == ["attestation.revoked"]
        assert net.attest(device, serial=77)["reasons"] == ["attestation.revoked"]
        checked(net)


def test_an_anchor_that_brings_a_list_into_force_takes_back_too(tmp_path: Path) -> None:
    from verify.attestation.bundles import bundle_anchors

    with AttestingNet(tmp_path) as net:
        device = net.chip()
        # The list is there before its issuer is trusted, who vouches for a second maker's chain.
        material(net, "revocations", "crl", bundle_revocations([crl_of(78)]))
        net.attest(device, serial=79)
        net.send(device, device.next(at(1)))
        material(net, "anchors", "issuer", bundle_anchors([issuer().anchor("idevid")]))
        assert net.codes(device, device.next(at(2))) == ["accepted"]
        checked(net)


def test_a_list_gives_way_to_none_that_is_older(tmp_path: Path) -> None:
    with AttestingNet(tmp_path) as net:
        newest = RevocationSnapshot(frozenset({"idevid"}), {"cert:idevid:4d": "stolen"}, net.now_ms)
        older = replace(newest, revoked={}, taken=net.now_ms - 1)
        material(net, "revocations", "list", bundle_revocations([newest]))
        with pytest.raises(ConfigError) as caught:
            material(net, "revocations", "list", bundle_revocations([older]))
        assert caught.value.code == "material.older"
        device = net.chip()
        assert net.attest(device, serial=77)["reasons"] == ["attestation.revoked"]
        material(net, "revocations", "list", bundle_revocations([replace(older, taken=net.now_ms)]))
        assert net.attest(device, serial=77)["reasons"] == []
