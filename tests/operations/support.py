"""What the tests of operations share."""

from __future__ import annotations

import hashlib
from pathlib import Path

from depin_id.testing import NOW, TestDevice
from tests.verify.net import Net, level
from verify.audit import audit
from verify.dataset import verify_dataset


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder with its digest; not locks, nor what readers of SQLite leave."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("lock", "-shm"))
        if not path.name.endswith("-wal") or path.stat().st_size
    }


def speak(net: Net, device: TestDevice, times: int) -> list[bytes]:
    """So many accepted envelopes, each a second after the one before; gives their bytes."""
    sent: list[bytes] = []
    for _ in range(times):
        net.advance(1)
        data = device.next([level(50 + len(sent) % 9, net.now_ms / 1000)])
        assert net.send(device, data).accepted == 1
        sent.append(data)
    return sent


def check(root: Path, network: str) -> int:
    """Audit and public check pass; gives the number of entries."""
    report = audit(root)
    assert report.ok, report.to_json()
    assert verify_dataset(root / "public", keys=None, network=network).complete
    return report.entries


def begin(net: Net) -> TestDevice:
    """An enrolled device that has spoken."""
    assert net.now_ms >= NOW * 1000
    device = net.device()
    speak(net, device, 3)
    return device
