"""Event logs of firmware: what replays, what is refused, and what they say of Secure Boot."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from depin_id.errors import EncodingError
from tests.attestation import tpm2_world as made
from tests.attestation.tpm2_world import GOOD, appraise, changed
from verify.attestation import Model
from verify.attestation.tpm2 import wire
from verify.attestation.tpm2.eventlog import MAX_LOG, read_event_log

BANKS = {wire.SHA1: 20, wire.SHA256: 32}
NO_ACTION, SEPARATOR, DRIVER_CONFIG, ACTION = 3, 4, 0x80000001, 5
GLOBAL = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
ON = b"\x01"


def head(
    banks: Mapping[int, int] | None = None, *, signature: bytes = b"Spec ID Event03\0"
) -> bytes:
    banks = BANKS if banks is None else banks
    event = signature + struct.pack("<IBBBB", 0, 0, 2, 0, 2) + struct.pack("<I", len(banks))
    event += b"".join(struct.pack("<HH", bank, size) for bank, size in banks.items()) + b"\0"
    return struct.pack("<II", 0, NO_ACTION) + bytes(20) + struct.pack("<I", len(event)) + event


def event(
    pcr: int,
    kind: int,
    data: bytes,
    *,
    digest: bytes | None = None,
    banks: Sequence[int] = tuple(BANKS),
) -> bytes:
    raw = struct.pack("<III", pcr, kind, len(banks))
    for bank in banks:
        value = hashlib.new(wire.DIGESTS[bank], data).digest()
        if kind == NO_ACTION:
            value = bytes(len(value))
        elif bank == wire.SHA256 and digest is not None:
            value = digest
        raw += struct.pack("<H", bank) + value
    return raw + struct.pack("<I", len(data)) + data


def variable(value: bytes, name: str = "SecureBoot", guid: bytes = GLOBAL) -> bytes:
    return guid + struct.pack("<QQ", len(name), len(value)) + name.encode("utf-16-le") + value


def locality(number: int) -> bytes:
    return event(0, NO_ACTION, b"StartupLocality\0" + bytes([number]))


def boot(*first: bytes, secure: bytes = ON) -> bytes:
    log = head() + b"".join(first)
    log += event(0, 8, b"firmware 1.2.3") + event(7, DRIVER_CONFIG, variable(secure))
    log += event(7, DRIVER_CONFIG, variable(b"keys", "PK"))
    log += b"".join(event(pcr, SEPARATOR, bytes(4)) for pcr in range(8))
    return log + event(4, ACTION, b"Calling EFI Application", digest=hashlib.sha256(b"x").digest())


def values(log: bytes) -> dict[int, bytes]:
    replayed = read_event_log(log).replay()
    return {index: replayed[index] for index in range(8)}


def _spec(log: bytes, **changes: object) -> made.Spec:
    return changed(log=log, pcrs=values(log), **changes)


def _model(log: bytes, **settings: object) -> Model:
    return made.model(values(log), **settings)


def test_a_log_that_replays() -> None:
    log = boot()
    found = appraise(_spec(log), chosen=_model(log, eventlog=True, secure_boot=True))
    assert found.affirmed and found.level == "D3" and found.claims is not None
    assert found.claims.secure is True
    extended = hashlib.sha256(bytes(32) + hashlib.sha256(b"firmware 1.2.3").digest()).digest()
    separated = hashlib.sha256(extended + hashlib.sha256(bytes(4)).digest()).digest()
    assert values(log)[0] == separated


def test_pcr_0_begins_with_the_locality() -> None:
    begun = values(boot(locality(3)))[0]
    assert begun != values(boot())[0] == values(boot(locality(0)))[0]
    first = hashlib.sha256(bytes(31) + b"\x03" + hashlib.sha256(b"firmware 1.2.3").digest())
    assert hashlib.sha256(first.digest() + hashlib.sha256(bytes(4)).digest()).digest() == begun


def test_a_log_of_something_else() -> None:
    log = boot()
    found = appraise(changed(log=log), chosen=_model(log, eventlog=True))
    assert found.steps[-1].name == "tpm2.eventlog.replay"
    assert found.reasons == ("attestation.claims",)
    # Nor does one count that nobody has asked for.
    assert appraise(changed(log=log)).steps[-1].name == "tpm2.eventlog.replay"


def test_a_log_that_is_missing() -> None:
    found = appraise(GOOD, chosen=made.model(eventlog=True))
    assert found.steps[-1].name == "tpm2.eventlog.given" and found.claims is None


def test_secure_boot_is_off() -> None:
    log = boot(secure=b"\0")
    found = appraise(_spec(log), chosen=_model(log))
    assert found.claims is not None and found.claims.secure is False
    assert found.reasons == ("attestation.debug",) and found.level == "D1"


@pytest.mark.parametrize(
    "first",
    [
        event(7, DRIVER_CONFIG, variable(ON, "SetupMode")),
        event(7, DRIVER_CONFIG, variable(ON, guid=bytes(16))),
        event(7, DRIVER_CONFIG, variable(ON), digest=hashlib.sha256(b"other").digest()),
        event(7, DRIVER_CONFIG, variable(ON) + b"\0"),
        event(7, DRIVER_CONFIG, b"short"),
        event(7, DRIVER_CONFIG, GLOBAL + b"\xff" * 16 + variable(ON)[32:]),
    ],
)
def test_only_the_first_event_of_pcr_7_counts(first: bytes) -> None:
    log = boot(first)
    found = appraise(_spec(log), chosen=_model(log))
    assert found.claims is not None and found.claims.secure is None
    # Where a model wants to be told, not to be told is an open device.
    demanded = appraise(_spec(log), chosen=_model(log, secure_boot=True))
    assert demanded.reasons == ("attestation.debug",)


def test_secure_boot_counts_only_where_pcr_7_was_quoted() -> None:
    log, some = boot(), tuple(range(7))
    pcrs = {index: values(log)[index] for index in some}
    spec = changed(log=log, pcrs=pcrs, selection=made.selection((wire.SHA256, some)))
    found = appraise(spec, chosen=made.model(pcrs, pcrs=list(some), secure_boot=True))
    assert found.claims is not None and found.claims.secure is False


LATER = event(0, 8, b"x")
WRONG: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "malformed"),
    "the old form": (
        struct.pack("<II", 0, 8) + bytes(20) + struct.pack("<I", 20) + b"x" * 20,
        "unsupported",
    ),
    "the old head": (head(signature=b"Spec ID Event00\0"), "unsupported"),
    "SHA-1 alone": (head({wire.SHA1: 20}), "unsupported"),
    "no banks": (head({}), "malformed"),
    "a bank of another size": (head({wire.SHA256: 20}), "malformed"),
    "an unknown bank": (head({wire.SHA256: 32, 0x99: 32}), "malformed"),
    "a bank missing": (head() + event(0, 8, b"x", banks=[wire.SHA256]), "malformed"),
    "a bank twice": (head() + event(0, 8, b"x", banks=[wire.SHA256] * 2), "malformed"),
    "an unnamed bank": (head() + event(0, 8, b"x", banks=[wire.SHA256, wire.SHA384]), "malformed"),
    "a PCR that is none": (head() + event(24, 8, b"x"), "malformed"),
    "cut": ((head() + LATER)[:-1], "malformed"),
    "bytes follow": (head() + LATER + b"\0", "malformed"),
    "a huge event": (head() + LATER[:-5] + b"\xff\xff\xff\xff" + b"x", "malformed"),
    "a second locality": (boot(locality(3), locality(3)), "malformed"),
    "no locality": (boot(locality(9)), "malformed"),
    "too large": (head() + LATER * (MAX_LOG // len(LATER)), "malformed"),
    "an extended note": (
        head() + LATER.replace(struct.pack("<II", 0, 8), struct.pack("<II", 0, NO_ACTION), 1),
        "malformed",
    ),
    "an extended head": (head()[:8] + b"\1" + head()[9:], "malformed"),
}


@pytest.mark.parametrize("name", WRONG)
def test_logs_that_are_none(name: str) -> None:
    log, code = WRONG[name]
    with pytest.raises(EncodingError) as refused:
        read_event_log(log)
    assert refused.value.code == f"encoding.{code}"


def test_a_log_of_sha1_alone_is_refused_as_too_weak() -> None:
    found = appraise(changed(log=head({wire.SHA1: 20})))
    assert found.reasons == ("attestation.algorithm",)


def test_no_changed_byte_says_something_else() -> None:
    """What firmware noted beside the digests is free; nothing that is claimed comes from there."""
    log = boot(locality(3))
    chosen = _model(log, eventlog=True, secure_boot=True)
    good = _spec(log, ek_chain=made.ek_leaf(made.key("ek")))
    whole = appraise(good, chosen=chosen).claims
    assert whole is not None and whole.secure is True
    others = set()
    for offset in range(len(log)):
        bad = log[:offset] + bytes([log[offset] ^ 1 << offset % 8]) + log[offset + 1 :]
        found = appraise(replace(good, log=bad), chosen=chosen).claims
        if found is not None and found != whole:
            # The one thing that can be lost is the word that Secure Boot was on.
            assert found.secure is False
            others.add(offset)
    first = log.index(variable(ON))
    assert others and all(first - 70 <= offset < first + 60 for offset in others)
