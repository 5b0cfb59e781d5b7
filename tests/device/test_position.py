"""Positions: never signed twice, whatever happens to the process and to the files."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from depin_id import Device, parse_envelope, reading
from depin_id.device_file import read_enrolment
from depin_id.envelope import MAX_POSITION, NO_PREV, Envelope, split_bundle
from depin_id.errors import DepinError, EnvelopeError, SignatureInvalid, StateError
from depin_id.keys import CallbackSigner, SoftwareSigner
from depin_id.position import HEADS_FILE, POSITION_FILE, PositionStore
from depin_id.slots import SLOT_BYTES, SLOT_STEP
from depin_id.testing import TestNetwork
from tests.device.support import NETWORK
from tests.paths import ROOT

READINGS = [reading("LAeq", 50, "dB")]


def sign(device: Device, network: TestNetwork = NETWORK, subject: str | None = None) -> Envelope:
    return parse_envelope(device.sign(READINGS, network=network.did, subject=subject))


def make(directory: Path, boots: int = 0) -> Path:
    Device.create(directory).close()
    for _ in range(boots):
        with Device.open(directory) as device:
            sign(device)
    return directory


def identity(envelope: Envelope, device: Device, network: TestNetwork = NETWORK) -> bytes:
    return envelope.verify(network.did, device.public_key)


# --- the plain course ---------------------------------------------------------------------------


def test_streams_count_and_chain_over_boots(tmp_path: Path) -> None:
    heads: dict[str | None, bytes] = {None: NO_PREV, "#a": NO_PREV}
    make(tmp_path / "d")
    for epoch in (1, 2, 3):
        with Device.open(tmp_path / "d") as device:
            for n in range(3):
                for subject in heads:
                    envelope = sign(device, subject=subject)
                    at = envelope.provenance
                    assert (at.epoch, at.n, at.prev) == (epoch, n, heads[subject])
                    heads[subject] = identity(envelope, device)[:16]


def test_networks_have_streams_of_their_own(tmp_path: Path) -> None:
    other = TestNetwork("other")
    with Device.create(tmp_path / "d") as device:
        first = sign(device)
        envelope = sign(device, other)
        assert envelope.provenance.n == 0 and envelope.provenance.prev == NO_PREV
        assert sign(device).provenance.prev == identity(first, device)[:16]
        with pytest.raises(SignatureInvalid):
            envelope.verify(NETWORK.did, device.public_key)


def test_without_a_signature_there_is_no_boot(tmp_path: Path) -> None:
    make(tmp_path / "d", boots=1)
    before = (tmp_path / "d" / POSITION_FILE).read_bytes()
    for _ in range(3):
        Device.open(tmp_path / "d").close()
    assert (tmp_path / "d" / POSITION_FILE).read_bytes() == before
    with Device.open(tmp_path / "d") as device:
        assert sign(device).provenance.epoch == 2
        written = (tmp_path / "d" / POSITION_FILE).read_bytes()
        sign(device), sign(device)
        assert (tmp_path / "d" / POSITION_FILE).read_bytes() == written


def test_a_head_is_never_used_twice(tmp_path: Path) -> None:
    make(tmp_path / "d", boots=1)
    heads = (tmp_path / "d" / HEADS_FILE).read_bytes()
    with Device.open(tmp_path / "d") as device:
        assert sign(device).provenance.prev != NO_PREV
    (tmp_path / "d" / HEADS_FILE).write_bytes(heads)  # as if the process had been killed
    with Device.open(tmp_path / "d") as device:
        assert sign(device).provenance.prev == NO_PREV


def test_threads_share_a_stream(tmp_path: Path) -> None:
    found: list[Envelope] = []
    with Device.create(tmp_path / "d") as device:

        def work() -> None:
            for _ in range(25):
                found.append(sign(device))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        by_n = {envelope.provenance.n: envelope for envelope in found}
        assert sorted(by_n) == list(range(100))
        for n in range(1, 100):
            assert by_n[n].provenance.prev == identity(by_n[n - 1], device)[:16]


# --- processes ----------------------------------------------------------------------------------


def test_killed_twenty_times(tmp_path: Path) -> None:
    """kill -9 while it signs: no position twice, every chain holds."""
    directory, output = make(tmp_path / "d"), tmp_path / "out"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    command = [sys.executable, "-m", "tests.device.support", str(directory), str(output)]
    for kill in range(20):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=ROOT)
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            size = output.stat().st_size if output.exists() else 0
            # Sometimes before, sometimes after the first signatures.
            give_up = time.monotonic() + 60
            while kill % 4 and time.monotonic() < give_up and child.poll() is None:
                if output.stat().st_size >= size + kill * 200:
                    break
                time.sleep(0.001)
        finally:
            child.kill()
            child.wait(30)
            if child.stdout is not None:
                child.stdout.close()
    with Device.open(directory) as device:
        found = [
            parse_envelope(part)
            for part in split_bundle(output.read_bytes(), max_bytes=1 << 26)
            if len(part) > 100
        ]
        seen: dict[tuple[str | None, int, int], bytes] = {}
        for envelope in found:
            at = envelope.provenance
            place = (envelope.claims.sub, at.epoch, at.n)
            assert place not in seen
            seen[place] = identity(envelope, device)[:16]
            assert at.prev == (seen[envelope.claims.sub, at.epoch, at.n - 1] if at.n else NO_PREV)
        assert len({epoch for _, epoch, _ in seen}) >= 10
        assert sign(device).provenance.epoch > max(epoch for _, epoch, _ in seen)


def test_a_directory_has_one_process(tmp_path: Path) -> None:
    directory = make(tmp_path / "d")
    code = (
        "import sys; from depin_id import Device, DepinError\n"
        "try: Device.open(sys.argv[1])\n"
        "except DepinError as error: print(error.code)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    with Device.open(directory):
        with pytest.raises(StateError, match="state.locked"):
            Device.open(directory)
        out = subprocess.run(
            [sys.executable, "-c", code, str(directory)],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
            check=True,
        )
        assert out.stdout.strip() == "state.locked"
    Device.open(directory).close()


def test_a_forked_child_does_not_sign(tmp_path: Path) -> None:
    with Device.create(tmp_path / "d") as device:
        sign(device)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:  # pragma: no cover
            try:
                sign(device)
                os.write(write, b"signed")
            except DepinError as error:
                os.write(write, error.code.encode())
            finally:
                os._exit(0)
        os.close(write)
        os.waitpid(child, 0)
        with os.fdopen(read, "rb") as file:
            assert file.read() == b"state.process"
        assert sign(device).provenance.n == 1


# --- damaged files ------------------------------------------------------------------------------


def slots() -> Iterator[int]:
    for start in (0, SLOT_STEP):
        yield from range(start, start + SLOT_BYTES)


@pytest.mark.parametrize("clean_end", [True, False])
def test_a_flipped_byte_anywhere_reuses_nothing(tmp_path: Path, clean_end: bool) -> None:
    """One slot damaged, at each of its bytes: the next epoch is above all that were signed."""
    directory = make(tmp_path / "d", boots=3)
    if not clean_end:
        (directory / HEADS_FILE).unlink()  # else its epoch would tell what the slot does not
    path = directory / POSITION_FILE
    good = path.read_bytes()
    key = Device.open(directory)
    thumbprint = key.public_key.thumbprint
    key.close()
    for at in slots():
        damaged = bytearray(good)
        damaged[at] ^= 0x01
        path.write_bytes(damaged)
        store = PositionStore(directory, thumbprint)
        with store.take("n", None) as position:
            assert position.epoch > 3, at
            epoch = position.epoch
        # The repair wrote both slots: the next boot is the next epoch, whichever slot fails now.
        for start in (0, SLOT_STEP):
            repaired = bytearray(path.read_bytes())
            repaired[start] ^= 0xFF
            keep = path.read_bytes()
            path.write_bytes(repaired)
            with PositionStore(directory, thumbprint).take("n", None) as again:
                assert again.epoch > epoch
            path.write_bytes(keep)


@pytest.mark.parametrize(
    "size", [0, 1, SLOT_BYTES - 1, SLOT_BYTES, SLOT_STEP, SLOT_STEP + 43, None]
)
def test_cut_files(tmp_path: Path, size: int | None) -> None:
    """A file cut short keeps at most the first slot; a missing one is a loss."""
    directory = make(tmp_path / "d", boots=4)
    path = directory / POSITION_FILE
    if size is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:size])
    with Device.open(directory) as device:
        if size is not None and size >= SLOT_BYTES:
            assert sign(device).provenance.epoch > 4
        else:
            assert device.position_lost
            with pytest.raises(StateError, match="state.position_lost"):
                sign(device)


def test_power_cut_in_the_boot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every length of a torn slot: nothing was signed under it, the next boot goes on above."""
    from depin_id import position

    directory = make(tmp_path / "d", boots=2)
    with Device.open(directory) as device:
        thumbprint = device.public_key.thumbprint
    good, highest = (directory / POSITION_FILE).read_bytes(), 2
    for length in range(SLOT_BYTES + 1):
        (directory / POSITION_FILE).write_bytes(good)

        def torn(handle: int, data: bytes, length: int = length) -> None:
            os.write(handle, data[:length])
            raise OSError(5, "power cut")

        with monkeypatch.context() as patch:
            patch.setattr(position, "write_all", torn)
            with pytest.raises(StateError, match="state.io"):
                with PositionStore(directory, thumbprint).take("n", None):
                    pass
        with PositionStore(directory, thumbprint).take("n", None) as at:
            assert at.epoch > highest


@pytest.mark.parametrize("data", [b"", b"\x00" * 100, b"\xff" * 2000, b"\x84\x00\x00\x00\x00"])
def test_damaged_heads_only_lose_heads(tmp_path: Path, data: bytes) -> None:
    directory = make(tmp_path / "d", boots=1)
    (directory / HEADS_FILE).write_bytes(data)
    with Device.open(directory) as device:
        at = sign(device).provenance
        assert (at.epoch, at.n, at.prev) == (2, 0, NO_PREV)


def test_a_flipped_byte_in_the_heads_makes_no_other_head(tmp_path: Path) -> None:
    directory = make(tmp_path / "d", boots=1)
    thumbprint = read_enrolment(directory).key.thumbprint
    position, heads = (directory / POSITION_FILE), (directory / HEADS_FILE)
    good, slots = heads.read_bytes(), position.read_bytes()
    with PositionStore(directory, thumbprint).take(NETWORK.did, None) as at:
        assert at.prev != NO_PREV
    for place in range(len(good)):
        position.write_bytes(slots)
        heads.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with PositionStore(directory, thumbprint).take(NETWORK.did, None) as at:
            assert at.prev == NO_PREV, place


def test_heads_from_before_a_boot_whose_slot_is_damaged_do_not_count(tmp_path: Path) -> None:
    """The boot of the damaged slot may have carried on from these heads already."""
    directory = make(tmp_path / "d", boots=2)
    path, heads = directory / POSITION_FILE, (directory / HEADS_FILE).read_bytes()
    before = path.read_bytes()
    with Device.open(directory) as device:
        assert sign(device).provenance.prev != NO_PREV
    (directory / HEADS_FILE).write_bytes(heads)  # as if the process had been killed
    data = bytearray(path.read_bytes())
    (start,) = [at for at in (0, SLOT_STEP) if data[at:][:SLOT_BYTES] != before[at:][:SLOT_BYTES]]
    data[start] ^= 1
    path.write_bytes(data)
    with Device.open(directory) as device:
        at = sign(device).provenance
        assert at.epoch > 3 and at.prev == NO_PREV


def test_the_position_of_another_device_does_not_count(tmp_path: Path) -> None:
    one, two = make(tmp_path / "1", boots=3), make(tmp_path / "2", boots=1)
    (one / POSITION_FILE).write_bytes((two / POSITION_FILE).read_bytes())
    with Device.open(one) as device:
        assert device.position_lost


# --- resume -------------------------------------------------------------------------------------


def lost(tmp_path: Path) -> Path:
    directory = make(tmp_path / "d", boots=2)
    (directory / POSITION_FILE).write_bytes(b"")
    (directory / HEADS_FILE).unlink()
    return directory


def test_resume_goes_on_above_the_floor(tmp_path: Path) -> None:
    directory, other = lost(tmp_path), TestNetwork("other")
    with Device.open(directory) as device:
        nonce = device.resume_nonce(NETWORK.did)
    with Device.open(directory) as device:
        assert device.resume_nonce(NETWORK.did) == nonce
        answer = NETWORK.resume(device.public_key, nonce, 40)
        device.take_resume(answer, card=NETWORK.card)
        assert sign(device).provenance.epoch == 41
        with pytest.raises(StateError, match="position_lost"):
            sign(device, other)
        with pytest.raises(EnvelopeError, match="resume.stale"):
            device.take_resume(answer, card=NETWORK.card)
    with Device.open(directory) as device:
        assert sign(device).provenance.epoch == 42
        with pytest.raises(StateError, match="position_lost"):
            sign(device, other)
        answer = other.resume(device.public_key, device.resume_nonce(other.did), 99)
        device.take_resume(answer, card=other.card)
        assert sign(device, other).provenance.epoch == 100
        at = sign(device).provenance
        assert (at.epoch, at.n) == (100, 0) and at.prev != NO_PREV
    # A second loss needs answers anew.
    (directory / POSITION_FILE).unlink()
    with Device.open(directory) as device, pytest.raises(StateError, match="position_lost"):
        sign(device)


def test_resumes_that_are_refused(tmp_path: Path) -> None:
    with Device.open(lost(tmp_path)) as device:
        key, card = device.public_key, NETWORK.card
        with pytest.raises(EnvelopeError, match="resume.stale"):
            device.take_resume(NETWORK.resume(key, bytes(16), 1), card=card)
        nonce = device.resume_nonce(NETWORK.did)
        stranger = SoftwareSigner.generate().public_key
        foreign = TestNetwork("foreign")
        good = NETWORK.resume(key, nonce, 1)
        for data in (
            NETWORK.resume(key, bytes(16), 1),
            NETWORK.resume(stranger, nonce, 1),
            foreign.resume(key, nonce, 1),
            good[:-1] + bytes([good[-1] ^ 1]),
            NETWORK.ack(key, 1),
            b"",
        ):
            with pytest.raises(DepinError):
                device.take_resume(data, card=card)
        with pytest.raises(StateError, match="position_lost"):
            sign(device)


def test_a_floor_below_what_is_readable_does_not_lower_the_epoch(tmp_path: Path) -> None:
    directory = make(tmp_path / "d", boots=5)
    (directory / POSITION_FILE).unlink()  # the heads still speak of epoch 5
    with Device.open(directory) as device:
        nonce = device.resume_nonce(NETWORK.did)
        device.take_resume(NETWORK.resume(device.public_key, nonce, 2), card=NETWORK.card)
        assert sign(device).provenance.epoch == 6


def test_a_crash_in_a_resume_does_not_bring_older_answers_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One network answered the first loss, the other the second: only that one may go on."""
    directory, other = lost(tmp_path), TestNetwork("other")
    with Device.open(directory) as device:
        key, waiting = device.public_key, device.resume_nonce(other.did)
        answer = NETWORK.resume(key, device.resume_nonce(NETWORK.did), 40)
        device.take_resume(answer, card=NETWORK.card)
        sign(device)
    (directory / POSITION_FILE).unlink()
    (directory / HEADS_FILE).unlink()
    enter = PositionStore._enter

    def cut(store: PositionStore, epoch: int, *, both: bool) -> None:
        enter(store, epoch, both=both)
        raise StateError("state.io", "power cut")

    with Device.open(directory) as device, monkeypatch.context() as patch:
        patch.setattr(PositionStore, "_enter", cut)
        with pytest.raises(StateError, match="power cut"):
            device.take_resume(other.resume(key, waiting, 7), card=other.card)
    with Device.open(directory) as device:
        assert not device.position_lost
        with pytest.raises(StateError, match="position_lost"):
            sign(device)


def test_a_healthy_device_has_nothing_to_resume(tmp_path: Path) -> None:
    with Device.create(tmp_path / "d") as device:
        with pytest.raises(StateError, match="not_lost"):
            device.resume_nonce(NETWORK.did)


# --- the ends -----------------------------------------------------------------------------------


def test_epochs_and_positions_end(tmp_path: Path) -> None:
    with Device.open(lost(tmp_path)) as device:
        nonce = device.resume_nonce(NETWORK.did)
        device.take_resume(
            NETWORK.resume(device.public_key, nonce, MAX_POSITION - 1), card=NETWORK.card
        )
        assert sign(device).provenance.epoch == MAX_POSITION
        device._positions._streams[NETWORK.did, ""].n = MAX_POSITION
        assert sign(device).provenance.n == MAX_POSITION
        with pytest.raises(StateError, match="positions_exhausted"):
            sign(device)
    with Device.open(tmp_path / "d") as device, pytest.raises(StateError, match="epochs_exhausted"):
        sign(device)


def test_a_signer_that_fails_uses_the_position_up(tmp_path: Path) -> None:
    inner = SoftwareSigner.generate()
    answers: list[bytes | None] = [None, bytes(64), None]
    signer = CallbackSigner(inner.public_key, lambda m: answers.pop(0) or inner.sign(m))
    with Device.create(tmp_path / "d", signer=signer) as device:
        assert sign(device).provenance.n == 0
        with pytest.raises(SignatureInvalid):
            sign(device)
        with pytest.raises(DepinError):
            device.sign([], network=NETWORK.did)  # refused before the key: nothing is used
        assert sign(device).provenance.n == 2


def test_a_position_is_used_once(tmp_path: Path) -> None:
    directory = make(tmp_path / "d")
    store = PositionStore(directory, read_enrolment(directory).key.thumbprint)
    with store.take(NETWORK.did, None) as position:
        position.used(b"first")
        with pytest.raises(StateError, match="state.position_used"):
            position.used(b"second")
