"""The software TPM of the tests; where there is none they are skipped, with the reason."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.software_tpm import SoftwareTpm, missing, software_tpm

__all__ = ["SoftwareTpm", "running_tpm"]


@contextlib.contextmanager
def running_tpm(folder: Path) -> Iterator[SoftwareTpm]:
    """A fresh software TPM with EK certificates; stopped at the end.

    A fixture of module scope makes it in ``tmp_path_factory.mktemp(...)``.
    """
    if lacking := missing():
        pytest.skip(f"not installed: {', '.join(lacking)}")
    with software_tpm(folder) as tpm:
        yield tpm
