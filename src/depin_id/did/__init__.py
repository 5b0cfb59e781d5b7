"""Decentralized identifiers: syntax, methods, resolution."""

from depin_id.did.jwk import did_jwk, parse_did_jwk, public_jwk
from depin_id.did.key import did_key, parse_did_key
from depin_id.did.multikey import decode_multikey, encode_multikey
from depin_id.did.resolution import Dereferenced, Options, Resolution
from depin_id.did.resolver import Method, Resolver
from depin_id.did.syntax import Did, DidUrl, parse_did, parse_did_url

__all__ = [
    "Dereferenced",
    "Did",
    "DidUrl",
    "Method",
    "Options",
    "Resolution",
    "Resolver",
    "decode_multikey",
    "did_jwk",
    "did_key",
    "encode_multikey",
    "parse_did",
    "parse_did_jwk",
    "parse_did_key",
    "parse_did_url",
    "public_jwk",
]
