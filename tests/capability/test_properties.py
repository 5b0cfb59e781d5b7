"""No attenuation ever permits what its parent does not, whatever the two say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from depin_id.capability import Box, Capability, Grant, Operation, Selector
from depin_id.claims import Place
from depin_id.errors import CredentialError, DepinError
from tests.capability.world import (
    DEVICE,
    GATEWAY,
    NOW,
    OTHER_DID,
    OWNER_DID,
    ROOT,
    forged,
    longer,
    root,
    verify,
)

SUBJECTS = (DEVICE, f"{DEVICE}#a", f"{DEVICE}#ab", OWNER_DID, f"{OWNER_DID}#a", OTHER_DID)
MODELS = ("noise-1", "noise-2", None)
EDGES = (0, 10, 20, 30)


def boxes() -> st.SearchStrategy[Box]:
    def box(a: int, b: int, c: int, d: int) -> Box:
        return Box(min(a, b), min(c, d), max(a, b), max(c, d))

    edge = st.sampled_from(EDGES)
    return st.builds(box, edge, edge, edge, edge)


def selectors() -> st.SearchStrategy[Selector]:
    patterns = (*SUBJECTS, f"{DEVICE}#*", f"{OWNER_DID}#*")
    named = st.lists(st.sampled_from(patterns), min_size=1, max_size=4)
    models = st.lists(st.sampled_from(("noise-1", "noise-2")), min_size=1, max_size=2)
    return st.one_of(
        named.map(lambda items: Selector.devices(*items)),
        models.map(lambda items: Selector.models(*items)),
        st.just(Selector.owned()),
    )


def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), values)


def fields() -> st.SearchStrategy[dict[str, Any]]:
    small = st.integers(1, 3)
    return st.fixed_dictionaries(
        {
            "selector": selectors(),
            "operations": st.frozensets(st.sampled_from(Operation), min_size=1),
            "expires": st.integers(NOW + 1, NOW + 4),
            "depth": st.integers(0, 2),
            "max_count": some(small),
            "rate": some(st.tuples(small, small)),
            "region": st.lists(boxes(), max_size=2).map(tuple),
            "not_before": some(st.integers(NOW - 3, NOW)),
        }
    )


def uses(draw: st.DataObject) -> dict[str, Any]:
    return draw.draw(
        st.fixed_dictionaries(
            {
                "operation": st.sampled_from(Operation),
                "subject": st.sampled_from(SUBJECTS),
                "place": some(st.builds(Place, st.integers(-1, 31), st.integers(-1, 31))),
                "at_ms": st.integers((NOW - 4) * 1000, (NOW + 5) * 1000),
                "owner": st.sampled_from((OWNER_DID, OTHER_DID, None)),
                "model": st.sampled_from(MODELS),
            }
        )
    )


def less(inner: int | None, outer: int | None) -> bool:
    return outer is None or (inner is not None and inner <= outer)


def check_less(child: Capability, parent: Capability, data: st.DataObject) -> None:
    for _ in range(8):
        use = uses(data)
        assert not child.permits(**use) or parent.permits(**use)
    assert less(child.max_count, parent.max_count)
    assert less(child.rate_per_minute, parent.rate_per_minute)
    assert less(child.burst, parent.burst)
    assert child.expires_ms <= parent.expires_ms and child.depth < parent.depth
    assert child.not_before_ms >= parent.not_before_ms
    assert child.ids[: len(parent.ids)] == parent.ids


@settings(max_examples=200)
@given(fields(), fields(), st.data())
def test_an_attenuation_permits_no_more(
    before: dict[str, Any], after: dict[str, Any], data: st.DataObject
) -> None:
    """A delegate that signs whatever it likes: the chain is refused, or it is no wider."""
    chain = root(**before)
    try:
        child = verify(forged(chain, **after))
    except DepinError as error:
        assert error.code.startswith("capability.wider_")
        return
    check_less(child, verify(chain), data)


def narrowed(draw: st.DataObject, parent: Grant) -> dict[str, Any]:
    """Fields within those of a grant."""
    operations = sorted(parent.operations)
    changes: dict[str, Any] = {
        "operations": frozenset(
            draw.draw(st.lists(st.sampled_from(operations), min_size=1, unique=True))
        ),
        "expires": draw.draw(st.integers(NOW + 1, parent.expires)),
    }
    if parent.region:
        changes["region"] = (draw.draw(st.sampled_from(parent.region)),)
    if parent.max_count is not None:
        changes["max_count"] = draw.draw(st.integers(0, parent.max_count))
    return changes


@settings(max_examples=100)
@given(fields(), st.data())
def test_what_is_narrower_is_taken(before: dict[str, Any], data: st.DataObject) -> None:
    before["depth"] = 1
    chain = root(**before)
    child = verify(longer(chain, **narrowed(data, replace(ROOT, **before))))
    check_less(child, verify(chain), data)


@settings(max_examples=100)
@given(fields(), st.booleans())
def test_an_encoding_is_one(given_fields: dict[str, Any], first: bool) -> None:
    changes = {} if first else {"issuer": None, "parent": bytes(32)}
    grant = replace(ROOT, audience=GATEWAY.public_key, **(given_fields | changes))
    assert Grant.decode(grant.encode()) == grant


@given(st.binary(max_size=80))
def test_no_bytes_are_a_block_by_accident(data: bytes) -> None:
    try:
        Grant.decode(data)
    except DepinError as error:
        assert isinstance(error, CredentialError) or error.code.startswith("encoding.")
