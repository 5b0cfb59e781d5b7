"""``did-witness.json``: who approved which version (did:webvh 1.0, "DID Witnesses")."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from depin_id.did.webvh.parameters import Parameters, WitnessRule
from depin_id.did.webvh.proofs import check_proof, signing_key
from depin_id.did.webvh.refusal import refuse
from depin_id.errors import DIDError, EncodingError
from depin_id.jcs import canonicalize
from depin_id.strict_json import parse

MAX_FILE: Final = 1 << 20
MAX_PROOFS: Final = 4096


def rule_for(before: Parameters | None, after: Parameters) -> WitnessRule:
    """Whose approval an entry needs: a new list counts after its entry, a first one at once."""
    return before.witness if before is not None and before.witness else after.witness


def read_witness_file(data: bytes) -> list[tuple[str, list[Any]]]:
    """Pairs of ``versionId`` and proofs; the proofs are not looked at.

    Raises:
        DIDError: ``did.webvh.witness``.
    """
    if not isinstance(data, bytes):
        refuse("witness", "did-witness.json is given as bytes")
    try:
        value = parse(data, max_bytes=MAX_FILE)
    except EncodingError as error:
        refuse("witness", f"did-witness.json is not strict JSON: {error.message}")
    if not isinstance(value, list):
        refuse("witness", "did-witness.json is not a list")
    found, count = [], 0
    for one in value:
        version_id = one.get("versionId") if isinstance(one, dict) else None
        if not isinstance(version_id, str):
            refuse("witness", "a record of did-witness.json has no versionId")
        proofs = one.get("proof", [])
        proofs = proofs if isinstance(proofs, list) else [proofs]
        count += len(proofs)
        found.append((version_id, proofs))
    if count > MAX_PROOFS:
        refuse("witness", f"did-witness.json has over {MAX_PROOFS} proofs")
    return found


def approvals(
    data: bytes,
    numbers: Mapping[str, int],
    times: Sequence[int],
    *,
    witnesses: Iterable[str],
    allow_published: bool,
) -> dict[str, int]:
    """The last version that each witness approved, and with it all before it.

    Args:
        numbers: number by ``versionId`` of the versions that the log has; proofs of others are
            for versions to come. times: of each version, in nanoseconds.
        witnesses: multikeys whose proofs count.

    Raises:
        DIDError: ``did.webvh.witness``: the file is malformed. A proof that does not verify is
            passed over.
    """
    wanted, last = set(witnesses), dict[str, int]()
    records = [(numbers.get(v, 0), v, p) for v, p in read_witness_file(data)]
    for number, version_id, proofs in sorted(records, key=lambda r: r[0], reverse=True):
        if not number:
            break
        canonical = canonicalize({"versionId": version_id})
        for proof in proofs:
            try:
                key = signing_key(str(proof["verificationMethod"]))
                if key in wanted and key not in last:
                    check_proof(
                        canonical, proof, times[number - 1], allow_published=allow_published
                    )
                    last[key] = number
            except (DIDError, KeyError, TypeError):
                continue
    return last


def approved(rules: Sequence[WitnessRule], last: Mapping[str, int], first: int = 1) -> int:
    """Up to which version, from ``first`` on, every one has the approval that it needs.

    Args:
        rules: of each version from number 1 on. last: as :func:`approvals` gives.
    """
    number = first - 1
    for rule, group in groupby(rules[first - 1 :]):
        end = number + sum(1 for _ in group)
        if rule:
            counts = sorted((last.get(key, 0) for key in rule.witnesses), reverse=True)
            reach = counts[rule.threshold - 1]
            if reach < end:
                return max(number, reach)
        number = end
    return number
