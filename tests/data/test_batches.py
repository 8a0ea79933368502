"""The order in which samples are seen."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data import Batches, Split, permutation, read


def split(size: int) -> Split:
    return Split(torch.arange(size).float().view(size, 1, 1, 1), torch.arange(size))


def test_permutation_is_a_pure_function_of_seed_and_epoch() -> None:
    torch.manual_seed(1)
    first = permutation(1000, seed=3, epoch=2)
    torch.manual_seed(2)
    torch.rand(5)
    assert torch.equal(permutation(1000, seed=3, epoch=2), first)
    state = torch.get_rng_state()
    permutation(1000, seed=3, epoch=2)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_order_is_what_it_always_was() -> None:
    """A run can be gone on with, and repeated, by a later version."""
    assert permutation(10, seed=0, epoch=1).tolist() == [8, 0, 2, 9, 7, 5, 1, 3, 6, 4]
    assert permutation(10, seed=3, epoch=2).tolist() == [0, 4, 9, 1, 2, 7, 5, 6, 3, 8]


def test_permutations_differ() -> None:
    seen = {tuple(permutation(50, seed, epoch).tolist()) for seed in range(9) for epoch in range(9)}
    assert len(seen) == 81
    assert all(sorted(order) == list(range(50)) for order in seen)


def test_first_elements_are_spread_evenly() -> None:
    """Chi-squared of 2,000 draws over 10 places, 9 degrees of freedom: 27.9 is its 0.1% tail."""
    counts = torch.zeros(10)
    for epoch in range(2000):
        counts[permutation(10, 0, epoch)[0]] += 1
    assert ((counts - 200) ** 2 / 200).sum() < 27.9


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 2**32 - 1), st.integers(1, 10**6))
def test_batches_hold_each_sample_once_and_keep_the_last(
    size: int, batch_size: int, seed: int, epoch: int
) -> None:
    got = list(Batches(split(size), batch_size).epoch(seed, epoch))
    whole, rest = divmod(size, batch_size)
    assert [len(targets) for _, targets in got] == [batch_size] * whole + [rest] * (rest > 0)
    targets = torch.cat([targets for _, targets in got])
    assert sorted(targets.tolist()) == list(range(size))
    assert torch.equal(targets, permutation(size, seed, epoch))
    assert torch.equal(torch.cat([inputs for inputs, _ in got]).flatten().long(), targets)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 30))
def test_what_was_seen_is_skipped(size: int, batch_size: int, number: int) -> None:
    """The batches that follow are those of an epoch that nobody left."""
    whole = [targets.tolist() for _, targets in Batches(split(size), batch_size).epoch(7, 3)]
    skip = min(number * batch_size, size)
    rest = [targets.tolist() for _, targets in Batches(split(size), batch_size).epoch(7, 3, skip)]
    assert rest == whole[number:]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 70), st.booleans(), st.booleans())
def test_settings_of_batches(size: int, batch_size: int, drop: bool, shuffle: bool) -> None:
    made = Batches(split(size), batch_size, drop_last=drop, shuffle=shuffle)
    got = [targets.tolist() for _, targets in made.epoch(1, 2)]
    assert made.steps == len(got) and made.samples == sum(map(len, got))
    whole = permutation(size, 1, 2).tolist() if shuffle else list(range(size))
    assert [each for batch in got for each in batch] == whole[: made.samples]
    if drop:
        assert {*map(len, got)} <= {batch_size}
        assert size - made.samples < batch_size
    else:
        assert made.samples == size


@pytest.mark.parametrize("shared", [True, False])
def test_batches_read_at_once(shared: bool) -> None:
    """Those of one set by one call, those of several by one each: what each holds alone."""
    one, other = split(20), split(20) if not shared else None
    made = [Batches(data or one, 6) for data in (one, other, one)]
    batches = [next(each.epoch(seed, 1)) for seed, each in enumerate(made)]
    assert [*map(len, batches)] == [6] * 3
    for at, together in enumerate(read(batches)):
        assert torch.equal(together, torch.stack([[*batch][at] for batch in batches]))
