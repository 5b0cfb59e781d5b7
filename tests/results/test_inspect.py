"""Evidence and results in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from depin_id.commands.inspect import describe
from depin_id.errors import ConfigError
from tests.results.attesting import AttestingNet, evidence, show
from verify.admin import perform


def test_evidence_and_result_are_shown_and_verified(tmp_path: Path) -> None:
    with AttestingNet(tmp_path) as net:
        device = net.chip()
        message = evidence(net, device)
        token = bytes.fromhex(show(net, message)["result"])
        shown = describe(message, net.did, device.key)
        assert (shown["kind"], shown["signature"], shown["boot"]) == ("evidence", "valid", 1)
        other = describe(message, net.did, net.chip("other").key)
        assert re.match("INVALID: ", other["signature"])
        result = describe(token, net.did, None, net.card)
        assert (result["kind"], result["signature"]) == ("attestation result", "valid")
        assert (result["level"], result["did"]) == ("D2", device.did)
        assert result["vector"]["hardware"] == 2
        forged = token[:-1] + bytes([token[-1] ^ 1])
        assert re.match("INVALID: ", describe(forged, net.did, None, net.card)["signature"])
        assert describe(token, None, None)["signature"].startswith("not checked")


def test_a_result_is_given_away_again_as_it_stands_in_the_journal(tmp_path: Path) -> None:
    with AttestingNet(tmp_path) as net:
        device = net.chip()
        first, second = (net.attest(device, boot) for boot in (1, 2))
        asked = {"op": "attestation-export", "did": device.did}
        newest = perform(net.aggregator, asked)
        assert (newest["ear"], newest["result"]) == (second["ear"], second["result"])
        older = perform(net.aggregator, asked | {"ear": first["ear"]})
        assert older["result"] == first["result"]
        with pytest.raises(ConfigError) as caught:
            perform(net.aggregator, asked | {"did": net.chip("other").did})
        assert caught.value.code == "attestation.none"
