"""The policy: what is accepted, under which rules version.

A policy is content, not code: it is hashed, logged as an entry, and whoever re-runs a journal runs
it under the very policy that was in force. All its numbers are integers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from depin_id import cbor
from depin_id.errors import ConfigError, EncodingError
from verify.profile import Profile, load_profiles
from verify.toml_text import invalid, read_toml

RULES: Final = 1
"""The newest rules version: what the code of this release does."""
MAX_ENCODED: Final = 65_536
_CODE: Final = "policy.invalid"
_FORMAT: Final = "depin/policy/1"

Level = Literal["G0", "G1", "D1", "D2", "D3"]
_Seconds = Annotated[int, Field(ge=0, le=10 * 366 * 86_400)]
_Count = Annotated[int, Field(ge=0, le=10**9)]
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_DidText = Annotated[str, Field(pattern=r"^did:[a-z0-9]+:[A-Za-z0-9._:%-]{1,500}$")]
_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class TimePolicy(_Part):
    """``[time]``, all in seconds.

    Attributes:
        max_future_s: how far ahead of receipt a time may lie.
        max_age_s: how far behind.
        max_clock_error_s: a device's clock error above it is flagged ``time.clock_poor``.
        unusable_clock_error_s: above it the envelope is rejected, ``time.clock_unusable``.
        max_interval_s: a time known less exactly is flagged ``time.interval_wide``.
    """

    max_future_s: _Seconds = 30
    max_age_s: _Seconds = 2_592_000
    max_clock_error_s: _Seconds = 60
    unusable_clock_error_s: _Seconds = 3_600
    max_interval_s: _Seconds = 900

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.unusable_clock_error_s < self.max_clock_error_s:
            raise ValueError("unusable_clock_error_s is below max_clock_error_s")
        return self


class QuotaPolicy(_Part):
    """``[quota]``: token buckets of envelopes. A rate of 0 is no limit.

    Attributes:
        device_per_minute, device_burst: of a device.
        gateway_per_minute, gateway_burst: of each stream of a gateway, which carries many devices.
        owner_per_minute, owner_burst: of all devices of an owner that may speak.
        unauthenticated_per_minute, unauthenticated_burst: of a transport principal whose
            envelopes cannot be authenticated: what of them goes to the quarantine.
    """

    device_per_minute: _Count = 120
    device_burst: _Count = 3_600
    gateway_per_minute: _Count = 12_000
    gateway_burst: _Count = 120_000
    owner_per_minute: _Count = 0
    owner_burst: _Count = 0
    unauthenticated_per_minute: _Count = 60
    unauthenticated_burst: _Count = 600

    @model_validator(mode="after")
    def _check(self) -> Self:
        for who in ("device", "gateway", "owner", "unauthenticated"):
            if getattr(self, f"{who}_per_minute") and not getattr(self, f"{who}_burst"):
                raise ValueError(f"{who}_per_minute needs {who}_burst: nothing could pass")
        return self


class LevelsPolicy(_Part):
    """``[levels]``: the least level that is accepted."""

    minimum: Level = "G0"


class AlgorithmsPolicy(_Part):
    """``[algorithms]``: whether the identifiers that RFC 9864 deprecates (-8, -7) pass."""

    allow_deprecated: bool = False


class GatewayPolicy(_Part):
    """``[gateway]``: how long after a gateway saw an envelope it may arrive, in seconds."""

    max_lag_s: _Seconds = 3_600


Voucher = Literal["key", "owner", "manufacturer"]
"""Who may vouch for a device's next key."""
_KEY_ONLY: list[Voucher] = ["key"]


class IdentityPolicy(_Part):
    """``[identity]``: whose word counts about who a device is.

    Attributes:
        manufacturers: DIDs whose birth certificates count; an empty list trusts none.
        enrolment: ``operator``: the operator's word is enough; ``evidence``: only with proof of
            possession and a birth certificate of one of the manufacturers.
        self_service: whether devices, owners and services may enrol, claim and show capabilities
            by messages of their own, without the operator; always with evidence.
        succession: who may vouch for a device's next key.
        rotation_grace_s: how long the key before still counts after a rotation, in seconds: for
            what is under way.
        status_max_age_s: how old a status list may be, in seconds.
    """

    manufacturers: Annotated[list[_DidText], Field(max_length=256)] = Field(default_factory=list)
    enrolment: Literal["operator", "evidence"] = "operator"
    self_service: bool = False
    succession: list[Voucher] = Field(default_factory=lambda: _KEY_ONLY.copy())
    rotation_grace_s: _Seconds = 3_600
    status_max_age_s: _Seconds = 604_800


class AttestationPolicy(_Part):
    """``[attestation]``: how far devices have to prove what they are.

    Attributes:
        required: profile to the level that its readings need, ``D2`` or ``D3``; below it they
            wait until their device attests. The level of ``[levels]`` holds for all.
        max_age_s: how long a result is good at most, in seconds.
        wait_s: how long before a result readings of its boot may have arrived, in seconds.
        revocation_max_age_s: how old a list of revocations may be, in seconds.
        dids_per_root: how many devices may show one hardware root, if it is one device's alone; 0
            is no limit.
    """

    required: Annotated[dict[_Name, Literal["D2", "D3"]], Field(max_length=1024)] = Field(
        default_factory=dict
    )
    max_age_s: _Seconds = 86_400
    wait_s: _Seconds = 604_800
    revocation_max_age_s: _Seconds = 604_800
    dids_per_root: _Count = 1


class Policy(_Part):
    """What is accepted. Everything has a default: an empty file is a policy.

    Attributes:
        rules: the rules version that the checks follow.
        time, quota, levels, algorithms, gateway, identity, attestation: see their classes.
        default_profile: the profile of devices that were enrolled without one; "" refuses them.
        cell_resolution: H3 resolution of the cells that neighbours and rewards are counted in; a
            dataset that has full segments takes another one with a rebuild.
        profiles: digest (hex) of each profile that is in force.
    """

    rules: Literal[1] = 1
    default_profile: _Name | Literal[""] = ""
    cell_resolution: Annotated[int, Field(ge=0, le=15)] = 9
    time: TimePolicy = TimePolicy()
    quota: QuotaPolicy = QuotaPolicy()
    levels: LevelsPolicy = LevelsPolicy()
    algorithms: AlgorithmsPolicy = AlgorithmsPolicy()
    gateway: GatewayPolicy = GatewayPolicy()
    identity: IdentityPolicy = IdentityPolicy()
    attestation: AttestationPolicy = AttestationPolicy()
    profiles: Annotated[dict[_Name, _Digest], Field(max_length=1024)] = Field(default_factory=dict)

    def __copy__(self) -> Self:
        # A copy is made to be changed: it must not keep the digest of the original.
        copied = super().__copy__()
        for name in ("encoded", "digest"):
            copied.__dict__.pop(name, None)
        return copied

    @classmethod
    def from_toml(
        cls,
        text: str,
        *,
        profiles: Mapping[str, Profile] | None = None,
        source: str = "policy.toml",
    ) -> Policy:
        """Read a policy file.

        Args:
            text: TOML; a missing key has its default.
            profiles: the profiles in force, None for the built-in ones. If the file has a table
                ``[profiles]``, it pins their digests and must agree.
            source: the file's name, for messages.

        Raises:
            ConfigError: ``policy.invalid``, naming line and field.
        """
        content = read_toml(text, source=source, code=_CODE)
        known = load_profiles() if profiles is None else profiles
        try:
            policy = cls.model_validate(content)
        except ValidationError as error:
            raise invalid(error, text, source=source, code=_CODE) from None
        policy._check_profiles(known, source)
        digests = {name: profile.digest.hex() for name, profile in sorted(known.items())}
        return policy.model_copy(update={"profiles": digests})

    def _check_profiles(self, known: Mapping[str, Profile], source: str) -> None:
        default = self.default_profile
        if default and default not in known:
            raise ConfigError(
                _CODE,
                f"{source}: default_profile: there is no profile {default!r}",
                hint=f"use one of {', '.join(sorted(known))}, or add its file",
            )
        for name in self.attestation.required:
            if name not in known:
                raise ConfigError(
                    _CODE,
                    f"{source}: attestation.required: there is no profile {name!r}",
                    hint=f"nothing would be asked of anybody: one of {', '.join(sorted(known))}",
                )
        for name, digest in self.profiles.items():
            if name not in known or known[name].digest.hex() != digest:
                raise ConfigError(
                    _CODE,
                    f"{source}: profiles.{name}: the profile is missing or has another content",
                    hint="restore the profile's file, or remove the line to pin what is there",
                )

    def to_toml(self) -> str:
        """The whole policy as a file, defaults and digests written out."""
        content = self.model_dump(mode="python")
        lines = [
            f"{key} = {_toml(value)}"
            for key, value in content.items()
            if not isinstance(value, dict)
        ]
        for key, table in content.items():
            if isinstance(table, dict):
                lines += ["", f"[{key}]"]
                lines += [f"{name} = {_toml(value)}" for name, value in table.items()]
        return "\n".join(lines) + "\n"

    @cached_property
    def encoded(self) -> bytes:
        """Deterministic CBOR of the whole policy, digests of the profiles included."""
        content = self.model_dump(mode="python")
        # Policies from before there was a part say the same as those that leave it as it is.
        if self.identity == IdentityPolicy():
            del content["identity"]
        if self.attestation == AttestationPolicy():
            del content["attestation"]
        return cbor.encode([_FORMAT, content])

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of :attr:`encoded`, 32 bytes: what entries and leaves name."""
        return hashlib.sha256(self.encoded).digest()

    @classmethod
    def from_encoded(cls, data: bytes) -> Policy:
        """Read back what :attr:`encoded` gave.

        Raises:
            ConfigError: ``policy.invalid``: not a policy, or one of unknown rules.
        """
        try:
            content: Any = cbor.decode(data, max_bytes=MAX_ENCODED)
            if not isinstance(content, list) or len(content) != 2 or content[0] != _FORMAT:
                raise ConfigError(_CODE, "the bytes are no policy", hint="take them from a journal")
            policy = cls.model_validate(content[1])
        except EncodingError as error:
            raise ConfigError(_CODE, f"the bytes are no policy: {error.message}") from None
        except ValidationError as error:
            raise invalid(error, "", source="the encoded policy", code=_CODE) from None
        if policy.encoded != data:
            raise ConfigError(_CODE, "the policy is not written out in full")
        return policy


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{name} = {_toml(item)}" for name, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    return str(value) if isinstance(value, int) else f'"{value}"'
