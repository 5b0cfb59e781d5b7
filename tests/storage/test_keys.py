"""Data keys, and a key store that forgets."""

from __future__ import annotations

import hashlib
import hmac
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.errors import StateError
from tests.paths import ROOT
from verify.store import DataKey, KeyStore, commitment


def _code(action: Callable[[], object]) -> str:
    with pytest.raises(StateError) as caught:
        action()
    assert caught.value.hint
    return caught.value.code


def _ref(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()[:16]


def _seeded() -> Callable[[int], bytes]:
    return random.Random(5).randbytes


def test_salts_and_commitments_are_what_the_protocol_says() -> None:
    secret = bytes(range(32))
    salting = hmac.digest(secret, b"depin-salt/1", "sha256")
    salt = hmac.digest(salting, (7).to_bytes(8, "big"), "sha256")
    assert DataKey(secret).salt(7) == salt
    assert commitment(salt, b"content") == hashlib.sha256(salt + b"content").digest()
    assert "00" not in repr(DataKey(secret))
    assert _code(lambda: DataKey(bytes(31))) == "state.argument"
    assert _code(lambda: DataKey(secret).salt(-1)) == "state.argument"


@given(
    plaintext=st.binary(max_size=200),
    index=st.integers(0, 2**64 - 1),
    other=st.integers(0, 2**64 - 1),
    bit=st.integers(0),
)
def test_sealed_bytes_open_with_their_key_at_their_index_only(
    plaintext: bytes, index: int, other: int, bit: int
) -> None:
    key = DataKey(b"k" * 32)
    sealed = key.seal(index, plaintext)
    assert key.open(index, sealed) == plaintext
    assert len(sealed) == len(plaintext) + 40
    flipped = bytearray(sealed)
    flipped[bit // 8 % len(sealed)] ^= 1 << bit % 8
    for wrong in (bytes(flipped), sealed[:-1], sealed[:30], b""):
        assert _code(partial(key.open, index, wrong)) == "state.sealed"
    assert _code(lambda: DataKey(b"l" * 32).open(index, sealed)) == "state.sealed"
    if other != index:
        assert _code(lambda: key.open(other, sealed)) == "state.sealed"
        assert key.seal(other, plaintext)[:24] != sealed[:24]
    assert key.seal(index, plaintext + b"x")[:24] != sealed[:24]  # an index may be written again


def test_keys_are_made_once_and_come_back(tmp_path: Path) -> None:
    pairs = [(_ref(i), 202601 + i % 3) for i in range(50)]
    with KeyStore.create(tmp_path, cache=7) as store:
        assert _code(lambda: store.get(*pairs[0])) == "state.key_missing"
        store.ensure(pairs)
        salts = [store.get(*pair).salt(1) for pair in pairs]
        store.ensure([*pairs, *pairs, (_ref(99), 202601)])
        assert [store.get(*pair).salt(1) for pair in pairs] == salts
        assert len(set(salts)) == 50
        assert len(store._cache) == 7
        assert _code(lambda: KeyStore.open(tmp_path)) == "state.locked"
        with KeyStore.open(tmp_path, read_only=True) as reader:
            assert reader.get(*pairs[3]).salt(1) == salts[3]
            assert _code(lambda: reader.ensure([(_ref(100), 1)])) == "state.read_only"
            assert _code(lambda: reader.erase(_ref(1))) == "state.read_only"
        for wrong in ((b"short", 202601), (_ref(1), 0), (_ref(1), 1 << 40)):
            assert _code(partial(store.ensure, [wrong])) == "state.argument"
    with KeyStore.open(tmp_path) as store:
        assert [store.get(*pair).salt(1) for pair in pairs] == salts
    assert _code(lambda: store.get(*pairs[0])) == "state.closed"
    assert _code(lambda: KeyStore.create(tmp_path)) == "state.exists"


def test_the_master_key_is_private_and_the_right_one(tmp_path: Path) -> None:
    with KeyStore.create(tmp_path) as store:
        store.ensure([(_ref(1), 202601)])
    master = tmp_path / "master.key"
    assert master.stat().st_mode & 0o777 == 0o600
    secret = master.read_bytes()
    assert _code(lambda: KeyStore.open(tmp_path, master=b"m" * 32)) == "state.master_key"
    assert _code(lambda: KeyStore.open(tmp_path, master=b"m")) == "state.argument"
    master.chmod(0o640)
    assert _code(lambda: KeyStore.open(tmp_path)) == "state.permissions"
    master.unlink()
    assert _code(lambda: KeyStore.open(tmp_path)) == "state.missing"
    with KeyStore.open(tmp_path, master=secret) as store:
        store.get(_ref(1), 202601)
    held = tmp_path / "held"
    KeyStore.create(held, master=secret).close()
    assert not (held / "master.key").exists()


def test_a_wrapped_key_is_bound_to_its_device_and_month(tmp_path: Path) -> None:
    with KeyStore.create(tmp_path) as store:
        store.ensure([(_ref(1), 202601), (_ref(2), 202601)])
        store._connection.execute("UPDATE keys SET slot = 3 - slot")
        store._cache.clear()
        assert _code(lambda: store.get(_ref(1), 202601)) == "state.corrupt"


def test_erasure_leaves_nothing_in_any_file(tmp_path: Path) -> None:
    refs = [_ref(i) for i in range(400)]
    chance = random.Random(11)
    with KeyStore.create(tmp_path, randomness=_seeded(), clock=lambda: 1234.9) as store:
        for month in (202601, 202602, 202603):
            chance.shuffle(refs)  # inserted in every order: pages split and move their cells
            store.ensure((ref, month) for ref in refs)
        gone, kept = refs[:150], refs[150:]
        slots = "SELECT wrapped FROM keys JOIN slots ON id = slot WHERE ref = ?"
        wrapped = {
            ref: [row[0] for row in store._connection.execute(slots, (ref,))] for ref in refs
        }

        def found(ref: bytes) -> bool:
            files = [p.read_bytes() for p in tmp_path.iterdir()]
            return any(w[24:56] in data for w in wrapped[ref] for data in files)

        assert all(map(found, refs[100:200]))
        salt = store.get(kept[0], 202602).salt(0)
        assert [store.erase(ref) for ref in gone[:50]] == [3] * 50
        assert store.erase_again(gone) == 300
        assert not any(map(found, gone))
        assert store.erased(gone[0])
        assert store.erased_at(gone[0]) == 1234
        assert not store.erased(kept[0])
        assert store.erase(gone[0]) == 0
        for month in (202601, 202604):
            assert _code(partial(store.get, gone[1], month)) == "state.erased"
        new = [(kept[0], 202605), (gone[0], 202605)]
        assert _code(lambda: store.ensure(new)) == "state.erased"
        assert _code(lambda: store.get(kept[0], 202605)) == "state.key_missing"
        assert store.get(kept[0], 202602).salt(0) == salt
    assert not any(map(found, gone))
    with KeyStore.open(tmp_path) as store:
        assert _code(lambda: store.get(gone[1], 202601)) == "state.erased"
        for ref in kept:
            store.get(ref, 202603)


def test_an_old_copy_forgets_again(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    with KeyStore.create(new) as store:
        store.ensure([(_ref(1), 202601), (_ref(2), 202601)])
    shutil.copytree(new, old)
    with KeyStore.open(old) as store:
        store.get(_ref(1), 202601)
        assert store.erase_again([_ref(1), _ref(3)]) == 1
        assert store.erase_again([_ref(1), _ref(3)]) == 0
        assert _code(lambda: store.get(_ref(1), 202601)) == "state.erased"
        assert _code(lambda: store.ensure([(_ref(3), 202601)])) == "state.erased"
        store.get(_ref(2), 202601)


def test_an_erasure_that_a_reader_delays_says_so_and_can_be_repeated(tmp_path: Path) -> None:
    with KeyStore.create(tmp_path) as store:
        store.ensure([(_ref(1), 202601)])
        store._connection.execute("PRAGMA busy_timeout=50")
        reader = KeyStore.open(tmp_path, read_only=True)
        reader._connection.execute("BEGIN")
        reader.get(_ref(1), 202601)
        assert _code(lambda: store.erase(_ref(1))) == "state.locked"
        assert _code(lambda: store.get(_ref(1), 202601)) == "state.erased"
        reader.close()
        assert store.erase(_ref(1)) == 0


def test_a_damaged_store_is_corrupt(tmp_path: Path) -> None:
    with KeyStore.create(tmp_path) as store:
        store.ensure([(_ref(i), 202601) for i in range(200)])
    path = tmp_path / "keys.db"
    data = path.read_bytes()
    for bad in (data[:0], data[:5000], b"x" * 9000, data[:8192] + b"\xff" * (len(data) - 8192)):
        path.write_bytes(bad)

        def use() -> None:
            with KeyStore.open(tmp_path) as store:
                for i in range(200):
                    store.get(_ref(i), 202601)

        assert _code(use) in ("state.corrupt", "state.key_missing")
    path.unlink()
    assert _code(lambda: KeyStore.open(tmp_path)) == "state.missing"


def test_a_full_disk_makes_no_key(tmp_path: Path) -> None:
    with KeyStore.create(tmp_path) as store:
        store._connection.execute("PRAGMA max_page_count=6")
        pairs = [(_ref(i), 202601) for i in range(500)]
        assert _code(lambda: store.ensure(pairs)) == "state.full"
        assert _code(lambda: store.get(*pairs[0])) == "state.key_missing"


def test_the_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    from verify.store import Journal

    Journal.create(tmp_path, network="did:web:network.example").close()
    KeyStore.create(tmp_path).close()
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.storage.children", "hold", str(tmp_path)],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        for opener in (Journal.open, KeyStore.open):
            with pytest.raises(StateError, match=f"process {child.pid}") as caught:
                opener(tmp_path)
            assert caught.value.code == "state.locked"
    finally:
        child.kill()
        child.communicate(timeout=30)
    Journal.open(tmp_path).close()
    KeyStore.open(tmp_path).close()
