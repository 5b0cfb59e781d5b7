"""Production batches."""
