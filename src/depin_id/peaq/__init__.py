"""Interoperating with peaq, byte for byte, and stricter where its own packages believe too much.

Nothing here talks to a chain or holds a chain key.
"""
