"""A device with a TPM, from nothing to readings at D3, over a real broker."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from depin_id.ack import read_challenge
from depin_id.attestation import tpm2_evidence
from depin_id.attestation.message import ACTIVATE, attest_statement
from depin_id.attestation.tpm_device import TpmAttester
from depin_id.attestation.tpm_keys import TpmSigner
from depin_id.device import Device
from depin_id.network import NetworkCard, topics
from depin_id.statements import CHALLENGE, write_statement
from tests.attestation.swtpm import SoftwareTpm, running_tpm
from tests.brokers import mosquitto
from tests.http.support import Site, levels, make_site, running, wait_for
from tests.ingest.support import publisher
from verify.admin import enrol
from verify.aggregator import Aggregator
from verify.attestation.bundles import bundle_anchors, bundle_references
from verify.attestation.materials import Anchor, Model, Reference
from verify.attestation.reference_files import ModelEntry, References
from verify.audit import audit
from verify.control import perform_on
from verify.dataset import verify_dataset
from verify.reading import Reader

PCRS = range(8)


@pytest.fixture
def tpm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftwareTpm]:
    with running_tpm(tmp_path / "tpm") as running_one:
        monkeypatch.setenv("TPM2TOOLS_TCTI", running_one.tcti)
        yield running_one


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def trust(root: Path, tpm: SoftwareTpm, *approved: dict[int, bytes]) -> None:
    """The authority of the TPM, and the firmware that is approved."""
    found = certificate(tpm.root)
    spki = found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    anchor = Anchor("tpm2", "software", spki, found.public_bytes(Encoding.DER))
    references = tuple(
        Reference(f"pcr{index}", frozenset(values[index] for values in approved)) for index in PCRS
    )
    model = Model("station", frozenset({"tpm2"}), references=references, revocation="none")
    for what, data in (
        ("anchors", bundle_anchors([anchor])),
        ("references", bundle_references(References((ModelEntry(model),), ()))),
    ):
        request = {"op": "material-add", "what": what, "name": "maker", "data": data.hex()}
        perform_on(root, request)


class Station:
    """The device's process: it talks to the network over its broker alone."""

    def __init__(self, device: Device, card: NetworkCard, client: Any, tpm: SoftwareTpm) -> None:
        self.device, self.card, self._client = device, card, client
        self._issuer = certificate(tpm.chain).public_bytes(Encoding.DER)
        self._up, down = topics(card.name, device.public_key.kid)
        self._heard: queue.Queue[bytes] = queue.Queue()
        client.on_message = lambda _c, _d, message: self._heard.put(bytes(message.payload))
        client.subscribe(down, qos=1)

    def ask(self, statement: bytes) -> bytes:
        self._client.publish(self._up, statement, qos=1)
        return self._heard.get(timeout=60)

    def send(self, *envelopes: bytes) -> list[str]:
        data = self.ask(b"".join(envelopes))
        return [item.code for item in self.device.take_ack(data, card=self.card).items]

    def read(self, start: int, count: int = 1) -> bytes:
        return self.device.sign(levels(count, start), network=self.card.network)

    def attest(self) -> str:
        """Challenge, credential, evidence, result; gives the level."""
        key = self.device.public_key
        with TpmAttester(ek_chain=[self._issuer]) as attester:
            request = write_statement(ACTIVATE, attester.request(key.thumbprint))
            secret = attester.activate(self.ask(request))
            asked = self.ask(write_statement(CHALLENGE, key.thumbprint))
            challenge = read_challenge(asked, card=self.card, recipient=key.thumbprint)
            binding = self.device.binding(challenge, self.card.network)
            evidence = attester.evidence(binding.challenge, self.device._signer)
        message = self.device.attest(binding, tpm2_evidence.MEDIA_TYPE, evidence, activation=secret)
        statement = attest_statement(message)
        token = self.ask(statement)
        assert self.ask(statement) == token, "a broker delivers again"
        return self.device.take_result(token, self.card).level


def pcrs_of(tpm: SoftwareTpm) -> dict[int, bytes]:
    data = tpm.run("tpm2_pcrread", "-Q", "-o", "/dev/stdout", "sha256:0,1,2,3,4,5,6,7")
    return {index: data[32 * index : 32 * index + 32] for index in PCRS}


def test_from_nothing_to_d3_and_through_a_change_of_firmware(
    tmp_path: Path, tpm: SoftwareTpm
) -> None:
    policy = 'default_profile = "noise"\n[attestation]\nrequired = { noise = "D3" }\n'
    site: Site = make_site(tmp_path, 0, policy)
    folder = tmp_path / "device"
    good = pcrs_of(tpm)
    trust(site.root, tpm, good)
    with Device.create(folder, profile="noise", signer=TpmSigner.new()) as device:
        with Aggregator(site.root) as aggregator:
            assert not enrol(aggregator, [device.enrolment])["refused"]
    with mosquitto(tmp_path) as broker, publisher(broker) as client:
        with running(site, f"mqtt://127.0.0.1:{broker.port}") as at:
            wait_for(lambda: "mqtt.subscribed" in at.kinds(), "the subscription")
            with Device.open(folder) as device:
                station = Station(device, site.card, client, tpm)
                assert station.send(station.read(0)) == ["attestation.required"]
                assert station.attest() == "D3"
                assert station.send(station.read(1)) == ["accepted"]
            tpm.power_cycle()
            tpm.extend(4, b"\x66" * 32)  # another firmware
            with Device.open(folder) as device:
                station = Station(device, site.card, client, tpm)
                assert station.send(station.read(2)) == ["attestation.boot"]
                assert station.attest() == "D2"
                assert station.send(station.read(3)) == ["attestation.level"]
                # It turns out to be a release of the maker's: it is approved, and the device, in
                # the same boot, attests again. What waited was of this boot, and counts.
                trust(site.root, tpm, good, pcrs_of(tpm))
                assert station.attest() == "D3"
                assert station.send(station.read(4)) == ["accepted"]
    with Reader(site.root) as reader:
        assert reader.fold.tally.verdicts == {"accepted": 5}
        counted = reader.fold.tally.counted
        assert (counted["attestation.boot"], counted["attestation.level"]) == (1, 1)
    assert audit(site.root).ok
    assert verify_dataset(site.root / "public", keys=None, network=site.card.network).complete
