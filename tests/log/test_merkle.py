"""Merkle proofs: other people's vectors, brute force from the standard's text, mutations."""

from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.errors import LogError
from tests.log.helpers import entries, mth, path, subproof
from tests.paths import vectors
from verify.log import EMPTY_ROOT, TileLog, leaf_hash, root_of, verify_consistency, verify_inclusion

# The three vectors that refuse a consistency proof from size 0, which C2SP accepts: every tree
# begins with the empty one. With the empty tree's root and an empty proof they hold here.
FROM_ZERO = {
    "size1 is zero and does not equal size2",
    "size1 is zero and size2 is not zero",
    "sizes are equal (zero) and proof is empty",
}


def cases(kind: str) -> list[tuple[str, dict[str, Any]]]:
    folder = vectors("transparency-dev-merkle/testdata") / kind
    found = [(str(file.relative_to(folder)), file) for file in sorted(folder.rglob("*.json"))]
    return [(name, json.loads(file.read_text())) for name, file in found]


def hashes(case: dict[str, Any], *names: str) -> list[bytes]:
    """Values of a case. "don't care N" stands for some hash, which has to be of 32 bytes here."""
    values = [b64decode(case[name] or "") for name in names]
    return [sha256(item).digest() if item[:10] == b"don't care" else item for item in values]


def accepted(check: Any, *arguments: Any) -> bool:
    try:
        check(*arguments)
    except LogError as error:
        assert error.code == "log.proof"
        return False
    return True


def test_inclusion_vectors() -> None:
    found = cases("inclusion")
    assert len(found) == 98
    for name, case in found:
        leaf, root = hashes(case, "leafHash", "root")
        proof = [b64decode(item) for item in case["proof"] or []]
        verdict = accepted(verify_inclusion, case["leafIdx"], case["treeSize"], leaf, proof, root)
        assert verdict != case["wantErr"], name


def test_consistency_vectors() -> None:
    found = cases("consistency")
    assert len(found) == 98
    seen = set()
    for name, case in found:
        roots = hashes(case, "root1", "root2")
        proof = [b64decode(item) for item in case["proof"] or []]
        arguments = (case["size1"], case["size2"], proof, *roots)
        if case["desc"] in FROM_ZERO:
            seen.add(case["desc"])
            new_root = roots[1] if case["size2"] else EMPTY_ROOT
            assert accepted(verify_consistency, 0, case["size2"], [], EMPTY_ROOT, new_root)
            # Any other root of a tree without leaves is refused, as the vector wants it.
            assert accepted(verify_consistency, *arguments) == (roots[0] == EMPTY_ROOT), name
            continue
        assert accepted(verify_consistency, *arguments) != case["wantErr"], name
    assert seen == FROM_ZERO


def test_consistency_from_size_zero_as_c2sp() -> None:
    root = root_of([leaf_hash(b"one")])
    verify_consistency(0, 1, [], EMPTY_ROOT, root)
    verify_consistency(0, 0, [], EMPTY_ROOT, EMPTY_ROOT)
    for arguments in (
        (0, 1, [root], EMPTY_ROOT, root),
        (0, 1, [], root, root),
        (0, 0, [], EMPTY_ROOT, root),
        (0, 0, [], root, root),
        (1, 0, [], root, EMPTY_ROOT),
    ):
        assert not accepted(verify_consistency, *arguments)


def test_subtree_vectors_that_are_whole_trees() -> None:
    """A proof inside a valid subtree is an inclusion proof of the leaf's place in it."""
    inclusion = [case for _, case in cases("subtreeinclusion") if not case["wantErr"]]
    assert len(inclusion) == 12
    for case in inclusion:
        leaf, root = hashes(case, "leafHash", "root")
        proof = [b64decode(item) for item in case["proof"] or []]
        start = case["start"]
        verify_inclusion(case["leafIdx"] - start, case["end"] - start, leaf, proof, root)
    wrong = [(name, case) for name, case in cases("subtreeinclusion") if case["wantErr"]]
    assert len(wrong) == 192
    for name, case in wrong:
        leaf, root = hashes(case, "leafHash", "root")
        proof = [b64decode(item) for item in case["proof"] or []]
        where = (case["leafIdx"] - case["start"], case["end"] - case["start"])
        assert not accepted(verify_inclusion, *where, leaf, proof, root), name
    for name, case in cases("subtreeconsistency"):
        if case["start"] == 0 and case["end"] > 0:
            roots = hashes(case, "root1", "root2")
            proof = [b64decode(item) for item in case["proof"] or []]
            arguments = (case["end"], case["size"], proof, *roots)
            assert accepted(verify_consistency, *arguments) != case["wantErr"], name


def test_every_proof_of_small_trees_against_the_standard(tmp_path: Path) -> None:
    leaves = entries(70)
    log = TileLog(tmp_path, "x")
    log.append(leaves)
    for size in range(71):
        root = mth(leaves[:size])
        assert log.root(size) == root == root_of([leaf_hash(leaf) for leaf in leaves[:size]])
        for index in range(size):
            proof = log.inclusion_proof(index, size)
            assert proof == path(index, leaves[:size])
            verify_inclusion(index, size, leaf_hash(leaves[index]), proof, root)
        for old in range(size + 1):
            proof = log.consistency_proof(old, size)
            if old:
                assert proof == subproof(old, leaves[:size], True)
            verify_consistency(old, size, proof, mth(leaves[:old]), root)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> TileLog:
    """A log of three levels of tiles, on disk, opened anew."""
    folder = tmp_path_factory.mktemp("log")
    log = TileLog(folder, "x")
    log.append(entries(66_000))
    log.flush()
    return TileLog(folder, "x")


@given(data=st.data())
def test_proofs_of_large_trees(large: TileLog, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, large.size))
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(0, size))
    leaf = leaf_hash(b"entry %d " % index)
    assert large.leaf(index) == b"entry %d " % index
    proof = large.inclusion_proof(index, size)
    verify_inclusion(index, size, leaf, proof, large.root(size))
    grown = large.consistency_proof(old, size)
    verify_consistency(old, size, grown, large.root(old), large.root(size))
    if index + 1 < size:
        assert not accepted(verify_inclusion, index + 1, size, leaf, proof, large.root(size))
    if 0 < old < size:
        arguments = (old - 1, size, grown, large.root(old), large.root(size))
        assert not accepted(verify_consistency, *arguments)


def test_each_flipped_bit_of_a_proof_is_refused() -> None:
    leaves = entries(13)
    root, old_root = mth(leaves), mth(leaves[:6])
    inclusion, consistency = path(5, leaves), subproof(6, leaves, True)
    leaf = leaf_hash(leaves[5])
    for proof, check, before, after in (
        (inclusion, verify_inclusion, (5, 13, leaf), (root,)),
        (consistency, verify_consistency, (6, 13), (old_root, root)),
    ):
        assert accepted(check, *before, proof, *after)
        for position, value in enumerate(proof):
            for bit in range(256):
                wrong = (int.from_bytes(value, "big") ^ (1 << bit)).to_bytes(32, "big")
                changed = [*proof[:position], wrong, *proof[position + 1 :]]
                assert not accepted(check, *before, changed, *after)
        assert not accepted(check, *before, proof[:-1], *after)
        assert not accepted(check, *before, [*proof, root], *after)
        assert not accepted(check, *before, [item[:31] for item in proof], *after)
        assert not accepted(check, *before, proof * 200, *after)


def test_a_forked_past_is_refused() -> None:
    """The new root is right, the old one is of a tree that was never a part of it."""
    leaves = entries(13)
    for old in range(1, 13):
        proof = subproof(old, leaves, True)
        fork = mth([*leaves[: old - 1], b"another"])
        assert accepted(verify_consistency, old, 13, proof, mth(leaves[:old]), mth(leaves))
        assert not accepted(verify_consistency, old, 13, proof, fork, mth(leaves))
        assert not accepted(verify_consistency, old, 13, proof, mth(leaves[:old]), fork)


def test_an_inner_node_is_not_taken_for_a_leaf() -> None:
    leaves = entries(4)
    node = leaf_hash(leaves[0]) + leaf_hash(leaves[1])
    proof = [mth(leaves[2:])]
    assert accepted(verify_inclusion, 0, 2, mth(leaves[:2]), proof, mth(leaves))
    assert not accepted(verify_inclusion, 0, 2, leaf_hash(node), proof, mth(leaves))


def test_ranges_are_refused(large: TileLog) -> None:
    for call in (
        lambda: large.root(large.size + 1),
        lambda: large.root(-1),
        lambda: large.leaf(large.size),
        lambda: large.leaf(-1),
        lambda: large.inclusion_proof(5, 5),
        lambda: large.inclusion_proof(-1),
        lambda: large.consistency_proof(6, 5),
        lambda: large.consistency_proof(-1),
    ):
        with pytest.raises(LogError) as caught:
            call()
        assert caught.value.code == "log.range"
    assert not accepted(verify_inclusion, -1, 4, EMPTY_ROOT, [], EMPTY_ROOT)
    assert not accepted(verify_inclusion, 0, 2**64, EMPTY_ROOT, [], EMPTY_ROOT)
