"""Labels: claim codes as QR pictures, one by one or on sheets to print.

Pictures are made by segno, which belongs to the extra ``factory`` and is loaded when one is asked
for. They hold the codes: files of them are secrets like the codes themselves.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from html import escape
from typing import Any, Final, Literal

from depin_id.errors import ConfigError

PictureKind = Literal["svg", "png"]
MAX_TEXT: Final = 90
ROWS: Final = 6
COLUMNS: Final = 4
ON_A_SHEET: Final = ROWS * COLUMNS
_CELL: Final = (48.0, 47.0)
_MODULE: Final = 0.8
_BORDER: Final = 4


def _qr(text: str) -> Any:
    try:
        import segno
    except ImportError:
        raise ConfigError(
            "config.extra",
            "QR pictures need the package segno, which is not installed",
            hint="install depin-id[factory]",
        ) from None
    if not text.isascii() or not 0 < len(text) <= MAX_TEXT:
        raise ConfigError("claim.label", f"the text of a label has at most {MAX_TEXT} characters")
    return segno.make(text, error="m", micro=False, boost_error=False)


def picture(text: str, kind: PictureKind = "svg") -> bytes:
    """A QR picture of a label's text (:func:`~depin_id.owners.codes.qr_text`).

    Raises:
        ConfigError: ``config.extra``, ``claim.label``.
    """
    file = io.BytesIO()
    if kind == "svg":
        _qr(text).save(file, kind="svg", scale=4, border=_BORDER, xmldecl=False)
    else:
        _qr(text).save(file, kind="png", scale=8, border=_BORDER)
    return file.getvalue()


def terminal(text: str) -> str:
    """The QR code in half blocks, for a terminal; ends with a line end.

    Raises: as :func:`picture`.
    """
    file = io.StringIO()
    _qr(text).terminal(out=file, border=2, compact=True)
    return file.getvalue()


def sheet(labels: Iterable[tuple[str, str, str]]) -> bytes:
    """An A4 page (SVG) of at most 24 labels, with serial and code below each QR code.

    Args:
        labels: serial, code as people type it, text of the QR code.

    Raises: as :func:`picture`; ConfigError ``claim.label`` for more than 24.
    """
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" width="210mm" height="297mm" '
        'viewBox="0 0 210 297" font-family="monospace" text-anchor="middle">\n'
    ]
    for at, (serial, code, text) in enumerate(labels):
        if at >= ON_A_SHEET:
            raise ConfigError("claim.label", f"a sheet has room for {ON_A_SHEET} labels")
        row, column = divmod(at, COLUMNS)
        x, y = 9 + column * _CELL[0], 7 + row * _CELL[1]
        drawn = _qr(text).svg_inline(scale=_MODULE, border=_BORDER, svgclass=None, lineclass=None)
        parts.append(
            f'<g transform="translate({x:g} {y:g})"><g transform="translate(7.6 0)">{drawn}</g>'
            f'<text x="24" y="35.5" font-size="{min(3.0, 76 / max(1, len(serial))):.2g}">'
            f"{escape(serial)}</text>"
            f'<text x="24" y="39.5" font-size="2.4">{escape(code[:19])}</text>'
            f'<text x="24" y="42.5" font-size="2.4">{escape(code[20:])}</text></g>\n'
        )
    parts.append("</svg>\n")
    return "".join(parts).encode()
