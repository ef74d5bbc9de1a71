from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import ProofError
from monitor.testbed.tree import Tree
from monitor.tlog.merkle import leaf_hash, tree_root
from monitor.tlog.proofs import verify_consistency, verify_inclusion

LEAVES = [b"leaf %d" % i for i in range(600)]
TREE = Tree(LEAVES)
HASHES = [leaf_hash(leaf) for leaf in LEAVES]
sizes = st.integers(1, len(LEAVES))


@given(size=sizes)
def test_the_root_at_every_size_is_the_one_computed_from_the_leaves(size: int) -> None:
    assert tree_root(HASHES[:size]) == TREE.root(size)


@given(size=sizes, data=st.data())
def test_every_inclusion_proof_verifies(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    verify_inclusion(HASHES[index], index, size, TREE.inclusion(index, size), TREE.root(size))


@given(second=sizes, data=st.data())
def test_every_consistency_proof_verifies(second: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, second))
    verify_consistency(first, second, TREE.root(first), TREE.root(second), TREE.consistency(first, second))


@given(cuts=st.lists(st.integers(0, 40), max_size=12))
def test_leaves_added_in_any_portions_make_the_same_tree(cuts: list[int]) -> None:
    tree, at = Tree(), 0
    for cut in cuts:
        assert range(at, at + cut) == tree.extend(LEAVES[at : at + cut])
        at += cut
    assert TREE.root(at) == tree.root()


def test_a_branch_shares_the_past_and_not_the_future() -> None:
    branch = TREE.branch(100)
    assert branch.append(b"another") == 100
    assert TREE.root(100) == branch.root(100)
    assert TREE.root(101) != branch.root(101)
    assert TREE.leaf(100) == LEAVES[100]


@pytest.mark.parametrize("size", [-1, 601])
def test_a_size_that_never_was_is_refused(size: int) -> None:
    with pytest.raises(ProofError, match="never"):
        TREE.root(size)
