"""Evidence and results in words."""

from __future__ import annotations

import re
from pathlib import Path

from depin_id.commands.inspect import describe
from tests.results.attesting import AttestingNet, evidence, show


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
