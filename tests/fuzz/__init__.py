"""Fuzzing of every decoder: targets, a kept corpus, and a driver (``python -m tests.fuzz``)."""
