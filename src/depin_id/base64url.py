"""base64url without padding (RFC 4648 section 5), in its one spelling (section 3.5)."""

from __future__ import annotations

import base64

from depin_id.errors import EncodingError


def encode(data: bytes) -> str:
    """The text of bytes."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """The bytes of a text, the inverse of :func:`encode`.

    Raises:
        EncodingError: ``base64url.malformed``: padding, another character, a length that no bytes
            have, or spare bits that are not zero.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:  # binascii.Error is one
        data = b""
    # Python takes the other alphabet and spare bits too.
    if encode(data) != text:
        raise EncodingError("base64url.malformed", "not base64url without padding")
    return data
