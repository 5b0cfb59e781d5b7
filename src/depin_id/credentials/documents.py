"""Whole documents as models: for JSON schemas, and to say what is wrong with one."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, create_model

from depin_id.credentials.models import (
    TYPES,
    BatchProof,
    BirthCertificate,
    Context,
    Credential,
    Proof,
)

_BASE: Final = "VerifiableCredential"


def _document(model: type[Credential]) -> type[Credential]:
    proof: Any = Proof
    if model is BirthCertificate:
        proof = Annotated[Proof | BatchProof, Field(discriminator="type")]
    # What is only known now is no type to a type checker.
    literal: Any = Literal
    kinds: Any = tuple[literal[_BASE], literal[model.TYPE]]
    return create_model(
        model.TYPE,
        __base__=model,
        __doc__=model.__doc__,
        context=(Context, Field(alias="@context")),
        proof=(proof | None, None),
        type=(kinds, ...),
    )


DOCUMENTS: Final = {name: _document(model) for name, model in TYPES.items()}
"""Each type with its ``@context``, ``type`` and ``proof``."""
