"""The aggregator: it verifies provenance and attestation before data is accepted."""
