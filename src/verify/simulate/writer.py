"""A simulated fleet as files: network, policy, enrolments, bundles, and the truth about them.

Devices live in groups of at most 512, each group on its own, so that memory does not grow with the
fleet and several processes can share the work. Everything that is written follows from the plan.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from depin_id.durable import make_directory
from depin_id.enrolment import read_enrolments
from depin_id.errors import ConfigError, StateError
from depin_id.keyfile import write_key
from depin_id.network import NetworkCard, load_card, network_did, sign_card
from depin_id.networkdir import CARD_FILE, ROOT_FILE
from depin_id.testing import key_from_seed
from verify.admin import enrol
from verify.aggregator import Aggregator
from verify.setup import init
from verify.simulate.fleet import Member, Plan
from verify.simulate.life import Sent, block
from verify.simulate.signals import KINDS

NETWORK, POLICY, ENROLMENTS, BUNDLES = "network", "policy.toml", "enrolments", "bundles"
AGGREGATOR, TRUTH = "aggregator", "truth.jsonl"
_BLOCKS_A_FILE: Final = 32
"""Groups in one file of enrolments: some 16,000 devices, well below what is read at once."""
_DAY: Final = 86_400

Progress = Callable[[int, int | None], None]


@dataclass
class Counts:
    """What was made."""

    envelopes: int = 0
    readings: int = 0
    bytes: int = 0
    cheats: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)

    def take(self, sent: Sent) -> None:
        """Count an envelope."""
        self.envelopes += 1
        self.readings += len(sent.readings)
        self.bytes += len(sent.data)
        if sent.cheat:
            self.cheats[sent.cheat] += 1
        self.outcomes["|".join(sent.outcomes)] += 1

    def add(self, other: Counts) -> None:
        """Add what another group made."""
        self.envelopes += other.envelopes
        self.readings += other.readings
        self.bytes += other.bytes
        self.cheats.update(other.cheats)
        self.outcomes.update(other.outcomes)

    def to_json(self, plan: Plan) -> dict[str, Any]:
        """As a JSON-ready mapping."""
        return {
            "devices": plan.devices,
            "envelopes": self.envelopes,
            "readings": self.readings,
            "bytes": self.bytes,
            "cheats": {
                name: {"devices": count, "envelopes": self.cheats[name]}
                for name, count in sorted(plan.counts.items())
            },
            "expected": dict(sorted(self.outcomes.items())),
        }


def truth(member: Member, sent: Sent) -> str:
    """A line of the truth: what was sent, what of it is a lie, what may become of it."""
    line = {
        "id": sent.id.hex(),
        "device": member.name,
        "cheat": sent.cheat or None,
        "outcomes": list(sent.outcomes),
        "records": sent.records or None,
    }
    return json.dumps(line, separators=(",", ":")) + "\n"


def write(
    plan: Plan,
    folder: Path,
    *,
    network: Path | None = None,
    aggregator: bool = True,
    jobs: int = 1,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Write a run.

    Args:
        folder: made; must be empty.
        network: the card of a network (or its folder) to sign for; None makes one whose keys
            follow from the seed, with a policy to go with the run.
        aggregator: also make an aggregator's directory with the devices enrolled, if the network
            is made here.
        jobs: processes.

    Returns:
        A JSON-ready summary.

    Raises:
        StateError: ``state.exists``, ``state.io``. ConfigError, NetworkError.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StateError("state.exists", f"{folder} is not empty", hint="name a new folder")
    for part in (ENROLMENTS, BUNDLES):
        (folder / part).mkdir(parents=True)
    own = network is None
    did = _make_network(plan, folder) if network is None else find_card(network).network
    if own:
        (folder / POLICY).write_text(policy_text(plan))
    counts = Counts()
    try:
        _write_blocks(plan, folder, did, jobs, counts, progress)
    finally:
        shutil.rmtree(folder / ".parts", ignore_errors=True)
    summary = {"directory": str(folder), "network": did, **counts.to_json(plan)}
    if own and aggregator:
        summary["enrolled"] = _make_aggregator(folder)
        root, bundles = folder / AGGREGATOR, folder / BUNDLES
        summary["next"] = f"depin-verify ingest {root} {bundles} --received-at {plan.end}"
    return summary


def find_card(network: Path) -> NetworkCard:
    """A card from its file or the folder it is in. Raises NetworkError."""
    return load_card(network / CARD_FILE if network.is_dir() else network)[0]


def policy_text(plan: Plan) -> str:
    """A policy under which the quota of a device is what the plan takes it to be."""
    return (
        f"# For a simulated fleet.\n[quota]\ndevice_per_minute = 60\ndevice_burst = {plan.burst}\n"
    )


def fitting_burst(plan: Plan) -> int:
    """A burst that no honest device of the plan exceeds, though all comes at one moment."""
    kinds = KINDS if plan.kind == "mixed" else (plan.kind,)
    return 2 * max(plan.envelopes(kind) for kind in kinds) + 20


def _make_network(plan: Plan, folder: Path) -> str:
    """A network folder whose keys follow from the seed; gives its DID."""
    path = folder / NETWORK
    make_directory(path)
    root, ack, log = (
        key_from_seed(f"simulate {plan.seed}", name) for name in ("root", "ack", "log")
    )
    did = network_did(root.public_key)
    card = NetworkCard(
        network=did,
        name="simulated",
        number=1,
        not_before=plan.start - _DAY,
        not_after=plan.start + 36_500 * _DAY,
        ack_keys=(ack.public_key,),
        log_origin=f"depin/simulated/{root.public_key.kid.hex()}",
        log_key=log.public_key,
    )
    for name, key in ((ROOT_FILE, root), ("ack-1.key", ack), ("log-1.key", log)):
        write_key(path / name, key)
    (path / CARD_FILE).write_bytes(sign_card(card, root))
    return did


def _write_blocks(
    plan: Plan, folder: Path, did: str, jobs: int, counts: Counts, progress: Progress
) -> None:
    parts = folder / ".parts"
    parts.mkdir()
    work = partial(_write_block, plan, folder, did)
    progress(0, plan.devices)
    done = 0
    with open(folder / TRUTH, "wb") as about, closing(_each(work, plan.blocks, jobs)) as found:
        for number, made in enumerate(found):
            counts.add(made)
            name = f"{number // _BLOCKS_A_FILE:05d}.jsonl"
            with open(folder / ENROLMENTS / name, "ab") as enrolments:
                _append(parts / f"{number}.enrolments", enrolments)
            _append(parts / f"{number}.truth", about)
            done += len(plan.block(number))
            progress(done, plan.devices)


def _each(work: Callable[[int], Counts], blocks: int, jobs: int) -> Generator[Counts, None, None]:
    """The groups' counts in their order."""
    if jobs == 1 or blocks == 1:
        yield from map(work, range(blocks))
        return
    # Spawned: the caller may hold threads or locks.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        try:
            yield from pool.map(work, range(blocks))
        finally:
            pool.shutdown(cancel_futures=True)


def _append(part: Path, file: Any) -> None:
    with open(part, "rb") as source:
        shutil.copyfileobj(source, file)
    os.unlink(part)


def _write_block(plan: Plan, folder: Path, did: str, number: int) -> Counts:
    counts = Counts()
    parts = folder / ".parts"
    with open(parts / f"{number}.enrolments", "w") as file:
        for index in plan.block(number):
            member = plan.member(index)
            if member.enrolled:
                line = json.dumps(member.enrolment().to_json(), separators=(",", ":"))
                file.write(line + "\n")
    bundles = folder / BUNDLES / f"{number:06d}.cbor"
    with open(bundles, "xb") as data, open(parts / f"{number}.truth", "w") as about:
        for delivery in block(plan, number, did):
            for sent in delivery.sent:
                counts.take(sent)
                data.write(sent.data)
                about.write(truth(delivery.member, sent))
    if not counts.envelopes:
        os.unlink(bundles)
    return counts


def _make_aggregator(folder: Path) -> int:
    """An aggregator's directory with the devices enrolled; gives how many."""
    root = folder / AGGREGATOR
    text = (folder / POLICY).read_text()
    init(root, folder / NETWORK, policy_text=text, allow_asserted_time=True)
    enrolled = 0
    with Aggregator(root) as aggregator:
        for path in sorted((folder / ENROLMENTS).iterdir()):
            answer = enrol(aggregator, read_enrolments(path.read_text()))
            enrolled += len(answer["enrolled"])
            if answer["refused"]:
                raise ConfigError("simulate.enrolment", str(answer["refused"][0])[:200])
    return enrolled
