"""Which positions of a stream are missing, and which of these its gateway says it gave up.

What is explained is missing all the same: no verdict and no payment changes by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from depin_id.errors import LogError
from verify.gap_reports import Claim, Reports, positions, read_reports
from verify.reading import Reader

LISTED: Final = 1000
"""Gaps, and contradictions, of a stream that are listed; all of them are counted."""
_KID_HEX: Final = 16


@dataclass(frozen=True, slots=True)
class Gap:
    """Positions missing before an entry.

    Attributes:
        before: the entry at the position after it.
        explained: the parts of it that were reported as given up.
    """

    epoch: int
    first: int
    last: int
    before: int
    explained: tuple[Claim, ...]

    @property
    def missing(self) -> int:
        """How many positions."""
        return self.last - self.first + 1

    @property
    def explained_count(self) -> int:
        """How many of them are explained."""
        return sum(part.last - part.first + 1 for part in self.explained)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "epoch": self.epoch,
            "first": self.first,
            "last": self.last,
            "before": self.before,
            "missing": self.missing,
            "explained": self.explained_count,
            "by": [{"first": p.first, "last": p.last, "entry": p.entry} for p in self.explained],
        }


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Reported positions that ``arrived``, or that were reported before (``overlap``)."""

    kind: str
    epoch: int
    first: int
    last: int
    entry: int
    other: int | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass
class StreamGaps:
    """The gaps of one stream.

    Attributes:
        subject: DID or DID URL. thumbprint: of the key.
        gaps, contradictions: the first :data:`LISTED` of each; ``gap_count`` and
            ``contradiction_count`` are of all.
        missing, explained: positions. beyond: reported positions that nothing arrived after.
        refused: of the reports of this key, as in :class:`Reports`.
    """

    subject: str
    thumbprint: bytes
    refused: dict[str, int]
    gaps: list[Gap] = field(default_factory=list)
    contradictions: list[Contradiction] = field(default_factory=list)
    gap_count: int = 0
    contradiction_count: int = 0
    missing: int = 0
    explained: int = 0
    beyond: int = 0

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to tell of it."""
        return not (self.gap_count or self.contradiction_count or self.beyond)

    def add(self, gap: Gap) -> None:
        """One more gap."""
        self.gap_count += 1
        self.missing += gap.missing
        self.explained += gap.explained_count
        if len(self.gaps) < LISTED:
            self.gaps.append(gap)

    def contradict(self, found: Contradiction) -> None:
        """One more contradiction."""
        self.contradiction_count += 1
        if len(self.contradictions) < LISTED:
            self.contradictions.append(found)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "subject": self.subject,
            "thumbprint": self.thumbprint.hex(),
            "gap_count": self.gap_count,
            "missing": self.missing,
            "explained": self.explained,
            "beyond": self.beyond,
            "gaps": [gap.to_json() for gap in self.gaps],
            "contradiction_count": self.contradiction_count,
            "contradictions": [found.to_json() for found in self.contradictions],
            "refused": self.refused,
        }

    @property
    def text(self) -> str:
        """Several lines for people."""
        lines = [
            f"{self.subject} (key {self.thumbprint[:8].hex()}): {self.gap_count} gaps, "
            f"{self.missing} positions missing, {self.explained} of them explained"
        ]
        lines += [_gap_line(gap) for gap in self.gaps]
        if self.gap_count > len(self.gaps):
            lines.append(f"  and {self.gap_count - len(self.gaps)} gaps more")
        lines += [_contradiction_line(found) for found in self.contradictions]
        if self.contradiction_count > len(self.contradictions):
            lines.append(f"  and {self.contradiction_count - len(self.contradictions)} more")
        if self.beyond:
            lines.append(f"  {self.beyond} more were given up after the last that arrived")
        if self.refused:
            said = ", ".join(f"{why} {count}" for why, count in sorted(self.refused.items()))
            lines.append(f"  what explains nothing in the reports of this key: {said}")
        return "\n".join(lines)


def _span(epoch: int, first: int, last: int) -> str:
    return f"{epoch}/{first}" if first == last else f"{epoch}/{first} to {epoch}/{last}"


def _gap_line(gap: Gap) -> str:
    told = f"  {_span(gap.epoch, gap.first, gap.last)} missing before entry {gap.before}: "
    if not gap.explained:
        return told + "not explained"
    entries = ", ".join(str(entry) for entry in sorted({part.entry for part in gap.explained}))
    part = "" if gap.explained_count == gap.missing else f"{gap.explained_count} "
    return f"{told}{part}given up by the gateway, as entry {entries} says"


def _contradiction_line(found: Contradiction) -> str:
    span = _span(found.epoch, found.first, found.last)
    if found.kind == "arrived":
        return f"  entry {found.entry} says {span} was given up, and it arrived"
    return f"  entries {found.other} and {found.entry} both say {span} was given up"


def find_gaps(reader: Reader, device: str | None = None) -> Iterator[StreamGaps]:
    """The gaps of streams, one stream in memory at a time.

    Args:
        device: a DID, with every stream that its keys signed; a DID URL, one sensor or subject; a
            kid, 16 hex digits. None: of all streams those with something to tell.

    Raises:
        LogError: ``explain.unknown``. StateError: of the stores.
    """
    keys = reader.fold.state.streams.keys()
    streams = range(len(keys)) if device is None else _named(reader, device)
    signer, reports = b"", Reports()
    for stream in sorted(streams, key=lambda index: keys[index][0]):
        thumbprint, subject = keys[stream]
        if thumbprint != signer:
            signer, reports = thumbprint, read_reports(reader, thumbprint)
        found = _of_stream(reader, stream, thumbprint, subject, reports)
        if device is not None or not found.quiet:
            yield found


def _named(reader: Reader, device: str) -> list[int]:
    fold = reader.fold
    streams, known = fold.state.streams, fold.registry.device(device)
    if known is not None:
        thumbprints: Sequence[bytes] = [period.key.thumbprint for period in known.keys]
    elif len(device) == _KID_HEX and set(device) <= set("0123456789abcdef"):
        thumbprints = fold.registry.candidates(bytes.fromhex(device))
    else:
        thumbprints = ()
    subject = fold.state.subject_of(device)
    if not thumbprints and subject is None:
        raise LogError(
            "explain.unknown",
            f"{device[:120]} is not known here",
            hint="name the DID of an enrolled device, <gateway DID>#<sensor>, or a kid in hex",
        )
    found = {stream for thumbprint in thumbprints for stream in streams.under(thumbprint)}
    return list(found.union(() if subject is None else streams.of(subject)))


def _of_stream(
    reader: Reader, stream: int, thumbprint: bytes, subject: int, reports: Reports
) -> StreamGaps:
    found = StreamGaps(reader.fold.did_of(subject), thumbprint, dict(reports.refused))
    pieces = _disjoint(reports.claims.get(stream, []), found)
    claimed = sum(piece.last - piece.first + 1 for piece in pieces)
    at, epoch, expected = 0, -1, 0
    for run in _runs(reader, stream):
        if run.epoch != epoch:
            epoch, expected = run.epoch, 0  # a boot counts from 0
        if run.first > expected:
            parts, at = _within(pieces, at, run._replace(first=expected, last=run.first - 1))
            found.add(Gap(epoch, expected, run.first - 1, run.entry, tuple(parts)))
        parts, at = _within(pieces, at, run)
        for part in parts:
            claimed -= part.last - part.first + 1
            found.contradict(Contradiction("arrived", *part))
        expected = run.last + 1
    found.beyond = claimed - found.explained
    return found


def _runs(reader: Reader, stream: int) -> Iterator[Claim]:
    """What arrived, as ranges, each with the entry at its first position."""
    run: Claim | None = None
    for epoch, n, entry in positions(reader, stream):
        if run is not None and run.epoch == epoch and n <= run.last + 1:
            run = run._replace(last=n)
            continue
        if run is not None:
            yield run
        run = Claim(epoch, n, n, entry)
    if run is not None:
        yield run


def _disjoint(claims: Sequence[Claim], found: StreamGaps) -> list[Claim]:
    """The claims in order, each position in one of them only; what is said twice is told."""
    pieces: list[Claim] = []
    for claim in sorted(claims):
        last = pieces[-1] if pieces else None
        if last is not None and last.epoch == claim.epoch and claim.first <= last.last:
            end = min(claim.last, last.last)
            found.contradict(
                Contradiction("overlap", claim.epoch, claim.first, end, claim.entry, last.entry)
            )
            if claim.last <= last.last:
                continue
            claim = claim._replace(first=last.last + 1)
        pieces.append(claim)
    return pieces


def _within(pieces: Sequence[Claim], at: int, span: Claim) -> tuple[list[Claim], int]:
    """The parts of pieces inside a span, and the piece to go on from; spans come in order."""
    while at < len(pieces) and (pieces[at].epoch, pieces[at].last) < (span.epoch, span.first):
        at += 1
    found, look = [], at
    while look < len(pieces) and pieces[look].epoch == span.epoch:
        piece = pieces[look]
        if piece.first > span.last:
            break
        first, last = max(piece.first, span.first), min(piece.last, span.last)
        found.append(Claim(span.epoch, first, last, piece.entry))
        look += 1
    return found, at
