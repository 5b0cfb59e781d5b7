"""The demo: a city of sensors, a bridge, an aggregator and cheats, and whether it all adds up."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from depin_id.errors import DepinError
from depin_id.senml import Decimal64
from verify.demo.actors import Level, accepted
from verify.demo.display import Board, Row, show_checks
from verify.demo.found import Found, read_journal
from verify.demo.ledger import Account, Book, Check
from verify.demo.proofs import prove
from verify.demo.reconcile import describe, reconcile
from verify.demo.recordings import read_recordings
from verify.demo.scene import City
from verify.demo.stage import Stage
from verify.verdict import ACCEPTED

SEED = 2026
MAX_PACK = 5
"""Readings an envelope, at most; fewer in a short run, so that every sensor sends several."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the demo is told.

    Attributes:
        directory: where everything goes, must be empty; None makes a temporary folder. It stays.
        seconds: how long the sensors measure.
        sensors: honest sensors, at least 4 are made.
        data: recordings to replay instead of simulated sound.
        json_output: print one JSON summary on standard output, everything else on standard error.
    """

    directory: Path | None = None
    seconds: int = 20
    sensors: int = 40
    data: Path | None = None
    json_output: bool = False


@dataclass
class Outcome:
    """What a run came to."""

    folder: Path
    checks: list[Check] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    found: Found = field(default_factory=Found)
    example: str = ""
    network: str = ""

    @property
    def ok(self) -> bool:
        """Whether there were checks and all hold."""
        return bool(self.checks) and all(check.ok for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "ok": self.ok,
            "directory": str(self.folder),
            "entries": self.found.size,
            "readings": self.found.readings,
            "checks": [
                {"name": check.name, "ok": check.ok, "found": check.found} for check in self.checks
            ],
            "accounts": [
                {
                    "name": account.name,
                    "sent": account.sent,
                    "repeated": account.repeated,
                    "outcomes": dict(account.outcomes),
                    "records": {code or "counting": n for code, n in account.records.items() if n},
                }
                for account in self.accounts
            ],
        }


def run_demo(
    directory: Path | None = None,
    *,
    seconds: int = 20,
    sensors: int = 40,
    data: Path | None = None,
    json_output: bool = False,
    console: Console | None = None,
) -> int:
    """Run the demo.

    Args: as the attributes of :class:`DemoOptions`.
        console: where to show it.

    Returns:
        0 when everything sent is accounted for, every cheat got its verdict and receipt, audit
        and dataset verify; else 1, having said what did not.

    Raises:
        DepinError: it could not be set up (``demo.broker_missing``, ``state.exists``, ...).
    """
    options = DemoOptions(directory, seconds, sensors, data, json_output)
    console = console or Console(stderr=json_output)
    outcome = play(options, console)
    if json_output:
        print(json.dumps(outcome.to_json(), indent=2))
    return 0 if outcome.ok else 1


def play(options: DemoOptions, console: Console) -> Outcome:
    """Set up, run, reconcile, prove. Raises DepinError when it cannot be set up."""

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, emoji=False)

    city = City(max(4, options.sensors), SEED)
    level = _levels(city, options.data, say)
    folder = options.directory or Path(tempfile.mkdtemp(prefix="depin-demo-"))
    outcome = Outcome(folder)
    pack = max(2, min(MAX_PACK, options.seconds // 4))
    with Stage(folder, city, level, pack=pack, say=say) as stage:
        _run(stage, options.seconds, console)
        trouble = stage.trouble()
        delivered = stage.delivered()
        stage.stop()
        _reconcile(stage, outcome)
    if trouble:
        outcome.checks.insert(0, Check("everything kept running", False, trouble))
    elif not delivered:
        outcome.checks.insert(0, Check("everything arrived in time", False, "some is missing"))
    show_checks(console, outcome.checks)
    _farewell(outcome, say)
    return outcome


def _levels(city: City, data: Path | None, say: Callable[[str], None]) -> Callable[[int], Level]:
    """What the sensor at the site of an index measures at a time."""
    if data is None:
        return lambda index: lambda at: city.level(city.sites[index], at)
    recordings = list(read_recordings(data).items())
    start = int(time.time())
    say(
        f"replaying {len(recordings)} recordings from {escape(str(data))}: their levels as "
        "recorded, their times moved to now (`depin-verify ingest` can keep a recording's own)"
    )

    def of(index: int) -> Level:
        levels = recordings[index % len(recordings)][1]
        # Several sensors of one recording begin at different places in it.
        offset = 997 * (index // len(recordings))

        def level(at: int) -> Decimal64:
            return levels[(at - start + offset) % len(levels)]

        return level

    return of


# --- the run --------------------------------------------------------------------------------------


def _run(stage: Stage, seconds: int, console: Console) -> None:
    mischief = threading.Thread(target=_cheat, args=(stage, seconds), name="cheats", daemon=True)
    with Board(console, lambda: _rows(stage)) as board:
        start = int(time.time())
        mischief.start()
        for second in range(seconds):
            # A second that has passed: what is measured in it lies behind, never ahead.
            _sleep_until(start + second + 1)
            for sensor in stage.sensors:
                sensor.tick(start + second)
            board.update(f"measuring, second {second + 1} of {seconds}")
            if stage.trouble():
                break
        for sensor in stage.sensors:
            sensor.flush()

        def settled() -> bool:
            board.update("waiting for the last acknowledgements")
            return stage.delivered() and not mischief.is_alive()

        stage.until(settled)
        board.update("done")


def _sleep_until(at: float) -> None:
    time.sleep(max(0.0, at - time.time()))


def _cheat(stage: Stage, seconds: int) -> None:
    """The cheats one after the other, spread over the run, the first once something was heard."""
    for cheat in stage.cheats:
        try:
            cheat.act()
        except DepinError:
            return  # what it could not send is missing in its account, and the demo fails
        time.sleep(min(2.0, seconds / 3 / len(stage.cheats)))


def _rows(stage: Stage) -> list[Row]:
    books = stage.station.books
    sent = sum(len(sensor.outbox.sent) for sensor in stage.direct)
    good = sum(accepted(sensor.outbox) for sensor in stage.direct)
    carried = sum(len(sensor.outbox.sent) for sensor in stage.carried)
    spoken = sum(sensor.readings for sensor in stage.unsigned)
    rows = [
        Row(f"{len(stage.direct)} sensors", sent, f"{good} accepted", ACCEPTED, False),
        Row(
            f"{len(stage.carried)} carried by the bridge",
            carried,
            f"{len(books.carried)} committed",
            ACCEPTED,
            False,
        ),
        Row(
            f"{len(stage.unsigned)} that cannot sign (readings)",
            spoken,
            f"{sum(map(len, list(books.spoken.values())))} committed",
            "accepted at level G0",
            False,
        ),
    ]
    for cheat in stage.cheats:
        rows.append(Row(cheat.name, cheat.sent, describe(cheat.seen), cheat.verdict, True))
    return rows


# --- afterwards -----------------------------------------------------------------------------------


def _reconcile(stage: Stage, outcome: Outcome) -> None:
    found = read_journal(stage.workspace)
    honest = [
        found.account(sensor.name, [sensor.outbox], readings=sensor.readings)
        for sensor in (*stage.direct, *stage.carried)
    ]
    gateway = stage.bridge.enrolment
    for sensor in stage.unsigned:
        subject = f"{gateway.did}#{sensor.name}"
        honest.append(found.account_of_subject(sensor.name, subject, sensor.readings))
    cheats = [cheat.account(found) for cheat in stage.cheats]
    known = {
        identity
        for outbox in (
            *(sensor.outbox for sensor in (*stage.direct, *stage.carried)),
            *(box for cheat in stage.cheats for box in cheat.outboxes),
        )
        for identity in outbox.sent
    }
    strangers = sum(
        identity not in known and entry.signer != gateway.key.thumbprint
        for identity, entry in found.entries.items()
    )
    outcome.found, outcome.accounts = found, [*honest, *cheats]
    outcome.checks += reconcile(honest, cheats, Book(strangers, found.readings, found.counted))
    example = stage.direct[0].outbox
    outcome.example = example.device.did
    outcome.network = stage.network.card.network
    index = next((found.entries[i].index for i in example.sent if i in found.entries), None)
    outcome.checks += prove(
        stage.workspace, index, outcome.network, stage.folder / "example.receipt"
    )


def _farewell(outcome: Outcome, say: Callable[[str], None]) -> None:
    folder = outcome.folder
    root = folder / "aggregator"
    failed = [check.name for check in outcome.checks if not check.ok]
    if failed:
        say(f"[bold red]{len(failed)} of {len(outcome.checks)} checks failed[/]:")
        for name in failed:
            say(f"  {escape(name)}")
        say(
            f"everything is kept in {escape(str(folder))}; the bridge's log is in bridge/bridge.log"
        )
        return
    say(
        f"[bold green]it all adds up[/]: {outcome.found.readings} readings paid for, in "
        f"{outcome.found.size} entries. Everything is kept in {escape(str(folder))}. Try:"
    )
    for command in (
        f"depin-verify status {root}",
        f"depin-verify explain {root} --device {outcome.example}",
        f"depin-verify receipt {root} --device {outcome.example} --position 1/0 -o r.receipt",
        f"depin-verify check-receipt {folder / 'example.receipt'} --network {outcome.network}",
        f"depin-verify audit {root}",
        f"depin-verify verify-dataset {root / 'public'} --network {outcome.network}",
        f"depin-verify export {root} --format csv -o readings.csv",
    ):
        say(f"  {escape(command)}")
