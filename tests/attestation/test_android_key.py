"""Android Key Attestation with chains made here: every check broken by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from depin_id import cbor
from depin_id.keys import admit
from tests.attestation import phones
from tests.attestation.ca import extended_by
from tests.attestation.mutation import survivors
from tests.attestation.phones import (
    CHALLENGE,
    FACTORY,
    LEAF_KEY,
    OTHER_KEY,
    RKP,
    Description,
    Link,
    chain,
    number,
    numbers,
    octets,
    tlv,
)
from verify.attestation import Anchors, Appraisal, Expected, Materials, Model, Models
from verify.attestation import appraise_evidence as appraise
from verify.attestation.android_key import CBOR_TYPE, PEM_TYPE
from verify.attestation.android_key.handler import write_pem
from verify.attestation.identifiers import serial_identifier
from verify.attestation.materials import Reference, Revocations, RevocationSnapshot

POINT = LEAF_KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
KEY = admit("p256", POINT)
EXPECTED = Expected(challenge=CHALLENGE, key=KEY)
AT = int(datetime(2026, 6, 4, tzinfo=UTC).timestamp()) * 1000
MODEL = Model(
    "phone",
    frozenset(("android-key",)),
    match={"brand": "example"},
    references=(
        Reference("verified-boot-key", frozenset((phones.BOOT_KEY,))),
        Reference("verified-boot-hash", frozenset((phones.BOOT_HASH,))),
        Reference("package", frozenset((phones.SIGNER,))),
    ),
    minimum={"os_patch": 202605, "vendor_patch": 20260501, "boot_patch": 20260505},
    settings={"package": phones.PACKAGE},
    assurance=frozenset(("tee", "strongbox")),
)
CURRENT = Revocations([RevocationSnapshot(frozenset(("android-key",)), {}, AT - 1000)])
MATERIALS = Materials(Anchors([phones.anchor()]), Models([MODEL]), CURRENT)


def _appraise(certificates: Sequence[bytes], **more: Any) -> Appraisal:
    about: dict[str, Any] = {"expected": EXPECTED, "at": AT, "materials": MATERIALS} | more
    return appraise(CBOR_TYPE, cbor.encode(list(certificates)), **about)


def _last(found: Appraisal) -> str:
    assert not found.affirmed
    return found.steps[-1].name


@pytest.mark.parametrize("links", [FACTORY, RKP])
@pytest.mark.parametrize("with_root", [True, False])
@pytest.mark.parametrize("level", [1, 2])
def test_a_good_chain_reaches_d3(links: tuple[Link, ...], with_root: bool, level: int) -> None:
    described = Description(level=level, keymint_level=level)
    found = _appraise(chain(described, links, with_root=with_root))
    assert found.affirmed and found.level == "D3", found.steps[-1]
    claims = found.claims
    assert claims is not None and claims.bound_key.key == KEY and claims.secure
    assert claims.root.assurance == {1: "tee", 2: "strongbox"}[level]
    assert claims.root.unique == (links is RKP)
    assert claims.device_ids["provisioning"] == ("rkp" if links is RKP else "factory")


def test_the_root_is_matched_by_its_key_and_its_dates_do_not_count() -> None:
    assert _appraise(chain(root=phones.OLD_ROOT)).affirmed
    assert _appraise(chain(links=RKP, root=phones.OLD_ROOT)).affirmed
    stranger = replace(phones.ROOT, key=OTHER_KEY)
    for with_root in (True, False):
        found = _appraise(chain(links=RKP, root=stranger, with_root=with_root))
        assert _last(found) == "android-key.anchor"


def test_expiry_is_ignored_for_chains_of_a_factory_alone() -> None:
    assert phones.FACTORY[0].years == (2016, 2026) and _appraise(chain()).affirmed
    ended = tuple(replace(link, years=(2016, 2026)) for link in RKP)
    for links in (ended, (RKP[0], ended[1], RKP[2]), (ended[0], *RKP[1:])):
        assert _last(_appraise(chain(links=links))) == "android-key.dates"
    # What looks like neither of the two is held to its dates.
    odd = (replace(FACTORY[0], name={NameOID.COMMON_NAME: "TEE"}), FACTORY[1])
    assert _last(_appraise(chain(links=odd))) == "android-key.dates"
    three = (*FACTORY, replace(FACTORY[1], key=OTHER_KEY, name={NameOID.SERIAL_NUMBER: "a3"}))
    assert _last(_appraise(chain(links=three))) == "android-key.dates"
    # The leaf's own end counts in both.
    assert _last(_appraise(chain(years=(1970, 2026)))) == "android-key.leaf_dates"
    assert _last(_appraise(chain(links=RKP, years=(2027, 2030)))) == "android-key.dates"


def test_early_factories_do_not_mark_their_attestation_key_as_an_authority() -> None:
    plain = (replace(FACTORY[0], ca=False), FACTORY[1])
    assert _appraise(chain(links=plain)).affirmed
    assert _last(_appraise(chain(links=(FACTORY[0], replace(FACTORY[1], ca=False))))) == (
        "android-key.authority"
    )
    assert _last(_appraise(chain(links=(replace(RKP[0], ca=False), *RKP[1:])))) == (
        "android-key.authority"
    )


@pytest.mark.parametrize("links", [FACTORY, RKP, (replace(FACTORY[0], ca=False), FACTORY[1])])
def test_a_chain_that_the_attested_key_extended_is_refused(links: tuple[Link, ...]) -> None:
    longer = extended_by(LEAF_KEY, chain(links=links), OTHER_KEY.public_key())
    assert _last(_appraise(longer)) == "android-key.extension"
    # Also where the attested key's own certificate is named as a factory names its own.
    named = chain(links=links, name={NameOID.SERIAL_NUMBER: "a0"})
    assert _last(_appraise(extended_by(LEAF_KEY, named, OTHER_KEY.public_key()))) == (
        "android-key.extension"
    )
    bare = chain(links=links, name={NameOID.SERIAL_NUMBER: "a0"}, extensions=())
    assert _last(_appraise([chain()[0], *bare])) in (
        "android-key.names",
        "android-key.authority",
        "android-key.dates",
    )


GOOD = Description()
BOOT = phones.root_of_trust()


@pytest.mark.parametrize(
    ("described", "step"),
    [
        (replace(GOOD, level=2), "android-key.levels"),
        (replace(GOOD, keymint_level=0), "android-key.levels"),
        (GOOD.enforced(t702=number(2)), "android-key.origin"),
        (GOOD.enforced(t702=None).claimed(t702=number(0)), "android-key.origin"),
        (GOOD.enforced(t1=numbers(3)), "android-key.purpose"),
        (GOOD.enforced(t1=numbers(2, 7)), "android-key.purpose"),
        (GOOD.enforced(t1=None).claimed(t1=numbers(2)), "android-key.purpose"),
        (GOOD.enforced(t2=number(1)), "android-key.algorithm"),
        (GOOD.enforced(t600=tlv(5, b"")), "android-key.scope"),
        (GOOD.claimed(t600=tlv(5, b"")), "android-key.scope"),
        (GOOD.enforced(t704=None), "android-key.root_of_trust"),
        (GOOD.enforced(t704=None).claimed(t704=BOOT), "android-key.root_of_trust"),
        (GOOD.claimed(t709=phones.application("org.example.other")), "android-key.package"),
        (GOOD.claimed(t709=None), "android-key.package"),
        (replace(GOOD, challenge=bytes(32)), "binding.challenge"),
    ],
)  # fmt: skip
def test_each_check_by_itself(described: Description, step: str) -> None:
    assert _last(_appraise(chain(described))) == step


@pytest.mark.parametrize(
    ("described", "reason", "step"),
    [
        (GOOD.enforced(t704=phones.root_of_trust(locked=0)), "debug", "appraisal.secure"),
        (GOOD.enforced(t704=phones.root_of_trust(state=1)), "debug", "appraisal.secure"),
        (GOOD.enforced(t704=phones.root_of_trust(state=2)), "debug", "appraisal.secure"),
        (GOOD.enforced(t704=phones.root_of_trust(state=3)), "debug", "appraisal.secure"),
        (GOOD.enforced(t706=number(202604)), "outdated", "appraisal.os_patch"),
        (GOOD.enforced(t706=None), "outdated", "appraisal.os_patch"),
        (GOOD.enforced(t718=number(20260430)), "outdated", "appraisal.vendor_patch"),
        (GOOD.enforced(t718=number(202605)), "outdated", "appraisal.vendor_patch"),
        (GOOD.enforced(t719=number(20260504)), "outdated", "appraisal.boot_patch"),
        (GOOD.claimed(t709=phones.application(signer=bytes(32))), "references", ""),
    ],
)
def test_a_phone_in_a_bad_state_is_authentic_and_not_affirmed(
    described: Description, reason: str, step: str
) -> None:
    found = _appraise(chain(described))
    assert found.claims is not None and not found.affirmed
    assert found.reasons == (f"attestation.{reason}",)
    assert found.level != "D3"
    assert not step or step in {one.name for one in found.steps if not one.passed}


def test_a_key_that_software_keeps_is_worth_nothing() -> None:
    claimed = dict(sorted({**phones.HARDWARE, **phones.SOFTWARE}.items()))
    described = Description(level=0, keymint_level=0, hardware={}, software=claimed)
    models = Models([replace(MODEL, match={}, minimum={})])
    found = _appraise(chain(described), materials=replace(MATERIALS, models=models))
    assert found.claims is not None and not found.claims.bound_key.protected
    assert "attestation.software" in found.reasons and found.level == "D1"


def test_the_device_key_is_the_leafs() -> None:
    other = replace(EXPECTED, key=admit("p256", OTHER_KEY.public_key().public_bytes(
        Encoding.X962, PublicFormat.CompressedPoint)))  # fmt: skip
    assert _last(_appraise(chain(), expected=other)) == "binding.key"
    edwards = ed25519.Ed25519PrivateKey.generate().public_key()
    mine = Expected(challenge=CHALLENGE, key=admit("ed25519", edwards.public_bytes_raw()))
    assert _appraise(chain(key=edwards), expected=mine).affirmed
    # Keys that no device of a network signs with: attested, and nobody's.
    large = ec.generate_private_key(ec.SECP384R1()).public_key()
    modulus = rsa.generate_private_key(65537, 2048).public_key()
    for key, described in ((large, GOOD), (modulus, GOOD.enforced(t2=number(1)))):
        assert _last(_appraise(chain(described, key=key))) == "binding.key"
        alone = _appraise(chain(described, key=key), expected=Expected(challenge=CHALLENGE))
        assert alone.affirmed and alone.claims is not None and alone.claims.bound_key.key is None


def test_every_serial_counts_for_revocation() -> None:
    for links in (FACTORY, RKP):
        for link in links:
            name = serial_identifier("android-key", link.serial)
            listed = RevocationSnapshot(frozenset(("android-key",)), {name: "leaked"}, AT - 1000)
            materials = replace(MATERIALS, revocations=Revocations([listed]))
            assert _appraise(chain(links=links), materials=materials).reasons == (
                "attestation.revoked",
            )
    silent = replace(MATERIALS, revocations=Revocations())
    assert _appraise(chain(), materials=silent).reasons == ("attestation.revocations",)


def test_a_key_ends_when_its_use_does() -> None:
    ends = AT + 60_000
    found = _appraise(chain(GOOD.enforced(t401=number(ends))))
    assert found.affirmed and found.not_after == ends
    assert _last(_appraise(chain(GOOD.enforced(t401=number(AT - 1))))) == "binding.time"


MALFORMED = {
    "empty": b"",
    "another type": octets(b""),
    "behind": GOOD.der() + b"\x00",
    "seven parts": tlv(0x30, number(300) * 7),
    "a long length": b"\x30\x82\x00" + GOOD.der()[2:],
    "indefinite": b"\x30\x80" + b"\x00\x00",
    "cut off": GOOD.der()[:-1],
    "no such level": replace(GOOD, level=3, keymint_level=3).der(),
    "negative version": replace(GOOD, version=b"\x02\x01\x80").der(),
    "long version": replace(GOOD, version=b"\x02\x02\x00\x03").der(),
    "long challenge": replace(GOOD, challenge=bytes(129)).der(),
    "boolean 1": GOOD.enforced(t704=phones.root_of_trust(locked=1)).der(),
    "boot state": GOOD.enforced(t704=phones.root_of_trust(state=4)).der(),
    "large integer": GOOD.enforced(t705=tlv(2, b"\x01" + bytes(8))).der(),
    "null with content": GOOD.enforced(t503=tlv(5, b"\x00")).der(),
    "two in a tag": GOOD.enforced(t705=number(1) + number(2)).der(),
    "none in a tag": GOOD.enforced(t705=b"").der(),
    "descending": replace(GOOD, hardware=dict(reversed(phones.HARDWARE.items()))).der(),
    "no UTF-8": GOOD.claimed(t709=octets(tlv(0x30, tlv(0x31, tlv(0x30, octets(b"\xff") + number(1)))
                                          + tlv(0x31, b"")))).der(),
}  # fmt: skip


@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_descriptions(value: bytes) -> None:
    found = _appraise(chain(value))
    assert _last(found) == "android-key.description"
    assert found.reasons == ("attestation.malformed",)


def test_a_tag_twice_or_in_a_longer_form_is_refused_and_an_unknown_one_is_not() -> None:
    tags = b"".join(phones.tagged(tag, value) for tag, value in phones.HARDWARE.items())
    whole = GOOD.der()
    for changed in (
        tags + phones.tagged(719, number(20260505)),
        tags.replace(phones.tagged(10, number(1)), b"\xbf\x0a" + tlv(0, number(1))[1:]),
        tags.replace(phones.tagged(10, number(1)), b"\xbf\x80\x0a" + tlv(0, number(1))[1:]),
    ):
        head = whole.removesuffix(tlv(0x30, tags))
        assert len(head) < len(whole)
        content = head[3 if head[1] == 0x81 else 4 :]
        value = tlv(0x30, content + tlv(0x30, changed))
        assert _last(_appraise(chain(value))) == "android-key.description"
    assert _appraise(chain(GOOD.enforced(t799=number(1)))).affirmed


def test_forms_of_evidence() -> None:
    certificates = chain()
    pem = write_pem(certificates)
    about: dict[str, Any] = {"expected": EXPECTED, "at": AT, "materials": MATERIALS}
    spellings = [pem, pem[:-1], write_pem(certificates, b"\r\n", b"\r\n")]
    spellings += [write_pem(certificates, b"\n", b"\r\n"), write_pem(certificates, b"\r\n", b"\n")]
    for good in spellings:
        assert appraise(PEM_TYPE, good, **about).affirmed
    bad = [
        b" " + pem,
        pem + b"\n",
        b"# a comment\n" + pem,
        pem.replace(b"\n", b"\r\n", 1),
        pem.replace(b"CERTIFICATE", b"X509 CERTIFICATE"),
        write_pem([b"\x30\x00"]),
        write_pem([certificates[0]] * 9),
        write_pem([certificates[0], *certificates]),
        b"-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n",
        pem.replace(b"\n", b"", 4),
        cbor.encode({}),
        cbor.encode([]),
        cbor.encode(certificates) + b"\x00",
        cbor.encode([*certificates, "text"]),
        b"\x9f\xff",
        b"",
        bytes(70_000),
    ]
    for raw in bad:
        assert appraise(PEM_TYPE, raw, **about).reasons == ("attestation.malformed",), raw[:40]
    assert _last(_appraise(certificates[:1])) == "android-key.attestation"
    assert _last(_appraise(chain(extensions=()))) == "android-key.description"


def test_no_byte_of_a_chain_is_free() -> None:
    about: dict[str, Any] = {"expected": EXPECTED, "at": AT, "materials": MATERIALS}
    raw = cbor.encode(chain(links=RKP, with_root=False))
    assert survivors(CBOR_TYPE, raw, **about) == []
