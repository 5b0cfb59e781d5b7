"""Sets and chains of proofs, in the shapes of the W3C's vectors with the JCS suite.

The vectors themselves are of eddsa-rdfc-2022, which is not taken here: their documents, ids,
previousProof and key pairs are signed anew with eddsa-jcs-2022.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id import base58
from depin_id.did.key import did_key, parse_did_key
from depin_id.errors import CredentialError, DepinError, SignatureInvalid
from depin_id.keys import PublicKey, SoftwareSigner
from depin_id.proof_sets import MAX_PROOFS, Secured, add_proof, verify_secured
from tests.paths import vectors

NOW = 1_700_000_000_000
PURPOSE = "assertionMethod"


def _key_of(options: Any) -> PublicKey:
    did = options["verificationMethod"].partition("#")[0]
    return parse_did_key(did, allow_published=True)


def _verify(secured: Any, **more: Any) -> Secured:
    given: dict[str, Any] = {"key_of": _key_of, "purpose": PURPOSE, "now_ms": NOW} | more
    return verify_secured(secured, **given)


def _published() -> tuple[dict[str, Any], list[dict[str, Any]], list[SoftwareSigner]]:
    folder = vectors("vc-di-eddsa/TestVectors/proof-set-chain")
    document = json.loads((folder / "signedProofChain2.json").read_text())
    pairs = json.loads((folder / "multiKeyPairs.json").read_text())
    signers = [
        SoftwareSigner(
            "ed25519", base58.decode(pair["privateKeyMultibase"][1:])[2:], allow_published=True
        )
        for pair in pairs.values()
    ]
    return document, document.pop("proof"), signers


def _sign(document: dict[str, Any], config: dict[str, Any], signer: SoftwareSigner) -> Any:
    more = {"id": config["id"]} if "id" in config else {}
    return add_proof(
        document,
        signer,
        verification_method=config["verificationMethod"],
        purpose=config["proofPurpose"],
        created=config["created"],
        previous=config.get("previousProof"),
        **more,
    )


def _chain() -> Any:
    """The published chain: two proofs, a third over both, a fourth over the third."""
    document, configs, signers = _published()
    secured: Any = document
    for config, signer in zip(configs, signers, strict=True):
        secured = _sign(secured, config, signer)
    return secured


def test_the_published_chain_signed_with_jcs() -> None:
    secured = _chain()
    document, configs, _ = _published()
    found = _verify(secured)
    assert found.document == document
    dropped = {"cryptosuite", "proofValue", "@context"}
    for options, config in zip(found.proofs, configs, strict=True):
        assert {n: v for n, v in options.items() if n not in dropped} == {
            n: v for n, v in config.items() if n not in dropped
        }


def test_proofs_of_a_suite_with_rdf_are_refused_by_name() -> None:
    document, configs, _ = _published()
    with pytest.raises(CredentialError, match=r"proof\.suite"):
        _verify({**document, "proof": configs[:2]})


def test_a_set_holds_when_every_proof_holds_in_any_order() -> None:
    secured = _chain()
    proofs = secured["proof"]
    assert _verify({**secured, "proof": proofs[:2]}).proofs == _verify(secured).proofs[:2]
    assert _verify({**secured, "proof": proofs[::-1]}).proofs == _verify(secured).proofs[::-1]
    assert len(_verify({**secured, "proof": proofs[0]}).proofs) == 1
    broken = {**proofs[0], "proofValue": proofs[1]["proofValue"]}
    for wrong in ([broken, proofs[1]], [proofs[1], broken]):
        with pytest.raises(SignatureInvalid):
            _verify({**secured, "proof": wrong})


def test_a_chain_signs_what_it_builds_on() -> None:
    secured = _chain()
    first, second, third, fourth = secured["proof"]
    # One that is built on is left out: named, and not there.
    for left in ([first, third, fourth], [third], [first, second, fourth]):
        with pytest.raises(CredentialError, match=r"proof\.chain"):
            _verify({**secured, "proof": left})
    # One that is built on is made again by the same key: the signature over it breaks.
    document, configs, signers = _published()
    again = _sign(document, configs[0] | {"created": "2023-02-24T23:36:39Z"}, signers[0])
    with pytest.raises(SignatureInvalid):
        _verify({**secured, "proof": [again["proof"], second, third, fourth]})
    # What the third names is changed, or no longer named.
    with pytest.raises(SignatureInvalid):
        _verify({**secured, "proof": [first, second, {**third, "previousProof": first["id"]}]})
    without = {name: item for name, item in third.items() if name != "previousProof"}
    with pytest.raises(SignatureInvalid):
        _verify({**secured, "proof": [first, second, without]})


def test_circles_and_names_that_stand_twice_are_refused() -> None:
    secured = _chain()
    first, second, third, _ = secured["proof"]
    circle = [{**first, "previousProof": second["id"]}, {**second, "previousProof": first["id"]}]
    itself = [{**first, "previousProof": first["id"]}]
    twice = [{**third, "previousProof": [first["id"]] * 2}, first]
    chains: list[Any] = [circle, itself, twice]
    for wrong in chains:
        with pytest.raises(CredentialError, match=r"proof\.chain"):
            _verify({**secured, "proof": wrong})
    odd: list[Any] = [[first, first], [], [1], None, "x", [{**first, "id": 1}]]
    names: list[Any] = [[], 1, None, [None], {}]
    odd += [[{**first, "previousProof": name}] for name in names]
    for wrong in odd:
        with pytest.raises(CredentialError, match=r"proof\.malformed"):
            _verify({**secured, "proof": wrong})


def _one(**more: Any) -> tuple[Any, SoftwareSigner]:
    signer = SoftwareSigner.generate()
    did = did_key(signer.public_key)
    method = f"{did}#{did[8:]}"
    document = {"@context": ["https://www.w3.org/ns/credentials/v2"], "id": "urn:x:1"}
    purpose = more.pop("purpose", PURPOSE)
    return add_proof(
        document, signer, verification_method=method, purpose=purpose, created=None, **more
    ), signer


@pytest.mark.parametrize(
    ("made", "asked", "code"),
    [
        ({"expires": "2023-11-14T22:13:19Z"}, {}, "proof.expired"),
        ({"expires": "2023-11-31T00:00:00Z"}, {}, "proof.malformed"),
        ({"purpose": "authentication"}, {}, "proof.purpose"),
        ({"domain": "example.org"}, {"domain": "example.com"}, "proof.domain"),
        ({"domain": "example.org"}, {}, "proof.domain"),
        ({}, {"domain": "example.org"}, "proof.domain"),
        ({"challenge": "1"}, {"challenge": "2"}, "proof.challenge"),
        ({"challenge": "1"}, {}, "proof.challenge"),
        ({}, {"challenge": "1"}, "proof.challenge"),
    ],
)
def test_each_option_is_asked_for(made: Any, asked: Any, code: str) -> None:
    secured, _ = _one(**made)
    with pytest.raises(CredentialError) as caught:
        _verify(secured, **asked)
    assert caught.value.code == code


def test_options_that_fit() -> None:
    _verify(_one(expires="2023-11-14T22:13:20Z")[0])
    _verify(_one(domain="example.org", challenge="1")[0], domain="example.org", challenge="1")
    both = _one(domain=["example.org", "example.com"])[0]
    _verify(both, domain="example.com")


def test_contexts_that_nobody_signed_are_not_given_back() -> None:
    secured, _ = _one()
    more = {**secured, "@context": [*secured["@context"], "https://example.org/unsigned"]}
    assert _verify(more).document["@context"] == secured["@context"]
    with pytest.raises(CredentialError, match=r"proof\.context"):
        _verify({**secured, "@context": ["https://example.org/unsigned"]})


def test_there_are_bounds() -> None:
    secured, signer = _one()
    proof = secured["proof"]
    with pytest.raises(CredentialError, match=r"proof\.too_many"):
        _verify({**secured, "proof": [proof] * (MAX_PROOFS + 1)})
    with pytest.raises(CredentialError, match=r"proof\.too_many"):
        add_proof(
            {**secured, "proof": [proof] * MAX_PROOFS},
            signer,
            verification_method=proof["verificationMethod"],
            purpose=PURPOSE,
            created=None,
        )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(name=st.sampled_from(["proof", "@context", "type", "cryptosuite", "id"]), value=JSON)
def test_only_our_errors_escape(name: str, value: Any) -> None:
    secured, _ = _one()
    for changed in (
        {**secured, name: value},
        {**secured, "proof": {**secured["proof"], name: value}},
        {**secured, "proof": {**secured["proof"], "previousProof": value}},
    ):
        try:
            _verify(changed)
        except DepinError as error:
            assert error.code
