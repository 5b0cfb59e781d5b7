"""Verification as a library: envelopes in, verdicts out, with the aggregator's own code.

Nothing is written, signed or sent. For a service with receipts use the aggregator.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from depin_id.claims import is_uint
from depin_id.enrolment import Enrolment
from depin_id.errors import ConfigError, StateError
from depin_id.keys import PublicKey
from depin_id.network import NetworkCard, read_card
from verify.appraise import verdict_of_refusal
from verify.batch import Answer, Batch, EnvelopeDraft
from verify.checks.identity import speaks_for
from verify.checks.sequence import Recorded
from verify.entries import Enrolled, PolicySet, Revoked, Rotated
from verify.fold import Fold
from verify.leaf import RecordsContent
from verify.policy import Policy
from verify.profile import Profile, load_profiles
from verify.verdict import Verdict
from verify.world import Authenticated, Judgement, Receipt, Refusal

REMEMBERED = 100_000
"""Envelopes that a verifier remembers unless told otherwise, some 100 MB with their records."""
_MAX_TIME = 1 << 50


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of one envelope.

    Attributes:
        verdict: Accepted, Rejected or Indeterminate.
        did: of the device that signed; empty when it could not be authenticated.
        subject: DID or DID URL that it is about; empty likewise.
        id: the envelope's identity, 32 bytes; SHA-256 of the bytes when not authenticated.
        records: the records of an accepted pack as judged, else None.
        duplicate: it was verified before, and this is what was found then.
        inner: for a gateway envelope, what became of what it holds.
    """

    verdict: Verdict
    did: str
    subject: str
    id: bytes
    records: RecordsContent | None = None
    duplicate: bool = False
    inner: Verified | None = None


class _CardFold(Fold):
    """A fold whose card was verified by whoever gave it."""

    def __init__(self, card: NetworkCard) -> None:
        super().__init__()
        self._given = card

    @property
    def card(self) -> NetworkCard:
        return self._given


class _Step(Batch):
    """One envelope through the aggregator's batch, listening to what is settled on the way."""

    def __init__(
        self,
        fold: Fold,
        recorded: Callable[[int, int, int], Recorded | None],
        randomness: Callable[[int], bytes],
    ) -> None:
        super().__init__(fold, recorded, randomness)
        self.settled: list[tuple[Authenticated, Judgement, Answer]] = []
        self.refused: list[Refusal] = []

    def _settle(
        self,
        auth: Authenticated,
        judgement: Judgement,
        receipt: Receipt,
        principal: str,
        inner: Authenticated | Refusal | None,
    ) -> Answer:
        answer = super()._settle(auth, judgement, receipt, principal, inner)
        self.settled.append((auth, judgement, answer))
        return answer

    def _refuse(self, refusal: Refusal, data: bytes, receipt: Receipt, principal: str) -> None:
        super()._refuse(refusal, data, receipt, principal)
        self.refused.append(refusal)


class Verifier:
    """Verifies envelopes of one network, in memory. One thread at a time.

    It remembers every position that was used, so redelivery gives the same verdict again and a
    second envelope at a position is ``sequence.forked``. Memory is bounded by ``remember``: about
    1 KB for each envelope and its records; the slots and windows that the checks keep are bounded
    by the policy. When it is full it refuses (StateError ``verifier.full``) instead of forgetting.

    Args:
        card: the network card, or its signed bytes (verified; pin ``network`` for that).
        enrolments: devices and gateways that are known, valid from receipt time 0 on.
        policy: what is accepted; None is the default policy.
        profiles: sensor profiles by name; None for the built-in ones.
        network: the network's DID that ``card`` has to be of.
        remember: how many envelopes.
        randomness: gives so many random bytes.

    Raises:
        ConfigError: ``registry.*``: an enrolment is double; ``policy.invalid``.
        NetworkError, SignatureInvalid, KeyRefused, EncodingError: the card.
    """

    def __init__(
        self,
        card: NetworkCard | bytes,
        enrolments: Iterable[Enrolment] = (),
        policy: Policy | None = None,
        *,
        profiles: Mapping[str, Profile] | None = None,
        network: str | None = None,
        remember: int = REMEMBERED,
        randomness: Callable[[int], bytes] = os.urandom,
    ) -> None:
        given = read_card(card, network=network) if isinstance(card, bytes) else card
        if network is not None and given.network != network:
            raise ConfigError("verifier.network", f"the card is of {given.network}, not {network}")
        known = load_profiles() if profiles is None else profiles
        chosen = Policy.from_toml("", profiles=known) if policy is None else policy
        self._fold = _CardFold(given)
        self._randomness = randomness
        self._remember = remember
        self._positions: dict[tuple[int, int, int], Recorded] = {}
        self._found: dict[int, Verified] = {}
        listed = tuple(profile.to_list() for profile in known.values())
        self._fold.apply(PolicySet(chosen.encoded, listed), 0, None)
        for enrolment in enrolments:
            self.enrol(enrolment)

    @property
    def network(self) -> str:
        """The network's DID."""
        return self._fold.card.network

    def enrol(self, enrolment: Enrolment, *, since: int = 0) -> None:
        """Take a device in, from receipt time ``since`` (ms) on. Raises ConfigError."""
        self._fold.apply(Enrolled(self._randomness(16), since, enrolment), 0, None)

    def rotate(self, did: str, key: PublicKey, *, since: int) -> None:
        """Give a device a new key from receipt time ``since`` (ms) on. Raises ConfigError."""
        self._known(did)
        self._fold.apply(Rotated(did, key, since), 0, None)

    def revoke(self, did: str, *, since: int) -> None:
        """Accept nothing of a device from receipt time ``since`` (ms) on. Raises ConfigError."""
        self._known(did)
        self._fold.apply(Revoked(did, since, ""), 0, None)

    def _known(self, did: str) -> None:
        if self._fold.registry.device(did) is None:
            raise ConfigError("registry.unknown_device", f"{did[:120]} is not enrolled")

    def verify(self, envelope: bytes, received_at: int) -> Verdict:
        """The verdict on one envelope.

        Args:
            envelope: the bytes as received; hostile bytes get a verdict, not an error.
            received_at: when they were received, ms since 1970, by a clock of yours.

        Raises:
            ConfigError: ``verifier.time``. StateError: ``verifier.full``.
        """
        return self.verify_with_records(envelope, received_at).verdict

    def verify_with_records(self, envelope: bytes, received_at: int) -> Verified:
        """The verdict on one envelope together with its judged records; as :meth:`verify`."""
        if not is_uint(received_at, _MAX_TIME):
            raise ConfigError("verifier.time", "the receipt time is not whole ms since 1970")
        # A gateway envelope takes two places.
        if len(self._found) + 2 > self._remember:
            raise StateError(
                "verifier.full",
                f"{len(self._found)} envelopes are remembered",
                hint="make a verifier with a larger `remember`, or run an aggregator",
            )
        step = _Step(self._fold, self._recorded, self._randomness)
        step.take(bytes(envelope), Receipt(received_at), "")
        for position in step.positions:
            at = (position.stream, position.epoch, position.n)
            self._positions[at] = Recorded(position.entry, position.id, position.prev)
        drafts = {draft.index: draft for draft in step.drafts if isinstance(draft, EnvelopeDraft)}
        results = [self._result(*item, drafts) for item in step.settled]
        if not results:
            return _refused(step.refused[-1])
        outer, inner = results[-1], None
        if len(results) > 1:
            inner = results[0]
        elif step.refused:
            inner = _refused(step.refused[-1])
        if inner is None:
            return outer
        return Verified(
            outer.verdict, outer.did, outer.subject, outer.id, None, outer.duplicate, inner
        )

    def _recorded(self, stream: int, epoch: int, n: int) -> Recorded | None:
        return self._positions.get((stream, epoch, n))

    def _result(
        self,
        auth: Authenticated,
        judgement: Judgement,
        answer: Answer,
        drafts: Mapping[int, EnvelopeDraft],
    ) -> Verified:
        did, about = auth.device.did, speaks_for(auth)
        if answer.entry is None:
            return Verified(judgement.verdict, did, about, auth.id)
        if answer.entry not in drafts:
            first = self._found[answer.entry]
            return Verified(first.verdict, did, about, auth.id, first.records, True)
        found = Verified(judgement.verdict, did, about, auth.id, judgement.records)
        self._found[answer.entry] = found
        return found


def _refused(refusal: Refusal) -> Verified:
    return Verified(verdict_of_refusal(refusal), "", "", refusal.id)
