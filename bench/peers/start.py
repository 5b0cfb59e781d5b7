"""Runs a peer's script in its isolated interpreter: ``start.py SCRIPT MESSAGES SECONDS``."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.path.insert(0, str(here))
    script = sys.argv.pop(1)
    runpy.run_path(str(here / script), run_name="__main__")
