"""Chains of certificates that somebody bent: each way by itself, in both validators."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from depin_id.errors import AttestationError
from tests.attestation.ca import NOW, Authority, PrivateKey, new_key
from verify.attestation import Anchor
from verify.attestation.identifiers import key_identifier, spki_of
from verify.attestation.steps import Steps
from verify.attestation.x509path import (
    Path,
    PathRules,
    read_certificates,
    verify_path,
    verify_strict,
)
from verify.attestation.x509signatures import _verify_signature

CRITICAL = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
KEYS = [new_key() for _ in range(5)]
BIG = rsa.RSAPublicNumbers(65537, (1 << 8999) + 1).public_key()
SLOW = rsa.RSAPublicNumbers((1 << 2000) + 1, (1 << 2047) + 1).public_key()


@dataclass(frozen=True)
class Made:
    """A certificate that is to be made. ``usage``: keyCertSign, or none of it; None for no say."""

    name: str = "ca"
    key: PrivateKey | None = None
    ca: bool | None = True
    length: int | None = None
    usage: bool | None = True
    years: tuple[int, int] = (2020, 2040)
    more: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    public: rsa.RSAPublicKey | None = field(default=None, hash=False)
    digest: type[hashes.SHA224 | hashes.SHA256] = hashes.SHA256


def _chain(*made: Made, root: bool = False) -> list[bytes]:
    """DER, leaf first; the last one is the root, left out or not."""
    return list(_made(made) if root else _made(made)[:-1])


@cache
def _made(made: tuple[Made, ...]) -> list[bytes]:
    found = []
    keys = [item.key or KEYS[number] for number, item in enumerate(made)]
    for number, item in enumerate(made):
        above = min(number + 1, len(made) - 1)
        public = item.public or keys[number].public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(item.name))
            .issuer_name(_name(made[above].name))
            .public_key(public)
            .serial_number(1000 + number)
            .not_valid_before(datetime(item.years[0], 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(item.years[1], 12, 31, tzinfo=UTC))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        )
        if above != number:
            identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(
                keys[above].public_key()
            )
            builder = builder.add_extension(identifier, False)
        if item.ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(item.ca, item.length), True)
        if item.usage is not None:
            builder = builder.add_extension(_usage(item.usage), True)
        for extension, critical in item.more:
            builder = builder.add_extension(extension, critical)
        key = keys[above]
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        found.append(builder.sign(key, item.digest()).public_bytes(Encoding.DER))
    return found


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(signs: bool) -> x509.KeyUsage:
    flags = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, **flags)


LEAF = Made("leaf", ca=None, usage=False)
MIDDLE, ROOT = Made("middle"), Made("root")


def _anchor(*made: Made, certificate: bool = True) -> Anchor:
    der = _chain(*made, root=True)[-1]
    spki = spki_of(x509.load_der_x509_certificate(der))
    return Anchor("x", "root", spki, der if certificate else b"")


def _run(
    chain: Sequence[bytes], anchors: Sequence[Anchor], *, strict: bool, rules: PathRules | None
) -> Path:
    steps = Steps()
    read = read_certificates(chain, "x.form", steps)
    if strict:
        return verify_strict(read, anchors, at=NOW, name="x", steps=steps)
    used = rules or PathRules()
    return verify_path(read, anchors, at=NOW, rules=used, name="x", steps=steps)


def _refused(
    *made: Made,
    root: bool = False,
    strict: bool = False,
    rules: PathRules | None = None,
    certificate: bool = True,
) -> str:
    """The step that failed."""
    with pytest.raises(AttestationError) as caught:
        _run(
            _chain(*made, root=root),
            [_anchor(*made, certificate=certificate)],
            strict=strict,
            rules=rules,
        )
    return caught.value.message.partition(":")[0]


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("strict", [True, False])
def test_what_is_made_here_passes(strict: bool, root: bool) -> None:
    made = (LEAF, MIDDLE, ROOT)
    found = _run(_chain(*made, root=root), [_anchor(*made)], strict=strict, rules=None)
    # Whether the root is sent or not, it can be revoked.
    assert key_identifier(found.anchor.spki) in found.identifiers("x")


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize(
    ("bent", "step"),
    [
        (Made("root", length=0), "x.path_length"),
        (Made("root", ca=False), "x.authority"),
        (Made("root", ca=None), "x.authority"),
        (Made("root", usage=False), "x.key_usage"),
        (Made("root", usage=None), "x.key_usage"),
    ],
)
def test_leaving_the_root_out_lifts_none_of_its_limits(bent: Made, step: str, root: bool) -> None:
    assert _refused(LEAF, MIDDLE, bent, root=root) == step
    assert _refused(LEAF, MIDDLE, bent, root=root, strict=True).startswith("x.")


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("leaf", "middle", "step"),
    [
        (LEAF, Made("middle", ca=False), "authority"),
        (LEAF, Made("middle", ca=None), "authority"),
        (LEAF, Made("middle", usage=False), "key_usage"),
        (LEAF, Made("middle", more=((CRITICAL, True),)), "critical"),
        (LEAF, Made("middle", years=(2027, 9999)), "dates"),
        (LEAF, Made("middle", years=(2000, 2025)), "dates"),
        (Made("leaf", usage=False), MIDDLE, "leaf"),
        (Made("leaf", ca=None, usage=False, more=((CRITICAL, True),)), MIDDLE, "critical"),
        (Made("leaf", ca=None, usage=False, years=(2027, 9999)), MIDDLE, "dates"),
        (Made("leaf", ca=None, usage=False, years=(2000, 2025)), MIDDLE, "dates"),
    ],
)
def test_a_bent_certificate(leaf: Made, middle: Made, step: str, strict: bool) -> None:
    found = _refused(leaf, middle, ROOT, strict=strict)
    assert found == f"x.{step}" or (strict and found == "x.chain")


def test_an_authority_that_never_ends_passes_and_so_does_a_root_that_has_ended() -> None:
    made = (LEAF, Made("middle", years=(2020, 9999)), Made("root", years=(2000, 2001)))
    for root in (True, False):
        _run(_chain(*made, root=root), [_anchor(*made)], strict=False, rules=None)
        anchor = _anchor(*made, certificate=False)
        _run(_chain(*made, root=root), [anchor], strict=False, rules=None)


def test_a_certificate_named_as_its_issuer_is_still_held_to_its_dates() -> None:
    renewed = Made("root", years=(2000, 2025))
    for certificate in (True, False):
        assert _refused(LEAF, renewed, ROOT, certificate=certificate) == "x.dates"


def test_names_have_to_be_linked_where_the_anchor_is_a_certificate() -> None:
    made = (LEAF, MIDDLE, ROOT)
    other = _anchor(LEAF, MIDDLE, Made("other root"))
    assert other.spki == _anchor(*made).spki
    with pytest.raises(AttestationError):
        _run(_chain(*made), [other], strict=False, rules=None)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP224R1()),
        ec.generate_private_key(ec.BrainpoolP256R1()),
        ec.generate_private_key(ec.SECP256K1()),
    ],
)
def test_an_authority_on_another_curve(key: PrivateKey, strict: bool) -> None:
    assert _refused(LEAF, Made("middle", key=key), ROOT, strict=strict) in (
        "x.signature",
        "x.algorithm",
    )


def test_an_authority_that_signs_by_a_weak_hash() -> None:
    weak = Made("leaf", ca=None, usage=False, digest=hashes.SHA224)
    assert _refused(weak, MIDDLE, ROOT) == "x.algorithm"
    assert _refused(weak, MIDDLE, ROOT, strict=True) == "x.chain"
    weak = Made("middle", digest=hashes.SHA224)
    assert _refused(LEAF, weak, ROOT) == "x.anchor"


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("public", [BIG, SLOW])
def test_keys_that_take_long_are_not_calculated_with(
    public: rsa.RSAPublicKey, strict: bool
) -> None:
    made = (LEAF, *(Made(f"ca {number}", public=public) for number in range(3)), ROOT)
    began = time.perf_counter()
    assert _refused(*made, strict=strict) in ("x.signature", "x.algorithm")
    assert time.perf_counter() - began < 1


def test_certificates_of_one_name_are_no_maze() -> None:
    loop = Made("loop", key=KEYS[0])
    made = (LEAF, *(loop for _ in range(4)))
    chain = _chain(*made)
    anchor = _anchor(LEAF, MIDDLE, ROOT)
    with pytest.raises(AttestationError) as caught:
        _run(chain, [anchor], strict=True, rules=None)
    assert caught.value.message.startswith("x.names")
    with pytest.raises(AttestationError) as caught:
        _run(chain, [anchor], strict=False, rules=None)
    assert caught.value.message.startswith("x.anchor")


def test_a_certificate_is_bounded_in_what_it_says() -> None:
    many = x509.SubjectAlternativeName([x509.DNSName("a")] * 1100)
    steps = Steps()
    with pytest.raises(AttestationError) as caught:
        read_certificates(_chain(Made("leaf", more=((many, False),)), ROOT), "x", steps)
    assert caught.value.code == "attestation.malformed"


def test_a_plain_attester_may_say_nothing_but_nothing_else() -> None:
    rules = PathRules(dates="ignore", plain_attester=True)
    for plain in (Made("middle", ca=None, usage=None), Made("middle", ca=False, usage=True)):
        made = (LEAF, plain, ROOT)
        _run(_chain(*made), [_anchor(*made)], strict=False, rules=rules)
    two = (LEAF, MIDDLE, Made("upper", ca=False), ROOT)
    assert _refused(*two, rules=rules) == "x.authority"


def test_a_chain_that_is_its_anchor_alone() -> None:
    alone = (Made("leaf", ca=None, usage=False),)
    der = _chain(*alone, root=True)
    spki = spki_of(x509.load_der_x509_certificate(der[0]))
    for strict in (True, False):
        with pytest.raises(AttestationError):
            _run(der, [Anchor("x", "leaf", spki, der[0])], strict=strict, rules=None)
    with pytest.raises(AttestationError):
        _run(der, [Anchor("x", "leaf", spki)], strict=False, rules=None)


def test_an_extension_that_is_there_twice_is_refused() -> None:
    twin = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.5"), b"\x05\x00")
    chain = _chain(Made("leaf", more=((CRITICAL, False), (twin, False))), ROOT)
    assert read_certificates(chain, "x", Steps())
    twice = chain[0].replace(b"\x06\x03\x2a\x03\x05", b"\x06\x03\x2a\x03\x04")
    assert twice != chain[0]
    with pytest.raises(AttestationError):
        read_certificates([twice], "x", Steps())


@pytest.mark.parametrize("strict", [True, False])
def test_an_authority_whose_key_is_too_small(strict: bool) -> None:
    small = rsa.RSAPublicNumbers(65537, (1 << 1023) + 1).public_key()
    assert _refused(LEAF, Made("middle", public=small), ROOT, strict=strict) in (
        "x.signature",
        "x.algorithm",
    )


def test_certificates_of_anybody_are_not_kept_as_good() -> None:
    before = _verify_signature.cache_info().currsize
    for _ in range(20):
        stranger = Made("middle", key=new_key())
        chain = [*_chain(LEAF, stranger), *_chain(LEAF, MIDDLE, ROOT)[1:]]
        with pytest.raises(AttestationError):
            _run(chain, [_anchor(LEAF, MIDDLE, ROOT)], strict=False, rules=None)
    # Only that of the one authority which the root has signed.
    assert _verify_signature.cache_info().currsize <= before + 1


def test_an_authority_whose_key_is_of_small_order_signs_nothing() -> None:
    """Under such a key one signature fits every certificate: law 2 admits no such key."""
    root = Authority("root")
    weak = ed25519.Ed25519PublicKey.from_public_bytes(b"\x01" + bytes(31))
    (middle,) = root.issue("middle", weak, ca=True)
    forged = b"\x01" + bytes(63)
    weak.verify(forged, b"whatever")
    named = Authority("middle", ed25519.Ed25519PrivateKey.generate())
    (leaf,) = named.issue("leaf", new_key().public_key())
    chain = [leaf[:-64] + forged, middle]
    with pytest.raises(AttestationError) as caught:
        _run(chain, [root.anchor("x")], strict=False, rules=None)
    assert caught.value.code == "attestation.signature"
