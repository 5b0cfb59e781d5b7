"""Why a verdict is what it is, in words an owner understands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from depin_id.printable import printable
from verify.entries import (
    KIND_NAMES,
    CardSet,
    Counted,
    Enrolled,
    Erased,
    Genesis,
    Judged,
    PolicySet,
    Revoked,
    Rotated,
    Tick,
    delta_kind,
)
from verify.identity.words import words
from verify.leaf import EnvelopeLeaf, RecordsContent, parse_leaf
from verify.reading import Reader
from verify.receipt import row_json
from verify.replay import OpenedEntry
from verify.results.listing import about_ground
from verify.verdict import ACCEPTED, CODES, FLAGS

_SHOWN = 8
"""Packs of up to so many records are told record by record."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER: Final = re.compile("-?[0-9]{1,18}")
_INSTANTS: Final = frozenset(
    ("time.future", "time.stale", "device.revoked", "device.not_yet")
    + ("key.rotated", "key.suspended", "key.compromised")
)
"""Codes whose measured value and limit are instants in milliseconds since 1970."""
_RESCORED = " A later entry says that it counts no more."
_SIGHTING = "a gateway's report that it carried an envelope"


@dataclass(frozen=True)
class Explanation:
    """One entry in words.

    Attributes:
        index: of the entry. kind: ``envelope``, ``gateway``, or the kind of administration.
        received_at: ms since 1970.
        summary: one sentence.
        verdict: the code; empty for administration.
        meaning, advice: of the code. at_fault: whose move it is.
        measured, limit: what was found and what is allowed; empty where it has none.
        flags: each with its meaning.
        records: each record as judged; one that does not count says why.
        about: further facts: DID, subject, position, level, quality, and the like.
        erased: whether the content was erased, so that only the leaf is left.
    """

    index: int
    kind: str
    received_at: int
    summary: str
    verdict: str = ""
    meaning: str = ""
    advice: str = ""
    at_fault: str = ""
    measured: str = ""
    limit: str = ""
    flags: dict[str, str] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    erased: bool = False

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        found: dict[str, Any] = {
            "index": self.index,
            "kind": self.kind,
            "received_at": self.received_at,
            "summary": self.summary,
            "erased": self.erased,
            **self.about,
        }
        if self.verdict:
            found |= {
                "verdict": self.verdict,
                "meaning": self.meaning,
                "advice": self.advice,
                "at_fault": self.at_fault,
                "measured": self.measured,
                "limit": self.limit,
                "flags": self.flags,
                "records": self.records,
            }
        return found

    @property
    def text(self) -> str:
        """Several lines for people."""
        lines = [f"Entry {self.index}, {when(self.received_at)}", self.summary]
        if self.meaning:
            lines.append(self.meaning)
        if self.measured or self.limit:
            lines.append(_against(self.verdict, self.measured, self.limit))
        if self.verdict and self.verdict != ACCEPTED:
            lines.append(f"At fault: {self.at_fault}. What to do: {self.advice}")
        lines += [f"Flag {flag}: {meaning}" for flag, meaning in self.flags.items()]
        lines += self._record_lines()
        about = dict(self.about)
        if "stands_on" in about:
            lines.append(_ground(about.pop("stands_on")))
        lines += [f"{name}: {value}" for name, value in about.items()]
        return "\n".join(map(printable, lines))

    def _record_lines(self) -> list[str]:
        """Every record that does not count, and the others as one line; all are in the JSON."""
        if len(self.records) <= _SHOWN:
            return [_line(number, record) for number, record in enumerate(self.records)]
        told = [
            _line(number, record)
            for number, record in enumerate(self.records)
            if record.get("code") or record.get("flags")
        ]
        rest = len(self.records) - len(told)
        return told + ([f"The other {rest} records count."] if rest else [])


def when(at: int) -> str:
    """A receipt time (ms since 1970) for people, in UTC."""
    try:
        return (_EPOCH + timedelta(milliseconds=at)).strftime("%Y-%m-%d %H:%M:%S UTC")
    except OverflowError:
        return f"{at} ms since 1970"


def _ground(stands_on: dict[str, Any]) -> str:
    """What an entry stands on, for people."""
    text = f"It stands on the attestation result {stands_on['ear']}"
    if "level" not in stands_on:
        return f"{text}, erased since then."
    text += f", {stands_on['level']}, of boot {stands_on['boot']}"
    text += (
        f": attested {when(stands_on['attested_at'])}, good until {when(stands_on['not_after'])}"
    )
    return text + ("; it was revoked." if stands_on["standing"] == "revoked" else ".")


def _in_words(code: str, text: str) -> str:
    """What was found, or the limit, for people: instants as dates."""
    number = text.removesuffix(" ms")
    return when(int(number)) if code in _INSTANTS and _NUMBER.fullmatch(number) else text


def _against(code: str, measured: str, limit: str) -> str:
    measured, limit = _in_words(code, measured), _in_words(code, limit)
    if code == "value.out_of_range":
        limit = f"{'at most' if Decimal(measured) > Decimal(limit) else 'at least'} {limit}"
    if not limit:
        return f"Found: {measured}."
    return f"Found: {measured}. Allowed: {limit}." if measured else f"Allowed: {limit}."


def _line(number: int, record: dict[str, Any]) -> str:
    head = f"Record {number} {record['name']} = {record['value']} {record['unit']}".rstrip()
    if "why" in record:
        told = f"{head}: does not count ({record['code']}): {record['why']} {record['advice']}"
        if record["measured"] or record["limit"]:
            told += f" {_against(record['code'], record['measured'], record['limit'])}"
        return told
    return f"{head}: {'counts' if record['counts'] else 'context for the others'}"


def explain(reader: Reader, index: int) -> Explanation:
    """Explain one entry.

    Raises:
        StateError: ``state.no_entry`` and others of the stores.
    """
    opened = reader.opened(index)
    if isinstance(opened.entry, Judged):
        return _envelope(reader, opened, opened.entry)
    return _administration(opened)


def _envelope(reader: Reader, opened: OpenedEntry, entry: Judged) -> Explanation:
    leaf = parse_leaf(opened.stored.leaf)
    flags = leaf.flags if isinstance(leaf, EnvelopeLeaf) else ()
    level = leaf.level if isinstance(leaf, EnvelopeLeaf) else ""
    code = CODES.get(entry.code)
    accepted = entry.code == ACCEPTED
    change = entry.change
    about: dict[str, Any] = {
        "subject": change.subject_did,
        "position": [change.epoch, change.n],
        "thumbprint": change.thumbprint.hex(),
    }
    holder = reader.fold.registry.holder(change.thumbprint)
    if holder is not None:
        about["did"] = holder[0].did
        if holder[0].enrolment.name:
            about["name"] = holder[0].enrolment.name
    if accepted:
        about |= {"level": level, "quality": entry.quality, "readings": entry.readings}
    if change.result:
        about["stands_on"] = about_ground(reader.fold, change.result, opened.at)
    if reader.fold.identity.is_rescored(opened.stored.index):
        about["rescored"] = True
    private = opened.private
    content = None
    if private is not None and private.records is not None:
        content = RecordsContent.decode(private.records)
    return Explanation(
        index=opened.stored.index,
        kind="gateway" if entry.sighting else "envelope",
        received_at=opened.at,
        summary=_summary(opened, entry) + (_RESCORED if "rescored" in about else ""),
        verdict=entry.code,
        meaning="" if code is None else code.meaning,
        advice="" if code is None else code.advice,
        at_fault=entry.at_fault,
        measured=entry.measured,
        limit=entry.limit,
        flags={flag: FLAGS.get(flag, "") for flag in flags},
        records=[] if content is None or private is None else _records(content, private.reasons),
        about=about,
        erased=opened.erased,
    )


def _summary(opened: OpenedEntry, entry: Judged) -> str:
    what = _SIGHTING if entry.sighting else "an envelope"
    at = f"position {entry.change.epoch}/{entry.change.n}"
    outcome = {
        "accepted": "accepted",
        "rejected": f"rejected, {entry.code}",
        "indeterminate": f"not decided, {entry.code}",
    }.get(entry.outcome, entry.code)
    text = f"Here {what} arrived at {at} of {entry.change.subject_did}: {outcome}"
    if entry.code == ACCEPTED and not entry.sighting:
        text += f", {entry.readings} readings count"
    return f"{text}; since then erased, leaf intact." if opened.erased else f"{text}."


def _records(
    content: RecordsContent, reasons: Mapping[int, tuple[str, str]]
) -> list[dict[str, Any]]:
    found = []
    for number, row in enumerate(content.rows):
        record = row_json(row)
        code = CODES.get(row.code)
        if row.code:
            record["why"] = "" if code is None else code.meaning
            record["advice"] = "" if code is None else code.advice
            record["measured"], record["limit"] = reasons.get(number, ("", ""))
        if row.flags:
            record["flags"] = {flag: FLAGS.get(flag, "") for flag in row.flags}
        found.append(record)
    return found


def _administration(opened: OpenedEntry) -> Explanation:
    summary, about = _words(opened)
    if opened.erased:
        summary += " Its registration was erased, leaf intact."
    return Explanation(
        index=opened.stored.index,
        kind=KIND_NAMES.get(delta_kind(opened.stored.delta), "unknown"),
        received_at=opened.at,
        summary=summary,
        about=about,
        erased=opened.erased,
    )


def _words(opened: OpenedEntry) -> tuple[str, dict[str, Any]]:
    match opened.entry:
        case Genesis(_, asserted):
            return "The journal begins with the network's card.", {"asserted_time": asserted}
        case PolicySet(_, profiles):
            names = [str(item[1]) if len(item) > 1 else "" for item in profiles]
            return "A policy was put in force.", {"profiles": names}
        case CardSet():
            return "A newer network card was put in force.", {}
        case Enrolled(ref, since, enrolment):
            about: dict[str, Any] = {"did": enrolment.did, "since": since, "reference": ref.hex()}
            if not opened.erased:
                about |= {"name": enrolment.name, "role": enrolment.role}
                about |= {"profile": enrolment.profile, "owner": enrolment.owner}
            from_when = f"it counts from {when(since)}" if since else "it counts from the beginning"
            return f"{enrolment.did} was enrolled; {from_when}.", about
        case Rotated(did, key, since):
            about = {"did": did, "thumbprint": key.thumbprint.hex(), "since": since}
            return f"{did} has a new key from {when(since)} on.", about
        case Revoked(did, since, reason):
            about = {"did": did, "since": since, "reason": reason}
            return f"{did} is accepted no more from {when(since)} on.", about
        case Erased(did, refs):
            about = {"did": did, "subjects": len(refs)}
            return f"The data of {did} were erased; the leaves stay.", about
        case Tick(size, root):
            about = {"size": size, "root": root.hex()}
            return f"A checkpoint over {size} entries was made.", about
        case Counted(rows):
            listed = [list(row) for row in rows]
            total = sum(count for _, _, count in rows)
            return f"{total} envelopes were counted without entries of their own.", {"rows": listed}
    if isinstance(opened.entry, Judged):
        return "An envelope.", {}
    return words(opened.entry)
