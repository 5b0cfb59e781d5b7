"""Settings that every test shares."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Machines that run these tests are shared: time says nothing about correctness.
settings.register_profile(
    "depin",
    deadline=None,
    max_examples=100,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("depin")
