"""Targets: evidence that is a chain: certificates of chips, layers, enclaves, and vouchers."""

from __future__ import annotations

from depin_id import cbor
from depin_id.attestation.idevid_evidence import read_evidence
from depin_id.attestation.part_manifest import read_manifest
from tests.attestation import dices, idevids, nitros, vouchers
from tests.fuzz.logs import each
from tests.fuzz.target import target
from verify.attestation import Appraisal
from verify.attestation.fdo import read_voucher
from verify.attestation.open_dice import cwt, x509
from verify.attestation.steps import Steps

_REQUIRED = idevids.ROOT.anchor("idevid", assurance="secure-element", manifest="required")
_IDEVID = idevids.Case(manifest=idevids.part(), anchors=[_REQUIRED, idevids.MANIFESTS])
_CWT = dices.Case()
_X509 = dices.Case(chain=dices.certificates())
_NITRO = nitros.Case()
_VOUCHER = vouchers.Case(vouchers.voucher())


def _appraised(found: Appraisal, raw: bytes, good: bytes) -> None:
    """Bad evidence is no error: it ends in a step that failed, and names why."""
    if found.claims is None:
        assert not found.steps[-1].passed and found.reasons
    else:
        assert raw == good, "something else than the good evidence passed"


def take_idevid(data: bytes) -> None:
    """A container has one spelling; a manifest too."""

    def container() -> None:
        assert read_evidence(data).to_bytes() == data

    each(container, lambda: read_manifest(data))
    _appraised(_IDEVID.run(data), data, _GOOD["idevid"])


def take_open_dice(data: bytes) -> None:
    """Both forms, whole and one certificate alone."""
    each(
        lambda: cwt.read_chain([data], Steps()),
        lambda: x509.read_chain([data], Steps()),
    )
    for case, name in ((_CWT, "cwt"), (_X509, "x509")):
        if data not in (_GOOD["cwt"], _GOOD["x509"]):
            _appraised(case.run(data), data, _GOOD[name])


def take_nitro(data: bytes) -> None:
    """Documents."""
    _appraised(_NITRO.run(data), data, _GOOD["nitro"])


def take_voucher(data: bytes) -> None:
    """Vouchers, alone and as evidence."""
    each(lambda: read_voucher(data, Steps()))
    _appraised(_VOUCHER.run(data), data, _GOOD["fdo"])


_GOOD = {
    "idevid": _IDEVID.raw,
    "cwt": _CWT.raw,
    "x509": _X509.raw,
    "nitro": _NITRO.encoded(),
    "fdo": _VOUCHER.raw,
}
target("evidence-idevid", take_idevid, [_GOOD["idevid"], idevids.part()])
target(
    "evidence-open-dice",
    take_open_dice,
    [_GOOD["cwt"], _GOOD["x509"], dices.layers()[0], dices.certificates()[0]],
)
target("evidence-nitro", take_nitro, [_GOOD["nitro"], cbor.encode([b"", {}, b"", b""])])
target("evidence-fdo", take_voucher, [_GOOD["fdo"], vouchers.voucher()])
