"""Status lists: what one look-up costs after the list was read, and what reading it costs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from bench.raw import raw_cost
from bench.table import Row, Target
from bench.world import Lab
from depin_id.credentials.status import (
    MIN_ENTRIES,
    BitstringEntry,
    StatusList,
    StatusStore,
    issue_bitstring,
    issue_token,
)
from depin_id.did.key import did_key, parse_did_key
from depin_id.keys import PublicKey, SoftwareSigner

URI = "https://example.org/status/1"
NOW_MS = 1_795_000_000_000
LOOK_UPS = 1_000_000
CHECKS = 20_000
READS = 20


def _key_of(method: str, issuer: str, created: str | None) -> PublicKey:
    return parse_did_key(method.partition("#")[0])


def _rate(count: int, action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return count / (time.process_time() - start)


def _one_by_one(entries: StatusList | bytes, indices: list[int]) -> None:
    for index in indices:
        entries[index]


def _look_ups(entries: StatusList, indices: list[int], runs: int) -> list[Row]:
    plain, single, bulk = [], [], []
    for _ in range(runs):
        plain.append(_rate(len(indices), lambda: _one_by_one(entries.table, indices)))
        single.append(_rate(len(indices), lambda: _one_by_one(entries, indices)))
        bulk.append(_rate(len(indices), lambda: entries.statuses(indices)))
    target, of = Target(5e6, "value"), "a subscript of bytes"
    note = "random indices; the loop is counted"
    return [
        Row(
            "status",
            name,
            "/s",
            rates,
            [r / p for r, p in zip(rates, plain, strict=True)],
            of,
            t,
            note=n,
        )
        for name, rates, t, n in (
            ("look-up, one index after the other", single, target, note),
            ("look-up, many indices at once", bulk, target, ""),
        )
    ]


def _checks(signed: bytes, runs: int, seconds: float) -> Row:
    held = StatusStore(key_of=_key_of)
    held.add(signed)
    numbers = random.Random(1).sample(range(MIN_ENTRIES), 1000)
    entries = [BitstringEntry(URI, number, "revocation").to_json() for number in numbers]

    def check() -> None:
        for _ in range(CHECKS // len(entries)):
            for entry in entries:
                held.check(entry, now_ms=NOW_MS)

    rates, ratios = [], []
    for _ in range(runs):
        raw = 1 / raw_cost(seconds)
        rates.append(_rate(CHECKS, check))
        ratios.append(rates[-1] / raw)
    note = "the entry of a credential is read, its list found, its age looked at"
    return Row("status", "credentialStatus checked", "/s", rates, ratios, "raw PyNaCl", note=note)


def _reads(name: str, signed: bytes, runs: int, seconds: float) -> Row:
    def read() -> None:
        for _ in range(READS):
            StatusStore(key_of=_key_of).add(signed).entries()

    took, ratios = [], []
    for _ in range(runs):
        raw = raw_cost(seconds)
        took.append(1000 / _rate(READS, read))
        ratios.append(took[-1] / 1000 / raw)
    return Row(
        *("status", f"{name} read, verified and unpacked", "ms", took, ratios),
        "one raw verification",
        more_is_better=False,
        note=f"{len(signed):,} bytes",
    )


def measure(lab: Lab) -> list[Row]:
    """Look-ups, checks, and reading lists of both standards."""
    settings = lab.settings
    chance = random.Random(7)
    table = bytearray(MIN_ENTRIES // 8)
    for _ in range(MIN_ENTRIES // 100):
        table[chance.randrange(len(table))] |= 1 << chance.randrange(8)
    entries = StatusList(bytes(table))
    indices = [
        chance.randrange(len(entries)) for _ in range(LOOK_UPS if settings.runs > 2 else 1000)
    ]
    signer = SoftwareSigner.generate()
    issuer = did_key(signer.public_key)
    method = f"{issuer}#{issuer.removeprefix('did:key:')}"
    bitstring = issue_bitstring(
        entries,
        uri=URI,
        purpose="revocation",
        issuer=issuer,
        signer=signer,
        verification_method=method,
        now_ms=NOW_MS,
    )
    token = issue_token(entries, uri=URI, signer=signer, now_ms=NOW_MS, issuer=issuer)
    return [
        *_look_ups(entries, indices, settings.runs),
        _checks(bitstring, settings.runs, settings.raw_seconds),
        _reads("bitstring list, 1 % revoked,", bitstring, settings.runs, settings.raw_seconds),
        _reads("token list (CWT), 1 % revoked,", token, settings.runs, settings.raw_seconds),
    ]
