"""Bytes on the wire."""

from __future__ import annotations

from bench.settings import PACK
from bench.table import Row
from bench.world import Lab, sign
from depin_id.envelope import parse_envelope


def measure(lab: Lab) -> list[Row]:
    """Size of a signed envelope of 1, 10 and 60 readings, beside its unsigned SenML-CBOR."""
    rows = []
    for records in (1, 10, PACK):
        # The second envelope of a stream: its link to the one before is not zeros.
        raw = sign(lab.device(), 2, records).envelopes[1]
        payload = len(parse_envelope(raw).payload)
        rows.append(
            Row(
                "wire",
                f"envelope of {records} reading{'s' if records > 1 else ''}",
                "bytes",
                [float(len(raw))],
                [len(raw) / payload],
                "the SenML inside",
                more_is_better=False,
                note=f"{len(raw) / records:.1f} bytes a reading, {payload} of {len(raw)} are SenML",
            )
        )
    return rows
