"""did:webvh 1.0: DIDs whose whole history anybody can verify, without a chain.

Reading: :func:`verify_log`, :func:`extend`, :class:`Pins`. Writing: :func:`create`,
:func:`update`, :func:`rotate`, :func:`deactivate`, :func:`move`, :func:`witness_proof`.
"""

from depin_id.did.webvh.authoring import (
    create,
    deactivate,
    document_template,
    make_document,
    move,
    rotate,
    update,
    witness_rule,
)
from depin_id.did.webvh.documents import MethodKey, did_web_document, resource_url
from depin_id.did.webvh.history import Active, History, Version
from depin_id.did.webvh.location import Location, log_url, parse_location, witness_url
from depin_id.did.webvh.parameters import Parameters, WitnessRule
from depin_id.did.webvh.pins import Pin, Pins
from depin_id.did.webvh.times import parse_version_time
from depin_id.did.webvh.verify import (
    extend,
    may_need_witnesses,
    verify_log,
    verify_prefix,
)
from depin_id.did.webvh.witnessing import add_witness_proof, witness_proof

__all__ = [
    "Active",
    "History",
    "Location",
    "MethodKey",
    "Parameters",
    "Pin",
    "Pins",
    "Version",
    "WitnessRule",
    "add_witness_proof",
    "create",
    "deactivate",
    "did_web_document",
    "document_template",
    "extend",
    "log_url",
    "make_document",
    "may_need_witnesses",
    "move",
    "parse_location",
    "parse_version_time",
    "resource_url",
    "rotate",
    "update",
    "verify_log",
    "verify_prefix",
    "witness_proof",
    "witness_rule",
    "witness_url",
]
