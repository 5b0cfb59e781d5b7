"""The dataset: Parquet segments by log index, provable against the public log."""

from verify.dataset.builder import Dataset
from verify.dataset.check import DatasetReport, verify_dataset
from verify.dataset.export import export
from verify.dataset.rows import OpenEntry
from verify.dataset.segment import Segment

__all__ = ["Dataset", "DatasetReport", "OpenEntry", "Segment", "export", "verify_dataset"]
