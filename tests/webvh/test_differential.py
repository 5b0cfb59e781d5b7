"""Against the PyPI package ``did-webvh``, in an environment of its own.

Good logs are good for both, and whatever is changed in them is refused by both.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.history import WEBVH
from bench.peers import PeerMissing, call, environment
from depin_id.did.webvh import create, deactivate, move, rotate, update, verify_log, witness_rule
from depin_id.errors import DIDError
from tests.paths import vectors
from tests.webvh.author import DAY, PLACE, T, approve, history_of, rotating, signer

Files = tuple[bytes, bytes | None]
NOW = T + 200 * DAY


def theirs(folder: Path, logs: Sequence[Files]) -> list[str | None]:
    """What did-webvh says of each: None when it is good."""
    try:
        python, _ = environment(WEBVH)
        folders = []
        for number, (log, witness) in enumerate(logs):
            at = folder / str(number)
            at.mkdir(parents=True)
            (at / "did.jsonl").write_bytes(log)
            if witness is not None:
                (at / "did-witness.json").write_bytes(witness)
            folders.append(str(at))
        found: list[str | None] = call(python, WEBVH.script, "check", *folders)
        return found
    except PeerMissing as missing:
        pytest.skip(str(missing))


def ours(files: Files) -> str | None:
    """The same of ours."""
    try:
        verify_log(files[0], witness=files[1], now_ms=NOW, allow_published=True)
    except DIDError as error:
        return error.code
    return None


def authored() -> list[Files]:
    """Logs with everything that the method has."""
    plain = create(PLACE, signer("0"), now_ms=T, ttl=60, watchers=["https://example.net/w"])
    plain += update(history_of(plain), signer("0"), now_ms=T + DAY, parameters={"ttl": 120})
    plain += rotate(
        history_of(plain), signer("0"), now_ms=T + 2 * DAY, update_keys=[signer("1").public_key]
    )
    ended = plain + deactivate(history_of(plain), signer("1"), now_ms=T + 3 * DAY)
    turning = rotating(4)
    stopped = turning + deactivate(history_of(turning), signer("4"), now_ms=T + 9 * DAY)
    portable = create("example.com", signer("0"), now_ms=T + 1, portable=True)
    moved = portable + move(history_of(portable), signer("0"), "example.org:x", now_ms=T + DAY)
    rule = witness_rule(2, [signer(name).public_key for name in ("w1", "w2", "w3")])
    watched = create("example.com%3A8443:u", signer("0"), now_ms=T, witness=rule)
    file = approve(None, watched, 0, "w1", "w3")
    history = verify_log(watched, witness=file, now_ms=NOW)
    fewer = witness_rule(1, [signer("w2").public_key]).to_json()
    line = update(history, signer("0"), now_ms=T + DAY, parameters={"witness": fewer})
    both = approve(file, line, 1, "w1", "w2")
    bare: list[Files] = [(log, None) for log in (plain, ended, turning, stopped, moved)]
    return [*bare, (watched, file), (watched + line, both)]


def test_logs_that_are_made_here_are_good_there(tmp_path: Path) -> None:
    logs = authored()
    assert [ours(files) for files in logs] == [None] * len(logs)
    assert theirs(tmp_path / "logs", logs) == [None] * len(logs)


def _changed(log: bytes, chance: random.Random) -> bytes:
    """One character of what is signed is another, or lines are missing, doubled or exchanged."""
    lines = log.splitlines(keepends=True)
    kind = chance.randrange(4) if len(lines) > 2 else 3
    if kind == 0:
        first = chance.randrange(len(lines) - 1)
        lines[first], lines[first + 1] = lines[first + 1], lines[first]
    elif kind == 1:
        del lines[chance.randrange(len(lines) - 1)]
    elif kind == 2:
        lines.insert(chance.randrange(len(lines)), chance.choice(lines))
    else:
        at = chance.randrange(len(lines))
        line = lines[at]
        spots = [i for i, byte in enumerate(line) if chr(byte).isalnum()]
        spot = chance.choice(spots)
        other = chance.choice([c for c in b"abcdefghijkmnopqrstuvwxyz123456789" if c != line[spot]])
        lines[at] = line[:spot] + bytes([other]) + line[spot + 1 :]
    return b"".join(lines)


def test_changed_logs_are_refused_here_and_there(tmp_path: Path) -> None:
    chance = random.Random(20_261_121)
    logs: list[Files] = []
    for log, witness in authored():
        logs += [(_changed(log, chance), witness) for _ in range(30)]
    logs += [(log, None) for log, witness in authored() if witness is not None]
    assert [found for found in (ours(files) for files in logs) if found is None] == []
    answers = theirs(tmp_path / "logs", logs)
    taken = [
        (number, ours(logs[number])) for number, answer in enumerate(answers) if answer is None
    ]
    assert taken == []


def test_the_logs_of_the_suite(tmp_path: Path) -> None:
    names, logs = [], []
    for path in sorted(vectors("didwebvh-test-suite").glob("vectors/*/*/did.jsonl")):
        witness = path.with_name("did-witness.json")
        if path.read_bytes().strip():
            names.append(f"{path.parent.parent.name}/{path.parent.name}")
            logs.append((path.read_bytes(), witness.read_bytes() if witness.exists() else None))
    answers = theirs(tmp_path / "logs", logs)
    differ = {
        name
        for name, files, answer in zip(names, logs, answers, strict=True)
        if (ours(files) is None) != (answer is None)
    }
    # One generator writes witnesses as bare multikeys, and the suite says that they are good.
    assert differ == {"witness-threshold/rust", "witness-update/rust"}
