"""What the image that measures says, for tests and for the bench."""

from __future__ import annotations

from pathlib import Path

from depin_id.ack import Ack, AckItem, sign_ack
from depin_id.keys import SoftwareSigner
from depin_id.network import NetworkCard, network_did, sign_card


def write_inputs(folder: Path) -> None:
    """The files that the image reads: key, network, and what comes down, signed."""
    seed = b"a device that is measured".ljust(32)
    device = SoftwareSigner("ed25519", seed).public_key
    root, ack, log = (SoftwareSigner("ed25519", (b"measured %d" % i).ljust(32)) for i in range(3))
    network = network_did(root.public_key)
    card = NetworkCard(
        network=network,
        name="quiet-city",
        number=1,
        not_before=0,
        not_after=1 << 40,
        ack_keys=(ack.public_key,),
        log_origin="quiet-city/log",
        log_key=log.public_key,
    )
    items = tuple(AckItem(bytes([i]) * 32, "accepted", i, None) for i in range(4))
    answer = Ack(device.thumbprint, 1, 1_795_000_000_000, None, "quiet-city/log", items, None)
    (folder / "seed").write_bytes(seed)
    (folder / "network").write_text(network)
    (folder / "card").write_bytes(sign_card(card, root))
    (folder / "ack").write_bytes(sign_ack(answer, network=network, signer=ack))


def read_figures(folder: Path) -> dict[str, int]:
    """Figures by name."""
    lines = (folder / "measured").read_text().splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}
