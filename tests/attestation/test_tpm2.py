"""A TPM's evidence: all of it is needed, and each thing that is wrong is found by its own check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from depin_id.attestation.tpm2_evidence import MEDIA_TYPE
from tests.attestation import tpm2_world as made
from tests.attestation.ca import NOW, Authority, extended_by
from tests.attestation.mutation import survivors
from tests.attestation.tpm2_world import (
    CHALLENGE,
    GOOD,
    KEY_ATTRIBUTES,
    NAMES,
    PCRS,
    Spec,
    ak_leaf,
    appraise,
    changed,
    device_key,
    ek_leaf,
    key,
    rsa_key,
    selection,
    spki,
)
from verify.attestation import Expected, appraise_evidence
from verify.attestation.identifiers import key_identifier
from verify.attestation.tpm2 import wire

DAY = 86_400_000


def _ek(**changes: object) -> Spec:
    return changed(ek_chain=ek_leaf(key("ek"), **changes))


def _certified(**changes: object) -> Spec:
    """An attestation key with a certificate: no credential was activated."""
    return changed(ak_chain=ak_leaf(key("ak"), **changes))


def _unmeasured() -> Spec:
    return changed(pcrs=PCRS | {8: bytes(32)}, digest=GOOD.quote()[-32:])


ACTIVATED: dict[str, tuple[Callable[[], Spec], str, str]] = {
    "magic": (lambda: changed(magic=0xFF544348), "tpm2.structures", "malformed"),
    "type": (lambda: changed(kind=wire.ATTEST_CERTIFY), "tpm2.quote.type", "claims"),
    "another type": (lambda: changed(kind=0x8019), "tpm2.structures", "malformed"),
    "trailing bytes": (lambda: changed(trailing=b"\0"), "tpm2.structures", "malformed"),
    "flag": (lambda: changed(safe=2), "tpm2.structures", "malformed"),
    "not the challenge": (lambda: changed(extra=bytes(32)), "binding.challenge", "challenge"),
    "not fixed in the TPM": (lambda: _ak(1 << 1), "tpm2.ak.fixedTPM", "key"),
    "not fixed below its parent": (lambda: _ak(1 << 4), "tpm2.ak.fixedParent", "key"),
    "brought in from outside": (lambda: _ak(1 << 5), "tpm2.ak.sensitiveDataOrigin", "key"),
    "signs nothing": (lambda: _ak(1 << 18), "tpm2.ak.sign", "key"),
    "signs anything": (lambda: _ak(1 << 16), "tpm2.ak.restricted", "key"),
    "decrypts too": (lambda: _ak(1 << 17), "tpm2.ak.decrypt", "key"),
    "duplicated": (lambda: _ak(1 << 11), "tpm2.ak.duplication", "key"),
    "Name by SHA-1": (lambda: changed(ak_digest=wire.SHA1), "tpm2.ak.name", "algorithm"),
    "key for SHA-1": (
        lambda: changed(ak_scheme_digest=wire.SHA1, signature_digest=wire.SHA256),
        "tpm2.ak.digest",
        "algorithm",
    ),
    "no scheme": (lambda: changed(ak_scheme=0x001A), "tpm2.structures", "malformed"),
    "signed by SHA-1": (
        lambda: changed(signature_digest=wire.SHA1),
        "tpm2.quote.digest",
        "algorithm",
    ),
    "signed by another hash": (
        lambda: changed(signature_digest=wire.SHA384),
        "tpm2.quote.scheme",
        "algorithm",
    ),
    "signed by another key": (
        lambda: changed(quote_by=key("other")),
        "tpm2.quote.signature",
        "signature",
    ),
    "SHA-1 bank": (
        lambda: changed(selection=selection((wire.SHA1, range(8)))),
        "tpm2.quote.bank",
        "algorithm",
    ),
    "SHA-1 bank beside": (
        lambda: changed(selection=selection((wire.SHA256, range(8)), (wire.SHA1, [0]))),
        "tpm2.quote.bank",
        "algorithm",
    ),
    "SHA-384 bank": (
        lambda: changed(selection=selection((wire.SHA384, range(8)))),
        "tpm2.quote.selection",
        "claims",
    ),
    "fewer PCRs": (
        lambda: changed(selection=selection((wire.SHA256, range(7)))),
        "tpm2.quote.selection",
        "claims",
    ),
    "no PCRs": (lambda: changed(selection=selection()), "tpm2.quote.selection", "claims"),
    "more PCRs": (
        lambda: changed(selection=selection((wire.SHA256, range(9)))),
        "tpm2.quote.selection",
        "claims",
    ),
    "values of others": (_unmeasured, "tpm2.pcrs.given", "claims"),
    "other values": (lambda: changed(digest=bytes(32)), "tpm2.pcrs.digest", "claims"),
    "empty digest": (lambda: changed(digest=b""), "tpm2.pcrs.digest", "claims"),
    "EK usage": (lambda: _ek(usage="2.23.133.8.3"), "tpm2.ek.usage", "chain"),
    "EK without usage": (lambda: _ek(usage=""), "tpm2.ek.usage", "chain"),
    "EK names not critical": (lambda: _ek(critical=False), "tpm2.ek.names_critical", "chain"),
    "EK without names": (lambda: _ek(names=None), "tpm2.ek.names_critical", "chain"),
    "EK without a version": (
        lambda: _ek(names={oid: NAMES[oid] for oid in list(NAMES)[:2]}),
        "tpm2.ek.names",
        "chain",
    ),
    "EK that signs": (lambda: _ek(key_usage="digital_signature"), "tpm2.ek.key_usage", "chain"),
    "EK that is an authority": (lambda: _ek(ca=True), "tpm2.ek.leaf", "chain"),
    "EK out of time": (lambda: _ek(days=30), "tpm2.ek.dates", "expired"),
    "EK of nobody": (lambda: _ek(by=Authority("own")), "tpm2.ek.anchor", "anchor"),
    "EK with an unknown critical extension": (
        lambda: _ek(
            extra=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"0"), True)]
        ),
        "tpm2.ek.critical",
        "chain",
    ),
    "chain extended by the EK": (
        lambda: changed(ek_chain=extended_by(key("ek"), ek_leaf(key("ek")), spki_key("fake"))),
        "tpm2.ek.authority",
        "chain",
    ),
    "credential of another EK": (
        lambda: changed(ek_chain=ek_leaf(key("other"))),
        "tpm2.activation.endorsement",
        "key",
    ),
    "certified as a quote": (
        lambda: changed(certify_kind=wire.ATTEST_QUOTE),
        "tpm2.certify.type",
        "claims",
    ),
    "certified without a TPM": (lambda: changed(certify_magic=1), "tpm2.structures", "malformed"),
    "certified by another key": (
        lambda: changed(certify_by=key("other")),
        "tpm2.certify.signature",
        "signature",
    ),
    "certified under another name": (
        lambda: changed(certify_signer=b"\0\x0b" + bytes(32)),
        "tpm2.certify.signer",
        "key",
    ),
    "another key certified": (
        lambda: changed(certify_name=b"\0\x0b" + bytes(32)),
        "tpm2.certify.name",
        "key",
    ),
    "key named by SHA-1": (lambda: changed(key_digest=wire.SHA1), "tpm2.key.name", "algorithm"),
    "key not fixed in the TPM": (lambda: _key(1 << 1), "tpm2.key.fixedTPM", "key"),
    "key not fixed below its parent": (lambda: _key(1 << 4), "tpm2.key.fixedParent", "key"),
    "key brought in": (lambda: _key(1 << 5), "tpm2.key.sensitiveDataOrigin", "key"),
    "key that signs nothing": (lambda: _key(1 << 18), "tpm2.key.sign", "key"),
    "key that decrypts": (lambda: _key(1 << 17), "tpm2.key.decrypt", "key"),
    "key that is duplicated": (lambda: _key(1 << 11), "tpm2.key.duplication", "key"),
    "not the device's key": (lambda: changed(device=key("other")), "binding.key", "key"),
    "RSA is not the device's key": (lambda: changed(device=rsa_key("other")), "binding.key", "key"),
}


def spki_key(name: str) -> ec.EllipticCurvePublicKey:
    return key(name).public_key()


def _ak(bit: int) -> Spec:
    return changed(ak_attributes=made.AK_ATTRIBUTES ^ bit)


def _key(bit: int) -> Spec:
    return changed(key_attributes=KEY_ATTRIBUTES ^ bit)


@pytest.mark.parametrize("name", ACTIVATED)
def test_one_thing_is_wrong(name: str) -> None:
    build, step, kind = ACTIVATED[name]
    found = appraise(build(), wanted=made.expected(GOOD))
    last = found.steps[-1]
    assert (last.name, last.passed, found.reasons) == (step, False, (f"attestation.{kind}",))
    assert found.level == "D1" and not found.affirmed and found.claims is None


CERTIFIED: dict[str, tuple[Callable[[], Spec], str, str]] = {
    "nothing ties the keys": (lambda: GOOD, "tpm2.tie", "key"),
    "a certified AK beside another TPM's EK": (
        lambda: replace(_certified(), ek_chain=ek_leaf(key("other"))),
        "tpm2.tie",
        "key",
    ),
    "a certified AK that is no child of the EK": (
        lambda: replace(_certified(), place="endorsement"),
        "tpm2.tie",
        "key",
    ),
    "AK usage": (lambda: _certified(usage="2.23.133.8.1"), "tpm2.ak.usage", "chain"),
    "AK that decrypts": (
        lambda: _certified(key_usage="key_encipherment"),
        "tpm2.ak.key_usage",
        "chain",
    ),
    "AK out of time": (lambda: _certified(days=30), "tpm2.ak.dates", "expired"),
    "AK of nobody": (lambda: _certified(by=Authority("own")), "tpm2.ak.anchor", "anchor"),
    "certificate of another key": (
        lambda: changed(ak_chain=ak_leaf(key("other"))),
        "tpm2.ak.certified",
        "key",
    ),
    "chain extended by the AK": (
        lambda: changed(ak_chain=extended_by(key("ak"), ak_leaf(key("ak")), spki_key("ak2"))),
        "tpm2.ak.authority",
        "chain",
    ),
    "AK of no known place": (
        lambda: replace(_certified(), ek_chain=(), signer=b"\0\x0b" + bytes(32)),
        "tpm2.ak.place",
        "key",
    ),
    "AK whose public area is not its own": (
        lambda: replace(
            _certified(),
            ek_chain=(),
            place="endorsement",
            ak_attributes=made.AK_ATTRIBUTES | 1 << 10,
            signer=replace(_certified(), place="endorsement")._signer(),
        ),
        "tpm2.ak.place",
        "key",
    ),
}


@pytest.mark.parametrize("name", CERTIFIED)
def test_one_thing_is_wrong_without_a_credential(name: str) -> None:
    build, step, kind = CERTIFIED[name]
    found = appraise(build(), activated=False)
    last = found.steps[-1]
    assert (last.name, last.passed, found.reasons) == (step, False, (f"attestation.{kind}",))
    assert found.claims is None


def test_what_a_tpm_says() -> None:
    found = appraise(GOOD)
    assert found.affirmed and found.level == "D3" and found.claims is not None
    claims = found.claims
    assert claims.challenge_seen == CHALLENGE
    assert claims.bound_key.how == "attested" and claims.bound_key.protected
    assert claims.bound_key.key == device_key()
    assert claims.root.id == GOOD.activation()[0]
    assert (claims.root.unique, claims.root.assurance) == (True, "tpm")
    assert claims.counters == {"resets": 5 << 32 | 1}
    assert claims.numbers == {"clock_safe": 1, "tpm": 0x10002}
    assert claims.device_ids == {
        "manufacturer": "id:00001014",
        "model": "made",
        "version": "id:00010002",
    }
    assert {item.name: item.digest for item in claims.measurements} == {
        f"pcr{index}": value for index, value in PCRS.items()
    }
    named = {key_identifier(spki(key(name))) for name in ("ek", "ak")}
    assert named <= claims.identifiers
    assert claims.secure is None


@pytest.mark.parametrize(
    "changes",
    [
        {"ak": rsa_key},
        {"ak": rsa_key, "ak_scheme": wire.RSAPSS},
        {"ek": rsa_key},
        {"place": "owner"},
        {"signer": b"\0\x0b" + bytes(32)},
        {"key_attributes": KEY_ATTRIBUTES | 1 << 10},
    ],
)
def test_other_keys_and_places(changes: dict[str, object]) -> None:
    given = {name: value(name) if callable(value) else value for name, value in changes.items()}
    found = appraise(changed(**given))
    assert found.affirmed and found.level == "D3", found.steps[-1]
    assert found.claims is not None
    # Outside the endorsement hierarchy a TPM obscures its counters.
    assert bool(found.claims.counters) == (not {"place", "signer"} & set(changes))


def test_a_certified_attestation_key_needs_no_credential() -> None:
    found = appraise(_certified(), activated=False)
    assert found.affirmed and found.claims is not None
    assert found.claims.root.id == GOOD.activation()[0], "it is a child of that endorsement key"
    alone = appraise(replace(_certified(), ek_chain=(), place="endorsement"), activated=False)
    assert alone.affirmed and alone.claims is not None
    assert alone.claims.root.id != found.claims.root.id, "the attestation key's own"
    other = replace(_certified(), ek_chain=(), place="endorsement")
    wrong = (bytes(32), b"\0\x0b" + bytes(32))
    wanted = Expected(challenge=CHALLENGE, key=device_key(), activation=wrong)
    refused = appraise(other, wanted=wanted)
    assert refused.steps[-1].name == "tpm2.activation.name"


def test_a_key_outside_the_tpm_is_bound_by_the_challenge_alone() -> None:
    found = appraise(changed(device=None))
    assert found.claims is not None and found.claims.bound_key.how == "challenge"
    assert found.level == "D1", "nothing says that the key cannot be taken out"


def test_a_replayed_quote() -> None:
    again = Expected(challenge=bytes(32), key=device_key(), activation=GOOD.activation())
    found = appraise(GOOD, wanted=again)
    assert found.reasons == ("attestation.challenge",)


def test_the_verifier_fixes_the_pcrs() -> None:
    some = {0: PCRS[0], 7: PCRS[7]}
    fits = changed(pcrs=some, selection=selection((wire.SHA256, some)))
    assert appraise(fits, chosen=made.model(some, pcrs=[7, 0])).affirmed
    assert appraise(fits).steps[-1].name == "tpm2.quote.selection"
    whole = appraise(GOOD, chosen=made.model(some, pcrs=[0, 7]))
    assert whole.steps[-1].name == "tpm2.quote.selection"
    for wrong in ([], [24], ["0"], 7, [True]):
        found = appraise(fits, chosen=made.model(some, pcrs=wrong))
        assert found.steps[-1].name == "tpm2.settings.pcrs" and found.claims is None


def test_other_firmware() -> None:
    found = appraise(changed(pcrs=PCRS | {0: bytes(32)}))
    assert found.claims is not None and not found.affirmed
    assert found.reasons == ("attestation.references",) and found.level == "D2"


def test_a_revoked_key() -> None:
    for name in ("ek", "ak"):
        revoked = {key_identifier(spki(key(name))): "stolen"}
        found = appraise_evidence(
            MEDIA_TYPE,
            GOOD.evidence().encode(),
            expected=made.expected(GOOD),
            at=NOW,
            materials=made.materials(revoked=revoked),
        )
        assert found.reasons == ("attestation.revoked",) and found.level == "D1"


def test_it_ends_with_its_certificates() -> None:
    found = appraise(_ek(days=200))
    assert found.claims is not None and found.claims.not_after is not None
    assert NOW < found.claims.not_after < NOW + 200 * DAY
    late = appraise(_ek(days=200), at=found.claims.not_after + 1000)
    assert late.reasons == ("attestation.expired",)


@pytest.mark.parametrize("by", ["credential", "certificate"])
def test_no_byte_is_free(by: str) -> None:
    spec = GOOD if by == "credential" else replace(_certified(), ek_chain=(), place="endorsement")
    raw = spec.evidence().encode()
    left = survivors(
        MEDIA_TYPE,
        raw,
        expected=made.expected(spec, activated=by == "credential"),
        at=NOW,
        materials=made.materials(),
    )
    assert left == []
