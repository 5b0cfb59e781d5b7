"""docs/verdicts.md from the one table of codes: ``python -m tests.docs.verdicts --write``."""

from __future__ import annotations

import sys
from pathlib import Path

from verify.verdict import CODES, FLAGS

FILE = Path(__file__).resolve().parents[2] / "docs" / "verdicts.md"
HEAD = """# Verdict codes and flags

Written from the table in `verify/verdict.py` (`python -m tests.docs.verdicts --write`). A code that
has been released keeps its meaning.

`accepted` is the code of everything that passed. The others are grouped by what they do; *at fault*
is whose move it usually is. Order of arrival, redelivery and gaps after power loss are nobody's
fault. `aggregator.retry` in an acknowledgement is no verdict: it asks for the envelope again.
"""
SECTIONS = {
    "rejected": "Rejected: an entry of its own in the log, for good",
    "indeterminate": "Indeterminate: kept, and judged when an entry resolves it",
    "record": "One record does not count; the envelope is accepted",
    "counted": "Counted: not authenticated, or over quota, so no entry of its own",
}


def document() -> str:
    """The file's text."""
    lines = [HEAD]
    for outcome, title in SECTIONS.items():
        lines += [f"## {title}", "", "| code | at fault | what it means | what to do |"]
        lines.append("|---|---|---|---|")
        lines += [
            f"| `{name}` | {code.at_fault} | {code.meaning} | {code.advice} |"
            for name, code in sorted(CODES.items())
            if code.outcome == outcome
        ]
        lines.append("")
    lines += [
        "## Flags",
        "",
        "Worth knowing of an accepted envelope or a record; no reason to refuse.",
        "",
        "| flag | what it means |",
        "|---|---|",
        *(f"| `{name}` | {meaning} |" for name, meaning in sorted(FLAGS.items())),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the file, or say whether it is up to date."""
    if "--write" in sys.argv[1:]:
        FILE.write_text(document())
        return 0
    same = FILE.exists() and FILE.read_text() == document()
    print("up to date" if same else f"{FILE.name} is out of date: --write")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
