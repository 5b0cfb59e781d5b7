"""What is told of an envelope under a capability: explanation, receipt, another policy."""

from __future__ import annotations

from pathlib import Path

from depin_id.claims import Claims
from depin_id.testing import NOW
from tests.identity.delegated import SUBJECT, chain, claimed, pack, taken
from tests.identity.factory import Plant
from tests.verify.net import level
from verify.explain import explain
from verify.reading import Reader
from verify.receipt import check_receipt, make_receipt
from verify.whatif import whatif


def test_a_row_under_a_capability_is_explained_proven_and_tried(tmp_path: Path) -> None:
    with Plant(tmp_path) as net:
        gateway, device = net.gateway(), claimed(net)
        cap = taken(net, gateway, chain(net, gateway, max_count=1))
        own = gateway.next([level(50, NOW - 5)], claims=Claims(sub="#own", level="G0"))
        mine = device.next([level(50, NOW - 6)])
        assert net.codes(gateway, pack(gateway, cap), own) == ["accepted", "accepted"]
        assert net.codes(device, mine) == ["accepted"]
        found = [item.index for item in net.aggregator.journal.entries() if item.delta[0] == 0x8F]
        assert len(found) == 1
        net.close()
        with Reader(net.root) as reader:
            told = explain(reader, index=found[0])
            assert SUBJECT in str(told.to_json())
            receipt = make_receipt(reader, found[0])
        checked = check_receipt(receipt, network=net.did)
        assert SUBJECT in str(checked)
        report = whatif(net.root, net.text.replace("{more}", '[levels]\nminimum = "D1"\n'))
        assert "level.insufficient" in str(report)
