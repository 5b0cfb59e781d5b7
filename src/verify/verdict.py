"""Verdicts and the one table of their codes.

A verdict is Accepted, Rejected or Indeterminate. Codes are stable: a code that has been released
keeps its meaning. ``at_fault`` says whose move it is: out-of-order arrival, redelivery and gaps
after power loss are nobody's fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Fault = Literal["device", "gateway", "network", "owner", "aggregator", "nobody"]

ACCEPTED = "accepted"
AGAIN = "aggregator.retry"
"""In acknowledgements: keep it, and send it again later."""


class Accepted(NamedTuple):
    """The envelope is good; its records are judged one by one.

    Attributes:
        quality: share of the records that count, in percent (100 when it carries none).
        level: G0, G1, D1, D2 or D3: how far the source is proven.
        flags: sorted; see :data:`FLAGS`.
    """

    quality: int
    level: str
    flags: tuple[str, ...] = ()

    @property
    def code(self) -> str:
        """``accepted``."""
        return ACCEPTED


class Rejected(NamedTuple):
    """The envelope is refused, for good.

    Attributes:
        code: see :data:`CODES`.
        at_fault: whose fault it is.
        measured, limit: what was found and what is allowed, as text; empty where it has none.
        flags: sorted.
    """

    code: str
    at_fault: Fault
    measured: str = ""
    limit: str = ""
    flags: tuple[str, ...] = ()


class Indeterminate(NamedTuple):
    """It could not be decided yet; never accepted.

    Attributes:
        code: see :data:`CODES`.
        retry: what resolves it: ``enrolment`` or ``attestation``.
    """

    code: str
    retry: str
    measured: str = ""
    limit: str = ""
    flags: tuple[str, ...] = ()


Verdict = Accepted | Rejected | Indeterminate

Outcome = Literal["rejected", "indeterminate", "counted", "record"]


@dataclass(frozen=True, slots=True)
class Code:
    """One row of the table.

    Attributes:
        outcome: what it does: ``rejected`` or ``indeterminate`` for an envelope with an entry of
            its own, ``counted`` for what cannot be authenticated or is over quota, ``record`` for
            one record in an accepted envelope.
        at_fault: whose fault it usually is.
        meaning: in words an owner understands.
        advice: what to do about it.
    """

    outcome: Outcome
    at_fault: Fault
    meaning: str
    advice: str


CODES: dict[str, Code] = {
    # Form: nobody can be held to bytes that are not authenticated, so these are counted.
    "encoding.malformed": Code(
        "counted", "nobody", "The bytes are not CBOR.", "Check the transport and the sender."
    ),
    "encoding.not_deterministic": Code(
        "counted",
        "nobody",
        "The bytes are CBOR, but not in the one deterministic form that may be signed.",
        "Encode as RFC 8949 section 4.2.1 says.",
    ),
    "encoding.too_large": Code(
        "counted", "nobody", "The message or envelope is too large.", "Send at most 128 KiB."
    ),
    "encoding.too_deep": Code(
        "counted", "nobody", "The bytes are nested too deeply.", "Check the sender."
    ),
    "envelope.malformed": Code(
        "counted",
        "nobody",
        "The bytes are not an envelope: headers or parts are not exactly those allowed.",
        "Compare with docs/protocol.md.",
    ),
    "envelope.claims": Code(
        "counted", "nobody", "A claim in the header is unknown or ill-formed.", "Check the sender."
    ),
    "envelope.nested": Code(
        "counted",
        "nobody",
        "A gateway envelope holds a gateway envelope.",
        "Wrap a device's envelope once.",
    ),
    # Keys and signatures.
    "device.unknown": Code(
        "indeterminate",
        "nobody",
        "No enrolled key fits this envelope. It is kept for a while in case it is enrolled.",
        "Enrol the device.",
    ),
    "key.algorithm": Code(
        "counted",
        "nobody",
        "The algorithm is not the one of the enrolled key.",
        "Sign with the algorithm fixed at enrolment.",
    ),
    "key.not_admissible": Code(
        "counted", "nobody", "The key is refused for everyone.", "Make a new key."
    ),
    "signature.invalid": Code(
        "counted",
        "nobody",
        "The signature does not verify under any enrolled key: altered, or signed for another "
        "network or purpose.",
        "Find who altered it; nothing is held against the device.",
    ),
    "signature.malleable": Code(
        "counted",
        "nobody",
        "The ECDSA signature is not in low-s form, so it could have two shapes.",
        "Send the low-s form.",
    ),
    # Who may speak.
    "device.revoked": Code(
        "rejected", "owner", "The device was revoked before this arrived.", "Ask the operator."
    ),
    "device.not_yet": Code(
        "rejected",
        "owner",
        "It arrived before the enrolment of the key takes effect.",
        "Enrol with an earlier effective time, within the policy's bound.",
    ),
    "device.erased": Code(
        "rejected", "owner", "The device was erased on request.", "Enrol it again with a new key."
    ),
    "key.rotated": Code(
        "rejected", "device", "The key was replaced before this arrived.", "Sign with the new key."
    ),
    "key.compromised": Code(
        "rejected",
        "owner",
        "The key was somebody else's when this arrived.",
        "Give the device a new key.",
    ),
    "key.suspended": Code(
        "rejected",
        "device",
        "Two different envelopes were signed at one position, so two parties hold this key.",
        "Rotate the key.",
    ),
    "identity.issuer": Code(
        "rejected", "device", "It names another DID than the key's.", "Correct the claim iss."
    ),
    "subject.refused": Code(
        "rejected",
        "gateway",
        "The signer may not speak for this subject.",
        "Only a gateway signs for sensors, and only under its own DID.",
    ),
    # Signing for a subject of somebody else's, under a capability (docs/identity/delegation.md).
    "capability.unknown": Code(
        "counted",
        "gateway",
        "The capability was never shown here, or another key than the signer's holds it.",
        "Show it, with proof of possession of the key that it names, before using it.",
    ),
    "capability.subject": Code(
        "counted",
        "gateway",
        "The capability is not for signing for this subject, or the subject has its own key.",
        "Ask the subject's owner for a capability that covers it.",
    ),
    "capability.expired": Code(
        "rejected",
        "owner",
        "The capability had expired, or was not valid yet, when this arrived.",
        "Ask the owner for a new one.",
    ),
    "capability.withdrawn": Code(
        "rejected",
        "owner",
        "The capability, or one that it was derived from, was withdrawn before this arrived.",
        "Ask the owner.",
    ),
    "capability.undecided": Code(
        "rejected",
        "owner",
        "Whether the capability was withdrawn cannot be known: no status list, or one too old.",
        "Give the aggregator the newest list of whoever signed the capability.",
    ),
    "capability.region": Code(
        "rejected",
        "gateway",
        "The place is not in the capability's region, or the envelope names none.",
        "Say where the sensor is, or ask for a capability for that place.",
    ),
    "capability.budget": Code(
        "counted",
        "owner",
        "The capability, or one that it was derived from, is used up, or used too fast.",
        "Slow down, or ask the owner for a larger budget.",
    ),
    "level.insufficient": Code(
        "rejected",
        "owner",
        "The source is proven less than the policy asks for.",
        "Sign on the device, or ask for another policy.",
    ),
    # Attestation (docs/attestation/): kept until the device has attested for its boot.
    "attestation.required": Code(
        "indeterminate",
        "owner",
        "Readings of this profile need an attested device, and this one has not attested.",
        "Let the device attest.",
    ),
    "attestation.level": Code(
        "indeterminate",
        "owner",
        "The device has attested, but for less than its profile needs.",
        "See what is not affirmed: `depin-verify attestations`.",
    ),
    "attestation.unknown": Code(
        "indeterminate",
        "device",
        "It names an attestation result that this network does not know.",
        "Let the device attest here.",
    ),
    "attestation.boot": Code(
        "indeterminate",
        "nobody",
        "The device has started again since it attested.",
        "Let the device attest for this boot.",
    ),
    "attestation.expired": Code(
        "indeterminate",
        "nobody",
        "The attestation result that it stands on is too old, or came too late for it.",
        "Let the device attest again.",
    ),
    "attestation.contraindicated": Code(
        "indeterminate",
        "owner",
        "The device showed that it is open to be read or changed, or a newer result counts.",
        "Lock the device, start it anew and let it attest again.",
    ),
    "attestation.revoked": Code(
        "indeterminate",
        "owner",
        "A certificate or key that the device attested with was revoked.",
        "Ask the maker; let the device attest with hardware that is not revoked.",
    ),
    # Position and chain.
    "sequence.forked": Code(
        "rejected",
        "device",
        "Another envelope already stands at this position. Both are kept as evidence.",
        "The key was copied, or storage was rolled back: rotate the key.",
    ),
    "chain.broken": Code(
        "rejected",
        "device",
        "It does not follow the envelope before it, or the one after does not follow it.",
        "The key was copied, or storage was damaged: rotate the key.",
    ),
    "quota.exceeded": Code(
        "counted",
        "owner",
        "The device or its owner sent more than the policy allows. It was counted, not kept.",
        "Put more readings in one envelope, or ask for a larger quota.",
    ),
    # Time.
    "time.future": Code(
        "record", "device", "It was measured after it arrived.", "Set the device's clock."
    ),
    "time.stale": Code("record", "device", "It is older than the policy takes.", "Send sooner."),
    "time.no_clock": Code(
        "record",
        "device",
        "An absolute time from a device that says it has no clock.",
        "Send times relative to sealing.",
    ),
    "time.clock_unusable": Code(
        "rejected",
        "device",
        "The device says its clock may be wrong by more than the policy takes.",
        "Set the device's clock.",
    ),
    # Payload and profile.
    "payload.malformed": Code(
        "rejected",
        "device",
        "The signed payload is not what its content type says.",
        "Compare with docs/protocol.md.",
    ),
    "payload.empty": Code("rejected", "device", "The pack holds no record.", "Send readings."),
    "profile.unknown": Code(
        "rejected",
        "aggregator",
        "The device's profile is not one of the policy's.",
        "Enrol it with a known profile.",
    ),
    "profile.required": Code(
        "rejected", "device", "A record that the profile requires is missing.", "Send it too."
    ),
    "profile.too_many": Code(
        "rejected",
        "device",
        "More records than the profile takes in one pack, or more bytes once they are judged.",
        "Split the pack.",
    ),
    "profile.unit": Code(
        "record", "device", "The unit is not the profile's for this name.", "Send the right unit."
    ),
    "value.type": Code(
        "record", "device", "The value is of another type than the profile's.", "Send that type."
    ),
    "value.out_of_range": Code(
        "record", "device", "The value is physically impossible.", "Check the sensor."
    ),
    "record.unknown_name": Code(
        "record", "device", "The profile has no such record.", "Leave it out or extend the profile."
    ),
    "record.repeated": Code(
        "record",
        "nobody",
        "This time slot of this series was filled before; it is never paid twice.",
        "Nothing, unless the clock stands still.",
    ),
    "content.repeated": Code(
        "rejected",
        "device",
        "The same values at the same times were sent before, by another device.",
        "Send what you measured yourself.",
    ),
    "location.missing": Code(
        "record", "device", "There is no position for this record.", "Wait for a fix."
    ),
    "location.out_of_range": Code(
        "record", "device", "The position is not on Earth.", "Check the receiver."
    ),
    "location.stale": Code(
        "record", "device", "The position is older than the profile takes.", "Wait for a fix."
    ),
    "location.inaccurate": Code(
        "record", "device", "The position is too inaccurate.", "Wait for a better fix."
    ),
    "location.speed": Code(
        "record",
        "device",
        "It would have moved faster than anything of its profile can.",
        "Nothing for a single jump; it recovers by itself.",
    ),
}

REPEATED = "sighting.repeated"
"""Flag: the gateway has shown this envelope before, so this sighting does not count."""

FLAGS: dict[str, str] = {
    "attestation.later": "Its device attested for this boot after it had arrived.",
    "attestation.shared_root": "Another device had shown the same hardware root.",
    "chain.tail_unknown": "First of a boot, and the end of the boot before is not proven.",
    "content.repeated": "Some of its values were seen before from the same device.",
    "inner.invalid": "What the gateway carried does not verify.",
    "inner.malformed": "What the gateway carried is no envelope.",
    "inner.unknown": "What the gateway carried is of a device that is not enrolled.",
    "late": "It filled a position below the highest one known.",
    "parked": "It waited in quarantine until its device was enrolled or had attested.",
    "record.context": "The record is context for others (a position), not a measurement.",
    "record.unchecked": "The profile takes names it does not know, and this is one.",
    "record.refused": "Some of its records do not count; each says why.",
    "sequence.gap": "An envelope before it has not arrived yet.",
    "sighting.future": "The gateway says it received it later than the aggregator did.",
    "sighting.lagging": "The gateway kept it for longer than the policy's bound.",
    "sighting.repeated": "Its gateway sent it before, or its device was erased: not counted.",
    "sighting.undated": "The gateway does not say when it received it.",
    "time.anchor_contradiction": "Uptime and receipt contradict each other: no lower bound.",
    "time.asserted": "The receipt time was asserted by the operator (a replayed recording).",
    "time.clock_poor": "The device's clock is worse than the policy's soft bound.",
    "time.interval_wide": "When it was measured is known only within a wide interval; unpaid.",
    "time.unbounded": "When it was measured has no lower bound; unpaid.",
}
"""Flags of accepted envelopes and of records: worth knowing, no reason to refuse."""


def fault_of(code: str) -> Fault:
    """Whose fault a code usually is."""
    return CODES[code].at_fault


def is_verdict_code(code: str) -> bool:
    """Whether a code may stand in an entry or acknowledgement."""
    return code == ACCEPTED or code in CODES or code == AGAIN
