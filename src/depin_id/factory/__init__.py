"""The factory: production batches of birth certificates, enrolments and claim codes."""

from depin_id.factory.batch import Batch, BatchOptions, check_rows, make_batch
from depin_id.factory.faults import BatchRefused, Fault, Faults
from depin_id.factory.rows import Defaults, Row, read_rows

__all__ = [
    "Batch",
    "BatchOptions",
    "BatchRefused",
    "Defaults",
    "Fault",
    "Faults",
    "Row",
    "check_rows",
    "make_batch",
    "read_rows",
]
