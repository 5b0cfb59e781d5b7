"""What the signature says of an entry's records: the leaf alone is the aggregator's word."""

from __future__ import annotations

from depin_id.did.key import parse_did_key
from depin_id.envelope import CONTENT_SENML, Envelope, parse_envelope
from depin_id.errors import DatasetError, DepinError
from depin_id.senml import Record, decode_pack
from verify.dataset.rows import CheckedEntry
from verify.leaf import EnvelopeLeaf, RecordRow, RecordsContent


def difference(content: RecordsContent, envelope: Envelope) -> tuple[str, str] | None:
    """Where judged records differ from what the envelope holds: (``subject`` or ``records``, what).

    Times, places, codes and flags are the judge's; names, units and values are the signer's.
    """
    sub = envelope.claims.sub or ""
    # A capability may name a subject that is not the signer's own; the DID may name its version.
    about = content.did.partition("?")[0] + sub if sub[:1] in ("", "#") else sub
    if content.subject != about:
        return "subject", "the records are about another subject than the envelope"
    if envelope.content_type != CONTENT_SENML:
        return "records", "records from an envelope that carries none"
    try:
        sent = decode_pack(envelope.payload, subject=content.subject)
    except DepinError as error:
        return "records", f"the envelope's readings cannot be read: {error}"
    if len(sent) != len(content.rows):
        return "records", f"{len(content.rows)} records from {len(sent)} that were signed"
    for number, (record, row) in enumerate(zip(sent, content.rows, strict=True)):
        if (record.name, record.unit or "") != (row.name, row.unit) or not _same(record, row):
            return "records", f"record {number} differs from what was signed"
    return None


def _same(record: Record, row: RecordRow) -> bool:
    # A record may hold no value but a sum (RFC 8428, 4.5.2); then that is what was judged.
    sent = record.sum if record.value is None else record.value
    return type(sent) is type(row.value) and sent == row.value


def check_signed(item: CheckedEntry, network: str) -> bool:
    """Check an entry's records against the device's signature.

    Args:
        item: with its commitments opened.
        network: DID of the network it was signed for.

    Returns:
        False when it has records whose signer cannot be told from their DID: a key that came by
        rotation, or a DID that names no key. The log alone says whose they are.

    Raises:
        DatasetError: ``dataset.signature``: the records are not what the device signed.
    """
    content, raw, leaf = item.content, item.entry.envelope, item.leaf
    if content is None or raw is None or not isinstance(leaf, EnvelopeLeaf):
        return True
    try:
        key = parse_did_key(content.did)
    except DepinError:
        return False
    own = key.thumbprint == content.thumbprint
    try:
        envelope = parse_envelope(raw)
        if own:
            # Whether the policy took deprecated identifiers is the verdict's to say.
            envelope.verify(network, key, allow_deprecated=True)
    except DepinError as error:
        raise _unsigned(item, error.message) from error
    found = difference(content, envelope)
    if found is not None:
        raise _unsigned(item, found[1])
    at = envelope.provenance
    if (at.epoch, at.n) != (leaf.epoch, leaf.n):
        raise _unsigned(item, f"it was signed at {at.epoch}/{at.n}, not {leaf.epoch}/{leaf.n}")
    return own


def _unsigned(item: CheckedEntry, what: str) -> DatasetError:
    return DatasetError(
        "dataset.signature",
        f"the records of entry {item.entry.index} are not what their device signed: {what}",
        hint="the log itself says what the device did not: its operator has to explain",
    )
