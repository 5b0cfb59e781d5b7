"""What is on the disk before what: the order of writes that a power cut relies on."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from depin_id import Device, reading
from depin_id.durable import create_file, replace_file
from depin_id.keys import CallbackSigner, SoftwareSigner
from depin_id.position import POSITION_FILE
from tests.device.support import NETWORK


def test_the_epoch_is_on_the_disk_before_the_key_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, done = SoftwareSigner.generate(), list[str]()
    fsync = os.fsync

    def synced(handle: int) -> None:
        done.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        fsync(handle)

    def signed(message: bytes) -> bytes:
        done.append("sign")
        return inner.sign(message)

    Device.create(tmp_path / "d", signer=inner).close()
    signer = CallbackSigner(inner.public_key, signed)
    with Device.open(tmp_path / "d", signer=signer) as device, monkeypatch.context() as patch:
        patch.setattr(os, "fsync", synced)
        for _ in range(2):
            device.sign([reading("LAeq", 50, "dB")], network=NETWORK.did)
        assert done == [POSITION_FILE, "sign", "sign"]


@pytest.mark.parametrize("write", [replace_file, create_file])
def test_files_are_whole_before_they_have_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, bytes], None]
) -> None:
    """A power cut leaves the old file or the new one: bytes, then the name, then the folder."""
    done: list[str] = []

    def noted(name: str) -> Callable[..., None]:
        real: Callable[..., None] = getattr(os, name)

        def call(*arguments: Any) -> None:
            first = arguments[0]
            path = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else first
            size = os.stat(path).st_size if name == "fsync" and Path(path).is_file() else None
            done.append(f"{name} {Path(path).name} {size or ''}".strip())
            real(*arguments)

        return call

    for name in ("fsync", "rename", "link"):
        monkeypatch.setattr(os, name, noted(name))
    write(tmp_path / "file", b"12345")
    named = "rename" if write is replace_file else "link"
    assert done == ["fsync .file.tmp 5", f"{named} .file.tmp", f"fsync {tmp_path.name}"]
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
