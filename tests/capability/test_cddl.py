"""The CDDL of docs/identity/capabilities.md takes what is made, and the page has the bounds."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from depin_id import cbor, cose
from depin_id.capability import MAX_BLOCKS, MAX_BYTES, Selector, StatusReference, prove
from depin_id.capability.scope import MAX_BOXES, MAX_DEVICES, MAX_MODELS
from tests.capability.world import GATEWAY, NETWORK, ROOT, longer, root
from tests.docs.cddl import Cddl
from tests.paths import ROOT as HERE

PAGE = (HERE / "docs" / "identity" / "capabilities.md").read_text()
_FOUND = re.search(r"```cddl\n(.*?)```", PAGE, re.DOTALL)
assert _FOUND is not None
CDDL = Cddl(_FOUND[1])


def takes(rule: str, value: object) -> bool:
    return CDDL.matches(rule, cbor.encode(value))


def test_blocks_and_chains() -> None:
    status = StatusReference(bytes(16), 5)
    for grant in (
        ROOT,
        replace(ROOT, status=status, issuer=None, parent=bytes(32)),
        replace(ROOT, selector=Selector.owned(), rate=None, region=(), not_before=None),
        replace(ROOT, selector=Selector.models("a", "b"), max_count=None),
    ):
        assert takes("block", cbor.decode(grant.encode()))
    assert takes("chain", cbor.decode(longer(root())))


def test_what_is_wrong_in_form() -> None:
    fields = cbor.decode(ROOT.encode())
    wrongs: list[dict[int, Any]] = [
        *({2: "x"}, {3: [3]}, {3: [2, "x"]}),
        *({4: []}, {4: [5]}, {7: [[1]]}, {13: 1}),
    ]
    for wrong in wrongs:
        assert not takes("block", fields | wrong)
    assert not takes("chain", []) and not takes("chain", [b""] * 5)


def test_a_proof() -> None:
    proof = prove(
        root(), GATEWAY, nonce=bytes(16), audience=NETWORK, purpose="enrol", network=NETWORK
    )
    assert takes("proof", cbor.decode(cose.parse_sign1(proof).payload))


def test_the_bounds_of_the_page() -> None:
    for text in (f"1*{MAX_BLOCKS} bytes", f"1*{MAX_DEVICES} tstr", f"1*{MAX_MODELS} tstr"):
        assert text in PAGE
    assert f"1*{MAX_BOXES} box" in PAGE and f"{MAX_BYTES:,} bytes" in PAGE
