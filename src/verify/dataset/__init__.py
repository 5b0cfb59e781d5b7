"""The dataset: Parquet segments by log index, provable against the public log."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from verify.dataset.builder import Dataset
    from verify.dataset.check import DatasetReport, verify_dataset
    from verify.dataset.exporting import export
    from verify.dataset.rows import OpenEntry
    from verify.dataset.segment import Segment

__all__ = ["Dataset", "DatasetReport", "OpenEntry", "Segment", "export", "verify_dataset"]

# Loaded when asked for: whoever seals entries needs their rows and no Parquet.
_FROM: Final = {
    "Dataset": "builder",
    "DatasetReport": "check",
    "OpenEntry": "rows",
    "Segment": "segment",
    "export": "exporting",
    "verify_dataset": "check",
}


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"verify.dataset.{_FROM[name]}"), name)
