"""The parts of :mod:`depin_id.testing`."""
