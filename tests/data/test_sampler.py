"""The order of visits: a pure function of seed and epoch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.api import InputError
from rl.data.sampler import Order


@given(st.integers(1, 40), st.integers(0, 2**63), st.integers(1, 7), st.integers(1, 3))
def test_ranks_together_visit_every_position_once_an_epoch(count, seed, size, world):
    order = Order(count, seed)
    steps = -(-2 * count // (size * world))
    stream = np.concatenate([order.batch(s, size, r, world) for s in range(steps) for r in range(world)])
    for epoch in (0, 1):
        assert sorted(stream[epoch * count : (epoch + 1) * count].tolist()) == list(range(count))


def test_a_step_can_be_asked_for_out_of_order():
    whole, other = Order(100, 7), Order(100, 7)
    want = [whole.batch(s, 8) for s in range(60)]
    assert all(np.array_equal(other.batch(s, 8), want[s]) for s in (59, 0, 30, 12, 13))


def test_epochs_and_seeds_differ_and_negative_seeds_are_seeds():
    assert not np.array_equal(Order(50, 1).epoch(0), Order(50, 1).epoch(1))
    assert not np.array_equal(Order(50, 1).epoch(0), Order(50, 2).epoch(0))
    assert np.array_equal(Order(50, -1).epoch(0), Order(50, -1).epoch(0))


def test_the_order_of_a_seed_never_changes():
    assert Order(6, 0).epoch(0).tolist() == [3, 2, 5, 4, 0, 1]
    assert Order(6, 0).epoch(1).tolist() == [1, 4, 3, 0, 2, 5]


def test_nothing_to_visit_is_an_error():
    with pytest.raises(InputError, match="no window"):
        Order(0, 0)
