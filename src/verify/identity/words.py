"""Entries about identity in words."""

from __future__ import annotations

from typing import Any

from verify.identity.entries import (
    BatchTaken,
    CapabilityTaken,
    Compromised,
    EvidenceTaken,
    HistoryTaken,
    IdentityEntry,
    OwnerSet,
    Rescored,
    StatusTaken,
    Succeeded,
    WalletBound,
    Withdrawn,
)
from verify.results.entries import Disavowed, MaterialTaken, ResultTaken


def words(entry: IdentityEntry) -> tuple[str, dict[str, Any]]:
    """One sentence, and further facts; nothing that rests sealed."""
    match entry:
        case HistoryTaken(did, _, number, version_id, log, spans, deactivated):
            about: dict[str, Any] = {"did": did, "version": version_id, "log": log.hex()}
            about |= {"keys": len(spans), "deactivated": deactivated}
            return f"The history of {did} was taken up to version {number}.", about
        case EvidenceTaken(ref, purpose, _, _):
            return f"Evidence was taken: {purpose}.", {"reference": ref.hex()}
        case Compromised(ref, thumbprint, since, reason):
            about = {"reference": ref.hex(), "thumbprint": thumbprint.hex()}
            about |= {"since": since, "reason": reason}
            return "A key was somebody else's since then.", about
        case Rescored(ref, code, runs, readings):
            total = sum(count for _, count in runs)
            about = {"reference": ref.hex(), "code": code, "readings": readings}
            about["entries"] = [list(run) for run in runs]
            return f"{total} accepted entries count no more: {code}.", about
        case CapabilityTaken(ref, identity, _, _):
            about = {"reference": ref.hex(), "capability": identity.hex()}
            return "A capability was shown by who holds its key.", about
        case Withdrawn(identity, since, reason):
            about = {"capability": identity.hex(), "since": since, "reason": reason}
            return "A capability is good no more.", about
        case OwnerSet(ref, since, how, _, _):
            about = {"reference": ref.hex(), "since": since, "how": how}
            return f"A device has an owner: {how}.", about
        case WalletBound(ref):
            return "An owner is paid to a wallet.", {"reference": ref.hex()}
        case Succeeded(ref, voucher, _, _):
            about = {"reference": ref.hex(), "voucher": voucher}
            return f"The next key of a device was vouched for: {voucher}.", about
        case StatusTaken(url, issuer, issued, expires, _):
            about = {"url": url, "issuer": issuer, "issued": issued, "expires": expires}
            return f"The status list {url} was taken.", about
        case BatchTaken(digest, issuer, _):
            return f"A production batch of {issuer} was taken.", {"digest": digest.hex()}
        case MaterialTaken(what, name, data):
            about = {"what": what, "name": name, "bytes": len(data)}
            return f"Evidence is judged by other {what}: {name}.", about
        case ResultTaken(ref, digest, _, boot, level, not_after, shared):
            about = {"reference": ref.hex(), "result": digest.hex(), "boot": boot}
            about |= {"level": level, "not_after": not_after, "shared": shared}
            return f"A device attested: {level}.", about
        case Disavowed(ref, ids, since, reason):
            about = {"reference": ref.hex(), "results": [item.hex() for item in ids]}
            about |= {"since": since, "reason": reason}
            return "What a device attested with was revoked.", about
