"""What others wrote steers no terminal, in whatever form it is shown."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from depin_id.printable import json_text, printable

_TEXT = st.text(st.characters(codec=None), max_size=50)


@given(st.recursive(_TEXT | st.booleans() | st.integers(), lambda of: st.dictionaries(_TEXT, of)))
def test_json_is_printable_and_means_the_same(value: object) -> None:
    for indent in (None, 2):
        text = json_text(value, indent=indent)
        assert json.loads(text) == value
        assert text.replace("\n", "").isprintable()


def test_json_stays_readable() -> None:
    assert json_text({"Ort": "Zürich 東京"}) == '{"Ort": "Zürich 東京"}'
    assert json_text("\x9b2J\u202e\x7f") == r'"\u009b2J\u202e\u007f"'
    assert printable("\x9b2J\n") == "\ufffd2J\ufffd"
