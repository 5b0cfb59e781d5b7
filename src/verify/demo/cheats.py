"""Those who cheat, one of each kind: what they do, and the verdict each must get."""

from __future__ import annotations

import secrets
import shutil
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from depin_id.device import Device
from depin_id.envelope import parse_envelope
from depin_id.network import NetworkCard, topics
from depin_id.readings import reading
from depin_id.senml import Decimal64
from verify.demo.actors import Outbox, make_device, noise
from verify.demo.found import Found
from verify.demo.ledger import DUPLICATE, Account
from verify.demo.station import Bookkeeper, Watch
from verify.demo.wire import Connection
from verify.verdict import ACCEPTED

QUOTA_PER_MINUTE, QUOTA_BURST = 60, 60
"""The policy's quota of a device in the demo: an honest sensor uses a fifth of it."""
FLOOD = 160


@dataclass(frozen=True)
class Scene:
    """What a cheat has at hand.

    Attributes:
        victims: honest sensors whose traffic it can hear.
        until: waits for a condition; False when it does not come in time.
    """

    folder: Path
    card: NetworkCard
    connection: Connection
    books: Bookkeeper
    victims: list[Outbox]
    until: Callable[[Callable[[], bool]], bool]

    def outbox(self, device: Device) -> Outbox:
        """Bookkeeping of a key that sends over the cheats' connection."""
        return Outbox(device, self.card, self.connection)

    def overheard(self, count: int) -> list[bytes]:
        """Accepted envelopes of honest sensors."""
        found = [
            envelope
            for victim in self.victims
            for identity, envelope in list(victim.sent.items())
            if victim.answers.get(identity) == ACCEPTED
        ]
        return found[:count]


class Cheat(Protocol):
    """One cheat.

    Attributes:
        name: what it does.
        verdict: what it must get, in words.
        devices: to be enrolled before the demo begins.
        outboxes: what its enrolled keys sent.
    """

    name: str
    verdict: str
    devices: list[Device]
    outboxes: list[Outbox]

    @property
    def sent(self) -> int: ...

    @property
    def seen(self) -> Counter[str]:
        """Outcomes so far, for the table."""
        ...

    def act(self) -> None:
        """Cheat; returns when it has been answered, or will not be."""
        ...

    def account(self, found: Found) -> Account: ...

    def close(self) -> None: ...


class Intruder:
    """Someone without an enrolled key, who publishes under a topic of their own.

    Args:
        make: what is published, given the scene.
        outcome: what each message must come to.
    """

    def __init__(
        self,
        scene: Scene,
        name: str,
        verdict: str,
        outcome: str,
        make: Callable[[Scene], list[bytes]],
    ) -> None:
        self.name, self.verdict = name, verdict
        self.sent = 0
        self.answers = 0
        self.devices: list[Device] = []
        self.outboxes: list[Outbox] = []
        self._scene, self._outcome, self._make = scene, outcome, make
        kid = secrets.token_bytes(8)
        self._kid = kid.hex()
        self._up, down = topics(scene.card.name, kid)
        self._watch: Watch = scene.books.watch(self._kid)
        scene.connection.listen(down, self._answered)

    @property
    def seen(self) -> Counter[str]:
        """See :class:`Cheat`."""
        return self._watch.outcomes

    def act(self) -> None:
        """See :class:`Cheat`."""
        for data in self._make(self._scene):
            self._scene.connection.publish(self._up, data)
            self.sent += 1
        self._scene.until(lambda: self._watch.arrived >= self.sent > 0)

    def account(self, found: Found) -> Account:
        """See :class:`Cheat`."""
        watch = self._watch
        repeated = max(0, watch.arrived - self.sent)
        account = Account(self.name, self.sent, repeated, watch.outcomes)
        account.records[""] = watch.summary.readings
        account.expected = {self._outcome: max(1, self.sent)}
        account.expected_records = {}
        account.answers = self.answers
        account.principals = frozenset((self._kid,))
        return account

    def close(self) -> None:
        """Nothing is held."""

    def _answered(self, _data: bytes) -> None:
        self.answers += 1


def overheard(scene: Scene) -> list[bytes]:
    """What honest sensors sent and had accepted, as it was."""
    scene.until(lambda: len(scene.overheard(3)) == 3)
    return scene.overheard(3)


def tampered(scene: Scene) -> list[bytes]:
    """The same with one bit of the payload changed."""
    return [_flip(envelope) for envelope in overheard(scene)]


def _flip(envelope: bytes) -> bytes:
    payload = parse_envelope(envelope).payload
    at = envelope.index(payload) + len(payload) - 1
    return envelope[:at] + bytes([envelope[at] ^ 1]) + envelope[at + 1 :]


class Stranger(Intruder):
    """A device with a good key that nobody has enrolled."""

    def __init__(self, scene: Scene) -> None:
        self._device = make_device(scene.folder, "stranger")
        super().__init__(
            scene,
            "unenrolled device",
            "device.unknown, kept in quarantine",
            "device.unknown",
            self._signed,
        )

    def account(self, found: Found) -> Account:
        """As the others, and every envelope has to be in quarantine."""
        account = super().account(found)
        if self._watch.summary.quarantined != self._watch.arrived:
            account.expected = {"quarantined": self.sent}
        return account

    def close(self) -> None:
        """Close its device."""
        self._device.close()

    def _signed(self, scene: Scene) -> list[bytes]:
        now = int(time.time())
        return [
            self._device.sign([noise(Decimal64(55), now - i)], network=scene.card.network)
            for i in range(3)
        ]


class Insider(ABC):
    """Somebody with an enrolled key; what each envelope comes to is looked up by its identity."""

    def __init__(self, scene: Scene, name: str, verdict: str, devices: list[Device]) -> None:
        self.name, self.verdict, self.devices = name, verdict, devices
        self._scene = scene
        self.outboxes = [scene.outbox(device) for device in devices]
        self.outboxes[0].listen()

    @property
    def sent(self) -> int:
        """Envelopes sent."""
        return sum(len(outbox.sent) for outbox in self.outboxes)

    @property
    def seen(self) -> Counter[str]:
        """See :class:`Cheat`."""
        return Counter(self.outboxes[0].answers.values())

    def answered(self) -> bool:
        """Whether every envelope has its answer."""
        return len(self.outboxes[0].answers) >= self.sent

    def act(self) -> None:
        """See :class:`Cheat`."""
        self.cheat()
        self._scene.until(self.answered)

    @abstractmethod
    def cheat(self) -> None:
        """Send what is to be caught."""

    def account(self, found: Found) -> Account:
        """See :class:`Cheat`."""
        account = found.account(self.name, self.outboxes)
        account.principals = frozenset(device.did for device in self.devices)
        self.expect(account)
        return account

    @abstractmethod
    def expect(self, account: Account) -> None:
        """Say what there must be."""

    def close(self) -> None:
        """Close its devices."""
        for outbox in self.outboxes:
            outbox.device.close()


class WrongRecords(Insider):
    """An enrolled device whose envelope is fine and whose records are not.

    Args:
        values: levels in dB of consecutive seconds.
        ahead_s: how far its clock is ahead.
        records: how the records must be judged.
    """

    def __init__(
        self,
        scene: Scene,
        name: str,
        verdict: str,
        *,
        values: list[int],
        records: dict[str, int],
        ahead_s: int = 0,
    ) -> None:
        device = make_device(scene.folder, name.replace(" ", "-"))
        super().__init__(scene, name, verdict, [device])
        self._values, self._records, self._ahead_s = values, records, ahead_s

    def cheat(self) -> None:
        """One pack."""
        start = int(time.time()) + self._ahead_s - len(self._values)
        pack = [noise(Decimal64(value), start + i) for i, value in enumerate(self._values)]
        self.outboxes[0].publish(self.outboxes[0].sign(pack)[1])

    def expect(self, account: Account) -> None:
        """The envelope is accepted; its records are judged one by one."""
        account.expected = {ACCEPTED: 1}
        account.expected_records = self._records


class ClonedKey(Insider):
    """A device and a copy of its folder: both sign with one key, at the same positions."""

    def __init__(self, scene: Scene) -> None:
        original = make_device(scene.folder, "cloned")
        original.close()
        shutil.copytree(scene.folder / "cloned", scene.folder / "clone")
        devices = [Device.open(scene.folder / name) for name in ("cloned", "clone")]
        super().__init__(
            scene, "cloned key", "sequence.forked, then key.suspended for both", devices
        )

    def cheat(self) -> None:
        """The original twice, then its copy, then the original again: each waits its turn."""
        for index, (outbox, level) in enumerate([(0, 51), (0, 52), (1, 99), (0, 53)]):
            box = self.outboxes[outbox]
            pack = [reading("laeq", level, "dB", int(time.time()) - 10 * (index + 1))]
            box.publish(box.sign(pack)[1])
            self._scene.until(self.answered)

    def expect(self, account: Account) -> None:
        """What came before the fork stands; nothing after it passes."""
        # The copy's key hears no answers of its own: both folders are one key, and one topic.
        account.expected = {ACCEPTED: 2, "sequence.forked": 1, "key.suspended": 1}
        account.expected_records = {"": 2}


class Flooder(Insider):
    """An enrolled device that sends far more than its quota."""

    def __init__(self, scene: Scene) -> None:
        device = make_device(scene.folder, "flooder")
        super().__init__(
            scene, "flooder", f"quota.exceeded above {QUOTA_BURST} envelopes", [device]
        )
        self._started = self._ended = 0.0

    def cheat(self) -> None:
        """All at once."""
        now = int(time.time())
        self._started = time.monotonic()
        for index in range(FLOOD):
            envelope = self.outboxes[0].sign([noise(Decimal64(70), now - index)])[1]
            self.outboxes[0].publish(envelope)
        self._scene.until(self.answered)
        self._ended = time.monotonic()

    def expect(self, account: Account) -> None:
        """No more than the quota passes, and it uses it up."""
        minutes = (self._ended - self._started) / 60
        most = QUOTA_BURST + int(QUOTA_PER_MINUTE * minutes) + 1
        passed = min(max(account.outcomes[ACCEPTED], QUOTA_BURST), most, FLOOD - 1)
        account.expected = {ACCEPTED: passed, "quota.exceeded": FLOOD - passed}
        account.expected_records = {"": passed}


def make_cheats(scene: Scene) -> list[Cheat]:
    """One of each."""
    return [
        Intruder(
            scene, "replay under a new topic", "duplicate, unpaid, unanswered", DUPLICATE, overheard
        ),
        Intruder(scene, "tampered payload", "signature.invalid", "signature.invalid", tampered),
        Stranger(scene),
        WrongRecords(
            scene,
            "future clock",
            "time.future on every record",
            values=[61, 62, 63],
            records={"time.future": 3},
            ahead_s=3_600,
        ),
        WrongRecords(
            scene,
            "impossible values",
            "value.out_of_range on that record alone",
            values=[60, 61, 300, 62],
            records={"": 3, "value.out_of_range": 1},
        ),
        ClonedKey(scene),
        Flooder(scene),
    ]
