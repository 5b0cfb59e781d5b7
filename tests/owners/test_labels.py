"""Pictures of claim codes."""

from __future__ import annotations

import xml.etree.ElementTree as tree

import pytest

from depin_id.errors import ConfigError
from depin_id.owners import qr_text
from depin_id.owners.labels import ON_A_SHEET, picture, sheet, terminal
from tests.owners.people import CODE, signer

TEXT = qr_text(signer("device", "p256").public_key, CODE)


def test_a_sheet_says_serial_and_code_of_each() -> None:
    serials = [f"A{n}" for n in range(ON_A_SHEET - 1)] + ["<&" + "x" * 62]
    drawn = tree.fromstring(sheet((serial, CODE.text, TEXT) for serial in serials))
    texts = [found.text or "" for found in drawn.iter() if found.tag.endswith("}text")]
    assert texts[0::3] == serials
    assert {f"{first}-{rest}" for first, rest in zip(texts[1::3], texts[2::3], strict=True)} == {
        CODE.text
    }
    with pytest.raises(ConfigError, match="claim.label"):
        sheet([("a", CODE.text, TEXT)] * (ON_A_SHEET + 1))


def test_the_smallest_version_that_phones_read_well() -> None:
    # Version 4 has 33 modules, and 4 of quiet zone on each side.
    assert b'width="164" height="164"' in picture(TEXT)
    assert picture(TEXT, "png").startswith(b"\x89PNG")
    assert len(terminal(TEXT).splitlines()) == (33 + 2 * 2 + 1) // 2


@pytest.mark.parametrize("text", ["", "x" * 91, "\u00fc"])
def test_what_no_label_says(text: str) -> None:
    with pytest.raises(ConfigError, match="claim.label"):
        picture(text)
