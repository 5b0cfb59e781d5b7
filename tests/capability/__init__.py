"""Capabilities: what is granted, passed on, refused and proved."""
