"""``provision.c``: who owns the line, or cuts the power, gets no seed and no open device."""

from __future__ import annotations

import contextlib
import ctypes as c
import functools
import os
import random
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from depin_id.device_lines import write_line
from depin_id.device_station import Station
from depin_id.envelope import parse_envelope
from depin_id.errors import DepinError
from depin_id.keys import SoftwareSigner
from depin_id.network import network_did
from depin_id.provisioning import Provisioner
from tests.firmware.atecc608_chip import Chip
from tests.firmware.corpus import PACK, Case, Row
from tests.firmware.corpus import signer as corpus_signer
from tests.firmware.library import STATUS, Bytes
from tests.firmware.provision_c import Provisionable

NETWORK = network_did(SoftwareSigner("ed25519", b"root".ljust(32)).public_key)


def provisioned(device: Provisionable, *, lock: bool = True, network: str = NETWORK) -> None:
    Provisioner(Station(device, timeout=0.05), network, lock=lock).run()


def cut_at(device: Provisionable, number: int) -> None:
    """The power goes at the store of this number: nothing of it and nothing after it is written."""
    device.stores.clear()
    device.on_store = lambda slot, data: len(device.stores) <= number


def test_a_lock_that_was_cut_off_is_finished_and_never_undone() -> None:
    for number in range(5):
        device = Provisionable()
        provisioned(device, lock=False)
        seed = device.slots[4][12:44]
        cut_at(device, number)
        device.ask("lock")
        device.on_store = lambda slot, data: True
        device.boot()
        if device.state() != "locked":
            provisioned(device)  # the same command goes on
        # From here on the station writes nothing; one record is enough to hold it locked.
        for slot in (4, 5):
            kept = dict(device.slots)
            device.slots[slot] = os.urandom(128)
            assert device.boot() == 0 and device.state() == "locked", (number, slot)
            assert device.ask("write", "key", os.urandom(32))[0].arguments == ("write", "locked")
            assert device.ask("make", "key")[0].arguments == ("make", "locked")
            device.slots = kept
        assert device.slots[4][12:44] == device.slots[5][12:44] == seed


def test_a_key_that_does_not_open_is_no_key_to_read() -> None:
    chip = Chip()
    device = Provisionable(chip)
    provisioned(device)
    chip.fault = lambda event: "deaf"
    assert device.boot() != 0  # and its signer was never filled in
    assert device.ask("ask", "key")[0].arguments == ("ask", "unknown")
    assert device.ask("prove", bytes(16))[0].arguments[0] == "prove"
    chip.fault = lambda event: ""
    assert device.boot() == 0 and device.ask("ask", "key")[0].arguments[:2] == ("key", "p256")


@pytest.mark.parametrize("how", ["taken", "locked", "one word more", "damaged", "cut", "too long"])
def test_no_seed_stays_in_the_buffer_of_a_line(how: str) -> None:
    seed = bytes(range(60, 92))
    device = Provisionable()
    if how == "locked":
        provisioned(device)
    line = write_line("write", "key", seed, *(["x"] if how == "one word more" else []))
    if how == "damaged":
        line = line[:-2] + bytes([line[-2] ^ 1]) + b"\n"
    elif how == "cut":
        line = line[:-20] + b"\n"
    elif how == "too long":
        line = line[:-1] + b" " * 600 + b"\n"
    device.feed(line)
    held = device.line
    for size in (8, 16):  # neither its bytes nor its digits, in part or whole
        for at in range(0, 32 - size, 4):
            assert seed[at : at + size] not in held
            assert seed[at : at + size].hex().encode() not in held


def test_a_chip_is_provisioned_and_signs_what_python_would() -> None:
    rng, prev = random.Random(6), bytes(16)
    base = Case("p256", 5, 2, 0, PACK, 1, 0, prev, 5000, 0, 0, bytes(16), bytes(16))
    secret = int.from_bytes(corpus_signer("p256", 5).secret, "big")
    chip = Chip(3)
    chip.makes = functools.partial(ec.derive_private_key, secret, ec.SECP256R1())
    device = Provisionable(chip)
    provisioned(device, network=base.network)
    assert not chip.is_open(3) and device.state() == "locked"
    assert all(at < 4 or record[12:44] == bytes(32) for at, record in device.slots.items())
    self = c.byref(device.device)
    for number in range(20):
        rows = tuple(
            Row(name, "dB", rng.randint(-9999, 9999), -2, rng.randint(0, 5000))
            for name in rng.choices(["laeq", "room/t", "x"], k=rng.randint(1, 4))
        )
        names = [row.name.encode() for row in rows]  # they have to outlive the sealing
        for row, name in zip(rows, names, strict=True):
            assert device.lib.depin_add(self, name, b"dB", row.mantissa, -2, row.time_ms) == 0
        out, size = c.create_string_buffer(512), c.c_size_t()
        assert device.lib.depin_seal(self, out, c.c_size_t(512), c.byref(size)) == 0
        made = replace(base, n=number, prev=prev, rows=rows).answer()[1:]
        assert out.raw[: size.value - 64] == made[:-64]
        assert chip.signed[-1] == made[-64:-32]
        prev = parse_envelope(out.raw[: size.value]).verify(base.network, base.public)[:16]


def test_power_cuts_while_a_chip_is_provisioned_leave_one_key() -> None:
    for number in range(8):
        chip = Chip()
        device = Provisionable(chip)
        cut_at(device, number)
        with contextlib.suppress(DepinError):  # whatever a station sees of it
            provisioned(device)
        device.on_store = lambda slot, data: True
        device.boot()
        provisioned(device)
        assert device.state() == "locked" and not chip.is_open(0)


def test_a_size_that_was_minus_one_is_refused() -> None:
    """As depin_lines_bytes gives it for what is not hexadecimal, cast by a hurried caller."""
    device = Provisionable()
    provisioned(device)
    out, size = c.create_string_buffer(512), c.c_size_t()
    wrong = Bytes(b"x", 2**64 - 180)
    self, room = c.byref(device.device), c.c_size_t(512)
    sealed = device.lib.depin_seal_bytes(self, 2, wrong, out, room, c.byref(size))
    about = c.byref(device.enrolment)
    enrolled = device.lib.depin_enrolment_statement(
        *(self, about, bytes(16), wrong, out, room, c.byref(size))
    )
    assert sealed == enrolled == STATUS["ARGUMENT"]
