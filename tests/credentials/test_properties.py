"""Whatever a credential says: it is canonical, verifies, and no changed byte does."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from depin_id import jcs
from depin_id.credentials import BirthCertificate, make, write
from depin_id.credentials.wire import read
from depin_id.errors import DepinError
from tests.credentials.world import LAB, MAKER, THIEF, birth, calibration, check, compact

TEXT = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
SIGNED = compact(MAKER.sign(birth()))


@given(serial=TEXT, model=TEXT)
def test_any_text_is_written_as_rfc_8785_writes_it(serial: str, model: str) -> None:
    try:
        credential = birth(serial=serial, model=model)
    except ValidationError:
        return
    document = json.loads(write(credential))
    assert jcs.canonicalize(document) == write(credential)
    assert read(json.dumps(document)).credential == credential
    assert check(MAKER.sign(credential)).credential == credential


@given(entry=st.dictionaries(st.text(alphabet="azAZ~!", max_size=4), JSON, max_size=4))
def test_any_status_entry_is_canonical_or_refused(entry: dict[str, Any]) -> None:
    try:
        credential = calibration(credential_status=entry)
    except (ValidationError, DepinError):
        return
    written = write(credential)
    try:
        parts = read(LAB.sign_raw(json.loads(written)))
    except DepinError:
        return  # a number that JCS and the model write in two ways
    assert jcs.canonicalize(json.loads(parts.body)) == parts.body


@given(at=st.integers(0, len(SIGNED) - 1), byte=st.integers(0, 255), cut=st.integers(0, 2))
def test_no_other_byte_verifies(at: int, byte: int, cut: int) -> None:
    changed = SIGNED[:at] + bytes([byte]) + SIGNED[at + cut :]
    if json_or_none(changed) == json.loads(SIGNED):
        return
    try:
        check(changed, key_of=lambda *_: MAKER.signer.public_key)
    except DepinError:
        return
    raise AssertionError(changed)


def json_or_none(data: bytes) -> Any:
    """What plain JSON makes of it."""
    try:
        return json.loads(data)
    except ValueError:
        return None


@given(members=st.dictionaries(st.sampled_from(["issuer", "valid_from", "id", "x"]), JSON))
def test_make_raises_ours_only(members: dict[str, Any]) -> None:
    given = {"issuer": THIEF.did, "valid_from": "2026-11-20T00:00:00Z"} | members
    try:
        make(BirthCertificate, credential_subject=members, **given)
    except DepinError as error:
        assert error.code in ("credential.malformed", "json.not_canonical", "json.malformed")
