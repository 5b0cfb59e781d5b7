"""Every byte of a piece of evidence flipped: none of what comes out may be affirmed."""

from __future__ import annotations

import zlib

from verify.attestation import Expected, Materials, appraise_evidence


def survivors(
    media_type: str,
    raw: bytes,
    *,
    expected: Expected,
    at: int,
    materials: Materials,
    model: str = "",
) -> list[int]:
    """Offsets whose change did not keep the evidence from being affirmed; should be empty.

    The evidence itself has to be affirmed, or this would prove nothing.
    """
    whole = appraise_evidence(
        media_type, raw, expected=expected, at=at, materials=materials, model=model
    )
    assert whole.affirmed, (whole.reasons, whole.steps[-1:])
    found = []
    for offset in range(len(raw)):
        # Another bit in each place, the same in every run.
        bit = 1 << zlib.crc32(offset.to_bytes(4, "big")) % 8
        changed = raw[:offset] + bytes([raw[offset] ^ bit]) + raw[offset + 1 :]
        appraisal = appraise_evidence(
            media_type, changed, expected=expected, at=at, materials=materials, model=model
        )
        if appraisal.affirmed:
            found.append(offset)
    return found
