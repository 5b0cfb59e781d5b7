"""Result tokens of other verifiers: the draft's own examples, and what may not pass for one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from depin_id import cbor
from depin_id.attestation import TrustVector
from depin_id.attestation.ear import PROFILE, encode_result
from depin_id.attestation.ear_foreign import parse_foreign_ear
from depin_id.errors import AttestationError
from tests.attestation import diagnostic
from tests.attestation.test_ear import RESULT
from tests.paths import vectors

CLAIMS: dict[Any, Any] = {
    265: PROFILE,
    6: 1_666_529_184,
    1004: {0: "https://example.org", 1: "1.0"},
    266: {"PSA": {1000: 96, 1001: {0: 2, 2: 96, 4: 2}, 1003: ["policy"]}},
}
ASPECTS = {"instance-identity": 2, "executables": 96, "hardware": 2}
NAMED: dict[str, Any] = {
    "eat_profile": PROFILE,
    "iat": 1_666_529_184,
    "ear_verifier_id": {"developer": "https://example.org", "build": "1.0"},
    "submods": {
        "PSA": {
            "ear_status": "contraindicated",
            "ear_trustworthiness_vector": {
                "instance-identity": 2,
                "executables": 96,
                "hardware": 2,
            },
            "ear_appraisal_policy_ids": ["policy"],
        }
    },
}
CBOR_1, JSON_1 = cbor.encode(CLAIMS), json.dumps(NAMED)


def test_both_forms_say_the_same() -> None:
    found = parse_foreign_ear(CBOR_1)
    assert found == parse_foreign_ear(JSON_1.encode())
    appraisal = found.submods["PSA"]
    assert appraisal.vector == TrustVector(instance_identity=2, executables=96, hardware=2)
    assert (appraisal.status, appraisal.policies, found.affirmed) == (96, ("policy",), False)


STATUSES = {
    "ear-cbor-1": {"PSA": 96},
    "ear-json-1": {"PSA": 96},
    "ear-json-2": {"CCA Platform": 2, "CCA Realm": 2},
    "ext-teep-cbor-1": {"PSA": 0},
    "ext-teep-json-1": {"PSA": 96},
    "ext-veraison-cbor-1": {"PSA_IOT": 0},
    "ext-veraison-json-1": {"PSA_IOT": 96},
    "ext-veraison-json-2": {"PARSEC_TPM": 2},
}


def test_the_examples_of_the_draft_are_read() -> None:
    found = {}
    for path in sorted(vectors("attestation/ear-ar4si/cddl/examples").glob("*.diag")):
        value = diagnostic.read(path.read_text())
        data = json.dumps(value).encode() if "json" in path.stem else cbor.encode(value)
        read = parse_foreign_ear(data)
        found[path.stem] = {name: item.status for name, item in read.submods.items()}
        assert read.developer.startswith("https://") and read.build and read.issued
        assert all(item.vector.instance_identity for item in read.submods.values())
        assert read.affirmed == (set(found[path.stem].values()) == {2})
    assert found == STATUSES


def test_our_own_results_are_read_as_others_read_them() -> None:
    read = parse_foreign_ear(encode_result(RESULT))
    assert read.submods["example"].vector == RESULT.vector
    assert read.submods["example"].status == RESULT.vector.status
    assert (read.developer, read.build) == (RESULT.verifier, RESULT.software)


def _changed(path: list[Any], value: Any) -> bytes:
    claims = cbor.decode(CBOR_1)
    inside = claims
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = value
    return cbor.encode(claims)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        CBOR_1 + b"\x00",
        _changed([265], "tag:example.org,2026:other"),
        _changed([6], -1),
        _changed([1004], "me"),
        _changed([1004, 0], 5),
        _changed([266], {}),
        _changed([266], []),
        _changed([266, "PSA"], 1),
        _changed([266, "PSA", 1000], 3),
        _changed([266, "PSA", 1000], 2),
        _changed([266, "PSA", 1000], 32),
        _changed([266, "PSA", 1000], 0),
        _changed([266, "PSA", 1000], True),
        _changed([266, "PSA", 1001], [2]),
        _changed([266, "PSA", 1001, 8], 2),
        _changed([266, "PSA", 1001, 0], 200),
        _changed([266, "PSA", 1003], "policy"),
        _changed([266, "PSA", 1003], [1]),
        JSON_1.replace('"contraindicated"', '"good"').encode(),
        JSON_1.replace('"contraindicated"', "96").encode(),
        JSON_1.replace('"contraindicated"', '"affirming"').encode(),
        JSON_1.replace('"hardware"', '"hard-ware"').encode(),
    ],
)
def test_what_is_no_result_is_refused(data: bytes) -> None:
    with pytest.raises(AttestationError) as caught:
        parse_foreign_ear(data)
    assert caught.value.code == "attestation.result"
